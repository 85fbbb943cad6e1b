//! What an agent sees of the machine and what it does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agent_host_sandboxes::local::{Error, Isolation};
use agent_host_session::ports::sandbox::Root;

use crate::support::{Place, command, file, run, script, shell};

#[tokio::test]
async fn an_isolated_agent_sees_its_own_tree_and_nothing_else_of_the_host() {
    let Some(place) = Place::isolated() else { return };
    let (one, other) = (place.sandbox().await, place.sandbox().await);
    other.write(vec![file(Root::Workspace, "secret", b"x")]).await.unwrap();
    fs::write(place.directory.path().join("host.db"), "x").unwrap();
    let (one, other) = (&*one, &*other);

    assert_eq!(script(one, "pwd; echo $HOME; echo $TMPDIR").await, "/workspace\n/home/agent\n/tmp");
    assert_eq!(
        script(one, "ls -A / | tr '\\n' ' '").await.replace("lib32 ", "").replace("lib64 ", "").replace("libx32 ", ""),
        "bin dev etc home lib proc run sbin tmp usr var workspace "
    );
    let directory = place.directory.path().canonicalize().unwrap();
    let hidden = [
        directory.join("host.db"),
        directory.join("sandboxes"),
        place.workspace(other).join("secret"),
        place.path(one).join("sandbox.json"),
        Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"),
        "/root".into(),
        "/etc/shadow".into(),
        "/etc/ssl/private".into(),
        "/var/log".into(),
        "/sys".into(),
        "/boot".into(),
    ];
    for path in hidden {
        let path = path.to_str().unwrap();
        assert_eq!(script(one, &format!("test -e {path} && echo visible || echo hidden")).await, "hidden", "{path}");
    }
}

#[tokio::test]
async fn an_isolated_agent_has_an_identity_and_no_power() {
    let Some(place) = Place::isolated() else { return };
    let sandbox = &*place.sandbox().await;
    assert_eq!(script(sandbox, "id -u; id -un; hostname").await, "1000\nagent\nsandbox");
    assert_eq!(script(sandbox, "grep CapEff /proc/self/status | tr -d '\\t '").await, "CapEff:0000000000000000");
    assert_eq!(script(sandbox, "grep NoNewPrivs /proc/self/status | tr -d '\\t '").await, "NoNewPrivs:1");
    for target in ["/usr/x", "/etc/x", "/x", "/home/x", "/var/x", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"] {
        let result = script(sandbox, &format!("(: > {target}) 2>/dev/null && echo written || echo refused")).await;
        assert_eq!(result, "refused", "{target}");
    }
}

#[tokio::test]
async fn a_namespace_of_its_own_gives_an_isolated_agent_no_more() {
    let Some(place) = Place::isolated() else { return };
    let sandbox = &*place.sandbox().await;
    for attempt in [
        "umount /proc/sys && : > /proc/sys/kernel/core_pattern",
        "mount -o remount,bind,rw /proc/sys && : > /proc/sys/kernel/core_pattern",
        "mount -t proc proc /tmp && : > /tmp/sys/kernel/core_pattern",
        "mount -o remount,bind,rw /usr && : > /usr/x",
    ] {
        let output =
            run(sandbox, command("unshare", &["--user", "--map-root-user", "--mount", "--pid", "--fork", "sh", "-c", attempt])).await;
        assert!(output.exit.code.is_some_and(|code| code != 0), "{attempt}: {output:?}");
    }
}

#[tokio::test]
async fn an_isolated_agent_sees_no_process_but_its_own() {
    let Some(place) = Place::isolated() else { return };
    let sandbox = &*place.sandbox().await;
    let host = std::process::id();
    // The first process of its namespace is bubblewrap's, the second the shell.
    assert_eq!(script(sandbox, "echo $$").await, "2");
    assert_eq!(script(sandbox, &format!("kill -0 {host} 2>/dev/null && echo seen || echo hidden")).await, "hidden");
}

#[tokio::test]
async fn temporary_files_are_each_sandboxs_own() {
    for place in Place::all() {
        let (one, other) = (place.sandbox().await, place.sandbox().await);
        script(&*one, "echo mine > $TMPDIR/file").await;
        assert_eq!(script(&*other, "ls -A $TMPDIR").await, "");
        assert_eq!(script(&*one, "cat $TMPDIR/file").await, "mine");
        assert_eq!(fs::read_to_string(place.path(&*one).join("tmp/file")).unwrap(), "mine\n");
    }
}

#[tokio::test]
async fn the_system_works_inside() {
    let Some(place) = Place::isolated() else { return };
    let sandbox = &*place.sandbox().await;
    assert_eq!(script(sandbox, "echo x > /dev/null; head -c 4 /dev/urandom | wc -c").await, "4");
    for path in ["/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs"].into_iter().filter(|path| Path::new(path).exists()) {
        script(sandbox, &format!("ls {path} > /dev/null")).await;
    }
}

#[tokio::test]
async fn more_can_be_made_readable() {
    let more = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::write(more.path().join("data"), "shared").unwrap();
    let path = more.path().to_owned();
    let Some(place) = Place::isolated_with(|options| options.readable.push(path.clone())) else { return };
    let sandbox = &*place.sandbox().await;
    let (data, path) = (path.join("data"), path.display());
    assert_eq!(script(sandbox, &format!("cat {}", data.display())).await, "shared");
    assert_eq!(script(sandbox, &format!("touch {path}/new 2>/dev/null && echo written || echo refused")).await, "refused");
}

#[tokio::test]
async fn the_environment_is_exactly_what_is_configured() {
    for place in Place::all() {
        let sandbox = &*place.sandbox().await;
        let mut command = shell("env | grep -v ^_=");
        command.env = vec![
            ("API_KEY".to_owned(), "a b\nc".to_owned()),
            ("TERM".to_owned(), "xterm".to_owned()),
            ("LD_BIND_NOW".to_owned(), "1".to_owned()),
        ];
        let output = run(sandbox, command).await;
        let mut names: Vec<&str> = output.stdout.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        names.sort_unstable();
        let expected = ["API_KEY", "HOME", "LANG", "LD_BIND_NOW", "LOGNAME", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "USER"];
        // Some shells count how deep they are.
        names.retain(|&name| name != "SHLVL");
        assert_eq!(names, expected, "{}", output.stderr);
        assert!(output.stdout.contains("API_KEY=a b\nc\n") && output.stdout.contains("TERM=xterm\n"));
        assert!(output.stdout.contains("PATH=/usr/local/bin:/usr/bin:/bin\n"), "{}", output.stdout);
    }
}

#[tokio::test]
async fn a_secret_in_the_environment_is_in_no_command_line() {
    for place in Place::all() {
        let sandbox = &*place.sandbox().await;
        let mut command = shell("read line");
        command.env = vec![("API_KEY".to_owned(), "the-secret-of-this-test".to_owned())];
        let process = sandbox.spawn(command).await.unwrap();
        assert_eq!(crate::support::processes_with("the-secret-of-this-test"), 0);
        crate::support::finish(process, b"\n").await;
    }
}

#[tokio::test]
async fn without_isolation_everything_is_below_the_sandboxs_own_directory() {
    let place = Place::open();
    assert!(!place.local.is_isolated());
    let sandbox = &*place.sandbox().await;
    let directory = place.path(sandbox);
    let expected = format!("{0}/workspace\n{0}/home\n{0}/tmp", directory.display());
    assert_eq!(script(sandbox, "pwd; echo $HOME; echo $TMPDIR").await, expected);
    assert_eq!(sandbox.layout().workspace, directory.join("workspace").to_str().unwrap());
    assert_eq!(fs::metadata(directory.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let tag: serde_json::Value = serde_json::from_str(&fs::read_to_string(directory.join("sandbox.json")).unwrap()).unwrap();
    assert_eq!((&tag["session"], &tag["epoch"]), (&"a-session".into(), &1.into()));
}

#[test]
fn required_isolation_without_bubblewrap_is_refused_with_the_way_out() {
    let error = Place::try_new(|options| {
        options.isolation = Isolation::Required;
        options.bubblewrap = "no-such-bwrap".into();
    })
    .err()
    .unwrap();
    let text = error.to_string();
    assert!(matches!(error, Error::Isolation(_)));
    assert!(text.contains("no-such-bwrap") && text.contains("sandbox.local.isolation") && text.contains("install"), "{text}");
}

#[test]
fn a_bubblewrap_that_is_there_and_fails_is_not_taken_for_isolation() {
    let broken = |isolation| {
        Place::try_new(|options| {
            options.isolation = isolation;
            options.bubblewrap = "/bin/false".into();
        })
    };
    assert!(matches!(broken(Isolation::Required), Err(Error::Isolation(_))));
    assert!(!broken(Isolation::Auto).unwrap().local.is_isolated());
}

#[test]
fn options_that_would_lay_sandboxes_open_are_refused() {
    for path in ["/", "relative", "/no/such/path", "/tmp"] {
        let error = Place::try_new(|options| options.readable.push(path.into())).err().unwrap();
        assert!(matches!(error, Error::Option { key: "readable", .. }), "{path}: {error}");
    }
    let error = Place::try_new(|options| options.ignore.push("[z-a]".into())).err().unwrap();
    assert!(matches!(error, Error::Option { key: "ignore", .. }), "{error}");
}
