//! What images have in common: their dimensions, and the length that a dialect gives them.
//!
//! The reference stores one grayscale image per file, whatever the number of samples. Dialect `mlperf` stands for a program
//! that writes one random byte per pixel and no image at all; here such a file is an image of exactly that length.

use dlio_config::vocabulary::Dialect;

use crate::error::Error;
use crate::layout::Layout;
use crate::mismatch::Mismatch;
use crate::shape::FileShape;

/// Height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dims {
    pub(crate) height: u64,
    pub(crate) width: u64,
}

impl Dims {
    /// Of a file's record, each at most `max`.
    ///
    /// # Errors
    /// A record that is no image, or one that the format cannot hold.
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

    /// Of a file that is to be read, if it must have some; a record that is no image equals none.
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

    /// Checks the dimensions that a file has.
    ///
    /// # Errors
    /// Others than these, where they are refused.
    pub(crate) fn check(self, found: Self, mismatch: &Mismatch) -> Result<(), Error> {
        if self == found {
            return Ok(());
        }
        mismatch.take(Error::Differs {
            noun: "shape of the image (height x width)",
            expected: self.text(),
            found: found.text(),
        })
    }

    fn text(self) -> String {
        format!("{} x {}", self.height, self.width)
    }
}

/// The length that a file must have; `None`: that which the format gives it.
pub(crate) fn wanted_length(layout: &Layout, dims: Dims) -> Option<u64> {
    (layout.dialect == Dialect::Mlperf).then(|| dims.pixels())
}

/// The refusal of a length that no image of this shape can have.
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

/// Length of a file that the MLPerf fork wrote: random bytes, no image. Only in the dialect that reads them.
pub(crate) fn raw_length(layout: &Layout, dims: Option<Dims>) -> Option<u64> {
    wanted_length(layout, dims?)
}
