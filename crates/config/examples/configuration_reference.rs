//! Prints `docs/configuration.md`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().lock().write_all(dlio_config::reference::markdown().as_bytes())
}
