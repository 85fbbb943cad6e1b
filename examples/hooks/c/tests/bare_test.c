// A hook that wants nothing.

#include "host.h"
#include "test.h"

const struct hook exported_hook = {.name = "bare", .version = "1"};

static void it_has_no_configuration(void)
{
    types_error_t error;
    exports_hook_hook_info_t info;
    config_t config = given_config("key", "value");
    EXPECT(failed_by(exports_hook_open(&config, &info, &error), &error, TYPES_ERROR_INVALID,
                     "failed to open the hook: unknown configuration key \"key\"; there are none"));
}

static void it_is_asked_about_nothing(void)
{
    types_error_t error;
    exports_hook_hook_info_t info;
    config_t none = {.len = 0};
    EXPECT(exports_hook_open(&none, &info, &error));
    EXPECT(text_is(info.name, TEXT("bare")) && text_is(info.version, TEXT("1")));
    EXPECT(info.events.len == 0 && info.decisions == 0 && info.on_failure == EXPORTS_HOOK_ON_FAILURE_ALLOW);
}

static void it_allows_what_it_is_asked_about_even_so(void)
{
    types_error_t error;
    verdict_t verdict = {.tag = EXPORTS_HOOK_VERDICT_DENY};
    tool_draft_t draft = given_use("Bash", "{}");
    EXPECT(exports_hook_before_tool_use(&draft, &verdict, &error) && verdict.tag == EXPORTS_HOOK_VERDICT_ALLOW);
    exports_hook_list_event_t events = {.len = 0};
    EXPECT(exports_hook_on_events(&events, &error));
}

int main(void)
{
    static const struct test tests[] = {
        TEST(it_has_no_configuration),
        TEST(it_is_asked_about_nothing),
        TEST(it_allows_what_it_is_asked_about_even_so),
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
