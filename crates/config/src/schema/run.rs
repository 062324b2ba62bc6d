//! Sections `framework`, `workflow`, `train`, `evaluation`, `output`, `profiling`, `metric`.

use super::key::{Key, Preset, acts, ignored};
use super::kind::{Kind, count, count32, seconds};
use crate::vocabulary::{Framework, Profiler};

pub(super) const FRAMEWORK_AND_WORKFLOW: &[Key] = &[
    acts(
        "framework",
        Kind::Word(Framework::WORDS),
        Preset::Text("tensorflow"),
        "Framework that the run imitates. As in the reference, leaving it out means `tensorflow`.",
    ),
    ignored(
        "log_level",
        Kind::Free,
        Preset::Unset,
        "the reference does not read it; its level comes from DLIO_LOG_LEVEL",
    ),
    acts("workflow.generate_data", Kind::Flag, Preset::Flag(false), "Generate the data set first."),
    acts("workflow.train", Kind::Flag, Preset::Flag(true), "Run the training loop."),
    acts("workflow.evaluation", Kind::Flag, Preset::Flag(false), "Evaluate inside the training epochs."),
    acts("workflow.checkpoint", Kind::Flag, Preset::Flag(false), "Write or read checkpoints."),
    acts("workflow.profiling", Kind::Flag, Preset::Flag(false), "Start and stop the profiler around the run."),
    acts("workflow.query", Kind::Text, Preset::Unset, "Dotted key that `dlio_benchmark_query` prints."),
    ignored("workflow.debug", Kind::Free, Preset::Unset, "the reference does not read it"),
];

pub(super) const TRAIN_AND_EVALUATION: &[Key] = &[
    acts("train.epochs", count32(1), Preset::Whole(1), "Number of epochs."),
    acts(
        "train.total_training_steps",
        Kind::Whole { min: -1, max: i64::MAX },
        Preset::Whole(-1),
        "Limit on the steps of every epoch; -1 or 0: no limit.",
    ),
    acts("train.seed_change_epoch", Kind::Flag, Preset::Flag(true), "Add the number of the epoch to the seed."),
    acts("train.seed", count32(0), Preset::Whole(123), "Seed of the shuffles."),
    acts("train.computation_time", Kind::Time, Preset::Unset, "Emulated computation per training step."),
    acts("train.computation_time_stdev", seconds(), Preset::Unset, "Sets `stdev` of the above."),
    acts("evaluation.eval_time", Kind::Time, Preset::Unset, "Emulated computation per evaluation step."),
    acts("evaluation.eval_time_stdev", seconds(), Preset::Unset, "Sets `stdev` of the above."),
    acts("evaluation.eval_after_epoch", count32(0), Preset::Whole(1), "First epoch that is followed by an evaluation."),
    acts("evaluation.epochs_between_evals", count32(1), Preset::Whole(1), "Epochs from one evaluation to the next."),
];

pub(super) const OUTPUT_AND_METRIC: &[Key] = &[
    acts(
        "output.folder",
        Kind::Text,
        Preset::Derived("`hydra_log/<model.name>/<date>-<time>`"),
        "Folder of the run's results.",
    ),
    acts("output.log_file", Kind::Text, Preset::Text("dlio.log"), "Name of the log file in that folder."),
    acts(
        "output.metric.exclude_start_steps",
        count(0),
        Preset::Whole(1),
        "Steps left out at the start of each block's metrics.",
    ),
    acts(
        "output.metric.exclude_end_steps",
        count(0),
        Preset::Whole(0),
        "Steps left out at the end of each block's metrics.",
    ),
    acts(
        "profiling.profiler",
        Kind::Word(Profiler::WORDS),
        Preset::Text("iostat"),
        "Profiler that `workflow.profiling` starts: `iostat` on rank 0; `darshan` must be in `LD_PRELOAD`; `tensorboard` \
         is refused.",
    ),
    acts("profiling.iostat_devices", Kind::Texts, Preset::Empty, "Devices for iostat; none: all."),
    acts(
        "metric.au",
        Kind::Number { min: 0.0, max: 1.0 },
        Preset::Number(0.90),
        "Accelerator utilisation that a run must reach, as a fraction.",
    ),
];
