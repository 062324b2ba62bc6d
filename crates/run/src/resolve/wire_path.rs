//! Serialization of paths as bytes for messages between ranks, because a path need not be Unicode.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

fn from_bytes(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

/// Serializes a path as bytes.
///
/// # Errors
/// If the serializer fails.
pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_os_str().as_bytes().serialize(serializer)
}

/// Deserializes a path from bytes.
///
/// # Errors
/// If the input is not a sequence of bytes.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Vec::deserialize(deserializer).map(from_bytes)
}

/// Serialization of an optional path.
pub mod optional {
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::PathBuf;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::from_bytes;

    /// Serializes an optional path as bytes.
    ///
    /// # Errors
    /// If the serializer fails.
    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_ref().map(|path| path.as_os_str().as_bytes()).serialize(serializer)
    }

    /// Deserializes an optional path from bytes.
    ///
    /// # Errors
    /// If the input is not a sequence of bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<Vec<u8>>::deserialize(deserializer)?.map(from_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Paths {
        #[serde(with = "super")]
        here: PathBuf,
        #[serde(with = "super::optional")]
        there: Option<PathBuf>,
    }

    #[test]
    fn every_path_arrives_as_it_was() {
        for there in [None, Some(from_bytes(b"/tmp/\xff".to_vec()))] {
            let paths = Paths { here: from_bytes(b"out\xfe/\xc3".to_vec()), there };
            let wire = serde_json::to_vec(&paths).unwrap();
            assert_eq!(serde_json::from_slice::<Paths>(&wire).unwrap(), paths);
        }
    }
}
