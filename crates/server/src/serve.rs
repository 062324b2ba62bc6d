//! Starts, announces and drains the server.
//!
//! The server runs on its own threads, so that it neither disturbs the caller's runtime nor depends on it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dlio_storage::process::{host_name, raise_descriptor_limit};
use dlio_storage::registry::{self, Job, KeyPair};
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::connection::{self, FaultInjection, Http, ListeningEndpoint};
use crate::connection_limiter::{ConnectionLimiter, Limits};
use crate::descriptors;
use crate::fault_rule::FaultRules;
use crate::latency::LatencyTimer;
use crate::store::{Budget, EntityTags};
use crate::users::{User, Users};
use crate::{Error, FaultRule, LatencyModel, ObjectStore, protocol};

/// Location of the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// In memory, until the server ends.
    Memory,
    /// In a directory; see [`ObjectStore::directory`].
    Directory(PathBuf),
}

/// Configuration of a server.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Location of the objects.
    pub store: Store,
    /// Whether an object is on stable storage before its write is acknowledged. Ignored in memory.
    pub durable: bool,
    /// Kind of entity tag given to new objects.
    pub tags: EntityTags,
    /// Address of the first endpoint. Port 0 takes any free port; further endpoints use the ports that follow a fixed
    /// one.
    pub bind: SocketAddr,
    /// Number of ports to open, all in this process.
    pub endpoints: usize,
    /// Whether each endpoint has its own store instead of sharing one.
    pub separate: bool,
    /// Rank of this process among the serving processes. It is part of the name of the announcement and, with
    /// `separate`, of the store's directory.
    pub rank: u32,
    /// Number of serving processes.
    pub ranks: u32,
    /// Key pair that clients sign with. `None`: the pair in the registry, or a new one, which is stored in the
    /// registry if there is one.
    pub credentials: Option<KeyPair>,
    /// Users in addition to the server's own, each with their own buckets.
    pub users: Vec<User>,
    /// Registry directory in which the endpoints are announced.
    pub registry: Option<PathBuf>,
    /// Whether the endpoints may be announced next to those of other running jobs.
    pub add: bool,
    /// Job id, the same on all ranks. `None`: a new id for this process alone.
    pub job: Option<String>,
    /// Hosts of all ranks, in rank order; empty if unknown.
    pub hosts: Vec<String>,
    /// Host name or address under which clients reach this host. `None`: the bound address, or the host name if all
    /// addresses of the host are bound.
    pub advertise: Option<String>,
    /// Domains whose subdomains are buckets, in addition to `localhost`.
    pub domains: Vec<String>,
    /// Artificial latency and bandwidth.
    pub latency: LatencyModel,
    /// Faults injected into some requests.
    pub fault_rules: Vec<FaultRule>,
    /// Number of serving threads. `None`: one per core, at most 8.
    pub threads: Option<usize>,
    /// Memory limit for the objects of this process, in bytes. `None`: unlimited.
    pub memory_limit: Option<u64>,
    /// Most connections open at a time. `None`: as many as the descriptor limit allows.
    pub connections: Option<usize>,
    /// Longest time without further bytes of an incomplete request before its connection is closed.
    pub request_timeout: Duration,
    /// Time for requests in flight to end once the server is told to stop.
    pub drain: Duration,
}

impl Default for ServeConfig {
    /// Returns a configuration with one in-memory endpoint on a free port of 127.0.0.1.
    fn default() -> Self {
        Self {
            store: Store::Memory,
            durable: true,
            tags: EntityTags::default(),
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            endpoints: 1,
            separate: false,
            rank: 0,
            ranks: 1,
            credentials: None,
            users: Vec::new(),
            registry: None,
            add: false,
            job: None,
            hosts: Vec::new(),
            advertise: None,
            domains: Vec::new(),
            latency: LatencyModel::default(),
            fault_rules: Vec::new(),
            threads: None,
            memory_limit: None,
            connections: None,
            request_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// Entry point that starts servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Opens the store, binds and announces the endpoints, and starts serving. Returns once clients can connect.
    /// Blocks on the file system only.
    ///
    /// # Errors
    /// When the configuration contradicts itself, or the store, an address or the registry cannot be used.
    pub fn start(config: &ServeConfig) -> Result<Running, Error> {
        if config.endpoints == 0 {
            return Err(Error::Config("a server needs at least one endpoint: give --endpoints 1 or more".into()));
        }
        let mut notices = Vec::new();
        let stores = open_stores(config, &mut notices)?;
        let job = job(config)?;
        let credentials = choose_credentials(config, &job, &mut notices)?;
        let users = Arc::new(Users::new(&credentials, &config.users)?);
        if let Some(unknown) =
            config.fault_rules.iter().filter_map(|rule| rule.endpoint).find(|at| *at >= config.endpoints)
        {
            let last = config.endpoints - 1;
            return Err(Error::Config(format!(
                "fault rule for endpoint {unknown}: the endpoints of a process are 0 to {last}"
            )));
        }
        let unhindered = config.latency.is_unhindered();
        let timer = if !unhindered || !config.fault_rules.is_empty() {
            Some(Arc::new(LatencyTimer::start(config.latency)?))
        } else {
            None
        };
        let fault_rules = Arc::new(FaultRules::new(config.fault_rules.clone(), config.endpoints));
        let threads = Threads::start(config.threads)?;
        let (stop, stopped) = watch::channel(());
        let gate = ConnectionLimiter::new(limits(config));
        threads.handle.spawn(ConnectionLimiter::watch(Arc::downgrade(&gate), gate.tick()));
        let (mut endpoints, mut acceptors) = (Vec::new(), Vec::new());
        for (index, store) in stores.into_iter().enumerate() {
            let (listener, address) = listen(&threads.handle, nth_address(config.bind, index)?)?;
            endpoints.push(url(config, address));
            let injection = timer.clone().map(|timer| FaultInjection {
                timer,
                fault_rules: Arc::clone(&fault_rules),
                endpoint: index,
            });
            let sending = timer.clone().filter(|_| !unhindered);
            let http = Http::new(protocol::service(store, &users, &config.domains, sending)?, injection);
            let door = ListeningEndpoint { listener, http, gate: Arc::clone(&gate) };
            acceptors.push(threads.handle.spawn(connection::serve(door, stopped.clone(), config.drain)));
        }
        let mut running = Running {
            endpoints,
            credentials,
            notices,
            guards: Vec::new(),
            acceptors,
            stop,
            gate,
            drain: config.drain,
            _threads: threads,
        };
        if let Some(dir) = &config.registry {
            running.announce(dir, &job)?;
        }
        Ok(running)
    }
}

/// A running server. Dropping it stops it immediately; [`Running::shutdown`] lets requests in flight end.
#[derive(Debug)]
pub struct Running {
    endpoints: Vec<String>,
    credentials: KeyPair,
    notices: Vec<String>,
    guards: Vec<registry::Guard>,
    acceptors: Vec<JoinHandle<()>>,
    stop: watch::Sender<()>,
    gate: Arc<ConnectionLimiter>,
    drain: Duration,
    /// Dropping it stops the serving threads.
    _threads: Threads,
}

impl Running {
    /// URLs under which clients reach the endpoints.
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The key pair that clients sign with.
    #[must_use]
    pub fn credentials(&self) -> &KeyPair {
        &self.credentials
    }

    /// Notices for the user about this server, one sentence each.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Returns warnings for the user about events since the last call, one sentence each. The same warning is
    /// repeated after ten seconds at the earliest.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.gate.warnings()
    }

    /// Removes the announcements, stops accepting connections, lets requests in flight end within the drain time, and
    /// stops.
    pub async fn shutdown(mut self) {
        self.guards.clear();
        // The acceptors run in the runtime, which still exists; one that has already ended needs no message.
        let _ = self.stop.send(());
        // Each acceptor observes the drain time itself; the margin is for a stuck runtime.
        let all = futures::future::join_all(self.acceptors.drain(..));
        let _ = tokio::time::timeout(self.drain + Duration::from_secs(1), all).await;
    }

    fn announce(&mut self, dir: &std::path::Path, job: &Job) -> Result<(), Error> {
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            self.guards.push(registry::announce(dir, job, index, endpoint)?);
        }
        Ok(())
    }
}

/// Name of the serving threads.
pub const THREAD_NAME: &str = "serve";

/// Raises the descriptor limit as far as possible and returns the limits on connections.
fn limits(config: &ServeConfig) -> Limits {
    let descriptors = raise_descriptor_limit();
    // An object in a directory is an open file while it is sent or received.
    let each = if config.store == Store::Memory { 1 } else { 2 };
    let connections = config.connections.unwrap_or_else(|| descriptors::connections(descriptors, each));
    Limits { connections, descriptors, request_timeout: config.request_timeout }
}

/// Returns the job as it is announced.
fn job(config: &ServeConfig) -> Result<Job, Error> {
    Ok(Job {
        id: config.job.clone().map_or_else(registry::new_job_id, Ok)?,
        rank: config.rank,
        ranks: config.ranks.max(1),
        endpoints: config.endpoints,
        hosts: config.hosts.clone(),
        add: config.add,
    })
}

/// The serving threads.
#[derive(Debug)]
struct Threads {
    handle: Handle,
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
}

impl Threads {
    fn start(count: Option<usize>) -> Result<Self, Error> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = count.unwrap_or(cores.min(8)).max(1);
        // One thread more than the runtime's own: the first blocking thread for files.
        can_start(count + 1).map_err(Error::Runtime)?;
        let built = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(count)
            .max_blocking_threads(64)
            .thread_name(THREAD_NAME)
            .enable_all()
            .build();
        let runtime = built.map_err(Error::Runtime)?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

/// Checks that this many threads can be started: a runtime panics without its first thread and hides failures of the
/// others.
fn can_start(count: usize) -> std::io::Result<()> {
    let (gate, wait) = std::sync::mpsc::channel::<()>();
    let wait = Arc::new(std::sync::Mutex::new(wait));
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let wait = Arc::clone(&wait);
            // Nothing is ever sent: the threads end when the sender is dropped.
            let stay = move || drop(wait.lock().map(|wait| wait.recv()));
            std::thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(stay)
        })
        .collect();
    drop(gate);
    threads.into_iter().try_for_each(|thread| {
        let _ = thread?.join();
        Ok(())
    })
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping a runtime waits for its threads, which is not allowed within another runtime.
            runtime.shutdown_background();
        }
    }
}

fn open_stores(config: &ServeConfig, notices: &mut Vec<String>) -> Result<Vec<ObjectStore>, Error> {
    let all_separate = config.separate || (config.store == Store::Memory && config.ranks > 1);
    if all_separate && (config.endpoints > 1 || config.ranks > 1) {
        let cause = if config.separate { "--separate" } else { "--memory with several ranks" };
        notices.push(format!(
            "{cause}: endpoints do not share their objects; an object is found only through the endpoint that it was \
             written to, so that the mapping of ranks to endpoints decides who holds what"
        ));
    }
    let budget = Budget::new(config.memory_limit);
    let open = |index: usize| match &config.store {
        Store::Memory => ObjectStore::memory_within(Arc::clone(&budget), config.tags),
        Store::Directory(path) if config.separate => {
            ObjectStore::directory(&path.join(registry::stem(config.rank, index)), config.durable, config.tags)
        }
        Store::Directory(path) => ObjectStore::directory(path, config.durable, config.tags),
    };
    if config.separate {
        return (0..config.endpoints).map(open).collect();
    }
    Ok(vec![open(0)?; config.endpoints])
}

fn choose_credentials(config: &ServeConfig, job: &Job, notices: &mut Vec<String>) -> Result<KeyPair, Error> {
    let Some(dir) = &config.registry else {
        return Ok(config.credentials.clone().map_or_else(KeyPair::generate, Ok)?);
    };
    for gone in registry::prepare(dir, job)? {
        notices.push(format!("registry: removed {}, whose server is gone: {}", gone.name, gone.reason));
    }
    let Some(given) = &config.credentials else { return Ok(registry::key_pair(dir)?) };
    if config.add && registry::read(dir)?.credentials.is_some_and(|known| known != *given) {
        return Err(Error::Config(format!(
            "--add: the servers of the registry {} use another key pair than the one given, and clients know one for all: \
             leave --access-key and the AWS variables out, or give the same pair to all servers",
            dir.display()
        )));
    }
    if registry::withdraw_other_key_pair(dir, given)? {
        notices.push("registry: removed the key pair of an earlier server; clients need the one given".into());
    }
    Ok(given.clone())
}

fn nth_address(first: SocketAddr, index: usize) -> Result<SocketAddr, Error> {
    let mut address = first;
    if first.port() != 0 {
        let port = u16::try_from(index).ok().and_then(|index| first.port().checked_add(index));
        let too_far =
            || Error::Config(format!("port {} + {index} is beyond 65535: give a lower --listen", first.port()));
        address.set_port(port.ok_or_else(too_far)?);
    }
    Ok(address)
}

/// Connections that may wait to be accepted: all ranks of a job connect at the same time.
const BACKLOG: u32 = 4096;

fn listen(runtime: &Handle, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let _entered = runtime.enter();
    let bound = || {
        let socket = match address {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    bound().map_err(|source| Error::Bind { address, source })
}

fn url(config: &ServeConfig, address: SocketAddr) -> String {
    let host = match &config.advertise {
        Some(host) => host.clone(),
        None if address.ip().is_unspecified() => host_name(),
        None => address.ip().to_string(),
    };
    let host = if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) { format!("[{host}]") } else { host };
    format!("http://{host}:{}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url_of(advertise: Option<&str>, address: &str) -> String {
        let config = ServeConfig { advertise: advertise.map(str::to_owned), ..ServeConfig::default() };
        url(&config, address.parse().unwrap())
    }

    #[test]
    fn an_endpoint_is_announced_by_the_name_that_reaches_it() {
        assert_eq!(url_of(None, "127.0.0.1:8000"), "http://127.0.0.1:8000");
        assert_eq!(url_of(None, "[::1]:8000"), "http://[::1]:8000");
        assert_eq!(url_of(Some("fe80::1"), "[::]:80"), "http://[fe80::1]:80");
        assert_eq!(url_of(Some("node7"), "0.0.0.0:80"), "http://node7:80");
        assert_eq!(url_of(None, "0.0.0.0:80"), format!("http://{}:80", host_name()));
    }

    #[test]
    fn ports_are_counted_up_from_the_first() {
        let nth = |first: &str, index| nth_address(first.parse().unwrap(), index).map(|address| address.port());
        assert_eq!((nth("127.0.0.1:0", 3).unwrap(), nth("127.0.0.1:9000", 3).unwrap()), (0, 9003));
        assert!(nth("127.0.0.1:65535", 1).is_err());
    }
}
