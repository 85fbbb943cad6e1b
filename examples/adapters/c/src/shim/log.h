// The host's log (`wasi:logging`).
#ifndef LOG_H
#define LOG_H

void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
