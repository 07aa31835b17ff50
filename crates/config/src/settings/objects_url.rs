//! The URL of an object store: which one it names. It holds no secret.

use std::path::PathBuf;

use url::Url;

use crate::entry::Entry;
use crate::leaf::{Leaf, quoted, text};

/// Where large results and logs lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectsUrl {
    /// Nowhere.
    Off,
    /// In a folder on this machine; `None`: the one in the server's own folder.
    File(Option<PathBuf>),
    /// In a bucket.
    S3(S3Url),
    /// In a container.
    Swift(SwiftUrl),
}

/// `s3://bucket/prefix?endpoint=https://host&region=name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Url {
    /// The bucket.
    pub bucket: String,
    /// What names in it begin with.
    pub prefix: String,
    /// The store, without the bucket.
    pub endpoint: Url,
    /// The region that signatures name.
    pub region: String,
}

/// `swift://container/prefix?region=name&interface=internal&storage_url=https://host/v1/AUTH_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwiftUrl {
    /// The container.
    pub container: String,
    /// What names in it begin with.
    pub prefix: String,
    /// The URL of the account; `None`: the catalog's.
    pub storage_url: Option<Url>,
    /// Which region of the catalog.
    pub region: Option<String>,
    /// Which interface of the catalog.
    pub interface: String,
}

impl Default for ObjectsUrl {
    fn default() -> Self {
        Self::File(None)
    }
}

const FORMS: &str = "file:, file:/folder, s3://bucket?endpoint=https://host, swift://container or off";

impl Leaf for ObjectsUrl {
    fn kind() -> String {
        "a URL of an object store, or `off`".to_owned()
    }

    fn parse(entry: &Entry) -> Result<Self, String> {
        let Some(given) = text(entry) else {
            return Err(format!("must be the URL of an object store ({FORMS}), not {}", entry.item.kind()));
        };
        match given.split_once(':') {
            None if given == "off" => Ok(Self::Off),
            Some(("file", "")) => Ok(Self::File(None)),
            Some(("file", path)) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                if path.starts_with('/') {
                    Ok(Self::File(Some(path.into())))
                } else {
                    Err("must name the folder by its whole path: file:/var/lib/picasso/outputs".to_owned())
                }
            }
            Some(("s3", _)) => s3(&parts(given, &["endpoint", "region"])?).map(Self::S3),
            Some(("swift", _)) => {
                swift(&parts(given, &["storage_url", "region", "interface"])?).map(Self::Swift)
            }
            _ => Err(format!("names no object store that picasso knows: use {FORMS}")),
        }
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&match self {
            Self::Off => "off".to_owned(),
            Self::File(None) => "file:".to_owned(),
            Self::File(Some(path)) => format!("file:{}", path.display()),
            Self::S3(S3Url { bucket, prefix, endpoint, region }) => {
                let endpoint = endpoint.as_str().trim_end_matches('/');
                format!("s3://{}?endpoint={endpoint}&region={region}", joined(bucket, prefix))
            }
            Self::Swift(SwiftUrl { container, prefix, storage_url, region, interface }) => {
                let mut shown = format!("swift://{}?interface={interface}", joined(container, prefix));
                if let Some(region) = region {
                    shown.extend(["&region=", region]);
                }
                if let Some(url) = storage_url {
                    shown.extend(["&storage_url=", url.as_str()]);
                }
                shown
            }
        }))
    }
}

fn joined(name: &str, prefix: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{name}/{prefix}") }
}

/// A URL without authority but for the name of a bucket or container.
struct Parts {
    name: String,
    prefix: String,
    query: Vec<(String, String)>,
}

fn parts(given: &str, known: &[&str]) -> Result<Parts, String> {
    let (place, query) = given.split_once('?').unwrap_or((given, ""));
    let place = place.split_once("://").map_or("", |(_, place)| place);
    let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
    let fits = |text: &str, more: &str| {
        text.len() <= 255 && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    if name.is_empty() || !fits(name, "-_.") || !fits(prefix, "-_./") || prefix.contains("..") {
        return Err(
            "must name a bucket or container, and may name a prefix, of letters, digits, \"-\", \"_\" \
                    and \".\"; keys have settings of their own"
                .to_owned(),
        );
    }
    let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    if let Some((unknown, _)) = query.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        let unknown: String = unknown.chars().take(20).collect();
        return Err(format!("has an option {unknown:?}; there are {}", known.join(", ")));
    }
    Ok(Parts { name: name.to_owned(), prefix: prefix.trim_matches('/').to_owned(), query })
}

impl Parts {
    fn option(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn url(&self, name: &str) -> Result<Option<Url>, String> {
        let Some(text) = self.option(name) else { return Ok(None) };
        let url = Url::parse(text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
        });
        url.map(Some).ok_or_else(|| format!("must have an http or https URL without a user as its {name}"))
    }
}

fn s3(parts: &Parts) -> Result<S3Url, String> {
    let endpoint = parts.url("endpoint")?;
    let endpoint = endpoint.ok_or("must name the store: s3://bucket?endpoint=https://s3.example.org")?;
    let region = parts.option("region").unwrap_or("us-east-1").to_owned();
    Ok(S3Url { bucket: parts.name.clone(), prefix: parts.prefix.clone(), endpoint, region })
}

fn swift(parts: &Parts) -> Result<SwiftUrl, String> {
    let interface = parts.option("interface").unwrap_or("public").to_owned();
    if !matches!(interface.as_str(), "public" | "internal" | "admin") {
        return Err("must have public, internal or admin as its interface".to_owned());
    }
    Ok(SwiftUrl {
        container: parts.name.clone(),
        prefix: parts.prefix.clone(),
        storage_url: parts.url("storage_url")?,
        region: parts.option("region").map(str::to_owned),
        interface,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Item, Source};

    fn parse(url: &str) -> Result<ObjectsUrl, String> {
        ObjectsUrl::parse(&Entry { item: Item::Text(url.to_owned()), source: Source::Default })
    }

    #[test]
    fn a_url_is_shown_as_it_is_read() {
        for url in [
            "off",
            "file:",
            "file:/srv/outputs",
            "s3://bucket/a/b?endpoint=https://s3.example.org&region=there",
            "swift://container?interface=internal&region=one&storage_url=https://swift/v1/AUTH_1",
        ] {
            assert_eq!(parse(url).unwrap().show(), Some(format!("\"{url}\"")));
        }
        assert_eq!(parse("file:///srv/outputs"), parse("file:/srv/outputs"));
        assert_eq!(parse("swift://container"), parse("swift://container/?interface=public"));
    }

    #[test]
    fn what_names_no_store_is_refused() {
        for url in [
            "",
            "outputs",
            "file:outputs",
            "ftp://host/",
            "OFF",
            "s3://bucket",
            "s3://?endpoint=https://host",
            "s3://key:secret@bucket?endpoint=https://host",
            "s3://bucket?endpoint=https://key:secret@host",
            "s3://bucket/../other?endpoint=https://host",
            "s3://bucket?endpoint=https://host&key=x",
            "swift://container?interface=secret",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}
