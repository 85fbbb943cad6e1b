#include "json.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static void skip(text_t *rest, size_t bytes)
{
    rest->ptr += bytes;
    rest->len -= bytes;
}

static void skip_space(text_t *rest)
{
    while (rest->len > 0 && is_space(rest->ptr[0]))
        skip(rest, 1);
}

// Whether the text goes on with this byte, behind space.
static bool is_next(text_t *rest, char byte)
{
    skip_space(rest);
    return rest->len > 0 && rest->ptr[0] == (uint8_t)byte;
}

// The same, and goes behind it.
static bool take(text_t *rest, char byte)
{
    if (!is_next(rest, byte))
        return false;
    skip(rest, 1);
    return true;
}

// The length of the string that the text begins with, with both quotation marks; that of the text, if it does not end.
static size_t string_length(text_t text)
{
    size_t at = 1;
    while (at < text.len && text.ptr[at] != '"')
        at += text.ptr[at] == '\\' ? 2 : 1;
    return at < text.len ? at + 1 : text.len;
}

// Takes a value of any kind from the text. Brackets are counted, so that what is deeply nested costs no stack.
static bool take_value(text_t *rest, text_t *value)
{
    skip_space(rest);
    size_t depth = 0;
    size_t at = 0;
    while (at < rest->len) {
        uint8_t byte = rest->ptr[at];
        bool opens = byte == '{' || byte == '[';
        bool closes = byte == '}' || byte == ']';
        if (depth == 0 && (closes || byte == ',' || byte == ':' || is_space(byte)))
            break;
        at += byte == '"' ? string_length((text_t){.ptr = rest->ptr + at, .len = rest->len - at}) : 1;
        depth += opens;
        depth -= closes;
        if (depth == 0 && (closes || byte == '"'))
            break;
    }
    *value = (text_t){.ptr = rest->ptr, .len = at};
    skip(rest, at);
    return at > 0;
}

bool json_member(text_t object, const char *name, text_t *value)
{
    text_t rest = object;
    text_t key;
    text_t said;
    if (!take(&rest, '{'))
        return false;
    while (take_value(&rest, &key) && take(&rest, ':') && take_value(&rest, value)) {
        if (json_string(key, &said) && text_is(said, text_of(name)))
            return true;
        if (!take(&rest, ','))
            break;
    }
    return false;
}

bool json_next(text_t *rest, text_t *item)
{
    // The first item is behind the bracket, any other behind a comma.
    return (take(rest, '[') || take(rest, ',')) && take_value(rest, item);
}

// The value of four hexadecimal digits; more than 16 bits if they are none.
static uint32_t four_digits(const uint8_t *digits)
{
    uint32_t number = 0;
    for (size_t at = 0; at < 4; at++) {
        uint8_t lower = digits[at] | 0x20;
        if (digits[at] >= '0' && digits[at] <= '9')
            number = number * 16 + (uint32_t)(digits[at] - '0');
        else if (lower >= 'a' && lower <= 'f')
            number = number * 16 + (uint32_t)(lower - 'a' + 10);
        else
            return UINT32_MAX;
    }
    return number;
}

// Writes a character as UTF-8, and gives where the next one goes.
static uint8_t *write_character(uint8_t *out, uint32_t character)
{
    if (character < 0x80) {
        *out++ = (uint8_t)character;
    } else if (character < 0x800) {
        *out++ = (uint8_t)(0xC0 | character >> 6);
        *out++ = (uint8_t)(0x80 | (character & 0x3F));
    } else if (character < 0x10000) {
        *out++ = (uint8_t)(0xE0 | character >> 12);
        *out++ = (uint8_t)(0x80 | (character >> 6 & 0x3F));
        *out++ = (uint8_t)(0x80 | (character & 0x3F));
    } else {
        *out++ = (uint8_t)(0xF0 | character >> 18);
        *out++ = (uint8_t)(0x80 | (character >> 12 & 0x3F));
        *out++ = (uint8_t)(0x80 | (character >> 6 & 0x3F));
        *out++ = (uint8_t)(0x80 | (character & 0x3F));
    }
    return out;
}

// Takes `\uXXXX` from the text, or two of them that are one character. Half of such a pair is U+FFFD, as no text can hold it.
static bool take_escaped(text_t *rest, uint32_t *character)
{
    if (rest->len < 6 || (*character = four_digits(rest->ptr + 2)) > 0xFFFF)
        return false;
    skip(rest, 6);
    if (*character < 0xD800 || *character > 0xDFFF)
        return true;
    if (*character < 0xDC00 && rest->len >= 6 && rest->ptr[0] == '\\' && rest->ptr[1] == 'u') {
        uint32_t second = four_digits(rest->ptr + 2);
        if (second >= 0xDC00 && second <= 0xDFFF) {
            *character = 0x10000 + ((*character - 0xD800) << 10) + (second - 0xDC00);
            skip(rest, 6);
            return true;
        }
    }
    *character = 0xFFFD;
    return true;
}

bool json_string(text_t value, text_t *string)
{
    static const char escapes[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (value.len < 2 || value.ptr[0] != '"' || value.ptr[value.len - 1] != '"')
        return false;
    text_t rest = {.ptr = value.ptr + 1, .len = value.len - 2};
    if (rest.len == 0 || memchr(rest.ptr, '\\', rest.len) == NULL) {
        *string = rest;
        return true;
    }
    // No escape is shorter than what it stands for.
    uint8_t *out = allocate(rest.len);
    string->ptr = out;
    while (rest.len > 0) {
        if (rest.ptr[0] != '\\') {
            *out++ = rest.ptr[0];
            skip(&rest, 1);
            continue;
        }
        if (rest.len >= 2 && rest.ptr[1] == 'u') {
            uint32_t character;
            if (!take_escaped(&rest, &character))
                return false;
            out = write_character(out, character);
            continue;
        }
        const char *escape = rest.len >= 2 ? memchr(escapes, rest.ptr[1], sizeof escapes - 1) : NULL;
        if (escape == NULL)
            return false;
        *out++ = (uint8_t)meanings[escape - escapes];
        skip(&rest, 2);
    }
    string->len = (size_t)(out - string->ptr);
    return true;
}

bool json_member_string(text_t object, const char *name, text_t *string)
{
    text_t value;
    return json_member(object, name, &value) && json_string(value, string);
}

bool json_number(text_t value, double *number)
{
    const char *digits = plain(value);
    // `strtod` also reads `inf`, `nan`, and space before a number.
    char first = digits[0] == '-' ? digits[1] : digits[0];
    if (first < '0' || first > '9')
        return false;
    char *end;
    *number = strtod(digits, &end);
    return *end == '\0' && end != digits;
}

const char *json_quoted(text_t text)
{
    static const char digits[] = "0123456789abcdef";
    // A byte takes six characters at most.
    char *string = allocate(text.len * 6 + sizeof "\"\"");
    char *next = string;
    *next++ = '"';
    for (size_t at = 0; at < text.len; at++) {
        uint8_t byte = text.ptr[at];
        if (byte == '"' || byte == '\\') {
            *next++ = '\\';
            *next++ = (char)byte;
        } else if (byte < 0x20) {
            memcpy(next, "\\u00", 4);
            next[4] = digits[byte >> 4];
            next[5] = digits[byte & 0xF];
            next += 6;
        } else {
            *next++ = (char)byte;
        }
    }
    *next++ = '"';
    *next = '\0';
    return string;
}
