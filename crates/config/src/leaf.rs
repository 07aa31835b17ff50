//! Single values: how each type is read from TOML or text, and shown again as TOML.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::entry::{Entry, Item};
use crate::file::parse_value;

/// A value of one type. `parse` answers what would be right when it refuses.
pub(crate) trait Leaf: Sized {
    /// What the reference calls the type.
    fn kind() -> String;
    /// Reads it.
    fn parse(entry: &Entry) -> Result<Self, String>;
    /// Shows it as TOML; `None` when it is unset.
    fn show(&self) -> Option<String>;
}

/// A refused value: what would be right, and what was found.
pub(crate) fn wanted(what: &str, entry: &Entry) -> String {
    match &entry.item {
        Item::Plain(text) | Item::Text(text) => {
            let shown: String = text.chars().take(60).collect();
            format!("must be {what}, not {shown:?}")
        }
        Item::Integer(number) => format!("must be {what}, not {number}"),
        other => format!("must be {what}, not {}", other.kind()),
    }
}

pub(crate) fn text(entry: &Entry) -> Option<&str> {
    match &entry.item {
        Item::Plain(text) | Item::Text(text) => Some(text),
        _ => None,
    }
}

/// `text` as a TOML string.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

macro_rules! text_leaf {
    ($type:ty, $kind:literal, $parse:expr, $show:expr) => {
        impl Leaf for $type {
            fn kind() -> String {
                $kind.to_owned()
            }
            fn parse(entry: &Entry) -> Result<Self, String> {
                text(entry).and_then($parse).ok_or_else(|| wanted($kind, entry))
            }
            fn show(&self) -> Option<String> {
                let show: fn(&$type) -> String = $show;
                Some(quoted(&show(self)))
            }
        }
    };
}

text_leaf!(String, "text", |t| Some(t.to_owned()), Clone::clone);
text_leaf!(PathBuf, "a path", |t| (!t.is_empty()).then(|| PathBuf::from(t)), |p| p.display().to_string());
text_leaf!(IpAddr, "an IP address", |t| t.parse().ok(), ToString::to_string);
text_leaf!(
    IpNet,
    "networks or addresses like \"10.0.0.0/8\"",
    |t| t.parse().ok().or_else(|| t.parse::<IpAddr>().ok().map(IpNet::from)),
    ToString::to_string
);
text_leaf!(Ipv4Net, "an IPv4 network like \"10.0.0.0/8\"", |t| t.parse().ok(), ToString::to_string);
text_leaf!(
    Url,
    "an http or https URL",
    |t| t.parse().ok().filter(|u: &Url| matches!(u.scheme(), "http" | "https") && u.has_host()),
    ToString::to_string
);

macro_rules! number_leaf {
    ($($type:ty),+) => {$(
        impl Leaf for $type {
            fn kind() -> String {
                "a whole number".to_owned()
            }
            fn parse(entry: &Entry) -> Result<Self, String> {
                match &entry.item {
                    Item::Integer(number) => Self::try_from(*number).ok(),
                    Item::Plain(text) => text.replace('_', "").parse().ok(),
                    _ => None,
                }
                .ok_or_else(|| wanted(&format!("a whole number from {} to {}", Self::MIN, Self::MAX), entry))
            }
            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )+};
}
number_leaf!(u16, u32, u64, i64);

impl Leaf for bool {
    fn kind() -> String {
        "true or false".to_owned()
    }

    fn parse(entry: &Entry) -> Result<Self, String> {
        match &entry.item {
            Item::Boolean(value) => Some(*value),
            Item::Plain(text) => text.to_ascii_lowercase().parse().ok(),
            _ => None,
        }
        .ok_or_else(|| wanted("true or false", entry))
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Leaf for f64 {
    fn kind() -> String {
        "a number".to_owned()
    }

    fn parse(entry: &Entry) -> Result<Self, String> {
        match &entry.item {
            Item::Float(number) => Some(*number),
            // Bounded so that the conversion below is exact.
            Item::Integer(number) => i32::try_from(*number).ok().map(Self::from),
            Item::Plain(text) => text.parse().ok(),
            _ => None,
        }
        .filter(|number: &Self| number.is_finite())
        .ok_or_else(|| wanted("a number", entry))
    }

    fn show(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

impl Leaf for SecretString {
    fn kind() -> String {
        "secret text".to_owned()
    }

    fn parse(entry: &Entry) -> Result<Self, String> {
        // The message must not quote what was found.
        text(entry).map(Self::from).ok_or_else(|| format!("must be text, not {}", entry.item.kind()))
    }

    fn show(&self) -> Option<String> {
        Some(quoted(if self.expose_secret().is_empty() { "" } else { "***" }))
    }
}

impl<T: Leaf> Leaf for Option<T> {
    fn kind() -> String {
        T::kind()
    }

    fn parse(entry: &Entry) -> Result<Self, String> {
        if text(entry).is_some_and(str::is_empty) { Ok(None) } else { T::parse(entry).map(Some) }
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }
}

impl<T: Leaf> Leaf for Vec<T> {
    fn kind() -> String {
        format!("list of {}", T::kind().trim_start_matches("a ").trim_start_matches("an "))
    }

    fn parse(entry: &Entry) -> Result<Self, String> {
        match &entry.item {
            Item::List(entries) => entries.iter().map(T::parse).collect(),
            Item::Plain(text) if text.trim().is_empty() => Ok(Self::new()),
            Item::Plain(text) if text.trim_start().starts_with('[') => {
                let item = parse_value(text, &entry.source)
                    .ok_or("must be a TOML list like [\"a\", \"b\"]".to_owned())?;
                Self::parse(&Entry { item, source: entry.source.clone() })
            }
            Item::Plain(text) => text
                .split(',')
                .map(|part| {
                    T::parse(&Entry {
                        item: Item::Plain(part.trim().to_owned()),
                        source: entry.source.clone(),
                    })
                })
                .collect(),
            _ => Err(wanted("a list", entry)),
        }
    }

    fn show(&self) -> Option<String> {
        let parts: Vec<String> = self.iter().filter_map(T::show).collect();
        Some(format!("[{}]", parts.join(", ")))
    }
}

/// An enum of words, declared once with its text forms.
macro_rules! word_leaf {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$vdoc])* $variant),+
        }

        impl $name {
            /// The word in the configuration.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl $crate::leaf::Leaf for $name {
            fn kind() -> String {
                [$(concat!("`", $text, "`")),+].join(" or ")
            }
            fn parse(entry: &$crate::entry::Entry) -> Result<Self, String> {
                match $crate::leaf::text(entry) {
                    $(Some($text) => Ok(Self::$variant),)+
                    _ => Err($crate::leaf::wanted(&[$(concat!("\"", $text, "\"")),+].join(" or "), entry)),
                }
            }
            fn show(&self) -> Option<String> {
                Some($crate::leaf::quoted(self.as_str()))
            }
        }
    };
}
pub(crate) use word_leaf;
