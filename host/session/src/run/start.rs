//! Making a sandbox and starting the agent in it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::asking::Asking;
use super::{End, Plan, RunEvent, Transcripts, files, send};
use crate::path::RelativePath;
use crate::ports::agent::{Driver, LaunchContext};
use crate::ports::sandbox::{self, File, Needs, Process, Project, Provided, Root, Sandbox, Spec};
use crate::ports::store;
use crate::profile::{BundledMcp, Profile};

/// All transcripts of an agent together: what is longer was stored long before.
const MAX_RECOVERED_BYTES: u64 = 512 * 1024 * 1024;

/// Files that count as a step when many are taken in.
const REPORTED: usize = 20;

/// A sandbox with the agent's process in it.
pub(super) struct Started {
    pub(super) sandbox: Arc<dyn Sandbox>,
    pub(super) process: Process,
    pub(super) driver: Box<dyn Driver>,
    pub(super) asking: Asking,
    /// Whether hooks decide on tools, as of when the agent was started.
    pub(super) asks_tools: watch::Receiver<bool>,
}

/// What is known before there is a sandbox.
pub(super) struct Prepared {
    profile: Profile,
    spec: Spec,
    /// As they are stored, with what was taken over.
    transcripts: Transcripts,
    /// The sandbox that an earlier process of the host has left. What the agent did in it when nobody listened is told to the session, or stored.
    left: Option<Arc<dyn Sandbox>>,
}

impl Prepared {
    /// The sandbox that was left, if there is one.
    pub(super) fn left(&self) -> Option<Arc<dyn Sandbox>> {
        self.left.clone()
    }
}

/// Finds the sandbox that an earlier process of the host has left for the session, if it is the latest, and takes over what is in it. Whoever began this must not drop it: what is
/// in the sandbox would be lost.
///
/// Each step forward is told to `progressed`.
pub(super) async fn prepare(plan: &Plan, events: &mpsc::Sender<RunEvent>, progressed: &watch::Sender<()>) -> Result<Prepared, End> {
    let profile = load_profile(plan).await?;
    let spec = Spec {
        session: plan.session.clone(),
        epoch: plan.epoch,
        since: plan.since,
        needs: Needs {
            npm_packages: packages(&profile.npm_dependencies, profile.skills.iter().map(|skill| &skill.npm_dependencies)),
            pip_packages: packages(&profile.pip_dependencies, profile.skills.iter().map(|skill| &skill.pip_dependencies)),
            projects: profile.bundled_mcps.iter().map(project).collect(),
        },
        files: plan.files.clone(),
    };
    // Before the sandbox is looked for: while the store is away, it is left where it is.
    let mut transcripts = restore_transcripts(plan).await?;
    let found = plan.provider.find(spec.clone()).await.map_err(sandbox_failed)?;
    let left: Option<Arc<dyn Sandbox>> = found.map(Arc::from);
    if let Some(sandbox) = &left {
        take_over(plan, sandbox.as_ref(), &mut transcripts, events, progressed).await?;
    }
    Ok(Prepared { profile, spec, transcripts, left })
}

/// Takes over what an agent did when nobody listened: the sandbox has the latest workspace.
async fn take_over(
    plan: &Plan,
    sandbox: &dyn Sandbox,
    transcripts: &mut Transcripts,
    events: &mpsc::Sender<RunEvent>,
    progressed: &watch::Sender<()>,
) -> Result<(), End> {
    send(events, RunEvent::Started { sandbox_id: sandbox.id().to_owned() }).await;
    let changed = sandbox.flush_changes().await.map_err(sandbox_failed)?;
    for changed in changed.chunks(REPORTED) {
        files::report(sandbox, changed.to_vec(), plan.limits.file_bytes, events).await;
        progressed.send_replace(());
    }
    recover_transcripts(plan, sandbox, transcripts, events).await;
    progressed.send_replace(());
    Ok(())
}

/// Makes the sandbox if none was left, lays everything down in one go and starts the agent.
///
/// Each step forward is told to `progressed`.
pub(super) async fn start(
    plan: Plan,
    prepared: Prepared,
    events: &mpsc::Sender<RunEvent>,
    progressed: &watch::Sender<()>,
) -> Result<Started, End> {
    let Prepared { profile, spec, mut transcripts, left } = prepared;
    let progress = |text: &str| {
        // What is told to people on the way may be left out when the session does not keep up.
        drop(events.try_send(RunEvent::Progress(text.to_owned())));
        progressed.send_replace(());
    };
    let (sandbox, is_adopted) = match left {
        Some(sandbox) => (sandbox, true),
        None => {
            let Provided { sandbox, is_adopted } = plan.provider.start(spec, &progress).await.map_err(sandbox_failed)?;
            let sandbox: Arc<dyn Sandbox> = Arc::from(sandbox);
            if is_adopted {
                take_over(&plan, sandbox.as_ref(), &mut transcripts, events, progressed).await?;
            } else {
                send(events, RunEvent::Started { sandbox_id: sandbox.id().to_owned() }).await;
            }
            (sandbox, is_adopted)
        }
    };
    let mut files = if is_adopted { Vec::new() } else { restore_workspace(&plan).await? };

    let mut asks_tools = plan.hooks.tools();
    let launch = plan
        .architecture
        .launch(LaunchContext {
            profile: &profile,
            options: &plan.options,
            layout: sandbox.layout(),
            agent_session_id: plan.agent_session_id.as_deref(),
            transcripts: &transcripts,
            asks_tools: *asks_tools.borrow_and_update(),
            environment: Arc::clone(&plan.environment),
        })
        .map_err(|error| End::Failed { code: "AGENT_FAILED", message: format!("failed to start the agent: {error}") })?;

    let stored: HashSet<RelativePath> = files.iter().map(|file| file.path.clone()).collect();
    let mut new_files = Vec::new();
    for file in launch.files {
        let is_default = file.root == Root::Workspace;
        if is_default && (!plan.is_first || is_adopted || stored.contains(&file.path)) {
            continue;
        }
        if is_default {
            new_files.push(file.path.clone());
        }
        files.push(file);
    }
    sandbox.write(files).await.map_err(sandbox_failed)?;
    files::report(sandbox.as_ref(), new_files, plan.limits.file_bytes, events).await;
    let process = sandbox.spawn(launch.command).await.map_err(sandbox_failed)?;
    let asking = Asking::new(plan.hooks, plan.session);
    Ok(Started { sandbox, process, driver: launch.driver, asking, asks_tools })
}

/// Stores what the agent wrote into its own transcripts when nobody listened, and adds it to what is known of them. That it cannot be had is no reason not to go on.
async fn recover_transcripts(plan: &Plan, sandbox: &dyn Sandbox, known: &mut Transcripts, events: &mpsc::Sender<RunEvent>) {
    let Some(directory) = plan.architecture.transcripts(sandbox.layout()) else { return };
    let Some(agent_session_id) = &plan.agent_session_id else { return };
    let files = match sandbox.read_home(&directory, MAX_RECOVERED_BYTES).await {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(session = %plan.session, sandbox = sandbox.id(), %error, "the agent's own transcripts cannot be read");
            return;
        }
    };
    let added = plan.architecture.recover(agent_session_id, known, &files);
    if added.is_empty() {
        return;
    }
    tracing::info!(session = %plan.session, bytes = added.values().map(Bytes::len).sum::<usize>(), "what an agent wrote while no host listened is stored");
    for (stream, bytes) in &added {
        let whole = [known.get(stream).map_or(&[][..], Bytes::as_ref), bytes].concat();
        known.insert(stream.clone(), whole.into());
    }
    let (stored, are_stored) = oneshot::channel();
    send(events, RunEvent::Recovered { transcripts: added, stored }).await;
    // The agent goes on from it, so it is in the store before.
    drop(are_stored.await);
}

fn sandbox_failed(error: sandbox::Error) -> End {
    End::Failed { code: "SANDBOX_FAILED", message: error.to_string() }
}

fn store_failed(what: &str, error: &store::Error) -> End {
    // What the adapter says is for the operator.
    tracing::error!(what, %error, "failed to read from the store");
    End::Failed { code: "STORE_FAILED", message: format!("failed to read {what} from the store") }
}

fn project(server: &BundledMcp) -> Project {
    Project { name: server.name.as_str().to_owned(), path: server.local_project_path.clone(), install: server.install_command.clone() }
}

fn packages<'a>(own: &'a [String], of_skills: impl Iterator<Item = &'a Vec<String>>) -> Vec<String> {
    let mut packages: Vec<String> = own.iter().chain(of_skills.flatten()).cloned().collect();
    packages.sort();
    packages.dedup();
    packages
}

/// Between two tries to read from a store that is away. As long as nothing can be read there is no progress, which ends the start in time.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads from the store, again and again while it is away: whatever depends on it would be given up otherwise, be it a turn or what an agent has left.
async fn patiently<T, F: Future<Output = Result<T, store::Error>>>(read: impl Fn() -> F) -> Result<T, store::Error> {
    loop {
        match read().await {
            Err(error) if error.is_transient() => tracing::warn!(%error, "failed to read from the store; trying again"),
            result => return result,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn load_profile(plan: &Plan) -> Result<Profile, End> {
    match patiently(|| plan.store.load_profile(&plan.profile)).await {
        Ok(Some(profile)) => Ok(profile),
        Ok(None) => Err(End::Failed {
            code: "PROFILE_NOT_FOUND",
            message: format!("the agent profile {:?} does not exist any more", plan.profile.as_str()),
        }),
        Err(error) => Err(store_failed("the agent profile", &error)),
    }
}

async fn restore_transcripts(plan: &Plan) -> Result<Transcripts, End> {
    let mut transcripts = Transcripts::new();
    for stream in &plan.transcripts {
        let content = patiently(|| store::read_stream(plan.store.as_ref(), &plan.session, stream, 0))
            .await
            .map_err(|error| store_failed("the transcript", &error))?;
        if !content.is_empty() {
            transcripts.insert(stream.clone(), content.into());
        }
    }
    Ok(transcripts)
}

async fn restore_workspace(plan: &Plan) -> Result<Vec<File>, End> {
    let mut files = Vec::new();
    for file in plan.files.iter().filter(|file| file.sha256.is_some()) {
        let content = match patiently(|| store::read_file(plan.store.as_ref(), &plan.session, &file.path)).await {
            Ok(content) => content,
            // A host that died between removing the file and recording that: the session must go on without it.
            Err(store::Error::NotFound(_)) => {
                tracing::warn!(session = %plan.session, path = %file.path, "a workspace file is not in the store any more");
                continue;
            }
            Err(error) => return Err(store_failed(&format!("the workspace file {}", file.path), &error)),
        };
        files.push(File { root: Root::Workspace, path: file.path.clone(), content: Bytes::from(content), executable: false });
    }
    Ok(files)
}
