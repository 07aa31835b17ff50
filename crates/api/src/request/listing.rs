//! Lists: which entries, in which order, how many at a time.
//!
//! Contract: the API-SIG's guides on pagination, sorting and filtering. Entries come from
//! collections that operators bound (apps of a project, routes of an app, images), so that they
//! are filtered and sorted here, alike for every collection and database.

use std::borrow::Cow;
use std::cmp::Ordering;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use picasso_types::{FieldFault, Timestamp};

use super::query::pairs;
use crate::error::ApiError;
use crate::link_view::LinkView;
use crate::microversion::Microversion;

/// Most entries of a page.
pub(crate) const MAX_LIMIT: u32 = 1000;
/// Most filters of one request; each is looked at for each entry.
const MAX_FILTERS: usize = 16;
/// Most values of one `in:` or `nin:`.
const MAX_VALUES: usize = 64;

/// How a field of an entry is read; decides what its filters hold.
pub(crate) enum Of<T> {
    /// Text, compared by its bytes.
    Text(for<'a> fn(&'a T) -> Cow<'a, str>),
    /// A whole number.
    Number(fn(&T) -> i64),
    /// A time.
    Time(fn(&T) -> Timestamp),
    /// `true` or `false`.
    Flag(fn(&T) -> bool),
}

/// One field of the entries of a list.
pub(crate) struct Field<T> {
    /// Its name in answers, filters and sort keys.
    pub(crate) name: &'static str,
    /// Its value.
    pub(crate) of: Of<T>,
}

impl<T> Field<T> {
    fn compare(&self, a: &T, b: &T) -> Ordering {
        match &self.of {
            Of::Text(of) => of(a).cmp(&of(b)),
            Of::Number(of) => of(a).cmp(&of(b)),
            Of::Time(of) => of(a).cmp(&of(b)),
            Of::Flag(of) => of(a).cmp(&of(b)),
        }
    }
}

/// A collection: its fields, and what a marker names an entry by.
pub(crate) struct Listed<T: 'static> {
    /// What can be filtered and sorted by.
    pub(crate) fields: &'static [Field<T>],
    /// The marker of an entry; no two entries share it.
    pub(crate) marker: fn(&T) -> String,
}

/// The entries of a page, and the link of the next.
#[derive(Debug)]
pub(crate) struct Page<T> {
    /// In the order that was asked for.
    pub(crate) entries: Vec<T>,
    /// Where the next page is.
    pub(crate) links: Vec<LinkView>,
}

impl<T> Listed<T> {
    /// The page of `all` (in the collection's own order) that a query asks for; `url` is that of
    /// the list.
    ///
    /// # Errors
    /// 400 naming the parameter.
    pub(crate) fn page(
        &self,
        all: Vec<T>,
        query: Option<&str>,
        version: Microversion,
        url: &str,
    ) -> Result<Page<T>, ApiError> {
        let wish = self.wish(query)?;
        let mut entries: Vec<T> = all
            .into_iter()
            .filter(|entry| wish.filters.iter().all(|(field, filter)| filter.takes(field, entry)))
            .collect();
        // Stable: equal entries stay in the collection's own order, which has no two alike.
        entries.sort_by(|a, b| wish.compare(a, b));
        if let Some(marker) = &wish.marker {
            let at = entries.iter().position(|entry| (self.marker)(entry) == *marker);
            let gone =
                "is not the last entry of a page of this list, or that entry is gone; begin again without it";
            entries.drain(..=at.ok_or_else(|| FieldFault::new("marker", gone))?);
        }
        // The old service knew no pages.
        let paged = version >= Microversion::GUIDE_STATUSES;
        let limit = wish.limit.or(paged.then_some(MAX_LIMIT)).map_or(usize::MAX, |limit| limit as usize);
        let more = entries.len() > limit;
        entries.truncate(limit);
        let last = entries.last().filter(|_| more).map(self.marker);
        let links = last.map(|last| wish.next(url, limit, &last)).into_iter().collect();
        Ok(Page { entries, links })
    }

    fn wish(&self, query: Option<&str>) -> Result<Wish<'_, T>, FieldFault> {
        let mut wish =
            Wish { limit: None, marker: None, sort: Vec::new(), filters: Vec::new(), kept: Vec::new() };
        for (name, value) in pairs(query)? {
            match name.as_str() {
                "limit" => set(&mut wish.limit, "limit", limit(&value, MAX_LIMIT)?)?,
                "marker" => set(&mut wish.marker, "marker", value)?,
                "sort" if wish.sort.is_empty() => {
                    wish.sort = self.sort(&value)?;
                    wish.kept.push((name, value));
                }
                "sort" => return Err(FieldFault::new("sort", "is there twice")),
                _ => {
                    let field = self.field(&name).ok_or_else(|| self.unknown(&name))?;
                    if wish.filters.len() == MAX_FILTERS {
                        return Err(FieldFault::new(
                            name,
                            format!("is one filter too many; there may be {MAX_FILTERS}"),
                        ));
                    }
                    wish.filters.push((field, Filter::parse(field, &value)?));
                    wish.kept.push((name, value));
                }
            }
        }
        Ok(wish)
    }

    fn field(&self, name: &str) -> Option<&'static Field<T>> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn names(&self) -> String {
        self.fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ")
    }

    fn unknown(&self, name: &str) -> FieldFault {
        let name: String = name.chars().take(64).collect();
        FieldFault::new(name, format!("is no parameter; there are: limit, marker, sort, {}", self.names()))
    }

    /// `key:dir,key:dir`; without a direction ascending.
    fn sort(&self, text: &str) -> Result<Vec<(&'static Field<T>, bool)>, FieldFault> {
        let fault = || {
            FieldFault::new(
                "sort",
                format!("must be like \"name:asc,created_at:desc\" with some of: {}", self.names()),
            )
        };
        let mut keys: Vec<(&'static Field<T>, bool)> = Vec::new();
        for key in text.split(',') {
            let (name, direction) = key.split_once(':').unwrap_or((key, "asc"));
            let descending = match direction {
                "asc" => false,
                "desc" => true,
                _ => return Err(fault()),
            };
            let field = self.field(name).ok_or_else(fault)?;
            if keys.iter().any(|(known, _)| known.name == field.name) {
                return Err(FieldFault::new("sort", format!("has the key {name} twice")));
            }
            keys.push((field, descending));
        }
        Ok(keys)
    }
}

/// A number of entries from 1 to `max`.
pub(crate) fn limit(text: &str, max: u32) -> Result<u32, FieldFault> {
    let number = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    number.ok_or_else(|| FieldFault::new("limit", format!("must be a number from 1 to {max}")))
}

fn set<V>(slot: &mut Option<V>, name: &str, value: V) -> Result<(), FieldFault> {
    if slot.replace(value).is_some() { Err(FieldFault::new(name, "is there twice")) } else { Ok(()) }
}

/// What a query asks for.
struct Wish<'a, T: 'static> {
    limit: Option<u32>,
    marker: Option<String>,
    sort: Vec<(&'a Field<T>, bool)>,
    filters: Vec<(&'a Field<T>, Filter)>,
    /// What the next page is asked with, too.
    kept: Vec<(String, String)>,
}

impl<T> Wish<'_, T> {
    fn compare(&self, a: &T, b: &T) -> Ordering {
        let orders = self.sort.iter().map(|(field, descending)| {
            let order = field.compare(a, b);
            if *descending { order.reverse() } else { order }
        });
        orders.fold(Ordering::Equal, Ordering::then)
    }

    fn next(&self, url: &str, limit: usize, last: &str) -> LinkView {
        let mut href = format!("{url}?limit={limit}&marker={}", utf8_percent_encode(last, NON_ALPHANUMERIC));
        for (name, value) in &self.kept {
            href.extend(["&", name, "="]);
            href.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
        LinkView { rel: "next", href }
    }
}

/// A value that entries are held against.
#[derive(Debug)]
enum Given {
    Text(String),
    Number(i64),
    Time(Timestamp),
    Flag(bool),
}

impl Given {
    fn parse<T>(field: &Field<T>, text: &str) -> Result<Self, FieldFault> {
        let (given, wanted) = match &field.of {
            Of::Text(_) => (Some(Self::Text(text.to_owned())), "text"),
            Of::Number(_) => (text.parse().ok().map(Self::Number), "a number"),
            Of::Time(_) => (time(text).map(Self::Time), "a time like 2026-01-31T12:00:00Z"),
            Of::Flag(_) => (text.to_ascii_lowercase().parse().ok().map(Self::Flag), "true or false"),
        };
        given.ok_or_else(|| FieldFault::new(field.name, format!("must be {wanted}")))
    }

    /// How an entry's value stands to this one; the two are of one kind.
    fn compared<T>(&self, field: &Field<T>, entry: &T) -> Ordering {
        match (&field.of, self) {
            (Of::Text(of), Self::Text(given)) => of(entry).as_ref().cmp(given),
            (Of::Number(of), Self::Number(given)) => of(entry).cmp(given),
            (Of::Time(of), Self::Time(given)) => of(entry).cmp(given),
            (Of::Flag(of), Self::Flag(given)) => of(entry).cmp(given),
            // `parse` makes the kind that the field has.
            _ => Ordering::Less,
        }
    }
}

/// A time in ISO 8601 with its zone.
pub(crate) fn time(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|time| Timestamp(time.as_microsecond()))
}

/// Which values of a field are taken: those that stand so to one of the given ones (or to none).
struct Filter {
    given: Vec<Given>,
    takes: fn(Ordering) -> bool,
    negated: bool,
}

impl Filter {
    /// `value`, `neq:value`, `gt:value`, `in:a,b`, …; `eq:` in front of a value that begins so.
    fn parse<T>(field: &Field<T>, text: &str) -> Result<Self, FieldFault> {
        let known = ["in", "nin", "eq", "neq", "gt", "gte", "lt", "lte"];
        let split = text.split_once(':').filter(|(operator, _)| known.contains(operator));
        let (operator, rest) = split.unwrap_or(("eq", text));
        let takes: fn(Ordering) -> bool = match operator {
            "gt" => Ordering::is_gt,
            "gte" => Ordering::is_ge,
            "lt" => Ordering::is_lt,
            "lte" => Ordering::is_le,
            _ => Ordering::is_eq,
        };
        if matches!(field.of, Of::Flag(_)) && matches!(operator, "gt" | "gte" | "lt" | "lte") {
            return Err(FieldFault::new(field.name, "is true or false, which have no order"));
        }
        let texts = match operator {
            "in" | "nin" => values(field.name, rest)?,
            _ => vec![rest.to_owned()],
        };
        let given = texts.iter().map(|text| Given::parse(field, text)).collect::<Result<_, _>>()?;
        Ok(Self { given, takes, negated: matches!(operator, "nin" | "neq") })
    }

    fn takes<T>(&self, field: &Field<T>, entry: &T) -> bool {
        self.given.iter().any(|given| (self.takes)(given.compared(field, entry))) != self.negated
    }
}

/// The values of `a,"b,c",d`.
fn values(name: &str, text: &str) -> Result<Vec<String>, FieldFault> {
    let mut values = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        match (letter, values.last_mut()) {
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => values.push(String::new()),
            (letter, Some(value)) => value.push(letter),
            (_, None) => {}
        }
        if values.len() > MAX_VALUES {
            return Err(FieldFault::new(name, format!("may have {MAX_VALUES} values")));
        }
    }
    if quoted { Err(FieldFault::new(name, "has a quotation mark without its other one")) } else { Ok(values) }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing {
        id: &'static str,
        size: i64,
        on: bool,
        at: Timestamp,
    }

    const THINGS: Listed<Thing> = Listed {
        fields: &[
            Field { name: "name", of: Of::Text(|thing| thing.id.into()) },
            Field { name: "size", of: Of::Number(|thing| thing.size) },
            Field { name: "on", of: Of::Flag(|thing| thing.on) },
            Field { name: "created_at", of: Of::Time(|thing| thing.at) },
        ],
        marker: |thing| thing.id.to_owned(),
    };

    fn things() -> Vec<Thing> {
        let thing = |id, size, on, at| Thing { id, size, on, at: Timestamp(at) };
        vec![
            thing("a", 3, true, 0),
            thing("b", 1, false, 1),
            thing("in:c", 3, false, 2),
            thing("d,e", 2, true, 3),
        ]
    }

    fn page(query: &str, version: Microversion) -> Result<(Vec<&'static str>, Vec<String>), String> {
        let page = THINGS.page(things(), Some(query), version, "http://x/things");
        let page = page.map_err(|error| error.message())?;
        Ok((
            page.entries.iter().map(|thing| thing.id).collect(),
            page.links.into_iter().map(|link| link.href).collect(),
        ))
    }

    fn ids(query: &str) -> Vec<&'static str> {
        page(query, Microversion::MIN).unwrap().0
    }

    #[test]
    fn filters_compare_by_the_kind_of_the_field() {
        for (query, found) in [
            ("", &["a", "b", "in:c", "d,e"][..]),
            ("name=a", &["a"]),
            ("name=neq:a", &["b", "in:c", "d,e"]),
            ("name=in:a,b", &["a", "b"]),
            ("name=nin:a,b", &["in:c", "d,e"]),
            ("name=in:\"d,e\",a", &["a", "d,e"]),
            ("name=eq:in:c", &["in:c"]),
            ("size=gt:1&size=lt:3", &["d,e"]),
            ("size=gte:2", &["a", "in:c", "d,e"]),
            ("size=lte:1", &["b"]),
            ("on=true", &["a", "d,e"]),
            ("on=neq:True", &["b", "in:c"]),
            ("created_at=gt:1970-01-01T00:00:00.000001Z", &["in:c", "d,e"]),
            ("size=3&on=false", &["in:c"]),
        ] {
            assert_eq!(ids(query), found, "{query}");
        }
    }

    #[test]
    fn lists_are_sorted_by_several_keys_and_stay_in_order_where_those_are_equal() {
        assert_eq!(ids("sort=size:desc,name:desc"), ["in:c", "a", "d,e", "b"]);
        assert_eq!(ids("sort=size"), ["b", "d,e", "a", "in:c"]);
        assert_eq!(ids("sort=on:desc"), ["a", "d,e", "b", "in:c"]);
    }

    #[test]
    fn following_next_shows_every_entry_once() {
        for query in ["limit=1", "limit=3&sort=size:desc", "limit=2&on=in:true,false&sort=name:desc"] {
            let (mut seen, mut query) = (Vec::new(), query.to_owned());
            loop {
                let (entries, links) = page(&query, Microversion::MIN).unwrap();
                seen.extend(entries);
                let Some(link) = links.first() else { break };
                query = link.strip_prefix("http://x/things?").unwrap().to_owned();
            }
            seen.sort_unstable();
            assert_eq!(seen, ["a", "b", "d,e", "in:c"], "{query}");
        }
    }

    #[test]
    fn each_refused_parameter_is_named() {
        for (query, name) in [
            ("color=red", "color"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=x", "limit"),
            ("limit=1&limit=2", "limit"),
            ("marker=gone", "marker"),
            ("marker=a&marker=b", "marker"),
            ("sort=color", "sort"),
            ("sort=name:up", "sort"),
            ("sort=name,name:desc", "sort"),
            ("sort=", "sort"),
            ("sort=name&sort=size", "sort"),
            ("size=x", "size"),
            ("size=in:1,x", "size"),
            ("on=gt:true", "on"),
            ("on=1", "on"),
            ("created_at=today", "created_at"),
            ("name=in:\"a", "name"),
        ] {
            let told = page(query, Microversion::MIN).unwrap_err();
            assert!(told.starts_with(&format!("{name}: ")), "{query}: {told}");
        }
        let many = format!("name=in:{}", "a,".repeat(MAX_VALUES));
        assert!(page(&many, Microversion::MIN).unwrap_err().starts_with("name: "));
        let many = vec!["name=a"; MAX_FILTERS + 1].join("&");
        assert!(page(&many, Microversion::MIN).unwrap_err().starts_with("name: "));
    }
}
