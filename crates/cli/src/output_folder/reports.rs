//! Folders that single processes write into: the reports of `analyze`, `trace import`, `trace export`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dlio_engine::MonotonicClock;
use dlio_event::TimeSource as _;

use super::{Claim, Denied, Planned, Section, Wish};
use crate::exit::{Code, Failure};
use crate::launch;
use crate::wall::Anchor;

/// How often and how long a process waits for another one's reports, which are written in a moment.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// What this process wants of a folder.
fn wish(section: Section, planned: Planned, overwrite: bool) -> Wish {
    let clock = MonotonicClock;
    Wish {
        section,
        planned,
        overwrite,
        reads: None,
        command: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        started: Anchor::now(&clock).stamp(clock.now()),
        job: super::job(&launch::environment()),
        ranks: 1,
    }
}

/// Claims `folder` for those of the reports that lie in it; `None`: none does.
///
/// # Errors
/// When another run has the folder and keeps it, when it holds files of these names that no analysis lists, or takes no file.
pub(crate) async fn for_reports(
    folder: &Path,
    reports: &[&PathBuf],
    overwrite: bool,
) -> Result<Option<Arc<Claim>>, Failure> {
    let inside = |path: &&&PathBuf| path.parent().is_some_and(|parent| parent == folder);
    let names = reports.iter().filter(inside).filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let planned = Planned::files(names);
    if planned.files.is_empty() {
        return Ok(None);
    }
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let wish = wish(Section::Analyze, planned, overwrite);
    for _ in 1..TRIES {
        match Claim::take(here, wish.clone()) {
            Err(Denied::Taken(failure)) if failure.code == Code::Folder && super::unused(here).is_err() => {}
            claimed => return Ok(Some(claimed?)),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Some(Claim::take(here, wish)?))
}

/// Claims a folder for the traces that an import makes, however many ranks they turn out to have.
///
/// # Errors
/// As [`Claim::take`].
pub(crate) fn for_import(folder: &Path, overwrite: bool) -> Result<Arc<Claim>, Failure> {
    Ok(Claim::take(folder, wish(Section::Import, Planned::default().and_traces("", 0), overwrite))?)
}

/// Claims a folder for files of these names.
///
/// # Errors
/// As [`Claim::take`].
pub(crate) fn for_export(
    folder: &Path,
    names: impl IntoIterator<Item = String>,
    overwrite: bool,
) -> Result<Arc<Claim>, Failure> {
    Ok(Claim::take(folder, wish(Section::Export, Planned::files(names), overwrite))?)
}
