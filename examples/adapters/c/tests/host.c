#include "host.h"

#include <sqlite3.h>
#include <string.h>

#include "../src/shim/memory.h"
#include "adapter.h"
#include "test.h"

enum { CONNECTION = 1, ROWS, TRANSACTION };

// The host ends a page of rows at about so many bytes.
enum { PAGE_BYTES = 1024 * 1024 };

static struct {
    sqlite3 *sqlite;
    sqlite3_stmt *rows;
    bool are_at_end;
    bool has_transaction;
    size_t messages;
    uint8_t dialect;
    char last_sql[4096];

    bool will_fail;
    size_t calls_until_failure;
    uint8_t failure;
} host;

static sqlite3 *database(void)
{
    if (host.sqlite == NULL) {
        EXPECT(sqlite3_open(":memory:", &host.sqlite) == SQLITE_OK);
        host_run("PRAGMA foreign_keys = ON");
    }
    return host.sqlite;
}

void host_run(const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(database(), sql, NULL, NULL, &message) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", sql, message);
        exit(1);
    }
}

int64_t host_number(const char *sql)
{
    sqlite3_stmt *statement;
    EXPECT(sqlite3_prepare_v2(database(), sql, -1, &statement, NULL) == SQLITE_OK);
    EXPECT(sqlite3_step(statement) == SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

void host_fail_after(size_t calls, uint8_t error)
{
    host.will_fail = true;
    host.calls_until_failure = calls;
    host.failure = error;
}

bool host_has_failed(void)
{
    bool has_come = !host.will_fail;
    host.will_fail = false;
    return has_come;
}

void host_speaks(uint8_t dialect)
{
    host.dialect = dialect;
}

const char *host_last_sql(void)
{
    return host.last_sql;
}

size_t host_open_handles(void)
{
    return (host.rows != NULL) + (size_t)host.has_transaction;
}

size_t host_messages(void)
{
    return host.messages;
}

// Bytes in the memory of the call. What is empty points nowhere that could be read.
static uint8_t *handed_over(const void *bytes, size_t size)
{
    if (size == 0)
        return (uint8_t *)1;
    uint8_t *copy = cabi_realloc(NULL, 0, 1, size);
    memcpy(copy, bytes, size);
    return copy;
}

static bool fails(uint8_t tag, const char *text, sql_error_t *error)
{
    size_t length = strlen(text);
    *error = (sql_error_t){.tag = tag, .val.other = {.ptr = handed_over(text, length), .len = length}};
    return false;
}

static bool fails_by_sqlite(sql_error_t *error)
{
    bool is_constraint = sqlite3_errcode(database()) == SQLITE_CONSTRAINT;
    return fails(is_constraint ? SQL_ERROR_CONSTRAINT : SQL_ERROR_SYNTAX, sqlite3_errmsg(database()), error);
}

// Whether this is the call that was to fail.
static bool is_to_fail(sql_error_t *error)
{
    if (!host.will_fail || host.calls_until_failure-- > 0)
        return false;
    host.will_fail = false;
    fails(host.failure, "as the test wants it", error);
    return true;
}

static sqlite3_stmt *prepare(const adapter_string_t *sql, const sql_list_value_t *params, sql_error_t *error)
{
    EXPECT(sql->len < sizeof host.last_sql);
    memcpy(host.last_sql, sql->ptr, sql->len);
    host.last_sql[sql->len] = '\0';
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(database(), host.last_sql, -1, &statement, NULL) != SQLITE_OK) {
        fails_by_sqlite(error);
        return NULL;
    }
    EXPECT((size_t)sqlite3_bind_parameter_count(statement) == params->len);
    for (size_t at = 0; at < params->len; at++) {
        const sql_value_t *value = &params->ptr[at];
        int index = (int)at + 1;
        switch (value->tag) {
        case SQL_VALUE_NULL:
            sqlite3_bind_null(statement, index);
            break;
        case SQL_VALUE_INTEGER:
            sqlite3_bind_int64(statement, index, value->val.integer);
            break;
        case SQL_VALUE_REAL:
            sqlite3_bind_double(statement, index, value->val.real);
            break;
        case SQL_VALUE_TEXT:
            sqlite3_bind_text64(statement, index, (const char *)value->val.text.ptr, value->val.text.len, SQLITE_TRANSIENT, SQLITE_UTF8);
            break;
        case SQL_VALUE_BLOB:
            sqlite3_bind_blob64(statement, index, value->val.blob.ptr, value->val.blob.len, SQLITE_TRANSIENT);
            break;
        }
    }
    return statement;
}

static bool execute(const adapter_string_t *sql, const sql_list_value_t *params, uint64_t *changed, sql_error_t *error)
{
    sqlite3_stmt *statement = prepare(sql, params, error);
    if (statement == NULL)
        return false;
    EXPECT(sqlite3_column_count(statement) == 0);
    int before = sqlite3_total_changes(database());
    bool is_done = sqlite3_step(statement) == SQLITE_DONE || fails_by_sqlite(error);
    sqlite3_finalize(statement);
    *changed = sqlite3_total_changes(database()) == before ? 0 : (uint64_t)sqlite3_changes(database());
    return is_done;
}

static bool query(const adapter_string_t *sql, const sql_list_value_t *params, sql_own_rows_t *rows, sql_error_t *error)
{
    EXPECT(host.rows == NULL);
    host.rows = prepare(sql, params, error);
    host.are_at_end = false;
    rows->__handle = ROWS;
    return host.rows != NULL;
}

bool sql_static_connection_open(adapter_string_t *name, sql_own_connection_t *connection, sql_error_t *error)
{
    if (is_to_fail(error))
        return false;
    if (name->len != 4 || memcmp(name->ptr, "main", 4) != 0)
        return fails(SQL_ERROR_DENIED, "there is no such database", error);
    connection->__handle = CONNECTION;
    return true;
}

sql_dialect_t sql_method_connection_dialect(sql_borrow_connection_t connection)
{
    EXPECT(connection.__handle == CONNECTION);
    return host.dialect;
}

bool sql_method_connection_execute(sql_borrow_connection_t connection, adapter_string_t *sql, sql_list_value_t *params, uint64_t *changed,
                                   sql_error_t *error)
{
    EXPECT(connection.__handle == CONNECTION && !host.has_transaction);
    return !is_to_fail(error) && execute(sql, params, changed, error);
}

bool sql_method_connection_query(sql_borrow_connection_t connection, adapter_string_t *sql, sql_list_value_t *params, sql_own_rows_t *rows,
                                 sql_error_t *error)
{
    EXPECT(connection.__handle == CONNECTION && !host.has_transaction);
    return !is_to_fail(error) && query(sql, params, rows, error);
}

bool sql_method_connection_batch(sql_borrow_connection_t connection, sql_list_statement_t *statements, adapter_list_u64_t *changed,
                                 sql_error_t *error)
{
    EXPECT(connection.__handle == CONNECTION && !host.has_transaction && statements->len > 0);
    if (is_to_fail(error))
        return false;
    host_run("BEGIN IMMEDIATE");
    changed->len = statements->len;
    changed->ptr = cabi_realloc(NULL, 0, 8, statements->len * sizeof *changed->ptr);
    for (size_t at = 0; at < statements->len; at++) {
        if (!execute(&statements->ptr[at].sql, &statements->ptr[at].params, &changed->ptr[at], error)) {
            host_run("ROLLBACK");
            return false;
        }
    }
    host_run("COMMIT");
    return true;
}

bool sql_method_connection_begin(sql_borrow_connection_t connection, sql_own_transaction_t *transaction, sql_error_t *error)
{
    EXPECT(connection.__handle == CONNECTION && !host.has_transaction);
    if (is_to_fail(error))
        return false;
    host_run("BEGIN IMMEDIATE");
    host.has_transaction = true;
    transaction->__handle = TRANSACTION;
    return true;
}

static sql_value_t column(int index)
{
    sqlite3_stmt *row = host.rows;
    size_t size = (size_t)sqlite3_column_bytes(row, index);
    switch (sqlite3_column_type(row, index)) {
    case SQLITE_INTEGER:
        return (sql_value_t){.tag = SQL_VALUE_INTEGER, .val.integer = sqlite3_column_int64(row, index)};
    case SQLITE_FLOAT:
        return (sql_value_t){.tag = SQL_VALUE_REAL, .val.real = sqlite3_column_double(row, index)};
    case SQLITE_TEXT:
        return (sql_value_t){.tag = SQL_VALUE_TEXT, .val.text = {.ptr = handed_over(sqlite3_column_text(row, index), size), .len = size}};
    case SQLITE_BLOB:
        return (sql_value_t){.tag = SQL_VALUE_BLOB, .val.blob = {.ptr = handed_over(sqlite3_column_blob(row, index), size), .len = size}};
    default:
        return (sql_value_t){.tag = SQL_VALUE_NULL};
    }
}

void sql_method_rows_next(sql_borrow_rows_t rows, uint32_t max, sql_list_list_value_t *page)
{
    EXPECT(rows.__handle == ROWS && host.rows != NULL);
    *page = (sql_list_list_value_t){.ptr = NULL, .len = 0};
    size_t columns = (size_t)sqlite3_column_count(host.rows);
    for (size_t bytes = 0; bytes < PAGE_BYTES && page->len < max && !host.are_at_end;) {
        // SQLite would begin anew behind the last row.
        host.are_at_end = sqlite3_step(host.rows) != SQLITE_ROW;
        if (host.are_at_end)
            break;
        sql_list_value_t row = {.ptr = cabi_realloc(NULL, 0, 8, columns * sizeof *row.ptr), .len = columns};
        for (size_t at = 0; at < columns; at++) {
            row.ptr[at] = column((int)at);
            bytes += sizeof *row.ptr + (size_t)sqlite3_column_bytes(host.rows, (int)at);
        }
        PUSH(page, row);
    }
}

bool sql_method_transaction_execute(sql_borrow_transaction_t transaction, adapter_string_t *sql, sql_list_value_t *params, uint64_t *changed,
                                    sql_error_t *error)
{
    EXPECT(transaction.__handle == TRANSACTION && host.has_transaction);
    return !is_to_fail(error) && execute(sql, params, changed, error);
}

bool sql_method_transaction_query(sql_borrow_transaction_t transaction, adapter_string_t *sql, sql_list_value_t *params, sql_own_rows_t *rows,
                                  sql_error_t *error)
{
    EXPECT(transaction.__handle == TRANSACTION && host.has_transaction);
    return !is_to_fail(error) && query(sql, params, rows, error);
}

bool sql_method_transaction_commit(sql_borrow_transaction_t transaction, sql_error_t *error)
{
    EXPECT(transaction.__handle == TRANSACTION && host.has_transaction);
    if (is_to_fail(error))
        return false;
    host_run("COMMIT");
    return true;
}

void sql_connection_drop_own(sql_own_connection_t connection)
{
    EXPECT(connection.__handle == CONNECTION);
}

void sql_rows_drop_own(sql_own_rows_t rows)
{
    EXPECT(rows.__handle == ROWS && host.rows != NULL);
    sqlite3_finalize(host.rows);
    host.rows = NULL;
}

void sql_transaction_drop_own(sql_own_transaction_t transaction)
{
    EXPECT(transaction.__handle == TRANSACTION && host.has_transaction);
    // SQLite is outside of a transaction once it was committed.
    if (sqlite3_get_autocommit(database()) == 0)
        host_run("ROLLBACK");
    host.has_transaction = false;
}

sql_borrow_connection_t sql_borrow_connection(sql_own_connection_t connection)
{
    return (sql_borrow_connection_t){connection.__handle};
}

sql_borrow_rows_t sql_borrow_rows(sql_own_rows_t rows)
{
    return (sql_borrow_rows_t){rows.__handle};
}

sql_borrow_transaction_t sql_borrow_transaction(sql_own_transaction_t transaction)
{
    return (sql_borrow_transaction_t){transaction.__handle};
}

void logging_log(logging_level_t level, adapter_string_t *context, adapter_string_t *message)
{
    EXPECT(level == LOGGING_LEVEL_INFO && context->len > 0 && message->len > 0);
    host.messages++;
}
