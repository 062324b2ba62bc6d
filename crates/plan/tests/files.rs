//! Names, folders and shapes of dataset files.

mod support;

use dlio_config::vocabulary::IndexFile;
use dlio_plan::{FileSet, GeneratePlan, Split, World};
use support::small;

fn files(overrides: &[&str]) -> FileSet {
    FileSet::new(&small(overrides)).expect("files")
}

fn name_of(count: &str, combined: u64) -> String {
    files(&[&format!("dataset.num_files_train={count}")]).name(combined)
}

#[test]
fn numbers_are_padded_to_the_digits_of_the_count() {
    assert_eq!(name_of("8", 0), "train/img_0_of_8.npz");
    assert_eq!(name_of("9", 8), "train/img_8_of_9.npz");
    assert_eq!(name_of("10", 0), "train/img_00_of_10.npz");
    assert_eq!(name_of("168", 7), "train/img_007_of_168.npz");
}

#[test]
fn evaluation_files_follow_the_training_files() {
    let files = files(&["dataset.num_files_eval=12"]);
    assert_eq!((files.len(Split::Train), files.len(Split::Eval), files.total()), (8, 12, 20));
    let file = files.file(19);
    assert_eq!((file.split, file.index, file.key.as_str()), (Split::Eval, 11, "valid/img_11_of_12.npz"));
    assert_eq!(files.combined(Split::Eval, 11), 19);
}

#[test]
fn sub_folders_are_padded_and_hold_every_nth_file_and_one_sub_folder_is_none() {
    let twelve = files(&["dataset.num_files_train=24", "dataset.num_subfolders_train=12"]);
    assert_eq!(twelve.name(12), "train/00/img_12_of_24.npz");
    assert_eq!(twelve.name(23), "train/11/img_23_of_24.npz");
    assert_eq!(twelve.folders().len(), 14);
    assert_eq!(twelve.folders()[..3], ["train", "train/00", "train/01"]);
    let one = files(&["dataset.num_subfolders_train=1"]);
    assert_eq!((one.name(0).as_str(), one.folders()), ("train/img_0_of_8.npz", vec!["train".into(), "valid".into()]));
}

#[test]
fn sub_folders_have_the_names_that_the_mlperf_fork_expects_without_a_listing() {
    for (count, generated, expected) in
        [(1, "train", Some("train/0")), (9, "train/8", None), (10, "train/08", Some("train/8"))]
    {
        let files = files(&["dataset.num_files_train=24", &format!("dataset.num_subfolders_train={count}")]);
        assert!(files.name(8).starts_with(&format!("{generated}/img_08_of_24")), "{}", files.name(8));
        assert_eq!(files.has_short_folders(Split::Train), expected.is_some());
        let short = files.with_short_folders(Split::Train);
        let expected = format!("{}/img_08_of_24", expected.unwrap_or(generated));
        assert!(short.name(8).starts_with(&expected), "{}", short.name(8));
        assert!(!short.has_short_folders(Split::Eval));
    }
}

#[test]
fn tfrecord_files_have_an_index_in_a_flat_folder() {
    let overrides = ["framework=tensorflow", "reader.data_loader=tensorflow", "dataset.format=tfrecord"];
    let files = files(&[&overrides[..], &["dataset.num_subfolders_train=2"]].concat());
    let index = files.file(3).index_keys();
    assert_eq!(index, [(IndexFile::TfRecord, "index/train/img_3_of_8.tfrecord.idx".to_owned())]);
    assert!(files.folders().contains(&"index/train".to_owned()));
}

#[test]
fn indexed_binary_files_have_two_index_files_beside_them_and_others_none() {
    let indexed = files(&["dataset.format=mmap_indexed_binary", "dataset.num_subfolders_train=2"]);
    let key = "train/1/img_3_of_8.mmap_indexed_binary";
    let expected = [(IndexFile::Offsets, format!("{key}.off.idx")), (IndexFile::Sizes, format!("{key}.sz.idx"))];
    assert_eq!(indexed.file(3).index_keys(), expected);
    assert_eq!(files(&["dataset.format=npy"]).file(3).index_keys(), []);
}

#[test]
fn shapes_with_a_stdev_are_the_recorded_ones() {
    let files = files(&[
        "dataset.num_files_train=5",
        "dataset.num_files_eval=2",
        "dataset.record_length_bytes=10000",
        "dataset.record_length_bytes_stdev=4000",
    ]);
    let dims: Vec<_> = (0..files.total()).map(|combined| files.file(combined).dims).collect();
    assert_eq!(dims, [[126, 114], [69, 99], [112, 85], [105, 102], [100, 96], [108, 124], [80, 120]]);
}

#[test]
fn a_subset_of_a_larger_data_set_keeps_the_names_and_shapes_of_that_data_set() {
    let stdev = ["dataset.record_length_bytes=10000", "dataset.record_length_bytes_stdev=4000"];
    let part = files(&[&stdev[..], &["dataset.num_files_train=3", "dataset.num_files_eval=1"]].concat());
    let part = part.generated_as(5, 2);
    let keys: Vec<_> = (0..part.total()).map(|combined| part.name(combined)).collect();
    assert_eq!(
        keys,
        ["img_0_of_5", "img_1_of_5", "img_2_of_5", "img_0_of_2"].map(|name| {
            let folder = if name.ends_with('5') { "train" } else { "valid" };
            format!("{folder}/{name}.npz")
        })
    );
    assert_eq!(part.dims(3), [108, 124]);
}

#[test]
fn listed_names_take_the_place_of_computed_ones_in_their_split_only() {
    let part = files(&["dataset.num_files_train=2", "dataset.num_files_eval=1"]);
    let part = part.listed(Split::Train, ["train/cat.npz", "train/dog.npz", "train/eel.npz"]);
    let keys: Vec<_> = (0..part.total()).map(|combined| part.name(combined)).collect();
    assert_eq!(keys, ["train/cat.npz", "train/dog.npz", "valid/img_0_of_1.npz"]);
    assert!(part.is_listed() && part.file(1).key == keys[1]);
}

#[test]
fn shapes_are_the_integer_square_root_or_the_dims() {
    assert_eq!(files(&["dataset.record_length_bytes=114660.07"]).dims(0), [338, 338]);
    assert_eq!(files(&["dataset.record_length_bytes=100000"]).dims(0), [316, 316]);
    assert_eq!(files(&["dataset.record_dims=[4,5,6]"]).dims(0), [4, 5, 6]);
}

#[test]
fn the_draws_of_millions_of_files_are_made_once_and_shared() {
    let files = files(&["dataset.num_files_train=2000000", "dataset.record_length_bytes_stdev=100"]);
    let clone = files.clone();
    let last = files.dims(1_999_999);
    assert_eq!(clone.dims(1_999_999), last);
    assert_eq!((0..1_000_000).filter(|&combined| clone.dims(combined).is_empty()).count(), 0);
}

#[test]
fn ranks_write_every_file_once_in_turn() {
    let files = files(&["dataset.num_files_eval=3"]);
    let plan = GeneratePlan::new(&files, World { size: 3 });
    let ranks: Vec<Vec<u64>> = (0..4).map(|rank| plan.files(rank).collect()).collect();
    assert_eq!(ranks[..3], [vec![0, 3, 6, 9], vec![1, 4, 7, 10], vec![2, 5, 8]]);
}

#[test]
fn a_file_without_samples_has_no_plan() {
    let mut workload = small(&[]);
    workload.dataset.num_samples_per_file = 0;
    let error = FileSet::new(&workload).expect_err("no samples");
    assert!(error.to_string().contains("dataset.num_samples_per_file"), "{error}");
}
