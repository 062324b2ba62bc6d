//! Sections `model` and `checkpoint`.

use super::kind::{at_least, count, count32};
use super::{Key, Kind, Preset, acts, ignored, with};
use crate::vocabulary::{CheckpointMode, CheckpointType};

/// Element types of checkpoints, by the names that DLIO files use.
pub(crate) const DATATYPES: &[&str] = &["fp16", "bf16", "fp32", "fp64", "int8", "uint8"];

const SWITCH: &str = "workflow.checkpoint";
const ANY_COUNT: Kind = Kind::Whole { min: -1, max: i64::MAX };

pub(super) const KEYS: &[Key] = &[
    acts("model.name", Kind::Text, Preset::Text("default"), "Name of the model; also in the default output folder."),
    with(SWITCH, "model.type", Kind::Text, Preset::Unset, "Only `transformer` has an effect."),
    with(SWITCH, "model.model_size_bytes", count(0), Preset::Whole(10240), "Bytes of the generic model state."),
    ignored("model.model_size", Kind::Free, Preset::Unset, "the reference reads model.model_size_bytes only"),
    with(
        SWITCH,
        "model.optimization_groups",
        Kind::Wholes { min: 0 },
        Preset::Empty,
        "Elements of each optimizer group.",
    ),
    with(
        SWITCH,
        "model.num_layers",
        Kind::Whole { min: i64::MIN, max: i64::MAX },
        Preset::Whole(-1),
        "Transformer layers; 0 or less: no layer state.",
    ),
    with(
        SWITCH,
        "model.layer_parameters",
        Kind::Wholes { min: 0 },
        Preset::Empty,
        "Elements of each tensor of a layer.",
    ),
    with(
        SWITCH,
        "model.model_datatype",
        Kind::Word(DATATYPES),
        Preset::Text("fp16"),
        "Element type of the model state.",
    ),
    with(
        SWITCH,
        "model.optimizer_datatype",
        Kind::Word(DATATYPES),
        Preset::Text("fp32"),
        "Element type of the optimizer state.",
    ),
    with(SWITCH, "model.parallelism.tensor", count32(1), Preset::Whole(1), "Tensor parallelism."),
    with(SWITCH, "model.parallelism.pipeline", count32(1), Preset::Whole(1), "Pipeline parallelism."),
    with(
        SWITCH,
        "model.parallelism.data",
        Kind::Whole { min: -1, max: u32::MAX as i64 },
        Preset::Whole(-1),
        "Data parallelism; only with `checkpoint.mode: subset`.",
    ),
    with(SWITCH, "model.parallelism.zero_stage", Kind::Whole { min: 0, max: 3 }, Preset::Whole(0), "ZeRO stage."),
    with(SWITCH, "model.transformer.vocab_size", count(1), Preset::Whole(32000), "Size of the vocabulary."),
    with(SWITCH, "model.transformer.hidden_size", count(1), Preset::Whole(2048), "Width of a layer."),
    with(
        SWITCH,
        "model.transformer.ffn_hidden_size",
        count(1),
        Preset::Whole(8192),
        "Width of the feed-forward layer.",
    ),
    with(SWITCH, "model.transformer.num_attention_heads", count(1), Preset::Whole(32), "Attention heads."),
    with(SWITCH, "model.transformer.num_kv_heads", count(1), Preset::Whole(8), "Key-value heads."),
];

pub(super) const CHECKPOINT: &[Key] = &[
    with(
        SWITCH,
        "checkpoint.checkpoint_folder",
        Kind::Text,
        Preset::Text("./checkpoints/"),
        "Folder of the checkpoints; a trailing `/` is dropped.",
    ),
    with(SWITCH, "checkpoint.checkpoint_after_epoch", count32(0), Preset::Whole(1), "First epoch with a checkpoint."),
    with(SWITCH, "checkpoint.epochs_between_checkpoints", count32(1), Preset::Whole(1), "Epochs between checkpoints."),
    with(
        SWITCH,
        "checkpoint.steps_between_checkpoints",
        ANY_COUNT,
        Preset::Whole(-1),
        "Steps between checkpoints; -1: after epochs, 0: never.",
    ),
    ignored(
        "checkpoint.type",
        Kind::Word(CheckpointType::WORDS),
        Preset::Text("rank_zero"),
        "the reference checks it and does nothing with it",
    ),
    with(
        SWITCH,
        "checkpoint.mode",
        Kind::Word(CheckpointMode::WORDS),
        Preset::Text("default"),
        "Whether the ranks are the whole model or part of it.",
    ),
    acts(
        "checkpoint.checkpoint_mechanism_classname",
        Kind::Text,
        Preset::Unset,
        "A dotted Python class; refused, as no Python runs here.",
    ),
    with(SWITCH, "checkpoint.fsync", Kind::Flag, Preset::Flag(false), "Force checkpoints to stable storage."),
    with(SWITCH, "checkpoint.recovery_rank_shift", Kind::Flag, Preset::Flag(false), "Load what another node wrote."),
    with(SWITCH, "checkpoint.rank_sync", Kind::Flag, Preset::Flag(false), "Barrier after every checkpoint."),
    with(
        SWITCH,
        "checkpoint.time_between_checkpoints",
        Kind::Time,
        Preset::Whole(-1),
        "Pause before each checkpoint of a checkpoint-only run; the reference makes -1 a pause of 1 s.",
    ),
    with(SWITCH, "checkpoint.num_checkpoints_write", ANY_COUNT, Preset::Whole(-1), "Checkpoints to write."),
    with(SWITCH, "checkpoint.num_checkpoints_read", ANY_COUNT, Preset::Whole(-1), "Checkpoints to read."),
    with(SWITCH, "checkpoint.randomize_tensor", Kind::Flag, Preset::Flag(true), "Random tensors rather than ones."),
    with(SWITCH, "checkpoint.ksm.madv_mergeable_id", count32(0), Preset::Whole(12), "`madvise` code of the KSM mode."),
    with(
        SWITCH,
        "checkpoint.ksm.high_ram_trigger",
        Kind::Number { min: 0.0, max: 100.0 },
        Preset::Number(30.0),
        "Memory use, in percent, that starts waiting.",
    ),
    with(
        SWITCH,
        "checkpoint.ksm.low_ram_exit",
        Kind::Number { min: 0.0, max: 100.0 },
        Preset::Number(15.0),
        "Memory use, in percent, that ends waiting.",
    ),
    with(SWITCH, "checkpoint.ksm.await_time", at_least(0.0), Preset::Number(200.0), "Longest wait, in seconds."),
];
