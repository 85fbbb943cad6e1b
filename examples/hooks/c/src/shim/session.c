#include "session.h"

#include "failure.h"

bool session_get(text_t session, session_state_t *state)
{
    types_error_t error;
    return control_get_session(&session, state, &error) || fail_with(error);
}

bool session_send_message(text_t session, text_t id, text_t content)
{
    types_error_t error;
    return control_send_message(&session, &id, &content, &error) || fail_with(error);
}

bool session_interrupt(text_t session, bool *was_running)
{
    types_error_t error;
    return control_interrupt(&session, was_running, &error) || fail_with(error);
}

bool session_set_metadata(text_t session, text_t key, text_t value)
{
    types_error_t error;
    return control_set_metadata(&session, &key, &value, &error) || fail_with(error);
}

bool session_note(text_t session, text_t text)
{
    types_error_t error;
    return control_note(&session, &text, &error) || fail_with(error);
}

bool session_emit(text_t session, text_t name, text_t data)
{
    types_error_t error;
    return control_emit(&session, &name, &data, &error) || fail_with(error);
}
