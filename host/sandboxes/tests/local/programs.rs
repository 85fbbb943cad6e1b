//! How an agent's program is found, and that it then runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use agent_host_session::ports::sandbox::{Error, File, Root, Sandbox};
use tempfile::TempDir;

use crate::support::{Place, command, file, path, run};

/// A directory outside of `/tmp`, as a home directory is.
fn home() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn program(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Node as nvm installs it (a shell stands in for it), with a command from an npm package.
fn nvm(home: &Path) -> PathBuf {
    let prefix = home.join(".nvm/versions/node/v22.1.0");
    program(&prefix.join("bin/node"), "#!/bin/sh\necho node runs; exec /bin/sh \"$@\"\n");
    let package = prefix.join("lib/node_modules/@acme/agent");
    program(&package.join("cli.js"), "#!/usr/bin/env node\n. \"$(dirname \"$(readlink -f \"$0\")\")/../helper/part.sh\"\n");
    fs::create_dir_all(prefix.join("lib/node_modules/@acme/helper")).unwrap();
    fs::write(prefix.join("lib/node_modules/@acme/helper/part.sh"), "echo agent runs as $(basename \"$0\") with $1\n").unwrap();
    symlink("../lib/node_modules/@acme/agent/cli.js", prefix.join("bin/agent")).unwrap();
    fs::write(home.join("secret"), "x").unwrap();
    prefix.join("bin")
}

/// Places whose `PATH` begins with `directory`.
fn places(directory: &Path) -> Vec<Place> {
    let search = format!("{}:/usr/local/bin:/usr/bin:/bin", directory.display());
    let isolated = Place::isolated_with(|options| options.path = search.clone().into());
    let open = Place::try_new(|options| {
        options.isolation = agent_host_sandboxes::local::Isolation::None;
        options.path = search.clone().into();
    });
    isolated.into_iter().chain([open.unwrap()]).collect()
}

async fn output(sandbox: &dyn Sandbox, name: &str) -> String {
    let output = run(sandbox, command(name, &["argument"])).await;
    assert_eq!(output.exit.code, Some(0), "{output:?}");
    output.stdout
}

#[tokio::test]
async fn a_command_installed_by_npm_under_nvm_runs() {
    let home = home();
    let bin = nvm(home.path());
    for place in places(&bin) {
        let sandbox = &*place.sandbox().await;
        assert_eq!(output(sandbox, "agent").await, "node runs\nagent runs as agent with argument\n");
    }
}

#[tokio::test]
async fn the_rest_of_the_home_directory_stays_hidden() {
    let home = home();
    let bin = nvm(home.path());
    program(&bin.join("peek"), &format!("#!/bin/sh\nls -A {0}; cat {0}/secret\n", home.path().display()));
    let Some(place) = Place::isolated_with(|options| options.path = format!("{}:/usr/bin", bin.display()).into()) else { return };
    let output = run(&*place.sandbox().await, command("peek", &[])).await;
    assert_eq!(output.stdout, ".nvm\n");
    assert!(output.stderr.contains("secret"));
}

#[tokio::test]
async fn a_program_below_a_path_that_is_the_sandboxs_own_runs_again_and_again() {
    // `/tmp` is the sandbox's own, and the program is in the host's.
    let home = tempfile::tempdir().unwrap();
    let bin = nvm(home.path());
    for place in places(&bin) {
        let sandbox = &*place.sandbox().await;
        for _ in 0..2 {
            assert_eq!(output(sandbox, "agent").await, "node runs\nagent runs as agent with argument\n");
        }
    }
}

#[tokio::test]
async fn a_link_in_the_way_of_a_program_is_not_followed_out_of_the_sandbox() {
    let home = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    let bin = nvm(home.path());
    let Some(place) = Place::isolated_with(|options| options.path = format!("{}:/usr/bin:/bin", bin.display()).into()) else { return };
    let sandbox = &*place.sandbox().await;
    let name = home.path().file_name().unwrap();
    symlink(target.path(), place.path(sandbox).join("tmp").join(name)).unwrap();
    assert!(sandbox.spawn(command("agent", &[])).await.is_err());
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_program_laid_into_the_sandbox_runs_from_there() {
    for place in Place::all() {
        let sandbox = &*place.sandbox().await;
        let content = b"#!/bin/sh\necho here\n".to_vec().into();
        sandbox.write(vec![File { root: Root::Home, path: path("bin/agent"), content, executable: true }]).await.unwrap();
        let program = format!("{}/bin/agent", sandbox.layout().home);
        assert_eq!(output(sandbox, &program).await, "here\n");
    }
}

#[tokio::test]
async fn what_is_not_there_is_named_with_the_path_and_the_key() {
    for place in places(Path::new("/a/directory/of/this/test")) {
        let sandbox = &*place.sandbox().await;
        let error = sandbox.spawn(command("no-such-agent", &[])).await.err().unwrap();
        let text = error.to_string();
        assert!(matches!(error, Error::ProgramNotFound(_)), "{text}");
        for part in ["no-such-agent", "/a/directory/of/this/test", ".command"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_no_program_is_an_error() {
    for place in Place::all() {
        let sandbox = &*place.sandbox().await;
        sandbox.write(vec![file(Root::Home, "agent", b"text")]).await.unwrap();
        let program = format!("{}/agent", sandbox.layout().home);
        let failed = match sandbox.spawn(command(&program, &[])).await {
            Ok(process) => crate::support::finish(process, b"").await.exit.code != Some(0),
            Err(error) => error.to_string().contains(&program),
        };
        assert!(failed);
    }
}
