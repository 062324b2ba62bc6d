//! Tests of how recorded rows are replayed.

use super::*;
use dlio_event::{Lane, OpKind, Phase, Position};

fn options() -> Options {
    Options {
        mapping: Mapping::Block,
        speed: 1.0,
        from: None,
        to: None,
        operations: Operations::default(),
        ranks: Vec::new(),
        objects: Vec::new(),
        rules: Vec::new(),
        endpoints: Vec::new(),
        sample: None,
        failed: false,
        dependent: false,
        scale: 1.0,
        whole: false,
        folder: "/here".to_owned(),
    }
}

fn row(source: u32, lane: u16, kind: OpKind, uri: &str, (start, end): (i64, i64)) -> Recorded {
    Recorded {
        source,
        lane: Lane(lane),
        kind,
        at: Position::default(),
        uri: uri.into(),
        endpoint: None,
        offset: 0,
        requested: None,
        bytes: 100,
        object_size: None,
        start,
        end,
        ok: true,
    }
}

fn run(plan: &ReplayPlan, rank: u32, rows: &[Recorded]) -> (Survey, Vec<ReplayOp>) {
    let open = || -> Result<_, Error> { Ok(merged(vec![rows.iter().cloned().map(Ok)])) };
    let mut survey = plan.survey(rank, open().unwrap()).unwrap();
    let in_place = survey.in_place();
    survey.settle(plan, &in_place).unwrap();
    let window = (survey.first.unwrap_or(0), survey.last);
    let operations = plan.stream((rank, &survey), window, 1, open).collect::<Result<Vec<_>, _>>().unwrap();
    (survey.clone(), operations)
}

fn sample() -> Vec<Recorded> {
    let ms = 1_000_000;
    vec![
        row(0, 0, OpKind::Open, "/data/a", (ms, 2 * ms)),
        row(0, 0, OpKind::Read, "/data/a", (2 * ms, 5 * ms)),
        row(0, 1, OpKind::Read, "/data/b", (3 * ms, 4 * ms)),
        row(0, 0, OpKind::Compute, "", (3 * ms, 9 * ms)),
        row(0, 0, OpKind::Read, "/data/c", (12 * ms, 13 * ms)),
        Recorded { ok: false, ..row(0, 1, OpKind::Read, "/data/d", (13 * ms, 14 * ms)) },
    ]
}

#[test]
fn due_times_count_from_the_first_operation_and_pauses_from_the_completion_before() {
    let plan = ReplayPlan::new(options(), vec![0], 1, 0).unwrap();
    let (survey, operations) = run(&plan, 0, &sample());
    assert_eq!((survey.operations(), survey.bytes(), survey.folded, survey.failed), (4, 300, 0, 1));
    assert_eq!((survey.peak, survey.busy, survey.lanes, survey.opens()), (2, 6_000_000, 2, 1));
    let found: Vec<_> = operations.iter().map(|op| (op.lane, op.key.as_str(), op.due, op.think)).collect();
    let ms = 1_000_000;
    let expected =
        [(0, "data/a", 0, 0), (0, "data/a", ms, 0), (1, "data/b", 2 * ms, 2 * ms), (0, "data/c", 11 * ms, 7 * ms)];
    assert_eq!(found, expected);
    assert_eq!(
        operations.iter().map(|op| (op.handle, op.closes)).collect::<Vec<_>>(),
        [(Some(1), None), (Some(1), Some(2)), (Some(2), Some(1)), (Some(3), Some(1))]
    );
}

#[test]
fn speed_is_a_true_factor_and_sizes_scale() {
    let options = Options { speed: 2.5, scale: 1.5, ..options() };
    let plan = ReplayPlan::new(options, vec![0], 1, 0).unwrap();
    let (_, operations) = run(&plan, 0, &sample());
    assert_eq!((operations[3].due, operations[3].think, operations[3].bytes), (4_400_000, 2_800_000, 150));
}

#[test]
fn every_recorded_rank_and_lane_has_one_rank_whatever_the_number_of_ranks() {
    let rows: Vec<Recorded> = (0..4u32)
        .flat_map(|source| (0..3u16).map(move |lane| row(source, lane, OpKind::Get, "s3://b/k", (1, 2))))
        .collect();
    for mapping in [Mapping::Block, Mapping::Modulo] {
        for world in [1, 2, 3, 4, 7, 12, 16] {
            let plan = ReplayPlan::new(Options { mapping, ..options() }, vec![0, 1, 2, 3], world, 0).unwrap();
            let each: Vec<u64> = (0..world).map(|rank| run(&plan, rank, &rows).0.operations()).collect();
            assert_eq!(each.iter().sum::<u64>(), 12, "{mapping:?} on {world} ranks: {each:?}");
            for rank in 0..world {
                let mine = plan.sources(rank).len();
                assert!(mine > 0, "rank {rank} of {world} has no recorded rank");
            }
        }
    }
    let plan = ReplayPlan::new(Options { mapping: Mapping::Modulo, ..options() }, vec![0, 1, 2, 3], 2, 0).unwrap();
    assert_eq!((plan.sources(0), plan.sources(1)), (vec![0, 2], vec![1, 3]));
    let plan = ReplayPlan::new(options(), vec![0, 1, 2, 3], 2, 0).unwrap();
    assert_eq!((plan.sources(0), plan.sources(1)), (vec![0, 1], vec![2, 3]));
}

#[test]
fn parts_of_an_upload_and_pieces_of_a_file_are_one_write_of_their_whole_size() {
    let rows = [
        row(0, 0, OpKind::MultipartCreate, "s3://b/up", (0, 1)),
        row(0, 0, OpKind::MultipartPart, "s3://b/up", (1, 2)),
        row(0, 1, OpKind::MultipartPart, "s3://b/up", (1, 3)),
        row(0, 0, OpKind::MultipartComplete, "s3://b/up", (3, 4)),
        row(0, 0, OpKind::Write, "s3://b/file", (5, 6)),
        Recorded { offset: 100, ..row(0, 0, OpKind::Write, "s3://b/file", (6, 7)) },
        row(0, 0, OpKind::Write, "s3://b/file", (8, 9)),
    ];
    let plan = ReplayPlan::new(options(), vec![0], 1, 0).unwrap();
    let (survey, operations) = run(&plan, 0, &rows);
    // Every row of this trace has 100 bytes, including the row that creates the upload.
    let found: Vec<_> = operations.iter().map(|op| (op.key.as_str(), op.bytes, op.due)).collect();
    assert_eq!(found, [("up", 300, 0), ("file", 200, 5), ("file", 100, 8)]);
    assert_eq!((survey.bytes(), survey.operations()), (600, 3));
    assert!(survey.changes());
}

#[test]
fn filters_and_windows_leave_rows_out_and_count_them() {
    let mut chosen = Options { objects: vec!["/a".into(), "/c".into()], ..options() };
    chosen.operations = Operations::parse(&["read".to_owned()]).unwrap();
    let (survey, operations) = run(&ReplayPlan::new(chosen, vec![0], 1, 0).unwrap(), 0, &sample());
    assert_eq!((operations.len(), survey.filtered), (3, 2));
    let late = Options { from: Some(0.01), to: Some(1.0), ..options() };
    let (_, operations) = run(&ReplayPlan::new(late, vec![0], 1, 0).unwrap(), 0, &sample());
    assert_eq!(operations.iter().map(|op| (op.key.as_str(), op.due)).collect::<Vec<_>>(), [("data/c", 0)]);
}

#[test]
fn names_are_rewritten_by_the_first_rule_that_fits_and_one_must() {
    let rules = vec![Rule::parse("/data/a=s3://b/x").unwrap(), Rule::parse("/data=/other//./set").unwrap()];
    let options = Options { rules, ..options() };
    let target = |uri: &str| options.target(uri).map(|address| (address.root, address.key));
    assert_eq!(target("/data/a/1"), Ok(("s3://b".into(), "x/1".into())));
    assert_eq!(target("/data/b"), Ok(("/".into(), "other/set/b".into())));
    assert!(matches!(target("/else"), Err(Error::Unmapped { .. })));
    let rules = ["./data=new", "checkpoints=old"].map(|rule| Rule::parse(rule).unwrap());
    let relative = Options { rules: rules.to_vec(), ..options.clone() };
    let key = |uri: &str| relative.target(uri).map(|address| address.key);
    for (uri, end) in [("data/1", "/new/1"), ("./data/1", "/new/1"), ("./checkpoints/u/1", "/old/u/1")] {
        assert!(key(uri).unwrap().ends_with(end.trim_start_matches('/')), "{uri}");
    }
    assert!(key("/data/1").is_err() && key("s3://data/1").is_err());
    let here = Options { rules: vec![Rule::parse("./=here/").unwrap()], ..options.clone() };
    assert!(here.target("a").unwrap().key.ends_with("here/a") && here.target("/a").is_err());
    assert_eq!(address("set/x", "/here").unwrap().key, "here/set/x");
    for bad in ["../x", "http://host/x", "s3://", ""] {
        assert!(address(bad, "/here").is_err(), "{bad}");
    }
    assert!(Rule::parse("nothing").is_err() && Operations::parse(&["reads".into()]).is_err());
}

#[test]
fn objects_of_two_places_are_refused() {
    let rows = [row(0, 0, OpKind::Get, "s3://b/k", (0, 1)), row(0, 0, OpKind::Get, "s3://c/k", (1, 2))];
    let plan = ReplayPlan::new(options(), vec![0], 1, 0).unwrap();
    let refused = plan.survey(0, rows.into_iter().map(Ok)).unwrap_err();
    assert!(refused.to_string().contains("s3://b and s3://c"), "{refused}");
}

#[test]
fn options_without_a_meaning_are_refused() {
    for bad in [
        Options { speed: 0.0, ..options() },
        Options { speed: f64::NAN, ..options() },
        Options { scale: -1.0, ..options() },
        Options { from: Some(2.0), to: Some(1.0), ..options() },
        Options { ranks: vec![7], ..options() },
    ] {
        assert!(ReplayPlan::new(bad, vec![0], 1, 0).is_err());
    }
}

#[test]
fn what_the_trace_reads_must_be_as_large_as_its_farthest_byte() {
    let rows = vec![
        Recorded { offset: 900, ..row(1, 0, OpKind::Read, "/d/a", (0, 1)) },
        row(0, 0, OpKind::Read, "/d/a", (0, 1)),
        Recorded { object_size: Some(5000), ..row(0, 0, OpKind::Head, "/d/b", (0, 1)) },
        row(0, 0, OpKind::Put, "/d/c", (0, 1)),
        row(0, 0, OpKind::Open, "/d/w", (0, 1)),
        row(0, 0, OpKind::Write, "/d/w", (1, 2)),
        row(0, 0, OpKind::Open, "/d/o", (0, 1)),
        row(0, 0, OpKind::Get, "/d/g", (0, 1)),
        Recorded { offset: 50, requested: Some(400), ..row(0, 0, OpKind::Read, "/d/h", (0, 1)) },
    ];
    // The size of /d/a is unknown: every read returned as many bytes as it had requested.
    let rows = rows.into_iter().map(|row| match &*row.uri {
        "/d/a" => Recorded { requested: Some(row.bytes), ..row },
        _ => row,
    });
    let plan = ReplayPlan::new(options(), vec![0, 1], 3, 0).unwrap();
    let needed = plan.needed(rows.map(Ok)).unwrap();
    let found: Vec<_> = needed.iter().map(|(key, needed)| (key.as_str(), needed.bytes, needed.exact)).collect();
    assert_eq!(
        found,
        [("d/a", 1000, false), ("d/b", 5000, true), ("d/g", 100, true), ("d/h", 150, true), ("d/o", 0, false)]
    );
}

#[test]
fn a_second_pass_follows_the_first_one_and_rows_of_overlapping_groups_come_in_order() {
    let mut rows = sample();
    rows.reverse();
    let plan = ReplayPlan::new(options(), vec![0], 1, 0).unwrap();
    let open = || -> Result<_, Error> { Ok(merged(vec![rows.clone().into_iter().map(Ok)])) };
    let survey = plan.survey(0, open().unwrap()).unwrap();
    let stream = plan.stream((0, &survey), (survey.first.unwrap(), survey.last), 2, open);
    let all: Vec<_> = stream.map(|op| op.map(|op| (op.number, op.due))).collect::<Result<_, _>>().unwrap();
    let ms = 1_000_000;
    let once = [0, ms, 2 * ms, 11 * ms];
    let twice = once.into_iter().chain(once.map(|due| due + 12 * ms));
    assert_eq!(all, (0..).zip(twice).collect::<Vec<_>>());
}

#[test]
fn files_are_opened_and_closed_as_recorded_and_openings_for_writing_are_part_of_the_write() {
    let open = |lane, uri, at| Recorded { bytes: 0, ..row(0, lane, OpKind::Open, uri, (at, at + 1)) };
    let rows = [
        open(0, "/d/r", 0),
        row(0, 0, OpKind::Read, "/d/r", (1, 2)),
        open(1, "/d/w", 2),
        row(0, 1, OpKind::Write, "/d/w", (3, 4)),
        Recorded { bytes: 0, ..row(0, 1, OpKind::Close, "/d/w", (4, 5)) },
        row(0, 0, OpKind::Read, "/d/r", (5, 6)),
        Recorded { bytes: 0, ..row(0, 0, OpKind::Close, "/d/r", (7, 8)) },
        open(0, "/d/r", 9),
        row(0, 0, OpKind::Read, "/d/r", (10, 11)),
        row(0, 0, OpKind::Get, "/d/g", (12, 13)),
    ];
    let plan = ReplayPlan::new(options(), vec![0], 1, 0).unwrap();
    let (survey, operations) = run(&plan, 0, &rows);
    let found: Vec<_> = operations.iter().map(|op| (op.kind.name(), op.handle, op.closes)).collect();
    assert_eq!(
        found,
        [
            ("open", Some(1), None),
            ("read", Some(1), None),
            ("write", None, None),
            ("read", Some(1), None),
            ("close", Some(1), Some(3)),
            ("open", Some(2), None),
            ("read", Some(2), Some(2)),
            ("read", None, None),
        ]
    );
    assert_eq!((survey.opens(), survey.folded, survey.operations()), (2, 2, 8));
}

#[test]
fn the_schedule_begins_with_what_is_done_and_ends_with_it() {
    let second = 1_000_000_000;
    let at = |kind, uri, from: i64| Recorded { bytes: 0, ..row(0, 0, kind, uri, (from * second, from * second + 1)) };
    // Some files are written, which is left out, and others are read. Around the reads, only the openings and closings
    // of files that are read remain.
    let rows = [
        at(OpKind::Open, "/d/w", 0),
        Recorded { bytes: 10, ..at(OpKind::Write, "/d/w", 1) },
        at(OpKind::Fsync, "/d/w", 2),
        at(OpKind::Close, "/d/w", 3),
        at(OpKind::Open, "/d/r", 10),
        Recorded { bytes: 10, ..at(OpKind::Read, "/d/r", 11) },
        at(OpKind::Close, "/d/r", 12),
        at(OpKind::Open, "/d/x", 20),
        Recorded { bytes: 10, ..at(OpKind::Write, "/d/x", 21) },
        at(OpKind::Close, "/d/x", 22),
    ];
    let only = |what: &str| Options { operations: Operations::parse(&[what.into()]).unwrap(), ..options() };
    let (survey, operations) = run(&ReplayPlan::new(only("read"), vec![0], 1, 0).unwrap(), 0, &rows);
    assert_eq!((survey.first, survey.last, survey.busy), (Some(10 * second), 12 * second + 1, 3));
    assert_eq!(operations.iter().map(|op| op.due).collect::<Vec<_>>(), [0, 1_000_000_000, 2_000_000_000]);
    let (survey, _) = run(&ReplayPlan::new(only("write"), vec![0], 1, 0).unwrap(), 0, &rows);
    assert_eq!((survey.first, survey.last, survey.busy), (Some(0), 22 * second + 1, 7));
}

const WRITE: Access = Access::Update { create: true };

/// Returns a row of a file that is open in lane 0.
fn piece(kind: OpKind, uri: &str, (offset, bytes): (u64, u64), at: i64) -> Recorded {
    Recorded { offset, bytes, ..row(0, 0, kind, uri, (at, at + 1)) }
}

#[test]
fn a_file_that_is_written_in_its_middle_is_opened_once_and_written_where_it_was() {
    let rows = [
        piece(OpKind::Open, "/d/f", (0, 0), 0),
        piece(OpKind::Read, "/d/f", (0, 100), 1),
        piece(OpKind::Write, "/d/f", (300, 100), 2),
        piece(OpKind::Write, "/d/f", (0, 50), 3),
        piece(OpKind::Fsync, "/d/f", (0, 0), 4),
        piece(OpKind::Close, "/d/f", (0, 0), 5),
        // Without openings and closings, as in recordings of Darshan.
        piece(OpKind::Write, "/d/g", (10, 10), 6),
        piece(OpKind::Read, "/d/g", (0, 5), 7),
        piece(OpKind::Write, "/d/g", (20, 10), 8),
        // A write of the whole file.
        piece(OpKind::Write, "/d/h", (0, 10), 9),
    ];
    let plan = ReplayPlan::new(options(), vec![0], 1, 0).unwrap();
    let (survey, operations) = run(&plan, 0, &rows);
    let found: Vec<_> =
        operations.iter().map(|op| (op.kind.name(), op.handle, op.offset, op.bytes, op.closes)).collect();
    assert_eq!(
        found,
        [
            ("open", Some(1), 0, 0, None),
            ("read", Some(1), 0, 100, None),
            ("write", Some(1), 300, 100, None),
            ("write", Some(1), 0, 50, None),
            ("sync", Some(1), 0, 0, None),
            ("close", Some(1), 0, 0, Some(5)),
            ("write", Some(2), 10, 10, None),
            ("read", Some(2), 0, 5, None),
            ("write", Some(2), 20, 10, Some(3)),
            ("write", None, 0, 10, None),
        ]
    );
    assert!(operations[..6].iter().all(|op| op.access == WRITE));
    assert_eq!((survey.operations(), survey.folded, survey.opens()), (10, 0, 1));
    assert_eq!(survey.kinds[&ReplayKind::Write], (5, 180));
    let read = Options { operations: Operations::parse(&["read".into()]).unwrap(), ..options() };
    let (_, operations) = run(&ReplayPlan::new(read, vec![0], 1, 0).unwrap(), 0, &rows);
    let kinds: Vec<_> = operations.iter().map(|op| (op.kind.name(), op.access)).collect();
    assert_eq!(
        kinds,
        [("open", Access::Read), ("read", Access::Read), ("close", Access::Read), ("read", Access::Read)]
    );
    let write = Options { operations: Operations::parse(&["write".into()]).unwrap(), ..options() };
    let (_, operations) = run(&ReplayPlan::new(write, vec![0], 1, 0).unwrap(), 0, &rows);
    let kinds: Vec<_> = operations.iter().map(|op| op.kind.name()).collect();
    assert_eq!(kinds, ["open", "write", "write", "sync", "close", "write", "write", "write"]);
}

#[test]
fn pieces_that_follow_each_other_are_written_at_their_moments_and_one_object_in_a_bucket() {
    let rows = [
        piece(OpKind::Open, "/d/f", (0, 0), 0),
        piece(OpKind::Write, "/d/f", (0, 100), 1),
        piece(OpKind::Write, "/d/f", (100, 100), 2),
        piece(OpKind::Close, "/d/f", (0, 0), 3),
        piece(OpKind::Open, "/d/f", (0, 0), 4),
        piece(OpKind::Write, "/d/f", (200, 100), 5),
        piece(OpKind::Close, "/d/f", (0, 0), 6),
    ];
    let plan = ReplayPlan::new(options(), vec![0], 1, 0).unwrap();
    let (survey, operations) = run(&plan, 0, &rows);
    let found: Vec<_> = operations.iter().map(|op| (op.kind.name(), op.access)).collect();
    let expected = ["open", "write", "write", "close", "open", "write", "close"].map(|kind| (kind, WRITE));
    assert_eq!((found.as_slice(), survey.folded), (&expected[..], 0));
    // In a bucket, the pieces form one object; with `--whole-writes`, they do everywhere.
    let whole = Options { whole: true, ..options() };
    let bucket = Options { rules: vec![Rule::parse("/d=s3://b").unwrap()], ..options() };
    for options in [whole, bucket] {
        let (survey, operations) = run(&ReplayPlan::new(options, vec![0], 1, 0).unwrap(), 0, &rows);
        let found: Vec<_> = operations.iter().map(|op| (op.kind.name(), op.handle, op.bytes)).collect();
        assert_eq!((found, survey.bytes(), survey.folded), (vec![("write", None, 300)], 300, 6));
    }
}

#[test]
fn parts_of_an_object_in_a_bucket_are_refused_unless_it_may_be_written_whole() {
    let rows = [piece(OpKind::Write, "/d/f", (100, 100), 0), piece(OpKind::Write, "/d/f", (0, 50), 1)];
    let bucket = || Options { rules: vec![Rule::parse("/d=s3://b").unwrap()], ..options() };
    let plan = ReplayPlan::new(bucket(), vec![0], 1, 0).unwrap();
    let mut survey = plan.survey(0, rows.iter().cloned().map(Ok)).unwrap();
    let in_place = survey.in_place();
    let refused = survey.settle(&plan, &in_place).unwrap_err().to_string();
    assert!(
        refused.contains("/d/f") && refused.contains("--whole-writes") && refused.contains("--op read"),
        "{refused}"
    );
    let plan = ReplayPlan::new(Options { whole: true, ..bucket() }, vec![0], 1, 0).unwrap();
    let (survey, operations) = run(&plan, 0, &rows);
    assert_eq!(operations.iter().map(|op| (op.bytes, op.due)).collect::<Vec<_>>(), [(200, 0)]);
    assert_eq!((survey.bytes(), survey.folded), (200, 1));
}

#[test]
fn what_one_rank_writes_in_place_all_ranks_write_in_pieces() {
    let rows = [
        piece(OpKind::Write, "/d/shared", (0, 100), 0),
        Recorded { source: 1, ..piece(OpKind::Write, "/d/shared", (100, 100), 0) },
    ];
    let plan = ReplayPlan::new(options(), vec![0, 1], 2, 0).unwrap();
    let mine = |rank: u32| -> Vec<_> { rows.iter().filter(|row| row.source == rank).cloned().map(Ok).collect() };
    let mut surveys: Vec<_> = (0..2).map(|rank| plan.survey(rank, mine(rank).into_iter()).unwrap()).collect();
    let in_place: Vec<_> = surveys.iter().flat_map(Survey::in_place).collect();
    for (rank, survey) in (0..).zip(&mut surveys) {
        survey.settle(&plan, &in_place).unwrap();
        let stream = plan.stream((rank, survey), (0, 1), 1, || Ok(mine(rank).into_iter()));
        let operations: Vec<_> = stream.map(Result::unwrap).collect();
        assert_eq!(operations[0].access, WRITE, "rank {rank}");
        assert_eq!((operations[0].offset, operations[0].bytes), (u64::from(rank) * 100, 100));
    }
}

#[test]
fn a_pattern_rewrites_names_and_an_object_has_one_of_several_targets_for_ever() {
    let rules = vec![
        Rule::parse("re:^s3://([^/]+)/(?<rest>.*)$=>/mnt/$1/${rest}").unwrap(),
        Rule::parse("/data=/a|/b|/c").unwrap(),
    ];
    let options = Options { rules, ..options() };
    let key = |uri: &str| options.target(uri).unwrap().key;
    assert_eq!(key("s3://bucket/x/y"), "mnt/bucket/x/y");
    let targets: Vec<String> = (0..300).map(|number| key(&format!("/data/{number}"))).collect();
    assert_eq!(targets, (0..300).map(|number| key(&format!("/data/{number}"))).collect::<Vec<_>>());
    for folder in ["a/", "b/", "c/"] {
        let share = targets.iter().filter(|target| target.starts_with(folder)).count();
        assert!((70..130).contains(&share), "{folder}: {share} of 300");
    }
    for bad in ["re:(", "re:a=b", "/a=/b||/c", "re:[=>x"] {
        assert!(Rule::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_sample_of_the_objects_is_the_same_whoever_asks_and_about_as_large_as_asked() {
    let rows: Vec<Recorded> =
        (0..2000).map(|number| row(0, 0, OpKind::Get, &format!("s3://b/{number}"), (number, number + 1))).collect();
    let keys = |share: &str| {
        let options = Options { sample: Some(Share::parse(share).unwrap()), ..options() };
        let (survey, operations) = run(&ReplayPlan::new(options, vec![0], 1, 0).unwrap(), 0, &rows);
        assert_eq!(survey.filtered, 2000 - operations.len() as u64);
        operations.into_iter().map(|op| op.key).collect::<Vec<_>>()
    };
    let (tenth, third) = (keys("10%"), keys("33.3"));
    assert!((150..250).contains(&tenth.len()) && (580..750).contains(&third.len()));
    assert!(tenth.iter().all(|key| third.contains(key)), "a smaller sample is part of a larger one");
    assert_eq!((keys("10%"), keys("100%").len()), (tenth, 2000));
    for bad in ["0%", "101%", "-1%", "all"] {
        assert!(Share::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn endpoints_are_rewritten_and_failed_attempts_are_made_again_when_asked() {
    let at = |endpoint: &str| Some(endpoint.into());
    let rows = [
        Recorded { endpoint: at("http://a:1"), ..row(0, 0, OpKind::Get, "s3://b/0", (0, 1)) },
        Recorded { endpoint: at("http://b:1"), ..row(0, 0, OpKind::Get, "s3://b/1", (1, 2)) },
        Recorded { endpoint: at("http://c:1"), ok: false, bytes: 0, ..row(0, 0, OpKind::Get, "s3://b/2", (2, 3)) },
        Recorded { ok: false, bytes: 0, requested: Some(700), ..row(0, 0, OpKind::Put, "s3://b/3", (3, 4)) },
        Recorded { ok: false, bytes: 0, ..row(0, 0, OpKind::MultipartPart, "s3://b/4", (4, 5)) },
    ];
    let endpoints = ["http://a:1=http://x:9", "http://c:1/=http://y:9", "http://d:1=http://x:9"];
    let endpoints = endpoints.iter().map(|rule| EndpointRule::parse(rule).unwrap()).collect();
    let options = Options { endpoints, failed: true, ..options() };
    assert_eq!(options.routes(), ["http://x:9", "http://y:9"]);
    let (survey, operations) = run(&ReplayPlan::new(options, vec![0], 1, 0).unwrap(), 0, &rows);
    let found: Vec<_> = operations.iter().map(|op| (op.via, op.failed)).collect();
    assert_eq!(found, [(1, false), (0, false), (2, true), (0, true)]);
    assert_eq!((survey.failed, operations[3].bytes), (1, 700), "a failed part of an upload is left out");
    assert_eq!(survey.failed_parts, 1);
    assert!(EndpointRule::parse("a=b").is_err() && EndpointRule::parse("http://a:1").is_err());
}

#[test]
fn dependent_timing_counts_pauses_from_what_came_last_and_knows_what_a_fetch_waited_for() {
    let at = |step| Position { phase: Phase::Train, epoch: 1, step, ..Position::default() };
    let read = |step, times| Recorded { at: at(step), ..row(0, 0, OpKind::Get, "s3://b/k", times) };
    let span = |kind, step, times| Recorded { at: at(step), bytes: 0, ..row(0, u16::MAX, kind, "", times) };
    let rows = [
        span(OpKind::Barrier, 0, (0, 1)),
        read(1, (2, 10)),
        span(OpKind::Fetch, 1, (1, 11)),
        span(OpKind::Compute, 1, (11, 31)),
        read(2, (13, 20)),
        span(OpKind::Barrier, 1, (31, 32)),
        span(OpKind::Fetch, 2, (32, 33)),
    ];
    let plan = ReplayPlan::new(Options { dependent: true, ..options() }, vec![0], 1, 0).unwrap();
    let (survey, operations) = run(&plan, 0, &rows);
    assert_eq!((survey.operations(), survey.loops), (2, (1, 2)));
    let kinds: Vec<_> = operations.iter().map(|op| op.kind.name()).collect();
    assert_eq!(kinds, ["barrier", "read", "fetch", "read", "compute", "barrier", "fetch"]);
    let edges: Vec<_> = operations.iter().map(|op| (op.edges.after, op.edges.needs, op.edges.counts)).collect();
    let expected =
        [(0, 0, true), (1, 0, false), (0, 1, true), (2, 0, false), (0, 0, false), (0, 0, false), (0, 1, true)];
    assert_eq!(edges, expected);
    // After the barrier at 1, and after the fetch at 11, which ended later than the preceding operation of the lane (at
    // 10).
    assert_eq!((operations[1].think, operations[3].think, operations[4].took), (1, 2, 20));
    let (survey, operations) = run(&ReplayPlan::new(options(), vec![0], 1, 0).unwrap(), 0, &rows);
    assert_eq!((operations.len(), survey.loops), (2, (0, 0)));
}

#[test]
fn a_bucket_that_was_looked_up_is_no_object_also_where_the_recording_names_a_prefix() {
    let rules = vec![Rule::parse("s3://b/pre/fix=/mnt/copy").unwrap()];
    let plan = ReplayPlan::new(Options { rules, ..options() }, vec![0], 1, 0).unwrap();
    let rows = [
        row(0, 0, OpKind::Head, "s3://b/", (1, 2)),
        row(0, 0, OpKind::CreateNamespace, "s3://b/", (2, 3)),
        row(0, 0, OpKind::Head, "s3://b/pre/fix/", (3, 4)),
        row(0, 0, OpKind::Head, "s3://b/pre/fix/a", (4, 5)),
    ];
    let (survey, done) = run(&plan, 0, &rows);
    assert_eq!((survey.folded, done.len()), (3, 1));
    assert_eq!((done[0].kind, done[0].key.as_str()), (ReplayKind::Stat, "mnt/copy/a"));
}

#[test]
fn what_other_rows_lie_in_is_looked_up_and_prepared_as_a_folder() {
    let plan = ReplayPlan::new(options(), vec![0], 1, 0).unwrap();
    let rows = [
        row(0, 0, OpKind::Stat, "/data/train", (1, 2)),
        row(0, 0, OpKind::Read, "/data/train/a", (3, 4)),
        row(0, 0, OpKind::Stat, "/data/alone", (5, 6)),
        row(0, 0, OpKind::Stat, "/data/slash/", (5, 6)),
        row(0, 0, OpKind::List, "/data/listed", (7, 8)),
    ];
    let (_, done) = run(&plan, 0, &rows);
    let folders: Vec<_> = done.iter().filter(|op| op.folder).map(|op| op.key.as_str()).collect();
    assert_eq!(folders, ["data/train"]);
    let needed = plan.needed(rows.iter().cloned().map(Ok)).unwrap();
    let found: Vec<_> = needed.iter().map(|(key, needed)| (key.as_str(), needed.folder)).collect();
    let expected = [
        ("data/alone", false),
        ("data/listed", true),
        ("data/slash", true),
        ("data/train", true),
        ("data/train/a", false),
    ];
    assert_eq!(found, expected);
}
