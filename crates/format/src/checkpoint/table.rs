//! The sorted string table that is a bundle's index: blocks of keys with shared prefixes, an index of the blocks, and
//! a footer.

use crate::crc::masked_crc32c;
use crate::protobuf::varint;

/// Size in bytes at which a block ends.
const BLOCK: usize = 256 * 1024;
/// Number of keys between two keys that are written without a shared prefix.
const RESTART: usize = 16;
/// Length in bytes of the two handles in the footer.
const HANDLES: usize = 40;
pub(super) const MAGIC: u64 = 0xDB47_7524_8B80_FB57;

#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    entries: usize,
    last: Vec<u8>,
}

impl Block {
    fn new() -> Self {
        Self { bytes: Vec::new(), restarts: vec![0], entries: 0, last: Vec::new() }
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        let whole = self.entries > 0 && self.entries.is_multiple_of(RESTART);
        if whole {
            self.restarts.push(self.bytes.len() as u32);
        }
        let shared = if whole { 0 } else { common(&self.last, key) };
        for length in [shared, key.len() - shared, value.len()] {
            varint(&mut self.bytes, length as u64);
        }
        self.bytes.extend(&key[shared..]);
        self.bytes.extend(value);
        self.last = key.to_vec();
        self.entries += 1;
    }

    fn len(&self) -> usize {
        self.bytes.len() + 4 * self.restarts.len() + 4
    }

    /// Appends the block to `table` and returns its handle: offset and length.
    fn finish(mut self, table: &mut Vec<u8>) -> Vec<u8> {
        let count = self.restarts.len() as u32;
        self.bytes.extend(self.restarts.into_iter().chain([count]).flat_map(u32::to_le_bytes));
        let mut handle = Vec::new();
        varint(&mut handle, table.len() as u64);
        varint(&mut handle, self.bytes.len() as u64);
        // The block type, which the checksum covers: not compressed.
        self.bytes.push(0);
        let crc = masked_crc32c(&self.bytes);
        table.extend(self.bytes);
        table.extend(crc.to_le_bytes());
        handle
    }
}

fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// Returns a short key that is at least `last` and less than `next`.
fn separator(last: &[u8], next: &[u8]) -> Vec<u8> {
    let at = common(last, next);
    match (last.get(at), next.get(at)) {
        (Some(&byte), Some(&limit)) if byte < 0xFF && byte + 1 < limit => [&last[..at], &[byte + 1]].concat(),
        _ => last.to_vec(),
    }
}

/// Returns a short key that is at least `last`.
fn successor(last: &[u8]) -> Vec<u8> {
    match last.iter().position(|&byte| byte < 0xFF) {
        Some(at) => [&last[..at], &[last[at] + 1]].concat(),
        None => last.to_vec(),
    }
}

/// Returns the table of `entries`, whose keys ascend.
pub(super) fn table<'a>(entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let (mut table, mut index, mut block) = (Vec::new(), Block::new(), Block::new());
    // Last key and handle of the block that was finished last.
    let mut finished: Option<(Vec<u8>, Vec<u8>)> = None;
    for (key, value) in entries {
        if let Some((last, handle)) = finished.take() {
            index.add(&separator(&last, key), &handle);
        }
        block.add(key, value);
        if block.len() >= BLOCK {
            let full = std::mem::replace(&mut block, Block::new());
            finished = Some((full.last.clone(), full.finish(&mut table)));
        }
    }
    if block.entries > 0 {
        finished = Some((block.last.clone(), block.finish(&mut table)));
    }
    let mut handles = Block::new().finish(&mut table);
    if let Some((last, handle)) = finished {
        index.add(&successor(&last), &handle);
    }
    handles.extend(index.finish(&mut table));
    handles.resize(HANDLES, 0);
    table.extend(handles);
    table.extend(MAGIC.to_le_bytes());
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_short_and_in_between() {
        assert_eq!(separator(b"abcd", b"abzz"), b"abd");
        assert_eq!(separator(b"abc", b"abd"), b"abc");
        assert_eq!(separator(b"ab", b"abc"), b"ab");
        assert_eq!(successor(b"save"), b"t");
        assert_eq!(successor(b"\xff\xff"), b"\xff\xff");
    }

    #[test]
    fn large_tables_have_more_than_one_block_and_an_index_entry_for_each() {
        let keys: Vec<String> = (0..20_000).map(|number| format!("{number:06}/.ATTRIBUTES/VARIABLE_VALUE")).collect();
        let value = [7; 20];
        let table = table(keys.iter().map(|key| (key.as_bytes(), value.as_slice())));
        let footer = &table[table.len() - 48..];
        assert_eq!(footer[40..], MAGIC.to_le_bytes());
        // Consecutive keys share no tail, so a block holds about 5,000 of them.
        assert!(table.len() > 2 * BLOCK);
    }
}
