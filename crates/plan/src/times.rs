//! Emulated computation and preprocessing times, drawn from their distributions.
//!
//! In the reference, the process that sleeps draws the times from the global generator of numpy. If the configuration
//! reseeds that generator at the start of the epoch, which every shuffle of the sampler does, the draws of the main
//! process are a function of the seed and are reproduced. Otherwise, the generator of the reference is seeded by the
//! operating system; a stream of our own, identified by seed, rank, epoch, split and lane, takes its place.

use std::time::Duration;

use dlio_config::Workload;
use dlio_config::time::TimeSpec;
use dlio_config::vocabulary::{DataLoader, Dialect, Sampler, Shuffle};
use dlio_event::mix::split_seed;

use crate::Split;
use crate::counts::{LoaderKind, SplitSteps};
use crate::numpy::Mt19937;
use crate::reading::Reading;

/// The distributions, and the generator that they are drawn from.
#[derive(Debug)]
pub(crate) struct Times {
    seed: u32,
    train: TimeSpec,
    eval: TimeSpec,
    preprocess: TimeSpec,
    reseeded: Reseeded,
    /// The main process sleeps for preprocessing, sample by sample, before the computation of each step.
    inline: bool,
}

/// Effect of the sampler's shuffles on the generator of the main process at the start of every epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reseeded {
    /// The generator is not seeded, or not in a reproducible way.
    No,
    /// The generator is seeded, then both file lists are shuffled.
    ForFiles,
    /// The generator is seeded, then the evaluation samples of the rank are shuffled. Each map reseeds the generator,
    /// and this map is built last.
    ForSamples,
}

/// Rank, split and epoch.
pub(crate) type At = (u32, Split, u32);

pub(crate) type Drawn = Box<dyn Iterator<Item = Duration> + Send>;

impl Times {
    pub(crate) fn new(workload: &Workload, reading: &Reading) -> Self {
        let reader = &workload.reader;
        // In the reference, tf.data never sleeps for TFRecord, and the synthetic reader does not sleep at all (quirk
        // 36).
        let silent =
            reading.dialect == Dialect::Dlio && matches!(reading.kind, LoaderKind::Streams | LoaderKind::Blank);
        let preprocess = if silent { TimeSpec::None } else { reader.preprocess_time.clone() };
        let inline = matches!(reader.data_loader, DataLoader::Pytorch) && reader.read_threads == 0;
        // The reader threads of TensorFlow share the process and its generator, so their draws depend on thread
        // scheduling.
        let mixed = is_random(&preprocess) && !inline && reader.data_loader != DataLoader::Pytorch;
        let reseeded = if mixed || reading.dialect != Dialect::Dlio {
            Reseeded::No
        } else if reader.sample_shuffle != Shuffle::Off {
            Reseeded::ForSamples
        } else if reader.sampler == Sampler::Iterative && reader.file_shuffle != Shuffle::Off {
            Reseeded::ForFiles
        } else {
            Reseeded::No
        };
        Self {
            seed: workload.train.seed,
            train: workload.train.computation_time.clone(),
            eval: workload.evaluation.eval_time.clone(),
            preprocess,
            reseeded,
            inline,
        }
    }

    /// Returns the computation times of the steps of an epoch or evaluation.
    pub(crate) fn compute(&self, reading: &Reading, at: At, train: SplitSteps) -> Drawn {
        let spec = self.spec(at.1).clone();
        if let Some(fixed) = fixed(&spec) {
            return Box::new(std::iter::repeat(fixed));
        }
        if self.reseeded == Reseeded::No {
            let mut generator = self.own_stream(at, None);
            return Box::new(std::iter::repeat_with(move || draw(&spec, &mut generator)));
        }
        let mut generator = self.main_process(reading, at, train);
        let (preprocess, samples) = self.inline_draws(reading.batch_size(at.1));
        Box::new(std::iter::repeat_with(move || {
            for _ in 0..samples {
                draw(&preprocess, &mut generator);
            }
            draw(&spec, &mut generator)
        }))
    }

    /// Returns the preprocessing times of a lane's samples.
    pub(crate) fn preprocess(&self, reading: &Reading, at: At, lane: u32, train: SplitSteps) -> Drawn {
        let spec = self.preprocess.clone();
        if let Some(fixed) = fixed(&spec) {
            return Box::new(std::iter::repeat(fixed));
        }
        if self.reseeded == Reseeded::No || !self.inline {
            let mut generator = self.own_stream(at, Some(lane));
            return Box::new(std::iter::repeat_with(move || draw(&spec, &mut generator)));
        }
        let mut generator = self.main_process(reading, at, train);
        let (compute, batch_size) = (self.spec(at.1).clone(), reading.batch_size(at.1));
        let mut drawn = 0_u64;
        Box::new(std::iter::repeat_with(move || {
            if drawn > 0 && drawn.is_multiple_of(batch_size) {
                draw(&compute, &mut generator);
            }
            drawn += 1;
            draw(&spec, &mut generator)
        }))
    }

    fn spec(&self, split: Split) -> &TimeSpec {
        match split {
            Split::Train => &self.train,
            Split::Eval => &self.eval,
        }
    }

    /// Returns the preprocessing draws of the main process before each computation.
    fn inline_draws(&self, batch_size: u64) -> (TimeSpec, u64) {
        let drawn = self.inline && is_random(&self.preprocess);
        (self.preprocess.clone(), if drawn { batch_size } else { 0 })
    }

    /// Returns the generator of the main process at the start of the epoch's training or evaluation.
    fn main_process(&self, reading: &Reading, (rank, split, epoch): At, train: SplitSteps) -> Mt19937 {
        let mut generator = reading.shuffles.generator(epoch);
        if self.reseeded == Reseeded::ForSamples {
            generator.skip_shuffle(reading.share(rank, Split::Eval).1);
        } else {
            generator.skip_shuffle(reading.train.files);
            generator.skip_shuffle(reading.eval.files);
        }
        if split == Split::Eval {
            self.skip_training(&mut generator, reading, train);
        }
        generator
    }

    /// Consumes the draws of the epoch's training, which precede those of its evaluation.
    fn skip_training(&self, generator: &mut Mt19937, reading: &Reading, train: SplitSteps) {
        let (preprocess, samples) = self.inline_draws(reading.train.batch_size);
        let batch = |generator: &mut Mt19937| {
            for _ in 0..samples {
                draw(&preprocess, generator);
            }
        };
        for _ in 0..train.run {
            batch(generator);
            draw(&self.train, generator);
        }
        if train.ahead > 0 {
            batch(generator);
        }
    }

    /// Returns a stream of our own.
    fn own_stream(&self, (rank, split, epoch): At, lane: Option<u32>) -> Mt19937 {
        let (split, lane) = (u64::from(split == Split::Eval), lane.map_or(0, |lane| u64::from(lane) + 1));
        let key = split_seed(&[u64::from(self.seed), u64::from(rank), u64::from(epoch), split, lane]);
        Mt19937::new(u32::try_from(key >> 32).unwrap_or_default())
    }
}

/// Separates the stream of pauses from the streams of [`Times`].
const PAUSES: u64 = 0x6368_6563_6b70_6f69;

/// Returns the pauses of a rank between checkpoints. The reference draws them from a generator that is not seeded.
pub(crate) fn pauses(spec: &TimeSpec, seed: u32, rank: u32) -> Drawn {
    if let Some(fixed) = fixed(spec) {
        return Box::new(std::iter::repeat(fixed));
    }
    let key = split_seed(&[u64::from(seed), u64::from(rank), PAUSES]);
    let (mut generator, spec) = (Mt19937::new(u32::try_from(key >> 32).unwrap_or_default()), spec.clone());
    Box::new(std::iter::repeat_with(move || draw(&spec, &mut generator)))
}

/// Returns the constant value of a specification that needs no draw.
fn fixed(spec: &TimeSpec) -> Option<Duration> {
    match *spec {
        TimeSpec::None => Some(Duration::ZERO),
        TimeSpec::Constant { mean } => Some(seconds(mean)),
        _ => None,
    }
}

fn is_random(spec: &TimeSpec) -> bool {
    fixed(spec).is_none()
}

fn draw(spec: &TimeSpec, generator: &mut Mt19937) -> Duration {
    seconds(match *spec {
        TimeSpec::None => 0.0,
        TimeSpec::Constant { mean } => mean,
        TimeSpec::Normal { mean, stdev } => generator.normal(mean, stdev),
        TimeSpec::Uniform { min, max } => generator.uniform(min, max),
        TimeSpec::Gamma { shape, scale } => generator.gamma(shape, scale),
        TimeSpec::Exponential { scale } => generator.exponential(scale),
        TimeSpec::Poisson { lam } => generator.poisson(lam),
    })
}

/// Takes the absolute value of a draw. A value that no duration can hold sleeps forever, as in the reference.
fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.abs()).unwrap_or(Duration::MAX)
}
