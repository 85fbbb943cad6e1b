#include "check.h"

#include "failure.h"

static const uint64_t number_limit = UINT64_C(1) << 53;

// What the contract says.
enum {
    LONGEST_SESSION_ID = 128,
    MAX_READ_BYTES = 1024 * 1024,
    MAX_LIST_SESSIONS = 1000,
    MAX_RENEWALS = 500,
};

// A day, in milliseconds. The contract has no bound; one that is longer is a mistake, and keeps a session from everybody else.
static const uint64_t longest_ttl = UINT64_C(24) * 60 * 60 * 1000;

bool check_number(const char *what, uint64_t number)
{
    return number < number_limit || fail(TYPES_ERROR_INVALID, "the %s %s is not below 2^53", what, decimal(number));
}

static bool is_in_session_id(uint8_t byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '.' || byte == '_' || byte == '-';
}

bool is_session_id(text_t id)
{
    if (id.len == 0 || id.len > LONGEST_SESSION_ID || id.ptr[0] == '.')
        return false;
    for (size_t at = 0; at < id.len; at++) {
        if (!is_in_session_id(id.ptr[at]))
            return false;
    }
    return true;
}

bool check_session_id(text_t id)
{
    return is_session_id(id)
           || fail(TYPES_ERROR_INVALID, "a session id is 1 to 128 characters out of `A-Z a-z 0-9 . _ -` and does not begin with a dot");
}

bool check_read(uint64_t offset, uint32_t max)
{
    if (!check_number("offset", offset))
        return false;
    return max <= MAX_READ_BYTES
           || fail(TYPES_ERROR_INVALID, "%s bytes are more than the %s that one read may ask for", decimal(max), decimal(MAX_READ_BYTES));
}

bool check_limit(uint32_t limit)
{
    return (limit >= 1 && limit <= MAX_LIST_SESSIONS)
           || fail(TYPES_ERROR_INVALID, "a page of %s sessions was asked for; it is 1 to %s", decimal(limit), decimal(MAX_LIST_SESSIONS));
}

bool check_ttl(uint64_t ttl)
{
    return (ttl >= 1 && ttl <= longest_ttl)
           || fail(TYPES_ERROR_INVALID, "a lease of %s ms was asked for; it is 1 to %s", decimal(ttl), decimal(longest_ttl));
}

bool check_renewals(size_t count)
{
    return count <= MAX_RENEWALS
           || fail(TYPES_ERROR_INVALID, "%s leases are more than the %s that one renewal may name", decimal(count), decimal(MAX_RENEWALS));
}
