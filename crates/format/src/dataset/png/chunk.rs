//! The structure of a PNG file and its chunks.

use crate::crc::Crc32;

/// Signature of a PNG file.
pub(super) const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// Length in bytes of a chunk without its data: length, type and CRC.
pub(super) const CHUNK: u64 = 12;
/// Length in bytes of a file without its IDAT chunks: signature, IHDR and IEND.
pub(super) const FRAME: u64 = 8 + CHUNK + 13 + CHUNK;

/// Returns a complete chunk: length, name, data and CRC.
pub(super) fn chunk(name: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = Crc32::new();
    crc.update(&name);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes()[..], &name, data, &crc.value().to_be_bytes()].concat()
}
