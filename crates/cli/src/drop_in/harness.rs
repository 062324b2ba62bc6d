//! Detects configuration directories of the MLPerf Storage harness (version 3 and later), which starts the fork under the name of the
//! reference. Its workloads for checkpoints and older accelerators do not mention the fork themselves.

use std::path::Path;

/// Name of the harness's Python package, which lies next to the configuration directory or contains the workloads.
const PACKAGE: &str = "mlpstorage_py";
/// Number of parent folders of a workload's file in which the package is searched.
const LEVELS: usize = 5;

/// Returns a description of the evidence that a workload's file belongs to the harness.
pub(super) fn mark(file: &Path) -> Option<String> {
    let folder = file.parent().filter(|_| file.is_file())?;
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .filter(|name| dlio_config::hydra::is_fork_workload(name))
        .collect();
    names.sort();
    if let Some(name) = names.first() {
        return Some(format!("{} also has {name}.yaml, a workload of the MLPerf Storage fork only", folder.display()));
    }
    let above = folder.ancestors().take(LEVELS).find(|above| above.join(PACKAGE).is_dir())?;
    Some(format!("{} has {PACKAGE}, the harness of MLPerf Storage v3", above.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_beside_those_of_the_fork_and_below_the_harness_are_its() {
        let folder = tempfile::tempdir().unwrap();
        let workloads = folder.path().join("configs/dlio/workload");
        std::fs::create_dir_all(&workloads).unwrap();
        let file = workloads.join("llama3_8b.yaml");
        std::fs::write(&file, "").unwrap();
        std::fs::write(workloads.join("unet3d_h100.yaml"), "").unwrap();
        assert_eq!(mark(&file), None);
        std::fs::create_dir(folder.path().join(PACKAGE)).unwrap();
        assert!(mark(&file).unwrap().contains("has mlpstorage_py"));
        std::fs::write(workloads.join("flux_b200.yaml"), "").unwrap();
        assert!(mark(&file).unwrap().contains("flux_b200.yaml"));
        assert_eq!(mark(&workloads.join("absent.yaml")), None);
    }
}
