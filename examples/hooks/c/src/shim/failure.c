#include "failure.h"

static struct {
    bool is_there;
    types_error_t error;
} failure;

// The text of an error that has one. In the bindings' union all texts are the same type at the same place.
static text_t *text_in(types_error_t *error)
{
    return &error->val.other;
}

static bool set(types_error_t error)
{
    if (!failure.is_there) {
        failure.is_there = true;
        failure.error = error;
    }
    return false;
}

bool fail(uint8_t error, const char *format, ...)
{
    types_error_t failed = {.tag = error};
    va_list strings;
    va_start(strings, format);
    *text_in(&failed) = text_format_list(format, strings);
    va_end(strings);
    return set(failed);
}

bool fail_with(types_error_t error)
{
    return set(error);
}

bool has_failed(void)
{
    return failure.is_there;
}

void failure_forget(void)
{
    failure.is_there = false;
}

// Whether the text of the error says only why, and not what there is or is not.
static bool wants_context(uint8_t error)
{
    switch (error) {
    case TYPES_ERROR_INVALID:
    case TYPES_ERROR_UNAVAILABLE:
    case TYPES_ERROR_CORRUPT:
    case TYPES_ERROR_OTHER:
        return true;
    default:
        return false;
    }
}

types_error_t failure_take(text_t doing)
{
    if (!failure.is_there)
        fail(TYPES_ERROR_OTHER, "it gave no reason");
    types_error_t error = failure.error;
    failure_forget();
    if (wants_context(error.tag)) {
        text_t *text = text_in(&error);
        *text = text_format("failed to %s: %s", plain(doing), plain(*text));
    }
    return error;
}
