//! The pickle of a state: nested mappings of tensors whose storages are separate records, byte for byte as Python's
//! pickler writes them with protocol 2.

use std::collections::HashMap;

use dlio_config::Tensor;

use super::state::{State, storage_class};

/// Number of items that Python's pickler sets with one opcode.
const BATCH: usize = 1000;

/// An entry of a mapping: a tensor, or a nested mapping if the path continues or nothing follows.
#[derive(Clone, Copy)]
struct Item<'a> {
    path: &'a [String],
    tensor: Option<&'a Tensor>,
}

/// A writer of one pickle, with the memo of objects that are used again.
#[derive(Default)]
struct Pickler {
    bytes: Vec<u8>,
    memo: u32,
    /// Memo numbers of strings and classes that are one object wherever they occur.
    words: HashMap<String, u32>,
    /// Memo numbers of mappings, by the keys and storages in them: tensors that are shared together are one mapping.
    mappings: HashMap<Vec<(String, u32)>, u32>,
    /// Memo numbers of tensors, by storage number.
    tensors: HashMap<u32, u32>,
}

/// Returns the pickle of a state.
pub(super) fn pickle(state: &State) -> Vec<u8> {
    let tensors = state.tensors.iter().map(|tensor| Item { path: &tensor.path, tensor: Some(tensor) });
    let empty = state.empty.iter().map(|path| Item { path, tensor: None });
    let items: Vec<_> = tensors.chain(empty).collect();
    let mut pickler = Pickler::default();
    pickler.bytes.extend(b"\x80\x02");
    pickler.mapping(&items, 0);
    pickler.bytes.push(b'.');
    pickler.bytes
}

impl Pickler {
    fn mapping(&mut self, items: &[Item<'_>], depth: usize) {
        let shared = (depth > 0 && !items.is_empty()).then(|| {
            let inside = items.iter().filter_map(|item| Some((item.path[depth..].join("\0"), item.tensor?.storage)));
            inside.collect::<Vec<_>>()
        });
        let shared = shared.filter(|inside| !inside.is_empty());
        if let Some(&memo) = shared.as_ref().and_then(|inside| self.mappings.get(inside)) {
            return self.get(memo);
        }
        self.bytes.push(b'}');
        let memo = self.put();
        if let Some(inside) = shared {
            self.mappings.insert(inside, memo);
        }
        let entries: Vec<_> = items
            .chunk_by(|one, other| one.path.get(depth) == other.path.get(depth))
            .filter(|entry| entry[0].path.len() > depth)
            .collect();
        if let [entry] = entries.as_slice() {
            self.entry(entry, depth);
            self.bytes.push(b's');
            return;
        }
        for batch in entries.chunks(BATCH) {
            self.bytes.push(b'(');
            for entry in batch {
                self.entry(entry, depth);
            }
            self.bytes.push(b'u');
        }
        if !entries.is_empty() && entries.len().is_multiple_of(BATCH) {
            // Python's pickler notices the end only after it has begun another batch.
            self.bytes.extend(b"(u");
        }
    }

    fn entry(&mut self, items: &[Item<'_>], depth: usize) {
        let key = &items[0].path[depth];
        if key.bytes().all(|byte| byte.is_ascii_digit()) {
            // A number that Python converts to text is a new object every time.
            self.text(key);
        } else {
            self.word(key);
        }
        match items[0].tensor.filter(|_| items[0].path.len() == depth + 1) {
            Some(tensor) => self.tensor(tensor),
            None => self.mapping(items, depth + 1),
        }
    }

    fn tensor(&mut self, tensor: &Tensor) {
        if let Some(&memo) = self.tensors.get(&tensor.storage) {
            return self.get(memo);
        }
        self.class("torch._utils", "_rebuild_tensor_v2");
        self.bytes.extend(b"((");
        self.word("storage");
        // A state has no other element types.
        self.class("torch", storage_class(tensor.dtype).unwrap_or("UntypedStorage"));
        self.text(&tensor.storage.to_string());
        self.word("cpu");
        self.number(tensor.elements);
        self.bytes.push(b't');
        self.put();
        // Persistent id of the storage, offset, size, stride, requires_grad, no hooks.
        self.bytes.push(b'Q');
        self.number(0);
        for extent in [tensor.elements, 1] {
            self.number(extent);
            self.bytes.push(0x85);
            self.put();
        }
        self.bytes.push(0x89);
        self.class("collections", "OrderedDict");
        self.bytes.extend(b")R");
        self.put();
        self.bytes.push(b't');
        self.put();
        self.bytes.push(b'R');
        let memo = self.put();
        self.tensors.insert(tensor.storage, memo);
    }

    fn class(&mut self, module: &str, name: &str) {
        let class = format!("c{module}\n{name}\n");
        if let Some(&memo) = self.words.get(&class) {
            return self.get(memo);
        }
        self.bytes.extend(class.as_bytes());
        let memo = self.put();
        self.words.insert(class, memo);
    }

    /// Writes a string that is one object wherever it occurs.
    fn word(&mut self, word: &str) {
        if let Some(&memo) = self.words.get(word) {
            return self.get(memo);
        }
        let memo = self.text(word);
        self.words.insert(word.to_owned(), memo);
    }

    fn text(&mut self, text: &str) -> u32 {
        self.bytes.push(b'X');
        self.bytes.extend((text.len() as u32).to_le_bytes());
        self.bytes.extend(text.as_bytes());
        self.put()
    }

    fn number(&mut self, number: u64) {
        if let Ok(byte) = u8::try_from(number) {
            self.bytes.extend([b'K', byte]);
        } else if let Ok(short) = u16::try_from(number) {
            self.bytes.push(b'M');
            self.bytes.extend(short.to_le_bytes());
        } else if let Ok(long) = i32::try_from(number) {
            self.bytes.push(b'J');
            self.bytes.extend(long.to_le_bytes());
        } else {
            // Length in bytes of the number including a sign bit.
            let count = number.ilog2() as usize / 8 + 1 + usize::from(number.ilog2() % 8 == 7);
            self.bytes.extend([0x8A, count as u8]);
            self.bytes.extend(&u128::from(number).to_le_bytes()[..count]);
        }
    }

    fn put(&mut self) -> u32 {
        let memo = self.memo;
        self.memo += 1;
        self.memo_op(b'q', b'r', memo);
        memo
    }

    fn get(&mut self, memo: u32) {
        self.memo_op(b'h', b'j', memo);
    }

    fn memo_op(&mut self, short: u8, long: u8, memo: u32) {
        if let Ok(byte) = u8::try_from(memo) {
            self.bytes.extend([short, byte]);
        } else {
            self.bytes.push(long);
            self.bytes.extend(memo.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u64) -> Vec<u8> {
        let mut pickler = Pickler::default();
        pickler.number(number);
        pickler.bytes
    }

    #[test]
    fn numbers_take_the_opcodes_that_python_gives_them() {
        assert_eq!(number(255), b"K\xff");
        assert_eq!(number(256), b"M\x00\x01");
        assert_eq!(number(65536), b"J\x00\x00\x01\x00");
        assert_eq!(number(0x7FFF_FFFF), b"J\xff\xff\xff\x7f");
        assert_eq!(number(0x8000_0000), b"\x8a\x05\x00\x00\x00\x80\x00");
        assert_eq!(number(0xFF_FFFF_FFFF), b"\x8a\x06\xff\xff\xff\xff\xff\x00");
        assert_eq!(number(0x7F_FFFF_FFFF), b"\x8a\x05\xff\xff\xff\xff\x7f");
    }
}
