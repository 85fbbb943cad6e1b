// What all tests have in common.
#ifndef TEST_H
#define TEST_H

#include <stdio.h>
#include <stdlib.h>

// Ends the program, and says where, unless it is so.
#define EXPECT(condition)                                                            \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                 \
        }                                                                            \
    } while (0)

struct test {
    const char *name;
    void (*run)(void);
};

// An entry of the list of tests, named like its function.
#define TEST(function)                       \
    {                                        \
        .name = #function, .run = (function) \
    }

static inline int run_tests(const struct test *tests, size_t count)
{
    for (size_t at = 0; at < count; at++) {
        printf("  %s\n", tests[at].name);
        fflush(stdout);
        tests[at].run();
    }
    return 0;
}

#endif
