//! The binary interfaces (ABIs) of MPI libraries: the width of handles, and the values of constants.
//!
//! Sources of the numbers: `mpi.h` of Open MPI 5.0, `mpi.h` of MPICH 4.0 and 5.0 (whose ABI Intel MPI, Cray MPICH and
//! MVAPICH share), and chapter 20 of the MPI 5.0 standard.

use std::ffi::c_int;
use std::fmt;

/// A handle of any library: an address, or a number in the lower half.
pub(crate) type Handle = usize;

/// A binary interface of MPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abi {
    /// Open MPI 4 and later: handles are addresses of exported symbols.
    OpenMpi,
    /// MPICH 3.1 and later, and compatible libraries: handles are 32-bit integers.
    Mpich,
    /// The standard ABI of MPI 5: handles are small numbers of the width of an address.
    Standard,
    /// The ABI of the headers with which this program was compiled.
    Linked,
}

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenMpi => "Open MPI ABI",
            Self::Mpich => "MPICH ABI",
            Self::Standard => "MPI 5 standard ABI",
            Self::Linked => "linked",
        })
    }
}

/// The constants of an ABI that are used here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Constants {
    pub(crate) comm_world: Handle,
    pub(crate) comm_null: Handle,
    pub(crate) byte: Handle,
    pub(crate) info_null: Handle,
    pub(crate) errors_return: Handle,
    pub(crate) request_null: Handle,
    /// `MPI_STATUS_IGNORE`, an address.
    pub(crate) status_ignore: usize,
    pub(crate) any_source: c_int,
    pub(crate) any_tag: c_int,
    pub(crate) type_shared: c_int,
    pub(crate) funneled: c_int,
}

impl Constants {
    /// The constants of MPICH's ABI.
    #[cfg(not(feature = "rsmpi"))]
    pub(super) const MPICH: Self = Self {
        comm_world: 0x4400_0000,
        comm_null: 0x0400_0000,
        byte: 0x4c00_010d,
        info_null: 0x1c00_0000,
        errors_return: 0x5400_0001,
        request_null: 0x2c00_0000,
        status_ignore: 1,
        any_source: -2,
        any_tag: -1,
        type_shared: 1,
        funneled: 1,
    };

    /// The constants of the standard ABI.
    #[cfg(not(feature = "rsmpi"))]
    pub(super) const STANDARD: Self = Self {
        comm_world: 0x101,
        comm_null: 0x100,
        byte: 0x247,
        info_null: 0x130,
        errors_return: 0x143,
        request_null: 0x180,
        status_ignore: 0,
        any_source: -1,
        any_tag: -2,
        type_shared: 221,
        funneled: 1024,
    };

    /// The constants of Open MPI, whose handles are the addresses of these symbols.
    #[cfg(not(feature = "rsmpi"))]
    pub(super) fn open_mpi(address: &dyn Fn(&'static str) -> Result<usize, String>) -> Result<Self, String> {
        Ok(Self {
            comm_world: address("ompi_mpi_comm_world")?,
            comm_null: address("ompi_mpi_comm_null")?,
            byte: address("ompi_mpi_byte")?,
            info_null: address("ompi_mpi_info_null")?,
            errors_return: address("ompi_mpi_errors_return")?,
            request_null: address("ompi_request_null")?,
            status_ignore: 0,
            any_source: -1,
            any_tag: -1,
            type_shared: 0,
            funneled: 1,
        })
    }
}
