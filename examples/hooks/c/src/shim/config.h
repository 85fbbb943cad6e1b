// What the operator gave the hook: keys with values, both text. They are in the memory of the call, which is `open`.
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>

#include "component.h"
#include "text.h"

typedef component_list_tuple2_string_string_t config_t;

// Refuses keys that are not among these, so that a typing error is not silently ignored. The last argument is NULL.
bool config_only(const config_t *config, ...) __attribute__((sentinel));

// A key's value; whether there is one.
bool config_get(const config_t *config, const char *key, text_t *value);

// A key's value, which must be there.
bool config_require(const config_t *config, const char *key, text_t *value);

#endif
