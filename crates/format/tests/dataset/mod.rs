//! A data set's configuration with the reference's defaults.

use std::collections::BTreeMap;

use dlio_config::Source;
use dlio_config::vocabulary::{Dialect, Format};
use dlio_config::workload::Dataset;

/// Defaults, in the given format.
pub(crate) fn dataset(format: Format) -> Dataset {
    let yaml = format!("workflow: {{train: false}}\ndataset: {{data_folder: data, format: {format}}}\n");
    let source = Source { name: "test.yaml", yaml: &yaml };
    let loaded = dlio_config::load(&source, &[], &BTreeMap::new(), Some(Dialect::Native));
    loaded.expect("a valid data set").workload.dataset
}
