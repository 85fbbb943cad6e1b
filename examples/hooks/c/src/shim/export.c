// The functions of the contract, as wit-bindgen wants them: each lets the hook do its part, and says in an error what was being done.

#include "hook.h"
#include "memory.h"

static bool is_open;

// Whether the call can go on. What the last one failed by and did not tell is forgotten.
static bool begin_call(void)
{
    memory_begin_call();
    failure_forget();
    return is_open || fail(TYPES_ERROR_INVALID, "the hook was called before `open`");
}

// Answers the call.
static bool end_call(bool is_done, types_error_t *error, const char *doing, ...) __attribute__((format(printf, 3, 4)));

static bool end_call(bool is_done, types_error_t *error, const char *doing, ...)
{
    va_list strings;
    va_start(strings, doing);
    if (!is_done)
        *error = failure_take(text_format_list(doing, strings));
    va_end(strings);
    memory_end_call();
    return is_done;
}

static size_t count_events(void)
{
    size_t count = 0;
    while (exported_hook.events != NULL && exported_hook.events[count] != NULL)
        count++;
    return count;
}

static exports_hook_decisions_t decisions(void)
{
    unsigned wanted = 0;
    if (exported_hook.before_session != NULL)
        wanted |= EXPORTS_HOOK_DECISIONS_BEFORE_SESSION;
    if (exported_hook.before_message != NULL)
        wanted |= EXPORTS_HOOK_DECISIONS_BEFORE_MESSAGE;
    if (exported_hook.before_tool_use != NULL)
        wanted |= EXPORTS_HOOK_DECISIONS_BEFORE_TOOL_USE;
    return (exports_hook_decisions_t)wanted;
}

// What the hook says of itself. It wants what it has functions for.
static bool describe(exports_hook_hook_info_t *info)
{
    size_t count = count_events();
    if ((exported_hook.on_events != NULL) != (count > 0))
        return fail(TYPES_ERROR_INVALID, "`events` and `on_events` go together: the names, and what is done");
    *info = (exports_hook_hook_info_t){
        .name = text_of(exported_hook.name),
        .version = text_of(exported_hook.version),
        .events = {.ptr = allocate(count * sizeof(text_t)), .len = count},
        .decisions = decisions(),
        .on_failure = exported_hook.denies_on_failure ? EXPORTS_HOOK_ON_FAILURE_DENY : EXPORTS_HOOK_ON_FAILURE_ALLOW,
    };
    for (size_t at = 0; at < count; at++)
        info->events.ptr[at] = text_of(exported_hook.events[at]);
    return true;
}

static bool open_hook(const config_t *config)
{
    return exported_hook.open == NULL ? config_only(config, NULL) : exported_hook.open(config);
}

bool exports_hook_open(config_t *config, exports_hook_hook_info_t *info, types_error_t *error)
{
    bool was_open = begin_call();
    failure_forget();
    if (was_open)
        return end_call(fail(TYPES_ERROR_INVALID, "it is open already"), error, "open the hook");
    is_open = open_hook(config) && describe(info);
    return end_call(is_open, error, "open the hook");
}

bool exports_hook_on_events(exports_hook_list_event_t *events, types_error_t *error)
{
    bool is_done = begin_call() && (exported_hook.on_events == NULL || exported_hook.on_events(events->ptr, events->len));
    return end_call(is_done, error, "take %s events", decimal(events->len));
}

bool exports_hook_before_session(session_draft_t *draft, verdict_t *verdict, types_error_t *error)
{
    allow(verdict);
    bool is_done = begin_call() && (exported_hook.before_session == NULL || exported_hook.before_session(draft, verdict));
    return end_call(is_done, error, "decide on a new session");
}

bool exports_hook_before_message(message_draft_t *draft, verdict_t *verdict, types_error_t *error)
{
    allow(verdict);
    bool is_done = begin_call() && (exported_hook.before_message == NULL || exported_hook.before_message(draft, verdict));
    return end_call(is_done, error, "decide on message %s of session %s", quoted(draft->id), quoted(draft->session));
}

bool exports_hook_before_tool_use(tool_draft_t *draft, verdict_t *verdict, types_error_t *error)
{
    allow(verdict);
    bool is_done = begin_call() && (exported_hook.before_tool_use == NULL || exported_hook.before_tool_use(draft, verdict));
    return end_call(is_done, error, "decide on a use of %s in session %s", quoted(draft->tool), quoted(draft->session));
}
