#include "arena.h"

#include <stdalign.h>
#include <stdlib.h>

// Most calls need less, so that they take one block. The tests build with 0: every piece then is a block of its own, and the address sanitizer
// sees where each of them ends.
#ifndef ARENA_BLOCK_BYTES
#define ARENA_BLOCK_BYTES ((size_t)32 * 1024)
#endif

struct arena_block {
    struct arena_block *older;
    size_t size;
    size_t used;
    alignas(max_align_t) unsigned char bytes[];
};

static size_t aligned(size_t size)
{
    size_t up;
    if (__builtin_add_overflow(size, alignof(max_align_t) - 1, &up))
        abort();
    return up & ~(alignof(max_align_t) - 1);
}

static struct arena_block *new_block(size_t size)
{
    size_t all;
    if (__builtin_add_overflow(sizeof(struct arena_block), size, &all))
        abort();
    struct arena_block *block = malloc(all);
    if (block == NULL)
        abort();
    block->older = NULL;
    block->size = size;
    block->used = 0;
    return block;
}

// A block with this much room.
static struct arena_block *block_for(struct arena *arena, size_t size)
{
    struct arena_block *newest = arena->newest;
    if (newest != NULL && newest->size - newest->used >= size)
        return newest;
    if (newest != NULL && size > ARENA_BLOCK_BYTES) {
        // Something large gets a block of its own, and small things go on in the one that they have.
        struct arena_block *block = new_block(size);
        block->older = newest->older;
        newest->older = block;
        return block;
    }
    struct arena_block *block = new_block(size > ARENA_BLOCK_BYTES ? size : ARENA_BLOCK_BYTES);
    block->older = newest;
    arena->newest = block;
    return block;
}

void *arena_allocate(struct arena *arena, size_t size)
{
    size_t taken = aligned(size);
    struct arena_block *block = block_for(arena, taken);
    void *memory = block->bytes + block->used;
    block->used += taken;
    return memory;
}

void arena_clear(struct arena *arena)
{
    while (arena->newest != NULL) {
        struct arena_block *block = arena->newest;
        arena->newest = block->older;
        free(block);
    }
}
