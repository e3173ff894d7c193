/*
 * tests/bench/bench_disk.h: the disk, for benches: a scratch directory, file operations that are timed or made slower, and what the same
 * disk does when it is asked bare. Each bench is one file, so everything here is static.
 */
#ifndef HELIOGRAF_BENCH_DISK_H
#define HELIOGRAF_BENCH_DISK_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/file_ops.h"

#define UNUSED __attribute__((unused))

static char bench_directory[512];

static UNUSED void bench_clear_directory(void) {
    DIR *stream = opendir(bench_directory);

    for (const struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;)
        unlinkat(dirfd(stream), entry->d_name, 0);
    if (stream != NULL)
        closedir(stream);
}

static UNUSED void bench_remove_directory(void) {
    bench_clear_directory();
    rmdir(bench_directory);
}

/* In `place`, or HELIOGRAF_BENCH_DIRECTORY, or here. False: it cannot be made. */
static UNUSED bool bench_make_directory(const char *place) {
    const char *asked = getenv("HELIOGRAF_BENCH_DIRECTORY");

    if (place == NULL)
        place = asked != NULL ? asked : ".";
    snprintf(bench_directory, sizeof bench_directory, "%s/bench-XXXXXX", place);
    return mkdtemp(bench_directory) != NULL;
}

static UNUSED double bench_seconds_since(int64_t began_ns) {
    return (double)(clock_mono_ns() - began_ns) / NS_PER_S;
}

static UNUSED double bench_cpu_seconds(void) {
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* File operations that are the system's, timed, and with `bench_sync_delay_ns` added to each sync. */

static _Atomic int64_t bench_write_ns, bench_sync_ns;
static _Atomic uint64_t bench_syncs;
static int64_t bench_sync_delay_ns;

static ssize_t bench_pwrite(void *ctx, int file, const void *bytes, size_t len, uint64_t offset) {
    int64_t began_ns = clock_mono_ns();
    ssize_t put = file_ops_system.pwrite(ctx, file, bytes, len, offset);

    bench_write_ns += clock_mono_ns() - began_ns;
    return put;
}

static int bench_sync(void *ctx, int file) {
    int64_t began_ns = clock_mono_ns();

    if (bench_sync_delay_ns > 0)
        nanosleep(&(struct timespec){ bench_sync_delay_ns / NS_PER_S, bench_sync_delay_ns % NS_PER_S }, NULL);
    int error = file_ops_system.sync(ctx, file);
    bench_sync_ns += clock_mono_ns() - began_ns;
    bench_syncs++;
    return error;
}

static UNUSED const struct file_ops *bench_file_ops(int64_t sync_delay_ns) {
    static struct file_ops ops;

    ops = file_ops_system;
    ops.pwrite = bench_pwrite;
    ops.sync = bench_sync;
    bench_sync_delay_ns = sync_delay_ns;
    bench_write_ns = bench_sync_ns = 0;
    bench_syncs = 0;
    return &ops;
}

/* The disk itself. */

/* A file of `bytes`, allocated, written in groups, each of them synced; then once more over the same blocks. Seconds. */
static UNUSED void bench_bare_writes(uint64_t bytes, size_t group, double *fresh_s, double *again_s) {
    char path[600], *data = malloc(group);
    int file;

    snprintf(path, sizeof path, "%s/bare", bench_directory);
    file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (data == NULL || file < 0 || posix_fallocate(file, 0, (off_t)bytes) != 0)
        exit(1);
    memset(data, 'x', group);
    for (int pass = 0; pass < 2; pass++) {
        int64_t began_ns = clock_mono_ns();
        for (uint64_t at = 0; at + group <= bytes; at += group)
            if (pwrite(file, data, group, (off_t)at) != (ssize_t)group || fdatasync(file) != 0)
                exit(1);
        *(pass == 0 ? fresh_s : again_s) = bench_seconds_since(began_ns);
    }
    close(file);
    unlink(path);
    free(data);
}

/* Everything in the directory leaves the page cache, as far as it is on disk. */
static UNUSED void bench_forget_cache(void) {
    DIR *stream = opendir(bench_directory);

    for (const struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;) {
        int file = openat(dirfd(stream), entry->d_name, O_RDONLY);
        if (file < 0)
            continue;
        fdatasync(file);
        posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
        close(file);
    }
    if (stream != NULL)
        closedir(stream);
}

/* All files of the directory read once, in pieces of 256 KiB, as the spool reads them. Seconds; `*bytes` gets how much that was. */
static UNUSED double bench_bare_reads(uint64_t *bytes) {
    static char piece[256 * 1024];
    DIR *stream = opendir(bench_directory);
    int64_t began_ns = clock_mono_ns();

    *bytes = 0;
    for (const struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;) {
        int file = openat(dirfd(stream), entry->d_name, O_RDONLY);
        for (ssize_t got; file >= 0 && (got = read(file, piece, sizeof piece)) > 0;)
            *bytes += (uint64_t)got;
        if (file >= 0)
            close(file);
    }
    if (stream != NULL)
        closedir(stream);
    return bench_seconds_since(began_ns);
}

#endif
