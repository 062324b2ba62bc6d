//! S3 settings in the shared AWS configuration files, read like the AWS CLI: the profile that the environment names, and its
//! section `services`.

use dlio_config::vocabulary::AddressingStyle;
use dlio_storage::s3::chain::Profiles;

use crate::failure::Failure;
use crate::launch::Environment;

/// The S3 settings of an AWS profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Name of the profile if a variable selects it; `None`: the default profile.
    pub chosen: Option<String>,
    /// `region`
    pub region: Option<String>,
    /// `endpoint_url` of S3 in the profile's section `services`.
    pub service_endpoint: Option<String>,
    /// Error message if the profile names a section `services` that does not exist.
    pub missing_services: Option<String>,
    /// `endpoint_url` of the profile.
    pub endpoint: Option<String>,
    /// Configured endpoint URLs are ignored, including those of the environment.
    pub ignores_endpoints: bool,
    /// `ca_bundle`
    pub ca_bundle: Option<String>,
    /// `addressing_style` in the subsection `s3`
    pub addressing_style: Option<String>,
    /// The setting from which the profile gets keys; `None`: there is none.
    pub keys_by: Option<&'static str>,
    /// All profiles, for the search of credentials.
    pub files: Profiles,
}

impl Profile {
    /// Reads the files that the environment names; missing files count as empty.
    ///
    /// # Errors
    /// A file cannot be read, its addressing style is unknown, or no file has the profile that a variable names.
    pub fn read(env: &Environment) -> Result<Self, Failure> {
        let files = Profiles::read(env).map_err(Failure::usage)?;
        let get = |key: &str| files.get(key).map(str::to_owned);
        let addressing_style = files.below("s3", "addressing_style");
        if let Some(style) = addressing_style.as_ref().filter(|style| AddressingStyle::from_word(style).is_none()) {
            return Err(Failure::usage(format_args!(
                "s3.addressing_style of the AWS profile {}: expected auto, path or virtual, found {style:?}",
                files.chosen().unwrap_or("default")
            )));
        }
        Ok(Self {
            chosen: files.chosen().map(str::to_owned),
            region: get("region"),
            service_endpoint: files.service_endpoint("s3"),
            missing_services: files.missing_services(),
            endpoint: get("endpoint_url"),
            ignores_endpoints: files.ignores_endpoints(env),
            ca_bundle: files.path("ca_bundle", env).map(|path| path.display().to_string()),
            addressing_style,
            keys_by: files.keys_by(),
            files,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_place_of_the_bucket_that_nobody_knows_is_refused_by_its_profile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, "[profile lab]\ns3 =\n  addressing_style = bogus\n[default]\n").unwrap();
        let mut env = Environment::from([("AWS_CONFIG_FILE".to_owned(), path.to_str().unwrap().to_owned())]);
        assert!(Profile::read(&env).is_ok());
        env.insert("AWS_PROFILE".to_owned(), "lab".to_owned());
        let refused = Profile::read(&env).unwrap_err().to_string();
        assert!(
            refused.contains("s3.addressing_style of the AWS profile lab: expected auto, path or virtual"),
            "{refused}"
        );
    }

    /// Results of botocore for the same files and variables, recorded in the storage crate.
    #[test]
    fn endpoints_of_a_profile_and_of_the_environment_come_in_the_order_of_the_aws_cli() {
        let cases: Value = serde_json::from_str(include_str!("../../../storage/tests/aws_config/cases.json")).unwrap();
        let mut compared = 0;
        for case in cases.as_array().unwrap().iter().filter(|case| case["files"] != "wrong") {
            let folder = tempfile::tempdir().unwrap();
            let mut env: Environment = serde_json::from_value(case["env"].clone()).unwrap();
            for (file, variable) in [("config", "AWS_CONFIG_FILE"), ("credentials", "AWS_SHARED_CREDENTIALS_FILE")] {
                let path = folder.path().join(file);
                std::fs::write(&path, case[file].as_str().unwrap()).unwrap();
                env.insert(variable.to_owned(), path.to_str().unwrap().to_owned());
            }
            let profile = Profile::read(&env).unwrap();
            let found = crate::resolve::endpoints::of_aws(&env, &profile);
            let expected = &case["endpoint"];
            assert_eq!(json!(found.first()), *expected, "{}", case["name"]);
            compared += usize::from(!expected.is_null());
        }
        assert!(compared > 5, "{compared}");
    }
}
