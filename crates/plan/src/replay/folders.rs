//! The folders of the objects that a trace names: what was looked up is one where other names lie in it.

use std::collections::HashSet;

/// Folders, by their keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Folders {
    all: HashSet<String>,
    /// The one that was added last: names that follow each other mostly lie in one folder.
    last: String,
}

impl Folders {
    /// Adds all folders above an object.
    pub(super) fn add(&mut self, key: &str) {
        let Some((mut folder, _)) = key.rsplit_once('/') else { return };
        if folder == self.last {
            return;
        }
        folder.clone_into(&mut self.last);
        while !folder.is_empty() && self.all.insert(folder.to_owned()) {
            folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }

    /// Whether it is one.
    pub(super) fn holds(&self, key: &str) -> bool {
        self.all.contains(key.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_names_lie_in_is_a_folder() {
        let mut folders = Folders::default();
        for key in ["a/b/c", "a/b/d", "a/e", "f"] {
            folders.add(key);
        }
        assert!(["a", "a/b", "a/b/"].iter().all(|key| folders.holds(key)));
        assert!(["", "f", "a/b/c", "a/e", "b"].iter().all(|key| !folders.holds(key)));
    }
}
