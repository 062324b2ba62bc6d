//! The zip archive of `torch.save`: stored records aligned to 64 bytes, checksums behind the data, zip64 fields for
//! sizes and offsets of 4 GiB and more, and always a zip64 end record.

use crate::zip::{CENTRAL, DESCRIPTOR, END, END64, LOCAL, LOCATOR64, put16, put32, put64};

/// Alignment of every record's data in bytes; the padding is an extra field.
const ALIGNMENT: u64 = 64;
/// Sizes and offsets of this value and more are stored in zip64 fields.
const WIDE: u64 = u32::MAX as u64;
/// Flags: names are UTF-8, and size and checksum follow the data.
const UTF8: u16 = 0x0800;
const FOLLOWS: u16 = 0x0008;

/// A record of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Record {
    /// Returns the zip64 extra field with size, stored size and offset, or nothing if all fit into 32 bits. The local
    /// header precedes the data and has a stored size of 0.
    fn wide(&self, stored: u64) -> Vec<u8> {
        let mut fields = Vec::new();
        if self.size >= WIDE {
            fields.extend([self.size, stored]);
        }
        if self.offset >= WIDE {
            fields.push(self.offset);
        }
        if fields.is_empty() {
            return Vec::new();
        }
        let mut extra = [1_u16.to_le_bytes(), (8 * fields.len() as u16).to_le_bytes()].concat();
        extra.extend(fields.into_iter().flat_map(u64::to_le_bytes));
        extra
    }

    fn flags(&self) -> u16 {
        UTF8 | if self.size > 0 { FOLLOWS } else { 0 }
    }

    /// Returns the local header, including the padding that aligns the data.
    pub(super) fn local(&self) -> Vec<u8> {
        let wide = self.wide(0);
        let unpadded = self.offset + 30 + self.name.len() as u64 + wide.len() as u64 + 4;
        let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
        let mut bytes = LOCAL.to_vec();
        // Version, flags, method (stored), time, date; then checksum and sizes, which follow the data.
        put16(&mut bytes, [0, self.flags(), 0, 0, 0]);
        bytes.extend([0; 12]);
        put16(&mut bytes, [self.name.len() as u16, wide.len() as u16 + 4 + padding as u16]);
        bytes.extend(self.name.as_bytes());
        bytes.extend(wide);
        bytes.extend(b"FB");
        put16(&mut bytes, [padding as u16]);
        bytes.resize(bytes.len() + padding as usize, b'Z');
        bytes
    }

    /// Returns the checksum and sizes that follow the data. An empty record has none.
    pub(super) fn descriptor(&self, crc: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.size > 0 {
            bytes.extend(DESCRIPTOR);
            put32(&mut bytes, [crc]);
            if self.wide(0).is_empty() {
                put32(&mut bytes, [self.size as u32, self.size as u32]);
            } else {
                put64(&mut bytes, [self.size, self.size]);
            }
        }
        bytes
    }

    /// Returns the offset of the record's data in bytes.
    pub(super) fn data(&self) -> u64 {
        self.offset + self.local().len() as u64
    }

    /// Returns the offset of the next record in bytes.
    pub(super) fn end(&self) -> u64 {
        self.data() + self.size + self.descriptor(0).len() as u64
    }

    fn central(&self, crc: u32, bytes: &mut Vec<u8>) {
        let (wide, narrow) = (self.wide(self.size), |number: u64| u32::try_from(number).unwrap_or(u32::MAX));
        bytes.extend(CENTRAL);
        // Version made by and needed, flags, method, time, date.
        put16(bytes, [0, 0, self.flags(), 0, 0, 0]);
        put32(bytes, [crc, narrow(self.size), narrow(self.size)]);
        // Name, extra, comment, disk, internal and external attributes.
        put16(bytes, [self.name.len() as u16, wide.len() as u16, 0, 0, 0, 0, 0]);
        put32(bytes, [narrow(self.offset)]);
        bytes.extend(self.name.as_bytes());
        bytes.extend(wide);
    }
}

/// Returns contiguous records with these names and sizes.
pub(super) fn records(contents: impl Iterator<Item = (String, u64)>) -> Vec<Record> {
    let mut offset = 0;
    let place = |(name, size)| {
        let record = Record { name, offset, size };
        offset = record.end();
        record
    };
    contents.map(place).collect()
}

/// Returns the central directory and the end records. `crcs` are the checksums of `records`, in order.
pub(super) fn directory(records: &[Record], crcs: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (record, &crc) in records.iter().zip(crcs) {
        record.central(crc, &mut bytes);
    }
    let (count, size) = (records.len() as u64, bytes.len() as u64);
    let offset = records.last().map_or(0, Record::end);
    bytes.extend(END64);
    put64(&mut bytes, [44]);
    // Made by version 3.0 on Unix, needs 4.5; disks.
    put16(&mut bytes, [0x031E, 45]);
    put32(&mut bytes, [0, 0]);
    put64(&mut bytes, [count, count, size, offset]);
    bytes.extend(LOCATOR64);
    put32(&mut bytes, [0]);
    put64(&mut bytes, [offset + size]);
    put32(&mut bytes, [1]);
    bytes.extend(END);
    let short = u16::try_from(count).unwrap_or(u16::MAX);
    put16(&mut bytes, [0, 0, short, short]);
    put32(&mut bytes, [size, offset].map(|number| u32::try_from(number).unwrap_or(u32::MAX)));
    put16(&mut bytes, [0]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// Recorded from torch with storages of more than 4 GiB whose data was left out.
    #[test]
    fn records_beyond_four_gibibytes_are_those_of_torch() {
        let contents = [
            ("data.pkl", 429, 0xE646_0C56),
            (".format_version", 1, 0x83DC_EFB7),
            (".storage_alignment", 2, 0xE971_773F),
            ("byteorder", 6, 0x19E3_3D85),
            ("data/0", 5, 0),
            ("data/1", 4 * GIB + 100, 0),
            ("data/2", 7, 0),
            ("data/3", 4 * GIB + 2, 0),
            ("data/4", 0, 0),
            ("version", 2, 0x5567_9ED1),
            (".data/serialization_id", 40, 0x4646_6B98),
        ];
        let records = records(contents.iter().map(|&(name, size, _)| (format!("big/{name}"), size)));
        let data: Vec<u64> = records.iter().map(Record::data).collect();
        let expected: [u64; 11] = [
            0x40,
            0x240,
            0x2c0,
            0x340,
            0x3c0,
            0x440,
            0x1_0000_0500,
            0x1_0000_0580,
            0x2_0000_0600,
            0x2_0000_0640,
            0x2_0000_06c0,
        ];
        assert_eq!(data, expected);
        let extra = |number: usize| hex(&records[number].local()[30 + records[number].name.len()..]);
        assert!(extra(5).starts_with("010010006400000001000000000000000000000046422b005a"), "{}", extra(5));
        assert!(extra(6).starts_with("01000800bc0400000100000046420c005a"), "{}", extra(6));
        assert!(
            extra(7).starts_with("01001800020000000100000000000000000000001f0500000100000046421900"),
            "{}",
            extra(7)
        );
        assert_eq!(hex(&records[5].descriptor(0)), "504b07080000000064000000010000006400000001000000");
        assert_eq!(hex(&records[6].descriptor(0)), "504b07080000000007000000000000000700000000000000");
        assert!(records[8].descriptor(0).is_empty());
        let crcs: Vec<u32> = contents.iter().map(|&(_, _, crc)| crc).collect();
        assert_eq!(hex(&directory(&records, &crcs)), include_str!("../../tests/golden/torch/zip64.hex").trim());
        assert_eq!(records[10].end(), 0x2_0000_0700);
    }

    #[test]
    fn more_records_than_two_bytes_count_are_in_the_zip64_end_record_alone() {
        let records = records((0..70_000).map(|number| (format!("archive/data/{number}"), 1)));
        let directory = directory(&records, &vec![0; 70_000]);
        let (end64, end) = (directory.len() - 98, directory.len() - 22);
        assert_eq!(directory[end64..end64 + 4], END64);
        assert_eq!(directory[end64 + 32..end64 + 40], 70_000_u64.to_le_bytes());
        assert_eq!(hex(&directory[end..end + 12]), "504b050600000000ffffffff");
    }
}
