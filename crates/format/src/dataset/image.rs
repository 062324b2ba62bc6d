//! Image dimensions, and the file length that a dialect prescribes.
//!
//! The reference stores one grayscale image per file, whatever the number of samples. The MLPerf fork writes one
//! random byte per pixel and no image at all; in dialect `mlperf` this program writes an image of exactly that
//! length.

use dlio_config::vocabulary::Dialect;

use crate::error::Error;
use crate::layout::Layout;
use crate::mismatch::Mismatch;
use crate::shape::FileShape;

/// Height and width of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dims {
    pub(crate) height: u64,
    pub(crate) width: u64,
}

impl Dims {
    /// Returns the dimensions of a file's record, each at most `max` pixels.
    ///
    /// # Errors
    /// Returns an error if the record is not an image or the format cannot store it.
    pub(crate) fn new(shape: &FileShape, max: u64) -> Result<Self, Error> {
        let refuse = |reason| Err(Error::Shape { dims: shape.dims.to_vec(), samples: shape.samples, reason });
        let &[height, width] = shape.dims else {
            return refuse("an image has two dimensions, height and width".to_owned());
        };
        match height.max(width) {
            larger if larger > max => refuse(format!("no side of an image of this format exceeds {max} pixels")),
            _ if height == 0 || width == 0 => refuse("an image has at least one pixel".to_owned()),
            _ => Ok(Self { height, width }),
        }
    }

    /// Returns the dimensions that a file to be read must have, or `None` if any will do. A record that is not an
    /// image matches no file.
    pub(crate) fn expected(layout: &Layout, shape: &FileShape) -> Option<Self> {
        match *shape.dims {
            _ if layout.as_found => None,
            [height, width] => Some(Self { height, width }),
            _ => Some(Self { height: 0, width: 0 }),
        }
    }

    pub(crate) fn pixels(self) -> u64 {
        self.height.saturating_mul(self.width)
    }

    /// Checks the dimensions found in a file.
    ///
    /// # Errors
    /// Returns an error for other dimensions, if they are refused.
    pub(crate) fn check(self, found: Self, mismatch: &Mismatch) -> Result<(), Error> {
        if self == found {
            return Ok(());
        }
        mismatch.refuse_or_note(Error::Differs {
            noun: "shape of the image (height x width)",
            expected: self.text(),
            found: found.text(),
        })
    }

    fn text(self) -> String {
        format!("{} x {}", self.height, self.width)
    }
}

/// Returns the length in bytes that a file must have, or `None` if the format determines it.
pub(crate) fn wanted_length(layout: &Layout, dims: Dims) -> Option<u64> {
    (layout.dialect == Dialect::Mlperf).then(|| dims.pixels())
}

/// Returns the error for a length that no image of this shape can have.
pub(crate) fn too_small(shape: &FileShape, wanted: u64, smallest: u64) -> Error {
    Error::Shape {
        dims: shape.dims.to_vec(),
        samples: shape.samples,
        reason: format!(
            "dialect mlperf gives the file {wanted} bytes, one per pixel, but an image of this shape has at least {smallest}; \
             use larger dimensions, or `dlio_rs.dialect: dlio`"
        ),
    }
}

/// Returns the length in bytes of a file that the MLPerf fork wrote: random bytes that are not an image. Only dialect
/// `mlperf` reads such files.
pub(crate) fn raw_length(layout: &Layout, dims: Option<Dims>) -> Option<u64> {
    wanted_length(layout, dims?)
}
