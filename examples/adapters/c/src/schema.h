// The tables, and how they came to be.
#ifndef SCHEMA_H
#define SCHEMA_H

#include <stdbool.h>

// Brings the database to this adapter's version, whatever other instances do at the same time.
bool schema_migrate(void);

// Whether the database answers, and has tables. Their version is not looked at: while a newer adapter takes over, this one still serves.
bool schema_check(void);

#endif
