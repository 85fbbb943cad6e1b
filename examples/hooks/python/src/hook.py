"""A complete hook: it denies the tools that its configuration names, and says so in the
conversation.
"""

from __future__ import annotations

import logging

from agent_host import Allow, Config, Deny, Hook, Invalid, ToolDraft, Verdict, control, export

logger = logging.getLogger("blocklist")


class Blocklist(Hook):
    """Denies uses of some tools."""

    name = "blocklist-python"
    version = "1.0.0"
    denies_on_failure = True

    def __init__(self, config: Config) -> None:
        config.only("tools")
        self.tools = {tool.strip() for tool in config.require("tools").split(",")}
        if "" in self.tools:
            # Such as a variable of the shell that is not set: nothing would be denied.
            raise Invalid("the configuration key 'tools' has an empty name")

    def before_tool_use(self, draft: ToolDraft) -> Verdict:
        if draft.tool not in self.tools:
            return Allow()
        logger.info("%s was denied in session %s", draft.tool, draft.session)
        control.note(
            draft.session, f"The agent wanted to use {draft.tool}, which is not allowed here."
        )
        return Deny(f"{draft.tool} is not allowed here")


EventHook = export(Blocklist)
