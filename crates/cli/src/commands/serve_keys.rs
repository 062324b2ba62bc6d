//! The origin of a server's key pair, and whether it is printed.
//!
//! Invariant: a key pair is printed only if the server created it and no registry holds it, once, by rank 0.

use dlio_server::Running;
use dlio_storage::registry::KeyPair;
use serde::Serialize;

use crate::serve_args::ServeFormat;
use dlio_run::failure::{Code, Failure};
use dlio_run::launch::Environment;

const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";

/// The key pair of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keys {
    /// Given by the user.
    Given(KeyPair),
    /// Stored in the registry; a new pair is stored there if there is none.
    InRegistry,
    /// Created for this server.
    Made(KeyPair),
}

impl Keys {
    /// Takes the pair from the command line, the environment or the registry (in this order), or creates one.
    pub(super) fn choose(
        access_key: Option<String>,
        secret_key: Option<String>,
        has_registry: bool,
        env: &Environment,
    ) -> Result<Self, Failure> {
        // The command line has both keys or neither.
        if let (Some(access_key), Some(secret_key)) = (access_key, secret_key) {
            return Ok(Self::Given(KeyPair { access_key, secret_key }));
        }
        let value = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
        match (value(ACCESS_KEY), value(SECRET_KEY)) {
            (Some(access_key), Some(secret_key)) => Ok(Self::Given(KeyPair { access_key, secret_key })),
            (Some(_), None) => Err(half(ACCESS_KEY, SECRET_KEY)),
            (None, Some(_)) => Err(half(SECRET_KEY, ACCESS_KEY)),
            (None, None) if has_registry => Ok(Self::InRegistry),
            (None, None) => {
                let made = KeyPair::generate();
                made.map(Self::Made).map_err(|error| Failure::new(Code::Storage, dlio_run::failure::chain(&error)))
            }
        }
    }

    /// Returns the pair; `None`: it is in the registry.
    pub(super) fn pair(&self) -> Option<&KeyPair> {
        match self {
            Self::Given(pair) | Self::Made(pair) => Some(pair),
            Self::InRegistry => None,
        }
    }

    /// Returns whether the pair must be printed for the user to know it.
    pub(super) fn are_made(&self) -> bool {
        matches!(self, Self::Made(_))
    }
}

fn half(set: &str, missing: &str) -> Failure {
    Failure::usage(format_args!(
        "{set} is set and {missing} is not: set both, give --access-key and --secret-key, or unset both to have a pair made"
    ))
}

/// The endpoints of a server as JSON.
#[derive(Serialize)]
struct Printed<'a> {
    endpoints: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_access_key: Option<&'a str>,
}

/// Formats the endpoints for standard output, and the key pair if it is new.
pub(super) fn text(
    endpoints: &[String],
    running: &Running,
    is_made: bool,
    format: ServeFormat,
) -> Result<String, Failure> {
    let pair = is_made.then(|| running.credentials());
    if format == ServeFormat::Json {
        let access_key_id = pair.map(|pair| pair.access_key.as_str());
        let secret_access_key = pair.map(|pair| pair.secret_key.as_str());
        let printed = serde_json::to_string(&Printed { endpoints, access_key_id, secret_access_key });
        return printed
            .map(|line| line + "\n")
            .map_err(|error| Failure::new(Code::Unexpected, format_args!("printing the endpoints: {error}")));
    }
    let keys = pair.map(|pair| format!("{ACCESS_KEY}={}\n{SECRET_KEY}={}\n", pair.access_key, pair.secret_key));
    Ok(crate::log::lines(endpoints) + &keys.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(env: &[(&str, &str)], has_registry: bool) -> Result<Keys, Failure> {
        let env: Environment = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Keys::choose(None, None, has_registry, &env)
    }

    #[test]
    fn a_pair_is_made_only_where_nobody_has_one() {
        let given = choose(&[(ACCESS_KEY, "a"), (SECRET_KEY, "b")], true).unwrap();
        assert_eq!(given.pair().unwrap().secret_key, "b");
        assert_eq!(choose(&[(ACCESS_KEY, "")], true).unwrap(), Keys::InRegistry);
        assert!(choose(&[], false).unwrap().are_made());
    }

    #[test]
    fn half_a_pair_is_an_error_that_names_the_other_half() {
        for (set, missing) in [(ACCESS_KEY, SECRET_KEY), (SECRET_KEY, ACCESS_KEY)] {
            let error = choose(&[(set, "x")], false).unwrap_err().to_string();
            assert!(error.contains(&format!("{missing} is not")), "{error}");
        }
    }
}
