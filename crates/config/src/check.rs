//! Checks combinations of keys, and reports keys that this version does not act on yet.

mod mlperf;
mod places;

use crate::endpoints;
use crate::fields::Fields;
use crate::notice::{Notice, NoticeCode};
use crate::schema::{self, Effect};
use crate::vocabulary::{
    CheckpointMode, DataLoader, Dialect, Format, Framework, Sampler, Shuffle, StorageLibrary, StorageType,
};
use crate::workload::{Dataset, Workload};

/// Checks a workload whose values already have the right types and ranges.
pub(crate) fn check(workload: &Workload, f: &mut Fields<'_>) {
    loader(workload, f);
    classes(f);
    seeds(workload, f);
    format(workload, f);
    records(&workload.dataset, f);
    folders(&workload.dataset, f);
    hdf5(&workload.dataset, f);
    places::check(workload, f);
    storage(workload, f);
    parallelism(workload, f);
    checkpoint(workload, f);
    mlperf::check(workload, f);
    not_yet(workload, f);
}

fn loader(w: &Workload, f: &mut Fields<'_>) {
    const LOADER: &str = "reader.data_loader";
    let loader = w.reader.data_loader;
    let foreign = matches!(
        (w.framework, loader),
        (Framework::Tensorflow, DataLoader::Pytorch) | (Framework::Pytorch, DataLoader::Tensorflow)
    );
    if foreign {
        let framework = f.key_with_value("framework", &w.framework);
        let message = format!("{loader} does not go with {framework}; set both to the same");
        f.refuse(LOADER, message);
    }
    if w.workflow.train && matches!(loader, DataLoader::Custom | DataLoader::None) {
        f.refuse(
            LOADER,
            format!("{loader} cannot train; expected tensorflow, pytorch, dali, native_dali or synthetic"),
        );
    } else if w.workflow.train && w.reader.sampler == Sampler::None {
        f.refuse("reader.data_loader_sampler", "expected iterative or index: no samples are read without a sampler");
    }
    if loader == DataLoader::Pytorch
        && w.dataset.format == Format::TfRecord
        && w.workflow.train
        && w.storage.library != Some(StorageLibrary::S3dlio)
    {
        unreadable(f);
    }
    if w.reader.odirect && f.dialect != Dialect::Native && !matches!(w.dataset.format, Format::Npz | Format::Npy) {
        f.refuse(
            "reader.odirect",
            format!("expected false for format {}: only npz and npy are read so", w.dataset.format),
        );
    }
}

/// Refuses plug-in classes: the plug-ins of the reference are written in Python.
fn classes(f: &mut Fields<'_>) {
    for (key, instead) in [
        ("reader.reader_classname", "the readers of dataset.format"),
        ("reader.data_loader_classname", "reader.data_loader: pytorch, tensorflow, dali, native_dali or synthetic"),
        ("checkpoint.checkpoint_mechanism_classname", "the checkpoint writer of the framework"),
    ] {
        if f.given(key).is_some() {
            let message = format!(
                "is a Python class and cannot run in this program; leave the key out and use {instead}, or run this \
                 workload with the reference"
            );
            f.refuse(key, message);
        }
    }
}

/// Refuses formats that cannot be read. The bundled workload `llama_1t` leaves the format out and never reads, so only
/// an explicit format is refused.
fn unreadable(f: &mut Fields<'_>) {
    const FORMAT: &str = "dataset.format";
    let message = "tfrecord cannot be read by data_loader pytorch; expected tensorflow, dali or native_dali";
    if f.given(FORMAT).is_some() || f.given("reader.data_loader").is_some() {
        f.refuse(FORMAT, message);
    } else {
        f.note(NoticeCode::Accepted, FORMAT, &format!("absent, treated as tfrecord; {message}"));
    }
}

fn seeds(w: &Workload, f: &mut Fields<'_>) {
    let shuffled = w.reader.file_shuffle != Shuffle::Off || w.reader.sample_shuffle != Shuffle::Off;
    let last = u64::from(w.train.seed) + u64::from(w.train.epochs);
    if shuffled && w.train.seed_change_epoch && last > u64::from(u32::MAX) {
        let message = format!(
            "{} plus the epoch, up to {}, exceeds the largest seed, {}; choose a smaller seed",
            w.train.seed,
            w.train.epochs,
            u32::MAX
        );
        f.refuse("train.seed", message);
    }
}

fn format(w: &Workload, f: &mut Fields<'_>) {
    const FORMAT: &str = "dataset.format";
    match w.dataset.format {
        Format::Hdf5Opt => f.refuse(FORMAT, "hdf5_opt is a word of the reference that nothing implements; use hdf5"),
        Format::Parquet if f.dialect == Dialect::Dlio => {
            f.note(NoticeCode::Accepted, FORMAT, "parquet exists in the MLPerf fork only; the reference refuses it");
        }
        _ => {}
    }
    if f.dialect == Dialect::Mlperf && matches!(w.dataset.format, Format::Jpeg | Format::Png) {
        let text = format!(
            "{} files are images of exactly the length that the fork gives them, one byte per pixel; its own are random \
             bytes, which are read as well",
            w.dataset.format
        );
        f.note(NoticeCode::Accepted, FORMAT, &text);
    }
    let indexed = matches!(w.dataset.format, Format::IndexedBinary | Format::MmapIndexedBinary);
    if indexed && w.workflow.generate_data && f.dialect != Dialect::Native {
        let text = "files have exactly their samples, and offsets rise throughout; in the reference offsets restart in every \
                    dataset.generation_buffer_size bytes, and with no more files than ranks every file has about 1 GiB";
        f.note(NoticeCode::Accepted, FORMAT, text);
    }
    let object_store = matches!(w.storage.storage_type, StorageType::S3 | StorageType::Aistore);
    let numpy = matches!(w.dataset.format, Format::Npz | Format::Npy);
    if object_store && w.framework == Framework::Pytorch && !numpy && f.dialect == Dialect::Dlio {
        let text = format!("{} on object storage under pytorch works here; the reference refuses it", w.dataset.format);
        f.note(NoticeCode::Accepted, FORMAT, &text);
    }
}

/// A size in bytes that no file reaches.
const TOO_LONG: f64 = 4_611_686_018_427_387_904.0;

fn records(d: &Dataset, f: &mut Fields<'_>) {
    const DIMS: &str = "dataset.record_dims";
    if !d.record_dims.is_empty() && d.record_length_bytes_stdev > 0.0 {
        f.refuse(
            "dataset.record_length_bytes_stdev",
            "expected 0 beside dataset.record_dims: a fixed shape cannot vary; remove one of the two",
        );
    }
    let pieces = d.hdf5_num_dset_per_record;
    match d.record_dims.first() {
        Some(first) if first % pieces != 0 => {
            let message = format!("expected a divisor of the first of dataset.record_dims, {first}; found {pieces}");
            f.refuse("dataset.hdf5.num_dset_per_record", message);
        }
        None if pieces > 1 && d.format == Format::Hdf5 => {
            f.refuse("dataset.hdf5.num_dset_per_record", format!("{pieces} also needs dataset.record_dims"));
        }
        _ => {}
    }
    if matches!(d.format, Format::Jpeg | Format::Png) && !matches!(d.record_dims.len(), 0 | 2) {
        let message =
            format!("expected two dimensions, height and width, for {}; found {}", d.format, d.record_dims.len());
        f.refuse(DIMS, message);
    }
    let bytes = d.record_dims.iter().try_fold(d.record_element_type.itemsize(), |size, &dim| size.checked_mul(dim));
    let file = bytes.and_then(|bytes| bytes.checked_mul(d.num_samples_per_file)).filter(|&bytes| bytes < 1 << 62);
    // Record sizes that are drawn per file stay within a few standard deviations. The format checks each file again.
    let longest = d.record_length_bytes + 10.0 * d.record_length_bytes_stdev;
    let length = longest * d.record_element_type.itemsize() as f64 * d.num_samples_per_file as f64;
    if d.record_dims.is_empty() && length >= TOO_LONG {
        let samples = f.key_with_value("dataset.num_samples_per_file", &d.num_samples_per_file);
        f.refuse("dataset.record_length_bytes", format!("a file would have more than 2^62 bytes ({samples})"));
    } else if !d.record_dims.is_empty() && file.is_none() {
        f.refuse(DIMS, "a file of this shape has more than 2^62 bytes");
    }
}

/// Quirk 28: with one sub-folder, the reference generates a flat folder and then refuses to train on it.
fn folders(d: &Dataset, f: &mut Fields<'_>) {
    let counts = [
        (d.num_subfolders_train, "dataset.num_subfolders_train"),
        (d.num_subfolders_eval, "dataset.num_subfolders_eval"),
    ];
    for (_, key) in counts.into_iter().filter(|&(count, _)| count == 1) {
        f.note(NoticeCode::Accepted, key, "1 means none, as where the reference generates; it cannot train on that");
    }
}

fn hdf5(d: &Dataset, f: &mut Fields<'_>) {
    if d.format != Format::Hdf5 {
        return;
    }
    let mut shape = d.record_dims.clone();
    if let Some(first) = shape.first_mut() {
        *first /= d.hdf5_num_dset_per_record.max(1);
    }
    if shape.first() == Some(&1) {
        shape.remove(0);
    }
    let rank = if d.record_dims.is_empty() { 2 } else { shape.len() };
    if !d.hdf5_chunk_dims.is_empty() && d.hdf5_chunk_dims.len() != rank + 1 {
        let message = format!(
            "expected {} numbers, the sample axis and {rank} of the record; found {}",
            rank + 1,
            d.hdf5_chunk_dims.len()
        );
        f.refuse("dataset.hdf5.chunk_dims", message);
    }
    if !d.hdf5_max_shape.is_empty() && d.hdf5_max_shape.len() != rank {
        let message = format!("expected {rank} numbers, those of the record; found {}", d.hdf5_max_shape.len());
        f.refuse("dataset.hdf5.max_shape", message);
    }
}

fn storage(w: &Workload, f: &mut Fields<'_>) {
    let s = &w.storage;
    if s.storage_type == StorageType::ParallelFs {
        f.refuse(
            "storage.storage_type",
            "parallel_fs is a word of the reference that nothing implements; use local_fs",
        );
    }
    let remote = matches!(w.stored_on(), StorageType::S3 | StorageType::Aistore);
    let url = |text: &str| text.starts_with("http://") || text.starts_with("https://");
    if let Some(endpoint) = s.endpoint_url.as_ref().filter(|endpoint| remote && !url(endpoint)) {
        let message = format!("expected http://host:port or https://host:port, found {endpoint:?}");
        f.refuse("storage.storage_options.endpoint_url", message);
    }
    if let Some(endpoint) = s.endpoint_uris.iter().find(|endpoint| remote && !url(endpoint)) {
        let message = format!("expected http://host:port or https://host:port for each, found {endpoint:?}");
        f.refuse("storage.endpoint_uris", message);
    }
    if remote && f.given("storage.storage_root").is_none() && !w.dataset.data_folder.contains("://") {
        let message =
            format!("{} needs the name of the bucket, here or in dataset.data_folder: s3://bucket", s.storage_type);
        f.refuse("storage.storage_root", message);
    }
    if let Some(Err(message)) = s.endpoint_template.as_deref().map(endpoints::expand) {
        f.refuse("storage.endpoint_template", message);
    }
    if let Some(bytes) = w.dlio_rs.requests.direct_chunk.filter(|bytes| bytes % 4096 != 0) {
        f.refuse("dlio_rs.direct_chunk", format!("expected a multiple of 4096; found {bytes}"));
    }
    if !remote && !s.endpoint_uris.is_empty() {
        let text = format!("has no effect with storage_type {}; use s3", s.storage_type);
        f.warn(NoticeCode::Suspicious, "storage.endpoint_uris", &text);
    }
}

fn parallelism(w: &Workload, f: &mut Fields<'_>) {
    let m = &w.model;
    let pipeline = i64::from(m.pipeline_parallelism);
    if 0 < m.num_layers && m.num_layers < pipeline {
        let message = format!("expected at least model.parallelism.pipeline, {pipeline}; found {}", m.num_layers);
        f.refuse("model.num_layers", message);
    }
    if pipeline > 1 && m.zero_stage == 3 {
        f.refuse("model.parallelism.zero_stage", "3 does not go with pipeline parallelism; use 0, 1 or 2");
    }
    match (w.checkpoint.mode, m.data_parallelism) {
        (CheckpointMode::Default, Some(_)) => {
            f.refuse(
                "model.parallelism.data",
                "only goes with checkpoint.mode: subset; else it follows from the ranks",
            );
        }
        (CheckpointMode::Subset, None) => {
            f.refuse(
                "model.parallelism.data",
                "checkpoint.mode: subset needs the model's data parallelism, at least 1",
            );
        }
        _ => {}
    }
}

fn checkpoint(w: &Workload, f: &mut Fields<'_>) {
    let c = &w.checkpoint;
    if let (Some(write @ 1..), Some(read)) = (c.num_checkpoints_write, c.num_checkpoints_read)
        && read > write
    {
        let message = format!("expected at most checkpoint.num_checkpoints_write, {write}; found {read}");
        f.refuse("checkpoint.num_checkpoints_read", message);
    }
    if c.ksm && c.randomize_tensor {
        f.refuse("checkpoint.ksm", "also needs checkpoint.randomize_tensor: false, as random pages cannot be merged");
    }
}

/// Adds one notice that lists all requested features that this version does not implement.
fn not_yet(w: &Workload, f: &mut Fields<'_>) {
    let mut asked = Vec::new();
    if w.storage.storage_type == StorageType::Aistore {
        asked.push(format!("storage.storage_type: {}", w.storage.storage_type));
    }
    for key in schema::keys().filter(|key| key.effect == Effect::Later && key.dialects.contains(&f.dialect)) {
        if f.given(key.path).is_some() {
            asked.push(f.as_written(key.path));
        }
    }
    if !asked.is_empty() {
        let text = format!("not yet acted on: {}", asked.join(", "));
        f.notices.push(Notice::warning(NoticeCode::NotYetActedOn, text));
    }
}
