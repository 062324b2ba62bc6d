//! Checkpoint containers in independent readers: every element type, shared storages, empty tensors and mappings.

use dlio_config::Tensor;
use dlio_config::vocabulary::DType;
use dlio_format::checkpoint::{Container, Content, State};
use dlio_format::payload::Payload;
use serde_json::{Value, json};

use crate::support::python;

const TYPES: [DType; 6] = [DType::Int8, DType::Uint8, DType::Float16, DType::Bfloat16, DType::Float32, DType::Float64];

fn tensor(path: &[&str], dtype: DType, elements: u64, storage: u32) -> Tensor {
    Tensor { path: path.iter().map(|&key| key.to_owned()).collect(), storage, dtype, elements }
}

fn states() -> Vec<State> {
    let of = |tensors: Vec<Tensor>, empty: Vec<Vec<String>>| State::new(tensors, empty).unwrap();
    let flat = (0_u32..)
        .zip(TYPES)
        .map(|(number, dtype)| tensor(&[&number.to_string()], dtype, 1 + 1000 * u64::from(number), number));
    let nested = (0..300_u32).map(|number| {
        let keys = [(number / 6).to_string(), (number % 6).to_string()];
        tensor(&[&keys[0], &keys[1]], TYPES[number as usize % 6], 3, number)
    });
    // The number of items is exactly one batch of the pickler, and one more.
    let batch = (0..1000).map(|number| tensor(&[&number.to_string()], DType::Int8, 1, number));
    let batches = (0..1001_u32)
        .map(|number| tensor(&[&number.to_string()], DType::Float16, 70_000 / u64::from(number + 1), number));
    let shared = (1..4).flat_map(|layer: u32| {
        let layer = layer.to_string();
        [tensor(&[&layer, "0"], DType::Int8, 100, 0), tensor(&[&layer, "1"], DType::Int8, 0, 1)]
    });
    vec![
        of(flat.collect(), vec![]),
        of(nested.collect(), vec![vec!["50".to_owned()]]),
        of(batch.collect(), vec![]),
        of(batches.collect(), vec![]),
        of(shared.collect(), vec![]),
        of(vec![], vec![]),
    ]
}

/// The content that a reader should find in a file.
fn expected(state: &State) -> serde_json::Map<String, Value> {
    state.tensors().iter().map(|t| (t.path.join("/"), json!([t.dtype.word(), t.elements, t.storage]))).collect()
}

#[test]
fn independent_readers_load_every_kind_of_torch_container() {
    let folder = tempfile::tempdir().unwrap();
    let (mut paths, mut wanted) = (Vec::new(), Vec::new());
    for (number, state) in states().into_iter().enumerate() {
        for randomize in [true, false] {
            let content = Content { payload: Payload::new(1), number: number as u64 * 10_000, randomize };
            let (_, mut encoder) = Container::Torch.encoders("x.pt", &state, content).pop().unwrap();
            let mut bytes = vec![0; usize::try_from(encoder.len()).unwrap()];
            assert_eq!(encoder.fill(&mut bytes), bytes.len());
            let path = folder.path().join(format!("{number}-{randomize}.pt"));
            std::fs::write(&path, bytes).unwrap();
            paths.push(path.to_str().unwrap().to_owned());
            wanted.push(expected(&state));
        }
    }
    let facts = python("checkpoint.py", &paths.iter().map(String::as_str).collect::<Vec<_>>());
    let mut torch = None;
    for (path, wanted) in paths.iter().zip(wanted) {
        let file = &facts[path];
        let mut found = file["tensors"].as_object().unwrap().clone();
        found.retain(|_, fact| !fact.is_null());
        for fact in found.values_mut() {
            fact.as_array_mut().unwrap().truncate(3);
        }
        assert_eq!(found, wanted, "{path}");
        if let Some(version) = file["torch"]["version"].as_str() {
            torch = Some(version.to_owned());
            // Older versions use another alignment or store none.
            assert!(file["torch"]["same_bytes"] == true || !version.starts_with("2.15"), "{path}: torch {version}");
        }
    }
    // zipfile and pickle have read every file; torch, if it is installed, has read the same content.
    if let Some(version) = torch {
        println!("loaded by torch {version}");
    }
}

#[test]
fn independent_readers_load_every_kind_of_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let (mut paths, mut wanted) = (Vec::new(), Vec::new());
    for (number, state) in states().into_iter().enumerate() {
        for randomize in [true, false] {
            let content = Content { payload: Payload::new(1), number: number as u64 * 10_000, randomize };
            for (name, mut encoder) in Container::Bundle.encoders(&format!("{number}-{randomize}.pb"), &state, content)
            {
                let mut bytes = vec![0; usize::try_from(encoder.len()).unwrap()];
                assert_eq!(encoder.fill(&mut bytes), bytes.len());
                let path = folder.path().join(&name);
                std::fs::write(&path, bytes).unwrap();
                if path.extension().is_some_and(|extension| extension == "index") {
                    paths.push(path.to_str().unwrap().to_owned());
                    wanted.push(expected(&state));
                }
            }
        }
    }
    let facts = python("checkpoint.py", &paths.iter().map(String::as_str).collect::<Vec<_>>());
    // The independent reader of tables has read every file; TensorFlow, if it is installed, must have read the same content.
    for (path, wanted) in paths.iter().zip(wanted) {
        let found = facts[path]["bundle"].as_object().unwrap();
        assert!(facts[path]["tensorflow"].is_null() || facts[path]["tensorflow"] == facts[path]["bundle"], "{path}");
        assert_eq!(found["save_counter/.ATTRIBUTES/VARIABLE_VALUE"][0], "int64", "{path}");
        let mut storages = std::collections::BTreeSet::new();
        for (name, fact) in wanted.iter().filter(|(_, fact)| storages.insert(fact[2].as_u64())) {
            let tensor = &found[&format!("{name}/.ATTRIBUTES/VARIABLE_VALUE")];
            assert_eq!((&tensor[0], &tensor[1]), (&fact[0], &json!([fact[1]])), "{path} {name}");
        }
        assert_eq!(found.len(), storages.len() + 1, "{path}");
    }
}
