/*
 * tests/bench/bench_spool.c: the spool on disk: durable appending, replay, recovery, and whether a record costs the same however many wait,
 * each beside what the disk takes or gives bare. In the current directory's filesystem, or that of HELIOGRAF_BENCH_DIRECTORY.
 *
 * Two states of the disk count. Where the backlog grows, every block is written for the first time: thin-provisioned and flash disks are
 * slow at that. Where outputs keep up, retired segments are written over. The bare reference is measured for both.
 *
 * HELIOGRAF_BENCH_LONG=1 goes to 10^8 records (7 GB) for the cost per record.
 */
#define _XOPEN_SOURCE 700
#include <libdeflate.h>
#include <pthread.h>
#include <stdatomic.h>

#include "agent/base/crc32c.h"
#include "agent/spool/spool.h"
#include "tests/bench/bench_disk.h"

enum { LINE = 120, TOPIC = 24, ROUNDS = 3 };

struct shape {
    size_t line, topic;
};
static const struct shape ordinary = { LINE, TOPIC }, small = { 24, 8 };

static struct spool *open_spool(enum spool_sync sync) {
    static const char *const names[] = { "influxdb" };
    struct spool_options options = {
        .max_bytes = UINT64_C(8) << 30, .outputs = 1, .sync = sync, .directory = bench_directory, .output_names = names,
        .when_full = SPOOL_BLOCK, .file_ops = bench_file_ops(0),
    };
    struct err err = ERR_INIT;
    struct spool *spool = spool_new(&options, &err);

    if (spool == NULL) {
        fprintf(stderr, "bench_spool: %s\n", err.text);
        exit(1);
    }
    return spool;
}

/* As a source does: what is turned away comes again. Returns the last sequence. */
static uint64_t append_many(struct spool *spool, uint64_t count, struct shape shape) {
    static const char topic[] = "plant/line-a/press-1/tem";
    char line[LINE + 1];
    uint64_t sequence = 0;

    memset(line, 'x', LINE);
    memcpy(line, "p,l=a v=", 8);
    for (uint64_t i = 0; i < count;) {
        line[shape.line - 1] = '\n';
        memcpy(line + shape.line - 9, &i, sizeof i); /* so that no two are alike; not text, but that is the database's business */
        for (size_t j = shape.line - 9; j < shape.line - 1; j++)
            line[j] = (char)('a' + (line[j] & 15));
        struct spool_record record = {
            .outputs = 1, .lines = 1, .topic = { topic, shape.topic }, .text = { line, shape.line },
        };
        if (spool_append(spool, &record, 1, true, &sequence) == SPOOL_APPENDED)
            i++;
        else
            nanosleep(&(struct timespec){ 0, 200000 }, NULL);
    }
    return sequence;
}

static void wait_durable(struct spool *spool, uint64_t sequence) {
    while (spool_durable(spool) < sequence)
        nanosleep(&(struct timespec){ 0, 20000 }, NULL);
}

/* Takes and settles until `count` are done, `lag` records behind what is durable at least. */
static void take_many(struct spool *spool, uint64_t count, uint64_t lag) {
    struct spool_flush flush = { 5000, 1 << 20, 1, 0 };
    struct spool_batch batch;
    uint64_t taken = 0;

    spool_batch_init(&batch);
    while (taken < count) {
        if (lag > 0 && taken + lag < count && spool_durable(spool) < taken + lag) {
            nanosleep(&(struct timespec){ 0, 200000 }, NULL);
            continue;
        }
        if (!spool_take(spool, 0, &flush, &batch))
            break;
        struct spool_settlement how = { .messages = { 0 } };
        taken += batch.record_count;
        how.messages[FATE_STORED] = batch.record_count;
        how.lines[FATE_STORED] = batch.line_count;
        spool_settle(spool, 0, &batch, &how);
    }
    spool_batch_release(&batch);
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

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values) {
    qsort(values, ROUNDS, sizeof *values, by_size);
    return values[ROUNDS / 2];
}

/* A backlog grows: nobody reads. */
static void append_new_blocks(void) {
    const uint64_t count = 3000000;
    double seconds[ROUNDS], fresh[ROUNDS], again[ROUNDS], bytes = 0, waiting = 0;
    struct spool_figures figures;

    for (int round = 0; round < ROUNDS; round++) {
        struct spool *spool = open_spool(SPOOL_COMMIT);
        int64_t began_ns = clock_mono_ns();
        wait_durable(spool, append_many(spool, count, ordinary));
        seconds[round] = bench_seconds_since(began_ns);
        waiting = (double)(bench_write_ns + bench_sync_ns) / NS_PER_S / seconds[round];
        spool_figures(spool, &figures);
        bytes = (double)figures.committed_bytes;
        if (round == 0)
            printf("spool_rss_with_backlog %ld KiB\n", rss_kib());
        spool_free(spool);
        bench_clear_directory();
        bench_bare_writes(figures.committed_bytes, 1 << 20, &fresh[round], &again[round]);
    }
    double own = median(seconds), bare = median(fresh), over = median(again);
    printf("spool_append_new_blocks %.0f records/s\n", (double)count / own);
    printf("spool_append_new_blocks_bytes %.0f MB/s\n", bytes / own / 1e6);
    printf("disk_new_blocks_write_and_fdatasync %.0f MB/s\n", bytes / bare / 1e6);
    printf("disk_old_blocks_write_and_fdatasync %.0f MB/s\n", bytes / over / 1e6);
    printf("spool_append_new_blocks_per_bare %.2f ratio\n", bare / own);
    printf("spool_append_new_blocks_in_write_and_fdatasync %.0f %%\n", 100 * waiting);
    printf("spool_bytes_per_line %.1f bytes\n", bytes / (double)count);
    printf("spool_bytes_per_line_beside_line_and_topic %.1f bytes\n", bytes / (double)count - LINE - TOPIC);
}

struct reader {
    struct spool *spool;
    uint64_t count;
};

static void *read_along(void *arg) {
    const struct reader *reader = arg;
    const uint64_t lag = 200000; /* 35 MB: what is durable is on disk, and not skipped because it was delivered before */

    take_many(reader->spool, reader->count, lag);
    return NULL;
}

/* An output keeps up, a little behind: segments are written over. */
static void append_old_blocks(void) {
    const uint64_t count = 6000000;
    double seconds[ROUNDS], cpu[ROUNDS], commits = 0;
    struct spool_figures figures;

    for (int round = 0; round < ROUNDS; round++) {
        struct spool *spool = open_spool(SPOOL_COMMIT);
        struct reader reader = { spool, count };
        pthread_t thread;
        double cpu_before = bench_cpu_seconds();
        int64_t began_ns = clock_mono_ns();
        pthread_create(&thread, NULL, read_along, &reader);
        wait_durable(spool, append_many(spool, count, ordinary));
        seconds[round] = bench_seconds_since(began_ns);
        pthread_join(thread, NULL);
        cpu[round] = bench_cpu_seconds() - cpu_before;
        spool_figures(spool, &figures);
        commits = (double)figures.commits;
        spool_free(spool);
        bench_clear_directory();
    }
    printf("spool_append_durable %.0f records/s\n", (double)count / median(seconds));
    printf("spool_append_durable_commits %.0f groups\n", commits);
    printf("spool_append_and_take_cpu %.0f ns/record\n", median(cpu) * 1e9 / (double)count);
}

static void replay(void) {
    const uint64_t count = 4000000;
    uint64_t bytes;

    for (int cold = 1; cold >= 0; cold--) {
        struct spool *spool = open_spool(SPOOL_COMMIT);
        wait_durable(spool, append_many(spool, count, ordinary));
        spool_free(spool);
        spool = open_spool(SPOOL_COMMIT);
        if (cold)
            bench_forget_cache();
        double bare_s = cold ? bench_bare_reads(&bytes) : 0;
        if (cold)
            bench_forget_cache();
        int64_t began_ns = clock_mono_ns();
        take_many(spool, count, 0);
        double seconds = bench_seconds_since(began_ns);
        printf("spool_replay_%s %.0f records/s\n", cold ? "from_disk" : "from_page_cache", (double)count / seconds);
        if (cold) {
            printf("spool_replay_from_disk_bytes %.0f MB/s\n", (double)bytes / seconds / 1e6);
            printf("disk_read %.0f MB/s\n", (double)bytes / bare_s / 1e6);
        }
        spool_free(spool);
        bench_clear_directory();
    }
}

static void recovery_of_1_gib(void) {
    struct spool *spool = open_spool(SPOOL_COMMIT);
    struct spool_recovery found;
    struct spool_figures figures = { .committed_bytes = 0 };
    uint64_t bytes;

    while (figures.committed_bytes < UINT64_C(1) << 30) {
        wait_durable(spool, append_many(spool, 500000, ordinary));
        spool_figures(spool, &figures);
    }
    spool_free(spool);
    for (int cold = 0; cold < 2; cold++) {
        if (cold)
            bench_forget_cache();
        spool = open_spool(SPOOL_COMMIT);
        spool_recovered(spool, &found);
        printf("spool_recovery_1GiB_%s %.3f s\n", cold ? "from_disk" : "from_page_cache", (double)found.duration_ns / NS_PER_S);
        spool_free(spool);
    }
    printf("spool_recovery_records %llu records\n", (unsigned long long)found.records);
    bench_forget_cache();
    printf("disk_read_of_the_same %.3f s\n", bench_bare_reads(&bytes));
    bench_clear_directory();
}

/* Appended, and then taken again, with so many waiting. The time of the processor is ours; the rest of the time is the disk's. */
static void cost_per_record(void) {
    uint64_t most = getenv("HELIOGRAF_BENCH_LONG") != NULL ? 100000000 : 10000000;

    for (uint64_t count = 10000; count <= most; count *= 10) {
        struct spool *spool = open_spool(SPOOL_INTERVAL);
        double cpu_before = bench_cpu_seconds();
        int64_t began_ns = clock_mono_ns();
        wait_durable(spool, append_many(spool, count, small));
        take_many(spool, count, 0);
        double seconds = bench_seconds_since(began_ns), cpu = bench_cpu_seconds() - cpu_before;
        printf("spool_cost_at_%llu %.0f ns/record\n", (unsigned long long)count, seconds * 1e9 / (double)count);
        printf("spool_cost_at_%llu_cpu %.0f ns/record\n", (unsigned long long)count, cpu * 1e9 / (double)count);
        printf("spool_cost_at_%llu_rss %ld KiB\n", (unsigned long long)count, rss_kib());
        fflush(stdout);
        spool_free(spool);
        bench_clear_directory();
    }
}

static void checksum(void) {
    static char bytes[1 << 16];
    uint32_t sum = 0;
    int64_t began_ns = clock_mono_ns();

    for (int i = 0; i < 20000; i++)
        sum = crc32c(sum, bytes, sizeof bytes);
    double by_machine = 20000.0 * sizeof bytes / bench_seconds_since(began_ns) / 1e9;
    began_ns = clock_mono_ns();
    for (int i = 0; i < 5000; i++)
        sum = crc32c_portable(sum, bytes, sizeof bytes);
    printf("crc32c %.1f GB/s\ncrc32c_portable %.1f GB/s\n", by_machine, 5000.0 * sizeof bytes / bench_seconds_since(began_ns) / 1e9);
    if (sum == 1)
        puts("");
}

/* What compressing a write would save, and what it would cost the commit thread: line protocol with its topics, as a frame holds it. */
static void compression(void) {
    enum { ROOM = 64 * 1024, REPEATS = 200 };
    static char plain[ROOM], packed[ROOM];
    struct libdeflate_compressor *compressor = libdeflate_alloc_compressor(1);
    size_t len = 0, packed_len = 0, lines = 0;
    uint32_t noise = 1;

    for (; len + 400 < ROOM; lines++) {
        noise = noise * 1664525 + 1013904223;
        len += (size_t)snprintf(plain + len, ROOM - len,
                                "plant/line%zu/machine%zu"
                                "machine,host=edge7,line=line%zu,topic=plant/line%zu/machine%zu "
                                "temperature=%.1f,humidity=%.2f,n=%zui 17000000%011u\n",
                                lines % 10, lines % 97, lines % 10, lines % 10, lines % 97, 20 + (noise >> 8) % 500 / 10.0,
                                40 + (noise >> 16) % 3000 / 100.0, lines, noise);
    }
    double cpu_before = bench_cpu_seconds();
    for (int i = 0; compressor != NULL && i < REPEATS; i++)
        packed_len = libdeflate_deflate_compress(compressor, plain, len, packed, sizeof packed);
    double seconds = bench_cpu_seconds() - cpu_before;
    printf("spool_line_plain %.1f bytes\n", (double)len / (double)lines);
    printf("spool_line_deflated %.1f bytes\n", (double)packed_len / (double)lines);
    printf("spool_line_deflate_cpu %.0f ns/record\n", seconds * 1e9 / REPEATS / (double)lines);
    printf("spool_deflate %.0f MB/s\n", (double)len * REPEATS / seconds / 1e6);
    libdeflate_free_compressor(compressor);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!bench_make_directory(NULL)) {
        perror("bench_spool: a directory");
        return 1;
    }
    atexit(bench_remove_directory);
    checksum();
    compression();
    append_new_blocks();
    append_old_blocks();
    replay();
    recovery_of_1_gib();
    cost_per_record();
    return 0;
}
