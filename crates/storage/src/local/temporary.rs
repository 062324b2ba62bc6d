//! Names of temporary files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of temporary files that this process has created; part of their names.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// Longest prefix of the final name, in bytes, in the temporary name, which must stay below the usual limit of 255 bytes.
const NAME_MAX: usize = 200;

/// Returns whether a file name has the form of names made by [`temporary`]: `.<name>.<pid>.<number>.tmp`.
pub(super) fn is_temporary(name: &str) -> bool {
    let is_number =
        |part: Option<&str>| part.is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let mut parts = name.rsplit('.');
    name.starts_with('.') && parts.next() == Some("tmp") && is_number(parts.next()) && is_number(parts.next())
}

/// Returns a new temporary name in the folder of the final path.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut cut = name.len().min(NAME_MAX);
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{}.{}.{serial}.tmp", &name[..cut], std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::{is_temporary, temporary};
    use std::path::Path;

    #[test]
    fn a_temporary_name_is_hidden_has_no_data_extension_and_fits() {
        for name in ["img_0_of_8.npz", &"ä".repeat(127)] {
            let made = temporary(Path::new("/data").join(name).as_path());
            let made = made.file_name().unwrap().to_str().unwrap();
            assert!(is_temporary(made) && made.len() < 256, "{made}");
        }
    }

    #[test]
    fn files_of_the_user_are_not_taken_for_temporary() {
        for name in [".tmp", "a.1.2.tmp", ".a.b.2.tmp", ".a.1.2.npz", ".gitignore", "x.tmp"] {
            assert!(!is_temporary(name), "{name}");
        }
    }
}
