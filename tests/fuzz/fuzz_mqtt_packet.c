/*
 * tests/fuzz/fuzz_mqtt_packet.c: random bytes as a stream of packets, from any sender. What is taken for a packet comes back the same from
 * its own encoding, in a target of any size; a PUBLISH as a delivery, too. The first byte says who sends, the second how large the
 * target is.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/mqtt_packet/delivery.h"
#include "tests/support/mqtt_limits.h"
#include "tests/support/mqtt_same.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s\n", what != NULL ? what : "?");
        abort();
    }
}

static enum mqtt_version version_of(const struct mqtt_packet *packet, const struct mqtt_limits *limits) {
    return packet->type == MQTT_CONNECT ? packet->as.connect.version : limits->version;
}

/* Again and the same; and into a target that may be too small for it, never above that. */
static void encode_again(const struct mqtt_packet *packet, const struct mqtt_limits *limits, size_t len, uint32_t small) {
    struct mqtt_target target = { version_of(packet, limits), MQTT_PACKET_MAX, (small & 1) != 0 };
    struct buf first = BUF_INIT(1 << 22), second = BUF_INIT(1 << 22);
    struct mqtt_packet back;

    target.no_problem_information = false;
    require(mqtt_encode_buf(packet, &target, &first), "a decoded packet cannot be encoded");
    require(first.len <= len, "longer than it came"); /* only padding, and what may be left out, makes a difference */
    require(mqtt_decode(buf_str(&first), limits, &back) == MQTT_FINE, "not read back");
    require(differing_packets(packet, &back) == NULL, differing_packets(packet, &back));
    require(mqtt_encode_buf(&back, &target, &second) && str_eq(buf_str(&first), buf_str(&second)), "unstable");
    buf_reset(&second);
    target.max_packet_size = small;
    target.no_problem_information = (small & 1) != 0;
    if (mqtt_encode_buf(packet, &target, &second)) {
        require(second.len <= small, "above the maximum packet size");
        require(mqtt_decode(buf_str(&second), limits, &back) == MQTT_FINE, "the lesser form is not read back");
    }
    buf_release(&first);
    buf_release(&second);
}

static void walk(const struct mqtt_packet *packet, enum mqtt_version version) {
    struct str rest = packet->as.subscribe.filters, filter;
    struct mqtt_subscription sub;
    bool more = true;

    while (more && packet->type == MQTT_SUBSCRIBE) {
        more = mqtt_next_subscription(&rest, version, &sub);
        require(!more || (sub.qos <= 2 && mqtt_filter_rule(sub.filter, 0) == MQTT_FINE && sub.topics.len > 0), "a bad filter");
    }
    while (more && packet->type == MQTT_UNSUBSCRIBE)
        more = mqtt_next_filter(&rest, &filter);
    require(rest.len == 0, "bytes behind the filters");
}

static void deliver(const struct mqtt_publish *publish, uint32_t how) {
    struct buf forwarded = BUF_INIT(1 << 22), sent = BUF_INIT(1 << 22);
    struct mqtt_limits limits = limits_of(how & 1 ? S5 : S311);
    struct mqtt_packet packet;
    size_t len = mqtt_forwarded_properties(&publish->properties, NULL);

    require(buf_reserve(&forwarded, len + 1), "memory");
    require(mqtt_forwarded_properties(&publish->properties, forwarded.data) == len, "another length");
    struct mqtt_message message = { publish->topic, publish->payload, str_make(forwarded.data, len) };
    struct mqtt_delivery delivery = {
        .version = limits.version, .qos = how >> 1 & 1, .packet_id = 7, .topic_alias = how >> 2 & 3, .alias_is_known = how >> 4 & 1,
        .expires = how >> 5 & 1, .message_expiry_s = how, .subscription_ids = how >> 6 & 1 ? STR("\x0B\xC8\1") : STR_EMPTY,
    };
    struct mqtt_outline outline = mqtt_outline(&message, &delivery);
    require(buf_reserve(&sent, outline.size), "memory");
    mqtt_write_delivery(&message, &delivery, &outline, sent.data);
    require(mqtt_decode(str_make(sent.data, outline.size), &limits, &packet) == MQTT_FINE, "a delivery that is none");
    require(str_eq(packet.as.publish.payload, publish->payload), "another payload");
    buf_release(&forwarded);
    buf_release(&sent);
}

static void take(struct str bytes, struct mqtt_limits *limits, uint32_t small) {
    struct mqtt_packet packet;
    enum mqtt_rule rule = mqtt_decode(bytes, limits, &packet);

    require((rule == MQTT_FINE) == (mqtt_rule_words(rule)[0] == '\0'), "a rule without words");
    if (rule != MQTT_FINE)
        return;
    encode_again(&packet, limits, bytes.len, small);
    if (packet.type == MQTT_SUBSCRIBE || packet.type == MQTT_UNSUBSCRIBE)
        walk(&packet, limits->version);
    if (packet.type == MQTT_PUBLISH && packet.as.publish.topic.len > 0)
        deliver(&packet.as.publish, small);
    if (packet.type == MQTT_CONNECT) {
        limits->version = packet.as.connect.version;
        limits->accepts = MQTT_FROM_CLIENT;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct mqtt_limits limits;
    struct str rest;

    if (size < 2 || size > 1 << 18)
        return 0;
    limits = limits_of((enum sender)(data[0] % 7));
    limits.check_payload = (data[0] & 0x80) != 0;
    limits.max_packet_size = 1 << 17;
    rest = str_make((const char *)data + 2, size - 2);
    while (rest.len > 0) {
        struct mqtt_frame frame = mqtt_frame(rest, &limits);
        require(frame.state == MQTT_FRAME_BROKEN || frame.size <= limits.max_packet_size, "asks for more than its maximum");
        require(frame.state != MQTT_FRAME_MORE || frame.size > rest.len, "asks for what is there");
        if (frame.state != MQTT_FRAME_WHOLE)
            break;
        char *alone = malloc(frame.size);
        memcpy(alone, rest.data, frame.size);
        take(str_make(alone, frame.size), &limits, data[1]);
        free(alone);
        rest = str_make(rest.data + frame.size, rest.len - frame.size);
    }
    return 0;
}
