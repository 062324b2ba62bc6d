//! The first eight numbers of every stream that plans and draws depend on. Different numbers would mean different
//! workloads.

mod support;

use dlio_plan::numpy::Mt19937;
use dlio_plan::{Split, World};
use support::{computed, plan, workload};

fn order(overrides: &[&str], split: Split, epoch: u32) -> Vec<u64> {
    let large = ["dlio_rs.dialect=native", "dataset.num_files_train=100", "dataset.num_files_eval=100"];
    let plan = plan(1, &[&large[..], &["workflow.evaluation=true"], overrides].concat());
    computed(&plan, 0, split, epoch).iter().take(8).map(|read| read.index).collect()
}

#[test]
fn the_first_eight_of_numpys_generator() {
    let mut generator = Mt19937::new(123);
    let words: Vec<u32> = (0..8).map(|_| generator.word()).collect();
    assert_eq!(
        words,
        [
            2_991_312_382,
            3_062_119_789,
            1_228_959_102,
            1_840_268_610,
            974_319_580,
            2_967_327_842,
            2_367_878_886,
            3_088_727_057
        ]
    );
}

#[test]
fn the_first_eight_of_the_orders_of_the_native_dialect() {
    let files = ["reader.file_shuffle=seed"];
    assert_eq!(order(&files, Split::Train, 1), [212, 213, 214, 215, 220, 221, 222, 223]);
    let samples = ["reader.sample_shuffle=seed"];
    assert_eq!(order(&samples, Split::Train, 1), [353, 295, 130, 286, 273, 272, 320, 372]);
    assert_eq!(order(&["reader.sample_shuffle=random"], Split::Train, 1), [231, 38, 258, 181, 85, 129, 71, 199]);
    assert_eq!(order(&samples, Split::Train, 2), [101, 56, 309, 223, 38, 275, 271, 124]);
    assert_eq!(order(&samples, Split::Eval, 1), [142, 7, 101, 294, 198, 195, 121, 316]);
}

fn nanos(times: impl Iterator<Item = std::time::Duration>) -> Vec<u128> {
    times.take(8).map(|time| time.as_nanos()).collect()
}

#[test]
fn the_first_eight_of_the_times_of_the_native_dialect() {
    let time = "{type: uniform, min: 0, max: 1}";
    let plan = plan(
        2,
        &[
            "dlio_rs.dialect=native",
            "dataset.num_files_train=100",
            &format!("train.computation_time={time}"),
            &format!("reader.preprocess_time={time}"),
        ],
    );
    assert_eq!(
        nanos(plan.compute_times(0, Split::Train, 1)),
        [687_394_771, 869_684_610, 992_373_398, 255_365_005, 742_865_981, 613_123_924, 61_406_793, 594_473_087]
    );
    assert_eq!(
        nanos(plan.compute_times(1, Split::Train, 1)),
        [666_278_350, 853_997_071, 903_920_368, 577_942_311, 494_667_499, 107_879_223, 284_685_010, 675_124_389]
    );
    assert_eq!(
        nanos(plan.compute_times(0, Split::Train, 2)),
        [973_208_465, 201_077_808, 352_158_299, 622_452_824, 389_244_134, 113_574_639, 77_753_440, 407_145_120]
    );
    assert_eq!(
        nanos(plan.preprocess_times(0, Split::Train, 1, 1)),
        [211_378_248, 509_955_513, 853_755_138, 48_485_353, 89_703_504, 979_338_511, 195_106_349, 211_082_480]
    );
}

#[test]
fn the_first_eight_pauses_between_checkpoints() {
    let yaml = "model: {model_size: 1024}\nframework: pytorch\nworkflow: {train: false, checkpoint: true}\n\
                checkpoint: {num_checkpoints_write: 1, time_between_checkpoints: {type: uniform, min: 0, max: 1}}\n";
    let plan =
        dlio_plan::checkpoints(&workload(yaml, &["++dlio_rs.dialect=native"]), World { size: 1 }).expect("a plan");
    assert_eq!(
        nanos(plan.alone().expect("checkpoints alone").pauses(0)),
        [282_606_472, 636_220_280, 126_686_206, 329_911_221, 52_497_241, 928_420_178, 520_519_077, 882_041_409]
    );
}
