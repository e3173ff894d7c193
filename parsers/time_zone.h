/*
 * parsers/time_zone.h: offsets of an IANA time zone, read from the system's compiled files (RFC 8536). Our own reader because
 * the C library knows one zone per process only. Read once when the configuration is loaded; looking up does no I/O.
 */
#ifndef HELIOGRAF_PARSERS_TIME_ZONE_H
#define HELIOGRAF_PARSERS_TIME_ZONE_H

#include "agent/base/err.h"
#include "agent/base/str.h"

struct time_zone;

/*
 * `name` is "Europe/Berlin", "UTC", "" (UTC), or "Local" (the machine's). NULL with `err` when there is no such zone or its file
 * is damaged.
 */
struct time_zone *time_zone_new(const char *name, struct err *err);
/* From the bytes of a compiled file. */
struct time_zone *time_zone_parse(struct str file, struct err *err);
void time_zone_free(struct time_zone *zone); /* NULL is fine */

/* Seconds east of UTC at that instant. `zone` NULL: UTC. */
int32_t time_zone_offset(const struct time_zone *zone, int64_t unix_s);

/*
 * The instant of a wall-clock time, given as if it were UTC. A time that happens twice (the clock goes back) is the first one,
 * unless `received_s` shows that only the second can be meant by a live message; one that never happens (the clock goes
 * forward) is read with the offset that held before, or as Go would.
 */
int64_t time_zone_to_utc(const struct time_zone *zone, int64_t wall_s, int64_t received_s);

/* Days since 1970-01-01 of a date in the Gregorian calendar; month from 1. */
int64_t days_from_civil(int64_t year, unsigned month, unsigned day);

#endif
