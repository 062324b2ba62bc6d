//! The encoder type of the crate: a queue of pieces, or a stream of TFRecord frames, Parquet pages or checkpoint
//! records.
//!
//! This folder imports the byte sources of every format. Byte sources do not import this folder, except those that
//! compress the output of another encoder.

mod compress;
mod piece;
pub(crate) mod preset_crc;
pub(crate) mod segment;

use std::collections::VecDeque;

use crate::checkpoint::torch::Archive;
use crate::dataset::parquet::pages::Pages;
use crate::dataset::tfrecord::frames::{Frames, IndexLines};

pub(crate) use compress::{Method, compress};
pub(crate) use piece::Piece;

/// An encoder that produces the bytes of one file, front to back.
#[derive(Debug, Clone)]
pub struct Encoder {
    len: u64,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Pieces(VecDeque<Piece>),
    Frames(Box<Frames>),
    IndexLines(IndexLines),
    Archive(Box<Archive>),
    Pages(Box<Pages>),
}

impl Encoder {
    pub(crate) fn pieces(pieces: impl IntoIterator<Item = Piece>) -> Self {
        let pieces: VecDeque<Piece> = pieces.into_iter().collect();
        Self { len: pieces.iter().map(Piece::remaining).sum(), source: Source::Pieces(pieces) }
    }

    pub(crate) fn frames(len: u64, frames: Frames) -> Self {
        Self { len, source: Source::Frames(Box::new(frames)) }
    }

    pub(crate) fn archive(len: u64, archive: Archive) -> Self {
        Self { len, source: Source::Archive(Box::new(archive)) }
    }

    pub(crate) fn lines(len: u64, lines: IndexLines) -> Self {
        Self { len, source: Source::IndexLines(lines) }
    }

    pub(crate) fn pages(len: u64, pages: Pages) -> Self {
        Self { len, source: Source::Pages(Box::new(pages)) }
    }

    /// Returns the length of the whole file in bytes, independent of the progress.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether the file is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes the next bytes of the file to the front of `buffer` and returns their number: the length of the buffer,
    /// unless the file ends before that, and 0 at the end of the file.
    pub fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < buffer.len() {
            let room = &mut buffer[filled..];
            let count = match &mut self.source {
                Source::Pieces(pieces) => {
                    let Some(piece) = pieces.front_mut() else { break };
                    let count = piece.fill(room);
                    if piece.remaining() == 0 {
                        pieces.pop_front();
                    }
                    filled += count;
                    continue;
                }
                Source::Frames(frames) => frames.fill(room),
                Source::IndexLines(lines) => lines.fill(room),
                Source::Archive(archive) => archive.fill(room),
                Source::Pages(pages) => pages.fill(room),
            };
            if count == 0 {
                break;
            }
            filled += count;
        }
        filled
    }
}
