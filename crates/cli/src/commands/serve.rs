//! `dlio-rs serve`: S3 from memory or a directory, on one or many endpoints, alone or one process per rank.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::rc::Rc;
use std::time::Duration;

use dlio_comm::Communicator;
use dlio_server::{Credentials, Pace, Running, ServeConfig, Server, Store};

use crate::args::ServeArgs;
use crate::exit::{Code, Failure};
use crate::launch::{self, Environment};
use crate::log::Verbosity;
use crate::ranks::Ranks;
use crate::session::{agree, gather, on_ranks};
use crate::signals::{self, Signals};

/// How often the server looks whether it was told to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) fn run(args: ServeArgs, verbosity: Verbosity) -> Result<(), Failure> {
    on_ranks(|comm| async move {
        let place = comm.place().clone();
        let config = config(args, &launch::environment(), place.rank, place.size);
        let config = agree(&*comm, config).await?;
        let signals = Signals::watch(config.drain + signals::GRACE);
        comm.set_signals(signals.clone());
        let started = start_in_turn(&comm, &config).await?;
        announce(&comm, &started, verbosity).await?;
        while !signals.cancel_flag().is_cancelled() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        started.shutdown().await;
        Ok(())
    })
}

/// Rank 0 starts first: it makes the key pair that the others find in the registry.
async fn start_in_turn(comm: &Rc<Ranks>, config: &ServeConfig) -> Result<Running, Failure> {
    let is_first = comm.place().rank == 0;
    let start = || Server::start(config).map_err(|error| Failure::new(Code::Storage, crate::run::chain(&error)));
    let first = agree(&**comm, if is_first { start().map(Some) } else { Ok(None) }).await?;
    let mine = match first {
        Some(running) => Ok(running),
        None => start(),
    };
    agree(&**comm, mine).await
}

/// Rank 0 prints every endpoint on standard output, one URL a line.
async fn announce(comm: &Rc<Ranks>, running: &Running, verbosity: Verbosity) -> Result<(), Failure> {
    let all = gather(&**comm, &running.endpoints().to_vec()).await?;
    if comm.place().rank != 0 {
        return Ok(());
    }
    if verbosity > Verbosity::Quiet {
        for notice in running.notices() {
            crate::log::note(notice);
        }
    }
    crate::log::print(crate::log::lines(all.concat()).as_bytes())
}

fn config(args: ServeArgs, env: &Environment, rank: u32, ranks: u32) -> Result<ServeConfig, Failure> {
    let ServeArgs {
        memory,
        data,
        registry,
        listen,
        advertise,
        endpoints,
        separate,
        access_key,
        secret_key,
        delay_ms,
        trouble,
        no_fsync,
    } = args;
    let store = match data {
        Some(folder) if !memory => Store::Directory(folder),
        _ => Store::Memory,
    };
    let credentials = credentials(access_key, secret_key, env);
    if credentials.is_none() && registry.is_none() {
        return Err(Failure::usage(
            "no key pair: give --access-key and --secret-key, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --registry DIR, where a new pair is left for clients",
        ));
    }
    let first_byte = Duration::try_from_secs_f64(delay_ms / 1e3)
        .map_err(|_| Failure::usage(format_args!("--delay-ms {delay_ms}: expected milliseconds, 0 or more")))?;
    Ok(ServeConfig {
        store,
        durable: !no_fsync,
        bind: bind(&listen, rank, endpoints)?,
        endpoints: usize::from(endpoints),
        separate,
        rank,
        ranks,
        credentials,
        registry,
        advertise,
        pace: Pace { first_byte, ..Pace::default() },
        troubles: trouble,
        ..ServeConfig::default()
    })
}

fn credentials(access_key: Option<String>, secret_key: Option<String>, env: &Environment) -> Option<Credentials> {
    let access_key = access_key.or_else(|| env.get("AWS_ACCESS_KEY_ID").cloned())?;
    let secret_key = secret_key.or_else(|| env.get("AWS_SECRET_ACCESS_KEY").cloned())?;
    Some(Credentials { access_key, secret_key })
}

/// The first address of this rank: with a fixed port, ranks of one host take the ports one after the other.
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
