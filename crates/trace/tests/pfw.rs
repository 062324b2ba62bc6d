//! Export in dftracer's format: JSON lines that agree with dftracer's tools and with the golden traces of the reference.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::io::Read;

use dlio_event::{Event, EventSink, Lane, OpKind, Phase, Position};
use dlio_trace::{ClockAnchor, Header, TraceWriter, export::pfw, read_file};
use serde_json::Value;

fn lines(record: impl FnOnce(&TraceWriter)) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("rank-00003.parquet"), folder.path().join("trace-3-of-8.pfw.gz"));
    let header = Header {
        rank: 3,
        world: 8,
        host: "node1".to_owned(),
        pid: 100,
        clock: ClockAnchor {
            monotonic_ns: 1_000_000,
            wall_unix_ns: 1_795_245_321_000_000_000,
            offset_to_rank0_ns: 500_000,
            rtt_ns: 0,
        },
        config_json: r#"{"workload":{"dataset":{"format":"npz"}}}"#.to_owned(),
        ..Header::default()
    };
    let writer = TraceWriter::create(&source, &header).unwrap();
    record(&writer);
    writer.finish().unwrap();
    pfw::write_file(&read_file(&source).unwrap(), &target).unwrap();
    let packed = std::fs::read(&target).unwrap();
    assert_eq!(packed[..2], [0x1f, 0x8b], "dftracer's tools read gzip only");
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&*packed).read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("["));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_read_carries_file_size_position_and_wall_clock_microseconds() {
    let lines = lines(|writer| {
        let object = writer.object("train/img_0_of_8.npz");
        let at = Position { phase: Phase::Train, epoch: 1, block: 1, step: 2, sample: Some(7) };
        let read = Event::span(OpKind::Read, Lane(0), at, 3_000_000, 4_250_000);
        writer.record(Event { object, offset: 4096, requested: Some(65536), bytes: 60000, ..read });
        let sample = Event::span(OpKind::Sample, Lane(0), at, 2_000_000, 5_000_000);
        writer.record(Event { object, bytes: 60000, ..sample });
    });
    let named = |name: &str| lines.iter().find(|line| line["name"] == name).unwrap().clone();
    let read = named("pread64");
    assert_eq!(
        (&read["cat"], &read["ph"], &read["pid"], &read["tid"]),
        (&"POSIX".into(), &"X".into(), &100.into(), &101.into())
    );
    assert_eq!((read["ts"].as_i64(), read["dur"].as_i64()), (Some(1_795_245_321_002_000), Some(1250)));
    let args = &read["args"];
    assert_eq!((&args["ret"], &args["count"], &args["offset"]), (&60000.into(), &65536.into(), &4096.into()));
    assert_eq!((&args["epoch"], &args["step"], &args["image_idx"]), (&1.into(), &2.into(), &7.into()));
    let file = named("FH");
    assert_eq!((&file["ph"], &file["args"]["name"]), (&"M".into(), &"train/img_0_of_8.npz".into()));
    assert_eq!(file["args"]["value"], args["fhash"]);
    assert_eq!((&named("item")["dur"], &named("preprocess")["dur"]), (&3000.into(), &0.into()));
    assert_eq!(named("NPZReader.read_index")["args"]["image_size"], 60000);
    assert_eq!(lines.iter().filter(|line| line["name"] == "FH").count(), 1, "a file is named once");
}

#[test]
fn every_kind_of_event_has_a_name_and_a_category_and_numbers_count_up() {
    let lines = lines(|writer| {
        for kind in OpKind::ALL {
            writer.record(Event::span(*kind, Lane::MAIN, Position::default(), 1_600_000, 1_700_000));
        }
    });
    let derived = lines.iter().filter(|line| line["args"]["derived"] == 1).count();
    assert_eq!(lines.len() - derived, OpKind::ALL.len() + 2, "and the names of the host and the program");
    assert_eq!(derived, 2, "fetch.block and item; preprocess has a row of its own");
    for (position, line) in lines.iter().enumerate() {
        assert_eq!(line["id"], position + 1);
        assert!(line["cat"].is_string() && line["ts"].is_i64() && line["dur"].is_i64(), "{line}");
    }
}
