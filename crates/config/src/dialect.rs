//! The differences between the dialects that a run obeys, in one table: one row per difference, one column per dialect.
//!
//! Code outside this crate asks [`Dialect::rules`] and does not compare dialects itself. To add a difference, add a row and
//! read the new field where the run differs. Differences in how keys are parsed are in the schema of this crate, and
//! differences in sample order are in the crate `plan`.

use crate::vocabulary::{Dialect, EndpointMapping};

/// The reference implementation whose formulas and names a dialect follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// argonne-lcf/dlio_benchmark.
    Dlio,
    /// The MLPerf Storage v3 fork of it.
    Mlperf,
}

/// Order in which the reference sorts the files that it has listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListingOrder {
    /// By file name without its folders, then by the whole key.
    BaseName,
    /// By the whole key.
    Key,
}

/// Number of requests that one rank keeps in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFlight {
    /// The same number on every rank.
    PerRank(u32),
    /// An equal share of `total`, rounded up, but not fewer than `min`.
    SharedByRanks {
        /// Requests in flight over all ranks.
        total: u32,
        /// Smallest share of a rank.
        min: u32,
    },
}

impl InFlight {
    /// Requests in flight on each of `ranks` ranks.
    #[must_use]
    pub fn per_rank(self, ranks: u32) -> u32 {
        match self {
            Self::PerRank(count) => count,
            Self::SharedByRanks { total, min } => total.div_ceil(ranks.max(1)).max(min),
        }
    }
}

/// How a checkpoint file is read, unless `dlio_rs.checkpoint_read_blocks` or `dlio_rs.checkpoint_read_bytes` is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointRead {
    /// Contiguous blocks of one file that are read concurrently.
    pub blocks: InFlight,
    /// Largest read in bytes; `None`: a whole block.
    pub read_bytes: Option<u64>,
}

/// How a checkpoint file is uploaded to an object store, in place of the settings for data files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointUpload {
    /// Bytes of each part of a multipart upload.
    pub part_bytes: u64,
    /// Parts of one file in flight.
    pub parts: InFlight,
}

/// How a thread count of 1 is replaced by one that follows from the node: processors divided by ranks on the node, within
/// these bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadSizing {
    /// Upper bound of `reader.read_threads`, unless `dlio_rs.max_auto_threads` is set.
    pub read_max: u32,
    /// Upper bound of `reader.write_threads`, unless `dlio_rs.max_auto_threads` is set.
    pub write_max: u32,
    /// Lower bound of `reader.write_threads` on S3 and with `O_DIRECT`, where the share of a rank counts twice.
    pub waiting_write_min: u32,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $dlio:expr, $mlperf:expr, $native:expr;)*) => {
        /// Everything in which a run differs by dialect, apart from the meaning of keys and the order of samples.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Rules {
            $($(#[$doc])* pub $name: $type,)*
        }

        const DLIO: Rules = Rules { $($name: $dlio,)* };
        const MLPERF: Rules = Rules { $($name: $mlperf,)* };
        const NATIVE: Rules = Rules { $($name: $native,)* };
    };
}

/// Reads of checkpoints on local file systems and on object stores by this program's own choice.
const OWN_LOCAL_READ: CheckpointRead = CheckpointRead { blocks: InFlight::PerRank(1), read_bytes: None };
const OWN_REMOTE_READ: CheckpointRead = CheckpointRead { blocks: InFlight::PerRank(4), read_bytes: Some(16 << 20) };

/// The fork's `max(2, ceil(16 / world size))` requests per rank of a checkpoint.
const FORK_SHARE: InFlight = InFlight::SharedByRanks { total: 16, min: 2 };
/// The fork reads four 32 MiB chunks at a time.
const FORK_READ_BYTES: Option<u64> = Some(128 << 20);

rules! {
    //                                             dlio, mlperf, native

    /// Environment variables of the MLPerf harness and the file `.env` stand for configuration keys
    /// (fork: `utils/config.py`, the harness's `mlpstorage`).
    reads_fork_environment: bool                 = false, true, false;
    /// Several endpoints in `S3_ENDPOINT_URIS` take precedence over the one in `storage.storage_options.endpoint_url`
    /// (fork: `storage/obj_store_lib.py`).
    endpoint_list_before_url: bool               = false, true, false;
    /// Every rank uses one endpoint, even where there are fewer ranks than endpoints (fork: `storage/obj_store_lib.py`).
    one_endpoint_per_rank: bool                  = false, true, false;
    /// How ranks are mapped to endpoints unless `dlio_rs.endpoint_mapping` is set (fork: `rank mod n`).
    endpoint_mapping: EndpointMapping            = EndpointMapping::Modulo, EndpointMapping::Modulo, EndpointMapping::Block;
    /// The library `s3torchconnector` without an endpoint is an error (fork: `storage/obj_store_lib.py`).
    torch_connector_needs_endpoint: bool         = false, true, false;

    /// A thread count of 1 stands for a number that follows from the node (fork: `utils/config.py`).
    thread_sizing: Option<ThreadSizing>          = None,
                                                   Some(ThreadSizing { read_max: 8, write_max: 32, waiting_write_min: 8 }),
                                                   None;

    /// The dataset is listed, or some of its files are looked up, before training (fork: `main.py`).
    checks_dataset: bool                         = false, true, false;
    /// With `dataset.skip_listing`, the names of subfolders are padded to the width of the last number instead of the count
    /// (fork: `main.py`).
    pads_unlisted_subfolders_short: bool         = false, true, false;
    /// Order of listed files (DLIO: `main.py` sorts by base name; fork: by subfolder, then by name).
    listing_order: ListingOrder                  = ListingOrder::BaseName, ListingOrder::Key, ListingOrder::Key;
    /// Files beyond the last whole step of all ranks are left out (DLIO: `utils/config.py`).
    trims_files: bool                            = true, false, false;

    /// Reads of memory-mapped samples stop at the header, because no byte of the sample is touched
    /// (DLIO: `reader/npy_reader.py`, `reader/indexed_binary_mmap_reader.py`).
    leaves_mapped_samples_untouched: bool        = true, false, false;
    /// Without `reader.odirect`, NPY and NPZ files are read in the pieces that numpy reads (DLIO: `reader/npz_reader.py`).
    reads_like_numpy: bool                       = true, false, false;

    /// Pages of a saved checkpoint are dropped from the page cache (fork: `checkpointing`, `POSIX_FADV_DONTNEED`).
    drops_checkpoint_pages: bool                 = false, true, false;
    /// Reads of checkpoints on a local file system.
    local_checkpoint_read: CheckpointRead        = OWN_LOCAL_READ,
                                                   CheckpointRead { blocks: InFlight::PerRank(4), read_bytes: FORK_READ_BYTES },
                                                   OWN_LOCAL_READ;
    /// Reads of checkpoints on an object store.
    remote_checkpoint_read: CheckpointRead       = OWN_REMOTE_READ,
                                                   CheckpointRead { blocks: FORK_SHARE, read_bytes: FORK_READ_BYTES },
                                                   OWN_REMOTE_READ;
    /// Uploads of checkpoints; `None`: as data files.
    checkpoint_upload: Option<CheckpointUpload>  = None,
                                                   Some(CheckpointUpload { part_bytes: 32 << 20, parts: FORK_SHARE }),
                                                   None;

    /// Whose formulas AU and throughput follow.
    metrics: Reference                           = Reference::Dlio, Reference::Mlperf, Reference::Dlio;
}

impl Dialect {
    /// The rules of this dialect.
    #[must_use]
    pub fn rules(self) -> &'static Rules {
        match self {
            Self::Dlio => &DLIO,
            Self::Mlperf => &MLPERF,
            Self::Native => &NATIVE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_of_a_checkpoint_are_shared_by_the_ranks() {
        assert_eq!([1, 3, 8, 9, 100].map(|ranks| FORK_SHARE.per_rank(ranks)), [16, 6, 2, 2, 2]);
        assert_eq!(InFlight::PerRank(4).per_rank(100), 4);
    }
}
