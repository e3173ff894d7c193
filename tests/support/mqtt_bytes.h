/*
 * tests/support/mqtt_bytes.h: packets as readable text. Tokens, apart by blanks or not:
 *
 *   3A 3A0F      bytes in hexadecimal          'text'   its bytes
 *   <text>       a string: length and bytes    ( ... )  what is inside, behind its length as a variable byte integer
 *   rN vN        a variable byte integer       sN mN kN HN  two bytes      LN  four bytes      iN  one byte
 *
 * The last line is the language of Eclipse Mosquitto's test data, which does not know <> and ().
 */
#ifndef HELIOGRAF_TESTS_MQTT_BYTES_H
#define HELIOGRAF_TESTS_MQTT_BYTES_H

#include <stdio.h>
#include <stdlib.h>

#include "agent/base/buf.h"

static inline void bytes_fail(const char *text, const char *at) {
    fprintf(stderr, "not in the language of packets: '%s' at '%s'\n", text, at);
    abort();
}

static inline void bytes_append_number(struct buf *to, unsigned long value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--)
        buf_append_char(to, (char)(value >> (8 * i)));
}

static inline void bytes_append_varint(struct buf *to, unsigned long value) {
    for (; value >= 128; value /= 128)
        buf_append_char(to, (char)(value % 128 + 128));
    buf_append_char(to, (char)value);
}

static inline const char *bytes_append_group(struct buf *to, const char *text, const char *at);

static inline const char *bytes_append_token(struct buf *to, const char *text, const char *at) {
    const char *end;
    unsigned byte;

    switch (*at) {
    case '(':
        return bytes_append_group(to, text, at + 1);
    case '\'':
    case '<':
        end = strchr(at + 1, *at == '<' ? '>' : '\'');
        if (end == NULL)
            bytes_fail(text, at);
        if (*at == '<')
            bytes_append_number(to, (unsigned long)(end - at - 1), 2);
        buf_append(to, at + 1, (size_t)(end - at - 1));
        return end + 1;
    case 'r':
    case 'v':
        bytes_append_varint(to, strtoul(at + 1, (char **)(uintptr_t)&end, 10));
        return end;
    case 's':
    case 'm':
    case 'k':
    case 'H':
        bytes_append_number(to, strtoul(at + 1, (char **)(uintptr_t)&end, 10), 2);
        return end;
    case 'L':
        bytes_append_number(to, strtoul(at + 1, (char **)(uintptr_t)&end, 10), 4);
        return end;
    case 'i':
        bytes_append_number(to, strtoul(at + 1, (char **)(uintptr_t)&end, 10), 1);
        return end;
    default:
        if (sscanf(at, "%2x", &byte) != 1)
            bytes_fail(text, at);
        buf_append_char(to, (char)byte);
        return at + 2;
    }
}

/* Up to the closing parenthesis or the end of the text. */
static inline const char *bytes_append_all(struct buf *to, const char *text, const char *at) {
    for (;;) {
        at += strspn(at, " ");
        if (*at == '\0' || *at == ')')
            return at;
        at = bytes_append_token(to, text, at);
    }
}

static inline const char *bytes_append_group(struct buf *to, const char *text, const char *at) {
    struct buf inside = BUF_INIT(1 << 20);

    at = bytes_append_all(&inside, text, at);
    if (*at != ')')
        bytes_fail(text, at);
    bytes_append_varint(to, inside.len);
    buf_append_str(to, buf_str(&inside));
    buf_release(&inside);
    return at + 1;
}

/* In memory of their own, with nothing behind them, so that a sanitizer sees a read past the end. Free with bytes_drop. */
static inline struct str bytes_alone(struct str bytes) {
    char *copy = malloc(bytes.len > 0 ? bytes.len : 1);

    if (copy == NULL)
        abort();
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    return str_make(copy, bytes.len);
}

static inline struct str bytes_of(const char *text) {
    struct buf all = BUF_INIT(1 << 20);
    struct str alone;

    if (*bytes_append_all(&all, text, text) != '\0')
        bytes_fail(text, ")");
    alone = bytes_alone(buf_str(&all));
    buf_release(&all);
    return alone;
}

static inline void bytes_drop(struct str bytes) {
    free((char *)(uintptr_t)bytes.data);
}

/* "30 0A ..." in a buffer that the next call but three uses again. */
static inline const char *bytes_hex(struct str bytes) {
    static char texts[4][8192];
    static unsigned turn;
    char *text = texts[turn++ % 4];
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < bytes.len && len + 4 < sizeof texts[0]; i++)
        len += (size_t)snprintf(text + len, sizeof texts[0] - len, "%02X ", (unsigned char)bytes.data[i]);
    return text;
}

#endif
