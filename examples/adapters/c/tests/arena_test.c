// The arena, with blocks of the size that it has in the component.

#include "../src/shim/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#include "test.h"

static void pieces_are_aligned_and_apart(void)
{
    struct arena arena = {0};
    enum { PIECES = 2000 };
    unsigned char *pieces[PIECES];
    for (size_t at = 0; at < PIECES; at++) {
        pieces[at] = arena_allocate(&arena, at);
        EXPECT((uintptr_t)pieces[at] % alignof(max_align_t) == 0);
        memset(pieces[at], (int)(at % 251), at);
    }
    for (size_t at = 0; at < PIECES; at++) {
        for (size_t byte = 0; byte < at; byte++)
            EXPECT(pieces[at][byte] == at % 251);
    }
    arena_clear(&arena);
}

static void something_large_does_not_end_the_block_before_it(void)
{
    struct arena arena = {0};
    unsigned char *small = arena_allocate(&arena, 1);
    unsigned char *large = arena_allocate(&arena, 4 << 20);
    memset(large, 1, 4 << 20);
    unsigned char *next = arena_allocate(&arena, 1);
    EXPECT((size_t)(next - small) == alignof(max_align_t));
    arena_clear(&arena);
}

static void something_large_can_be_the_first(void)
{
    struct arena arena = {0};
    memset(arena_allocate(&arena, 4 << 20), 1, 4 << 20);
    memset(arena_allocate(&arena, 100), 2, 100);
    arena_clear(&arena);
}

static void it_can_be_used_again_when_it_was_cleared(void)
{
    struct arena arena = {0};
    arena_clear(&arena);
    for (int round = 0; round < 3; round++) {
        memset(arena_allocate(&arena, 1000), round, 1000);
        arena_clear(&arena);
        EXPECT(arena.newest == NULL);
    }
}

int main(void)
{
    static const struct test tests[] = {
        TEST(pieces_are_aligned_and_apart),
        TEST(something_large_does_not_end_the_block_before_it),
        TEST(something_large_can_be_the_first),
        TEST(it_can_be_used_again_when_it_was_cleared),
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
