//! Folders that a single process writes into: the reports of `analyze`, `trace import`, `trace export`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dlio_engine::MonotonicClock;
use dlio_event::TimeSource as _;

use super::{Claim, Denied, FolderRequest, Planned, Section};
use crate::failure::{Code, Failure};
use crate::front_end::FrontEnd;
use crate::host::wall_clock::Anchor;

/// Number of attempts, and the interval between them, while another process writes its reports, which takes only a
/// moment.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Returns the request of this process for a folder.
fn wish(front: &FrontEnd, section: Section, planned: Planned, overwrite: bool) -> FolderRequest {
    let clock = MonotonicClock;
    FolderRequest {
        section,
        planned,
        overwrite,
        reads: None,
        command: front.command_line.clone(),
        started: Anchor::now(&clock).stamp(clock.now()),
        job: super::job(&front.environment),
        ranks: 1,
    }
}

/// The reports of an analysis.
#[derive(Debug)]
pub struct Reports {
    /// Path of the JSON report.
    pub json: PathBuf,
    /// Path of the HTML report.
    pub html: PathBuf,
    claim: Option<Arc<Claim>>,
}

impl Reports {
    /// Claims `folder` for the reports that go there. Reports that the command line does not name get default names.
    ///
    /// # Errors
    /// If another run keeps the folder, if it contains files with default names that no analysis lists, or if it cannot
    /// be written.
    pub async fn claim(
        front: &FrontEnd,
        folder: &Path,
        (json, html): (Option<PathBuf>, Option<PathBuf>),
        overwrite: bool,
    ) -> Result<Self, Failure> {
        let (given, names) = ([json, html], ["report.json", "report.html"]);
        let paths = [0, 1].map(|which| given[which].clone().unwrap_or_else(|| folder.join(names[which])));
        let inside = |path: &&PathBuf| path.parent().is_some_and(|parent| parent == folder);
        paths.iter().try_for_each(|path| super::keep_manifest(path))?;
        let file_name = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let meant: Vec<String> = given.iter().flatten().filter(inside).filter_map(file_name).collect();
        let defaults: Vec<String> =
            names.iter().zip(&given).filter(|(_, given)| given.is_none()).map(|(name, _)| (*name).to_owned()).collect();
        let mut claim = None;
        if !meant.is_empty() || !defaults.is_empty() {
            let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let taken =
                wait_for(front, here, &wish(front, Section::Analyze, Planned::files(defaults), overwrite)).await?;
            // A file that the command line names is overwritten, whoever wrote it.
            taken.add(meant);
            claim = Some(taken);
        }
        let [json, html] = paths;
        Ok(Self { json, html, claim })
    }

    /// Releases the folder after the reports are written.
    pub fn finish(self) {
        if let Some(claim) = self.claim {
            claim.finish(crate::stop::COMPLETED);
        }
    }
}

/// Waits for another analysis, which has the folder only for a moment.
async fn wait_for(front: &FrontEnd, folder: &Path, wish: &FolderRequest) -> Result<Arc<Claim>, Failure> {
    for _ in 1..TRIES {
        match Claim::take(folder, wish.clone(), &front.stop) {
            Err(Denied::Taken(failure)) if failure.code == Code::Folder && super::unused(folder).is_err() => {}
            claimed => return Ok(claimed?),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Claim::take(folder, wish.clone(), &front.stop)?)
}

/// Claims a folder for the traces of an import, whose number of ranks is not known yet.
///
/// # Errors
/// The same as those of [`Claim::take`].
pub fn for_import(front: &FrontEnd, folder: &Path, overwrite: bool) -> Result<Arc<Claim>, Failure> {
    Ok(Claim::take(folder, wish(front, Section::Import, Planned::default().and_traces("", 0), overwrite), &front.stop)?)
}

/// Claims a folder for files with these names.
///
/// # Errors
/// The same as those of [`Claim::take`].
pub fn for_export(
    front: &FrontEnd,
    folder: &Path,
    names: impl IntoIterator<Item = String>,
    overwrite: bool,
) -> Result<Arc<Claim>, Failure> {
    Ok(Claim::take(folder, wish(front, Section::Export, Planned::files(names), overwrite), &front.stop)?)
}
