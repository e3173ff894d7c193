/* parsers/decimal_text.c: see decimal_text.h. */
#include "parsers/decimal_text.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAST_DECIMALS = 6 };

/* `digits` with a point before the last `decimals` of them. */
static size_t put_decimal(uint64_t digits, unsigned decimals, char *out) {
    char reversed[32];
    size_t len = 0, written = 0;

    for (unsigned n = 0; digits > 0 || n <= decimals; n++) {
        reversed[len++] = (char)('0' + digits % 10);
        digits /= 10;
        if (n + 1 == decimals)
            reversed[len++] = '.';
    }
    while (len > 0)
        out[written++] = reversed[--len];
    return written;
}

/*
 * Sensors send few decimals: find the smallest k with an integer n so that n / 10^k is the value. The division is correctly
 * rounded, so equality proves that the text reads back the same. 0 when there is none.
 */
static size_t put_fast(double value, char *out) {
    static const double powers[FAST_DECIMALS + 1] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6 };

    for (unsigned k = 0; k <= FAST_DECIMALS; k++) {
        double scaled = value * powers[k];
        uint64_t n;
        if (scaled >= 9007199254740992.0)
            return 0;
        n = (uint64_t)(scaled + 0.5);
        if ((double)n / powers[k] == value)
            return put_decimal(n, k, out);
    }
    return 0;
}

/* From digits d1d2d3... and the power of ten of d1 to a text without an exponent. */
static size_t put_plain(const char *digits, int count, int power, char *out) {
    size_t written = 0;

    if (power < 0) {
        out[written++] = '0';
        out[written++] = '.';
        for (int i = -1; i > power; i--)
            out[written++] = '0';
        memcpy(out + written, digits, (size_t)count);
        return written + (size_t)count;
    }
    for (int i = 0; i < count || i <= power; i++) {
        if (i == power + 1)
            out[written++] = '.';
        out[written++] = i < count ? digits[i] : '0';
    }
    return written;
}

static size_t put_slowly(double value, char *out) {
    char text[40], digits[20];
    int count = 0, power;
    const char *at = text;

    for (int precision = 0; precision <= 16; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, value);
        if (strtod(text, NULL) == value)
            break;
    }
    for (; *at != 'e'; at++)
        if (*at >= '0' && *at <= '9')
            digits[count++] = *at;
    power = (int)strtol(at + 1, NULL, 10);
    while (count > 1 && digits[count - 1] == '0')
        count--;
    return put_plain(digits, count, power, out);
}

size_t decimal_text_shortest(double value, char out[DECIMAL_TEXT_MAX]) {
    size_t written = 0, fast;

    if (signbit(value)) {
        out[written++] = '-';
        value = -value;
    }
    fast = put_fast(value, out + written);
    return written + (fast > 0 ? fast : put_slowly(value, out + written));
}
