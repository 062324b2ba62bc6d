//! The grammar of dataset file names: `{split}/[{subfolder}/]{prefix}_{index}_of_{count}.{format}`.
//!
//! Invariant: [`Naming::name`] and [`Naming::parse`] are inverses, so a name belongs to a dataset exactly if it parses
//! to the index that it was made from. The index is padded with zeros to the width of the count. File `index` is in
//! subfolder `index % subfolders`.

use std::sync::{Arc, OnceLock};

use dlio_config::vocabulary::Format;

use crate::Split;

/// The parts of a file name that follow from its text alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileName<'a> {
    /// The text before the index: folders and prefix.
    pub stem: &'a str,
    /// Number of the file within its split.
    pub index: u64,
    /// Number of decimal digits of the index, including leading zeros.
    pub index_width: usize,
    /// Number of files of the split, according to the name.
    pub count: u64,
}

impl<'a> FileName<'a> {
    /// Parses a name such as `train/3/img_07_of_12.npz`. Returns `None` if the format differs or the text is not such a
    /// name.
    #[must_use]
    pub fn parse(name: &'a str, format: Format) -> Option<Self> {
        let rest = name.strip_suffix(format.word())?.strip_suffix('.')?;
        let (rest, count) = rest.rsplit_once("_of_")?;
        let (stem, index) = rest.rsplit_once('_')?;
        let count = number(count, 1)?;
        Some(Self { stem, index: digits_only(index)?, index_width: index.len(), count })
    }
}

/// Naming of the files of one split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Naming {
    pub(crate) split: Split,
    pub(crate) len: u64,
    /// Number of files that the names contain (`_of_N`). It differs from `len` if only a part of a larger dataset is
    /// used.
    pub(crate) of: u64,
    pub(crate) subfolders: u64,
    /// Subfolders have the names that the MLPerf fork expects if it does not list the dataset.
    pub(crate) is_short: bool,
    pub(crate) prefix: String,
    pub(crate) format: Format,
    /// Listed names, which replace the computed ones.
    pub(crate) listed: Option<Arc<Names>>,
}

impl Naming {
    /// Returns the name of a file, relative to the data folder.
    pub(crate) fn name(&self, index: u64) -> String {
        if let Some(names) = &self.listed {
            return names.get(index).to_owned();
        }
        let Self { of, prefix, format, .. } = self;
        let folder = self.folder(index);
        format!("{folder}/{prefix}_{index:0width$}_of_{of}.{format}", width = digits(*of))
    }

    /// Returns the index of the file with this name; `None` if the split has no such file.
    pub(crate) fn parse(&self, name: &str) -> Option<u64> {
        if let Some(names) = &self.listed {
            return names.find(name);
        }
        let FileName { stem, index, index_width, count } = FileName::parse(name, self.format)?;
        let is_padded = index_width == digits(self.of).max(digits(index));
        let is_ours = count == self.of && index < self.len && is_padded && self.is_stem(stem, index);
        is_ours.then_some(index)
    }

    /// Returns whether the name of file `index` begins with `stem`.
    fn is_stem(&self, stem: &str, index: u64) -> bool {
        let folder = stem.strip_suffix(self.prefix.as_str()).and_then(|rest| rest.strip_suffix('/'));
        let Some(rest) = folder.and_then(|folder| folder.strip_prefix(self.split.folder())) else { return false };
        match self.subfolder(index) {
            None => rest.is_empty(),
            Some((subfolder, width)) => rest.strip_prefix('/').and_then(|text| number(text, width)) == Some(subfolder),
        }
    }

    /// Returns the folder of file `index`.
    pub(crate) fn folder(&self, index: u64) -> String {
        let folder = self.split.folder();
        match self.subfolder(index) {
            None => folder.to_owned(),
            Some((subfolder, width)) => format!("{folder}/{subfolder:0width$}"),
        }
    }

    /// Returns the number of the subfolder of file `index`, and the width to which it is padded.
    fn subfolder(&self, index: u64) -> Option<(u64, usize)> {
        if self.is_short && self.subfolders > 0 {
            Some((index % self.subfolders, digits(self.subfolders - 1)))
        } else if self.subfolders > 1 {
            Some((index % self.subfolders, digits(self.subfolders)))
        } else {
            None
        }
    }

    /// Returns the indices of all files in the order of their names, subfolder by subfolder.
    pub(crate) fn by_name(&self) -> impl Iterator<Item = u64> {
        let folders = if self.subfolder(0).is_some() && self.listed.is_none() { self.subfolders } else { 1 };
        let len = self.len;
        (0..folders.min(len))
            .flat_map(move |folder| (folder..len).step_by(usize::try_from(folders).unwrap_or(usize::MAX)))
    }

    /// Returns whether the MLPerf fork, if it does not list the dataset, expects other names of subfolders than it
    /// generates. In those names, numbers are as wide as the last one, and a single subfolder exists too.
    pub(crate) fn has_short_folders(&self) -> bool {
        let count = self.subfolders;
        count == 1 || count > 1 && digits(count) != digits(count - 1)
    }
}

/// Listed names, concatenated into one text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    text: String,
    /// End of each name in the text, in bytes.
    ends: Vec<usize>,
    /// Total size of the files in bytes, if the listing returned sizes.
    pub(crate) bytes: Option<u64>,
    /// Positions of the names in ascending order; computed for the first search.
    sorted: OnceLock<Box<[usize]>>,
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.ends == other.ends && self.bytes == other.bytes
    }
}

impl Eq for Names {}

impl Names {
    /// Appends a name.
    pub(crate) fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.ends.push(self.text.len());
        self.sorted = OnceLock::new();
    }

    /// Returns the number of names.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: u64) -> &str {
        usize::try_from(index).map_or("", |at| self.at(at))
    }

    fn at(&self, at: usize) -> &str {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(at).and_then(|&end| self.text.get(start..end)).unwrap_or_default()
    }

    /// Returns the position of a name.
    fn find(&self, name: &str) -> Option<u64> {
        let sorted = self.sorted.get_or_init(|| {
            let mut sorted: Box<[usize]> = (0..self.ends.len()).collect();
            sorted.sort_by_key(|&at| self.at(at));
            sorted
        });
        let at = sorted.binary_search_by_key(&name, |&at| self.at(at)).ok()?;
        Some(sorted[at] as u64)
    }
}

/// Returns the number of decimal digits of a count. The reference pads to the width of N, not of N − 1.
fn digits(count: u64) -> usize {
    count.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}

/// Parses a text that consists of decimal digits only.
fn digits_only(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Parses a decimal number that is padded with zeros to this width.
fn number(text: &str, width: usize) -> Option<u64> {
    digits_only(text).filter(|value| text.len() == width.max(digits(*value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_stem_an_index_and_a_count() {
        let name = FileName::parse("train/3/img_of_x_07_of_12.npz", Format::Npz);
        assert_eq!(name, Some(FileName { stem: "train/3/img_of_x", index: 7, index_width: 2, count: 12 }));
        for other in ["train/other.npz", "train/img_07_of_12.idx", "train/img_+7_of_12.npz", "train/img_07_of_.npz"] {
            assert_eq!(FileName::parse(other, Format::Npz), None, "{other}");
        }
    }

    #[test]
    fn numbers_are_padded_to_one_width() {
        assert_eq!(
            [number("07", 2), number("7", 2), number("107", 2), number("", 1), number("+7", 2)],
            [Some(7), None, Some(107), None, None]
        );
    }
}
