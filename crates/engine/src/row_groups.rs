//! The requests of a lane that reads an iterable dataset, in order: pieces of its files and, for row groups, the footers that locate
//! them.
//!
//! Invariant: a row group is requested after its file's footer has arrived. The footer determines the pieces of a file, even where the
//! configuration expects others.

use std::collections::VecDeque;

use dlio_event::Position;
use dlio_plan::{Footers, Pieces};

use crate::Error;
use crate::blocking_pool::BlockingPool;
use crate::lane_context::LaneContext;
use crate::request::Request;

/// The requests of one pass of a lane.
pub(crate) struct Requests<'c> {
    context: &'c LaneContext,
    pieces: Pieces,
    footers: Option<Footers>,
    /// Footers that must be read before the next piece.
    due: VecDeque<u64>,
    /// Files whose footers were not requested yet, if each footer is read one file ahead.
    ahead: VecDeque<u64>,
    /// The file of the current pieces.
    current: Option<u64>,
}

impl<'c> Requests<'c> {
    pub(crate) fn new(context: &'c LaneContext, pieces: Pieces, footers: Option<Footers>) -> Self {
        let ahead = if footers == Some(Footers::Ahead) { pieces.files().collect() } else { VecDeque::new() };
        Self { context, pieces, footers, due: VecDeque::new(), ahead, current: None }
    }

    /// Reads the footers that precede all pieces; returns the number of bytes.
    pub(crate) async fn begin(&mut self, pool: &BlockingPool<'_>, at: Position) -> Result<u64, Error> {
        let mut bytes = 0;
        match self.footers {
            Some(Footers::First { at_a_time, .. }) => {
                let unknown: Vec<u64> =
                    self.pieces.files().filter(|file| !self.context.state.knows_footer(*file)).collect();
                for files in unknown.chunks(at_a_time.max(1) as usize) {
                    let reads = files.iter().map(|file| pool.fetch(Request::Footer(*file), at));
                    bytes += futures::future::try_join_all(reads).await?.into_iter().sum::<u64>();
                }
            }
            Some(Footers::Ahead) if self.pieces.next_place().is_some() => self.due.extend(self.ahead.pop_front()),
            Some(Footers::Ahead) | None => {}
        }
        Ok(bytes)
    }

    /// Returns the next request. Where footers are read ahead, all earlier requests must have been completed.
    pub(crate) fn next(&mut self, at: Position) -> Result<Option<Request>, Error> {
        if self.footers.is_none() {
            return Ok(self.pieces.next().map(Request::Piece));
        }
        loop {
            if let Some(file) = self.due.pop_front() {
                if self.context.state.knows_footer(file) {
                    continue;
                }
                return Ok(Some(Request::Footer(file)));
            }
            let Some((file, sample)) = self.pieces.next_place() else { return Ok(None) };
            if self.current != Some(file) {
                self.current = Some(file);
                // The footer of this file is known; the footer of the next file is read before this file's row groups.
                self.due.extend(self.ahead.pop_front());
                continue;
            }
            let Some(footer) = self.context.state.footer(file) else {
                return Err(self.context.defect(at, "a row group is to be read before the footer of its file"));
            };
            return Ok(self
                .pieces
                .cut(self.context.state.layout().request_samples(&footer, sample))
                .map(Request::Piece));
        }
    }

    /// Ends the pass and forgets footers that the next pass reads again.
    pub(crate) fn end(self) {
        let kept = matches!(self.footers, None | Some(Footers::First { kept: true, .. }));
        if !kept {
            self.context.state.forget_footers();
        }
    }
}
