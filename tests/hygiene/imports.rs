//! The import graph of a crate, derived from its sources. Edges lead from a file to the files whose items it names.
//!
//! A module is a file; inline modules belong to the file that contains them. An edge is a path (in a `use` or in code)
//! outside of `#[cfg(test)]` that leads to an item of another file. Re-exports are followed to the file that defines
//! the item. A `mod` line is not an edge, nor is a re-export of a name that the file itself does not use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Item, UseTree};

/// The import graph: for each file, the files whose items it names, with these names.
pub(crate) type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>;

/// A module: its file, the names that it defines and imports, and the tokens of its code.
#[derive(Default)]
struct Module {
    file: PathBuf,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    defined: BTreeSet<String>,
    imported: BTreeMap<String, Vec<String>>,
    /// Names that are imported only to be re-exported.
    passed_on: BTreeSet<String>,
    globs: Vec<Vec<String>>,
    code: Vec<TokenStream>,
}

struct Crate {
    modules: Vec<Module>,
}

/// Target of a path.
enum Target {
    Module(usize),
    Item { module: usize, name: String },
}

/// Builds the import graph of the crate whose root, `lib.rs` or `main.rs`, is `root`.
pub(crate) fn imports(root: &Path) -> Imports {
    let mut tree = Crate { modules: Vec::new() };
    tree.read(root, root.parent().unwrap(), None);
    let mut imports: Imports = tree.modules.iter().map(|module| (module.file.clone(), BTreeMap::new())).collect();
    for index in 0..tree.modules.len() {
        for path in tree.paths(index) {
            let Some(Target::Item { module, name }) = tree.resolve(index, &path, 0) else { continue };
            let (from, to) = (&tree.modules[index].file, &tree.modules[module].file);
            if from != to {
                imports.get_mut(from).unwrap().entry(to.clone()).or_default().insert(name);
            }
        }
    }
    imports
}

/// Returns the groups of files that import each other in a cycle, the largest group first.
pub(crate) fn cycles(imports: &Imports) -> Vec<BTreeSet<PathBuf>> {
    let reachable = |from: &PathBuf| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(file) = open.pop() {
            open.extend(imports[file].keys().filter(|next| seen.insert((*next).clone())));
        }
        seen
    };
    let reach: BTreeMap<&PathBuf, BTreeSet<PathBuf>> = imports.keys().map(|file| (file, reachable(file))).collect();
    let mut cycles = BTreeSet::new();
    for (file, files) in &reach {
        let cycle: BTreeSet<PathBuf> = files.iter().filter(|other| reach[other].contains(*file)).cloned().collect();
        if cycle.len() > 1 {
            cycles.insert(cycle);
        }
    }
    let mut cycles: Vec<_> = cycles.into_iter().collect();
    cycles.sort_by_key(|cycle| std::cmp::Reverse(cycle.len()));
    cycles
}

/// Returns the edges within a cycle, one per line.
pub(crate) fn describe(cycle: &BTreeSet<PathBuf>, imports: &Imports) -> String {
    let mut text = String::new();
    for from in cycle {
        for (to, names) in imports[from].iter().filter(|(to, _)| cycle.contains(*to)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            writeln!(text, "  {} -> {}: {}", from.display(), to.display(), names.join(", ")).unwrap();
        }
    }
    text
}

pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.meta.to_token_stream().to_string().replace(' ', "");
        text == "test" || text == "cfg(test)" || text.starts_with("cfg(all(test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl Crate {
    /// Adds the module of a file, whose child modules are in `folder`.
    fn read(&mut self, file: &Path, folder: &Path, parent: Option<usize>) -> usize {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display())).unwrap();
        let parsed = syn::parse_file(&text).map_err(|error| format!("{}: {error}", file.display())).unwrap();
        self.add(parsed.items, (file, folder), parent)
    }

    fn add(&mut self, items: Vec<Item>, (file, folder): (&Path, &Path), parent: Option<usize>) -> usize {
        let index = self.modules.len();
        self.modules.push(Module { file: file.to_owned(), parent, ..Module::default() });
        for item in items.into_iter().filter(|item| !is_test(attributes(item))) {
            let item = match item {
                Item::Mod(item) => {
                    self.child(index, item, (file, folder));
                    continue;
                }
                item => item,
            };
            let name = match &item {
                Item::Const(item) => item.ident.to_string(),
                Item::Enum(item) => item.ident.to_string(),
                Item::Fn(item) => item.sig.ident.to_string(),
                Item::Static(item) => item.ident.to_string(),
                Item::Struct(item) => item.ident.to_string(),
                Item::Trait(item) => item.ident.to_string(),
                Item::Type(item) => item.ident.to_string(),
                Item::Union(item) => item.ident.to_string(),
                // Types that a macro defines follow the keywords `enum` and `struct`, or are capitalized words at its
                // beginning.
                Item::Macro(item) => {
                    let tokens: Vec<String> = flatten(item.mac.tokens.clone());
                    let defining = tokens.windows(2).filter(|pair| matches!(pair[0].as_str(), "enum" | "struct"));
                    let bare = tokens.first().filter(|word| word.starts_with(char::is_uppercase));
                    let named: Vec<String> = defining.map(|pair| pair[1].clone()).chain(bare.cloned()).collect();
                    let after_doc = tokens.windows(2).filter(|pair| pair[1] == "{").map(|pair| pair[0].clone());
                    self.modules[index].defined.extend(named.into_iter().chain(after_doc));
                    item.ident.as_ref().map(ToString::to_string).unwrap_or_default()
                }
                Item::Use(item) => {
                    let before: BTreeSet<String> = self.modules[index].imported.keys().cloned().collect();
                    self.bind(index, &item.tree, &mut Vec::new());
                    if !matches!(item.vis, syn::Visibility::Inherited) {
                        let module = &mut self.modules[index];
                        let new = module.imported.keys().filter(|name| !before.contains(*name)).cloned();
                        module.passed_on.extend(new);
                    }
                    continue;
                }
                _ => String::new(),
            };
            self.modules[index].defined.insert(name);
            self.modules[index].code.push(item.to_token_stream());
        }
        index
    }

    fn child(&mut self, index: usize, item: syn::ItemMod, (file, folder): (&Path, &Path)) {
        let name = item.ident.to_string();
        let below = folder.join(&name);
        let path = item.attrs.iter().find(|attribute| attribute.path().is_ident("path"));
        let path = path.map(|attribute| attribute.meta.to_token_stream().to_string());
        let path = path.and_then(|text| text.split('"').nth(1).map(|path| file.parent().unwrap().join(path)));
        let child = if let Some((_, items)) = item.content {
            self.add(items, (file, &below), Some(index))
        } else {
            let flat = folder.join(format!("{name}.rs"));
            let own = path.unwrap_or_else(|| if flat.is_file() { flat } else { below.join("mod.rs") });
            self.read(&own, &below, Some(index))
        };
        self.modules[index].children.insert(name, child);
    }

    fn bind(&mut self, index: usize, tree: &UseTree, prefix: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.bind(index, &path.tree, prefix);
                prefix.pop();
            }
            UseTree::Name(name) if name.ident == "self" => {
                let name = prefix.last().cloned().unwrap_or_default();
                self.modules[index].imported.insert(name, prefix.clone());
            }
            UseTree::Name(name) => {
                let path = [prefix.as_slice(), &[name.ident.to_string()]].concat();
                self.modules[index].imported.insert(name.ident.to_string(), path);
            }
            UseTree::Rename(rename) => {
                let path = if rename.ident == "self" {
                    prefix.clone()
                } else {
                    [prefix.as_slice(), &[rename.ident.to_string()]].concat()
                };
                // Several traits may be imported as `_`.
                let name = rename.rename.to_string();
                let name = if name == "_" { path.join("::") } else { name };
                self.modules[index].imported.insert(name, path);
            }
            UseTree::Glob(_) => self.modules[index].globs.push(prefix.clone()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.bind(index, tree, prefix)),
        }
    }

    /// Returns the paths that a module imports or names in its code.
    fn paths(&self, index: usize) -> BTreeSet<Vec<String>> {
        let module = &self.modules[index];
        let code: Vec<Vec<String>> = module.code.iter().map(|tokens| flatten(tokens.clone())).collect();
        let words: BTreeSet<&String> = code.iter().flatten().collect();
        let named = |name: &String| !module.passed_on.contains(name) || words.contains(name);
        let imported = module.imported.iter().filter(|(name, _)| named(name));
        let mut paths: BTreeSet<Vec<String>> = imported.map(|(_, path)| path.clone()).collect();
        for tokens in &code {
            spelled(tokens, &mut paths);
        }
        for glob in &module.globs {
            let Some(Target::Module(target)) = self.resolve(index, glob, 0) else { continue };
            for name in &self.modules[target].defined {
                if words.contains(name) {
                    paths.insert([glob.as_slice(), std::slice::from_ref(name)].concat());
                }
            }
        }
        paths
    }

    /// Follows a path from a module, through re-exports, to the module that defines the item.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<Target> {
        if depth > 20 {
            return None;
        }
        let mut at = from;
        let mut rest = path;
        while let Some((first, behind)) = rest.split_first() {
            at = match first.as_str() {
                "crate" => 0,
                "self" => at,
                "super" => self.modules[at].parent?,
                name => match self.step(at, name, depth)? {
                    Target::Module(module) => module,
                    item @ Target::Item { .. } => return Some(item),
                },
            };
            rest = behind;
        }
        Some(Target::Module(at))
    }

    fn step(&self, at: usize, name: &str, depth: usize) -> Option<Target> {
        let module = &self.modules[at];
        if let Some(child) = module.children.get(name) {
            return Some(Target::Module(*child));
        }
        if module.defined.contains(name) {
            return Some(Target::Item { module: at, name: name.to_owned() });
        }
        if let Some(path) = module.imported.get(name) {
            // `use event::Event` begins with a crate, unless a module has the name.
            let itself = path.first().is_some_and(|first| first == name);
            return if itself { None } else { self.resolve(at, path, depth + 1) };
        }
        module.globs.iter().find_map(|glob| match self.resolve(at, glob, depth + 1)? {
            Target::Module(target) if target != at => self.step(target, name, depth + 1),
            _ => None,
        })
    }
}

fn flatten(tokens: TokenStream) -> Vec<String> {
    let mut flat = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    _ => ("(", ")"),
                };
                flat.push(open.to_owned());
                flat.extend(flatten(group.stream()));
                flat.push(close.to_owned());
            }
            TokenTree::Literal(literal) => flat.push(format!("\"{literal}")),
            token => flat.push(token.to_string()),
        }
    }
    flat
}

/// Adds every path in the tokens: words joined by `::`, and groups of names after a trailing `::`.
fn spelled(tokens: &[String], paths: &mut BTreeSet<Vec<String>>) {
    let is_word = |token: &String| token.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let joins = |at: usize| tokens.get(at).is_some_and(|t| t == ":") && tokens.get(at + 1).is_some_and(|t| t == ":");
    let mut at = 0;
    while at < tokens.len() {
        let behind = at > 0 && (tokens[at - 1] == "." || (at > 1 && tokens[at - 1] == ":" && tokens[at - 2] == ":"));
        if !is_word(&tokens[at]) || behind {
            at += 1;
            continue;
        }
        let mut path = vec![tokens[at].clone()];
        at += 1;
        while joins(at) && tokens.get(at + 2).is_some_and(is_word) {
            path.push(tokens[at + 2].clone());
            at += 3;
        }
        if joins(at) && tokens.get(at + 2).is_some_and(|token| token == "{") {
            let group = tokens[at + 3..].iter().take_while(|token| *token != "}");
            for name in group.filter(|token| is_word(token)) {
                paths.insert([path.as_slice(), std::slice::from_ref(name)].concat());
            }
        }
        if path.len() > 1 {
            paths.insert(path);
        }
    }
}
