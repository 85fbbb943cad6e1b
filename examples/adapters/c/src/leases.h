// Leases: which host may write a session, by the database's clock.
#ifndef LEASES_H
#define LEASES_H

#include <stdbool.h>
#include <stdint.h>

#include "adapter.h"
#include "shim/text.h"

bool lease_acquire(text_t session, const exports_leases_owner_t *owner, uint64_t ttl, exports_leases_lease_t *lease);
bool lease_renew(text_t owner, uint64_t ttl, const exports_leases_list_session_id_t *sessions, exports_leases_list_session_id_t *lost);
bool lease_release(text_t session, text_t owner);
bool lease_get(text_t session, exports_leases_option_lease_t *lease);

#endif
