//! One policy file: a map of rules by name in YAML, which JSON is, too.
//!
//! Read event by event, so that each rule knows its line. Stricter than oslo.policy, which takes a rule
//! without a value for one that everybody fulfils, and one that it does not understand for one that
//! nobody does: both are faults here, and so is whatever a map of texts and lists has no use for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};
use serde_json::Value;

use super::parser::parse;
use super::rules::Override;

/// The longest file that is read, bytes.
pub const MAX_FILE_BYTES: usize = 256 * 1024;
/// Most rules of one file.
const MAX_RULES: usize = 1000;
/// The longest name of a rule, bytes.
const MAX_NAME_BYTES: usize = 255;

/// Why a policy file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct FileFault {
    /// The file, with the line where there is one: `/etc/picasso/policy.yaml:3`.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}

/// The rules of a file by name; `path` is only what faults and rules are said to stand in.
pub fn parse_file(path: &Path, text: &str) -> Result<BTreeMap<String, Override>, FileFault> {
    if text.len() > MAX_FILE_BYTES {
        return Err(FileFault {
            place: path.display().to_string(),
            reason: format!("it is longer than {MAX_FILE_BYTES} bytes"),
        });
    }
    Reader { path, events: Parser::new_from_str(text) }.rules()
}

/// The events of a file.
struct Reader<'a> {
    path: &'a Path,
    events: Parser<'a, StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    fn fault(&self, line: usize, reason: impl fmt::Display) -> FileFault {
        FileFault { place: self.place(line), reason: reason.to_string() }
    }

    /// The next event that is part of a document, and its line.
    fn next(&mut self) -> Result<(Event<'a>, usize), FileFault> {
        let path = self.path;
        let line_of = |line: usize| format!("{}:{line}", path.display());
        match self.events.next_event() {
            Some(Ok((event, Span { start, .. }))) => Ok((event, start.line())),
            Some(Err(error)) => Err(broken(&error, line_of(error.marker().line()))),
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    fn rules(mut self) -> Result<BTreeMap<String, Override>, FileFault> {
        let mut rules = BTreeMap::new();
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                // A file of nothing but comments, as the sample file is.
                (Event::StreamEnd, _) => return Ok(rules),
                (Event::Scalar(text, ScalarStyle::Plain, _, None), _) if is_null(&text) => {}
                (Event::MappingStart(_, None), _) => break,
                (Event::DocumentEnd, _) => return self.end(rules),
                (_, line) => return Err(self.fault(line, "the file is no map of rules by name")),
            }
        }
        loop {
            let (name, line) = match self.next()? {
                (Event::MappingEnd, _) => break,
                (Event::Scalar(name, _, _, None), line) => (name.into_owned(), line),
                (_, line) => return Err(self.fault(line, "the name of a rule is no text")),
            };
            if name.is_empty() || name.len() > MAX_NAME_BYTES {
                let reason = format!("the name of a rule has 1 to {MAX_NAME_BYTES} bytes");
                return Err(self.fault(line, reason));
            }
            let rule = self.rule(&name, line)?;
            if let Some(Override { place, .. }) = rules.get(&name) {
                return Err(self.fault(line, format_args!("{name:?} stands in {place} already")));
            }
            if rules.len() == MAX_RULES {
                return Err(self.fault(line, format_args!("a file has at most {MAX_RULES} rules")));
            }
            rules.insert(name, rule);
        }
        self.end(rules)
    }

    /// What follows the map: nothing.
    fn end(mut self, rules: BTreeMap<String, Override>) -> Result<BTreeMap<String, Override>, FileFault> {
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(rules),
                (_, line) => return Err(self.fault(line, "a second document: a file has one")),
            }
        }
    }

    /// The value of the rule `name`.
    fn rule(&mut self, name: &str, line: usize) -> Result<Override, FileFault> {
        let value = self.value(name, 0)?;
        let text = match &value {
            Value::String(text) => text.clone(),
            list => list.to_string(),
        };
        match parse(&value) {
            Some((check, None)) => Ok(Override { text, check, place: self.place(line) }),
            Some((_, Some(fault))) => Err(self.fault(line, format_args!("{name:?}: {fault}"))),
            None => {
                Err(self.fault(line, format_args!("{name:?} is neither a text nor a list of lists of texts")))
            }
        }
    }

    /// A text, or a list of texts and lists.
    fn value(&mut self, name: &str, depth: usize) -> Result<Value, FileFault> {
        let reason = match self.next()? {
            (Event::Scalar(text, ScalarStyle::Plain, _, None), line) if is_null(&text) => {
                (line, "has no value; write \"@\" where everybody may, and \"!\" where nobody may")
            }
            (Event::Scalar(text, _, _, None), _) => return Ok(Value::String(text.into_owned())),
            (Event::SequenceStart(_, None), line) if depth < 2 => {
                return self.list(name, line, depth);
            }
            (Event::Alias(_), line) => {
                (line, "is an alias of YAML; write the rule out, or refer to one by rule:NAME")
            }
            (Event::Scalar(_, _, _, Some(_)), line) => {
                (line, "has a tag of YAML; a text that begins with ! stands in quotes")
            }
            (_, line) => (line, "is neither a text nor a list of lists of texts"),
        };
        Err(self.fault(reason.0, format_args!("{name:?} {}", reason.1)))
    }

    fn list(&mut self, name: &str, line: usize, depth: usize) -> Result<Value, FileFault> {
        let mut items = Vec::new();
        while !matches!(self.events.peek(), Some(Ok((Event::SequenceEnd, _)))) {
            if items.len() == MAX_RULES {
                let reason = format!("{name:?} has a list of more than {MAX_RULES}");
                return Err(self.fault(line, reason));
            }
            items.push(self.value(name, depth + 1)?);
        }
        self.next()?;
        Ok(Value::Array(items))
    }
}

fn broken(error: &ScanError, place: String) -> FileFault {
    FileFault { place, reason: format!("it is no YAML: {}", error.info()) }
}

/// What YAML takes for no value.
fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String, String)>, String> {
        let rules = parse_file(Path::new("p.yaml"), text).map_err(|fault| fault.to_string())?;
        Ok(rules.into_iter().map(|(name, rule)| (name, rule.text, rule.place)).collect())
    }

    fn rule(name: &str, text: &str, place: &str) -> (String, String, String) {
        (name.to_owned(), text.to_owned(), place.to_owned())
    }

    #[test]
    fn rules_are_read_with_their_lines_from_yaml_and_from_json() {
        let yaml = "# who\n\"a:b\": \"role:x\"\n\nfolded: >-\n  role:x\n  or role:y\nlist:\n- [\"role:x\", \"role:y\"]\n- '@'\nempty: ''\n";
        let expected = vec![
            rule("a:b", "role:x", "p.yaml:2"),
            rule("empty", "", "p.yaml:10"),
            rule("folded", "role:x or role:y", "p.yaml:4"),
            rule("list", r#"[["role:x","role:y"],"@"]"#, "p.yaml:7"),
        ];
        assert_eq!(read(yaml), Ok(expected));
        let json = "{\n  \"a\": \"role:x\",\n  \"b\": [[\"role:y\"]]\n}\n";
        assert_eq!(
            read(json),
            Ok(vec![rule("a", "role:x", "p.yaml:2"), rule("b", r#"[["role:y"]]"#, "p.yaml:3")])
        );
    }

    #[test]
    fn a_file_of_comments_has_no_rules() {
        for text in ["", "# \"a\": \"@\"\n", "---\n", "--- null\n...\n", "{}"] {
            assert_eq!(read(text), Ok(vec![]), "{text:?}");
        }
    }

    #[test]
    fn a_broken_file_is_told_with_line_and_reason() {
        for (text, expected) in [
            ("a: '@'\nb:\nc: '!'\n", "p.yaml:2: \"b\" has no value"),
            ("a: ~\n", "p.yaml:1: \"a\" has no value"),
            ("a: !\n", "p.yaml:1: \"a\" has a tag"),
            ("a: 'role:x'\na: '@'\n", "p.yaml:2: \"a\" stands in p.yaml:1 already"),
            ("a: role:x\nb: nonsense\n", "p.yaml:2: \"b\": \"nonsense\" is no check"),
            ("a: true\n", "p.yaml:1: \"a\": \"true\" is no check"),
            ("a: \"(role:x\"\n", "p.yaml:1: \"a\": its words do not make a rule"),
            ("a: {b: c}\n", "p.yaml:1: \"a\" is neither a text"),
            ("a: [[[x]]]\n", "p.yaml:1: \"a\" is neither a text"),
            ("a: &x 'role:x'\nb: *x\n", "p.yaml:2: \"b\" is an alias"),
            ("? [a]\n: '@'\n", "p.yaml:1: the name of a rule is no text"),
            ("'': '@'\n", "p.yaml:1: the name of a rule has 1 to 255"),
            ("- a\n", "p.yaml:1: the file is no map"),
            ("text\n", "p.yaml:1: the file is no map"),
            ("a: '@'\n---\nb: '@'\n", "p.yaml:2: a second document"),
            ("a: \"role:x\n", "p.yaml:"),
            ("{a: '@'\n", "p.yaml:2: it is no YAML"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.starts_with(expected), "{text:?}: {told}");
        }
        let many: Vec<_> = (0..=MAX_RULES).map(|n| format!("a{n}: '@'\n")).collect();
        assert!(read(&many.concat()).unwrap_err().contains("at most 1000 rules"));
        assert!(read(&"#".repeat(MAX_FILE_BYTES + 1)).unwrap_err().contains("longer than 262144"));
    }
}
