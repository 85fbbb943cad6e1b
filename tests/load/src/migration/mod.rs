//! A migration to another store under load: how long it takes, for how long writes wait, and that nothing is missing afterwards.

mod compare;
mod fill;
mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use agent_host_tests::{Answer, Blocks, Client, Host, Setup};
use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use self::compare::{Since, compare};
use self::stored::{Stored, digest};
use crate::busy::{self, Load, STEADY};
use crate::report::{Report, time};
use crate::start::{megabytes, resident};
use crate::{Scale, setup, work};

/// The size of the file that a session makes anew in each turn.
const FILE_BYTES: usize = 4096;

/// The load goes on for so long in the new store.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// A migration that takes longer is broken: a hundred times what a megabyte takes.
const DEADLINE: Duration = Duration::from_secs(20 * 60);

/// For so long writes may wait.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Between two changes of agent profiles, and between two looks at the host's memory.
const PROFILE_PAUSE: Duration = Duration::from_millis(200);
const LOOK: Duration = Duration::from_millis(100);

/// Agent profiles that change all the time, and how many changes there are for each that is a deletion.
const PROFILES: usize = 5;
const DELETION: usize = 7;

/// From one SQLite file to another.
pub(crate) async fn measure(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    run(scale, report, setup()?, "", |new| vec![sqlite(new)]).await
}

/// From SQLite to PostgreSQL, and from there to another SQLite file, in one go: what the second one has came through the server.
pub(crate) async fn measure_postgresql(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let server = agent_host_test_programs::postgres().context("there is no PostgreSQL on this machine")?;
    let (url, password) = server.url_and_password("postgres");
    let grants = json!({"databases": {"main": {"url": url, "password": "env:PGPASSWORD"}}});
    let there = json!({"builtin": "postgresql", "grants": grants});
    let setup = setup()?.with_variable("PGPASSWORD", password);
    run(scale, report, setup, " to PostgreSQL and back", |new| vec![there.clone(), sqlite(new)]).await
}

fn sqlite(path: &Path) -> Value {
    json!({"builtin": "sqlite", "grants": {"databases": {"main": format!("sqlite:{}", path.display())}}})
}

async fn run(scale: Scale, report: &mut Report, setup: Setup, route: &str, steps: impl Fn(&Path) -> Vec<Value>) -> anyhow::Result<()> {
    let mut host = setup.set("limits.connections", 2000).start().await;
    fill::fill(&host, scale).await?;
    host.stop().await;
    let (old, new) = (host.data_directory().join("agent-host.db"), host.beside("other.db"));
    let filled = fill::check(&old, scale)?;
    let before: BTreeMap<String, u64> = {
        let stored = Stored::open(&old)?;
        let length = |id: String| Ok((id.clone(), stored.streams(&id)?.get("transcript/main").copied().unwrap_or(0)));
        (0..scale.working).map(fill::id).map(length).collect::<anyhow::Result<_>>()?
    };
    host.start_again().await;
    let done = migrate(&host, scale, &steps(&new)).await?;
    host.stop().await;

    let what = format!("migration{route} of {} sessions, {}", scale.stored, megabytes(filled.bytes));
    let Migration { memory: (resting, most), .. } = done;
    for Step { window: (_, took), answer } in &done.steps {
        let pause = answer.get("pauseMs").and_then(Value::as_f64).context("the pause was not reported")?;
        let copied = answer.pointer("/copied/bytes").and_then(Value::as_u64).context("nothing was copied")?;
        let speed = megabytes((copied as f64 / took.as_secs_f64()) as u64);
        report.add(format!("{what}, under {} busy sessions", scale.working), format!("{}, {speed}/s", time(*took)));
        report.add("pause of writes in the migration", time(Duration::from_secs_f64(pause / 1e3)));
        ensure!(Duration::from_secs_f64(pause / 1e3) < MAX_PAUSE, "writes waited for {pause} ms");
    }
    report.add("memory (RSS) before the migration, and at most during it", format!("{}, {}", megabytes(resting), megabytes(most)));
    let windows: Vec<_> = done.steps.iter().map(|step| step.window).collect();
    done.load.report(report, scale.working, &windows, "the migration")?;
    let (failed, gaps) = (done.load.failed(), done.load.gaps());
    let turns: usize = done.turns.values().sum();
    report.add(
        format!("in {turns} turns, {} creations, {} deletions and the migration{route}", done.created.len(), done.deleted.len()),
        format!("{failed} failed requests, {gaps} lost or doubled events"),
    );
    ensure!(failed == 0 && gaps == 0, "{failed} failed requests, {gaps} lost or doubled events");

    // Before the host changes anything by being started.
    let (old, new) = (Stored::open(&old)?, Stored::open(&new)?);
    let since = Since { worked: &done.turns.keys().cloned().collect(), file: work::FILE, deleted: &done.deleted };
    let equal = compare(&old, &new, since)?;
    report.add(
        "equal in both stores by SHA-256",
        format!("{} sessions, {} streams, {} files, {}", equal.sessions, equal.streams, equal.files, megabytes(equal.bytes)),
    );
    check_sessions(&new, scale, &done)?;
    check_work(&new, &before, &done.turns)?;
    check_profiles(&old, &new, &done.profiles)?;
    drop((old, new));
    host.start_again().await;
    check_blocks(&host, &done.turns).await
}

/// One exchange of the store: when it was, and what the host said of it.
struct Step {
    window: (Instant, Duration),
    answer: Value,
}

/// A migration and what went on meanwhile.
struct Migration {
    load: Load,
    steps: Vec<Step>,
    /// Resident memory of the host in bytes: before it, and at most during it.
    memory: (u64, u64),
    /// Turns by session.
    turns: BTreeMap<String, usize>,
    /// Sessions that were created and are still there.
    created: BTreeSet<String>,
    deleted: BTreeSet<String>,
    /// What agent profiles said last; `None` for those that were deleted.
    profiles: BTreeMap<String, Option<String>>,
}

async fn migrate(host: &Host, scale: Scale, steps: &[Value]) -> anyhow::Result<Migration> {
    let load = Load::default();
    let message = busy::message(Some(FILE_BYTES));
    let working = try_join_all((0..scale.working).map(async |place| {
        let id = fill::id(place);
        let turns = busy::work(host, &load, &id, place, &message).await?;
        anyhow::Ok((id, turns))
    }));
    // Every third session is deleted again.
    let creating = try_join_all((0..2).map(|number| busy::create(host, &load, number, |count| count % 3 == 2)));
    let migrating = async {
        tokio::time::sleep(STEADY).await;
        let client = admin(host)?;
        let resting = resident(host)?;
        let mut most = resting;
        let mut done = Vec::new();
        for step in steps {
            let began = Instant::now();
            let asked = ask(&client, step);
            tokio::pin!(asked);
            let answer = loop {
                tokio::select! {
                    answer = &mut asked => break answer,
                    () = tokio::time::sleep(LOOK) => most = most.max(resident(host)?),
                }
            };
            done.push(Step { window: (began, began.elapsed()), answer: answer.expect(200) });
            tokio::time::sleep(AFTERWARDS).await;
        }
        load.stop();
        Ok((done, (resting, most)))
    };
    let (turns, created, profiles, (steps, memory)) = tokio::try_join!(working, creating, change_profiles(host, &load), migrating)?;
    let (created, deleted): (Vec<_>, Vec<_>) = created.into_iter().unzip();
    let [created, deleted] = [created, deleted].map(|lists| lists.into_iter().flatten().collect());
    Ok(Migration { load, steps, memory, turns: turns.into_iter().collect(), created, deleted, profiles })
}

fn admin(host: &Host) -> anyhow::Result<Client> {
    let path = host.data_directory().join("admin-key");
    let key = std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    Ok(Client::new(host.base_url(), Some(&key)))
}

/// Beside [`Operator::swap_named`](agent_host_tests::Operator::swap_named), which does not wait for so long.
async fn ask(client: &Client, step: &Value) -> Answer {
    let request = client.request(reqwest::Method::PUT, "/admin/persistence?migrate=true").timeout(DEADLINE);
    client.send(request.json(step)).await
}

/// Adds, changes and deletes agent profiles.
async fn change_profiles(host: &Host, load: &Load) -> anyhow::Result<BTreeMap<String, Option<String>>> {
    let client = host.client();
    let mut profiles = BTreeMap::new();
    let mut change = 0_usize;
    while load.goes_on() {
        let id = format!("changing{}", change % PROFILES);
        let description = (!change.is_multiple_of(DELETION) || !profiles.contains_key(&id)).then(|| format!("as of change {change}"));
        let answer = match &description {
            Some(description) => client.put_profile(&id, &json!({"id": id, "name": id, "description": description})).await,
            None => client.delete_profile(&id).await,
        };
        load.count_failure(answer.status, 200);
        profiles.insert(id, description);
        change += 1;
        tokio::time::sleep(PROFILE_PAUSE).await;
    }
    Ok(profiles)
}

/// That the new store has the sessions that there are, and no others.
fn check_sessions(new: &Stored, scale: Scale, done: &Migration) -> anyhow::Result<()> {
    let expected: BTreeSet<String> = (0..scale.stored).map(fill::id).chain(done.created.iter().cloned()).collect();
    let there = new.sessions()?;
    let (missing, extra): (Vec<_>, Vec<_>) = (expected.difference(&there).collect(), there.difference(&expected).collect());
    ensure!(missing.is_empty() && extra.is_empty(), "the new store lacks the sessions {missing:?} and has besides {extra:?}");
    Ok(())
}

/// That the new store has everything that the sessions did, from before the migration until after it: `before` is how long their transcripts were.
fn check_work(new: &Stored, before: &BTreeMap<String, u64>, turns: &BTreeMap<String, usize>) -> anyhow::Result<()> {
    for (session, &turns) in turns {
        let start = before.get(session).copied().unwrap_or(0);
        let expected = busy::transcript(turns);
        let end = start + expected.len() as u64;
        let length = new.streams(session)?.get("transcript/main").copied().unwrap_or(0);
        ensure!(length == end, "the transcript of {session} has {length} bytes instead of {end}");
        let there = new.stream_digest(session, "transcript/main", start..end)?;
        ensure!(there == digest(expected.as_bytes()), "the transcript of {session} is not that of its turns");
        let file = work::text(turns as u64, FILE_BYTES);
        ensure!(new.file_digest(session, work::FILE)? == digest(file.as_bytes()), "{session} has not the file of its last turn");
    }
    Ok(())
}

/// That the new store has the agent profiles that there are, those that change as they were left.
fn check_profiles(old: &Stored, new: &Stored, changing: &BTreeMap<String, Option<String>>) -> anyhow::Result<()> {
    let fixed = |stored: &Stored| {
        let mut profiles = stored.profiles()?;
        profiles.retain(|id, _| !changing.contains_key(id));
        anyhow::Ok(profiles)
    };
    ensure!(fixed(old)? == fixed(new)?, "the agent profiles are not the same");
    for (id, description) in changing {
        let there = new.description(id)?;
        ensure!(there == *description, "the agent profile {id} is {there:?} instead of {description:?}");
    }
    Ok(())
}

/// That each session's blocks are those of its turns, as the host shows them from the new store.
async fn check_blocks(host: &Host, turns: &BTreeMap<String, usize>) -> anyhow::Result<()> {
    let answer = work::answer(busy::DELTAS);
    for (session, turns) in turns {
        let blocks: Blocks = host.blocks(session).await;
        let asked = blocks.all("user_message").len();
        // The first turn is the one that made the session what it was.
        ensure!(asked == turns + 1, "{session} has {asked} messages instead of {}", turns + 1);
        let answers = blocks.texts("assistant_text");
        let right = answers.iter().skip(1).filter(|text| **text == answer).count();
        ensure!(right == *turns && answers.len() == turns + 1, "{session} has {right} answers of {turns}");
    }
    Ok(())
}
