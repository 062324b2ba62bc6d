//! The root group and its links to the datasets, as the HDF5 library stores them. Up to eight links are messages of
//! the group's object header, which grows by continuation blocks. From the ninth link on, all links are in a fractal
//! heap, with a B-tree of their names.
//!
//! A heap of the library's initial size holds 24 links. For more links, this heap starts larger instead of growing.

use super::allocator::{Allocator, SpaceKind};
use super::header::{HeaderMessages, SUPERBLOCK, UNDEFINED, message, with_checksum};
use super::lookup3::checksum;

/// Space for messages in the group's header, in bytes.
const SPACE: usize = 120;
const HEADER_BYTES: u64 = 147;
/// Number of links that fit into the header.
const INSIDE: usize = 3;
/// Maximum number of links that are messages.
const COMPACT_MAX: usize = 8;
/// Length in bytes of a continuation block's signature and checksum.
const CONTINUATION_FRAME: u64 = 8;
/// Length of messages in bytes, including their headers.
const LINK_INFO_BYTES: u64 = 22;
const MESSAGE_MIN: u64 = 22;

const HEAP_HEADER_BYTES: u64 = 146;
const TREE_HEADER_BYTES: u64 = 38;
const SPACE_HEADER_BYTES: u64 = 82;
const SECTIONS_BYTES: u64 = 19;
/// Length in bytes of the frames of the heap's block and of a leaf of the tree.
const BLOCK_FRAME: u64 = 21;
const LEAF_FRAME: u64 = 10;
const RECORD_BYTES: u64 = 11;
const NODE: u64 = 512;
const DIRECT_MAX: u64 = 65_536;

/// A metadata block of the file: address and bytes.
pub(super) type PlacedBlock = (u64, Vec<u8>);

#[derive(Debug)]
struct Link {
    name: String,
    address: u64,
}

impl Link {
    /// Returns the body of the link message: version 1, a hard link, the length of the name in one byte.
    fn body(&self) -> Vec<u8> {
        let mut body = vec![1, 0, self.name.len() as u8];
        body.extend_from_slice(self.name.as_bytes());
        body.extend(self.address.to_le_bytes());
        body
    }
}

/// A continuation block, with the numbers of its links.
#[derive(Debug)]
struct ContinuationBlock {
    address: u64,
    size: u64,
    links: Vec<usize>,
}

/// The addresses and sizes of the heap and its tree.
#[derive(Debug)]
struct DenseLinks {
    header: u64,
    tree: u64,
    spaces: u64,
    leaf: u64,
    /// Length of the heap's block in bytes.
    block_bytes: u64,
    leaf_bytes: u64,
}

/// The links of the root group under construction.
#[derive(Debug)]
pub(super) struct Group {
    /// Final number of links, and length of their messages' bodies in bytes.
    total: u64,
    bodies: u64,
    links: Vec<Link>,
    /// Continuation block that begins with the fourth link.
    side: Option<ContinuationBlock>,
    /// Continuation blocks that later links begin. Each names the next; the last contains the link info message.
    tail: Vec<ContinuationBlock>,
    dense: Option<DenseLinks>,
}

impl Group {
    /// Creates a group that will have links with these names.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>, allocator: &mut Allocator) -> Self {
        allocator.allocate(SpaceKind::Metadata, HEADER_BYTES);
        let (total, bodies) = names.fold((0, 0), |(total, bytes), name| (total + 1, bytes + name.len() as u64 + 11));
        Self { total, bodies, links: Vec::new(), side: None, tail: Vec::new(), dense: None }
    }

    /// Adds a link.
    pub(super) fn link(&mut self, name: String, address: u64, allocator: &mut Allocator) {
        let number = self.links.len();
        let link = Link { name, address };
        let bytes = 4 + link.body().len() as u64;
        self.links.push(link);
        match number {
            0..INSIDE => {}
            INSIDE => {
                let size = bytes.max(MESSAGE_MIN) + CONTINUATION_FRAME;
                let address = allocator.allocate(SpaceKind::Metadata, size);
                self.side = Some(ContinuationBlock { address, size, links: vec![number] });
            }
            4..COMPACT_MAX => {
                let grows = |part: &&mut ContinuationBlock| {
                    allocator.extend(SpaceKind::Metadata, part.address, part.size, bytes)
                };
                if let Some(part) = self.side.iter_mut().chain(&mut self.tail).find(grows) {
                    part.size += bytes;
                    part.links.push(number);
                    return;
                }
                let size = LINK_INFO_BYTES + bytes + CONTINUATION_FRAME;
                let address = allocator.allocate(SpaceKind::Metadata, size);
                self.tail.push(ContinuationBlock { address, size, links: vec![number] });
            }
            COMPACT_MAX => self.make_dense(allocator),
            _ => {}
        }
    }

    fn make_dense(&mut self, allocator: &mut Allocator) {
        // One byte of the heap stays free, so that the heap always has a free section.
        let block_bytes = (BLOCK_FRAME + self.bodies + 1).next_power_of_two().max(NODE);
        let leaf_bytes = (LEAF_FRAME + RECORD_BYTES * self.total).next_power_of_two().max(NODE);
        self.dense = Some(DenseLinks {
            header: allocator.allocate(SpaceKind::Metadata, HEAP_HEADER_BYTES),
            tree: allocator.allocate(SpaceKind::Metadata, TREE_HEADER_BYTES),
            spaces: allocator.allocate(SpaceKind::Metadata, SPACE_HEADER_BYTES),
            leaf: allocator.allocate(SpaceKind::Metadata, leaf_bytes),
            block_bytes,
            leaf_bytes,
        });
        for part in self.side.take().into_iter().chain(self.tail.drain(..)) {
            allocator.free(SpaceKind::Metadata, part.address, part.size);
        }
    }

    /// Returns the blocks of the group: first those that are read to find a dataset, in the order in which they are
    /// read, then the others.
    pub(super) fn finish(&self, allocator: &mut Allocator) -> (Vec<PlacedBlock>, Vec<PlacedBlock>) {
        match &self.dense {
            Some(dense) => dense.finish(&self.links, allocator),
            None => (self.compact(), Vec::new()),
        }
    }

    fn compact(&self) -> Vec<PlacedBlock> {
        let mut header = HeaderMessages::default();
        match self.tail.first() {
            Some(part) => continuation(&mut header, part),
            None => link_info(&mut header, [UNDEFINED; 2]),
        }
        header.push(message::GROUP_INFO, message::CONSTANT, &[0, 0]);
        for link in self.links.iter().take(INSIDE) {
            header.push(message::LINK, 0, &link.body());
        }
        if let Some(side) = &self.side {
            continuation(&mut header, side);
        }
        let mut blocks = vec![(SUPERBLOCK, root_header(header))];
        for (number, part) in self.tail.iter().enumerate() {
            let mut messages = HeaderMessages::default();
            match self.tail.get(number + 1) {
                Some(next) => continuation(&mut messages, next),
                None => link_info(&mut messages, [UNDEFINED; 2]),
            }
            blocks.push(self.part(messages, part));
        }
        if let Some(side) = &self.side {
            // The header names this block after the first of the others, which names the next of them.
            blocks.insert(blocks.len().min(2), self.part(HeaderMessages::default(), side));
        }
        blocks
    }

    /// Returns a continuation block that begins with these messages.
    fn part(&self, mut messages: HeaderMessages, part: &ContinuationBlock) -> PlacedBlock {
        for &number in &part.links {
            messages.push(message::LINK, 0, &self.links[number].body());
        }
        messages.pad((part.size - CONTINUATION_FRAME) as usize);
        (part.address, with_checksum([b"OCHK".to_vec(), messages.0].concat()))
    }
}

/// Returns the group's header with these messages.
fn root_header(mut messages: HeaderMessages) -> Vec<u8> {
    messages.pad(SPACE);
    // Version 2, with four times of the object, which are 0 (unknown), and one byte of size.
    let mut bytes = b"OHDR\x02\x20".to_vec();
    bytes.extend([0; 16]);
    bytes.push(SPACE as u8);
    bytes.append(&mut messages.0);
    with_checksum(bytes)
}

/// Appends the link info message: version, flags, then the addresses of heap and tree.
fn link_info(messages: &mut HeaderMessages, addresses: [[u8; 8]; 2]) {
    messages.push(message::LINK_INFO, 0, &[&[0, 0], addresses.concat().as_slice()].concat());
}

fn continuation(messages: &mut HeaderMessages, part: &ContinuationBlock) {
    messages.push(message::CONTINUATION, 0, &[part.address.to_le_bytes(), part.size.to_le_bytes()].concat());
}

impl DenseLinks {
    fn finish(&self, links: &[Link], allocator: &mut Allocator) -> (Vec<PlacedBlock>, Vec<PlacedBlock>) {
        let bodies: Vec<Vec<u8>> = links.iter().map(Link::body).collect();
        let used = BLOCK_FRAME + bodies.iter().map(|body| body.len() as u64).sum::<u64>();
        let free = self.block_bytes - used;
        let direct_max = self.block_bytes.max(DIRECT_MAX);
        let width = (direct_max.ilog2() / 8 + 1) as usize;
        let sections_bytes = SECTIONS_BYTES + 4 + width as u64;
        let block = allocator.allocate(SpaceKind::Metadata, self.block_bytes);
        let sections = allocator.allocate(SpaceKind::Metadata, sections_bytes);

        let mut header = HeaderMessages::default();
        header.push(message::GROUP_INFO, message::CONSTANT, &[0, 0]);
        link_info(&mut header, [self.header.to_le_bytes(), self.tree.to_le_bytes()]);
        let read = vec![
            (SUPERBLOCK, root_header(header)),
            (self.tree, self.tree_header(links.len() as u64)),
            (self.header, self.heap_header([block, free, direct_max, links.len() as u64])),
            (self.leaf, self.leaf(links, &bodies)),
            (block, self.heap_block(&bodies)),
        ];
        let spaces = space_header([free, direct_max, sections, sections_bytes]);
        let other = vec![(self.spaces, spaces), (sections, self.free_section(used, free, width))];
        (read, other)
    }

    fn heap_header(&self, [block, free, direct_max, links]: [u64; 4]) -> Vec<u8> {
        // Version; length of an object's id and of a filter; flag: blocks have checksums; maximum object size in a
        // block.
        let mut bytes = b"FRHP\0\x07\0\0\0\x02\0\x10\0\0".to_vec();
        put(&mut bytes, [0, u64::MAX, free, self.spaces, self.block_bytes, self.block_bytes, 0, links, 0, 0, 0, 0]);
        // Width of the block table, minimum and maximum block size, address bits of the heap, initial number of rows.
        bytes.extend([4, 0]);
        put(&mut bytes, [self.block_bytes, direct_max]);
        bytes.extend([32, 0, 1, 0]);
        put(&mut bytes, [block]);
        bytes.extend([0, 0]);
        with_checksum(bytes)
    }

    fn tree_header(&self, links: u64) -> Vec<u8> {
        // Version, type: names of links in a heap.
        let mut bytes = b"BTHD\0\x05".to_vec();
        bytes.extend((self.leaf_bytes as u32).to_le_bytes());
        // Length of a record, depth, percentages at which nodes are split and merged.
        bytes.extend([RECORD_BYTES as u8, 0, 0, 0, 100, 40]);
        put(&mut bytes, [self.leaf]);
        bytes.extend((links as u16).to_le_bytes());
        put(&mut bytes, [links]);
        with_checksum(bytes)
    }

    /// Returns the leaf of the tree: hash of the name and id in the heap (kind, offset, length), sorted by hash.
    fn leaf(&self, links: &[Link], bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut offset = BLOCK_FRAME as u32;
        let mut records = Vec::with_capacity(links.len());
        for (link, body) in links.iter().zip(bodies) {
            records.push((checksum(link.name.as_bytes()), &link.name, offset, body.len() as u16));
            offset += body.len() as u32;
        }
        records.sort_unstable();
        let mut bytes = b"BTLF\0\x05".to_vec();
        for (hash, _, offset, length) in records {
            bytes.extend(hash.to_le_bytes());
            bytes.push(0);
            bytes.extend(offset.to_le_bytes());
            bytes.extend(length.to_le_bytes());
        }
        let mut bytes = with_checksum(bytes);
        bytes.resize(self.leaf_bytes as usize, 0);
        bytes
    }

    fn heap_block(&self, bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"FHDB\0".to_vec();
        put(&mut bytes, [self.header]);
        // Offset of the block in the heap, then the checksum of the whole block, computed with zeros in its place.
        bytes.extend([0; 8]);
        bytes.extend(bodies.concat());
        bytes.resize(self.block_bytes as usize, 0);
        let sum = checksum(&bytes);
        bytes[17..21].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Returns the list with the heap's only free section: count, size, offset, type.
    fn free_section(&self, used: u64, free: u64, width: usize) -> Vec<u8> {
        let mut bytes = b"FSSE\0".to_vec();
        put(&mut bytes, [self.spaces]);
        bytes.push(1);
        bytes.extend_from_slice(&free.to_le_bytes()[..width]);
        bytes.extend((used as u32).to_le_bytes());
        bytes.push(0);
        with_checksum(bytes)
    }
}

fn space_header([free, section_max, sections, sections_bytes]: [u64; 4]) -> Vec<u8> {
    // Version, client: a fractal heap.
    let mut bytes = b"FSHD\0\0".to_vec();
    put(&mut bytes, [free, 1, 1, 0]);
    // Number of section classes, percentages at which the list shrinks and grows, address bits of the heap.
    bytes.extend([4, 0, 80, 0, 120, 0, 32, 0]);
    put(&mut bytes, [section_max, sections, sections_bytes, sections_bytes]);
    with_checksum(bytes)
}

fn put<const N: usize>(bytes: &mut Vec<u8>, values: [u64; N]) {
    bytes.extend(values.into_iter().flat_map(u64::to_le_bytes));
}
