//! Properties of dataset file names: making a name and parsing it are inverses of each other.

mod support;

use dlio_config::vocabulary::{Dialect, Format};
use dlio_plan::{FileName, FileSet, Split};
use proptest::prelude::*;
use support::small;

/// A file set with any format, prefix, number of subfolders and dialect.
fn file_set() -> impl Strategy<Value = FileSet> {
    let format = (0..Format::WORDS.len()).prop_map(|at| Format::from_word(Format::WORDS[at]).expect("a format"));
    let dialect = (0..Dialect::WORDS.len()).prop_map(|at| Dialect::from_word(Dialect::WORDS[at]).expect("a dialect"));
    let count = || prop_oneof![0_u64..30, 90_u64..1100, Just(50_000_000)];
    let subfolders = || prop_oneof![0_u64..4, 8_u64..12, 99_u64..102];
    let prefix = prop_oneof![Just("img"), Just("a_of_9"), Just("x.npz"), Just(""), Just("part/of_3_of_7"), Just("7")];
    let names = (prefix, any::<[bool; 2]>(), any::<Option<u16>>());
    (format, dialect, (count(), count()), (subfolders(), subfolders()), names).prop_map(
        |(format, dialect, (train, eval), (train_folders, eval_folders), (prefix, short, more))| {
            let mut workload = small(&[]);
            (workload.dlio_rs.dialect, workload.dataset.format) = (dialect, format);
            (workload.dataset.num_files_train, workload.dataset.num_files_eval) = (train, eval);
            workload.dataset.num_subfolders_train = train_folders;
            workload.dataset.num_subfolders_eval = eval_folders;
            workload.dataset.num_files_generated = more.map(|more| train + u64::from(more));
            prefix.clone_into(&mut workload.dataset.file_prefix);
            let files = FileSet::new(&workload).expect("files");
            // Short names of subfolders exist in one dialect only.
            [(Split::Train, short[0]), (Split::Eval, short[1])]
                .into_iter()
                .filter(|(_, short)| *short && dialect == Dialect::Mlperf)
                .fold(files, |files, (split, _)| files.with_short_folders(split))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_name_of_every_file_parses_to_its_number(files in file_set(), at in any::<prop::sample::Index>()) {
        prop_assume!(files.total() > 0);
        for combined in [at.index(usize::try_from(files.total()).expect("few")) as u64, 0, files.total() - 1] {
            let name = files.name(combined);
            prop_assert_eq!(files.parse(&name), Some(combined), "{}", name);
            let file = files.file(combined);
            prop_assert_eq!(FileName::parse(&name, files.format()).map(|name| name.index), Some(file.index));
            for (_, index) in file.index_keys() {
                prop_assert_eq!(files.parse(&index), None, "{}", index);
            }
        }
    }

    #[test]
    fn a_changed_name_is_parsed_only_if_another_file_has_it(
        files in file_set(),
        at in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        new in prop_oneof![Just(""), Just("0"), Just("7"), Just("_"), Just("/"), Just("x"), Just("+")],
        replaces in any::<bool>(),
    ) {
        prop_assume!(files.total() > 0);
        let mut name = files.name(at.index(usize::try_from(files.total()).expect("few")) as u64);
        let place = place.index(name.len());
        name.replace_range(place..place + usize::from(replaces), new);
        if let Some(combined) = files.parse(&name) {
            prop_assert_eq!(files.name(combined), name);
        }
    }

    #[test]
    fn files_are_visited_once_each_in_the_order_of_their_names(files in file_set()) {
        for split in [Split::Train, Split::Eval].into_iter().filter(|split| files.len(*split) < 2000) {
            let names: Vec<_> = files.by_name(split).map(|combined| files.name(combined)).collect();
            prop_assert_eq!(names.len() as u64, files.len(split));
            prop_assert!(names.is_sorted(), "{:?}", names);
        }
    }
}

#[test]
fn listed_names_parse_to_their_places_in_the_list() {
    let names = ["train/b.npz", "train/a.npz", "train/img_2_of_8.npz"];
    let files = FileSet::new(&small(&["dataset.num_files_train=3", "dataset.num_files_eval=2"])).expect("files");
    let files = files.listed(Split::Train, names);
    assert_eq!(names.map(|name| files.parse(name)), [Some(0), Some(1), Some(2)]);
    assert_eq!(files.parse("train/img_0_of_3.npz"), None);
    assert_eq!(files.parse("valid/img_1_of_2.npz"), Some(4));
}
