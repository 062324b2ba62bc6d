//! The operations that a lane issues for every format and mode, in order, compared with those of DLIO.
//!
//! DLIO's system calls for one file are in `golden/io_patterns_strace.json` of the recordings. Accesses that its Python libraries buffer
//! (reads of 4096 bytes around larger ones, seeks) are one ranged read here.

mod world;

use dlio_event::{Lane, OpKind};
use dlio_format::Decode;
use world::{TrainedWorld, sim};

/// Returns the operations of a rank on storage, in the order of their lane: `open train/a`, `read train/a 0+100`, and `sample`
/// after each sample.
fn operations(run: &TrainedWorld, rank: usize, lane: Lane) -> Vec<String> {
    let sink = &run.ranks[rank].events;
    let mut said = Vec::new();
    for event in sink.events().iter().filter(|event| event.lane == lane) {
        let name = sink.object_name(event.object).unwrap_or_default();
        let name = name.rsplit_once("://").map_or(name.as_str(), |(_, name)| name).trim_start_matches('/');
        match (event.kind, event.requested) {
            (OpKind::Open, _) => said.push(format!("open {name}")),
            (OpKind::Read, Some(len)) => said.push(format!("read {name} {}+{len}", event.offset)),
            (OpKind::Read, None) => said.push(format!("read {name} {}..", event.offset)),
            (OpKind::Sample, _) => said.push("sample".to_owned()),
            (OpKind::Decode, _) => said.push(format!("decode {name}")),
            _ => {}
        }
    }
    said
}

#[test]
fn numpy_files_are_opened_and_read_whole_for_every_sample() {
    for format in ["npz", "npy"] {
        let run = sim(format).samples_per_file(2).batch(2).steps(4).run();
        let each = |file: usize| {
            let name = format!("train/img_{file}_of_4.{format}");
            [format!("open {name}"), format!("read {name} 0.."), "sample".to_owned()]
        };
        let expected: Vec<String> = (0..8).flat_map(|sample| each(sample / 2)).collect();
        assert_eq!(operations(&run, 0, Lane::MAIN), expected);
    }
}

#[test]
fn text_and_images_are_read_whole() {
    for format in ["csv", "png", "jpeg"] {
        let run = sim(format).lanes(1).steps(2).run();
        let each = |file: usize| {
            let name = format!("train/img_{file}_of_2.{format}");
            [format!("open {name}"), format!("read {name} 0.."), "sample".to_owned()]
        };
        assert_eq!(operations(&run, 0, Lane(0)), (0..2).flat_map(each).collect::<Vec<_>>());
    }
}

#[test]
fn synthetic_data_are_not_read() {
    let run = sim("synthetic").lanes(1).steps(2).run();
    let said = operations(&run, 0, Lane(0));
    assert!(said.iter().all(|said| !said.starts_with("open") && !said.starts_with("read")), "{said:?}");
}

#[test]
fn a_given_read_type_reads_each_file_once_per_lane_and_run() {
    let run = sim("npz").samples_per_file(2).batch(2).steps(4).epochs(2).read_type("memory").run();
    let said = operations(&run, 0, Lane::MAIN);
    let io: Vec<&String> = said.iter().filter(|said| *said != "sample").collect();
    let each = |file: usize| ["open", "read"].map(|what| format!("{what} train/img_{file}_of_4.npz"));
    let expected: Vec<String> = (0..4).flat_map(each).collect();
    assert_eq!(io.iter().map(|said| said.trim_end_matches(" 0..")).collect::<Vec<_>>(), expected);
    assert_eq!(said.len() - io.len(), 16, "sixteen samples all the same");
}

#[test]
fn hdf5_reads_its_metadata_and_one_slice_of_every_dataset() {
    let run = sim("hdf5").samples_per_file(2).batch(2).steps(4).run();
    let each = |number: usize| {
        let file = format!("train/img_{}_of_4.hdf5", number / 2);
        // As in the HDF5 library, a small sample is read together with the bytes that follow it in its dataset.
        let slice = ["2048+2048", "3072+1024"][number % 2];
        let reads = ["0+8", "0+48", "48+512", "195+512", slice].map(|range| format!("read {file} {range}"));
        [vec![format!("open {file}")], reads.to_vec(), vec!["sample".to_owned()]].concat()
    };
    assert_eq!(operations(&run, 0, Lane::MAIN), (0..8).flat_map(each).collect::<Vec<_>>());

    let run = sim("hdf5").dataset(", record_dims: [4, 8, 32], hdf5: {num_dset_per_record: 4}").run();
    let said = operations(&run, 0, Lane::MAIN);
    let first = said.iter().take_while(|said| *said != "sample");
    let ranges: Vec<&str> = first.filter_map(|said| Some(said.rsplit_once(' ')?.1)).collect();
    // The header of the group has no room for all of its links, which continue in two other places.
    let names = ["0+8", "0+48", "48+512", "1567+51", "1267+32"];
    let records = ["195+512", "2048+256", "463+512", "2304+256", "731+512", "2560+256", "999+512", "2816+256"];
    assert_eq!(ranges[1..], [&names[..], &records].concat());
}

#[test]
fn hdf5_in_chunks_reads_the_chunks_of_the_sample() {
    let chunks = ", record_dims: [32, 32], hdf5: {chunk_dims: [1, 16, 32]}";
    let run = sim("hdf5").samples_per_file(2).batch(2).steps(4).dataset(chunks).run();
    let said = operations(&run, 0, Lane::MAIN);
    let offset = |said: &str| said.rsplit_once(' ')?.1.strip_suffix("+512")?.parse().ok();
    let whole = said.iter().filter_map(|said| offset(said)).filter(|&offset: &u64| offset >= 2048).count();
    assert_eq!(whole, 16, "two chunks of 512 bytes for each of eight samples: {said:?}");
}

#[test]
fn tfrecords_are_streamed_and_opened_once() {
    let run = sim("tfrecord").loader("tensorflow").lanes(1).batch(2).samples_per_file(2).steps(4).run();
    let size = run.memory.get("train/img_0_of_4.tfrecord").unwrap().len();
    let said = operations(&run, 0, Lane(0));
    assert_eq!(said[..2], ["open train/img_0_of_4.tfrecord", &format!("read train/img_0_of_4.tfrecord 0+{size}")]);
    assert_eq!(said[2..4], ["sample"; 2]);
    assert_eq!(said[4], "open train/img_1_of_4.tfrecord");
}

#[test]
fn every_lane_reads_the_indexes_of_all_files_of_its_rank_before_its_first_sample() {
    let run = sim("indexed_binary").ranks(2).lanes(2).samples_per_file(2).batch(2).steps(4).epochs(2).run();
    for rank in 0..2 {
        for lane in 0..2 {
            let said = operations(&run, rank, Lane(lane));
            let mut expected = Vec::new();
            for file in 4 * rank..4 * rank + 4 {
                for index in ["off", "sz"] {
                    let name = format!("train/img_{file}_of_8.indexed_binary.{index}.idx");
                    expected.extend([format!("open {name}"), format!("read {name} 0..")]);
                }
            }
            // Then the lane's own files are opened for each of their two samples; the second epoch reuses the indexes.
            for batch in [0, 2, 0, 2] {
                let file = format!("train/img_{}_of_8.indexed_binary", 4 * rank + batch + usize::from(lane));
                for offset in [0, 1024] {
                    expected.extend([
                        format!("open {file}"),
                        format!("read {file} {offset}+1024"),
                        "sample".to_owned(),
                    ]);
                }
            }
            assert_eq!(said, expected, "rank {rank}, lane {lane}");
        }
    }
}

#[test]
fn an_iterative_reader_is_made_anew_in_every_epoch_and_looks_up_the_files_of_its_thread() {
    let run = sim("indexed_binary").loader("tensorflow").lanes(2).samples_per_file(2).batch(2).steps(4).epochs(2).run();
    for lane in 0..2 {
        let said = operations(&run, 0, Lane(lane));
        let lookups: Vec<&String> =
            said.iter().filter(|said| said.starts_with("open") && said.contains(".idx")).collect();
        assert_eq!(lookups.len(), 2 * 2 * 2, "two files with two indexes in each of two epochs: {said:?}");
        let first = said.iter().position(|said| said == "sample").unwrap();
        assert!(said[..first].iter().filter(|said| said.contains(".idx")).count() == 8, "{said:?}");
    }
}

#[test]
fn memory_maps_are_made_once_and_nothing_is_read() {
    let run = sim("mmap_indexed_binary").lanes(1).samples_per_file(2).batch(2).steps(4).epochs(2).run();
    let said = operations(&run, 0, Lane(0));
    let mapped = |file| {
        ["off.idx", "sz.idx", ""].map(|index| {
            let name = format!("open train/img_{file}_of_4.mmap_indexed_binary.{index}");
            name.trim_end_matches('.').to_owned()
        })
    };
    let mut expected: Vec<String> = (0..4).flat_map(mapped).collect();
    expected.extend(std::iter::repeat_n("sample".to_owned(), 16));
    assert_eq!(said, expected);
}

#[test]
fn decoding_changes_no_operation_and_has_rows_of_its_own() {
    for format in ["npz", "npy", "hdf5", "indexed_binary"] {
        let sim = sim(format).lanes(2).samples_per_file(2).batch(2).steps(4);
        let plain = sim.clone().run();
        for decode in [Decode::Verify, Decode::Full] {
            let looked = sim.clone().decode(decode).run();
            for lane in [Lane(0), Lane(1)] {
                let mut said = operations(&looked, 0, lane);
                let reads = said.iter().filter(|said| said.starts_with("read") && !said.contains(".idx")).count();
                let decodes = said.iter().filter(|said| said.starts_with("decode")).count();
                assert_eq!(decodes, reads, "{format}: one decode span per read");
                said.retain(|said| !said.starts_with("decode"));
                assert_eq!(said, operations(&plain, 0, lane), "{format} {decode}");
            }
        }
    }
}

#[test]
fn the_reads_of_a_damaged_payload_pass_unless_they_are_verified() {
    let damage = |decode| sim("npy").steps(4).damaged_object("train/img_2_of_4.npy", 1000).decode(decode).run();
    assert!(damage(Decode::None).ranks[0].outcome.is_ok());
    let run = damage(Decode::Verify);
    let message = run.message(0);
    assert!(message.contains("img_2_of_4.npy") && message.contains("content at offset 1000: expected "), "{message}");
}
