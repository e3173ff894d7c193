/* agent/base/buf.c: see buf.h. */
#include "agent/base/buf.h"

#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *buf, size_t max) {
    *buf = (struct buf)BUF_INIT(max);
}

void buf_release(struct buf *buf) {
    free(buf->data);
    *buf = (struct buf)BUF_INIT(buf->max);
}

bool buf_reserve(struct buf *buf, size_t more) {
    size_t need, cap;
    char *data;

    if (more <= buf->cap - buf->len)
        return true;
    if (more > buf->max || buf->len > buf->max - more) {
        buf->failed = true;
        return false;
    }
    need = buf->len + more;
    cap = buf->cap < 128 ? 256 : buf->cap * 2;
    while (cap < need)
        cap *= 2;
    if (cap > buf->max)
        cap = buf->max;
    data = realloc(buf->data, cap);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->cap = cap;
    return true;
}

bool buf_append(struct buf *buf, const void *data, size_t len) {
    if (!buf_reserve(buf, len))
        return false;
    if (len > 0)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return true;
}

bool buf_printf(struct buf *buf, const char *format, ...) {
    va_list args;
    char small[256];
    int len;

    va_start(args, format);
    len = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (len < 0)
        return false;
    if ((size_t)len < sizeof small)
        return buf_append(buf, small, (size_t)len);
    if (!buf_reserve(buf, (size_t)len + 1))
        return false;
    va_start(args, format);
    vsnprintf(buf->data + buf->len, (size_t)len + 1, format, args);
    va_end(args);
    buf->len += (size_t)len;
    return true;
}

const char *buf_cstr(struct buf *buf) {
    if (!buf_reserve(buf, 1))
        return "";
    buf->data[buf->len] = '\0';
    return buf->data;
}
