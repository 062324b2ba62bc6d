//! Checks of local folders without changing them: whether they are writable, and whether the dataset exists.

use std::io;
use std::path::Path;

use dlio_plan::{FileSet, Split};
use rustix::fs::{Access, Mode, OFlags};

use super::verdict::Verdict;
use dlio_run::failure::Code;
use dlio_run::space::existing;

/// Checks whether files can be created in a folder, which may not exist yet.
pub(crate) fn writable(folder: &Path) -> Verdict {
    let nearest = match existing(folder) {
        Ok(nearest) => nearest,
        Err(error) => return refused(folder, &error),
    };
    if !nearest.is_dir() {
        return refused(folder, &io::Error::from(io::ErrorKind::NotADirectory));
    }
    if let Err(error) = rustix::fs::access(&nearest, Access::WRITE_OK | Access::EXEC_OK) {
        return refused(&nearest, &error.into());
    }
    // A file without a name, which disappears when it is closed.
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let tried = rustix::fs::open(&nearest, flags, Mode::RUSR | Mode::WUSR);
    let whose = if nearest == folder { String::new() } else { format!(" (it will be made in {})", nearest.display()) };
    match tried {
        Ok(_) => Verdict::pass(format!("files can be made{whose}")),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::NOENT) => {
            Verdict::not_checked(format!(
                "permissions allow it{whose}, but this file system has no unnamed files to try it with"
            ))
        }
        Err(error) => refused(&nearest, &error.into()),
    }
}

fn refused(folder: &Path, error: &io::Error) -> Verdict {
    Verdict::fail(
        format!("no file can be made in {}: {error}", folder.display()),
        "give this user permission to write there, mount it for writing, or name another folder",
    )
}

/// Checks the last file of a dataset whose first file exists.
fn last_file(root: &Path, files: &FileSet, first: &str, bytes: u64) -> Verdict {
    let count = files.len(Split::Train);
    let last = files.name(count.saturating_sub(1));
    if root.join(&last).exists() {
        return Verdict::pass(format!("{first} is there, {bytes} bytes, and so is {last}"));
    }
    Verdict::fail_as(
        Code::Data,
        format!("{first} is there, but {last}, the last of {count}, is not"),
        "generate the whole dataset, or correct dataset.num_files_train",
    )
}

/// Checks whether the first and the last file of the dataset exist.
pub(crate) fn first_file(root: &Path, files: &FileSet) -> Verdict {
    let key = files.name(0);
    let path = root.join(&key);
    match std::fs::metadata(&path) {
        Ok(found) => last_file(root, files, &key, found.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = root.join(Split::Train.folder());
            match std::fs::read_dir(&folder).ok().and_then(|mut entries| entries.next()?.ok()) {
                Some(other) => Verdict::not_checked(format!(
                    "{key} is not there, but others are, such as {}: a run lists them, and fails if they are too few",
                    other.file_name().to_string_lossy()
                )),
                None => Verdict::fail_as(
                    Code::Data,
                    format!("{} does not exist", path.display()),
                    "generate the dataset (`dlio-rs generate` with the same configuration), or correct dataset.data_folder",
                ),
            }
        }
        Err(error) => Verdict::fail(
            format!("{}: {error}", path.display()),
            "give this user permission to read the dataset, on every node",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> FileSet {
        let yaml = dlio_config::bundled::yaml("unet3d_h100").unwrap();
        let source = dlio_config::Source { name: "test.yaml", yaml };
        let loaded = dlio_config::load(&source, &[], &std::collections::BTreeMap::new(), None).unwrap();
        FileSet::new(&loaded.workload).unwrap()
    }

    #[test]
    fn a_folder_that_can_be_made_is_writable_and_nothing_is_made() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(writable(&folder.path().join("a/b")).word(), "pass");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn below_a_file_nothing_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(writable(&file).word(), "fail");
        assert_eq!(writable(&file.join("below")).word(), "fail");
    }

    #[test]
    fn the_first_file_or_another_must_be_there() {
        let (folder, files) = (tempfile::tempdir().unwrap(), files());
        assert!(matches!(first_file(folder.path(), &files), Verdict::Fail { code: Code::Data, .. }));
        std::fs::create_dir(folder.path().join("train")).unwrap();
        assert_eq!(first_file(folder.path(), &files).word(), "fail");
        std::fs::write(folder.path().join("train/other.npz"), "x").unwrap();
        assert!(matches!(first_file(folder.path(), &files), Verdict::NotChecked(text) if text.contains("other.npz")));
        std::fs::write(folder.path().join(files.name(0)), "xyz").unwrap();
        assert!(matches!(first_file(folder.path(), &files), Verdict::Fail { code: Code::Data, .. }));
        std::fs::write(folder.path().join(files.name(files.len(Split::Train) - 1)), "xyz").unwrap();
        assert!(matches!(first_file(folder.path(), &files), Verdict::Pass(text) if text.contains("3 bytes")));
    }
}
