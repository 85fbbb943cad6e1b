// A complete hook: it denies the tools that its configuration names, and says so in the conversation.

#include "shim/hook.h"

// The names, with commas between them.
static text_t tools;

static bool is_named(text_t tool)
{
    text_t rest = tools;
    text_t name;
    while (text_next(&rest, ',', &name)) {
        if (text_is(name, tool))
            return true;
    }
    return false;
}

static bool open_blocklist(const config_t *config)
{
    if (!config_only(config, "tools", NULL) || !config_require(config, "tools", &tools))
        return false;
    // Such as a variable of the shell that is not set: nothing would be denied.
    if (is_named(TEXT("")))
        return fail(TYPES_ERROR_INVALID, "the configuration key \"tools\" has an empty name");
    tools = text_keep(tools);
    return true;
}

static bool before_tool_use(const tool_draft_t *draft, verdict_t *verdict)
{
    const char *tool = plain(draft->tool);
    if (!is_named(draft->tool))
        return allow(verdict);
    log_info("%s was denied in session %s", tool, plain(draft->session));
    return session_note(draft->session, text_format("The agent wanted to use %s, which is not allowed here.", tool))
           && deny(verdict, "%s is not allowed here", tool);
}

const struct hook exported_hook = {
    .name = "blocklist-c",
    .version = "1.0.0",
    .denies_on_failure = true,
    .open = open_blocklist,
    .before_tool_use = before_tool_use,
};
