/* tests/bench/bench_encode.c: from points to lines, without parsing: ns per message of 6, 17 and 60 fields, as in the
 * JSON payloads of 99, 412 and 1796 bytes. The budget that the whole path leaves for it: 60, 200 and 600 ns. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/ingest/line_encoder.h"

enum { VARIANTS = 64, FIELDS_MAX = 60, KEY_MAX = 32, TEXT_MAX = 24 };

/* All texts stand side by side as they would in a payload. */
struct payload {
    char text[FIELDS_MAX * (KEY_MAX + TEXT_MAX)];
    struct field fields[FIELDS_MAX];
};

/* CPU time of this thread: other work on the machine does not count. */
static int64_t cpu_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static struct str put(char **at, const char *text) {
    struct str copy = { *at, strlen(text) };

    memcpy(*at, text, copy.len);
    *at += copy.len + 3;
    return copy;
}

static void fill(struct payload *payload, size_t fields, unsigned seed) {
    static const char *const quantities[] = { "temperature", "humidity", "pressure", "voltage", "rssi", "current_l1" };
    char *at = payload->text;

    for (size_t i = 0; i < fields; i++) {
        char key[KEY_MAX], text[TEXT_MAX];
        if (i < 6)
            snprintf(key, sizeof key, "%s", quantities[i]);
        else
            snprintf(key, sizeof key, "%s_%zu_%s", quantities[i % 6], i / 6, i % 2 ? "raw" : "mean");
        seed = seed * 1103515245 + 12345;
        snprintf(text, sizeof text, "%u.%u", seed % 1000, seed / 1000 % 100);
        payload->fields[i].key = put(&at, key);
        if (fields > 6 && i % 8 == 7)
            payload->fields[i].value = value_string(put(&at, "0x00158d0004a1b2c3"));
        else if (fields > 6 && i % 8 == 3)
            payload->fields[i].value = value_boolean(seed & 1);
        else
            payload->fields[i].value = value_number(put(&at, text));
    }
}

static void measure(const char *name, size_t fields) {
    static struct payload payloads[VARIANTS];
    const struct tag tags[] = { { STR("topic"), STR("plant/line4/press/temperature") },
                                { STR("site"), STR("plant-7") } };
    struct line_counters counters = { 0 };
    static struct line_encoder encoder;
    struct line_prefix prefix;
    struct arena arena;
    struct buf out;
    size_t rounds = 12000000 / (fields + 4);
    int64_t best = INT64_MAX;

    arena_init(&arena, 1 << 20);
    buf_init(&out, 1 << 20);
    line_encoder_init(&encoder, false, &counters);
    line_prefix_build(&encoder, STR("mqtt_consumer"), tags, 2, &arena, &prefix, NULL);
    for (unsigned i = 0; i < VARIANTS; i++)
        fill(&payloads[i], fields, i + 1);
    for (int run = 0; run < 5; run++) {
        int64_t start = cpu_ns(), took;
        for (size_t i = 0; i < rounds / 5; i++) {
            buf_reset(&out);
            line_encode(&encoder, &prefix, payloads[i % VARIANTS].fields, fields,
                        1764000000000000000 + (int64_t)i * 977, &out, &arena, NULL);
        }
        took = cpu_ns() - start;
        if (took < best)
            best = took;
    }
    printf("%s %.1f ns\n", name, (double)best / (double)(rounds / 5));
    arena_release(&arena);
    buf_release(&out);
}

static void measure_floats(void) {
    static double values[1024];
    char text[NUMBER_TEXT_MAX];
    size_t rounds = 4000000, bytes = 0;
    int64_t start;

    for (size_t i = 0; i < 1024; i++)
        values[i] = (double)(i * 7919 % 100000) / 100;
    start = cpu_ns();
    for (size_t i = 0; i < rounds; i++)
        bytes += (size_t)(number_write_float(text, values[i % 1024]) - text);
    printf("encode_float_2_decimals %.1f ns\n", (double)(cpu_ns() - start) / (double)rounds);
    if (bytes == 0)
        abort();
}

int main(void) {
    measure("encode_6_fields", 6);
    measure("encode_17_fields", 17);
    measure("encode_60_fields", 60);
    measure_floats();
    return 0;
}
