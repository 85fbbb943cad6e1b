// Streams: rows of bytes, and a row that says how long the stream is.
#ifndef STREAMS_H
#define STREAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "adapter.h"
#include "shim/text.h"

// A stream of a session.
struct stream {
    text_t session;
    text_t name;
};

bool stream_append(uint64_t epoch, struct stream stream, uint64_t offset, adapter_list_u8_t data, uint64_t *length);
bool stream_read(struct stream stream, uint64_t offset, uint32_t max, adapter_list_u8_t *content);
bool stream_replace(uint64_t epoch, struct stream stream, adapter_list_u8_t data, uint64_t *length);

#endif
