//! Folders of the objects in a trace. A looked-up name is a folder if other names are below it.

use std::collections::HashSet;

/// A set of folders, identified by their keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Folders {
    all: HashSet<String>,
    /// The folder that was added last. Consecutive names are mostly in the same folder.
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

    /// Returns whether the key is a folder.
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
