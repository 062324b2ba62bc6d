//! File space allocation of the HDF5 library (1.14, default strategy): two blocks of 2 KiB from which small objects
//! are cut, one for metadata and one for data, and lists of free sections. Large objects are placed at the end of the
//! file.

use std::collections::BTreeMap;

/// Size in bytes of the blocks from which small objects are cut.
const BLOCK: u64 = 2048;
/// An object may grow by up to 1/10 of a block at the end of the file without extending the file.
const GROWTH: u64 = 10;

/// The kind of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpaceKind {
    Metadata,
    Data,
}

/// A block from which objects are cut; all fields are 0 while it is unused.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    address: u64,
    size: u64,
    /// Number of bytes allocated for the block in one contiguous run.
    total: u64,
}

impl Block {
    fn end(self) -> u64 {
        self.address + self.size
    }

    fn cut(&mut self, size: u64) -> u64 {
        let address = self.address;
        self.address += size;
        self.size -= size;
        address
    }
}

/// The allocator of a file under construction.
#[derive(Debug, Default)]
pub(super) struct Allocator {
    end: u64,
    blocks: [Block; 2],
    /// Free sections by address. A list exists only once something other than the end of the file was freed.
    free_sections: [Option<BTreeMap<u64, u64>>; 2],
}

impl Allocator {
    /// Allocates `size` bytes and returns their address.
    pub(super) fn allocate(&mut self, kind: SpaceKind, size: u64) -> u64 {
        if let Some(address) = self.allocate_from_free(kind, size) {
            return address;
        }
        let block = self.blocks[kind as usize];
        if size <= block.size {
            return self.blocks[kind as usize].cut(size);
        }
        let extends = block.address > 0 && block.end() == self.end;
        match (size >= BLOCK, extends) {
            (true, true) => {
                self.end += size;
                let block = &mut self.blocks[kind as usize];
                block.address += size;
                block.total += size;
                return block.address - size;
            }
            (true, false) => {
                self.shrink_other_block(kind);
                self.end += size;
                return self.end - size;
            }
            (false, true) => {
                self.end += BLOCK;
                let block = &mut self.blocks[kind as usize];
                block.size += BLOCK;
                block.total += BLOCK;
            }
            (false, false) => {
                self.shrink_other_block(kind);
                let address = self.end;
                self.end += BLOCK;
                let rest = self.blocks[kind as usize];
                if rest.size > 0 {
                    self.free(kind, rest.address, rest.size);
                }
                self.blocks[kind as usize] = Block { address, size: BLOCK, total: BLOCK };
            }
        }
        self.blocks[kind as usize].cut(size)
    }

    /// Allocates from the smallest free section that is large enough, the first of equal ones.
    fn allocate_from_free(&mut self, kind: SpaceKind, size: u64) -> Option<u64> {
        let free = self.free_sections[kind as usize].as_mut()?;
        let fitting = free.iter().filter(|&(_, &length)| length >= size);
        let (address, length) = fitting.min_by_key(|&(&address, &length)| (length, address)).map(|(&a, &l)| (a, l))?;
        free.remove(&address);
        if length > size {
            self.add_free_section(kind, address + size, length - size);
        }
        Some(address)
    }

    /// Returns the rest of the other block to the file, if the block is at the end of the file and was used for at
    /// least 2 KiB.
    fn shrink_other_block(&mut self, kind: SpaceKind) {
        let other = &mut self.blocks[1 - kind as usize];
        if other.size > 0 && other.end() == self.end && other.total - other.size.min(other.total) >= BLOCK {
            self.end = other.address;
            *other = Block::default();
        }
    }

    /// Frees an object of `size` bytes.
    pub(super) fn free(&mut self, kind: SpaceKind, address: u64, size: u64) {
        if self.free_sections[kind as usize].is_none() && self.merge_with_block(kind, address, size, false).is_none() {
            return;
        }
        self.add_free_section(kind, address, size);
    }

    /// Adds a free section, merged with its neighbours and then with the end of the file or a block.
    fn add_free_section(&mut self, kind: SpaceKind, address: u64, size: u64) {
        let mut section = Some((address, size));
        loop {
            let free = self.free_sections[kind as usize].get_or_insert_default();
            let Some((mut address, mut size)) = section.or_else(|| free.pop_last()) else { return };
            if let Some((&before, &length)) = free.range(..address).next_back()
                && before + length == address
            {
                free.remove(&before);
                (address, size) = (before, size + length);
            }
            if let Some(length) = free.remove(&(address + size)) {
                size += length;
            }
            section = match self.merge_with_block(kind, address, size, true) {
                Some(same) if same == (address, size) => {
                    self.free_sections[kind as usize].get_or_insert_default().insert(address, size);
                    return;
                }
                changed => changed,
            };
        }
    }

    /// Merges a section into the end of the file or into the block of its kind, or, if `larger` is true, the block
    /// into the section. Returns the section that remains.
    fn merge_with_block(&mut self, kind: SpaceKind, address: u64, size: u64, larger: bool) -> Option<(u64, u64)> {
        if address + size == self.end {
            self.end = address;
            return None;
        }
        let block = &mut self.blocks[kind as usize];
        let (is_before, is_behind) = (address + size == block.address, block.end() == address);
        if !is_before && !is_behind {
            return Some((address, size));
        }
        if larger && block.size + size >= BLOCK {
            let first = address.min(block.address);
            let all = size + block.size;
            *block = Block::default();
            return Some((first, all));
        }
        block.size += size;
        if is_before {
            block.address = address;
            block.total -= block.total.min(size);
        }
        None
    }

    /// Extends an object by `extra` bytes in place, if possible, and returns whether it was.
    pub(super) fn extend(&mut self, kind: SpaceKind, address: u64, size: u64, extra: u64) -> bool {
        let behind = address + size;
        if behind == self.end {
            self.end += extra;
            return true;
        }
        let block = &mut self.blocks[kind as usize];
        if behind == block.address {
            if block.end() == self.end && extra > block.size / GROWTH {
                let more = extra.max(BLOCK);
                self.end += more;
                block.total += more;
                block.size += more;
            }
            if extra <= block.size {
                block.cut(extra);
                return true;
            }
        }
        let Some(length) = self.free_sections[kind as usize].as_mut().and_then(|free| {
            let fits = free.get(&behind).is_some_and(|&length| length >= extra);
            if fits { free.remove(&behind) } else { None }
        }) else {
            return false;
        };
        if length > extra {
            self.add_free_section(kind, behind + extra, length - extra);
        }
        true
    }

    /// Frees the rest of both blocks, as the library does before it writes the last objects.
    pub(super) fn free_blocks(&mut self) {
        let [metadata, data] = self.blocks;
        let order = if metadata.address < data.address {
            [(SpaceKind::Data, data), (SpaceKind::Metadata, metadata)]
        } else {
            [(SpaceKind::Metadata, metadata), (SpaceKind::Data, data)]
        };
        for (kind, block) in order {
            self.blocks[kind as usize] = Block::default();
            if block.size > 0 {
                self.free(kind, block.address, block.size);
            }
        }
    }
}
