//! Generator of the configuration reference from the table of keys.

use crate::schema::{self, Effect, Key};

const HEAD: &str = "\
# Configuration reference

<!-- Generated: cargo run --release -p dlio-config --example configuration_reference > docs/configuration.md -->

A workload is a YAML file in the format of DLIO: the sections below are at its top level, or under one key `workload`, as
Hydra composes it. Every key can be overridden on the command line: `++workload.train.epochs=2` or, shorter,
`train.epochs=2`. A key that is absent or null has its default. Values may contain `${oc.env:NAME}`,
`${oc.env:NAME,default}` and `${section.key}`.

In dialect `native`, and for the keys of section `dlio_rs` in every dialect, numbers may have units: `100ms`, `1.5s`,
`2min` (or `2m`), `1h` for times; `64KiB`, `8MiB`, `1GB` for bytes; `10k`, `2M` for counts. The references do not
support units: in their dialects, a time that is text is ignored with a warning, as in the reference, and any other such text is an error.

A location is a path, `file:///PATH` or `s3://BUCKET[/PREFIX]`. A scheme takes precedence over `storage.storage_type`. Outputs,
registries and traces are local. Every other scheme is an error.

The last column says whether this version **acts** on a key, only **checks** it and reports that it has no effect yet, or
**ignores** it, with the reason.
";

/// Returns the text of `docs/configuration.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    let mut section = "";
    for key in schema::keys() {
        let top = key.path.split_once('.').map_or("(top level)", |(top, _)| top);
        if top != section {
            section = top;
            text.extend(["\n## ", heading(top), "\n\n"]);
            text.push_str("| key | type | default | meaning | effect |\n|---|---|---|---|---|\n");
        }
        text.push_str(&row(key));
    }
    text
}

fn heading(section: &str) -> &str {
    match section {
        "reader" => "reader (or data_reader)",
        other => other,
    }
}

fn row(key: &Key) -> String {
    let effect = match key.effect {
        Effect::Acts => format!("acts{}", dialects(key)),
        Effect::Later => format!("checks{}", dialects(key)),
        Effect::Ignored(reason) => format!("ignores: {reason}"),
    };
    let cells = [format!("`{}`", key.path), key.kind.title(), key.default.to_string(), key.doc.to_owned(), effect];
    let cells: Vec<String> = cells.into_iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// Returns a note that names the dialects of a key if not every dialect has it.
fn dialects(key: &Key) -> String {
    match key.dialects {
        [only] => format!(" in dialect `{only}`"),
        [one, other] => format!(" in dialects `{one}` and `{other}`"),
        _ => String::new(),
    }
}
