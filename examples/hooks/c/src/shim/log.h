// The host's log (`wasi:logging`).
#ifndef LOG_H
#define LOG_H

#include "component.h"

#define log_debug(...) log_at(LOGGING_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LOGGING_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) log_at(LOGGING_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOGGING_LEVEL_ERROR, __VA_ARGS__)

void log_at(logging_level_t level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
