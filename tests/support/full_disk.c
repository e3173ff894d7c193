/*
 * tests/support/full_disk.c: preloaded, it makes a disk that is full for the broker's database: as long as the file $FULL_DISK exists, nothing is
 * written to a file whose name begins with broker.db.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_full(int fd) {
    const char *flag = getenv("FULL_DISK");
    char link[64], path[4096];
    ssize_t len;

    if (flag == NULL || access(flag, F_OK) != 0)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof path - 1);
    path[len > 0 ? len : 0] = '\0';
    return strstr(path, "/broker.db") != NULL;
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset) {
    if (is_full(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes, len, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset) {
    return pwrite64(fd, bytes, len, offset);
}
