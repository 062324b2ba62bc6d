//! The MPI library that the ranks of a launcher open, and the error if there is none.

use std::path::Path;
use std::process::Command;

use crate::support::{Said, binary, json, mpirun, solo, solo_with};

/// Environment variables of a launcher in a process of a world of four ranks.
const OPEN_MPI: [(&str, &str); 2] = [("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "0")];
const HYDRA: [(&str, &str); 2] = [("PMI_SIZE", "4"), ("PMI_RANK", "1")];

fn workload(folder: &Path) -> String {
    let path = folder.join("my.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: pytorch\ndataset: {{data_folder: {}, format: npy, num_files_train: 8, num_samples_per_file: 1, record_length_bytes: 4096}}\n\
         reader: {{data_loader: pytorch, batch_size: 1, read_threads: 1}}\ntrain: {{epochs: 1, computation_time: 0.01}}\n",
        folder.join("data").display()
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Builds a library with this name, using the C compiler that linked this test.
fn library(folder: &Path, version: &str) -> String {
    let folder = folder.join(version.replace(' ', "-"));
    std::fs::create_dir(&folder).unwrap();
    let (source, file) = (folder.join("library.c"), folder.join("libmpi.so.40"));
    let text = format!(
        "#include <string.h>\nint MPI_Get_library_version(char *v, int *n) {{ strcpy(v, \"{version}\"); *n = strlen(v); return 0; }}\n"
    );
    std::fs::write(&source, text).unwrap();
    let cc = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&file).arg(&source).output().unwrap();
    assert!(cc.status.success(), "{}", String::from_utf8_lossy(&cc.stderr));
    file.to_str().unwrap().to_owned()
}

#[test]
#[cfg(not(feature = "rsmpi"))]
fn the_binary_is_linked_with_no_mpi() {
    let ldd = Command::new("ldd").arg(binary()).output().unwrap();
    let libraries = String::from_utf8_lossy(&ldd.stdout);
    assert!(libraries.contains("libc.so"), "{libraries}");
    assert!(!libraries.contains("mpi"), "{libraries}");
}

#[test]
fn the_library_of_a_run_is_in_its_log_and_its_traces() {
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path());
    let out = folder.path().join("out");
    let said =
        mpirun(2, &["run", &path, "++workload.workflow.generate_data=true", "--output", out.to_str().unwrap()]).ok();
    let version = crate::mpis::chosen().version;
    assert!(said.err.contains("World: 2 ranks on 1 node, found through "), "{}", said.err);
    assert!(said.err.contains(version), "{}", said.err);
    assert!(std::fs::read_to_string(out.join("dlio.log")).unwrap().contains(version));
    for trace in dlio_trace::read_dir(&out.join("trace")).unwrap() {
        let library = &trace.header.host_facts["mpi"];
        assert!(library.contains(version) && library.contains("libmpi"), "{library}");
    }
    // A single rank under a launcher is a world of MPI as well; without a launcher it is not.
    let (one, alone) = (folder.path().join("one"), folder.path().join("alone"));
    assert!(mpirun(1, &["replay", &path, "--output", one.to_str().unwrap()]).ok().err.contains("World: 1 rank"));
    solo(&["replay", &path, "--output", alone.to_str().unwrap()]).ok();
    for (folder, has) in [(one, true), (alone, false)] {
        let traces = dlio_trace::read_dir(&folder.join("trace")).unwrap();
        assert_eq!(traces[0].header.host_facts.contains_key("mpi"), has);
        assert!(json(&folder.join("summary.json"))["num_accelerators"].as_u64() == Some(1));
    }
}

#[test]
fn a_library_that_cannot_be_used_is_named_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path());
    let with = |library: &str, launcher: &[(&str, &str)]| -> Said {
        solo_with(&[launcher, &[("DLIO_RS_MPI", library)]].concat(), &["replay", &path])
    };
    let platform = library(folder.path(), "Platform MPI 9.1");
    with(&platform, &OPEN_MPI).failed(5, &[&platform, "\"Platform MPI 9.1\"", "does not know"]);
    let old = library(folder.path(), "Open MPI v1.10.7");
    with(&old, &OPEN_MPI).failed(5, &[&old, "Open MPI 4 or newer"]);
    let foreign = library(folder.path(), "Open MPI v4.1.4");
    with(&foreign, &HYDRA).failed(5, &["Open MPI v4.1.4", "PMI_SIZE=4, PMI_RANK=1", "MPICH", "--mpi FILE"]);
    let half = library(folder.path(), "MPICH Version: 4.0.2");
    with(&half, &HYDRA).failed(5, &[&half, "it has no MPI_Init_thread"]);
    with("/no/such/libmpi.so", &OPEN_MPI).failed(5, &["/no/such/libmpi.so", "cannot open shared object"]);
    // The option takes precedence over the variable, and needs no launcher with `--comm mpi`.
    let env = [("DLIO_RS_MPI", "/no/such/libmpi.so")];
    solo_with(&env, &["replay", &path, "--comm", "mpi", "--mpi", &platform]).failed(5, &["Platform MPI 9.1"]);
    solo_with(&env, &["replay", &path, "--comm", "mpi"]).failed(5, &["/no/such/libmpi.so"]);
}

#[test]
fn commands_without_ranks_need_no_library() {
    let env = [("DLIO_RS_MPI", "/no/such/libmpi.so")];
    for words in
        [&["--version"][..], &["workloads"], &["validate", "unet3d_h100"], &["plan", "unet3d_h100", "--ranks", "2"]]
    {
        solo_with(&env, words).ok();
        solo_with(&[OPEN_MPI[0], OPEN_MPI[1], env[0]], words).ok();
    }
}

#[test]
fn every_process_is_a_world_of_its_own_when_the_user_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path());
    let out = folder.path().join("out");
    let words = ["generate", &path, "--comm", "solo", "--output", out.to_str().unwrap()];
    let said = solo_with(&OPEN_MPI, &words).ok();
    assert!(said.err.contains("World: 1 rank"), "{}", said.err);
    solo_with(&OPEN_MPI, &["generate", &path, "--comm", "tcp"]).failed(2, &["--comm", "auto"]);
    solo_with(&[("DLIO_RS_COMM", "tcp")], &["generate", &path]).failed(2, &["DLIO_RS_COMM", "auto, mpi or solo"]);
}

#[test]
fn sixty_four_ranks_meet() {
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path());
    let out = folder.path().join("out");
    let words = ["generate", &path, "dataset.num_files_train=64", "--output", out.to_str().unwrap()];
    mpirun(64, &words).ok();
    assert_eq!(std::fs::read_dir(folder.path().join("data/train")).unwrap().count(), 64);
}
