//! Which endpoints a run may use: the first of several places that names any.

use std::path::Path;

use dlio_config::Workload;
use dlio_config::endpoints::{expand, lines, list};
use dlio_config::vocabulary::{Dialect, StorageLibrary};

use crate::exit::Failure;
use crate::launch::Environment;

/// Endpoints and what there is to say about their choice.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// In the order in which they were named.
    pub(crate) endpoints: Vec<String>,
    /// For the log.
    pub(crate) remarks: Vec<String>,
}

/// The configuration's endpoints come first, then those of the environment. In dialect `mlperf` a list of several in
/// `S3_ENDPOINT_URIS` comes before `endpoint_url`, as in the fork.
///
/// # Errors
/// When a template is none, a file cannot be read or names no endpoint.
pub(crate) fn choose(workload: &Workload, env: &Environment) -> Result<Chosen, Failure> {
    let storage = &workload.storage;
    let listed = |name| env.get(name).map(|text| list(text)).unwrap_or_default();
    let single = ("storage.storage_options.endpoint_url", storage.endpoint_url.iter().cloned().collect::<Vec<_>>());
    let several = ("S3_ENDPOINT_URIS", listed("S3_ENDPOINT_URIS"));
    let mut sources = vec![
        ("storage.endpoint_uris", storage.endpoint_uris.clone()),
        ("storage.endpoint_template", template("storage.endpoint_template", storage.endpoint_template.as_deref())?),
        ("storage.endpoint_file", file("storage.endpoint_file", storage.endpoint_file.as_deref())?),
    ];
    if workload.dlio_rs.dialect == Dialect::Mlperf && several.1.len() > 1 {
        sources.extend([several, single]);
    } else {
        sources.extend([single, several]);
    }
    let variable = |name| env.get(name).map(String::as_str).filter(|text| !text.trim().is_empty());
    sources.extend([
        ("S3_ENDPOINT_TEMPLATE", template("S3_ENDPOINT_TEMPLATE", variable("S3_ENDPOINT_TEMPLATE"))?),
        ("S3_ENDPOINT_FILE", file("S3_ENDPOINT_FILE", variable("S3_ENDPOINT_FILE"))?),
        ("AWS_ENDPOINT_URL_S3", listed("AWS_ENDPOINT_URL_S3")),
        ("AWS_ENDPOINT_URL", listed("AWS_ENDPOINT_URL")),
    ]);
    let mut given = sources.into_iter().filter(|(_, endpoints)| !endpoints.is_empty());
    let Some((name, endpoints)) = given.next() else { return none(workload) };
    if let Some(wrong) = endpoints.iter().find(|uri| !uri.starts_with("http://") && !uri.starts_with("https://")) {
        return Err(Failure::usage(format_args!(
            "{name}: expected http://host:port or https://host:port for each endpoint, found {wrong:?}"
        )));
    }
    let mut remarks = vec![format!("{} endpoint(s) from {name}", endpoints.len())];
    remarks.extend(given.filter(|(_, others)| *others != endpoints).map(|(unused, others)| {
        format!("{unused} names {} other endpoint(s), not used because {name} comes first", others.len())
    }));
    Ok(Chosen { endpoints, remarks })
}

/// Without an endpoint requests go to AWS. The fork does not let s3torchconnector do that.
fn none(workload: &Workload) -> Result<Chosen, Failure> {
    let Workload { storage, dlio_rs, .. } = workload;
    if dlio_rs.dialect == Dialect::Mlperf && storage.library == Some(StorageLibrary::S3TorchConnector) {
        return Err(Failure::usage(
            "storage_library s3torchconnector needs an endpoint, or it would send every request to AWS: set \
             storage.storage_options.endpoint_url or AWS_ENDPOINT_URL (for AWS itself: https://s3.REGION.amazonaws.com)",
        ));
    }
    Ok(Chosen::default())
}

fn template(name: &str, text: Option<&str>) -> Result<Vec<String>, Failure> {
    text.map_or(Ok(Vec::new()), |text| expand(text).map_err(|why| Failure::usage(format_args!("{name}: {why}"))))
}

fn file(name: &str, path: Option<&str>) -> Result<Vec<String>, Failure> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(Path::new(path))
        .map_err(|error| Failure::usage(format_args!("{name}: reading {path}: {error}")))?;
    let endpoints = lines(&text);
    if endpoints.is_empty() {
        return Err(Failure::usage(format_args!("{name}: {path} names no endpoint; expected one per line")));
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(overrides: &[&str]) -> Workload {
        let overrides: Vec<_> = overrides.iter().map(|text| dlio_config::Override::parse(text).unwrap()).collect();
        let source =
            dlio_config::Source { name: "test.yaml", yaml: dlio_config::bundled::yaml("unet3d_h100_s3").unwrap() };
        dlio_config::load(&source, &overrides, &std::collections::BTreeMap::new(), None).unwrap().workload
    }

    fn env(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_first_place_that_names_endpoints_wins_and_the_others_are_told() {
        let everything = env(&[
            ("S3_ENDPOINT_URIS", "http://u1:1,http://u2:1"),
            ("S3_ENDPOINT_TEMPLATE", "http://t{1...3}:1"),
            ("AWS_ENDPOINT_URL", "http://aws:1"),
        ]);
        let none = ["~storage.storage_options.endpoint_url"];
        let chosen = choose(&workload(&none), &everything).unwrap();
        assert_eq!(chosen.endpoints, ["http://u1:1", "http://u2:1"]);
        assert_eq!(chosen.remarks.len(), 3, "{:?}", chosen.remarks);
        let template = env(&[("S3_ENDPOINT_TEMPLATE", "http://t{1...3}:1"), ("AWS_ENDPOINT_URL", "http://aws:1")]);
        assert_eq!(
            choose(&workload(&none), &template).unwrap().endpoints,
            ["http://t1:1", "http://t2:1", "http://t3:1"]
        );
        let key = ["++storage.endpoint_template='http://k{0...1}:1'"];
        assert_eq!(choose(&workload(&key), &everything).unwrap().endpoints, ["http://k0:1", "http://k1:1"]);
        assert_eq!(choose(&workload(&none), &env(&[])).unwrap(), Chosen::default());
    }

    #[test]
    fn the_fork_prefers_several_of_the_environment_to_its_one_url() {
        let one = "++storage.storage_options.endpoint_url=http://one:1";
        let several = env(&[("S3_ENDPOINT_URIS", "http://u1:1,http://u2:1")]);
        assert_eq!(choose(&workload(&[one]), &several).unwrap().endpoints, ["http://one:1"]);
        let mlperf = workload(&[one, "++dlio_rs.dialect=mlperf"]);
        assert_eq!(choose(&mlperf, &several).unwrap().endpoints.len(), 2);
        assert_eq!(choose(&mlperf, &env(&[("S3_ENDPOINT_URIS", "http://u1:1")])).unwrap().endpoints, ["http://one:1"]);
    }

    #[test]
    fn s3torchconnector_is_not_sent_to_aws_unasked() {
        let none =
            ["~storage.storage_options.endpoint_url", "++storage.storage_options.storage_library=s3torchconnector"];
        assert_eq!(choose(&workload(&none), &env(&[])).unwrap(), Chosen::default());
        let mlperf = workload(&[&none[..], &["++dlio_rs.dialect=mlperf"]].concat());
        assert!(choose(&mlperf, &env(&[])).unwrap_err().message.contains("s3torchconnector needs an endpoint"));
        assert_eq!(choose(&mlperf, &env(&[("AWS_ENDPOINT_URL", "http://a:1")])).unwrap().endpoints, ["http://a:1"]);
    }

    #[test]
    fn a_file_names_one_endpoint_per_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoints");
        std::fs::write(&path, "# ours\nhttp://a:1\nhttp://b:1\n").unwrap();
        let none = ["~storage.storage_options.endpoint_url"];
        let named = env(&[("S3_ENDPOINT_FILE", path.to_str().unwrap())]);
        assert_eq!(choose(&workload(&none), &named).unwrap().endpoints, ["http://a:1", "http://b:1"]);
        std::fs::write(&path, "# none\n").unwrap();
        assert!(choose(&workload(&none), &named).unwrap_err().message.contains("names no endpoint"));
        let gone = env(&[("S3_ENDPOINT_FILE", "/nowhere/endpoints")]);
        assert!(choose(&workload(&none), &gone).unwrap_err().message.contains("reading /nowhere/endpoints"));
        let wrong = env(&[("S3_ENDPOINT_URIS", "a:1,b:1")]);
        assert!(choose(&workload(&none), &wrong).unwrap_err().message.contains("S3_ENDPOINT_URIS: expected http"));
    }
}
