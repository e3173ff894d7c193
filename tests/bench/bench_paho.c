/*
 * tests/bench/bench_paho.c: how many messages a second come through Paho, with a sender that is never the limit: a
 * process that writes ready-made PUBLISH packets (20-byte topic, 100-byte payload) to a loopback socket. QoS 1 has a
 * window of 1000 and is acknowledged after a commit that takes 0.1 ms, as a disk would. `raw_reader` is a bare recv()
 * on the same sender: the limit. `qos1_on_disk` has the spool on disk behind it, each message acknowledged after the fdatasync that it is
 * in, while an output takes them out again; `..._10_ms` the same with 10 ms added to each fdatasync.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/mqtt_client/source_parts.h"
#include "agent/spool/spool.h"
#include "tests/bench/bench_disk.h"

enum { WINDOW = 1000, BATCH = 500, TOPIC_LEN = 20, PAYLOAD_LEN = 100, QOS0_LEN = 2 + 2 + TOPIC_LEN + 1 + PAYLOAD_LEN };

static int64_t now_ns(void) {
    return clock_mono_ns();
}

/* ---- the sender: a process of its own -----------------------------------------------------------------------------
 */

static void put(int fd, const void *data, size_t len) {
    const char *at = data;

    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0)
            _exit(0);
        at += sent;
        len -= (size_t)sent;
    }
}

static size_t make_publish(unsigned char *out, int qos, uint16_t id) {
    unsigned char *at = out;

    *at++ = (unsigned char)(0x30 | qos << 1);
    *at++ = (unsigned char)(QOS0_LEN - 2 + (qos > 0 ? 2 : 0));
    *at++ = 0;
    *at++ = TOPIC_LEN;
    memcpy(at, "plant/line-04/sensor", TOPIC_LEN);
    at += TOPIC_LEN;
    if (qos > 0) {
        *at++ = (unsigned char)(id >> 8);
        *at++ = (unsigned char)id;
    }
    *at++ = 0; /* no properties */
    memset(at, 'x', PAYLOAD_LEN);
    return (size_t)(at - out) + PAYLOAD_LEN;
}

/* Answers CONNECT and SUBSCRIBE; both are small and come whole. */
static void shake_hands(int fd) {
    static const unsigned char connack[] = { 0x20, 3, 0, 0, 0 };
    unsigned char in[4096], suback[] = { 0x90, 4, 0, 0, 0, 1 };

    if (recv(fd, in, sizeof in, 0) <= 0)
        _exit(1);
    put(fd, connack, sizeof connack);
    if (recv(fd, in, sizeof in, 0) <= 0)
        _exit(1);
    suback[2] = in[2];
    suback[3] = in[3];
    put(fd, suback, sizeof suback);
}

static void send_qos0(int fd, size_t total) {
    static unsigned char batch[BATCH * QOS0_LEN];

    for (size_t i = 0; i < BATCH; i++)
        make_publish(batch + i * QOS0_LEN, 0, 0);
    for (size_t sent = 0; sent < total; sent += BATCH)
        put(fd, batch, sizeof batch);
}

/* Identifiers 1 to 60000 in turn, never more than WINDOW unacknowledged. */
static void send_qos1(int fd, size_t total) {
    enum { LEN = QOS0_LEN + 2, IDS = 60000 };
    unsigned char *packets = malloc((size_t)IDS * LEN), acks[65536];
    size_t sent = 0, acked_bytes = 0;

    for (size_t i = 0; i < IDS; i++)
        make_publish(packets + i * LEN, 1, (uint16_t)(i + 1));
    while (acked_bytes / 4 < total) {
        size_t room = WINDOW - (sent - acked_bytes / 4), run = IDS - sent % IDS;
        if (room > total - sent)
            room = total - sent;
        if (room > run)
            room = run;
        put(fd, packets + sent % IDS * LEN, room * LEN);
        sent += room;
        ssize_t got = recv(fd, acks, sizeof acks, 0);
        if (got <= 0)
            _exit(0);
        acked_bytes += (size_t)got;
    }
    free(packets);
}

enum job { JOB_RAW, JOB_QOS0, JOB_QOS1 };

static pid_t start_sender(enum job job, size_t total, uint16_t *port) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    pid_t child;

    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1) != 0)
        exit(1);
    getsockname(listener, (struct sockaddr *)&address, &len);
    *port = ntohs(address.sin_port);
    child = fork();
    if (child != 0) {
        close(listener);
        return child;
    }
    int fd = accept(listener, NULL, NULL);
    char byte;
    if (job != JOB_RAW)
        shake_hands(fd);
    if (job == JOB_QOS1)
        send_qos1(fd, total);
    else
        send_qos0(fd, total);
    while (recv(fd, &byte, 1, 0) > 0) /* until the reader has had enough */
        continue;
    _exit(0);
}

/* ---- the receiver -------------------------------------------------------------------------------------------------
 */

struct bench {
    struct mqtt_source *source;
    struct spool *spool; /* NULL: none, and commit() stands for it */
    _Atomic uint64_t count;
    uint64_t total;
    int64_t first_ns;
    _Atomic int64_t last_ns;
    _Atomic bool done;
};

static enum message_fate sink(void *ctx, const struct message *message, uint64_t *sequence) {
    struct bench *bench = ctx;
    uint64_t count = atomic_load_explicit(&bench->count, memory_order_relaxed) + 1;

    (void)message;
    if (count == 1)
        bench->first_ns = now_ns();
    atomic_store_explicit(&bench->count, count, memory_order_release);
    *sequence = count;
    if (count == bench->total)
        atomic_store(&bench->last_ns, now_ns());
    return MESSAGE_TAKEN;
}

/* Stands for the spool's commit thread. */
static void *commit(void *ctx) {
    struct bench *bench = ctx;
    const struct timespec disk = { .tv_nsec = 100000 };
    uint64_t durable = 0;

    while (!atomic_load(&bench->done)) {
        uint64_t count = atomic_load_explicit(&bench->count, memory_order_acquire);
        nanosleep(&disk, NULL);
        if (count > durable)
            mqtt_source_durable(bench->source, durable = count);
    }
    return NULL;
}

/* As a line, as far as the spool is concerned. */
static enum message_fate spool_sink(void *ctx, const struct message *message, uint64_t *sequence) {
    struct bench *bench = ctx;
    char line[PAYLOAD_LEN + 1];
    struct spool_record record = { .outputs = 1, .lines = 1, .topic = message->topic, .text = { line, sizeof line },
                                   .origin = message->origin };

    memcpy(line, message->payload.data, PAYLOAD_LEN);
    line[PAYLOAD_LEN] = '\n';
    if (atomic_load_explicit(&bench->count, memory_order_relaxed) == 0)
        bench->first_ns = now_ns();
    if (spool_append(bench->spool, &record, 1, true, sequence) != SPOOL_APPENDED)
        return MESSAGE_REFUSED;
    atomic_fetch_add_explicit(&bench->count, 1, memory_order_release);
    return MESSAGE_TAKEN;
}

static void on_durable(void *ctx, uint64_t sequence) {
    struct bench *bench = ctx;

    mqtt_source_durable(bench->source, sequence);
    if (sequence >= bench->total && atomic_load(&bench->last_ns) == 0)
        atomic_store(&bench->last_ns, now_ns());
}

/* An output without a server. */
static void *take_out(void *ctx) {
    struct bench *bench = ctx;
    struct spool_flush flush = { 5000, 1 << 20, 5000, 100 * NS_PER_MS };
    struct spool_batch batch;

    spool_batch_init(&batch);
    while (spool_take(bench->spool, 0, &flush, &batch)) {
        struct spool_settlement how = { .messages = { [FATE_STORED] = batch.record_count }, .lines = { [FATE_STORED] = batch.line_count } };
        spool_settle(bench->spool, 0, &batch, &how);
    }
    spool_batch_release(&batch);
    return NULL;
}

static void print(const char *name, size_t total, int64_t elapsed_ns, double cpu) {
    printf("%s %.0f messages/s\n", name, (double)total * 1e9 / (double)elapsed_ns);
    printf("%s_cpu %.3f us/message\n", name, cpu * 1e6 / (double)total);
    fflush(stdout);
}

/* `spool` may be NULL: then each message counts as durable a little after it was taken. */
static void through_paho(const char *name, enum job job, size_t total, struct spool *spool) {
    static char filter[] = "plant/#";
    char server[64], *servers[] = { server }, *topics[] = { filter };
    struct bench bench = { .spool = spool, .total = total };
    struct mqtt_options options = {
        .servers = { .items = servers, .count = 1 },
        .topics = { .items = topics, .count = 1 },
        .qos = job == JOB_QOS1,
        .keepalive_ns = 60 * NS_PER_S,
        .connection_timeout_ns = 5 * NS_PER_S,
        .max_reconnect_interval_ns = NS_PER_S,
        .session_expiry_ns = NS_PER_S,
        .max_undelivered_messages = WINDOW,
        .max_message_bytes = 1 << 20,
    };
    struct diags diags = { 0 };
    struct err err = ERR_INIT;
    pthread_t other_end;
    uint16_t port;
    pid_t sender = start_sender(job, total, &port);

    snprintf(server, sizeof server, "tcp://127.0.0.1:%u", port);
    bench.source = mqtt_source_new(&options, NULL, "bench", &diags);
    double before = bench_cpu_seconds();
    if (spool != NULL)
        spool_on_durable(spool, on_durable, &bench);
    pthread_create(&other_end, NULL, spool != NULL ? take_out : commit, &bench);
    if (bench.source == NULL ||
        !mqtt_source_start(bench.source, (struct message_sink){ &bench, spool != NULL ? spool_sink : sink }, true, &err))
        exit(1);
    for (int64_t until = now_ns() + 120 * NS_PER_S; atomic_load(&bench.last_ns) == 0 && now_ns() < until;)
        poll(NULL, 0, 20);
    double cpu = bench_cpu_seconds() - before;
    atomic_store(&bench.done, true);
    if (spool != NULL)
        spool_close(spool);
    pthread_join(other_end, NULL);
    if (atomic_load(&bench.last_ns) == 0)
        printf("%s 0 messages/s\n", name);
    else
        print(name, total, bench.last_ns - bench.first_ns, cpu);
    if (spool != NULL)
        spool_free(spool); /* before the source, which it calls */
    mqtt_source_free(bench.source);
    waitpid(sender, NULL, 0);
    diags_release(&diags);
}

static void through_spool(const char *name, size_t total, int64_t sync_delay_ns) {
    static const char *const names[] = { "influxdb" };
    struct spool_options options = {
        .max_bytes = UINT64_C(4) << 30, .outputs = 1, .sync = SPOOL_COMMIT, .directory = bench_directory, .output_names = names,
        .when_full = SPOOL_BLOCK, .file_ops = bench_file_ops(sync_delay_ns),
    };
    struct err err = ERR_INIT;
    struct spool *spool = spool_new(&options, &err);

    if (spool == NULL) {
        fprintf(stderr, "bench_paho: %s\n", err.text);
        exit(1);
    }
    through_paho(name, JOB_QOS1, total, spool);
    printf("%s_messages_per_fdatasync %.0f messages\n", name, (double)total / (double)bench_syncs);
    bench_clear_directory();
}

static void through_recv(size_t total) {
    static char data[65536];
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    uint16_t port;
    pid_t sender = start_sender(JOB_RAW, total, &port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    double before = bench_cpu_seconds();
    int64_t first = 0;
    size_t bytes = 0;

    address.sin_port = htons(port);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        exit(1);
    while (bytes < total * QOS0_LEN) {
        ssize_t got = recv(fd, data, sizeof data, 0);
        if (got <= 0)
            break;
        if (first == 0)
            first = now_ns();
        bytes += (size_t)got;
    }
    print("raw_reader", total, now_ns() - first, bench_cpu_seconds() - before);
    close(fd);
    waitpid(sender, NULL, 0);
}

int main(int argc, char **argv) {
    size_t total = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 2000000;
    struct err err = ERR_INIT;

    total -= total % BATCH;
    log_set(LOG_ERROR, LOG_TEXT);
    if (total == 0 || !mqtt_client_setup(&err))
        return 1;
    through_recv(total);
    through_paho("paho_qos0", JOB_QOS0, total, NULL);
    through_paho("paho_qos1_held", JOB_QOS1, total, NULL);
    if (!bench_make_directory(NULL))
        return 1;
    atexit(bench_remove_directory);
    through_spool("qos1_on_disk", total, 0);
    through_spool("qos1_on_disk_10_ms", total / 8, 10 * NS_PER_MS);
    return 0;
}
