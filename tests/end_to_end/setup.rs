//! `scripts/setup` on machines without required programs, emulated by replacements of `apt-get`, `cargo` and the Rust installer.

use std::path::Path;
use std::process::{Command, Output};

use crate::skipped;

const SETUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/setup");

/// Writes an executable script to `folder`.
fn script(folder: &Path, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/bash\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A cargo stand-in with every component and this version.
fn cargo(folder: &Path, version: &str) {
    script(
        folder,
        "cargo",
        &format!("if [ \"$1\" = --version ]; then echo 'cargo {version} (0000000 2026-01-01)'; fi"),
    );
}

/// A machine with every build tool except Rust, emulated in a separate folder.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for tool in ["cc", "c++", "make", "git", "mpirun", "curl"] {
            script(&machine.bin(), tool, "exit 7");
        }
        script(&machine.bin(), "apt-get", &format!("echo \"apt-get $*\" >>{}/calls", machine.0.path().display()));
        machine
    }

    fn bin(&self) -> std::path::PathBuf {
        self.0.path().join("bin")
    }

    fn set_up(&self, env: &[(&str, &str)]) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.bin().display());
        Command::new("/bin/bash")
            .args(["-c", "source \"$1\"; echo \"cargo is $(command -v cargo)\"", "bash", SETUP])
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.0.path())
            .envs(env.iter().copied())
            .output()
            .unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn set_up_runs_the_installer_of_rust_where_rust_is_missing_or_old() {
    for old in [None, Some("1.63.0")] {
        let machine = Machine::new();
        cargo(&machine.0.path().join("new"), "1.95.0");
        let copy = "mkdir -p \"$HOME/.cargo/bin\"; cp \"$HOME/new/cargo\" \"$HOME/.cargo/bin\"; echo \"installer $*\"";
        script(machine.0.path(), "rustup-init", copy);
        if let Some(version) = old {
            cargo(&machine.bin(), version);
        } else if Path::new("/usr/bin/cargo").exists() {
            skipped::report("setup: a machine without Rust cannot be played where /usr/bin/cargo exists");
            continue;
        }
        let installer = machine.0.path().join("rustup-init");
        let output = machine.set_up(&[("DLIO_RS_RUSTUP_INIT", installer.to_str().unwrap())]);
        assert!(output.status.success(), "{}", said(&output));
        let expected = machine.0.path().join(".cargo/bin/cargo");
        assert!(said(&output).contains(&format!("cargo is {}", expected.display())), "{}", said(&output));
        assert!(said(&output).contains("installer -y --no-modify-path"), "{}", said(&output));
    }
}

#[test]
fn set_up_says_what_to_do_where_the_installer_cannot_be_reached() {
    let machine = Machine::new();
    cargo(&machine.bin(), "1.63.0");
    let output = machine.set_up(&[]);
    assert!(!output.status.success());
    assert!(said(&output).contains("DLIO_RS_RUSTUP_INIT"), "{}", said(&output));
}

#[test]
fn set_up_takes_a_recent_rust_as_it_is_and_finds_a_home() {
    let machine = Machine::new();
    cargo(&machine.bin(), "1.99.0-nightly");
    let output = machine.set_up(&[("HOME", "")]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(!machine.0.path().join("calls").exists(), "nothing was to be installed");
}
