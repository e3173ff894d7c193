/* parsers/decimal_text.h: a double as Telegraf prints it: the fewest digits that read back the same, never an exponent. */
#ifndef HELIOGRAF_PARSERS_DECIMAL_TEXT_H
#define HELIOGRAF_PARSERS_DECIMAL_TEXT_H

#include <stddef.h>

enum { DECIMAL_TEXT_MAX = 352 }; /* -5e-324 has 326 bytes and 17 digits more at worst */

/* Writes no terminator; returns the length. `value` is finite. Independent of the locale. */
size_t decimal_text_shortest(double value, char out[DECIMAL_TEXT_MAX]);

#endif
