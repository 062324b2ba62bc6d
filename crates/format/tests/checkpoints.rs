//! Checkpoint containers are byte for byte those that the frameworks write, whatever the buffer size.

#![expect(clippy::unwrap_used, reason = "also the helpers of tests are tests")]

mod state;

use dlio_config::vocabulary::{DType, Dialect, Framework};
use dlio_format::checkpoint::{Container, Content, Error, IntegrityCheck, State};
use dlio_format::payload::Payload;
use state::{Spec, make};

const TORCH: [(&str, &[u8]); 4] = [
    ("flat", include_bytes!("golden/torch/flat.pt")),
    ("shared", include_bytes!("golden/torch/shared.pt")),
    ("nested", include_bytes!("golden/torch/nested.pt")),
    ("groups", include_bytes!("golden/torch/groups.pt")),
];

/// Returns the state of a recorded file.
fn recorded(name: &str) -> State {
    let shared = [1, 2, 10].map(|layer| [(format!("{layer}/0"), 0, 5), (format!("{layer}/2"), 1, 300)]);
    match name {
        "flat" => make(&[("a", DType::Int8, 77, 0)], &[]),
        "shared" => {
            let tensors: Vec<Spec<'_>> = shared
                .iter()
                .flatten()
                .map(|(path, storage, elements)| (path.as_str(), DType::Int8, *elements, *storage))
                .collect();
            make(&tensors, &[])
        }
        "nested" => make(
            &[
                ("0/0", DType::Float16, 3, 0),
                ("1/0", DType::Bfloat16, 3, 1),
                ("1/1", DType::Float32, 1, 2),
                ("1/2", DType::Float64, 70, 3),
                ("1/3", DType::Uint8, 2, 4),
            ],
            &["2"],
        ),
        _ => {
            let groups = [("0/a", 0), ("0/b", 1), ("1/a", 2), ("1/b", 3)];
            let mut tensors = groups.map(|(path, storage)| (path, DType::Int8, 9, storage)).to_vec();
            tensors.push(("combined", DType::Int8, 0, 4));
            make(&tensors, &[])
        }
    }
}

fn content(randomize: bool) -> Content {
    Content { payload: Payload::new(7), number: 3, randomize }
}

/// Encodes the only object of a state with buffers of `buffer` bytes.
fn encode(container: Container, state: &State, content: Content, buffer: usize) -> Vec<u8> {
    let mut objects = container.encoders("name.pt", state, content);
    assert_eq!(objects.len(), 1);
    let (name, mut encoder) = objects.pop().unwrap();
    assert_eq!(name, "name.pt");
    let (mut bytes, mut buffer) = (Vec::new(), vec![0xA5; buffer]);
    loop {
        let count = encoder.fill(&mut buffer);
        bytes.extend_from_slice(&buffer[..count]);
        if count < buffer.len() {
            break;
        }
    }
    assert_eq!(bytes.len() as u64, encoder.len(), "the length is known before the first byte");
    assert_eq!(encoder.fill(&mut buffer), 0, "nothing follows the end");
    bytes
}

/// Blanks the forty digits that torch generates, and their checksums.
fn without_id(mut file: Vec<u8>) -> Vec<u8> {
    const NAME: &[u8] = b"/.data/serialization_id";
    let at = file.windows(NAME.len()).position(|window| window == NAME).unwrap();
    let data = (at + NAME.len()).next_multiple_of(64);
    // The digits, then the checksum after the signature.
    file[data..data + 40].fill(b'0');
    file[data + 44..data + 48].fill(0);
    let central = file.windows(NAME.len()).rposition(|window| window == NAME).unwrap() - "archive".len();
    file[central - 30..central - 26].fill(0);
    file
}

#[test]
fn states_of_ones_are_the_files_of_torch_to_the_byte() {
    for (name, expected) in TORCH {
        let found = without_id(encode(Container::Torch, &recorded(name), content(false), 1 << 16));
        assert!(found == without_id(expected.to_vec()), "{name}");
    }
}

#[test]
fn every_recorded_checkpoint_file_has_the_length_that_the_reference_wrote() {
    let entries: Vec<serde_json::Value> = serde_json::from_str(include_str!("golden/checkpoint_sizes.json")).unwrap();
    assert_eq!(entries.len(), 19);
    for entry in entries {
        let tensors: Vec<Spec<'_>> = entry["tensors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tensor| {
                let dtype = DType::from_word(tensor[1].as_str().unwrap()).unwrap();
                let storage = u32::try_from(tensor[3].as_u64().unwrap()).unwrap();
                (tensor[0].as_str().unwrap(), dtype, tensor[2].as_u64().unwrap(), storage)
            })
            .collect();
        let objects = Container::Torch.encoders("x.pt", &make(&tensors, &[]), content(true));
        assert_eq!(serde_json::json!(objects[0].1.len()), entry["size"], "{tensors:?}");
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_buffers() {
    for randomize in [true, false] {
        let whole = encode(Container::Torch, &recorded("nested"), content(randomize), 1 << 20);
        for buffer in [1, 7, 64, 1000, 16 * 1024 + 1] {
            let found = encode(Container::Torch, &recorded("nested"), content(randomize), buffer);
            assert!(found == whole, "{buffer} {randomize}");
        }
    }
}

#[test]
fn a_plain_stream_has_exactly_the_bytes_of_the_tensors() {
    let state = recorded("shared");
    let stream = encode(Container::Stream, &state, content(true), 100);
    assert_eq!(stream.len() as u64, state.bytes());
    assert_eq!(state.bytes(), 305);
    assert_ne!(stream, encode(Container::Stream, &state, Content { number: 4, ..content(true) }, 100));
}

#[test]
fn the_container_follows_from_dialect_and_framework() {
    assert_eq!(Container::new(Dialect::Dlio, Framework::Pytorch), Container::Torch);
    assert_eq!(Container::new(Dialect::Native, Framework::Pytorch), Container::Torch);
    assert_eq!(Container::new(Dialect::Mlperf, Framework::Pytorch), Container::Stream);
    assert_eq!(Container::new(Dialect::Dlio, Framework::Tensorflow), Container::Bundle);
}

#[test]
fn states_that_cannot_be_stored_are_refused() {
    let refused = |specs: &[Spec<'_>]| {
        let tensors = specs.iter().map(state::tensor).collect();
        State::new(tensors, Vec::new()).unwrap_err()
    };
    assert!(matches!(refused(&[("a", DType::Int64, 1, 0)]), Error::Datatype { .. }));
    assert!(matches!(refused(&[("a", DType::Int8, 1, 1)]), Error::Storage { .. }));
    let large = [("a", DType::Int8, 1 << 60, 0), ("b", DType::Int8, 1 << 60, 1)];
    assert!(refused(&large).to_string().contains("up to b"), "{}", refused(&large));
    assert!(matches!(refused(&[("a", DType::Float64, 1 << 62, 0)]), Error::TooLarge { .. }));
}

/// Recorded from TensorFlow 2.21: index and data of states of ones.
const TENSORFLOW: [(&str, &[u8], &[u8]); 3] = [
    ("shared", include_bytes!("golden/tensorflow/shared.index"), include_bytes!("golden/tensorflow/shared.data")),
    ("nested", include_bytes!("golden/tensorflow/nested.index"), include_bytes!("golden/tensorflow/nested.data")),
    ("groups", include_bytes!("golden/tensorflow/groups.index"), include_bytes!("golden/tensorflow/groups.data")),
];

#[test]
fn states_of_ones_are_the_bundles_of_tensorflow_to_the_byte() {
    for (name, index, data) in TENSORFLOW {
        let objects = Container::Bundle.encoders("optim.pb", &recorded(name), content(false));
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        for (object, mut encoder) in objects {
            let mut bytes = vec![0; usize::try_from(encoder.len()).unwrap()];
            assert_eq!(encoder.fill(&mut bytes), bytes.len());
            found.push((object, bytes));
        }
        let names: Vec<&str> = found.iter().map(|(object, _)| object.as_str()).collect();
        assert_eq!(names, ["optim.pb-1.data-00000-of-00001", "optim.pb-1.index", "checkpoint"]);
        assert!(found[0].1 == data, "{name}: data");
        assert!(found[1].1 == index, "{name}: index");
        assert_eq!(Container::Bundle.names("optim.pb"), names[..2]);
    }
}

/// Returns a transformer of two layers under `ZeRO` stage 3 with `ranks` ranks, as in the golden files.
fn transformer(ranks: u64) -> [State; 2] {
    let (hidden, vocabulary, ffn, key_value) = (64, 320, 128, 64);
    let inner = [hidden, hidden * (hidden + key_value), hidden * hidden, hidden, hidden * 2 * ffn, hidden * ffn];
    let mut layers: Vec<(String, u64)> = vec![("0/0".to_owned(), hidden * vocabulary)];
    layers.extend(
        (1..3).flat_map(|layer| (0..).zip(inner).map(move |(index, elements)| (format!("{layer}/{index}"), elements))),
    );
    layers.extend([("3/0".to_owned(), hidden * vocabulary), ("4/0".to_owned(), hidden)]);
    let layers: Vec<Spec<'_>> = (0..)
        .zip(&layers)
        .map(|(storage, (path, elements))| (path.as_str(), DType::Float16, elements / ranks, storage))
        .collect();
    let parameters = vocabulary * hidden * 2 + hidden + 2 * inner.iter().sum::<u64>();
    let groups: Vec<Spec<'_>> = (0..)
        .zip(["0", "1", "2", "3", "4", "5"])
        .map(|(storage, path)| {
            (path, DType::Float32, if storage % 2 == 0 { parameters / ranks } else { 5 * hidden }, storage)
        })
        .collect();
    [make(&layers, &[]), make(&groups, &[])]
}

#[test]
fn recorded_bundles_have_the_lengths_that_the_reference_wrote() {
    for (ranks, recorded) in [(1, [(231_293, 1002), (1_384_479, 521)]), (4, [(58_781, 982), (349_407, 521)])] {
        for (state, recorded) in transformer(ranks).iter().zip(recorded) {
            let objects = Container::Bundle.encoders("zero_pp_rank_0_mp_rank_0_optim_states.pb", state, content(true));
            let lengths: Vec<u64> = objects.iter().map(|(_, encoder)| encoder.len()).collect();
            assert_eq!(lengths, [recorded.0, recorded.1, 141], "{ranks} ranks");
        }
    }
}

/// Checks a whole object that is read in chunks of `chunk` bytes.
fn check(container: Container, name: &str, bytes: &[u8], chunk: usize) -> Result<(), Error> {
    let mut integrity = IntegrityCheck::new(container, name);
    bytes.chunks(chunk).for_each(|chunk| integrity.update(chunk));
    integrity.check(bytes.len() as u64, true, true)
}

#[test]
fn a_truncated_object_is_detected_from_its_ends() {
    let torch = encode(Container::Torch, &recorded("nested"), content(true), 1 << 16);
    for chunk in [1, 21, 97, 98, 99, 100_000] {
        check(Container::Torch, "a.pt", &torch, chunk).unwrap();
        for cut in [1, 22, 98, 200, torch.len() - 1] {
            let torn = check(Container::Torch, "a.pt", &torch[..torch.len() - cut], chunk);
            assert!(torn.is_err(), "{chunk} {cut}");
        }
        // Bytes are missing in the middle; both ends are intact.
        let hole = [&torch[..500], &torch[700..]].concat();
        let text = check(Container::Torch, "a.pt", &hole, chunk).unwrap_err().to_string();
        assert!(text.contains(&format!("a file of {} bytes", torch.len())), "{text}");
        assert_eq!(check(Container::Torch, "a.pt", &torch[1..], chunk), Err(Error::NotAnArchive));
    }
    for (_, recorded) in TORCH {
        check(Container::Torch, "a.pt", recorded, 7).unwrap();
    }
    for (name, index, data) in TENSORFLOW {
        check(Container::Bundle, "a.pb-1.index", index, 7).unwrap();
        assert!(check(Container::Bundle, "a.pb-1.index", &index[..index.len() - 1], 7).is_err());
        let exact = |object: &str| Container::Bundle.exact_len(object, &recorded(name));
        assert_eq!(exact("a.pb-1.data-00000-of-00001"), Some(data.len() as u64));
        assert_eq!(exact("a.pb-1.index"), None);
    }
    assert_eq!(Container::Stream.exact_len("a.pt", &recorded("shared")), Some(305));
}
