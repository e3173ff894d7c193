/* agent/delivery/dead_letters_read.c: reading a ring back, beside its writer or after a crash. */
#include "agent/delivery/dead_letters.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/delivery/dead_letter_json.h"
#include "agent/delivery/dead_letter_ring.h"
#include "agent/delivery/lines.h"

enum { PATH_SIZE = 4096 };

struct reading {
    bool (*each)(void *ctx, const struct dead_letter *letter);
    void *ctx;
    struct dead_letters_found *found;
    struct arena arena;
};

/* A torn last line is tried too: only its newline may be missing. */
static bool take_line(void *ctx, struct str line, enum line_piece piece) {
    struct reading *reading = ctx;
    struct dead_letter letter;

    if (piece == LINE_PART || (piece == LINE_WHOLE && line.len == 0))
        return true;
    arena_reset(&reading->arena);
    if (piece == LINE_PART_END || piece == LINE_PART_TORN || !dead_letter_decode(line, &reading->arena, &letter)) {
        reading->found->skipped_lines++;
        return true;
    }
    letter.id = ring_letter_id(line);
    reading->found->letters++;
    return reading->each(reading->ctx, &letter);
}

static enum lines_end read_file(struct reading *reading, const char *path, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    enum lines_end end;

    if (fd < 0 && errno == ENOENT)
        return LINES_ALL;
    if (fd < 0) {
        err_set_errno(err, errno, "cannot open %s", path);
        return LINES_FAILED;
    }
    reading->found->files++;
    end = lines_read(fd, RING_LINE_MAX, take_line, reading);
    if (end == LINES_FAILED)
        err_set_errno(err, errno, "cannot read %s", path);
    close(fd);
    return end;
}

bool dead_letters_read(const char *directory, bool (*each)(void *ctx, const struct dead_letter *letter), void *ctx,
                       struct dead_letters_found *found, struct err *err) {
    struct reading reading = { .each = each, .ctx = ctx, .found = found };
    struct ring_list list = { .items = NULL };
    enum lines_end end = LINES_ALL;
    char path[PATH_SIZE];
    bool fine;

    *found = (struct dead_letters_found){ 0 };
    arena_init(&reading.arena, 2 * RING_LINE_MAX);
    fine = ring_list_files(directory, &list, err);
    for (size_t i = 0; fine && i < list.count && end == LINES_ALL; i++) {
        fine = ring_path(path, sizeof path, directory, list.items[i].number) ||
               err_set(err, ERR_LIMIT, "path of directory %s is too long", directory);
        if (fine)
            end = read_file(&reading, path, err);
    }
    free(list.items);
    arena_release(&reading.arena);
    return fine && end != LINES_FAILED;
}
