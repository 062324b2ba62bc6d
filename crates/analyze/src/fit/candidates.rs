//! Searches for the candidate workload that is nearest to a trace; the caller's predictor tells what each would do.

use super::distribution::{self, Compute};
use super::predictor::{Load, WorkloadPredictor};
use super::profile::{Object, TraceProfile};
use super::workload::{Dialect, Fit, Loader, Training};

/// A candidate definition of a sample, and what follows from it.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) files: u64,
    pub(super) samples_per_file: u64,
    /// Number of readings of samples.
    pub(super) visits: f64,
    /// Duration of each reading of a sample, seconds.
    pub(super) durations: Vec<f64>,
    /// Whether a sample is a piece of an object whose contents are unknown.
    is_piece: bool,
}

/// The nearest workload, and its predicted load.
pub(super) struct Nearest {
    pub(super) training: Training,
    pub(super) candidate: Candidate,
    pub(super) load: Load,
}

/// Penalty for a workload in another format than the object names suggest.
const NAMED: f64 = 0.3;
/// Penalty for a workload that is not in the reference's dialect.
const DIALECT: f64 = 0.05;

/// Returns the candidate workload whose predicted load is nearest to the recorded one.
pub(super) fn nearest(profile: &TraceProfile, base: &Fit, predictor: &dyn WorkloadPredictor) -> Option<Nearest> {
    let mut best: Option<(f64, Nearest)> = None;
    for candidate in candidates(profile) {
        for (format, dialect) in formats(profile, &candidate) {
            let Some(with_record_length) = with_record_length(profile, base, &candidate, (format, dialect), predictor)
            else {
                continue;
            };
            for &loader in loaders(format, dialect) {
                let training = Training { loader, ..with_record_length.clone() };
                let Some((training, load)) = evaluated(profile, base, &candidate, training, predictor) else {
                    continue;
                };
                let named = profile.format().is_ok_and(|named| named == format);
                let mut far = distance(profile, &candidate, load);
                far += if named { 0.0 } else { NAMED };
                far += if dialect == Dialect::Native { DIALECT } else { 0.0 };
                if best.as_ref().is_none_or(|(least, _)| far < *least) {
                    best = Some((far, Nearest { training, candidate: candidate.clone(), load }));
                }
            }
        }
    }
    best.map(|(_, nearest)| nearest)
}

/// Returns the candidate definitions of a sample.
fn candidates(profile: &TraceProfile) -> Vec<Candidate> {
    let files = profile.objects.len() as u64;
    if profile.spans {
        let (visits, durations) = (profile.visits as f64, profile.durations.clone());
        let samples_per_file = distribution::count(profile.samples as f64 / files as f64);
        let candidate = Candidate { files, samples_per_file, visits, durations, is_piece: false };
        let named = profile.files_of_names().filter(|named| *named > files).into_iter();
        let more = named.flat_map(|files| unread(profile, files).map(move |samples| (files, samples)));
        let more = more.map(|(files, samples_per_file)| Candidate { files, samples_per_file, ..candidate.clone() });
        return std::iter::once(candidate.clone()).chain(more).collect();
    }
    // The number of bytes read by the object's size is the number of readings.
    let times = |object: &Object| (object.bytes as f64 / object.size as f64).round().max(1.0);
    let visits: f64 = profile.objects.iter().map(times).sum();
    let seconds: f64 = profile.durations.iter().sum();
    let mut candidates = vec![Candidate {
        files,
        samples_per_file: 1,
        visits,
        durations: vec![seconds / visits.max(1.0)],
        is_piece: false,
    }];
    let common = profile.pieces.iter().max_by_key(|(_, count)| **count);
    if let Some((piece, count)) = common
        && count * 2 >= profile.reads
    {
        let samples_per_file = distribution::count(profile.mean_size() / *piece as f64);
        if samples_per_file > 1 {
            let visits = profile.bytes as f64 / *piece as f64;
            let more = profile.durations.len() as f64 / visits;
            let durations = profile.durations.iter().map(|seconds| seconds * more).collect();
            candidates.push(Candidate { files, samples_per_file, visits, durations, is_piece: true });
        }
    }
    candidates
}

/// Returns the possible samples per file of a dataset with more files than were read, for which the reference reads as
/// many samples as were recorded: it drops files beyond whole steps, and with `TensorFlow` it reads some files in place
/// of others.
fn unread(profile: &TraceProfile, files: u64) -> impl Iterator<Item = u64> {
    let (per_step, samples) = (profile.batch() * profile.ranks, profile.samples);
    (1..=SAMPLES_MOST).filter(move |each| {
        let unit = each * per_step;
        files / unit * unit * each == samples
    })
}

/// Largest number of samples per file that is tried.
const SAMPLES_MOST: u64 = 4096;

/// Returns the formats that the object names suggest. If the trace does not define samples, it adds formats that are
/// read as a whole or piece by piece.
fn formats(profile: &TraceProfile, candidate: &Candidate) -> Vec<(&'static str, Dialect)> {
    let mut formats = Vec::new();
    if !candidate.is_piece
        && let Ok(named) = profile.format()
    {
        formats.extend([(named, Dialect::Dlio), (named, Dialect::Native)]);
    }
    if candidate.is_piece {
        formats.push(("indexed_binary", Dialect::Native));
    } else if !profile.spans || formats.is_empty() {
        formats.push(("npy", Dialect::Native));
    }
    if formats.is_empty() || (profile.spans && profile.format().is_err()) {
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

/// Returns a workload whose files are as large as those of the trace.
fn with_record_length(
    profile: &TraceProfile,
    base: &Fit,
    candidate: &Candidate,
    (format, dialect): (&'static str, Dialect),
    predictor: &dyn WorkloadPredictor,
) -> Option<Training> {
    let loader = *loaders(format, dialect).first()?;
    let (samples, target) = (candidate.samples_per_file as f64, profile.mean_size());
    let training = Training { format, dialect, loader, ..Training::of(profile, candidate) };
    let bytes = |length: f64| {
        let training = Training { record_length: length, ..training.clone() };
        predictor.file_bytes(&base.with(training).yaml())
    };
    // The first guess is the bytes of a sample, the second corrects it by the overhead around samples, and the
    // following ones are secant steps, because images are compressed.
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

/// Predicts the load of a workload; a workload with more steps than recorded is limited to the recorded number.
fn evaluated(
    profile: &TraceProfile,
    base: &Fit,
    candidate: &Candidate,
    training: Training,
    predictor: &dyn WorkloadPredictor,
) -> Option<(Training, Load)> {
    let load = predictor.training(&base.with(training.clone()).yaml()).filter(|load| load.steps > 0.0)?;
    let epochs = (training.epochs * profile.ranks) as f64;
    let each = distribution::count(load.steps / epochs);
    let seen = match u64::from(profile.steps_seen) {
        0 => distribution::count(profile.steps_of(candidate.visits) / epochs),
        seen => seen,
    };
    if each <= seen {
        return Some((training, load));
    }
    let training = Training { steps: Some(seen), ..training };
    let load = predictor.training(&base.with(training.clone()).yaml())?;
    Some((training, load))
}

/// Returns the distance of a predicted load from the recorded one; bytes have the largest weight.
fn distance(profile: &TraceProfile, candidate: &Candidate, load: Load) -> f64 {
    let ratio = |recorded: f64, fitted: f64| ((fitted + 1.0) / (recorded + 1.0)).ln().abs();
    let opens = if profile.opens > 0 { ratio(profile.opens as f64, load.opens) } else { 0.0 };
    2.0 * ratio(profile.bytes as f64, load.bytes)
        + 0.5 * ratio(profile.reads as f64, load.reads)
        + 0.5 * opens
        + ratio(profile.steps_of(candidate.visits), load.steps)
}

/// Share of an epoch that is attributed to rounding.
const ROUNDING: f64 = 0.05;

impl Training {
    /// Derives a workload from the trace, apart from its format.
    fn of(profile: &TraceProfile, candidate: &Candidate) -> Self {
        let batch = profile.batch();
        // If several ranks read the same few objects, each rank gets its own: there must be a step for all of them.
        let files = candidate.files.max((batch * profile.ranks).div_ceil(candidate.samples_per_file));
        let samples = (files * candidate.samples_per_file) as f64;
        let per_sample: Vec<f64> =
            profile.objects.iter().map(|object| object.size as f64 / candidate.samples_per_file as f64).collect();
        let (mean, stdev) = distribution::moments(&per_sample);
        // A guessed number of epochs is rounded up; each epoch then ends early.
        let guessed = || distribution::count((candidate.visits / samples - ROUNDING).ceil());
        let epochs = if profile.epochs > 0 { profile.epochs } else { guessed() };
        let preprocess = &profile.eval_preprocess.preprocess;
        let compute = if profile.compute.is_empty() {
            // The whole time, until the share of reading is known.
            let steps = (profile.steps_of(candidate.visits) / profile.ranks as f64).max(1.0);
            Compute::Constant(profile.span_seconds / steps)
        } else {
            Compute::of(&profile.compute)
        };
        Self {
            format: "npz",
            dialect: Dialect::Dlio,
            loader: Loader::Pytorch,
            files,
            samples_per_file: candidate.samples_per_file,
            record_length: mean,
            record_length_stdev: if stdev < mean / 100.0 { 0.0 } else { stdev },
            batch,
            readers: profile.readers,
            epochs,
            steps: None,
            compute,
            preprocess: (!preprocess.is_empty()).then(|| Compute::of(preprocess)),
            evaluation: profile.eval_preprocess.evaluation(u32::try_from(epochs).unwrap_or(u32::MAX)),
        }
    }
}
