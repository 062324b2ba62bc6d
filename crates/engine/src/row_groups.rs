//! What a lane of an iterable data set asks for, in order: pieces of its files and, where these are row groups, the
//! footers that say where they are.
//!
//! Invariant: a row group is asked for once its file's footer has come; a file is cut where its footer says, whatever
//! the configuration expects of it.

use std::collections::VecDeque;

use dlio_event::Position;
use dlio_plan::{Footers, Piece, Pieces};

use crate::Error;
use crate::helpers::Helpers;
use crate::reader::ReadKit;

/// One thing that a lane asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request {
    /// The footer of a file, by combined number.
    Footer(u64),
    /// Samples of a file: row groups, or all of it.
    Piece(Piece),
}

impl Request {
    pub(crate) fn file(self) -> u64 {
        match self {
            Self::Footer(file) => file,
            Self::Piece(piece) => piece.file,
        }
    }

    pub(crate) fn samples(self) -> u64 {
        match self {
            Self::Footer(_) => 0,
            Self::Piece(piece) => piece.samples,
        }
    }
}

/// The requests of one pass of a lane.
pub(crate) struct Requests<'k> {
    kit: &'k ReadKit,
    pieces: Pieces,
    footers: Option<Footers>,
    /// Footers that come before the next piece.
    due: VecDeque<u64>,
    /// The files whose footers were not asked for yet, where each is asked for ahead of its turn.
    ahead: VecDeque<u64>,
    /// The file that pieces are being cut from.
    current: Option<u64>,
}

impl<'k> Requests<'k> {
    pub(crate) fn new(kit: &'k ReadKit, pieces: Pieces, footers: Option<Footers>) -> Self {
        let ahead = if footers == Some(Footers::Ahead) { pieces.files().collect() } else { VecDeque::new() };
        Self { kit, pieces, footers, due: VecDeque::new(), ahead, current: None }
    }

    /// Reads the footers that come before everything else; returns their bytes.
    pub(crate) async fn begin(&mut self, helpers: &Helpers<'_>, at: Position) -> Result<u64, Error> {
        let mut bytes = 0;
        match self.footers {
            Some(Footers::First { at_a_time, .. }) => {
                let unknown: Vec<u64> = self.pieces.files().filter(|file| !self.kit.knows_footer(*file)).collect();
                for files in unknown.chunks(at_a_time.max(1) as usize) {
                    let reads = files.iter().map(|file| helpers.fetch(Request::Footer(*file), at));
                    bytes += futures::future::try_join_all(reads).await?.into_iter().sum::<u64>();
                }
            }
            Some(Footers::Ahead) if self.pieces.next_place().is_some() => self.due.extend(self.ahead.pop_front()),
            Some(Footers::Ahead) | None => {}
        }
        Ok(bytes)
    }

    /// What is asked for next, once everything before it has come where footers are read ahead of their turn.
    pub(crate) fn next(&mut self, at: Position) -> Result<Option<Request>, Error> {
        if self.footers.is_none() {
            return Ok(self.pieces.next().map(Request::Piece));
        }
        loop {
            if let Some(file) = self.due.pop_front() {
                if self.kit.knows_footer(file) {
                    continue;
                }
                return Ok(Some(Request::Footer(file)));
            }
            let Some((file, sample)) = self.pieces.next_place() else { return Ok(None) };
            if self.current != Some(file) {
                self.current = Some(file);
                // Of what follows only this one's is known; that of the next file comes before its row groups.
                self.due.extend(self.ahead.pop_front());
                continue;
            }
            let Some(footer) = self.kit.footer(file) else {
                return Err(self.kit.defect(at, "a row group is to be read before the footer of its file"));
            };
            return Ok(self.pieces.cut(self.kit.layout.request_samples(&footer, sample)).map(Request::Piece));
        }
    }

    /// The pass is over: forgets footers that the next one reads again.
    pub(crate) fn end(self) {
        let kept = matches!(self.footers, None | Some(Footers::First { kept: true, .. }));
        if !kept {
            self.kit.forget_footers();
        }
    }
}
