// Text as the bindings have it: UTF-8 with a length, which may have NUL characters in it and has none at its end.
//
// What is made here is in the memory of the call, but for what is kept. There is no `printf`: that of wasi-libc brings standard error along, and with
// it half of WASI, so that the component would import what it has no use for.
#ifndef TEXT_H
#define TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "component.h"

typedef component_string_t text_t;

// A literal as text. The bindings know no `const`; nobody writes through what they are given.
#define TEXT(literal) ((text_t){.ptr = (uint8_t *)(literal), .len = sizeof(literal) - 1})

// A string as text, where it is.
text_t text_of(const char *string);

bool text_is(text_t text, text_t other);

// A copy that lives as long as the instance: what `open` keeps of the configuration.
text_t text_keep(text_t text);

// Takes what comes before the next separator from `rest`, without the space around it. There is none once `rest` was used up.
bool text_next(text_t *rest, char separator, text_t *piece);

// The format with strings in the place of each `%s`, which is all that it knows.
text_t text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
text_t text_format_list(const char *format, va_list strings) __attribute__((format(printf, 1, 0)));

// What a message is made of, as strings.

// The text as it is, but for NUL characters, which become spaces.
const char *plain(text_t text);

// The text in quotation marks, with control characters as escapes, and cut off where it is long.
const char *quoted(text_t text);

// The number in decimal digits.
const char *decimal(uint64_t number);

#endif
