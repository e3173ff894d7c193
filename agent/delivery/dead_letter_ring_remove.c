/* agent/delivery/dead_letter_ring_remove.c: taking letters out of a ring, for good. */
#include "agent/delivery/dead_letter_ring_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/base/buf.h"
#include "agent/base/fs.h"
#include "agent/delivery/lines.h"

struct removal {
    bool (*gone)(void *ctx, uint64_t id);
    void *ctx;
    int to;              /* what stays is written there; -1: only counted */
    uint64_t going, bytes_staying;
    int error;
    struct buf out;
};

static bool write_out(struct removal *removal, struct str text) {
    if (removal->error == 0 && !fs_write_all(removal->to, text))
        removal->error = errno;
    return removal->error == 0;
}

static bool flush(struct removal *removal) {
    bool fine = write_out(removal, buf_str(&removal->out));

    buf_reset(&removal->out);
    return fine;
}

static bool keep(struct removal *removal, struct str text) {
    removal->bytes_staying += text.len;
    if (removal->to < 0 || buf_append_str(&removal->out, text))
        return true;
    return flush(removal) && (buf_append_str(&removal->out, text) || write_out(removal, text));
}

static bool judge_line(void *ctx, struct str text, enum line_piece piece) {
    struct removal *removal = ctx;

    if ((piece == LINE_WHOLE || piece == LINE_TORN) && text.len > 0 && removal->gone(removal->ctx, ring_letter_id(text))) {
        removal->going++;
        return true;
    }
    bool ended = piece == LINE_WHOLE || piece == LINE_PART_END;
    return keep(removal, text) && (!ended || keep(removal, STR("\n")));
}

/* One walk over a file; `to` as in struct removal. */
static bool walk(struct removal *removal, const char *path, int to, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    enum lines_end end;

    removal->to = to;
    removal->going = removal->bytes_staying = 0;
    if (fd < 0)
        return errno == ENOENT || err_set_errno(err, errno, "cannot open %s", path);
    end = lines_read(fd, RING_LINE_MAX, judge_line, removal);
    if (end == LINES_FAILED)
        err_set_errno(err, errno, "cannot read %s", path);
    close(fd);
    if (end == LINES_ALL && to >= 0)
        flush(removal);
    if (end != LINES_FAILED && removal->error != 0)
        err_set_errno(err, removal->error, "cannot write %s beside %s", RING_NEW_NAME, path);
    return end == LINES_ALL && removal->error == 0;
}

/* What stays of the file, under the new name, on disk. */
static bool write_staying(struct ring *ring, struct removal *removal, const char *path, struct err *err) {
    bool fine;
    int to;

    unlinkat(ring->lock, RING_NEW_NAME, 0); /* whatever it is: root may be at work in somebody else's directory */
    to = openat(ring->lock, RING_NEW_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (to < 0)
        return err_set_errno(err, errno, "cannot make %s in %s", RING_NEW_NAME, ring->directory);
    fs_adopt(to, ring->lock);
    fine = walk(removal, path, to, err);
    if (fine && fdatasync(to) != 0)
        fine = err_set_errno(err, errno, "cannot sync %s in %s", RING_NEW_NAME, ring->directory);
    close(to);
    return fine;
}

static bool rewrite(struct ring *ring, size_t index, struct removal *removal, struct err *err) {
    struct ring_file *file = &ring->files.items[index];
    char path[RING_PATH_SIZE];
    bool fine;

    if (!ring_path(path, sizeof path, ring->directory, file->number))
        return err_set(err, ERR_LIMIT, "path of directory %s is too long", ring->directory);
    if (index + 1 == ring->files.count && !ring_close_file(ring, err))
        return false;
    fine = write_staying(ring, removal, path, err);
    if (fine && renameat(ring->lock, RING_NEW_NAME, AT_FDCWD, path) != 0)
        fine = err_set_errno(err, errno, "cannot replace %s", path);
    if (!fine) {
        unlinkat(ring->lock, RING_NEW_NAME, 0);
        return false;
    }
    ring->bytes -= file->bytes;
    ring->bytes += file->bytes = removal->bytes_staying;
    return true;
}

/* `index` moves on, unless the file is gone. */
static bool remove_from_file(struct ring *ring, size_t *index, struct removal *removal, uint64_t *removed, struct err *err) {
    char path[RING_PATH_SIZE];

    if (!ring_path(path, sizeof path, ring->directory, ring->files.items[*index].number))
        return err_set(err, ERR_LIMIT, "path of directory %s is too long", ring->directory);
    if (!walk(removal, path, -1, err))
        return false;
    uint64_t going = removal->going;
    if (going > 0 && removal->bytes_staying == 0) {
        if (!ring_drop_file(ring, *index, err))
            return false;
        *removed += going;
        return true;
    }
    if (going > 0 && !rewrite(ring, *index, removal, err))
        return false;
    *removed += going;
    ++*index;
    return true;
}

bool ring_remove(struct ring *ring, bool (*gone)(void *ctx, uint64_t id), void *ctx, uint64_t *removed, struct err *err) {
    struct removal removal = { .gone = gone, .ctx = ctx, .to = -1, .out = BUF_INIT(64 * 1024) };
    uint64_t before = *removed;
    bool fine = true;

    if (ring_is_deleted(ring)) {
        ring_close_file(ring, NULL);
        fine = ring_find_files(ring, err);
    }
    for (size_t index = 0; fine && index < ring->files.count;)
        fine = remove_from_file(ring, &index, &removal, removed, err);
    if (*removed > before)
        ring_sync_directory(ring);
    buf_release(&removal.out);
    return fine;
}
