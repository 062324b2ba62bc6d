//! The steps by which a reader lane reads its files: open, read the index, read, decode, close. No I/O and no clock.
//!
//! Invariant: whoever reads files takes these steps in this order: the engine's lanes with storage behind them, and the predictor of
//! `dlio-run` with encoders. So both come to the same opens, reads and bytes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use dlio_format::{Decode, Decoder, Error, FileShape, Footer, IndexDecoder, IndexFile, Layout, Need, SampleIndex};
use dlio_plan::{File, HandleState, Handles, TrainingPlan};

/// What the reader of a lane knows: the layout of the files, how samples are decoded, and the indexes and footers read so far.
#[derive(Debug)]
pub struct ReaderState {
    layout: Layout,
    decode: Decode,
    /// By combined number of the file; `None`: mapped without being read.
    indexes: RefCell<HashMap<u64, Option<Arc<SampleIndex>>>>,
    footers: RefCell<HashMap<u64, Arc<Footer>>>,
}

/// What a lane does with a file that its reader looks up before the first sample.
#[derive(Debug)]
pub enum Lookup {
    /// Nothing: the index is known, or the format has none.
    Nothing,
    /// Map the index files and the data file: open and close them.
    Map(Box<MapReader>),
    /// Read the index files.
    Index(Box<IndexReader>),
}

impl ReaderState {
    /// A reader that knows nothing of its files yet.
    #[must_use]
    pub fn new(layout: Layout, decode: Decode) -> Self {
        Self { layout, decode, indexes: RefCell::default(), footers: RefCell::default() }
    }

    /// The reader of a plan's lanes: where the plan reads files whole, they are not looked into.
    #[must_use]
    pub fn for_plan(plan: &TrainingPlan, layout: &Layout, decode: Decode) -> Self {
        let layout = layout.clone();
        Self::new(if plan.whole_files() { layout.read_whole() } else { layout }, decode)
    }

    /// A reader of the same files that knows nothing of them yet.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self::new(self.layout.clone(), self.decode)
    }

    /// The layout of the files.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How samples are decoded.
    #[must_use]
    pub fn decode(&self) -> Decode {
        self.decode
    }

    /// Whether samples are mapped and never touched: no byte of them is read.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.layout.is_untouched(self.decode)
    }

    /// The footer of a file, by combined number.
    #[must_use]
    pub fn footer(&self, file: u64) -> Option<Arc<Footer>> {
        self.footers.borrow().get(&file).cloned()
    }

    /// Whether the footer of a file is known.
    #[must_use]
    pub fn knows_footer(&self, file: u64) -> bool {
        self.footers.borrow().contains_key(&file)
    }

    /// Keeps the footer of a file.
    pub fn keep_footer(&self, file: u64, footer: Arc<Footer>) {
        self.footers.borrow_mut().insert(file, footer);
    }

    /// The index of a file, by combined number.
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

    /// Forgets all indexes: the reader is made anew.
    pub fn forget_indexes(&self) {
        self.indexes.borrow_mut().clear();
    }

    /// Forgets all footers.
    pub fn forget_footers(&self) {
        self.footers.borrow_mut().clear();
    }

    /// What is to be done to look up a file before its first sample.
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

    /// What reads the index of a file; `None`: the format has none.
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

/// Reads the index files of one data file.
#[derive(Debug)]
pub struct IndexReader {
    number: u64,
    decoder: IndexDecoder,
    /// In reverse order.
    left: Vec<IndexFile>,
}

impl IndexReader {
    /// The index file that is to be opened, read whole and closed next; `None`: all have been.
    pub fn next_file(&mut self) -> Option<IndexFile> {
        self.left.pop()
    }

    /// Takes the size of an index file in bytes, where opening it told the size.
    ///
    /// # Errors
    /// A size that does not go with the number of samples.
    pub fn size(&mut self, index: IndexFile, bytes: u64) -> Result<(), Error> {
        self.decoder.size(index, bytes)
    }

    /// Takes the next bytes of an index file.
    ///
    /// # Errors
    /// More numbers than the file has samples.
    pub fn chunk(&mut self, index: IndexFile, bytes: &[u8]) -> Result<(), Error> {
        self.decoder.chunk(index, bytes)
    }

    /// Takes note that an index file has been read to its end.
    ///
    /// # Errors
    /// When the file is truncated.
    pub fn end(&mut self, index: IndexFile) -> Result<(), Error> {
        self.decoder.end(index)
    }

    /// Joins the index files to the index of the data file, which the reader keeps.
    ///
    /// # Errors
    /// When the index files contradict each other or the data file.
    pub fn finish(self, state: &ReaderState) -> Result<Arc<SampleIndex>, Error> {
        let index = Arc::new(self.decoder.finish()?);
        state.keep_index(self.number, Arc::clone(&index));
        Ok(index)
    }
}

/// Maps the index files and the data file of one file: opens and closes them, and compares their sizes.
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

    /// The files to open, in order: index files, then the data file (`None`), with their keys.
    #[must_use]
    pub fn files(file: &File) -> Vec<(Option<IndexFile>, String)> {
        let indexes = file.index_keys().into_iter().map(|(kind, key)| (Some(kind), key));
        indexes.chain([(None, file.key.clone())]).collect()
    }

    /// Takes the size of an index file, or of the data file (`None`), in bytes.
    ///
    /// # Errors
    /// A size that does not go with the number of samples.
    pub fn size(&mut self, index: Option<IndexFile>, bytes: u64) -> Result<(), Error> {
        match (index, &mut self.index) {
            (Some(kind), Some(index)) => index.size(kind, bytes),
            (None, _) => self.data.size(bytes),
            (Some(_), None) => Ok(()),
        }
    }

    /// Whether the sizes leave open what the file is, so that its index must be read.
    #[must_use]
    pub fn needs_index(&self) -> bool {
        self.data.is_in_doubt()
    }

    /// Ends the look-up; `index` is the index, where it was read.
    ///
    /// # Errors
    /// When the index does not go with the data file.
    pub fn finish(mut self, state: &ReaderState, index: Option<Arc<SampleIndex>>) -> Result<(), Error> {
        if let Some(index) = index {
            self.data.locate(index)?;
        }
        state.indexes.borrow_mut().insert(self.number, None);
        Ok(())
    }
}

/// What the reader of an open file needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Bytes from `offset`; `len` of them, or all to the end of the file.
    Read {
        /// First byte.
        offset: u64,
        /// Number of bytes; `None`: to the end.
        len: Option<u64>,
    },
    /// The size of the file.
    Size,
    /// Nothing: the sample, or the footer, is complete.
    Done,
}

/// Reads samples of one open file.
#[derive(Debug)]
pub struct FileReader {
    number: u64,
    decoder: Decoder,
    index: Option<Box<IndexReader>>,
}

impl FileReader {
    /// The reader of a file that was just opened; `size` is its size in bytes, where opening told it.
    ///
    /// # Errors
    /// A size, or an index known from before, that does not go with the file's samples.
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

    /// What reads the index of the file, where that must be read before the first sample; the caller hands the index to
    /// [`FileReader::locate`].
    pub fn take_index_reader(&mut self) -> Option<Box<IndexReader>> {
        self.index.take()
    }

    /// Takes the index of the file.
    ///
    /// # Errors
    /// When the index does not go with the file's size.
    pub fn locate(&mut self, index: Arc<SampleIndex>) -> Result<(), Error> {
        self.decoder.locate(index)
    }

    /// Turns to a sample, by number in the file.
    ///
    /// # Errors
    /// When the file has no such sample.
    pub fn aim(&mut self, sample: u64) -> Result<(), Error> {
        self.decoder.sample(sample)
    }

    /// Turns to the footer of the file and nothing else.
    pub fn aim_at_footer(&mut self) {
        self.decoder.aim_at_footer();
    }

    /// What is needed next. At the end the state keeps the footer, where the file has one.
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

    /// Takes the size of the file in bytes.
    ///
    /// # Errors
    /// A size that does not go with the file's samples.
    pub fn size(&mut self, bytes: u64) -> Result<(), Error> {
        self.decoder.size(bytes)
    }

    /// Takes the next bytes of the range that was asked for.
    ///
    /// # Errors
    /// Bytes that are not what the format requires there.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.decoder.chunk(bytes)
    }

    /// Takes note that the range that was asked for has come.
    ///
    /// # Errors
    /// When the range ended before the format allows it.
    pub fn end(&mut self) -> Result<(), Error> {
        self.decoder.end()
    }

    /// The footer of the file, where it has one and it was read.
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
    /// A lane without open files.
    #[must_use]
    pub fn new(handles: Handles, samples_per_file: u64) -> Self {
        let access = HandleState::new(handles, samples_per_file);
        Self { handles, samples_per_file, access, open: HashMap::new() }
    }

    /// Accounts for the next sample of the lane, in this file (by combined number). Returns whether the file is closed after it.
    pub fn access(&mut self, file: u64) -> bool {
        self.access.access(file).close
    }

    /// The open file of this number.
    pub fn get(&mut self, file: u64) -> Option<&mut H> {
        self.open.get_mut(&file)
    }

    /// Keeps a file open that was just opened.
    pub fn insert(&mut self, file: u64, handle: H) -> &mut H {
        self.open.entry(file).insert_entry(handle).into_mut()
    }

    /// Closes a file.
    pub fn close(&mut self, file: u64) {
        self.open.remove(&file);
    }

    /// The epoch or evaluation is over: closes all files that are not kept for the run.
    pub fn end_pass(&mut self) {
        self.access = HandleState::new(self.handles, self.samples_per_file);
        if self.handles != Handles::Cached {
            self.open.clear();
        }
    }
}
