#include "cursor.h"

#include "shim/check.h"
#include "shim/failure.h"

// The digits of 2^53.
enum { MOST_DIGITS = 16 };

struct cursor cursor_first(void)
{
    return (struct cursor){.created_at = INT64_MAX, .id = TEXT("")};
}

// Reads digits and the stroke behind them, which is at `end`.
static bool read_time(text_t text, size_t *end, uint64_t *time)
{
    *time = 0;
    for (size_t at = 0; at < text.len && at <= MOST_DIGITS; at++) {
        uint8_t byte = text.ptr[at];
        if (byte == '/' && at > 0) {
            *end = at;
            return true;
        }
        if (byte < '0' || byte > '9')
            return false;
        *time = *time * 10 + (byte - (uint64_t)'0');
    }
    return false;
}

bool cursor_read(text_t text, struct cursor *cursor)
{
    size_t end;
    uint64_t time;
    if (read_time(text, &end, &time)) {
        text_t id = {.ptr = text.ptr + end + 1, .len = text.len - end - 1};
        if (is_session_id(id)) {
            *cursor = (struct cursor){.created_at = time, .id = id};
            return true;
        }
    }
    return fail(TYPES_ERROR_INVALID, "the cursor %s was not given by this adapter", quoted(text));
}

text_t cursor_text(struct cursor cursor)
{
    return text_format("%s/%s", decimal(cursor.created_at), plain(cursor.id));
}
