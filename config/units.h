/*
 * config/units.h: durations and sizes as a person reads them, for messages. Their parsers, cfg_parse_duration and
 * cfg_parse_size, are declared in schema.h.
 */
#ifndef HELIOGRAF_CONFIG_UNITS_H
#define HELIOGRAF_CONFIG_UNITS_H

#include <stddef.h>
#include <stdint.h>

enum { UNITS_TEXT_MAX = 64 };

/* Exact, in the largest units: `1m30s`, `7d`, `0s`. Parses back to the same value. Returns `out`, of UNITS_TEXT_MAX
 * bytes. */
const char *units_print_duration(char *out, int64_t ns);

/* Exact: `1GiB`, `64KB`, `1000003`. Parses back to the same value. Returns `out`, of UNITS_TEXT_MAX bytes. */
const char *units_print_size(char *out, uint64_t bytes);

#endif
