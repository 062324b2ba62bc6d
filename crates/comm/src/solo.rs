//! The world of a single rank: every collective completes immediately.

use std::cell::RefCell;

use crate::communicator::{Collective, Communicator, Place};
use crate::error::Error;
use crate::host;
use crate::rank_status::MissingRanks;

/// The communicator of a run with one rank.
#[derive(Debug)]
pub struct Solo {
    place: Place,
    aborted: RefCell<Option<String>>,
}

impl Solo {
    /// Creates a world of one rank on this node.
    #[must_use]
    pub fn new() -> Self {
        let place = Place { rank: 0, size: 1, node: 0, nodes: 1, local_rank: 0, local_size: 1, host: host::name() };
        Self { place, aborted: RefCell::default() }
    }

    fn check(&self) -> Result<(), Error> {
        match &*self.aborted.borrow() {
            Some(message) => Err(Error::Aborted { rank: 0, message: message.clone() }),
            None => Ok(()),
        }
    }
}

impl Default for Solo {
    fn default() -> Self {
        Self::new()
    }
}

impl Communicator for Solo {
    fn place(&self) -> &Place {
        &self.place
    }

    fn barrier(&self) -> Collective<'_, ()> {
        Box::pin(async { self.check() })
    }

    fn all_gather<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<Vec<u8>>> {
        Box::pin(async move { self.check().map(|()| vec![bytes.to_vec()]) })
    }

    fn broadcast<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<u8>> {
        Box::pin(async move { self.check().map(|()| bytes.to_vec()) })
    }

    fn missing(&self) -> MissingRanks {
        MissingRanks::default()
    }

    fn abort(&self, message: &str, _exit_code: i32) {
        self.aborted.borrow_mut().get_or_insert_with(|| message.to_owned());
    }
}
