//! The configuration reference is up to date with the table of keys.

#[test]
fn the_configuration_reference_is_up_to_date() {
    let written = include_str!("../../../docs/configuration.md");
    assert!(
        written == dlio_config::reference::markdown(),
        "docs/configuration.md is stale; run: cargo run --release -p dlio-config --example configuration_reference > \
         docs/configuration.md"
    );
}
