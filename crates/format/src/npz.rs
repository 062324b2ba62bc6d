//! numpy's zip archives: members `x.npy` and `y.npy`, stored, byte for byte as `numpy.savez` lays them out; or deflated, as
//! `numpy.savez_compressed` lays them out.

mod inflated;
mod members;
mod read;

use crate::crc::{Crc32, Sealed};
use crate::encode::Piece;
use crate::npy;
use crate::payload::Stream;
use crate::squeeze::{self, Method};
use crate::{Encoder, Error, FileShape, Layout};

pub(crate) use members::Members;
pub(crate) use read::Archive;

/// Sizes and offsets above this make Python's zipfile use zip64 records.
const ZIP64_LIMIT: u64 = (1 << 31) - 1;
/// Version 4.5: zip64.
const VERSION: u16 = 45;
/// 1980-01-01.
const DATE: u16 = 0x21;
/// Read and write for the owner, in the upper half as Unix has it.
const ATTRIBUTES: u32 = 0o600 << 16;
const UNIX: u8 = 3;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const END64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR64: [u8; 4] = *b"PK\x06\x07";
const END_BYTES: usize = 22;
const LOCAL_BYTES: usize = 30;

/// A member as the directory describes it.
pub(crate) struct Member {
    name: &'static str,
    method: u16,
    crc: u32,
    size: u64,
    /// Bytes in the file.
    packed: u64,
    offset: u64,
}

impl Member {
    /// A member that is stored as it is.
    fn stored(name: &'static str, crc: u32, size: u64, offset: u64) -> Self {
        Self { name, method: STORED, crc, size, packed: size, offset }
    }

    /// The first member of an archive, deflated.
    pub(crate) fn deflated(name: &'static str, crc: u32, size: u64, packed: u64) -> Self {
        Self { name, method: DEFLATED, crc, size, packed, offset: 0 }
    }

    pub(crate) fn local(&self) -> Vec<u8> {
        let mut bytes = LOCAL.to_vec();
        // Version, flags, method, time, date.
        put16(&mut bytes, [VERSION, 0, self.method, 0, DATE]);
        // Both sizes are in the zip64 field, always: numpy forces it.
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

fn put16(bytes: &mut Vec<u8>, values: impl IntoIterator<Item = u16>) {
    bytes.extend(values.into_iter().flat_map(u16::to_le_bytes));
}

fn put32(bytes: &mut Vec<u8>, values: impl IntoIterator<Item = u32>) {
    bytes.extend(values.into_iter().flat_map(u32::to_le_bytes));
}

fn put64(bytes: &mut Vec<u8>, values: impl IntoIterator<Item = u64>) {
    bytes.extend(values.into_iter().flat_map(u64::to_le_bytes));
}

/// Central directory and end records.
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

pub(crate) fn encoder(layout: &Layout, shape: &FileShape) -> Result<Encoder, Error> {
    let data = layout.data_bytes(shape)?;
    let x_header = npy::header(npy::descr(layout.dtype), &npy::array_shape(shape));
    let y_header = npy::header("<i8", &[shape.samples]);
    let labels = shape.samples.checked_mul(8).filter(|&bytes| bytes < 1 << 62).ok_or_else(|| Error::Shape {
        dims: shape.dims.to_vec(),
        samples: shape.samples,
        reason: "its labels exceed 2^62 bytes".to_owned(),
    })?;
    let payload = layout.payload.stream(shape.file, layout.element, data);
    if layout.deflated {
        return Ok(deflated(x_header, payload, y_header, labels));
    }
    let wanted = layout.payload.number(shape.file) as u32;
    let (payload, crc) = Sealed::piece(&layout.seal, &x_header, payload, wanted);

    let x = Member::stored("x.npy", crc, x_header.len() as u64 + data, 0);
    let x_local = x.local();
    let y_offset = x_local.len() as u64 + x.size;
    let y_crc = crc_with_zeros(&y_header, labels);
    let y = Member::stored("y.npy", y_crc, y_header.len() as u64 + labels, y_offset);
    let y_local = y.local();
    let end = y_offset + y_local.len() as u64 + y.size;
    Ok(Encoder::pieces([
        Piece::bytes([x_local, x_header].concat()),
        payload,
        Piece::bytes([y_local, y_header].concat()),
        Piece::Zeros(labels),
        Piece::bytes(directory(&[x, y], end)),
    ]))
}

/// The archive that `numpy.savez_compressed` writes.
fn deflated(x_header: Vec<u8>, payload: Stream, y_header: Vec<u8>, labels: u64) -> Encoder {
    let x = Encoder::pieces([Piece::bytes(x_header), Piece::Payload(payload)]);
    let y = Encoder::pieces([Piece::bytes(y_header), Piece::Zeros(labels)]);
    let (mut members, mut pieces, mut offset) = (Vec::new(), Vec::new(), 0);
    for (name, plain) in [("x.npy", x), ("y.npy", y)] {
        let packed = squeeze::squeeze(&plain, Method::Deflate);
        let member = Member { offset, ..Member::deflated(name, packed.crc, plain.len(), packed.bytes) };
        let local = member.local();
        offset += local.len() as u64 + packed.bytes;
        pieces.extend([Piece::bytes(local), packed.piece]);
        members.push(member);
    }
    pieces.push(Piece::bytes(directory(&members, offset)));
    Encoder::pieces(pieces)
}

fn crc_with_zeros(prefix: &[u8], mut zeros: u64) -> u32 {
    let mut crc = Crc32::new();
    crc.update(prefix);
    let block = [0; 4096];
    while zeros > 0 {
        let count = crate::encode::clamp(zeros, block.len());
        crc.update(&block[..count]);
        zeros -= count as u64;
    }
    crc.value()
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

    /// Recorded with two members of 1.5 GiB: only the directory lies beyond the limit.
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
