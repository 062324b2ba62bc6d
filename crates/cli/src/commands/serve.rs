//! `dlio-rs serve`: serves S3 from memory or a directory, on one or many endpoints, with one process per rank.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use dlio_comm::{Communicator, Place};
use dlio_event::quantity::bytes;
use dlio_server::{EntityTags, LatencyModel, Running, ServeConfig, Server, Store, User};
use dlio_storage::registry::{self, KeyPair};

use super::serve_keys::{self, Keys};
use crate::memory;
use crate::on_ranks::on_ranks;
use crate::serve_args::{EtagArg, ServeArgs, ServeFormat};
use crate::signals;
use dlio_run::collective::{agree, gather};
use dlio_run::failure::{Code, Failure};
use dlio_run::launch::Environment;
use dlio_run::message::Verbosity;
use dlio_run::ranks::Ranks;
use dlio_run::shared_folder::{self, Sharing};
use dlio_run::space::FileSystem;
use dlio_run::stop::GRACE;

/// Interval at which the server checks whether it must end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) fn run(args: ServeArgs, verbosity: Verbosity) -> Result<(), Failure> {
    on_ranks(verbosity, |comm| async move {
        let format = args.format;
        if !args.trouble.is_empty() && comm.place().rank == 0 && verbosity > Verbosity::Quiet {
            crate::log::note("--trouble is now called --fault");
        }
        let (mut config, keys) = agree(&comm, config(args, &crate::environment::environment(), comm.place())).await?;
        share_job(&comm, &mut config).await?;
        check_folders(&comm, &config, verbosity).await?;
        signals::watch(config.drain + GRACE, false);
        comm.end_at_signals();
        let stopped = comm.front().stop.cancel_flag();
        let started = start_in_turn(&comm, &config).await?;
        notices(&comm, &config, &started, verbosity);
        announce(&comm, &started, &keys, format).await?;
        while !stopped.is_cancelled() {
            tokio::time::sleep(LOOK_EVERY).await;
            started.warnings().iter().for_each(|warning| crate::log::note(&format!("warning: {warning}")));
        }
        started.shutdown().await;
        Ok(())
    })
}

/// Distributes rank 0's job id and key pair to all ranks, and gathers the hosts of all ranks.
async fn share_job(comm: &Ranks, config: &mut ServeConfig) -> Result<(), Failure> {
    let id = agree(comm, registry::new_job_id().map_err(|error| storage_failure(&error))).await?;
    let pair = config.credentials.take().filter(|_| comm.place().rank == 0);
    let all: Vec<(String, String, Option<KeyPair>)> = gather(comm, &(id, comm.place().host.clone(), pair)).await?;
    if let Some((id, _, pair)) = all.first() {
        config.job = Some(id.clone());
        config.credentials.clone_from(pair);
    }
    config.hosts = all.into_iter().map(|(_, host, _)| host).collect();
    Ok(())
}

/// Ends the job if a folder that all ranks must share differs between nodes: endpoints would not be found, or would serve
/// different objects.
async fn check_folders(comm: &Ranks, config: &ServeConfig, verbosity: Verbosity) -> Result<(), Failure> {
    let data = match &config.store {
        Store::Directory(folder) if !config.separate => Some(folder),
        _ => None,
    };
    let folders = [
        (
            "the registry",
            config.registry.as_ref(),
            "clients would find only some of the endpoints; give a folder on a shared file system",
        ),
        (
            "the folder of --data",
            data,
            "endpoints would have different objects; give a folder on a shared file system, or --separate",
        ),
    ];
    for (what, folder, remedy) in folders {
        let Some(folder) = folder else { continue };
        let made = if comm.place().rank == 0 { std::fs::create_dir_all(folder) } else { Ok(()) };
        agree(comm, made.map_err(|error| Failure::file("creating", folder, &error))).await?;
        let sharing = shared_folder::check(comm, folder).await?;
        if let Sharing::NotChecked(reason) = &sharing
            && verbosity > Verbosity::Normal
            && comm.place().rank == 0
        {
            crate::log::note(&format!("whether {what} {} is shared was not checked: {reason}", folder.display()));
        }
        let islands = sharing.islands(what, folder);
        let checked = islands.map_or(Ok(()), |text| Err(Failure::new(Code::Storage, format_args!("{text}; {remedy}"))));
        agree(comm, checked).await?;
    }
    Ok(())
}

fn storage_failure(error: &dyn std::error::Error) -> Failure {
    Failure::new(Code::Storage, dlio_run::failure::chain(error))
}

/// Rank 0 starts first, because it creates the key pair that the others read from the registry.
async fn start_in_turn(comm: &Rc<Ranks>, config: &ServeConfig) -> Result<Running, Failure> {
    let is_first = comm.place().rank == 0;
    let start = || Server::start(config).map_err(|error| storage_failure(&error));
    let first = agree(comm, if is_first { start().map(Some) } else { Ok(None) }).await?;
    let mine = match first {
        Some(running) => Ok(running),
        None => start(),
    };
    agree(comm, mine).await
}

/// Prints every endpoint on standard output of rank 0, and a new key pair if no registry holds it.
async fn announce(comm: &Rc<Ranks>, running: &Running, keys: &Keys, format: ServeFormat) -> Result<(), Failure> {
    let all = gather(&**comm, &running.endpoints().to_vec()).await?;
    if comm.place().rank != 0 {
        return Ok(());
    }
    crate::log::print(serve_keys::text(&all.concat(), running, keys.are_made(), format)?.as_bytes())
}

/// Logs facts about the server on rank 0.
fn notices(comm: &Rc<Ranks>, config: &ServeConfig, running: &Running, verbosity: Verbosity) {
    if verbosity > Verbosity::Quiet && comm.place().rank == 0 {
        for notice in running.notices() {
            crate::log::note(notice);
        }
        if let (Store::Memory, Some(limit)) = (&config.store, config.memory_limit) {
            let each = if config.ranks > 1 { " in each process" } else { "" };
            crate::log::note(&format!("objects may take {} of memory{each} (--memory-limit)", bytes(limit)));
        }
        if let Store::Directory(folder) = &config.store
            && let Ok(system) = FileSystem::of(folder)
        {
            crate::log::note(&format!(
                "{} are free on {} ({})",
                bytes(system.free),
                system.mount.display(),
                system.kind
            ));
        }
    }
}

fn config(args: ServeArgs, env: &Environment, place: &Place) -> Result<(ServeConfig, Keys), Failure> {
    let ServeArgs {
        memory,
        data,
        memory_limit,
        registry,
        add,
        listen,
        advertise,
        domain,
        endpoints,
        separate,
        access_key,
        secret_key,
        users,
        delay_ms,
        fault,
        trouble,
        etag,
        no_fsync,
        request_timeout,
        format: _,
    } = args;
    let store = match data {
        Some(folder) if !memory => Store::Directory(folder),
        _ => Store::Memory,
    };
    let keys = Keys::choose(access_key, secret_key, registry.is_some(), env)?;
    let memory_limit = match store {
        Store::Memory => memory::limit(memory_limit, place)?,
        Store::Directory(_) => None,
    };
    let config = ServeConfig {
        store,
        memory_limit,
        durable: !no_fsync,
        tags: match etag {
            EtagArg::Md5 => EntityTags::Md5,
            EtagArg::Opaque => EntityTags::Opaque,
        },
        bind: bind(&listen, place.rank, endpoints)?,
        endpoints: usize::from(endpoints),
        separate,
        rank: place.rank,
        ranks: place.size,
        credentials: keys.pair().cloned(),
        users: users.map_or_else(|| Ok(Vec::new()), |file| read_users(&file))?,
        registry,
        add,
        request_timeout,
        advertise,
        domains: domain,
        latency: LatencyModel { first_byte: delay_ms, ..LatencyModel::default() },
        fault_rules: fault.into_iter().chain(trouble).collect(),
        ..ServeConfig::default()
    };
    Ok((config, keys))
}

/// Reads the file of `--users`.
fn read_users(file: &Path) -> Result<Vec<User>, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::file("reading", file, &error))?;
    User::parse_all(&text).map_err(|error| Failure::usage(format_args!("--users {}: {error}", file.display())))
}

/// Returns the first address of this rank: with a fixed port, ranks of one host use consecutive ports.
fn bind(listen: &str, rank: u32, endpoints: u16) -> Result<SocketAddr, Failure> {
    let expected = |found: &dyn std::fmt::Display| {
        Failure::usage(format_args!("--listen {listen}: expected HOST:PORT, for example 0.0.0.0:9000: {found}"))
    };
    let mut address =
        listen.to_socket_addrs().map_err(|error| expected(&error))?.next().ok_or_else(|| expected(&"no address"))?;
    if address.port() != 0 {
        let port = u32::from(address.port()).saturating_add(rank.saturating_mul(u32::from(endpoints)));
        address.set_port(u16::try_from(port).map_err(|_| expected(&"the ports of this rank lie above 65535"))?);
    }
    Ok(address)
}
