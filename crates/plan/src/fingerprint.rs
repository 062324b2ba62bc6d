//! Fingerprints: hashes of everything that determines a plan.

use std::fmt;

use dlio_config::Workload;
use dlio_event::mix::{fnv1a_128, split_seed};
use serde_json::json;

use crate::{FileSet, Split, World};

/// Version of the planning rules; increased when equal inputs produce a different plan.
const PLAN_VERSION: u32 = 1;

/// Hash of everything that determines a plan. Equal fingerprints mean equal plans on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// Returns the hash as bytes, most significant byte first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Hashes the keys that the plan depends on. Keys that concern requests (endpoints, parts, windows) are excluded.
pub(crate) fn of(workload: &Workload, files: &FileSet, world: World) -> Fingerprint {
    let Workload { workflow, dataset, reader, train, evaluation, dlio_rs, .. } = workload;
    let names = [Split::Train, Split::Eval].map(|split| match files.len(split) {
        0 => String::new(),
        len => files.name(files.combined(split, len - 1)),
    });
    let decisive = json!({
        "version": PLAN_VERSION,
        "size": world.size,
        "dialect": dlio_rs.dialect,
        "payload_seed": dlio_rs.payload_seed,
        "train": workflow.train,
        "evaluation": workflow.evaluation,
        "last_names": names,
        "dataset": dataset,
        "reader": reader,
        "training": train,
        "evaluations": evaluation,
    });
    Fingerprint(fnv1a_128(decisive.to_string().as_bytes()))
}

/// Hashes the keys that the checkpoints depend on.
pub(crate) fn of_checkpoints(workload: &Workload, world: World) -> Fingerprint {
    let Workload { model, framework, workflow, storage, train, checkpoint, dlio_rs, .. } = workload;
    let decisive = json!({
        "version": PLAN_VERSION,
        "size": world.size,
        "dialect": dlio_rs.dialect,
        "payload_seed": dlio_rs.payload_seed,
        "framework": framework,
        "storage_type": storage.storage_type,
        "train": workflow.train,
        "enabled": workflow.checkpoint,
        "seed": train.seed,
        "model": model,
        "checkpoint": checkpoint,
    });
    Fingerprint(fnv1a_128(decisive.to_string().as_bytes()))
}

/// Returns a number that identifies an object with these names. The names are joined with a byte that none of them
/// contains.
pub(crate) fn number(names: &[&str], seed: u64) -> u64 {
    let hash = fnv1a_128(names.join("\0").as_bytes());
    let [high, low] = [hash >> 64, hash & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or_default());
    split_seed(&[seed, high, low])
}
