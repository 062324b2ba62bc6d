//! Loading ends with a workload or an error for every text.

use std::collections::BTreeMap;

use dlio_config::{Override, Source, bundled, env_names, load};
use proptest::prelude::*;

fn attempt(yaml: &str, overrides: &[String]) {
    let parsed: Vec<_> = overrides.iter().filter_map(|text| Override::parse(text).ok()).collect();
    let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    let _ = env_names(yaml, &parsed);
    match load(&Source { name: "any.yaml", yaml }, &parsed, &env, None) {
        Ok(loaded) => {
            let _ = (loaded.strict(), loaded.resolved.to_string());
        }
        Err(error) => assert!(!error.to_string().is_empty() && !error.problems().is_empty()),
    }
}

const PIECES: &[&str] = &[
    "dataset",
    "train",
    "reader",
    "epochs",
    "computation_time",
    "file_shuffle",
    "record_dims",
    "hdf5",
    "storage",
    ":",
    ": ",
    "\n",
    "\n  ",
    "\n    ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "${",
    "${train.epochs}",
    "${oc.env:A}",
    "${oc.env:B,",
    "}",
    "\"",
    "'",
    "&a ",
    "*a",
    "<<",
    "!!int ",
    "!x ",
    "# ",
    "|",
    ">",
    "~",
    "off",
    "1e400",
    "-1",
    "0x",
    "99999999999999999999",
    "%",
    "\t",
    "---",
    "...",
    "?",
    "\u{feff}",
    "é",
    "null",
    "{mean: 1, stdev: 2}",
    ".nan",
    ".inf",
];

fn pieces(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..most).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_ends(yaml in ".{0,200}", change in ".{0,60}") {
        attempt(&yaml, &[change]);
    }

    #[test]
    fn any_text_of_yaml_pieces_ends(yaml in pieces(40), changes in prop::collection::vec(pieces(8), 0..3)) {
        attempt(&yaml, &changes);
    }

    #[test]
    fn any_value_of_any_key_ends(key in "(dataset|train|reader|model|storage)\\.[a-z_]{1,20}", value in pieces(6)) {
        attempt("", &[format!("++{key}={value}")]);
    }

    #[test]
    fn a_damaged_workload_ends(which in 0_usize..24, at in 0_usize..600, piece in pieces(4)) {
        let name = bundled::names().nth(which).unwrap_or("default");
        let mut yaml = bundled::yaml(name).unwrap_or_default().to_owned();
        let at = at.min(yaml.len());
        yaml.insert_str(at, &piece);
        attempt(&yaml, &[]);
    }
}
