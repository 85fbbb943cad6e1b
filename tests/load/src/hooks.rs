//! What event hooks cost: the same deltas with no hook, with one that wants all events, and with one that wants none of these.
//!
//! Each has a host of its own, so that none has to clean up what another left, and they take turns several times, since absolute figures drift. What is reported is
//! the median, with the lowest and the highest.

use std::time::{Duration, Instant};

use agent_host_test_programs::counting_hook;
use agent_host_tests::Host;
use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::report::{Report, rate};
use crate::streams::{session, turn};
use crate::{Scale, setup};

/// Sessions that stream at once, each to one client.
const SESSIONS: [usize; 2] = [1, 8];

/// The name of the hook.
const HOOK: &str = "counter";

/// What is compared, by the events that the hook wants.
const VARIANTS: [(&str, Option<&str>); 3] =
    [("no hook", None), ("a hook that wants everything", Some("*")), ("a hook that wants none of them", Some("session:status"))];

/// One turn of a variant.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// From the message to the end of the turn at the client.
    streamed: Duration,
    /// What waited for the hook then.
    backlog: u64,
    /// From the message until nothing waited for the hook, and how many events that were.
    told: (usize, Duration),
}

pub(crate) async fn measure(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let component = counting_hook();
    let component = component.to_str().context("the path of the hook is no text")?;
    let mut hosts = Vec::new();
    for (_, wants) in VARIANTS {
        let host = setup()?.start().await;
        if let Some(events) = wants {
            let request = json!({"path": component, "config": {"events": events}});
            host.operator().put_hook_named(HOOK, &request).await.expect(200);
        }
        hosts.push(host);
    }
    for sessions in SESSIONS {
        let deltas = scale.deltas / sessions;
        let mut runs = VARIANTS.map(|_| Vec::new());
        for round in 0..scale.rounds {
            for ((runs, (_, wants)), host) in runs.iter_mut().zip(VARIANTS).zip(&hosts) {
                runs.push(run(host, &format!("hooks{sessions}-{round}"), sessions, deltas, wants).await?);
            }
        }
        let number = if sessions == 1 { "1 session, 1 client".to_owned() } else { format!("{sessions} sessions, a client each") };
        for ((name, wants), runs) in VARIANTS.into_iter().zip(runs) {
            let streamed = runs.iter().map(|run| (deltas * sessions, run.streamed)).collect();
            report.add(format!("deltas, {number}, {name}"), median(streamed));
            if wants == Some("*") {
                let told = median(runs.iter().map(|run| run.told).collect());
                let mut backlogs: Vec<u64> = runs.iter().map(|run| run.backlog).collect();
                backlogs.sort_unstable();
                let backlog = backlogs.get(backlogs.len() / 2).copied().unwrap_or(0);
                report.add(format!("events told to the hook until none waits, {number}"), told);
                let all = runs.first().map_or(0, |run| run.told.0);
                report.add(format!("events that wait for the hook when the stream ends, {number}"), format!("{backlog} of {all}"));
            }
        }
    }
    Ok(())
}

async fn run(host: &Host, name: &str, sessions: usize, deltas: usize, wants: Option<&str>) -> anyhow::Result<Run> {
    let ids: Vec<String> = (0..sessions).map(|number| format!("{name}-{number}")).collect();
    // Each has one delta then.
    let mut sockets = try_join_all(ids.iter().map(|id| session(host, id))).await?;
    if wants.is_some() {
        host.operator().told(HOOK).await;
    }
    let message = format!("deltas {deltas}");
    let began = Instant::now();
    let turns = ids.iter().zip(&mut sockets).map(async |(id, socket)| {
        let before = socket.events;
        let (_, deltas) = turn(host, id, &message, socket).await?;
        anyhow::Ok((deltas, socket.events - before))
    });
    let counts = try_join_all(turns).await?;
    let streamed = began.elapsed();
    let mut run = Run { streamed, backlog: 0, told: (counts.iter().map(|(_, events)| events).sum(), Duration::ZERO) };
    ensure!(counts.iter().all(|(came, _)| *came == deltas), "not every client got {deltas} deltas: {counts:?}");
    if let Some(wanted) = wants {
        run.backlog = backlog(&host.operator().hook(HOOK).await, "events")?;
        host.operator().told(HOOK).await;
        run.told.1 = began.elapsed();
        let skipped = backlog(&host.operator().hook(HOOK).await, "skipped")?;
        ensure!(skipped == 0, "{skipped} events were not told to the hook");
        let expected = if wanted == "*" { deltas + 1 } else { 0 };
        for id in &ids {
            let shown = host.client().session(id).await.expect(200);
            let told = shown.pointer(&format!("/metadata/hooks/{HOOK}/deltas"));
            ensure!(told == Some(&json!(expected)), "the hook was told of {told:?} deltas of {id} instead of {expected}");
        }
    }
    drop(sockets);
    for id in &ids {
        host.client().unload(id).await.expect(200);
    }
    Ok(run)
}

fn backlog(hook: &Value, what: &str) -> anyhow::Result<u64> {
    hook.pointer(&format!("/backlog/{what}"))
        .and_then(Value::as_u64)
        .with_context(|| format!("the host does not show the backlog of the hook: {hook}"))
}

/// `12.3k/s (11.9k/s to 12.5k/s)`
fn median(mut counts: Vec<(usize, Duration)>) -> String {
    counts.sort_by(|(one, took), (other, other_took)| {
        let rate = |count: usize, took: &Duration| count as f64 / took.as_secs_f64();
        rate(*one, took).total_cmp(&rate(*other, other_took))
    });
    let rate_at = |index: usize| counts.get(index).map(|(count, took)| rate(*count, *took)).unwrap_or_default();
    format!("{} ({} to {})", rate_at(counts.len() / 2), rate_at(0), rate_at(counts.len().saturating_sub(1)))
}
