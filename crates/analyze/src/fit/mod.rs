//! From a trace to a workload that loads storage in a statistically similar way, and how similar.
//!
//! Invariant: what the trace does not tell is not made up silently: each guess is a note in the YAML.

mod beside;
mod gather;
mod saves;
mod shape;
#[cfg(test)]
mod tests;
mod trial;
mod yaml;

use dlio_event::S3Uri;
use dlio_trace::{Error, RankTrace};

pub use beside::Evaluation;
use gather::Gathered;
pub use saves::{Checkpoints, When};
pub use shape::Compute;
use shape::Simulated;
use trial::{Cut, Nearest};
pub use trial::{Foresight, Load};

/// A workload that was derived from a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Ranks that the trace was recorded with.
    pub ranks: u64,
    /// What it trains on; `None`: it takes checkpoints and does nothing else.
    pub training: Option<Training>,
    /// Checkpoints, if there were any.
    pub checkpoints: Option<Checkpoints>,
    /// The bucket of the data set, or of the checkpoints of a run that has none, if that is not a folder.
    pub bucket: Option<String>,
    /// What was compared: name, recorded, fitted.
    pub similarity: Vec<(&'static str, f64, f64)>,
    /// Kolmogorov-Smirnov distances by name.
    pub distances: Vec<(&'static str, f64)>,
    /// What had to be guessed, and what was left out.
    pub notes: Vec<String>,
}

/// A data set and how it is trained on.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Format of the files.
    pub format: &'static str,
    /// How the keys are understood.
    pub dialect: Dialect,
    /// How files are read.
    pub loader: Loader,
    /// Files.
    pub files: u64,
    /// Samples in one file.
    pub samples_per_file: u64,
    /// Mean bytes of a sample.
    pub record_length: f64,
    /// Standard deviation of that, per file; 0 if it is below a hundredth of the mean.
    pub record_length_stdev: f64,
    /// Samples per step and rank.
    pub batch: u64,
    /// Reader lanes per rank; 0: the training loop reads.
    pub readers: u64,
    /// Epochs.
    pub epochs: u64,
    /// Steps after which each epoch ends early.
    pub steps: Option<u64>,
    /// Seconds of computation per step.
    pub compute: Compute,
    /// Seconds of preprocessing per sample, if there was any.
    pub preprocess: Option<Compute>,
    /// Evaluation, if there was any.
    pub evaluation: Option<Evaluation>,
}

/// How a workload's keys are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// As the reference does.
    Dlio,
    /// As they say.
    Native,
}

/// How files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// By `PyTorch`'s loader, which opens a file for every sample.
    Pytorch,
    /// By the same; files stay open.
    PytorchKept,
    /// By `TensorFlow`'s, which reads file after file.
    Tensorflow,
}

/// Derives a workload from traces; `None`: nothing in them reads an object as a workload can, or saves or loads a checkpoint.
///
/// # Errors
/// When a trace cannot be read.
pub fn fit(traces: &[RankTrace], foresight: &dyn Foresight) -> Result<Option<Fit>, Error> {
    let gathered = Gathered::of(traces)?;
    let fit = if gathered.objects.is_empty() { alone(&gathered) } else { train(&gathered, foresight) };
    Ok(fit.map(|mut fit| {
        fit.compare_checkpoints(&gathered, foresight);
        fit
    }))
}

/// A workload of checkpoints and nothing else.
fn alone(gathered: &Gathered) -> Option<Fit> {
    let mut notes = gathered.notes.clone();
    let checkpoints = gathered.saves.alone(gathered.ranks, &mut notes)?;
    let uri = gathered.saves.object.as_deref().and_then(S3Uri::parse);
    let bucket = uri.map(|uri| uri.bucket.to_owned());
    let base = Fit::bare(gathered.ranks, bucket, notes);
    Some(Fit { checkpoints: Some(checkpoints), ..base })
}

fn train(gathered: &Gathered, foresight: &dyn Foresight) -> Option<Fit> {
    let mut fit = Fit::bare(gathered.ranks, gathered.bucket.clone(), gathered.notes.clone());
    let Nearest { mut training, cut, load } = trial::nearest(gathered, &fit, foresight)?;
    if gathered.compute.is_empty() {
        training.compute = Compute::Constant(rest(gathered, &training, &cut, load));
    }
    fit.similarity = similarity(gathered, &training, &cut, load);
    let sizes: Vec<f64> = gathered.objects.iter().map(|object| object.size as f64).collect();
    let (mean, stdev) = shape::moments(&sizes);
    let far = if training.record_length_stdev > 0.0 {
        shape::distance(&sizes, |x| shape::normal_cdf(x, mean, stdev))
    } else {
        shape::distance_to_point(&sizes, mean)
    };
    fit.distances.push(("sizes of files", far));
    if !gathered.compute.is_empty() {
        fit.distances.push(("times of computation", training.compute.distance(&gathered.compute)));
    }
    let last_epoch = u32::try_from(training.epochs).unwrap_or(u32::MAX);
    fit.checkpoints = gathered.saves.in_training((last_epoch, gathered.steps_seen), gathered.ranks, &mut fit.notes);
    fit.note_guesses(gathered, &training, load);
    fit.training = Some(training);
    Some(fit)
}

/// How fast a workload goes with the recorded times.
struct Pace {
    /// Steps of an epoch, and epochs.
    steps: (u64, u64),
    /// Readers, and what they read for a step, one after the other.
    lanes: (u64, u64),
    /// Seconds that each of that takes.
    durations: Vec<f64>,
    /// Share of these in which a sample is under way.
    reading: f64,
    /// Seconds of a step that are neither reading nor computation: a batch that is ready is taken, the ranks meet.
    between: f64,
}

impl Pace {
    fn new(gathered: &Gathered, training: &Training, cut: &Cut, load: Load) -> Self {
        let in_epoch = load.steps / (training.epochs * gathered.ranks) as f64;
        let steps = (shape::count(in_epoch), training.epochs);
        let samples: f64 = cut.durations.iter().sum();
        // A batch has more in it than its samples.
        let batches: f64 = gathered.batches_read.iter().sum();
        if batches > 0.0 {
            // TensorFlow's readers each read a part of a step.
            let each = shape::count(gathered.batches_read.len() as f64 / gathered.steps_of(cut.visits).max(1.0));
            let (lanes, durations) = ((training.readers, each), gathered.batches_read.clone());
            let between = gathered.between(training.readers);
            return Self { steps, lanes, durations, reading: samples / batches, between };
        }
        let preprocess = training.preprocess.map_or(0.0, Compute::mean);
        let durations: Vec<f64> = cut.durations.iter().map(|seconds| seconds + preprocess).collect();
        let all: f64 = durations.iter().sum();
        let reading = if all > 0.0 { samples / all } else { 0.0 };
        Self { steps, lanes: (training.readers, training.batch), durations, reading, between: 0.0 }
    }

    fn simulated(&self, compute: f64) -> Simulated {
        let simulated = Simulated::run(self.steps, self.lanes, &self.durations, compute + self.between);
        Simulated { concurrency: simulated.concurrency * self.reading, ..simulated }
    }
}

/// Seconds of computation with which as many steps per second come as were recorded; 0 if reading alone takes as long.
fn rest(gathered: &Gathered, training: &Training, cut: &Cut, load: Load) -> f64 {
    let pace = Pace::new(gathered, training, cut, load);
    let recorded = gathered.steps_per_second(gathered.steps_of(cut.visits));
    let (mut least, mut most) = (0.0, training.compute.mean());
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(least, most);
        let is_fast = pace.simulated(middle).steps_per_second >= recorded;
        (least, most) = if is_fast { (middle, most) } else { (least, middle) };
    }
    least
}

const HALVINGS: u32 = 16;

/// What was recorded, beside what the workload does.
fn similarity(gathered: &Gathered, training: &Training, cut: &Cut, load: Load) -> Vec<(&'static str, f64, f64)> {
    let steps = gathered.steps_of(cut.visits);
    let each = |recorded: u64, fitted: f64| (recorded as f64 / steps.max(1.0), fitted / load.steps.max(1.0));
    let (bytes, reads, opens) =
        (each(gathered.bytes, load.bytes), each(gathered.reads, load.reads), each(gathered.opens, load.opens));
    let simulated = Pace::new(gathered, training, cut, load).simulated(training.compute.mean());
    let recorded = gathered.concurrency();
    let mut similarity = vec![
        ("steps of all ranks", steps, load.steps),
        ("bytes per step and rank", bytes.0, bytes.1),
        ("reads per step and rank", reads.0, reads.1),
    ];
    if gathered.opens > 0 {
        similarity.push(("files opened per step and rank", opens.0, opens.1));
    }
    similarity.push(("steps per second and rank", gathered.steps_per_second(steps), simulated.steps_per_second));
    similarity.push(("samples under way per rank", recorded, simulated.concurrency));
    if !gathered.compute.is_empty() {
        let (mean, _) = shape::moments(&gathered.compute);
        similarity.push(("seconds of computation per step", mean, training.compute.mean()));
    }
    similarity
}

/// Less of an epoch than this is none.
const ROUNDING: f64 = 0.05;

impl Training {
    /// What follows from the trace alone, whatever the format.
    fn of(gathered: &Gathered, cut: &Cut) -> Self {
        let batch = gathered.batch();
        // Where several ranks read the same few objects, each has its own: there must be a step for all of them.
        let files = cut.files.max((batch * gathered.ranks).div_ceil(cut.samples_per_file));
        let samples = (files * cut.samples_per_file) as f64;
        let per_sample: Vec<f64> =
            gathered.objects.iter().map(|object| object.size as f64 / cut.samples_per_file as f64).collect();
        let (mean, stdev) = shape::moments(&per_sample);
        // Epochs that are guessed are rather one too many, of which each ends early.
        let guessed = || shape::count((cut.visits / samples - ROUNDING).ceil());
        let epochs = if gathered.epochs > 0 { gathered.epochs } else { guessed() };
        let preprocess = &gathered.beside.preprocess;
        let compute = if gathered.compute.is_empty() {
            // All of the time, until it is known how much of it is reading.
            let steps = (gathered.steps_of(cut.visits) / gathered.ranks as f64).max(1.0);
            Compute::Constant(gathered.span_seconds / steps)
        } else {
            Compute::of(&gathered.compute)
        };
        Self {
            format: "npz",
            dialect: Dialect::Dlio,
            loader: Loader::Pytorch,
            files,
            samples_per_file: cut.samples_per_file,
            record_length: mean,
            record_length_stdev: if stdev < mean / 100.0 { 0.0 } else { stdev },
            batch,
            readers: gathered.readers,
            epochs,
            steps: None,
            compute,
            preprocess: (!preprocess.is_empty()).then(|| Compute::of(preprocess)),
            evaluation: gathered.beside.evaluation(u32::try_from(epochs).unwrap_or(u32::MAX)),
        }
    }
}

impl Fit {
    fn bare(ranks: u64, bucket: Option<String>, notes: Vec<String>) -> Self {
        let (similarity, distances) = (Vec::new(), Vec::new());
        Self { ranks, training: None, checkpoints: None, bucket, similarity, distances, notes }
    }

    /// The same with this training.
    fn with(&self, training: Training) -> Self {
        Self { training: Some(training), ..self.clone() }
    }

    fn note_guesses(&mut self, gathered: &Gathered, training: &Training, load: Load) {
        let notes = &mut self.notes;
        if !gathered.spans {
            let whole =
                if training.samples_per_file > 1 { "each read of a piece" } else { "each reading of an object" };
            notes.push(format!("the trace has no spans of samples: {whole} counts as one"));
        }
        if gathered.compute.is_empty() {
            let mean = training.compute.mean();
            notes.push(format!("the trace has no spans of computation: {mean:.6} s per step keep its rate"));
        }
        let format = training.format;
        match gathered.format() {
            Err(suffix) => {
                notes.push(format!("no name tells the format of the files (.{suffix}): {format} reads most like it"));
            }
            Ok(named) if named != format => {
                notes.push(format!("names tell {named}, but files were read more as those of {format} are"));
            }
            Ok(_) => {}
        }
        let (objects, files) = (gathered.objects.len() as u64, training.files);
        if objects < files && gathered.files_of_names() == Some(files) {
            notes.push(format!("{objects} of the {files} files that names tell were read"));
        } else if objects < files {
            notes.push(format!("{objects} object(s) were read by several ranks; here there are {files}, one for each"));
        }
        let recorded = gathered.bytes as f64;
        if (load.bytes - recorded).abs() > recorded / 10.0 {
            notes.push(format!("the trace reads {recorded:.0} bytes, this workload {:.0}", load.bytes));
        }
        notes.push("not derived: the order of the samples (shuffling)".to_owned());
    }

    fn compare_checkpoints(&mut self, gathered: &Gathered, foresight: &dyn Foresight) {
        let Some(checkpoints) = &self.checkpoints else { return };
        let Some((files, bytes)) = foresight.checkpoint(&self.yaml()) else { return };
        let (recorded_files, recorded_bytes) = gathered.saves.recorded();
        if let When::Alone { writes, reads, .. } = checkpoints.when {
            let (saved, loaded) = gathered.saves.counts();
            self.similarity.push(("checkpoints saved", saved as f64, writes as f64));
            self.similarity.push(("checkpoints loaded", loaded as f64, reads as f64));
        }
        self.similarity.push(("files of a checkpoint and rank that saves", recorded_files, files));
        self.similarity.push(("bytes of a checkpoint and rank that saves", recorded_bytes, bytes));
    }
}
