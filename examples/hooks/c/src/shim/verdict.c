#include "hook.h"

bool allow(verdict_t *verdict)
{
    *verdict = (verdict_t){.tag = EXPORTS_HOOK_VERDICT_ALLOW};
    return true;
}

bool replace(verdict_t *verdict, text_t json)
{
    *verdict = (verdict_t){.tag = EXPORTS_HOOK_VERDICT_REPLACE, .val.replace = json};
    return true;
}

bool deny(verdict_t *verdict, const char *format, ...)
{
    va_list strings;
    va_start(strings, format);
    *verdict = (verdict_t){.tag = EXPORTS_HOOK_VERDICT_DENY, .val.deny = text_format_list(format, strings)};
    va_end(strings);
    return true;
}
