//! The options of commands that print or write texts: the catalogue, completions, manual pages, links.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::location::local_path;

#[derive(Debug, Args)]
pub(crate) struct WorkloadsArgs {
    /// Print the YAML of this workload.
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Format of the list.
    #[arg(long, value_enum, default_value = "text", conflicts_with = "name")]
    pub(crate) format: ListFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// One line per workload.
    Text,
    /// One JSON array with an object per workload.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Command whose manual page is printed, such as `replay` or `trace import`; default: the page of the program.
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// Write the manual pages of the program and of all commands to this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "command", value_parser = local_path())]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell for which the script is printed.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct InstallLinksArgs {
    /// Folder for the links; default: the folder of this binary.
    #[arg(value_name = "DIR", value_parser = local_path())]
    pub(crate) folder: Option<PathBuf>,
    /// Replace existing links and files with these names.
    #[arg(long)]
    pub(crate) force: bool,
}
