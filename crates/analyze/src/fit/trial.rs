//! Which of several workloads comes nearest to a trace: each is tried by whoever knows plans and formats.

use super::gather::Gathered;
use super::{Dialect, Fit, Loader, Training, shape};

/// What a workload would do, told by whoever knows plans and formats. Workloads are texts, as [`Fit::yaml`] makes them.
pub trait Foresight {
    /// Mean bytes of a file of the data set; `None`: there can be no such file.
    fn file_bytes(&self, yaml: &str) -> Option<f64>;

    /// What training does; `None`: it cannot be run.
    fn training(&self, yaml: &str) -> Option<Load>;

    /// Files of a checkpoint of a rank that saves, and their bytes; `None`: it cannot be run.
    fn checkpoint(&self, yaml: &str) -> Option<(f64, f64)>;
}

/// What all ranks do in all epochs of training.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Steps.
    pub steps: f64,
    /// Bytes that are read.
    pub bytes: f64,
    /// Reads, of however many bytes.
    pub reads: f64,
    /// Files that are opened.
    pub opens: f64,
}

/// What is counted as a sample, and what is known of that.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    pub(super) files: u64,
    pub(super) samples_per_file: u64,
    /// Samples, as often as they are read.
    pub(super) visits: f64,
    /// Seconds that each reading of one takes.
    pub(super) durations: Vec<f64>,
    /// A sample is a piece of an object of which nothing is known.
    is_piece: bool,
}

/// The workload that comes nearest, and what it does.
pub(super) struct Nearest {
    pub(super) training: Training,
    pub(super) cut: Cut,
    pub(super) load: Load,
}

/// How much farther a workload may be that names what the trace names.
const NAMED: f64 = 0.3;
/// The same of one in the reference's dialect.
const DIALECT: f64 = 0.05;

/// Tries what may have read as the trace says.
pub(super) fn nearest(gathered: &Gathered, base: &Fit, foresight: &dyn Foresight) -> Option<Nearest> {
    let mut best: Option<(f64, Nearest)> = None;
    for cut in cuts(gathered) {
        for (format, dialect) in formats(gathered, &cut) {
            let Some(sized) = sized(gathered, base, &cut, (format, dialect), foresight) else { continue };
            for &loader in loaders(format, dialect) {
                let training = Training { loader, ..sized.clone() };
                let Some((training, load)) = tried(gathered, base, &cut, training, foresight) else { continue };
                let named = gathered.format().is_ok_and(|named| named == format);
                let mut far = distance(gathered, &cut, load);
                far += if named { 0.0 } else { NAMED };
                far += if dialect == Dialect::Native { DIALECT } else { 0.0 };
                if best.as_ref().is_none_or(|(least, _)| far < *least) {
                    best = Some((far, Nearest { training, cut: cut.clone(), load }));
                }
            }
        }
    }
    best.map(|(_, nearest)| nearest)
}

/// What a sample may be.
fn cuts(gathered: &Gathered) -> Vec<Cut> {
    let files = gathered.objects.len() as u64;
    if gathered.spans {
        let (visits, durations) = (gathered.visits as f64, gathered.durations.clone());
        let samples_per_file = shape::count(gathered.samples as f64 / files as f64);
        let cut = Cut { files, samples_per_file, visits, durations, is_piece: false };
        let named = gathered.files_of_names().filter(|named| *named > files).into_iter();
        let more = named.flat_map(|files| unread(gathered, files).map(move |samples| (files, samples)));
        let more = more.map(|(files, samples_per_file)| Cut { files, samples_per_file, ..cut.clone() });
        return std::iter::once(cut.clone()).chain(more).collect();
    }
    // As often as its bytes were read, an object was.
    let times = |object: &super::gather::Object| (object.bytes as f64 / object.size as f64).round().max(1.0);
    let visits: f64 = gathered.objects.iter().map(times).sum();
    let seconds: f64 = gathered.durations.iter().sum();
    let mut cuts =
        vec![Cut { files, samples_per_file: 1, visits, durations: vec![seconds / visits.max(1.0)], is_piece: false }];
    let common = gathered.pieces.iter().max_by_key(|(_, count)| **count);
    if let Some((piece, count)) = common
        && count * 2 >= gathered.reads
    {
        let samples_per_file = shape::count(gathered.mean_size() / *piece as f64);
        if samples_per_file > 1 {
            let visits = gathered.bytes as f64 / *piece as f64;
            let more = gathered.durations.len() as f64 / visits;
            let durations = gathered.durations.iter().map(|seconds| seconds * more).collect();
            cuts.push(Cut { files, samples_per_file, visits, durations, is_piece: true });
        }
    }
    cuts
}

/// Samples per file of a data set with more files than were read, of which the reference reads as many samples as were recorded:
/// it leaves out files that are too many for whole steps, and with `TensorFlow` reads some files in the place of others.
fn unread(gathered: &Gathered, files: u64) -> impl Iterator<Item = u64> {
    let (per_step, samples) = (gathered.batch() * gathered.ranks, gathered.samples);
    (1..=SAMPLES_MOST).filter(move |each| {
        let unit = each * per_step;
        files / unit * unit * each == samples
    })
}

/// Most samples per file that are tried.
const SAMPLES_MOST: u64 = 4096;

/// The formats that names tell; where nobody says what a sample is, also those that are read whole, or piece by piece.
fn formats(gathered: &Gathered, cut: &Cut) -> Vec<(&'static str, Dialect)> {
    let mut formats = Vec::new();
    if !cut.is_piece
        && let Ok(named) = gathered.format()
    {
        formats.extend([(named, Dialect::Dlio), (named, Dialect::Native)]);
    }
    if cut.is_piece {
        formats.push(("indexed_binary", Dialect::Native));
    } else if !gathered.spans || formats.is_empty() {
        formats.push(("npy", Dialect::Native));
    }
    if formats.is_empty() || (gathered.spans && gathered.format().is_err()) {
        formats.push(("npz", Dialect::Dlio));
    }
    formats
}

fn loaders(format: &str, dialect: Dialect) -> &'static [Loader] {
    match (format, dialect) {
        ("tfrecord", _) => &[Loader::Tensorflow],
        (_, Dialect::Native) => &[Loader::Pytorch, Loader::PytorchKept],
        (_, Dialect::Dlio) => &[Loader::Pytorch, Loader::PytorchKept, Loader::Tensorflow],
    }
}

/// A workload whose files are as large as those of the trace.
fn sized(
    gathered: &Gathered,
    base: &Fit,
    cut: &Cut,
    (format, dialect): (&'static str, Dialect),
    foresight: &dyn Foresight,
) -> Option<Training> {
    let loader = *loaders(format, dialect).first()?;
    let (samples, target) = (cut.samples_per_file as f64, gathered.mean_size());
    let training = Training { format, dialect, loader, ..Training::of(gathered, cut) };
    let bytes = |length: f64| {
        let training = Training { record_length: length, ..training.clone() };
        foresight.file_bytes(&base.with(training).yaml())
    };
    // The first guess is the bytes of a sample, the second one corrects it by what is around samples, and the others follow the
    // line through the last two: images are compressed.
    let mut length = (target / samples).max(1.0);
    let mut before: Option<(f64, f64)> = None;
    let mut best: Option<(f64, f64)> = None;
    for _ in 0..GUESSES {
        let found = bytes(length)?;
        let off = (found - target).abs();
        if best.is_none_or(|(least, _)| off < least) {
            best = Some((off, length));
        }
        let slope = before.map(|(length_before, found_before)| (found - found_before) / (length - length_before));
        let slope = slope.filter(|slope| slope.is_finite() && *slope > samples / 100.0).unwrap_or(samples);
        before = Some((length, found));
        length = (length + (target - found) / slope).max(1.0);
        if off <= target / 1000.0 {
            break;
        }
    }
    let (_, record_length) = best?;
    Some(Training { record_length, ..training })
}

const GUESSES: usize = 6;

/// What a workload does; one with more steps than were recorded stops after as many.
fn tried(
    gathered: &Gathered,
    base: &Fit,
    cut: &Cut,
    training: Training,
    foresight: &dyn Foresight,
) -> Option<(Training, Load)> {
    let load = foresight.training(&base.with(training.clone()).yaml()).filter(|load| load.steps > 0.0)?;
    let epochs = (training.epochs * gathered.ranks) as f64;
    let each = shape::count(load.steps / epochs);
    let seen = match u64::from(gathered.steps_seen) {
        0 => shape::count(gathered.steps_of(cut.visits) / epochs),
        seen => seen,
    };
    if each <= seen {
        return Some((training, load));
    }
    let training = Training { steps: Some(seen), ..training };
    let load = foresight.training(&base.with(training.clone()).yaml())?;
    Some((training, load))
}

/// How far what a workload does is from what was recorded; bytes count most.
fn distance(gathered: &Gathered, cut: &Cut, load: Load) -> f64 {
    let ratio = |recorded: f64, fitted: f64| ((fitted + 1.0) / (recorded + 1.0)).ln().abs();
    let opens = if gathered.opens > 0 { ratio(gathered.opens as f64, load.opens) } else { 0.0 };
    2.0 * ratio(gathered.bytes as f64, load.bytes)
        + 0.5 * ratio(gathered.reads as f64, load.reads)
        + 0.5 * opens
        + ratio(gathered.steps_of(cut.visits), load.steps)
}
