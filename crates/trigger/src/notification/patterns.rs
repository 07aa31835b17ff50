//! Which of many patterns match an event type, without trying all of them.
//!
//! A pattern without `*` and `?` is a key. Any other one lies under the text before its first `*` or
//! `?`: an event type is looked up by each of its beginnings whose length some pattern has, so that
//! what is tried in the end already fits so far.

use std::collections::{BTreeMap, HashMap};

use crate::filter::glob;

/// Patterns, each with a number.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    exact: HashMap<Box<str>, Vec<u32>>,
    open: HashMap<Box<str>, Vec<(Box<str>, u32)>>,
    /// How many open patterns have a beginning of this length, bytes.
    lengths: BTreeMap<usize, usize>,
}

impl Patterns {
    pub(super) fn insert(&mut self, pattern: &str, number: u32) {
        match beginning(pattern) {
            None => self.exact.entry(pattern.into()).or_default().push(number),
            Some((start, rest)) => {
                self.open.entry(start.into()).or_default().push((rest.into(), number));
                *self.lengths.entry(start.len()).or_default() += 1;
            }
        }
    }

    /// Takes a pattern out that was put in.
    pub(super) fn remove(&mut self, pattern: &str, number: u32) {
        match beginning(pattern) {
            None => {
                if let Some(numbers) = self.exact.get_mut(pattern) {
                    numbers.retain(|of| *of != number);
                    if numbers.is_empty() {
                        self.exact.remove(pattern);
                    }
                }
            }
            Some((start, rest)) => {
                let Some(patterns) = self.open.get_mut(start) else { return };
                let before = patterns.len();
                patterns.retain(|(of, by)| *by != number || **of != *rest);
                let taken = before - patterns.len();
                if patterns.is_empty() {
                    self.open.remove(start);
                }
                if let Some(count) = self.lengths.get_mut(&start.len()) {
                    *count -= taken.min(*count);
                    if *count == 0 {
                        self.lengths.remove(&start.len());
                    }
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.open.is_empty()
    }

    /// Adds the numbers of what matches; one may be added more than once.
    pub(super) fn matching(&self, event_type: &str, numbers: &mut Vec<u32>) {
        if let Some(of) = self.exact.get(event_type) {
            numbers.extend(of);
        }
        for length in self.lengths.keys() {
            let Some((start, rest)) = event_type.split_at_checked(*length) else {
                // Longer than the event type, or within one of its characters.
                continue;
            };
            for (pattern, number) in self.open.get(start).into_iter().flatten() {
                // Commonest of all: `compute.instance.*`.
                if **pattern == *"*" || glob(pattern, rest) {
                    numbers.push(*number);
                }
            }
        }
    }
}

/// The text before the first `*` or `?`, and the rest; `None` where there is neither.
fn beginning(pattern: &str) -> Option<(&str, &str)> {
    pattern.find(['*', '?']).map(|at| pattern.split_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERNS: [&str; 10] = [
        "compute.instance.create.end",
        "compute.instance.*",
        "compute.*.end",
        "compute.instance.?reate.*",
        "*",
        "*.end",
        "identity.*",
        "c*",
        "compute.instance.create.end*",
        "compute.instance.create.end.more*",
    ];

    fn matching(patterns: &Patterns, event_type: &str) -> Vec<u32> {
        let mut numbers = Vec::new();
        patterns.matching(event_type, &mut numbers);
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn what_is_found_is_what_each_pattern_alone_would_match() {
        let mut patterns = Patterns::default();
        for (pattern, number) in PATTERNS.iter().zip(0..) {
            patterns.insert(pattern, number);
        }
        for event_type in [
            "compute.instance.create.end",
            "compute.instance.create.start",
            "identity.x",
            "käse.end",
            "c",
            "",
        ] {
            let expected: Vec<u32> =
                PATTERNS.iter().zip(0..).filter(|(p, _)| glob(p, event_type)).map(|(_, n)| n).collect();
            assert_eq!(matching(&patterns, event_type), expected, "{event_type}");
        }
        assert_eq!(matching(&patterns, "compute.instance.create.end"), [0, 1, 2, 3, 4, 5, 7, 8]);
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind() {
        let mut patterns = Patterns::default();
        for number in 0..2 {
            for pattern in PATTERNS {
                patterns.insert(pattern, number);
            }
        }
        for pattern in PATTERNS {
            patterns.remove(pattern, 0);
            patterns.remove(pattern, 7);
        }
        assert!(matching(&patterns, "compute.instance.create.end").iter().all(|number| *number == 1));
        for pattern in PATTERNS {
            patterns.remove(pattern, 1);
        }
        assert!(patterns.is_empty() && patterns.lengths.is_empty());
    }
}
