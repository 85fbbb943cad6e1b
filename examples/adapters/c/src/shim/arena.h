// Memory that is given out piece by piece and taken back as a whole.
#ifndef ARENA_H
#define ARENA_H

#include <stddef.h>

struct arena_block;

// All of it zero is an arena from which nothing was taken yet.
struct arena {
    struct arena_block *newest;
};

// Gives memory that is aligned for every type and not initialised. Where there is none left it does not return: that traps, which costs the host
// this call and this instance, and no caller has to be right about a case that cannot be tested.
void *arena_allocate(struct arena *arena, size_t size);

// Takes back everything that was given.
void arena_clear(struct arena *arena);

#endif
