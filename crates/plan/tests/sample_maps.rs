//! Maps that the samplers of the reference built, compared with those of the plan.

mod support;

use dlio_plan::{FileSet, SampleMap, SampleRead, Split, World, sample_map};
use support::{golden, number, workload};

fn written(samples: &[SampleRead]) -> String {
    let words: Vec<_> =
        samples.iter().map(|SampleRead { index, file, sample }| format!("{index}:{file}.{sample}")).collect();
    words.join(" ")
}

#[test]
fn every_recorded_sample_map_is_reproduced() {
    let mut maps = 0;
    for (name, case) in golden(include_str!("golden/sample_maps.json")) {
        let workload = workload(&case["workload"].to_string(), &[]);
        let world = World { size: number(&case["np"]) };
        assert_eq!(FileSet::new(&workload).expect("files").name(0), case["file"], "{name}");
        for (rank, epochs) in (0..).zip(case["ranks"].as_array().expect("ranks")) {
            for (epoch, recorded) in (1..).zip(epochs.as_array().expect("epochs")) {
                let map = sample_map(&workload, world, Split::Train, rank, epoch).expect("a map");
                let planned = match map {
                    SampleMap::Index(samples) => vec![written(&samples)],
                    SampleMap::Threads(threads) => threads.iter().map(|samples| written(samples)).collect(),
                };
                assert_eq!(*recorded, serde_json::json!(planned), "{name} rank {rank} epoch {epoch}");
                maps += 1;
            }
        }
    }
    assert!(maps > 100, "only {maps} maps compared");
}
