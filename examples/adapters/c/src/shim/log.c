#include "log.h"

#include "text.h"

void log_info(const char *format, ...)
{
    va_list strings;
    va_start(strings, format);
    text_t message = text_format_list(format, strings);
    va_end(strings);
    text_t context = TEXT("adapter");
    logging_log(LOGGING_LEVEL_INFO, &context, &message);
}
