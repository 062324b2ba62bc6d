//! From the words of the command line to a configuration: a file or a bundled workload, and overrides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dlio_config::{Override, bundled, vocabulary::Dialect};

use crate::failure::Failure;
use crate::message::Level;
use crate::resolve::suggest;

/// Name of the configuration that a replayed trace has: overrides say the rest.
pub const REPLAY: &str = "replay of a trace";
const REPLAY_YAML: &str =
    "model: {name: replay}\nworkflow: {generate_data: false, train: false}\ndlio_rs: {dialect: native}\n";

/// A configuration as it is asked for.
#[derive(Debug, Clone, Default)]
pub struct ConfigWords {
    /// DLIO YAML file or name of a bundled workload, and overrides in Hydra's form.
    pub words: Vec<String>,
    /// How the keys are understood; `None`: `dlio_rs.dialect`, then `dlio`.
    pub dialect: Option<Dialect>,
    /// Unknown keys are errors.
    pub strict: bool,
}

/// What the user asked for, before it is parsed: texts only, so that rank 0 can send it to all ranks.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Wanted {
    /// File name or bundled name, for messages.
    pub name: String,
    /// The YAML text.
    pub yaml: String,
    /// Overrides as typed.
    pub overrides: Vec<String>,
    /// Dialect from the command line.
    pub dialect: Option<String>,
    /// Options that other places can say as well, by name.
    pub flags: BTreeMap<String, String>,
    /// What only the MLPerf Storage fork has, where it decided the dialect or would have.
    pub marks: Option<String>,
    /// Unknown keys are errors.
    pub strict: bool,
    /// The run was asked for as `dlio_benchmark`.
    pub hydra: Option<HydraRun>,
}

/// What Hydra would do for a run of the reference.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct HydraRun {
    /// Absolute run folder; also the output folder where nothing else is configured.
    #[serde(with = "crate::resolve::wire_path")]
    pub folder: PathBuf,
    /// Folder below it that takes the files; `None`: they are not written.
    pub subfolder: Option<String>,
    /// The run folder becomes the working directory.
    pub chdir: bool,
    /// Names and contents of the files.
    pub files: [(String, String); 3],
    /// `DLIO_LOG_LEVEL`
    pub level: Level,
    /// `DFTRACER_ENABLE`
    pub pfw: bool,
    /// `DLIO_OUTPUT_FOLDER`, which dialect `mlperf` follows.
    #[serde(with = "crate::resolve::wire_path::optional")]
    pub output: Option<PathBuf>,
    /// What rank 0 has to say about these choices.
    pub remarks: Vec<String>,
    /// What was asked for and has no effect.
    pub warnings: Vec<String>,
}

#[cfg(test)]
impl Wanted {
    /// Overrides of no file in particular.
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
    /// Makes the run folder and writes the files.
    ///
    /// # Errors
    /// When the folder takes no file.
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

/// Sorts the words into configuration and overrides and reads the file.
///
/// # Errors
/// When no configuration is named (and there is no `default`), when two are, or when the file cannot be read.
pub fn find(args: &ConfigWords, default: Option<&str>) -> Result<Wanted, Failure> {
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
    Ok(Wanted {
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

/// What a word that is no configuration may have been: the value of `--overwrite`, or that of an override behind a blank.
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

/// Parses overrides; the first bad one is the error.
///
/// # Errors
/// When an override has not Hydra's form.
pub fn parse_overrides<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<Override>, Failure> {
    texts.map(|text| Override::parse(text).map_err(Failure::usage)).collect()
}

/// Whether a word is an override (`a.b=v`, `++a=v`, `~a`) and not a file that happens to contain `=`.
fn is_override(word: &str) -> bool {
    (word.contains('=') || word.starts_with('~')) && !Path::new(word).is_file()
}

fn read(name: &str) -> Result<(String, String), Failure> {
    if name == REPLAY {
        return Ok((name.to_owned(), REPLAY_YAML.to_owned()));
    }
    let path = Path::new(name);
    // Rank 0 reads it once, but a stream may be one that never ends: only a file is taken.
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
