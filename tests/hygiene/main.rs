//! Rules of the repository: dependencies between crates, import cycles, file sizes, orphan sources, documents.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

mod documents;
mod imports;

/// Dependencies that each crate may have, as in the table of ARCHITECTURE.md.
const EDGES: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("config", &["event"]),
    ("plan", &["config", "event"]),
    ("format", &["config", "event"]),
    ("storage", &["event"]),
    ("comm", &[]),
    ("engine", &["plan", "format", "storage", "comm", "event"]),
    ("trace", &["event"]),
    ("analyze", &["event", "trace"]),
    ("run", &["event", "config", "plan", "format", "storage", "comm", "engine", "trace", "analyze"]),
    ("server", &["storage", "event"]),
    ("cli", &["event", "config", "plan", "format", "storage", "comm", "engine", "trace", "analyze", "run", "server"]),
];

const LINES_MAX: usize = 500;

/// Maximum number of files that may import each other in a cycle. They must also be in one folder.
const CYCLE_FILES_MAX: usize = 5;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn tracked() -> Vec<PathBuf> {
    let output =
        Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(top()).output().unwrap();
    assert!(output.status.success(), "git ls-files failed: is this a clone?");
    let names = String::from_utf8(output.stdout).unwrap();
    names.lines().map(PathBuf::from).filter(|path| top().join(path).is_file()).collect()
}

fn rust_sources() -> impl Iterator<Item = PathBuf> {
    tracked().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"))
}

#[test]
fn crates_know_only_whom_the_table_allows() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(top())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let packages = metadata["packages"].as_array().unwrap();
    assert_eq!(packages.len(), EDGES.len(), "the table and the workspace name different crates");
    for package in packages {
        let name = package["name"].as_str().unwrap().strip_prefix("dlio-").unwrap();
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("crate {name} is not in the table"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let is_dev = dependency["kind"].as_str() == Some("dev");
            if let Some(known) = dependency["name"].as_str().unwrap().strip_prefix("dlio-") {
                assert!(is_dev || allowed.contains(&known), "crate {name} must not know crate {known}");
            }
        }
    }
}

#[test]
fn source_files_stay_short() {
    for path in rust_sources().filter(|path| !is_test(path)) {
        let text = std::fs::read_to_string(top().join(&path)).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
        let lines = code.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines: split it", path.display());
    }
}

#[test]
fn every_source_file_belongs_to_a_crate() {
    let sources: BTreeSet<PathBuf> = rust_sources().collect();
    for path in &sources {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let folder = path.parent().unwrap();
        let is_root = matches!(stem.as_str(), "lib" | "main" | "build")
            || ["examples", "benches"].iter().any(|kind| folder.ends_with(kind))
            || (folder.ends_with("tests") && folder.parent().is_some_and(|above| above.join("Cargo.toml").exists()));
        if is_root || (folder.ends_with("tests") && folder.starts_with("crates")) {
            continue;
        }
        let (module, home) = if stem == "mod" {
            (folder.file_name().unwrap().to_string_lossy().into_owned(), folder.parent().unwrap())
        } else {
            (stem, folder)
        };
        // A module is declared by the root of its folder, by the file with the name of the folder, or by an integration
        // test.
        let own_file = home.with_extension("rs");
        let is_parent = |path: &PathBuf| {
            let is_root = ["mod.rs", "lib.rs", "main.rs"].iter().any(|root| *path == home.join(root));
            is_root || *path == own_file || (home.ends_with("tests") && path.parent() == Some(home))
        };
        let declared = sources.iter().filter(|path| is_parent(path)).any(|parent| {
            let text = std::fs::read_to_string(top().join(parent)).unwrap();
            text.lines().any(|line| line.trim_start().ends_with(&format!("mod {module};")))
        });
        assert!(declared, "{} is compiled by no crate", path.display());
    }
}

#[test]
fn nothing_is_left_to_do_in_the_sources() {
    let markers = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME"), concat!("XX", "X:")];
    for path in rust_sources() {
        let text = std::fs::read_to_string(top().join(&path)).unwrap();
        for marker in markers {
            assert!(!text.contains(marker), "{} contains {marker}", path.display());
        }
    }
}

#[test]
fn markdown_lives_where_readers_look() {
    let allowed = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    for path in tracked().iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let name = path.to_string_lossy();
        assert!(allowed.contains(&name.as_ref()) || path.starts_with("docs"), "{name} is not among the documents");
    }
}

#[test]
fn every_key_that_is_said_to_act_is_read_by_a_crate_that_can_act() {
    let reference = std::fs::read_to_string(top().join("docs/configuration.md")).unwrap();
    let code: String = rust_sources()
        .filter(|path| !path.starts_with("crates/config") && !is_test(path))
        .map(|path| std::fs::read_to_string(top().join(path)).unwrap())
        .collect();
    let words: BTreeSet<&str> = code.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).collect();
    // The configuration converts these keys into other values: time specifications, and the default of the data loader.
    let merged = ["computation_time_stdev", "eval_time_stdev", "preprocess_time_stdev", "framework"];
    let acts = |line: &&str| line.rsplit("| ").next().is_some_and(|effect| effect.starts_with("acts"));
    let acting = reference.lines().filter(acts);
    let keys: Vec<&str> = acting.map(|line| line.split('`').nth(1).unwrap()).collect();
    assert!(keys.len() > 40, "docs/configuration.md names only {} keys that act", keys.len());
    for key in keys {
        let name = key.rsplit('.').next().unwrap();
        assert!(merged.contains(&name) || words.contains(name), "{key} is said to act, and nothing reads it");
    }
}

#[test]
fn the_two_tables_of_crates_agree() {
    let text = std::fs::read_to_string(top().join("ARCHITECTURE.md")).unwrap();
    for (name, allowed) in EDGES {
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("| `crates/{name}` ")))
            .unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for crates/{name}"));
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
        let documented: BTreeSet<&str> = cell.split(", ").filter(|word| *word != "–").collect();
        let expected: BTreeSet<&str> =
            if *name == "cli" { BTreeSet::from(["all"]) } else { allowed.iter().copied().collect() };
        assert_eq!(documented, expected, "row of crates/{name}");
    }
}

#[test]
fn import_cycles_are_small_and_stay_in_one_folder() {
    let mut faults = String::new();
    for entry in std::fs::read_dir(top().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap();
        let roots = ["src/lib.rs", "src/main.rs"].map(|root| folder.join(root));
        let Some(root) = roots.iter().find(|root| root.is_file()) else { continue };
        let imports = imports::imports(root);
        let breaks = |cycle: &BTreeSet<PathBuf>| {
            let folders: BTreeSet<_> = cycle.iter().map(|file| file.parent()).collect();
            cycle.len() > CYCLE_FILES_MAX || folders.len() > 1
        };
        let cycles: Vec<_> = imports::cycles(&imports).into_iter().filter(breaks).collect();
        for cycle in &cycles {
            let edges = imports::describe(cycle, &imports);
            write!(faults, "crate {name}: {} files import each other in a cycle\n{edges}", cycle.len()).unwrap();
        }
    }
    assert!(faults.is_empty(), "a cycle has at most {CYCLE_FILES_MAX} files, all in one folder\n{faults}");
}

#[test]
fn the_table_allows_no_crate_that_is_not_used() {
    let mut unused = Vec::new();
    // The command line may use every crate.
    for (name, allowed) in EDGES.iter().filter(|(name, _)| *name != "cli") {
        let folder = Path::new("crates").join(name).join("src");
        let code: String = rust_sources()
            .filter(|path| path.starts_with(&folder) && !is_test(path))
            .map(|path| std::fs::read_to_string(top().join(path)).unwrap())
            .map(|text| text.split("\n#[cfg(test)]\nmod ").next().unwrap().to_owned())
            .collect();
        let is_unused = |known: &&&str| !code.contains(&format!("dlio_{known}::"));
        unused.extend(allowed.iter().filter(is_unused).map(|known| format!("{name} → {known}")));
    }
    assert!(unused.is_empty(), "the table allows edges that no code has: {unused:?}");
}

#[test]
fn links_in_documents_lead_somewhere() {
    let read = |path: &Path| {
        let path = top().join(path);
        if path.is_dir() {
            Some(String::new())
        } else {
            std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        }
    };
    let documents = tracked().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let faults: Vec<String> =
        documents.flat_map(|path| documents::broken_links(&path, &read(&path).unwrap(), read)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn public_items_have_comments_that_state_errors_and_units() {
    let mut faults = Vec::new();
    for path in rust_sources().filter(|path| path.starts_with("crates") && !is_test(path)) {
        let found = documents::undocumented(&std::fs::read_to_string(top().join(&path)).unwrap());
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", path.display())));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_architecture_names_files_that_exist() {
    let text = std::fs::read_to_string(top().join("ARCHITECTURE.md")).unwrap();
    let names = text.split('`').skip(1).step_by(2);
    let is_path = |name: &&str| ["crates/", "docs/", "tests/", "traces/"].iter().any(|top| name.starts_with(top));
    for name in names.filter(is_path) {
        // `<format>` stands for any name, and `*` for any end.
        let path = top().join(name.split('<').next().unwrap().trim_end_matches('*'));
        let begins = |path: &Path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let mut entries = std::fs::read_dir(path.parent().unwrap()).into_iter().flatten().flatten();
            name.len() > 2 && entries.any(|entry| entry.file_name().to_string_lossy().starts_with(&name))
        };
        assert!(
            path.exists() || (name.ends_with('*') && begins(&path)),
            "ARCHITECTURE.md names {name}, which does not exist"
        );
    }
}
