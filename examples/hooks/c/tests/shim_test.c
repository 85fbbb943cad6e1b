// A hook that wants everything, and all that a hook may do.

#include <string.h>

#include "host.h"
#include "test.h"

// Does to the session what each event names.
static bool on_events(const event_t *events, size_t count)
{
    for (size_t at = 0; at < count; at++) {
        text_t session = events[at].session;
        session_state_t state;
        bool was_running;
        if (!session_set_metadata(session, TEXT("seq"), text_of(decimal(events[at].seq))) || !session_interrupt(session, &was_running)
            || !session_emit(session, events[at].name, events[at].data) || !session_send_message(session, TEXT("m"), TEXT("\"hello\""))
            || !session_get(session, &state))
            return false;
        double cost;
        text_t value;
        EXPECT(was_running && state.is_running && text_is(state.session.id, session));
        EXPECT(json_member(state.metadata, "cost", &value) && json_number(value, &cost) && cost > 0.4 && cost < 0.6);
    }
    return true;
}

static bool before_session(const session_draft_t *draft, verdict_t *verdict)
{
    return replace(verdict, text_format("{\"profile\": %s, \"named\": %s}", json_quoted(draft->profile), draft->name.is_some ? "true" : "false"));
}

static bool before_message(const message_draft_t *draft, verdict_t *verdict)
{
    text_t content;
    (void)verdict;
    return json_string(draft->content, &content) || fail(TYPES_ERROR_INVALID, "%s is no text", plain(draft->content));
}

// A command decides on itself.
static bool before_tool_use(const tool_draft_t *draft, verdict_t *verdict)
{
    text_t command = TEXT("");
    json_member_string(draft->input, "command", &command);
    if (text_is(command, TEXT("say nothing")))
        return false;
    if (text_is(command, TEXT("go on"))) {
        session_note(draft->session, TEXT("note"));
        failure_forget();
        return allow(verdict);
    }
    return deny(verdict, "%s", plain(command));
}

const struct hook exported_hook = {
    .name = "everything",
    .version = "1",
    .events = (const char *const[]){"session:*", "error", NULL},
    .on_events = on_events,
    .before_session = before_session,
    .before_message = before_message,
    .before_tool_use = before_tool_use,
};

static void it_wants_what_it_has_functions_for(void)
{
    types_error_t error;
    exports_hook_hook_info_t info;
    config_t none = {.len = 0};
    EXPECT(exports_hook_open(&none, &info, &error));
    EXPECT(info.events.len == 2 && text_is(info.events.ptr[0], TEXT("session:*")) && text_is(info.events.ptr[1], TEXT("error")));
    EXPECT(info.decisions
           == (EXPORTS_HOOK_DECISIONS_BEFORE_SESSION | EXPORTS_HOOK_DECISIONS_BEFORE_MESSAGE | EXPORTS_HOOK_DECISIONS_BEFORE_TOOL_USE));
}

static void what_it_does_reaches_the_host(void)
{
    types_error_t error;
    host_reset();
    event_t event = {.session = given("s"), .epoch = 1, .seq = 7, .name = given("error"), .data = given("{}")};
    exports_hook_list_event_t events = {.ptr = &event, .len = 1};
    EXPECT(exports_hook_on_events(&events, &error));
    EXPECT(strcmp(host.asked, "set-metadata s seq 7\ninterrupt s\nemit s error {}\nsend-message s m \"hello\"\nget-session s\n") == 0);
}

static void events_that_fail_say_so(void)
{
    types_error_t error;
    host_reset();
    host.is_away = true;
    event_t event = {.session = given("s"), .name = given("error"), .data = given("{}")};
    exports_hook_list_event_t events = {.ptr = &event, .len = 1};
    EXPECT(failed_by(exports_hook_on_events(&events, &error), &error, TYPES_ERROR_UNAVAILABLE, "failed to take 1 events: it is away"));
}

static void verdicts_are_what_they_are_said_to_be(void)
{
    types_error_t error;
    verdict_t verdict;
    session_draft_t session = {.profile = given("\"p\""), .options = given("{}")};
    EXPECT(exports_hook_before_session(&session, &verdict, &error) && verdict.tag == EXPORTS_HOOK_VERDICT_REPLACE);
    EXPECT(text_is(verdict.val.replace, TEXT("{\"profile\": \"\\\"p\\\"\", \"named\": false}")));
    message_draft_t message = {.session = given("s"), .id = given("m"), .content = given("\"hello\"")};
    EXPECT(exports_hook_before_message(&message, &verdict, &error) && verdict.tag == EXPORTS_HOOK_VERDICT_ALLOW);
    tool_draft_t use = given_use("Bash", "{\"command\": \"100% s\\u00fc\\u00df\"}");
    EXPECT(exports_hook_before_tool_use(&use, &verdict, &error) && verdict.tag == EXPORTS_HOOK_VERDICT_DENY);
    EXPECT(text_is(verdict.val.deny, TEXT("100% süß")));
}

static void a_failure_has_a_text_and_ends_with_its_call(void)
{
    types_error_t error;
    verdict_t verdict;
    message_draft_t message = {.session = given("s"), .id = given("m"), .content = given("[]")};
    bool is_done = exports_hook_before_message(&message, &verdict, &error);
    EXPECT(failed_by(is_done, &error, TYPES_ERROR_INVALID, "failed to decide on message \"m\" of session \"s\": [] is no text"));
    tool_draft_t use = given_use("Bash", "{\"command\": \"say nothing\"}");
    is_done = exports_hook_before_tool_use(&use, &verdict, &error);
    EXPECT(failed_by(is_done, &error, TYPES_ERROR_OTHER, "failed to decide on a use of \"Bash\" in session \"s\": it gave no reason"));
}

static void what_is_forgotten_does_not_fail(void)
{
    types_error_t error;
    verdict_t verdict;
    host_reset();
    host.is_away = true;
    tool_draft_t use = given_use("Bash", "{\"command\": \"go on\"}");
    EXPECT(exports_hook_before_tool_use(&use, &verdict, &error) && verdict.tag == EXPORTS_HOOK_VERDICT_ALLOW);
    EXPECT(strcmp(host.asked, "note s note\n") == 0 && !has_failed());
}

int main(void)
{
    static const struct test tests[] = {
        TEST(it_wants_what_it_has_functions_for),
        TEST(what_it_does_reaches_the_host),
        TEST(events_that_fail_say_so),
        TEST(verdicts_are_what_they_are_said_to_be),
        TEST(a_failure_has_a_text_and_ends_with_its_call),
        TEST(what_is_forgotten_does_not_fail),
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
