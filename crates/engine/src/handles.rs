//! Files that stay open between samples.

use std::collections::HashMap;

use dlio_event::ObjectId;
use dlio_format::Decoder;
use dlio_storage::Object;

/// A file that is open for reading.
pub(crate) struct OpenFile {
    pub(crate) object: Box<dyn Object>,
    pub(crate) name: ObjectId,
    pub(crate) decoder: Decoder,
}

/// The files that one lane keeps open, by combined number.
pub(crate) type OpenFiles = HashMap<u64, OpenFile>;
