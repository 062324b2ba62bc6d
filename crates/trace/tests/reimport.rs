//! Reimport of exports: operations, bytes, names and times are preserved as far as the format can represent them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use dlio_event::{ConnectionId, EndpointId, Event, EventSink, Lane, ObjectId, OpKind, Outcome, Phase, Position, TagId};
use dlio_trace::export::{chrome, csv, pfw, warp};
use dlio_trace::import::{Imported, Malformed, Options, import};
use dlio_trace::{ClockAnchor, Error, Header, RankTrace, TraceWriter, read_dir};

const START: u64 = 1_795_245_458_719_968_308;
const NAMES: [&str; 4] = ["train/img_0.npz", "a, \"b\"\tc", "übung/é 😀", "two\nlines"];

/// An event with its names.
type Row = (Event, String, String, String);

/// Writes traces of two ranks with every kind of row and every outcome, and times since 1970.
fn recorded(folder: &Path, names: &[&str]) -> Vec<RankTrace> {
    for rank in 0..2 {
        let path = folder.join(format!("rank-{rank:05}.parquet"));
        let header = Header { rank, world: 2, host: format!("node{rank}"), pid: 100, ..Header::default() };
        assert_eq!(header.clock, ClockAnchor::default());
        let writer = TraceWriter::create(&path, &header).unwrap();
        for (place, kind) in OpKind::ALL.iter().chain(OpKind::ALL).enumerate() {
            let i = place as u64;
            let again = place >= OpKind::ALL.len();
            let outcome = if again { Outcome::ALL[place % Outcome::ALL.len()] } else { Outcome::Ok };
            let (io, moved) = (kind.is_storage(), kind.is_read() || kind.is_write());
            let at = Position {
                phase: Phase::ALL[place % Phase::ALL.len()],
                epoch: u32::try_from(i % 3).unwrap(),
                block: 1,
                step: u32::try_from(i).unwrap(),
                sample: i.is_multiple_of(2).then_some(i * 1_000_000_007),
            };
            let start = START + 1_000_003 * i;
            let span = Event::span(
                *kind,
                if i.is_multiple_of(4) { Lane::MAIN } else { Lane(u16::try_from(i % 4).unwrap()) },
                at,
                start,
                start + 777_777 + i,
            );
            writer.record(Event {
                object: if io { writer.object(names[place % names.len()]) } else { ObjectId::NONE },
                endpoint: if io { writer.endpoint("http://10.0.0.1:9000") } else { EndpointId::NONE },
                tag: if i.is_multiple_of(5) { writer.tag("tier-0") } else { TagId::NONE },
                offset: if moved && *kind != OpKind::Get { i << 33 } else { 0 },
                requested: (moved && *kind != OpKind::Get).then_some(70_000 + i),
                bytes: if moved && outcome == Outcome::Ok { 65_536 + i } else { 0 },
                first_byte: moved.then_some(start + 333_333),
                issued: moved.then_some(start + 11),
                last_byte: kind.is_write().then_some(start + 222_222),
                due: again.then_some(start - 5),
                outcome,
                status: if outcome == Outcome::Ok { 200 } else { -5 },
                attempt: u8::from(again),
                connection: if moved { ConnectionId(3) } else { ConnectionId::NONE },
                object_size: moved.then_some(1 << 40),
                ..span
            });
        }
        writer.finish().unwrap();
    }
    read_dir(folder).unwrap()
}

fn rows(traces: &[RankTrace]) -> Vec<Vec<Row>> {
    let text = |name: Option<&str>| name.unwrap_or("-").to_owned();
    let of_trace = |trace: &RankTrace| {
        let mut rows: Vec<Row> = Vec::new();
        for batch in trace.batches().unwrap() {
            let batch = batch.unwrap();
            rows.extend(batch.views().map(|row| {
                let plain =
                    Event { object: ObjectId::NONE, endpoint: EndpointId::NONE, tag: TagId::NONE, ..row.event() };
                (plain, text(row.object()), text(row.endpoint()), text(row.tag()))
            }));
        }
        rows
    };
    traces.iter().map(of_trace).collect()
}

/// Imports one file or folder.
fn back(source: PathBuf) -> (Imported, Vec<RankTrace>, tempfile::TempDir) {
    let out = tempfile::tempdir().unwrap();
    let done = import(&[source], out.path(), &Options { strict: true, ..Options::default() }).unwrap();
    let traces = read_dir(out.path()).unwrap();
    (done, traces, out)
}

/// Imports a text.
fn text(text: &str, options: &Options) -> (Result<Imported, Error>, Vec<Vec<Row>>) {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (folder.path().join("source"), folder.path().join("out"));
    std::fs::write(&source, text).unwrap();
    let done = import(&[source], &out, options);
    let rows = if done.is_ok() { rows(&read_dir(&out).unwrap()) } else { Vec::new() };
    (done, rows)
}

#[test]
fn csv_comes_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let traces = recorded(folder.path(), &NAMES);
    let path = folder.path().join("run.csv");
    let written = csv::write(&traces, &mut std::fs::File::create(&path).unwrap()).unwrap();
    let (done, again, _out) = back(path);
    assert_eq!((done.formats, done.rows, done.ranks), (vec!["csv"], written, 2));
    assert_eq!(rows(&again), rows(&traces));
}

#[test]
fn chrome_trace_events_come_back_except_for_times_within_an_operation() {
    let folder = tempfile::tempdir().unwrap();
    let traces = recorded(folder.path(), &NAMES);
    let path = folder.path().join("run.json");
    chrome::write(&traces, &mut std::fs::File::create(&path).unwrap()).unwrap();
    let (done, again, _out) = back(path);
    assert_eq!((done.formats, done.ranks), (vec!["chrome"], 2));
    let kept = |(event, object, endpoint, tag): &Row| {
        let event = Event { due: None, issued: None, last_byte: None, ..*event };
        (event, object.clone(), endpoint.clone(), tag.clone())
    };
    let expected: Vec<Vec<Row>> = rows(&traces).iter().map(|rank| rank.iter().map(kept).collect()).collect();
    assert_eq!(rows(&again), expected);
    assert_eq!(again[1].header.host, "node1");
}

#[test]
fn dftracers_format_keeps_operations_bytes_ranges_and_microseconds() {
    let folder = tempfile::tempdir().unwrap();
    let traces = recorded(folder.path(), &NAMES);
    let out = folder.path().join("pfw");
    std::fs::create_dir(&out).unwrap();
    for trace in &traces {
        pfw::write_file(trace, &out.join(format!("trace-{}-of-2.pfw", trace.header.rank))).unwrap();
    }
    let (done, again, _out) = back(out);
    assert_eq!((done.formats, done.ranks), (vec!["dftracer"], 2));
    let kept = |(event, object, ..): &Row| {
        let at = Position { phase: Phase::Train, ..event.at };
        let lane = event.lane == Lane::MAIN;
        (
            event.kind,
            object.clone(),
            event.start / 1000,
            event.offset,
            event.requested,
            event.bytes,
            event.outcome,
            at,
            lane,
        )
    };
    for (rank, expected) in rows(&again).iter().zip(rows(&traces)) {
        assert_eq!(rank.iter().map(kept).collect::<Vec<_>>(), expected.iter().map(kept).collect::<Vec<_>>());
        assert!(rank.iter().zip(&expected).all(|(a, b)| a.0.end.abs_diff(b.0.end) < 1_000));
    }
}

#[test]
fn warps_format_keeps_requests_bytes_and_times() {
    let folder = tempfile::tempdir().unwrap();
    let traces = recorded(folder.path(), &NAMES);
    let path = folder.path().join("run.tsv");
    let (written, skipped) = warp::write(&traces, &mut std::fs::File::create(&path).unwrap()).unwrap();
    let (done, again, _out) = back(path);
    assert_eq!((done.formats, done.rows, done.ranks), (vec!["warp"], written, 2));
    let word = |kind: OpKind| match kind {
        OpKind::Get | OpKind::GetRange | OpKind::Read => "GET",
        OpKind::Put | OpKind::MultipartPart | OpKind::Write => "PUT",
        OpKind::Head | OpKind::Stat => "STAT",
        OpKind::List => "LIST",
        OpKind::Delete => "DELETE",
        _ => "",
    };
    let kept = |(event, object, endpoint, _): &Row| {
        let first_byte = event.first_byte.filter(|_| event.outcome == Outcome::Ok);
        (
            word(event.kind),
            object.clone(),
            endpoint.clone(),
            event.start,
            event.end,
            event.bytes,
            event.outcome,
            first_byte,
        )
    };
    for (rank, expected) in rows(&again).iter().zip(rows(&traces)) {
        let expected: Vec<_> = expected.iter().filter(|row| !word(row.0.kind).is_empty()).map(kept).collect();
        let kept: Vec<_> =
            rank.iter().map(kept).map(|row| if row.0.is_empty() { unreachable!() } else { row }).collect();
        assert_eq!(kept.len(), expected.len());
        for (kept, expected) in kept.iter().zip(&expected) {
            assert_eq!(
                (kept.0, &kept.1, &kept.2, kept.3, kept.4, kept.5, kept.6),
                (expected.0, &expected.1, &expected.2, expected.3, expected.4, expected.5, expected.6)
            );
        }
    }
    assert!(skipped.contains_key("open"));
}

#[test]
fn a_data_frames_csv_is_read_with_its_decimals_and_without_its_other_columns() {
    let csv = "\u{feff},op,t_start_ns,t_end_ns,bytes,step,lane,extra\r\n0,read,100,200,4096,3.0,-1,x\r\n1,compute,200,250,0,,,y\r\n\
               2,later_kind,1,2,0,,,\r\n3,read,300,200,1,,,\r\n4,read,x,200,1,,,\r\n5,read,1,2\r\n6,read,1,2,5,1.5,,\r\n";
    let (done, rows) = text(csv, &Options::default());
    let done = done.unwrap();
    assert_eq!((done.rows, done.malformed, done.skipped["later_kind"]), (2, 4, 1));
    let reasons: Vec<&str> = done.examples.iter().map(|Malformed { reason, .. }| reason.as_str()).collect();
    for (reason, part) in reasons.iter().zip(["before it starts", "t_start_ns", "4 fields", "step"]) {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!((rows[0][0].0.bytes, rows[0][0].0.at.step, rows[0][0].0.lane), (4096, 3, Lane::MAIN));
    let open = "op,t_start_ns,t_end_ns,uri\nread,1,2,\"a\nread,3,4,b\n";
    assert!(matches!(text(open, &Options { strict: true, ..Options::default() }).0, Err(Error::Malformed(_))));
    let wrong = "rank,op,t_start_ns,t_end_ns\n4000000000,read,1,2\n0,read,1,2\n";
    let (done, rows) = text(wrong, &Options::default());
    assert_eq!((done.unwrap().malformed, rows.len()), (1, 1));
}

#[test]
fn trace_events_of_others_are_read_as_pairs_ids_and_whole_events() {
    let events = r#"{"name":"pread64","cat":"syscall","ph":"B","pid":7,"tid":"io","ts":100.5,"args":{"file":"/data/a","count":4096}},
        {"name":"read","ph":"B","pid":7,"tid":"io","ts":"101"}, {"ph":"E","pid":7,"tid":"io","ts":102,"args":{"bytes":5}},
        {"ph":"E","pid":7,"tid":"io","ts":1.5e2,"args":{"size":4096.0,"offset":8192}},
        {"name":"GET","cat":"s3","ph":"b","id":"0x1","pid":7,"tid":1,"ts":10,"args":{"key":"k"}},
        {"name":"GET","cat":"s3","ph":"b","id":"0x2","pid":7,"tid":1,"ts":11,"args":{"key":"l"}},
        {"name":"GET","cat":"s3","ph":"e","id":"0x1","pid":7,"tid":2,"ts":30,"args":{"error":"connection reset"}},
        {"name":"write","ph":"X","pid":"p","tid":9,"ts":50,"dur":0,"args":{"path":"/data/b","bytes":10}},
        {"name":"aten::mm","cat":"cpu_op","ph":"X","pid":7,"tid":1,"ts":5,"dur":2},
        {"name":"depth","ph":"C","pid":7,"ts":5,"args":{"value":3}},
        {"name":"read","ph":"X","pid":7,"tid":1,"ts":5,"dur":-2},
        {"name":"read","ph":"X","pid":7,"tid":1,"ts":5},
        {"ph":"E","pid":7,"tid":1,"ts":5}, {"name":"read","ts":5}"#;
    for document in [
        format!("[{events}]"),
        format!("[\n{events}"),
        format!(
            "{{\"schemaVersion\": 1, \"deviceProperties\": [{{\"id\": 0}}],\n\"traceEvents\": [\n{events}\n], \"x\": 1}}"
        ),
        format!("{{\"traceEvents\":[{}]}}", events.replace('\n', "")),
    ] {
        let (done, rows) = text(&document, &Options::default());
        let done = done.unwrap();
        assert_eq!(
            (done.formats.clone(), done.rows, done.malformed, done.unfinished),
            (vec!["chrome"], 4, 4, 1),
            "{done:?}"
        );
        assert_eq!(done.skipped["aten::mm"], 1);
        assert_eq!(rows.len(), 2, "two processes");
        let get = &rows[0][0];
        assert_eq!(
            (get.0.kind, get.0.start, get.0.end, get.0.outcome),
            (OpKind::Get, 10_000, 30_000, Outcome::Connect)
        );
        assert_eq!(get.1, "k");
        let outer = &rows[0][1];
        assert_eq!((outer.0.kind, outer.0.start, outer.0.end), (OpKind::Read, 100_500, 150_000));
        assert_eq!((outer.0.offset, outer.0.bytes, outer.1.as_str()), (8192, 4096, "/data/a"));
        let inner = &rows[0][2];
        assert_eq!((inner.0.start, inner.0.end, inner.0.bytes, inner.1.as_str()), (101_000, 102_000, 5, "-"));
        assert_eq!((rows[1][0].0.kind, rows[1][0].0.bytes), (OpKind::Write, 10));
        let strict = text(&document, &Options { strict: true, ..Options::default() }).0;
        assert!(matches!(strict, Err(Error::Malformed(_))), "{strict:?}");
    }
    let nothing = text("{\"traceEvents\":[]}", &Options::default()).0.unwrap_err();
    assert!(nothing.to_string().contains("no operation") || std::error::Error::source(&nothing).is_some(), "{nothing}");
    let (cut, rows) = text(
        &format!(
            "[{}, {{\"name\":\"read",
            events.lines().next().unwrap().replace("\"B\"", "\"X\",\"dur\":1").trim_end_matches(',')
        ),
        &Options::default(),
    );
    assert_eq!((cut.unwrap().malformed, rows[0].len()), (1, 1), "the first event is kept");
}
