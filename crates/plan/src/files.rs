//! The data set's files: names, folders and shapes, computed from the workload; only names that somebody else gave are
//! listed.
//!
//! Invariant: file numbers, names and the reference's sorted file list agree. The reference sorts by full path (flat)
//! or by base name (sub-folders); with numbers padded to one width both orders are the order of the numbers.

use std::sync::{Arc, OnceLock};

use dlio_config::Workload;
use dlio_config::vocabulary::{Format, IndexFile};

use crate::numpy::Mt19937;
use crate::{Error, Split};

/// Seed of the reference's generators.
const DIMENSION_SEED: u32 = 10;

/// All files of a data set: the training files, then the evaluation files, numbered through ("combined").
#[derive(Debug, Clone)]
pub struct FileSet {
    train: Naming,
    eval: Naming,
    samples: u64,
    format: Format,
    shape: Shape,
}

/// How the files of one split are named.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Naming {
    split: Split,
    len: u64,
    /// The count that the names carry (`_of_N`); differs from `len` when part of a larger data set is used.
    of: u64,
    subfolders: u64,
    /// Sub-folders have the names that the MLPerf fork expects where it does not list.
    is_short: bool,
    prefix: String,
    format: Format,
    /// The names instead of computed ones.
    listed: Option<Arc<Names>>,
}

/// Names that were listed, one after the other in one text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Names {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
    /// Bytes of all these files together, where the listing told them.
    bytes: Option<u64>,
}

impl Names {
    fn get(&self, index: u64) -> &str {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(at).and_then(|&end| self.text.get(start..end)).unwrap_or_default()
    }
}

/// Shape of the records of a file.
#[derive(Debug, Clone)]
enum Shape {
    /// The same for all files.
    Equal(Vec<u64>),
    /// Drawn per file; the draws are made once, when the first one is needed, and shared by all clones.
    Drawn { side: f64, stdev: f64, files: u64, draws: Arc<OnceLock<Box<[[u32; 2]]>>> },
}

/// One file of a [`FileSet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Number among all files: training files, then evaluation files.
    pub combined: u64,
    /// The split that it belongs to.
    pub split: Split,
    /// Number within its split.
    pub index: u64,
    /// Name relative to the data folder, for example `train/img_0_of_8.npz`.
    pub key: String,
    /// Format, which decides what index files there are.
    pub format: Format,
    /// Shape of one record, in elements.
    pub dims: Vec<u64>,
    /// Samples in the file.
    pub samples: u64,
}

impl FileSet {
    /// The files that a workload names.
    ///
    /// # Errors
    ///
    /// If a file holds no samples, or if there are more files than 64 bits count.
    pub fn new(workload: &Workload) -> Result<FileSet, Error> {
        let dataset = &workload.dataset;
        if dataset.num_samples_per_file == 0 {
            return Err(Error::Zero { key: "dataset.num_samples_per_file" });
        }
        let files = dataset.num_files_train.checked_add(dataset.num_files_eval);
        let files = files.ok_or(Error::Overflow { what: "the files" })?;
        let largest = dataset.num_files_train.max(dataset.num_files_eval);
        largest.checked_mul(dataset.num_samples_per_file).ok_or(Error::Overflow { what: "the samples" })?;
        // A part of a larger data set is named, and sized, as a part of it.
        let generated = dataset.num_files_generated.unwrap_or(0).max(dataset.num_files_train);
        let files = files.max(generated.saturating_add(dataset.num_files_eval));
        let naming = |split, len, subfolders| Naming {
            split,
            len,
            of: if split == Split::Train { generated } else { len },
            subfolders,
            is_short: false,
            prefix: dataset.file_prefix.clone(),
            format: dataset.format,
            listed: None,
        };
        let side = dataset.record_length_bytes.sqrt();
        let shape = if !dataset.record_dims.is_empty() {
            Shape::Equal(dataset.record_dims.clone())
        } else if dataset.record_length_bytes_stdev > 0.0 {
            let stdev = dataset.record_length_bytes_stdev / 2.0 / side;
            Shape::Drawn { side: side.trunc(), stdev, files, draws: Arc::default() }
        } else {
            Shape::Equal(vec![whole(side), whole(side)])
        };
        Ok(FileSet {
            train: naming(Split::Train, dataset.num_files_train, dataset.num_subfolders_train),
            eval: naming(Split::Eval, dataset.num_files_eval, dataset.num_subfolders_eval),
            samples: dataset.num_samples_per_file,
            format: dataset.format,
            shape,
        })
    }

    /// The same files as the first ones of a larger data set that was generated with these counts: the names carry
    /// the count of the data set, not the count that is used.
    ///
    /// Shapes drawn by `record_length_bytes_stdev` depend on the position among all generated files, so the evaluation
    /// files take the draws that follow those of the `train` files generated.
    #[must_use]
    pub fn generated_as(mut self, train: u64, eval: u64) -> FileSet {
        self.train.of = train.max(self.train.len);
        self.eval.of = eval.max(self.eval.len);
        if let Shape::Drawn { files, draws, .. } = &mut self.shape {
            *files = self.train.of + self.eval.of;
            *draws = Arc::default();
        }
        self
    }

    /// The same files, whose names in a split are these, relative to the data folder, in the order of the reference's sorted
    /// list: files that another program made. Names beyond the number of files that are read are left out.
    #[must_use]
    pub fn listed<'a>(mut self, split: Split, keys: impl IntoIterator<Item = &'a str>) -> FileSet {
        let naming = match split {
            Split::Train => &mut self.train,
            Split::Eval => &mut self.eval,
        };
        let mut names = Names::default();
        for key in keys.into_iter().take(usize::try_from(naming.len).unwrap_or(usize::MAX)) {
            names.text.push_str(key);
            names.ends.push(names.text.len());
        }
        naming.listed = Some(Arc::new(names));
        self
    }

    /// The same files, of which those listed of a split hold so many bytes together.
    #[must_use]
    pub fn holding(mut self, split: Split, bytes: u64) -> FileSet {
        let naming = match split {
            Split::Train => &mut self.train,
            Split::Eval => &mut self.eval,
        };
        if let Some(names) = &mut naming.listed {
            Arc::make_mut(names).bytes = Some(bytes);
        }
        self
    }

    /// Bytes of a training sample on average where the training files were listed, with their sizes.
    #[must_use]
    pub fn listed_sample_bytes(&self) -> Option<f64> {
        let names = self.train.listed.as_ref()?;
        let samples = names.ends.len() as u64 * self.samples_per_file();
        Some(names.bytes? as f64 / samples.max(1) as f64)
    }

    /// Whether the names of any files were listed: nothing is known of what such files hold.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.train.listed.is_some() || self.eval.listed.is_some()
    }

    /// Whether the MLPerf fork expects other names of a split's sub-folders than it generates where it does not list
    /// (`dataset.skip_listing`): their numbers are as wide as the last one's, and one sub-folder is a folder too.
    #[must_use]
    pub fn has_short_folders(&self, split: Split) -> bool {
        let count = self.naming(split).subfolders;
        count == 1 || count > 1 && digits(count) != digits(count - 1)
    }

    /// The same files in sub-folders of a split with those names.
    #[must_use]
    pub fn with_short_folders(mut self, split: Split) -> FileSet {
        match split {
            Split::Train => self.train.is_short = true,
            Split::Eval => self.eval.is_short = true,
        }
        self
    }

    /// Number of files of a split, as configured (nothing trimmed).
    #[must_use]
    pub fn len(&self, split: Split) -> u64 {
        self.naming(split).len
    }

    /// Number of all files.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.train.len + self.eval.len
    }

    /// Samples in every file.
    #[must_use]
    pub fn samples_per_file(&self) -> u64 {
        self.samples
    }

    /// Format of all files.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Combined number of file `index` of a split.
    #[must_use]
    pub fn combined(&self, split: Split, index: u64) -> u64 {
        match split {
            Split::Train => index,
            Split::Eval => self.train.len + index,
        }
    }

    /// The file with this combined number; below [`FileSet::total`] it exists.
    #[must_use]
    pub fn file(&self, combined: u64) -> File {
        let (naming, index) = self.place(combined);
        File {
            combined,
            split: naming.split,
            index,
            key: naming.key(index),
            format: self.format,
            dims: self.dims(combined),
            samples: self.samples,
        }
    }

    /// Name of a file alone, relative to the data folder.
    #[must_use]
    pub fn key(&self, combined: u64) -> String {
        let (naming, index) = self.place(combined);
        naming.key(index)
    }

    /// Shape of the records of a file, in elements.
    #[must_use]
    pub fn dims(&self, combined: u64) -> Vec<u64> {
        match &self.shape {
            Shape::Equal(dims) => dims.clone(),
            Shape::Drawn { side, stdev, files, draws } => {
                let draws = draws.get_or_init(|| draw_dimensions(*side, *stdev, *files));
                let (naming, index) = self.place(combined);
                let offset = if naming.split == Split::Train { 0 } else { self.train.of };
                let pair = usize::try_from(offset + index).ok().and_then(|at| draws.get(at));
                pair.map_or_else(Vec::new, |pair| pair.map(u64::from).to_vec())
            }
        }
    }

    /// Whether the records of all files have one shape; otherwise each file's is drawn.
    #[must_use]
    pub fn has_equal_shapes(&self) -> bool {
        matches!(self.shape, Shape::Equal(_))
    }

    /// Folders below the data folder that generation creates, parents first.
    #[must_use]
    pub fn folders(&self) -> Vec<String> {
        let mut folders = Vec::new();
        for naming in [&self.train, &self.eval] {
            folders.push(naming.split.folder().to_owned());
            if naming.subfolders > 1 {
                folders.extend((0..naming.subfolders).map(|index| naming.folder(index)));
            }
        }
        if self.format == Format::TfRecord {
            folders.extend(["index", "index/train", "index/valid"].map(str::to_owned));
        }
        folders
    }

    fn naming(&self, split: Split) -> &Naming {
        match split {
            Split::Train => &self.train,
            Split::Eval => &self.eval,
        }
    }

    fn place(&self, combined: u64) -> (&Naming, u64) {
        match combined.checked_sub(self.train.len) {
            None => (&self.train, combined),
            Some(index) => (&self.eval, index),
        }
    }
}

impl File {
    /// Names of the index files, relative to the data folder: `index/train/img_0_of_8.tfrecord.idx`, or the data file's
    /// own name with `.off.idx` and `.sz.idx`.
    #[must_use]
    pub fn index_keys(&self) -> Vec<(IndexFile, String)> {
        let key = &self.key;
        let name = |index: &IndexFile| match index {
            IndexFile::TfRecord => {
                let base = key.rsplit_once('/').map_or(key.as_str(), |(_, base)| base);
                format!("index/{}/{base}.idx", self.split.folder())
            }
            IndexFile::Offsets => format!("{key}.off.idx"),
            IndexFile::Sizes => format!("{key}.sz.idx"),
        };
        self.format.index_files().iter().map(|index| (*index, name(index))).collect()
    }
}

impl Naming {
    fn key(&self, index: u64) -> String {
        match &self.listed {
            Some(names) => names.get(index).to_owned(),
            None => format!("{}/{}", self.folder(index), self.base_name(index)),
        }
    }

    fn base_name(&self, index: u64) -> String {
        let Self { of, prefix, format, .. } = self;
        format!("{prefix}_{index:0width$}_of_{of}.{format}", width = digits(*of))
    }

    fn folder(&self, index: u64) -> String {
        let folder = self.split.folder();
        if self.is_short && self.subfolders > 0 {
            format!("{folder}/{:0width$}", index % self.subfolders, width = digits(self.subfolders - 1))
        } else if self.subfolders > 1 {
            format!("{folder}/{:0width$}", index % self.subfolders, width = digits(self.subfolders))
        } else {
            folder.to_owned()
        }
    }
}

/// Decimal digits of a count: the reference pads to the width of N, not of N − 1.
fn digits(count: u64) -> usize {
    count.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}

/// One pair of dimensions per file, as every generator of the reference draws them on every rank.
fn draw_dimensions(side: f64, stdev: f64, files: u64) -> Box<[[u32; 2]]> {
    let mut generator = Mt19937::new(DIMENSION_SEED);
    let mut draw = || u32::try_from(whole(generator.normal(side, stdev)).max(1)).unwrap_or(u32::MAX);
    (0..files).map(|_| [draw(), draw()]).collect()
}

/// Truncation toward zero; negative values and NaN become 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, which is what is meant")]
fn whole(value: f64) -> u64 {
    value as u64
}
