#include "chunk.h"

#include <string.h>

#include "shim/database.h"
#include "shim/failure.h"
#include "shim/memory.h"

// Pieces that follow each other.
struct pieces {
    adapter_list_u8_t *ptr;
    size_t len;
    size_t bytes;
};

adapter_list_u8_t bytes_slice(adapter_list_u8_t bytes, size_t from, size_t most)
{
    size_t rest = bytes.len - from;
    return (adapter_list_u8_t){.ptr = bytes.ptr + from, .len = rest < most ? rest : most};
}

static adapter_list_u8_t joined(const struct pieces *pieces)
{
    // Mostly there is one, which needs no copy.
    if (pieces->len == 1)
        return pieces->ptr[0];
    adapter_list_u8_t whole = {.ptr = allocate(pieces->bytes), .len = 0};
    for (size_t at = 0; at < pieces->len; at++) {
        memcpy(whole.ptr + whole.len, pieces->ptr[at].ptr, pieces->ptr[at].len);
        whole.len += pieces->ptr[at].len;
    }
    return whole;
}

bool chunks_collect(uint64_t offset, size_t max, bool *is_there, adapter_list_u8_t *content)
{
    struct pieces pieces = {.ptr = NULL};
    bool has_bytes = false;
    uint64_t end = offset;
    struct row row;
    *is_there = false;
    while (database_next(&row)) {
        *is_there = true;
        if (row_is_null(&row))
            continue;
        uint64_t start = row_number(&row, "start");
        adapter_list_u8_t data = row_bytes(&row, "data");
        if (has_bytes ? start != end : start > offset)
            return fail(TYPES_ERROR_CORRUPT, "the stored bytes end at %s and go on at %s", decimal(end), decimal(start));
        has_bytes = true;
        end = start + data.len;
        if (end <= offset)
            continue; // The last row, and the range is beyond it.
        adapter_list_u8_t piece = bytes_slice(data, start < offset ? (size_t)(offset - start) : 0, max - pieces.bytes);
        if (piece.len == 0)
            continue;
        PUSH(&pieces, piece);
        pieces.bytes += piece.len;
    }
    *content = joined(&pieces);
    return !has_failed();
}
