//! Section `reader`, also called `data_reader`.

use super::dataset::NUMPY_TYPES;
use super::key::{DefaultValue, Key, NOT_DLIO, acts, ignored};
use super::value_type::{ValueType, count, count32, seconds};
use crate::vocabulary::{DataLoader, FileAccess, MultiprocessingContext, ReadType, Sampler};

/// Words for shuffling; YAML turns a bare `off` into a boolean.
pub(crate) const SAMPLE_SHUFFLES: &[&str] = &["off", "seed", "random"];
/// Words for shuffling files. The reference accepts `on`, as it accepts every other value.
pub(crate) const FILE_SHUFFLES: &[&str] = &["off", "seed", "random", "on"];

pub(super) const KEYS: &[Key] = &[
    acts(
        "reader.data_loader",
        ValueType::Word(DataLoader::WORDS),
        DefaultValue::Derived("loader of the framework"),
        "Data loader whose reading order, batching and read-ahead are imitated.",
    ),
    acts(
        "reader.data_loader_classname",
        ValueType::Text,
        DefaultValue::Unset,
        "Dotted name of a Python class; refused, because this program does not run Python.",
    ),
    acts(
        "reader.data_loader_sampler",
        ValueType::Word(Sampler::WORDS),
        DefaultValue::Derived("`iterative` for tensorflow, else `index`"),
        "Assignment of samples to ranks and readers.",
    ),
    acts(
        "reader.reader_classname",
        ValueType::Text,
        DefaultValue::Unset,
        "Dotted name of a Python class; refused, because this program does not run Python.",
    ),
    ignored(
        "reader.multiprocessing_context",
        ValueType::Word(MultiprocessingContext::WORDS),
        DefaultValue::Text("fork"),
        "readers are threads rather than processes",
    ),
    acts(
        "reader.read_threads",
        count32(0),
        DefaultValue::Whole(1),
        "Number of reader lanes per rank; with 0, the training loop itself reads.",
    ),
    ignored(
        "reader.computation_threads",
        count32(0),
        DefaultValue::Whole(1),
        "it parallelizes the parsing of TFRecord batches, which an emulated accelerator does not need",
    ),
    acts("reader.batch_size", count(1), DefaultValue::Whole(1), "Samples per training step and rank."),
    acts("reader.batch_size_eval", count(1), DefaultValue::Whole(1), "Samples per evaluation step and rank."),
    acts("reader.prefetch_size", count32(0), DefaultValue::Whole(2), "Number of batches that are read ahead."),
    acts(
        "reader.file_shuffle",
        ValueType::Switch(FILE_SHUFFLES),
        DefaultValue::Text("off"),
        "Shuffle the list of files. In dialect `mlperf`, and in `dlio` with the iterative sampler, any value that is present \
         shuffles the files, as in the references.",
    ),
    acts(
        "reader.sample_shuffle",
        ValueType::Switch(SAMPLE_SHUFFLES),
        DefaultValue::Text("off"),
        "Shuffle the samples.",
    ),
    acts(
        "reader.shuffle_size",
        count(1),
        DefaultValue::Whole(1024),
        "Size of tensorflow's shuffle buffer: the number of records of a TFRecord stream that are read before the first batch \
         if samples are shuffled. No effect on other formats and in dialect `native`.",
    ),
    acts(
        "reader.read_type",
        ValueType::Word(ReadType::WORDS),
        DefaultValue::Text("on_demand"),
        "Open a file for every sample, or keep it open. In dialect `dlio`, any explicit value keeps files open, as in the \
         reference.",
    ),
    ignored(
        "reader.file_access",
        ValueType::Word(FileAccess::WORDS),
        DefaultValue::Text("multi"),
        "the reference checks it and does not use it",
    ),
    acts(
        "reader.transfer_size",
        count(1),
        DefaultValue::Derived("256 KiB"),
        "Bytes per read of a TFRecord stream. The reads of other formats do not depend on it.",
    ),
    acts(
        "reader.odirect",
        ValueType::Flag,
        DefaultValue::Flag(false),
        "Read files with `O_DIRECT`: every format in dialect `native`, only npz and npy in the other dialects, as in the references.",
    ),
    ignored("reader.dont_use_mmap", ValueType::Flag, DefaultValue::Flag(false), "files are never memory-mapped"),
    acts("reader.preprocess_time", ValueType::Time, DefaultValue::Unset, "Emulated preprocessing time per sample, in seconds."),
    acts("reader.preprocess_time_stdev", seconds(), DefaultValue::Unset, "Standard deviation of `preprocess_time`, in seconds."),
    ignored("reader.pin_memory", ValueType::Flag, DefaultValue::Flag(true), "nothing is copied to an accelerator"),
    ignored(
        "reader.transformed_record_dims",
        ValueType::Wholes { min: 1 },
        DefaultValue::Empty,
        "it is the shape of the sample that the training loop receives, which has no effect on reads",
    ),
    ignored(
        "reader.transformed_record_element_type",
        ValueType::Word(NUMPY_TYPES),
        DefaultValue::Text("uint8"),
        "it is the element type of the sample that the training loop receives, which has no effect on reads",
    ),
    acts(
        "reader.write_threads",
        count32(0),
        DefaultValue::Derived("depends on the machine in dialect `mlperf`, else `dlio_rs.generate_inflight`"),
        "Number of files generated at a time. In dialect `mlperf`, 1 means that the number depends on the machine, as in the fork.",
    )
    .only(NOT_DLIO),
];
