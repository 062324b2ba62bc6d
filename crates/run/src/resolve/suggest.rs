//! "Did you mean": bundled workloads and files whose names resemble the given name.

use std::path::Path;

use dlio_config::{bundled, nearest_word};

/// Largest number of names in a suggestion.
const SHOWN: usize = 4;

/// Returns `; did you mean unet3d_a100, unet3d_h100 or …?` for a configuration that is neither a file nor a bundled workload, or an
/// empty text if no name is similar.
pub fn configuration(name: &str) -> String {
    let mut near: Vec<String> = file(name).into_iter().collect();
    near.extend(workloads(name).into_iter().map(str::to_owned));
    question(&near)
}

/// Returns similar bundled workloads: names that differ only in case, dashes, folder or extension; otherwise names that begin with
/// the given name; otherwise the nearest spelling.
#[must_use]
pub fn workloads(name: &str) -> Vec<&'static str> {
    let plain = plain(name);
    if plain.is_empty() {
        return Vec::new();
    }
    let leaf = |known: &'static str| known.rsplit('/').next().unwrap_or(known);
    let same = |known: &&'static str| known.eq_ignore_ascii_case(&plain) || leaf(known).eq_ignore_ascii_case(&plain);
    let found: Vec<&str> = bundled::names().filter(same).collect();
    if !found.is_empty() {
        return own_first(found);
    }
    let contains = |known: &&'static str| plain.len() >= 3 && leaf(known).to_ascii_lowercase().starts_with(&plain);
    let found: Vec<&str> = bundled::names().filter(contains).collect();
    if !found.is_empty() {
        return own_first(found);
    }
    let all: Vec<&'static str> = bundled::names().collect();
    let leaves: Vec<&'static str> = all.iter().map(|known| leaf(known)).collect();
    nearest_word(&plain, &all).or_else(|| nearest_word(&plain, &leaves)).into_iter().collect()
}

/// Sorts the reference's own workloads before those of MLPerf, and newer accelerators first.
fn own_first(mut names: Vec<&'static str>) -> Vec<&'static str> {
    names.sort_by_key(|name| (name.contains('/'), !name.ends_with("h100"), *name));
    names
}

/// Normalizes a name like those of bundled workloads: without folders of a checkout, extension or dashes.
fn plain(name: &str) -> String {
    let name = name.trim_end_matches('/');
    let name = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")).unwrap_or(name);
    let from_checkout = name.rsplit_once("workloads/").or_else(|| name.rsplit_once("workload/"));
    from_checkout.map_or(name, |(_, rest)| rest).replace('-', "_").to_ascii_lowercase().replace("mlperf_v", "mlperf-v")
}

/// Returns the file in the same folder with the most similar name.
fn file(name: &str) -> Option<String> {
    let path = Path::new(name);
    let wanted = path.file_name()?.to_str()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let entries = std::fs::read_dir(parent.unwrap_or(Path::new("."))).ok()?;
    let names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| [".yaml", ".yml"].iter().any(|ending| name.ends_with(ending)))
        .collect();
    let near = names.iter().map(String::as_str).collect::<Vec<_>>();
    // `my` for `my.yaml` takes precedence over any misspelling.
    let whole = near.iter().find(|known| known.rsplit_once('.').is_some_and(|(stem, _)| stem == wanted)).copied();
    let found = whole.or_else(|| nearest_word(wanted, &near))?;
    Some(parent.map_or_else(|| found.to_owned(), |parent| parent.join(found).display().to_string()))
}

/// Returns the question for some names.
pub fn question<T: AsRef<str>>(names: &[T]) -> String {
    match &names[..names.len().min(SHOWN)] {
        [] => String::new(),
        [one] => format!("; did you mean {}?", one.as_ref()),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(AsRef::as_ref).collect();
            format!("; did you mean {} or {}?", most.join(", "), last.as_ref())
        }
    }
}

/// Returns a question and the next word of the sentence: `; did you mean unet3d_h100? Give`, or `; give` without a question.
pub fn then(question: &str, word: &str) -> String {
    if question.is_empty() {
        return format!("; {word}");
    }
    let mut letters = word.chars();
    let capital = letters.next().map(|first| first.to_ascii_uppercase());
    format!("{question} {}{}", capital.map(String::from).unwrap_or_default(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_found_by_their_beginning_by_another_spelling_and_by_misspellings() {
        for (typed, first) in [
            ("unet3d", "unet3d_h100"),
            ("unet3d_h100.yml", "unet3d_h100"),
            ("UNET3D-H100", "unet3d_h100"),
            ("unet3d_h10", "unet3d_h100"),
            ("unet3_h100", "unet3d_h100"),
            ("b200", ""),
            ("resnet", "resnet50_h100"),
            ("configs/dlio/workload/dlrm.yaml", "dlrm"),
            ("flux_b200", "mlperf-v3/flux_b200"),
            ("mlperf_v3/unet3d_b200", "mlperf-v3/unet3d_b200"),
            ("completely_different", ""),
            ("", ""),
        ] {
            assert_eq!(workloads(typed).first().copied().unwrap_or_default(), first, "{typed}");
        }
    }

    #[test]
    fn a_file_beside_the_one_that_is_named_is_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("training.yaml"), "").unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        for typed in ["training", "training.yml", "trainig.yaml"] {
            assert_eq!(file(&path(typed)), Some(path("training.yaml")), "{typed}");
        }
        assert_eq!(file(&path("other.yaml")), None);
        assert_eq!(question(&["a", "b", "c"]), "; did you mean a, b or c?");
    }
}
