// The memory of a call: what the host passes in, what it answers, and what is given back.
//
// It lives until the next call begins, since the host reads the answer after the call has returned. Nothing in it is ever freed by itself, so that
// no function has to know who owns what, and nothing can leak. What is to live longer is kept by `text_keep`.
#ifndef MEMORY_H
#define MEMORY_H

#include <stddef.h>

// Memory for this call, not initialised. Where there is none left it does not return: that traps, which costs the host this call and this instance,
// and no caller has to be right about a case that cannot be tested.
void *allocate(size_t size);

// Says that a call goes on: the first time after `memory_end_call`, what the last call had is taken back.
void memory_begin_call(void);

// Says that the call is answered. What it has stays where it is, until the next one begins.
void memory_end_call(void);

// On this machine, in the tests, nothing is exported.
#ifdef __wasm__
#define EXPORTED_AS(name) __attribute__((export_name(name)))
#else
#define EXPORTED_AS(name)
#endif

// Where the host puts the arguments of a call and what the imported functions give. It takes the place of the bindings' own, which is `realloc`.
void *cabi_realloc(void *old, size_t old_size, size_t alignment, size_t size) EXPORTED_AS("cabi_realloc");

#endif
