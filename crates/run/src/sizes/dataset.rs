//! Sizes of the dataset on storage.

use dlio_config::Workload;
use dlio_config::vocabulary::Format;
use dlio_format::{FileShape, Layout};
use dlio_plan::{FileSet, Split};

use crate::failure::Failure;

/// Largest number of files whose drawn shapes are all evaluated; in larger datasets a sample of the first files is used.
const SHAPES: u64 = 20_000;
/// Number of files in that sample.
const SAMPLE: u64 = 4096;
/// Bytes of samples that are encoded to measure files whose length depends on their content.
const MEASURED: u64 = 1 << 20;
/// Number of files that these bytes are divided among.
const PIECES: u64 = 4;

/// Sizes of the dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSizes {
    /// The training files.
    pub train: SplitSizes,
    /// The evaluation files.
    pub eval: SplitSizes,
    /// How the sizes were estimated; `None`: they are exact.
    pub method: Option<String>,
}

/// Sizes of one split of the dataset.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SplitSizes {
    /// Number of data files.
    pub files: u64,
    /// Number of data files and index files.
    pub objects: u64,
    /// Size of all files on storage in bytes.
    pub stored: u64,
    /// Size of the samples in bytes, without the overhead of the format.
    pub payload: u64,
    /// Size of the data file and of its index files in bytes, exact or as mean.
    pub per_file: Vec<f64>,
}

impl SplitSizes {
    /// Returns the bytes that this number of files occupies in blocks of this size.
    #[must_use]
    pub fn allocated(&self, files: u64, block: u64) -> u64 {
        let block = block.max(1) as f64;
        let of_one: f64 = self.per_file.iter().map(|bytes| (bytes / block).ceil() * block).sum();
        rounded(of_one * files as f64)
    }

    /// Returns the bytes that files with objects of these lengths occupy in blocks.
    fn of(files: u64, payload: u64, objects: &[u64]) -> Self {
        Self {
            files,
            objects: files.saturating_mul(objects.len() as u64),
            stored: objects.iter().fold(0, |sum, bytes| sum.saturating_add(bytes.saturating_mul(files))),
            payload: payload.saturating_mul(files),
            per_file: objects.iter().map(|bytes| *bytes as f64).collect(),
        }
    }
}

impl DataSizes {
    /// Computes the sizes of a dataset.
    ///
    /// # Errors
    /// The format cannot hold a shape.
    pub fn new(workload: &Workload, files: &FileSet, layout: &Layout) -> Result<Self, Failure> {
        let measure = Measure { workload, files, layout };
        let (train, how) = measure.split(Split::Train)?;
        let (eval, eval_how) = measure.split(Split::Eval)?;
        Ok(Self { train, eval, method: how.or(eval_how) })
    }

    /// Returns whether all sizes are exact.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.method.is_none()
    }

    /// Returns the size of both splits on storage in bytes.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.train.stored.saturating_add(self.eval.stored)
    }
}

/// Sizes of one file.
#[derive(Debug, Clone, Default)]
struct One {
    payload: u64,
    objects: Vec<u64>,
}

struct Measure<'a> {
    workload: &'a Workload,
    files: &'a FileSet,
    layout: &'a Layout,
}

impl Measure<'_> {
    fn split(&self, split: Split) -> Result<(SplitSizes, Option<String>), Failure> {
        let count = self.files.len(split);
        if count == 0 {
            return Ok((SplitSizes::default(), None));
        }
        if self.layout.format() == Format::Synthetic {
            return Ok((self.numbers(split), None));
        }
        let by_shape = self.layout.length_follows_from_shape();
        let first = self.files.combined(split, 0);
        if self.files.has_equal_shapes() {
            if by_shape {
                let one = self.file(first, &self.files.dims(first), self.files.samples_per_file())?;
                return Ok((SplitSizes::of(count, one.payload, &one.objects), None));
            }
            let payload = self.payload(&self.files.dims(first));
            if payload.saturating_mul(count) <= MEASURED {
                return Ok((self.each(self.files, first..first + count)?, None));
            }
            return self.measured(first, count);
        }
        if by_shape && self.files.total() <= SHAPES {
            return Ok((self.each(self.files, first..first + count)?, None));
        }
        self.drawn(count)
    }

    /// Measures every file individually.
    fn each(&self, files: &FileSet, numbers: std::ops::Range<u64>) -> Result<SplitSizes, Failure> {
        let mut sum = SplitSizes::default();
        for number in numbers {
            let one = self.file(number, &files.dims(number), files.samples_per_file())?;
            sum.files += 1;
            sum.objects += one.objects.len() as u64;
            sum.stored = sum.stored.saturating_add(one.objects.iter().sum());
            sum.payload = sum.payload.saturating_add(one.payload);
            sum.per_file.resize(one.objects.len(), 0.0);
            for (all, bytes) in sum.per_file.iter_mut().zip(&one.objects) {
                *all += *bytes as f64;
            }
        }
        let files = sum.files.max(1) as f64;
        sum.per_file.iter_mut().for_each(|bytes| *bytes /= files);
        Ok(sum)
    }

    /// Measures a file of this shape by the length of its encoders.
    fn file(&self, number: u64, dims: &[u64], samples: u64) -> Result<One, Failure> {
        let shape = FileShape { file: number, dims, samples };
        let data = self.layout.encoder(&shape).map_err(Failure::usage)?.len();
        let indexes = self.layout.index_encoders(&shape).into_iter().map(|(_, index)| index.len());
        let objects = std::iter::once(data).chain(indexes).collect();
        Ok(One { payload: self.layout.sample_bytes(dims).saturating_mul(samples), objects })
    }

    /// Returns the size of the samples of a file in bytes.
    fn payload(&self, dims: &[u64]) -> u64 {
        self.layout.sample_bytes(dims).saturating_mul(self.files.samples_per_file())
    }

    /// Measures files that contain their own decimal number.
    fn numbers(&self, split: Split) -> SplitSizes {
        let (first, count) = (self.files.combined(split, 0), self.files.len(split));
        let stored = digits_below(first + count).saturating_sub(digits_below(first));
        let payload = self.payload(&self.files.dims(first)).saturating_mul(count);
        SplitSizes { files: count, objects: count, stored, payload, per_file: vec![stored as f64 / count as f64] }
    }

    /// Measures files of equal shape whose length depends on their content: encodes a few files, or parts of them.
    fn measured(&self, first: u64, count: u64) -> Result<(SplitSizes, Option<String>), Failure> {
        let dims = self.files.dims(first);
        let (encoded, stored, parts) = self.sample(first, count, &dims)?;
        let payload = self.payload(&dims);
        let data = rounded(payload as f64 * stored as f64 / encoded.max(1) as f64);
        let method = format!(
            "the content decides the length of {} files here: estimated from {encoded} bytes of samples of {parts} file(s)",
            self.layout.format()
        );
        Ok((SplitSizes::of(count, payload, &[data]), Some(method)))
    }

    /// Encodes parts of a few files; returns the bytes of their samples, the encoded bytes, and the number of files.
    fn sample(&self, first: u64, count: u64, dims: &[u64]) -> Result<(u64, u64, u64), Failure> {
        let parts = count.min(PIECES);
        let (dims, samples) = self.cut(dims, MEASURED / parts);
        let (mut encoded, mut stored) = (0, 0);
        for part in 0..parts {
            let number = first + part * (count / parts);
            let shape = FileShape { file: number, dims: &dims, samples };
            let bytes = self.layout.sample_bytes(&dims).saturating_mul(samples);
            encoded += bytes;
            stored += self.layout.encoder(&shape).map_err(Failure::usage)?.len();
        }
        Ok((encoded, stored, parts))
    }

    /// Returns a similar shape whose samples have about this many bytes: with fewer samples and, if necessary, fewer rows.
    fn cut(&self, dims: &[u64], bytes: u64) -> (Vec<u64>, u64) {
        let (mut dims, one) = (dims.to_vec(), self.layout.sample_bytes(dims).max(1));
        let samples = self.files.samples_per_file().min(bytes / one).max(1);
        if one <= bytes {
            return (dims, samples);
        }
        // Chunks of HDF5 files are not divided.
        let chunk = self.workload.dataset.hdf5_chunk_dims.first().copied().unwrap_or(1).max(1);
        if let Some(rows) = dims.first_mut() {
            let row = (one / (*rows).max(1)).max(1);
            *rows = (bytes / row).max(1).next_multiple_of(chunk).min(*rows);
        }
        (dims, samples)
    }

    /// Measures files with drawn shapes by a sample of the first ones, if there are many or their length depends on their content.
    fn drawn(&self, count: u64) -> Result<(SplitSizes, Option<String>), Failure> {
        let by_shape = self.layout.length_follows_from_shape();
        let sample = count.min(SAMPLE);
        let mut workload = self.workload.clone();
        (workload.dataset.num_files_train, workload.dataset.num_files_eval) = (sample, 0);
        workload.dataset.num_files_generated = None;
        let files = FileSet::new(&workload).map_err(Failure::usage)?;
        let share = count as f64 / sample as f64;
        if by_shape {
            let of_sample = self.each(&files, 0..sample)?;
            let all = SplitSizes {
                files: count,
                objects: rounded(of_sample.objects as f64 * share),
                stored: rounded(of_sample.stored as f64 * share),
                payload: rounded(of_sample.payload as f64 * share),
                per_file: of_sample.per_file,
            };
            return Ok((all, Some(format!("shapes are drawn: estimated from those of the first {sample} files"))));
        }
        let of_sample = (0..sample).fold(0_u64, |sum, number| sum.saturating_add(self.payload(&files.dims(number))));
        let (encoded, stored, parts) = self.sample(0, sample, &files.dims(0))?;
        let payload = of_sample as f64 * share;
        let bytes = payload * stored as f64 / encoded.max(1) as f64;
        let method = format!(
            "shapes are drawn and the content decides: estimated from the shapes of the first {sample} files and {encoded} bytes \
             of samples of {parts} file(s)"
        );
        let sizes = SplitSizes {
            files: count,
            objects: count,
            stored: rounded(bytes),
            payload: rounded(payload),
            per_file: vec![bytes / count as f64],
        };
        Ok((sizes, Some(method)))
    }
}

/// Returns the total number of decimal digits of the numbers 0 to `end` − 1.
fn digits_below(end: u64) -> u64 {
    // Every number has one digit, numbers from 10 on have one more, and so on.
    let mut digits = end;
    let mut power = 10_u64;
    while power < end {
        digits = digits.saturating_add(end - power);
        let Some(next) = power.checked_mul(10) else { break };
        power = next;
    }
    digits
}

/// Converts a number of bytes, saturating.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, which is what is meant")]
pub(super) fn rounded(bytes: f64) -> u64 {
    bytes.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_counted_without_counting() {
        for end in [0_u64, 1, 9, 10, 11, 99, 100, 12_345] {
            let each: u64 = (0..end).map(|number| number.to_string().len() as u64).sum();
            assert_eq!(digits_below(end), each, "{end}");
        }
    }

    #[test]
    fn files_occupy_whole_blocks() {
        let sizes = SplitSizes::of(10, 5000, &[5000, 16]);
        assert_eq!((sizes.objects, sizes.stored, sizes.payload), (20, 50_160, 50_000));
        assert_eq!(sizes.allocated(3, 4096), 3 * (8192 + 4096));
        assert_eq!(sizes.allocated(3, 1), 3 * 5016);
    }
}
