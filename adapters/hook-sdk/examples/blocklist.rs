#![doc = "A complete hook: it denies the tools that its configuration names, and says so in the conversation."]

use agent_host_hook::*;

/// Denies uses of some tools.
pub struct Blocklist {
    tools: Vec<String>,
}

export_hook!(Blocklist);

impl Hook for Blocklist {
    fn open(config: &Config) -> Result<Self> {
        config.only(&["tools"])?;
        let tools: Vec<_> = config.require("tools")?.split(',').map(|tool| tool.trim().to_owned()).collect();
        // Such as a variable of the shell that is not set: nothing would be denied.
        if tools.iter().any(String::is_empty) {
            return Err(Error::invalid("the configuration key \"tools\" has an empty name"));
        }
        Ok(Self { tools })
    }

    fn info(&self) -> HookInfo {
        HookInfo::new("blocklist", "1.0.0").decides(Decisions::BEFORE_TOOL_USE).denies_on_failure()
    }

    fn before_tool_use(&mut self, draft: ToolDraft) -> Result<Verdict> {
        if !self.tools.contains(&draft.tool) {
            return Ok(Verdict::Allow);
        }
        log::info!("{} was denied in session {}", draft.tool, draft.session);
        control::note(&draft.session, &format!("The agent wanted to use {}, which is not allowed here.", draft.tool))?;
        Ok(Verdict::Deny(format!("{} is not allowed here", draft.tool)))
    }
}
