//! A hash of what decides a plan.

use std::fmt;

use dlio_config::Workload;
use serde_json::json;

use crate::stream::mix;
use crate::{FileSet, Split, World};

/// Raised when equal inputs begin to mean another plan.
const PLAN_VERSION: u32 = 1;

/// Hash of everything that decides a plan: equal fingerprints, equal plans, whatever the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// The hash as bytes, most significant first.
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

/// Hashes the keys that the plan depends on; how requests are carried (endpoints, parts, windows) is left out.
pub(crate) fn of(workload: &Workload, files: &FileSet, world: World) -> Fingerprint {
    let Workload { workflow, dataset, reader, train, evaluation, dlio_rs, .. } = workload;
    let names = [Split::Train, Split::Eval].map(|split| match files.len(split) {
        0 => String::new(),
        len => files.key(files.combined(split, len - 1)),
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
    Fingerprint(fnv1a(decisive.to_string().as_bytes()))
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
    Fingerprint(fnv1a(decisive.to_string().as_bytes()))
}

/// A number for a thing with these names; the names are kept apart by a byte that none of them has.
pub(crate) fn number(names: &[&str], seed: u64) -> u64 {
    let hash = fnv1a(names.join("\0").as_bytes());
    let [high, low] = [hash >> 64, hash & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or_default());
    mix(&[seed, high, low])
}

/// FNV-1a, 128 bits (Fowler, Noll, Vo): stable, short, and no attacker chooses the input.
fn fnv1a(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_fnv1a_of_128_bits() {
        assert_eq!(fnv1a(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv1a(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }
}
