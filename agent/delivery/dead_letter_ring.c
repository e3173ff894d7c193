/* agent/delivery/dead_letter_ring.c: see dead_letter_ring.h. */
#define _DEFAULT_SOURCE /* flock */
#include "agent/delivery/dead_letter_ring_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/fs.h"

#define NAME_FORMAT "dead-letters-%08" PRIu64 ".jsonl"
enum {
    FILES_PER_RING = 8, /* at least: dropping the oldest file drops an eighth at most */
    FILE_MIN = 64 * 1024,
    FILE_MAX = RING_LINE_MAX, /* taking letters out rewrites a file, and the writer waits for that */
    NAME_SIZE = 48,
    LOCK_TRIES = 10, /* 20 ms apart: who looks whether an agent runs has the lock for a moment */
};
static const uint64_t number_max = UINT64_C(999999999999999999);

bool ring_path(char *path, size_t size, const char *directory, uint64_t number) {
    int len = snprintf(path, size, "%s/" NAME_FORMAT, directory, number);

    return len > 0 && (size_t)len < size;
}

/* Only a name that we would have written ourselves is ours. */
static bool parse_name(const char *name, uint64_t *number) {
    const struct str prefix = STR("dead-letters-"), suffix = STR(".jsonl"), text = str_of(name);
    char again[NAME_SIZE];

    if (text.len >= sizeof again || !str_starts_with(text, prefix) || !str_ends_with(text, suffix) ||
        text.len <= prefix.len + suffix.len)
        return false;
    if (!str_to_uint64(str_make(name + prefix.len, text.len - prefix.len - suffix.len), number) || *number > number_max)
        return false;
    snprintf(again, sizeof again, NAME_FORMAT, *number);
    return strcmp(again, name) == 0;
}

static bool list_add(struct ring_list *list, struct ring_file file) {
    if (list->count == list->cap) {
        size_t cap = list->cap > 0 ? list->cap * 2 : 16;
        struct ring_file *larger = realloc(list->items, cap * sizeof *larger);
        if (larger == NULL)
            return false;
        list->items = larger;
        list->cap = cap;
    }
    list->items[list->count++] = file;
    return true;
}

static int by_number(const void *a, const void *b) {
    const struct ring_file *left = a, *right = b;

    return (left->number > right->number) - (left->number < right->number);
}

bool ring_list_files(const char *directory, struct ring_list *list, struct err *err) {
    DIR *open_directory = opendir(directory);
    const struct dirent *entry;
    struct stat info;
    uint64_t number;
    bool fine = true;

    list->count = 0;
    if (open_directory == NULL)
        return err_set_errno(err, errno, "cannot read directory %s", directory);
    while (fine && (entry = readdir(open_directory)) != NULL)
        if (parse_name(entry->d_name, &number) &&
            fstatat(dirfd(open_directory), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode))
            fine = list_add(list, (struct ring_file){ number, (uint64_t)info.st_size });
    closedir(open_directory);
    if (!fine)
        return err_set(err, ERR_LIMIT, "no memory for the list of %s", directory);
    if (list->count > 0)
        qsort(list->items, list->count, sizeof list->items[0], by_number);
    return true;
}

static int open_directory(const char *path) {
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool is_same(int left, int right) {
    struct stat a, b;

    return fstat(left, &a) == 0 && fstat(right, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* False: somebody else has it. A filesystem without locks is taken as it is. */
static bool take_lock(int directory) {
    for (int tries = LOCK_TRIES; flock(directory, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;)
        if (--tries == 0 || nanosleep(&(struct timespec){ 0, 20 * NS_PER_MS }, NULL) != 0)
            return false;
    return true;
}

/* The directory may have been deleted and made again meanwhile. */
static bool lock_directory(struct ring *ring, struct err *err) {
    int directory = open_directory(ring->directory);

    if (directory < 0)
        return err_set_errno(err, errno, "cannot open directory %s", ring->directory);
    if (ring->lock >= 0 && is_same(ring->lock, directory)) {
        close(directory);
        return true;
    }
    if (!take_lock(directory)) {
        close(directory);
        return err_set(err, ERR_FULL, "%s is in use by another heliograf: stop that one, or set agent.dead_letters.directory",
                       ring->directory);
    }
    if (ring->lock >= 0)
        close(ring->lock);
    ring->lock = directory;
    unlinkat(directory, RING_NEW_NAME, 0); /* left behind by a crash */
    return true;
}

bool ring_find_files(struct ring *ring, struct err *err) {
    if (!fs_make_directories(ring->directory, 0700, err) || !lock_directory(ring, err) ||
        !ring_list_files(ring->directory, &ring->files, err))
        return false;
    ring->bytes = 0;
    for (size_t i = 0; i < ring->files.count; i++)
        ring->bytes += ring->files.items[i].bytes;
    if (ring->files.count > 0 && ring->next_number <= ring->files.items[ring->files.count - 1].number)
        ring->next_number = ring->files.items[ring->files.count - 1].number + 1;
    return true;
}

bool ring_in_use(const char *directory) {
    return fs_is_locked(directory);
}

bool ring_open(struct ring *ring, const char *directory, uint64_t max_bytes, struct err *err) {
    uint64_t file_max = max_bytes / FILES_PER_RING, half = max_bytes / 2;

    /* At least 64 KiB, so that a payload fits, but never so much that dropping the oldest file drops everything. */
    if (file_max < FILE_MIN)
        file_max = half < FILE_MIN ? half : FILE_MIN;
    if (file_max > FILE_MAX)
        file_max = FILE_MAX;
    *ring = (struct ring){ .max_bytes = max_bytes, .file_max = file_max, .next_number = 1, .lock = -1, .fd = -1 };
    ring->directory = strdup(directory);
    if (ring->directory == NULL)
        return err_set(err, ERR_LIMIT, "no memory");
    if (ring_find_files(ring, err))
        return true;
    ring_close(ring);
    return false;
}

bool ring_close_file(struct ring *ring, struct err *err) {
    bool synced = ring_sync(ring, err);

    if (ring->fd >= 0)
        close(ring->fd);
    ring->fd = -1;
    return synced;
}

void ring_close(struct ring *ring) {
    ring_close_file(ring, NULL);
    if (ring->lock >= 0)
        close(ring->lock);
    free(ring->directory);
    free(ring->files.items);
    *ring = (struct ring){ .lock = -1, .fd = -1 };
}

bool ring_sync(struct ring *ring, struct err *err) {
    if (ring->fd < 0 || !ring->unsynced)
        return true;
    ring->unsynced = false;
    if (fdatasync(ring->fd) != 0)
        return err_set_errno(err, errno, "cannot sync dead letters in %s", ring->directory);
    return true;
}

/* True when the last byte of the file is no newline: a crash cut a line. */
static bool ends_torn(const char *path, uint64_t bytes) {
    int fd = bytes > 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    char last = '\n';

    if (fd < 0)
        return bytes > 0;
    if (pread(fd, &last, 1, (off_t)bytes - 1) != 1)
        last = '\0';
    close(fd);
    return last != '\n';
}

static bool open_file(struct ring *ring, int flags, uint64_t number, struct err *err) {
    char path[RING_PATH_SIZE];

    if (!ring_path(path, sizeof path, ring->directory, number))
        return err_set(err, ERR_LIMIT, "path of directory %s is too long", ring->directory);
    ring->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    if (ring->fd < 0)
        return err_set_errno(err, errno, "cannot open %s", path);
    ring->torn = flags == 0 && ends_torn(path, ring->files.items[ring->files.count - 1].bytes);
    return true;
}

bool ring_drop_file(struct ring *ring, size_t index, struct err *err) {
    char path[RING_PATH_SIZE];

    if (ring->files.count == index + 1 && !ring_close_file(ring, err))
        return false;
    if (!ring_path(path, sizeof path, ring->directory, ring->files.items[index].number))
        return err_set(err, ERR_LIMIT, "path of directory %s is too long", ring->directory);
    if (unlink(path) != 0 && errno != ENOENT)
        return err_set_errno(err, errno, "cannot delete %s", path);
    ring->bytes -= ring->files.items[index].bytes;
    ring->files.count--;
    memmove(ring->files.items + index, ring->files.items + index + 1,
            (ring->files.count - index) * sizeof ring->files.items[0]);
    return true;
}

void ring_sync_directory(const struct ring *ring) {
    int fd = open_directory(ring->directory);

    if (fd < 0)
        return;
    fsync(fd); /* best effort: the name of a new file; some file systems refuse */
    close(fd);
}

static bool begin_file(struct ring *ring, struct err *err) {
    uint64_t number = ring->next_number;

    if (number > number_max)
        return err_set(err, ERR_LIMIT, "no number is left behind the newest file in %s", ring->directory);
    if (!ring_close_file(ring, err))
        return false;
    if (!open_file(ring, O_CREAT | O_EXCL, number, err)) {
        ring_find_files(ring,
                   NULL); /* the directory is gone, or somebody else took the number: the next letter may fit in */
        return false;
    }
    if (!list_add(&ring->files, (struct ring_file){ number, 0 })) {
        ring_close_file(ring, NULL);
        return err_set(err, ERR_LIMIT, "no memory");
    }
    ring->next_number = number + 1;
    ring_sync_directory(ring);
    return true;
}

bool ring_is_deleted(const struct ring *ring) {
    struct stat info;

    return ring->fd >= 0 && fstat(ring->fd, &info) == 0 && info.st_nlink == 0;
}

static struct ring_file *newest(struct ring *ring) {
    return ring->files.count > 0 ? &ring->files.items[ring->files.count - 1] : NULL;
}

/* A file open for writing in which `len` more bytes fit, with the whole ring below its limit. */
static bool make_room(struct ring *ring, size_t len, struct err *err) {
    if (ring_is_deleted(ring)) {
        ring_close_file(ring, NULL);
        if (!ring_find_files(ring, err))
            return false;
    }
    while (ring->files.count > 0 && ring->bytes + len > ring->max_bytes)
        if (!ring_drop_file(ring, 0, err))
            return false;
    if (newest(ring) == NULL || newest(ring)->bytes + len > ring->file_max)
        return begin_file(ring, err);
    return ring->fd >= 0 || open_file(ring, 0, newest(ring)->number, err);
}

/* A line that did not fit on the disk goes again; if even that fails, the next one starts on a line of its own. */
static bool take_back(struct ring *ring, struct err *err) {
    struct ring_file *file = newest(ring);
    int error = errno;

    if (ftruncate(ring->fd, (off_t)file->bytes) != 0) {
        ring->torn = true;
        ring_close_file(ring, NULL);
        ring_find_files(ring, NULL);
    }
    return err_set_errno(err, error, "cannot write dead letters to %s", ring->directory);
}

bool ring_write(struct ring *ring, struct str line, struct err *err) {
    const size_t len = line.len + 1; /* a torn line may need its newline first */

    if (len > ring->file_max)
        return err_set(err, ERR_LIMIT, "a letter of %zu bytes is longer than a file of the ring (%" PRIu64 ")",
                       line.len, ring->file_max);
    if (!make_room(ring, len, err))
        return false;
    if ((ring->torn && !fs_write_all(ring->fd, STR("\n"))) || !fs_write_all(ring->fd, line))
        return take_back(ring, err);
    newest(ring)->bytes += line.len + ring->torn;
    ring->bytes += line.len + ring->torn;
    ring->torn = false;
    ring->unsynced = true;
    return true;
}

uint64_t ring_letter_id(struct str line) {
    return str_hash_stable(line);
}
