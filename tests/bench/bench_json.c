/*
 * tests/bench/bench_json.c: three sizes of JSON payload, parsed into points and on to finished line protocol, beside cJSON's parse
 * alone of the same bytes in the same run. 512 variants of each, so that no branch is learned by heart. One thread; the best of several
 * rounds, as the machine may be shared.
 */
#include <cjson/cJSON.h>
#include <time.h>

#include "agent/ingest/line_encoder.h"
#include "tests/support/parser_fixture.h"

extern const struct parser_type parser_json;

enum { VARIANTS = 512, ROUNDS = 7 };

struct payloads {
    char *items[VARIANTS];
    size_t lens[VARIANTS], total;
};

static uint64_t random_state = 0x9E3779B97F4A7C15ULL;

static unsigned random_below(unsigned limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 11) % limit;
}

static double decimal(unsigned limit, double step) {
    return random_below(limit) * step;
}

/* 99 bytes or so: six numbers. */
static void make_flat(struct buf *to) {
    buf_printf(to, "{\"temperature\":%.2f,\"humidity\":%.2f,\"pressure\":%.1f,\"battery_mv\":%u,\"rssi\":-%u,\"sequence\":%u}",
               decimal(4000, 0.01), decimal(9999, 0.01), 900 + decimal(1500, 0.1), 3000 + random_below(600), 40 + random_below(60),
               100000 + random_below(899999));
}

/* 412 bytes or so: nested, 17 leaves, strings and booleans, as zigbee2mqtt publishes. */
static void make_nested(struct buf *to) {
    buf_printf(to,
               "{\"battery\":%u,\"current\":%.2f,\"energy\":%.2f,\"power\":%.1f,\"voltage\":%u,\"linkquality\":%u,\"state\":\"%s\","
               "\"child_lock_state\":\"UNLOCKED\",\"occupancy_seen\":%s,\"illuminance_lux\":%u,\"device_temperature\":%u,"
               "\"update\":{\"installed_version\":%u,\"latest_version\":%u,\"state\":\"idle\"},"
               "\"color\":{\"x\":%.4f,\"y\":%.4f},\"power_on_behavior\":\"previous\",\"update_available\":%s,"
               "\"last_seen\":\"2024-05-%02uT12:%02u:%02u+02:00\"}",
               random_below(100), decimal(1600, 0.01), decimal(900000, 0.01), decimal(36800, 0.1), 220 + random_below(20),
               random_below(255), random_below(2) ? "ON" : "OFF", random_below(2) ? "true" : "false", random_below(2000),
               20 + random_below(20), 1000000 + random_below(1000000), 1000000 + random_below(1000000), decimal(9999, 0.0001),
               decimal(9999, 0.0001), random_below(2) ? "true" : "false", 1 + random_below(28), random_below(60),
               random_below(60));
}

/* 1.8 KB or so: 60 leaves with arrays, as The Things Network's uplinks. */
static void make_large(struct buf *to) {
    buf_printf(to,
               "{\"end_device_ids\":{\"device_id\":\"dev-%04u\",\"application_ids\":{\"application_id\":\"soil-sensors\"},"
               "\"dev_eui\":\"70B3D57ED005%04X\",\"join_eui\":\"0000000000000000\",\"dev_addr\":\"260B%04X\"},"
               "\"correlation_ids\":[\"as:up:01H%07uK\",\"gs:conn:01H%07uR\",\"gs:up:host:01H%07uT\",\"ns:uplink:01H%07uX\"],"
               "\"received_at\":\"2024-05-%02uT12:%02u:%02u.042532147Z\",\"uplink_message\":{\"session_key_id\":\"AYd0%07uw==\","
               "\"f_port\":%u,\"f_cnt\":%u,\"frm_payload\":\"AQID%06uBQYH\",\"decoded_payload\":{",
               random_below(9999), random_below(65535), random_below(65535), random_below(9999999), random_below(9999999),
               random_below(9999999), random_below(9999999), 1 + random_below(28), random_below(60), random_below(60),
               random_below(9999999), 1 + random_below(200), random_below(100000), random_below(999999));
    for (int i = 0; i < 13; i++)
        buf_printf(to, "%s\"channel_%d\":%.2f", i ? "," : "", i, decimal(10000, 0.01));
    buf_append_c(to, "},\"rx_metadata\":[");
    for (int i = 0; i < 3; i++)
        buf_printf(to,
                   "%s{\"gateway_ids\":{\"gateway_id\":\"gw-%04u\",\"eui\":\"B827EBFFFE%06X\"},\"time\":\"2024-05-12T12:00:%02u.03Z\","
                   "\"timestamp\":%u,\"rssi\":-%u,\"channel_rssi\":-%u,\"snr\":%.1f,\"location\":{\"latitude\":%.6f,"
                   "\"longitude\":%.6f,\"altitude\":%u},\"channel_index\":%u}",
                   i ? "," : "", random_below(9999), random_below(0xFFFFFF), random_below(60), 1000000000 + random_below(999999999),
                   40 + random_below(80), 40 + random_below(80), decimal(120, 0.1), 48 + decimal(999999, 1e-6),
                   9 + decimal(999999, 1e-6), random_below(900), random_below(8));
    buf_printf(to,
               "],\"settings\":{\"data_rate\":{\"lora\":{\"bandwidth\":125000,\"spreading_factor\":%u,\"coding_rate\":\"4/5\"}},"
               "\"frequency\":\"868%u\",\"timestamp\":%u},\"received_at\":\"2024-05-12T12:%02u:01.832147Z\",\"confirmed\":%s,"
               "\"consumed_airtime\":\"0.0%us\",\"network_ids\":{\"net_id\":\"000013\",\"tenant_id\":\"ttn\",\"cluster_id\":\"eu1\"}}}",
               7 + random_below(6), 100000 + random_below(800000), random_below(4000000000u), random_below(60),
               random_below(2) ? "true" : "false", 10000 + random_below(80000));
}

static void make(struct payloads *payloads, void (*one)(struct buf *to)) {
    struct buf text = BUF_INIT(1 << 16);

    *payloads = (struct payloads){ 0 };
    for (int i = 0; i < VARIANTS; i++) {
        buf_reset(&text);
        one(&text);
        payloads->items[i] = malloc(text.len + 1);
        memcpy(payloads->items[i], buf_cstr(&text), text.len + 1);
        payloads->lens[i] = text.len;
        payloads->total += text.len;
    }
    buf_release(&text);
}

static double seconds(void) {
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* What ingest does with a message, without topic and spool: its points become lines behind a prepared prefix. */
struct encoding {
    struct line_encoder encoder;
    struct line_counters counters;
    struct line_prefix prefix;
    struct arena arena;
    struct buf lines;
};

static struct encoding *encoding_new(void) {
    struct encoding *encoding = calloc(1, sizeof *encoding);
    const struct tag tags[] = { { STR("topic"), STR("plant/line4/press") }, { STR("site"), STR("plant-7") } };

    arena_init(&encoding->arena, 1 << 20);
    buf_init(&encoding->lines, 1 << 20);
    line_encoder_init(&encoding->encoder, false, &encoding->counters);
    line_prefix_build(&encoding->encoder, STR("mqtt_consumer"), tags, 2, &encoding->arena, &encoding->prefix, NULL);
    return encoding;
}

static void encoding_free(struct encoding *encoding) {
    arena_release(&encoding->arena);
    buf_release(&encoding->lines);
    free(encoding);
}

static void encode(struct encoding *encoding, struct points *points, int64_t time_ns) {
    buf_reset(&encoding->lines);
    for (size_t i = 0; i < points->count; i++) {
        const struct point *point = &points->items[i];
        if (line_encode(&encoding->encoder, &encoding->prefix, point_fields(points, point), point->field_count, time_ns,
                        &encoding->lines, &encoding->arena, NULL) != LINE_WRITTEN)
            fixture_fail("encode", "");
    }
}

/* Seconds per message; with `encoding` NULL only parsed. */
static double run_own(const struct payloads *payloads, const char *options, unsigned passes, struct encoding *encoding,
                      size_t *fields) {
    struct parser_fixture fixture;
    double best = 1e9;

    if (!fixture_init(&fixture, &parser_json, options))
        fixture_fail("init", fixture.err.text);
    for (int round = 0; round < ROUNDS; round++) {
        double start = seconds();
        for (unsigned pass = 0; pass < passes; pass++)
            for (int i = 0; i < VARIANTS; i++) {
                if (!fixture_parse(&fixture, str_make(payloads->items[i], payloads->lens[i]), 1))
                    fixture_fail("parse", fixture.err.text);
                if (encoding != NULL)
                    encode(encoding, &fixture.out, 1764000000000000000 + i * 977);
            }
        double took = seconds() - start;
        best = took < best ? took : best;
    }
    *fields = fixture.out.field_count;
    fixture_release(&fixture);
    return best / passes / VARIANTS;
}

static double parse_cjson(const struct payloads *payloads, unsigned passes) {
    double best = 1e9;

    for (int round = 0; round < 3; round++) {
        double start = seconds();
        for (unsigned pass = 0; pass < passes; pass++)
            for (int i = 0; i < VARIANTS; i++) {
                cJSON *tree = cJSON_ParseWithLength(payloads->items[i], payloads->lens[i]);
                if (tree == NULL)
                    fixture_fail("cJSON refuses", payloads->items[i]);
                cJSON_Delete(tree);
            }
        double took = seconds() - start;
        best = took < best ? took : best;
    }
    return best / passes / VARIANTS;
}

static void bench(const char *name, void (*one)(struct buf *to), unsigned passes) {
    static const char all_kept[] = "json_strings=all json_booleans=keep json_integers=exact";
    struct encoding *encoding = encoding_new();
    struct payloads payloads;
    size_t fields, kept;
    double parse, line, all, cjson;

    make(&payloads, one);
    parse = run_own(&payloads, "", passes, NULL, &fields);
    line = run_own(&payloads, "", passes, encoding, &fields);
    all = run_own(&payloads, all_kept, passes, encoding, &kept);
    cjson = parse_cjson(&payloads, passes / 8 + 1);
    printf("json_payload_%s %zu bytes\n", name, payloads.total / VARIANTS);
    printf("json_parse_%s %.0f messages/s\n", name, 1 / parse);
    printf("json_parse_time_%s %.1f ns\n", name, parse * 1e9);
    printf("json_to_line_%s %.0f messages/s\n", name, 1 / line);
    printf("json_to_line_fields_%s %zu fields\n", name, fields);
    printf("json_to_line_all_kept_%s %.0f messages/s\n", name, 1 / all);
    printf("json_to_line_all_kept_fields_%s %zu fields\n", name, kept);
    printf("json_cjson_parse_only_%s %.0f messages/s\n", name, 1 / cjson);
    printf("json_parse_against_cjson_%s %.1f times\n", name, cjson / parse);
    for (int i = 0; i < VARIANTS; i++)
        free(payloads.items[i]);
    encoding_free(encoding);
}

int main(void) {
    bench("99B", make_flat, 400);
    bench("412B", make_nested, 200);
    bench("1.8KB", make_large, 50);
    return 0;
}
