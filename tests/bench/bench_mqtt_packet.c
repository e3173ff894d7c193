/*
 * tests/bench/bench_mqtt_packet.c: what the codec costs per packet: a PUBLISH with 200 bytes of payload read, and written for one more
 * receiver, beside a memcpy of the same bytes in the same run. 512 topics and payloads, so that no branch is learned by heart. One thread;
 * the best of several rounds, as the machine may be shared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/mqtt_packet/delivery.h"
#include "agent/mqtt_packet/packet.h"

enum { VARIANTS = 512, ROUNDS = 9, PASSES = 400, PAYLOAD = 200 };

static char payload[PAYLOAD], topics[VARIANTS][48], user_property[32], copied[4096];

struct packets {
    struct str items[VARIANTS];
    struct mqtt_limits limits;
    enum mqtt_version version;
    uint8_t qos;
};

static struct mqtt_publish publish_of(int variant, uint8_t qos, bool with_properties) {
    struct mqtt_publish publish = { .qos = qos, .topic = str_of(topics[variant]), .payload = { payload, PAYLOAD }, .packet_id = 77,
                                    .properties = MQTT_PROPERTIES_NONE };

    if (with_properties) {
        mqtt_set(&publish.properties, content_type, STR("application/json"));
        mqtt_set(&publish.properties, message_expiry_s, 3600);
        publish.properties.encoded = str_make(user_property, mqtt_user_property(user_property, STR("site"), STR("plant-7")));
    }
    return publish;
}

static void make(struct packets *packets, enum mqtt_version version, uint8_t qos, bool with_properties) {
    struct mqtt_limits limits = MQTT_LIMITS_SERVER;
    struct mqtt_target target = { version, MQTT_PACKET_MAX, false };

    *packets = (struct packets){ .limits = limits, .version = version, .qos = qos };
    packets->limits.version = version;
    packets->limits.accepts = MQTT_FROM_CLIENT;
    for (int i = 0; i < VARIANTS; i++) {
        struct mqtt_packet packet = { .type = MQTT_PUBLISH, .as.publish = publish_of(i, qos, with_properties) };
        size_t size = mqtt_encode(&packet, &target, NULL, 0);
        char *bytes = malloc(size);
        mqtt_encode(&packet, &target, bytes, size);
        packets->items[i] = str_make(bytes, size);
    }
}

static void drop(struct packets *packets) {
    for (int i = 0; i < VARIANTS; i++)
        free((char *)(uintptr_t)packets->items[i].data);
}

static double seconds(void) {
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static uint64_t sink;

static void frame_and_decode(const struct packets *packets, int i) {
    struct mqtt_frame frame = mqtt_frame(packets->items[i], &packets->limits);
    struct mqtt_packet packet;

    if (frame.state != MQTT_FRAME_WHOLE ||
        mqtt_decode(str_make(packets->items[i].data, frame.size), &packets->limits, &packet) != MQTT_FINE)
        abort();
    sink += packet.as.publish.payload.len + packet.as.publish.packet_id;
}

static void copy(const struct packets *packets, int i) {
    memcpy(copied, packets->items[i].data, packets->items[i].len);
    sink += (uint8_t)copied[i];
}

static struct mqtt_message message_of(int i) {
    return (struct mqtt_message){ str_of(topics[i]), { payload, PAYLOAD }, STR_INIT("\x03\0\x10" "application/json") };
}

static struct mqtt_delivery delivery_of(const struct packets *packets, int i) {
    return (struct mqtt_delivery){ .version = packets->version, .qos = packets->qos, .packet_id = (uint16_t)(i + 1),
                                   .expires = true, .message_expiry_s = (uint32_t)i };
}

static void write_head(const struct packets *packets, int i) {
    const struct mqtt_message message = message_of(i);
    const struct mqtt_delivery delivery = delivery_of(packets, i);
    const struct mqtt_outline outline = mqtt_outline(&message, &delivery);

    mqtt_write_head(&message, &delivery, &outline, copied);
    sink += (uint8_t)copied[outline.head - 1];
}

static void write_whole(const struct packets *packets, int i) {
    const struct mqtt_message message = message_of(i);
    const struct mqtt_delivery delivery = delivery_of(packets, i);
    const struct mqtt_outline outline = mqtt_outline(&message, &delivery);

    mqtt_write_delivery(&message, &delivery, &outline, copied);
    sink += (uint8_t)copied[outline.size - 1];
}

static void write_ack(const struct packets *packets, int i) {
    sink += mqtt_encode_ack(MQTT_PUBACK, packets->version, (uint16_t)i, MQTT_SUCCESS, (uint8_t *)copied) + (uint8_t)copied[3];
}

static double nanoseconds(const struct packets *packets, void (*one)(const struct packets *, int)) {
    double best = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        double began = seconds();
        for (int pass = 0; pass < PASSES; pass++)
            for (int i = 0; i < VARIANTS; i++)
                one(packets, i);
        double took = seconds() - began;
        best = took < best ? took : best;
    }
    return best * 1e9 / PASSES / VARIANTS;
}

static void bench(const char *name, enum mqtt_version version, uint8_t qos, bool with_properties) {
    struct packets packets;

    make(&packets, version, qos, with_properties);
    double decode = nanoseconds(&packets, frame_and_decode), memory = nanoseconds(&packets, copy);
    printf("mqtt_packet_size_%s %zu bytes\n", name, packets.items[0].len);
    printf("mqtt_packet_decode_%s %.1f ns\n", name, decode);
    printf("mqtt_packet_memcpy_%s %.1f ns\n", name, memory);
    printf("mqtt_packet_decode_against_memcpy_%s %.1f times\n", name, decode / memory);
    printf("mqtt_packet_head_%s %.1f ns\n", name, nanoseconds(&packets, write_head));
    printf("mqtt_packet_delivery_%s %.1f ns\n", name, nanoseconds(&packets, write_whole));
    if (qos == 1)
        printf("mqtt_packet_puback_%s %.1f ns\n", name, nanoseconds(&packets, write_ack));
    drop(&packets);
}

int main(void) {
    memset(payload, '7', sizeof payload);
    for (int i = 0; i < VARIANTS; i++)
        snprintf(topics[i], sizeof topics[i], "plant-7/line-%d/machine-%d/temperature", i % 17, i * 7919);
    bench("3_qos0", MQTT_3_1_1, 0, false);
    bench("3_qos1", MQTT_3_1_1, 1, false);
    bench("5_qos0", MQTT_5, 0, false);
    bench("5_qos1", MQTT_5, 1, false);
    bench("5_qos1_properties", MQTT_5, 1, true);
    return sink == 0;
}
