//! How long the host takes to start, and what it takes while it does nothing.

use std::time::{Duration, Instant};

use agent_host_tests::Host;
use anyhow::Context as _;

use crate::report::{Report, percentile, time};
use crate::{Scale, setup};

pub(crate) async fn measure(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut host = setup()?.start().await;
    host.client().health().await.expect(200);
    report.add("first start to healthy, the component compiled", time(begin.elapsed()));
    let mut samples = Vec::new();
    for _ in 0..scale.starts {
        host.stop().await;
        let begin = Instant::now();
        host.start_again().await;
        host.client().health().await.expect(200);
        samples.push(begin.elapsed());
    }
    report.add("start to healthy", time(percentile(&mut samples, 0.5)));
    report.add("idle memory (RSS)", megabytes(resident(&host)?));
    Ok(())
}

/// Resident memory of the host in bytes.
pub(crate) fn resident(host: &Host) -> anyhow::Result<u64> {
    let path = format!("/proc/{}/status", host.process_id());
    let status = std::fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().with_context(|| format!("odd VmRSS {line:?}"))?;
    Ok(kilobytes * 1024)
}

pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// How long SIGTERM takes.
pub(crate) async fn stop(host: &mut Host) -> Duration {
    let begin = Instant::now();
    host.stop().await;
    begin.elapsed()
}
