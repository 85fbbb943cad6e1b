// Agent profiles, as the documents that they are.
#ifndef PROFILES_H
#define PROFILES_H

#include <stdbool.h>

#include "adapter.h"
#include "shim/text.h"

bool profile_list(exports_profiles_list_profile_summary_t *profiles);
bool profile_load(text_t id, exports_profiles_option_json_t *document);
bool profile_save(const types_profile_summary_t *profile, text_t document);
bool profile_delete(text_t id);

#endif
