//! Uncompressed files: all metadata first, then the records (in one piece or in chunks), then the labels; nothing has to be
//! known afterwards.
//!
//! The metadata are those of HDF5 1.14 byte for byte where that library puts them in one piece: superblock version 3, a
//! root group with compact links, one object header per dataset, data at 2048. From eight datasets of records on the library
//! moves the links to a heap; here they stay in the header, so that those files are about 2 KiB shorter than h5py's.

use dlio_config::vocabulary::DType;

use super::lookup3::checksum;
use super::source::{HEADER, SIGNATURE};
use super::tiles::{Grid, Tiles};
use super::{dataset_shape, name};
use crate::encode::Piece;
use crate::{Encoder, Error, FileShape, Layout};

const SUPERBLOCK: usize = 48;
/// The library allocates metadata in blocks of this size; data follow.
const BLOCK: u64 = 2048;
/// Message space of a root group's header, at least.
const ROOT_SPACE: usize = 136;
/// Message space of a dataset's header, at least.
const DATASET_SPACE: usize = 256;
const UNDEFINED: [u8; 8] = [0xFF; 8];

/// Types of object header messages.
mod message {
    pub(super) const NIL: u8 = 0;
    pub(super) const DATASPACE: u8 = 1;
    pub(super) const LINK_INFO: u8 = 2;
    pub(super) const DATATYPE: u8 = 3;
    pub(super) const FILL_VALUE: u8 = 5;
    pub(super) const LINK: u8 = 6;
    pub(super) const LAYOUT: u8 = 8;
    pub(super) const GROUP_INFO: u8 = 10;
    /// Flag: the message does not change.
    pub(super) const CONSTANT: u8 = 1;
}

/// A dataset as its header describes it.
struct Dataset {
    name: String,
    dtype: DType,
    shape: Vec<u64>,
    /// `None`: in one piece.
    grid: Option<Grid>,
}

impl Dataset {
    fn bytes(&self) -> u64 {
        if let Some(grid) = &self.grid {
            return grid.bytes();
        }
        self.shape.iter().fold(self.dtype.itemsize(), |bytes, &dim| bytes.saturating_mul(dim))
    }

    /// Its object header at this offset and its index, for data at this address.
    fn header(&self, offset: u64, address: u64) -> Vec<u8> {
        let end = offset + self.messages(0, address).len() as u64;
        let mut bytes = self.messages(end, address);
        if let Some(grid) = &self.grid {
            bytes.extend(grid.index(end, address));
        }
        bytes
    }

    /// Its object header, which ends at this offset.
    fn messages(&self, end: u64, address: u64) -> Vec<u8> {
        let mut messages = Messages::default();
        let mut dataspace = vec![2, self.shape.len() as u8, 1, 1];
        // The current shape, then the largest.
        let largest = self.grid.as_ref().map_or(&self.shape, |grid| &grid.largest);
        for dim in self.shape.iter().chain(largest) {
            dataspace.extend(dim.to_le_bytes());
        }
        messages.push(message::DATASPACE, 0, &dataspace);
        messages.push(message::DATATYPE, message::CONSTANT, &datatype(self.dtype));
        // Version 3; space is allocated late (for chunks: as it is written), the fill value is written if set and is the
        // default.
        messages.push(message::FILL_VALUE, message::CONSTANT, &[3, if self.grid.is_some() { 0x0B } else { 0x0A }]);
        let layout = if let Some(grid) = &self.grid {
            grid.message(end, address)
        } else {
            let place = [address.to_le_bytes(), self.bytes().to_le_bytes()].concat();
            [vec![3, 1], place].concat()
        };
        messages.push(message::LAYOUT, 0, &layout);
        // The library gives datasets a two-byte size even where one byte would do.
        messages.header(DATASET_SPACE)
    }
}

/// Messages of an object header under construction.
#[derive(Default)]
struct Messages(Vec<u8>);

impl Messages {
    fn push(&mut self, kind: u8, flags: u8, body: &[u8]) {
        self.0.push(kind);
        self.0.extend((body.len() as u16).to_le_bytes());
        self.0.push(flags);
        self.0.extend_from_slice(body);
    }

    /// The whole header, version 2, with a NIL message in the space that is left.
    fn header(mut self, space: usize) -> Vec<u8> {
        if self.0.len() + 4 <= space {
            let left = space - self.0.len() - 4;
            self.push(message::NIL, 0, &vec![0; left]);
        }
        let size = self.0.len();
        // Width of the size field: 1, 2 or 4 bytes.
        let (flags, width) = match size {
            0..=0xFF => (0, 1),
            0x100..=0xFFFF => (1, 2),
            _ => (2, 4),
        };
        let mut bytes = b"OHDR\x02".to_vec();
        bytes.push(flags);
        bytes.extend_from_slice(&(size as u32).to_le_bytes()[..width]);
        bytes.append(&mut self.0);
        seal(bytes)
    }
}

/// Appends the checksum of a block.
pub(super) fn seal(mut block: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&block);
    block.extend(sum.to_le_bytes());
    block
}

/// The datatype message of an element type, little-endian.
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

/// A file's metadata and where its data go.
#[derive(Debug)]
pub(super) struct Plan {
    /// Superblock and headers, without the gap to the data.
    pub(super) metadata: Vec<u8>,
    /// First byte of the first dataset.
    pub(super) data_start: u64,
    /// Bytes of one dataset of records.
    pub(super) record_bytes: u64,
    /// Bytes of the labels.
    pub(super) label_bytes: u64,
    /// Where the headers begin: the root's, each dataset's, and the end of the last.
    headers: Vec<u64>,
}

impl Plan {
    pub(super) fn new(layout: &Layout, shape: &FileShape, grid: Option<&Grid>) -> Result<Self, Error> {
        let dims = dataset_shape(layout, shape);
        let record =
            |index| Dataset { name: name(index), dtype: layout.dtype, shape: dims.clone(), grid: grid.cloned() };
        let labels = Dataset { name: "labels".to_owned(), dtype: DType::Int64, shape: vec![shape.samples], grid: None };
        let datasets: Vec<Dataset> = (0..layout.hdf5.datasets).map(record).chain([labels]).collect();
        let end = datasets.iter().try_fold(0_u64, |end, dataset| end.checked_add(dataset.bytes()));
        let end = end.filter(|&bytes| bytes < 1 << 62).ok_or_else(|| Error::Shape {
            dims: shape.dims.to_vec(),
            samples: shape.samples,
            reason: "its datasets exceed 2^62 bytes".to_owned(),
        })?;

        // Headers have the same length at every address: measure, then place.
        let root_length = root(&datasets, &vec![0; datasets.len()]).len();
        let mut headers = Vec::with_capacity(datasets.len());
        let mut position = (SUPERBLOCK + root_length) as u64;
        for dataset in &datasets {
            headers.push(position);
            position += dataset.header(0, 0).len() as u64;
        }
        let data_start = position.next_multiple_of(BLOCK);

        let mut metadata = superblock(data_start + end);
        metadata.extend(root(&datasets, &headers));
        let mut address = data_start;
        for (dataset, &offset) in datasets.iter().zip(&headers) {
            metadata.extend(dataset.header(offset, address));
            address += dataset.bytes();
        }
        let headers = [SUPERBLOCK as u64].into_iter().chain(headers).chain([metadata.len() as u64]).collect();
        let (record_bytes, label_bytes) = (datasets[0].bytes(), shape.samples * 8);
        Ok(Self { metadata, data_start, record_bytes, label_bytes, headers })
    }

    /// Length of the file.
    pub(super) fn length(&self, datasets: u64) -> u64 {
        self.data_start + datasets * self.record_bytes + self.label_bytes
    }

    /// The ranges that the library reads to open the file and its first dataset.
    pub(super) fn first_ranges(&self) -> Vec<(u64, u64)> {
        let superblock = [(0, SIGNATURE.len() as u64), (0, SUPERBLOCK as u64)];
        superblock.into_iter().chain(self.ranges_of(0)).chain(self.ranges_of(1)).collect()
    }

    /// The ranges that it reads to open a dataset.
    pub(super) fn header_ranges(&self, dataset: u64) -> Vec<(u64, u64)> {
        self.ranges_of(dataset as usize + 1)
    }

    /// A header is read in two: what may be all of it, then the rest.
    fn ranges_of(&self, header: usize) -> Vec<(u64, u64)> {
        let Some(&[start, end]) = self.headers.get(header..header + 2) else { return Vec::new() };
        let rest = (end - start > HEADER).then(|| (start + HEADER, end - start - HEADER));
        [(start, HEADER)].into_iter().chain(rest).collect()
    }

    /// Whether these bytes of a file are those of this plan, as far as they are metadata.
    pub(super) fn agrees(&self, offset: u64, bytes: &[u8]) -> bool {
        let rest = self.metadata.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        rest[..count] == bytes[..count]
    }
}

fn superblock(end: u64) -> Vec<u8> {
    // Version 3, offsets and lengths of 8 bytes, no flags.
    let mut bytes = b"\x89HDF\r\n\x1a\n\x03\x08\x08\x00".to_vec();
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(UNDEFINED);
    bytes.extend(end.to_le_bytes());
    bytes.extend((SUPERBLOCK as u64).to_le_bytes());
    seal(bytes)
}

/// The root group's header, with a link to each dataset.
fn root(datasets: &[Dataset], addresses: &[u64]) -> Vec<u8> {
    let mut messages = Messages::default();
    // Version, flags, then neither heap nor index: links are in this header.
    messages.push(message::LINK_INFO, 0, &[&[0, 0], UNDEFINED.as_slice(), UNDEFINED.as_slice()].concat());
    messages.push(message::GROUP_INFO, message::CONSTANT, &[0, 0]);
    for (dataset, address) in datasets.iter().zip(addresses) {
        // Version 1, a hard link, the length of the name in one byte.
        let mut link = vec![1, 0, dataset.name.len() as u8];
        link.extend_from_slice(dataset.name.as_bytes());
        link.extend(address.to_le_bytes());
        messages.push(message::LINK, 0, &link);
    }
    messages.header(ROOT_SPACE)
}

pub(super) fn encoder(layout: &Layout, shape: &FileShape, grid: Option<&Grid>) -> Result<Encoder, Error> {
    let plan = Plan::new(layout, shape, grid)?;
    let gap = plan.data_start - plan.metadata.len() as u64;
    // Every dataset holds the same data, as in the reference.
    let dims = dataset_shape(layout, shape);
    let bytes = dims.iter().fold(layout.dtype.itemsize(), |bytes, &dim| bytes.saturating_mul(dim));
    let payload = layout.payload.stream(shape.file, layout.element, bytes);
    let records = (0..layout.hdf5.datasets).map(|_| match grid {
        Some(grid) => Piece::Tiles(Box::new(Tiles::new(grid, payload.clone()))),
        None => Piece::Payload(payload.clone()),
    });
    let head = [Piece::bytes(plan.metadata), Piece::Zeros(gap)];
    Ok(Encoder::pieces(head.into_iter().chain(records).chain([Piece::Zeros(plan.label_bytes)])))
}
