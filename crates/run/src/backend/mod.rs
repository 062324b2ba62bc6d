//! Opens storage back ends: location, endpoints of this rank and client settings follow from the configuration.

pub mod assign;
pub mod location;

use std::sync::Arc;
use std::time::Duration;

use dlio_comm::{Communicator, Place};
use dlio_config::Workload;
use dlio_config::vocabulary::{Decode, EndpointFailure, LoadBalance, S3Client, StorageLibrary, StorageType, UriScheme};
use dlio_engine::Loading;
use dlio_event::TimeSource;
use dlio_plan::CheckpointPlan;
use dlio_storage::local::{Local, LocalOptions};
use dlio_storage::s3::{self, Preflight, S3, S3Config};
use dlio_storage::{RangedGet, RangedGetRules, Storage};

pub use crate::backend::assign::{Share, share};
pub use crate::backend::location::Target;
use crate::failure::{Code, Failure};
use crate::resolve::resolved_run::ResolvedRun;

/// Purpose of an open storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A dataset is written.
    Generate,
    /// Reading a dataset.
    Read,
}

/// An open storage of this rank.
pub struct Opened {
    /// The storage.
    pub storage: Arc<dyn Storage>,
    /// The S3 client behind the storage; `None` for local storage.
    pub s3: Option<Arc<S3>>,
}

/// Opens the storage of the dataset for this rank.
///
/// # Errors
/// If the configuration does not give a usable client.
pub fn open(
    workload: &Workload,
    request: &ResolvedRun,
    place: &Place,
    time: Arc<dyn TimeSource>,
) -> Result<Opened, Failure> {
    match Target::of(workload)? {
        Target::Local { root } => {
            let storage = Arc::new(Local::new(root, time, local_options(workload)));
            Ok(Opened { storage: as_asked(workload, storage), s3: None })
        }
        Target::S3 { bucket, prefix } => {
            let config = shared_config(workload, request, place, bucket, prefix)?;
            let opened = open_s3(workload, config, time)?;
            Ok(Opened { storage: as_asked(workload, opened.storage), ..opened })
        }
    }
}

/// Options of local storage. `O_DIRECT` is used for `reader.odirect` and for the three keys with which the MLPerf fork
/// asks for direct I/O.
fn local_options(workload: &Workload) -> LocalOptions {
    const BUFFERS: usize = 32 << 20;
    let direct_fs = workload.storage.storage_type == StorageType::DirectFs;
    // Every read in flight has its own buffer. The buffers of a rank share 32 MiB, but none is smaller than 128 KiB.
    let share = BUFFERS / dlio_plan::reads_in_flight(workload).max(1) as usize;
    LocalOptions {
        read_buffer: share.max(128 << 10),
        odirect_read: workload.reader.odirect || is_direct(workload),
        odirect_write: workload.dlio_rs.generate_odirect || direct_fs,
        direct_chunk: workload.dlio_rs.requests.direct_chunk.and_then(|bytes| usize::try_from(bytes).ok()),
        ..LocalOptions::default()
    }
}

/// Whether the MLPerf fork would bypass the page cache.
fn is_direct(workload: &Workload) -> bool {
    let storage = &workload.storage;
    storage.storage_type == StorageType::DirectFs
        || storage.library == Some(StorageLibrary::Direct)
        || storage.uri_scheme == Some(UriScheme::Direct)
}

/// Reads whole objects the way the workload's client profile does: with a HEAD request first, or in concurrent ranges.
/// Local files know their size and are read by one thread, so only remote storage is wrapped.
fn as_asked(workload: &Workload, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    match split_rules(workload) {
        Some(rules) => Arc::new(RangedGet::new(storage, rules)),
        None => storage,
    }
}

/// Returns how whole objects are requested; `None` if each is one request.
fn split_rules(workload: &Workload) -> Option<RangedGetRules> {
    let requests = workload.dlio_rs.requests;
    let remote = matches!(Target::of(workload), Ok(Target::S3 { .. }));
    (remote && (requests.head_before_get || requests.split_threshold.is_some())).then(|| RangedGetRules {
        head: requests.head_before_get,
        threshold: requests.split_threshold,
        chunk: requests.split_chunk,
        concurrency: requests.split_concurrency.and_then(|count| usize::try_from(count).ok()),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    })
}

/// Opens the storage of the checkpoints for this rank.
///
/// # Errors
/// If the configuration does not give a usable client.
pub fn open_checkpoints(
    workload: &Workload,
    request: &ResolvedRun,
    place: &Place,
    time: Arc<dyn TimeSource>,
    plan: &CheckpointPlan,
) -> Result<Opened, Failure> {
    let rules = workload.dlio_rs.dialect.rules();
    match Target::of_checkpoints(workload)? {
        Target::Local { root } => {
            let direct = is_direct(workload);
            let options = LocalOptions {
                odirect_read: direct,
                odirect_write: direct,
                durable: plan.fsync(),
                drop_cache: rules.drops_checkpoint_pages,
                ..LocalOptions::default()
            };
            Ok(Opened { storage: Arc::new(Local::new(root, time, options)), s3: None })
        }
        Target::S3 { bucket, prefix } => {
            let mut config = shared_config(workload, request, place, bucket, prefix)?;
            if let Some(upload) = rules.checkpoint_upload {
                config.part_size = upload.part_bytes;
                config.part_concurrency = upload.parts.per_rank(place.size);
            }
            open_s3(workload, config, time)
        }
    }
}

/// Returns how the files of a checkpoint are read: number of concurrent blocks, bytes per read, verification.
#[must_use]
pub fn checkpoint_loading(workload: &Workload, place: &Place, s3: bool) -> Loading {
    let keys = &workload.dlio_rs;
    let rules = keys.dialect.rules();
    let usual = if s3 { rules.remote_checkpoint_read } else { rules.local_checkpoint_read };
    Loading {
        blocks: keys.checkpoint_read_blocks.unwrap_or_else(|| usual.blocks.per_rank(place.size)),
        read_bytes: keys.checkpoint_read_bytes.or(usual.read_bytes),
        verify: keys.decode == Decode::Verify,
    }
}

/// Returns the S3 client settings of this rank, with its share of the endpoints.
fn shared_config(
    workload: &Workload,
    request: &ResolvedRun,
    place: &Place,
    bucket: String,
    prefix: String,
) -> Result<S3Config, Failure> {
    let mut share = share(workload, &request.endpoints, place.rank, place.size);
    let spares = spares(&request.endpoints, &share.endpoints);
    let count = spares.len();
    let failover = workload.dlio_rs.on_endpoint_failure == EndpointFailure::Failover;
    if failover {
        share.endpoints.extend(spares);
    }
    let mut config = s3_config(workload, request, share.endpoints, bucket, prefix)?;
    config.spares = if failover { count } else { 0 };
    // Every rank draws its own random numbers from the workload's seed.
    config.seed = (config.seed << 32) | u64::from(place.rank);
    Ok(config)
}

/// Returns the endpoints that a rank does not use, beginning after its own.
fn spares(all: &[String], own: &[String]) -> Vec<String> {
    let after = all.iter().position(|endpoint| own.last() == Some(endpoint)).map_or(0, |index| index + 1);
    let (before, behind) = all.split_at(after.min(all.len()));
    behind.iter().chain(before).filter(|endpoint| !own.contains(endpoint)).cloned().collect()
}

/// Returns a client for all endpoints of the run that never retries a request, for diagnosis.
///
/// # Errors
/// If the configuration does not give a usable client.
pub fn client_of_all(
    workload: &Workload,
    request: &ResolvedRun,
    (bucket, prefix): (String, String),
    time: Arc<dyn TimeSource>,
) -> Result<S3, Failure> {
    let mut config = s3_config(workload, request, request.endpoints.clone(), bucket, prefix)?;
    config.retry.max_attempts = Some(1);
    config.retry.retry_for = Duration::ZERO;
    Ok(S3::new(config, time)?)
}

fn open_s3(workload: &Workload, config: S3Config, time: Arc<dyn TimeSource>) -> Result<Opened, Failure> {
    let client = Arc::new(S3::new(config, time)?);
    let storage: Arc<dyn Storage> = match workload.dlio_rs.s3_client {
        S3Client::Hyper => client.clone(),
        #[cfg(feature = "sdk")]
        S3Client::Sdk => Arc::new(s3::sdk::SdkS3::beside(&client)),
        #[cfg(not(feature = "sdk"))]
        S3Client::Sdk => {
            let text = "dlio_rs.s3_client: sdk: this binary was built without the AWS SDK. Leave the key out or set it to \
                        hyper, or build with `cargo build --release -p dlio-cli --features sdk`";
            return Err(Failure::new(Code::Usage, text));
        }
    };
    Ok(Opened { storage, s3: Some(client) })
}

fn s3_config(
    workload: &Workload,
    request: &ResolvedRun,
    endpoints: Vec<String>,
    bucket: String,
    prefix: String,
) -> Result<S3Config, Failure> {
    let credentials = s3::Credentials::from_bytes(&request.credentials)
        .ok_or_else(|| Failure::new(Code::Unexpected, "the credentials that rank 0 sent cannot be read"))?;
    let mut config = S3Config::new(endpoints, bucket);
    config.prefix = prefix;
    config.region.clone_from(&request.region);
    config.credentials = Some(credentials);
    config.renewal.clone_from(&request.renewal);
    request.connections.apply(workload, &mut config)?;
    if request.has_retry_flag() {
        config.retry.named = "--retry-for";
    }
    set_from_keys(workload, &mut config);
    Ok(config)
}

/// Sets what the keys of a workload alone decide.
fn set_from_keys(workload: &Workload, config: &mut S3Config) {
    let keys = &workload.dlio_rs;
    config.retry.max_attempts = workload.storage.s3_max_attempts;
    config.retry.retry_for = seconds(keys.retry_for);
    config.failover = keys.on_endpoint_failure == EndpointFailure::Failover;
    config.seed = u64::from(workload.train.seed);
    config.load_balance = match workload.storage.load_balance_strategy {
        LoadBalance::RoundRobin => s3::LoadBalance::RoundRobin,
        LoadBalance::Random => s3::LoadBalance::Random,
        LoadBalance::LeastOutstanding => s3::LoadBalance::LeastOutstanding,
    };
    config.multipart_threshold = keys.multipart_threshold;
    config.part_size = keys.multipart_part_size;
    config.part_concurrency = keys.multipart_concurrency;
    config.request_timeout = seconds(keys.request_timeout_seconds);
    config.connect_timeout = seconds(keys.connect_timeout_seconds);
}

/// Converts seconds to a duration. The configuration accepts only valid numbers.
fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}

/// Checks that this rank's endpoints accept objects, and creates the bucket if it is missing. Rank 0 goes first,
/// because some servers refuse to create the same bucket twice at once.
///
/// # Errors
/// If an endpoint, the credentials or the bucket cannot be used.
pub async fn preflight_writing(comm: &dyn Communicator, client: &S3) -> Result<(), Failure> {
    if comm.place().rank == 0 {
        let checked = client.preflight(Preflight::Write).await;
        comm.barrier().await?;
        return Ok(checked?);
    }
    comm.barrier().await?;
    Ok(client.preflight(Preflight::Write).await?)
}

#[cfg(test)]
mod every_key_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(overrides: &[&str]) -> Workload {
        let overrides: Vec<_> = overrides.iter().map(|text| dlio_config::Override::parse(text).unwrap()).collect();
        let yaml = dlio_config::bundled::yaml("unet3d_h100").unwrap();
        let source = dlio_config::Source { name: "test.yaml", yaml };
        dlio_config::load(&source, &overrides, &std::collections::BTreeMap::new(), None).unwrap().workload
    }

    fn uris(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("http://host{number}:9000")).collect()
    }

    #[test]
    fn an_s3_folder_means_s3_whatever_the_storage_type() {
        let target = Target::of(&workload(&["dataset.data_folder=s3://bucket/a/b/"])).unwrap();
        assert_eq!(target, Target::S3 { bucket: "bucket".into(), prefix: "a/b".into() });
    }

    #[test]
    fn a_storage_root_is_the_bucket_and_the_folder_its_prefix() {
        let keys = ["++storage.storage_type=s3", "++storage.storage_root=bucket", "dataset.data_folder=data/set"];
        let target = Target::of(&workload(&keys)).unwrap();
        assert_eq!(target, Target::S3 { bucket: "bucket".into(), prefix: "data/set".into() });
    }

    #[test]
    fn s3_without_a_bucket_is_refused() {
        let mut workload = workload(&[]);
        workload.storage.storage_type = StorageType::S3;
        let refused = Target::of(&workload).unwrap_err();
        assert!(refused.message.contains("bucket"), "{refused}");
    }

    #[test]
    fn a_scheme_of_files_makes_the_bucket_a_folder() {
        let of = |scheme: &str, root: &str| {
            let (scheme, root) =
                (format!("++storage.storage_options.uri_scheme={scheme}"), format!("++storage.storage_root={root}"));
            let workload = workload(&[
                "++dlio_rs.dialect=mlperf",
                "++storage.storage_type=s3",
                "dataset.data_folder=set",
                &scheme,
                &root,
            ]);
            (Target::of(&workload).unwrap(), local_options(&workload).odirect_read)
        };
        assert_eq!(of("direct", "/mnt/x"), (Target::Local { root: "/mnt/x/set".into() }, true));
        assert_eq!(of("file", "file:///mnt/x"), (Target::Local { root: "/mnt/x/set".into() }, false));
        assert_eq!(of("s3", "x").0, Target::S3 { bucket: "x".into(), prefix: "set".into() });
    }

    #[test]
    fn direct_fs_reads_and_writes_past_the_page_cache_in_large_pieces_or_by_profile_in_pages() {
        let direct = ["++dlio_rs.dialect=mlperf", "++storage.storage_type=direct_fs", "++storage.storage_root=/mnt"];
        let options = local_options(&workload(&direct));
        assert_eq!((options.odirect_read, options.odirect_write, options.direct_chunk), (true, true, None));
        let profile = [direct[0], direct[1], direct[2], "++dlio_rs.client_profile=s3dlio-0.9.106"];
        assert_eq!(local_options(&workload(&profile)).direct_chunk, Some(4096));
    }

    #[test]
    fn in_mlperf_every_rank_has_one_endpoint() {
        let share = share(&workload(&["++dlio_rs.dialect=mlperf"]), &uris(4), 1, 2);
        assert_eq!(share.endpoints, ["http://host1:9000"]);
        assert!(share.notice.unwrap().contains("unused are http://host2:9000, http://host3:9000"));
    }

    #[test]
    fn enough_ranks_get_one_endpoint_each_and_all_endpoints_are_used() {
        let workload = workload(&[]);
        let used: std::collections::BTreeSet<_> =
            (0..8).flat_map(|rank| share(&workload, &uris(4), rank, 8).endpoints).collect();
        assert_eq!(used.len(), 4);
        assert!((0..8).all(|rank| share(&workload, &uris(4), rank, 8).endpoints.len() == 1));
    }

    #[test]
    fn fewer_ranks_than_endpoints_use_them_all() {
        let share = share(&workload(&[]), &uris(4), 0, 1);
        assert_eq!(share.endpoints.len(), 4);
        assert!(share.notice.is_some());
    }

    #[test]
    fn a_forced_distribution_names_the_endpoints_that_stay_unused() {
        let share = share(&workload(&["++storage.use_mpi_endpoint_distribution=true"]), &uris(2), 0, 1);
        assert_eq!(share.endpoints, ["http://host0:9000"]);
        assert!(share.notice.unwrap().contains("http://host1:9000"));
    }

    #[test]
    fn requests_may_go_to_the_next_endpoints_of_the_job() {
        let all = uris(4);
        assert_eq!(spares(&all, &all[1..2]), [all[2].clone(), all[3].clone(), all[0].clone()]);
        assert!(spares(&all, &all).is_empty());
    }
}
