//! The tree of sections: the macro that declares one, and the walk that loads or shows it.
//!
//! A section is declared once, with doc comments and defaults; loading, the reference, the
//! default file and `config show` all walk that one declaration.

use crate::entry::{Entry, Item, Layer, Source};
use crate::fault::ConfigFault;
use crate::file::parse_value;
use crate::leaf::Leaf;

/// One step of a walk over the settings.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// A section begins.
    Section {
        /// Its header in TOML: `listeners.api`.
        header: String,
        /// Its doc comment, a line each.
        docs: Vec<&'static str>,
        /// It is an element of a list of tables (`[[…]]`).
        repeated: bool,
        /// It only shows what an element would look like.
        template: bool,
    },
    /// One setting.
    Leaf {
        /// Its dotted path, with indices in lists of tables.
        path: String,
        /// Its name within the section.
        name: &'static str,
        /// Its doc comment, a line each.
        docs: Vec<&'static str>,
        /// Its type in words.
        kind: String,
        /// Its value as TOML; `None` when unset.
        value: Option<String>,
    },
}

/// Takes values out of the merged layers and keeps the faults.
#[derive(Debug, Default)]
pub(crate) struct Taker {
    pub(crate) entries: Layer,
    pub(crate) faults: Vec<ConfigFault>,
    pub(crate) taken: std::collections::BTreeMap<String, Source>,
}

impl Taker {
    fn fault(&mut self, path: &str, source: Source, message: String) {
        self.faults.push(ConfigFault { setting: path.to_owned(), source, message, hint: None });
    }

    fn take(&mut self, path: &str) -> Option<Entry> {
        let entry = self.entries.remove(path)?;
        self.taken.insert(path.to_owned(), entry.source.clone());
        Some(entry)
    }
}

/// Where in the tree a node is.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    /// Its dotted path.
    pub(crate) path: String,
    /// The path without indices: the header in TOML.
    pub(crate) header: String,
    /// Its own name.
    pub(crate) name: &'static str,
    /// Its field's doc comment.
    pub(crate) docs: &'a [&'static str],
    /// Lists of tables show one element of defaults when they are empty.
    pub(crate) templates: bool,
}

/// A section, a list of sections, or a leaf.
pub(crate) trait Node: Sized {
    /// Replaces what the layers set; the rest stays the default.
    fn load(self, path: &str, taker: &mut Taker) -> Self;
    /// Tells of itself and all below.
    fn walk(&self, place: &Place<'_>, out: &mut Vec<Piece>);
}

impl<T: Leaf> Node for T {
    fn load(self, path: &str, taker: &mut Taker) -> Self {
        let Some(entry) = taker.take(path) else { return self };
        match T::parse(&entry) {
            Ok(value) => value,
            Err(message) => {
                taker.fault(path, entry.source, message);
                self
            }
        }
    }

    fn walk(&self, place: &Place<'_>, out: &mut Vec<Piece>) {
        out.push(Piece::Leaf {
            path: place.path.clone(),
            name: place.name,
            docs: place.docs.to_vec(),
            kind: T::kind(),
            value: self.show(),
        });
    }
}

/// A list of tables: `[[images.registries]]`.
#[derive(Debug, Clone)]
pub struct Tables<T>(pub Vec<T>);

impl<T> Default for Tables<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> std::ops::Deref for Tables<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Section> Node for Tables<T> {
    fn load(self, path: &str, taker: &mut Taker) -> Self {
        let Some(entry) = taker.take(path) else { return self };
        let item = match entry.item {
            Item::Plain(text) => parse_value(&text, &entry.source),
            item => Some(item),
        };
        let Some(Item::List(elements)) = item else {
            taker.fault(path, entry.source, format!("must be a list of tables: [[{path}]]"));
            return self;
        };
        let mut loaded = Vec::new();
        for (index, element) in elements.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Item::Table(fields) = element.item else {
                taker.fault(&path, element.source, "must be a table".to_owned());
                continue;
            };
            taker.taken.insert(path.clone(), element.source);
            taker.entries.extend(fields.into_iter().map(|(key, entry)| (format!("{path}.{key}"), entry)));
            loaded.push(T::default().load(&path, taker));
        }
        Self(loaded)
    }

    fn walk(&self, place: &Place<'_>, out: &mut Vec<Piece>) {
        let element = |path: String| Place { path, ..place.clone() };
        if self.0.is_empty() && place.templates {
            out.push(T::opening(place, true, true));
            T::default().walk_fields(&element(format!("{}[]", place.path)), out);
        }
        for (index, section) in self.0.iter().enumerate() {
            out.push(T::opening(place, true, false));
            section.walk_fields(&element(format!("{}[{index}]", place.path)), out);
        }
    }
}

/// What the `section!` macro makes of a struct.
pub(crate) trait Section: Node + Default {
    /// Tells of its fields only.
    fn walk_fields(&self, place: &Place<'_>, out: &mut Vec<Piece>);

    /// Its header; the field's doc comment is what describes it.
    fn opening(place: &Place<'_>, repeated: bool, template: bool) -> Piece {
        Piece::Section { header: place.header.clone(), docs: place.docs.to_vec(), repeated, template }
    }
}

/// Declares a section: a struct whose fields have doc comments and defaults.
///
/// A field without `=` is a section or a list of tables below this one. Those come last, as TOML
/// wants it.
macro_rules! section {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])+ pub $field:ident : $type:ty $(= $default:expr)? ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type ),+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::tree::default_of!($($default)?) ),+ }
            }
        }

        impl $crate::tree::Node for $name {
            fn load(self, path: &str, taker: &mut $crate::tree::Taker) -> Self {
                Self {
                    $( $field: $crate::tree::Node::load(
                        self.$field,
                        &$crate::tree::join(path, stringify!($field)),
                        taker,
                    ) ),+
                }
            }

            fn walk(&self, place: &$crate::tree::Place<'_>, out: &mut Vec<$crate::tree::Piece>) {
                use $crate::tree::Section;
                if !place.path.is_empty() {
                    out.push(Self::opening(place, false, false));
                }
                self.walk_fields(place, out);
            }
        }

        impl $crate::tree::Section for $name {
            fn walk_fields(&self, place: &$crate::tree::Place<'_>, out: &mut Vec<$crate::tree::Piece>) {
                $( $crate::tree::Node::walk(
                    &self.$field,
                    &$crate::tree::Place {
                        path: $crate::tree::join(&place.path, stringify!($field)),
                        header: $crate::tree::join(&place.header, stringify!($field)),
                        name: stringify!($field),
                        docs: &[$($doc),+],
                        templates: place.templates,
                    },
                    out,
                ); )+
            }
        }
    };
}

macro_rules! default_of {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

pub(crate) use default_of;
pub(crate) use section;

/// `prefix.name`, or `name` at the root.
pub(crate) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}
