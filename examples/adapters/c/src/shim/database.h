// The database that the host grants, spoken to in its dialect (`agent-host:sql`).
//
// It has one transaction and one query open at a time, and both end with the call at the latest. So whoever fails in the middle just says so: what
// was not committed is rolled back, and no handle stays behind.
#ifndef DATABASE_H
#define DATABASE_H

#include <stdbool.h>
#include <stdint.h>

#include "adapter.h"
#include "dialect.h"
#include "row.h"
#include "text.h"
#include "value.h"

// Opens the database that is granted under this name, for as long as the instance lives.
bool database_open(text_t name);

// Whether several transactions may write at a time, so that what they have in common must be locked.
bool database_writes_at_once(void);

// The statement that its dialect wants.
const char *database_words(struct dialects statement);

// Runs one statement, in the open transaction if there is one, and gives the number of rows that it changed.
bool database_execute(const char *sql, sql_list_value_t values, uint64_t *changed);

// Runs one statement, in the open transaction if there is one, whose rows then are those of `database_next`.
bool database_query(const char *sql, sql_list_value_t values);

// The next row of the last query. `false` behind the last one, and if the call has failed.
bool database_next(struct row *row);

// Statements that take effect together or not at all, and cost one call into the host. All of it zero is an empty batch.
struct batch {
    sql_list_statement_t statements;
};

void batch_add(struct batch *batch, const char *sql, sql_list_value_t values);

// Runs the statements, of which there is one at least, and gives the number of rows that each of them changed.
bool database_run(struct batch *batch, adapter_list_u64_t *changed);

// Begins a transaction that may write. Others wait for their turn until it ends.
bool database_begin(void);

// Makes what was done in the transaction durable.
bool database_commit(void);

// Ends what the call has left open.
void database_end_call(void);

#endif
