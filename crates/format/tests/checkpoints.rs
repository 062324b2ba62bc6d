//! Checkpoint containers as a whole: the bytes that the frameworks write, whatever the buffers.

#![expect(clippy::unwrap_used, reason = "also the helpers of tests are tests")]

mod state;

use dlio_config::vocabulary::{DType, Dialect, Framework};
use dlio_format::checkpoint::{Container, Content, Error, State};
use dlio_format::payload::Payload;
use state::{Spec, make};

const TORCH: [(&str, &[u8]); 4] = [
    ("flat", include_bytes!("golden/torch/flat.pt")),
    ("shared", include_bytes!("golden/torch/shared.pt")),
    ("nested", include_bytes!("golden/torch/nested.pt")),
    ("groups", include_bytes!("golden/torch/groups.pt")),
];

/// The states of the recorded files.
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

/// The only object of a state, made with buffers of this size.
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

/// Blanks the forty digits that torch makes up, and their checksums.
fn without_id(mut file: Vec<u8>) -> Vec<u8> {
    const NAME: &[u8] = b"/.data/serialization_id";
    let at = file.windows(NAME.len()).position(|window| window == NAME).unwrap();
    let data = (at + NAME.len()).next_multiple_of(64);
    // Digits, then the checksum behind the signature.
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
    let container = |dialect, framework| Container::new(dialect, framework);
    assert_eq!(container(Dialect::Dlio, Framework::Pytorch), Ok(Container::Torch));
    assert_eq!(container(Dialect::Native, Framework::Pytorch), Ok(Container::Torch));
    assert_eq!(container(Dialect::Mlperf, Framework::Pytorch), Ok(Container::Stream));
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
