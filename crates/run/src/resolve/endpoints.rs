//! The endpoints of a run, taken from the first source that names any.

use std::path::Path;

use dlio_config::Workload;
use dlio_config::endpoints::{expand, lines, list};
use dlio_config::vocabulary::StorageLibrary;

use crate::failure::Failure;
use crate::resolve::location;
use crate::resolve::settings::{self, ENDPOINTS, SettingValues, Source};

/// Returns the endpoints of the first source in the table of settings that names any.
///
/// # Errors
/// The profile names a missing section, a template is invalid, a file cannot be read or has no endpoints, or an endpoint has no scheme.
pub fn choose(workload: &Workload, given: &SettingValues<'_>) -> Result<Vec<String>, Failure> {
    let first = settings::first(ENDPOINTS, given);
    if let (None | Some((_, Source::Profile(_), _)), Some(wrong)) = (&first, &given.profile.missing_services)
        && !given.profile.ignores_endpoints
    {
        return Err(Failure::usage(wrong));
    }
    let Some((name, source, text)) = first else { return none(workload) };
    let endpoints = match source {
        Source::Key("storage.endpoint_template") | Source::Variable("S3_ENDPOINT_TEMPLATE") => {
            expand(&text).map_err(|why| Failure::usage(format_args!("{name}: {why}")))?
        }
        Source::Key("storage.endpoint_file") | Source::Variable("S3_ENDPOINT_FILE") => file(&name, &text)?,
        _ => list(&text),
    };
    if let Some(wrong) = endpoints.iter().find(|uri| !uri.starts_with("http://") && !uri.starts_with("https://")) {
        return Err(Failure::usage(format_args!(
            "{name}: expected http://host:port or https://host:port for each endpoint, found {wrong:?}"
        )));
    }
    Ok(endpoints)
}

/// Returns no endpoint, so that requests go to AWS. The fork rejects that for s3torchconnector.
fn none(workload: &Workload) -> Result<Vec<String>, Failure> {
    let Workload { storage, dlio_rs, .. } = workload;
    if dlio_rs.dialect.rules().torch_connector_needs_endpoint
        && storage.library == Some(StorageLibrary::S3TorchConnector)
    {
        return Err(Failure::usage(
            "storage_library s3torchconnector needs an endpoint, or it would send every request to AWS: set \
             storage.storage_options.endpoint_url or AWS_ENDPOINT_URL (for AWS itself: https://s3.REGION.amazonaws.com)",
        ));
    }
    Ok(Vec::new())
}

fn file(name: &str, path: &str) -> Result<Vec<String>, Failure> {
    let path = location::named(name, Path::new(path))?;
    let text = dlio_storage::regular_file::read_text(&path)
        .map_err(|error| Failure::usage(format_args!("{name}: reading {}: {error}", path.display())))?;
    let endpoints = lines(&text);
    if endpoints.is_empty() {
        return Err(Failure::usage(format_args!(
            "{name}: {} names no endpoint; expected one per line",
            path.display()
        )));
    }
    Ok(endpoints)
}

/// Returns the endpoints from the environment and a profile of the AWS CLI for a workload without endpoints.
#[cfg(test)]
#[must_use]
pub fn of_aws(env: &crate::launch::Environment, profile: &crate::resolve::aws_profile::Profile) -> Vec<String> {
    tests::of_profile(&["~storage.storage_options.endpoint_url"], env, profile).unwrap()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dlio_config::Loaded;

    use super::*;
    use crate::launch::Environment;
    use crate::resolve::aws_profile::Profile;
    use crate::resolve::config_source::ConfigSource;

    fn loaded(overrides: &[&str]) -> Loaded {
        let overrides: Vec<_> = overrides.iter().map(|text| dlio_config::Override::parse(text).unwrap()).collect();
        let source =
            dlio_config::Source { name: "test.yaml", yaml: dlio_config::bundled::yaml("unet3d_h100_s3").unwrap() };
        dlio_config::load(&source, &overrides, &BTreeMap::new(), None).unwrap()
    }

    fn env(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn chosen(overrides: &[&str], env: &Environment) -> Result<Vec<String>, Failure> {
        of_profile(overrides, env, &Profile::default())
    }

    pub(super) fn of_profile(overrides: &[&str], env: &Environment, profile: &Profile) -> Result<Vec<String>, Failure> {
        let (loaded, wanted, flags) = (loaded(overrides), ConfigSource::of_test(overrides), BTreeMap::new());
        let (wanted, flags, loaded) = (&wanted, &flags, &loaded);
        let given =
            SettingValues { wanted, loaded, env, profile, flags, registry: None, registry_keys: false, on_s3: true };
        choose(&loaded.workload, &given)
    }

    #[test]
    fn the_first_place_that_names_endpoints_wins_and_the_others_are_told() {
        let everything = env(&[
            ("S3_ENDPOINT_URIS", "http://u1:1,http://u2:1"),
            ("S3_ENDPOINT_TEMPLATE", "http://t{1...3}:1"),
            ("AWS_ENDPOINT_URL", "http://aws:1"),
        ]);
        let none = ["~storage.storage_options.endpoint_url"];
        assert_eq!(chosen(&none, &everything).unwrap(), ["http://u1:1", "http://u2:1"]);
        let template = env(&[("S3_ENDPOINT_TEMPLATE", "http://t{1...3}:1"), ("AWS_ENDPOINT_URL", "http://aws:1")]);
        assert_eq!(chosen(&none, &template).unwrap(), ["http://t1:1", "http://t2:1", "http://t3:1"]);
        let key = ["++storage.endpoint_template='http://k{0...1}:1'"];
        assert_eq!(chosen(&key, &everything).unwrap(), ["http://k0:1", "http://k1:1"]);
        assert_eq!(chosen(&none, &env(&[])).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn the_fork_prefers_several_of_the_environment_to_its_one_url() {
        let one = "++storage.storage_options.endpoint_url=http://one:1";
        let several = env(&[("S3_ENDPOINT_URIS", "http://u1:1,http://u2:1")]);
        assert_eq!(chosen(&[one], &several).unwrap(), ["http://one:1"]);
        let mlperf = [one, "++dlio_rs.dialect=mlperf"];
        assert_eq!(chosen(&mlperf, &several).unwrap().len(), 2);
        assert_eq!(chosen(&mlperf, &env(&[("S3_ENDPOINT_URIS", "http://u1:1")])).unwrap(), ["http://one:1"]);
    }

    #[test]
    fn s3torchconnector_is_not_sent_to_aws_unasked() {
        let none =
            ["~storage.storage_options.endpoint_url", "++storage.storage_options.storage_library=s3torchconnector"];
        assert_eq!(chosen(&none, &env(&[])).unwrap(), Vec::<String>::new());
        let mlperf = [&none[..], &["++dlio_rs.dialect=mlperf"]].concat();
        assert!(chosen(&mlperf, &env(&[])).unwrap_err().message.contains("s3torchconnector needs an endpoint"));
        assert_eq!(chosen(&mlperf, &env(&[("AWS_ENDPOINT_URL", "http://a:1")])).unwrap(), ["http://a:1"]);
    }

    #[test]
    fn a_file_names_one_endpoint_per_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoints");
        std::fs::write(&path, "# ours\nhttp://a:1\nhttp://b:1\n").unwrap();
        let none = ["~storage.storage_options.endpoint_url"];
        let named = env(&[("S3_ENDPOINT_FILE", path.to_str().unwrap())]);
        assert_eq!(chosen(&none, &named).unwrap(), ["http://a:1", "http://b:1"]);
        std::fs::write(&path, "# none\n").unwrap();
        assert!(chosen(&none, &named).unwrap_err().message.contains("names no endpoint"));
        let gone = env(&[("S3_ENDPOINT_FILE", "/nowhere/endpoints")]);
        assert!(chosen(&none, &gone).unwrap_err().message.contains("reading /nowhere/endpoints"));
        let wrong = env(&[("S3_ENDPOINT_URIS", "a:1,b:1")]);
        assert!(chosen(&none, &wrong).unwrap_err().message.contains("S3_ENDPOINT_URIS: expected http"));
    }

    #[test]
    fn endpoints_of_a_profile_come_last_in_the_order_of_the_aws_cli() {
        let none = ["~storage.storage_options.endpoint_url"];
        let url = |text: &str| Some(text.to_owned());
        let profile =
            Profile { service_endpoint: url("http://s3:1"), endpoint: url("http://all:1"), ..Profile::default() };
        let all = env(&[("AWS_ENDPOINT_URL_S3", "http://e3:1"), ("AWS_ENDPOINT_URL", "http://e:1")]);
        assert_eq!(of_profile(&none, &all, &profile).unwrap(), ["http://e3:1"]);
        assert_eq!(of_profile(&none, &env(&[("AWS_ENDPOINT_URL", "http://e:1")]), &profile).unwrap(), ["http://e:1"]);
        assert_eq!(of_profile(&none, &env(&[]), &profile).unwrap(), ["http://s3:1"]);
        let general = Profile { service_endpoint: None, ..profile.clone() };
        assert_eq!(of_profile(&none, &env(&[]), &general).unwrap(), ["http://all:1"]);
        let ignoring = Profile { ignores_endpoints: true, ..profile };
        assert_eq!(
            of_profile(&none, &env(&[("AWS_ENDPOINT_URL", "http://e:1")]), &ignoring).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_profile_that_names_no_section_of_services_sends_nobody_elsewhere() {
        let none = ["~storage.storage_options.endpoint_url"];
        let profile = Profile {
            missing_services: Some("services = store".to_owned()),
            endpoint: Some("http://general:1".to_owned()),
            ..Profile::default()
        };
        let refused = of_profile(&none, &env(&[]), &profile).unwrap_err();
        assert!(refused.to_string().contains("services = store"), "{refused:?}");
        assert!(of_profile(&none, &env(&[]), &Profile { endpoint: None, ..profile.clone() }).is_err());
        let said = of_profile(&none, &env(&[("AWS_ENDPOINT_URL", "http://e:1")]), &profile).unwrap();
        assert_eq!(said, ["http://e:1"], "nobody asks the profile");
        let ignored = Profile { ignores_endpoints: true, ..profile };
        assert!(of_profile(&none, &env(&[]), &ignored).unwrap().is_empty());
    }
}
