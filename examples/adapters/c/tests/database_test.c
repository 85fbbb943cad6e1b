// The database, as far as another dialect than SQLite's can be tried on SQLite: it takes parameters as PostgreSQL writes them, too.

#include "../src/shim/database.h"

#include "../src/shim/failure.h"
#include "../src/shim/memory.h"
#include "host.h"
#include "test.h"

static void parameters_are_written_as_postgresql_has_them(void)
{
    uint64_t changed;
    host_run("CREATE TABLE t (a TEXT, b INTEGER)");
    EXPECT(database_execute("INSERT INTO t VALUES (?1, ?2)", VALUES(sql_text(TEXT("x")), sql_number(1)), &changed));
    EXPECT(changed == 1);
    struct batch batch = {0};
    batch_add(&batch, "INSERT INTO t VALUES (?1, ?2)", VALUES(sql_text(TEXT("y")), sql_number(2)));
    batch_add(&batch, "UPDATE t SET b = b + 1", NO_VALUES);
    adapter_list_u64_t counts;
    EXPECT(database_run(&batch, &counts));
    EXPECT(counts.len == 2 && counts.ptr[0] == 1 && counts.ptr[1] == 2);
    EXPECT(text_is(text_of(host_last_sql()), TEXT("UPDATE t SET b = b + 1")));
    struct row row;
    EXPECT(database_query("SELECT b FROM t WHERE a = ?1", VALUES(sql_text(TEXT("y")))));
    EXPECT(text_is(text_of(host_last_sql()), TEXT("SELECT b FROM t WHERE a = $1")));
    EXPECT(database_next(&row) && row_number(&row, "b") == 3 && !database_next(&row));
}

static void words_are_those_of_the_dialect(void)
{
#define SENTENCE(DIALECT) "id " DIALECT##_BYTES DIALECT##_LOCKED
    static const struct dialects sentence = IN_DIALECTS(SENTENCE);
    EXPECT(text_is(text_of(database_words(sentence)), TEXT("id BYTEA FOR UPDATE")));
    EXPECT(text_is(text_of(sentence.sqlite), TEXT("id BLOB")));
}

static bool is_refused(bool is_done)
{
    return !is_done && has_failed() && failure_take(TEXT("try it")).tag == TYPES_ERROR_INVALID;
}

static void text_that_postgresql_cannot_hold_is_refused(void)
{
    uint64_t changed;
    sql_list_value_t values = VALUES(sql_null(), sql_text(TEXT("a\0b")));
    EXPECT(is_refused(database_execute("INSERT INTO t VALUES (?1, ?2)", values, &changed)));
    EXPECT(is_refused(database_query("SELECT ?1, ?2", values)));
    struct batch batch = {0};
    batch_add(&batch, "INSERT INTO t VALUES (?1, ?2)", values);
    adapter_list_u64_t counts;
    EXPECT(is_refused(database_run(&batch, &counts)));
}

static void a_row_that_is_not_as_expected_is_corrupt(void)
{
    struct row row;
    EXPECT(database_query("SELECT 'x', 1.5", NO_VALUES) && database_next(&row));
    EXPECT(row_number(&row, "length") == 0);
    types_error_t error = failure_take(TEXT("try it"));
    EXPECT(error.tag == TYPES_ERROR_CORRUPT);
    EXPECT(text_is(error.val.corrupt, TEXT("failed to try it: the column \"length\" holds text, not an integer")));
    EXPECT(row_text(&row, "name").len == 0);
    error = failure_take(TEXT("try it"));
    EXPECT(text_is(error.val.corrupt, TEXT("failed to try it: the column \"name\" holds a real number, not text")));
    EXPECT(row_bytes(&row, "data").len == 0);
    error = failure_take(TEXT("try it"));
    EXPECT(text_is(error.val.corrupt, TEXT("failed to try it: there is no column \"data\"")));
}

static void what_is_left_open_ends_with_the_call(void)
{
    uint64_t changed;
    EXPECT(database_begin());
    EXPECT(database_execute("DELETE FROM t", NO_VALUES, &changed));
    EXPECT(database_query("SELECT COUNT(*) FROM t", NO_VALUES));
    EXPECT(host_open_handles() == 2);
    database_end_call();
    EXPECT(host_open_handles() == 0);
    EXPECT(host_number("SELECT COUNT(*) FROM t") == 2);
}

int main(void)
{
    static const struct test tests[] = {
        TEST(parameters_are_written_as_postgresql_has_them), TEST(words_are_those_of_the_dialect),
        TEST(text_that_postgresql_cannot_hold_is_refused),   TEST(a_row_that_is_not_as_expected_is_corrupt),
        TEST(what_is_left_open_ends_with_the_call),
    };
    host_speaks(SQL_DIALECT_POSTGRESQL);
    memory_begin_call();
    EXPECT(database_open(TEXT("main")) && database_writes_at_once());
    return run_tests(tests, sizeof tests / sizeof *tests);
}
