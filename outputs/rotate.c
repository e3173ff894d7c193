/* outputs/rotate.c: see rotate.h. */
#include "outputs/rotate.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/str.h"

enum { ROTATE_PATH_MAX = 4096, SAME_SECOND_MAX = 1000, DATE_LEN = sizeof "2026-11-22" - 1 };

/* `dir/stem.ext` in its parts; `ext` with its dot, empty without one. Slices of the path. */
struct parts {
    struct str directory, stem, ext;
};

static struct parts split_path(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path, *dot = strrchr(name, '.');
    struct parts parts = { STR_INIT("."), str_of(name), STR_INIT("") };

    if (slash != NULL)
        parts.directory = str_make(path, slash == path ? 1 : (size_t)(slash - path));
    if (dot != NULL && dot != name) {
        parts.ext = str_of(dot);
        parts.stem = str_make(name, (size_t)(dot - name));
    }
    return parts;
}

static bool archive_path(const struct parts *parts, int64_t seconds, char *out) {
    time_t at = (time_t)seconds;
    char date[DATE_LEN + 1];
    struct tm utc;
    int len;

    if (gmtime_r(&at, &utc) == NULL || strftime(date, sizeof date, "%Y-%m-%d", &utc) == 0)
        return false;
    len = snprintf(out, ROTATE_PATH_MAX, "%.*s/%.*s.%s-%lld%.*s", STR_ARGS(parts->directory), STR_ARGS(parts->stem),
                   date, (long long)seconds, STR_ARGS(parts->ext));
    return len > 0 && len < ROTATE_PATH_MAX;
}

bool rotate_file(const char *path, int64_t now_ns, struct err *err) {
    struct parts parts = split_path(path);
    char archive[ROTATE_PATH_MAX];

    for (int64_t i = 0; i < SAME_SECOND_MAX; i++) {
        if (!archive_path(&parts, now_ns / NS_PER_S + i, archive))
            return err_set(err, ERR_LIMIT, "cannot name an archive of %.120s", path);
        /* link() refuses a name that is taken, rename() would replace the archive behind it. */
        if (link(path, archive) == 0) {
            if (unlink(path) == 0)
                return true;
            int error = errno;
            unlink(archive);
            return err_set_errno(err, error, "cannot rotate %.120s", path);
        }
        if (errno == EEXIST)
            continue;
        /* Not every file system has links. */
        if (access(archive, F_OK) != 0 && rename(path, archive) == 0)
            return true;
        return err_set_errno(err, errno, "cannot rotate %.120s", path);
    }
    return err_set(err, ERR_LIMIT, "too many archives of %.120s in one second", path);
}

static bool is_date_and_seconds(struct str text) {
    if (text.len < DATE_LEN + 2 || text.data[4] != '-' || text.data[7] != '-' || text.data[DATE_LEN] != '-')
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (i != 4 && i != 7 && i != DATE_LEN && (text.data[i] < '0' || text.data[i] > '9'))
            return false;
    return true;
}

static bool is_archive(const struct parts *parts, struct str name) {
    size_t around = parts->stem.len + 1 + parts->ext.len;

    if (name.len <= around || !str_starts_with(name, parts->stem) || name.data[parts->stem.len] != '.' ||
        !str_ends_with(name, parts->ext))
        return false;
    return is_date_and_seconds(str_make(name.data + parts->stem.len + 1, name.len - around));
}

static int64_t count_archives(DIR *directory, const struct parts *parts, char *oldest) {
    struct dirent *entry;
    int64_t count = 0;

    rewinddir(directory);
    while ((entry = readdir(directory)) != NULL) {
        size_t len = strlen(entry->d_name);
        if (len >= 256 || !is_archive(parts, str_make(entry->d_name, len)))
            continue;
        if (count++ == 0 || strcmp(entry->d_name, oldest) < 0)
            memcpy(oldest, entry->d_name, len + 1);
    }
    return count;
}

bool rotate_purge(const char *path, int64_t keep, struct err *err) {
    struct parts parts = split_path(path);
    char name[ROTATE_PATH_MAX], oldest[256] = "";
    bool ok = true;
    DIR *directory;

    if (keep < 0)
        return true;
    snprintf(name, sizeof name, "%.*s", STR_ARGS(parts.directory));
    directory = opendir(name);
    if (directory == NULL)
        return err_set_errno(err, errno, "cannot open %.120s", name);
    while (ok && count_archives(directory, &parts, oldest) > keep)
        if (unlinkat(dirfd(directory), oldest, 0) != 0)
            ok = err_set_errno(err, errno, "cannot delete %.120s", oldest);
    closedir(directory);
    return ok;
}
