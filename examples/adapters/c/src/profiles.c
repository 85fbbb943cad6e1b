#include "profiles.h"

#include "shim/database.h"
#include "shim/failure.h"
#include "shim/memory.h"

bool profile_list(exports_profiles_list_profile_summary_t *profiles)
{
    *profiles = (exports_profiles_list_profile_summary_t){.len = 0};
    if (!database_query("SELECT id, name, description FROM agent_profiles ORDER BY id", NO_VALUES))
        return false;
    struct row row;
    while (database_next(&row)) {
        types_profile_summary_t profile = {.id = row_text(&row, "id")};
        profile.name = row_text(&row, "name");
        profile.description = row_optional_text(&row, "description");
        PUSH(profiles, profile);
    }
    return !has_failed();
}

bool profile_load(text_t id, exports_profiles_option_json_t *document)
{
    if (!database_query("SELECT document FROM agent_profiles WHERE id = ?1", VALUES(sql_text(id))))
        return false;
    struct row row;
    document->is_some = database_next(&row);
    if (document->is_some)
        document->val = row_text(&row, "document");
    return !has_failed();
}

bool profile_save(const types_profile_summary_t *profile, text_t document)
{
    uint64_t saved;
    return database_execute("INSERT INTO agent_profiles (id, name, description, document) VALUES (?1, ?2, ?3, ?4)"
                            " ON CONFLICT (id) DO UPDATE"
                            " SET name = excluded.name, description = excluded.description, document = excluded.document",
                            VALUES(sql_text(profile->id), sql_text(profile->name), SQL_OPTIONAL_TEXT(profile->description), sql_text(document)),
                            &saved);
}

bool profile_delete(text_t id)
{
    uint64_t deleted;
    return database_execute("DELETE FROM agent_profiles WHERE id = ?1", VALUES(sql_text(id)), &deleted);
}
