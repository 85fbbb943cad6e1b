//! Where an agent's files go in its sandbox.

use agent_host_session::path::RelativePath;
use agent_host_session::ports::agent::Invalid;
use agent_host_session::ports::sandbox::{File, Root};
use agent_host_session::profile::Profile;
use bytes::Bytes;

/// A file below the home directory, which the agent does not show to the user.
pub(crate) fn home(path: &str, content: impl Into<Bytes>) -> Result<File, Invalid> {
    let path = RelativePath::new(path).map_err(|error| Invalid(format!("cannot lay down a file for the agent: {error}")))?;
    Ok(File { root: Root::Home, path, content: content.into(), executable: false })
}

/// The files that a new session's workspace begins with.
pub(crate) fn workspace(profile: &Profile) -> impl Iterator<Item = File> + '_ {
    profile.default_workspace_files.iter().map(|file| File {
        root: Root::Workspace,
        path: file.path.clone(),
        content: Bytes::from(file.content.clone()),
        executable: false,
    })
}
