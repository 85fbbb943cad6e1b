// What is made of text and JSON, without a hook.

#include <string.h>

#include "../src/shim/memory.h"
#include "host.h"
#include "test.h"

const struct hook exported_hook = {.name = "none", .version = "1"};

static void formats_put_strings_in_place(void)
{
    EXPECT(text_is(text_format("no more"), TEXT("no more")));
    EXPECT(text_is(text_format("%s and %s: 100%%", "one", "ü"), TEXT("one and ü: 100%")));
    EXPECT(strcmp(decimal(0), "0") == 0 && strcmp(decimal(UINT64_MAX), "18446744073709551615") == 0);
    EXPECT(strcmp(quoted(TEXT("a\"b\\c\0d\n\x7F")), "\"a\\\"b\\\\c\\x00d\\x0a\\x7f\"") == 0);
    EXPECT(strcmp(plain(TEXT("a\0b\"")), "a b\"") == 0);
}

static void pieces_have_no_space_around_them(void)
{
    text_t rest = given(" a, b c ,,d,");
    static const char *const pieces[] = {"a", "b c", "", "d", ""};
    text_t piece;
    for (size_t at = 0; at < sizeof pieces / sizeof *pieces; at++)
        EXPECT(text_next(&rest, ',', &piece) && text_is(piece, text_of(pieces[at])));
    EXPECT(!text_next(&rest, ',', &piece));
}

static void members_are_found_by_their_names(void)
{
    text_t object = given(" { \"a\" : {\"b\": [1, \"}\"]} , \"\\u0062\":\"x\\\"y\", \"c\":null } ");
    text_t value;
    text_t inner;
    EXPECT(json_member(object, "a", &value) && text_is(value, TEXT("{\"b\": [1, \"}\"]}")));
    EXPECT(json_member(value, "b", &inner) && text_is(inner, TEXT("[1, \"}\"]")));
    EXPECT(json_member_string(object, "b", &value) && text_is(value, TEXT("x\"y")));
    EXPECT(json_member(object, "c", &value) && text_is(value, TEXT("null")) && !json_string(value, &inner));
    EXPECT(!json_member(object, "d", &value) && !json_member(given("{}"), "a", &value) && !json_member(given("[1]"), "a", &value));
}

static void items_come_one_after_the_other(void)
{
    text_t rest = given("[ {\"a\":[1,2]} , \"]\",3 ]");
    static const char *const items[] = {"{\"a\":[1,2]}", "\"]\"", "3"};
    text_t item;
    for (size_t at = 0; at < sizeof items / sizeof *items; at++)
        EXPECT(json_next(&rest, &item) && text_is(item, text_of(items[at])));
    EXPECT(!json_next(&rest, &item));
    rest = given("[]");
    EXPECT(!json_next(&rest, &item));
    rest = given("{\"a\": 1}");
    EXPECT(!json_next(&rest, &item));
}

static void strings_are_read_and_written(void)
{
    text_t string;
    EXPECT(json_string(given("\"\""), &string) && string.len == 0);
    EXPECT(json_string(given("\"a\\n\\t\\/\\\\\\u00e4\\ud83d\\udca1\\u20ac\""), &string) && text_is(string, TEXT("a\n\t/\\ä💡€")));
    EXPECT(json_string(given("\"\\ud83d, \\udca1 and \\ud83d\\u0041\""), &string) && text_is(string, TEXT("�, � and �A")));
    EXPECT(strcmp(json_quoted(TEXT("a\"\\\n\0ü")), "\"a\\\"\\\\\\u000a\\u0000ü\"") == 0);
    EXPECT(json_string(text_of(json_quoted(TEXT("a\"\\\n\0ü"))), &string) && text_is(string, TEXT("a\"\\\n\0ü")));
}

static void numbers_are_numbers(void)
{
    double number;
    EXPECT(json_number(given("-12.5e1"), &number) && number < -124 && number > -126);
    static const char *const wrong[] = {"", "-", "null", "inf", "-inf", "nan", " 1", "1x", "\"1\"", "[1]"};
    for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++)
        EXPECT(!json_number(given(wrong[at]), &number));
}

// Every beginning of a document, and every one with a wrong byte in it: something may be found, and nothing beyond the end.
static void what_is_no_json_does_no_harm(void)
{
    static const char document[] = "{\"a\\u00e4\": [1, {\"b\": \"\\ud83d\\udca1\\\"\"}], \"c\": true}";
    static const char wrong[] = "\"\\{}[],:u\x01";
    for (size_t length = 0; length < sizeof document; length++) {
        for (size_t at = 0; at < length; at++) {
            for (size_t byte = 0; byte < sizeof wrong; byte++) {
                text_t text = {.ptr = cabi_realloc(NULL, 0, 1, length), .len = length};
                memcpy(text.ptr, document, length);
                text.ptr[at] = (uint8_t)wrong[byte];
                text_t value;
                json_string(text, &value);
                json_member_string(text, "c", &value);
                if (json_member(text, "aä", &value)) {
                    text_t item;
                    while (json_next(&value, &item))
                        json_member_string(item, "b", &item);
                }
                memory_end_call();
                memory_begin_call();
            }
        }
    }
}

int main(void)
{
    static const struct test tests[] = {
        TEST(formats_put_strings_in_place),   TEST(pieces_have_no_space_around_them), TEST(members_are_found_by_their_names),
        TEST(items_come_one_after_the_other), TEST(strings_are_read_and_written),     TEST(numbers_are_numbers),
        TEST(what_is_no_json_does_no_harm),
    };
    int result = run_tests(tests, sizeof tests / sizeof *tests);
    // What the call had is taken back when the next one begins.
    memory_end_call();
    memory_begin_call();
    return result;
}
