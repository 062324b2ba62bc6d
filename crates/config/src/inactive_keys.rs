//! Keys that have no effect in a run because their feature is off. Their values are not checked: an invalid word in a
//! section that is never read does not stop a file that the references run.

use crate::fields::Fields;
use crate::location::Location;
use crate::schema::{Effect, Key, S3DLIO};
use crate::vocabulary::{Dialect, Format, StorageType};

/// Keys that only requests to object storage read.
const OF_REQUESTS: &[&str] = &[
    "storage.storage_options.endpoint_url",
    "storage.storage_options.access_key_id",
    "storage.storage_options.secret_access_key",
    "storage.storage_options.region",
    "storage.storage_options.s3_force_path_style",
    "storage.storage_options.s3_max_attempts",
    "storage.use_mpi_endpoint_distribution",
    "storage.load_balance_strategy",
    "storage.endpoint_template",
    "storage.endpoint_file",
    "storage.endpoint_uris",
];

/// Features of a workload that decide whether the values of other keys have an effect.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "flags of the workload, each by itself")]
pub(crate) struct Features {
    train: bool,
    evaluation: bool,
    checkpoint: bool,
    profiling: bool,
    format: Format,
    objects: bool,
}

impl Features {
    pub(crate) fn of(f: &Fields<'_>) -> Self {
        let checkpoint = f.flag("workflow.checkpoint");
        // `replay` trains even on a workload that only generates a dataset.
        let train = f.flag("workflow.train") || !checkpoint;
        Self {
            train,
            evaluation: train && f.flag("workflow.evaluation"),
            checkpoint,
            profiling: f.flag("workflow.profiling"),
            format: f.word("dataset.format", Format::from_word, Format::TfRecord),
            objects: objects(f),
        }
    }
}

/// Returns whether the dataset or the checkpoints are in object storage.
fn objects(f: &Fields<'_>) -> bool {
    let storage = f.word("storage.storage_type", StorageType::from_word, StorageType::LocalFs);
    let named = |key: &str| matches!(Location::parse(&f.text(key)), Ok(Location::S3(_)));
    let library = f.word_or_none("storage.storage_type", |word| (word == S3DLIO).then_some(())).is_some();
    matches!(storage, StorageType::S3 | StorageType::Aistore)
        || library
        || ["storage.storage_root", "dataset.data_folder", "checkpoint.checkpoint_folder"].into_iter().any(named)
}

/// Returns why no value of a key has an effect; `None` if the key has one.
pub(crate) fn reason(f: &Fields<'_>, key: &Key) -> Option<String> {
    let unread = matches!(key.effect, Effect::Ignored(_)) || !key.dialects.contains(&f.dialect);
    if unread { Some("nothing reads it".to_owned()) } else { off(f, key.path) }
}

/// Returns why any word is accepted for a key that has an effect: the references only test whether the key is present.
pub(crate) fn any_word(f: &Fields<'_>, path: &str) -> Option<String> {
    let any = match path {
        "reader.file_shuffle" => f.dialect != Dialect::Native,
        "reader.read_type" => f.dialect == Dialect::Dlio,
        _ => false,
    };
    any.then(|| "the reference takes any value for this key".to_owned())
}

/// Returns the reason why the feature of a key is off; `None` if it is on. Keys of section `dlio_rs` are always checked
/// because no file that was written for another program has them.
pub(crate) fn off(f: &Fields<'_>, path: &str) -> Option<String> {
    let features = f.features();
    let off = |flag: &str| Some(format!("workflow.{flag} is off"));
    let of_format = |formats: &[Format]| {
        (!formats.contains(&features.format)).then(|| format!("dataset.format is {}", features.format))
    };
    match path {
        "model.name" | "reader.write_threads" => None,
        "reader.batch_size_eval" if !features.evaluation => off("evaluation"),
        "dataset.compression" => of_format(&[Format::Npz, Format::Hdf5, Format::Parquet, Format::Csv]),
        "reader.shuffle_size" | "reader.transfer_size" if features.train && features.format != Format::TfRecord => {
            of_format(&[Format::TfRecord])
        }
        "dataset.compression_level" => of_format(&[Format::Hdf5]),
        _ if path.starts_with("dataset.hdf5.") => of_format(&[Format::Hdf5]),
        _ if path.starts_with("dataset.parquet.") => of_format(&[Format::Parquet]),
        _ if path.starts_with("evaluation.") && !features.evaluation => off("evaluation"),
        _ if path.starts_with("profiling.") && !features.profiling => off("profiling"),
        _ if ["checkpoint.", "model."].iter().any(|part| path.starts_with(part)) && !features.checkpoint => {
            off("checkpoint")
        }
        _ if ["train.", "reader."].iter().any(|part| path.starts_with(part)) && !features.train => off("train"),
        _ if OF_REQUESTS.contains(&path) && !features.objects => Some("nothing is kept as objects".to_owned()),
        _ => None,
    }
}
