//! Content of the files of a workload, and how they are read.

use dlio_config::Workload;
use dlio_config::vocabulary::ShapeMismatch;
use dlio_format::Layout;

use crate::failure::Failure;

/// Content of the files of a workload, and how they are read.
///
/// # Errors
/// If files of this format and shape cannot exist.
pub fn layout(workload: &Workload) -> Result<Layout, Failure> {
    let layout = Layout::new(&workload.dataset, workload.dlio_rs.payload_seed)
        .map_err(Failure::usage)?
        .with_reading(workload)
        .with_dialect(workload.dlio_rs.dialect);
    let layout = match workload.dlio_rs.shape_mismatch {
        ShapeMismatch::Warn => layout.noting_mismatches(),
        ShapeMismatch::Error => layout,
    };
    let rules = workload.dlio_rs.dialect.rules();
    let layout = if rules.leaves_mapped_samples_untouched { layout.with_untouched_maps() } else { layout };
    let like_numpy = rules.reads_like_numpy && !workload.reader.odirect;
    Ok(if like_numpy { layout.with_numpy_reads() } else { layout })
}
