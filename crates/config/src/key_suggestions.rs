//! Suggestions for misspelled keys ("did you mean …?").

use crate::fields::Fields;
use crate::inactive_keys;
use crate::legacy_keys;
use crate::schema::{self, Effect};
use crate::similar_words::{distance, near_enough};

/// Minimum length, in bytes, of a part of a name that is worth a suggestion.
const PART_MIN: usize = 4;

/// Returns whether a name begins or ends with these words.
fn is_part(part: &str, name: &str) -> bool {
    name.strip_prefix(part).is_some_and(|rest| rest.starts_with('_'))
        || name.strip_suffix(part).is_some_and(|rest| rest.ends_with('_'))
}

/// Returns the most similar known key: one with the same name in another section, or one with a similar name,
/// preferably in the same section.
#[must_use]
pub fn key(path: &str) -> Option<&'static str> {
    among(path, |key| !matches!(key.effect, Effect::Ignored(_))).or_else(|| legacy(path))
}

/// Like [`key`], among the keys that have an effect in this run.
pub(crate) fn key_that_acts(fields: &Fields<'_>, path: &str) -> Option<&'static str> {
    among(path, |key| inactive_keys::reason(fields, key).is_none()).or_else(|| legacy(path))
}

fn among(path: &str, acts: impl Fn(&schema::Key) -> bool) -> Option<&'static str> {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let most = near_enough(name);
    if most == 0 {
        return None;
    }
    let name = name.to_lowercase();
    let tops = schema::keys().filter_map(|key| key.path.split_once('.')).map(|(top, _)| top);
    let sections = if section.is_empty() { tops.collect::<Vec<_>>() } else { Vec::new() };
    let paths = schema::keys().filter(|key| acts(key)).map(|key| key.path).chain(sections);
    paths
        .filter_map(|known| {
            let (known_section, known_name) = known.rsplit_once('.').unwrap_or(("", known));
            let elsewhere = usize::from(section != known_section);
            let edits = distance(&name, known_name);
            // `checkpoint.folder` and `dataset.num_files` are parts of key names.
            let is_part = elsewhere == 0 && name.len() >= PART_MIN && is_part(&name, known_name);
            let edits = if is_part { edits.min(1) } else { edits };
            (edits <= most && (elsewhere == 0 || edits <= 1)).then_some((edits + elsewhere, known))
        })
        // If two keys are equally similar, users mean training more often than evaluation.
        .min_by_key(|(cost, known)| (*cost, !known.ends_with("_train"), *known))
        .map(|(_, known)| known)
}

/// Returns the present name if the path is similar to a legacy name.
fn legacy(path: &str) -> Option<&'static str> {
    let legacy = legacy_keys::DATASET.iter().map(|(legacy, present)| (format!("dataset.{legacy}"), *present));
    let most = near_enough(path.rsplit('.').next()?);
    let near =
        legacy.filter(|(legacy, _)| distance(path, legacy) <= most).min_by_key(|(legacy, _)| distance(path, legacy));
    near.and_then(|(_, present)| schema::find(&format!("dataset.{present}"))).map(|key| key.path)
}

/// Returns `; did you mean …?`, or an empty text.
pub(crate) fn hint(path: &str) -> String {
    key(path).map_or_else(String::new, |known| format!("; did you mean {known}?"))
}

/// Like [`hint`], ready to be followed by another sentence.
pub(crate) fn sentence(path: &str) -> String {
    match hint(path) {
        hint if hint.is_empty() => ";".to_owned(),
        hint => hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_keys_find_their_neighbour() {
        for (typo, expected) in [
            ("reader.batch_sise", Some("reader.batch_size")),
            ("reader.bacth_size", Some("reader.batch_size")),
            ("train.batch_size", Some("reader.batch_size")),
            ("dataset.num_file_train", Some("dataset.num_files_train")),
            ("datset", Some("dataset")),
            ("frameork", Some("framework")),
            ("reader.completely_different", None),
            ("checkpoint.folder", Some("checkpoint.checkpoint_folder")),
            ("dataset.num_files", Some("dataset.num_files_train")),
        ] {
            assert_eq!(key(typo), expected, "{typo}");
        }
    }
}
