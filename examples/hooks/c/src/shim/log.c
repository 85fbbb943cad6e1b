#include "log.h"

#include "text.h"

void log_at(logging_level_t level, const char *format, ...)
{
    va_list strings;
    va_start(strings, format);
    text_t message = text_format_list(format, strings);
    va_end(strings);
    text_t context = TEXT("hook");
    logging_log(level, &context, &message);
}
