//! Determines whether the process that made an announcement still runs.
//!
//! A process id has a meaning only on the machine and in the process namespace that assigned it; there, the start
//! time distinguishes a process from a later one with the same id. Everywhere else, a connection to the announced
//! address decides.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use super::announcement::Announcement;
use crate::process::{ProcessScope, ProcessState, process_state};

/// Longest wait for a connection to another machine; a server that does not answer in time is assumed to be slow.
const PROBE: Duration = Duration::from_secs(2);

impl ProcessScope {
    /// Returns whether the announcement's process id is valid in this namespace.
    fn sees_processes_of(&self, announcement: &Announcement) -> bool {
        if announcement.format == 1 {
            return announcement.host == self.host;
        }
        !self.boot.is_empty() && announcement.boot == self.boot && announcement.pid_namespace == self.pid_namespace
    }

    /// Returns whether the endpoint is a loopback address of another machine.
    pub(crate) fn cannot_reach(&self, announcement: &Announcement) -> bool {
        let elsewhere = if announcement.format == 1 {
            announcement.host != self.host
        } else {
            !self.boot.is_empty() && !announcement.boot.is_empty() && announcement.boot != self.boot
        };
        let host = address(&announcement.endpoint).rsplit_once(':').map_or("", |(host, _)| host);
        let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        elsewhere && (host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback()))
    }
}

/// State of an announcement's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Liveness {
    Alive,
    /// The process has ended; the text says how that is known.
    Dead(String),
    /// The process runs where its id has no meaning here.
    Elsewhere,
}

/// Returns the state of the process as far as it is known without a connection.
pub(super) fn liveness(announcement: &Announcement, here: &ProcessScope) -> Liveness {
    if !here.sees_processes_of(announcement) {
        return Liveness::Elsewhere;
    }
    let pid = announcement.pid;
    match i32::try_from(pid).map_or(ProcessState::Absent, process_state) {
        ProcessState::Absent | ProcessState::Present { zombie: true, .. } => {
            Liveness::Dead(format!("process {pid} is gone"))
        }
        ProcessState::Present { start_ticks, .. }
            if announcement.start_ticks.is_some_and(|ticks| ticks != start_ticks) =>
        {
            Liveness::Dead(format!("process {pid} is another one now"))
        }
        ProcessState::Hidden | ProcessState::Present { .. } => Liveness::Alive,
    }
}

/// Like [`liveness`], but connects to the address if the state is unknown. Only a refused connection means that the
/// server is gone; no answer may be caused by the network.
pub(super) fn liveness_or_probe(announcement: &Announcement, here: &ProcessScope) -> Liveness {
    match liveness(announcement, here) {
        Liveness::Elsewhere if here.cannot_reach(announcement) => Liveness::Alive,
        Liveness::Elsewhere => probe(&announcement.endpoint),
        known => known,
    }
}

fn probe(endpoint: &str) -> Liveness {
    let addresses: Vec<SocketAddr> = match address(endpoint).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(_) => return Liveness::Alive,
    };
    let refused = |address: &SocketAddr| {
        TcpStream::connect_timeout(address, PROBE).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    if !addresses.is_empty() && addresses.iter().all(refused) {
        return Liveness::Dead(format!("nothing listens at {endpoint}"));
    }
    Liveness::Alive
}

/// Returns `host:port` of an endpoint's URL.
fn address(endpoint: &str) -> &str {
    endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest).trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::own_start_ticks;

    fn announcement() -> Announcement {
        let here = ProcessScope::now();
        Announcement {
            host: here.host,
            boot: here.boot,
            pid_namespace: here.pid_namespace,
            pid: std::process::id(),
            start_ticks: own_start_ticks(),
            ..super::super::tests::announcement("http://127.0.0.1:1", 0)
        }
    }

    #[test]
    fn a_process_is_told_from_a_later_one_with_its_id() {
        let here = ProcessScope::now();
        let mine = announcement();
        assert_eq!(liveness(&mine, &here), Liveness::Alive);
        let before = Announcement { start_ticks: mine.start_ticks.map(|ticks| ticks + 1), ..mine.clone() };
        assert!(matches!(liveness(&before, &here), Liveness::Dead(reason) if reason.contains("another one")));
        let gone = Announcement { pid: i32::MAX as u32, ..mine };
        assert!(matches!(liveness(&gone, &here), Liveness::Dead(reason) if reason.contains("gone")));
    }

    #[test]
    fn another_machine_and_another_namespace_are_asked_by_a_connection() {
        let here = ProcessScope::now();
        let rebooted = Announcement { boot: "another".into(), ..announcement() };
        let contained = Announcement { pid_namespace: "pid:[1]".into(), ..announcement() };
        assert_eq!(
            (liveness(&rebooted, &here), liveness(&contained, &here)),
            (Liveness::Elsewhere, Liveness::Elsewhere)
        );
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let contained = Announcement { endpoint: url, ..contained };
        assert_eq!(liveness_or_probe(&contained, &here), Liveness::Alive);
        drop(listener);
        assert!(
            matches!(liveness_or_probe(&contained, &here), Liveness::Dead(reason) if reason.contains("nothing listens"))
        );
    }

    #[test]
    fn a_loopback_address_of_another_machine_cannot_be_reached() {
        let here = ProcessScope::now();
        assert!(!here.cannot_reach(&announcement()));
        let other = Announcement { boot: "another".into(), ..announcement() };
        assert!(here.cannot_reach(&other));
        assert!(here.cannot_reach(&Announcement { endpoint: "http://[::1]:80".into(), ..other.clone() }));
        assert!(!here.cannot_reach(&Announcement { endpoint: "http://node7:80".into(), ..other }));
    }
}
