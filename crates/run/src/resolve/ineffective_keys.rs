//! Warnings about valid keys that have no effect in this run because of other keys, the endpoints or the number of ranks.

use dlio_config::Loaded;
use dlio_config::vocabulary::StorageType;
use serde_json::Value;

use crate::backend::assign::share;
use crate::resolve::connections;

/// Keys that only affect requests to S3.
const OF_S3: &[&str] = &[
    "storage.storage_options.access_key_id",
    "storage.storage_options.secret_access_key",
    "storage.storage_options.endpoint_url",
    "storage.storage_options.region",
    "storage.storage_options.s3_force_path_style",
    "storage.storage_options.addressing_style",
    "storage.storage_options.verify",
    "storage.storage_options.verify_ssl",
    "storage.storage_options.s3_max_attempts",
    "storage.use_mpi_endpoint_distribution",
    "storage.load_balance_strategy",
    "storage.endpoint_template",
    "storage.endpoint_file",
    "dlio_rs.endpoint_mapping",
    "dlio_rs.s3_client",
    "dlio_rs.multipart_threshold",
    "dlio_rs.multipart_part_size",
    "dlio_rs.multipart_concurrency",
    "dlio_rs.request_timeout_seconds",
    "dlio_rs.head_before_get",
    "dlio_rs.split_threshold",
    "dlio_rs.split_chunk",
    "dlio_rs.split_concurrency",
];

/// Keys that only affect data in files.
const OF_FILES: &[&str] = &["reader.odirect", "dlio_rs.generate_odirect", "dlio_rs.direct_chunk"];

/// Keys that only affect checkpoints.
const OF_CHECKPOINTS: &[&str] = &["dlio_rs.checkpoint_read_blocks", "dlio_rs.checkpoint_read_bytes"];

/// Returns a warning for each group of keys that has no effect with these endpoints and this number of ranks.
#[must_use]
pub fn warnings(loaded: &Loaded, (endpoints, size): (&[String], u32), on_s3: bool) -> Vec<String> {
    let workload = &loaded.workload;
    let mut warnings = Vec::new();
    if !on_s3 {
        warnings.extend(together(loaded, OF_S3, "neither data nor checkpoints are on S3"));
    }
    if workload.stored_on() == StorageType::S3 {
        warnings.extend(together(loaded, OF_FILES, "the data are on S3"));
    }
    if !workload.workflow.checkpoint {
        warnings.extend(together(loaded, OF_CHECKPOINTS, "there are no checkpoints (workflow.checkpoint)"));
    }
    if on_s3 {
        warnings.extend(spreading(loaded, endpoints, size));
        warnings.extend(connections::warnings(workload, endpoints));
    }
    warnings
}

/// Keys that only affect runs with several endpoints.
fn spreading(loaded: &Loaded, endpoints: &[String], size: u32) -> Option<String> {
    const BALANCE: &str = "storage.load_balance_strategy";
    const MAPPING: &str = "dlio_rs.endpoint_mapping";
    const EACH: &str = "storage.use_mpi_endpoint_distribution";
    if endpoints.len() <= 1 {
        return together(loaded, &[BALANCE, MAPPING, EACH], "there is one endpoint");
    }
    if share(&loaded.workload, endpoints, 0, size).endpoints.len() == 1 {
        together(loaded, &[BALANCE], "every rank uses one endpoint (storage.use_mpi_endpoint_distribution)")
    } else {
        together(loaded, &[MAPPING], "every rank uses all endpoints (storage.use_mpi_endpoint_distribution)")
    }
}

/// Returns one line for the given keys, if any.
fn together(loaded: &Loaded, keys: &[&str], why: &str) -> Option<String> {
    let given = |key: &&&str| {
        let value = loaded.resolved.pointer(&format!("/workload/{}", key.replace('.', "/")));
        value.is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)))
    };
    let found: Vec<&str> = keys.iter().filter(given).copied().collect();
    let has = if found.len() == 1 { "has" } else { "have" };
    (!found.is_empty()).then(|| format!("{} {has} no effect: {why}", found.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(overrides: &[&str], (count, size): (usize, u32), on_s3: bool) -> Vec<String> {
        let overrides: Vec<_> = overrides.iter().map(|text| dlio_config::Override::parse(text).unwrap()).collect();
        let yaml = dlio_config::bundled::yaml("unet3d_h100").unwrap();
        let source = dlio_config::Source { name: "test.yaml", yaml };
        let loaded = dlio_config::load(&source, &overrides, &std::collections::BTreeMap::new(), None).unwrap();
        let endpoints: Vec<String> = (0..count).map(|number| format!("http://host{number}:1")).collect();
        warnings(&loaded, (&endpoints, size), on_s3)
    }

    #[test]
    fn keys_of_s3_are_told_in_one_line_where_nothing_is_on_s3() {
        let keys = ["++dlio_rs.multipart_part_size=8MiB", "++storage.load_balance_strategy=random"];
        let told = warned(&keys, (0, 1), false);
        assert!(
            told.len() == 1 && told[0].contains("storage.load_balance_strategy, dlio_rs.multipart_part_size have"),
            "{told:?}"
        );
        assert_eq!(warned(&[], (0, 1), false), Vec::<String>::new());
    }

    #[test]
    fn keys_about_several_endpoints_are_told_where_there_is_one_or_each_rank_has_one() {
        let s3 = "dataset.data_folder=s3://b/p";
        let balance = [s3, "++storage.load_balance_strategy=random"];
        assert!(warned(&balance, (1, 1), true)[0].ends_with("there is one endpoint"));
        assert!(warned(&balance, (2, 2), true)[0].contains("every rank uses one endpoint"));
        assert_eq!(warned(&balance, (2, 1), true), Vec::<String>::new());
        let mapping = [s3, "++dlio_rs.endpoint_mapping=block"];
        assert!(warned(&mapping, (2, 1), true)[0].contains("every rank uses all endpoints"));
        assert_eq!(warned(&mapping, (2, 2), true), Vec::<String>::new());
    }

    #[test]
    fn certificates_that_are_not_checked_are_told_and_so_is_odirect_at_s3() {
        let keys = ["dataset.data_folder=s3://b/p", "++storage.storage_options.verify=false", "++reader.odirect=true"];
        let told = warned(&keys, (1, 1), true);
        assert!(told.iter().any(|line| line.contains("storage.storage_options.verify=false")), "{told:?}");
        assert!(
            told.iter().any(|line| line.starts_with("reader.odirect has no effect: the data are on S3")),
            "{told:?}"
        );
    }
}
