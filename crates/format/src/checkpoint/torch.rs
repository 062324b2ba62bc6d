//! The container of `torch.save`, written front to back. Checksums follow the data, so only lengths must be known in
//! advance.

use dlio_event::mix::fnv1a_rotated;

use super::pickle;
use super::state::{Content, State, Storage};
use super::zip::{self, Record};
use crate::crc::{BLOCK, Crc32};
use crate::encode::segment::Segment;

/// Top folder of every archive that `torch.save` writes through an open file.
pub(super) const TOP: &str = "archive";
/// Number of records before the storages.
const HEAD: usize = 4;

/// An encoder of the container's bytes.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    content: Content,
    storages: Vec<Storage>,
    records: Vec<Record>,
    crcs: Vec<u32>,
    /// The pickle, until it is written.
    pickle: Vec<u8>,
    /// Bytes that are ready, and the number of them already written.
    ready: (Vec<u8>, usize),
    /// Data of the record that is being written, and its running CRC.
    data: Option<(Segment, Crc32)>,
    directory_written: bool,
}

impl Archive {
    pub(super) fn new(state: &State, content: Content) -> Self {
        let pickle = pickle::pickle(state);
        let records = records(state, pickle.len() as u64);
        Self {
            content,
            storages: state.storages().collect(),
            crcs: Vec::with_capacity(records.len()),
            records,
            pickle,
            ready: (Vec::new(), 0),
            data: None,
            directory_written: false,
        }
    }

    /// Returns the length of the whole container in bytes.
    pub(super) fn len(&self) -> u64 {
        // The length of the directory does not depend on the checksums.
        let directory = zip::directory(&self.records, &vec![0; self.records.len()]).len() as u64;
        self.records.last().map_or(0, Record::end) + directory
    }

    /// Writes the next bytes and returns their number: 0 at the end.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            let (bytes, written) = &mut self.ready;
            if *written < bytes.len() {
                let count = buffer.len().min(bytes.len() - *written);
                buffer[..count].copy_from_slice(&bytes[*written..*written + count]);
                *written += count;
                return count;
            }
            if let Some((segment, crc)) = &mut self.data {
                // The CRC is computed while the bytes are in the cache.
                let room = buffer.len().min(BLOCK);
                let count = segment.fill(&mut buffer[..room]);
                if count > 0 {
                    crc.update(&buffer[..count]);
                    return count;
                }
            }
            if !self.advance() {
                return 0;
            }
        }
    }

    /// Prepares the next bytes; returns false at the end.
    fn advance(&mut self) -> bool {
        let at = self.crcs.len();
        if let Some((_, crc)) = self.data.take() {
            self.crcs.push(crc.value());
            self.ready = (self.records[at].descriptor(crc.value()), 0);
            return true;
        }
        let Some(record) = self.records.get(at) else {
            let first = !self.directory_written;
            if first {
                self.directory_written = true;
                self.ready = (zip::directory(&self.records, &self.crcs), 0);
            }
            return first;
        };
        self.ready = (record.local(), 0);
        let storages = self.storages.len();
        let segment = match at {
            0 => Segment::bytes(std::mem::take(&mut self.pickle)),
            1 => Segment::bytes(b"1".to_vec()),
            2 => Segment::bytes(b"64".to_vec()),
            3 => Segment::bytes(b"little".to_vec()),
            at if at < HEAD + storages => self.content.segment((at - HEAD) as u32, self.storages[at - HEAD]),
            at if at == HEAD + storages => Segment::bytes(b"3\n".to_vec()),
            _ => Segment::bytes(self.serialization_id()),
        };
        self.data = Some((segment, Crc32::new()));
        true
    }

    /// Returns two numbers of twenty digits: a hash of the record names and a hash of the checksums.
    fn serialization_id(&self) -> Vec<u8> {
        let names = self
            .records
            .iter()
            .flat_map(|record| record.name.bytes())
            .fold(1, |seed, byte| fnv1a_rotated(seed, byte.into()));
        let contents = self.crcs.iter().fold(2, |seed, &crc| fnv1a_rotated(seed, crc.into()));
        format!("{names:020}{contents:020}").into_bytes()
    }
}

/// Returns the records of the container of a state whose pickle has `pickle` bytes.
pub(super) fn records(state: &State, pickle: u64) -> Vec<Record> {
    let head = [("data.pkl", pickle), (".format_version", 1), (".storage_alignment", 2), ("byteorder", 6)];
    let storages = state.storages().enumerate().map(|(number, storage)| (format!("data/{number}"), storage.bytes()));
    let tail = [("version", 2), (".data/serialization_id", 40)];
    let named = |(name, size): (&str, u64)| (name.to_owned(), size);
    let contents = head.into_iter().map(named).chain(storages).chain(tail.into_iter().map(named));
    zip::records(contents.map(|(name, size)| (format!("{TOP}/{name}"), size)))
}
