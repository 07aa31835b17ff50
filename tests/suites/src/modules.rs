//! Which modules of a crate import each other, read from the tokens of its sources.
//!
//! Two sibling modules - files, or folders with all that is in them - that import each other are one
//! module in two places. A parent and its child may: the one is made of the other. What a module
//! re-exports counts as imported from where it is defined, so a re-export hides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// More re-exports of a re-export are not followed.
const MAX_STEPS: usize = 8;

/// A module's place below the crate's root, which has none.
type ModulePath = Vec<String>;

/// An import that leads out of one module of a pair into the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// The file that imports, below `src`.
    pub file: String,
    /// What it imports, with the module that defines it.
    pub path: String,
}

/// Two sibling modules that import each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Below `src`, without `.rs`: `bodies/delivery`.
    pub modules: [String; 2],
    /// What the first imports of the second, and the second of the first.
    pub imports: [BTreeSet<Import>; 2],
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {} import each other:", self.modules[0], self.modules[1])?;
        for Import { file, path } in self.imports.iter().flatten() {
            write!(f, "\n    {file} imports {path}")?;
        }
        Ok(())
    }
}

/// The pairs of a crate whose sources these are: paths below `src` with texts. What is compiled for tests
/// only does not count.
///
/// # Errors
/// A file that is not Rust.
pub fn pairs(sources: &BTreeMap<String, String>) -> Result<Vec<Pair>, String> {
    let mut read = Read::default();
    for (file, text) in sources {
        let tokens: TokenStream = text.parse().map_err(|error| format!("{file}: {error}"))?;
        let module = module_of(file);
        read.files.insert(module.clone(), file.clone());
        read.tokens(&module, &tokens.into_iter().collect::<Vec<_>>());
    }
    Ok(read.pairs())
}

/// What was read of a crate.
#[derive(Debug, Default)]
struct Read {
    files: BTreeMap<ModulePath, String>,
    /// Each module with a path as it wrote it.
    paths: Vec<(ModulePath, ModulePath)>,
    /// A name that `use` brings into a module, with its path.
    names: BTreeMap<(ModulePath, String), ModulePath>,
    tests_only: BTreeSet<ModulePath>,
}

impl Read {
    fn tokens(&mut self, module: &[String], tokens: &[TokenTree]) {
        let mut at = 0;
        while at < tokens.len() {
            if let Some(after) = after_test_item(&tokens[at..]) {
                if let Some(name) = declared(&tokens[at + 2..at + after]) {
                    self.tests_only.insert([module, &[name]].concat());
                }
                at += after;
                continue;
            }
            match &tokens[at] {
                TokenTree::Ident(word) if word == "use" => {
                    let (leaves, taken) = leaves(&tokens[at + 1..]);
                    for leaf in leaves {
                        if let Some(path) = self.noted(module, &leaf.path) {
                            self.names.insert((module.to_vec(), leaf.name), path);
                        }
                    }
                    at += 1 + taken;
                }
                TokenTree::Ident(word)
                    if (word == "crate" || word == "super") && is_separator(&tokens[at + 1..]) =>
                {
                    let (leaves, taken) = leaves(&tokens[at..]);
                    for leaf in leaves {
                        self.noted(module, &leaf.path);
                    }
                    at += taken;
                }
                TokenTree::Ident(word) if word == "mod" => {
                    // A module within the file has its own `super`.
                    if let [_, TokenTree::Ident(name), TokenTree::Group(body), ..] = &tokens[at..] {
                        let inner = [module, &[name.to_string()]].concat();
                        self.tokens(&inner, &body.stream().into_iter().collect::<Vec<_>>());
                        at += 3;
                    } else {
                        at += 1;
                    }
                }
                TokenTree::Group(group) => {
                    self.tokens(module, &group.stream().into_iter().collect::<Vec<_>>());
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }

    /// Notes a path, made absolute; one into another crate is none of ours, but for what it may name here.
    fn noted(&mut self, module: &[String], path: &[String]) -> Option<ModulePath> {
        let ups = path.iter().take_while(|segment| *segment == "super").count();
        let path = match path.first().map(String::as_str)? {
            "crate" => path[1..].to_vec(),
            "self" => [module, &path[1..]].concat(),
            "super" => [&module[..module.len().saturating_sub(ups)], &path[ups..]].concat(),
            _ => [module, path].concat(),
        };
        self.paths.push((module.to_vec(), path.clone()));
        Some(path)
    }

    /// The module that defines what is at a path, and the path from there.
    fn defined(&self, path: &[String], steps: usize) -> (ModulePath, ModulePath) {
        let depth = (0..=path.len()).rev().find(|end| self.files.contains_key(&path[..*end]));
        let (module, item) = path.split_at(depth.unwrap_or(0));
        if let [name, rest @ ..] = item
            && steps > 0
            && let Some(meant) = self.names.get(&(module.to_vec(), name.clone()))
            && meant != path
        {
            return self.defined(&[meant.as_slice(), rest].concat(), steps - 1);
        }
        (module.to_vec(), item.to_vec())
    }

    fn pairs(&self) -> Vec<Pair> {
        let mut edges: BTreeMap<(ModulePath, ModulePath), BTreeSet<Import>> = BTreeMap::new();
        for (from, path) in &self.paths {
            if (1..=from.len()).any(|end| self.tests_only.contains(&from[..end])) {
                continue;
            }
            let (to, item) = self.defined(path, MAX_STEPS);
            let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
            if common == from.len() || common == to.len() {
                continue;
            }
            let file = (0..=from.len()).rev().find_map(|end| self.files.get(&from[..end]));
            let import = Import {
                file: file.cloned().unwrap_or_default(),
                path: format!("crate::{}", [to.as_slice(), &item].concat().join("::")),
            };
            let edge = (from[..=common].to_vec(), to[..=common].to_vec());
            edges.entry(edge).or_default().insert(import);
        }
        let mut found = Vec::new();
        for ((one, other), there) in &edges {
            if one < other
                && let Some(back) = edges.get(&(other.clone(), one.clone()))
            {
                let modules = [one.join("/"), other.join("/")];
                found.push(Pair { modules, imports: [there.clone(), back.clone()] });
            }
        }
        found
    }
}

/// `bodies/mod.rs` is `bodies`, `lib.rs` and `main.rs` are the root.
fn module_of(file: &str) -> ModulePath {
    let mut path: ModulePath = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(path.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        path.pop();
    }
    path
}

/// One name that a `use` brings, or one path.
struct Leaf {
    name: String,
    path: ModulePath,
}

/// The paths of a tree (`crate::{a::B, c}`), and how many tokens it has.
fn leaves(tokens: &[TokenTree]) -> (Vec<Leaf>, usize) {
    match tokens {
        [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<_> = group.stream().into_iter().collect();
            let branches = inner.split(|token| is_punct(token, ','));
            (branches.flat_map(|branch| leaves(branch).0).collect(), 1)
        }
        [TokenTree::Ident(first), rest @ ..] if is_separator(rest) => {
            let (mut found, taken) = leaves(&rest[2..]);
            if found.is_empty() {
                // A path that goes on with `<` or `*`.
                found.push(Leaf { name: String::new(), path: Vec::new() });
            }
            for leaf in &mut found {
                if leaf.path.is_empty() && leaf.name == "self" {
                    leaf.name = first.to_string();
                }
                leaf.path.insert(0, first.to_string());
            }
            (found, 3 + taken)
        }
        [TokenTree::Ident(name), TokenTree::Ident(word), TokenTree::Ident(alias), ..] if word == "as" => {
            let path = if name == "self" { Vec::new() } else { vec![name.to_string()] };
            (vec![Leaf { name: alias.to_string(), path }], 3)
        }
        [TokenTree::Ident(name), ..] if name == "self" => {
            (vec![Leaf { name: name.to_string(), path: Vec::new() }], 1)
        }
        [TokenTree::Ident(name), ..] => {
            (vec![Leaf { name: name.to_string(), path: vec![name.to_string()] }], 1)
        }
        _ => (Vec::new(), 0),
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

/// `::`
fn is_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [one, two, _, ..] if is_punct(one, ':') && is_punct(two, ':'))
}

/// Where an item under `#[cfg(test)]` ends; `None` where none begins.
fn after_test_item(tokens: &[TokenTree]) -> Option<usize> {
    let [hash, TokenTree::Group(attribute), ..] = tokens else { return None };
    if !is_punct(hash, '#') || attribute.to_string().replace(' ', "") != "[cfg(test)]" {
        return None;
    }
    let ends = |token: &TokenTree| {
        let is_body = matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        is_body || is_punct(token, ';')
    };
    let end = tokens.iter().position(ends);
    Some(end.map_or(tokens.len(), |end| end + 1))
}

/// The name in `mod name;`, with whatever stands before it.
fn declared(item: &[TokenTree]) -> Option<String> {
    match item {
        [.., TokenTree::Ident(word), TokenTree::Ident(name), end] if word == "mod" && is_punct(end, ';') => {
            Some(name.to_string())
        }
        _ => None,
    }
}
