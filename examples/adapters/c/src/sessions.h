// Sessions' records, and the epoch that guards every write to a session.
#ifndef SESSIONS_H
#define SESSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "adapter.h"
#include "shim/database.h"
#include "shim/text.h"

// Takes the session (?1) for a write with an epoch (?2). It changes one row, or none if there is no such session or the epoch is too low. Until the
// transaction ends, no other one can do the same.
#define CLAIM_SESSION "UPDATE agent_sessions SET epoch = ?2 WHERE id = ?1 AND epoch <= ?2"

// Whether the session (?1) has the epoch (?2). A batch runs to its end, whatever the claim has changed: so every statement behind it has this.
#define IS_CLAIMED "EXISTS (SELECT 1 FROM agent_sessions WHERE id = ?1 AND epoch = ?2)"

// A batch that begins with the claim.
struct batch session_claim(uint64_t epoch, text_t session);

// Runs such a batch.
bool session_write(struct batch *batch, uint64_t epoch, text_t session);

// Says why a write has changed nothing.
bool session_refuse(uint64_t epoch, text_t session);

// Says that there is no such session.
bool session_is_missing(text_t session);

// The contract.
bool session_create(uint64_t epoch, const types_session_record_t *session);
bool session_load(text_t id, exports_sessions_option_snapshot_t *snapshot);
bool session_update(uint64_t epoch, text_t id, const types_session_changes_t *changes);
bool session_delete(uint64_t epoch, text_t id);
bool session_list(const text_t *cursor, uint32_t limit, types_page_t *page);

#endif
