//! Replacing a file whole: readers see the old content or the new one, never a part.
//!
//! Other places rename for other purposes and stay by themselves: the objects of [`crate::local`], whose every system call is
//! an event of the trace; the server's objects, which must not replace another file or must take its place in one step
//! (`RENAME_NOREPLACE`, `RENAME_EXCHANGE`); locks and registry entries, which are created exclusively.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Has `write` create the file `temporary`, which is then renamed to `path`. If one of them fails, the temporary file is removed.
///
/// Nothing is synced here: `write` syncs the file where the content must survive a crash of the machine.
///
/// # Errors
/// The error of `write` or of the rename.
pub fn replace_file<T, E: From<io::Error>>(
    temporary: &Path,
    path: &Path,
    write: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    let written = write(temporary).and_then(|written| {
        fs::rename(temporary, path)?;
        Ok(written)
    });
    if written.is_err() {
        // Best effort: the error of the write says more than that of the removal.
        let _ = fs::remove_file(temporary);
    }
    written
}

/// The path of a temporary file beside `path`: its name followed by `suffix`.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let temporary = beside(&path, ".tmp");
        assert_eq!(temporary, folder.path().join("report.json.tmp"));
        replace_file(&temporary, &path, |temporary| fs::write(temporary, "old")).unwrap();
        let failed = replace_file(&temporary, &path, |temporary| {
            fs::write(temporary, "ne")?;
            Err::<(), _>(io::Error::other("disk full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "disk full");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        replace_file(&temporary, &path, |temporary| fs::write(temporary, "new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }
}
