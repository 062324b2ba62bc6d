//! Runs the conformance suite on the communicators that need no launcher, and tests their specific behaviour.

use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use dlio_comm::shared::{SharedArray, SharedArrays, share};
use dlio_comm::{Communicator, Error, Simulated, Solo, conformance};
use futures::future::join_all;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

#[test]
fn solo_conforms() {
    block_on(conformance::check(&Solo::new()));
}

#[test]
fn simulated_ranks_on_one_thread_conform() {
    for size in [1, 2, 3, 8] {
        let world = Simulated::world(size);
        block_on(join_all(world.iter().map(|rank| conformance::check(rank))));
    }
}

#[test]
fn simulated_ranks_on_several_nodes_conform() {
    let world = Simulated::on_nodes(&[2, 3, 1]);
    assert_eq!(world[4].place().node, 1);
    assert_eq!(world[4].place().local_rank, 2);
    block_on(join_all(world.iter().map(|rank| conformance::check(rank))));
}

#[test]
fn simulated_ranks_on_threads_conform() {
    for size in [2, 3, 8] {
        thread::scope(|scope| {
            for rank in Simulated::world(size) {
                scope.spawn(move || block_on(conformance::check(&rank)));
            }
        });
    }
}

#[test]
fn an_abort_ends_the_pending_and_the_later_collectives_of_the_others() {
    block_on(LocalSet::new().run_until(async {
        let mut world = Simulated::world(3).into_iter().map(Rc::new);
        let (zero, one, two) = (world.next().unwrap(), world.next().unwrap(), world.next().unwrap());
        let waiting = tokio::task::spawn_local({
            let zero = Rc::clone(&zero);
            async move { zero.barrier().await }
        });
        tokio::task::yield_now().await;
        one.abort("reading a.npz: no space", 4);
        for result in [waiting.await.unwrap(), two.barrier().await, zero.all_gather(b"x").await.map(|_| ())] {
            let Err(Error::Aborted { rank, message }) = result else { panic!("{result:?}") };
            assert_eq!((rank, message.as_str()), (1, "reading a.npz: no space"));
        }
    }));
}

#[test]
fn an_abort_reaches_ranks_on_other_threads() {
    let mut world = Simulated::world(2).into_iter();
    let (zero, one) = (world.next().unwrap(), world.next().unwrap());
    thread::scope(|scope| {
        let waiting = scope.spawn(move || block_on(zero.barrier()));
        one.abort("failed", 1);
        assert!(matches!(waiting.join().unwrap(), Err(Error::Aborted { rank: 1, .. })));
    });
}

#[test]
fn a_solo_run_that_was_aborted_has_no_more_collectives() {
    let solo = Solo::new();
    solo.abort("failed", 1);
    assert!(matches!(block_on(solo.barrier()), Err(Error::Aborted { rank: 0, .. })));
}

#[test]
fn ranks_that_call_different_collectives_are_told_so() {
    let world = Simulated::world(2);
    let (barrier, gather) = block_on(async { futures::join!(world[0].barrier(), world[1].all_gather(b"x")) });
    let message = barrier.unwrap_err().to_string();
    assert!(message.contains("AllGather") && message.contains("Barrier") && gather.is_err(), "{message}");
}

#[test]
fn nobody_waits_for_a_rank_that_left() {
    let mut world = Simulated::world(2);
    let left = world.pop().unwrap();
    let stayed = world.pop().unwrap();
    let result = block_on(async {
        let (result, ()) = futures::join!(stayed.barrier(), async { drop(left) });
        result
    });
    assert!(result.unwrap_err().to_string().contains("rank 1 left the world"));
}

#[test]
fn a_collective_that_was_given_up_does_not_disturb_the_next() {
    let world = Simulated::world(2);
    block_on(async {
        let mut given_up = world[0].barrier();
        assert!(futures::poll!(given_up.as_mut()).is_pending());
        drop(given_up);
        world[1].barrier().await.unwrap();
        let (zero, one) = futures::join!(world[0].all_gather(b"a"), world[1].all_gather(b"b"));
        assert_eq!(zero.unwrap(), [b"a", b"b"]);
        one.unwrap();
    });
}

/// Returns the arrays of the ranks of one node.
fn shared(ranks: u32, lens: &[usize]) -> Vec<SharedArrays> {
    let world = Simulated::world(ranks);
    let sharing = block_on(join_all(world.iter().map(|rank| share(rank, lens))));
    sharing.into_iter().map(|sharing| sharing.expect("ranks that talk").arrays.expect("arrays")).collect()
}

/// Makes a version that records its number and the version from which it was made.
fn made(arrays: &SharedArrays, version: u32) -> SharedArray {
    let make = &mut |have: Option<u32>, numbers: &mut [u32]| numbers.fill(10 * have.unwrap_or(0) + version);
    arrays.version(0, version, make).expect("a place for the version")
}

#[test]
fn an_array_is_made_once_for_all_ranks_that_ask_at_the_same_time() {
    let makes = AtomicU32::new(0);
    let ranks = shared(4, &[1 << 20]);
    for version in 1..=3 {
        thread::scope(|scope| {
            for arrays in &ranks {
                scope.spawn(|| {
                    let numbers = arrays.version(0, version, &mut |_, numbers| {
                        makes.fetch_add(1, Ordering::Relaxed);
                        numbers.fill(version);
                    });
                    assert!(numbers.unwrap().as_ref().iter().all(|number| *number == version));
                });
            }
        });
        assert_eq!(makes.load(Ordering::Relaxed), version);
    }
}

#[test]
fn a_reader_keeps_its_version_while_others_go_on() {
    let ranks = shared(2, &[1000]);
    let (ahead, behind) = (&ranks[0], &ranks[1]);
    let first = made(behind, 1);
    assert_eq!(made(ahead, 1).as_ref(), first.as_ref());
    assert_eq!(made(ahead, 2).as_ref(), [12; 1000], "made of a copy of version 1");
    assert_eq!(first.as_ref(), [1; 1000]);
    assert_eq!(made(behind, 1).as_ref(), [1; 1000], "and it is still there to be asked for");
    assert_eq!(made(ahead, 3).as_ref(), [23; 1000], "in the place of version 2, which nobody else reads");
    assert_eq!(first.as_ref(), [1; 1000]);
}

#[test]
fn who_comes_too_late_for_a_version_makes_it_anew_beside_the_later_one() {
    let ranks = shared(2, &[1000]);
    drop(made(&ranks[0], 1));
    drop(made(&ranks[0], 2));
    assert_eq!(made(&ranks[1], 1).as_ref(), [1; 1000]);
    assert_eq!(made(&ranks[1], 2).as_ref(), [12; 1000]);
}

#[test]
fn a_rank_that_finds_both_places_in_use_is_told() {
    let ranks = shared(3, &[1000]);
    let (first, third) = (made(&ranks[0], 1), made(&ranks[1], 3));
    let reason = ranks[2].version(0, 2, &mut |_, _| panic!("there is no place for it")).unwrap_err();
    assert!(reason.contains("not near epoch 2"), "{reason}");
    assert_eq!((first.as_ref(), third.as_ref()), (&[1; 1000][..], &[13; 1000][..]));
}
