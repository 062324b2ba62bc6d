//! The key pair that clients sign with.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use crate::Error;

/// An access key with its secret. `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Access key id, sent with every request.
    pub access_key: String,
    /// Secret key, never sent.
    pub secret_key: String,
}

impl Credentials {
    /// A fresh random pair: 80 bits of access key, 200 bits of secret, from the operating system's generator.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn generate() -> Result<Self, Error> {
        let bytes: [u8; 56] = random().map_err(Error::Random)?;
        // 32 letters: 5 bits of each byte are used, without bias.
        let letters: String = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect();
        let (access, secret) = letters.split_at(16);
        Ok(Self { access_key: format!("DLIO{access}"), secret_key: secret.to_ascii_lowercase() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Random bytes for keys, upload ids and names of temporary files: what must not be guessed or must not collide
/// between processes. Nothing that a run's plan depends on.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Random lower-case hexadecimal digits, two per byte.
pub(crate) fn random_hex<const N: usize>() -> io::Result<String> {
    Ok(hex(&random::<N>()?))
}

/// Lower-case hexadecimal digits, two per byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_generated_pairs_differ_and_look_like_keys() {
        let (one, two) = (Credentials::generate().unwrap(), Credentials::generate().unwrap());
        assert_ne!(one, two);
        assert_eq!((one.access_key.len(), one.secret_key.len()), (20, 40));
        assert!(one.access_key.bytes().chain(one.secret_key.bytes()).all(|byte| byte.is_ascii_alphanumeric()));
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let pair = Credentials { access_key: "AK".into(), secret_key: "hush".into() };
        assert!(!format!("{pair:?}").contains("hush"));
    }
}
