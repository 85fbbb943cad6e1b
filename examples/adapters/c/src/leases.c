#include "leases.h"

#include "sessions.h"
#include "shim/database.h"
#include "shim/failure.h"
#include "shim/memory.h"

#define LEASE(DIALECT) "SELECT owner, address, expires - " DIALECT##_NOW " FROM agent_leases WHERE session = ?1"
static const struct dialects select_lease = IN_DIALECTS(LEASE);

#define LOCK_LEASE(DIALECT) LEASE(DIALECT) DIALECT##_LOCKED
static const struct dialects lock_lease = IN_DIALECTS(LOCK_LEASE);

#define LOCK_SESSION(DIALECT) "SELECT epoch FROM agent_sessions WHERE id = ?1" DIALECT##_LOCKED
static const struct dialects lock_session = IN_DIALECTS(LOCK_SESSION);

// clang-format off
#define TAKE(DIALECT)                                                                                         \
    "INSERT INTO agent_leases (session, owner, address, expires)"                                             \
    " VALUES (?1, ?2, ?3, " DIALECT##_NOW " + ?4)"                                                            \
    " ON CONFLICT (session) DO UPDATE"                                                                        \
    " SET owner = excluded.owner, address = excluded.address, expires = excluded.expires"
// clang-format on
static const struct dialects take_lease = IN_DIALECTS(TAKE);

#define RENEW(DIALECT) "UPDATE agent_leases SET expires = " DIALECT##_NOW " + ?3 WHERE session = ?1 AND owner = ?2"
static const struct dialects renew_lease = IN_DIALECTS(RENEW);

// The lease that one of the queries finds.
static bool find(struct dialects query, text_t session, exports_leases_option_lease_t *lease)
{
    if (!database_query(database_words(query), VALUES(sql_text(session))))
        return false;
    struct row row;
    *lease = (exports_leases_option_lease_t){.is_some = database_next(&row)};
    if (lease->is_some) {
        lease->val.owner.id = row_text(&row, "owner");
        lease->val.owner.address = row_text(&row, "address");
        int64_t expires_in = row_integer(&row, "expires_in");
        lease->val.expires_in = expires_in > 0 ? (uint64_t)expires_in : 0;
    }
    return !has_failed();
}

// Makes all that the owner before still writes `stale-epoch`.
static bool fence(text_t session)
{
    uint64_t changed;
    return database_execute("UPDATE agent_sessions SET epoch = epoch + 1 WHERE id = ?1", VALUES(sql_text(session)), &changed);
}

bool lease_acquire(text_t session, const exports_leases_owner_t *owner, uint64_t ttl, exports_leases_lease_t *lease)
{
    // Whether a lease has ended is looked at once, and decides both who has it and whether the epoch grows.
    struct row row;
    if (!(database_begin() && database_query(database_words(lock_session), VALUES(sql_text(session)))))
        return false;
    if (!database_next(&row))
        return session_is_missing(session);
    exports_leases_option_lease_t last;
    if (!find(lock_lease, session, &last))
        return false;
    bool is_others = last.is_some && !text_is(last.val.owner.id, owner->id);
    if (is_others && last.val.expires_in > 0) {
        *lease = last.val;
        return true;
    }
    *lease = (exports_leases_lease_t){.owner = *owner, .expires_in = ttl};
    uint64_t taken;
    return (!is_others || fence(session))
           && database_execute(database_words(take_lease), VALUES(sql_text(session), sql_text(owner->id), sql_text(owner->address), sql_number(ttl)),
                               &taken)
           && database_commit();
}

bool lease_renew(text_t owner, uint64_t ttl, const exports_leases_list_session_id_t *sessions, exports_leases_list_session_id_t *lost)
{
    *lost = (exports_leases_list_session_id_t){.len = 0};
    if (sessions->len == 0)
        return true;
    struct batch batch = {0};
    for (size_t at = 0; at < sessions->len; at++)
        batch_add(&batch, database_words(renew_lease), VALUES(sql_text(sessions->ptr[at]), sql_text(owner), sql_number(ttl)));
    adapter_list_u64_t renewed;
    if (!database_run(&batch, &renewed))
        return false;
    for (size_t at = 0; at < sessions->len; at++) {
        if (renewed.ptr[at] == 0)
            PUSH(lost, sessions->ptr[at]);
    }
    return true;
}

bool lease_release(text_t session, text_t owner)
{
    uint64_t deleted;
    return database_execute("DELETE FROM agent_leases WHERE session = ?1 AND owner = ?2", VALUES(sql_text(session), sql_text(owner)), &deleted);
}

bool lease_get(text_t session, exports_leases_option_lease_t *lease)
{
    return find(select_lease, session, lease);
}
