#include "text.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

// The longest piece of text that a message repeats, in bytes. Ids have 128 at most, and paths are mostly shorter.
enum { LONGEST_QUOTED = 256 };

// The digits of 2^64, and a NUL.
enum { LONGEST_DECIMAL = 21 };

text_t text_of(const char *string)
{
    return (text_t){.ptr = (uint8_t *)string, .len = strlen(string)};
}

bool text_is(text_t text, text_t other)
{
    // What is empty may point nowhere.
    return text.len == other.len && (text.len == 0 || memcmp(text.ptr, other.ptr, text.len) == 0);
}

text_t text_keep(text_t text)
{
    // One byte more, since nothing may be NULL.
    uint8_t *kept = malloc(text.len + 1);
    if (kept == NULL)
        abort();
    if (text.len > 0)
        memcpy(kept, text.ptr, text.len);
    return (text_t){.ptr = kept, .len = text.len};
}

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

bool text_next(text_t *rest, char separator, text_t *piece)
{
    if (rest->ptr == NULL)
        return false;
    size_t end = 0;
    while (end < rest->len && rest->ptr[end] != (uint8_t)separator)
        end++;
    *piece = (text_t){.ptr = rest->ptr, .len = end};
    // Behind a separator there is another piece, if only an empty one.
    *rest = end < rest->len ? (text_t){.ptr = rest->ptr + end + 1, .len = rest->len - end - 1} : (text_t){.ptr = NULL};
    while (piece->len > 0 && is_space(piece->ptr[0])) {
        piece->ptr++;
        piece->len--;
    }
    while (piece->len > 0 && is_space(piece->ptr[piece->len - 1]))
        piece->len--;
    return true;
}

// Writes to `out`, unless that is NULL, and gives how many bytes that are.
static size_t write_format(uint8_t *out, const char *format, va_list strings)
{
    size_t length = 0;
    for (const char *rest = format; *rest != '\0';) {
        bool is_string = strncmp(rest, "%s", 2) == 0;
        bool is_percent = strncmp(rest, "%%", 2) == 0;
        // Whatever else printf knows would take its argument for a string's address.
        if (*rest == '%' && !is_string && !is_percent)
            abort();
        const char *piece = is_string ? va_arg(strings, const char *) : rest;
        size_t size = is_string ? strlen(piece) : 1;
        if (out != NULL)
            memcpy(out + length, piece, size);
        length += size;
        rest += is_string || is_percent ? 2 : 1;
    }
    return length;
}

text_t text_format_list(const char *format, va_list strings)
{
    va_list again;
    va_copy(again, strings);
    text_t text = {.len = write_format(NULL, format, strings)};
    text.ptr = allocate(text.len);
    write_format(text.ptr, format, again);
    va_end(again);
    return text;
}

text_t text_format(const char *format, ...)
{
    va_list strings;
    va_start(strings, format);
    text_t text = text_format_list(format, strings);
    va_end(strings);
    return text;
}

const char *plain(text_t text)
{
    char *string = allocate(text.len + 1);
    for (size_t at = 0; at < text.len; at++)
        string[at] = text.ptr[at] == '\0' ? ' ' : (char)text.ptr[at];
    string[text.len] = '\0';
    return string;
}

static bool is_inside_character(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

const char *quoted(text_t text)
{
    static const char digits[] = "0123456789abcdef";
    static const char cut_off[] = "…";
    size_t end = text.len;
    if (end > LONGEST_QUOTED) {
        end = LONGEST_QUOTED;
        while (end > 0 && is_inside_character(text.ptr[end]))
            end--;
    }
    // A byte takes four characters at most.
    char *string = allocate(end * 4 + sizeof cut_off + sizeof "\"\"");
    char *next = string;
    *next++ = '"';
    for (size_t at = 0; at < end; at++) {
        uint8_t byte = text.ptr[at];
        if (byte == '"' || byte == '\\') {
            *next++ = '\\';
            *next++ = (char)byte;
        } else if (byte < 0x20 || byte == 0x7F) {
            *next++ = '\\';
            *next++ = 'x';
            *next++ = digits[byte >> 4];
            *next++ = digits[byte & 0xF];
        } else {
            *next++ = (char)byte;
        }
    }
    if (end < text.len) {
        memcpy(next, cut_off, sizeof cut_off - 1);
        next += sizeof cut_off - 1;
    }
    *next++ = '"';
    *next = '\0';
    return string;
}

const char *decimal(uint64_t number)
{
    char *next = (char *)allocate(LONGEST_DECIMAL) + LONGEST_DECIMAL;
    *--next = '\0';
    do {
        *--next = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return next;
}
