//! Reports on traces that dlio-rs never writes: no number in a report may be NaN or infinite.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::path::Path;

use dlio_analyze::compare::compare;
use dlio_analyze::{Options, Report, render, report};
use dlio_event::{ConnectionId, EndpointId, Event, EventSink, Lane, ObjectId, OpKind, Outcome, Phase, Position};
use dlio_trace::{Header, TraceWriter, file_name, read_dir};
use proptest::prelude::*;

fn reported(folder: &Path, events: &[Event], ranks: u32) -> Report {
    for rank in 0..ranks {
        let header = Header { rank, world: ranks, ..Header::default() };
        let writer = TraceWriter::create(&folder.join(file_name(rank)), &header).unwrap();
        let (objects, endpoints) =
            ([writer.object("a"), writer.object("b")], [writer.endpoint("http://h:9"), EndpointId::NONE]);
        for event in events.iter().filter(|event| event.connection.0 % ranks == rank) {
            let object = objects.get(event.object.0 as usize).copied().unwrap_or(ObjectId::NONE);
            let endpoint = endpoints[usize::from(event.endpoint.0) % 2];
            writer.record(Event { object, endpoint, ..*event });
        }
        writer.finish().unwrap();
    }
    report(&read_dir(folder).unwrap(), &Options::default()).unwrap()
}

/// Fails if a number of a report is not finite.
fn check(report: &Report) {
    let json = render::json(report);
    // JSON has no NaN, which would become a null in place of a number.
    serde_json::from_slice::<Report>(&json).unwrap();
    let page = String::from_utf8(render::html(report)).unwrap();
    let data = page.split("application/json").nth(1).unwrap_or_default();
    for (name, text) in
        [("table", render::table(report, 100)), ("CSV", render::csv(report)), ("Markdown", render::markdown(report))]
    {
        assert!(!odd(&text), "the {name}: {text}");
    }
    assert!(!odd(data.split("</script>").next().unwrap_or_default()), "the page's data");
    assert!(!odd(&serde_json::to_string(report).unwrap()));
}

/// Returns whether a text contains a non-finite number as Rust formats it.
fn odd(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.into_iter().any(|word| word == "NaN" || word == "inf")
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let kinds = prop_oneof![
        Just(OpKind::Get),
        Just(OpKind::GetRange),
        Just(OpKind::Put),
        Just(OpKind::Open),
        Just(OpKind::Fetch),
        Just(OpKind::Compute),
        Just(OpKind::Barrier),
        Just(OpKind::Sample),
        Just(OpKind::Batch),
        Just(OpKind::Epoch),
        Just(OpKind::Block),
        Just(OpKind::CheckpointSave),
    ];
    let place = (0_usize..Phase::ALL.len(), 0_u32..3, 0_u32..2, 0_u32..4);
    // Times and durations with many equal values and zeros.
    let times =
        (prop_oneof![Just(0_u64), 0..1_000_u64, 0..10_000_000_000_u64], prop_oneof![Just(0_u64), 0..2_000_000_u64]);
    let rest = (0_u64..5_000, 0_usize..Outcome::ALL.len(), 0_u32..4, 0_u32..3, any::<bool>());
    let event = (kinds, place, times, rest).prop_map(|(kind, (phase, epoch, block, step), (start, took), rest)| {
        let (bytes, outcome, connection, object, main) = rest;
        let at = Position { phase: Phase::ALL[phase], epoch, block, step, sample: (bytes % 2 == 0).then_some(bytes) };
        let lane = if main { Lane::MAIN } else { Lane(0) };
        Event {
            bytes,
            outcome: Outcome::ALL[outcome],
            connection: ConnectionId(connection),
            object: ObjectId(object),
            endpoint: EndpointId(u16::try_from(object).unwrap()),
            issued: (bytes % 3 == 0).then_some(start),
            first_byte: (bytes % 3 == 0).then_some(start + took / 2),
            ..Event::span(kind, lane, at, start, start + took)
        }
    });
    prop_oneof![
        proptest::collection::vec(event.clone(), 0..4),
        proptest::collection::vec(event.clone(), 0..60),
        // Many equal values, as a loop produces them, and a few others.
        (event.clone(), 1_u64..400, proptest::collection::vec(event, 0..20)).prop_map(|(one, times, more)| {
            let turn = (one.end - one.start).max(7);
            let moved = |event: &Event, by: u64| Event {
                start: event.start + by,
                end: event.end + by,
                issued: None,
                first_byte: None,
                ..*event
            };
            (0..times).map(|turns| moved(&one, turns * turn)).chain(more).collect()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn no_report_has_a_number_that_is_none(events in events(), ranks in 1_u32..3) {
        let folder = tempfile::tempdir().unwrap();
        let found = reported(folder.path(), &events, ranks);
        check(&found);
        let mut compared = found.clone();
        compared.comparison = compare(&found.diagnosis.samples, &found.diagnosis.samples);
        check(&compared);
    }
}

/// Sequential reads, some of which take fifty times as long, without a training loop that waits for them.
#[test]
fn a_slow_stretch_that_nobody_waited_for_has_no_share_of_the_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let mut now = 0;
    let events: Vec<Event> = (0..2_000)
        .map(|i| {
            let took = if (900..960).contains(&i) { 50_000_000 } else { 1_000_000 };
            let event = Event::span(OpKind::Get, Lane(0), Position::default(), now, now + took);
            now += took + 200_000;
            Event { bytes: 1000, connection: ConnectionId(0), ..event }
        })
        .collect();
    let report = reported(folder.path(), &events, 1);
    check(&report);
    let text = &report.diagnosis.findings.iter().find(|finding| finding.code == "slow_period").unwrap().text;
    assert!(text.ends_with("times as long as usual"), "{text}");
}
