//! Replays on virtual time, with storage whose delays are known.

use std::rc::Rc;

use dlio_comm::Solo;
use dlio_event::{CollectingSink, TimeSource as _};
use dlio_plan::replay::{Access, Edges, ReplayKind};
use dlio_storage::delay::{Delay, Delayed, Delays};
use dlio_storage::memory::Memory;

use super::*;
use crate::{CancelFlag, LaneHost, Silent, StallLimits, VirtualClock};

const MS: Nanos = 1_000_000;

fn op(number: u64, lane: u32, due_ms: u64, think_ms: u64) -> ReplayOp {
    ReplayOp {
        number,
        lane,
        kind: ReplayKind::Read,
        key: "a".to_owned(),
        offset: 10,
        len: Some(20),
        bytes: 20,
        due: due_ms * MS,
        think: think_ms * MS,
        ..ReplayOp::default()
    }
}

fn options(timing: Timing, late: Late, inflight: u32) -> ReplayOptions {
    ReplayOptions {
        timing,
        late,
        inflight,
        peak: 2,
        lanes: 2,
        routes: Vec::new(),
        loops: (0, 0),
        seed: 1,
        lead: Duration::from_millis(5),
        stall_after: StallLimits::default(),
        cancel: CancelFlag::new(),
    }
}

/// Replays on virtual time, with reads that take `delay_ms`. Returns the start times of the operations in milliseconds since the start of
/// the replay, in order.
async fn run(
    operations: Vec<ReplayOp>,
    options: ReplayOptions,
    delay_ms: u64,
) -> (Fidelity, Vec<u64>, Arc<CollectingSink>) {
    let clock = Arc::new(VirtualClock::new());
    let memory = Memory::new(clock.clone());
    memory.put("a", vec![7; 100]);
    let read = Delay::latency(Duration::from_millis(delay_ms));
    let storage = Delayed::on_tokio(memory, Delays { read, write: read, ..Delays::default() }, clock.clone());
    let sink = Arc::new(CollectingSink::default());
    let rig = Rig {
        storage: Arc::new(storage),
        comm: Rc::new(Solo::new()),
        clock,
        events: sink.clone(),
        lanes: LaneHost::Tasks,
        observer: Rc::new(Silent),
    };
    let operations = operations.into_iter().map(Ok);
    let fidelity = tokio::task::LocalSet::new().run_until(replay(operations, &rig, &options)).await.unwrap();
    let mut starts: Vec<u64> =
        sink.events().iter().filter(|event| event.bytes > 0).map(|event| event.start / MS - 5).collect();
    starts.sort_unstable();
    (fidelity, starts, sink)
}

#[tokio::test(start_paused = true)]
async fn operations_are_issued_at_their_moments_whatever_those_before_take() {
    let operations = vec![op(0, 0, 0, 0), op(1, 0, 10, 0), op(2, 1, 10, 0), op(3, 0, 250, 0)];
    let (fidelity, starts, sink) = run(operations, options(Timing::Open, Late::CatchUp, 8), 40).await;
    assert_eq!(starts, [0, 10, 10, 250]);
    assert_eq!((fidelity.operations_done, fidelity.bytes_done, fidelity.bytes_planned), (4, 80, 80));
    assert_eq!((fidelity.issue_error.max(), fidelity.inversions, fidelity.peak), (Some(0), 0, 3));
    assert_eq!((fidelity.busy_ns, fidelity.span_ns), (160 * MS, 290 * MS));
    assert_eq!(fidelity.metric("interarrival_ks"), Some(0.0));
    let dues: Vec<_> = sink.events().iter().filter(|event| event.bytes > 0).map(|event| event.due).collect();
    assert!(dues.contains(&Some(255 * MS)) && !dues.contains(&None), "{dues:?}");
}

/// Returns a write with this recorded duration in milliseconds.
fn taking(took_ms: u64, op: ReplayOp) -> ReplayOp {
    ReplayOp { took: took_ms * MS, kind: ReplayKind::Write, ..op }
}

#[tokio::test(start_paused = true)]
async fn late_operations_of_a_lane_on_one_object_keep_their_order_and_hold_nobody_else_up() {
    // Writes took 4 ms in the recording and take 40 ms here. The writes at 5 and 10 ms followed earlier ones; those at 11 and 12 ms overlapped
    // the one at 10 ms; lane 1 is another thread.
    let operations = || {
        vec![
            taking(4, op(0, 0, 0, 0)),
            taking(4, op(1, 0, 5, 0)),
            taking(4, op(2, 0, 10, 0)),
            taking(4, op(3, 0, 11, 0)),
            taking(4, op(4, 1, 12, 0)),
            taking(4, op(5, 0, 300, 0)),
        ]
    };
    let (fidelity, starts, _) = run(operations(), options(Timing::Open, Late::CatchUp, 4), 40).await;
    assert_eq!(starts, [0, 12, 40, 80, 80, 300]);
    assert_eq!((fidelity.operations_done, fidelity.peak), (6, 2));
    // Operations that wait for others do not count as in flight.
    let (_, starts, _) = run(operations(), options(Timing::Open, Late::CatchUp, 2), 40).await;
    assert_eq!(starts, [0, 12, 40, 80, 80, 300]);
    let (_, starts, _) = run(operations(), options(Timing::Open, Late::CatchUp, 1), 40).await;
    assert_eq!(starts, [0, 40, 80, 120, 160, 300]);
    // Successors of a skipped operation do not wait forever.
    let (skipped, starts, _) = run(operations(), options(Timing::Open, Late::Skip, 4), 40).await;
    assert_eq!((starts, skipped.operations_skipped), (vec![0, 12, 300], 3));
}

#[tokio::test(start_paused = true)]
async fn an_fsync_and_a_closing_stay_behind_the_late_write_of_their_file() {
    let clock = Arc::new(VirtualClock::new());
    let memory = Memory::new(clock.clone());
    let slow = Delay::latency(Duration::from_millis(50));
    let delays = Delays { write: slow, ..Delays::default() };
    let sink = Arc::new(CollectingSink::default());
    let rig = Rig {
        storage: Arc::new(Delayed::on_tokio(memory, delays, clock.clone())),
        comm: Rc::new(Solo::new()),
        clock,
        events: sink.clone(),
        lanes: LaneHost::Tasks,
        observer: Rc::new(Silent),
    };
    let access = Access::Update { create: true };
    let step = |number: u64, kind| {
        let op = ReplayOp { kind, bytes: 10, offset: 10 * number, access, ..on(1, op(number, 0, number, 0)) };
        Ok(ReplayOp { took: MS / 2, closes: (number == 5).then_some(5), ..op })
    };
    let kinds =
        [ReplayKind::Open, ReplayKind::Write, ReplayKind::Sync, ReplayKind::Read, ReplayKind::Write, ReplayKind::Close];
    let operations: Vec<_> = (0..).zip(kinds).map(|(number, kind)| step(number, kind)).collect();
    let options = options(Timing::Open, Late::CatchUp, 8);
    let local = tokio::task::LocalSet::new();
    let fidelity = local.run_until(replay(operations.into_iter(), &rig, &options)).await.unwrap();
    assert_eq!((fidelity.opens, fidelity.operations_planned), (1, 6));
    let events = sink.events();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.name()).collect();
    assert_eq!(kinds, ["open", "write", "fsync", "read", "write"]);
    assert!(events.windows(2).all(|pair| pair[0].end <= pair[1].start), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn lateness_is_caught_up_stretched_or_skipped() {
    // Operations of 50 ms run one at a time; they are due every 30 ms and then after a pause.
    let operations = || vec![op(0, 0, 0, 0), op(1, 0, 30, 0), op(2, 0, 60, 0), op(3, 0, 200, 0)];
    let (caught_up, starts, _) = run(operations(), options(Timing::Open, Late::CatchUp, 1), 50).await;
    assert_eq!(starts, [0, 50, 100, 200]);
    assert_eq!((caught_up.issue_error.max(), caught_up.stretched_ns), (Some(40 * MS), 0));
    let (stretched, starts, _) = run(operations(), options(Timing::Open, Late::Stretch, 1), 50).await;
    assert_eq!(starts, [0, 50, 100, 240]);
    assert_eq!((stretched.stretched_ns, stretched.issue_error.max()), (40 * MS, Some(0)));
    let (skipped, starts, _) = run(operations(), options(Timing::Open, Late::Skip, 1), 50).await;
    assert_eq!(starts, [0, 60, 200]);
    assert_eq!((skipped.operations_skipped, skipped.operations_done, skipped.operations_planned), (1, 3, 4));
    assert_eq!(skipped.metric("operations_missing"), Some(1.0));
}

/// A clock that also advances while operations are read from the trace.
struct Reading {
    clock: VirtualClock,
    read: Arc<std::sync::atomic::AtomicU64>,
}

impl dlio_event::TimeSource for Reading {
    fn now(&self) -> Nanos {
        self.clock.now() + self.read.load(Ordering::Relaxed)
    }
}

impl crate::Clock for Reading {
    fn sleep_until(&self, at: Nanos) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
        self.clock.sleep_until(at.saturating_sub(self.read.load(Ordering::Relaxed)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_is_denser_than_it_can_be_read_is_met_again_and_what_was_late_is_counted() {
    let read = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let clock = Arc::new(Reading { clock: VirtualClock::new(), read: Arc::clone(&read) });
    let memory = Memory::new(clock.clone());
    memory.put("a", vec![7; 100]);
    let rig = Rig {
        storage: Arc::new(memory),
        comm: Rc::new(Solo::new()),
        clock,
        events: Arc::new(dlio_event::NullSink),
        lanes: LaneHost::Tasks,
        observer: Rc::new(Silent),
    };
    // 100,000 operations are due within 100 ms, and reading each takes 3 µs: the last ones are read 200 ms late, as are the operations of the
    // pause. Then one operation is due every millisecond, and after 150 of them the schedule is met.
    let dense = (0..100_000u64).map(|number| (number, number * 1000));
    let sparse = (0..1000u64).map(|number| (100_000 + number, 150 * MS + number * MS));
    let operations = dense.chain(sparse).map(|(number, due)| {
        read.fetch_add(3000, Ordering::Relaxed);
        Ok(ReplayOp { due, ..op(number, 0, 0, 0) })
    });
    let options = options(Timing::Open, Late::Skip, 4);
    let local = tokio::task::LocalSet::new();
    let fidelity = local.run_until(replay(operations, &rig, &options)).await.unwrap();
    assert_eq!(fidelity.operations_planned, 101_000);
    assert_eq!(fidelity.operations_done + fidelity.operations_skipped, 101_000);
    assert!(fidelity.operations_unread > 50_000 && fidelity.operations_unread < fidelity.operations_skipped);
    assert!(fidelity.operations_done >= 850 + WINDOW as u64, "{} were done", fidelity.operations_done);
    // Excludes operations whose worker slept while others were read.
    let late = fidelity.issue_error.percentile(dlio_event::percentile::P99).unwrap();
    assert!(late <= TOLERANCE + TOLERANCE / 64, "{late} ns late");
}

#[tokio::test(start_paused = true)]
async fn program_order_keeps_pauses_after_completions_and_asap_keeps_none() {
    let operations = || vec![op(0, 0, 0, 0), op(1, 1, 5, 5), op(2, 0, 30, 20), op(3, 1, 40, 7)];
    let (closed, starts, _) = run(operations(), options(Timing::Closed, Late::CatchUp, 8), 50).await;
    assert_eq!(starts, [0, 5, 62, 70]);
    assert_eq!((closed.think_error.count(), closed.think_error.max()), (4, Some(0)));
    assert_eq!(closed.inversions, 1, "lane 1 came before lane 0 the second time");
    let (asap, starts, _) = run(operations(), options(Timing::Asap, Late::CatchUp, 8), 50).await;
    assert_eq!(starts, [0, 0, 50, 50]);
    assert_eq!(asap.metric("issue_error_p50"), None);
    let (_, starts, _) = run(operations(), options(Timing::Asap, Late::CatchUp, 1), 50).await;
    assert_eq!(starts, [0, 50, 100, 150]);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_pending_operations_are_read_only_as_there_is_room() {
    let clock = Arc::new(VirtualClock::new());
    let memory = Memory::new(clock.clone());
    memory.put("a", vec![7; 100]);
    let rig = Rig {
        storage: Arc::new(memory),
        comm: Rc::new(Solo::new()),
        clock: clock.clone(),
        events: Arc::new(dlio_event::NullSink),
        lanes: LaneHost::Tasks,
        observer: Rc::new(Silent),
    };
    let ahead = std::cell::Cell::new(0);
    let operations = (0..100_000u64).map(|number| {
        // One operation is due per millisecond, so the window determines how many are read before they are due.
        ahead.set(ahead.get().max(number.saturating_sub(clock.now() / MS)));
        Ok(op(number, 0, number, 0))
    });
    let options = options(Timing::Open, Late::CatchUp, 4);
    let fidelity = tokio::task::LocalSet::new().run_until(replay(operations, &rig, &options)).await.unwrap();
    assert_eq!((fidelity.operations_done, fidelity.issue_error.max()), (100_000, Some(0)));
    assert!(ahead.get() <= WINDOW as u64 + 8, "{} operations were read ahead", ahead.get());
}

#[tokio::test(start_paused = true)]
async fn writes_have_their_size_and_seeded_content_and_failures_are_counted() {
    let clock = Arc::new(VirtualClock::new());
    let memory = Arc::new(Memory::new(clock.clone()));
    let rig = Rig {
        storage: memory.clone(),
        comm: Rc::new(Solo::new()),
        clock,
        events: Arc::new(dlio_event::NullSink),
        lanes: LaneHost::Tasks,
        observer: Rc::new(Silent),
    };
    let write = |number, key: &str, bytes| {
        Ok(ReplayOp { kind: ReplayKind::Write, key: key.to_owned(), bytes, ..op(number, 0, 0, 0) })
    };
    let operations = vec![write(0, "x", 3 << 20), write(1, "y", 5), Ok(op(2, 0, 0, 0))];
    let options = options(Timing::Asap, Late::CatchUp, 1);
    let local = tokio::task::LocalSet::new();
    let fidelity = local.run_until(replay(operations.into_iter(), &rig, &options)).await.unwrap();
    let (x, y) = (memory.get("x").unwrap(), memory.get("y").unwrap());
    assert_eq!((x.len(), y.len()), (3 << 20, 5));
    assert!(x[..5] != y[..] && x[..1 << 20] != x[1 << 20..2 << 20]);
    assert_eq!((fidelity.operations_done, fidelity.operations_failed), (2, 1));
    assert!(fidelity.first_failure.unwrap().contains('a'));
}

#[tokio::test(start_paused = true)]
async fn pieces_are_written_where_they_were_into_one_open_file() {
    let clock = Arc::new(VirtualClock::new());
    let memory = Arc::new(Memory::new(clock.clone()));
    memory.put("a", vec![7; 100]);
    let sink = Arc::new(CollectingSink::default());
    let rig = Rig {
        storage: memory.clone(),
        comm: Rc::new(Solo::new()),
        clock,
        events: sink.clone(),
        lanes: LaneHost::Tasks,
        observer: Rc::new(Silent),
    };
    let access = Access::Update { create: true };
    let piece = |number, kind, offset, bytes| {
        let op = ReplayOp { kind, offset, bytes, len: Some(bytes), access, ..on(1, op(number, 0, number, 0)) };
        Ok(ReplayOp { closes: (number == 4).then_some(5), ..op })
    };
    let operations = [
        piece(0, ReplayKind::Open, 0, 0),
        piece(1, ReplayKind::Write, 50, 10),
        piece(2, ReplayKind::Read, 45, 20),
        piece(3, ReplayKind::Sync, 0, 0),
        piece(4, ReplayKind::Write, 200, 10),
    ];
    let options = options(Timing::Open, Late::CatchUp, 2);
    let local = tokio::task::LocalSet::new();
    let fidelity = local.run_until(replay(operations.into_iter(), &rig, &options)).await.unwrap();
    assert_eq!((fidelity.operations_done, fidelity.operations_failed, fidelity.opens), (5, 0, 1));
    assert_eq!((fidelity.bytes_done, fidelity.bytes_planned), (40, 40));
    let content = memory.get("a").unwrap();
    assert_eq!((content.len(), &content[..50], &content[60..100]), (210, &[7; 50][..], &[7; 40][..]));
    assert!(content[100..200].iter().all(|byte| *byte == 0) && content[50..60] != content[200..]);
    let events = sink.events();
    let kinds: Vec<_> = events.iter().map(|event| (event.kind.name(), event.offset, event.bytes)).collect();
    assert_eq!(kinds, [("open", 0, 0), ("write", 50, 10), ("read", 45, 20), ("fsync", 0, 0), ("write", 200, 10)]);
}

/// Returns an operation on an open file.
fn on(handle: u64, op: ReplayOp) -> ReplayOp {
    ReplayOp { handle: Some(handle), ..op }
}

#[tokio::test(start_paused = true)]
async fn a_file_is_opened_once_for_all_reads_and_a_read_waits_for_it() {
    let open = |number, due| ReplayOp { kind: ReplayKind::Open, bytes: 0, ..on(1, op(number, 0, due, 0)) };
    let operations = vec![
        open(0, 0),
        on(1, op(1, 0, 5, 0)),
        on(1, op(2, 1, 20, 0)),
        ReplayOp { closes: Some(4), ..on(1, op(3, 0, 30, 0)) },
    ];
    let (fidelity, starts, sink) = run(operations, options(Timing::Open, Late::CatchUp, 4), 7).await;
    assert_eq!((fidelity.opens, fidelity.opens_recorded, fidelity.operations_done), (1, 1, 4));
    assert_eq!(starts, [5, 20, 30]);
    let opens = sink.events().iter().filter(|event| event.kind == dlio_event::OpKind::Open).count();
    assert_eq!(opens, 1);
}

#[tokio::test(start_paused = true)]
async fn what_failed_when_it_was_recorded_may_fail_again() {
    let lost = ReplayOp { key: "lost".to_owned(), failed: true, ..op(0, 0, 0, 0) };
    let (fidelity, ..) = run(vec![lost, op(1, 0, 1, 0)], options(Timing::Open, Late::CatchUp, 2), 1).await;
    assert_eq!((fidelity.operations_failed, fidelity.operations_failed_again, fidelity.operations_done), (0, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn dependent_timing_keeps_reads_behind_the_loop_and_the_loop_behind_its_reads() {
    let edges = |after, batch, needs, counts| Edges { own: false, group: 0, after, batch, needs, counts };
    let step = |op, edges| ReplayOp { edges, ..op };
    let turn = |number, kind, took: u64, edges| ReplayOp {
        kind,
        took: took * MS,
        bytes: 0,
        ..step(op(number, 9, 0, 0), Edges { own: true, ..edges })
    };
    // Reads took 10 ms in the recording: the loop fetched at 10 ms and computed until 30 ms, and a read followed immediately.
    let operations = || {
        vec![
            step(op(0, 0, 0, 0), edges(0, 1, 0, false)),
            turn(1, ReplayKind::Fetch, 10, edges(0, 1, 1, true)),
            turn(2, ReplayKind::Compute, 20, edges(0, 0, 0, false)),
            step(op(3, 0, 10, 0), edges(1, 2, 0, false)),
            turn(4, ReplayKind::Fetch, 0, edges(0, 2, 1, true)),
            step(op(5, 0, 30, 0), edges(2, 3, 0, false)),
        ]
    };
    for (delay, expected) in [(10, [0, 10, 30]), (40, [0, 40, 80]), (1, [0, 1, 21])] {
        for inflight in [1, 3] {
            let options = ReplayOptions { loops: (1, 0), ..options(Timing::Dependent, Late::CatchUp, inflight) };
            let (fidelity, starts, _) = run(operations(), options, delay).await;
            assert_eq!(fidelity.operations_done, 3);
            if inflight == 3 {
                assert_eq!(starts, expected, "reads of {delay} ms");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn training_loops_of_one_rank_meet_however_few_operations_may_be_under_way() {
    let span = |number, group: u32, kind, took: u64| ReplayOp {
        kind,
        took: took * MS,
        bytes: 0,
        edges: Edges { own: true, group, counts: kind == ReplayKind::Barrier, ..Edges::default() },
        ..op(number, 8 + group, 0, 0)
    };
    let read = |number, group: u32| ReplayOp {
        edges: Edges { group, after: 1, ..Edges::default() },
        ..op(number, group, 0, 0)
    };
    let operations = || {
        vec![
            span(0, 0, ReplayKind::Compute, 10),
            span(1, 0, ReplayKind::Barrier, 0),
            span(2, 1, ReplayKind::Compute, 30),
            span(3, 1, ReplayKind::Barrier, 0),
            read(4, 0),
            read(5, 1),
        ]
    };
    for inflight in [1, 2] {
        let options = ReplayOptions { loops: (2, 1), ..options(Timing::Dependent, Late::CatchUp, inflight) };
        let (fidelity, starts, _) = run(operations(), options, 5).await;
        assert_eq!(fidelity.operations_done, 2);
        assert_eq!(starts, if inflight == 1 { [30, 35] } else { [30, 30] });
    }
}
