// Arguments that can never succeed.
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

// Numbers stay below 2^53, so that every language can hold them.
bool check_number(const char *what, uint64_t number);

// 1 to 128 characters out of `A-Z a-z 0-9 . _ -`, not beginning with a dot.
bool is_session_id(text_t id);
bool check_session_id(text_t id);

// What is read at once.
bool check_read(uint64_t offset, uint32_t max);

// How many sessions a page may have.
bool check_limit(uint32_t limit);

// How long a lease lasts.
bool check_ttl(uint64_t ttl);

// How many leases are renewed at once.
bool check_renewals(size_t count);

#endif
