//! Export of one rank's trace in dftracer's format: a line `[`, then one JSON object per line, with times in microseconds since
//! 1970. The file is compressed with gzip because dftracer's tools read nothing else.
//!
//! Names and categories are those of the reference's own instrumentation and of dftracer's system-call tracer, so that their
//! analyses find reads, samples, fetches, computation and epochs. Lines that these analyses expect and a run does not record are
//! derived from its rows and marked with the argument `derived`: `fetch.block` for a step, `item` for a sample, and `preprocess`
//! for a sample if nothing was preprocessed. Memory grows only by one hash per file name.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use dlio_event::mix::fnv1a_64;
use dlio_event::{Lane, OpKind, Outcome, Phase};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::header::Header;
use crate::reader::RankTrace;
use crate::replacement_file::ReplacementFile;
use crate::rows::{Row, Rows};

/// Writes the trace of one rank to a file. The file gets its name when it is complete.
///
/// # Errors
/// [`Error::Create`] if the file cannot be written, or an error of the trace.
pub fn write_file(trace: &RankTrace, path: &Path) -> Result<(), Error> {
    let create = |source| Error::Create { path: path.to_owned(), source };
    let target = ReplacementFile::create(path, ".tmp").map_err(create)?;
    write_lines(trace, &target.file, create)?;
    target.publish().map_err(create)
}

fn write_lines(trace: &RankTrace, file: &File, create: impl Fn(std::io::Error) -> Error) -> Result<(), Error> {
    let packed = GzEncoder::new(BufWriter::with_capacity(1 << 20, file), Compression::fast());
    let mut out = BufWriter::with_capacity(1 << 16, packed);
    let mut exporter = Exporter::new(&trace.header);
    for batch in trace.batches()? {
        if batch?.kind.contains(&OpKind::Preprocess) {
            exporter.preprocesses = true;
            break;
        }
    }
    exporter.begin(&mut out).map_err(&create)?;
    for batch in trace.batches()? {
        exporter.rows(&batch?, &mut out).map_err(&create)?;
    }
    let ended = out.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(GzEncoder::finish);
    ended.and_then(|mut file| file.flush()).map_err(create)
}

/// Converts rows of one rank to lines.
pub struct Exporter {
    pid: u32,
    host: String,
    host_hash: String,
    /// Class names of the reader and the generator for the dataset's format.
    reader: String,
    generator: String,
    /// Nanoseconds to add to a time of the trace to get wall-clock time.
    to_wall_ns: i128,
    id: u64,
    named: HashSet<u64>,
    /// Whether the trace has rows of preprocessing.
    preprocesses: bool,
}

impl Exporter {
    /// Returns an exporter for the rank that `header` describes.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        let clock = &header.clock;
        let config: Value = serde_json::from_str(&header.config_json).unwrap_or_default();
        let format = config["workload"]["dataset"]["format"].as_str().unwrap_or("tfrecord").to_owned();
        let class = class_of(&format);
        Self {
            pid: header.pid,
            host: header.host.clone(),
            host_hash: format!("{:016x}", hash(&header.host)),
            reader: format!("{class}Reader"),
            generator: format!("{class}Generator"),
            to_wall_ns: i128::from(clock.wall_unix_ns)
                - i128::from(clock.monotonic_ns)
                - i128::from(clock.offset_to_rank0_ns),
            id: 0,
            named: HashSet::new(),
            preprocesses: false,
        }
    }

    /// Writes the lines before the first event.
    ///
    /// # Errors
    /// An I/O error of `out`.
    pub fn begin(&mut self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "[")?;
        let (host, hash) = (self.host.clone(), self.host_hash.clone());
        self.metadata("HH", (&host, &hash), 0, out)?;
        // Readers can rely on epochs and blocks in these lines, unlike in the reference's own traces.
        self.metadata("PR", ("program", "dlio-rs"), 0, out)
    }

    /// Writes the lines of some rows.
    ///
    /// # Errors
    /// An I/O error of `out`.
    pub fn rows(&mut self, rows: &Rows, out: &mut impl Write) -> std::io::Result<()> {
        for row in rows.views() {
            self.event(row, out)?;
        }
        Ok(())
    }

    fn event(&mut self, row: Row<'_>, out: &mut impl Write) -> std::io::Result<()> {
        let (name, category) = self.words(row);
        let start = self.micros(row.start());
        let mut args = Map::new();
        args.insert("hhash".to_owned(), json!(self.host_hash));
        args.insert("hostname".to_owned(), json!(self.host));
        if let Some(file) = row.object() {
            let hashed = hash(file);
            let text = format!("{hashed:016x}");
            if self.named.insert(hashed) {
                self.metadata("FH", (file, &text), start, out)?;
            }
            args.insert("fhash".to_owned(), json!(text));
            args.insert("fname".to_owned(), json!(file));
        }
        arguments(row, &mut args);
        let lane = row.lane();
        let tid = if lane == Lane::MAIN { self.pid } else { self.pid + 1 + u32::from(lane.0) };
        let took = (self.micros(row.end()) - start).max(0);
        let span = Span { tid, start, took };
        self.line((&name, category), span, &args, out)?;
        args.insert("derived".to_owned(), json!(1));
        match row.kind() {
            OpKind::Compute => self.line(("fetch.block", "dataloader"), span, &args, out),
            OpKind::Sample => {
                if !self.preprocesses {
                    let end = Span { start: start + took, took: 0, ..span };
                    self.line(("preprocess", "data"), end, &args, out)?;
                }
                self.line(("item", "data"), span, &args, out)
            }
            _ => Ok(()),
        }
    }

    fn line(
        &mut self,
        (name, category): (&str, &str),
        span: Span,
        args: &Map<String, Value>,
        out: &mut impl Write,
    ) -> std::io::Result<()> {
        self.id += 1;
        let event = json!({
            "id": self.id,
            "name": name,
            "cat": category,
            "pid": self.pid,
            "tid": span.tid,
            "ts": span.start,
            "dur": span.took,
            "ph": "X",
            "args": args,
        });
        serde_json::to_writer(&mut *out, &event)?;
        writeln!(out)
    }

    /// Writes the name for a hash. The line has a time because some readers expect one in every line.
    fn metadata(
        &mut self,
        kind: &str,
        (name, hash): (&str, &str),
        ts: i64,
        out: &mut impl Write,
    ) -> std::io::Result<()> {
        self.id += 1;
        let line = json!({
            "id": self.id,
            "name": kind,
            "cat": "dftracer",
            "pid": self.pid,
            "tid": self.pid,
            "ts": ts,
            "dur": 0,
            "ph": "M",
            "args": {"hhash": self.host_hash, "name": name, "value": hash},
        });
        serde_json::to_writer(&mut *out, &line)?;
        writeln!(out)
    }

    fn micros(&self, ns: i64) -> i64 {
        i64::try_from((i128::from(ns) + self.to_wall_ns) / 1000).unwrap_or(i64::MAX)
    }

    /// Returns the name and the category of a row.
    fn words(&self, row: Row<'_>) -> (String, &'static str) {
        let plain = |name: &str, category| (name.to_owned(), category);
        match row.kind() {
            OpKind::Get | OpKind::GetRange => plain("S3Storage.get_data", "storage"),
            OpKind::Put => plain("S3Storage.put_data", "storage"),
            OpKind::MultipartCreate => plain("S3Storage.multipart_create", "storage"),
            OpKind::MultipartPart => plain("S3Storage.multipart_part", "storage"),
            OpKind::MultipartComplete => plain("S3Storage.multipart_complete", "storage"),
            OpKind::MultipartAbort => plain("S3Storage.multipart_abort", "storage"),
            OpKind::Head => plain("S3Storage.head", "storage"),
            OpKind::List => plain("opendir", "POSIX"),
            OpKind::Delete => plain("unlink", "POSIX"),
            OpKind::CreateNamespace => plain("mkdir", "POSIX"),
            OpKind::Open => plain("open64", "POSIX"),
            OpKind::Read => plain("pread64", "POSIX"),
            OpKind::Write => plain("pwrite64", "POSIX"),
            OpKind::Fsync => plain("fsync", "POSIX"),
            OpKind::Rename => plain("rename", "POSIX"),
            OpKind::Close => plain("close", "POSIX"),
            OpKind::Stat => plain("__fxstat64", "POSIX"),
            OpKind::Decode => plain("decode", "data"),
            OpKind::Preprocess => plain("preprocess", "data"),
            OpKind::Fetch => plain("fetch.iter", "dataloader"),
            OpKind::Compute => plain("compute", "compute"),
            OpKind::Barrier => plain("barrier", "comm"),
            OpKind::Block => plain("train", "pipeline"),
            OpKind::Epoch => plain("epoch.block", "pipeline"),
            OpKind::Eval => plain("evaluate", "pipeline"),
            OpKind::Batch => plain("batch", "data_loader"),
            OpKind::Sample => (format!("{}.read_index", self.reader), "reader"),
            OpKind::GenerateFile => (format!("{}.generate", self.generator), "data_generator"),
            OpKind::CheckpointSave => plain("capture", "checkpoint"),
            OpKind::CheckpointLoad => plain("restart", "checkpoint"),
        }
    }
}

/// Thread and time of a line, microseconds since 1970.
#[derive(Clone, Copy)]
struct Span {
    tid: u32,
    start: i64,
    took: i64,
}

/// Adds the position and the size of a row under the reference's argument names.
fn arguments(row: Row<'_>, args: &mut Map<String, Value>) {
    let kind = row.kind();
    let mut put = |name: &str, value: Value| {
        args.insert(name.to_owned(), value);
    };
    for (name, value) in [("epoch", row.epoch()), ("block", row.block()), ("step", row.step())] {
        if value > 0 {
            put(name, json!(value));
        }
    }
    // The reference numbers its epochs and the batches of a loader in `count`.
    match kind {
        OpKind::Epoch if row.epoch() > 0 => put("count", json!(row.epoch())),
        OpKind::Fetch | OpKind::Compute if row.step() > 0 => put("count", json!(row.step())),
        _ => {}
    }
    if let Some(sample) = row.sample() {
        put("image_idx", json!(sample));
    }
    let bytes = row.bytes();
    if matches!(kind, OpKind::Sample | OpKind::Batch | OpKind::Fetch | OpKind::GenerateFile) && bytes > 0 {
        put("image_size", json!(bytes));
    }
    if row.outcome() != Outcome::Ok {
        put("ret", json!(row.status().min(-1)));
        put("outcome", json!(row.outcome().name()));
    } else if kind.is_read() || kind.is_write() {
        put("ret", json!(bytes));
        put("size", json!(bytes));
    }
    // A GET without a range reads the whole object.
    if (kind.is_read() || kind.is_write()) && kind != OpKind::Get {
        put("count", json!(row.requested().unwrap_or(bytes)));
        put("offset", json!(row.offset()));
    }
    if row.phase() == Phase::Eval {
        put("dataset_type", json!("valid"));
    }
}

/// Returns the prefix of the reference's class names for a format.
fn class_of(format: &str) -> &'static str {
    match format {
        "npz" => "NPZ",
        "npy" => "NPY",
        "hdf5" => "HDF5",
        "csv" => "CSV",
        "jpeg" | "png" => "Image",
        "indexed_binary" => "IndexedBinary",
        "mmap_indexed_binary" => "IndexedBinaryMMap",
        "synthetic" => "Synthetic",
        "parquet" => "Parquet",
        _ => "TF",
    }
}

/// FNV-1a, so that a name has the same hash in the files of all ranks.
fn hash(name: &str) -> u64 {
    fnv1a_64(name.bytes())
}
