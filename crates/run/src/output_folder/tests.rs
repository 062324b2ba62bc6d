//! Tests of output folders without a run: files that are kept, replaced and refused.

use super::*;
use crate::stop::StopHandle;

fn wish(section: Section, names: &[&str]) -> FolderRequest {
    FolderRequest {
        section,
        planned: Planned::files(names.iter().map(|name| (*name).to_owned())),
        overwrite: false,
        reads: None,
        command: vec!["dlio-rs".to_owned()],
        started: "2026-01-01T00:00:00".to_owned(),
        job: None,
        ranks: 1,
    }
}

fn replay(ranks: u32) -> FolderRequest {
    let mut wish = wish(Section::Replay, &["dlio.log", "summary.json"]);
    wish.planned.log = Some("dlio.log".to_owned());
    wish.planned = wish.planned.and_traces("trace", ranks);
    wish
}

fn put(folder: &Path, name: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, name).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Claims the folder, writes these files, and completes the run.
fn run(folder: &Path, wish: FolderRequest, written: &[&str], state: &str) -> Option<String> {
    let claim = Claim::take(folder, wish, &StopHandle::default()).unwrap();
    let replaced = claim.replace_earlier().unwrap();
    for name in written {
        put(folder, name);
    }
    claim.finish(state);
    replaced
}

const OF_TWO: [&str; 5] =
    ["dlio.log", "summary.json", "trace/rank-00000.parquet", "trace/rank-00001.parquet", "trace/files.parquet"];

#[test]
fn a_later_run_replaces_what_the_earlier_one_wrote_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert_eq!(run(at, replay(2), &OF_TWO, "completed"), None);
    put(at, "notes.txt");
    put(at, "trace/mine.parquet");
    run(at, wish(Section::Analyze, &["report.json"]), &["report.json"], "completed");
    let said = run(at, replay(1), &OF_TWO[..3], "completed").unwrap();
    assert!(said.contains("5 file(s) of the earlier run of 2026-01-01T00:00:00"), "{said}");
    let left = ["dlio.log", "notes.txt", "run.json", "summary.json", "trace/mine.parquet", "trace/rank-00000.parquet"];
    assert_eq!(names(at), left);
    let manifest = Manifest::read(at).unwrap().unwrap();
    assert!(manifest.run(Section::Analyze).is_none(), "the report is gone");
    let files: Vec<_> =
        manifest.run(Section::Replay).unwrap().files.iter().map(|file| (&*file.name, file.bytes)).collect();
    assert_eq!(files[0], ("dlio.log", Some(8)));
    assert_eq!(files.len(), 3);
}

#[test]
fn a_file_that_no_run_lists_is_replaced_by_request_only() {
    for stranger in ["summary.json", "trace/rank-00007.parquet", "trace/counters.parquet", "run.json"] {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        put(at, stranger);
        let Err(Denied::Taken(failure)) = Claim::take(at, replay(1), &StopHandle::default()) else {
            panic!("{stranger} is in the way")
        };
        assert_eq!(failure.code, Code::Folder);
        assert!(failure.message.contains(stranger) && failure.message.contains("--overwrite"), "{failure}");
        assert_eq!(names(at), [stranger]);
        run(at, FolderRequest { overwrite: true, ..replay(1) }, &OF_TWO[..3], "completed");
        assert_eq!(names(at), ["dlio.log", "run.json", "summary.json", "trace/rank-00000.parquet"]);
    }
}

#[test]
fn an_imported_trace_stays_also_beside_its_own_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let import = FolderRequest { planned: Planned::default().and_traces("", 1), ..wish(Section::Import, &[]) };
    run(&at.join("trace"), import, &["rank-00000.parquet"], "completed");
    put(at, "trace/rank-00000.parquet");
    assert!(matches!(Claim::take(at, replay(1), &StopHandle::default()), Err(Denied::Taken(_))));
    assert!(at.join("trace/rank-00000.parquet").exists());
}

#[test]
fn a_run_that_fails_before_its_first_operation_leaves_the_earlier_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    run(at, replay(2), &OF_TWO, "completed");
    let before = names(at);
    let claim = Claim::take(at, replay(1), &StopHandle::default()).unwrap();
    assert_eq!(Manifest::read(at).unwrap().unwrap().run(Section::Replay).unwrap().state, RUNNING);
    claim.finish("failed: no such dataset");
    assert_eq!(names(at), before);
    let manifest = Manifest::read(at).unwrap().unwrap();
    assert_eq!(manifest.run(Section::Replay).unwrap().state, "completed");
    assert_eq!(manifest.run(Section::Replay).unwrap().files.len(), 5);
}

#[test]
fn what_a_killed_run_left_is_replaced_although_it_never_said_what_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let claim = Claim::take(at, replay(2), &StopHandle::default()).unwrap();
    for name in OF_TWO {
        put(at, name);
    }
    // As if the process had disappeared: the manifest still lists the run as running.
    let running = fs::read(at.join(FILE)).unwrap();
    claim.finish("completed");
    fs::write(at.join(FILE), running).unwrap();
    run(at, wish(Section::Verify, &["verify.log"]), &["verify.log"], "completed");
    let settled = Manifest::read(at).unwrap().unwrap();
    assert!(settled.run(Section::Replay).unwrap().state.starts_with("failed: "));
    run(at, replay(1), &OF_TWO[..3], "completed");
    assert!(!at.join(OF_TWO[3]).exists());
    assert!(at.join("verify.log").exists());
}

#[test]
fn the_trace_that_is_read_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    run(at, replay(1), &OF_TWO[..3], "completed");
    for source in ["trace", "trace/rank-00000.parquet"] {
        let reads = Some(at.join(source));
        let denied = Claim::take(at, FolderRequest { reads, overwrite: true, ..replay(1) }, &StopHandle::default());
        assert!(matches!(denied, Err(Denied::Taken(failure)) if failure.message.contains("take the place of")));
    }
    assert!(at.join("trace/rank-00000.parquet").exists());
}

#[test]
fn default_names_are_made_exclusively() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("log/model/now");
    let made: Vec<PathBuf> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| create_new(&base).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let made: BTreeSet<_> = made.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(made, BTreeSet::from(["now", "now-2", "now-3", "now-4"]));
}

#[test]
fn traces_of_the_reference_s_run_go_where_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "trace/rank-00000.parquet");
    let wish = FolderRequest { planned: Planned::default().and_traces("", 1), ..wish(Section::Replay, &[]) };
    let claim = Claim::take_first_free(&folder.path().join("trace"), &wish, &StopHandle::default()).unwrap();
    assert!(claim.folder().ends_with("trace-2"));
    put(claim.folder(), "rank-00000.parquet");
    claim.finish("completed");
    let again = Claim::take_first_free(&folder.path().join("trace"), &wish, &StopHandle::default()).unwrap();
    assert!(again.folder().ends_with("trace-2"), "its own traces are replaced");
}

#[test]
fn a_folder_that_cannot_be_made_says_which_part_of_its_path_is_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "file");
    std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
    std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
    for (name, why) in
        [("file/out", "file is a file"), ("file", "is a file"), ("dangling", "to nowhere"), ("loop/x", "to loop")]
    {
        let denied = Claim::take(&folder.path().join(name), replay(1), &StopHandle::default())
            .map_err(Failure::from)
            .unwrap_err();
        assert_eq!(denied.code, Code::Storage);
        assert!(denied.message.contains(why), "{name}: {denied}");
    }
    let long = folder.path().join("x".repeat(300));
    assert!(
        Claim::take(&long, replay(1), &StopHandle::default())
            .map_err(Failure::from)
            .unwrap_err()
            .message
            .contains("too long")
    );
}

#[test]
fn nothing_is_left_of_a_run_that_wrote_nothing_into_its_new_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("out");
    let claim = Claim::take(&at, wish(Section::Import, &["rank-00000.parquet"]), &StopHandle::default()).unwrap();
    assert!(unused(&at).is_err() && sees(&at, claim.token()));
    claim.finish("failed: no source");
    assert!(!at.exists());
}
