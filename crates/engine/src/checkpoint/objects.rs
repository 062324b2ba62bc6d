//! The objects of a checkpoint: their keys, lengths and encoders.

use dlio_format::Encoder;
use dlio_format::checkpoint::{self, Container, Content, State};
use dlio_format::payload::Payload;
use dlio_plan::CheckpointFile;

use super::options::Checkpoints;

/// Returns the key of a checkpoint file.
pub(super) fn key(folder: &str, name: &str) -> String {
    format!("{folder}/{name}")
}

/// Returns keys and encoders of the objects that a planned file is stored as.
pub(super) fn objects(
    checkpoints: &Checkpoints,
    folder: &str,
    file: &CheckpointFile,
) -> Result<Vec<(String, Encoder)>, checkpoint::Error> {
    let state = state(file)?;
    let number = checkpoints.plan.content(folder, &file.name);
    let content = Content { payload: checkpoints.payload, number, randomize: checkpoints.randomize };
    let encoders = checkpoints.container.encoders(&file.name, &state, content);
    Ok(encoders.into_iter().map(|(name, encoder)| (key(folder, &name), encoder)).collect())
}

/// Returns names and lengths in bytes of the objects that a checkpoint file is stored as in a container.
///
/// # Errors
/// When the container cannot hold the tensors.
pub fn checkpoint_objects(
    container: Container,
    file: &CheckpointFile,
) -> Result<Vec<(String, u64)>, checkpoint::Error> {
    // The length depends neither on the seed nor on the number of the checkpoint.
    let content = Content { payload: Payload::new(0), number: 0, randomize: false };
    let encoders = container.encoders(&file.name, &state(file)?, content);
    Ok(encoders.into_iter().map(|(name, encoder)| (name, encoder.len())).collect())
}

/// Returns the tensors of a planned file.
pub(super) fn state(file: &CheckpointFile) -> Result<State, checkpoint::Error> {
    State::new(file.tensors.clone(), file.empty.clone())
}
