/*
 * tests/bench/bench_spool.c: the spool on disk: durable appending beside what the same disk takes bare, replay, recovery, and whether a
 * record costs the same however many wait. In the current directory's filesystem, or that of HELIOGRAF_BENCH_DIRECTORY.
 */
#define _XOPEN_SOURCE 700
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/crc32c.h"
#include "agent/spool/spool.h"

enum { LINE = 120, TOPIC = 24 };

static char directory[512];

static void clear_directory(void) {
    DIR *stream = opendir(directory);

    for (const struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;)
        unlinkat(dirfd(stream), entry->d_name, 0);
    if (stream != NULL)
        closedir(stream);
}

static void remove_directory(void) {
    clear_directory();
    rmdir(directory);
}

static struct spool *open_spool(enum spool_sync sync) {
    static const char *const names[] = { "influxdb" };
    struct spool_options options = {
        .max_bytes = UINT64_C(8) << 30, .outputs = 1, .sync = sync, .directory = directory, .output_names = names,
        .when_full = SPOOL_BLOCK,
    };
    struct err err = ERR_INIT;
    struct spool *spool = spool_new(&options, &err);

    if (spool == NULL) {
        fprintf(stderr, "bench_spool: %s\n", err.text);
        exit(1);
    }
    return spool;
}

static double seconds_since(int64_t began_ns) {
    return (double)(clock_mono_ns() - began_ns) / NS_PER_S;
}

/* Seconds until `count` records are durable. */
static double append_many(struct spool *spool, uint64_t count) {
    static const char topic[TOPIC + 1] = "plant/line-a/press-1/tem";
    char line[LINE + 1];
    uint64_t sequence = 0;
    int64_t began_ns = clock_mono_ns();

    memset(line, 'x', LINE);
    memcpy(line, "press,line=a v=", 15);
    for (uint64_t i = 0; i < count;) {
        snprintf(line + LINE - 21, 21, "%020llu", (unsigned long long)i);
        line[LINE - 1] = '\n';
        struct spool_record record = { .outputs = 1, .lines = 1, .topic = { topic, TOPIC }, .text = { line, LINE } };
        if (spool_append(spool, &record, 1, true, &sequence) == SPOOL_APPENDED)
            i++;
        else
            nanosleep(&(struct timespec){ 0, 200000 }, NULL); /* as a source does: the broker keeps it meanwhile */
    }
    while (spool_durable(spool) < sequence)
        nanosleep(&(struct timespec){ 0, 20000 }, NULL);
    return seconds_since(began_ns);
}

static double take_all(struct spool *spool, uint64_t count) {
    struct spool_flush flush = { 5000, 1 << 20, 1, 0 };
    struct spool_batch batch;
    int64_t began_ns = clock_mono_ns();
    uint64_t taken = 0;

    spool_batch_init(&batch);
    while (taken < count && spool_take(spool, 0, &flush, &batch)) {
        struct spool_settlement how = { .messages = { 0 } };
        taken += batch.record_count;
        how.messages[FATE_STORED] = batch.record_count;
        how.lines[FATE_STORED] = batch.line_count;
        spool_settle(spool, 0, &batch, &how);
    }
    spool_batch_release(&batch);
    return seconds_since(began_ns);
}

/* The same bytes, straight: what the disk itself takes when it is asked as we ask it. */
static double bare_writes(uint64_t bytes, size_t group) {
    char path[600], *data = malloc(group);
    int file;
    int64_t began_ns;

    snprintf(path, sizeof path, "%s/bare", directory);
    file = open(path, O_RDWR | O_CREAT, 0600);
    memset(data, 'x', group);
    if (file < 0 || posix_fallocate(file, 0, (off_t)bytes) != 0)
        exit(1);
    began_ns = clock_mono_ns();
    for (uint64_t at = 0; at + group <= bytes; at += group)
        if (pwrite(file, data, group, (off_t)at) != (ssize_t)group || fdatasync(file) != 0)
            exit(1);
    double seconds = seconds_since(began_ns);
    close(file);
    unlink(path);
    free(data);
    return seconds;
}

static long rss_kib(void) {
    char line[256];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");

    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    if (status != NULL)
        fclose(status);
    return kib;
}

static void append_and_replay(void) {
    const uint64_t count = 4000000;
    struct spool *spool = open_spool(SPOOL_COMMIT);
    struct spool_figures figures;
    double append_s = append_many(spool, count), replay_s;

    spool_figures(spool, &figures);
    double bytes = (double)figures.committed_bytes, bare_s = bare_writes(figures.committed_bytes, 1 << 20);
    printf("spool_append_durable %.0f records/s\n", (double)count / append_s);
    printf("spool_append_durable_bytes %.0f MB/s\n", bytes / append_s / 1e6);
    printf("spool_bare_write_and_fdatasync %.0f MB/s\n", bytes / bare_s / 1e6);
    printf("spool_append_per_bare %.2f ratio\n", bare_s / append_s);
    printf("spool_commits %llu groups\n", (unsigned long long)figures.commits);
    printf("spool_bytes_per_line %.1f bytes\n", bytes / (double)count);
    printf("spool_rss_with_backlog %ld KiB\n", rss_kib());
    replay_s = take_all(spool, count);
    printf("spool_replay %.0f records/s\n", (double)count / replay_s);
    spool_free(spool);
    clear_directory();
}

static void recovery_of_1_gib(void) {
    struct spool *spool = open_spool(SPOOL_COMMIT);
    struct spool_recovery found;
    struct spool_figures figures = { .committed_bytes = 0 };

    while (figures.committed_bytes < UINT64_C(1) << 30) {
        append_many(spool, 500000);
        spool_figures(spool, &figures);
    }
    spool_free(spool);
    spool = open_spool(SPOOL_COMMIT);
    spool_recovered(spool, &found);
    printf("spool_recovery_1GiB %.3f s\n", (double)found.duration_ns / NS_PER_S);
    printf("spool_recovery_records %.0f records/s\n", (double)found.records / ((double)found.duration_ns / NS_PER_S));
    spool_free(spool);
    clear_directory();
}

/* Appended, and then taken again, with so many waiting. */
static void cost_per_record(void) {
    for (uint64_t count = 10000; count <= 10000000; count *= 10) {
        struct spool *spool = open_spool(SPOOL_INTERVAL);
        double append_s = append_many(spool, count), take_s = take_all(spool, count);
        printf("spool_cost_at_%llu %.0f ns/record\n", (unsigned long long)count, (append_s + take_s) * 1e9 / (double)count);
        spool_free(spool);
        clear_directory();
    }
}

static void checksum(void) {
    static char bytes[1 << 16];
    uint32_t sum = 0;
    int64_t began_ns = clock_mono_ns();

    for (int i = 0; i < 20000; i++)
        sum = crc32c(sum, bytes, sizeof bytes);
    double by_machine = 20000.0 * sizeof bytes / seconds_since(began_ns) / 1e9;
    began_ns = clock_mono_ns();
    for (int i = 0; i < 5000; i++)
        sum = crc32c_portable(sum, bytes, sizeof bytes);
    printf("crc32c %.1f GB/s\ncrc32c_portable %.1f GB/s\n", by_machine, 5000.0 * sizeof bytes / seconds_since(began_ns) / 1e9);
    if (sum == 1)
        puts("");
}

int main(void) {
    const char *place = getenv("HELIOGRAF_BENCH_DIRECTORY");

    snprintf(directory, sizeof directory, "%s/bench-spool-XXXXXX", place != NULL ? place : ".");
    if (mkdtemp(directory) == NULL) {
        perror("bench_spool: a directory");
        return 1;
    }
    atexit(remove_directory);
    checksum();
    append_and_replay();
    recovery_of_1_gib();
    cost_per_record();
    return 0;
}
