//! Replays of traces.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use dlio_engine::MonotonicClock;
use dlio_event::{Event, Nanos, OpKind, TimeSource as _};

use crate::support::{Said, Server, events, json, mpirun, solo, solo_with};

/// Runs a small workload on two ranks and keeps its trace in `folder`.
fn recorded(folder: &Path) {
    let data = format!("dataset.data_folder={}", folder.join("data").display());
    let out = folder.join("out");
    let keys = [
        "workflow.generate_data=true",
        "workflow.checkpoint=false",
        "dataset.num_files_train=12",
        "dataset.record_length_bytes=65536",
        "dataset.record_length_bytes_stdev=0",
        "reader.batch_size=2",
        "train.epochs=1",
        "train.computation_time=0.01",
    ];
    let words = [&["-q", "run", "unet3d_h100", &data][..], &keys, &["--output", out.to_str().unwrap()]].concat();
    mpirun(2, &words).ok();
}

fn replay(ranks: u32, folder: &Path, output: &str, more: &[&str]) -> Said {
    let (trace, output) = (folder.join("out"), folder.join(output));
    let words = ["replay", trace.to_str().unwrap(), "--output", output.to_str().unwrap()];
    let words = [&words[..], more].concat();
    if ranks == 1 { solo(&words) } else { mpirun(ranks, &words) }
}

#[test]
fn a_recording_of_our_own_run_replays_with_every_operation_and_byte_on_any_number_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    recorded(at);
    let map = format!("{}={}", at.join("data").display(), at.join("copy").display());
    let planned = replay(1, at, "dry", &["--map", &map, "--dry-run"]).ok();
    assert!(planned.err.contains("read ") && !at.join("copy").exists(), "{}", planned.err);
    let told = replay(1, at, "dry", &["--dry-run"]).ok();
    assert!(told.err.contains("write ") && told.err.contains("would not begin"), "{}", told.err);
    replay(1, at, "dry", &[]).failed(2, &["where it was recorded"]);
    let mut operations = Vec::new();
    for ranks in [1, 2, 3] {
        let more = ["--map", &map, "--prepare", "--speed", "2", "--require", "operations_missing<=0"];
        let output = format!("replay-{ranks}");
        let said = replay(ranks, at, &output, &more).ok();
        assert_eq!(said.err.contains("12 object(s): 12 written"), ranks == 1, "{}", said.err);
        let found = json(&at.join(&output).join("replay.json"));
        assert_eq!(found["operations_done"], found["operations_planned"]);
        assert_eq!(found["bytes_done"], found["bytes_planned"]);
        assert!(found["metrics"]["issue_error_p50"].as_f64().is_some());
        assert_eq!(found["ranks"].as_array().unwrap().len(), ranks as usize);
        operations.push((found["operations_done"].clone(), found["bytes_done"].clone()));
        let told = solo(&["analyze", at.join(&output).to_str().unwrap()]).ok();
        every_output_has_the_percentiles_of(&found, (&said, &told), &at.join(&output));
    }
    assert!(operations.iter().all(|found| *found == operations[0]), "{operations:?}");
    let size = |name: &str| {
        std::fs::read_dir(at.join(name).join("train"))
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum::<u64>()
    };
    assert_eq!(size("copy"), size("data"));
    // The run wrote its dataset, and read its files and the directories of its archives completely.
    assert!(operations[0].1.as_u64().unwrap() >= 2 * size("data"));
    // The trace of a replay can be replayed as well.
    let closed = ["--timing", "closed", "--repeat", "2", "--op", "read"];
    let again = [
        "replay",
        at.join("replay-2").to_str().unwrap().to_owned().leak(),
        "--output",
        at.join("again").to_str().unwrap().to_owned().leak(),
    ];
    solo(&[&again[..], &closed].concat()).ok();
    let found = json(&at.join("again/replay.json"));
    assert!(found["bytes_done"].as_u64().unwrap() >= 2 * size("data"));
    assert_eq!(found["bytes_done"], found["bytes_planned"]);
    assert!(found["metrics"]["think_error_p99"].as_f64().is_some());
}

/// Asserts that the terminal, `report.json` and `report.html` have the percentiles of `replay.json`.
fn every_output_has_the_percentiles_of(
    replay: &serde_json::Value,
    (replayed, analyzed): (&Said, &Said),
    output: &Path,
) {
    let report = json(&output.join("report.json"));
    let page = std::fs::read_to_string(output.join("report.html")).unwrap();
    for kind in ["issue_error", "think_error"] {
        let percentiles = &replay[format!("{kind}_ns")]["percentiles"];
        assert_eq!(report["fidelity"][format!("{kind}_ns")]["percentiles"], *percentiles);
        for which in ["p50", "p99", "max"] {
            let (name, value) = (format!("{kind}_{which}"), percentiles[which].as_u64());
            for metrics in [&replay["metrics"], &report["fidelity"]["metrics"]] {
                assert_eq!(metrics[&name].as_f64(), value.map(|value| value as f64), "{name}");
            }
            let Some(value) = value else { continue };
            let shown = format!("{which} {:.3} ms", value as f64 / 1e6);
            assert!(replayed.err.contains(&shown) || replayed.out.contains(&shown), "{shown}: {}", replayed.err);
            assert!(page.contains(&format!("\"{name}\":{value}")), "{name} in the page");
        }
    }
    assert!(analyzed.out.contains("replay") || analyzed.err.contains("replay"), "{}", analyzed.out);
}

#[test]
fn what_cannot_be_replayed_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    recorded(at);
    let empty = at.join("empty");
    std::fs::create_dir(&empty).unwrap();
    solo(&["replay", empty.to_str().unwrap()]).failed(6, &["empty"]);
    replay(1, at, "a", &["--map", "/nowhere=/else"]).failed(2, &["/nowhere", "--map"]);
    replay(2, at, "b", &["--map", &format!("{}=/else", at.display()), "--require", "speed<=1"])
        .failed(2, &["issue_error_p50"]);
    replay(1, at, "out", &["--op", "read"]).failed(2, &["take the place of", "--output"]);
    replay(1, at, "c", &["--object", "no such object"]).failed(2, &["no operation to replay"]);
    replay(1, at, "d", &["--timing", "closed", "--late", "skip"]).failed(2, &["--late"]);
    solo(&["replay", "unet3d_h100", "--speed", "2"]).failed(2, &["no folder with a trace", "unet3d_h100 is none"]);
    solo(&["replay", "/no/such/trace"]).failed(2, &["there is no /no/such/trace"]);
    solo(&["replay", "/no/such.parquet"]).failed(6, &["/no/such.parquet"]);
    // The file of one rank is a trace; the replay must not overwrite it either.
    let file = at.join("out/trace/rank-00001.parquet");
    let file = ["replay", file.to_str().unwrap(), "--op", "read", "--timing", "asap", "--output"];
    solo(&[&file[..], &[at.join("one").to_str().unwrap()]].concat()).ok();
    solo(&[&file[..], &[at.join("out").to_str().unwrap()]].concat()).failed(2, &["take the place of"]);
    let missing = format!("{}={}", at.join("data").display(), at.join("missing").display());
    replay(2, at, "e", &["--map", &missing, "--timing", "asap"])
        .failed(4, &["operation(s) failed", "missing", "--prepare"]);
    replay(1, at, "f", &["--op", "read", "--timing", "asap", "--require", "issue_error_p99<=1s"])
        .failed(7, &["not measured"]);
}

/// A relay in front of an endpoint that records the arrival time of each request on the clock of traces.
struct Relay {
    address: String,
    came: Arc<Mutex<Vec<(Nanos, String)>>>,
}

impl Relay {
    fn before(upstream: &str) -> Self {
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let came = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&came);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(&upstream).unwrap();
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || pass(from, to, |bytes| note(&noted, bytes)));
                std::thread::spawn(move || pass(server, client, |_| {}));
            }
        });
        Self { address, came }
    }

    /// Returns the requests of a method in the order of arrival.
    fn of(&self, method: &str) -> Vec<Nanos> {
        let came = self.came.lock().unwrap();
        came.iter().filter(|(_, found)| found == method).map(|(at, _)| *at).collect()
    }
}

fn note(came: &Mutex<Vec<(Nanos, String)>>, bytes: &[u8]) {
    // A request without a body begins at the beginning of a chunk.
    let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    if ["GET", "PUT", "HEAD", "DELETE", "POST"].iter().any(|known| known.as_bytes() == method) {
        came.lock().unwrap().push((MonotonicClock.now(), String::from_utf8_lossy(method).into_owned()));
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count) = from.read(&mut buffer) {
        look(&buffer[..count]);
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Returns the reads of a trace in the order of their starts.
fn reads(folder: &Path) -> Vec<Event> {
    let mut found: Vec<Event> = events(folder).into_iter().filter(|event| event.kind.is_read()).collect();
    found.sort_unstable_by_key(|event| event.start);
    found
}

/// Returns one value of each event, in order.
fn sorted(events: &[Event], value: impl Fn(&Event) -> Nanos) -> Vec<Nanos> {
    let mut values: Vec<Nanos> = events.iter().map(value).collect();
    values.sort_unstable();
    values
}

/// Returns the percentile of values for a share between 0 and 1.
fn quantile(sorted: &[Nanos], percent: usize) -> Nanos {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

/// Checks that the lateness in `replay.json` is between `low` and `high`; its percentiles are within 1/256.
fn lateness_is_between(output: &Path, low: &[Nanos], high: &[Nanos]) {
    let found = json(&output.join("replay.json"));
    assert_eq!(found["issue_error_ns"]["count"], low.len(), "{found}");
    for (name, percent) in [("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)] {
        let said = found["issue_error_ns"]["percentiles"][name].as_u64().unwrap();
        let (low, high) = (quantile(low, percent), quantile(high, percent));
        assert!(
            (low - low / 256..=high + high / 256 + 1).contains(&said),
            "{name}: {said} is not from {low} to {high}"
        );
    }
}

#[test]
fn a_recording_of_files_replays_on_s3_and_the_server_sees_every_request_at_its_moment() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    recorded(at);
    let server = Server::start(2, &["--access-key", "test", "--secret-key", "secret-of-the-test"]);
    let relays: Vec<Relay> = server.endpoints().iter().map(|endpoint| Relay::before(endpoint)).collect();
    let endpoints = relays.iter().map(|relay| relay.address.as_str()).collect::<Vec<_>>().join(",");
    let env = [
        ("AWS_ENDPOINT_URL", endpoints.as_str()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-the-test"),
    ];
    let map = format!("{}=s3://bucket/copy", at.join("data").display());
    let (trace, output) = (at.join("out"), at.join("s3"));
    let words = ["replay", trace.to_str().unwrap(), "--map", &map, "--op", "read", "--output"];
    let prepared = at.join("p");
    let prepare = [&words[..], &[prepared.to_str().unwrap(), "--prepare", "--timing", "asap"]].concat();
    solo_with(&env, &prepare).ok();
    for relay in &relays {
        relay.came.lock().unwrap().clear();
    }
    solo_with(&env, &[&words[..], &[output.to_str().unwrap(), "--no-preflight"]].concat()).ok();
    let mut came: Vec<Nanos> = relays.iter().flat_map(|relay| relay.of("GET")).collect();
    came.sort_unstable();
    let recorded = reads(&trace);
    assert_eq!(came.len(), recorded.len(), "one request for each recorded read");
    assert!(relays.iter().all(|relay| !relay.of("GET").is_empty()), "both endpoints are used");
    let found = json(&output.join("replay.json"));
    assert_eq!(found["bytes_done"], found["bytes_planned"]);
    // The trace of the replay contains the due time of each read: its recorded distance to the first read.
    let done = reads(&output);
    let due = sorted(&done, |event| event.due.unwrap());
    let after: Vec<Nanos> = recorded.iter().map(|event| event.start - recorded[0].start).collect();
    assert_eq!(due.iter().map(|at| at - due[0]).collect::<Vec<_>>(), after, "moments of the schedule");
    // The relay saw each request after the start and before the end of its operation; the lateness depends on the machine.
    let (starts, ends) = (sorted(&done, |event| event.start), sorted(&done, |event| event.end));
    for (number, at) in came.iter().enumerate() {
        assert!(due[number] <= starts[number], "read {number} began before it was due");
        assert!((starts[number]..=ends[number]).contains(at), "request {number} was seen outside of its operation");
    }

    // The trace of that replay names the endpoints, and a rule maps one to another. It contains no opens, only requests, whose lateness
    // is in the replay's report.
    for relay in &relays {
        relay.came.lock().unwrap().clear();
    }
    let rule = format!("{}={}", relays[0].address, relays[1].address);
    let others = [("AWS_ENDPOINT_URL", relays[1].address.as_str()), env[1], env[2]];
    let (from, to) = (output.to_str().unwrap(), at.join("one"));
    let words = ["replay", from, "--map-endpoint", &rule, "--no-preflight", "--output", to.to_str().unwrap()];
    solo_with(&others, &words).ok();
    assert_eq!((relays[0].of("GET").len(), relays[1].of("GET").len()), (0, due.len()));
    let late = sorted(&reads(&to), |event| event.start - event.due.unwrap());
    lateness_is_between(&to, &vec![0; late.len()], &late);
}

#[test]
fn the_lateness_that_a_slow_server_causes_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    recorded(at);
    let server = Server::start(1, &["--delay-ms", "20"]);
    let map = format!("{}=s3://bucket/copy", at.join("data").display());
    let registry = ["--registry", server.registry()];
    replay(1, at, "once", &[&["--map", &map, "--op", "read", "--prepare", "--timing", "asap"], &registry[..]].concat())
        .ok();
    let (once, slow) = (at.join("once"), at.join("slow"));
    let words = [
        "replay",
        once.to_str().unwrap(),
        "--max-inflight",
        "1",
        "--speed",
        "1000",
        "--output",
        slow.to_str().unwrap(),
    ];
    solo(&[&words[..], &registry[..]].concat()).ok();
    // With one operation in flight, a read is issued after the previous one has ended and before its request begins.
    let done = reads(&slow);
    assert!(done.iter().all(|event| event.end - event.start >= 20_000_000), "the server is slower than that");
    let ends = std::iter::once(0).chain(done.iter().map(|event| event.end));
    let mut low: Vec<Nanos> =
        done.iter().zip(ends).map(|(event, end)| end.saturating_sub(event.due.unwrap())).collect();
    low.sort_unstable();
    assert!(low[low.len() / 2] > 20_000_000, "a queue grew");
    lateness_is_between(&slow, &low, &sorted(&done, |event| event.start - event.due.unwrap()));
}

#[test]
fn files_are_opened_as_often_as_recorded_and_dependent_timing_waits_for_the_loop_on_all_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    recorded(at);
    for (ranks, timing) in
        [(1, "open"), (1, "closed"), (1, "dependent"), (2, "dependent"), (3, "dependent"), (2, "asap")]
    {
        let output = format!("{timing}-{ranks}");
        let more = ["--op", "read", "--timing", timing, "--require", "opens_difference<=0", "--max-inflight", "3"];
        replay(ranks, at, &output, &more).ok();
        let found = json(&at.join(&output).join("replay.json"));
        assert_eq!(found["opens"], 12, "{timing}");
        assert_eq!((&found["timing"], &found["operations_done"]), (&timing.into(), &found["operations_planned"]));
    }
}

#[test]
fn samples_of_other_programs_traces_replay_with_every_operation() {
    let traces = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces");
    for format in ["dftracer", "dftracer-older", "op-log", "warp", "elbencho", "kv-cache", "fio", "darshan-dxt"] {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let imported = at.join("imported");
        let imported = imported.to_str().unwrap();
        solo(&["trace", "import", &format!("{traces}/{format}"), "--out", imported]).ok();
        let map = format!("re:^(?:[a-z0-9]+:/)?/*(.*)$=>{}/files/$1", at.display());
        let output = at.join("replayed");
        let words = ["replay", imported, "--map", &map, "--prepare", "--timing", "asap", "--repeat", "2"];
        solo(&[&words[..], &["--output", output.to_str().unwrap()]].concat()).ok();
        let found = json(&output.join("replay.json"));
        assert!(found["operations_done"].as_u64().unwrap() > 0, "{format}");
        assert_eq!(found["operations_done"], found["operations_planned"], "{format}");
        assert_eq!(found["bytes_done"], found["bytes_planned"], "{format}");
    }
}

#[test]
fn a_file_that_was_written_in_its_middle_stays_as_it_is_elsewhere_and_no_object_is_written_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let log = at.join("job.log");
    let text = "fio version 3 iolog\n1 /data/f add\n2 /data/f open\n3 /data/f read 8192 4096\n\
                500 /data/f write 4096 4096\n900 /data/f write 16384 8192\n1200 /data/f sync\n1300 /data/f read 20480 4096\n1400 /data/f close\n";
    std::fs::write(&log, text).unwrap();
    let trace = at.join("trace");
    solo(&["trace", "import", log.to_str().unwrap(), "--out", trace.to_str().unwrap()]).ok();
    let file = at.join("files/f");
    std::fs::create_dir(at.join("files")).unwrap();
    std::fs::write(&file, vec![7; 32768]).unwrap();
    let map = format!("/data={}", at.join("files").display());
    let output = at.join("out");
    let words = ["replay", trace.to_str().unwrap(), "--map", &map, "--output", output.to_str().unwrap()];
    solo(&[&words[..], &["--require", "opens_difference<=0", "--timing", "closed"]].concat()).ok();
    let content = std::fs::read(&file).unwrap();
    let untouched = |range: std::ops::Range<usize>| content[range].iter().all(|byte| *byte == 7);
    assert_eq!(content.len(), 32768);
    assert!(untouched(0..4096) && untouched(8192..16384) && untouched(24576..32768));
    assert!(!untouched(4096..8192) && !untouched(16384..24576));
    let kinds: Vec<OpKind> = events(&output).iter().map(|event| event.kind).collect();
    let expected = [OpKind::Open, OpKind::Read, OpKind::Write, OpKind::Write, OpKind::Fsync, OpKind::Read];
    assert_eq!(kinds, expected);
    let server = Server::start(1, &[]);
    let target = ["--map", "/data=s3://bucket/set", "--registry", server.registry()];
    let other = at.join("s3");
    let words = ["replay", trace.to_str().unwrap(), "--prepare", "--output", other.to_str().unwrap()];
    solo(&[&words[..], &target].concat()).failed(2, &["/data/f", "--whole-writes", "--op read"]);
    for more in [&["--op", "read"][..], &["--whole-writes"]] {
        solo(&[&words[..], &target, more].concat()).ok();
        let found = json(&other.join("replay.json"));
        assert_eq!(found["operations_done"], found["operations_planned"]);
    }
}

/// Operation, bytes, name, error, thread, and start and end in microseconds.
type Line<'t> = (&'t str, u64, &'t str, &'t str, u32, u32, u32);

/// Imports an op-log with these lines.
fn imported(at: &Path, lines: &[Line<'_>]) -> String {
    let head =
        "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns\n";
    let line = |(index, line): (usize, &Line<'_>)| {
        let (op, bytes, name, error, thread, start, end) = line;
        let stamp = |micros: &u32| format!("2026-01-01T00:00:{:02}.{:06}Z", micros / 1_000_000, micros % 1_000_000);
        let (start, end, took) = (stamp(start), stamp(end), (end - start) * 1000);
        format!("{index}\t{thread}\t{op}\t\t1\t{bytes}\t\t{name}\t{error}\t{start}\t{end}\t{end}\t{took}\n")
    };
    let log: String = std::iter::once(head.to_owned()).chain(lines.iter().enumerate().map(line)).collect();
    let (file, trace) = (at.join("op.tsv"), at.join("imported"));
    std::fs::write(&file, log).unwrap();
    solo(&["trace", "import", file.to_str().unwrap(), "--out", trace.to_str().unwrap()]).ok();
    trace.to_str().unwrap().to_owned()
}

#[test]
fn of_a_whole_object_that_has_grown_the_recorded_bytes_are_read_and_prepare_brings_it_to_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let data = at.join("data");
    std::fs::create_dir(&data).unwrap();
    let names = ["a", "b", "c"].map(|name| data.join(name).to_str().unwrap().to_owned());
    let get = |name: usize, at: u32| ("GET", 1_000_000, names[name].as_str(), "", 1, at, at + 500);
    let trace = imported(at, &[get(0, 0), get(1, 1000), get(2, 2000), get(0, 3000)]);
    let sizes = |sizes: [usize; 3]| {
        for (name, size) in names.iter().zip(sizes) {
            std::fs::write(name, vec![7; size]).unwrap();
        }
    };
    let found = |output: &str| json(&at.join(output).join("replay.json"));
    let replay = |output: &str, more: &[&str]| {
        let output = at.join(output);
        solo(&[&["replay", &trace, "--output", output.to_str().unwrap()], more].concat())
    };
    sizes([1_500_000, 1_000_000, 3_000_000]);
    let said = replay("grown", &["--require", "bytes_missing<=0"]).ok();
    assert!(said.err.contains("a difference: 3 read(s)"), "{}", said.err);
    let grown = found("grown");
    assert_eq!((&grown["larger_than_recorded"], &grown["bytes_done"]), (&3.into(), &4_000_000.into()));
    // The files are those of the recording, so only `--in-place` may rewrite them.
    sizes([1_500_000, 1_000_000, 10]);
    let said = replay("left", &["--prepare", "--object", "/a"]).ok();
    assert!(said.err.contains("1 have another size") && said.err.contains("has 1500000 bytes"), "{}", said.err);
    replay("small", &[]).failed(4, &["moved 10 bytes instead of 1000000", "--prepare"]);
    let said = replay("prepared", &["--prepare", "--in-place"]).ok();
    assert!(said.err.contains("3 object(s): 0 written, 2 of another size rewritten, 1 were there"), "{}", said.err);
    assert_eq!(found("prepared")["larger_than_recorded"], 0);
    assert!(names.iter().all(|name| std::fs::metadata(name).unwrap().len() == 1_000_000));
    // Objects in a bucket are larger by half: only the first bytes of each response are read, and the connection is not reused.
    let server = Server::start(1, &[]);
    let map = format!("{}=s3://bucket/set", data.display());
    let target = ["--map", &map, "--registry", server.registry()];
    replay("made", &[&["--scale-size", "1.5", "--prepare"], &target[..]].concat()).ok();
    for (output, prepare, larger) in
        [("grown-s3", None, 4), ("prepared-s3", Some("--prepare"), 0), ("again-s3", None, 0)]
    {
        let more: Vec<&str> = target.into_iter().chain(prepare).collect();
        replay(output, &more).ok();
        let found = found(output);
        assert_eq!((&found["larger_than_recorded"], &found["bytes_done"]), (&larger.into(), &4_000_000.into()));
        let asked = reads(&at.join(output));
        assert!(asked.iter().all(|event| event.kind == OpKind::Get && event.requested.is_none()), "{asked:?}");
    }
}

#[test]
fn failed_parts_of_uploads_are_told_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let part = |error, start| ("PUTPART", 1000, "s3://b/up", error, 1, start, start + 10);
    let trace = imported(at, &[part("", 0), part("timeout", 20), part("", 40)]);
    let map = format!("s3://b={}", at.join("copy").display());
    let output = at.join("out");
    let words = ["replay", &trace, "--map", &map, "--dry-run", "--failed", "issue", "--output"];
    let said = solo(&[&words[..], &[output.to_str().unwrap()]].concat()).ok();
    assert!(said.err.contains("1 of these are failed parts of uploads"), "{}", said.err);
}

#[test]
fn a_workload_that_was_recorded_is_recovered_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (data, out) = (format!("dataset.data_folder={}", at.join("data").display()), at.join("out"));
    let keys = [
        "workflow.generate_data=true",
        "workflow.checkpoint=false",
        "dataset.num_files_train=48",
        "dataset.num_samples_per_file=2",
        "dataset.record_length_bytes=262144",
        "dataset.record_length_bytes_stdev=0",
        "reader.batch_size=3",
        "reader.read_threads=4",
        "train.epochs=2",
        "train.computation_time=0.02",
    ];
    solo(&[&["-q", "run", "unet3d_h100", &data][..], &keys, &["--output", out.to_str().unwrap()]].concat()).ok();
    let yaml = solo(&["trace", "fit", out.to_str().unwrap()]).ok().out;
    let value = |key: &str| {
        let line = yaml.lines().find(|line| line.trim_start().starts_with(&format!("{key}:")));
        line.unwrap_or_else(|| panic!("{key}: {yaml}")).rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let exact = [("num_files_train", 48.0), ("num_samples_per_file", 2.0), ("batch_size", 3.0), ("read_threads", 4.0)];
    for (key, expected) in exact.into_iter().chain([("epochs", 2.0)]) {
        assert!((value(key) - expected).abs() < 1e-9, "{key}: {yaml}");
    }
    assert!((value("record_length_bytes") / 262_144.0 - 1.0).abs() < 0.05, "{yaml}");
    // A busy machine computes longer than configured; the recorded times are used, whatever their distribution.
    let line = yaml.lines().find(|line| line.trim_start().starts_with("computation_time:")).unwrap();
    let numbers = line.split(|c: char| !c.is_ascii_digit() && c != '.').filter_map(|word| word.parse::<f64>().ok());
    let told: Vec<f64> = numbers.collect();
    let computed = events(&out).into_iter().filter(|event| event.kind == OpKind::Compute);
    let computed = sorted(&computed.collect::<Vec<_>>(), |event| event.end - event.start);
    let seconds = |nanos: Nanos| nanos as f64 / 1e9;
    let (least, most) = (seconds(computed[0]), seconds(computed[computed.len() - 1]));
    assert!(least >= 0.02, "{least}");
    let about = if line.contains("uniform") { f64::midpoint(told[0], told[1]) } else { told[0] };
    assert!((least - 1e-9..=most + 1e-9).contains(&about), "{line}: recorded {least} to {most}");
    assert!(yaml.contains("format: npz") && yaml.contains("Kolmogorov-Smirnov distance"), "{yaml}");
    let model = at.join("model.yaml");
    std::fs::write(&model, &yaml).unwrap();
    solo(&["validate", model.to_str().unwrap(), "--strict"]).ok();
    let data = format!("dataset.data_folder={}", at.join("fitted").display());
    let again = at.join("again");
    let words = ["-q", "run", model.to_str().unwrap(), &data, "workflow.generate_data=true", "--output"];
    solo(&[&words[..], &[again.to_str().unwrap()]].concat()).ok();
    let twice = solo(&["trace", "fit", again.to_str().unwrap()]).ok().out;
    assert!(twice.contains("batch_size: 3") && twice.contains("read_threads: 4"), "{twice}");
}

#[test]
fn checkpoints_evaluation_and_preprocessing_of_a_run_are_recovered() {
    let common = [
        "workflow.generate_data=true",
        "workflow.checkpoint=true",
        "dataset.num_files_train=16",
        "dataset.num_samples_per_file=4",
        "dataset.record_length_bytes=4096",
        "dataset.record_length_bytes_stdev=0",
        "reader.batch_size=2",
        "reader.read_threads=2",
        "reader.preprocess_time=0.001",
        "train.epochs=4",
        "train.computation_time=0.002",
        "model.model_size_bytes=300000",
    ];
    let evaluated = [
        "workflow.evaluation=true",
        "dataset.num_files_eval=32",
        "reader.batch_size_eval=4",
        "evaluation.eval_time=0.003",
        "evaluation.eval_after_epoch=2",
        "evaluation.epochs_between_evals=2",
        "checkpoint.steps_between_checkpoints=5",
    ];
    let after_epochs = [
        "checkpoint.checkpoint_after_epoch=1",
        "checkpoint.epochs_between_checkpoints=3",
        "model.parallelism.tensor=2",
    ];
    let every_run =
        ["model_size_bytes: 300000", "num_files_train: 16", "batch_size: 2", "checkpoint: true", "preprocess_time:"];
    let with_evaluation = [
        "evaluation: true",
        "num_files_eval: 32",
        "batch_size_eval: 4",
        "eval_after_epoch: 2",
        "epochs_between_evals: 2",
        "steps_between_checkpoints: 5",
    ];
    let without =
        ["evaluation: false", "checkpoint_after_epoch: 1", "epochs_between_checkpoints: 3", "parallelism: {tensor: 2}"];
    for (keys, expected) in [(&evaluated[..], &with_evaluation[..]), (&after_epochs[..], &without[..])] {
        let folder = tempfile::tempdir().unwrap();
        let text = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let places = [
            format!("dataset.data_folder={}", text("data")),
            format!("checkpoint.checkpoint_folder={}", text("checkpoints")),
        ];
        let places = [places[0].as_str(), places[1].as_str(), "--output"];
        let out = text("out");
        mpirun(2, &[&["-q", "run", "unet3d_h100"], &common[..], keys, &places[..], &[&out]].concat()).ok();
        let yaml = solo(&["trace", "fit", &out]).ok().out;
        for line in every_run.iter().chain(expected) {
            assert!(yaml.contains(line), "{line}: {yaml}");
        }
        assert!(yaml.contains("# Note: not derived"), "{yaml}");
        let model = text("model.yaml");
        std::fs::write(&model, &yaml).unwrap();
        solo(&["validate", &model, "--strict"]).ok();
        let again = text("again");
        let words = [&["-q", "run", &model, "workflow.generate_data=true"], &places[..], &[&again]].concat();
        mpirun(2, &words).ok();
        let twice = solo(&["trace", "fit", &again]).ok().out;
        for line in every_run.iter().chain(expected) {
            assert!(twice.contains(line), "{line}: {twice}");
        }
    }
}
