// What is made of text and of arguments, without a host.

#include <stdint.h>
#include <string.h>

#include "../src/cursor.h"
#include "../src/shim/check.h"
#include "../src/shim/failure.h"
#include "../src/shim/memory.h"
#include "test.h"

// What the call fails by, and forgets it.
static types_error_t failure_of(bool is_done)
{
    EXPECT(!is_done && has_failed());
    types_error_t error = failure_take(TEXT("try it"));
    EXPECT(!has_failed());
    return error;
}

static bool is_invalid(bool is_done)
{
    return failure_of(is_done).tag == TYPES_ERROR_INVALID;
}

static void formats_put_strings_in_place(void)
{
    EXPECT(text_is(text_format("no more"), TEXT("no more")));
    EXPECT(text_is(text_format("%s", ""), TEXT("")));
    EXPECT(text_is(text_format("%s and %s: 100%%", "one", "ü"), TEXT("one and ü: 100%%")));
}

static void numbers_are_decimal(void)
{
    EXPECT(strcmp(decimal(0), "0") == 0);
    EXPECT(strcmp(decimal(1024), "1024") == 0);
    EXPECT(strcmp(decimal(UINT64_MAX), "18446744073709551615") == 0);
}

static void quoted_text_is_harmless(void)
{
    EXPECT(strcmp(quoted(TEXT("")), "\"\"") == 0);
    EXPECT(strcmp(quoted(TEXT("ü💡 'a'")), "\"ü💡 'a'\"") == 0);
    EXPECT(strcmp(quoted(TEXT("a\"b\\c\0d\n\x7F")), "\"a\\\"b\\\\c\\x00d\\x0a\\x7f\"") == 0);
}

static void long_text_is_cut_between_characters(void)
{
    char string[300];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(string, 'a', sizeof string);
        for (size_t at = shift; at + 4 <= sizeof string; at += 4)
            memcpy(string + at, "💡", 4);
        const char *cut = quoted((text_t){.ptr = (uint8_t *)string, .len = sizeof string});
        size_t kept = (256 - shift) / 4 * 4 + shift;
        EXPECT(memcmp(cut + 1, string, kept) == 0);
        EXPECT(strcmp(cut + 1 + kept, "…\"") == 0);
    }
}

static void plain_text_keeps_all_but_nul(void)
{
    EXPECT(strcmp(plain(TEXT("a\0b\"")), "a b\"") == 0);
}

static void the_first_failure_counts_and_says_what_was_done(void)
{
    fail(TYPES_ERROR_OTHER, "the %s failed", "disk");
    types_error_t error = failure_of(fail(TYPES_ERROR_INVALID, "too late"));
    EXPECT(error.tag == TYPES_ERROR_OTHER);
    EXPECT(text_is(error.val.other, TEXT("failed to try it: the disk failed")));
}

static void what_is_not_there_is_said_without_more(void)
{
    types_error_t error = failure_of(fail(TYPES_ERROR_NOT_FOUND, "there is none"));
    EXPECT(text_is(error.val.not_found, TEXT("there is none")));
    error = failure_of(fail_stale_epoch(7));
    EXPECT(error.tag == TYPES_ERROR_STALE_EPOCH && error.val.stale_epoch == 7);
    error = failure_of(fail_offset_mismatch(8));
    EXPECT(error.tag == TYPES_ERROR_OFFSET_MISMATCH && error.val.offset_mismatch == 8);
}

static void numbers_stay_below_the_limit(void)
{
    EXPECT(check_number("epoch", (UINT64_C(1) << 53) - 1));
    types_error_t error = failure_of(check_number("epoch", UINT64_C(1) << 53));
    EXPECT(text_is(error.val.invalid, TEXT("failed to try it: the epoch 9007199254740992 is not below 2^53")));
}

static void session_ids_are_of_few_characters(void)
{
    char longest[129];
    memset(longest, 'a', sizeof longest);
    EXPECT(check_session_id(TEXT("a")));
    EXPECT(check_session_id(TEXT("Az09._-")));
    EXPECT(check_session_id((text_t){.ptr = (uint8_t *)longest, .len = 128}));
    EXPECT(is_invalid(check_session_id((text_t){.ptr = (uint8_t *)longest, .len = 129})));
    static const text_t wrong[] = {TEXT(""), TEXT(".a"), TEXT("a/b"), TEXT("ü"), TEXT("a b"), TEXT("a\0")};
    for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++)
        EXPECT(is_invalid(check_session_id(wrong[at])));
}

static void what_is_asked_for_has_bounds(void)
{
    EXPECT(check_read(0, 0) && check_read((UINT64_C(1) << 53) - 1, 1024 * 1024));
    EXPECT(is_invalid(check_read(0, 1024 * 1024 + 1)));
    EXPECT(is_invalid(check_read(UINT64_MAX, 1)));
    EXPECT(check_limit(1) && check_limit(1000));
    EXPECT(is_invalid(check_limit(0)));
    EXPECT(is_invalid(check_limit(1001)));
    EXPECT(check_ttl(1) && check_ttl(86400000));
    EXPECT(is_invalid(check_ttl(0)));
    EXPECT(is_invalid(check_ttl(86400001)));
    EXPECT(check_renewals(0) && check_renewals(500));
    EXPECT(is_invalid(check_renewals(501)));
}

static void a_cursor_reads_back(void)
{
    struct cursor cursor = {.created_at = 1795330039110, .id = TEXT("a-b")};
    text_t text = cursor_text(cursor);
    EXPECT(text_is(text, TEXT("1795330039110/a-b")));
    struct cursor again;
    EXPECT(cursor_read(text, &again));
    EXPECT(again.created_at == cursor.created_at && text_is(again.id, cursor.id));
}

static void other_text_is_no_cursor(void)
{
    static const text_t wrong[] = {TEXT(""),
                                   TEXT("5"),
                                   TEXT("/"),
                                   TEXT("/a"),
                                   TEXT("5/"),
                                   TEXT("x/a"),
                                   TEXT("-1/a"),
                                   TEXT("5/a b"),
                                   TEXT("5/\0"),
                                   TEXT("5\0/a"),
                                   TEXT("18446744073709551615/a")};
    for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++) {
        struct cursor cursor;
        EXPECT(is_invalid(cursor_read(wrong[at], &cursor)));
    }
}

static void lists_grow_and_keep_what_they_have(void)
{
    adapter_list_u64_t list = {.len = 0};
    for (uint64_t number = 0; number < 1000; number++)
        PUSH(&list, number);
    EXPECT(list.len == 1000);
    for (uint64_t number = 0; number < 1000; number++)
        EXPECT(list.ptr[number] == number);
}

int main(void)
{
    static const struct test tests[] = {
        TEST(formats_put_strings_in_place),           TEST(numbers_are_decimal),          TEST(quoted_text_is_harmless),
        TEST(long_text_is_cut_between_characters),    TEST(plain_text_keeps_all_but_nul), TEST(the_first_failure_counts_and_says_what_was_done),
        TEST(what_is_not_there_is_said_without_more), TEST(numbers_stay_below_the_limit), TEST(session_ids_are_of_few_characters),
        TEST(what_is_asked_for_has_bounds),           TEST(a_cursor_reads_back),          TEST(other_text_is_no_cursor),
        TEST(lists_grow_and_keep_what_they_have),
    };
    memory_begin_call();
    int result = run_tests(tests, sizeof tests / sizeof *tests);
    // What the call had is taken back when the next one begins.
    memory_end_call();
    memory_begin_call();
    return result;
}
