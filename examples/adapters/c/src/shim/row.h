// A row of a query, whose columns are taken one after the other.
//
// A column that holds something else than is asked for makes the call fail with `corrupt`. What is taken then is empty, so that a row can be read
// to its end before that is looked at; no further row follows. Texts and bytes are not copied: they are in the memory of the call.
#ifndef ROW_H
#define ROW_H

#include "adapter.h"
#include "text.h"

struct row {
    sql_list_value_t values;
    size_t next;
};

// The next column. Its name is for the message.
uint64_t row_number(struct row *row, const char *column);
int64_t row_integer(struct row *row, const char *column);
text_t row_text(struct row *row, const char *column);
adapter_option_string_t row_optional_text(struct row *row, const char *column);
types_option_json_t row_optional_json(struct row *row, const char *column);
adapter_list_u8_t row_bytes(struct row *row, const char *column);

// Whether the next column holds nothing. It is not taken.
bool row_is_null(const struct row *row);

// Passes over columns.
void row_skip(struct row *row, size_t columns);

#endif
