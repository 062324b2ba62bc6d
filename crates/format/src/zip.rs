//! Signatures and fields of zip archives, shared by the archives of numpy, pandas and PyTorch.

/// Compression method: none.
pub(crate) const STORED: u16 = 0;
/// Compression method: deflate.
pub(crate) const DEFLATED: u16 = 8;

/// Signature of a local header.
pub(crate) const LOCAL: [u8; 4] = *b"PK\x03\x04";
/// Signature of the descriptor behind a member's data, which holds its checksum and sizes.
pub(crate) const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
/// Signature of an entry of the central directory.
pub(crate) const CENTRAL: [u8; 4] = *b"PK\x01\x02";
/// Signature of the end record.
pub(crate) const END: [u8; 4] = *b"PK\x05\x06";
/// Signature of the zip64 end record.
pub(crate) const END64: [u8; 4] = *b"PK\x06\x06";
/// Signature of the locator of the zip64 end record.
pub(crate) const LOCATOR64: [u8; 4] = *b"PK\x06\x07";
/// Length of an end record without a comment, in bytes.
pub(crate) const END_BYTES: usize = 22;
/// Length of a local header without its name and extra fields, in bytes.
pub(crate) const LOCAL_BYTES: usize = 30;

/// Appends numbers of 16 bits, little-endian.
pub(crate) fn put16(bytes: &mut Vec<u8>, values: impl IntoIterator<Item = u16>) {
    bytes.extend(values.into_iter().flat_map(u16::to_le_bytes));
}

/// Appends numbers of 32 bits, little-endian.
pub(crate) fn put32(bytes: &mut Vec<u8>, values: impl IntoIterator<Item = u32>) {
    bytes.extend(values.into_iter().flat_map(u32::to_le_bytes));
}

/// Appends numbers of 64 bits, little-endian.
pub(crate) fn put64(bytes: &mut Vec<u8>, values: impl IntoIterator<Item = u64>) {
    bytes.extend(values.into_iter().flat_map(u64::to_le_bytes));
}
