//! Which nodes have come to a collective: one small message of each node that waits, to rank 0 and to a deputy on another node,
//! who speaks where rank 0 has not come.
//!
//! Invariant: a message is sent once per collective, and only in a long wait; nobody waits for one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::calls::Comm;
use super::request::Request;
use crate::doing::Sighting;
use crate::error::Error;

/// Missing ranks that one message names.
const NAMED: usize = 14;
const WORD: usize = size_of::<u32>();
/// Bytes of a message: small enough that every library sends it at once.
const BYTES: usize = (2 + NAMED) * WORD;

/// Where the other ranks are, and what their nodes have said.
pub(super) struct RollCall {
    /// Host and node of each rank.
    places: Vec<(String, u32)>,
    /// The last collective of which this rank has spoken.
    spoken: Cell<u32>,
    sent: RefCell<Vec<Request<Vec<u8>>>>,
    /// By node: the collective that it waits in, and which of its ranks are missing.
    heard: RefCell<BTreeMap<u32, (u32, Vec<u32>)>>,
}

impl RollCall {
    pub(super) fn new(places: Vec<(String, u32)>) -> Self {
        Self { places, spoken: Cell::new(0), sent: RefCell::default(), heard: RefCell::default() }
    }

    /// Host of a rank.
    pub(super) fn host(&self, rank: u32) -> String {
        self.places.get(rank as usize).map(|(host, _)| host.clone()).unwrap_or_default()
    }

    /// The first rank of the second node.
    fn deputy(&self) -> Option<u32> {
        self.places.iter().position(|(_, node)| *node > 0).and_then(|rank| u32::try_from(rank).ok())
    }

    /// Tells, once, that the node of this rank waits in a collective, and which of its ranks are missing.
    pub(super) fn speak(
        &self,
        comm: &Comm,
        (rank, node): (u32, u32),
        collective: u32,
        missing: &[Sighting],
    ) -> Result<(), Error> {
        if self.spoken.replace(collective) == collective {
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

    /// Adds the missing ranks of other nodes, if this is the rank that speaks for all; tells whether it is.
    pub(super) fn hear(
        &self,
        comm: &Comm,
        (rank, node): (u32, u32),
        collective: u32,
    ) -> Result<Option<Vec<Sighting>>, Error> {
        if rank != 0 && Some(rank) != self.deputy() {
            return Ok(None);
        }
        let mut heard = self.heard.borrow_mut();
        while let Some(bytes) = comm.receive::<BYTES>()? {
            let mut words = bytes.as_chunks().0.iter().map(|word| u32::from_ne_bytes(*word));
            if let (Some(collective), Some(node)) = (words.next(), words.next()) {
                heard.insert(node, (collective, words.filter(|rank| *rank != u32::MAX).collect()));
            }
        }
        let here = |node: &u32| heard.get(node).filter(|(theirs, _)| *theirs == collective);
        if rank != 0 && here(&0).is_some() {
            return Ok(None);
        }
        let is_missing =
            |(rank, of): (u32, u32)| of != node && here(&of).is_none_or(|(_, missing)| missing.contains(&rank));
        let ranks = (0..).zip(&self.places).filter(|(rank, (_, of))| is_missing((*rank, *of)));
        Ok(Some(
            ranks.map(|(rank, (host, _))| Sighting { rank, host: host.clone(), process: None, doing: None }).collect(),
        ))
    }
}
