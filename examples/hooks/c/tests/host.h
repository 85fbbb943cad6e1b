// Stands for the host: gives arguments as it does, keeps what it is asked, and answers as it is told.
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>

#include "../src/shim/hook.h"

extern struct host {
    // What was asked since the last `host_reset`, a line for each: the function and its arguments.
    char asked[1024];
    // Whether all that is asked fails.
    bool is_away;
} host;

void host_reset(void);

// An argument, in memory that ends where it ends.
text_t given(const char *string);

// What the functions of the contract are given.
config_t given_config(const char *key, const char *value);
tool_draft_t given_use(const char *tool, const char *input);

// Whether the call failed, by this error and with this text.
bool failed_by(bool is_done, const types_error_t *error, uint8_t tag, const char *text);

#endif
