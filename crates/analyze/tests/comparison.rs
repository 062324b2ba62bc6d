//! Two runs against each other.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use dlio_analyze::Report;
use dlio_analyze::compare::{Threshold, compare};

fn run(factor: f64) -> Report {
    let mut report = Report::default();
    report.why.samples.au = (0..40).map(|at| factor * (80.0 + f64::from(at % 5))).collect();
    report.why.samples.read = (1..=1_000).map(|at| f64::from(at) / 1e5 / factor).collect();
    report
}

fn crossed(threshold: &str, base: &Report, this: &Report) -> bool {
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
    assert!(crossed("wait>1%", &run(1.0), &run(1.0)), "neither run has waits");
}
