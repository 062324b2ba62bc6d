//! State of the model and of its optimizer in elements. The formulas are those of the reference, with floor divisions
//! from left to right.

use std::ops::RangeInclusive;

use dlio_config::Workload;
use dlio_config::vocabulary::DType;

use super::grid::{Grid, GridPosition, LIMIT};
use crate::Error;

/// Maximum number of layers of a model; each layer is an entry of a file.
const LAYERS_MAX: i64 = 1 << 20;

/// Everything about a model that determines its checkpoint.
#[derive(Debug)]
pub(super) struct Model {
    grid: Grid,
    pub(super) zero_stage: i8,
    /// Value of `model.num_layers`; 0 for none.
    pub(super) layers: u64,
    /// Size of the generic state in bytes; 0 for none.
    pub(super) generic: u64,
    /// Value of `model.layer_parameters`; if it is empty, the formulas of the transformer apply.
    pub(super) layer_parameters: Vec<u64>,
    /// Value of `model.optimization_groups`; if it is empty, the formulas of the transformer apply.
    pub(super) groups: Vec<u64>,
    /// Number of parameters of the transformer.
    pub(super) parameters: u64,
    pub(super) dtype: DType,
    pub(super) optimizer_dtype: DType,
    sizes: Sizes,
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    vocabulary: u64,
    hidden: u64,
    ffn: u64,
    /// Columns of the key matrix and the value matrix together.
    key_value: u64,
}

impl Model {
    pub(super) fn new(workload: &Workload, grid: Grid) -> Result<Self, Error> {
        let model = &workload.model;
        if model.num_layers > LAYERS_MAX {
            return Err(Error::TooManyLayers { layers: model.num_layers, limit: LAYERS_MAX });
        }
        let head = model.hidden_size / model.num_attention_heads.max(1);
        let key_value = u128::from(head) * u128::from(model.num_kv_heads) * 2;
        let layers = u64::try_from(model.num_layers).unwrap_or(0);
        let (hidden, ffn) = (u128::from(model.hidden_size), u128::from(model.ffn_hidden_size));
        let embedding = hidden.checked_mul(u128::from(model.vocab_size));
        let layer = hidden
            .checked_add(key_value)
            .and_then(|columns| columns.checked_mul(hidden))
            .and_then(|qkv| {
                qkv.checked_add(hidden.checked_mul(hidden)?)?.checked_add(hidden.checked_mul(ffn)?.checked_mul(3)?)
            })
            .and_then(|matrices| matrices.checked_add(2 * hidden));
        let parameters = embedding
            .zip(layer)
            .and_then(|(embedding, layer)| {
                layer.checked_mul(u128::from(layers))?.checked_add(embedding.checked_mul(2)?)?.checked_add(hidden)
            })
            .filter(|_| layers > 0);
        let parameters = if layers > 0 { small(parameters, "model.transformer")? } else { 0 };
        let generic = if model.kind.as_deref() == Some("transformer") { 0 } else { model.model_size_bytes };
        small(Some(generic.into()), "model.model_size_bytes")?;
        small(Some(sum(&model.optimization_groups)), "model.optimization_groups")?;
        let layer_parameters = sum(&model.layer_parameters).checked_mul(layers.max(1).into());
        small(layer_parameters, "model.layer_parameters")?;
        Ok(Self {
            grid,
            zero_stage: model.zero_stage,
            layers,
            generic,
            layer_parameters: model.layer_parameters.clone(),
            groups: model.optimization_groups.clone(),
            parameters,
            dtype: model.model_datatype,
            optimizer_dtype: model.optimizer_datatype,
            sizes: Sizes {
                vocabulary: model.vocab_size,
                hidden: model.hidden_size,
                ffn: model.ffn_hidden_size,
                // Unused without layers. With layers, it is a factor of a number that was found to be small enough.
                key_value: u64::try_from(key_value).unwrap_or(u64::MAX),
            },
        })
    }

    /// Returns whether a rank holds state. At `ZeRO` stage 0, only the first copy of the model does. The reference never
    /// tests for stage -1, so every copy holds state there.
    pub(super) fn holds_state(&self, position: GridPosition) -> bool {
        self.zero_stage != 0 || position.dp == 0
    }

    /// Returns the layers of a pipeline stage. With the formulas of the transformer, they include the embedding (0),
    /// the head (L + 1) and the final norm (L + 2).
    pub(super) fn stage(&self, pp: u64) -> RangeInclusive<u64> {
        let stages = self.grid.pipeline;
        let (each, rest) = (self.layers / stages, self.layers % stages);
        let (mut start, mut end) = if pp < rest {
            let start = pp * (each + 1) + 1;
            (start, start + each)
        } else {
            let start = rest * (each + 1) + (pp - rest) * each + 1;
            (start, start + each - 1)
        };
        if self.layer_parameters.is_empty() {
            if pp == stages - 1 {
                end = self.layers + 2;
            }
            if pp == 0 {
                start = 0;
            }
        }
        start..=end
    }

    /// Returns the numbers of elements of the tensors of a layer. A tensor with 0 elements is not in the file, but
    /// keeps its key.
    pub(super) fn layer(&self, layer: u64) -> Vec<u64> {
        let Sizes { vocabulary, hidden, ffn, key_value } = self.sizes;
        let shards = if self.zero_stage == 3 { self.grid.data } else { 1 };
        let split = |elements: u64| elements / self.grid.tensor / shards;
        if layer == 0 || layer == self.layers + 1 {
            vec![split(hidden * vocabulary)]
        } else if layer == self.layers + 2 {
            vec![hidden / shards]
        } else {
            vec![
                hidden / shards,
                split(hidden * (hidden + key_value)),
                split(hidden * hidden),
                hidden / shards,
                split(hidden * 2 * ffn),
                split(hidden * ffn),
            ]
        }
    }

    /// Returns the numbers of elements of the transformer's optimizer groups; empty without layers.
    pub(super) fn optimizer(&self) -> Vec<u64> {
        let shards = if self.zero_stage > 0 { self.grid.ranks() } else { self.grid.parts() };
        match self.parameters / shards {
            0 => Vec::new(),
            own => [own, self.sizes.hidden * 5].repeat(3),
        }
    }
}

fn sum(counts: &[u64]) -> u128 {
    counts.iter().map(|&count| u128::from(count)).sum()
}

/// Returns the number if eight bytes for each of several times as many elements are far below 2^64.
fn small(number: Option<u128>, key: &'static str) -> Result<u64, Error> {
    let fits = number.filter(|&number| number < LIMIT / 64).and_then(|number| u64::try_from(number).ok());
    fits.ok_or(Error::ModelTooLarge { key })
}
