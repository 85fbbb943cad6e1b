// JSON, as much as a hook needs: to look into what the host gives, and to write strings.
//
// A value is the text of it within its document, and nothing is copied before it is asked for. What is not there, or is of another kind, gives
// `false`, which is no failure of the call. Documents of the host are valid; in any other, something wrong may be found, and nothing beyond its end.
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>

#include "text.h"

// A member of an object.
bool json_member(text_t object, const char *name, text_t *value);

// The next item of an array, which `rest` is in the beginning, and what is left of it later.
bool json_next(text_t *rest, text_t *item);

// What a string says.
bool json_string(text_t value, text_t *string);

// A member that is a string, and what it says.
bool json_member_string(text_t object, const char *name, text_t *string);

// What a number is, as far as a double can hold it.
bool json_number(text_t value, double *number);

// Text as a JSON string, in quotation marks: `text_format("{\"reason\": %s}", json_quoted(reason))`.
const char *json_quoted(text_t text);

#endif
