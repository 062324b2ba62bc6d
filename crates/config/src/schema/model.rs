//! Sections `model` and `checkpoint`.

use super::key::{DefaultValue, Key, acts, ignored};
use super::value_type::{ValueType, at_least, count, count32};
use crate::vocabulary::{CheckpointMode, CheckpointType};

/// Reason why keys of the KSM mode have no effect.
const NO_PAGES: &str = "tensors are generated while they are written, so there are no pages to merge";

/// Element types of checkpoints, with the names that DLIO files use.
pub(crate) const DATATYPES: &[&str] = &["fp16", "bf16", "fp32", "fp64", "int8", "uint8"];

const ANY_COUNT: ValueType = ValueType::Whole { min: -1, max: i64::MAX };

pub(super) const KEYS: &[Key] = &[
    acts(
        "model.name",
        ValueType::Text,
        DefaultValue::Text("default"),
        "Name of the model, which is also part of the default output folder.",
    ),
    acts("model.type", ValueType::Text, DefaultValue::Unset, "Type of the model; only `transformer` has an effect."),
    acts(
        "model.model_size_bytes",
        ValueType::Whole { min: 0, max: (1 << 60) - 1 },
        DefaultValue::Whole(10240),
        "Bytes of the generic model state.",
    ),
    ignored(
        "model.model_size",
        ValueType::Free,
        DefaultValue::Unset,
        "the reference reads model.model_size_bytes only",
    ),
    acts(
        "model.optimization_groups",
        ValueType::Wholes { min: 0 },
        DefaultValue::Empty,
        "Number of elements of each optimizer group.",
    ),
    acts(
        "model.num_layers",
        ValueType::Whole { min: i64::MIN, max: i64::MAX },
        DefaultValue::Whole(-1),
        "Number of transformer layers; 0 or less for no layer state.",
    ),
    acts(
        "model.layer_parameters",
        ValueType::Wholes { min: 0 },
        DefaultValue::Empty,
        "Number of elements of each tensor of a layer.",
    ),
    acts(
        "model.model_datatype",
        ValueType::Word(DATATYPES),
        DefaultValue::Text("fp16"),
        "Element type of the model state.",
    ),
    acts(
        "model.optimizer_datatype",
        ValueType::Word(DATATYPES),
        DefaultValue::Text("fp32"),
        "Element type of the optimizer state.",
    ),
    acts("model.parallelism.tensor", count32(1), DefaultValue::Whole(1), "Degree of tensor parallelism."),
    acts("model.parallelism.pipeline", count32(1), DefaultValue::Whole(1), "Degree of pipeline parallelism."),
    acts(
        "model.parallelism.data",
        ValueType::Whole { min: -1, max: u32::MAX as i64 },
        DefaultValue::Whole(-1),
        "Degree of data parallelism; used only with `checkpoint.mode: subset`.",
    ),
    acts(
        "model.parallelism.zero_stage",
        ValueType::Whole { min: -1, max: 3 },
        DefaultValue::Whole(0),
        "ZeRO stage. -1, which occurs in old files of the reference, means stage 0 with every rank writing its own files.",
    ),
    acts("model.transformer.vocab_size", count(1), DefaultValue::Whole(32000), "Size of the vocabulary."),
    acts("model.transformer.hidden_size", count(1), DefaultValue::Whole(2048), "Width of a layer."),
    acts("model.transformer.ffn_hidden_size", count(1), DefaultValue::Whole(8192), "Width of the feed-forward layer."),
    acts("model.transformer.num_attention_heads", count(1), DefaultValue::Whole(32), "Number of attention heads."),
    acts("model.transformer.num_kv_heads", count(1), DefaultValue::Whole(8), "Number of key-value heads."),
];

pub(super) const CHECKPOINT: &[Key] = &[
    acts(
        "checkpoint.checkpoint_folder",
        ValueType::Text,
        DefaultValue::Text("./checkpoints/"),
        "Folder of the checkpoints; a trailing `/` is dropped.",
    ),
    acts("checkpoint.checkpoint_after_epoch", count32(0), DefaultValue::Whole(1), "First epoch with a checkpoint."),
    acts(
        "checkpoint.epochs_between_checkpoints",
        count32(1),
        DefaultValue::Whole(1),
        "Number of epochs between checkpoints.",
    ),
    acts(
        "checkpoint.steps_between_checkpoints",
        ANY_COUNT,
        DefaultValue::Whole(-1),
        "Number of steps between checkpoints; -1 for checkpoints after epochs, 0 for none.",
    ),
    ignored(
        "checkpoint.type",
        ValueType::Word(CheckpointType::WORDS),
        DefaultValue::Text("rank_zero"),
        "the reference checks it and does not use it",
    ),
    acts(
        "checkpoint.mode",
        ValueType::Word(CheckpointMode::WORDS),
        DefaultValue::Text("default"),
        "Whether the ranks hold the whole model or a part of it.",
    ),
    acts(
        "checkpoint.checkpoint_mechanism_classname",
        ValueType::Text,
        DefaultValue::Unset,
        "Dotted name of a Python class; refused, because this program does not run Python.",
    ),
    acts("checkpoint.fsync", ValueType::Flag, DefaultValue::Flag(false), "Flush checkpoint files to stable storage."),
    acts(
        "checkpoint.recovery_rank_shift",
        ValueType::Flag,
        DefaultValue::Flag(false),
        "Load the checkpoint files that another node wrote.",
    ),
    acts(
        "checkpoint.rank_sync",
        ValueType::Flag,
        DefaultValue::Flag(false),
        "Include a barrier in the time of every checkpoint.",
    ),
    acts(
        "checkpoint.time_between_checkpoints",
        ValueType::Time,
        DefaultValue::Whole(-1),
        "Pause in seconds before each checkpoint of a run without training; the reference turns -1 into a pause of 1 s.",
    ),
    acts(
        "checkpoint.num_checkpoints_write",
        ANY_COUNT,
        DefaultValue::Whole(-1),
        "Number of checkpoints to write in a run without training.",
    ),
    acts(
        "checkpoint.num_checkpoints_read",
        ANY_COUNT,
        DefaultValue::Whole(-1),
        "Number of checkpoints to read in a run without training.",
    ),
    acts(
        "checkpoint.randomize_tensor",
        ValueType::Flag,
        DefaultValue::Flag(true),
        "Fill tensors with random values rather than with ones.",
    ),
    ignored("checkpoint.ksm.madv_mergeable_id", count32(0), DefaultValue::Whole(12), NO_PAGES),
    ignored(
        "checkpoint.ksm.high_ram_trigger",
        ValueType::Number { min: 0.0, max: 100.0 },
        DefaultValue::Number(30.0),
        NO_PAGES,
    ),
    ignored(
        "checkpoint.ksm.low_ram_exit",
        ValueType::Number { min: 0.0, max: 100.0 },
        DefaultValue::Number(15.0),
        NO_PAGES,
    ),
    ignored("checkpoint.ksm.await_time", at_least(0.0), DefaultValue::Number(200.0), NO_PAGES),
];
