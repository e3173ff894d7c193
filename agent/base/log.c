/* agent/base/log.c: one line, one write; complaints that grow quieter. */
#include "agent/base/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"

/* The two exceptions to "no global state outside wiring": a logger that had to be passed along would not be used. */
static _Atomic int current_level = LOG_INFO;
static _Atomic int current_format = LOG_TEXT;

enum { LINE_MAX_BYTES = 2048 };

static const char *const level_names[] = { "error", "warn", "info", "debug" };

void log_set(enum log_level level, enum log_format format) {
    atomic_store(&current_level, (int)level);
    atomic_store(&current_format, (int)format);
}

bool log_enabled(enum log_level level) {
    return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

static void time_stamp(char *out, size_t size) {
    int64_t now = clock_real_ns();
    time_t seconds = (time_t)(now / NS_PER_S);
    struct tm utc;
    size_t used;

    gmtime_r(&seconds, &utc);
    used = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + used, size - used, ".%03dZ", (int)(now % NS_PER_S / NS_PER_MS));
}

/* Text from outside may end up in a log line: no control byte of it may reach a terminal or fake a second line. */
static void defuse(char *text) {
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
}

static size_t as_json(char *line, size_t size, const char *stamp, const char *level, const char *id, const char *text) {
    size_t used = (size_t)snprintf(line, size, "{\"time\":\"%s\",\"level\":\"%s\",\"id\":\"%s\",\"message\":\"", stamp,
                                   level, id);

    for (; *text != '\0' && used + 8 < size; text++) {
        if (*text == '"' || *text == '\\')
            line[used++] = '\\';
        line[used++] = *text;
    }
    return used + (size_t)snprintf(line + used, size - used, "\"}\n");
}

void log_write(enum log_level level, const char *id, const char *format, ...) {
    char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES * 2], stamp[40];
    va_list args;
    size_t len;

    if (!log_enabled(level))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    defuse(text);
    time_stamp(stamp, sizeof stamp);
    if (atomic_load(&current_format) == LOG_JSON)
        len = as_json(line, sizeof line, stamp, level_names[level], id, text);
    else
        len = (size_t)snprintf(line, sizeof line, "%s %s %s %s\n", stamp, level_names[level], id, text);
    /* A log that cannot be written is nobody's reason to stop. */
    if (write(STDERR_FILENO, line, len) < 0)
        return;
}

bool complaint_due(struct complaint *complaint, uint64_t *repeats) {
    const int64_t first = 10 * NS_PER_S, longest = 3600 * NS_PER_S;
    int64_t now = clock_mono_ns(), next = atomic_load(&complaint->next_ns), interval;

    *repeats = 0;
    if (atomic_load(&complaint->active) && now < next) {
        atomic_fetch_add(&complaint->silent, 1);
        return false;
    }
    interval = atomic_load(&complaint->active) ? atomic_load(&complaint->interval_ns) * 2 : first;
    if (interval > longest)
        interval = longest;
    if (!atomic_compare_exchange_strong(&complaint->next_ns, &next, now + interval)) {
        atomic_fetch_add(&complaint->silent, 1);
        return false;
    }
    atomic_store(&complaint->interval_ns, interval);
    atomic_store(&complaint->active, true);
    *repeats = atomic_exchange(&complaint->silent, 0);
    return true;
}

bool complaint_end(struct complaint *complaint) {
    if (!atomic_load_explicit(&complaint->active, memory_order_relaxed))
        return false;
    atomic_store(&complaint->silent, 0);
    return atomic_exchange(&complaint->active, false);
}
