//! HDF5.

use dlio_config::workload::Dataset;

use crate::{Encoder, Error, FileShape, Layout, Need};

/// The options of the data set that only HDF5 has.
#[derive(Debug, Default)]
pub(crate) struct Options {}

impl Options {
    pub(crate) fn new(_dataset: &Dataset) -> Result<Self, Error> {
        Ok(Self {})
    }
}

pub(crate) fn encoder(layout: &Layout, _shape: &FileShape) -> Result<Encoder, Error> {
    Err(Error::Format(layout.format()))
}

/// Reads samples.
#[derive(Debug)]
pub(crate) struct Reader {}

impl Reader {
    pub(crate) fn new(_layout: &Layout, _shape: &FileShape) -> Self {
        Self {}
    }

    pub(crate) fn size(&mut self, _bytes: u64) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn sample(&mut self, _sample: u64) -> Result<(), Error> {
        Err(Error::Format(dlio_config::vocabulary::Format::Hdf5))
    }

    pub(crate) fn need(&self) -> Need {
        Need::Done
    }

    pub(crate) fn chunk(&mut self, _bytes: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
