//! Files that stay open between samples, and the keys that they borrow.

use std::cell::OnceCell;
use std::collections::HashMap;

use dlio_event::ObjectId;
use dlio_format::Decoder;
use dlio_storage::Object;

/// A file that is open for reading.
pub(crate) struct OpenFile<'k> {
    pub(crate) object: Box<dyn Object + 'k>,
    pub(crate) name: ObjectId,
    pub(crate) decoder: Decoder,
}

/// Memory for keys: an open object borrows its key, so a key must stay where it is while the list of keys grows.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    first: OnceCell<Box<Key>>,
}

#[derive(Debug)]
struct Key {
    text: String,
    next: OnceCell<Box<Key>>,
}

impl Drop for Keys {
    fn drop(&mut self) {
        // One after the other: the list may be longer than the stack is deep.
        let mut next = self.first.take();
        while let Some(mut key) = next {
            next = key.next.take();
        }
    }
}

/// The files that one lane keeps open, by combined number.
pub(crate) struct OpenFiles<'k> {
    files: HashMap<u64, OpenFile<'k>>,
    end: &'k OnceCell<Box<Key>>,
    keys: usize,
}

impl<'k> OpenFiles<'k> {
    /// No file is open; `keys` are the keys of those that will be.
    pub(crate) fn new(keys: &'k Keys) -> Self {
        Self { files: HashMap::new(), end: &keys.first, keys: 0 }
    }

    /// Keeps a key for as long as the arena lives.
    pub(crate) fn keep_key(&mut self, text: String) -> &'k str {
        let key = self.end.get_or_init(|| Box::new(Key { text, next: OnceCell::new() }));
        self.end = &key.next;
        self.keys += 1;
        &key.text
    }

    /// The handle of a file.
    pub(crate) fn get(&mut self, file: u64) -> Option<&mut OpenFile<'k>> {
        self.files.get_mut(&file)
    }

    /// Keeps a file open.
    pub(crate) fn insert(&mut self, file: u64, open: OpenFile<'k>) {
        self.files.insert(file, open);
    }

    /// Closes a file.
    pub(crate) fn close(&mut self, file: u64) {
        self.files.remove(&file);
    }

    /// Closes every file.
    pub(crate) fn close_all(&mut self) {
        self.files.clear();
    }

    /// Whether so many keys of closed files are kept that a fresh arena is due, and possible.
    pub(crate) fn is_worn(&self) -> bool {
        const KEYS_KEPT: usize = 1024;
        self.keys >= KEYS_KEPT && self.files.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_where_they_are_and_a_long_list_is_freed() {
        let keys = Keys::default();
        let mut open = OpenFiles::new(&keys);
        let first = open.keep_key("first".to_owned());
        for number in 0..200_000 {
            open.keep_key(number.to_string());
        }
        assert_eq!(first, "first");
        assert!(open.is_worn());
    }
}
