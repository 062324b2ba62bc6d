//! Notices of the mlperf dialect.

use dlio_config::time::TimeSpec;
use dlio_config::vocabulary::{Format, StorageType};
use dlio_config::{Notice, NoticeCode, Workload};

use super::shared::{key, limit, quirk, reopening, surplus};
use crate::Split;
use crate::counts::{LoaderKind, SplitSteps};
use crate::mlperf::MlperfReading;
use crate::reading::Reading;

pub(super) fn of(workload: &Workload, reading: &Reading, splits: &[(Split, SplitSteps)]) -> Vec<Notice> {
    let Some(mlperf) = &reading.mlperf else { return Vec::new() };
    let mut notices = Vec::new();
    for &(split, steps) in splits {
        notices.extend(trimmed(reading, split));
        notices.extend(if steps.full == 0 {
            Some(nothing(reading, split))
        } else {
            lost(reading, mlperf, split, steps)
        });
    }
    let Some(&(_, train)) = splits.iter().find(|(split, steps)| *split == Split::Train && steps.run > 0) else {
        return notices;
    };
    notices.push(prewarm(workload));
    notices.extend(lists(reading, mlperf));
    notices.extend(streams(reading));
    notices.extend(reopening(workload, reading));
    notices.extend(limit(workload, train));
    notices.extend(surplus(splits).filter(|_| train.run < train.full));
    notices.extend(preprocessing(workload, reading));
    notices.extend(direct_parquet(workload));
    notices.extend(sizes(workload));
    notices
}

fn info(text: String) -> Notice {
    Notice::info(NoticeCode::Quirk, text)
}

fn trimmed(reading: &Reading, split: Split) -> Option<Notice> {
    let counts = reading.counts(split);
    let left = counts.configured - counts.files;
    (left > 0 && counts.files > 0).then(|| {
        info(format!(
            "the last {left} of {} files of `{}` are left out, so that all {} ranks have {} each, as in the fork",
            counts.configured,
            split.folder(),
            reading.world.size,
            counts.files / u64::from(reading.world.size)
        ))
    })
}

fn nothing(reading: &Reading, split: Split) -> Notice {
    let (counts, (key, batch)) = (reading.counts(split), key(split));
    let size = reading.world.size;
    let lanes = if reading.kind == LoaderKind::Iterable {
        format!(" over {} reader lanes that make batches each for itself", reading.lanes())
    } else {
        String::new()
    };
    Notice::warning(
        NoticeCode::Suspicious,
        format!(
            "NOTHING WILL BE READ for `{}`: the {} files of each of {size} ranks ({key} {}) hold {} samples{lanes}, which \
             fill no batch of {batch} {}; raise {key}, lower {batch} or reader.read_threads, or use fewer ranks",
            split.folder(),
            counts.files / u64::from(size),
            counts.configured,
            reading.samples(split) / u64::from(size),
            counts.batch_size,
        ),
    )
}

/// Reports the samples of a rank that do not fill a batch.
fn lost(reading: &Reading, mlperf: &MlperfReading, split: Split, steps: SplitSteps) -> Option<Notice> {
    let (samples, batch) = (reading.samples(split) / u64::from(reading.world.size), reading.batch_size(split));
    if steps.run < steps.full {
        return None;
    }
    if reading.kind == LoaderKind::Iterable {
        let lost = reading.shape(mlperf, split).lost();
        return (lost > 0).then(|| {
            info(format!(
                "every epoch reads {lost} of the {samples} samples that each rank has of `{}` and drops them, as in the \
                 fork: they fill no batch of {batch} within their reader lane; lanes: {}",
                split.folder(),
                reading.lanes()
            ))
        });
    }
    let left = samples % batch;
    (left > 0).then(|| {
        info(format!(
            "every epoch leaves out {left} of the {samples} samples that each rank has of `{}`: they fill no batch of {batch}",
            split.folder()
        ))
    })
}

fn prewarm(workload: &Workload) -> Notice {
    info(format!(
        "one batch of the coming epoch is read before every epoch and once more after the last ({} times), outside all \
         times, as in the fork, which starts its workers that way",
        workload.train.epochs.saturating_add(1)
    ))
}

fn lists(reading: &Reading, mlperf: &MlperfReading) -> Option<Notice> {
    let kept = matches!(reading.kind, LoaderKind::Iterable | LoaderKind::Iterative | LoaderKind::Streams);
    (mlperf.shards.reshuffles() && kept).then(|| {
        Notice::info(
            NoticeCode::Accepted,
            "every epoch reads the files that its shuffle dealt to each rank; the fork shuffles as well, but its workers \
             keep the list of the first epoch",
        )
    })
}

fn streams(reading: &Reading) -> Option<Notice> {
    (reading.kind == LoaderKind::Streams && reading.world.size > 1).then(|| {
        Notice::info(
            NoticeCode::Accepted,
            format!(
                "every rank streams all files of its share once; the fork shards the share once more and repeats one of \
                 {} parts of it",
                reading.world.size
            ),
        )
    })
}

fn preprocessing(workload: &Workload, reading: &Reading) -> Option<Notice> {
    let asked = !matches!(workload.reader.preprocess_time, TimeSpec::None);
    (asked && reading.kind == LoaderKind::Iterable).then(|| {
        quirk(
            "reader.preprocess_time has no effect: what streams whole objects or row groups emulates no preprocessing, as \
             in the fork"
                .to_owned(),
        )
    })
}

fn direct_parquet(workload: &Workload) -> Option<Notice> {
    let direct = workload.storage.storage_type == StorageType::DirectFs && workload.dataset.format == Format::Parquet;
    direct.then(|| {
        Notice::info(
            NoticeCode::Accepted,
            "Parquet files on direct_fs are read row group by row group, each once; in the fork every worker fetches \
             those of all workers",
        )
    })
}

/// Reports that drawn sizes do not depend on the number of generating ranks.
fn sizes(workload: &Workload) -> Option<Notice> {
    let dataset = &workload.dataset;
    (dataset.record_length_bytes_stdev > 0.0 && dataset.record_dims.is_empty()).then(|| {
        Notice::info(
            NoticeCode::Accepted,
            "file sizes are drawn as by one generating rank, so that they do not depend on the number of ranks; the fork \
             draws others on every rank",
        )
    })
}
