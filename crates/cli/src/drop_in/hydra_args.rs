//! The command line of `dlio_benchmark`: Hydra's flags and overrides in any order, including abbreviated flags.

use std::path::PathBuf;

use dlio_config::hydra::Show;

use dlio_run::failure::Failure;

/// A parsed command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HydraArgs {
    /// Overrides (`key=value`) in their order.
    pub(super) overrides: Vec<String>,
    /// `--cfg`
    pub(super) show: Option<Shown>,
    /// `--package`
    pub(super) package: Option<String>,
    /// `--resolve`
    pub(super) resolve: bool,
    /// `--info`
    pub(super) info: Option<Info>,
    /// Text that is printed instead of a run.
    pub(super) print: Option<Print>,
    /// `--config-dir`
    pub(super) config_dir: Option<PathBuf>,
    /// `--config-path`
    pub(super) config_path: Option<PathBuf>,
    /// `--config-name`
    pub(super) config_name: Option<String>,
}

/// Values of `--cfg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Job,
    Hydra,
    All,
}

impl From<Shown> for Show {
    fn from(shown: Shown) -> Self {
        match shown {
            Shown::Job => Self::Job,
            Shown::Hydra => Self::Hydra,
            Shown::All => Self::All,
        }
    }
}

/// Values of `--info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Info {
    All,
    Config,
    Defaults,
    DefaultsTree,
    Plugins,
    SearchPath,
}

/// Texts that are printed instead of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Print {
    Help,
    HydraHelp,
    Version,
}

/// A flag, and whether it takes a value.
const FLAGS: &[(&str, &str, Takes)] = &[
    ("--help", "-h", Takes::Nothing),
    ("--hydra-help", "", Takes::Nothing),
    ("--version", "", Takes::Nothing),
    ("--cfg", "-c", Takes::Value),
    ("--resolve", "", Takes::Nothing),
    ("--package", "-p", Takes::Value),
    ("--run", "-r", Takes::Nothing),
    ("--multirun", "-m", Takes::Nothing),
    ("--shell-completion", "-sc", Takes::Nothing),
    ("--config-path", "-cp", Takes::Value),
    ("--config-name", "-cn", Takes::Value),
    ("--config-dir", "-cd", Takes::Value),
    ("--experimental-rerun", "", Takes::Value),
    ("--info", "-i", Takes::Choice),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    /// An optional value of `--info`.
    Choice,
}

/// Parses the arguments.
///
/// # Errors
/// A flag is unknown, lacks its value, or is not supported.
pub(super) fn parse(words: impl IntoIterator<Item = String>) -> Result<HydraArgs, Failure> {
    let mut line = HydraArgs::default();
    let mut words = words.into_iter().peekable();
    let mut only_overrides = false;
    while let Some(word) = words.next() {
        if only_overrides || !word.starts_with('-') || word == "-" {
            line.overrides.push(word);
            continue;
        }
        if word == "--" {
            only_overrides = true;
            continue;
        }
        let (flag, takes, attached) = find(&word)?;
        let value = match takes {
            Takes::Nothing if attached.is_some() => {
                return Err(Failure::usage(format_args!("{flag} takes no value, found {word}")));
            }
            Takes::Nothing => String::new(),
            Takes::Value => match attached.or_else(|| words.next_if(|next| !next.starts_with('-'))) {
                Some(value) => value,
                None => return Err(Failure::usage(format_args!("{flag} expects a value"))),
            },
            Takes::Choice => {
                attached.or_else(|| words.next_if(|next| info(next).is_some())).unwrap_or_else(|| "all".to_owned())
            }
        };
        line.take(flag, value)?;
    }
    Ok(line)
}

/// Returns the flag that an argument names (in full, abbreviated or short) and its attached value.
fn find(word: &str) -> Result<(&'static str, Takes, Option<String>), Failure> {
    let (name, attached) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    if let Some((flag, _, takes)) = FLAGS.iter().find(|(long, short, _)| name == *long || name == *short) {
        return Ok((flag, *takes, attached));
    }
    if name.starts_with("--") {
        let mut candidates = FLAGS.iter().filter(|(long, ..)| long.starts_with(name));
        if let (Some((flag, _, takes)), None) = (candidates.next(), candidates.next()) {
            return Ok((flag, *takes, attached));
        }
    } else {
        // `-cjob`: a short flag directly followed by its value.
        let joined = FLAGS
            .iter()
            .filter(|(_, short, takes)| !short.is_empty() && *takes != Takes::Nothing && word.starts_with(short));
        if let Some((flag, short, takes)) = joined.max_by_key(|(_, short, _)| short.len()) {
            return Ok((flag, *takes, Some(word[short.len()..].to_owned())));
        }
    }
    Err(Failure::usage(format_args!("unknown option {word}; --hydra-help lists the options of dlio_benchmark")))
}

fn info(word: &str) -> Option<Info> {
    Some(match word {
        "all" => Info::All,
        "config" => Info::Config,
        "defaults" => Info::Defaults,
        "defaults-tree" => Info::DefaultsTree,
        "plugins" => Info::Plugins,
        "searchpath" => Info::SearchPath,
        _ => return None,
    })
}

impl HydraArgs {
    fn take(&mut self, flag: &'static str, value: String) -> Result<(), Failure> {
        let choice = |choices: &str| Failure::usage(format_args!("{flag}: expected one of {choices}, found {value:?}"));
        match flag {
            "--help" => self.print = Some(Print::Help),
            "--hydra-help" => self.print = Some(Print::HydraHelp),
            "--version" => self.print = Some(Print::Version),
            "--cfg" => {
                self.show = Some(match value.as_str() {
                    "job" => Shown::Job,
                    "hydra" => Shown::Hydra,
                    "all" => Shown::All,
                    _ => return Err(choice("job, hydra, all")),
                });
            }
            "--info" => {
                let found = info(&value);
                self.info =
                    Some(found.ok_or_else(|| choice("all, config, defaults, defaults-tree, plugins, searchpath"))?);
            }
            "--package" => self.package = Some(value),
            "--resolve" => self.resolve = true,
            "--config-path" => self.config_path = Some(PathBuf::from(value)),
            "--config-name" => {
                let name = value.strip_suffix(".yaml").map(str::to_owned);
                self.config_name = Some(name.unwrap_or(value));
            }
            "--config-dir" => self.config_dir = Some(PathBuf::from(value)),
            // This is the default behaviour.
            "--run" => {}
            "--multirun" => {
                return Err(Failure::usage(
                    "--multirun is not supported: start one run after the other, each with its own overrides and hydra.run.dir",
                ));
            }
            other => return Err(Failure::usage(format_args!("{other} is not supported by this program"))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<HydraArgs, Failure> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    fn refusal(text: &str) -> String {
        line(text).expect_err("refused").to_string()
    }

    #[test]
    fn flags_and_overrides_come_in_any_order_and_form() {
        let expected = HydraArgs {
            overrides: vec!["workload=unet3d".to_owned(), "++workload.train.epochs=2".to_owned()],
            config_dir: Some(PathBuf::from("conf")),
            ..HydraArgs::default()
        };
        for text in [
            "workload=unet3d ++workload.train.epochs=2 --config-dir=conf",
            "--config-dir conf workload=unet3d ++workload.train.epochs=2",
            "workload=unet3d -cd conf ++workload.train.epochs=2",
            "workload=unet3d -cd=conf ++workload.train.epochs=2 --run",
            "--config-d=other workload=unet3d --config-dir conf -- ++workload.train.epochs=2",
        ] {
            assert_eq!(line(text).expect("parsed"), expected, "{text}");
        }
    }

    #[test]
    fn what_is_shown_instead_of_a_run() {
        assert_eq!(line("--cfg job").expect("parsed").show, Some(Shown::Job));
        assert_eq!(line("-cjob").expect("parsed").show, Some(Shown::Job));
        assert_eq!(line("-c=all --package workload").expect("parsed").package.as_deref(), Some("workload"));
        assert_eq!(line("--info").expect("parsed").info, Some(Info::All));
        let searched = line("--info searchpath workload=x").expect("parsed");
        assert_eq!((searched.info, searched.overrides.len()), (Some(Info::SearchPath), 1));
        assert_eq!(line("--info workload=x").expect("parsed").overrides, ["workload=x"]);
        assert_eq!(line("--version").expect("parsed").print, Some(Print::Version));
        assert_eq!(line("-cn mine.yaml").expect("parsed").config_name.as_deref(), Some("mine"));
    }

    #[test]
    fn unknown_flags_and_missing_values_are_refused() {
        assert!(refusal("--nope").contains("unknown option --nope"));
        assert!(refusal("--config").contains("unknown option"), "not unique");
        assert!(refusal("--cfg").contains("expects a value"));
        assert!(refusal("--cfg jobs").contains("expected one of job, hydra, all"));
        assert!(refusal("--info=what").contains("searchpath"));
        assert!(refusal("workload=x -m").contains("--multirun is not supported"));
        assert!(refusal("--help=x").contains("takes no value"));
    }
}
