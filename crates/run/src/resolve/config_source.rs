//! The source of a configuration: a file or a bundled workload, and overrides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dlio_config::{Override, bundled, vocabulary::Dialect};

use crate::failure::Failure;
use crate::message::Level;
use crate::resolve::suggest;

/// Name of the configuration of a replayed trace; overrides set its keys.
pub const REPLAY: &str = "replay of a trace";
const REPLAY_YAML: &str =
    "model: {name: replay}\nworkflow: {generate_data: false, train: false}\ndlio_rs: {dialect: native}\n";

/// A configuration as the user names it.
#[derive(Debug, Clone, Default)]
pub struct ConfigWords {
    /// DLIO YAML file or name of a bundled workload, and overrides in Hydra's form.
    pub words: Vec<String>,
    /// Meaning of the keys; `None`: `dlio_rs.dialect`, then `dlio`.
    pub dialect: Option<Dialect>,
    /// Whether unknown keys are errors.
    pub strict: bool,
}

/// The source of a configuration as texts, before it is parsed, so that rank 0 can send it to all ranks.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct ConfigSource {
    /// File name or name of the bundled workload, for messages.
    pub name: String,
    /// The YAML text.
    pub yaml: String,
    /// Overrides as typed.
    pub overrides: Vec<String>,
    /// Dialect from the command line.
    pub dialect: Option<String>,
    /// Options by name that other sources can set as well.
    pub flags: BTreeMap<String, String>,
    /// Evidence that the configuration is for the MLPerf Storage fork, which selects the dialect unless it is given.
    pub marks: Option<String>,
    /// Whether unknown keys are errors.
    pub strict: bool,
    /// Hydra's part of a run that was started as `dlio_benchmark`.
    pub hydra: Option<HydraRun>,
}

/// The run folder and files that Hydra creates for a run of the reference.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct HydraRun {
    /// Absolute path of the run folder, which is also the default output folder.
    #[serde(with = "crate::resolve::wire_path")]
    pub folder: PathBuf,
    /// Folder below the run folder for the files; `None`: they are not written.
    pub subfolder: Option<String>,
    /// Whether the run folder becomes the working directory.
    pub chdir: bool,
    /// Names and contents of the files.
    pub files: [(String, String); 3],
    /// `DLIO_LOG_LEVEL`
    pub level: Level,
    /// `DFTRACER_ENABLE`
    pub pfw: bool,
    /// Value of `DLIO_OUTPUT_FOLDER`, which dialect `mlperf` uses.
    #[serde(with = "crate::resolve::wire_path::optional")]
    pub output: Option<PathBuf>,
    /// Remarks of rank 0 about these choices.
    pub remarks: Vec<String>,
    /// Warnings about options without effect.
    pub warnings: Vec<String>,
}

#[cfg(test)]
impl ConfigSource {
    /// Creates a source of overrides alone.
    #[must_use]
    pub fn of_test(overrides: &[&str]) -> Self {
        Self {
            name: "test.yaml".to_owned(),
            yaml: String::new(),
            overrides: overrides.iter().map(|text| (*text).to_owned()).collect(),
            dialect: None,
            flags: BTreeMap::new(),
            marks: None,
            strict: false,
            hydra: None,
        }
    }
}

impl HydraRun {
    /// Creates the run folder and writes the files.
    ///
    /// # Errors
    /// The folder is not writable.
    pub fn write(&self) -> Result<(), Failure> {
        let making = |folder: &Path| {
            std::fs::create_dir_all(folder).map_err(|error| Failure::file("creating the run folder", folder, &error))
        };
        making(&self.folder)?;
        let Some(subfolder) = self.subfolder.as_ref().filter(|name| !name.is_empty()) else { return Ok(()) };
        let folder = self.folder.join(subfolder);
        making(&folder)?;
        self.files
            .iter()
            .try_for_each(|(name, text)| crate::outputs::file::write_file(&folder.join(name), text.as_bytes()))
    }
}

/// Separates configuration and overrides, and reads the file.
///
/// # Errors
/// No configuration is named (and there is no `default`), two are named, or the file cannot be read.
pub fn find(args: &ConfigWords, default: Option<&str>) -> Result<ConfigSource, Failure> {
    let (overrides, names): (Vec<&String>, Vec<&String>) = args.words.iter().partition(|word| is_override(word));
    let parsed = parse_overrides(overrides.iter().map(|text| text.as_str()))?;
    let selected: Vec<&str> = parsed.iter().filter_map(Override::selects_workload).collect();
    let mut candidates: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    candidates.extend(selected);
    let name = match candidates.as_slice() {
        [] => default.ok_or_else(|| {
            Failure::usage(
                "no configuration given: name a DLIO YAML file or a bundled workload (`dlio-rs workloads` lists them)",
            )
        })?,
        [name] => name,
        [first, second, ..] => {
            return Err(Failure::usage(format_args!(
                "two configurations given, `{first}` and `{second}`: give one; overrides have the form key=value{}",
                blank(args, second)
            )));
        }
    };
    let (name, yaml) = read(name)?;
    let dialect = args.dialect.map(|dialect| dialect.word().to_owned());
    let flag = dialect.iter().map(|word| ("--dialect".to_owned(), word.clone()));
    Ok(ConfigSource {
        flags: flag.collect(),
        marks: None,
        name,
        yaml,
        overrides: overrides.into_iter().cloned().collect(),
        dialect,
        strict: args.strict,
        hydra: None,
    })
}

/// Returns a hint for a word that may be the value of `--overwrite`, or of an override that was written with a blank.
fn blank(args: &ConfigWords, word: &str) -> String {
    if matches!(word, "data" | "output" | "all") {
        return format!("; `--overwrite={word}` is written without a blank");
    }
    let bare = word.trim_start_matches('+');
    let bare = bare.strip_prefix("workload.").unwrap_or(bare);
    let next = || args.words.get(args.words.iter().position(|given| given == word)? + 1);
    if let (true, Some(value)) = (dlio_config::has_key(bare, Dialect::Native), next()) {
        return format!("; did you mean {word}={value}?");
    }
    let at = args.words.iter().position(|given| given == word);
    let before = at.and_then(|at| args.words.get(at.checked_sub(1)?));
    match before {
        Some(key) if key.ends_with('=') => format!("; `{key}{word}` is written without a blank"),
        _ => String::new(),
    }
}

/// Parses overrides; the error is that of the first invalid one.
///
/// # Errors
/// An override does not have Hydra's syntax.
pub fn parse_overrides<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<Override>, Failure> {
    texts.map(|text| Override::parse(text).map_err(Failure::usage)).collect()
}

/// Returns whether a word is an override (`a.b=v`, `++a=v`, `~a`) and not a file whose name contains `=`.
fn is_override(word: &str) -> bool {
    (word.contains('=') || word.starts_with('~')) && !Path::new(word).is_file()
}

fn read(name: &str) -> Result<(String, String), Failure> {
    if name == REPLAY {
        return Ok((name.to_owned(), REPLAY_YAML.to_owned()));
    }
    let path = Path::new(name);
    // Only regular files are read, because a stream may never end.
    if path.exists() && !path.is_dir() {
        let yaml = dlio_storage::regular_file::read_text(path)
            .map_err(|error| Failure::usage(format_args!("reading the configuration {name}: {error}")))?;
        return Ok((name.to_owned(), yaml));
    }
    if name.contains("://") {
        return Err(Failure::usage(format_args!(
            "{name}: configurations and traces are read from local paths: fetch it first"
        )));
    }
    if path.is_dir() {
        return Err(Failure::usage(format_args!(
            "{name} is a folder: expected a DLIO YAML file or the name of a bundled workload"
        )));
    }
    match bundled::yaml(name) {
        Some(yaml) => Ok((format!("workloads/{name}.yaml"), yaml.to_owned())),
        None => Err(Failure::usage(format_args!(
            "no file and no bundled workload is named `{name}`{} the path of a DLIO YAML file or a bundled workload such as \
             unet3d_h100: `dlio-rs workloads` lists them",
            suggest::then(&suggest::configuration(name), "give")
        ))),
    }
}
