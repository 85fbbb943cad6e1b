// Parameters of statements.
#ifndef VALUE_H
#define VALUE_H

#include "adapter.h"
#include "text.h"

// The parameters of one statement: `VALUES(sql_text(id), sql_number(epoch))`. They live until the end of the block.
#define VALUES(...) ((sql_list_value_t){.ptr = (sql_value_t[]){__VA_ARGS__}, .len = sizeof((sql_value_t[]){__VA_ARGS__}) / sizeof(sql_value_t)})

// Of a statement that has none.
#define NO_VALUES ((sql_list_value_t){.ptr = NULL, .len = 0})

static inline sql_value_t sql_null(void)
{
    return (sql_value_t){.tag = SQL_VALUE_NULL};
}

// The contract's numbers are below 2^53, and those that the adapter makes of them stay far below 2^63.
static inline sql_value_t sql_number(uint64_t number)
{
    return (sql_value_t){.tag = SQL_VALUE_INTEGER, .val.integer = (int64_t)number};
}

static inline sql_value_t sql_text(text_t text)
{
    return (sql_value_t){.tag = SQL_VALUE_TEXT, .val.text = text};
}

static inline sql_value_t sql_bytes(adapter_list_u8_t bytes)
{
    return (sql_value_t){.tag = SQL_VALUE_BLOB, .val.blob = bytes};
}

// Every `option<string>` and `option<json>` is a type of its own to C.
#define SQL_OPTIONAL_TEXT(option) ((option).is_some ? sql_text((option).val) : sql_null())

static inline sql_value_t sql_optional_number(types_option_timestamp_t number)
{
    return number.is_some ? sql_number(number.val) : sql_null();
}

#endif
