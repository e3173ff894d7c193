/* agent/base/fs.c: see fs.h. */
#define _DEFAULT_SOURCE /* flock */
#include "agent/base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_AT_ONCE = 65536 };

/* Room to read into: what is there, or more; 0 at the buffer's maximum or without memory. */
static size_t room_to_read(struct buf *out) {
    size_t below_max = out->max > out->len ? out->max - out->len : 0;

    if (out->cap == out->len && below_max > 0 && !buf_reserve(out, below_max < READ_AT_ONCE ? below_max : READ_AT_ONCE))
        return 0;
    return out->cap - out->len;
}

bool fs_read_fd(int fd, const char *path, struct buf *out, struct err *err) {
    struct stat info;

    /* One byte more than there is shows the end without growing. */
    if (fstat(fd, &info) == 0 && info.st_size > 0 && out->max > out->len && (uintmax_t)info.st_size < out->max - out->len)
        buf_reserve(out, (size_t)info.st_size + 1);
    for (;;) {
        size_t room = room_to_read(out);
        char beyond;
        ssize_t got = read(fd, room > 0 ? out->data + out->len : &beyond, room > 0 ? room : 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_errno(err, errno, "cannot read %s", path);
        if (got == 0)
            return true;
        if (room == 0)
            return err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", path, out->max);
        out->len += (size_t)got;
    }
}

bool fs_read_file(const char *path, struct buf *out, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok;

    if (fd < 0)
        return err_set_errno(err, errno, "cannot open %s", path);
    ok = fs_read_fd(fd, path, out, err);
    close(fd);
    return ok;
}

bool fs_read_secret(const char *path, struct buf *out, struct err *err) {
    if (!fs_read_file(path, out, err))
        return false;
    if (out->len > 0 && out->data[out->len - 1] == '\n')
        out->len--;
    if (out->len > 0 && out->data[out->len - 1] == '\r')
        out->len--;
    return true;
}

bool fs_write_all(int file, struct str bytes) {
    while (bytes.len > 0) {
        ssize_t written = write(file, bytes.data, bytes.len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written == 0)
            errno = EIO;
        if (written <= 0)
            return false;
        bytes = str_make(bytes.data + written, bytes.len - (size_t)written);
    }
    return true;
}

bool fs_make_directories(const char *path, unsigned mode, struct err *err) {
    char part[4096];
    struct stat info;
    size_t len = strlen(path);

    if (len == 0 || len >= sizeof part)
        return err_set(err, ERR_LIMIT, "directory name is empty or too long");
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        char kept = part[i];
        part[i] = '\0';
        if (mkdir(part, (mode_t)mode) != 0 && errno != EEXIST)
            return err_set_errno(err, errno, "cannot create directory %s", part);
        part[i] = kept;
    }
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return err_set(err, ERR_IO, "%s is not a directory", path);
    return true;
}

static bool write_all(int fd, struct str content) {
    while (content.len > 0) {
        ssize_t put = write(fd, content.data, content.len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        content = str_make(content.data + put, content.len - (size_t)put);
    }
    return true;
}

/* Owner, group and permissions of the file that is there; fine when there is none. */
static bool keep_owner(int fd, const char *path, struct err *err) {
    struct stat old, new;

    if (lstat(path, &old) != 0 || !S_ISREG(old.st_mode))
        return true;
    if (fstat(fd, &new) != 0)
        return err_set_errno(err, errno, "cannot look at the new %s", path);
    if ((old.st_uid != new.st_uid || old.st_gid != new.st_gid) && fchown(fd, old.st_uid, old.st_gid) != 0)
        return err_set_errno(err, errno, "cannot keep the owner of %s (user %u, group %u)", path, (unsigned)old.st_uid, (unsigned)old.st_gid);
    if (fchmod(fd, old.st_mode & 07777) != 0)
        return err_set_errno(err, errno, "cannot keep the permissions of %s", path);
    return true;
}

/* The directory that `path` is in, into `out` of `size` bytes: "/etc/x" is in "/etc", "x" in ".". */
static bool directory_of(const char *path, char *out, size_t size) {
    const char *slash = strrchr(path, '/');
    int len = slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path);

    return snprintf(out, size, "%.*s", len, slash == NULL ? "." : path) < (int)size;
}

static bool sync_directory_of(const char *path, struct err *err) {
    char directory[4096];
    int fd = directory_of(path, directory, sizeof directory) ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool ok = fd >= 0 && fsync(fd) == 0;

    if (!ok)
        err_set_errno(err, errno, "%s is written, but its directory could not be synced, so that a power cut may bring the old one back", path);
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool fill(int fd, const char *path, struct str content, struct err *err) {
    if (!keep_owner(fd, path, err))
        return false;
    if (!write_all(fd, content) || fsync(fd) != 0)
        return err_set_errno(err, errno, "cannot write the new %s", path);
    return true;
}

bool fs_replace_file(const char *path, struct str content, struct err *err) {
    char beside[4096];
    bool ok;
    int fd;

    if (snprintf(beside, sizeof beside, "%s.XXXXXX", path) >= (int)sizeof beside)
        return err_set(err, ERR_LIMIT, "the name of the file is too long");
    fd = mkstemp(beside); /* 0600 */
    if (fd < 0)
        return err_set_errno(err, errno, "cannot make a new file beside %s", path);
    ok = fill(fd, path, content, err);
    if (close(fd) != 0 && ok)
        ok = err_set_errno(err, errno, "cannot write the new %s", path);
    if (ok && rename(beside, path) != 0)
        ok = err_set_errno(err, errno, "cannot put the new %s in place", path);
    if (!ok) {
        unlink(beside);
        return false;
    }
    return sync_directory_of(path, err);
}

bool fs_is_locked(const char *directory) {
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;

    if (fd >= 0)
        close(fd);
    return locked;
}

void fs_adopt(int file, int directory) {
    struct stat own, owner;

    if (geteuid() == 0 && fstat(file, &own) == 0 && fstat(directory, &owner) == 0 &&
        (own.st_uid != owner.st_uid || own.st_gid != owner.st_gid) && fchown(file, owner.st_uid, owner.st_gid) != 0)
        return; /* then its reader will say what is wrong */
}
