//! Random bytes from the operating system.

use std::fs::File;
use std::io::{self, Read};

/// Returns random bytes for keys, upload ids and names of temporary files, which must not be guessed or must not
/// collide between processes. No run plan depends on them.
///
/// # Errors
/// If the operating system provides no random bytes.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Returns random lower-case hexadecimal digits, two per byte.
///
/// # Errors
/// If the operating system provides no random bytes.
pub fn random_hex<const N: usize>() -> io::Result<String> {
    Ok(hex(&random::<N>()?))
}

/// Returns lower-case hexadecimal digits, two per byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
