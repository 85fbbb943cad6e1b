//! The configuration as a whole: precedence, units, rules, paths.

mod errors;
mod secrets;

use std::time::Duration;

use secrecy::ExposeSecret;

use super::choice::{Begin, Isolation, LogFormat, Provider};
use super::database::Database;
use super::grant::{Component, Directory, HookComponent};
use super::*;

/// A working directory with variables and flags.
struct Setup {
    dir: tempfile::TempDir,
    variables: BTreeMap<String, String>,
    flags: BTreeMap<String, String>,
    config: Option<PathBuf>,
}

impl Setup {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), variables: BTreeMap::new(), flags: BTreeMap::new(), config: None }
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn toml(self, text: &str) -> Self {
        self.file(DEFAULT_FILE, text)
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    fn flag(mut self, key: &str, text: &str) -> Self {
        self.flags.insert(key.into(), text.into());
        self
    }

    fn config(mut self, file: &str) -> Self {
        self.config = Some(file.into());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn try_load(&self) -> Result<Loaded, Error> {
        let (flags, environment) = (&self.flags, &self.variables);
        load(&Sources { file: self.config.as_deref(), flags, environment, working_dir: self.dir.path() })
    }

    fn load(&self) -> Config {
        self.try_load().unwrap().config
    }

    fn error(&self) -> String {
        self.try_load().unwrap_err().to_string().replace(&*self.dir.path().to_string_lossy(), "DIR")
    }
}

#[test]
fn nothing_has_to_be_configured() {
    let setup = Setup::new();
    let loaded = setup.try_load().unwrap();
    let config = loaded.config;
    assert_eq!(loaded.file, None);
    assert_eq!(config.listen, "127.0.0.1:7878".parse().unwrap());
    assert_eq!(config.data_dir, setup.path("agent-host-data"));
    assert_eq!(config.log_format, LogFormat::Text);
    assert!(config.auth.api_keys.is_empty() && config.auth.allowed_origins.is_empty());
    assert_eq!(config.persistence.component, Component::Sqlite);
    assert_eq!((config.persistence.limits.instances, config.persistence.limits.memory), (8, 256 << 20));
    let database = Database::Sqlite(setup.path("agent-host-data/agent-host.db"));
    assert_eq!(config.persistence.grants.databases, BTreeMap::from([("main".to_owned(), database)]));
    assert_eq!((config.sandbox.provider, config.sandbox.local.isolation), (Provider::Local, Isolation::Auto));
    assert_eq!(config.sandbox.local.ignore, agent_host_sandboxes::local::options::DEFAULT_IGNORE);
    assert_eq!(config.agents.claude_agent_sdk.command, "claude");
    assert!(config.agents.claude_agent_sdk.env.is_empty());
    assert_eq!(config.session.idle_timeout, Duration::from_secs(15 * 60));
    assert_eq!((config.limits.body, config.limits.file, config.limits.queue), (16 << 20, 10 << 20, 100));
    assert_eq!(config.profiles.dir, None);
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let seconds = |setup: &Setup| setup.load().session.idle_timeout.as_secs();
    let setup = Setup::new();
    assert_eq!(seconds(&setup), 900);
    let setup = setup.toml("[session]\nidle_timeout = '3s'");
    assert_eq!(seconds(&setup), 3);
    let setup = setup.variable("AGENT_HOST_SESSION_IDLE_TIMEOUT", "2s");
    assert_eq!(seconds(&setup), 2);
    let setup = setup.flag("session.idle_timeout", "1s");
    assert_eq!(seconds(&setup), 1);
}

#[test]
fn every_setting_can_be_given_in_every_way() {
    let mut names = std::collections::BTreeSet::new();
    for setting in setting::settings() {
        assert!(names.insert(setting.flag()) && names.insert(setting.variable()), "{} is not the only one of its name", setting.key);
        // Any path can be called that.
        let value = setting.default.as_deref().unwrap_or("'http://given'");
        let (section, name) = setting.key.rsplit_once('.').unwrap_or(("", &setting.key));
        let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
        for (setup, place) in [
            (Setup::new().toml(&format!("{header}{name} = {value}")), "# agent-host.toml:".to_owned()),
            (Setup::new().variable(&setting.variable(), value), format!("# environment variable {}\n", setting.variable())),
            (Setup::new().flag(&setting.key, value), format!("# flag {}\n", setting.flag())),
        ] {
            let effective = setup.try_load().unwrap_or_else(|error| panic!("{} from {place}: {error}", setting.key)).effective;
            assert_eq!(effective.matches(&place).count(), 1, "{place} in {effective}");
        }
    }
}

#[test]
fn texts_from_outside_need_no_quotes() {
    let setup = Setup::new()
        .variable("K", "secret")
        .variable("AGENT_HOST_AUTH_API_KEYS", "env:K")
        .variable("AGENT_HOST_SANDBOX_LOCAL_IGNORE", r#"["a", "b"]"#)
        .variable("AGENT_HOST_PERSISTENCE_CONFIG", r#"{ a = "1", "b c" = "2" }"#)
        .variable("AGENT_HOST_LOG_FORMAT", "")
        .flag("agents.claude-agent-sdk.command", "true")
        .flag("agents.claude-agent-sdk.args", "--verbose")
        .flag("data_dir", "\"quoted\"")
        .flag("limits.queue", "7")
        .flag("limits.body", "20000000");
    let config = setup.load();
    assert_eq!(config.auth.api_keys[0].value().expose_secret(), "secret");
    assert_eq!(config.sandbox.local.ignore, ["a", "b"]);
    assert_eq!(config.persistence.config, BTreeMap::from([("a".into(), "1".into()), ("b c".into(), "2".into())]));
    assert_eq!(config.log_format, LogFormat::Text, "an empty variable counts as none");
    assert_eq!(config.agents.claude_agent_sdk.command, "true");
    assert_eq!(config.agents.claude_agent_sdk.args, ["--verbose"]);
    assert_eq!(config.data_dir, setup.path("quoted"));
    assert_eq!((config.limits.queue, config.limits.body), (7, 20_000_000));
}

#[test]
fn durations_and_sizes_have_units() {
    for (text, millis) in [("15m", 900_000), ("1h 30m", 5_400_000), ("500ms", 500), ("2 hours", 7_200_000), ("90 seconds", 90_000)] {
        let config = Setup::new().toml(&format!("session.idle_timeout = '{text}'")).load();
        assert_eq!(config.session.idle_timeout.as_millis(), millis, "{text}");
    }
    for (toml, bytes) in [("'10 MiB'", 10 << 20), ("'16MB'", 16_000_000), ("'1.5 GiB'", 3 << 29), ("123", 123), ("'123'", 123)] {
        assert_eq!(Setup::new().toml(&format!("limits.file = {toml}")).load().limits.file, bytes, "{toml}");
    }
}

#[test]
fn without_keys_the_host_listens_on_loopback_only() {
    for address in ["127.0.0.1:0", "127.1.2.3:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        assert!(Setup::new().flag("listen", address).try_load().is_ok(), "{address}");
    }
    for address in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "[::ffff:10.0.0.1]:80"] {
        let setup = Setup::new().flag("listen", address);
        assert_eq!(
            setup.error(),
            format!(
                "flag --listen: listen = \"{address}\": without keys the host listens on loopback only, since anybody who reaches it \
                 could run programs with it; set auth.api_keys, or listen on 127.0.0.1 or [::1]"
            )
        );
        assert!(setup.variable("K", "key").flag("auth.api_keys", "env:K").try_load().is_ok(), "{address}");
    }
}

#[test]
fn claude_gets_the_variables_of_its_login_unless_the_configuration_says_otherwise() {
    let setup =
        Setup::new().variable("ANTHROPIC_BASE_URL", "http://127.0.0.1:1").variable("ANTHROPIC_AUTH_TOKEN", "t").variable("HOME", "/");
    let names = |setup: &Setup| setup.load().agents.claude_agent_sdk.env.into_keys().collect::<Vec<_>>();
    assert_eq!(names(&setup), ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"]);
    assert_eq!(names(&setup.toml("[agents.claude-agent-sdk.env]\nMINE = 'x'")), ["MINE"]);
}

#[test]
fn traces_go_where_the_setting_says_or_else_the_standard_variable() {
    let endpoint = |setup: &Setup| setup.load().telemetry.otlp_endpoint.map(|endpoint| endpoint.traces());
    assert_eq!(endpoint(&Setup::new()), None);
    let setup = Setup::new().variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
    assert_eq!(endpoint(&setup).as_deref(), Some("http://collector:4318/v1/traces"));
    assert!(setup.try_load().unwrap().effective.contains("# environment variable OTEL_EXPORTER_OTLP_ENDPOINT\n"));
    let setup = setup.toml("telemetry.otlp_endpoint = 'https://traces.example.org/otlp'\ntelemetry.sample_ratio = 0.25");
    assert_eq!(endpoint(&setup).as_deref(), Some("https://traces.example.org/otlp/v1/traces"));
    assert_eq!(setup.load().telemetry.sample_ratio.get(), 0.25);
}

#[test]
fn a_relative_path_is_relative_to_where_it_was_written() {
    let toml = "data_dir = 'data'\nprofiles.dir = './profiles'\nsandbox.local.readable = ['../tools', '/opt']\n\
                [persistence]\ncomponent = 'my.wasm'\n\
                [persistence.grants]\ndatabases = { a = 'sqlite:a.db' }\ndirs = [{ host = 'd', guest = '/d', write = true }]";
    let setup = Setup::new().file("etc/my.wasm", "").file("etc/host.toml", toml).config("etc/host.toml");
    let config = setup.load();
    assert_eq!(config.data_dir, setup.path("etc/data"));
    assert_eq!(config.profiles.dir, Some(setup.path("etc/profiles")));
    assert_eq!(config.sandbox.local.readable, [setup.path("etc/../tools"), PathBuf::from("/opt")]);
    assert_eq!(config.persistence.component, Component::File(setup.path("etc/my.wasm")));
    assert_eq!(config.persistence.grants.databases["a"], Database::Sqlite(setup.path("etc/a.db")));
    assert_eq!(config.persistence.grants.dirs, [Directory { host: setup.path("etc/d"), guest: "/d".into(), write: true }]);

    let setup = Setup::new().file("etc/host.toml", "data_dir = 'data'").config("etc/host.toml");
    let database = |setup: &Setup| setup.load().persistence.grants.databases["main"].clone();
    assert_eq!(database(&setup), Database::Sqlite(setup.path("etc/data/agent-host.db")));
    let setup = setup.flag("data_dir", "here");
    assert_eq!(setup.load().data_dir, setup.path("here"));
    assert_eq!(database(&setup), Database::Sqlite(setup.path("here/agent-host.db")));
    let setup = setup.flag("persistence.component", "memory");
    assert!(setup.load().persistence.grants.databases.is_empty(), "only what was asked for is granted");
}

#[test]
fn hooks_are_in_the_order_of_the_file_with_the_defaults_where_nothing_is_said() {
    let setup = Setup::new().file("a.wasm", "").file("b.wasm", "").variable("SECRET", "s3cret").toml(
        r#"
            [[hooks]]
            name = "second"
            component = "b.wasm"

            [[hooks]]
            name = "first"
            component = "a.wasm"
            enabled = false
            from = "start"
            config = { url = "https://example.org/" }
            batch_delay = "1s"
            [hooks.limits]
            memory = "64 MiB"
            [hooks.grants]
            http = ["https://example.org/*"]
            env = { PLAIN = "pl41n", SECRET = "env:SECRET" }
        "#,
    );
    let Loaded { config, effective, .. } = setup.try_load().unwrap();
    let [second, first] = config.hooks.as_slice() else { panic!("there are {} hooks", config.hooks.len()) };
    assert_eq!(
        (second.name.to_string(), &second.component, second.enabled),
        ("second".to_owned(), &HookComponent::File(setup.path("b.wasm")), true)
    );
    assert_eq!((second.decision_timeout, second.limits.instances), (Duration::from_secs(2), 8));
    assert_eq!((first.enabled, first.from, first.limits.memory), (false, Begin::Start, 64 << 20));
    assert_eq!((first.grants.env["SECRET"].value().expose_secret(), first.grants.http.len()), ("s3cret", 1));
    assert!(effective.contains("env:SECRET") && effective.contains("https://example.org/*"), "{effective}");
    assert!(!effective.contains("s3cret") && !effective.contains("pl41n"), "{effective}");
    for (hooks, error) in [
        ("[{ name = 'a' }]", "hooks[0] = (hidden): component is missing"),
        ("[{ component = 'a.wasm' }]", "name is missing"),
        ("['a.wasm']", "hooks[0] = (hidden): name is missing"),
        ("[{ name = '.a', component = 'a.wasm' }]", r#"hooks[0].name = ".a": a hook's name is"#),
        ("[{ name = 'a', component = 'c.wasm' }]", "there is no file DIR/c.wasm"),
        ("[{ name = 'a', component = 'a.wasm', colour = 'red' }]", "unknown key hooks[0].colour: there are batch_bytes, "),
        ("[{ name = 'a', component = 'a.wasm', grants = { disk = 1 } }]", "unknown key hooks[0].grants.disk: there are databases, "),
        ("[{ name = 'a', component = 'a.wasm', grants = { net = ['x'] } }]", r#"hooks[0].grants.net[0] = "x""#),
        ("[{ name = 'a', component = 'a.wasm', limits = { memory = 'x' } }]", r#"hooks[0].limits.memory = "x""#),
        (
            "[{ name = 'a', component = 'a.wasm', grants = { env = { K = 'pl41n' } } }, { name = 'a', component = 'b.wasm' }]",
            "there are two hooks named a",
        ),
    ] {
        let setup = Setup::new().file("a.wasm", "").file("b.wasm", "").toml(&format!("hooks = {hooks}"));
        let text = setup.error();
        assert!(text.contains(error) && !text.contains("pl41n"), "{text}");
    }
}

#[test]
fn a_command_reaches_a_host_without_its_secrets_and_files() {
    let setup = Setup::new().toml(
        "listen = '127.0.0.1:9'\n[auth]\napi_keys = ['env:NOT_HERE']\nadmin_keys = ['env:NOT_HERE']\n\
         [[hooks]]\nname = 'a'\ncomponent = 'gone.wasm'\ngrants = { env = { S = 'env:NOT_HERE' } }\n",
    );
    assert!(setup.try_load().is_err());
    let sources = Sources { file: None, flags: &setup.flags, environment: &setup.variables, working_dir: setup.dir.path() };
    let reach = load_reach(&sources).unwrap();
    assert_eq!((reach.listen.port(), reach.data_dir, reach.admin_keys.len()), (9, setup.path("agent-host-data"), 0));
}

#[test]
fn a_variable_that_names_no_setting_is_told() {
    let setup = Setup::new()
        .variable("AGENT_HOST_SESSION_IDLE_TIMOUT", "1m")
        .variable("AGENT_HOST_SERVICE_HOST", "10.0.0.1")
        .variable("AGENT_HOST_PORT_7878_TCP", "tcp://10.0.0.1:7878")
        .variable("AGENT_HOST_LISTEN", "127.0.0.1:1")
        .variable("PATH", "/bin");
    assert_eq!(setup.try_load().unwrap().unknown_variables, ["AGENT_HOST_SESSION_IDLE_TIMOUT"]);
}

#[test]
fn the_example_file_says_the_defaults() {
    let values = |text: &str| text.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect::<Vec<_>>();
    let defaults = values(&Setup::new().try_load().unwrap().effective);
    let example = reference::example();
    assert_eq!(values(&Setup::new().toml(&example).try_load().unwrap().effective), defaults);

    // The same with the comment signs taken away, but for those whose default is none or depends on others, and for the tables of lists.
    let (example, _) = example.split_once("# [[").unwrap();
    let names: Vec<&str> = setting::settings()
        .iter()
        .map(|setting| setting.name)
        .filter(|name| !["address", "dir", "projects", "databases", "otlp_endpoint"].contains(name))
        .collect();
    let is_setting = |line: &str| names.iter().any(|name| line.starts_with(&format!("# {name} = ")));
    let live: Vec<&str> = example.lines().map(|line| if is_setting(line) { &line[2..] } else { line }).collect();
    let loaded = Setup::new().toml(&live.join("\n")).try_load().unwrap();
    assert_eq!(values(&loaded.effective), defaults);
    assert_eq!(loaded.effective.matches("# agent-host.toml:").count(), names.len());
}
