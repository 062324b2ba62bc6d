//! The files of a dataset: names, folders and shapes. They are computed from the workload; only names that another
//! program chose are stored.
//!
//! Invariant: file numbers, names and the sorted file list of the reference agree. The reference sorts by full path
//! (flat) or by base name (sub-folders). Because numbers are padded to one width, both orders equal the order of the
//! numbers.

use std::sync::{Arc, OnceLock};

use dlio_config::Workload;
use dlio_config::vocabulary::{Format, IndexFile};

use crate::file_names::{Names, Naming};
use crate::numpy::Mt19937;
use crate::{Error, Split};

/// Seed of the generators in the reference.
const DIMENSION_SEED: u32 = 10;

/// All files of a dataset: the training files, followed by the evaluation files, with continuous ("combined") numbers.
#[derive(Debug, Clone)]
pub struct FileSet {
    train: Naming,
    eval: Naming,
    samples: u64,
    format: Format,
    shape: Shape,
}

/// Shape of the records of a file.
#[derive(Debug, Clone)]
enum Shape {
    /// All files have the same shape.
    Equal(Vec<u64>),
    /// Shapes are drawn per file. The draws are made once, when the first one is needed, and shared by all clones.
    Drawn { side: f64, stdev: f64, files: u64, draws: Arc<OnceLock<Box<[[u32; 2]]>>> },
}

/// One file of a [`FileSet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Number among all files, training files first.
    pub combined: u64,
    /// Split that the file belongs to.
    pub split: Split,
    /// Number within the split.
    pub index: u64,
    /// Name relative to the data folder, for example `train/img_0_of_8.npz`.
    pub key: String,
    /// Format, which determines the index files.
    pub format: Format,
    /// Shape of one record in elements.
    pub dims: Vec<u64>,
    /// Number of samples in the file.
    pub samples: u64,
}

impl FileSet {
    /// Returns the files that a workload describes.
    ///
    /// # Errors
    ///
    /// If a file holds no samples, or the number of files exceeds 64 bits.
    pub fn new(workload: &Workload) -> Result<FileSet, Error> {
        let dataset = &workload.dataset;
        if dataset.num_samples_per_file == 0 {
            return Err(Error::Zero { key: "dataset.num_samples_per_file" });
        }
        let files = dataset.num_files_train.checked_add(dataset.num_files_eval);
        let files = files.ok_or(Error::Overflow { what: "the files" })?;
        let largest = dataset.num_files_train.max(dataset.num_files_eval);
        largest.checked_mul(dataset.num_samples_per_file).ok_or(Error::Overflow { what: "the samples" })?;
        // A part of a larger dataset has the names and sizes of that dataset.
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

    /// Returns these files as the first ones of a larger dataset that was generated with these counts. The names then
    /// contain the number of files of that dataset.
    ///
    /// Shapes drawn by `record_length_bytes_stdev` depend on the position among all generated files, so the evaluation
    /// files take the draws that follow those of the `train` generated training files.
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

    /// Replaces the names of a split by listed ones, for files that another program wrote. Names are relative to the
    /// data folder and in the order of the reference's sorted list. Names beyond the number of files that are read are
    /// dropped.
    #[must_use]
    pub fn listed<'a>(mut self, split: Split, keys: impl IntoIterator<Item = &'a str>) -> FileSet {
        let naming = match split {
            Split::Train => &mut self.train,
            Split::Eval => &mut self.eval,
        };
        let mut names = Names::default();
        for key in keys.into_iter().take(usize::try_from(naming.len).unwrap_or(usize::MAX)) {
            names.push(key);
        }
        naming.listed = Some(Arc::new(names));
        self
    }

    /// Sets the total size in bytes of the listed files of a split.
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

    /// Returns the mean size in bytes of a training sample, if the training files were listed with their sizes.
    #[must_use]
    pub fn listed_sample_bytes(&self) -> Option<f64> {
        let names = self.train.listed.as_ref()?;
        let samples = names.len() as u64 * self.samples_per_file();
        Some(names.bytes? as f64 / samples.max(1) as f64)
    }

    /// Returns whether any names were listed. The content of such files is unknown.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.train.listed.is_some() || self.eval.listed.is_some()
    }

    /// Returns whether the MLPerf fork, if it does not list the dataset (`dataset.skip_listing`), expects other names
    /// of sub-folders than it generates. In those names, numbers are as wide as the last one, and a single sub-folder
    /// exists too.
    #[must_use]
    pub fn has_short_folders(&self, split: Split) -> bool {
        self.naming(split).has_short_folders()
    }

    /// Switches the sub-folders of a split to those names.
    #[must_use]
    pub fn with_short_folders(mut self, split: Split) -> FileSet {
        match split {
            Split::Train => self.train.is_short = true,
            Split::Eval => self.eval.is_short = true,
        }
        self
    }

    /// Returns the configured number of files of a split, before trimming.
    #[must_use]
    pub fn len(&self, split: Split) -> u64 {
        self.naming(split).len
    }

    /// Returns the number of all files.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.train.len + self.eval.len
    }

    /// Returns the number of samples per file.
    #[must_use]
    pub fn samples_per_file(&self) -> u64 {
        self.samples
    }

    /// Returns the format of all files.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the combined number of file `index` of a split.
    #[must_use]
    pub fn combined(&self, split: Split, index: u64) -> u64 {
        match split {
            Split::Train => index,
            Split::Eval => self.train.len + index,
        }
    }

    /// Returns the file with this combined number, which must be less than [`FileSet::total`].
    #[must_use]
    pub fn file(&self, combined: u64) -> File {
        let (naming, index) = self.place(combined);
        File {
            combined,
            split: naming.split,
            index,
            key: naming.name(index),
            format: self.format,
            dims: self.dims(combined),
            samples: self.samples,
        }
    }

    /// Name of the file with this combined number, relative to the data folder; the inverse of [`FileSet::parse`].
    #[must_use]
    pub fn name(&self, combined: u64) -> String {
        let (naming, index) = self.place(combined);
        naming.name(index)
    }

    /// Combined number of the file that has this name; `None`: the dataset has no such file. The inverse of
    /// [`FileSet::name`].
    #[must_use]
    pub fn parse(&self, name: &str) -> Option<u64> {
        let find = |split| self.naming(split).parse(name).map(|index| self.combined(split, index));
        find(Split::Train).or_else(|| find(Split::Eval))
    }

    /// Combined numbers of the files of a split in ascending order of their names; of listed files, in the order given.
    pub fn by_name(&self, split: Split) -> impl Iterator<Item = u64> {
        let first = self.combined(split, 0);
        self.naming(split).by_name().map(move |index| first + index)
    }

    /// Returns the shape of the records of a file, in elements.
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

    /// Returns whether all records have the same shape; otherwise, a shape is drawn for each file.
    #[must_use]
    pub fn has_equal_shapes(&self) -> bool {
        matches!(self.shape, Shape::Equal(_))
    }

    /// Returns the folders below the data folder that generation creates, parents first.
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
    /// Returns the names of the index files, relative to the data folder: `index/train/img_0_of_8.tfrecord.idx`, or the
    /// name of the data file with `.off.idx` and `.sz.idx`.
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

/// Draws one pair of dimensions per file, as every generator of the reference does on every rank.
fn draw_dimensions(side: f64, stdev: f64, files: u64) -> Box<[[u32; 2]]> {
    let mut generator = Mt19937::new(DIMENSION_SEED);
    let mut draw = || u32::try_from(whole(generator.normal(side, stdev)).max(1)).unwrap_or(u32::MAX);
    (0..files).map(|_| [draw(), draw()]).collect()
}

/// Truncates toward zero; negative values and NaN become 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, which is what is meant")]
fn whole(value: f64) -> u64 {
    value as u64
}
