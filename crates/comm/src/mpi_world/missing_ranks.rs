//! Reports between nodes about missing ranks: each node that waits in a collective sends one small message to rank 0
//! and to a deputy on another node, which reports if rank 0 is missing.
//!
//! Invariant: a message is sent at most once per collective, only in a long wait, and no rank waits for one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::calls::Comm;
use super::request::Request;
use crate::error::Error;
use crate::rank_status::MissingRank;

/// Missing ranks that one message names.
const NAMED: usize = 14;
const WORD: usize = size_of::<u32>();
/// Bytes of a message: small enough that every library sends it eagerly.
const BYTES: usize = (2 + NAMED) * WORD;

/// Locations of the other ranks, and the reports of their nodes.
pub(super) struct MissingRankReports {
    /// Host and node of each rank.
    places: Vec<(String, u32)>,
    /// The last collective about which this rank has sent a report.
    last_reported: Cell<u32>,
    sent: RefCell<Vec<Request<Vec<u8>>>>,
    /// For each node: the collective in which it waits, and its missing ranks.
    received: RefCell<BTreeMap<u32, (u32, Vec<u32>)>>,
}

impl MissingRankReports {
    pub(super) fn new(places: Vec<(String, u32)>) -> Self {
        Self { places, last_reported: Cell::new(0), sent: RefCell::default(), received: RefCell::default() }
    }

    /// Returns the host of a rank.
    pub(super) fn host(&self, rank: u32) -> String {
        self.places.get(rank as usize).map(|(host, _)| host.clone()).unwrap_or_default()
    }

    /// Returns the deputy: the first rank of the second node.
    fn deputy(&self) -> Option<u32> {
        self.places.iter().position(|(_, node)| *node > 0).and_then(|rank| u32::try_from(rank).ok())
    }

    /// Reports, once per collective, that this rank's node waits, and which of its ranks are missing.
    pub(super) fn send_report(
        &self,
        comm: &Comm,
        (rank, node): (u32, u32),
        collective: u32,
        missing: &[MissingRank],
    ) -> Result<(), Error> {
        if self.last_reported.replace(collective) == collective {
            return Ok(());
        }
        let mut words = vec![collective, node];
        words.extend(missing.iter().map(|seen| seen.rank).take(NAMED));
        words.resize(BYTES / WORD, u32::MAX);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut sent = self.sent.borrow_mut();
        sent.retain_mut(|message| !matches!(message.test(), Ok(true)));
        for to in [Some(0), self.deputy()].into_iter().flatten().filter(|to| *to != rank) {
            sent.push(comm.send(bytes.clone(), to)?);
        }
        Ok(())
    }

    /// Returns the missing ranks of other nodes if this rank reports for all; `None` otherwise.
    pub(super) fn receive_reports(
        &self,
        comm: &Comm,
        (rank, node): (u32, u32),
        collective: u32,
    ) -> Result<Option<Vec<MissingRank>>, Error> {
        if rank != 0 && Some(rank) != self.deputy() {
            return Ok(None);
        }
        let mut received = self.received.borrow_mut();
        while let Some(bytes) = comm.receive::<BYTES>()? {
            let mut words = bytes.as_chunks().0.iter().map(|word| u32::from_ne_bytes(*word));
            if let (Some(collective), Some(node)) = (words.next(), words.next()) {
                received.insert(node, (collective, words.filter(|rank| *rank != u32::MAX).collect()));
            }
        }
        let here = |node: &u32| received.get(node).filter(|(theirs, _)| *theirs == collective);
        if rank != 0 && here(&0).is_some() {
            return Ok(None);
        }
        let is_missing =
            |(rank, of): (u32, u32)| of != node && here(&of).is_none_or(|(_, missing)| missing.contains(&rank));
        let ranks = (0..).zip(&self.places).filter(|(rank, (_, of))| is_missing((*rank, *of)));
        Ok(Some(
            ranks
                .map(|(rank, (host, _))| MissingRank { rank, host: host.clone(), process: None, status: None })
                .collect(),
        ))
    }
}
