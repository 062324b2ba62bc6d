//! States of checkpoints for tests.

use dlio_config::Tensor;
use dlio_config::vocabulary::DType;
use dlio_format::checkpoint::State;

/// Path with slashes, element type, elements, storage.
pub(crate) type Spec<'a> = (&'a str, DType, u64, u32);

pub(crate) fn tensor(&(path, dtype, elements, storage): &Spec<'_>) -> Tensor {
    Tensor { path: path.split('/').map(str::to_owned).collect(), storage, dtype, elements }
}

pub(crate) fn make(tensors: &[Spec<'_>], empty: &[&str]) -> State {
    let empty = empty.iter().map(|path| path.split('/').map(str::to_owned).collect()).collect();
    State::new(tensors.iter().map(tensor).collect(), empty).unwrap()
}
