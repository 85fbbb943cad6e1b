//! Secrets: resolved, checked, never shown.

use super::*;

#[test]
fn secrets_are_resolved_and_never_shown() {
    let setup = Setup::new()
        .variable("KEY", "TOP-1")
        .variable("ANTHROPIC_API_KEY", "TOP-2")
        .file("conf/key.txt", "TOP-3\n")
        .file(
            "conf/x.toml",
            "[auth]\napi_keys = ['env:KEY', 'file:key.txt']\n[persistence.grants]\nenv = { A = 'TOP-4', B = 'file:key.txt' }",
        )
        .config("conf/x.toml");
    let loaded = setup.try_load().unwrap();
    let config = &loaded.config;
    let keys: Vec<&str> = config.auth.api_keys.iter().map(|key| key.value().expose_secret()).collect();
    assert_eq!(keys, ["TOP-1", "TOP-3"]);
    assert_eq!(config.agents.claude_agent_sdk.env["ANTHROPIC_API_KEY"].value().expose_secret(), "TOP-2");
    assert_eq!(config.persistence.grants.env["A"].value().expose_secret(), "TOP-4");
    assert_eq!(config.persistence.grants.env["B"].value().expose_secret(), "TOP-3");
    let shown = format!("{loaded:?} {config:#?} {}", loaded.effective);
    assert!(!shown.contains("TOP-"), "{shown}");
    assert!(loaded.effective.contains(r#"env = { A = "(hidden)", B = "file:key.txt" }"#), "{}", loaded.effective);
    assert!(loaded.effective.contains(r#"api_keys = ["env:KEY", "file:key.txt"]"#), "{}", loaded.effective);
}

#[test]
fn a_secret_that_is_not_there_or_not_allowed_is_refused_without_showing_it() {
    let literal = "(hidden): a key is not written into the configuration, which is copied, committed and shown; \
                   refer to it as \"env:NAME\" or \"file:PATH\"";
    let header = "the key has a space, a line break or another character that an HTTP header cannot carry";
    for (toml, expected) in [
        ("auth.api_keys = ['sk-TOP']", format!("agent-host.toml:1:18: auth.api_keys[0] = {literal}")),
        ("auth.api_keys = 'sk-TOP'", r#"agent-host.toml:1:17: auth.api_keys = (hidden): expected a list such as ["a", "b"]"#.into()),
        (
            "auth.api_keys = ['env:NOPE']",
            r#"agent-host.toml:1:18: auth.api_keys[0] = "env:NOPE": the environment variable NOPE is not set, or is empty"#.into(),
        ),
        (
            "auth.api_keys = ['file:nope']",
            "agent-host.toml:1:18: auth.api_keys[0] = \"file:nope\": failed to read DIR/nope: No such file or directory (os error 2)"
                .into(),
        ),
        ("auth.api_keys = ['file:empty']", r#"agent-host.toml:1:18: auth.api_keys[0] = "file:empty": DIR/empty is empty"#.into()),
        ("auth.api_keys = ['env:LINES']", format!(r#"agent-host.toml:1:18: auth.api_keys[0] = "env:LINES": {header}"#)),
        (
            "agents.claude-agent-sdk.env = { K = 'env:NOPE' }",
            "agent-host.toml:1:37: agents.claude-agent-sdk.env.K = \"env:NOPE\": the environment variable NOPE is not set, or is empty"
                .into(),
        ),
        (
            "agents.claude-agent-sdk.env = { 'A=B' = 'TOP' }",
            "agent-host.toml:1:41: agents.claude-agent-sdk.env.\"A=B\" = (hidden): \
             the name of an environment variable is not empty and has no '=' in it"
                .into(),
        ),
        (
            "agents.claude-agent-sdk.env = 'TOP'",
            r#"agent-host.toml:1:31: agents.claude-agent-sdk.env = (hidden): expected a table such as { NAME = "value" }"#.into(),
        ),
    ] {
        let error = Setup::new().variable("LINES", "TOP\nTOP").file("empty", "\n").toml(toml).error();
        assert_eq!(error, expected);
        assert!(!error.contains("TOP"), "{error}");
    }
    assert_eq!(Setup::new().flag("auth.api_keys", "sk-TOP").error(), format!("flag --auth.api-keys: auth.api_keys = {literal}"));
}
