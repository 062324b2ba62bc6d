//! Sections `model` and `checkpoint`.

use super::key::{Key, Preset, acts, ignored};
use super::kind::{Kind, at_least, count, count32};
use crate::vocabulary::{CheckpointMode, CheckpointType};

/// Reason why keys of the KSM mode have no effect.
const NO_PAGES: &str = "tensors are made while they are written, so there are no pages of them that could be merged";

/// Element types of checkpoints, with the names that DLIO files use.
pub(crate) const DATATYPES: &[&str] = &["fp16", "bf16", "fp32", "fp64", "int8", "uint8"];

const ANY_COUNT: Kind = Kind::Whole { min: -1, max: i64::MAX };

pub(super) const KEYS: &[Key] = &[
    acts("model.name", Kind::Text, Preset::Text("default"), "Name of the model; also in the default output folder."),
    acts("model.type", Kind::Text, Preset::Unset, "Only `transformer` has an effect."),
    acts(
        "model.model_size_bytes",
        Kind::Whole { min: 0, max: (1 << 60) - 1 },
        Preset::Whole(10240),
        "Bytes of the generic model state.",
    ),
    ignored("model.model_size", Kind::Free, Preset::Unset, "the reference reads model.model_size_bytes only"),
    acts("model.optimization_groups", Kind::Wholes { min: 0 }, Preset::Empty, "Elements of each optimizer group."),
    acts(
        "model.num_layers",
        Kind::Whole { min: i64::MIN, max: i64::MAX },
        Preset::Whole(-1),
        "Transformer layers; 0 or less: no layer state.",
    ),
    acts("model.layer_parameters", Kind::Wholes { min: 0 }, Preset::Empty, "Elements of each tensor of a layer."),
    acts("model.model_datatype", Kind::Word(DATATYPES), Preset::Text("fp16"), "Element type of the model state."),
    acts(
        "model.optimizer_datatype",
        Kind::Word(DATATYPES),
        Preset::Text("fp32"),
        "Element type of the optimizer state.",
    ),
    acts("model.parallelism.tensor", count32(1), Preset::Whole(1), "Tensor parallelism."),
    acts("model.parallelism.pipeline", count32(1), Preset::Whole(1), "Pipeline parallelism."),
    acts(
        "model.parallelism.data",
        Kind::Whole { min: -1, max: u32::MAX as i64 },
        Preset::Whole(-1),
        "Data parallelism; only with `checkpoint.mode: subset`.",
    ),
    acts(
        "model.parallelism.zero_stage",
        Kind::Whole { min: -1, max: 3 },
        Preset::Whole(0),
        "ZeRO stage; -1, as in old files of the reference, is 0 with every rank writing its own files.",
    ),
    acts("model.transformer.vocab_size", count(1), Preset::Whole(32000), "Size of the vocabulary."),
    acts("model.transformer.hidden_size", count(1), Preset::Whole(2048), "Width of a layer."),
    acts("model.transformer.ffn_hidden_size", count(1), Preset::Whole(8192), "Width of the feed-forward layer."),
    acts("model.transformer.num_attention_heads", count(1), Preset::Whole(32), "Attention heads."),
    acts("model.transformer.num_kv_heads", count(1), Preset::Whole(8), "Key-value heads."),
];

pub(super) const CHECKPOINT: &[Key] = &[
    acts(
        "checkpoint.checkpoint_folder",
        Kind::Text,
        Preset::Text("./checkpoints/"),
        "Folder of the checkpoints; a trailing `/` is dropped.",
    ),
    acts("checkpoint.checkpoint_after_epoch", count32(0), Preset::Whole(1), "First epoch with a checkpoint."),
    acts("checkpoint.epochs_between_checkpoints", count32(1), Preset::Whole(1), "Epochs between checkpoints."),
    acts(
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
    acts(
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
    acts("checkpoint.fsync", Kind::Flag, Preset::Flag(false), "Force checkpoints to stable storage."),
    acts("checkpoint.recovery_rank_shift", Kind::Flag, Preset::Flag(false), "Load what another node wrote."),
    acts("checkpoint.rank_sync", Kind::Flag, Preset::Flag(false), "Barrier after every checkpoint."),
    acts(
        "checkpoint.time_between_checkpoints",
        Kind::Time,
        Preset::Whole(-1),
        "Pause before each checkpoint of a checkpoint-only run; the reference makes -1 a pause of 1 s.",
    ),
    acts("checkpoint.num_checkpoints_write", ANY_COUNT, Preset::Whole(-1), "Checkpoints to write."),
    acts("checkpoint.num_checkpoints_read", ANY_COUNT, Preset::Whole(-1), "Checkpoints to read."),
    acts("checkpoint.randomize_tensor", Kind::Flag, Preset::Flag(true), "Random tensors rather than ones."),
    ignored("checkpoint.ksm.madv_mergeable_id", count32(0), Preset::Whole(12), NO_PAGES),
    ignored("checkpoint.ksm.high_ram_trigger", Kind::Number { min: 0.0, max: 100.0 }, Preset::Number(30.0), NO_PAGES),
    ignored("checkpoint.ksm.low_ram_exit", Kind::Number { min: 0.0, max: 100.0 }, Preset::Number(15.0), NO_PAGES),
    ignored("checkpoint.ksm.await_time", at_least(0.0), Preset::Number(200.0), NO_PAGES),
];
