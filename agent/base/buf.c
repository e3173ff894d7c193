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

/* One byte more than `cap` is allocated: the NUL of buf_cstr and vsnprintf always has a place. */
bool buf_reserve(struct buf *buf, size_t more) {
    const size_t max = buf->max < SIZE_MAX / 2 ? buf->max : SIZE_MAX / 2;
    size_t need, cap;
    char *data;

    if (more <= buf->cap - buf->len)
        return true;
    if (more > max || buf->len > max - more) {
        buf->failed = true;
        return false;
    }
    need = buf->len + more;
    cap = buf->cap < 128 ? 256 : buf->cap * 2;
    while (cap < need)
        cap *= 2;
    if (cap > max)
        cap = max;
    data = realloc(buf->data, cap + 1);
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
    if (len < 0) {
        buf->failed = true;
        return false;
    }
    if ((size_t)len < sizeof small)
        return buf_append(buf, small, (size_t)len);
    if (!buf_reserve(buf, (size_t)len))
        return false;
    va_start(args, format);
    vsnprintf(buf->data + buf->len, (size_t)len + 1, format, args);
    va_end(args);
    buf->len += (size_t)len;
    return true;
}

const char *buf_cstr(struct buf *buf) {
    if (buf->data == NULL)
        return "";
    buf->data[buf->len] = '\0';
    return buf->data;
}
