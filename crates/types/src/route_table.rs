//! The routes of one app, ready to be matched: the most specific pattern wins.

use crate::pattern::{PathParams, RoutePattern};
use crate::route::Methods;

/// An immutable list of routes ordered by specificity.
#[derive(Debug, Clone)]
pub struct RouteTable<T> {
    entries: Vec<(RoutePattern, Methods, T)>,
}

/// What a path and method met in a [`RouteTable`].
#[derive(Debug, PartialEq, Eq)]
pub enum Matched<'a, T> {
    /// A route and the parameters of its pattern.
    Route(&'a T, PathParams),
    /// Patterns fit the path but none of them takes the method; what they take instead.
    MethodNotAllowed(Methods),
    /// No pattern fits.
    Missing,
}

impl<T> RouteTable<T> {
    /// Builds the table; the order of `entries` does not matter.
    pub fn new(entries: impl IntoIterator<Item = (RoutePattern, Methods, T)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by(|(a, ..), (b, ..)| a.by_specificity(b));
        Self { entries }
    }

    /// Finds the most specific route for a percent-decoded path and a method.
    pub fn find(&self, path: &str, method: &str) -> Matched<'_, T> {
        let mut allowed: Option<Methods> = None;
        for (pattern, methods, value) in &self.entries {
            let Some(params) = pattern.matches(path) else { continue };
            if methods.allows(method) {
                return Matched::Route(value, params);
            }
            allowed = Some(match allowed {
                Some(so_far) => so_far.union(methods),
                None => methods.clone(),
            });
        }
        allowed.map_or(Matched::Missing, Matched::MethodNotAllowed)
    }

    /// All values, most specific first.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(.., value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(patterns: &[&'static str]) -> RouteTable<&'static str> {
        RouteTable::new(patterns.iter().map(|p| (RoutePattern::parse(p).unwrap(), Methods::any(), *p)))
    }

    fn winner(table: &RouteTable<&'static str>, path: &str) -> Option<&'static str> {
        match table.find(path, "GET") {
            Matched::Route(value, _) => Some(value),
            _ => None,
        }
    }

    #[test]
    fn the_most_specific_pattern_wins_in_any_order() {
        let all = ["/files/*rest", "/files/:name", "/files/index", "/*all", "/files/:name/meta"];
        let forward = table(&all);
        let mut reversed = all;
        reversed.reverse();
        let backward = table(&reversed);
        for table in [forward, backward] {
            assert_eq!(winner(&table, "/files/index"), Some("/files/index"));
            assert_eq!(winner(&table, "/files/x"), Some("/files/:name"));
            assert_eq!(winner(&table, "/files/x/meta"), Some("/files/:name/meta"));
            assert_eq!(winner(&table, "/files/x/other"), Some("/files/*rest"));
            assert_eq!(winner(&table, "/other"), Some("/*all"));
        }
    }

    #[test]
    fn a_wrong_method_is_told_apart_from_a_missing_path() {
        let methods = Methods::parse(&["GET".to_owned(), "PUT".to_owned()]).unwrap();
        let table = RouteTable::new([(RoutePattern::parse("/a").unwrap(), methods.clone(), 1)]);
        assert_eq!(table.find("/a", "POST"), Matched::MethodNotAllowed(methods));
        assert_eq!(table.find("/b", "POST"), Matched::Missing);
        assert_eq!(table.find("/a", "PUT"), Matched::Route(&1, vec![]));
    }
}
