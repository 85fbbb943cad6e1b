#include "memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"

// An instance is one thread and answers one call at a time: so this is a variable, and not an argument of every function.
static struct {
    struct arena arena;
    bool is_answered;
} memory;

void memory_begin_call(void)
{
    if (memory.is_answered) {
        arena_clear(&memory.arena);
        memory.is_answered = false;
    }
}

void memory_end_call(void)
{
    memory.is_answered = true;
}

void *allocate(size_t size)
{
    return arena_allocate(&memory.arena, size);
}

void *with_room_for_one(void *items, size_t count, size_t item_size)
{
    bool is_full = (count & (count - 1)) == 0;
    if (!is_full)
        return items;
    size_t size;
    if (__builtin_mul_overflow(count == 0 ? 1 : count * 2, item_size, &size))
        abort();
    void *larger = allocate(size);
    if (count > 0)
        memcpy(larger, items, count * item_size);
    return larger;
}

void *cabi_realloc(void *old, size_t old_size, size_t alignment, size_t size)
{
    (void)alignment; // The arena's is the largest that there is.
    // The arguments are the first that is known of a call.
    memory_begin_call();
    void *larger = allocate(size);
    if (old_size > 0)
        memcpy(larger, old, old_size < size ? old_size : size);
    return larger;
}
