//! Superblock and object headers, byte for byte as HDF5 1.14 writes them with the latest format bounds.

use dlio_config::vocabulary::DType;

use super::lookup3::checksum;

pub(super) const SUPERBLOCK: u64 = 48;
/// Minimum space for messages in a dataset's header, in bytes.
const DATASET_SPACE: usize = 256;
pub(super) const UNDEFINED: [u8; 8] = [0xFF; 8];

/// Types of object header messages.
pub(super) mod message {
    pub(in super::super) const NIL: u8 = 0;
    pub(super) const DATASPACE: u8 = 1;
    pub(in super::super) const LINK_INFO: u8 = 2;
    pub(super) const DATATYPE: u8 = 3;
    pub(super) const FILL_VALUE: u8 = 5;
    pub(in super::super) const LINK: u8 = 6;
    pub(super) const LAYOUT: u8 = 8;
    pub(in super::super) const GROUP_INFO: u8 = 10;
    pub(super) const FILTERS: u8 = 11;
    pub(in super::super) const CONTINUATION: u8 = 16;
    /// Flag: the message is constant.
    pub(in super::super) const CONSTANT: u8 = 1;
}

/// The messages of an object header under construction.
#[derive(Default)]
pub(super) struct HeaderMessages(pub(super) Vec<u8>);

impl HeaderMessages {
    pub(super) fn push(&mut self, kind: u8, flags: u8, body: &[u8]) {
        self.0.push(kind);
        self.0.extend((body.len() as u16).to_le_bytes());
        self.0.push(flags);
        self.0.extend_from_slice(body);
    }

    /// Fills the remaining space with a NIL message, or with a gap if the space is too small for a message.
    pub(super) fn pad(&mut self, space: usize) {
        match space.saturating_sub(self.0.len()) {
            left @ 0..4 => self.0.resize(self.0.len() + left, 0),
            left => self.push(message::NIL, 0, &vec![0; left - 4]),
        }
    }
}

/// The properties of a dataset that its header describes.
pub(super) struct DatasetHeader<'a> {
    pub(super) dtype: DType,
    /// Current shape, then maximum shape.
    pub(super) shapes: [&'a [u64]; 2],
    pub(super) is_chunked: bool,
    /// Body of the filter message.
    pub(super) filter: Option<&'a [u8]>,
    /// Body of the layout message.
    pub(super) layout: &'a [u8],
}

impl DatasetHeader<'_> {
    /// Returns the object header.
    pub(super) fn header(&self) -> Vec<u8> {
        let mut messages = HeaderMessages::default();
        let mut dataspace = vec![2, self.shapes[0].len() as u8, 1, 1];
        for dim in self.shapes.concat() {
            dataspace.extend(dim.to_le_bytes());
        }
        messages.push(message::DATASPACE, 0, &dataspace);
        messages.push(message::DATATYPE, message::CONSTANT, &datatype(self.dtype));
        // Version 3; space is allocated late (for chunks: incrementally), the fill value is written if set, and it is
        // the default.
        messages.push(message::FILL_VALUE, message::CONSTANT, &[3, if self.is_chunked { 0x0B } else { 0x0A }]);
        if let Some(filter) = self.filter {
            messages.push(message::FILTERS, message::CONSTANT, filter);
        }
        messages.push(message::LAYOUT, 0, self.layout);
        messages.pad(DATASET_SPACE);
        let size = messages.0.len();
        // The library uses a two-byte size for datasets even if one byte is enough.
        let (flags, width) = if size > 0xFFFF { (2, 4) } else { (1, 2) };
        let mut bytes = b"OHDR\x02".to_vec();
        bytes.push(flags);
        bytes.extend_from_slice(&(size as u32).to_le_bytes()[..width]);
        bytes.append(&mut messages.0);
        with_checksum(bytes)
    }
}

/// Appends the checksum of `block` to it.
pub(super) fn with_checksum(mut block: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&block);
    block.extend(sum.to_le_bytes());
    block
}

/// Returns the superblock of a file of `end` bytes.
pub(super) fn superblock(end: u64) -> Vec<u8> {
    // Version 3, offsets and lengths of 8 bytes, no flags.
    let mut bytes = b"\x89HDF\r\n\x1a\n\x03\x08\x08\x00".to_vec();
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(UNDEFINED);
    bytes.extend(end.to_le_bytes());
    bytes.extend(SUPERBLOCK.to_le_bytes());
    with_checksum(bytes)
}

/// Returns the datatype message of an element type, little-endian.
fn datatype(dtype: DType) -> Vec<u8> {
    let size = dtype.itemsize() as u8;
    let bits = size * 8;
    // Class and version, sign or float bits, size.
    let integer = |sign: u8| vec![0x10, sign, 0, 0, size, 0, 0, 0, 0, 0, bits, 0];
    let float = |exponent_at: u8, exponent_bits: u8, bias: u16| {
        let mut body = vec![0x11, 0x20, bits - 1, 0, size, 0, 0, 0, 0, 0, bits, 0];
        // Exponent position and size, mantissa position and size, bias.
        body.extend([exponent_at, exponent_bits, 0, exponent_at]);
        body.extend(u32::from(bias).to_le_bytes());
        body
    };
    match dtype {
        DType::Int8 | DType::Int16 | DType::Int32 | DType::Int64 => integer(8),
        DType::Uint8 | DType::Uint16 | DType::Uint32 | DType::Uint64 => integer(0),
        DType::Float16 => float(10, 5, 15),
        DType::Float32 => float(23, 8, 127),
        DType::Float64 => float(52, 11, 1023),
        DType::Bfloat16 => float(7, 8, 127),
        // h5py's booleans: an enumeration of two names over a signed byte.
        DType::Bool => {
            let mut body = vec![0x38, 2, 0, 0, 1, 0, 0, 0];
            body.extend([0x10, 8, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0]);
            body.extend(b"FALSE\0TRUE\0\x00\x01");
            body
        }
    }
}
