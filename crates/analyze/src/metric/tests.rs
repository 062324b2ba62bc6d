//! Metrics that were computed by hand.

use super::*;

const MS: u64 = 1_000_000;

fn parameters() -> Parameters {
    Parameters {
        exclude_start_steps: 1,
        exclude_end_steps: 0,
        train_steps: 4,
        eval_steps: 4,
        batch_size: 2,
        eval_batch_size: 3,
        record_bytes: MB,
        au_threshold: 0.5,
        train_samples: None,
        formula: Formula::Dlio,
        checkpoint_bytes: None,
    }
}

/// Steps that load for 50 ms (the first for 500) and compute for 100 ms, and 10 ms of barrier after each.
fn four_steps() -> BlockTimings {
    let load = vec![500 * MS, 50 * MS, 50 * MS, 50 * MS];
    let proc: Vec<u64> = load.iter().map(|load| load + 100 * MS).collect();
    let time = proc.iter().sum::<u64>() + 4 * 10 * MS;
    BlockTimings { block: 1, start: 7, end: 7 + time, compute: vec![100 * MS; 4], load, proc }
}

#[test]
fn a_block_leaves_out_its_first_step() {
    let measure = block(&four_steps(), &parameters());
    // T = 1090 ms - 600 ms = 490 ms; compute inside = 300 ms; (4 - 2) * 2 samples.
    assert_eq!(measure.steps, 4);
    assert!((measure.au_percentage - 100.0 * 300.0 / 490.0).abs() < 1e-9);
    assert!((measure.throughput - 4.0 / 0.490).abs() < 1e-9);
}

#[test]
fn mlperf_counts_the_steps_of_the_window_in_its_throughput() {
    let mut parameters = Parameters { formula: Formula::Mlperf, ..parameters() };
    let measure = block(&four_steps(), &parameters);
    // T = 490 ms as above; three steps of two samples.
    assert!((measure.au_percentage - 100.0 * 300.0 / 490.0).abs() < 1e-9);
    assert!((measure.throughput - 6.0 / 0.490).abs() < 1e-9);
    parameters.exclude_end_steps = 1;
    let measure = block(&four_steps(), &parameters);
    assert!((measure.au_percentage - 100.0 * 200.0 / 340.0).abs() < 1e-9);
    assert!((measure.throughput - 4.0 / 0.340).abs() < 1e-9);
}

#[test]
fn nothing_is_measured_where_all_steps_are_left_out() {
    let one = BlockTimings { compute: vec![100 * MS], load: vec![5 * MS], proc: vec![105 * MS], ..four_steps() };
    let epoch = |block| EpochTimings { epoch: 1, blocks: vec![block], ..EpochTimings::default() };
    let ranks = |epochs| [rank(&RankTimings { epochs, ..RankTimings::default() }, &parameters())];
    let text = nothing_measured(&ranks(vec![epoch(one.clone())]), &parameters()).unwrap();
    assert!(text.contains("more than 1 step,") && text.contains("the first 1 and the last 0"), "{text}");
    assert_eq!(nothing_measured(&ranks(vec![epoch(one), epoch(four_steps())]), &parameters()), None);
    assert_eq!(nothing_measured(&ranks(Vec::new()), &parameters()), None, "nothing was trained");
}

#[test]
fn mlperf_gives_zero_where_no_step_counts() {
    let one = BlockTimings { compute: vec![100 * MS], load: vec![5 * MS], proc: vec![105 * MS], ..four_steps() };
    let parameters = Parameters { formula: Formula::Mlperf, ..parameters() };
    let measure = block(&one, &parameters);
    assert_eq!((measure.steps, measure.au_percentage, measure.throughput), (1, 0.0, 0.0));
    let dlio = Parameters { formula: Formula::Dlio, ..parameters };
    assert!(block(&one, &dlio).throughput < 0.0, "DLIO's own formula makes it negative");
}

#[test]
fn an_epoch_of_mlperf_is_the_mean_of_its_blocks_and_a_run_adds_the_ranks() {
    // Two blocks: four steps as above, and two steps of 100 + 100 ms without a barrier.
    let second = BlockTimings {
        block: 2,
        start: 0,
        end: 400 * MS,
        compute: vec![100 * MS; 2],
        load: vec![100 * MS; 2],
        proc: vec![200 * MS; 2],
    };
    let parameters = Parameters { formula: Formula::Mlperf, train_steps: 6, ..parameters() };
    let epoch = |rank| {
        let epoch =
            dlio_event::EpochTimings { epoch: 1, blocks: vec![four_steps(), second.clone()], ..Default::default() };
        super::rank(&RankTimings { rank, epochs: vec![epoch] }, &parameters)
    };
    // Block 1: 3 steps in 490 ms; block 2: 1 step in 200 ms; weights 4 and 2.
    let (au, throughput) = ((300.0 / 4.9 * 4.0 + 50.0 * 2.0) / 6.0, (6.0 / 0.49 * 4.0 + 10.0 * 2.0) / 6.0);
    let run = training(&[epoch(0), epoch(1)], &parameters);
    assert!((run.au_percentage[0] - au).abs() < 1e-9, "{run:?}");
    assert!((run.throughput[0] - 2.0 * throughput).abs() < 1e-9, "{run:?}");
    // A record is one MB here.
    assert!((run.io_mb.unwrap().mean - 2.0 * throughput).abs() < 1e-9);
}

#[test]
fn a_trace_that_does_not_name_a_formula_has_dlios() {
    let text = parameters().embed(serde_json::json!({})).replace("\"formula\":\"dlio\",", "");
    assert!(!text.contains("formula"));
    assert_eq!(Parameters::from_config(&text), Some(parameters()));
}

#[test]
fn excluded_end_steps_count_from_the_configured_number_of_steps() {
    let mut parameters = parameters();
    parameters.exclude_end_steps = 1;
    let measure = block(&four_steps(), &parameters);
    assert!((measure.au_percentage - 100.0 * 200.0 / 340.0).abs() < 1e-9);
    // Twice as many steps configured as were run: the exclusion at the end never applies.
    parameters.train_steps = 8;
    let measure = block(&four_steps(), &parameters);
    assert!((measure.au_percentage - 100.0 * 300.0 / 490.0).abs() < 1e-9);
}

#[test]
fn a_window_that_ends_before_its_start_follows_pythons_slices() {
    let mut parameters = parameters();
    parameters.train_steps = 0;
    parameters.exclude_end_steps = 1;
    // C[1:-1] of four steps; P[:1] and P[-1:] are taken from the time.
    let measure = block(&four_steps(), &parameters);
    assert!((measure.au_percentage - 100.0 * 200.0 / 340.0).abs() < 1e-9);
}

#[test]
fn an_evaluation_counts_all_its_samples() {
    let measure = evaluation(&four_steps(), &parameters());
    assert!((measure.throughput - 12.0 / 1.090).abs() < 1e-9);
    assert!((measure.au_percentage - 100.0 * 300.0 / 490.0).abs() < 1e-9);
}

#[test]
fn times_that_make_no_sense_give_zero_and_never_infinity() {
    let empty = BlockTimings { block: 2, start: 5, end: 5, ..BlockTimings::default() };
    assert_eq!(block(&empty, &parameters()), Measure::default());
    let mut backwards = four_steps();
    backwards.end = backwards.start;
    let measure = block(&backwards, &parameters());
    assert_eq!((measure.au_percentage, measure.throughput), (0.0, 0.0));
    assert_eq!(epoch_mean(&[]), Measure::default());
    assert_eq!(Spread::of(&[]), None);
    assert_eq!(training(&[], &parameters()), Aggregate::default());
}

#[test]
fn evaluation_is_averaged_over_ranks_and_throughput_is_added() {
    let rank = |number: u32, au: f64| RankMetric {
        rank: number,
        epochs: vec![EpochMetric {
            epoch: 1,
            eval: Some(Measure { steps: 4, au_percentage: au, throughput: 10.0 }),
            ..EpochMetric::default()
        }],
    };
    let eval = evaluations(&[rank(0, 80.0), rank(1, 40.0)], &parameters());
    assert_eq!((eval.au_percentage, eval.throughput), (vec![60.0], vec![20.0]));
    assert_eq!(eval.au_meets_expectation, Some(true));
}

#[test]
fn parameters_survive_the_header_of_a_trace() {
    let config = serde_json::json!({"workload": {"model": {"name": "unet3d"}}});
    let text = parameters().embed(config);
    assert!(text.contains("unet3d"));
    assert_eq!(Parameters::from_config(&text), Some(parameters()));
    assert_eq!(Parameters::from_config("{}"), None);
    assert_eq!(Parameters::from_config("no json"), None);
}
