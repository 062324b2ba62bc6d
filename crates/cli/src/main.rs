//! The `dlio-rs` binary.
fn main() {}
