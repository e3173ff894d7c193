/*
 * parsers/time_format.h: reads timestamps as Telegraf's `*_time_format` options describe them: unix, unix_ms, unix_us, unix_ns,
 * auto, a Go reference layout such as "2006-01-02T15:04:05Z07:00", or a layout's name (RFC3339, ANSIC, UnixDate, ...).
 * Compiled once when the configuration is loaded; reading does no I/O and allocates nothing.
 */
#ifndef HELIOGRAF_PARSERS_TIME_FORMAT_H
#define HELIOGRAF_PARSERS_TIME_FORMAT_H

#include "agent/base/err.h"
#include "agent/base/str.h"

struct time_format;

/*
 * `zone` names the IANA zone of texts without an offset; "" is UTC, "Local" the machine's. NULL with `err`. The caller frees.
 */
struct time_format *time_format_new(const char *format, const char *zone, struct err *err);
void time_format_free(struct time_format *format); /* NULL is fine */

/*
 * `is_number`: the text was a bare number, not a string. A layout without a year takes the one nearest to `received_ns` that is
 * not more than a day ahead of it. Fractions count to the nanosecond, from the digits, not through a double. False with `err`
 * (ERR_SYNTAX, ERR_TYPE, ERR_LIMIT: not between 1677 and 2262).
 */
bool time_format_read(const struct time_format *format, struct str text, bool is_number, int64_t received_ns, int64_t *out_ns,
                      struct err *err);

#endif
