/* agent/ingest/number_text.c: see number_text.h. */
#include "agent/ingest/number_text.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "agent/base/clock.h"

static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
    "4950515253545556575859606162636465666768697071727374757677787980818283848586878889909192939495969798"
    "99";

char *number_write_unsigned(char *out, uint64_t value) {
    char digits[20], *at = digits + sizeof digits;
    size_t len;

    while (value >= 100) {
        at -= 2;
        memcpy(at, pairs + value % 100 * 2, 2);
        value /= 100;
    }
    if (value >= 10) {
        at -= 2;
        memcpy(at, pairs + value * 2, 2);
    } else {
        *--at = (char)('0' + value);
    }
    len = (size_t)(digits + sizeof digits - at);
    memcpy(out, at, len);
    return out + len;
}

char *number_write_integer(char *out, int64_t value) {
    if (value >= 0)
        return number_write_unsigned(out, (uint64_t)value);
    *out++ = '-';
    return number_write_unsigned(out, 0 - (uint64_t)value);
}

/* `value` with exactly `digits` digits. */
static void write_padded(char *out, uint64_t value, unsigned digits) {
    while (digits >= 2) {
        digits -= 2;
        memcpy(out + digits, pairs + value % 100 * 2, 2);
        value /= 100;
    }
    if (digits == 1)
        out[0] = (char)('0' + value % 10);
}

/*
 * Most measured values have few decimals. For k = 0, 1, ... the value times 10^k is rounded to an integer; when that
 * integer divided by 10^k is the value again, its digits are the answer: division is correctly rounded, so the text
 * reads back as the same double. NULL when more than 9 decimals would be needed.
 */
static char *write_short_decimal(char *out, double value) {
    static const double powers[] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9 };
    static const uint64_t whole_powers[] = {
        1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000
    };
    const double exact_limit = 9007199254740992.0; /* 2^53: integers below are exact */

    for (unsigned k = 0; k < sizeof powers / sizeof powers[0]; k++) {
        double scaled = value * powers[k];
        if (scaled >= exact_limit)
            return NULL;
        uint64_t rounded = (uint64_t)(scaled + 0.5);
        if ((double)rounded / powers[k] != value)
            continue;
        out = number_write_unsigned(out, rounded / whole_powers[k]);
        if (k > 0) {
            *out++ = '.';
            write_padded(out, rounded % whole_powers[k], k);
            out += k;
        }
        return out;
    }
    return NULL;
}

/* The digits d1 d2 ... and the exponent of d1.d2... x 10^e, from printf; whatever the locale's decimal point looks
 * like. */
static unsigned decimal_digits(double value, int precision, char *digits, int *exponent) {
    char text[64];
    const char *at = text;
    unsigned count = 0;
    bool negative;
    int e = 0;

    snprintf(text, sizeof text, "%.*e", precision - 1, value);
    for (; *at != 'e' && *at != '\0'; at++)
        if (*at >= '0' && *at <= '9')
            digits[count++] = *at;
    at += *at == 'e';
    negative = *at == '-';
    for (; *at != '\0'; at++)
        if (*at >= '0' && *at <= '9')
            e = e * 10 + (*at - '0');
    while (count > 1 && digits[count - 1] == '0')
        count--;
    *exponent = negative ? -e : e;
    return count;
}

static char *write_zeros(char *out, int count) {
    while (count-- > 0)
        *out++ = '0';
    return out;
}

static char *write_digits(char *out, const char *digits, unsigned count, int exponent) {
    unsigned whole = exponent >= 0 && exponent < 21 ? (unsigned)exponent + 1 : 0;

    if (whole >= count) { /* 12500 */
        memcpy(out, digits, count);
        return write_zeros(out + count, (int)(whole - count));
    }
    if (whole > 0) { /* 12.5 */
        memcpy(out, digits, whole);
        out[whole] = '.';
        memcpy(out + whole + 1, digits + whole, count - whole);
        return out + count + 1;
    }
    if (exponent < 0 && exponent >= -7) { /* 0.0125 */
        *out++ = '0';
        *out++ = '.';
        out = write_zeros(out, -exponent - 1);
        memcpy(out, digits, count);
        return out + count;
    }
    *out++ = digits[0];
    if (count > 1) {
        *out++ = '.';
        memcpy(out, digits + 1, count - 1);
        out += count - 1;
    }
    *out++ = 'e';
    return number_write_integer(out, exponent);
}

char *number_write_float(char *out, double value) {
    char digits[24], *end;
    int exponent;

    if (signbit(value)) {
        *out++ = '-';
        value = -value;
    }
    end = write_short_decimal(out, value);
    /* Normal doubles hold 15 digits of any decimal; subnormal ones fewer. */
    for (int precision = value < DBL_MIN ? 1 : 15; end == NULL; precision++) {
        unsigned count = decimal_digits(value, precision, digits, &exponent);
        double back;
        end = write_digits(out, digits, count, exponent);
        if (precision < 17 && (!str_to_double(str_make(out, (size_t)(end - out)), &back) || back != value))
            end = NULL; /* 17 digits always read back */
    }
    return end;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static size_t skip_digits(struct str text, size_t at) {
    while (text.len - at >= 8) {
        uint64_t x = word_load(text.data + at) ^ (WORD_ONES * '0');
        if (((((x & ~WORD_HIGH) + WORD_ONES * 0x76) | x) & WORD_HIGH) != 0)
            break;
        at += 8;
    }
    while (at < text.len && is_digit(text.data[at]))
        at++;
    return at;
}

/* The grammar of RFC 8259 section 6. */
bool number_text_valid(struct str text) {
    size_t at = text.len > 0 && text.data[0] == '-', whole = skip_digits(text, at);
    double value;

    if (whole == at)
        return false;
    at = whole;
    if (at < text.len && text.data[at] == '.') {
        size_t end = skip_digits(text, at + 1);
        if (end == at + 1)
            return false;
        at = end;
    }
    if (at == text.len && whole <= DBL_MAX_10_EXP)
        return true;
    if (at < text.len) {
        if (text.data[at] != 'e' && text.data[at] != 'E')
            return false;
        at++;
        if (at < text.len && (text.data[at] == '-' || text.data[at] == '+'))
            at++;
        if (at == text.len || skip_digits(text, at) != text.len)
            return false;
    }
    return str_to_double(text, &value);
}

char *number_write_stamp(struct stamp_writer *writer, char *out, int64_t time_ns) {
    int64_t second = time_ns / NS_PER_S;
    uint32_t rest;

    if (time_ns < NS_PER_S) /* up to 1970: rare, and without a second in front of the digits */
        return number_write_integer(out, time_ns);
    if (writer->len == 0 || second != writer->second) {
        writer->len = (uint8_t)(number_write_unsigned(writer->digits, (uint64_t)second) - writer->digits);
        writer->second = second;
    }
    memcpy(out, writer->digits, 10); /* 19 digits hold every stamp: never more than 10 for the second */
    out += writer->len;
    rest = (uint32_t)(time_ns - second * NS_PER_S);
    out[0] = (char)('0' + rest / 100000000);
    rest %= 100000000;
    memcpy(out + 1, pairs + rest / 1000000 * 2, 2);
    memcpy(out + 3, pairs + rest / 10000 % 100 * 2, 2);
    memcpy(out + 5, pairs + rest / 100 % 100 * 2, 2);
    memcpy(out + 7, pairs + rest % 100 * 2, 2);
    return out + 9;
}
