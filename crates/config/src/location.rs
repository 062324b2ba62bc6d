//! Locations: a path, or an address with a scheme. Every scheme is either supported or refused by name; no scheme ever
//! becomes a folder such as `s3:`.

use dlio_event::S3Uri;

/// Schemes that users write, in addition to every word before `://`. A folder name of one of these words with a colon
/// is always a typing error.
const SCHEMES: &[&str] = &[
    "s3", "s3a", "s3n", "gs", "gcs", "az", "abfs", "abfss", "wasb", "wasbs", "adl", "hdfs", "webhdfs", "http", "https",
    "ftp", "sftp", "file", "direct", "hf", "oss", "cos", "obs", "swift", "minio", "memory",
];

/// Ends the message of every refusal.
const SUPPORTED: &str = "expected a path, file:///PATH or s3://BUCKET[/PREFIX]";

/// Location of a dataset, of checkpoints, or of other data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location<'a> {
    /// Text without a scheme; `storage.storage_type` decides what it means.
    Plain(&'a str),
    /// Absolute path in a file system, for every storage type.
    File(&'a str),
    /// Absolute path in a file system that is read and written with `O_DIRECT` (a scheme of the MLPerf fork).
    Direct(&'a str),
    /// Bucket and prefix, for every storage type.
    S3(S3Uri<'a>),
}

impl<'a> Location<'a> {
    /// Parses a location.
    ///
    /// # Errors
    /// If the scheme is misspelled or not supported; the message does not begin with a key.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let Some((scheme, rest)) = scheme(text) else { return Ok(Self::Plain(text)) };
        let lower = scheme.to_ascii_lowercase();
        match (lower.as_str(), rest.strip_prefix("//")) {
            ("s3", Some(bucket)) if scheme == "s3" && !bucket.starts_with('/') && !bucket.is_empty() => {
                Ok(Self::S3(S3Uri::from_path(bucket)))
            }
            ("s3" | "s3a" | "s3n", _) => {
                let bucket = rest.trim_start_matches('/');
                let spelling = if bucket.is_empty() { "BUCKET[/PREFIX]" } else { bucket };
                Err(format!("{text:?} does not name a bucket: write {}{spelling}", S3Uri::SCHEME))
            }
            ("file" | "direct", Some(path)) if scheme == lower && path.starts_with('/') => {
                Ok(if lower == "file" { Self::File(path) } else { Self::Direct(path) })
            }
            ("file", Some(host)) if scheme == lower && host.starts_with("localhost/") => {
                Ok(Self::File(&host["localhost".len()..]))
            }
            ("file", Some(host)) if host.contains('/') && scheme == lower => Err(format!(
                "{text:?} names a file on the host {:?}: mount it here and write the path, or file:///PATH",
                host.split('/').next().unwrap_or_default()
            )),
            ("file" | "direct", _) => {
                let path = rest.trim_start_matches('/');
                Err(format!("{text:?} does not name a path: write {lower}:///{path}, or /{path}"))
            }
            _ => Err(format!("{text:?}: the scheme {lower} is not supported; {SUPPORTED}{}", remedy(&lower))),
        }
    }
}

/// Returns a hint for a scheme that is not supported.
fn remedy(scheme: &str) -> &'static str {
    match scheme {
        "gs" | "gcs" | "oss" | "cos" | "obs" | "swift" | "minio" | "http" | "https" => {
            " (for a service with an S3 interface, set storage.storage_options.endpoint_url to its address and name the bucket with s3://)"
        }
        "hdfs" | "webhdfs" | "az" | "abfs" | "abfss" | "wasb" | "wasbs" | "adl" | "hf" => {
            " (a file system of this kind must be mounted)"
        }
        _ => "",
    }
}

/// Splits a text into its scheme and the text after the colon.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_word = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let known = SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    (is_word && (known || rest.starts_with("//"))).then_some((scheme, rest))
}

/// Returns the path of something that must be a local file or folder: outputs, traces, registries and configurations.
///
/// # Errors
/// If the text does not name a local path; the message does not begin with a key.
pub fn local(text: &str) -> Result<&str, String> {
    match Location::parse(text) {
        Ok(Location::Plain(path) | Location::File(path)) => Ok(path),
        Ok(Location::S3(_) | Location::Direct(_)) => {
            Err(format!("{text:?} is not a local path, and only local paths are supported here"))
        }
        Err(why) if scheme(text).is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("file")) => Err(why),
        Err(_) => Err(format!("{text:?} is not a local path, and only local paths are supported here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_a_scheme_is_plain() {
        for text in ["./data", "/mnt/a:b/c", "data/12:30", "c:", "unet3d", ":x", "", "a b://c"] {
            assert_eq!(Location::parse(text), Ok(Location::Plain(text)), "{text}");
        }
    }

    #[test]
    fn schemes_that_are_spoken_are_told_apart() {
        assert_eq!(Location::parse("s3://bkt/p"), Ok(Location::S3(S3Uri { bucket: "bkt", key: "p" })));
        assert_eq!(Location::parse("file:///mnt/x"), Ok(Location::File("/mnt/x")));
        assert_eq!(Location::parse("file://localhost/mnt"), Ok(Location::File("/mnt")));
        assert_eq!(Location::parse("direct:///mnt/x"), Ok(Location::Direct("/mnt/x")));
    }

    #[test]
    fn a_misspelt_bucket_is_refused_with_the_right_spelling() {
        for text in ["s3:/bkt/p", "s3:bkt/p", "S3://bkt/p", "s3:///bkt/p", "s3a://bkt/p", "s3n:bkt/p"] {
            let why = Location::parse(text).unwrap_err();
            assert!(why.contains(text) && why.contains("write s3://bkt/p"), "{why}");
        }
        assert!(Location::parse("s3:").unwrap_err().contains("s3://BUCKET"));
    }

    #[test]
    fn other_schemes_are_refused_by_name_with_what_is_supported() {
        for text in ["gs://b/p", "az://c/p", "hdfs://nn:8020/p", "http://h/p", "https:/h", "foo://bar", "abfss://c@a/p"]
        {
            let why = Location::parse(text).unwrap_err();
            let scheme = text.split(':').next().unwrap();
            assert!(why.contains(&format!("the scheme {scheme} is not supported")) && why.contains(SUPPORTED), "{why}");
        }
        assert!(Location::parse("file://node7/data").unwrap_err().contains("the host \"node7\""));
        for text in ["file:/mnt/x", "file:mnt/x", "FILE:///mnt/x"] {
            assert!(Location::parse(text).unwrap_err().contains("file:///mnt/x"), "{text}");
        }
    }

    #[test]
    fn outputs_go_to_local_paths() {
        assert_eq!(local("file:///out"), Ok("/out"));
        assert_eq!(local("out"), Ok("out"));
        for text in ["s3://bkt/out", "s3:/bkt/out", "gs://b", "direct:///x", "hdfs:out"] {
            assert!(local(text).unwrap_err().contains("is not a local path"), "{text}");
        }
    }
}
