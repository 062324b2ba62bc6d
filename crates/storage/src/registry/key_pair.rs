//! The key pair that clients sign with.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::files::{content_error, failed, publish, read_json, sync};
use crate::random::random;

/// Name of the file that holds the key pair.
pub(super) const CREDENTIALS: &str = "credentials";

/// An access key id with its secret key. `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// Access key id, sent with every request.
    pub access_key: String,
    /// Secret key, never sent.
    pub secret_key: String,
}

impl KeyPair {
    /// Generates a random pair from the operating system's generator: 80 bits of access key, 200 bits of secret.
    ///
    /// # Errors
    /// When the operating system provides no random bytes.
    pub fn generate() -> Result<Self, Error> {
        let bytes: [u8; 56] = random().map_err(Error::Random)?;
        // 32 letters: 5 bits of each byte are used, without bias.
        let letters: String = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect();
        let (access, secret) = letters.split_at(16);
        Ok(Self { access_key: format!("DLIO{access}"), secret_key: secret.to_ascii_lowercase() })
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Returns the registry's key pair, which is generated if there is none. If several servers start together, one
/// generates it and the others read it.
///
/// # Errors
/// When the registry cannot be read or written.
pub fn key_pair(dir: &Path) -> Result<KeyPair, Error> {
    let path = dir.join(CREDENTIALS);
    if let Some(known) = read_json(&path)? {
        return Ok(known);
    }
    let made = KeyPair::generate()?;
    let text = serde_json::to_vec_pretty(&made).map_err(|source| content_error(&path, source))?;
    if publish(dir, &path, &text, 0o600)? {
        sync(dir)?;
        return Ok(made);
    }
    read_json(&path)?.ok_or_else(|| failed("reading", &path)(io::ErrorKind::NotFound.into()))
}

/// Removes a key pair other than the given one, because it would not be valid for clients. Returns whether it was
/// removed.
///
/// # Errors
/// If the file cannot be read or removed.
pub fn withdraw_other_key_pair(dir: &Path, given: &KeyPair) -> Result<bool, Error> {
    let path = dir.join(CREDENTIALS);
    if read_json::<KeyPair>(&path)?.is_none_or(|known| known == *given) {
        return Ok(false);
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing", &path)(error)),
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_generated_pairs_differ_and_look_like_keys() {
        let (one, two) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        assert_ne!(one, two);
        assert_eq!((one.access_key.len(), one.secret_key.len()), (20, 40));
        assert!(one.access_key.bytes().chain(one.secret_key.bytes()).all(|byte| byte.is_ascii_alphanumeric()));
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let pair = KeyPair { access_key: "AK".into(), secret_key: "hush".into() };
        assert!(!format!("{pair:?}").contains("hush"));
    }
}
