//! Runs with one planted cause each: the report must name that cause, and no other.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small positive numbers")]

use dlio_analyze::{Options, Report, render, report};
use dlio_event::{ConnectionId, Event, EventSink, Lane, OpKind, Outcome, Phase, Position};
use dlio_trace::{Header, TraceWriter, file_name, read_dir};

const MS: u64 = 1_000_000;
const RANKS: u32 = 4;
const STEPS: u32 = 60;

/// The planted cause.
#[derive(Clone, Copy, PartialEq)]
enum Planted {
    Nothing,
    SlowEndpoint,
    SlowRank,
    Throttled,
    ColdConnection,
    /// One rank is slow at every tenth step, and otherwise arrives last as often as the others.
    SlowBatches,
    /// One rank begins to read later than the others, and is as fast.
    LateRank,
    /// One connection opens slowly in the first step, which AU leaves out.
    ColdStart,
    /// All connections open slowly.
    SlowStart,
    /// The bandwidth drops to a tenth for a while.
    SlowTime,
}

/// Every rank reads a batch of four objects within the wait, computes for 50 ms and enters the barrier.
fn planted(cause: Planted) -> Report {
    run(cause, STEPS, 0)
}

/// `noise` is the seed of latencies that vary by a factor of four; 0 for constant latencies.
fn run(cause: Planted, steps: u32, noise: u64) -> Report {
    let mut noise = noise;
    let folder = tempfile::tempdir().unwrap();
    let writers: Vec<TraceWriter> = (0..RANKS)
        .map(|rank| {
            let header = Header { rank, world: RANKS, host: format!("node{rank}"), ..Header::default() };
            TraceWriter::create(&folder.path().join(file_name(rank)), &header).unwrap()
        })
        .collect();
    let mut now = 5 * MS;
    let begin = now;
    let train = Position { phase: Phase::Train, epoch: 1, block: 1, ..Position::default() };
    for step in 1..=steps {
        let at = Position { step, ..train };
        let mut arrivals = Vec::new();
        for (rank, writer) in (0..RANKS).zip(&writers) {
            let ahead = if cause == Planted::LateRank && rank != 1 { 4 * MS } else { 0 };
            let loaded = (0..4).fold(now - ahead, |start, read| {
                let extra = varied(&mut noise);
                one_read(writer, cause, at, (rank, read), (start, extra))
            });
            let computed = loaded + 50 * MS;
            writer.record(Event::span(OpKind::Fetch, Lane::MAIN, at, now, loaded));
            writer.record(Event::span(OpKind::Compute, Lane::MAIN, at, loaded, computed));
            arrivals.push(computed);
        }
        let last = arrivals.iter().copied().max().unwrap() + MS / 10;
        for (writer, arrived) in writers.iter().zip(arrivals) {
            writer.record(Event::span(OpKind::Barrier, Lane::MAIN, at, arrived, last));
        }
        now = last;
    }
    for writer in writers {
        writer.record(Event::span(OpKind::Block, Lane::MAIN, train, begin, now));
        writer.finish().unwrap();
    }
    report(&read_dir(folder.path()).unwrap(), &Options::default()).unwrap()
}

/// Returns up to 3 ms in nanoseconds; short times are more likely.
fn varied(noise: &mut u64) -> u64 {
    if *noise == 0 {
        return 0;
    }
    *noise = dlio_event::mix::Lcg64::new(*noise).next_state();
    let part = (*noise >> 40) as f64 / (1_u64 << 24) as f64;
    (part.powi(4) * 3.0 * MS as f64) as u64
}

/// An operation that queues for 0.1 ms, has its first byte after 1 ms and takes 1 ms for the rest; returns the end.
fn one_read(
    writer: &TraceWriter,
    cause: Planted,
    at: Position,
    (rank, read): (u32, u32),
    (start, extra): (u64, u64),
) -> u64 {
    // Ranks use the endpoints in turn, so that a slow endpoint delays all of them alike.
    let server = (read + at.step + rank) % 4;
    let object = writer.object(&format!("train/file_{:05}", (at.step * RANKS + rank) * 4 + read));
    let endpoint = writer.endpoint(&format!("http://10.0.0.{server}:9000"));
    let connection = ConnectionId(server);
    let mut event =
        Event { object, endpoint, connection, bytes: 1 << 20, ..Event::span(OpKind::Get, Lane(0), at, start, start) };
    if cause == Planted::Throttled && (20..30).contains(&at.step) && read == 1 {
        let end = start + 2 * MS;
        writer.record(Event {
            bytes: 0,
            issued: Some(start + MS / 10),
            end,
            status: 503,
            outcome: Outcome::Throttled,
            ..event
        });
        event.attempt = 1;
        event.start = end + 20 * MS;
    }
    let cold = cause == Planted::ColdConnection && rank == 2 && at.step == 31 && read == 3;
    let cold_start = at.step == 1
        && (cause == Planted::ColdStart && rank == 2 && read == 3 || cause == Planted::SlowStart && read == 0);
    if cold {
        event.connection = ConnectionId(99);
    }
    let queued = if cold || cold_start { 900 * MS } else { MS / 10 };
    let slow = match cause {
        Planted::SlowEndpoint => server == 3,
        Planted::SlowRank => rank == 1,
        Planted::SlowBatches => rank == 1 && at.step.is_multiple_of(10),
        _ => false,
    };
    let first_byte = event.start + queued + if slow { 12 * MS } else { MS };
    let slow_time = cause == Planted::SlowTime && (20..30).contains(&at.step);
    let end = first_byte + if slow_time { 10 * MS } else { MS } + extra;
    writer.record(Event { issued: Some(event.start + queued), first_byte: Some(first_byte), end, ..event });
    end
}

fn named(report: &Report) -> Vec<(&str, &str)> {
    report.diagnosis.findings.iter().map(|found| (found.code.as_str(), found.subject.as_str())).collect()
}

/// Returns the nanoseconds that all ranks lost to a component.
fn lost(report: &Report, part: &str) -> u64 {
    let parts = report.diagnosis.losses.iter().flat_map(|loss| loss.parts.named());
    parts.filter(|(name, _)| *name == part).map(|(_, amount)| amount).sum()
}

#[test]
fn a_run_without_a_cause_has_no_finding_and_its_time_is_explained() {
    let report = planted(Planted::Nothing);
    assert_eq!(named(&report), []);
    for loss in &report.diagnosis.losses {
        let parts: u64 = loss.parts.named().iter().map(|(_, amount)| amount).sum();
        assert_eq!((loss.compute + parts, loss.parts.rest, loss.steps), (loss.total, 0, u64::from(STEPS) - 1));
        // Each step has four reads of 2.1 ms, 50 ms of computation, and 0.1 ms at the barrier; the barrier of the step
        // that is left out counts, too.
        assert_eq!(loss.parts.first_byte, u64::from(STEPS - 1) * 4 * MS);
        let counted = f64::from(STEPS - 1);
        let au = |step: f64| 100.0 * 50.0 * counted / (step * counted + 0.1);
        assert!((loss.au_percentage - au(58.5)).abs() < 1e-9, "{}", loss.au_percentage);
        let without = loss.without.iter().find(|without| without.part == "transfer").unwrap();
        assert!((without.au_percentage - au(54.5)).abs() < 1e-9);
    }
    let fallen: f64 = report.diagnosis.waterfall.iter().map(|fall| fall.percentage).sum();
    let headline = report.train.as_ref().unwrap().au.unwrap().mean;
    assert!((fallen + headline - 100.0).abs() < 1e-9, "{fallen} below 100 % is not {headline}");
}

#[test]
fn a_slow_endpoint_is_named() {
    let report = planted(Planted::SlowEndpoint);
    assert_eq!(named(&report), [("slow_endpoint", "http://10.0.0.3:9000")]);
    let worst = report.diagnosis.stragglers.iter().find(|row| row.by == "endpoint");
    assert!(worst.is_none_or(|row| row.name == "http://10.0.0.3:9000"));
    assert!(report.diagnosis.slow_steps.iter().all(|step| step.endpoint == "http://10.0.0.3:9000"));
}

#[test]
fn a_slow_rank_is_named_with_what_it_did() {
    let report = planted(Planted::SlowRank);
    assert_eq!(named(&report), [("slow_rank", "1")]);
    assert!(report.diagnosis.findings[0].text.contains("rank 1 on node1 was the last at 60 barriers, mostly waiting"));
    let late = &report.diagnosis.critical_ranks[0];
    assert!(late.waiting_percentage > 99.9, "it computes as long as the others: {}", late.waiting_percentage);
    assert!(lost(&report, "barrier") > lost(&report, "transfer"));
    let waiting = report.diagnosis.imbalance.iter().find(|row| row.quantity == "waiting per rank").unwrap();
    assert!(waiting.max_by_mean > 2.0 && waiting.gini > 0.3);
}

#[test]
fn a_rank_that_is_slow_at_some_barriers_is_named_although_chance_decides_the_others() {
    for seed in 1..=10 {
        let report = run(Planted::SlowBatches, 2 * STEPS, seed);
        assert_eq!(named(&report), [("slow_rank", "1")], "seed {seed} {:?}", report.diagnosis.critical_ranks);
    }
}

#[test]
fn a_rank_that_is_last_because_it_began_last_is_not_slow() {
    let report = planted(Planted::LateRank);
    assert_eq!(
        (report.diagnosis.critical_ranks[0].rank, report.diagnosis.critical_ranks[0].steps),
        (1, u64::from(STEPS))
    );
    assert_eq!(named(&report), []);
}

#[test]
fn a_time_of_throttling_is_named_with_its_ends() {
    let report = planted(Planted::Throttled);
    assert_eq!(named(&report), [("throttled", "storage")]);
    let text = &report.diagnosis.findings[0].text;
    assert!(text.contains("refused 40 requests (429, 503) from 0:01 to 0:02 of the run"), "{text}");
    // Each rank has ten throttled requests of 2 ms, and pauses of 20 ms.
    assert_eq!(lost(&report, "retries"), u64::from(RANKS) * 10 * 22 * MS);
    assert!(report.diagnosis.slow_steps.iter().take(20).all(|step| (20..30).contains(&step.step)));
}

#[test]
fn a_connection_that_opened_slowly_is_named_with_the_object_that_waited_for_it() {
    let report = planted(Planted::ColdConnection);
    assert_eq!(named(&report), [("cold_connections", "2")]);
    let cold = &report.diagnosis.findings[0];
    assert!(cold.text.contains("took 0.901 s to open on rank 2, epoch 1, step 31"), "{}", cold.text);
    let slowest = &report.diagnosis.slow_steps[0];
    assert_eq!((slowest.rank, slowest.step, slowest.object.as_str()), (2, 31, "train/file_00507"));
    assert!(slowest.parts.queueing >= 900 * MS);
}

#[test]
fn a_connection_that_opened_slowly_in_a_step_without_au_is_named_for_those_who_waited_at_its_barrier() {
    let report = planted(Planted::ColdStart);
    assert_eq!(named(&report), [("cold_connections", "2")]);
    let text = &report.diagnosis.findings[0].text;
    assert!(
        text.contains(
            "the other ranks waiting for 2.700 s; the slowest one took 0.901 s to open on rank 2, epoch 1, step 1"
        ),
        "{text}"
    );
    let all = planted(Planted::SlowStart);
    assert!(named(&all).iter().all(|found| found.0 != "cold_connections"), "no connection is slower than the others");
}

#[test]
fn a_time_of_slow_transfers_without_a_refusal_is_named_with_its_ends() {
    let report = planted(Planted::SlowTime);
    let [found] = &report.diagnosis.findings[..] else { panic!("{:?}", report.diagnosis.findings) };
    assert_eq!((found.code.as_str(), found.subject.as_str()), ("slow_period", "0:01–0:02"));
}

#[test]
fn a_clean_run_with_noise_has_no_finding_however_short_it_is() {
    for seed in 1..=40 {
        for steps in [1, 3, 10, STEPS] {
            let report = run(Planted::Nothing, steps, seed);
            assert_eq!(named(&report), [], "seed {seed}, {steps} steps: {:?}", report.diagnosis.findings);
        }
    }
}

#[test]
fn every_cause_is_the_first_finding_through_noise() {
    use Planted::{ColdConnection, ColdStart, SlowEndpoint, SlowRank, SlowTime, Throttled};
    let expected = [
        (SlowEndpoint, "slow_endpoint"),
        (SlowRank, "slow_rank"),
        (Throttled, "throttled"),
        (ColdConnection, "cold_connections"),
        (ColdStart, "cold_connections"),
        (SlowTime, "slow_period"),
    ];
    for (cause, code) in expected {
        for seed in 1..=10 {
            let report = run(cause, STEPS, seed);
            assert_eq!(named(&report).first().map(|found| found.0), Some(code), "seed {seed}: {:?}", named(&report));
        }
    }
}

#[test]
fn the_table_of_every_cause_fits_100_columns() {
    use Planted::{ColdConnection, SlowEndpoint, SlowRank, SlowTime, Throttled};
    for cause in [SlowEndpoint, SlowRank, Throttled, ColdConnection, SlowTime] {
        let text = render::table(&planted(cause), 100);
        assert!(text.contains("What AU was lost to") && text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}
