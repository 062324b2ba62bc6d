//! The conformance suite of communicators; each rank of the world calls [`check`].
#![expect(clippy::panic, reason = "a conformance suite fails by panicking with what was expected")]

use std::collections::BTreeMap;

use crate::communicator::{Communicator, Place};
use crate::shared::{Failures, SharedArrays, share};

/// Runs the suite on this rank.
///
/// # Panics
/// When the communicator violates the trait's contract; the message names the rank and the call.
pub async fn check(comm: &dyn Communicator) {
    let Place { rank, size, .. } = *comm.place();
    assert!(rank < size, "rank {rank} of {size}");
    places_agree(comm).await;
    for round in 0..50 {
        comm.barrier().await.unwrap_or_else(|error| panic!("rank {rank}: barrier {round}: {error}"));
    }
    gathers_parts_of_different_lengths(comm).await;
    broadcasts_from_rank_0(comm).await;
    interleaves(comm).await;
    shares_arrays(comm).await;
    failures_are_told_once(comm).await;
}

async fn gather(comm: &dyn Communicator, bytes: &[u8]) -> Vec<Vec<u8>> {
    let rank = comm.place().rank;
    comm.all_gather(bytes).await.unwrap_or_else(|error| panic!("rank {rank}: all_gather: {error}"))
}

/// Ranks, nodes and local ranks are numbered without gaps, and every rank sees the same numbering.
async fn places_agree(comm: &dyn Communicator) {
    let Place { rank, size, node, nodes, local_rank, local_size, host } = comm.place().clone();
    assert!(!host.is_empty(), "rank {rank} has no host name");
    assert!(
        node < nodes && local_rank < local_size,
        "rank {rank}: node {node} of {nodes}, {local_rank} of {local_size}"
    );
    let mine: Vec<u8> = [rank, node, nodes, local_rank, local_size].iter().flat_map(|n| n.to_le_bytes()).collect();
    let all = gather(comm, &mine).await;
    assert_eq!(all.len(), size as usize, "rank {rank}: all_gather gives one part per rank");
    let mut local: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (expected, part) in (0..size).zip(&all) {
        let numbers: Vec<u32> = part.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        assert_eq!(numbers[0], expected, "rank {rank}: parts come in rank order");
        assert_eq!(numbers[2], nodes, "ranks {rank} and {expected} disagree on the number of nodes");
        local.entry(numbers[1]).or_default().push(numbers[3]);
        if numbers[1] == node {
            assert_eq!(numbers[4], local_size, "ranks {rank} and {expected} disagree on the size of node {node}");
        }
    }
    assert!(local.keys().copied().eq(0..nodes), "nodes are numbered 0..{nodes}: {local:?}");
    for (node, mut ranks) in local {
        ranks.sort_unstable();
        assert!(
            ranks.iter().copied().enumerate().all(|(index, rank)| rank as usize == index),
            "local ranks of node {node}: {ranks:?}"
        );
    }
}

/// Bytes that identify the rank and the round they belong to.
fn part(rank: u32, len: usize) -> Vec<u8> {
    let seed = rank as usize * 7 + 1;
    (0..len).map(|index| index.wrapping_mul(31).wrapping_add(seed).to_le_bytes()[0]).collect()
}

async fn gathers_parts_of_different_lengths(comm: &dyn Communicator) {
    let Place { rank, size, .. } = *comm.place();
    let lengths: [fn(u32) -> usize; 5] = [
        |_| 0,
        |rank| rank as usize,
        |rank| if rank == 0 { 0 } else { 3 },
        |rank| if rank == 0 { 100_000 } else { 1 },
        |rank| 1000 * (rank as usize % 3),
    ];
    for (round, len) in lengths.iter().enumerate() {
        let all = gather(comm, &part(rank, len(rank))).await;
        let expected: Vec<_> = (0..size).map(|other| part(other, len(other))).collect();
        assert!(all == expected, "rank {rank}: all_gather round {round} gives other bytes than were passed");
    }
}

async fn broadcasts_from_rank_0(comm: &dyn Communicator) {
    let rank = comm.place().rank;
    for len in [0, 1, 17, 300_000] {
        let mine = if rank == 0 { part(0, len) } else { part(rank, (len + rank as usize) % 5) };
        let got = comm.broadcast(&mine).await.unwrap_or_else(|error| panic!("rank {rank}: broadcast: {error}"));
        assert!(got == part(0, len), "rank {rank}: broadcast of {len} bytes gives others ({} bytes)", got.len());
    }
}

/// A fast rank may be one collective ahead of a slow one; parts of different collectives are not mixed.
async fn interleaves(comm: &dyn Communicator) {
    let Place { rank, size, .. } = *comm.place();
    for round in 0..20 {
        let all = gather(comm, &part(rank + round, 10)).await;
        let expected: Vec<_> = (0..size).map(|other| part(other + round, 10)).collect();
        assert!(all == expected, "rank {rank}: all_gather {round} mixed with another collective");
        if round % 3 == 0 {
            comm.barrier().await.unwrap_or_else(|error| panic!("rank {rank}: barrier: {error}"));
        }
    }
}

/// Version of an array in which every number is 1000 times its previous value, plus the version and a number of the
/// maker.
fn version(arrays: &SharedArrays, version: u32, rank: u32) -> Vec<u32> {
    let made = arrays.version(1, version, &mut |have, numbers| {
        numbers.fill(1000 * have.unwrap_or(0) + 100 * version + rank);
    });
    made.unwrap_or_else(|reason| panic!("rank {rank}: version {version} of an array: {reason}")).as_ref().to_vec()
}

/// All ranks of a node see what one of them made; other nodes have their own arrays.
async fn shares_arrays(comm: &dyn Communicator) {
    let Place { rank, node, local_size, .. } = *comm.place();
    let sharing = share(comm, &[10, 70_000]).await.unwrap_or_else(|error| panic!("rank {rank}: share: {error}"));
    assert!(sharing.refused.is_empty(), "rank {rank}: {:?}", sharing.refused);
    assert_eq!(sharing.arrays.is_some(), local_size > 1, "rank {rank} shares with {local_size} ranks");
    let nodes: Vec<u32> = gather(comm, &node.to_le_bytes()).await.iter().map(|part| number(part)).collect();
    for round in 1..=6 {
        let before = if round == 1 { 0 } else { round - 1 };
        let mine = sharing.arrays.as_ref().map(|arrays| version(arrays, round, rank)).unwrap_or_default();
        assert!(mine.windows(2).all(|pair| pair[0] == pair[1]), "rank {rank}: version {round} is half made");
        let first = mine.first().copied().unwrap_or_default();
        let maker = first.wrapping_sub(1000 * before + 100 * round);
        let all: Vec<u32> = gather(comm, &maker.to_le_bytes()).await.iter().map(|part| number(part)).collect();
        if sharing.arrays.is_some() {
            assert_eq!(nodes.get(maker as usize), Some(&node), "rank {rank}: version {round} is {first}");
            assert!(all.iter().zip(&nodes).all(|(other, at)| *at != node || *other == maker), "rank {rank}: {all:?}");
        }
    }
}

/// Exactly one of the failing ranks of a node reports the failures, and it knows the others.
async fn failures_are_told_once(comm: &dyn Communicator) {
    let Place { rank, node, local_size, .. } = *comm.place();
    let failures = Failures::share(comm).await.unwrap_or_else(|error| panic!("rank {rank}: failures: {error}"));
    assert_eq!(failures.is_some(), local_size > 1, "rank {rank} shares with {local_size} ranks");
    if let Some(failures) = &failures {
        failures.add();
    }
    // All ranks have failed from here on.
    let places = gather(comm, &[node.to_le_bytes(), rank.to_le_bytes()].concat()).await;
    let node_of = |place: &Vec<u8>| number(&place[..4]);
    let mut expected: Vec<u32> =
        places.iter().filter(|place| node_of(place) == node).map(|place| number(&place[4..])).collect();
    expected.retain(|other| *other != rank);
    let found = failures.as_ref().map(Failures::others);
    assert!(
        found.is_none_or(|mut found| {
            found.sort_unstable();
            found == expected
        }),
        "rank {rank}: {expected:?}"
    );
    let tells = u32::from(failures.as_ref().is_none_or(Failures::claim_report));
    let tellers: Vec<u32> = gather(comm, &tells.to_le_bytes()).await.iter().map(|part| number(part)).collect();
    let here = places.iter().zip(&tellers).filter(|(place, tells)| node_of(place) == node && **tells == 1).count();
    assert_eq!(here, 1, "rank {rank}: {tellers:?}");
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
