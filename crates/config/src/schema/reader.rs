//! Section `reader`, also called `data_reader`.

use super::dataset::NUMPY_TYPES;
use super::key::{Key, NOT_DLIO, Preset, acts, ignored};
use super::kind::{Kind, count, count32, seconds};
use crate::vocabulary::{DataLoader, FileAccess, MultiprocessingContext, ReadType, Sampler};

/// Words for shuffling; YAML turns a bare `off` into a boolean.
pub(crate) const SAMPLE_SHUFFLES: &[&str] = &["off", "seed", "random"];
/// Words for shuffling files. The reference accepts `on`, as it accepts every other value.
pub(crate) const FILE_SHUFFLES: &[&str] = &["off", "seed", "random", "on"];

pub(super) const KEYS: &[Key] = &[
    acts(
        "reader.data_loader",
        Kind::Word(DataLoader::WORDS),
        Preset::Derived("the framework's own"),
        "Data loader whose order, batching and read-ahead are imitated.",
    ),
    acts(
        "reader.data_loader_classname",
        Kind::Text,
        Preset::Unset,
        "A dotted Python class; refused, as no Python runs here.",
    ),
    acts(
        "reader.data_loader_sampler",
        Kind::Word(Sampler::WORDS),
        Preset::Derived("`iterative` for tensorflow, else `index`"),
        "How samples are assigned to ranks and readers.",
    ),
    acts(
        "reader.reader_classname",
        Kind::Text,
        Preset::Unset,
        "A dotted Python class; refused, as no Python runs here.",
    ),
    ignored(
        "reader.multiprocessing_context",
        Kind::Word(MultiprocessingContext::WORDS),
        Preset::Text("fork"),
        "readers are threads here, not processes",
    ),
    acts(
        "reader.read_threads",
        count32(0),
        Preset::Whole(1),
        "Reader lanes per rank; 0: the training loop reads by itself.",
    ),
    ignored(
        "reader.computation_threads",
        count32(0),
        Preset::Whole(1),
        "it parallelises the parsing of TFRecord batches, which no emulated accelerator needs",
    ),
    acts("reader.batch_size", count(1), Preset::Whole(1), "Samples per training step and rank."),
    acts("reader.batch_size_eval", count(1), Preset::Whole(1), "Samples per evaluation step and rank."),
    acts("reader.prefetch_size", count32(0), Preset::Whole(2), "Batches read ahead."),
    acts(
        "reader.file_shuffle",
        Kind::Switch(FILE_SHUFFLES),
        Preset::Text("off"),
        "Shuffle the list of files. In dialect `mlperf`, and in `dlio` with the iterative sampler, files are shuffled \
         whenever the key is present, whatever it says, as in the references.",
    ),
    acts("reader.sample_shuffle", Kind::Switch(SAMPLE_SHUFFLES), Preset::Text("off"), "Shuffle the samples."),
    acts(
        "reader.shuffle_size",
        count(1),
        Preset::Whole(1024),
        "Records of a TFRecord stream that are read before the first batch when samples are shuffled: the shuffle buffer of \
         tensorflow. No effect on other formats, which have no such buffer in the references, and in dialect `native`.",
    ),
    acts(
        "reader.read_type",
        Kind::Word(ReadType::WORDS),
        Preset::Text("on_demand"),
        "Whether a file is opened for every sample or stays open. In dialect `dlio` any explicit value keeps files open, \
         as in the reference.",
    ),
    ignored(
        "reader.file_access",
        Kind::Word(FileAccess::WORDS),
        Preset::Text("multi"),
        "the reference checks it and does nothing with it",
    ),
    acts(
        "reader.transfer_size",
        count(1),
        Preset::Derived("256 KiB"),
        "Bytes per read of a TFRecord stream; other formats are read in the ranges of their own readers.",
    ),
    acts(
        "reader.odirect",
        Kind::Flag,
        Preset::Flag(false),
        "Read with `O_DIRECT`. In the dialects of the references npz and npy only, as there; in `native` every format.",
    ),
    ignored("reader.dont_use_mmap", Kind::Flag, Preset::Flag(false), "files are never memory-mapped"),
    acts("reader.preprocess_time", Kind::Time, Preset::Unset, "Emulated preprocessing per sample."),
    acts("reader.preprocess_time_stdev", seconds(), Preset::Unset, "Sets `stdev` of the above."),
    ignored("reader.pin_memory", Kind::Flag, Preset::Flag(true), "no memory is copied to an accelerator"),
    ignored(
        "reader.transformed_record_dims",
        Kind::Wholes { min: 1 },
        Preset::Empty,
        "the shape of the sample that the loop receives, which no emulated accelerator looks at",
    ),
    ignored(
        "reader.transformed_record_element_type",
        Kind::Word(NUMPY_TYPES),
        Preset::Text("uint8"),
        "the element type of the sample that the loop receives, which no emulated accelerator looks at",
    ),
    acts(
        "reader.write_threads",
        count32(0),
        Preset::Derived("in dialect `mlperf` from the machine, else `dlio_rs.generate_inflight`"),
        "Files generated at a time. In dialect `mlperf` 1 means that the machine decides, as in the fork.",
    )
    .only(NOT_DLIO),
];
