//! Truth values of flags. The references follow Python: every non-empty text and every number other than 0 is true,
//! including `"False"` and `off` on the command line. Dialect `native` accepts booleans only.

use crate::document::{Map, Node, Value};
use crate::notice::{Notice, NoticeCode};
use crate::schema::{self, ValueType};
use crate::vocabulary::Dialect;

/// Replaces values that Python treats as true or false by booleans, in the dialects of the references.
pub(crate) fn resolve(root: &mut Node, dialect: Dialect, notices: &mut Vec<Notice>) {
    if let (Value::Map(map), true) = (&mut root.value, dialect != Dialect::Native) {
        walk(map, "", notices);
    }
}

fn walk(map: &mut Map, parent: &str, notices: &mut Vec<Notice>) {
    for (name, node) in map.iter_mut() {
        let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        match schema::find(&path) {
            Some(key) if key.kind == ValueType::Flag && !path.starts_with("dlio_rs.") => convert(&path, node, notices),
            Some(_) => {}
            None => {
                if let Value::Map(inner) = &mut node.value {
                    walk(inner, &path, notices);
                }
            }
        }
    }
}

fn convert(path: &str, node: &mut Node, notices: &mut Vec<Notice>) {
    if crate::schema::value_type::flag(node).is_some() {
        return;
    }
    let truth = match &node.value {
        Value::Int(number) => *number != 0,
        Value::Float(number) => *number != 0.0,
        Value::Text(text) => !text.is_empty(),
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => return,
    };
    let found = node.value.found();
    let meant = match &node.value {
        Value::Text(text) => {
            ["false", "no", "off", "0", "none", "null", "f", "n"].contains(&text.to_lowercase().as_str())
        }
        _ => false,
    };
    let notice = if meant && truth {
        let text =
            format!("{}: {path}: {found} counts as true, as every text does in the reference; write false", node.place);
        Notice::warning(NoticeCode::Suspicious, text)
    } else {
        let text = format!("{}: {path}: {found} counts as {truth}, as in the reference; write {truth}", node.place);
        Notice::info(NoticeCode::Accepted, text)
    };
    notices.push(notice);
    node.value = Value::Bool(truth);
}
