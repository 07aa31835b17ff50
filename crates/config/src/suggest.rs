//! "Did you mean …": the known name that is nearest to a mistyped one.

/// The nearest of `known` to `wrong`, when it is near enough to be meant. Paths that differ in
/// their last part only, or have it in another section, count by that part.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let last = |path: &'a str| path.rsplit('.').next().unwrap_or(path);
    let wrong_last = wrong.rsplit('.').next().unwrap_or(wrong);
    known
        .map(|path| {
            let whole = distance(wrong, path);
            let misplaced = distance(wrong_last, last(path)) + 2;
            (whole.min(misplaced), path)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 2.max(wrong_last.len() / 3))
        .map(|(_, path)| path)
}

/// Levenshtein's distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["listeners.api.port", "keystone.auth_url", "keystone.password"];

    #[test]
    fn a_typing_error_finds_its_setting() {
        assert_eq!(nearest("listeners.api.prot", KNOWN.into_iter()), Some("listeners.api.port"));
        assert_eq!(nearest("keystone.auth_uri", KNOWN.into_iter()), Some("keystone.auth_url"));
    }

    #[test]
    fn a_setting_in_the_wrong_section_is_found() {
        assert_eq!(nearest("server.password", KNOWN.into_iter()), Some("keystone.password"));
    }

    #[test]
    fn nothing_is_suggested_for_something_else() {
        assert_eq!(nearest("colour", KNOWN.into_iter()), None);
    }
}
