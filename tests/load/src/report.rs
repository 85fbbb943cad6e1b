//! Figures and the table of them.

use std::fmt::Write as _;
use std::time::Duration;

/// The figures so far.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<(String, String)>);

impl Report {
    /// Adds a row, and shows it at once.
    pub(crate) fn add(&mut self, what: impl Into<String>, figure: impl Into<String>) {
        let (what, figure) = (what.into(), figure.into());
        eprintln!("{what}: {figure}");
        self.0.push((what, figure));
    }

    /// All rows.
    pub(crate) fn markdown(&self) -> String {
        let mut table = "| what | figure |\n| --- | --- |\n".to_owned();
        for (what, figure) in &self.0 {
            // Writing to a String cannot fail.
            let _ = writeln!(table, "| {what} | {figure} |");
        }
        table
    }
}

/// The share of samples that is not above the value, `0.5` for the median.
pub(crate) fn percentile(samples: &mut [Duration], share: f64) -> Duration {
    samples.sort_unstable();
    let last = samples.len().saturating_sub(1);
    let rank = (last as f64 * share).round() as usize;
    samples.get(rank.min(last)).copied().unwrap_or_default()
}

/// `p50 1.23 ms, p99 4.56 ms`.
pub(crate) fn latencies(mut samples: Vec<Duration>) -> String {
    format!("p50 {}, p99 {}", time(percentile(&mut samples, 0.5)), time(percentile(&mut samples, 0.99)))
}

/// `p50 1.23 ms, p99 4.56 ms, max 7.89 ms`.
pub(crate) fn latencies_to_max(mut samples: Vec<Duration>) -> String {
    let max = percentile(&mut samples, 1.0);
    format!("{}, max {} ({} of them)", latencies(samples.clone()), time(max), samples.len())
}

/// A duration to three digits.
pub(crate) fn time(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    if micros < 1000.0 {
        format!("{micros:.0} µs")
    } else if micros < 1e6 {
        format!("{:.2} ms", micros / 1e3)
    } else {
        format!("{:.2} s", micros / 1e6)
    }
}

/// So many of something in that time, for each second.
pub(crate) fn rate(count: usize, duration: Duration) -> String {
    let rate = count as f64 / duration.as_secs_f64();
    if rate < 10_000.0 { format!("{rate:.0}/s") } else { format!("{:.1}k/s", rate / 1e3) }
}
