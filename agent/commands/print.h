/*
 * agent/commands/print.h: what came from outside, shown so that it harms no terminal; times, sizes, progress.
 */
#ifndef HELIOGRAF_COMMANDS_PRINT_H
#define HELIOGRAF_COMMANDS_PRINT_H

#include <stdio.h>

#include "agent/base/buf.h"

enum { PRINT_TIME_MAX = 32 };

/*
 * One line of at most `width` characters: text with its control bytes as `\n`, `\x1b`; what is no text as hexadecimal digits
 * behind `0x`. A cut shows as `...`.
 */
void print_short(struct buf *out, struct str data, size_t width);
/* The whole of it: text as it is, when a terminal takes no harm from it; else as offset, hexadecimal digits, characters. */
void print_whole(struct buf *out, struct str data);
/* Whether print_whole would print it as it is. */
bool print_is_text(struct str data);

/* `2026-11-22T21:30:00Z`, with nanoseconds when wanted. Returns `out`. */
const char *print_time(char out[PRINT_TIME_MAX], int64_t time_ns, bool nanoseconds);
/* `3 min`, `2 h`, `5 d`. Returns `out`. */
const char *print_age(char out[PRINT_TIME_MAX], int64_t age_ns);
/* `12.3 MiB`. Returns `out`. */
const char *print_size(char out[PRINT_TIME_MAX], uint64_t bytes);

/* `s` behind a number that is not 1. */
const char *print_plural(uint64_t count);

/* A line on standard error that grows, when it is a terminal: for what takes long. Twice a second at most. */
struct progress {
    const char *what;
    int64_t last_ns;
    bool shown;
};
void print_progress(void *progress, uint64_t done, uint64_t all); /* shows after the first second only */
void print_progress_end(struct progress *progress);

#endif
