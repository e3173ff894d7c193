/* agent/base/fs.c: see fs.h. */
#define _DEFAULT_SOURCE /* flock */
#include "agent/base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

bool fs_read_file(const char *path, struct buf *out, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;

    if (fd < 0)
        return err_set_errno(err, errno, "cannot open %s", path);
    for (;;) {
        char chunk[16384];
        got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        if (!buf_append(out, chunk, (size_t)got)) {
            close(fd);
            return err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", path, out->max);
        }
    }
    int error = errno;
    close(fd);
    if (got < 0)
        return err_set_errno(err, error, "cannot read %s", path);
    return true;
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
