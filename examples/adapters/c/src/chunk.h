// Contents of streams and files as rows of bytes: the place of the first one, and the bytes.
#ifndef CHUNK_H
#define CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapter.h"

// The most bytes of one row. A read takes rows as wholes, so this bounds what it takes in vain at either end; and it keeps a row far below what
// databases and the host's pages of rows can hold.
enum { CHUNK_BYTES = 256 * 1024 };

// The bytes from a place on, at most so many. They are not copied.
adapter_list_u8_t bytes_slice(adapter_list_u8_t bytes, size_t from, size_t most);

// The bytes from `offset`, at most `max`, out of the rows of the last query, in order, of which only the first may begin before `offset`.
// A single row of nulls says that there is a stream or file, but nothing of it at that place; no row at all, that there is none.
bool chunks_collect(uint64_t offset, size_t max, bool *is_there, adapter_list_u8_t *content);

#endif
