//! What becomes of recorded rows.

use super::*;

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
        scale: 1.0,
        folder: "/here".to_owned(),
    }
}

fn row(source: u32, lane: u16, kind: OpKind, uri: &str, (start, end): (i64, i64)) -> Recorded {
    Recorded {
        source,
        lane: Lane(lane),
        kind,
        uri: uri.into(),
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
    let survey = plan.survey(rank, open().unwrap()).unwrap();
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
    assert_eq!((survey.operations(), survey.bytes(), survey.folded, survey.failed), (3, 300, 1, 1));
    assert_eq!((survey.peak, survey.busy, survey.lanes), (2, 5_000_000, 2));
    let found: Vec<_> = operations.iter().map(|op| (op.lane, op.key.as_str(), op.due, op.think)).collect();
    assert_eq!(found, [(0, "data/a", 0, 0), (1, "data/b", 1_000_000, 1_000_000), (0, "data/c", 10_000_000, 7_000_000)]);
}

#[test]
fn speed_is_a_true_factor_and_sizes_scale() {
    let options = Options { speed: 2.5, scale: 1.5, ..options() };
    let plan = ReplayPlan::new(options, vec![0], 1, 0).unwrap();
    let (_, operations) = run(&plan, 0, &sample());
    assert_eq!((operations[2].due, operations[2].think, operations[2].bytes), (4_000_000, 2_800_000, 150));
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
    // The create row itself carries the 100 bytes of every row here.
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
    assert_eq!((operations.len(), survey.filtered), (2, 2));
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
    ];
    let plan = ReplayPlan::new(options(), vec![0, 1], 3, 0).unwrap();
    let needed = plan.needed(rows.into_iter().map(Ok)).unwrap();
    assert_eq!(needed.into_iter().collect::<Vec<_>>(), [("d/a".to_owned(), 1000), ("d/b".to_owned(), 5000)]);
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
    assert_eq!(all, [(0, 0), (1, ms), (2, 10 * ms), (3, 11 * ms), (4, 12 * ms), (5, 21 * ms)]);
}
