//! Opening regular files: anything else in the file's place is reported as an error immediately, and a FIFO is never waited for.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens a file for reading.
///
/// # Errors
/// An error of the operating system, or one that names what lies in the file's place: a FIFO, a socket, a device, a folder.
pub fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    open_with(options.read(true), 0, path).map(|(file, _)| file)
}

/// Reads a whole file.
///
/// # Errors
/// As [`open_file`].
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a whole UTF-8 text file.
///
/// # Errors
/// As [`open_file`], and an error when the file is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open_file(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Opens a regular file with these options and flags; returns the file and its size in bytes.
pub(crate) fn open_with(options: &mut OpenOptions, flags: i32, path: &Path) -> io::Result<(File, u64)> {
    // Opens a FIFO without waiting for its other end; the flag has no effect on regular files.
    let file = match options.custom_flags(flags | libc::O_NONBLOCK).open(path) {
        // The error code of sockets and of devices without a driver.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            return Err(std::fs::metadata(path).map_or(error, |metadata| no_file(metadata.file_type())));
        }
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata.len())) } else { Err(no_file(metadata.file_type())) }
}

/// Returns the error for a file type that is not a regular file.
pub(crate) fn no_file(kind: FileType) -> io::Error {
    let what = match kind {
        _ if kind.is_dir() => return io::Error::from_raw_os_error(libc::EISDIR),
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "something else",
    };
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_named_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let fifo = std::ffi::CString::new(at("fifo").to_str().unwrap()).unwrap();
        #[expect(unsafe_code, reason = "there is no other way to make a FIFO")]
        // SAFETY: the path is a text that ends with a zero.
        let made = unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) };
        assert_eq!(made, 0);
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        std::fs::write(at("file"), "text").unwrap();
        let said = |path: &Path| open_file(path).unwrap_err().to_string();
        assert_eq!(said(&at("fifo")), "it is a FIFO, not a file");
        assert_eq!(said(&at("socket")), "it is a socket, not a file");
        assert_eq!(said(Path::new("/dev/zero")), "it is a device, not a file");
        assert!(said(&at("folder")).contains("Is a directory"));
        assert_eq!(read_text(&at("file")).unwrap(), "text");
    }
}
