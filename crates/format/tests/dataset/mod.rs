//! A data set's configuration with the reference's defaults.

use std::collections::BTreeMap;

use dlio_config::vocabulary::Format;
use dlio_config::workload::Dataset;

/// Defaults, in the given format.
pub(crate) fn dataset(format: Format) -> Dataset {
    // The format is set afterwards: not every format is one that the defaults of other keys allow.
    let source = dlio_config::Source { name: "defaults", yaml: "" };
    let loaded = dlio_config::load(&source, &[], &BTreeMap::new(), None).expect("an empty file is a workload");
    Dataset { format, data_folder: "data".to_owned(), ..loaded.workload.dataset }
}
