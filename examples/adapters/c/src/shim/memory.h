// The memory of a call: what the host passes in, what the database answers, and what is given back.
//
// It lives until the next call begins, since the host reads the answer after the call has returned. Nothing in it is ever freed by itself, so that
// no function has to know who owns what, and nothing can leak.
#ifndef MEMORY_H
#define MEMORY_H

#include <stddef.h>

// Memory for this call, not initialised.
void *allocate(size_t size);

// Makes room for one more item behind `count`, and gives where the items are then.
void *with_room_for_one(void *items, size_t count, size_t item_size);

// Adds an item to one of the bindings' lists (`ptr`, `len`). A list that only this adds to needs no field for its capacity: it is full whenever
// it has 0, 1, 2, 4, 8, … items, and doubles then.
#define PUSH(list, item)                                                                \
    do {                                                                                \
        (list)->ptr = with_room_for_one((list)->ptr, (list)->len, sizeof *(list)->ptr); \
        (list)->ptr[(list)->len++] = (item);                                            \
    } while (0)

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
