//! Interpolations in Hydra's own settings: `${workload.model.name}`, `${now:%Y-%m-%d}`, `${oc.env:NAME,default}`,
//! `${hydra.job.name}`, `${hydra:runtime.choices.workload}`.

use std::collections::BTreeMap;

use super::python_float;
use crate::document::{Node, Value};

const STEPS_MAX: usize = 200;

/// Values that interpolations may refer to.
pub(super) struct Context<'a> {
    pub(super) job: &'a Node,
    pub(super) hydra: &'a Node,
    /// Start time, `YYYY-MM-DDTHH:MM:SS.ffffff`.
    pub(super) stamp: &'a str,
    pub(super) env: &'a BTreeMap<String, String>,
}

impl Context<'_> {
    /// Replaces interpolations from the innermost to the outermost.
    pub(super) fn expand(&self, text: &str) -> Result<String, String> {
        let mut text = text.to_owned();
        for _ in 0..STEPS_MAX {
            let Some(start) = text.rfind("${") else { return Ok(text) };
            let Some(length) = text[start..].find('}') else {
                return Err(format!("the interpolation in {text:?} is not closed by }}"));
            };
            let value = self.value(&text[start + 2..start + length])?;
            text.replace_range(start..=start + length, &value);
        }
        Err("interpolations are nested too deeply".to_owned())
    }

    fn value(&self, inner: &str) -> Result<String, String> {
        if let Some(format) = inner.strip_prefix("now:") {
            return moment(self.stamp, format);
        }
        if let Some(arguments) = inner.strip_prefix("oc.env:") {
            let (name, default) =
                arguments.split_once(',').map_or((arguments, None), |(name, rest)| (name, Some(rest)));
            let found = self.env.get(name.trim()).cloned().or_else(|| default.map(|text| text.trim().to_owned()));
            return found.ok_or_else(|| format!("the environment variable {} is not set", name.trim()));
        }
        let (root, path) = match inner.strip_prefix("hydra:").or_else(|| inner.strip_prefix("hydra.")) {
            Some(rest) => (self.hydra, rest),
            None if inner.contains(':') => return Err(format!("the resolver of ${{{inner}}} is not supported")),
            None => (self.job, inner),
        };
        let names: Vec<&str> = path.split('.').collect();
        let node = root.at(&names).ok_or_else(|| format!("${{{inner}}}: there is no such key"))?;
        printed(&node.value).ok_or_else(|| format!("${{{inner}}} is {}, not a word", node.value.found()))
    }
}

/// Formats a value as Python prints it inside text.
pub(super) fn printed(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("None".to_owned()),
        Value::Bool(flag) => Some(if *flag { "True" } else { "False" }.to_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(python_float(*number)),
        Value::Text(text) => Some(text.clone()),
        Value::List(_) | Value::Map(_) => None,
    }
}

/// Formats a time stamp as `strftime` does, for the fields that the stamp has.
fn moment(stamp: &str, format: &str) -> Result<String, String> {
    let field = |from: usize, to: usize| stamp.get(from..to).unwrap_or_default();
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('Y') => out.push_str(field(0, 4)),
            Some('y') => out.push_str(field(2, 4)),
            Some('m') => out.push_str(field(5, 7)),
            Some('d') => out.push_str(field(8, 10)),
            Some('H') => out.push_str(field(11, 13)),
            Some('M') => out.push_str(field(14, 16)),
            Some('S') => out.push_str(field(17, 19)),
            Some('f') => out.push_str(field(20, 26)),
            Some('F') => out.push_str(field(0, 10)),
            Some('T') => out.push_str(field(11, 19)),
            Some('%') => out.push('%'),
            other => {
                let directive = other.map(String::from).unwrap_or_default();
                return Err(format!("${{now:{format}}}: %{directive} is not supported; use %Y %m %d %H %M %S %f"));
            }
        }
    }
    Ok(out)
}
