//! Dispatch to the parsers of line-based formats.

use std::path::Path;

use super::format::SourceFormat;
use super::options::Options;
use super::rank_buffers::RankBuffers;
use super::{csv, darshan, dftracer, elbencho, fio, kv_cache, op_log};

/// Parser of one source file.
pub(super) enum Parser {
    Dftracer(Box<dftracer::Reader>),
    OpLog(Box<op_log::Reader>),
    Elbencho(elbencho::Reader),
    Fio(fio::Reader),
    KvCache(kv_cache::Reader),
    Darshan(darshan::Reader),
    Csv(csv::Reader),
}

impl Parser {
    /// Returns a parser; `None` if the format is not line-based.
    pub(super) fn new(format: SourceFormat, path: &Path, options: &Options) -> Option<Self> {
        let parser = match format {
            SourceFormat::Dftracer => Self::Dftracer(Box::new(dftracer::Reader::new(path, &options.host))),
            SourceFormat::OpLog | SourceFormat::Warp => Self::OpLog(Box::default()),
            SourceFormat::Elbencho => Self::Elbencho(elbencho::Reader::default()),
            SourceFormat::Fio => Self::Fio(fio::Reader::new(path)),
            SourceFormat::KvCache => Self::KvCache(kv_cache::Reader::default()),
            SourceFormat::DarshanDxt => Self::Darshan(darshan::Reader::new(path)),
            SourceFormat::Csv => Self::Csv(csv::Reader::default()),
            SourceFormat::Chrome => return None,
        };
        Some(parser)
    }

    pub(super) fn line(&mut self, text: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        match self {
            Self::Dftracer(reader) => reader.line(text, buffers),
            Self::OpLog(reader) => reader.line(text, buffers),
            Self::Elbencho(reader) => reader.line(text, buffers),
            Self::Fio(reader) => reader.line(text, buffers),
            Self::KvCache(reader) => reader.line(text, buffers),
            Self::Darshan(reader) => reader.line(text, buffers),
            Self::Csv(reader) => reader.line(text, buffers),
        }
    }

    /// Handles a line that was not valid text, so that its effect on later lines is unknown.
    pub(super) fn lose_line(&mut self) {
        if let Self::Darshan(reader) = self {
            reader.lose_line();
        }
    }

    /// Checks the state at the end of the file.
    pub(super) fn end(&mut self) -> Result<(), String> {
        match self {
            Self::Csv(reader) => reader.end(),
            Self::OpLog(reader) => reader.end(),
            _ => Ok(()),
        }
    }

    /// Returns the number of operations without an end.
    pub(super) fn unfinished(&self) -> u64 {
        match self {
            Self::Elbencho(reader) => reader.unfinished(),
            _ => 0,
        }
    }
}
