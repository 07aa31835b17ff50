//! The table for people and the JSON for machines.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::samples::Summary;

/// A finished measurement: rows of one run that may be compared.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    rows: Vec<(String, Summary)>,
    ratios: Vec<(String, f64)>,
}

impl Report {
    /// An empty report; `name` is the file's.
    pub fn new(name: &'static str) -> Self {
        Self { name, rows: Vec::new(), ratios: Vec::new() }
    }

    /// Adds a measured series.
    pub fn row(&mut self, what: &str, summary: Summary) {
        self.rows.push((what.to_owned(), summary));
    }

    /// Adds how many times the p50 of `of` goes into that of `over`; both were added before.
    pub fn ratio(&mut self, of: &str, over: &str) {
        let p50 = |what: &str| self.rows.iter().find(|(name, _)| name == what).map(|(_, s)| s.p50_ms);
        if let (Some(of_ms), Some(over_ms)) = (p50(of), p50(over))
            && of_ms > 0.0
        {
            self.ratios.push((format!("{over} / {of}"), over_ms / of_ms));
        }
    }

    /// Prints the table and writes `target/bench/<name>.json`.
    #[expect(clippy::print_stdout, reason = "the table is what make bench is for")]
    pub fn publish(&self) -> std::io::Result<()> {
        let width = self.rows.iter().map(|(what, _)| what.len()).max().unwrap_or(0).max(10);
        println!(
            "\n{:width$}  {:>6} {:>9} {:>9} {:>9} {:>9}",
            self.name, "n", "p50 ms", "p95 ms", "p99 ms", "max ms"
        );
        for (what, s) in &self.rows {
            println!(
                "{what:width$}  {:>6} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
                s.count, s.p50_ms, s.p95_ms, s.p99_ms, s.max_ms
            );
        }
        for (what, ratio) in &self.ratios {
            println!("{what}: {ratio:.1} times (p50)");
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
        let ratios: Vec<Value> =
            self.ratios.iter().map(|(what, ratio)| json!({"what": what, "p50_ratio": ratio})).collect();
        json!({"name": self.name, "rows": rows, "ratios": ratios})
    }
}

fn folder() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root).join("target/bench")
}
