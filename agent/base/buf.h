/*
 * agent/base/buf.h: a byte buffer that grows up to a maximum given at birth. A write past the maximum, or without memory,
 * leaves the content as it was, returns false and sets `failed`, so that a sequence of writes can be checked once at its
 * end. One owner, one thread.
 */
#ifndef HELIOGRAF_BASE_BUF_H
#define HELIOGRAF_BASE_BUF_H

#include "agent/base/err.h"
#include "agent/base/str.h"

struct buf {
    char *data;
    size_t len, cap, max;
    bool failed;
};

#define BUF_INIT(maximum) { .max = (maximum) }

void buf_init(struct buf *buf, size_t max);
void buf_release(struct buf *buf); /* safe on a zeroed one */

static inline void buf_reset(struct buf *buf) {
    buf->len = 0;
    buf->failed = false;
}

/* Makes room for `more` bytes behind `len`; the pointer is buf->data + buf->len. */
bool buf_reserve(struct buf *buf, size_t more);

bool buf_append(struct buf *buf, const void *data, size_t len);
bool buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

static inline bool buf_append_str(struct buf *buf, struct str text) {
    return buf_append(buf, text.data, text.len);
}

static inline bool buf_append_c(struct buf *buf, const char *text) {
    return buf_append(buf, text, strlen(text));
}

static inline bool buf_append_char(struct buf *buf, char c) {
    return buf_append(buf, &c, 1);
}

static inline struct str buf_str(const struct buf *buf) {
    return (struct str){ buf->data != NULL ? buf->data : "", buf->len };
}

/* The content with a terminating NUL that is not counted in `len`; "" when nothing was ever written. */
const char *buf_cstr(struct buf *buf);

#endif
