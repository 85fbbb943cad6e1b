#include "config.h"

#include <stddef.h>

#include "failure.h"

// The names, as a message has them.
static text_t listed(va_list names)
{
    text_t list = TEXT("there are none");
    const char *name;
    for (bool is_first = true; (name = va_arg(names, const char *)) != NULL; is_first = false)
        list = is_first ? text_format("known are: %s", name) : text_format("%s, %s", plain(list), name);
    return list;
}

static bool is_among(text_t key, va_list names)
{
    const char *name;
    while ((name = va_arg(names, const char *)) != NULL) {
        if (text_is(key, text_of(name)))
            return true;
    }
    return false;
}

bool config_only(const config_t *config, ...)
{
    for (size_t at = 0; at < config->len; at++) {
        text_t key = config->ptr[at].f0;
        va_list names;
        va_start(names, config);
        bool is_known = is_among(key, names);
        va_end(names);
        if (is_known)
            continue;
        va_start(names, config);
        text_t known = listed(names);
        va_end(names);
        return fail(TYPES_ERROR_INVALID, "unknown configuration key %s; %s", quoted(key), plain(known));
    }
    return true;
}

bool config_get(const config_t *config, const char *key, text_t *value)
{
    for (size_t at = 0; at < config->len; at++) {
        if (text_is(config->ptr[at].f0, text_of(key))) {
            *value = config->ptr[at].f1;
            return true;
        }
    }
    return false;
}

bool config_require(const config_t *config, const char *key, text_t *value)
{
    return config_get(config, key, value) || fail(TYPES_ERROR_INVALID, "the configuration key \"%s\" is missing", key);
}
