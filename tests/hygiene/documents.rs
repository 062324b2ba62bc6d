//! Checks of documents: links have targets, and doc comments state errors and units.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use syn::{Attribute, Expr, FnArg, GenericArgument, ImplItem, Item, Lit, Meta, Pat, PathArguments, ReturnType, Type};
use syn::{TraitItem, Visibility};

use crate::imports::is_test;

/// Returns the broken links of a Markdown file with this text. `read` returns the text of another file.
pub(crate) fn broken_links(path: &Path, text: &str, read: impl Fn(&Path) -> Option<String>) -> Vec<String> {
    let mut faults = Vec::new();
    for target in links(text) {
        if ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
            continue;
        }
        let (file, anchor) =
            target.split_once('#').map_or((target.as_str(), None), |(file, anchor)| (file, Some(anchor)));
        let (named, content) = if file.is_empty() {
            (path.to_owned(), Some(text.to_owned()))
        } else {
            let named = normal(&path.parent().unwrap().join(file));
            let content = read(&named);
            (named, content)
        };
        match (content, anchor) {
            (None, _) => faults.push(format!("{}: {target} leads nowhere", path.display())),
            (Some(content), Some(anchor))
                if named.extension().is_some_and(|extension| extension == "md")
                    && !anchors(&content).contains(&anchor.to_owned()) =>
            {
                faults.push(format!("{}: {target} names no heading", path.display()));
            }
            _ => {}
        }
    }
    faults
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

/// Returns the text outside of fenced code, without inline code.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let parts = line.split('`').enumerate().map(|(at, part)| if at % 2 == 0 { part } else { "" });
            prose.extend(parts);
            prose.push('\n');
        }
    }
    prose
}

/// Returns the targets of `[text](target)`, without titles.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(|target| target.split_whitespace().next().unwrap_or_default().to_owned()).collect()
}

/// Returns the anchors of the headings, in the form in which GitHub derives them.
fn anchors(text: &str) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut fenced = false;
    let mut anchors = Vec::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug: String = kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect();
        let count = seen.entry(slug.clone()).or_default();
        anchors.push(if *count == 0 { slug } else { format!("{slug}-{count}") });
        *count += 1;
    }
    anchors
}

/// Returns what the doc comments of a source file lack.
pub(crate) fn undocumented(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    items(&syn::parse_file(text).unwrap().items, &mut faults);
    faults
}

fn items(all: &[Item], faults: &mut Vec<String>) {
    for item in all {
        match item {
            Item::Fn(item) if is_public(&item.vis) && !is_test(&item.attrs) => function(&item.sig, &item.attrs, faults),
            Item::Struct(item) if is_public(&item.vis) => {
                documented(&item.attrs, &item.ident.to_string(), faults);
                for field in item.fields.iter().filter(|field| is_public(&field.vis)) {
                    let Some(name) = &field.ident else { continue };
                    let name = name.to_string();
                    let whole = format!("{}.{name}", item.ident);
                    documented(&field.attrs, &whole, faults);
                    if lacks_unit(&name, &field.ty, &doc(&field.attrs)) {
                        faults.push(format!("{whole} has no unit in its name or comment"));
                    }
                }
            }
            Item::Enum(item) if is_public(&item.vis) => {
                documented(&item.attrs, &item.ident.to_string(), faults);
                for variant in &item.variants {
                    documented(&variant.attrs, &format!("{}::{}", item.ident, variant.ident), faults);
                }
            }
            Item::Trait(item) if is_public(&item.vis) => {
                documented(&item.attrs, &item.ident.to_string(), faults);
                for member in &item.items {
                    if let TraitItem::Fn(member) = member {
                        function(&member.sig, &member.attrs, faults);
                    }
                }
            }
            Item::Const(item) if is_public(&item.vis) => documented(&item.attrs, &item.ident.to_string(), faults),
            Item::Static(item) if is_public(&item.vis) => documented(&item.attrs, &item.ident.to_string(), faults),
            Item::Type(item) if is_public(&item.vis) => documented(&item.attrs, &item.ident.to_string(), faults),
            Item::Impl(item) if item.trait_.is_none() && !is_test(&item.attrs) => {
                for member in &item.items {
                    if let ImplItem::Fn(member) = member
                        && is_public(&member.vis)
                    {
                        function(&member.sig, &member.attrs, faults);
                    }
                }
            }
            Item::Mod(item) if !is_test(&item.attrs) => {
                if let Some((_, inner)) = &item.content {
                    items(inner, faults);
                }
            }
            _ => {}
        }
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(value) if value.path.is_ident("doc") => match &value.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => Some(String::new()),
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn documented(attributes: &[Attribute], name: &str, faults: &mut Vec<String>) {
    if doc(attributes).trim().is_empty() {
        faults.push(format!("{name} has no doc comment"));
    }
}

fn function(signature: &syn::Signature, attributes: &[Attribute], faults: &mut Vec<String>) {
    let (name, text) = (signature.ident.to_string(), doc(attributes));
    documented(attributes, &name, faults);
    if let ReturnType::Type(_, returned) = &signature.output
        && last_name(returned).is_some_and(|last| last == "Result")
        && !text.contains("# Errors")
    {
        faults.push(format!("{name} returns a Result and its comment has no `# Errors`"));
    }
    for argument in &signature.inputs {
        if let FnArg::Typed(argument) = argument
            && let Pat::Ident(pattern) = &*argument.pat
            && lacks_unit(&pattern.ident.to_string(), &argument.ty, &text)
        {
            faults.push(format!("argument {} of {name} has no unit in its name or comment", pattern.ident));
        }
    }
}

fn last_name(of: &Type) -> Option<String> {
    match of {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    }
}

fn is_number(of: &Type) -> bool {
    const NUMBERS: [&str; 9] = ["u16", "u32", "u64", "u128", "usize", "i32", "i64", "f32", "f64"];
    match of {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| match &last.arguments {
            PathArguments::AngleBracketed(arguments) if last.ident == "Option" => arguments
                .args
                .iter()
                .any(|argument| matches!(argument, GenericArgument::Type(inner) if is_number(inner))),
            _ => NUMBERS.iter().any(|number| last.ident == number),
        }),
        _ => false,
    }
}

/// Words in names of quantities that need a unit.
const QUANTITIES: [&str; 23] = [
    "time",
    "times",
    "duration",
    "latency",
    "timeout",
    "interval",
    "delay",
    "pause",
    "elapsed",
    "wait",
    "size",
    "length",
    "len",
    "budget",
    "rate",
    "throughput",
    "offset",
    "capacity",
    "period",
    "age",
    "lag",
    "bandwidth",
    "limit",
];

/// Words in comments that state a unit.
const UNITS: [&str; 40] = [
    "ns",
    "us",
    "ms",
    "nanos",
    "micros",
    "millis",
    "second",
    "minute",
    "hour",
    "byte",
    "kib",
    "mib",
    "gib",
    "bit",
    "percent",
    "per mille",
    "fraction",
    "share",
    "ratio",
    "factor",
    "number of",
    "count",
    "sample",
    "file",
    "record",
    "element",
    "row",
    "step",
    "batch",
    "operation",
    "request",
    "rank",
    "entr",
    "character",
    "column",
    "line",
    "word",
    "item",
    "event",
    "thread",
];

/// Returns whether a number is a time, a size or a rate according to its name, and neither its name nor its comment
/// states the unit.
fn lacks_unit(name: &str, of: &Type, comment: &str) -> bool {
    let parts: Vec<&str> = name.split('_').collect();
    let comment = comment.to_lowercase();
    is_number(of)
        && parts.iter().any(|part| QUANTITIES.contains(part))
        && !parts
            .iter()
            .any(|part| ["ns", "us", "ms", "s", "seconds", "nanos", "bytes", "percent", "per"].contains(part))
        && !UNITS.iter().any(|unit| comment.contains(unit))
}
