//! Key names of release 2.0.0 of the reference, which later releases no longer read. Files that use them are still in
//! circulation, and their meaning is clear. If a file has both names, the present one wins.

use crate::document::{Map, Node, Value};
use crate::notice::{Notice, NoticeCode};

/// Legacy names and present names of keys in section `dataset`.
pub(crate) const DATASET: [(&str, &str); 3] = [
    ("record_length", "record_length_bytes"),
    ("record_length_stdev", "record_length_bytes_stdev"),
    ("record_length_resize", "record_length_bytes_resize"),
];

/// Renames legacy keys to their present names and adds a notice for each.
pub(crate) fn apply(root: &mut Node, notices: &mut Vec<Notice>) {
    let Value::Map(sections) = &mut root.value else { return };
    if let Some(Node { value: Value::Map(dataset), .. }) = sections.get_mut("dataset") {
        for (legacy, present) in DATASET {
            rename(dataset, legacy, present, notices);
        }
    }
    if let Some(model) = sections.get_mut("model")
        && let Value::Text(_) = model.value
    {
        let text = format!("{}: model: a bare name, as in release 2.0.0, is treated as model.name", model.place);
        notices.push(Notice::info(NoticeCode::Accepted, text));
        let name = model.clone();
        let mut section = Map::default();
        section.set("name", name);
        model.value = Value::Map(section);
    }
}

fn rename(section: &mut Map, legacy: &str, present: &str, notices: &mut Vec<Notice>) {
    if section.get(present).is_some() {
        return;
    }
    let Some(node) = section.remove(legacy) else { return };
    let text = format!(
        "{}: dataset.{legacy}: the name in release 2.0.0 of dataset.{present}, which it is treated as; later releases of the reference ignore it",
        node.place
    );
    notices.push(Notice::info(NoticeCode::Accepted, text));
    section.set(present, node);
}
