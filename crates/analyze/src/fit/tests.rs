//! Tests that distributions are recognised, with rates that were computed by hand.

use super::distribution::{Compute, Simulated, distance, distance_to_point, normal_cdf};

/// Returns values at the quantiles of a distribution.
fn quantiles(inverse: impl Fn(f64) -> f64) -> Vec<f64> {
    (0..400).map(|number| inverse((f64::from(number) + 0.5) / 400.0)).collect()
}

#[test]
fn times_of_computation_are_recognised_by_their_distribution() {
    assert_eq!(Compute::of(&[0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.4]), Compute::Constant(0.1));
    let uniform = quantiles(|share| 1.0 + 2.0 * share);
    assert!(
        matches!(Compute::of(&uniform), Compute::Uniform(from, to) if (from - 1.0).abs() < 0.02 && (to - 3.0).abs() < 0.02)
    );
    let exponential = quantiles(|share| -0.5 * (1.0 - share).ln());
    assert!(matches!(Compute::of(&exponential), Compute::Exponential(mean) if (mean - 0.5).abs() < 0.01));
    // The sum of twelve uniform numbers is nearly normal.
    let mut numbers = dlio_event::mix::Lcg64::new(1);
    let mut draw = || (numbers.next_state() >> 11) as f64 / (1u64 << 53) as f64;
    let normal: Vec<f64> = (0..400).map(|_| 4.0 + (0..12).map(|_| draw()).sum::<f64>()).collect();
    assert!(matches!(Compute::of(&normal), Compute::Normal(..)), "{:?}", Compute::of(&normal));
}

#[test]
fn distances_are_0_for_the_same_and_1_for_another_place() {
    let values = quantiles(|share| share);
    assert!(distance(&values, |x| x) < 0.01);
    assert!(distance(&values, |x| (x - 2.0).clamp(0.0, 1.0)) > 0.99);
    assert!(distance_to_point(&[5.0; 4], 1.0) > 0.99 && distance_to_point(&[1.01; 4], 1.0) < 0.01);
    assert!((normal_cdf(1.96, 0.0, 1.0) - 0.975).abs() < 1e-4);
}

#[test]
fn the_slower_of_reading_and_computing_decides_the_rate() {
    // Two readers of 2 samples of 10 ms a batch: 100 batches/s at most; computing 50 ms: 20 steps/s.
    let bound_by_loop = Simulated::run((2000, 1), (2, 2), &[0.01], 0.05);
    assert!((bound_by_loop.steps_per_second - 20.0).abs() < 0.1);
    assert!((bound_by_loop.concurrency - 0.4).abs() < 0.01);
    let bound_by_storage = Simulated::run((2000, 1), (2, 2), &[0.01], 0.001);
    assert!((bound_by_storage.steps_per_second - 100.0).abs() < 1.0);
    assert!((bound_by_storage.concurrency - 2.0).abs() < 0.05);
}

#[test]
fn a_loop_that_reads_by_itself_reads_and_computes_in_turn() {
    let inline = Simulated::run((2000, 1), (0, 2), &[0.01], 0.03);
    assert!((inline.steps_per_second - 20.0).abs() < 0.1);
    assert!((inline.concurrency - 0.4).abs() < 0.01);
}
