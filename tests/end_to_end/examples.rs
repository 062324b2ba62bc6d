//! Runs every command in the help, README and docs as it is printed: with the shell, in the order of the text, in a folder with the files
//! that the texts assume (`my.yaml` with its data, a run in `out`, one in `before`, a server in the registry `reg`).

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{Server, binary, clean, signal, wait_at_most};

/// An unprivileged user, who owns the folder of a test.
const NOBODY: u32 = 65534;

/// Time limit of one command.
const LIMIT: Duration = Duration::from_mins(2);

/// A command and its position in the text.
#[derive(Debug, Clone)]
struct Example {
    place: String,
    line: String,
}

/// Joins lines that end with a backslash, and returns those that run this program.
fn commands<'a>(place: &str, lines: impl Iterator<Item = &'a str>) -> Vec<Example> {
    let mut found = Vec::new();
    let mut open = String::new();
    for line in lines {
        let line = line.trim();
        open.push_str(line.strip_suffix('\\').unwrap_or(line));
        if line.ends_with('\\') {
            continue;
        }
        let line = std::mem::take(&mut open);
        if ["dlio-rs ", "mpirun ", "dlio_benchmark "].iter().any(|program| line.starts_with(program)) {
            found.push(Example { place: place.to_owned(), line });
        }
    }
    found
}

/// Returns the commands in the fenced code blocks of a text.
fn of_text(path: &Path) -> Vec<Example> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        inside && !fence
    });
    commands(&path.file_name().unwrap().to_string_lossy(), lines)
}

fn help(words: &[&str]) -> String {
    let output = clean(Command::new(binary()).args(words).arg("--help").env("COLUMNS", "100")).output().unwrap();
    assert!(output.status.success(), "{words:?} --help");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the names of the commands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| line.starts_with(' '));
    let names = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Returns the commands in the help of a command and of its subcommands.
fn of_help(words: &[&str]) -> Vec<Vec<Example>> {
    let text = help(words);
    let examples = text.lines().skip_while(|line| *line != "Examples:").skip(1);
    let mut all = vec![commands(&format!("dlio-rs {} --help", words.join(" ")), examples)];
    for name in subcommands(&text) {
        all.extend(of_help(&[words, &[name.as_str()]].concat()));
    }
    all
}

/// The files and servers that the texts assume.
struct Scene {
    folder: tempfile::TempDir,
    _server: Server,
    /// Servers that commands of the text have started.
    started: Vec<Child>,
    as_nobody: bool,
}

impl Scene {
    fn new(as_nobody: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("bin")).unwrap();
        // Other users may not be able to access the build folder.
        std::fs::copy(binary(), at("bin/dlio-rs")).unwrap();
        std::os::unix::fs::symlink("dlio-rs", at("bin/dlio_benchmark")).unwrap();
        let server = Server::start(2, &[]);
        std::fs::create_dir(at("reg")).unwrap();
        for entry in std::fs::read_dir(&server.registry).unwrap().map(Result::unwrap) {
            std::fs::copy(entry.path(), at("reg").join(entry.file_name())).unwrap();
        }
        let text = "model: {name: my, type: cnn}\nframework: pytorch\nworkflow: {generate_data: false, train: true}\n\
             dataset: {data_folder: data, format: npz, num_files_train: 8, num_samples_per_file: 1, record_length_bytes: 4096}\n\
             reader: {data_loader: pytorch, batch_size: 2, read_threads: 1}\ntrain: {epochs: 2, computation_time: 0.01}\n";
        std::fs::write(at("my.yaml"), text).unwrap();
        // Traces of another program.
        let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces");
        std::fs::copy(traces.join("warp/get-0.6.9.csv.zst"), at("warp-get.csv.zst")).unwrap();
        let sample = traces.join("dftracer-epochs");
        for name in ["run", ".zfunc", ".config/fish/completions", ".local/share/bash-completion/completions"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        for entry in std::fs::read_dir(sample).unwrap().map(Result::unwrap) {
            if entry.file_name().to_string_lossy().ends_with(".pfw.gz") {
                std::fs::copy(entry.path(), at("run").join(entry.file_name())).unwrap();
            }
        }
        let mut scene = Self { folder, _server: server, started: Vec::new(), as_nobody };
        if as_nobody {
            scene.give_away();
        }
        for line in [
            "dlio-rs -q generate my.yaml",
            "dlio-rs -q generate my.yaml ++workload.dataset.data_folder=s3://bucket/set --registry reg/ --output generated",
            "dlio-rs -q replay my.yaml --output before",
            "dlio-rs -q replay my.yaml --output out",
        ] {
            scene.run(&Example { place: "the scene".to_owned(), line: line.to_owned() }).unwrap();
        }
        scene
    }

    /// Changes the owner of all files to the unprivileged user.
    fn give_away(&self) {
        let changed = Command::new("chown").args(["-R", &NOBODY.to_string()]).arg(self.folder.path()).status().unwrap();
        assert!(changed.success());
    }

    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        clean(&mut command);
        let path = std::env::var("PATH").unwrap();
        let home = self.folder.path();
        command.args(["-euo", "pipefail", "-c", line]).current_dir(home);
        command.env("PATH", format!("{}:{path}", home.join("bin").display())).env("HOME", home);
        if self.as_nobody {
            command
                .uid(NOBODY)
                .gid(NOBODY)
                .env_remove("OMPI_ALLOW_RUN_AS_ROOT")
                .env_remove("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM");
        }
        command
    }

    /// Runs a command to its end; a server continues until the text is done.
    fn run(&mut self, example: &Example) -> Result<(), String> {
        let Example { place, line } = example;
        let serves = line.contains("dlio-rs serve ");
        let log = self.folder.path().join("said");
        let said = std::fs::File::create(&log).unwrap();
        let mut command =
            self.shell(&if serves { format!("exec {}", line.trim_end_matches('&')) } else { line.clone() });
        let mut child = command.stdout(said.try_clone().unwrap()).stderr(said).stdin(Stdio::null()).spawn().unwrap();
        let text = || std::fs::read_to_string(&log).unwrap_or_default();
        if serves {
            for _ in 0..600 {
                if text().contains("http://") {
                    self.started.push(child);
                    return Ok(());
                }
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            // The port of an example may be in use by another program.
            if text().contains("Address already in use") {
                return Ok(());
            }
            return Err(format!("{place}: {line}: it does not say where it listens\n{}", text()));
        }
        let code = wait_at_most(&mut child, LIMIT);
        if code == Some(0) { Ok(()) } else { Err(format!("{place}: {line}: {code:?}\n{}", text())) }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for child in &mut self.started {
            signal(child.id(), "TERM");
            let _ = wait_at_most(child, Duration::from_secs(20));
        }
    }
}

/// Returns the documents at the top level and in `docs`.
fn documents() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut docs: Vec<PathBuf> =
        std::fs::read_dir(top.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    docs.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    docs.push(top.join("README.md"));
    docs.sort();
    docs
}

fn run_all(as_nobody: bool) {
    let mut failed = Vec::new();
    let documents = documents();
    let texts = documents.iter().map(|path| of_text(path)).chain(of_help(&[])).filter(|text| !text.is_empty());
    let mut count = 0;
    for text in texts {
        let mut scene = Scene::new(as_nobody);
        for example in &text {
            failed.extend(scene.run(example).err());
            count += 1;
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(count > 40, "only {count} examples were found");
}

/// Runs the commands as both users in sequence, because some examples use a fixed port.
#[test]
fn every_printed_command_works_as_it_stands() {
    run_all(false);
    // Only root can switch to another user; other users are unprivileged already.
    if rustix::process::getuid().is_root() {
        run_all(true);
    }
}
