//! Notices about a plan: copied quirks that change what this run reads, and samples that are left out.
//!
//! Rank 0 reports each notice once. A notice names the key, the effect and the remedy.

mod mlperf;
mod shared;

use dlio_config::vocabulary::{DataLoader, Dialect, Format, Shuffle};
use dlio_config::{Notice, NoticeCode, Workload};

use dlio_event::quantity::counted;

use crate::counts::{LoaderKind, SplitSteps};
use crate::reading::Reading;
use crate::{Handles, Split};
use shared::{key, limit, quirk, reopening, surplus};

const NATIVE: &str = "`dlio_rs.dialect: native`";

pub(crate) fn of(workload: &Workload, reading: &Reading, train: SplitSteps, eval: SplitSteps) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut splits = Vec::new();
    if workload.workflow.train {
        splits.push((Split::Train, train));
    }
    if workload.workflow.evaluation {
        splits.push((Split::Eval, eval));
    }
    for &(split, steps) in &splits {
        notices.extend(match reading.dialect {
            Dialect::Dlio => trimming(reading, split),
            Dialect::Native => remainder(reading, split, steps),
            Dialect::Mlperf => None,
        });
    }
    notices.extend(threads(workload, reading));
    notices.extend(inflight(workload, reading));
    notices.extend(mlperf::of(workload, reading, &splits));
    notices.extend(untouched(workload, &splits));
    if workload.workflow.train {
        notices.extend(unmeasured(workload, train));
    }
    if reading.dialect == Dialect::Dlio && splits.iter().any(|(_, steps)| steps.run > 0) {
        notices.extend(shuffling(workload, reading));
        notices.extend(same_files(reading));
        notices.extend(padding(reading, &splits));
        notices.extend(reopening(workload, reading));
        notices.extend(limit(workload, train));
        notices.extend(surplus(&splits));
        notices.extend(synthetic(workload, train));
    }
    if reading.dialect == Dialect::Native && reading.kind == LoaderKind::Streams {
        notices.extend(stream_shuffle(workload));
    }
    notices
}

/// Quirk 33.
fn untouched(workload: &Workload, splits: &[(Split, SplitSteps)]) -> Option<Notice> {
    let mapped = workload.dataset.format == Format::MmapIndexedBinary && workload.dlio_rs.dialect == Dialect::Dlio;
    (mapped && splits.iter().any(|(_, steps)| steps.run > 0)).then(|| {
        quirk(format!(
            "no byte of a mmap_indexed_binary file is read, as in the reference, whose reader maps the files and makes a \
             view of the memory map and drops it; {NATIVE} reads the pages of every sample"
        ))
    })
}

/// Reports epochs whose steps are all excluded from the metrics. Without the notice, the storage would seem to have
/// delivered nothing.
fn unmeasured(workload: &Workload, train: SplitSteps) -> Option<Notice> {
    let (start, end) = (workload.output.exclude_start_steps, workload.output.exclude_end_steps);
    (train.run > 0 && train.run <= start.saturating_add(end)).then(|| {
        Notice::warning(
            NoticeCode::Suspicious,
            format!(
                "an epoch has {}, and the metrics leave out the first {start} and the last {end}: AU and samples/s will be 0 and say \
                 nothing of the storage; use fewer ranks, a smaller reader.batch_size or more files, or lower \
                 output.metric.exclude_start_steps and exclude_end_steps",
                counted(train.run, "step")
            ),
        )
    })
}

fn trimming(reading: &Reading, split: Split) -> Option<Notice> {
    let (counts, (key, batch)) = (reading.counts(split), key(split));
    let (files, kept) = (counts.configured, counts.files);
    let unit = u128::from(reading.samples_per_file) * u128::from(counts.batch_size) * u128::from(reading.world.size);
    if files == kept && kept > 0 {
        return None;
    }
    let what = match split {
        Split::Train => "training",
        Split::Eval => "evaluation",
    };
    let factors = format!(
        "num_samples_per_file {} x {batch} {} x {} = {unit}",
        reading.samples_per_file,
        counts.batch_size,
        counted(reading.world.size, "rank")
    );
    Some(quirk(if kept == 0 {
        format!(
            "NOTHING WILL BE READ for {what}: {key} is {files}, and the reference uses only multiples of {factors} files \
             (it compares a number of files with a number of samples), so 0 files remain and 0 steps run; raise {key} to \
             at least {unit}, lower {batch} or num_samples_per_file, use fewer ranks, or set {NATIVE}"
        )
    } else {
        format!(
            "{what} reads only the first {kept} of {files} files: the reference trims {key} to a multiple of {factors}; \
             {NATIVE} reads all of them"
        )
    }))
}

/// Reports samples that the native dialect leaves out because all ranks run the same number of steps.
fn remainder(reading: &Reading, split: Split, steps: SplitSteps) -> Option<Notice> {
    let (counts, (key, batch)) = (reading.counts(split), key(split));
    let per_step = counts.batch_size.saturating_mul(u64::from(reading.world.size));
    let samples = reading.samples(split);
    if steps.full == 0 {
        return Some(Notice::warning(
            NoticeCode::Suspicious,
            format!(
                "NOTHING WILL BE READ for `{}`: its {samples} samples are fewer than one step on all ranks takes \
                 ({batch} {} x {} = {per_step}); raise {key}, lower {batch} or use fewer ranks",
                split.folder(),
                counts.batch_size,
                counted(reading.world.size, "rank")
            ),
        ));
    }
    let left = samples % per_step;
    (left > 0).then(|| {
        Notice::info(
            NoticeCode::Accepted,
            format!(
                "every epoch leaves out {left} of the {samples} samples of `{}`, so that all ranks run the same {} steps",
                split.folder(),
                steps.full
            ),
        )
    })
}

fn threads(workload: &Workload, reading: &Reading) -> Option<Notice> {
    let reader = &workload.reader;
    let changed = reader.data_loader == DataLoader::Tensorflow && reader.read_threads == 0;
    if changed {
        let text = "reader.read_threads is 0, which the tensorflow loader does not have: 1 reader lane is used";
        return Some(Notice::warning(NoticeCode::Accepted, text));
    }
    (reader.data_loader == DataLoader::NativeDali && reading.dialect != Dialect::Native).then(|| {
        Notice::warning(
            NoticeCode::Accepted,
            "reader.data_loader native_dali is planned like dali, every rank reading its own share; in the reference all \
             ranks read shard 0",
        )
    })
}

fn shuffling(workload: &Workload, reading: &Reading) -> Option<Notice> {
    let (files, samples) = (workload.reader.file_shuffle, workload.reader.sample_shuffle);
    let asked: Vec<String> = [("reader.file_shuffle", files), ("reader.sample_shuffle", samples)]
        .into_iter()
        .filter(|(_, shuffle)| *shuffle != Shuffle::Off)
        .map(|(key, shuffle)| format!("{key} {shuffle}"))
        .collect();
    if asked.is_empty() {
        return None;
    }
    let asked = asked.join(" and ");
    let verb = if asked.contains(" and ") { "have" } else { "has" };
    // Most workloads have this notice in every run; it does not point to a mistake.
    Some(Notice::info(
        NoticeCode::Quirk,
        match reading.kind {
            LoaderKind::Index => format!(
                "{asked} {verb} no effect with the {} loader, as in the reference: every epoch reads the same samples in \
             ascending order; {NATIVE} shuffles",
                workload.reader.data_loader
            ),
            LoaderKind::Streams => format!(
                "{asked} {verb} no effect on what is read from TFRecord files, as in the reference: names are sorted, and \
             the shuffle buffer only decides which record joins which batch; with {NATIVE} file_shuffle shuffles files"
            ),
            LoaderKind::Iterative if samples != Shuffle::Off => format!(
                "reader.sample_shuffle {samples} changes only the sample numbers that are reported, not what is read, as in \
             the reference; {NATIVE} shuffles"
            ),
            LoaderKind::Iterative | LoaderKind::Iterable | LoaderKind::Blank => return None,
        },
    ))
}

fn same_files(reading: &Reading) -> Option<Notice> {
    let size = reading.world.size;
    (reading.kind == LoaderKind::Iterative && size > 1).then(|| {
        quirk(format!(
            "all {size} ranks read the same first files of the list, apart from their first sample, as in the reference: \
             about {} of {} files are read at all, {size} times each; {NATIVE} gives every rank its own samples",
            reading.train.files.div_ceil(u64::from(size)),
            reading.train.files
        ))
    })
}

fn padding(reading: &Reading, splits: &[(Split, SplitSteps)]) -> Option<Notice> {
    let uneven = |split: Split| {
        let threads = reading.sorted_threads(0, split);
        (0..reading.lanes()).any(|thread| !threads.entries(thread).is_multiple_of(threads.batch_size))
    };
    let uneven =
        reading.kind == LoaderKind::Iterative && splits.iter().any(|&(split, steps)| steps.run > 0 && uneven(split));
    uneven.then(|| {
        Notice::info(
            NoticeCode::Quirk,
            format!(
                "the samples of a rank do not divide into whole batches of {} reader threads: a thread's last batch is \
                 padded without reading, so some steps read fewer samples than the batch size",
                reading.lanes()
            ),
        )
    })
}

/// Reports that `dlio_rs.inflight_per_reader` has less effect than its value suggests.
fn inflight(workload: &Workload, reading: &Reading) -> Option<Notice> {
    const MORE: &str = "more reader.read_threads read more at a time";
    let (wanted, batch) = (u64::from(workload.dlio_rs.inflight_per_reader), workload.reader.batch_size);
    let text = match (reading.kind, reading.handles()) {
        _ if wanted <= 1 => return None,
        (LoaderKind::Iterable, _) => {
            "has no effect: these readers have windows of their own (storage.storage_options.prefetch_window)"
                .to_owned()
        }
        (_, Handles::PerFile | Handles::Cached) => {
            format!("has no effect: a reader that keeps its files open reads one sample after the other; {MORE}")
        }
        (_, Handles::PerSample) if batch == 1 => {
            format!("has no effect with reader.batch_size 1: a reader has the samples of one batch in flight; {MORE}")
        }
        (_, Handles::PerSample) if batch < wanted => {
            format!("amounts to {batch}, reader.batch_size: a reader has the samples of one batch in flight; {MORE}")
        }
        (_, Handles::PerSample) => return None,
    };
    Some(Notice::warning(NoticeCode::Suspicious, format!("dlio_rs.inflight_per_reader {wanted} {text}")))
}

fn synthetic(workload: &Workload, train: SplitSteps) -> Option<Notice> {
    let short = train.configured > train.full && workload.reader.data_loader == DataLoader::Synthetic;
    short.then(|| {
        quirk(format!(
            "the synthetic loader stops one batch early, as in the reference: {} of {} steps",
            train.full, train.configured
        ))
    })
}

fn stream_shuffle(workload: &Workload) -> Option<Notice> {
    let shuffle = workload.reader.sample_shuffle;
    (shuffle != Shuffle::Off).then(|| {
        Notice::info(
            NoticeCode::IgnoredKey,
            format!(
                "reader.sample_shuffle {shuffle} does not change what is read from TFRecord files: records are streamed, \
                 and a shuffle buffer only decides which record joins which batch; use reader.file_shuffle"
            ),
        )
    })
}
