//! Notices that several dialects use.

use dlio_config::vocabulary::Format;
use dlio_config::{Notice, NoticeCode, Workload};

use crate::counts::{LoaderKind, SplitSteps};
use crate::reading::Reading;
use crate::{Handles, Split};

pub(super) fn quirk(text: String) -> Notice {
    Notice::warning(NoticeCode::Quirk, text)
}

pub(super) fn key(split: Split) -> (&'static str, &'static str) {
    match split {
        Split::Train => ("dataset.num_files_train", "batch_size"),
        Split::Eval => ("dataset.num_files_eval", "batch_size_eval"),
    }
}

pub(super) fn reopening(workload: &Workload, reading: &Reading) -> Option<Notice> {
    let whole = reading.mlperf.as_ref().is_some_and(|mlperf| mlperf.whole)
        || matches!(workload.dataset.format, Format::Npz | Format::Npy | Format::Csv | Format::Png | Format::Jpeg);
    let samples = reading.samples_per_file;
    (reading.kind == LoaderKind::Index && reading.handles() == Handles::PerSample && whole && samples > 1).then(|| {
        Notice::info(
            NoticeCode::Quirk,
            format!(
                "every {} file is opened and read whole for each of its {samples} samples, as in the reference, so the \
                 bytes read are {samples} times the data set; `reader.read_type: memory` reads each file once per lane",
                workload.dataset.format
            ),
        )
    })
}

pub(super) fn limit(workload: &Workload, train: SplitSteps) -> Option<Notice> {
    let wanted = workload.train.total_training_steps?;
    let epochs = workload.train.epochs;
    (epochs > 1).then(|| {
        quirk(format!(
            "train.total_training_steps {wanted} limits every epoch, not the run, as in the reference: {epochs} epochs of \
             {} steps; set train.epochs to 1 to run it once",
            train.run
        ))
    })
}

pub(super) fn surplus(splits: &[(Split, SplitSteps)]) -> Option<Notice> {
    splits.iter().any(|(_, steps)| steps.ahead > 0).then(|| {
        Notice::info(
            NoticeCode::Quirk,
            "one batch more than the steps is read per epoch and rank and never computed on, as in the reference, whose \
             loop notices its limit only with the next batch in hand",
        )
    })
}
