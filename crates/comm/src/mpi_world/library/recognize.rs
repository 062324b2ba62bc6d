//! Identifies a library by the version text that it reports, never by its file name.

use std::ffi::c_int;

use super::abi::Abi;
use crate::mpi_family::Family;

/// Beginnings of version texts, in lower case.
const NAMES: &[(&str, Family)] = &[
    ("open mpi v", Family::OpenMpi),
    ("mpich version", Family::Mpich),
    ("intel(r) mpi library", Family::Mpich),
    ("cray mpich version", Family::Mpich),
    ("mpi version    : cray mpich", Family::Mpich),
    ("mvapich", Family::Mpich),
];

/// Oldest Open MPI with the ABI in use today.
const OPEN_MPI_MIN: u32 = 4;

/// Returns the family of a library, given its version text.
pub(super) fn family(version: &str) -> Option<Family> {
    let version = version.trim_start().to_lowercase();
    NAMES.iter().find(|(name, _)| version.starts_with(name)).map(|(_, family)| *family)
}

/// Returns the ABI of a library with this version text and this major version of the standard ABI (0: none).
///
/// # Errors
/// When the library cannot be used, with the reason.
pub(super) fn recognize(version: &str, standard: c_int) -> Result<Abi, String> {
    if standard > 1 {
        return Err(format!(
            "it has version {standard} of the standard MPI ABI, of which this program knows version 1"
        ));
    }
    if standard == 1 {
        return Ok(Abi::Standard);
    }
    let first = version.lines().next().unwrap_or_default();
    match family(version) {
        Some(Family::Mpich) => Ok(Abi::Mpich),
        Some(Family::OpenMpi) => match major(version) {
            Some(major) if major < OPEN_MPI_MIN => {
                Err(format!("it is {first:?}; Open MPI {OPEN_MPI_MIN} or newer is needed"))
            }
            _ => Ok(Abi::OpenMpi),
        },
        None => Err(format!(
            "it calls itself {first:?}, whose binary interface this program does not know: it knows those of Open MPI 4 and 5, \
             of MPICH and its kin (Intel MPI, Cray MPICH, MVAPICH), and the standard ABI of MPI 5 (libmpi_abi.so)"
        )),
    }
}

/// Returns the number after `Open MPI v`.
fn major(version: &str) -> Option<u32> {
    let (_, number) = version.split_once(" v")?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_known_by_its_own_words() {
        let cases = [
            ("Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4", Abi::OpenMpi),
            ("Open MPI v5.0.11, package: Open MPI user@localhost Distribution", Abi::OpenMpi),
            ("MPICH Version:\t4.0.2\nMPICH Release date:\tThu Apr  7", Abi::Mpich),
            ("MPICH Version:      5.0.2\nMPICH ABI: 18:2:6", Abi::Mpich),
            ("Intel(R) MPI Library 2021.13 for Linux* OS\n", Abi::Mpich),
            ("MPI VERSION    : CRAY MPICH version 8.1.28.15 (ANL base 3.4a2)\n", Abi::Mpich),
            ("MVAPICH2 Version      :\t2.3.7", Abi::Mpich),
        ];
        for (version, abi) in cases {
            assert_eq!(recognize(version, 0), Ok(abi), "{version}");
            assert_eq!(recognize(version, -1), Ok(abi), "{version}");
            assert_eq!(recognize(version, 1), Ok(Abi::Standard), "{version}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_by_its_name() {
        let refused = |version, standard| recognize(version, standard).unwrap_err();
        assert!(refused("Platform MPI 9.1\nmore", 0).contains("\"Platform MPI 9.1\""));
        assert!(refused("Open MPI v1.10.7", 0).contains("Open MPI 4 or newer"));
        assert!(refused("", 0).contains("calls itself \"\""));
        assert!(refused("MPICH Version: 7.0", 2).contains("version 2"));
    }
}
