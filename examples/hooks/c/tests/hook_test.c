// The hook itself, through the functions of the contract. A program is one instance, so the tests are in the order of its life.

#include <string.h>

#include "host.h"
#include "test.h"

static void it_is_not_asked_before_it_is_open(void)
{
    types_error_t error;
    verdict_t verdict;
    tool_draft_t draft = given_use("Bash", "{}");
    bool is_done = exports_hook_before_tool_use(&draft, &verdict, &error);
    EXPECT(
        failed_by(is_done, &error, TYPES_ERROR_INVALID, "failed to decide on a use of \"Bash\" in session \"s\": the hook was called before `open`"));
}

static void its_configuration_names_tools_and_nothing_else(void)
{
    types_error_t error;
    exports_hook_hook_info_t info;
    config_t config = given_config("tool", "Bash");
    EXPECT(failed_by(exports_hook_open(&config, &info, &error), &error, TYPES_ERROR_INVALID,
                     "failed to open the hook: unknown configuration key \"tool\"; known are: tools"));
    for (const char *const *empty = (const char *const[]){"", "Bash,,Read", NULL}; *empty != NULL; empty++) {
        config = given_config("tools", *empty);
        EXPECT(failed_by(exports_hook_open(&config, &info, &error), &error, TYPES_ERROR_INVALID,
                         "failed to open the hook: the configuration key \"tools\" has an empty name"));
    }
    config_t none = {.len = 0};
    EXPECT(failed_by(exports_hook_open(&none, &info, &error), &error, TYPES_ERROR_INVALID,
                     "failed to open the hook: the configuration key \"tools\" is missing"));
}

static void it_decides_on_tools_and_denies_what_it_cannot_decide_on(void)
{
    types_error_t error;
    exports_hook_hook_info_t info;
    config_t config = given_config("tools", "WebFetch, Bash");
    EXPECT(exports_hook_open(&config, &info, &error));
    EXPECT(info.decisions == EXPORTS_HOOK_DECISIONS_BEFORE_TOOL_USE && info.events.len == 0);
    EXPECT(info.on_failure == EXPORTS_HOOK_ON_FAILURE_DENY && !info.extra.is_some);
    config = given_config("tools", "Read");
    EXPECT(failed_by(exports_hook_open(&config, &info, &error), &error, TYPES_ERROR_INVALID, "failed to open the hook: it is open already"));
}

static void a_tool_that_is_named_is_denied_and_conversation_and_log_say_so(void)
{
    types_error_t error;
    verdict_t verdict;
    host_reset();
    tool_draft_t draft = given_use("Bash", "{}");
    EXPECT(exports_hook_before_tool_use(&draft, &verdict, &error));
    EXPECT(verdict.tag == EXPORTS_HOOK_VERDICT_DENY && text_is(verdict.val.deny, TEXT("Bash is not allowed here")));
    EXPECT(strcmp(host.asked, "log Bash was denied in session s\nnote s The agent wanted to use Bash, which is not allowed here.\n") == 0);
}

static void any_other_tool_is_allowed_and_nothing_is_said(void)
{
    static const char *const others[] = {"Read", "bash", "Bas", "WebFetch, Bash", ""};
    host_reset();
    for (size_t at = 0; at < sizeof others / sizeof *others; at++) {
        types_error_t error;
        verdict_t verdict;
        tool_draft_t draft = given_use(others[at], "{}");
        EXPECT(exports_hook_before_tool_use(&draft, &verdict, &error) && verdict.tag == EXPORTS_HOOK_VERDICT_ALLOW);
    }
    EXPECT(strcmp(host.asked, "") == 0);
}

static void what_cannot_be_said_is_an_error_on_which_the_tool_is_denied(void)
{
    types_error_t error;
    verdict_t verdict;
    host_reset();
    host.is_away = true;
    tool_draft_t draft = given_use("Bash", "{}");
    bool is_done = exports_hook_before_tool_use(&draft, &verdict, &error);
    EXPECT(failed_by(is_done, &error, TYPES_ERROR_UNAVAILABLE, "failed to decide on a use of \"Bash\" in session \"s\": it is away"));
}

int main(void)
{
    static const struct test tests[] = {
        TEST(it_is_not_asked_before_it_is_open),
        TEST(its_configuration_names_tools_and_nothing_else),
        TEST(it_decides_on_tools_and_denies_what_it_cannot_decide_on),
        TEST(a_tool_that_is_named_is_denied_and_conversation_and_log_say_so),
        TEST(any_other_tool_is_allowed_and_nothing_is_said),
        TEST(what_cannot_be_said_is_an_error_on_which_the_tool_is_denied),
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
