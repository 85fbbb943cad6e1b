// The place of a session in a listing, which is newest first, by creation time and then by id. Neither ever changes: so a listing that goes on
// behind a place misses nothing and repeats nothing, whatever is added meanwhile.
//
// As text, which is what the host hands back, it is `<created-at>/<id>`.
#ifndef CURSOR_H
#define CURSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/text.h"

struct cursor {
    uint64_t created_at;
    text_t id;
};

// Before the newest session.
struct cursor cursor_first(void);

// Text that this adapter did not give is `invalid`.
bool cursor_read(text_t text, struct cursor *cursor);

text_t cursor_text(struct cursor cursor);

#endif
