/* tests/bench/bench_ingest.c: JSON payloads of 99 B, 412 B and 1.8 KB through a whole input, topic cache and encoder
 * included, up to the spool's door: messages per second of one core. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/ingest/ingest_parts.h"

enum { TOPICS = 1000, VARIANTS = 256, PAYLOAD_MAX = 4096 };

static char payloads[VARIANTS][PAYLOAD_MAX];
static size_t payload_len[VARIANTS];
static char topics[TOPICS][64];
static size_t topic_len[TOPICS];

/* CPU time of this thread: other work on the machine does not count. */
static int64_t cpu_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Values of two decimals, some text and booleans; arrays and one more level in the larger ones. */
static void make_payload(char *out, size_t bytes, unsigned seed) {
    size_t used = (size_t)snprintf(out, PAYLOAD_MAX, "{\"temperature\":%u.%02u", seed % 100, seed % 97);

    for (unsigned i = 0; used + 12 < bytes; i++) {
        seed = seed * 1103515245 + 12345;
        if (bytes > 200 && i % 8 == 3)
            used += (size_t)snprintf(out + used, PAYLOAD_MAX - used, ",\"ok_%u\":%s", i, seed & 1 ? "true" : "false");
        else if (bytes > 200 && i % 8 == 5)
            used += (size_t)snprintf(out + used, PAYLOAD_MAX - used, ",\"id_%u\":\"0x00158d%06x\"", i, seed & 0xffffff);
        else if (bytes > 200 && i % 8 == 7)
            used += (size_t)snprintf(out + used, PAYLOAD_MAX - used, ",\"sub_%u\":{\"min\":%u,\"max\":%u.5}", i,
                                     seed % 10, seed % 1000);
        else
            used += (size_t)snprintf(out + used, PAYLOAD_MAX - used, ",\"value_%u\":%u.%u", i, seed % 1000,
                                     seed / 1000 % 100);
    }
    snprintf(out + used, PAYLOAD_MAX - used, "}");
}

static struct ingest *open_ingest(struct arena *arena, const struct ingest_context *context) {
    static const char yaml[] =
        "data_format: json\njson_string_fields: ['*']\ntopic_parsing: [{ topic: plant/+/+, tags: _/line/device }]\n";
    struct diags diags = { 0 };
    struct ingest *ingest = ingest_new(yaml_parse("bench", str_of(yaml), arena, &diags), "input mqtt_consumer", "bench",
                                       NULL, 0, context, arena, &diags);

    diags_print(&diags, stderr);
    diags_release(&diags);
    if (ingest == NULL)
        exit(1);
    return ingest;
}

static double run(struct ingest *ingest, size_t rounds) {
    int64_t start = cpu_ns();
    uint64_t sequence;

    for (size_t i = 0; i < rounds; i++) {
        size_t t = i * 7 % TOPICS, p = i % VARIANTS;
        struct message message = { .topic = { topics[t], topic_len[t] },
                                   .payload = { payloads[p], payload_len[p] },
                                   .received_ns = 1764000000000000000 + (int64_t)i * 991 };
        ingest_deliver(ingest, &message, &sequence);
    }
    return (double)(cpu_ns() - start) / (double)rounds;
}

static void measure(const char *name, size_t bytes, size_t rounds) {
    const struct ingest_context context = { .outputs = 1 };
    struct arena arena;
    struct ingest *ingest;
    double best = 1e9;

    arena_init(&arena, 8 << 20);
    ingest = open_ingest(&arena, &context);
    for (unsigned i = 0; i < VARIANTS; i++) {
        make_payload(payloads[i], bytes, i + 1);
        payload_len[i] = strlen(payloads[i]);
    }
    for (int i = 0; i < 5; i++) {
        double ns = run(ingest, rounds / 5);
        if (ns < best)
            best = ns;
    }
    printf("ingest_%s_bytes %zu bytes\ningest_%s_time %.1f ns\ningest_%s_rate %.0f messages/s\n", name,
           strlen(payloads[0]), name, best, name, 1e9 / best);
    ingest_free(ingest);
    arena_release(&arena);
}

int main(void) {
    for (int i = 0; i < TOPICS; i++)
        topic_len[i] = (size_t)snprintf(topics[i], sizeof topics[i], "plant/line%d/device%04d", i % 7, i);
    measure("99B", 99, 5000000);
    measure("412B", 412, 2000000);
    measure("1800B", 1800, 500000);
    return 0;
}
