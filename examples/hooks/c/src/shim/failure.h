// Why the call fails, as the contract's variant `error`.
//
// Functions that can fail give `bool`, so that what has to be done one after the other is written with `&&`. The first failure of a call is the one
// that counts.
#ifndef FAILURE_H
#define FAILURE_H

#include <stdbool.h>
#include <stdint.h>

#include "component.h"
#include "text.h"

// Says why the call fails, by one of the errors that have a text (`TYPES_ERROR_…`), and gives `false`.
bool fail(uint8_t error, const char *format, ...) __attribute__((format(printf, 2, 3)));

// The same with what the host answered.
bool fail_with(types_error_t error);

// Whether the call fails.
bool has_failed(void);

// The call goes on as if nothing had failed.
void failure_forget(void);

// The failure, with what was being done before a text that says only why. Afterwards there is none.
types_error_t failure_take(text_t doing);

#endif
