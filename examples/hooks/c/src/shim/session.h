// What a hook may do to sessions.
//
// A call waits for the host, and counts as the hook's own time. Each gives whether it succeeded, and says by `fail` why it did not: what is
// TYPES_ERROR_UNAVAILABLE is worth another try, and an event comes again when `on_events` fails. What is JSON is the text of a JSON document.
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>

#include "component.h"
#include "text.h"

// A session as it is now: `session`, `metadata` (JSON: usage, cost, model, and what hooks have added), `is_running`.
typedef control_session_state_t session_state_t;

// TYPES_ERROR_NOT_FOUND if there is no such session.
bool session_get(text_t session, session_state_t *state);

// Sends a message, a JSON string or a list of content blocks; it is stored when this returns. A message of an id that the session knows is not sent
// again. This hook is not asked about it.
bool session_send_message(text_t session, text_t id, text_t content);

// Ends the running turn; `was_running` is whether there was one.
bool session_interrupt(text_t session, bool *was_running);

// Puts a JSON value into the session's metadata, under the hook's own name; `null` removes it. Durable when this returns.
bool session_set_metadata(text_t session, text_t key, text_t value);

// Says something to the people in the conversation, as a `system` block.
bool session_note(text_t session, text_t text);

// Tells the session's subscribers an event `hook:<this hook's name>:<name>` with JSON data, which is not stored.
bool session_emit(text_t session, text_t name, text_t data);

#endif
