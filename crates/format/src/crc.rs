//! Running checksums: CRC-32 of zip and PNG, CRC-32C of TFRecord and TensorFlow.

/// Size in bytes of the blocks in which payload is checksummed; a block is still in the first-level cache.
pub(crate) const BLOCK: usize = 16 * 1024;
/// A running CRC-32 (ISO-HDLC).
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

/// Returns the CRC-32 of `bytes`.
#[cfg(test)]
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// A running CRC-32C (iSCSI).
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

    /// Returns the CRC as TFRecord stores it: rotated and offset, so that a CRC over data that contains CRCs stays
    /// useful.
    pub(crate) fn masked(&self) -> u32 {
        mask(self.0.finalize())
    }
}

/// Returns the masked CRC-32C of `bytes`.
pub(crate) fn masked_crc32c(bytes: &[u8]) -> u32 {
    mask(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes))
}

/// Returns the CRC-32C of `bytes` bytes that repeat the little-endian `word`. The time is logarithmic in the length.
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
