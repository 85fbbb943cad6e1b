//! What errors say: the key, the value and the place.

use super::*;

#[test]
fn an_error_names_key_value_and_place() {
    let duration = r#"expected a duration such as "15m", "1h 30m" or "500ms""#;
    let positive = "expected a duration of more than zero and at most 8760h";
    let size = r#"expected a size such as "10 MiB", "512 KB" or a number of bytes, at least 1"#;
    for (toml, expected) in [
        ("[session]\nidle_timeout = 'soon'", format!(r#"agent-host.toml:2:16: session.idle_timeout = "soon": {duration}"#)),
        ("\n[session]\n  sync_interval = 30", format!("agent-host.toml:3:19: session.sync_interval = 30: {duration}")),
        ("session.sync_interval = '0s'", format!(r#"agent-host.toml:1:25: session.sync_interval = "0s": {positive}"#)),
        ("session.sync_interval = '8761h'", format!(r#"agent-host.toml:1:25: session.sync_interval = "8761h": {positive}"#)),
        ("limits.line = '3 parsecs'", format!(r#"agent-host.toml:1:15: limits.line = "3 parsecs": {size}"#)),
        ("limits.line = -1", format!("agent-host.toml:1:15: limits.line = -1: {size}")),
        (
            "telemetry.sample_ratio = 1.5",
            "agent-host.toml:1:26: telemetry.sample_ratio = 1.5: expected a number from 0 to 1".into(),
        ),
        (
            "telemetry.otlp_endpoint = 'http://user:key@host'",
            r#"agent-host.toml:1:27: telemetry.otlp_endpoint = (hidden): expected a URL such as "http://localhost:4318", without user, query or fragment"#
                .into(),
        ),
        ("limits.queue = 0", "agent-host.toml:1:16: limits.queue = 0: expected a whole number, at least 1".into()),
        ("persistence.limits.instances = 1.5", "agent-host.toml:1:32: persistence.limits.instances = 1.5: expected a whole number, at least 1".into()),
        (
            "listen = 'localhost'",
            r#"agent-host.toml:1:10: listen = "localhost": expected an IP address with a port, such as "127.0.0.1:7878" or "[::1]:7878""#
                .into(),
        ),
        ("log_format = 'xml'", r#"agent-host.toml:1:14: log_format = "xml": expected "text" or "json""#.into()),
        (
            "[sandbox.local]\nisolation = true",
            r#"agent-host.toml:2:13: sandbox.local.isolation = true: expected "auto" or "required" or "none""#.into(),
        ),
        (
            "sandbox.local.ignore = [\n  'a',\n  5,\n]",
            "agent-host.toml:3:3: sandbox.local.ignore[1] = 5: expected a text in quotes".into(),
        ),
        (
            "sandbox.local.ignore = 'a'",
            r#"agent-host.toml:1:24: sandbox.local.ignore = "a": expected a list such as ["a", "b"]"#.into(),
        ),
        (
            "[persistence.config]\nk = 5",
            "agent-host.toml:2:5: persistence.config.k = 5: expected a text in quotes".into(),
        ),
        (
            "persistence.component = 'postgres'",
            r#"agent-host.toml:1:25: persistence.component = "postgres": expected "sqlite", "postgresql", "memory", the path of a .wasm file or oci://HOST/REPOSITORY@sha256:DIGEST"#.into(),
        ),
        (
            "persistence.component = 'oci://ghcr.io/a:1'",
            r#"agent-host.toml:1:25: persistence.component = "oci://ghcr.io/a:1": "oci://ghcr.io/a:1" names no component in a registry: it has no digest, and a tag may mean something else tomorrow; expected oci://HOST/REPOSITORY@sha256:DIGEST"#.into(),
        ),
        (
            "[components.registry.logins]\n'ghcr.io' = { username = 'acme', token = 'x' }",
            r#"agent-host.toml:2:34: unknown key components.registry.logins."ghcr.io".token: a login has username, password"#.into(),
        ),
        (
            "[components.registry.logins]\n'ghcr.io' = { username = 'acme' }",
            r#"agent-host.toml:2:13: components.registry.logins."ghcr.io" = { username = "acme" }: password is missing"#.into(),
        ),
        (
            "persistence.component = 'a.wasm'",
            r#"agent-host.toml:1:25: persistence.component = "a.wasm": there is no file DIR/a.wasm"#.into(),
        ),
        (
            "[persistence.grants]\ndatabases = { main = 'pg:x' }",
            r#"agent-host.toml:2:22: persistence.grants.databases.main = "pg:x": expected "sqlite:PATH", "postgres://USER@HOST/DATABASE" or a table such as { url = "postgres://USER@HOST/DATABASE", password = "env:NAME" }"#.into(),
        ),
        (
            "[persistence.grants]\ndatabases = { main = 'postgres://a:s3cret@db/b' }",
            r#"agent-host.toml:2:22: persistence.grants.databases.main = (hidden): a password is not written into the configuration, which is copied, committed and shown; write { url = "postgres://USER@HOST/DATABASE", password = "env:NAME" }, or refer to the whole URL as "env:NAME""#.into(),
        ),
        (
            "[[persistence.grants.dirs]]\nhost = 'x'\nguest = 'data'",
            r#"agent-host.toml:3:9: persistence.grants.dirs[0].guest = "data": expected an absolute path such as "/data""#.into(),
        ),
        (
            "persistence.grants.dirs = [{ host = 'x' }]",
            r#"agent-host.toml:1:28: persistence.grants.dirs[0] = { host = "x" }: guest is missing: the directory as the component sees it"#
                .into(),
        ),
        (
            "auth.allowed_origins = ['*']",
            "agent-host.toml:1:25: auth.allowed_origins[0] = \"*\": expected an origin such as \"https://example.org\" \
             or \"http://localhost:3000\", without a path"
                .into(),
        ),
        ("session = 5", "agent-host.toml:1:11: session = 5: it is a section: write [session]".into()),
        (
            "limits.body = '1 MiB'",
            "agent-host.toml:1:15: limits.body = \"1 MiB\": a body holds a message, so limits.message can be at most limits.body".into(),
        ),
        (
            "limits.message = '1 GiB'",
            "agent-host.toml:1:18: limits.message = \"1 GiB\": a body holds a message, so limits.message can be at most limits.body".into(),
        ),
    ] {
        assert_eq!(Setup::new().toml(toml).error(), expected);
    }
    assert_eq!(
        Setup::new().variable("AGENT_HOST_SESSION_IDLE_TIMEOUT", "soon").error(),
        format!(r#"environment variable AGENT_HOST_SESSION_IDLE_TIMEOUT: session.idle_timeout = "soon": {duration}"#)
    );
    assert_eq!(
        Setup::new().flag("session.idle_timeout", "soon").error(),
        format!(r#"flag --session.idle-timeout: session.idle_timeout = "soon": {duration}"#)
    );
}

#[test]
fn an_error_quotes_a_long_value_only_in_part() {
    assert!(Setup::new().toml(&format!("log_format = '{}'", "ä".repeat(100_000))).error().len() < 500);
}

#[test]
fn an_unknown_key_is_refused_and_its_value_not_shown() {
    for (toml, expected) in [
        (
            "colour = 1",
            "agent-host.toml:1:1: unknown key colour: at the top there are \
             agents, auth, components, data_dir, events, hooks, journal, leases, limits, listen, log_format, persistence, profiles, sandbox, session",
        ),
        (
            "listen = '127.0.0.1:1'\n[session]\nidle_timout = '1m'\nzzz = 1",
            "agent-host.toml:3:1: unknown key session.idle_timout: [session] has idle_timeout, interrupted_turn, shutdown_grace, start_timeout, sync_interval",
        ),
        (
            "[auth]\napi_key = 'sk-secret'",
            "agent-host.toml:2:1: unknown key auth.api_key: [auth] has admin_keys, allowed_origins, api_keys",
        ),
        ("[agents.claude]", "agent-host.toml:1:9: unknown key agents.claude: [agents] has claude-agent-sdk, echo"),
        ("agents.echo.x = 1", "agent-host.toml:1:13: unknown key agents.echo.x: [agents.echo] has no settings"),
        ("[sandbox]\nlocl = {}", "agent-host.toml:2:1: unknown key sandbox.locl: [sandbox] has local, modal, provider"),
        ("'session.idle_timeout' = '1m'", "agent-host.toml:1:1: unknown key \"session.idle_timeout\": at the top there are "),
        (
            "persistence.grants.dirs = [{ host = 'x', gest = '/x' }]",
            "agent-host.toml:1:42: unknown key persistence.grants.dirs[0].gest: a directory has host, guest, write",
        ),
    ] {
        let error = Setup::new().toml(toml).error();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn what_is_not_toml_is_refused_with_its_place() {
    for (toml, start) in [
        ("listen = '127.0.0.1:1'\nlisten = '127.0.0.1:2'", "agent-host.toml:2:1: not valid TOML: duplicate key"),
        ("[session]\nidle_timeout = 15m", "agent-host.toml:2:16: not valid TOML: "),
        ("[session", "agent-host.toml:1:9: not valid TOML: "),
    ] {
        let error = Setup::new().toml(toml).error();
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn a_file_that_is_named_must_exist() {
    assert!(Setup::new().config("other.toml").error().starts_with("failed to read the configuration file other.toml: No such file"));
    let setup = Setup::new().variable(FILE_VARIABLE, "other.toml");
    assert!(setup.error().starts_with("failed to read the configuration file other.toml: No such file"));
    let setup = setup.file("other.toml", "limits.queue = 3").toml("limits.queue = 4");
    assert_eq!(setup.load().limits.queue, 3);
    assert_eq!(setup.config(DEFAULT_FILE).load().limits.queue, 4);
}
