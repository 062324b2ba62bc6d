//! Zip archives as Python's `zipfile` writes them: numpy's npz files, and CSV files that pandas compresses with zip.

use crate::zip::{CENTRAL, DEFLATED, END, END64, LOCAL, LOCATOR64, STORED, put16, put32, put64};

/// Sizes and offsets in bytes above which Python's zipfile uses zip64 records.
const ZIP64_LIMIT: u64 = (1 << 31) - 1;
/// Version 4.5: zip64.
const VERSION: u16 = 45;
/// 1980-01-01.
const DATE: u16 = 0x21;
/// Unix permissions in the upper half: read and write for the owner.
const ATTRIBUTES: u32 = 0o600 << 16;
const UNIX: u8 = 3;

/// A member of an archive.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) method: u16,
    pub(crate) crc: u32,
    pub(crate) size: u64,
    /// Length of the stored data in bytes.
    pub(crate) packed: u64,
    pub(crate) offset: u64,
}

impl Member {
    /// Creates a member that is not compressed.
    pub(crate) fn stored(name: &'static str, crc: u32, size: u64, offset: u64) -> Self {
        Self { name, method: STORED, crc, size, packed: size, offset }
    }

    /// Creates the first member of an archive, deflated.
    pub(crate) fn deflated(name: &'static str, crc: u32, size: u64, packed: u64) -> Self {
        Self { name, method: DEFLATED, crc, size, packed, offset: 0 }
    }

    pub(crate) fn local(&self) -> Vec<u8> {
        let mut bytes = LOCAL.to_vec();
        // Version, flags, method, time, date.
        put16(&mut bytes, [VERSION, 0, self.method, 0, DATE]);
        // Both sizes are in the zip64 field, because numpy always forces zip64.
        put32(&mut bytes, [self.crc, u32::MAX, u32::MAX]);
        put16(&mut bytes, [self.name.len() as u16, 20]);
        bytes.extend_from_slice(self.name.as_bytes());
        put16(&mut bytes, [1, 16]);
        put64(&mut bytes, [self.size, self.packed]);
        bytes
    }

    fn central(&self) -> Vec<u8> {
        let mut wide = Vec::new();
        let (size, packed) = if self.size > ZIP64_LIMIT || self.packed > ZIP64_LIMIT {
            wide.extend([self.size, self.packed]);
            (u32::MAX, u32::MAX)
        } else {
            (self.size as u32, self.packed as u32)
        };
        let offset = if self.offset > ZIP64_LIMIT {
            wide.push(self.offset);
            u32::MAX
        } else {
            self.offset as u32
        };
        let extra = if wide.is_empty() { 0 } else { 4 + 8 * wide.len() as u16 };
        let mut bytes = CENTRAL.to_vec();
        put16(&mut bytes, [VERSION | u16::from(UNIX) << 8, VERSION, 0, self.method, 0, DATE]);
        put32(&mut bytes, [self.crc, packed, size]);
        // Name, extra, comment, disk, internal attributes.
        put16(&mut bytes, [self.name.len() as u16, extra, 0, 0, 0]);
        put32(&mut bytes, [ATTRIBUTES, offset]);
        bytes.extend_from_slice(self.name.as_bytes());
        if !wide.is_empty() {
            put16(&mut bytes, [1, extra - 4]);
            put64(&mut bytes, wide);
        }
        bytes
    }
}

/// Returns the central directory, which begins at `offset`, and the end records.
pub(crate) fn directory(members: &[Member], offset: u64) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(Member::central).collect();
    let size = bytes.len() as u64;
    let count = members.len() as u16;
    if offset > ZIP64_LIMIT {
        let end64 = offset + size;
        bytes.extend(END64);
        put64(&mut bytes, [44]);
        put16(&mut bytes, [VERSION, VERSION]);
        put32(&mut bytes, [0, 0]);
        put64(&mut bytes, [u64::from(count), u64::from(count), size, offset]);
        bytes.extend(LOCATOR64);
        put32(&mut bytes, [0]);
        put64(&mut bytes, [end64]);
        put32(&mut bytes, [1]);
    }
    bytes.extend(END);
    put16(&mut bytes, [0, 0, count, count]);
    put32(&mut bytes, [size as u32, u32::try_from(offset).unwrap_or(u32::MAX)]);
    put16(&mut bytes, [0]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// Recorded from Python's zipfile with a first member of 5 GiB.
    #[test]
    fn a_member_beyond_two_gibibytes_has_zip64_records_in_the_directory() {
        let x = Member::stored("x.npy", 0xA1C3_EBB3, (5 << 30) + 128, 0);
        let y = Member::stored("y.npy", 0x7733_33E6, 136, 55 + x.size);
        let end = y.offset + 55 + 136;
        let recorded = concat!(
            "504b01022d032d000000000000002100b3ebc3a1ffffffffffffffff050014000000000000000000800100000000782e6e7079",
            "0100100080000040010000008000004001000000",
            "504b01022d032d000000000000002100e6333377880000008800000005000c0000000000000000008001ffffffff792e6e7079",
            "01000800b700004001000000",
            "504b06062c000000000000002d002d0000000000000000000200000000000000020000000000000086000000000000007601004001000000",
            "504b060700000000fc0100400100000001000000",
            "504b0506000000000200020086000000ffffffff0000",
        );
        assert_eq!(hex(&directory(&[x, y], end)), recorded);
    }

    /// Recorded with two members of 1.5 GiB: only the directory is beyond the limit.
    #[test]
    fn a_directory_beyond_two_gibibytes_has_a_zip64_end_record() {
        let member = |name, offset| Member::stored(name, 0x400A_E278, 3 << 29, offset);
        let (x, y) = (member("x.npy", 0), member("y.npy", 55 + (3 << 29)));
        let end = y.offset + 55 + y.size;
        let recorded = concat!(
            "504b01022d032d00000000000000210078e20a400000006000000060050000000000000000000000800100000000782e6e7079",
            "504b01022d032d00000000000000210078e20a400000006000000060050000000000000000000000800137000060792e6e7079",
            "504b06062c000000000000002d002d0000000000000000000200000000000000020000000000000066000000000000006e0000c000000000",
            "504b060700000000d40000c00000000001000000",
            "504b05060000000002000200660000006e0000c00000",
        );
        assert_eq!(hex(&directory(&[x, y], end)), recorded);
    }
}
