//! Comparison of two runs.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use dlio_analyze::compare::{Samples, Threshold, compare};

fn run(factor: f64) -> Samples {
    Samples {
        au: (0..40).map(|at| factor * (80.0 + f64::from(at % 5))).collect(),
        read: (1..=1_000).map(|at| f64::from(at) / 1e5 / factor).collect(),
        ..Samples::default()
    }
}

fn crossed(threshold: &str, base: &Samples, this: &Samples) -> bool {
    threshold.parse::<Threshold>().unwrap().crossed(&compare(base, this)).is_some()
}

#[test]
fn a_run_against_itself_changed_nothing() {
    let changes = compare(&run(1.0), &run(1.0));
    assert_eq!(changes, compare(&run(1.0), &run(1.0)), "the draws are the same every time");
    assert!(changes.iter().all(|change| change.change_percentage == 0.0));
    assert!(changes.iter().all(|change| change.interval.0 <= 0.0 && change.interval.1 >= 0.0));
    assert!(!crossed("au<-1%", &run(1.0), &run(1.0)));
}

#[test]
fn a_loss_beyond_the_threshold_is_crossed_and_a_gain_is_not() {
    let (good, bad) = (run(1.0), run(0.95));
    assert!(crossed("au<-1%", &good, &bad) && crossed("read_p99>2%", &good, &bad));
    assert!(!crossed("au<-1%", &bad, &good) && !crossed("au<-10%", &good, &bad));
    let au = compare(&good, &bad).into_iter().find(|change| change.metric == "au").unwrap();
    assert!((au.change_percentage + 5.0).abs() < 1e-9 && au.interval.0 < -5.0 && au.interval.1 > -5.0);
}

#[test]
fn a_threshold_that_cannot_be_judged_is_refused() {
    assert!("au=-1%".parse::<Threshold>().is_err() && "speed<1".parse::<Threshold>().is_err());
    assert!("au<x".parse::<Threshold>().is_err());
    for (always, meant) in [("au<1%", "au<-1%"), ("read_p99>-10%", "read_p99>10%"), ("wait < 2.5", "wait<-2.5%")] {
        let refused = always.parse::<Threshold>().unwrap_err();
        assert!(refused.contains("did not change") && refused.contains(meant), "{refused}");
    }
    assert!(!crossed("au<0%", &run(1.0), &run(1.0)) && !crossed("au>0%", &run(1.0), &run(1.0)));
    assert!(crossed("wait>1%", &run(1.0), &run(1.0)), "neither run has waits");
}

/// One epoch with alternating long and short steps, as with batches that come in pairs.
fn in_pairs(factor: f64) -> Samples {
    let mut samples = Samples::default();
    let noise = |at: u32| 1.0 + f64::from((at + 1).wrapping_mul(2_654_435_761) >> 16) / 160_000.0;
    samples.step = (0..300).map(|at| factor * noise(at) * if at % 2 == 0 { 0.02 } else { 0.001 }).collect();
    samples.round.clone_from(&samples.step);
    samples.au = vec![50.0 / factor];
    samples.samples_per_second = vec![100.0 / factor];
    // Five kinds of reads in turn.
    samples.read =
        (0..10_000).map(|at| factor * noise(at) * [0.001, 0.002, 0.004, 0.008, 0.016][at as usize % 5]).collect();
    samples
}

#[test]
fn one_epoch_is_as_sure_as_its_steps() {
    let changes = compare(&in_pairs(1.0), &in_pairs(1.004));
    for metric in ["au", "samples_per_second", "step"] {
        let (low, high) = changes.iter().find(|change| change.metric == metric).unwrap().interval;
        assert!(low < 0.0 && high > 0.0, "{metric} may not have changed: {low} to {high}");
    }
    let (base, slower) = (in_pairs(1.0), in_pairs(1.1));
    assert!(crossed("au<-5%", &base, &slower) && crossed("step>5%", &base, &slower));
    assert!(crossed("samples_per_second<-5%", &base, &slower) && !crossed("samples_per_second<-5%", &slower, &base));
}

#[test]
fn reads_in_a_pattern_have_the_percentiles_of_all() {
    for change in compare(&in_pairs(1.0), &in_pairs(1.1)).iter().filter(|change| change.metric.starts_with("read")) {
        let (low, high) = change.interval;
        assert!(low <= 10.1 && high >= 9.9 && low > -1.0, "{change:?}");
    }
}
