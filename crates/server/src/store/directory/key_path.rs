//! Maps keys to paths and back.
//!
//! `/` separates components. Each component becomes a file name (the last) or a folder name, and is written unchanged
//! with these exceptions. Every key therefore has exactly one path below its bucket, and ordinary names stay
//! readable:
//!
//! | in the key | on disk |
//! |---|---|
//! | `%`, control characters | `%` and two lower-case hexadecimal digits per byte |
//! | `.` and `..` as a whole component | `%2e`, `%2e%2e` |
//! | an empty component (`a//b`, `/a`, `a/`) | `%-` |
//! | a component of 240 bytes or more, encoded | folders of up to 239 bytes, each ending in `%+`, then the rest |
//!
//! `a` and `a/b` both need the name `a`: the folder gets it, and the object `a` is stored *aside*, as `a%`.
//! No encoded component ends in a bare `%`, so two keys never have the same path.

use std::path::{Path, PathBuf};

/// Longest encoded name in one piece, in bytes. With `%+` it fits into the 255 bytes of a file name.
const LONGEST: usize = 240;
const EMPTY: &str = "%-";
const CONTINUED: &str = "%+";
const ASIDE: &str = "%";

/// A key encoded as a path relative to its bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncodedKey(Vec<String>);

impl EncodedKey {
    pub(crate) fn new(key: &str) -> Self {
        let mut names = Vec::new();
        for component in key.split('/') {
            push_component(component, &mut names);
        }
        Self(names)
    }

    /// Returns the folder of all keys with this prefix, which ends in `/` or is empty.
    pub(crate) fn folder(prefix: &str) -> Self {
        match prefix.strip_suffix('/') {
            Some(folder) => Self::new(folder),
            None => Self(Vec::new()),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.iter().collect()
    }

    /// Returns the folders above the file, outermost first.
    pub(crate) fn folders(&self) -> &[String] {
        self.0.split_last().map_or(&[], |(_, folders)| folders)
    }
}

/// Returns the path of an object whose plain path is taken by a folder.
pub(crate) fn aside(plain: &Path) -> PathBuf {
    let mut path = plain.as_os_str().to_owned();
    path.push(ASIDE);
    PathBuf::from(path)
}

fn push_component(component: &str, names: &mut Vec<String>) {
    let mut name = String::with_capacity(component.len() + 2);
    let only_dots = matches!(component, "." | "..");
    for character in component.chars() {
        let start = name.len();
        if character == '%' || character.is_ascii_control() || only_dots {
            name.push('%');
            let byte = u32::from(character);
            name.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit, 16).unwrap_or('0')));
        } else {
            name.push(character);
        }
        if name.len() >= LONGEST {
            let rest = name.split_off(start);
            name.push_str(CONTINUED);
            names.push(std::mem::replace(&mut name, rest));
        }
    }
    names.push(if name.is_empty() { EMPTY.to_owned() } else { name });
}

/// The meaning of a name on disk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// A whole component, or the last piece of a long one.
    Component(String),
    /// The object of this name, stored aside.
    Aside(String),
    /// A folder of components with this beginning.
    Continued(String),
}

/// Parses a name on disk; `None` if no key is stored under it.
pub(crate) fn parse(name: &str) -> Option<Name> {
    if !name.contains('%') {
        let own = name.len() < LONGEST && !matches!(name, "" | "." | "..");
        let own = own && !name.bytes().any(|byte| byte.is_ascii_control());
        return own.then(|| Name::Component(name.to_owned()));
    }
    if let Some(piece) = name.strip_suffix(CONTINUED) {
        return unescape(piece).map(Name::Continued);
    }
    let (name, is_aside) = match name.strip_suffix(ASIDE) {
        Some(plain) => (plain, true),
        None => (name, false),
    };
    let component = if name == EMPTY { String::new() } else { unescape(name)? };
    // Accepts only the canonical spelling: a lookup by key would not find any other.
    let mut written = Vec::with_capacity(1);
    push_component(&component, &mut written);
    if written != [name] {
        return None;
    }
    Some(if is_aside { Name::Aside(component) } else { Name::Component(component) })
}

fn unescape(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, later)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = later;
            continue;
        }
        let digits = std::str::from_utf8(later.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &later[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    fn unescape_path(escaped: &EncodedKey) -> Option<String> {
        let (mut key, mut begun) = (String::new(), String::new());
        for (index, name) in escaped.0.iter().enumerate() {
            match parse(name)? {
                Name::Continued(piece) => begun.push_str(&piece),
                Name::Component(rest) => {
                    key.push_str(&begun);
                    key.push_str(&rest);
                    begun.clear();
                    if index + 1 < escaped.0.len() {
                        key.push('/');
                    }
                }
                Name::Aside(_) => return None,
            }
        }
        Some(key)
    }

    fn keys() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just(String::new()),
            Just(".".to_owned()),
            Just("..".to_owned()),
            Just("%".to_owned()),
            Just("%2e".to_owned()),
            Just("%-".to_owned()),
            Just("a%+".to_owned()),
            "[a-zA-Z0-9._-]{1,20}",
            "[\\x00-\\x1f%é漢 ]{1,90}",
            "[a-z]{236,260}",
            ".{0,300}",
        ];
        prop::collection::vec(part, 1..6).prop_map(|parts| parts.join("/"))
    }

    proptest! {
        #[test]
        fn every_key_has_a_path_of_valid_names_below_its_bucket_and_reads_back(key in keys()) {
            let escaped = EncodedKey::new(&key);
            let path = escaped.path();
            prop_assert_eq!(path.components().count(), escaped.0.len());
            for component in path.components() {
                let Component::Normal(name) = component else { panic!("{component:?} of {path:?}") };
                prop_assert!(name.len() <= 255 && !name.as_encoded_bytes().contains(&0));
            }
            prop_assert_eq!(unescape_path(&escaped), Some(key));
        }

        #[test]
        fn what_is_read_from_disk_is_written_to_the_same_name(name in "[a-c%+0-9e.-]{1,8}") {
            if let Some(Name::Component(component)) = parse(&name) {
                prop_assert_eq!(EncodedKey::new(&component).0, vec![name]);
            }
        }
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for key in ["train/img_00_of_10.npz", "a b/c+d=e@f,g", "日本/é.txt", ".hidden"] {
            assert_eq!(EncodedKey::new(key).path(), Path::new(key));
        }
    }

    #[test]
    fn keys_that_look_like_paths_out_of_the_bucket_become_names() {
        let expected = [
            ("..", "%2e%2e"),
            ("../../etc/x", "%2e%2e/%2e%2e/etc/x"),
            ("/abs", "%-/abs"),
            ("a//b", "a/%-/b"),
            ("a/./b", "a/%2e/b"),
            ("a/", "a/%-"),
            ("a\0b%", "a%00b%25"),
        ];
        for (key, path) in expected {
            assert_eq!(EncodedKey::new(key).path(), Path::new(path), "{key:?}");
        }
        let paths: HashSet<_> = expected.iter().map(|(key, _)| EncodedKey::new(key).path()).collect();
        assert_eq!(paths.len(), expected.len());
    }

    #[test]
    fn an_object_aside_is_told_from_a_component() {
        assert_eq!(parse("a%"), Some(Name::Aside("a".into())));
        assert_eq!(parse("%-%"), Some(Name::Aside(String::new())));
        for foreign in ["%", "%4", "%41", "a%zz", "a%2E"] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }
}
