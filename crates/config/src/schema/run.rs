//! Sections `framework`, `workflow`, `train`, `evaluation`, `output`, `profiling`, `metric`.

use super::key::{DefaultValue, Key, acts, ignored};
use super::value_type::{ValueType, count, count32, seconds};
use crate::vocabulary::{Framework, Profiler};

pub(super) const FRAMEWORK_AND_WORKFLOW: &[Key] = &[
    acts(
        "framework",
        ValueType::Word(Framework::WORDS),
        DefaultValue::Text("tensorflow"),
        "Framework that the run imitates. As in the reference, the default is `tensorflow`.",
    ),
    ignored(
        "log_level",
        ValueType::Free,
        DefaultValue::Unset,
        "the reference does not read it; the log level comes from DLIO_LOG_LEVEL",
    ),
    acts("workflow.generate_data", ValueType::Flag, DefaultValue::Flag(false), "Generate the dataset first."),
    acts("workflow.train", ValueType::Flag, DefaultValue::Flag(true), "Run the training loop."),
    acts("workflow.evaluation", ValueType::Flag, DefaultValue::Flag(false), "Evaluate inside the training epochs."),
    acts("workflow.checkpoint", ValueType::Flag, DefaultValue::Flag(false), "Write or read checkpoints."),
    acts(
        "workflow.profiling",
        ValueType::Flag,
        DefaultValue::Flag(false),
        "Start and stop the profiler around the run.",
    ),
    acts("workflow.query", ValueType::Text, DefaultValue::Unset, "Dotted key that `dlio_benchmark_query` prints."),
    ignored("workflow.debug", ValueType::Free, DefaultValue::Unset, "the reference does not read it"),
];

pub(super) const TRAIN_AND_EVALUATION: &[Key] = &[
    acts("train.epochs", count32(1), DefaultValue::Whole(1), "Number of epochs."),
    acts(
        "train.total_training_steps",
        ValueType::Whole { min: -1, max: i64::MAX },
        DefaultValue::Whole(-1),
        "Maximum number of steps per epoch; -1 or 0 for no limit.",
    ),
    acts(
        "train.seed_change_epoch",
        ValueType::Flag,
        DefaultValue::Flag(true),
        "Add the number of the epoch to the seed.",
    ),
    acts("train.seed", count32(0), DefaultValue::Whole(123), "Seed of the shuffles."),
    acts(
        "train.computation_time",
        ValueType::Time,
        DefaultValue::Unset,
        "Emulated computation time per training step, in seconds.",
    ),
    acts(
        "train.computation_time_stdev",
        seconds(),
        DefaultValue::Unset,
        "Standard deviation of `computation_time`, in seconds.",
    ),
    acts(
        "evaluation.eval_time",
        ValueType::Time,
        DefaultValue::Unset,
        "Emulated computation time per evaluation step, in seconds.",
    ),
    acts(
        "evaluation.eval_time_stdev",
        seconds(),
        DefaultValue::Unset,
        "Standard deviation of `eval_time`, in seconds.",
    ),
    acts(
        "evaluation.eval_after_epoch",
        count32(0),
        DefaultValue::Whole(1),
        "First epoch that is followed by an evaluation.",
    ),
    acts(
        "evaluation.epochs_between_evals",
        count32(1),
        DefaultValue::Whole(1),
        "Number of epochs from one evaluation to the next.",
    ),
];

pub(super) const OUTPUT_AND_METRIC: &[Key] = &[
    acts(
        "output.folder",
        ValueType::Text,
        DefaultValue::Derived("`hydra_log/<model.name>/<date>-<time>`"),
        "Folder for the results of the run.",
    ),
    acts("output.log_file", ValueType::Text, DefaultValue::Text("dlio.log"), "Name of the log file in that folder."),
    acts(
        "output.metric.exclude_start_steps",
        count(0),
        DefaultValue::Whole(1),
        "Number of steps at the start of each block that the metrics exclude.",
    ),
    acts(
        "output.metric.exclude_end_steps",
        count(0),
        DefaultValue::Whole(0),
        "Number of steps at the end of each block that the metrics exclude.",
    ),
    acts(
        "profiling.profiler",
        ValueType::Word(Profiler::WORDS),
        DefaultValue::Text("iostat"),
        "Profiler that `workflow.profiling` starts: `iostat` on rank 0; `darshan` must be in `LD_PRELOAD`; `tensorboard` \
         is refused.",
    ),
    acts(
        "profiling.iostat_devices",
        ValueType::Texts,
        DefaultValue::Empty,
        "Devices for iostat; empty for all devices.",
    ),
    acts(
        "metric.au",
        ValueType::Number { min: 0.0, max: 1.0 },
        DefaultValue::Number(0.90),
        "Accelerator utilization that a run must reach, as a fraction.",
    ),
];
