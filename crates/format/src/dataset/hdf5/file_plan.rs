//! The plan of a file, with every object at the address where the HDF5 library puts it. The operations of
//! `h5py.File(…, libver="latest")` for each dataset are repeated on an empty allocator; then the objects are written
//! in the order of their addresses.

use dlio_config::vocabulary::DType;

use super::allocator::{Allocator, SpaceKind};
use super::chunk_bytes::{ChunkBytes, ChunkGrid};
use super::compressed_chunks::Measured;
use super::fixed_array::{self, ChunkRun, Index};
use super::group::{Group, PlacedBlock};
use super::header::{DatasetHeader, SUPERBLOCK, superblock};
use super::options::{Filter, Options, name};
use super::source::{HEADER, SIGNATURE};
use crate::encode::Encoder;
use crate::encode::Piece;
use crate::error::Error;
use crate::layout::Layout;
use crate::shape::FileShape;

/// A dataset and its addresses.
#[derive(Debug)]
struct Dataset {
    header: u64,
    header_bytes: u64,
    data: DataPlacement,
}

#[derive(Debug)]
enum DataPlacement {
    /// One contiguous block.
    Contiguous {
        address: u64,
        bytes: u64,
    },
    Chunked {
        runs: Vec<ChunkRun>,
        header: u64,
        array: u64,
    },
}

/// How a dataset of records is stored.
struct RecordStorage<'a> {
    dtype: DType,
    dims: &'a [u64],
    grid: Option<&'a ChunkGrid>,
    filter: Option<Vec<u8>>,
    index: Option<Index>,
}

impl RecordStorage<'_> {
    fn header(&self, dataset: &DataPlacement) -> Vec<u8> {
        let (filter, layout) = match (&self.index, dataset) {
            (Some(index), DataPlacement::Chunked { header, runs, .. }) => {
                let address = if *header > 0 { *header } else { runs.first().map_or(0, |run| run.address) };
                (self.filter.as_deref(), index.message(address))
            }
            (_, DataPlacement::Contiguous { address, bytes }) => (None, contiguous(*address, *bytes)),
            (None, DataPlacement::Chunked { .. }) => (None, Vec::new()),
        };
        let largest = self.grid.map_or(self.dims, |grid| &grid.largest);
        let (dtype, shapes) = (self.dtype, [self.dims, largest]);
        DatasetHeader { dtype, shapes, is_chunked: self.grid.is_some(), filter, layout: &layout }.header()
    }

    /// Allocates the space of a dataset's data.
    fn place(&self, allocator: &mut Allocator) -> DataPlacement {
        let Some((grid, index)) = self.grid.zip(self.index.as_ref()) else {
            let bytes = self.dims.iter().product::<u64>() * self.dtype.itemsize();
            return DataPlacement::Contiguous { address: allocator.allocate(SpaceKind::Data, bytes), bytes };
        };
        let header =
            if grid.is_single() { 0 } else { allocator.allocate(SpaceKind::Metadata, fixed_array::HEADER_BYTES) };
        let (mut runs, mut array): (Vec<ChunkRun>, u64) = (Vec::new(), 0);
        let mut behind = 0;
        for chunk in 0..grid.chunks() {
            let bytes = index.stored(chunk);
            let address = allocator.allocate(SpaceKind::Data, bytes);
            match runs.last_mut() {
                Some(run) if address == behind => run.end = chunk + 1,
                _ => runs.push(ChunkRun { address, first: chunk, end: chunk + 1 }),
            }
            behind = address + bytes;
            // The library allocates the array with the first chunk.
            if chunk == 0 && header > 0 {
                array = allocator.allocate(SpaceKind::Metadata, index.array_bytes());
            }
        }
        DataPlacement::Chunked { runs, header, array }
    }
}

/// Returns the body of the layout message of a contiguous dataset.
fn contiguous(address: u64, bytes: u64) -> Vec<u8> {
    [&[4, 1], address.to_le_bytes().as_slice(), &bytes.to_le_bytes()].concat()
}

/// The objects of a file and their addresses.
#[derive(Debug)]
pub(super) struct FilePlan {
    /// Datasets of records, then the labels.
    datasets: Vec<Dataset>,
    /// Superblock, group and headers. The group's blocks that are read follow the superblock, in the order in which
    /// they are read.
    metadata: Vec<PlacedBlock>,
    /// Number of the group's blocks that are read.
    group: usize,
    index: Option<Index>,
    length: u64,
}

impl FilePlan {
    pub(super) fn new(
        layout: &Layout,
        options: &Options,
        shape: &FileShape,
        grid: Option<&ChunkGrid>,
        measured: Option<&Measured>,
    ) -> Result<Self, Error> {
        let dims = options.dataset_shape(shape);
        let bytes = grid.map_or_else(|| product(&dims).saturating_mul(layout.dtype.itemsize()), ChunkGrid::bytes);
        let all = bytes.saturating_mul(options.datasets).saturating_add(shape.samples.saturating_mul(8));
        if all >= 1 << 61 {
            return Err(Error::Shape {
                dims: shape.dims.to_vec(),
                samples: shape.samples,
                reason: "its datasets exceed 2^61 bytes".to_owned(),
            });
        }
        let filter = grid.and_then(|grid| options.filter.message(grid.chunk_bytes()));
        let index = grid.map(|grid| Index::new(grid, measured));
        let records = RecordStorage { dtype: layout.dtype, dims: &dims, grid, filter, index };
        let label_dims = [shape.samples];
        let labels = RecordStorage { dtype: DType::Int64, dims: &label_dims, grid: None, filter: None, index: None };
        Ok(Self::place(options.datasets, &records, &labels))
    }

    fn place(count: u64, records: &RecordStorage, labels: &RecordStorage) -> Self {
        let names: Vec<String> = (0..count).map(name).chain(["labels".to_owned()]).collect();
        let mut allocator = Allocator::default();
        allocator.allocate(SpaceKind::Metadata, SUPERBLOCK);
        let mut group = Group::new(names.iter().map(String::as_str), &mut allocator);
        let (mut datasets, mut metadata) = (Vec::with_capacity(names.len()), Vec::new());
        for (number, name) in names.into_iter().enumerate() {
            let kind = if number as u64 == count { labels } else { records };
            // The length of a header does not depend on the addresses in it.
            let unplaced = DataPlacement::Contiguous { address: 0, bytes: 0 };
            let nowhere = match kind.grid {
                Some(_) => DataPlacement::Chunked { runs: Vec::new(), header: 0, array: 0 },
                None => unplaced,
            };
            let header_bytes = kind.header(&nowhere).len() as u64;
            let header = allocator.allocate(SpaceKind::Metadata, header_bytes);
            group.link(name, header, &mut allocator);
            let data = kind.place(&mut allocator);
            metadata.push((header, kind.header(&data)));
            if let (Some(index), DataPlacement::Chunked { header, array, .. }) = (&kind.index, &data)
                && *header > 0
            {
                metadata.push((*header, index.header(*array)));
            }
            datasets.push(Dataset { header, header_bytes, data });
        }
        allocator.free_blocks();
        let (blocks, others) = group.finish(&mut allocator);
        let group = blocks.len();
        let mut plan = Self { datasets, metadata: Vec::new(), group, index: records.index.clone(), length: 0 };
        plan.metadata.push((0, vec![0; SUPERBLOCK as usize]));
        plan.metadata.extend(blocks.into_iter().chain(others).chain(metadata));
        plan.length = plan.end();
        plan.metadata[0].1 = superblock(plan.length);
        plan
    }

    /// Returns the end of the last object in bytes.
    fn end(&self) -> u64 {
        let metadata = self.metadata.iter().map(|(address, bytes)| address + bytes.len() as u64);
        let data = self.datasets.iter().map(|dataset| match &dataset.data {
            DataPlacement::Contiguous { address, bytes } => address + bytes,
            DataPlacement::Chunked { runs, array, .. } => {
                let stored = |run: &ChunkRun| match &self.index {
                    Some(index) => (run.first..run.end).map(|chunk| index.stored(chunk)).sum(),
                    None => 0,
                };
                let chunks = runs.iter().map(|run| run.address + stored(run)).max().unwrap_or(0);
                let array = self.index.as_ref().filter(|_| *array > 0).map_or(0, |index| array + index.array_bytes());
                chunks.max(array)
            }
        });
        metadata.chain(data).max().unwrap_or(0)
    }
}

/// Ranges and addresses for reading a file of this plan.
impl FilePlan {
    /// Returns the length of the file in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the address of a contiguous dataset of records.
    pub(super) fn address(&self, dataset: u64) -> u64 {
        match self.datasets.get(dataset as usize).map(|dataset| &dataset.data) {
            Some(DataPlacement::Contiguous { address, .. }) => *address,
            _ => 0,
        }
    }

    /// Returns the ranges that the library reads to open the file and its first dataset: (offset, length) in bytes.
    pub(super) fn first_ranges(&self) -> Vec<(u64, u64)> {
        let superblock = [(0, SIGNATURE.len() as u64), (0, SUPERBLOCK), (SUPERBLOCK, HEADER)];
        let group = self.metadata.iter().skip(2).take(self.group - 1);
        let group = group.map(|(address, bytes)| (*address, bytes.len() as u64));
        superblock.into_iter().chain(group).chain(self.header_ranges(0)).collect()
    }

    /// Returns the ranges that the library reads to open a dataset: the first 512 bytes of its header, then the rest.
    pub(super) fn header_ranges(&self, dataset: u64) -> Vec<(u64, u64)> {
        let Some(&Dataset { header, header_bytes, .. }) = self.datasets.get(dataset as usize) else {
            return Vec::new();
        };
        let rest = (header_bytes > HEADER).then(|| (header + HEADER, header_bytes - HEADER));
        [(header, HEADER)].into_iter().chain(rest).collect()
    }

    /// Returns whether the metadata in these bytes of a file agree with this plan.
    pub(super) fn agrees(&self, offset: u64, bytes: &[u8]) -> bool {
        let end = offset + bytes.len() as u64;
        self.metadata.iter().filter(|(address, block)| *address < end && offset < address + block.len() as u64).all(
            |(address, block)| {
                let (from, to) = (offset.max(*address), end.min(address + block.len() as u64));
                bytes[(from - offset) as usize..(to - offset) as usize]
                    == block[(from - address) as usize..(to - address) as usize]
            },
        )
    }
}

/// The encoder of a file of this plan.
impl FilePlan {
    /// Returns the encoder of the file. All datasets have the same payload, as in the reference.
    pub(super) fn encoder(
        self,
        payload: &crate::payload::Stream,
        tiles: Option<&ChunkBytes>,
        measured: Option<&Measured>,
    ) -> Encoder {
        let mut parts: Vec<(u64, Piece)> = Vec::new();
        let labels = self.datasets.len() - 1;
        for (number, dataset) in self.datasets.iter().enumerate() {
            match &dataset.data {
                DataPlacement::Contiguous { address, bytes } if number == labels => {
                    parts.push((*address, Piece::zeros(*bytes)));
                }
                DataPlacement::Contiguous { address, .. } => parts.push((*address, Piece::payload(payload.clone()))),
                DataPlacement::Chunked { runs, header, array } => {
                    for run in runs {
                        let piece = match (tiles, measured) {
                            (Some(tiles), Some(measured)) => {
                                Piece::CompressedHdf5Chunks(Box::new(measured.range(tiles, run.first, run.end)))
                            }
                            (Some(tiles), None) => Piece::Hdf5Chunks(Box::new(tiles.range(run.first, run.end))),
                            (None, _) => continue,
                        };
                        parts.push((run.address, piece));
                    }
                    if let Some(index) = self.index.as_ref().filter(|_| *header > 0) {
                        parts.push((*array, Piece::FixedArray(Box::new(index.array(*header, runs)))));
                    }
                }
            }
        }
        parts.extend(self.metadata.into_iter().map(|(address, bytes)| (address, Piece::bytes(bytes))));
        parts.sort_by_key(|(address, _)| *address);
        let mut pieces = Vec::with_capacity(2 * parts.len());
        let mut behind = 0;
        for (address, piece) in parts {
            pieces.push(Piece::zeros(address - behind));
            behind = address + piece.remaining();
            pieces.push(piece);
        }
        Encoder::pieces(pieces)
    }
}

fn product(dims: &[u64]) -> u64 {
    dims.iter().fold(1, |product, &dim| product.saturating_mul(dim))
}

pub(super) fn encoder(
    layout: &Layout,
    options: &Options,
    shape: &FileShape,
    grid: Option<&ChunkGrid>,
) -> Result<Encoder, Error> {
    let bytes = product(&options.dataset_shape(shape)).saturating_mul(layout.dtype.itemsize());
    let payload = layout.payload.stream(shape.file, layout.element, bytes);
    let tiles = grid.map(|grid| ChunkBytes::new(grid, payload.clone()));
    let measured = match (grid, &tiles, options.filter) {
        (_, _, Filter::None) => None,
        (Some(grid), Some(tiles), filter) => Some(Measured::new(grid, tiles, filter)),
        _ => None,
    };
    let plan = FilePlan::new(layout, options, shape, grid, measured.as_ref())?;
    Ok(plan.encoder(&payload, tiles.as_ref(), measured.as_ref()))
}
