//! The state of a rank, and the files that hold it.

use dlio_config::Tensor;
use dlio_config::vocabulary::DType;

use super::grid::GridPosition;
use super::{CheckpointFile, CheckpointPart, CheckpointPlan};

/// Collects the tensors of one file.
#[derive(Default)]
struct Contents {
    tensors: Vec<Tensor>,
    empty: Vec<Vec<String>>,
    storages: u32,
}

impl Contents {
    fn add(&mut self, path: &[&str], dtype: DType, elements: u64) -> u32 {
        let storage = self.storages;
        self.storages += 1;
        self.share(path, dtype, elements, storage);
        storage
    }

    fn share(&mut self, path: &[&str], dtype: DType, elements: u64, storage: u32) {
        let path = path.iter().map(|&key| key.to_owned()).collect();
        self.tensors.push(Tensor { path, storage, dtype, elements });
    }

    fn file(self, stem: &str, extension: &str, part: CheckpointPart) -> CheckpointFile {
        CheckpointFile { name: format!("{stem}.{extension}"), part, tensors: self.tensors, empty: self.empty }
    }
}

impl CheckpointPlan {
    /// Returns the files of a rank in writing order.
    pub(super) fn states(&self, rank: u32) -> Vec<CheckpointFile> {
        let position = self.grid.position(rank);
        if rank >= self.world.size || !self.model.holds_state(position) {
            return Vec::new();
        }
        let mut files: Vec<_> = self.generic(position).into_iter().collect();
        self.layers(position, &mut files);
        files.extend(self.optimizer(position));
        files
    }

    fn generic(&self, position: GridPosition) -> Option<CheckpointFile> {
        (self.model.generic > 0).then(|| {
            let mut contents = Contents::default();
            contents.add(&["a"], DType::Int8, self.model.generic);
            contents.file(&format!("model_states-{}", position.rank), self.extension, CheckpointPart::Model)
        })
    }

    fn layers(&self, position: GridPosition, files: &mut Vec<CheckpointFile>) {
        let stage = self.model.stage(position.pp);
        // A model without layers has no layer state, not even the entries of `model.layer_parameters`.
        if self.model.layers == 0 || stage.is_empty() {
            return;
        }
        let GridPosition { dp, mp, .. } = position;
        let sharded = matches!(self.model.zero_stage, -1 | 0 | 3);
        if !sharded && dp != 0 {
            return;
        }
        if !sharded && self.grid.pipeline > 1 {
            for layer in stage {
                let mut contents = Contents::default();
                self.layer(&mut contents, layer, None);
                let stem = format!("layer_{layer}-model_{mp}_model_states");
                files.push(contents.file(&stem, self.extension, CheckpointPart::Layers));
            }
            return;
        }
        let mut contents = Contents::default();
        for layer in stage {
            self.layer(&mut contents, layer, Some(&layer.to_string()));
        }
        let stem = if sharded {
            format!("zero_pp_rank_{dp}_mp_rank_{mp}_model_states")
        } else {
            format!("model_{mp}_model_states")
        };
        files.push(contents.file(&stem, self.extension, CheckpointPart::Layers));
    }

    /// Adds the mapping of a layer under its key, or at the top of a file of its own.
    fn layer(&self, contents: &mut Contents, layer: u64, key: Option<&str>) {
        let before = contents.tensors.len();
        let predefined = !self.model.layer_parameters.is_empty();
        let elements = if predefined { self.model.layer_parameters.clone() } else { self.model.layer(layer) };
        let mut shared = 0;
        for (index, elements) in elements.into_iter().enumerate().filter(|(_, elements)| *elements > 0) {
            let index = index.to_string();
            let path: Vec<&str> = key.into_iter().chain([index.as_str()]).collect();
            if predefined {
                // All layers of a file share one mapping, which is built once.
                let elements = elements / self.grid.tensor;
                contents.share(&path, DType::Int8, elements, shared);
                shared += 1;
            } else {
                contents.add(&path, self.model.dtype, elements);
            }
        }
        contents.storages = contents.storages.max(shared);
        if contents.tensors.len() == before {
            contents.empty.extend(key.map(|key| vec![key.to_owned()]));
        }
    }

    fn optimizer(&self, position: GridPosition) -> Option<CheckpointFile> {
        let mut contents = Contents::default();
        if self.model.groups.is_empty() {
            for (index, elements) in self.model.optimizer().into_iter().enumerate() {
                contents.add(&[&index.to_string()], self.model.optimizer_dtype, elements);
            }
        } else {
            for (index, &elements) in self.model.groups.iter().enumerate().filter(|(_, elements)| **elements > 0) {
                for half in ["a", "b"] {
                    contents.add(&[&index.to_string(), half], DType::Int8, elements);
                }
            }
            contents.add(&["combined"], DType::Int8, self.model.groups.iter().sum());
        }
        let stem = format!("zero_pp_rank_{}_mp_rank_{}_optim_states", position.dp, position.mp);
        (!contents.tensors.is_empty()).then(|| contents.file(&stem, self.extension, CheckpointPart::Optimizer))
    }
}
