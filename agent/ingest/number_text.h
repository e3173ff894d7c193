/*
 * agent/ingest/number_text.h: numbers as text, fast. Writers return the end of what they wrote; the caller gives
 * NUMBER_TEXT_MAX bytes. Pure, thread-safe, independent of the locale.
 */
#ifndef HELIOGRAF_INGEST_NUMBER_TEXT_H
#define HELIOGRAF_INGEST_NUMBER_TEXT_H

#include "agent/base/str.h"

#define NUMBER_TEXT_MAX 32

char *number_write_unsigned(char *out, uint64_t value);
char *number_write_integer(char *out, int64_t value);

/*
 * The shortest decimal that reads back as `value`, which is finite: positional (`0.1`, `-12500`) from 1e-7 up to 1e21, else
 * `1.5e-9`. Never `1e+30`, `.5` or `1.`, which some servers refuse.
 */
char *number_write_float(char *out, double value);

/*
 * True when `text` is a number in JSON's grammar (leading zeros are let through: every server reads them) whose value fits
 * a double. Only text with an exponent or with very many digits costs more than a scan.
 */
bool number_text_valid(struct str text);

/* Nanosecond stamps in a row mostly share their second: its digits are kept. Zeroed is ready. */
struct stamp_writer {
    int64_t second;
    uint8_t len; /* of `digits`; 0: none yet */
    char digits[20];
};
char *number_write_stamp(struct stamp_writer *writer, char *out, int64_t time_ns);

#endif
