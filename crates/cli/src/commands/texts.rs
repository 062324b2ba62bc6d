//! Shell completions and manual pages, generated from the same definition as `--help`.

use clap::{Command, CommandFactory, ValueHint};
use clap_complete::Shell;
use dlio_config::bundled;

use crate::args::Cli;
use crate::log::print;
use crate::text_args::{CompletionsArgs, ManArgs};
use dlio_run::failure::{Code, Failure};

/// Name of the program, used in its manual pages and scripts.
const NAME: &str = "dlio-rs";
/// Commands that take a configuration as argument.
const CONFIGURED: [&str; 7] = ["generate", "replay", "run", "verify", "plan", "validate", "doctor"];

/// `dlio-rs completions SHELL`
pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let CompletionsArgs { shell } = *args;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut completed(shell), NAME, &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    print(with_workloads(shell, script).as_bytes())
}

/// Returns the command line with the names of workloads as values of the configuration argument. Bash offers files in addition to the
/// values of an argument; the other shells get both from a function.
fn completed(shell: Shell) -> Command {
    let configured = CONFIGURED.into_iter().fold(Cli::command(), |command, name| {
        command.mut_subcommand(name, |command| {
            command.mut_arg("words", |arg| match shell {
                Shell::Bash => arg.value_parser(bundled::names().collect::<Vec<_>>()),
                _ => arg.value_hint(ValueHint::AnyPath),
            })
        })
    });
    let named =
        |command: Command| command.mut_arg("name", |arg| arg.value_parser(bundled::names().collect::<Vec<_>>()));
    configured.mut_subcommand("workloads", named)
}

/// Returns the script, changed to complete names of workloads in addition to files.
fn with_workloads(shell: Shell, script: String) -> String {
    let names = bundled::names().collect::<Vec<_>>().join(" ");
    match shell {
        Shell::Zsh => {
            let offered = "_alternative 'workloads:workload:_dlio_rs_workloads' 'files:file:_files'";
            let functions = format!(
                "(( $+functions[_dlio_rs_workloads] )) || _dlio_rs_workloads() {{ compadd -a - {names} }}\n\
                 (( $+functions[_dlio_rs_configurations] )) || _dlio_rs_configurations() {{ {offered} }}\n"
            );
            let functions = functions.replace("compadd -a - ", "compadd - ");
            let marked = script.lines().map(|line| {
                let words = line.trim_start().starts_with("'*::words");
                if words { line.replace(":_files'", ":_dlio_rs_configurations'") } else { line.to_owned() }
            });
            let marked = marked.collect::<Vec<_>>().join("\n");
            // The functions are inserted before the last lines, which call the completion.
            match marked.rfind("\nif [ \"$funcstack[1]\"") {
                Some(at) => format!("{}\n\n{functions}{}\n", &marked[..at], &marked[at..]),
                None => format!("{marked}\n{functions}"),
            }
        }
        Shell::Fish => {
            let seen = format!("__fish_seen_subcommand_from {}", CONFIGURED.join(" "));
            format!(
                "{script}complete -c {NAME} -n \"{seen}\" -a \"{names}\" -d 'bundled workload'\n\
                 complete -c {NAME} -n \"__fish_seen_subcommand_from workloads\" -f -a \"{names}\" -d 'bundled workload'\n"
            )
        }
        // clap_complete escapes the dash in the program's name like those in commands, but does not search for the escaped form.
        Shell::Bash => script.replace("dlio__subcmd__rs", "dlio__rs"),
        _ => script,
    }
}

/// `dlio-rs man`: prints one page on standard output, or writes all pages to a folder.
pub(super) fn man(args: ManArgs) -> Result<(), Failure> {
    let ManArgs { command, output } = args;
    let mut root = Cli::command();
    // A page begins with the full name of its command, such as `dlio-rs replay`.
    root.build();
    if let Some(folder) = output {
        let failed = |error: &std::io::Error| Failure::file("writing the manual pages to", &folder, error);
        std::fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
        let mut written = Vec::new();
        for (name, page) in pages(&root, NAME)? {
            let path = folder.join(format!("{name}.1"));
            std::fs::write(&path, page).map_err(|error| failed(&error))?;
            written.push(path.display().to_string());
        }
        return print(crate::log::lines(written).as_bytes());
    }
    let (mut found, mut name) = (&root, NAME.to_owned());
    for word in &command {
        let known: Vec<&str> = found.get_subcommands().map(Command::get_name).collect();
        let next = found.find_subcommand(word).ok_or_else(|| {
            let near = dlio_config::nearest_word(word, &known)
                .map_or_else(String::new, |near| dlio_run::resolve::suggest::question(&[near]));
            Failure::usage(format_args!(
                "{name} has no command {word}{}",
                dlio_run::resolve::suggest::then(&near, &format!("there are {}", known.join(", ")))
            ))
        })?;
        name = format!("{name}-{word}");
        found = next;
    }
    print(&page(found, &name)?)
}

/// Returns the pages of a command and its subcommands by name, such as `dlio-rs-trace-import`.
fn pages(command: &Command, name: &str) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut all = Vec::new();
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        all.extend(pages(below, &format!("{name}-{}", below.get_name()))?);
    }
    all.push((name.to_owned(), page(command, name)?));
    all.sort();
    Ok(all)
}

fn page(command: &Command, name: &str) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    let titled: &'static str = name.to_owned().leak();
    let command = command.clone().name(titled).display_name(titled).version(env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::new(Code::Unexpected, format_args!("rendering the manual page {name}: {error}")))?;
    Ok(page)
}
