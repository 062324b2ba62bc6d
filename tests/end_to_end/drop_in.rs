//! The binary under the name `dlio_benchmark`: command line, files, log lines, exit codes.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Said, clean, json, solo, tree};

/// A folder with the two links, a configuration directory and a place to work in.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        solo(&["install-links", folder.path().join("bin").to_str().unwrap()]).ok();
        let conf = folder.path().join("conf/workload");
        std::fs::create_dir_all(&conf).unwrap();
        std::fs::write(conf.join("tiny.yaml"), include_str!("../golden/drop_in/workload/tiny.yaml")).unwrap();
        std::fs::create_dir(folder.path().join("cwd")).unwrap();
        Self { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(self.at("bin").join(program));
        command.args(["--config-dir", self.at("conf").to_str().unwrap()]).args(words);
        command
    }

    fn run(&self, mut command: Command, env: &[(&str, &str)]) -> Said {
        clean(&mut command).envs(env.iter().copied()).current_dir(self.at("cwd")).output().unwrap().into()
    }

    fn solo(&self, words: &[&str]) -> Said {
        self.run(self.command("dlio_benchmark", words), &[])
    }

    fn query(&self, key: &str) -> String {
        let asked = format!("++workload.workflow.query={key}");
        self.run(self.command("dlio_benchmark_query", &["workload=tiny", &asked]), &[]).ok().out.trim_end().to_owned()
    }

    fn mpirun(&self, ranks: u32, env: &[(&str, &str)], words: &[&str]) -> Said {
        let program = self.command("dlio_benchmark", words);
        let mut command = crate::support::ranks_command(ranks);
        command.arg(program.get_program());
        command.args(program.get_args());
        self.run(command, env)
    }
}

/// Masks decimal numbers, time stamps and folders, because they depend on the machine.
fn masked(log: &str, output: &Path) -> Vec<String> {
    let log = log.replace(output.to_str().unwrap(), "/out").replace(": success", ": fail");
    log.lines().map(|line| line.split(' ').map(mask).collect::<Vec<_>>().join(" ")).collect()
}

fn mask(word: &str) -> String {
    if word.len() == 26 && word.as_bytes()[10] == b'T' {
        return "<time>".to_owned();
    }
    let mut out = String::new();
    let mut number = String::new();
    for c in word.chars().chain(['\n']) {
        if c.is_ascii_digit() || c == '.' || (c == '-' && number.is_empty() && !word.contains("+/-")) {
            number.push(c);
            continue;
        }
        out.push_str(if number.contains('.') && number.len() > 1 { "#" } else { &number });
        number.clear();
        out.push(c);
    }
    out.trim_end_matches('\n').to_owned()
}

const RUN: [&str; 5] = [
    "workload=tiny",
    "++workload.dataset.num_files_train=18",
    "++workload.workflow.evaluation=True",
    "++hydra.run.dir=run",
    "++hydra.output_subdir=dlio_config",
];

#[test]
fn two_ranks_log_line_by_line_what_the_reference_logs_and_leave_its_files() {
    let bench = Bench::new();
    let said = bench.mpirun(2, &[], &RUN).ok();
    let out = bench.at("cwd/run");
    let expected = masked(include_str!("../golden/drop_in/dlio.log"), Path::new("/out"));
    let log = std::fs::read_to_string(out.join("dlio.log")).unwrap();
    assert_eq!(masked(&log, &out), expected);
    assert_eq!(masked(&said.err, &out), expected, "the terminal says the same");

    let names: Vec<String> =
        tree(&out).into_iter().map(|(name, _)| name).filter(|name| !name.starts_with("trace")).collect();
    assert_eq!(
        names,
        [
            "0_output.json",
            "0_per_epoch_stats.json",
            "1_output.json",
            "1_per_epoch_stats.json",
            "dlio.log",
            "dlio_config/config.yaml",
            "dlio_config/hydra.yaml",
            "dlio_config/overrides.yaml",
            "summary.json"
        ]
    );
    assert_eq!(json(&out.join("summary.json"))["num_accelerators"], 2);
    let overrides = std::fs::read_to_string(out.join("dlio_config/overrides.yaml")).unwrap();
    assert_eq!(
        overrides,
        "- workload=tiny\n- ++workload.dataset.num_files_train=18\n- ++workload.workflow.evaluation=True\n"
    );
    let config = std::fs::read_to_string(out.join("dlio_config/config.yaml")).unwrap();
    assert!(config.starts_with("workload:\n  model:\n    name: tiny\n"), "{config}");
    assert!(config.contains("    num_files_train: 18\n"), "{config}");
    let hydra = std::fs::read_to_string(out.join("dlio_config/hydra.yaml")).unwrap();
    assert!(hydra.contains(&format!("    output_dir: {}\n", out.display())), "{hydra}");
}

#[test]
fn the_level_decides_what_is_logged_on_every_rank() {
    let bench = Bench::new();
    let words = ["workload=tiny", "++workload.train.epochs=1", "++hydra.run.dir=run"];
    bench.mpirun(2, &[("DLIO_LOG_LEVEL", "info")], &words).ok();
    let log = std::fs::read_to_string(bench.at("cwd/run/dlio.log")).unwrap();
    for rank in 0..2 {
        for line in ["step 1: loaded 2 samples in ", "step 4 processed 2 samples in "] {
            assert!(log.contains(&format!("Rank {rank} {line}")), "{log}");
        }
    }
    assert!(log.contains("Total number of samples: train 120, eval 28"), "{log}");
    assert!(log.lines().all(|line| line.is_empty() || line.starts_with('[')), "no line is torn: {log}");
    let quiet = bench.mpirun(1, &[("DLIO_LOG_LEVEL", "error")], &words).ok();
    assert_eq!(quiet.err, "");
    bench.mpirun(1, &[("DLIO_LOG_LEVEL", "loud")], &words).failed(2, &["DLIO_LOG_LEVEL", "loud"]);
}

#[test]
fn overrides_beside_the_workload_and_marks_of_the_fork_are_told() {
    let bench = Bench::new();
    let words = ["workload=tiny", "workload.workflow.train=False", "++hydra.run.dir=run"];
    let said = bench.solo(&[&words[..], &["++output.folder=x"]].concat()).ok();
    let line = said.err.lines().find(|line| line.contains("output.folder=x has no effect")).unwrap();
    assert!(line.starts_with("[WARNING]") && line.ends_with("write ++workload.output.folder=x"), "{line}");

    std::fs::copy(bench.at("conf/workload/tiny.yaml"), bench.at("conf/workload/tiny_b200.yaml")).unwrap();
    let fork = ["workload=tiny_b200", words[1], words[2]];
    let said = bench.solo(&fork).ok();
    assert!(
        said.err.contains("dialect mlperf: the workload tiny_b200 exists in the MLPerf Storage fork only"),
        "{}",
        said.err
    );
    let log = std::fs::read_to_string(bench.at("cwd/run/dlio.log")).unwrap();
    assert!(!log.contains("tiny_b200 exists"), "harnesses read this file: {log}");
    let chosen = bench.solo(&[&fork[..], &["++workload.dlio_rs.dialect=dlio"]].concat()).ok();
    assert!(!chosen.err.contains("dialect mlperf"), "{}", chosen.err);
}

#[test]
fn generating_alone_writes_no_json_and_the_default_folder_is_hydra_s() {
    let bench = Bench::new();
    bench.solo(&["workload=tiny", "workload.workflow.train=False"]).ok();
    let files = tree(&bench.at("cwd/hydra_log/tiny"));
    let names: Vec<&str> = files.iter().map(|(name, _)| name.split_once('/').unwrap().1).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| !name.starts_with("trace")).collect();
    assert_eq!(names, [".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml", "dlio.log"]);
    assert_eq!(std::fs::read_dir(bench.at("cwd/data/tiny/train")).unwrap().count(), 16);
}

#[test]
fn a_part_of_a_larger_data_set_is_trained_on() {
    let bench = Bench::new();
    bench.solo(&["workload=tiny", "workload.workflow.train=False"]).ok();
    let words = ["workload=tiny", "workload.workflow.generate_data=False", "++hydra.run.dir=run"];
    let fewer = "workload.dataset.num_files_train=8";
    let said = bench.solo(&[&words[..], &[fewer]].concat()).ok();
    let line = "[WARNING] Number of files for training in data/tiny/train (16) is more than requested (8). A subset of files will be used ";
    assert!(said.err.contains(line), "{}", said.err);
    assert!(said.err.contains("Max steps per epoch: 4 = 1 * 8 / 2 / 1"), "{}", said.err);
    let more = "workload.dataset.num_files_train=32";
    bench.solo(&[&words[..], &[more]].concat()).failed(4, &["Not enough training dataset is found"]);
}

#[test]
fn what_is_shown_needs_no_run() {
    let bench = Bench::new();
    let shown =
        bench.solo(&["workload=tiny", "++workload.train.epochs=9", "--cfg", "job", "--package", "workload.train"]).ok();
    assert_eq!(shown.out, "# @package workload.train\nepochs: 9\ncomputation_time: 0.01\n");
    assert!(bench.solo(&["workload=tiny", "--cfg=hydra"]).ok().out.starts_with("hydra:\n"));
    let info = bench.solo(&["workload=tiny", "--info", "searchpath"]).ok().out;
    assert!(info.contains("| command-line | file://"), "{info}");
    assert!(bench.solo(&["--help"]).ok().out.contains("unet3d_h100"));
    assert!(bench.solo(&["--version"]).ok().out.contains("dlio-rs"));
    assert!(!bench.at("cwd/hydra_log").exists());
}

#[test]
fn bundled_workloads_stand_behind_those_of_the_directory() {
    let bench = Bench::new();
    assert!(bench.solo(&["workload=unet3d_a100", "--cfg", "job"]).ok().out.contains("name: unet3d"));
    std::fs::write(bench.at("conf/workload/unet3d_a100.yaml"), "model: {name: mine}\n").unwrap();
    assert_eq!(bench.solo(&["workload=unet3d_a100", "--cfg", "job"]).ok().out, "workload:\n  model:\n    name: mine\n");
}

#[test]
fn mistakes_are_told_once_with_what_to_do() {
    let bench = Bench::new();
    let options = ["Could not find 'workload/nothere'", "\ttiny\n", "\tunet3d_h100\n", "provider=command-line"];
    bench.mpirun(2, &[], &["workload=nothere"]).failed(2, &options);
    bench.solo(&["workload=tiny", "workload.trian.epochs=1"]).failed(2, &["workload.trian.epochs", "write +"]);
    bench.solo(&["workload=tiny", "--multirun"]).failed(2, &["--multirun is not supported"]);
    bench.solo(&["workload=tiny", "--nope"]).failed(2, &["unknown option --nope"]);
    bench.solo(&["workload=tiny", "-cn", "other"]).failed(2, &["other.yaml"]);
    let class = "++workload.reader.reader_classname=my.Reader";
    bench.solo(&["workload=tiny", class]).failed(2, &["reader.reader_classname", "Python class", "leave the key out"]);
    let missing = ["workload=tiny", "workload.workflow.generate_data=False"];
    bench.solo(&missing).failed(4, &["img_00_of_16.npz", "generate"]);
    let tensorboard =
        ["workload=tiny", "++workload.workflow.profiling=True", "++workload.profiling.profiler=tensorboard"];
    bench.solo(&tensorboard).failed(2, &["tensorboard", "iostat"]);
}

#[test]
fn the_query_prints_values_as_python_does() {
    let bench = Bench::new();
    assert_eq!(bench.query("dataset.num_files_train"), "16");
    assert_eq!(bench.query("workflow.generate_data"), "True");
    assert_eq!(bench.query("reader.sample_shuffle"), "off");
    assert_eq!(bench.query("no.such_key"), "None");
}

#[test]
fn iostat_runs_beside_the_training_and_is_missed_by_name() {
    let bench = Bench::new();
    let words = ["workload=tiny", "++workload.workflow.profiling=True", "++workload.profiling.iostat_devices=[sda]"];
    let fake = bench.at("fake");
    std::fs::create_dir(&fake).unwrap();
    let none = fake.to_str().unwrap();
    bench.run(bench.command("dlio_benchmark", &words), &[("PATH", none)]).failed(2, &["iostat", "sysstat"]);
    let script = "#!/bin/sh\ntrap 'echo \"]}\"; exit 0' INT\necho \"{ $* [\"\nwhile :; do /bin/sleep 0.05; done\n";
    let path = fake.join("iostat");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let words = [&words[..], &["++hydra.run.dir=run"]].concat();
    bench.run(bench.command("dlio_benchmark", &words), &[("PATH", none)]).ok();
    let written = std::fs::read_to_string(bench.at("cwd/run/iostat.json")).unwrap();
    assert_eq!(written, "{ -mdxtcy -o JSON sda 1 [\n]}\n", "ended by an interrupt, so its JSON is whole");
}

#[test]
fn dftracer_s_format_is_written_for_every_rank() {
    let bench = Bench::new();
    bench.mpirun(2, &[("DFTRACER_ENABLE", "1")], &["workload=tiny", "++hydra.run.dir=run"]).ok();
    for rank in 0..2 {
        let packed = std::fs::File::open(bench.at(&format!("cwd/run/trace-{rank}-of-2.pfw.gz"))).unwrap();
        let text = std::io::read_to_string(flate2::read::MultiGzDecoder::new(packed)).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
        let named = |name: &str| lines.iter().filter(|line| line["name"] == name).count();
        assert_eq!(named("NPZReader.read_index"), 16, "8 samples in each of 2 epochs");
        assert_eq!(named("compute"), 8);
        assert!(named("pread64") >= 16, "every sample is read from its file");
    }
}

#[test]
fn links_are_made_once_and_replace_nothing_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    solo(&["install-links", dir]).ok();
    solo(&["install-links", dir]).ok();
    let link = folder.path().join("dlio_benchmark");
    std::fs::remove_file(&link).unwrap();
    std::fs::write(&link, "mine").unwrap();
    solo(&["install-links", dir]).failed(2, &["dlio_benchmark", "--force"]);
    assert_eq!(std::fs::read(&link).unwrap(), b"mine");
    solo(&["install-links", dir, "--force"]).ok();
    assert!(std::fs::read_link(&link).is_ok());
}
