//! Running checksums: CRC-32 as zip and PNG have it, CRC-32C as TFRecord and TensorFlow have it.

/// Payload is checksummed while it is still in the first-level cache.
pub(crate) const BLOCK: usize = 16 * 1024;
/// A running CRC-32.
#[derive(Debug, Clone)]
pub(crate) struct Crc32(crc32fast::Hasher);

impl Crc32 {
    pub(crate) fn new() -> Self {
        Self(crc32fast::Hasher::new())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}

/// CRC-32 of a few bytes.
#[cfg(test)]
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// A running CRC-32C.
#[derive(Debug, Clone)]
pub(crate) struct Crc32c(crc_fast::Digest);

impl Crc32c {
    pub(crate) fn new() -> Self {
        Self(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn value(&self) -> u32 {
        self.0.finalize() as u32
    }

    /// As TFRecord stores it: rotated, so that a CRC over data with embedded CRCs stays useful.
    pub(crate) fn masked(&self) -> u32 {
        mask(self.0.finalize())
    }
}

/// Masked CRC-32C of a few bytes.
pub(crate) fn masked_crc32c(bytes: &[u8]) -> u32 {
    mask(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes))
}

/// CRC-32C of a word over and over, for this many bytes, in a time that grows with the digits of the length only.
pub(crate) fn crc32c_repeated(word: u64, bytes: u64) -> u64 {
    use crc_fast::{CrcAlgorithm::Crc32Iscsi, checksum, checksum_combine};
    let word = word.to_le_bytes();
    let one = checksum(Crc32Iscsi, &word);
    let words = bytes / 8;
    let (mut crc, mut length) = (checksum(Crc32Iscsi, b""), 0_u64);
    for bit in (0..u64::BITS - words.leading_zeros()).rev() {
        crc = checksum_combine(Crc32Iscsi, crc, crc, length);
        length *= 2;
        if words >> bit & 1 == 1 {
            crc = checksum_combine(Crc32Iscsi, crc, one, 8);
            length += 8;
        }
    }
    let rest = &word[..(bytes % 8) as usize];
    checksum_combine(Crc32Iscsi, crc, checksum(Crc32Iscsi, rest), rest.len() as u64)
}

pub(crate) fn mask(crc: u64) -> u32 {
    (crc as u32).rotate_right(15).wrapping_add(0xA282_EAD8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_crc_of_a_tfrecord_length_is_the_recorded_one() {
        assert_eq!(masked_crc32c(&65580_u64.to_le_bytes()).to_le_bytes(), [0x54, 0x05, 0xfd, 0x17]);
    }
}
