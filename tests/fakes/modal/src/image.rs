//! Images: what their builds say, and what is in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::time::Instant;
use tonic::Status;

use crate::control::{Control, Streamed, result};
use crate::mount::{Files, from_root};
use crate::proto::client::generic_result::GenericStatus;
use crate::proto::client::*;
use crate::root::Contents;
use crate::world::{BuildEnd, State};

/// An image that was asked for.
pub(crate) struct Image {
    pub(crate) bases: Vec<String>,
    pub(crate) commands: Vec<String>,
    /// What its commands copy, and where they do; or why they cannot.
    pub(crate) copied: Result<Files, String>,
    /// What its commands run after they have copied something.
    pub(crate) runs: Vec<String>,
    pub(crate) result: Option<GenericResult>,
    /// When its build began, if it has.
    pub(crate) begun: Option<Instant>,
    /// What a sandbox's files were when it was made of them.
    pub(crate) snapshot: Option<PathBuf>,
}

/// What the commands of a build copy from a mount. What comes after them is run when a sandbox is made of the image; what comes before is taken for done.
fn copied(commands: &[String], mount: Option<&Files>) -> Result<Files, String> {
    let mut files = Files::new();
    for command in commands {
        let words: Vec<_> = command.split_whitespace().collect();
        let (source, destination) = match words.as_slice() {
            // From another image, and there is nothing in those.
            [copy, from, ..] if copy.eq_ignore_ascii_case("COPY") && from.starts_with("--from=") => continue,
            [copy, source, destination] if copy.eq_ignore_ascii_case("COPY") => (*source, *destination),
            [copy, ..] if copy.eq_ignore_ascii_case("COPY") => return Err(format!("the fake cannot carry out {command:?}")),
            _ => continue,
        };
        let mount = mount.ok_or_else(|| format!("{command:?} has nothing to copy from"))?;
        let leads_out = || format!("{command:?} leads out of where it is");
        let (from, to) = (from_root(source).ok_or_else(leads_out)?, from_root(destination).ok_or_else(leads_out)?);
        let mut found = 0;
        for (path, file) in mount {
            let Ok(rest) = path.strip_prefix(&from) else { continue };
            let to = match (rest.as_os_str().is_empty(), from.file_name()) {
                // One file: to that name, or into that directory.
                (true, Some(name)) if destination.ends_with('/') => to.join(name),
                (true, _) => to.clone(),
                (false, _) => to.join(rest),
            };
            files.insert(behind_link(&to), file.clone());
            found += 1;
        }
        if found == 0 && !from.as_os_str().is_empty() {
            return Err(format!("{command:?}: {source:?} is not there"));
        }
    }
    Ok(files)
}

/// What the commands run after they have copied something: that can only be about what was copied. What is run before is taken for done.
fn runs(commands: &[String], has_copied: bool) -> Vec<String> {
    let is_copy = |command: &&String| command.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("COPY"));
    let after = commands.iter().skip_while(|command| !has_copied && !is_copy(command));
    after.filter_map(|command| command.strip_prefix("RUN ")).map(str::to_owned).collect()
}

/// Where a path leads in an image whose programs are this machine's: `/bin` may be a link to `/usr/bin`.
fn behind_link(path: &Path) -> PathBuf {
    let mut components = path.components();
    let target = components.next().and_then(|first| std::fs::read_link(Path::new("/").join(first)).ok());
    let target = target.as_deref().and_then(Path::to_str).and_then(from_root);
    target.map_or_else(|| path.to_owned(), |target| target.join(components))
}

impl State {
    /// What is in an image: what its own layers put there, over those of its base.
    pub(crate) fn contents(&self, image_id: &str) -> Contents {
        let Some(image) = self.images.get(image_id) else { return Contents::default() };
        let mut contents = Contents::default();
        for base in &image.bases {
            contents.extend(self.contents(base));
        }
        if let Some(snapshot) = &image.snapshot {
            // Its base's files are in it, as they were then.
            (contents.snapshot, contents.files) = (Some(snapshot.clone()), BTreeMap::new());
            contents.runs.clear();
        }
        contents.put(image.copied.clone().unwrap_or_default());
        contents.runs.extend(image.runs.iter().cloned());
        contents
    }
}

impl Control {
    /// The image's build, as far as it is by now.
    fn build(&self, image: &mut Image) -> Option<GenericResult> {
        let begun = *image.begun.get_or_insert_with(Instant::now);
        let steps = u32::try_from(image.commands.len()).unwrap_or(u32::MAX);
        if image.result.is_none() && begun.elapsed() >= self.0.options.build_step.saturating_mul(steps) {
            let unbuildable = self.0.unbuildable.lock().clone();
            let end = unbuildable.filter(|(failing, _)| image.commands.iter().any(|command| command.contains(failing)));
            image.result = Some(match (end.map(|(_, end)| end), &image.copied) {
                (Some(BuildEnd::Failed), _) => result(GenericStatus::Failure, "Image build terminated due to a failing command"),
                (Some(BuildEnd::Terminated), _) => result(GenericStatus::Terminated, ""),
                (Some(BuildEnd::TimedOut), _) => result(GenericStatus::Timeout, ""),
                (None, Err(reason)) => result(GenericStatus::Failure, reason),
                (None, Ok(_)) => result(GenericStatus::Success, ""),
            });
        }
        image.result.clone()
    }

    pub(crate) fn get_or_create(&self, request: ImageGetOrCreateRequest) -> Result<ImageGetOrCreateResponse, Status> {
        let image = request.image.ok_or_else(|| Status::invalid_argument("there is no image"))?;
        let mount_id = image.context_mount_id;
        let bases: Vec<_> = image.base_images.into_iter().map(|base| base.image_id).collect();
        let recipe = format!("{bases:?} {:?} {mount_id}", image.dockerfile_commands);
        let digest = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, recipe.as_bytes());
        let image_id = format!("im-{}", &digest.simple().to_string()[..22]);
        let mut state = self.0.state.lock();
        if bases.iter().any(|base| !state.images.contains_key(base)) {
            return Err(Status::not_found("there is no such base image"));
        }
        let mount = state.mounts.get(&mount_id);
        if mount.is_none() && !mount_id.is_empty() {
            return Err(Status::not_found("there is no such mount"));
        }
        let has_copied = bases.iter().any(|base| !state.contents(base).files.is_empty());
        let known = state.images.entry(image_id.clone()).or_insert_with(|| Image {
            bases,
            copied: copied(&image.dockerfile_commands, mount.as_deref()),
            runs: runs(&image.dockerfile_commands, has_copied),
            commands: image.dockerfile_commands,
            result: None,
            begun: None,
            snapshot: None,
        });
        // A build that failed is begun again.
        if known.result.as_ref().is_some_and(|result| result.status() != GenericStatus::Success) {
            (known.result, known.begun) = (None, None);
        }
        Ok(ImageGetOrCreateResponse { image_id, result: known.result.clone() })
    }

    /// One entry of the log for each command, and then the result.
    pub(crate) fn follow(&self, request: ImageJoinStreamingRequest) -> Streamed<ImageJoinStreamingResponse> {
        self.entries(request).boxed()
    }

    fn entries(&self, request: ImageJoinStreamingRequest) -> impl Stream<Item = Result<ImageJoinStreamingResponse, Status>> + use<> {
        let control = self.clone();
        let seen: usize = request.last_entry_id.parse().unwrap_or(0);
        let deadline = Instant::now() + Duration::try_from_secs_f32(request.timeout).unwrap_or_default();
        futures_util::stream::unfold((seen, false), move |(seen, is_over)| {
            let (control, image_id) = (control.clone(), request.image_id.clone());
            async move {
                if is_over {
                    return None;
                }
                loop {
                    let (command, result) = {
                        let mut state = control.0.state.lock();
                        let image = state.images.get_mut(&image_id)?;
                        let result = control.build(image);
                        let passed = image.begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
                        let step = control.0.options.build_step.as_secs_f64();
                        let is_done = result.is_some() || passed >= step * (seen + 1) as f64;
                        (image.commands.get(seen).filter(|_| is_done).cloned(), result)
                    };
                    if let Some(command) = command {
                        let log = TaskLogs { data: format!("=> {command}\n"), file_descriptor: FileDescriptor::Stdout.into() };
                        let entry_id = (seen + 1).to_string();
                        let message = ImageJoinStreamingResponse { task_logs: vec![log], entry_id, ..Default::default() };
                        return Some((Ok(message), (seen + 1, false)));
                    }
                    if let Some(result) = result {
                        let message = ImageJoinStreamingResponse { result: Some(result), eof: true, ..Default::default() };
                        return Some((Ok(message), (seen, true)));
                    }
                    if Instant::now() >= deadline {
                        return None;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::File;

    fn file(contents: &'static str) -> File {
        File { contents: contents.into(), mode: 0o644 }
    }

    #[test]
    fn what_is_copied_goes_where_the_command_says() {
        let mount = Files::from([("a/b c".into(), file("1")), ("a/d/e".into(), file("2")), ("f".into(), file("3"))]);
        let paths = |command: &str| {
            let copied = copied(&["FROM base".to_owned(), command.to_owned(), "RUN true".to_owned()], Some(&mount));
            copied.map(|files| files.into_keys().map(|path| path.display().to_string()).collect::<Vec<_>>())
        };
        assert_eq!(paths("COPY . /").unwrap(), ["a/b c", "a/d/e", "f"]);
        assert_eq!(paths("COPY . /work/").unwrap(), ["work/a/b c", "work/a/d/e", "work/f"]);
        assert_eq!(paths("COPY /a/. /work").unwrap(), ["work/b c", "work/d/e"]);
        assert_eq!(paths("copy f /work/g").unwrap(), ["work/g"]);
        assert_eq!(paths("COPY f /work/").unwrap(), ["work/f"]);
        assert!(paths("COPY --from=other / /work").unwrap().is_empty());
        for bad in ["COPY g /work", "COPY . /../work", "COPY f"] {
            paths(bad).unwrap_err();
        }
        assert!(copied(&["COPY . /".to_owned()], None).is_err());
        if let Ok(target) = std::fs::read_link("/bin") {
            let expected = Path::new("/").join(target).join("f").display().to_string();
            assert_eq!(paths("COPY f /bin/").unwrap(), [expected.trim_start_matches('/')]);
        }
    }
}
