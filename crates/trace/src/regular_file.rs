//! Opens regular files only. Any other kind of file is an error at once, so that opening a FIFO never blocks.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::Error;

/// Paths of descriptors that the process inherited: its standard input, and the path that a shell substitutes for `<(…)`.
const DESCRIPTORS: [&str; 3] = ["/dev/stdin", "/dev/fd/", "/proc/self/fd/"];

/// Opens a regular file for reading.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    open_now(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// Opens a regular file or a stream that the process inherited.
pub(crate) fn open_source(path: &Path) -> Result<File, Error> {
    let given = DESCRIPTORS.iter().any(|name| path.to_str().is_some_and(|path| path.starts_with(name)));
    if given { File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source }) } else { open(path) }
}

fn open_now(path: &Path) -> io::Result<File> {
    // `O_NONBLOCK` opens a FIFO without waiting for its writer and has no effect on regular files.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let kind = match &opened {
        Ok(file) => file.metadata()?.file_type(),
        // The system returns `ENXIO` for a socket and for a device without a driver.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {
            std::fs::metadata(path)?.file_type()
        }
        Err(_) => return opened,
    };
    let what = match kind {
        _ if kind.is_file() => return opened,
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a file")))
}
