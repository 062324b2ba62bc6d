//! Detection of the launcher of the ranks from environment variables.

use std::collections::BTreeMap;

use dlio_comm::launcher::{self, Launcher, World};

/// Environment variables by name. A run never reads the environment of its process.
pub type Environment = BTreeMap<String, String>;

/// Returns the launcher that started the process with this environment.
#[must_use]
pub fn detect(env: &Environment) -> Option<Launcher> {
    launcher::detect(&|name: &str| env.get(name).cloned())
}

/// Whether this process is a world of its own, whatever launcher started it.
#[must_use]
pub fn is_solo(env: &Environment) -> bool {
    launcher::world(env.get(launcher::COMM).map(String::as_str)).is_ok_and(|world| world == World::Solo)
}
