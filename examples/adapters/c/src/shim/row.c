#include "row.h"

#include "failure.h"

static const char *name_of(uint8_t kind)
{
    switch (kind) {
    case SQL_VALUE_NULL:
        return "nothing";
    case SQL_VALUE_INTEGER:
        return "an integer";
    case SQL_VALUE_REAL:
        return "a real number";
    case SQL_VALUE_TEXT:
        return "text";
    default:
        return "bytes";
    }
}

// The next column, if it holds this; NULL if it does not, which then is why the call fails.
static const sql_value_t *take(struct row *row, const char *column, uint8_t kind)
{
    if (row->next >= row->values.len) {
        fail(TYPES_ERROR_CORRUPT, "there is no column \"%s\"", column);
        return NULL;
    }
    const sql_value_t *value = &row->values.ptr[row->next++];
    if (value->tag != kind) {
        fail(TYPES_ERROR_CORRUPT, "the column \"%s\" holds %s, not %s", column, name_of(value->tag), name_of(kind));
        return NULL;
    }
    return value;
}

int64_t row_integer(struct row *row, const char *column)
{
    const sql_value_t *value = take(row, column, SQL_VALUE_INTEGER);
    return value == NULL ? 0 : value->val.integer;
}

uint64_t row_number(struct row *row, const char *column)
{
    int64_t integer = row_integer(row, column);
    if (integer < 0) {
        fail(TYPES_ERROR_CORRUPT, "the column \"%s\" holds a negative number", column);
        return 0;
    }
    return (uint64_t)integer;
}

text_t row_text(struct row *row, const char *column)
{
    const sql_value_t *value = take(row, column, SQL_VALUE_TEXT);
    return value == NULL ? TEXT("") : value->val.text;
}

adapter_option_string_t row_optional_text(struct row *row, const char *column)
{
    if (row_is_null(row)) {
        row_skip(row, 1);
        return (adapter_option_string_t){.is_some = false};
    }
    return (adapter_option_string_t){.is_some = true, .val = row_text(row, column)};
}

types_option_json_t row_optional_json(struct row *row, const char *column)
{
    adapter_option_string_t text = row_optional_text(row, column);
    return (types_option_json_t){.is_some = text.is_some, .val = text.val};
}

adapter_list_u8_t row_bytes(struct row *row, const char *column)
{
    const sql_value_t *value = take(row, column, SQL_VALUE_BLOB);
    return value == NULL ? (adapter_list_u8_t){.ptr = NULL, .len = 0} : value->val.blob;
}

bool row_is_null(const struct row *row)
{
    return row->next < row->values.len && row->values.ptr[row->next].tag == SQL_VALUE_NULL;
}

void row_skip(struct row *row, size_t columns)
{
    row->next += columns;
}
