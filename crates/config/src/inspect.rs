//! One walk over the tree that reports unknown keys and checks the type and range of every value.

use crate::document::{Map, Node, Value};
use crate::error::Problem;
use crate::fields::Fields;
use crate::key_suggestions;
use crate::notice::{Notice, NoticeCode};
use crate::schema::{self, Effect, TIME_MEMBERS, ValueType};
use crate::similar_words;
use crate::units;

/// Sections of a file that belong to Hydra.
const HYDRA_SECTIONS: &[&str] = &["hydra", "defaults"];

/// Checks all keys below `workload`.
pub(crate) fn inspect(fields: &mut Fields<'_>) {
    let Some(map) = fields.root().map() else { return };
    let shadowed = map.get("data_reader").and(map.get("reader"));
    if let Some(node) = shadowed {
        let text = format!("{}: reader: ignored, because data_reader is present and replaces it", node.place);
        fields.notices.push(Notice::warning(NoticeCode::Shadowed, text));
    }
    walk(fields, map, "", shadowed.is_some());
}

fn walk(fields: &mut Fields<'_>, map: &Map, parent: &str, reader_is_shadowed: bool) {
    for (name, node) in map.iter() {
        if parent.is_empty() && (HYDRA_SECTIONS.contains(&name) || (name == "reader" && reader_is_shadowed)) {
            continue;
        }
        let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        if let Some(key) = schema::find(&path) {
            leaf(fields, key, &path, node);
        } else if schema::is_section(&path) {
            match &node.value {
                Value::Map(inner) => walk(fields, inner, &path, false),
                Value::Null => {}
                other => {
                    let message = format!("expected a mapping of keys, found {}", other.found());
                    fields.problems.push(Problem::new(&node.place, path, message));
                }
            }
        } else {
            unknown(fields, &path, node);
        }
    }
}

fn leaf(fields: &mut Fields<'_>, key: &schema::Key, path: &str, node: &Node) {
    if let Effect::Ignored(reason) = key.effect {
        let text = format!("{}: {path}: ignored: {reason}", node.place);
        fields.notices.push(Notice::info(NoticeCode::IgnoredKey, text));
    } else if !key.dialects.contains(&fields.dialect) {
        let dialects = key.dialects.iter().map(|dialect| dialect.word()).collect::<Vec<_>>().join(" or ");
        let text = format!(
            "{}: {path}: ignored: it is a key of the MLPerf fork; choose dialect {dialects} for its effect",
            node.place
        );
        // No file that was written for another program has the keys of this section.
        let is_dlio_rs = path.starts_with("dlio_rs.");
        let notice = if is_dlio_rs { Notice::warning } else { Notice::info };
        fields.notices.push(notice(NoticeCode::IgnoredKey, text));
    }
    if node.value == Value::Null {
        return;
    }
    if let Err(message) = key.kind.check(node) {
        let message = with_unit(fields, key, node, message);
        misfit(fields, key, path, (node, message));
    }
    if let (ValueType::Time, Value::Map(members)) = (key.kind, &node.value) {
        for (name, member) in members.iter().filter(|(name, _)| !TIME_MEMBERS.contains(name)) {
            let hint =
                similar_words::word(name, TIME_MEMBERS).map_or(String::new(), |near| format!("; did you mean {near}?"));
            let text = format!("{}: {path}.{name}: unknown key, ignored{hint}", member.place);
            fields.notices.push(Notice::warning(NoticeCode::UnknownKey, text));
        }
    }
}

/// Reports a value that its key does not accept: as a problem if the key has an effect, as a notice if its feature is
/// off. Keys that nothing reads have been reported already.
fn misfit(fields: &mut Fields<'_>, key: &schema::Key, path: &str, (node, message): (&Node, String)) {
    if !matches!(key.effect, Effect::Ignored(_)) && key.dialects.contains(&fields.dialect) {
        fields.refuse_at(key.path, Problem::new(&node.place, path, message));
    }
}

/// Extends the message about a refused text that looks like a number with a unit: it says where units are understood
/// and how they are spelled.
fn with_unit(fields: &Fields<'_>, key: &schema::Key, node: &Node, message: String) -> String {
    let Value::Text(text) = &node.value else { return message };
    match units::read(key, text) {
        Some((_, examples)) if units::understood(key.path, fields.dialect) => {
            format!("{message}; with a unit for example {examples}")
        }
        Some((Some(value), _)) => {
            format!("{message}; write {value}, or choose dialect native, which understands units")
        }
        _ => message,
    }
}

fn unknown(fields: &mut Fields<'_>, path: &str, node: &Node) {
    let hint = key_suggestions::key_that_acts(fields, path)
        .map_or_else(String::new, |known| format!("; did you mean {}?", fields.as_written(known)));
    let text = format!("{}: {path}: unknown key, ignored{hint}", node.place);
    fields.notices.push(Notice::warning(NoticeCode::UnknownKey, text));
}
