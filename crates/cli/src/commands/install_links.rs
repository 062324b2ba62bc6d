//! `dlio-rs install-links`: creates the names under which this binary acts as the reference.

use std::path::{Path, PathBuf};

use crate::drop_in;
use crate::log::print;
use crate::text_args::InstallLinksArgs;
use dlio_run::failure::{Code, Failure};

pub(super) fn run(args: InstallLinksArgs) -> Result<(), Failure> {
    let InstallLinksArgs { folder, force } = args;
    let binary = std::env::current_exe()
        .and_then(std::fs::canonicalize)
        .map_err(|error| Failure::new(Code::Unexpected, format_args!("finding this binary: {error}")))?;
    let folder = folder.unwrap_or_else(|| binary.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf));
    std::fs::create_dir_all(&folder).map_err(|error| Failure::file("creating", &folder, &error))?;
    for name in drop_in::NAMES {
        let link = folder.join(name);
        make(&binary, &link, force)?;
        print(format!("{} -> {}\n", link.display(), binary.display()).as_bytes())?;
    }
    Ok(())
}

/// Creates one link; an existing correct link is kept.
fn make(binary: &Path, link: &Path, force: bool) -> Result<(), Failure> {
    if std::fs::read_link(link).is_ok_and(|target| target == binary) {
        return Ok(());
    }
    if link.symlink_metadata().is_ok() {
        if !force {
            return Err(Failure::usage(format_args!(
                "{} exists and is something else; --force replaces it, another DIR leaves it alone",
                link.display()
            )));
        }
        std::fs::remove_file(link).map_err(|error| Failure::file("replacing", link, &error))?;
    }
    std::os::unix::fs::symlink(binary, link).map_err(|error| Failure::file("linking", link, &error))
}
