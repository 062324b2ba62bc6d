//! Output of `dlio_benchmark` for `--help`, `--version`, `--cfg` and `--info`.

use std::fmt::Write as _;

use dlio_config::hydra::{Composition, Show};

use super::compose::{Composed, composed};
use super::hydra_args::{HydraArgs, Info, Print};
use super::search::Search;
use dlio_run::failure::Failure;
use dlio_run::launch::Environment;

const FLAGS: &str = "\
--help, -h                 This program
--hydra-help               These flags
--version                  The version of this program
--cfg, -c job|hydra|all    Print the composed configuration instead of running
--resolve                  With --cfg: resolve interpolations
--package, -p PACKAGE      With --cfg: only this part, such as workload.model
--info, -i [WHAT]          all, config, defaults, defaults-tree, plugins, searchpath
--config-dir, -cd DIR      Where workload/NAME.yaml is looked for first
--config-path, -cp DIR     In the place of the bundled workloads
--config-name, -cn NAME    Primary configuration NAME.yaml of DIR
key=value                  Set a key that is there; +key=value adds one; ++key=value does either; ~key deletes";

/// Returns the text to print if the command line asks for one instead of a run.
///
/// # Errors
/// The configuration cannot be composed.
pub(super) fn instead_of_a_run(line: &HydraArgs) -> Result<Option<String>, Failure> {
    Ok(Some(match (line.print, line.info, line.show) {
        (Some(Print::Version), ..) => version(),
        (Some(Print::HydraHelp), ..) => format!("{}\n== Flags ==\n{FLAGS}\n", version()),
        (Some(Print::Help), ..) => help(line)?,
        (None, Some(info), _) => about(line, info)?,
        (None, None, Some(shown)) => {
            let Composed { composition, .. } = composed(line)?;
            configuration(line, &composition, shown.into())?
        }
        (None, None, None) => return Ok(None),
    }))
}

fn version() -> String {
    format!("dlio_benchmark by dlio-rs {} (the command line of Hydra 1.3.2)\n", env!("CARGO_PKG_VERSION"))
}

fn help(line: &HydraArgs) -> Result<String, Failure> {
    let Composed { search, composition } = composed(line)?;
    let configuration = composition.show(Show::Job, None, None).map_err(Failure::usage)?;
    Ok(format!(
        "=========================== dlio_benchmark ===========================\n\n\
         dlio_benchmark by dlio-rs {}: I/O of deep learning applications.\n\n\
         mpirun -np N dlio_benchmark workload=NAME [++workload.KEY=VALUE ...] [--config-dir DIR]\n\n\
         == Workloads ==\nworkload: {}\n\n== Configuration ==\n{configuration}\n== Flags ==\n{FLAGS}\n\n\
         docs/drop-in.md and docs/configuration.md of dlio-rs describe keys, files and exit codes.\n",
        env!("CARGO_PKG_VERSION"),
        search.options().join(", "),
    ))
}

fn configuration(line: &HydraArgs, composition: &Composition, what: Show) -> Result<String, Failure> {
    let env: Option<Environment> = line.resolve.then(crate::environment::environment);
    composition.show(what, line.package.as_deref(), env.as_ref()).map_err(Failure::usage)
}

fn about(line: &HydraArgs, info: Info) -> Result<String, Failure> {
    let Composed { search, composition } = composed(line)?;
    let mut text = String::new();
    if matches!(info, Info::All | Info::Plugins) {
        let _ = write!(
            text,
            "{}\nInstalled Hydra Plugins\n***********************\n\tnone: this program composes configurations itself\n",
            version()
        );
    }
    if matches!(info, Info::All | Info::Config | Info::SearchPath) {
        text.push_str(&search_path(&search));
    }
    if matches!(info, Info::All | Info::Config | Info::DefaultsTree) {
        let _ = write!(
            text,
            "\nDefaults Tree\n*************\n<root>:\n  {}:\n    _self_\n    workload: {}\n",
            composition.defaults().first().map_or("", |row| row[0].as_str()),
            composition.workload()
        );
    }
    if matches!(info, Info::All | Info::Config | Info::Defaults) {
        let header = ["Config path", "Package", "_self_", "Parent"].map(str::to_owned);
        let _ = write!(text, "\nDefaults List\n*************\n{}", table(&header, &composition.defaults()));
    }
    if matches!(info, Info::All | Info::Config) {
        let _ = write!(text, "Config\n******\n{}", configuration(line, &composition, Show::Job)?);
    }
    Ok(text)
}

fn search_path(search: &Search) -> String {
    let rows: Vec<[String; 2]> = search
        .sources()
        .iter()
        .map(|source| [source.provider.to_owned(), format!("{}://{}", source.schema, source.path)])
        .collect();
    let header = ["Provider", "Search path"].map(str::to_owned);
    format!("\nConfig search path\n******************\n{}", table(&header, &rows))
}

/// Formats a table like Hydra.
fn table<const N: usize>(header: &[String; N], rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows.iter().chain([header]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let draw = |row: &[String; N]| {
        row.iter().zip(widths).fold(String::from("|"), |mut line, (cell, width)| {
            let _ = write!(line, " {cell:width$} |");
            line
        })
    };
    let rule = "-".repeat(draw(header).chars().count());
    let body: String = rows.iter().map(|row| draw(row) + "\n").collect();
    format!("{}\n{rule}\n{body}{rule}\n", draw(header))
}
