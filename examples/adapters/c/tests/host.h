// A host for tests: `agent-host:sql` over a SQLite database in memory, and the log. It hands everything over in the memory of the call, as the real
// one does, so that the address sanitizer sees what the adapter does with it.
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Runs SQL in the database, beside the adapter.
void host_run(const char *sql);

// The number that a query gives.
int64_t host_number(const char *sql);

// Lets the call into the host after this many others fail with one of `SQL_ERROR_…`, once.
void host_fail_after(size_t calls, uint8_t error);

// Whether that call has come. None fails any more.
bool host_has_failed(void);

// What the adapter is told that the database speaks (`SQL_DIALECT_…`). SQLite's, unless it is told otherwise.
void host_speaks(uint8_t dialect);

// The last statement that the adapter ran.
const char *host_last_sql(void);

// Results and transactions that are open.
size_t host_open_handles(void);

// How many messages the adapter has logged.
size_t host_messages(void);

#endif
