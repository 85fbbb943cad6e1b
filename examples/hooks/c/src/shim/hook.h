// What an event hook is written with: a table of the functions that it wants, and all that these need.
#ifndef HOOK_H
#define HOOK_H

#include <stdbool.h>
#include <stddef.h>

#include "component.h"
#include "config.h"
#include "failure.h"
#include "json.h"
#include "log.h"
#include "memory.h"
#include "session.h"
#include "text.h"

// What a hook is told and asked, with `data`, `options`, `content` and `input` as JSON. `generated/component.h` has their fields.
typedef exports_hook_event_t event_t;
typedef exports_hook_session_draft_t session_draft_t;
typedef exports_hook_message_draft_t message_draft_t;
typedef exports_hook_tool_draft_t tool_draft_t;
typedef exports_hook_verdict_t verdict_t;

// A hook is told of what happens to sessions, and decides before it happens. It has the functions that it wants, and is asked about nothing else. All
// give whether they succeeded, and say by `fail` why they did not.
//
// - Events come at least once, those of a session in order. Session, epoch and seq tell a repeat.
// - A question has a deadline of a few seconds. A hook that misses it or fails leaves the decision to `denies_on_failure`.
// - Events and questions go to different instances, so that neither waits for the other: what they share is kept in the session's metadata
//   (`session_set_metadata`), and not in variables.
// - An instance gets one call at a time, and what a call is given lives until the next one (`memory.h`).
struct hook {
    // 1 to 128 characters out of `A-Z a-z 0-9 . _ -`, not beginning with a dot.
    const char *name;
    const char *version;
    // Whether what it fails to decide on does not happen.
    bool denies_on_failure;
    // What `on_events` is told of, such as `session:block:complete`; `*` at the end stands for any rest. The last one is NULL.
    const char *const *events;

    // Called once in each instance, before anything else. Without it, any configuration is refused.
    bool (*open)(const config_t *config);
    // These happened. After a failure the same come again.
    bool (*on_events)(const event_t *events, size_t count);
    // Something is about to happen. The verdict is to allow it unless another one is put there.
    bool (*before_session)(const session_draft_t *draft, verdict_t *verdict);
    bool (*before_message)(const message_draft_t *draft, verdict_t *verdict);
    bool (*before_tool_use)(const tool_draft_t *draft, verdict_t *verdict);
};

// The component's hook, which is defined beside the shim.
extern const struct hook exported_hook;

// Verdicts. Each gives `true`, so that a function can end with one.

// It happens as it is.
bool allow(verdict_t *verdict);

// It happens with this JSON: other options, another content, another input of the tool.
bool replace(verdict_t *verdict, text_t json);

// It does not happen. The text is shown to whoever asked: the client, or the agent.
bool deny(verdict_t *verdict, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
