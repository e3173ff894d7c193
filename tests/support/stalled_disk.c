/*
 * tests/support/stalled_disk.c: preloaded, it makes a disk that does not answer: fdatasync and fsync wait as long as the file $STALLED_DISK exists. For
 * what must not grow meanwhile.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_for_disk(void) {
    const char *path = getenv("STALLED_DISK");

    while (path != NULL && access(path, F_OK) == 0)
        nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
}

int fdatasync(int fd) {
    wait_for_disk();
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    wait_for_disk();
    return (int)syscall(SYS_fsync, fd);
}
