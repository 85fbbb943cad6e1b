#include "database.h"

#include <string.h>

#include "failure.h"
#include "memory.h"

static struct {
    bool has_connection;
    bool is_postgresql;
    sql_own_connection_t connection;

    bool has_transaction;
    sql_own_transaction_t transaction;

    bool has_rows;
    sql_own_rows_t rows;
    sql_list_list_value_t page;
    size_t next_in_page;
} database;

// What the contract calls what the database says.
static bool fail_by(sql_error_t error)
{
    // In the bindings' union all texts are the same type at the same place.
    const char *text = plain(error.val.other);
    switch (error.tag) {
    case SQL_ERROR_BUSY:
        return fail(TYPES_ERROR_UNAVAILABLE, "the database is busy: %s", text);
    case SQL_ERROR_UNAVAILABLE:
        return fail(TYPES_ERROR_UNAVAILABLE, "the database is unavailable: %s", text);
    case SQL_ERROR_DENIED:
        // The configuration or the grants are wrong.
        return fail(TYPES_ERROR_INVALID, "the database is not granted: %s", text);
    case SQL_ERROR_CONSTRAINT:
        return fail(TYPES_ERROR_OTHER, "the database refused what violates a constraint: %s", text);
    case SQL_ERROR_SYNTAX:
        return fail(TYPES_ERROR_OTHER, "the database refused the statement: %s", text);
    default:
        return fail(TYPES_ERROR_OTHER, "the database failed: %s", text);
    }
}

bool database_open(text_t name)
{
    sql_error_t error;
    if (database.has_connection)
        sql_connection_drop_own(database.connection);
    database.has_connection = sql_static_connection_open(&name, &database.connection, &error);
    if (!database.has_connection)
        return fail_by(error);
    database.is_postgresql = sql_method_connection_dialect(sql_borrow_connection(database.connection)) == SQL_DIALECT_POSTGRESQL;
    return true;
}

bool database_writes_at_once(void)
{
    return database.is_postgresql;
}

const char *database_words(struct dialects statement)
{
    return database.is_postgresql ? statement.postgresql : statement.sqlite;
}

// The statement as the database wants it: PostgreSQL's parameters are `$1`. No statement of this adapter has a question mark in a literal.
static text_t in_dialect(const char *sql)
{
    text_t text = text_of(sql);
    if (!database.is_postgresql)
        return text;
    uint8_t *copy = allocate(text.len);
    for (size_t at = 0; at < text.len; at++)
        copy[at] = sql[at] == '?' ? '$' : (uint8_t)sql[at];
    return (text_t){.ptr = copy, .len = text.len};
}

// PostgreSQL has no text with a NUL character in it. It would say so itself, but not that the argument can never succeed.
static bool can_hold(sql_list_value_t values)
{
    if (!database.is_postgresql)
        return true;
    for (size_t at = 0; at < values.len; at++) {
        const sql_value_t *value = &values.ptr[at];
        if (value->tag == SQL_VALUE_TEXT && value->val.text.len > 0 && memchr(value->val.text.ptr, '\0', value->val.text.len) != NULL)
            return fail(TYPES_ERROR_INVALID, "PostgreSQL cannot hold the text %s, which has a NUL character", quoted(value->val.text));
    }
    return true;
}

bool database_execute(const char *sql, sql_list_value_t values, uint64_t *changed)
{
    if (!can_hold(values))
        return false;
    text_t text = in_dialect(sql);
    sql_error_t error;
    bool is_done = database.has_transaction
                       ? sql_method_transaction_execute(sql_borrow_transaction(database.transaction), &text, &values, changed, &error)
                       : sql_method_connection_execute(sql_borrow_connection(database.connection), &text, &values, changed, &error);
    return is_done || fail_by(error);
}

static void end_query(void)
{
    if (database.has_rows)
        sql_rows_drop_own(database.rows);
    database.has_rows = false;
    database.page.len = 0;
    database.next_in_page = 0;
}

bool database_query(const char *sql, sql_list_value_t values)
{
    end_query();
    if (!can_hold(values))
        return false;
    text_t text = in_dialect(sql);
    sql_error_t error;
    database.has_rows = database.has_transaction
                            ? sql_method_transaction_query(sql_borrow_transaction(database.transaction), &text, &values, &database.rows, &error)
                            : sql_method_connection_query(sql_borrow_connection(database.connection), &text, &values, &database.rows, &error);
    return database.has_rows || fail_by(error);
}

bool database_next(struct row *row)
{
    if (has_failed())
        return false;
    if (database.next_in_page == database.page.len) {
        if (!database.has_rows)
            return false;
        // The host ends a page at about 1 MiB, however many rows are asked for.
        sql_method_rows_next(sql_borrow_rows(database.rows), UINT32_MAX, &database.page);
        database.next_in_page = 0;
        if (database.page.len == 0) {
            end_query();
            return false;
        }
    }
    *row = (struct row){.values = database.page.ptr[database.next_in_page++], .next = 0};
    return true;
}

void batch_add(struct batch *batch, const char *sql, sql_list_value_t values)
{
    sql_statement_t statement = {.sql = in_dialect(sql)};
    // What `VALUES` makes may be gone when the batch is run.
    for (size_t at = 0; at < values.len; at++)
        PUSH(&statement.params, values.ptr[at]);
    PUSH(&batch->statements, statement);
}

bool database_run(struct batch *batch, adapter_list_u64_t *changed)
{
    for (size_t at = 0; at < batch->statements.len; at++) {
        if (!can_hold(batch->statements.ptr[at].params))
            return false;
    }
    sql_error_t error;
    return sql_method_connection_batch(sql_borrow_connection(database.connection), &batch->statements, changed, &error) || fail_by(error);
}

bool database_begin(void)
{
    sql_error_t error;
    database.has_transaction = sql_method_connection_begin(sql_borrow_connection(database.connection), &database.transaction, &error);
    return database.has_transaction || fail_by(error);
}

static void end_transaction(void)
{
    // What was not committed is rolled back by it.
    if (database.has_transaction)
        sql_transaction_drop_own(database.transaction);
    database.has_transaction = false;
}

bool database_commit(void)
{
    end_query();
    sql_error_t error;
    bool is_done = sql_method_transaction_commit(sql_borrow_transaction(database.transaction), &error);
    end_transaction();
    return is_done || fail_by(error);
}

void database_end_call(void)
{
    end_query();
    end_transaction();
}
