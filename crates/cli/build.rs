//! Tells the program which commit it is built from: `DLIO_RS_COMMIT`, else the head of the repository that this crate is in,
//! read without git. Outside of a repository, as in an unpacked archive, there is none.

#![expect(clippy::disallowed_methods, reason = "cargo talks to build scripts in variables of the environment")]

use std::path::{Path, PathBuf};

/// Digits of the commit that are shown.
const DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-env-changed=DLIO_RS_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let given = std::env::var("DLIO_RS_COMMIT").ok().filter(|commit| !commit.is_empty());
    if let Some(commit) = given.or_else(|| head(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))) {
        println!("cargo::rustc-env=DLIO_RS_COMMIT={}", commit.chars().take(DIGITS).collect::<String>());
    }
}

/// The commit that the repository at `top` has checked out.
fn head(top: &Path) -> Option<String> {
    let git = git_folder(&top.join(".git"))?;
    let head = watched(&git.join("HEAD"))?;
    let Some(name) = head.strip_prefix("ref: ") else { return Some(head) };
    // A linked worktree keeps its branches with the main one.
    let common = std::fs::read_to_string(git.join("commondir")).map_or(git.clone(), |path| git.join(path.trim()));
    let loose = watched(&common.join(name));
    loose.or_else(|| {
        let packed = watched(&common.join("packed-refs"))?;
        packed.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').map(str::to_owned))
    })
}

/// `.git` itself, or the folder that the file `.git` of a linked worktree names.
fn git_folder(git: &Path) -> Option<PathBuf> {
    if git.is_dir() {
        return Some(git.to_owned());
    }
    let text = std::fs::read_to_string(git).ok()?;
    Some(git.parent()?.join(text.trim().strip_prefix("gitdir: ")?))
}

/// The text of a file; when it changes, this script runs again.
fn watched(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    println!("cargo::rerun-if-changed={}", path.display());
    Some(text.trim().to_owned())
}
