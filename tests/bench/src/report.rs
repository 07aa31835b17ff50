//! The table for people and the JSON for machines.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::samples::Summary;

/// A finished measurement: rows of one run that may be compared.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    rows: Vec<(String, Summary)>,
    figures: Vec<(String, f64, &'static str)>,
}

impl Report {
    /// An empty report; `name` is the file's.
    pub fn new(name: &'static str) -> Self {
        Self { name, rows: Vec::new(), figures: Vec::new() }
    }

    /// Adds a measured series.
    pub fn row(&mut self, what: &str, summary: Summary) {
        self.rows.push((what.to_owned(), summary));
    }

    /// Adds a figure with its unit.
    pub fn figure(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push((what.into(), value, unit));
    }

    /// Adds how many times the p50 of `of` goes into that of `over`; both were added before.
    pub fn ratio(&mut self, of: &str, over: &str) {
        let p50 = |what: &str| self.rows.iter().find(|(name, _)| name == what).map(|(_, s)| s.p50_ms);
        if let (Some(of_ms), Some(over_ms)) = (p50(of), p50(over))
            && of_ms > 0.0
        {
            self.figure(format!("{over} / {of}"), over_ms / of_ms, "times (p50)");
        }
    }

    /// Prints the table and writes `target/bench/<name>.json`.
    #[expect(clippy::print_stdout, reason = "the table is what make bench is for")]
    pub fn publish(&self) -> std::io::Result<()> {
        let names = self.rows.iter().map(|(what, _)| what).chain(self.figures.iter().map(|(what, ..)| what));
        let width = names.map(String::len).max().unwrap_or(0).max(10);
        println!();
        if self.rows.is_empty() {
            println!("{}", self.name);
        } else {
            println!(
                "{:width$}  {:>6} {:>9} {:>9} {:>9} {:>9}",
                self.name, "n", "p50 ms", "p95 ms", "p99 ms", "max ms"
            );
        }
        for (what, s) in &self.rows {
            println!(
                "{what:width$}  {:>6} {:>9.3} {:>9.3} {:>9.3} {:>9.3}",
                s.count, s.p50_ms, s.p95_ms, s.p99_ms, s.max_ms
            );
        }
        for (what, value, unit) in &self.figures {
            println!("{what:width$}  {value:>16.2} {unit}");
        }
        let folder = folder();
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.json", self.name));
        std::fs::write(&path, serde_json::to_vec_pretty(&self.json())?)?;
        println!("written to {}", path.display());
        Ok(())
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|(what, s)| json!({"what": what, "ms": s})).collect();
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|(what, value, unit)| json!({"what": what, "value": value, "unit": unit}))
            .collect();
        json!({"name": self.name, "rows": rows, "figures": figures})
    }
}

/// Where reports go.
fn folder() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root).join("target/bench")
}
