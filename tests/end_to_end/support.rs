//! Helpers of the end-to-end tests: the binary, ranks, a server, Python.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The binary under test.
pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_dlio-rs")
}

/// Output and exit code of a finished command.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Asserts that the command failed with this code and that its error contains all of these texts.
    pub(crate) fn failed(self, code: i32, names: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        for name in names {
            assert!(self.err.contains(name), "the error does not say `{name}`:\n{}", self.err);
        }
        self
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Returns a clean environment without the caller's AWS and MPI settings.
pub(crate) fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars() {
        let prefixes = ["AWS_", "S3_", "OMPI_", "PMI", "SLURM_", "DLIO_", "RUST_LOG", "WORLD_SIZE", "JOB_COMPLETION"];
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) || name.to_ascii_uppercase().ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1").stdin(Stdio::null())
}

/// Runs the binary without MPI.
pub(crate) fn solo(words: &[&str]) -> Said {
    let mut command = Command::new(binary());
    clean(command.args(words)).output().unwrap().into()
}

/// Runs the binary without MPI, with environment variables.
pub(crate) fn solo_with(env: &[(&str, &str)], words: &[&str]) -> Said {
    let mut command = Command::new(binary());
    clean(command.args(words)).envs(env.iter().copied()).output().unwrap().into()
}

/// Returns a command line for `ranks` ranks.
pub(crate) fn mpirun_command(ranks: u32, words: &[&str]) -> Command {
    let mut command = ranks_command(ranks);
    command.arg(binary()).args(words);
    command
}

/// Returns the rank of a process from its launcher's variables.
pub(crate) fn rank_of(process: u32) -> Option<usize> {
    let environment = std::fs::read(format!("/proc/{process}/environ")).ok()?;
    let variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let rank_in = |variable: &str| {
        let value = ["OMPI_COMM_WORLD_RANK=", "PMI_RANK="].iter().find_map(|name| variable.strip_prefix(name));
        value?.parse().ok()
    };
    variables.into_iter().find_map(|variable| rank_in(&variable))
}

/// Returns the command of a launcher for `ranks` ranks, without the program: that of Open MPI, or of `DLIO_TEST_MPI`.
pub(crate) fn ranks_command(ranks: u32) -> Command {
    let mpi = crate::mpis::chosen();
    let mut command = mpi.ranks(ranks as usize);
    clean(&mut command);
    mpi.with_library(&mut command);
    command
}

/// Runs the binary under `mpirun`.
pub(crate) fn mpirun(ranks: u32, words: &[&str]) -> Said {
    mpirun_command(ranks, words).output().unwrap().into()
}

/// A running `dlio-rs serve`, which is stopped when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) registry: PathBuf,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts a server with `endpoints` endpoints in one process and objects in memory.
    pub(crate) fn start(endpoints: usize, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = folder.path().join("registry");
        let mut command = Command::new(binary());
        clean(&mut command);
        command
            .args(["serve", "--memory", "--endpoints", &endpoints.to_string(), "--registry"])
            .arg(&registry)
            .args(more);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, registry, _folder: folder };
        server.wait_for(endpoints);
        server
    }

    fn wait_for(&self, endpoints: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.announced().len() < endpoints {
            assert!(Instant::now() < deadline, "the server did not announce {endpoints} endpoints");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn announced(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.registry) else { return Vec::new() };
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.file_name().is_some_and(|name| {
                    let name = name.to_string_lossy();
                    name.starts_with("endpoint-") && name.ends_with(".json")
                })
            })
            .collect();
        found.sort();
        found
    }

    /// Returns the announced endpoints.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let read =
            |path: &PathBuf| -> serde_json::Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
        self.announced().iter().map(|path| read(path)["endpoint"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn registry(&self) -> &str {
        self.registry.to_str().unwrap()
    }

    /// Ends the server with SIGTERM and returns its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        signal(self.child.id(), "TERM");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.terminate();
        }
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

/// Waits for a child with a time limit; `None`: it was still running and has been killed.
pub(crate) fn wait_at_most(child: &mut Child, limit: Duration) -> Option<i32> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.code().unwrap_or(-1));
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the processes that `mpirun` has started.
pub(crate) fn ranks_of(mpirun: &Child) -> Vec<u32> {
    let mut ranks: Vec<u32> = descendants(mpirun.id()).into_iter().filter(|pid| rank_of(*pid).is_some()).collect();
    ranks.sort_unstable_by_key(|pid| rank_of(*pid));
    ranks
}

/// Returns the descendants of a process, because launchers may start a helper process in between.
fn descendants(process: u32) -> Vec<u32> {
    let found = Command::new("pgrep").args(["-P", &process.to_string()]).output().unwrap();
    let children =
        String::from_utf8_lossy(&found.stdout).lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>();
    let below = children.iter().flat_map(|child| descendants(*child)).collect::<Vec<_>>();
    [children, below].concat()
}

/// Asserts that no rank outlives its `mpirun`, which does not wait until the kernel has removed a killed process.
pub(crate) fn assert_ended(ranks: &[u32]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    for pid in ranks {
        // The process that inherits it may not have collected its exit status yet.
        let ended = || std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
        while !ended() {
            assert!(Instant::now() < deadline, "rank {pid} is left");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Runs a script of `tests/interop` with the packages that `scripts/test` installs, and returns the JSON that it prints.
pub(crate) fn python(script: &str, words: &[&str]) -> serde_json::Value {
    let interpreter = std::env::var("DLIO_TEST_PYTHON").unwrap_or_else(|_| {
        let home = std::env::var("HOME").unwrap();
        let cache = std::env::var("XDG_CACHE_HOME").unwrap_or_else(|_| format!("{home}/.cache"));
        format!("{cache}/dlio-rs/venv/bin/python")
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop").join(script);
    let output = Command::new(&interpreter).arg(path).args(words).output().unwrap_or_else(|error| {
        panic!("{interpreter}: {error}; `scripts/test` installs the Python packages of the interoperability tests")
    });
    let said = Said::from(output).ok();
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.out))
}

/// Returns the relative name and the content of every file below a folder.
pub(crate) fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Parses a JSON file.
pub(crate) fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

/// Returns the trace in an output folder for all ranks, without names.
pub(crate) fn events(output: &Path) -> Vec<dlio_event::Event> {
    let traces = dlio_trace::read_dir(&output.join("trace")).unwrap();
    let batches = traces.iter().flat_map(|trace| trace.batches().unwrap()).map(Result::unwrap);
    batches.flat_map(|batch| batch.views().map(dlio_trace::Row::event).collect::<Vec<_>>()).collect()
}
