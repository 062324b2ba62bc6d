//! Keys of signature version 4.

use dlio_storage::random::hex;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::scope::Signed;

/// A signing key for the scope of a signature, with the beginning of every string that it signs.
#[derive(Clone)]
pub(super) struct Key {
    mac: [u8; 32],
    /// Time and scope, each with its line feed.
    head: String,
}

impl Key {
    pub(super) fn new(secret: &str, signed: &Signed, region: &str) -> Self {
        let mut key = mac(format!("AWS4{secret}").as_bytes(), signed.day.as_bytes());
        for part in [region, &signed.service, "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        let Signed { time, day, service, .. } = signed;
        Self { mac: key, head: format!("{time}\n{day}/{region}/{service}/aws4_request\n") }
    }

    /// Signs lines, preceded by algorithm, time and scope.
    pub(super) fn sign(&self, algorithm: &str, lines: &[&str]) -> String {
        hex(&mac(&self.mac, format!("{algorithm}\n{}{}", self.head, lines.join("\n")).as_bytes()))
    }
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length; the fallback is never taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// Compares in constant time.
pub(super) fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}
