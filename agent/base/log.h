/*
 * agent/base/log.h: messages to stderr, one line each: `2026-11-22T21:30:00.123Z warn MQTT-DOWN words`. Ids are stable and
 * greppable. Never log secrets; payloads only at debug level. Thread-safe; a line is one write.
 */
#ifndef HELIOGRAF_BASE_LOG_H
#define HELIOGRAF_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdatomic.h>

#include "agent/base/err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

void log_set(enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);

void log_write(enum log_level level, const char *id, const char *format, ...) PRINTF_LIKE(3, 4);

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                                                                                 \
    do {                                                                                                               \
        if (log_enabled(LOG_DEBUG))                                                                                    \
            log_write(LOG_DEBUG, __VA_ARGS__);                                                                         \
    } while (0)

/*
 * A trouble that may repeat: the first is logged at once, the next after 10 s, then 20, 40, ... up to 1 h apart, each with
 * the number since the last line; its end is logged once. Zeroed is ready. Callable from any thread.
 */
struct complaint {
    _Atomic int64_t next_ns, interval_ns;
    _Atomic uint64_t silent;
    _Atomic bool active;
};

/* True when this occurrence is to be logged; `repeats` becomes the number that were swallowed before it. */
bool complaint_due(struct complaint *complaint, uint64_t *repeats);
/* True once, when a trouble that was logged has ended. */
bool complaint_end(struct complaint *complaint);

#define complain(complaint, level, id, format, ...)                                                                    \
    do {                                                                                                               \
        uint64_t complain_repeats_;                                                                                    \
        if (complaint_due((complaint), &complain_repeats_)) {                                                          \
            if (complain_repeats_ > 0)                                                                                 \
                log_write(level, id, format " (%llu more like this were not logged)", __VA_ARGS__,                     \
                          (unsigned long long)complain_repeats_);                                                      \
            else                                                                                                       \
                log_write(level, id, format, __VA_ARGS__);                                                             \
        }                                                                                                              \
    } while (0)

#endif
