//! From configuration to a storage: which root, which endpoints for this rank, which client.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dlio_comm::Place;
use dlio_config::Workload;
use dlio_config::location::Location;
use dlio_config::vocabulary::{
    Decode, Dialect, EndpointFailure, EndpointMapping, LoadBalance, S3Client, StorageLibrary, StorageType, UriScheme,
};
use dlio_engine::Loading;
use dlio_event::{S3Uri, TimeSource};
use dlio_plan::CheckpointPlan;
use dlio_storage::local::{Local, LocalOptions};
use dlio_storage::s3::{self, Preflight, S3, S3Config};
use dlio_storage::{RangedGet, RangedGetRules, Storage};

use crate::failure::{Code, Failure};
use crate::resolve::request::Request;
use crate::session::Session;

/// Where the data set lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A folder of a file system.
    Local {
        /// The folder.
        root: PathBuf,
    },
    /// A prefix of a bucket.
    S3 {
        /// Bucket.
        bucket: String,
        /// Prefix without slashes at its ends; empty: the whole bucket.
        prefix: String,
    },
}

impl Target {
    /// The target of a workload: the scheme of `dataset.data_folder` decides, then that of `storage.storage_root`, then
    /// `storage.*`.
    ///
    /// # Errors
    /// When the storage type has no implementation or names no bucket.
    pub fn of(workload: &Workload) -> Result<Self, Failure> {
        let storage = &workload.storage;
        let folder = workload.dataset.data_folder.as_str();
        let root = located(ROOT, &storage.storage_root)?;
        let folder = match located("dataset.data_folder", folder)? {
            Location::Plain(folder) => folder,
            Location::File(path) => return Ok(folder_of(Path::new(path))),
            Location::Direct(_) => return Err(direct("dataset.data_folder")),
            Location::S3(uri) => return bucket_and_prefix(uri, ""),
        };
        let on_s3 = storage.storage_type == StorageType::S3 && !names_folders(workload);
        match root {
            Location::S3(bucket) => bucket_and_prefix(bucket, folder),
            Location::Plain(bucket) if on_s3 => bucket_and_prefix(S3Uri::from_path(bucket), folder),
            Location::Plain(path) | Location::File(path) | Location::Direct(path) => {
                implemented(storage.storage_type)?;
                // Components leave out what `.` and doubled slashes add to `./` joined with `./data`.
                Ok(folder_of(&Path::new(path).join(folder)))
            }
        }
    }

    /// The target of a workload's checkpoints. The scheme of `checkpoint.checkpoint_folder` decides; without one it is, on
    /// object storage, a prefix in the bucket, and elsewhere a folder that `storage.storage_root` is not put before, as in
    /// the reference.
    ///
    /// # Errors
    /// As [`Target::of`].
    pub fn of_checkpoints(workload: &Workload) -> Result<Self, Failure> {
        const KEY: &str = "checkpoint.checkpoint_folder";
        let storage = &workload.storage;
        let path = match located(KEY, &workload.checkpoint.checkpoint_folder)? {
            Location::Plain(path) => path,
            Location::File(path) => return Ok(folder_of(Path::new(path))),
            Location::Direct(_) => return Err(direct(KEY)),
            Location::S3(uri) => return bucket_and_prefix(uri, ""),
        };
        match located(ROOT, &storage.storage_root)? {
            Location::S3(bucket) => bucket_and_prefix(bucket, path),
            Location::Plain(bucket) if storage.storage_type == StorageType::S3 => {
                bucket_and_prefix(S3Uri::from_path(bucket), path)
            }
            _ => {
                implemented(storage.storage_type)?;
                Ok(folder_of(Path::new(path)))
            }
        }
    }

    /// Where it is, whatever the current folder: a URI, or an absolute path.
    pub fn place(&self) -> String {
        match self {
            Self::Local { root } => match std::path::absolute(root) {
                Ok(path) => path.components().collect::<PathBuf>().display().to_string(),
                Err(_) => root.display().to_string(),
            },
            Self::S3 { .. } => self.name(),
        }
    }

    /// Name for messages.
    pub fn name(&self) -> String {
        match self {
            Self::Local { root } => root.display().to_string(),
            Self::S3 { bucket, prefix } => S3Uri { bucket, key: prefix }.to_string(),
        }
    }
}

const ROOT: &str = "storage.storage_root";

/// What a key names.
fn located<'a>(key: &str, text: &'a str) -> Result<Location<'a>, Failure> {
    Location::parse(text).map_err(|why| Failure::usage(format_args!("{key}: {why}")))
}

fn direct(key: &str) -> Failure {
    Failure::usage(format_args!(
        "{key}: direct:// is a word of storage.storage_root only; for reads past the page cache write a path and reader.odirect: true"
    ))
}

fn folder_of(path: &Path) -> Target {
    Target::Local { root: path.components().collect() }
}

/// Whether the fork's `uri_scheme` makes a bucket a folder.
fn names_folders(workload: &Workload) -> bool {
    matches!(workload.storage.uri_scheme, Some(UriScheme::File | UriScheme::Direct))
}

fn implemented(kind: StorageType) -> Result<(), Failure> {
    match kind {
        StorageType::S3 | StorageType::LocalFs | StorageType::DirectFs => Ok(()),
        StorageType::ParallelFs | StorageType::Aistore => Err(Failure::usage(format_args!(
            "storage.storage_type: {kind} has no implementation here; use local_fs for a mounted file system, s3 for an object store"
        ))),
    }
}

fn bucket_and_prefix(S3Uri { bucket, key: prefix }: S3Uri<'_>, folder: &str) -> Result<Target, Failure> {
    if bucket.is_empty() || bucket == "." || bucket == ".." {
        return Err(Failure::usage(
            "no bucket is named: set dataset.data_folder to s3://BUCKET[/PREFIX], or storage.storage_root to the bucket",
        ));
    }
    let parts = [prefix, folder].into_iter().flat_map(|part| part.split('/'));
    let prefix = parts.filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/");
    Ok(Target::S3 { bucket: bucket.to_owned(), prefix })
}

/// Which of the endpoints one rank uses, and what is to be said about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Share {
    /// Endpoints of this rank.
    pub endpoints: Vec<String>,
    /// A notice for the user.
    pub notice: Option<String>,
}

/// Gives a rank its endpoints: one by the mapping, or all of them.
pub fn share(workload: &Workload, endpoints: &[String], rank: u32, size: u32) -> Share {
    let count = endpoints.len();
    let wanted = workload.storage.use_mpi_endpoint_distribution;
    // The fork gives every rank one endpoint, however many there are.
    let one_each = workload.dlio_rs.dialect == Dialect::Mlperf || size as usize >= count;
    let distribute = wanted.unwrap_or(one_each);
    if count <= 1 || !distribute {
        let notice = (count > 1 && wanted.is_none()).then(|| {
            format!(
                "{count} endpoints and {size} rank(s): every rank spreads its requests over all endpoints ({})",
                workload.storage.load_balance_strategy
            )
        });
        return Share { endpoints: endpoints.to_vec(), notice };
    }
    let mapping = workload.dlio_rs.endpoint_mapping.unwrap_or(match workload.dlio_rs.dialect {
        Dialect::Native => EndpointMapping::Block,
        Dialect::Dlio | Dialect::Mlperf => EndpointMapping::Modulo,
    });
    let assign = |rank: u32| {
        let mapping = match mapping {
            EndpointMapping::Modulo => s3::Mapping::Modulo,
            EndpointMapping::Block => s3::Mapping::Block,
        };
        s3::assign(rank, size, endpoints, mapping)
    };
    let notice = if (size as usize) < count {
        let used: Vec<usize> = (0..size).map(assign).collect();
        let unused: Vec<&str> =
            (0..count).filter(|index| !used.contains(index)).map(|index| endpoints[index].as_str()).collect();
        Some(format!(
            "{count} endpoints for {size} rank(s), one per rank ({mapping}): unused are {}",
            unused.join(", ")
        ))
    } else {
        Some(format!("{size} ranks over {count} endpoints, one per rank ({mapping})"))
    };
    Share { endpoints: vec![endpoints[assign(rank)].clone()], notice }
}

/// What the storage is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Writing a data set.
    Generate,
    /// Reading one.
    Read,
}

/// The opened storage of this rank.
pub struct Opened {
    /// The storage.
    pub storage: Arc<dyn Storage>,
    /// The S3 client behind it, for the preflight.
    pub s3: Option<Arc<S3>>,
}

/// Opens the storage for this rank.
///
/// # Errors
/// When the configuration does not make a usable client.
pub fn open(
    workload: &Workload,
    request: &Request,
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

/// Files past the page cache: for `reader.odirect`, and for what the fork calls `direct` in three places.
fn local_options(workload: &Workload) -> LocalOptions {
    const BUFFERS: usize = 32 << 20;
    let direct_fs = workload.storage.storage_type == StorageType::DirectFs;
    // Every read in flight has a buffer; all of a rank have so much together, and none is too small for a device.
    let share = BUFFERS / dlio_plan::reads_in_flight(workload).max(1) as usize;
    LocalOptions {
        read_buffer: share.max(128 << 10),
        odirect_read: workload.reader.odirect || is_direct(workload),
        odirect_write: workload.dlio_rs.generate_odirect || direct_fs,
        direct_chunk: workload.dlio_rs.requests.direct_chunk.and_then(|bytes| usize::try_from(bytes).ok()),
        ..LocalOptions::default()
    }
}

/// Whether the fork would go past the page cache.
fn is_direct(workload: &Workload) -> bool {
    let storage = &workload.storage;
    storage.storage_type == StorageType::DirectFs
        || storage.library == Some(StorageLibrary::Direct)
        || storage.uri_scheme == Some(UriScheme::Direct)
}

/// Lets whole objects be asked for as the workload's client profile does. Files know their size, and one thread reads
/// them; only what has a way to the server is split.
fn as_asked(workload: &Workload, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    let requests = workload.dlio_rs.requests;
    let remote = matches!(Target::of(workload), Ok(Target::S3 { .. }));
    if !remote || (!requests.head_before_get && requests.split_threshold.is_none()) {
        return storage;
    }
    let rules = RangedGetRules {
        head: requests.head_before_get,
        threshold: requests.split_threshold,
        chunk: requests.split_chunk,
        concurrency: requests.split_concurrency.and_then(|count| usize::try_from(count).ok()),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    Arc::new(RangedGet::new(storage, rules))
}

/// Opens the storage of the checkpoints for this rank.
///
/// # Errors
/// When the configuration does not make a usable client.
pub fn open_checkpoints(
    workload: &Workload,
    request: &Request,
    place: &Place,
    time: Arc<dyn TimeSource>,
    plan: &CheckpointPlan,
) -> Result<Opened, Failure> {
    let mlperf = workload.dlio_rs.dialect == Dialect::Mlperf;
    match Target::of_checkpoints(workload)? {
        Target::Local { root } => {
            let direct = is_direct(workload);
            let options = LocalOptions {
                odirect_read: direct,
                odirect_write: direct,
                durable: plan.fsync(),
                drop_cache: mlperf,
                ..LocalOptions::default()
            };
            Ok(Opened { storage: Arc::new(Local::new(root, time, options)), s3: None })
        }
        Target::S3 { bucket, prefix } => {
            let mut config = shared_config(workload, request, place, bucket, prefix)?;
            if mlperf {
                config.part_size = 32 << 20;
                config.part_concurrency = per_rank(place);
            }
            open_s3(workload, config, time)
        }
    }
}

/// How the files of a checkpoint are read.
pub fn checkpoint_loading(workload: &Workload, place: &Place, s3: bool) -> Loading {
    let keys = &workload.dlio_rs;
    let (blocks, read_bytes) = match (keys.dialect, s3) {
        (Dialect::Mlperf, false) => (4, Some(128 << 20)),
        (Dialect::Mlperf, true) => (per_rank(place), Some(128 << 20)),
        (Dialect::Dlio | Dialect::Native, false) => (1, None),
        (Dialect::Dlio | Dialect::Native, true) => (4, Some(16 << 20)),
    };
    Loading {
        blocks: keys.checkpoint_read_blocks.unwrap_or(blocks),
        read_bytes: keys.checkpoint_read_bytes.or(read_bytes),
        verify: keys.decode == Decode::Verify,
    }
}

/// Requests in flight that the MLPerf fork gives each rank of a checkpoint: 16 over the ranks, at least 2.
fn per_rank(place: &Place) -> u32 {
    16_u32.div_ceil(place.size.max(1)).max(2)
}

/// This rank's share of the endpoints, and the client's settings for it.
fn shared_config(
    workload: &Workload,
    request: &Request,
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
    // Every rank draws its own numbers from the workload's seed.
    config.seed = (config.seed << 32) | u64::from(place.rank);
    Ok(config)
}

/// The endpoints of the job that a rank does not use, from the one after its own on.
fn spares(all: &[String], own: &[String]) -> Vec<String> {
    let after = all.iter().position(|endpoint| own.last() == Some(endpoint)).map_or(0, |index| index + 1);
    let (before, behind) = all.split_at(after.min(all.len()));
    behind.iter().chain(before).filter(|endpoint| !own.contains(endpoint)).cloned().collect()
}

/// A client of all endpoints of the run, whose requests are tried once: for a diagnosis.
///
/// # Errors
/// When the configuration does not make a usable client.
pub fn client_of_all(
    workload: &Workload,
    request: &Request,
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
    request: &Request,
    endpoints: Vec<String>,
    bucket: String,
    prefix: String,
) -> Result<S3Config, Failure> {
    let keys = &workload.dlio_rs;
    let credentials = s3::Credentials::from_bytes(&request.credentials)
        .ok_or_else(|| Failure::new(Code::Unexpected, "the credentials that rank 0 sent cannot be read"))?;
    let mut config = S3Config::new(endpoints, bucket);
    config.prefix = prefix;
    config.region.clone_from(&request.region);
    config.credentials = Some(credentials);
    config.renewal.clone_from(&request.renewal);
    request.connections.apply(workload, &mut config)?;
    config.retry.max_attempts = workload.storage.s3_max_attempts;
    config.retry.retry_for = seconds(keys.retry_for);
    if request.has_retry_flag() {
        config.retry.named = "--retry-for";
    }
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
    Ok(config)
}

/// The configuration allows no number that is no duration.
fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}

/// Checks that this rank's endpoints take objects, and makes the bucket where it is missing: by rank 0 first, since some servers
/// refuse to create the same bucket twice at once.
///
/// # Errors
/// When an endpoint, the credentials or the bucket do not work.
pub async fn preflight_writing(session: &Session, client: &S3) -> Result<(), Failure> {
    if session.rank() == 0 {
        let checked = client.preflight(Preflight::Write).await;
        session.comm.barrier().await?;
        return Ok(checked?);
    }
    session.comm.barrier().await?;
    Ok(client.preflight(Preflight::Write).await?)
}

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
