//! The conformance suite on the communicators that need no launcher, and what is special about them.

use std::rc::Rc;
use std::thread;

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
