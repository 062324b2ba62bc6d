//! The footers and indexes that a lane knows, and what a thread beside it reads with.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use dlio_event::Position;
use dlio_format::{Footer, SampleIndex};
use dlio_storage::Recorder;

use crate::Error;
use crate::reader::ReadKit;

impl ReadKit {
    /// Reads the footer of a file and nothing else; returns its bytes too.
    pub(crate) async fn read_footer(&self, number: u64, at: Position) -> Result<(Arc<Footer>, u64), Error> {
        let file = self.files.file(number);
        let mut open = self.open(&file, at).await?;
        open.decoder.aim_at_footer();
        let bytes = self.fetch_needed(&mut open, number, at).await?;
        let footer = open.decoder.footer();
        footer.map(|footer| (footer, bytes)).ok_or_else(|| self.defect(at, "a footer was read and is not there"))
    }

    pub(crate) fn footer(&self, file: u64) -> Option<Arc<Footer>> {
        self.footers.borrow().get(&file).cloned()
    }

    pub(crate) fn knows_footer(&self, file: u64) -> bool {
        self.footers.borrow().contains_key(&file)
    }

    pub(crate) fn keep_footer(&self, file: u64, footer: Arc<Footer>) {
        self.footers.borrow_mut().insert(file, footer);
    }

    /// What the lane has looked up of a file.
    pub(crate) fn index(&self, file: u64) -> Option<Arc<SampleIndex>> {
        self.indexes.borrow().get(&file).cloned().flatten()
    }

    pub(crate) fn keep_index(&self, file: u64, index: Arc<SampleIndex>) {
        self.indexes.borrow_mut().insert(file, Some(index));
    }

    pub(crate) fn forget_footers(&self) {
        self.footers.borrow_mut().clear();
    }

    pub(crate) fn forget_files(&self) {
        self.forget_footers();
        self.indexes.borrow_mut().clear();
    }

    /// The same for another thread of the lane, which knows nothing yet.
    pub(crate) fn twin(&self) -> Self {
        Self {
            files: self.files.clone(),
            layout: self.layout.clone(),
            handles: self.handles,
            storage: self.storage.clone(),
            clock: self.clock.clone(),
            events: self.events.clone(),
            recorder: RefCell::new(Recorder::new(self.events.clone(), self.lane)),
            inflight: 1,
            rank: self.rank,
            lane: self.lane,
            halt: self.halt.clone(),
            status: self.status.clone(),
            decode: self.decode,
            indexes: RefCell::default(),
            footers: RefCell::default(),
            blocks: self.blocks,
            unclaimed: Cell::new(0),
        }
    }
}
