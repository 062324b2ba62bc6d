//! Output folders: created exclusively if nobody named one, locked while a run writes, described by `run.json`. A run
//! replaces files that an earlier run of this program wrote there and nothing else. Only rank 0 accesses the folder and
//! decides.

mod free_name;
mod lock;
mod manifest;
mod owner;
mod planned;
mod reports;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use manifest::{FILE, Section};
pub use owner::job;
pub use planned::Planned;
pub use reports::{Reports, for_export, for_import};
pub use start::{Writes, check_shared, claim, traces_as_reference};

use self::lock::{Lock, Refusal};
use self::manifest::{Manifest, Output, RUNNING, Run};
use self::owner::Owner;
use crate::failure::{Code, Failure};
use crate::stop::{COMPLETED, StopHandle};

/// File name of the lock.
pub const LOCK: &str = "run.lock";
/// Request of a run for a folder.
#[derive(Debug, Clone)]
pub struct FolderRequest {
    /// Kind of run.
    pub section: Section,
    /// Files that the run may write.
    pub planned: Planned,
    /// Also replace files that no run lists.
    pub overwrite: bool,
    /// Trace file or folder that the run reads and that must stay.
    pub reads: Option<PathBuf>,
    /// Command line.
    pub command: Vec<String>,
    /// Local time at the start of the run.
    pub started: String,
    /// The scheduler's job.
    pub job: Option<String>,
    /// Number of ranks.
    pub ranks: u32,
}

/// A locked output folder of this process. The lock is released at the end of the run, however it ends.
#[derive(Debug)]
pub struct Claim {
    folder: PathBuf,
    token: String,
    taken_over: Option<String>,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    lock: Lock,
    manifest: Manifest,
    section: Section,
    planned: Planned,
    /// Previous run of the section.
    before: Option<Run>,
    run: Run,
    /// Existing files with planned names that no run lists.
    strangers: Vec<PathBuf>,
    /// The folder was created for this run.
    made: bool,
    /// The files of the previous run are removed.
    replaced: bool,
}

/// Reason why a folder is not claimed.
#[derive(Debug)]
pub enum Denied {
    /// Another run has the folder, or it contains files that are not replaced.
    Taken(Failure),
    /// The folder cannot be used.
    Unusable(Failure),
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let (Denied::Taken(failure) | Denied::Unusable(failure)) = denied;
        failure
    }
}

impl Claim {
    /// Creates the folder if it is missing, locks it, and lists in `run.json` the files that the run may write. No file
    /// is replaced yet. `stop` releases the folder at the end of the run.
    ///
    /// # Errors
    /// If another run has the folder, if it contains files that no run lists, or if it cannot be written.
    pub fn take(folder: &Path, wish: FolderRequest, stop: &StopHandle) -> Result<Arc<Self>, Denied> {
        let made = !folder.exists();
        make(folder, wish.section).map_err(Denied::Unusable)?;
        let claim = Self::lock(folder, wish, made);
        if claim.is_err() && made {
            // This removes only an empty folder.
            let _ = fs::remove_dir(folder);
        }
        let claim = Arc::new(claim?);
        let held = Arc::clone(&claim);
        stop.at_end(move |state| held.finish(state));
        Ok(claim)
    }

    fn lock(folder: &Path, wish: FolderRequest, made: bool) -> Result<Self, Denied> {
        let FolderRequest { section, planned, overwrite, reads, command, started, job, ranks } = wish;
        let owner = Owner::this_process(&command, &started, job.clone());
        let (lock, over) =
            Lock::take(&folder.join(LOCK), &owner).map_err(|refusal| refused(folder, refusal, section.elsewhere()))?;
        let unusable = |error| Denied::Unusable(Failure::file("reading", &folder.join(FILE), &error));
        let found = Manifest::read(folder).map_err(unusable)?;
        let foreign = found.is_none() && folder.join(FILE).exists();
        let mut manifest = found.unwrap_or_default();
        manifest.settle();
        if let Some(source) = reads.filter(|source| touches(folder, &planned, &manifest.replaced_by(section), source)) {
            return Err(Denied::Taken(Failure::usage(format_args!(
                "the outputs would take the place of {}, which is read: {}",
                source.display(),
                section.elsewhere()
            ))));
        }
        let mut strangers = strangers(folder, &planned, &manifest).map_err(Denied::Unusable)?;
        strangers.extend(foreign.then(|| folder.join(FILE)));
        if let (Some(first), false) = (strangers.first(), overwrite) {
            return Err(Denied::Taken(in_the_way((folder, section), first, strangers.len())));
        }
        let before = manifest.run(section).cloned();
        let names: BTreeSet<String> = planned.files.iter().cloned().chain(names_of(before.as_ref())).collect();
        let run = Run {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command,
            host: owner.host.clone(),
            pid: owner.pid,
            job,
            ranks,
            state: RUNNING.to_owned(),
            started,
            files: names.into_iter().map(|name| Output { name, bytes: None }).collect(),
        };
        let mut listed = manifest.clone();
        listed.set(section, Some(run.clone()));
        write(folder, &listed).map_err(Denied::Unusable)?;
        let taken_over =
            over.map(|owner| format!("took over the output folder {}: its owner is gone ({owner})", folder.display()));
        let token = lock.token().to_owned();
        let held = Held { lock, manifest, section, planned, before, run, strangers, made, replaced: false };
        Ok(Self { folder: folder.to_owned(), token, taken_over, held: Mutex::new(Some(held)) })
    }

    /// Claims `folder` or, if it is taken, the first of `folder-2`, `folder-3`, … that is free.
    ///
    /// # Errors
    /// If a folder cannot be written.
    pub fn take_first_free(folder: &Path, wish: &FolderRequest, stop: &StopHandle) -> Result<Arc<Self>, Failure> {
        for number in 1..free_name::NAMES_MAX {
            match Self::take(&free_name::numbered(folder, number), wish.clone(), stop) {
                Err(Denied::Taken(_)) => {}
                claimed => return claimed.map_err(Failure::from),
            }
        }
        Err(free_name::no_name_left(folder))
    }

    /// Path of the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Value in the lock file that identifies this claim.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Message about the previous owner if its lock was taken over.
    pub fn taken_over(&self) -> Option<&str> {
        self.taken_over.as_deref()
    }

    /// Removes the files of an earlier run of this kind and, with `--overwrite`, other files with planned names.
    /// Returns a log line about it if there were any.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn replace_earlier(&self) -> Result<Option<String>, Failure> {
        let mut guard = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = guard.as_mut().filter(|held| !held.replaced) else { return Ok(None) };
        let earlier = held.manifest.replaced_by(held.section);
        let keep = held.planned.log.as_ref();
        let mut removed = 0u64;
        for name in earlier.iter().filter(|name| Some(*name) != keep) {
            removed += u64::from(remove(&self.folder.join(name))?);
        }
        removed += stale_reports(&self.folder, held)?;
        let mut more = 0u64;
        let kept = keep.map(|name| self.folder.join(name));
        for path in held.strangers.iter().filter(|path| Some(*path) != kept.as_ref()) {
            more += u64::from(remove(path)?);
        }
        remove_empty_folders(&self.folder, &earlier);
        held.manifest.forget(held.section);
        held.replaced = true;
        let planned = &held.planned.files;
        held.run.files = planned.iter().map(|name| Output { name: name.clone(), bytes: None }).collect();
        let mut listed = held.manifest.clone();
        listed.set(held.section, Some(held.run.clone()));
        write(&self.folder, &listed)?;
        let when = held.before.as_ref().map_or_else(String::new, |run| format!(" of {}", run.started));
        let of_runs = (removed > 0).then(|| format!("{removed} file(s) of the earlier run{when}"));
        let of_others = (more > 0).then(|| format!("{more} file(s) that no run lists (--overwrite)"));
        let parts: Vec<String> = of_runs.into_iter().chain(of_others).collect();
        Ok((!parts.is_empty()).then(|| format!("Replaced in {}: {}", self.folder.display(), parts.join(", "))))
    }

    /// Adds files to the list of files that the run writes.
    pub fn add(&self, names: impl IntoIterator<Item = String>) {
        if let Some(held) = self.held.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            held.planned.files.extend(names);
        }
    }

    /// Writes the ending of the run and its files into `run.json` and releases the folder. Only the first call has an
    /// effect.
    pub fn finish(&self, state: &str) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Held { lock, mut manifest, section, planned, before, mut run, made, replaced, .. }) = held else {
            return;
        };
        if matches!(section, Section::Import | Section::Export) && state != COMPLETED {
            remove_drafts(&self.folder);
        }
        let mut names: BTreeSet<String> = planned.files.into_iter().collect();
        if !replaced {
            names.extend(names_of(before.as_ref()));
        }
        // After an early end, other ranks or threads may still be writing: their files are listed as well, without a
        // size.
        let alone = matches!(section, Section::Import | Section::Export | Section::Analyze);
        let all = replaced && !alone && state != COMPLETED;
        let found = names.into_iter().map(|name| output(&self.folder, name));
        let files: Vec<Output> = found.filter(|file| all || file.bytes.is_some()).collect();
        run = match before {
            // The existing outputs are still those of the previous run.
            Some(before) if !replaced && state != COMPLETED => Run { files, ..before },
            _ => Run { state: state.to_owned(), files, ..run },
        };
        let wrote = !run.files.is_empty();
        manifest.set(section, wrote.then_some(run));
        let written = if manifest.is_empty() {
            remove(&self.folder.join(FILE)).map(drop)
        } else {
            write(&self.folder, &manifest)
        };
        if let Err(failure) = written {
            tracing::warn!("{failure}");
        }
        drop(lock);
        if made && !wrote {
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

/// Removes temporary files of an import or export that ended early.
fn remove_drafts(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().ends_with(b".parquet.tmp") {
            // A file that cannot be removed stays under a name that nothing takes for a trace.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Checks that no other run that is or may be alive writes into a folder.
///
/// # Errors
/// If there is such a run.
pub fn unused(folder: &Path) -> Result<(), Failure> {
    let here = Owner::this_process(&[], "", None);
    let checked = lock::check(&folder.join(LOCK), &here);
    checked.map_err(|refusal| refused(folder, refusal, "choose another one").into())
}

/// Refuses to overwrite the manifest of a folder.
///
/// # Errors
/// If `file` is a manifest.
pub fn keep_manifest(file: &Path) -> Result<(), Failure> {
    let folder = file.parent().filter(|_| file.file_name().is_some_and(|name| name == FILE));
    match folder.and_then(|folder| Manifest::read(folder).ok().flatten()) {
        None => Ok(()),
        Some(_) => {
            Err(Failure::usage(format_args!("{} lists the outputs of that folder: give another file", file.display())))
        }
    }
}

/// Whether this process sees the lock file with this token, that is, whether it sees the same folder as the lock's
/// owner.
#[must_use]
pub fn sees(folder: &Path, token: &str) -> bool {
    fs::read_to_string(folder.join(LOCK)).is_ok_and(|text| text.contains(token))
}

/// Creates a folder that did not exist: `folder`, else `folder-2`, `folder-3`, ….
///
/// # Errors
/// If a folder cannot be created.
pub fn create_new(folder: &Path) -> Result<PathBuf, Failure> {
    make(folder.parent().unwrap_or(Path::new(".")), Section::Replay)?;
    for number in 1..free_name::NAMES_MAX {
        let name = free_name::numbered(folder, number);
        match fs::create_dir(&name) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unusable(&name, &error, Section::Replay)),
        }
    }
    Err(free_name::no_name_left(folder))
}

fn make(folder: &Path, section: Section) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| unusable(folder, &error, section))
}

/// Returns the failure for a folder that cannot be created, with the part of the path that is the reason.
fn unusable(folder: &Path, error: &io::Error, section: Section) -> Failure {
    let wrong = |part: &&Path| part.symlink_metadata().is_ok() && !part.is_dir();
    let why = folder.ancestors().find(wrong).map(|part| match fs::read_link(part) {
        Ok(target) => format!("{} is a symbolic link to {}, which is no folder", part.display(), target.display()),
        Err(_) => format!("{} is a file", part.display()),
    });
    let why = why.unwrap_or_else(|| error.to_string());
    let elsewhere = section.elsewhere();
    Failure::new(Code::Storage, format_args!("creating the output folder {}: {why}; {elsewhere}", folder.display()))
}

/// Returns the failure for a lock that another process holds; `elsewhere` is the remedy.
fn refused(folder: &Path, refusal: Refusal, elsewhere: &str) -> Denied {
    let (folder, lock) = (folder.display(), folder.join(LOCK));
    let lock = lock.display();
    let text = match refusal {
        Refusal::Held(owner) => {
            format!("the output folder {folder} is in use by {owner}: {elsewhere}, or wait until that run has ended")
        }
        Refusal::Unknown(owner) => format!(
            "the output folder {folder} is in use by {owner}, which cannot be looked at from here (another host, another container, or the \
             host has restarted): {elsewhere}, or, if that run has ended, remove {lock}"
        ),
        Refusal::Unreadable => format!(
            "the output folder {folder} is locked by {lock}, which names no owner that this version understands: {elsewhere}, or, if no run \
             uses the folder, remove that file"
        ),
        Refusal::Io(error) => {
            let text = format_args!("the output folder {folder} takes no file: {error}; {elsewhere}");
            return Denied::Unusable(Failure::new(Code::Storage, text));
        }
    };
    Denied::Taken(Failure::new(Code::Folder, text))
}

fn in_the_way((folder, section): (&Path, Section), first: &Path, count: usize) -> Failure {
    let name = first.strip_prefix(folder).unwrap_or(first).display();
    let more = if count > 1 { format!(" and {} more file(s)", count - 1) } else { String::new() };
    let (folder, elsewhere, overwrite) = (folder.display(), section.elsewhere(), section.overwrite());
    Failure::new(
        Code::Folder,
        format_args!(
            "{folder} holds {name}{more} in the place of this run's outputs, and no {FILE} says that dlio-rs wrote them: {elsewhere}, or \
             replace them with {overwrite}"
        ),
    )
}

/// Returns existing files with planned names that no run lists, and traces beside planned ones.
fn strangers(folder: &Path, planned: &Planned, manifest: &Manifest) -> Result<Vec<PathBuf>, Failure> {
    let listed = manifest.listed();
    let mut found = Vec::new();
    let mut folders: BTreeMap<PathBuf, BTreeSet<OsString>> = BTreeMap::new();
    for name in planned.files.iter().filter(|name| !listed.contains(name.as_str())) {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder).to_owned();
        let names = match folders.get(&parent) {
            Some(names) => names,
            None => folders.entry(parent.clone()).or_insert(entries(&parent)?),
        };
        if path.file_name().is_some_and(|name| names.contains(name)) {
            found.push(path);
        }
    }
    let Some(traces) = planned.traces.as_ref().map(|name| folder.join(name)).filter(|traces| traces.is_dir()) else {
        return Ok(found);
    };
    let unreadable = |error: dlio_trace::Error| Failure::new(Code::Trace, crate::failure::chain(&error));
    let tables = dlio_trace::tables::list_dir(&traces).map_err(unreadable)?;
    for path in dlio_trace::list_dir(&traces).map_err(unreadable)?.into_iter().chain(tables) {
        let name = path.strip_prefix(folder).ok().and_then(Path::to_str);
        if !found.contains(&path) && !name.is_some_and(|name| listed.contains(name)) {
            found.push(path);
        }
    }
    let inner = if traces == folder { None } else { Manifest::read(&traces).ok().flatten() };
    found.extend(inner.filter(Manifest::has_runs).map(|_| traces.join(FILE)));
    Ok(found)
}

/// Returns the names in a folder; none if it does not exist.
fn entries(folder: &Path) -> Result<BTreeSet<OsString>, Failure> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(Failure::file("listing", folder, &error)),
        Ok(found) => found
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<_>>()
            .map_err(|error| Failure::file("listing", folder, &error)),
    }
}

/// Whether a file that the run reads is in a folder where the run replaces or writes traces.
fn touches(folder: &Path, planned: &Planned, replaced: &[String], source: &Path) -> bool {
    let read = if source.is_file() { source.parent() } else { Some(source) };
    let Some(read) = read.and_then(|read| fs::canonicalize(read).ok()) else { return false };
    let parents = replaced.iter().filter(|name| name.ends_with(".parquet")).filter_map(|name| Path::new(name).parent());
    let parents: BTreeSet<&Path> = parents.chain(planned.traces.as_deref().map(Path::new)).collect();
    parents.iter().any(|parent| fs::canonicalize(folder.join(parent)).is_ok_and(|parent| parent == read))
}

/// Removes reports that were written beside the traces themselves, and their manifest.
fn stale_reports(folder: &Path, held: &Held) -> Result<u64, Failure> {
    let Some(traces) = held.planned.traces.as_ref().filter(|name| !name.is_empty()).map(|name| folder.join(name))
    else {
        return Ok(0);
    };
    let Some(inner) = Manifest::read(&traces).ok().flatten() else { return Ok(0) };
    let mut removed = 0;
    for name in inner.replaced_by(Section::Analyze) {
        removed += u64::from(remove(&traces.join(name))?);
    }
    if !inner.has_runs() {
        remove(&traces.join(FILE))?;
    }
    Ok(removed)
}

/// Removes a file; returns whether it existed.
fn remove(path: &Path) -> Result<bool, Failure> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::file("removing", path, &error)),
    }
}

/// Removes folders below `folder` that contained files of an earlier run, if they are empty.
fn remove_empty_folders(folder: &Path, names: &[String]) {
    let parents: BTreeSet<&Path> = names.iter().filter_map(|name| Path::new(name).parent()).collect();
    for parent in parents.into_iter().filter(|parent| !parent.as_os_str().is_empty()) {
        let _ = fs::remove_dir(folder.join(parent));
    }
}

fn names_of(run: Option<&Run>) -> impl Iterator<Item = String> {
    run.into_iter().flat_map(|run| &run.files).map(|file| file.name.clone())
}

/// Returns the manifest entry of a file, with its size if the file exists.
fn output(folder: &Path, name: String) -> Output {
    let bytes = fs::metadata(folder.join(&name)).ok().filter(fs::Metadata::is_file).map(|found| found.len());
    Output { name, bytes }
}

fn write(folder: &Path, manifest: &Manifest) -> Result<(), Failure> {
    let path = folder.join(FILE);
    let bytes = manifest.to_bytes().map_err(|error| Failure::file("writing", &path, &error))?;
    crate::outputs::file::write_file(&path, &bytes)
}

#[cfg(test)]
mod tests;
