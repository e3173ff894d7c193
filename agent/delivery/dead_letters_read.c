/* agent/delivery/dead_letters_read.c: reading a ring back, beside its writer or after a crash. */
#include "agent/delivery/dead_letters.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/delivery/dead_letter_json.h"
#include "agent/delivery/dead_letter_ring.h"

enum { LINE_MAX_BYTES = 8 << 20, CHUNK = 64 * 1024, PATH_SIZE = 4096 };

struct reading {
    bool (*each)(void *ctx, const struct dead_letter *letter);
    void *ctx;
    struct dead_letters_found *found;
    struct buf line; /* the beginning of a line whose end is not read yet */
    bool too_long;   /* the rest of this line is skipped */
    struct arena arena;
};

/* False: `each` has seen enough. */
static bool take_line(struct reading *reading, struct str line) {
    struct dead_letter letter;

    arena_reset(&reading->arena);
    if (!dead_letter_decode(line, &reading->arena, &letter)) {
        reading->found->skipped_lines++;
        return true;
    }
    reading->found->letters++;
    return reading->each(reading->ctx, &letter);
}

static void keep_part(struct reading *reading, struct str part) {
    if (!reading->too_long && !buf_append_str(&reading->line, part))
        reading->too_long = true;
}

static bool end_line(struct reading *reading) {
    bool more = true;

    if (reading->too_long)
        reading->found->skipped_lines++;
    else if (reading->line.len > 0)
        more = take_line(reading, buf_str(&reading->line));
    buf_reset(&reading->line);
    reading->too_long = false;
    return more;
}

static bool take_chunk(struct reading *reading, struct str chunk) {
    const char *end;

    while (chunk.len > 0 && (end = memchr(chunk.data, '\n', chunk.len)) != NULL) {
        size_t len = (size_t)(end - chunk.data);
        keep_part(reading, str_make(chunk.data, len));
        if (!end_line(reading))
            return false;
        chunk = str_make(end + 1, chunk.len - len - 1);
    }
    keep_part(reading, chunk);
    return true;
}

/* -1: failed, with errno; 0: `each` has seen enough; 1: go on. */
static int read_lines(struct reading *reading, int fd) {
    char chunk[CHUNK];

    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            return end_line(reading); /* a torn last line is tried too: only its newline may be missing */
        if (!take_chunk(reading, str_make(chunk, (size_t)got)))
            return 0;
    }
}

static int read_file(struct reading *reading, const char *path, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), result;

    if (fd < 0 && errno == ENOENT)
        return 1;
    if (fd < 0) {
        err_set_errno(err, errno, "cannot open %s", path);
        return -1;
    }
    reading->found->files++;
    result = read_lines(reading, fd);
    if (result < 0)
        err_set_errno(err, errno, "cannot read %s", path);
    close(fd);
    return result;
}

bool dead_letters_read(const char *directory, bool (*each)(void *ctx, const struct dead_letter *letter), void *ctx,
                       struct dead_letters_found *found, struct err *err) {
    struct reading reading = { .each = each, .ctx = ctx, .found = found };
    struct ring_list list = { .items = NULL };
    char path[PATH_SIZE];
    int result = 1;

    *found = (struct dead_letters_found){ 0 };
    buf_init(&reading.line, LINE_MAX_BYTES);
    arena_init(&reading.arena, 2 * LINE_MAX_BYTES);
    if (!ring_list_files(directory, &list, err))
        result = -1;
    for (size_t i = 0; i < list.count && result == 1; i++) {
        if (!ring_path(path, sizeof path, directory, list.items[i].number))
            result = err_set(err, ERR_LIMIT, "path of directory %s is too long", directory) - 1;
        else
            result = read_file(&reading, path, err);
    }
    free(list.items);
    buf_release(&reading.line);
    arena_release(&reading.arena);
    return result >= 0;
}
