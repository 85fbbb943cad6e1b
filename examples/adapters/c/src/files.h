// Workspace files: an index, and their contents as rows of bytes.
#ifndef FILES_H
#define FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "adapter.h"
#include "shim/text.h"

bool file_save(uint64_t epoch, text_t session, const types_file_info_t *file, adapter_list_u8_t content);
bool file_read(text_t session, text_t path, uint64_t offset, uint32_t max, adapter_list_u8_t *content);
bool file_delete(uint64_t epoch, text_t session, text_t path);

#endif
