/* agent/delivery/lines.c: see lines.h. */
#include "agent/delivery/lines.h"

#include <errno.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024 };

struct reading {
    bool (*each)(void *ctx, struct str text, enum line_piece piece);
    void *ctx;
    struct buf line; /* the beginning of a line whose end is not read yet */
    bool overlong;   /* of this line something was given away already */
};

/* What does not fit into the buffer is given away in parts, and the buffer with it. */
static bool keep_part(struct reading *reading, struct str part) {
    struct str kept = buf_str(&reading->line);

    if (!reading->overlong && buf_append_str(&reading->line, part))
        return true;
    if (!reading->overlong && kept.len > 0 && !reading->each(reading->ctx, kept, LINE_PART))
        return false;
    buf_reset(&reading->line);
    reading->overlong = true;
    return part.len == 0 || reading->each(reading->ctx, part, LINE_PART);
}

static bool end_line(struct reading *reading, bool torn) {
    struct str line = buf_str(&reading->line);
    bool more;

    if (reading->overlong)
        more = reading->each(reading->ctx, STR_EMPTY, torn ? LINE_PART_TORN : LINE_PART_END);
    else if (torn && line.len == 0)
        more = true;
    else
        more = reading->each(reading->ctx, line, torn ? LINE_TORN : LINE_WHOLE);
    buf_reset(&reading->line);
    reading->overlong = false;
    return more;
}

static bool take_chunk(struct reading *reading, struct str chunk) {
    const char *end;

    while (chunk.len > 0 && (end = memchr(chunk.data, '\n', chunk.len)) != NULL) {
        size_t len = (size_t)(end - chunk.data);
        if (!keep_part(reading, str_make(chunk.data, len)) || !end_line(reading, false))
            return false;
        chunk = str_make(end + 1, chunk.len - len - 1);
    }
    return keep_part(reading, chunk);
}

static enum lines_end read_all(struct reading *reading, int file) {
    char chunk[CHUNK];

    for (;;) {
        ssize_t got = read(file, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return LINES_FAILED;
        if (got == 0)
            return end_line(reading, true) ? LINES_ALL : LINES_ENOUGH;
        if (!take_chunk(reading, str_make(chunk, (size_t)got)))
            return LINES_ENOUGH;
    }
}

enum lines_end lines_read(int file, size_t max, bool (*each)(void *ctx, struct str text, enum line_piece piece), void *ctx) {
    struct reading reading = { .each = each, .ctx = ctx, .line = BUF_INIT(max) };
    enum lines_end end = read_all(&reading, file);
    int error = errno;

    buf_release(&reading.line);
    errno = error;
    return end;
}
