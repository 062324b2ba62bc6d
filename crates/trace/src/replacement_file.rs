//! Files that get their final name only when they are complete.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A file that is written under a temporary name next to its final one. Dropping it before [`ReplacementFile::publish`] removes it.
#[derive(Debug)]
pub(crate) struct ReplacementFile {
    pub(crate) file: File,
    path: PathBuf,
    temporary: PathBuf,
    is_published: bool,
}

impl ReplacementFile {
    /// Creates the file for `path` under a temporary name, which is the final name with `suffix` appended.
    ///
    /// # Errors
    /// As [`File::create`].
    pub(crate) fn create(path: &Path, suffix: &str) -> io::Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary)?;
        Ok(Self { file, path: path.to_owned(), temporary, is_published: false })
    }

    /// Gives the file its final name, replacing an existing file.
    ///
    /// # Errors
    /// As [`fs::rename`]; the temporary file is removed then.
    pub(crate) fn publish(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for ReplacementFile {
    fn drop(&mut self) {
        if !self.is_published {
            // A file that cannot be removed has a name that no reader looks for.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
