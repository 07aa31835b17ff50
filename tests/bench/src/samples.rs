//! Series of measured times and what is said of them.

use std::time::Duration;

use serde::Serialize;

/// Times of one thing measured many times.
#[derive(Debug, Default)]
pub struct Samples(Vec<Duration>);

/// A series in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Summary {
    /// How many were measured.
    pub count: usize,
    /// Half were faster, ms.
    pub p50_ms: f64,
    /// 95 of 100 were faster, ms.
    pub p95_ms: f64,
    /// 99 of 100 were faster, ms.
    pub p99_ms: f64,
    /// The fastest, ms.
    pub min_ms: f64,
    /// The slowest, ms.
    pub max_ms: f64,
}

impl Samples {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// What is said of them; zeros where there are none.
    pub fn summary(&self) -> Summary {
        let mut sorted: Vec<f64> = self.0.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
        sorted.sort_by(f64::total_cmp);
        Summary {
            count: sorted.len(),
            p50_ms: percentile(&sorted, 50),
            p95_ms: percentile(&sorted, 95),
            p99_ms: percentile(&sorted, 99),
            min_ms: sorted.first().copied().unwrap_or_default(),
            max_ms: sorted.last().copied().unwrap_or_default(),
        }
    }
}

/// The nearest-rank percentile of a sorted series.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut samples = Samples::default();
        for ms in (1..=100).rev() {
            samples.add(Duration::from_millis(ms));
        }
        let summary = samples.summary();
        assert!((summary.p50_ms - 50.0).abs() < 1e-9);
        assert!((summary.p95_ms - 95.0).abs() < 1e-9);
        assert!((summary.p99_ms - 99.0).abs() < 1e-9);
        assert!((summary.max_ms - 100.0).abs() < 1e-9);
    }
}
