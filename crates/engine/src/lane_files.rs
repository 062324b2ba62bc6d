//! The steps by which a reader lane reads its files: open, read the index, read, decode, close. No I/O and no clock.
//!
//! Invariant: every reader of dataset files takes these steps in this order. The engine's lanes execute them with storage, and the predictor
//! of `dlio-run` executes them with encoders, so both make the same opens and reads of the same bytes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use dlio_format::{Decode, Decoder, Error, FileShape, Footer, IndexDecoder, IndexFile, Layout, Need, SampleIndex};
use dlio_plan::{File, HandleState, Handles, TrainingPlan};

/// State of a lane's reader: the layout of the files, the kind of decoding, and the indexes and footers read so far.
#[derive(Debug)]
pub struct ReaderState {
    layout: Layout,
    decode: Decode,
    /// Indexes by combined number of the file; `None` if the file was mapped and its index was not read.
    indexes: RefCell<HashMap<u64, Option<Arc<SampleIndex>>>>,
    footers: RefCell<HashMap<u64, Arc<Footer>>>,
}

/// Action that looks up a file before its first sample.
#[derive(Debug)]
pub enum Lookup {
    /// Nothing, because the index is known or the format has none.
    Nothing,
    /// Map the index files and the data file, that is, open and close them.
    Map(Box<MapReader>),
    /// Read the index files.
    Index(Box<IndexReader>),
}

impl ReaderState {
    /// Returns the state of a new reader, without indexes and footers.
    #[must_use]
    pub fn new(layout: Layout, decode: Decode) -> Self {
        Self { layout, decode, indexes: RefCell::default(), footers: RefCell::default() }
    }

    /// Returns the state of a new reader for the lanes of a plan. If the plan reads whole files, their content is not parsed.
    #[must_use]
    pub fn for_plan(plan: &TrainingPlan, layout: &Layout, decode: Decode) -> Self {
        let layout = layout.clone();
        Self::new(if plan.whole_files() { layout.read_whole() } else { layout }, decode)
    }

    /// Returns the state of a new reader of the same files, without indexes and footers.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self::new(self.layout.clone(), self.decode)
    }

    /// Returns the layout of the files.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How samples are decoded.
    #[must_use]
    pub fn decode(&self) -> Decode {
        self.decode
    }

    /// Returns whether samples are mapped and none of their bytes are read.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.layout.is_untouched(self.decode)
    }

    /// Returns the footer of a file by combined number, if it is known.
    #[must_use]
    pub fn footer(&self, file: u64) -> Option<Arc<Footer>> {
        self.footers.borrow().get(&file).cloned()
    }

    /// Returns whether the footer of a file is known.
    #[must_use]
    pub fn knows_footer(&self, file: u64) -> bool {
        self.footers.borrow().contains_key(&file)
    }

    /// Keeps the footer of a file.
    pub fn keep_footer(&self, file: u64, footer: Arc<Footer>) {
        self.footers.borrow_mut().insert(file, footer);
    }

    /// Returns the index of a file by combined number, if it is known.
    #[must_use]
    pub fn index(&self, file: u64) -> Option<Arc<SampleIndex>> {
        self.indexes.borrow().get(&file).cloned().flatten()
    }

    /// Returns whether a file was looked up: its index is known, or the file was mapped.
    #[must_use]
    pub fn knows_index(&self, file: u64) -> bool {
        self.indexes.borrow().contains_key(&file)
    }

    /// Keeps the index of a file.
    pub fn keep_index(&self, file: u64, index: Arc<SampleIndex>) {
        self.indexes.borrow_mut().insert(file, Some(index));
    }

    /// Forgets all indexes, as for a new reader.
    pub fn forget_indexes(&self) {
        self.indexes.borrow_mut().clear();
    }

    /// Forgets all footers.
    pub fn forget_footers(&self) {
        self.footers.borrow_mut().clear();
    }

    /// Returns the action that looks up a file before its first sample.
    ///
    /// # Errors
    /// When samples of this format cannot be decoded as asked.
    pub fn look_up(&self, file: &File) -> Result<Lookup, Error> {
        if self.knows_index(file.combined) {
            Ok(Lookup::Nothing)
        } else if self.is_untouched() {
            Ok(Lookup::Map(Box::new(MapReader::new(self, file)?)))
        } else {
            Ok(self.index_reader(file).map_or(Lookup::Nothing, |reader| Lookup::Index(Box::new(reader))))
        }
    }

    /// Returns a reader of the index of a file; `None` if the format has no index.
    #[must_use]
    pub fn index_reader(&self, file: &File) -> Option<IndexReader> {
        let decoder = self.layout.index_decoder(&shape(file))?;
        let kinds: Vec<IndexFile> = file.index_keys().into_iter().map(|(kind, _)| kind).rev().collect();
        Some(IndexReader { number: file.combined, decoder, left: kinds })
    }
}

fn shape(file: &File) -> FileShape<'_> {
    FileShape { file: file.combined, dims: &file.dims, samples: file.samples }
}

/// Reader of the index files of one data file.
#[derive(Debug)]
pub struct IndexReader {
    number: u64,
    decoder: IndexDecoder,
    /// Index files that were not read yet, in reverse order.
    left: Vec<IndexFile>,
}

impl IndexReader {
    /// Returns the index file to open, read completely and close next; `None` after the last one.
    pub fn next_file(&mut self) -> Option<IndexFile> {
        self.left.pop()
    }

    /// Checks the size of an index file in bytes, if opening reported it.
    ///
    /// # Errors
    /// When the size does not match the number of samples.
    pub fn size(&mut self, index: IndexFile, bytes: u64) -> Result<(), Error> {
        self.decoder.size(index, bytes)
    }

    /// Takes the next bytes of an index file.
    ///
    /// # Errors
    /// When the index has more entries than the file has samples.
    pub fn chunk(&mut self, index: IndexFile, bytes: &[u8]) -> Result<(), Error> {
        self.decoder.chunk(index, bytes)
    }

    /// Ends an index file that was read to its end.
    ///
    /// # Errors
    /// When the file is truncated.
    pub fn end(&mut self, index: IndexFile) -> Result<(), Error> {
        self.decoder.end(index)
    }

    /// Combines the index files into the index of the data file, and keeps it in the state.
    ///
    /// # Errors
    /// When the index files contradict each other or the data file.
    pub fn finish(self, state: &ReaderState) -> Result<Arc<SampleIndex>, Error> {
        let index = Arc::new(self.decoder.finish()?);
        state.keep_index(self.number, Arc::clone(&index));
        Ok(index)
    }
}

/// Mapping of one data file and its index files, which are opened and closed, and whose sizes are compared.
#[derive(Debug)]
pub struct MapReader {
    number: u64,
    index: Option<IndexDecoder>,
    data: Decoder,
}

impl MapReader {
    fn new(state: &ReaderState, file: &File) -> Result<Self, Error> {
        let shape = shape(file);
        let data = state.layout.decoder_with(&shape, state.decode)?;
        Ok(Self { number: file.combined, index: state.layout.index_decoder(&shape), data })
    }

    /// Returns the files to open with their keys, in order: the index files, then the data file (`None`).
    #[must_use]
    pub fn files(file: &File) -> Vec<(Option<IndexFile>, String)> {
        let indexes = file.index_keys().into_iter().map(|(kind, key)| (Some(kind), key));
        indexes.chain([(None, file.key.clone())]).collect()
    }

    /// Checks the size in bytes of an index file, or of the data file (`None`).
    ///
    /// # Errors
    /// When the size does not match the number of samples.
    pub fn size(&mut self, index: Option<IndexFile>, bytes: u64) -> Result<(), Error> {
        match (index, &mut self.index) {
            (Some(kind), Some(index)) => index.size(kind, bytes),
            (None, _) => self.data.size(bytes),
            (Some(_), None) => Ok(()),
        }
    }

    /// Returns whether the sizes do not identify the file, so that its index must be read.
    #[must_use]
    pub fn needs_index(&self) -> bool {
        self.data.is_in_doubt()
    }

    /// Ends the mapping; `index` is the index, if it was read.
    ///
    /// # Errors
    /// When the index does not match the data file.
    pub fn finish(mut self, state: &ReaderState, index: Option<Arc<SampleIndex>>) -> Result<(), Error> {
        if let Some(index) = index {
            self.data.locate(index)?;
        }
        state.indexes.borrow_mut().insert(self.number, None);
        Ok(())
    }
}

/// Next step of the reader of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read a range of the file.
    Read {
        /// Offset of the first byte.
        offset: u64,
        /// Number of bytes; `None` means up to the end of the file.
        len: Option<u64>,
    },
    /// Request the size of the file.
    Size,
    /// Nothing, because the sample or the footer is complete.
    Done,
}

/// Reader of samples of one open file.
#[derive(Debug)]
pub struct FileReader {
    number: u64,
    decoder: Decoder,
    index: Option<Box<IndexReader>>,
}

impl FileReader {
    /// Returns the reader of a file that was just opened; `size` is its size in bytes, if opening reported it.
    ///
    /// # Errors
    /// When the size or the known index does not match the file's samples.
    pub fn new(state: &ReaderState, file: &File, size: Option<u64>) -> Result<Self, Error> {
        let mut decoder = state.layout.decoder_with(&shape(file), state.decode)?;
        if let Some(footer) = state.footer(file.combined) {
            decoder.set_footer(footer);
        }
        if let Some(bytes) = size {
            decoder.size(bytes)?;
        }
        let known = state.indexes.borrow().get(&file.combined).cloned();
        let index = match known {
            Some(Some(index)) => {
                decoder.locate(index)?;
                None
            }
            Some(None) => None,
            None => state.index_reader(file).map(Box::new),
        };
        Ok(Self { number: file.combined, decoder, index })
    }

    /// Returns the reader of the file's index, if the index must be read before the first sample. The caller passes the index to
    /// [`FileReader::locate`].
    pub fn take_index_reader(&mut self) -> Option<Box<IndexReader>> {
        self.index.take()
    }

    /// Sets the index of the file.
    ///
    /// # Errors
    /// When the index does not match the file's size.
    pub fn locate(&mut self, index: Arc<SampleIndex>) -> Result<(), Error> {
        self.decoder.locate(index)
    }

    /// Selects the next sample, by number in the file.
    ///
    /// # Errors
    /// When the file has no such sample.
    pub fn aim(&mut self, sample: u64) -> Result<(), Error> {
        self.decoder.sample(sample)
    }

    /// Selects the footer of the file instead of a sample.
    pub fn aim_at_footer(&mut self) {
        self.decoder.aim_at_footer();
    }

    /// Returns the next step. After the last step, the state keeps the footer, if the file has one.
    pub fn step(&mut self, state: &ReaderState) -> Step {
        match self.decoder.need() {
            Need::Bytes { offset, len } => Step::Read { offset, len },
            Need::Size => Step::Size,
            Need::Done => {
                if let Some(footer) = self.decoder.footer() {
                    state.footers.borrow_mut().entry(self.number).or_insert(footer);
                }
                Step::Done
            }
        }
    }

    /// Sets the size of the file in bytes.
    ///
    /// # Errors
    /// When the size does not match the file's samples.
    pub fn size(&mut self, bytes: u64) -> Result<(), Error> {
        self.decoder.size(bytes)
    }

    /// Takes the next bytes of the requested range.
    ///
    /// # Errors
    /// When the bytes violate the format.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.decoder.chunk(bytes)
    }

    /// Ends the requested range.
    ///
    /// # Errors
    /// When the range ended early.
    pub fn end(&mut self) -> Result<(), Error> {
        self.decoder.end()
    }

    /// Returns the footer of the file, if it has one and it was read.
    #[must_use]
    pub fn footer(&self) -> Option<Arc<Footer>> {
        self.decoder.footer()
    }
}

/// The files that one lane keeps open between samples, each with its handle of type `H`.
#[derive(Debug)]
pub struct LaneFiles<H> {
    handles: Handles,
    samples_per_file: u64,
    access: HandleState,
    open: HashMap<u64, H>,
}

impl<H> LaneFiles<H> {
    /// Returns a lane without open files.
    #[must_use]
    pub fn new(handles: Handles, samples_per_file: u64) -> Self {
        let access = HandleState::new(handles, samples_per_file);
        Self { handles, samples_per_file, access, open: HashMap::new() }
    }

    /// Accounts for the next sample of the lane, in this file (by combined number). Returns whether the file is closed after it.
    pub fn access(&mut self, file: u64) -> bool {
        self.access.access(file).close
    }

    /// Returns the handle of the file of this number, if it is open.
    pub fn get(&mut self, file: u64) -> Option<&mut H> {
        self.open.get_mut(&file)
    }

    /// Keeps a file open; returns its handle.
    pub fn insert(&mut self, file: u64, handle: H) -> &mut H {
        self.open.entry(file).insert_entry(handle).into_mut()
    }

    /// Closes a file.
    pub fn close(&mut self, file: u64) {
        self.open.remove(&file);
    }

    /// Ends an epoch or evaluation and closes all files that are not kept open for the run.
    pub fn end_pass(&mut self) {
        self.access = HandleState::new(self.handles, self.samples_per_file);
        if self.handles != Handles::Cached {
            self.open.clear();
        }
    }
}
