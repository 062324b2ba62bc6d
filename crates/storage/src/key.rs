//! The syntax of keys, which keeps every object below the storage's root.

/// Checks that `key` names an object below the root.
///
/// # Errors
/// Returns a message when the key is empty or absolute, or contains an empty, `.` or `..` part or a NUL byte.
pub fn check_key(key: &str) -> Result<(), String> {
    let why = if key.is_empty() {
        "it is empty"
    } else if key.starts_with('/') {
        "it is absolute"
    } else if key.contains('\0') {
        "it contains a NUL byte"
    } else if key.split('/').any(str::is_empty) {
        "it contains an empty part"
    } else if key.split('/').any(|part| part == "." || part == "..") {
        "it contains a `.` or `..` part"
    } else {
        return Ok(());
    };
    Err(format!("{key:?} is not a key: {why}; a key is relative to the storage's root, with `/` between its parts"))
}

#[cfg(test)]
mod tests {
    use super::check_key;

    #[test]
    fn keys_that_leave_the_root_or_name_nothing_are_refused() {
        for key in ["", "/", "/etc/passwd", "a//b", "a/", "./a", "a/./b", "..", "a/../b", "a\0b"] {
            assert!(check_key(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn odd_but_harmless_keys_are_accepted() {
        for key in ["a", "a/b", "...", "a..b/.hidden", "träin/ä b+%20=&.npz"] {
            assert_eq!(check_key(key), Ok(()), "{key:?}");
        }
    }
}
