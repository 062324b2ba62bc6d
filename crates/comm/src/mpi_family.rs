//! Families of MPI libraries.

use std::fmt;

/// Family of an MPI library, as far as launchers distinguish them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Open MPI.
    OpenMpi,
    /// MPICH, Intel MPI, Cray MPICH, MVAPICH.
    Mpich,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenMpi => "Open MPI",
            Self::Mpich => "MPICH or one of its kin (Intel MPI, Cray MPICH, MVAPICH)",
        })
    }
}
