#include "host.h"

#include <stdalign.h>
#include <string.h>

#include "../src/shim/memory.h"
#include "test.h"

struct host host;

void host_reset(void)
{
    host = (struct host){.is_away = false};
}

text_t given(const char *string)
{
    text_t text = {.len = strlen(string)};
    text.ptr = cabi_realloc(NULL, 0, 1, text.len);
    memcpy(text.ptr, string, text.len);
    return text;
}

config_t given_config(const char *key, const char *value)
{
    config_t config = {.len = 1};
    config.ptr = cabi_realloc(NULL, 0, alignof(component_tuple2_string_string_t), sizeof *config.ptr);
    *config.ptr = (component_tuple2_string_string_t){.f0 = given(key), .f1 = given(value)};
    return config;
}

tool_draft_t given_use(const char *tool, const char *input)
{
    return (tool_draft_t){.session = given("s"), .tool_use_id = given("u"), .tool = given(tool), .input = given(input)};
}

bool failed_by(bool is_done, const types_error_t *error, uint8_t tag, const char *text)
{
    bool is_as_expected = !is_done && error->tag == tag && text_is(error->val.other, text_of(text));
    if (!is_as_expected)
        fprintf(stderr, "done: %d, error %d: %.*s\n", is_done, error->tag, is_done ? 0 : (int)error->val.other.len, (char *)error->val.other.ptr);
    return is_as_expected;
}

// Keeps the line, and answers.
static bool answer(types_error_t *error, const char *function, const text_t *first, const text_t *second, const text_t *third)
{
    size_t length = strlen(host.asked);
    const text_t *arguments[] = {first, second, third};
    length += (size_t)snprintf(host.asked + length, sizeof host.asked - length, "%s", function);
    for (size_t at = 0; at < sizeof arguments / sizeof *arguments; at++) {
        if (arguments[at] != NULL)
            length += (size_t)snprintf(host.asked + length, sizeof host.asked - length, " %.*s", (int)arguments[at]->len, (char *)arguments[at]->ptr);
    }
    snprintf(host.asked + length, sizeof host.asked - length, "\n");
    if (host.is_away)
        *error = (types_error_t){.tag = TYPES_ERROR_UNAVAILABLE, .val.unavailable = given("it is away")};
    return !host.is_away;
}

bool control_get_session(text_t *session, control_session_state_t *state, types_error_t *error)
{
    *state = (control_session_state_t){.session = {.id = *session}, .metadata = given("{\"cost\": 0.5}"), .is_running = true};
    return answer(error, "get-session", session, NULL, NULL);
}

bool control_send_message(text_t *session, text_t *id, text_t *content, types_error_t *error)
{
    return answer(error, "send-message", session, id, content);
}

bool control_interrupt(text_t *session, bool *was_running, types_error_t *error)
{
    *was_running = true;
    return answer(error, "interrupt", session, NULL, NULL);
}

bool control_set_metadata(text_t *session, text_t *key, text_t *value, types_error_t *error)
{
    return answer(error, "set-metadata", session, key, value);
}

bool control_note(text_t *session, text_t *text, types_error_t *error)
{
    return answer(error, "note", session, text, NULL);
}

bool control_emit(text_t *session, text_t *name, text_t *data, types_error_t *error)
{
    return answer(error, "emit", session, name, data);
}

void logging_log(logging_level_t level, text_t *context, text_t *message)
{
    EXPECT(level <= LOGGING_LEVEL_CRITICAL && text_is(*context, TEXT("hook")));
    bool is_away = host.is_away;
    host.is_away = false;
    answer(NULL, "log", message, NULL, NULL);
    host.is_away = is_away;
}
