//! Where the HDF5 library (1.14, its default strategy) puts the parts of a file: two blocks of 2 KiB that are handed out piece by
//! piece, one for metadata and one for data, and lists of what is free again. Large parts go to the end of the file.

use std::collections::BTreeMap;

/// Size of the blocks that small parts are cut from.
const BLOCK: u64 = 2048;
/// A part may grow into a block at the end of the file by so much of it without the file growing.
const GROWTH: u64 = 10;

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Metadata,
    Data,
}

/// A block that parts are cut from; unused while all is 0.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    address: u64,
    size: u64,
    /// Bytes ever taken for it without a break.
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

/// The space of a file under construction.
#[derive(Debug, Default)]
pub(super) struct Allocator {
    end: u64,
    blocks: [Block; 2],
    /// Free sections by address; a list is only kept once something other than the end of the file was freed.
    free: [Option<BTreeMap<u64, u64>>; 2],
}

impl Allocator {
    /// The address of a new part.
    pub(super) fn take(&mut self, kind: Kind, size: u64) -> u64 {
        if let Some(address) = self.take_free(kind, size) {
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
                self.drop_other(kind);
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
                self.drop_other(kind);
                let address = self.end;
                self.end += BLOCK;
                let rest = self.blocks[kind as usize];
                if rest.size > 0 {
                    self.give(kind, rest.address, rest.size);
                }
                self.blocks[kind as usize] = Block { address, size: BLOCK, total: BLOCK };
            }
        }
        self.blocks[kind as usize].cut(size)
    }

    /// The smallest free section that is large enough, the first of these.
    fn take_free(&mut self, kind: Kind, size: u64) -> Option<u64> {
        let free = self.free[kind as usize].as_mut()?;
        let fitting = free.iter().filter(|&(_, &length)| length >= size);
        let (address, length) = fitting.min_by_key(|&(&address, &length)| (length, address)).map(|(&a, &l)| (a, l))?;
        free.remove(&address);
        if length > size {
            self.add(kind, address + size, length - size);
        }
        Some(address)
    }

    /// Gives the rest of the other block back, if it is the end of the file and was used well.
    fn drop_other(&mut self, kind: Kind) {
        let other = &mut self.blocks[1 - kind as usize];
        if other.size > 0 && other.end() == self.end && other.total - other.size.min(other.total) >= BLOCK {
            self.end = other.address;
            *other = Block::default();
        }
    }

    /// Frees a part.
    pub(super) fn give(&mut self, kind: Kind, address: u64, size: u64) {
        if self.free[kind as usize].is_none() && self.absorb(kind, address, size, false).is_none() {
            return;
        }
        self.add(kind, address, size);
    }

    /// Adds a free section: joined with its neighbours, then with the end of the file or a block.
    fn add(&mut self, kind: Kind, address: u64, size: u64) {
        let mut section = Some((address, size));
        loop {
            let free = self.free[kind as usize].get_or_insert_default();
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
            section = match self.absorb(kind, address, size, true) {
                Some(same) if same == (address, size) => {
                    self.free[kind as usize].get_or_insert_default().insert(address, size);
                    return;
                }
                changed => changed,
            };
        }
    }

    /// Lets the file's end or the kind's block take a section, or (`larger`) the section take the block; what is left of it.
    fn absorb(&mut self, kind: Kind, address: u64, size: u64, larger: bool) -> Option<(u64, u64)> {
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

    /// Whether a part could grow by `extra` bytes where it is.
    pub(super) fn grow(&mut self, kind: Kind, address: u64, size: u64, extra: u64) -> bool {
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
        let Some(length) = self.free[kind as usize].as_mut().and_then(|free| {
            let fits = free.get(&behind).is_some_and(|&length| length >= extra);
            if fits { free.remove(&behind) } else { None }
        }) else {
            return false;
        };
        if length > extra {
            self.add(kind, behind + extra, length - extra);
        }
        true
    }

    /// Frees what is left of the blocks, as before the last parts are written.
    pub(super) fn settle(&mut self) {
        let [metadata, data] = self.blocks;
        let order = if metadata.address < data.address {
            [(Kind::Data, data), (Kind::Metadata, metadata)]
        } else {
            [(Kind::Metadata, metadata), (Kind::Data, data)]
        };
        for (kind, block) in order {
            self.blocks[kind as usize] = Block::default();
            if block.size > 0 {
                self.give(kind, block.address, block.size);
            }
        }
    }
}
