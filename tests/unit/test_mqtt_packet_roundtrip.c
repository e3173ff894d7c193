/*
 * tests/unit/test_mqtt_packet_roundtrip.c: random packets of every type, version and direction. What is encoded is decoded to the same;
 * every part of a packet is "more"; every packet cut short and told so is refused; and no bytes at all do harm.
 *
 * The seed is printed with a failure; MQTT_SEED sets it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/base/topic_filter.h"
#include "agent/mqtt_packet/delivery.h"
#include "tests/support/mqtt_bytes.h"
#include "tests/support/mqtt_limits.h"
#include "tests/support/mqtt_same.h"

static uint64_t seed, random_state;

static uint32_t random_u32(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 21);
}

static uint32_t below(uint32_t limit) {
    return random_u32() % limit;
}

static bool coin(void) {
    return below(2) == 1;
}

/* Where the strings of a packet live while it is tried. */
static struct {
    char bytes[1 << 16];
    size_t used;
} pool;

static struct str keep(size_t len) {
    struct str kept = { pool.bytes + pool.used, len };

    assert_true(pool.used + len <= sizeof pool.bytes);
    pool.used += len;
    return kept;
}

static size_t some_length(void) {
    static const uint32_t limits[] = { 2, 5, 20, 130, 300 };

    return below(limits[below(5)]);
}

static struct str some_bytes(void) {
    struct str bytes = keep(some_length());

    for (size_t i = 0; i < bytes.len; i++)
        ((char *)(uintptr_t)bytes.data)[i] = (char)random_u32();
    return bytes;
}

/* Words of topics, wide characters among them. */
static struct str some_text_of(const char *const *words, uint32_t count, size_t least) {
    struct str text = keep(some_length() + least);
    size_t len = 0;

    while (len < text.len) {
        const char *word = words[below(count)];
        if (len + strlen(word) > text.len)
            word = "x";
        memcpy((char *)(uintptr_t)text.data + len, word, strlen(word));
        len += strlen(word);
    }
    return text;
}

static struct str some_text(void) {
    static const char *const words[] = { "plant", "/", " ", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\xAA\x9B\x94", "+", "#", "0", "\xEF\xBB\xBF" };

    return some_text_of(words, 10, 0);
}

static struct str some_topic(void) {
    static const char *const words[] = { "plant", "/", "/", "\xC3\xA4", "$SYS", "line 4" };

    return some_text_of(words, 6, 1);
}

static struct str some_filter(void) {
    static const char *const filters[] = { "#", "+", "a/+/b", "+/+/#", "/", "$SYS/#", "$share/g/#", "$share/group/a/+", "a//b/" };
    struct str filter = coin() ? some_topic() : str_of(filters[below(9)]);

    return topic_filter_group(filter).data != NULL && filter.len < 10 ? STR("#") : filter;
}

enum packets_of {
#define X(id, field, kind, values, packets) packets_##field = packets,
    MQTT_PROPERTIES(X)
#undef X
};

static void some_properties(enum mqtt_type carrier, struct mqtt_properties *to, bool from_server) {
    struct str repeated = { pool.bytes + pool.used, 0 };

    *to = (struct mqtt_properties)MQTT_PROPERTIES_NONE;
#define IN(field) ((packets_##field >> carrier & 1) != 0 && below(3) == 0)
#define SET(field, value)                                                                                              \
    if (IN(field))                                                                                                     \
    mqtt_set(to, field, value)
    SET(payload_format, coin());
    SET(message_expiry_s, random_u32());
    SET(content_type, some_text());
    SET(response_topic, some_topic());
    SET(correlation_data, some_bytes());
    if (carrier != MQTT_DISCONNECT || !from_server)
        SET(session_expiry_s, random_u32());
    SET(assigned_client_id, some_text());
    SET(server_keep_alive_s, (uint16_t)random_u32());
    if (IN(authentication_method) || carrier == MQTT_AUTH)
        mqtt_set(to, authentication_method, some_text());
    if (mqtt_has(to, authentication_method))
        SET(authentication_data, some_bytes());
    SET(request_problem_information, coin());
    SET(will_delay_s, random_u32());
    SET(request_response_information, coin());
    SET(response_information, some_text());
    SET(server_reference, some_text());
    SET(reason_string, some_text());
    SET(receive_maximum, (uint16_t)(1 + below(65535)));
    SET(topic_alias_maximum, (uint16_t)random_u32());
    SET(topic_alias, (uint16_t)(1 + below(10)));
    SET(maximum_qos, coin());
    SET(retain_available, coin());
    SET(maximum_packet_size, 1 + below(1u << 31));
    SET(wildcard_available, coin());
    SET(subscription_id_available, coin());
    SET(shared_available, coin());
#undef SET
    repeated.data = pool.bytes + pool.used;
    uint32_t most = carrier == MQTT_SUBSCRIBE ? 1 : carrier == MQTT_PUBLISH && from_server ? 4 : 0;
    for (uint32_t i = below(most + 1); i > 0; i--) {
        static const uint32_t sizes[] = { 127, 16383, 2097151, 268435455 };
        repeated.len += keep(mqtt_subscription_id(pool.bytes + pool.used, 1 + below(sizes[below(4)]))).len;
        to->present |= mqtt_bit(subscription_id);
    }
    for (uint32_t i = IN(user_property) ? below(4) : 0; i > 0; i--) {
        char *name_bytes = pool.bytes + sizeof pool.bytes / 2;
        size_t used = pool.used;
        pool.used = sizeof pool.bytes / 2; /* aside, since the property itself is what is kept */
        struct str name = some_text(), value = some_text();
        pool.used = used;
        assert_true(name.data == name_bytes);
        repeated.len += keep(mqtt_user_property(pool.bytes + pool.used, name, value)).len;
        to->present |= mqtt_bit(user_property);
    }
    to->encoded = repeated;
}

static uint8_t some_reason(enum mqtt_type type, enum mqtt_version version) {
    uint8_t reason;

    if (version != MQTT_5 && type == MQTT_SUBACK)
        return below(4) == 3 ? MQTT_UNSPECIFIED_ERROR : (uint8_t)below(3);
    if (version != MQTT_5 && type == MQTT_CONNACK)
        return mqtt_connack_reason((uint8_t)below(6));
    if (version != MQTT_5)
        return MQTT_SUCCESS;
    do
        reason = (uint8_t)below(256);
    while (!mqtt_reason_fits(reason, type));
    return reason;
}

static void some_connect(struct mqtt_connect *to, enum mqtt_version version) {
    *to = (struct mqtt_connect){ .version = version, .bridge = version != MQTT_5 && below(4) == 0, .clean_start = coin(),
                                 .has_will = coin(), .has_user_name = coin(), .keep_alive_s = (uint16_t)random_u32() };
    some_properties(MQTT_CONNECT, &to->properties, false);
    to->client_id = some_text();
    if (to->client_id.len == 0 && (version == MQTT_3_1 || !to->clean_start))
        to->client_id = STR("named");
    if (to->has_will) {
        to->will = (struct mqtt_will){ some_topic(), some_bytes(), (uint8_t)below(3), coin(), MQTT_PROPERTIES_NONE };
        some_properties(MQTT_WILL, &to->will.properties, false);
    }
    if (to->has_user_name)
        to->user_name = some_text();
    to->has_password = coin() && (to->has_user_name || version == MQTT_5);
    if (to->has_password)
        to->password = some_bytes();
}

static void some_publish(struct mqtt_publish *to, enum mqtt_version version, bool from_server) {
    *to = (struct mqtt_publish){ .qos = (uint8_t)below(3), .retain = coin() };
    to->dup = to->qos > 0 && coin();
    to->packet_id = to->qos > 0 ? (uint16_t)(1 + below(65535)) : 0;
    some_properties(MQTT_PUBLISH, &to->properties, from_server);
    to->topic = version == MQTT_5 && mqtt_has(&to->properties, topic_alias) && coin() ? STR_EMPTY : some_topic();
    to->payload = some_bytes();
}

static void some_subscribe(struct mqtt_subscribe *to, enum mqtt_type type, enum mqtt_version version) {
    struct str filters;

    to->packet_id = (uint16_t)(1 + below(65535));
    some_properties(type, &to->properties, false);
    filters = str_make(pool.bytes + pool.used, 0);
    for (uint32_t i = 1 + below(4); i > 0; i--) {
        struct mqtt_subscription sub = { .qos = (uint8_t)below(3), .retain_as_published = coin(), .retain_handling = (uint8_t)below(3) };
        char aside[512];
        size_t used = pool.used;
        pool.used = sizeof pool.bytes / 2;
        sub.filter = some_filter();
        pool.used = used;
        sub.no_local = topic_filter_group(sub.filter).data == NULL && coin();
        size_t len = type == MQTT_SUBSCRIBE ? mqtt_put_subscription(&sub, version, aside) : mqtt_put_filter(sub.filter, aside);
        memcpy((char *)(uintptr_t)keep(len).data, aside, len);
        filters.len += len;
    }
    to->filters = filters;
}

static void some_suback(struct mqtt_suback *to, enum mqtt_type type, enum mqtt_version version) {
    to->packet_id = (uint16_t)(1 + below(65535));
    some_properties(type, &to->properties, true);
    to->reasons = type == MQTT_UNSUBACK && version != MQTT_5 ? STR_EMPTY : keep(1 + below(5));
    for (size_t i = 0; i < to->reasons.len; i++)
        ((char *)(uintptr_t)to->reasons.data)[i] = (char)some_reason(type, version);
}

static void forget_properties(struct mqtt_packet *packet) {
    const struct mqtt_properties none = MQTT_PROPERTIES_NONE;

    switch (packet->type) {
    case MQTT_CONNECT:
        packet->as.connect.properties = packet->as.connect.will.properties = none;
        break;
    case MQTT_CONNACK:
        packet->as.connack.properties = none;
        break;
    case MQTT_PUBLISH:
        packet->as.publish.properties = none;
        break;
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        packet->as.subscribe.properties = none;
        break;
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        packet->as.suback.properties = none;
        break;
    case MQTT_PINGREQ:
    case MQTT_PINGRESP:
        break;
    case MQTT_DISCONNECT:
    case MQTT_AUTH:
        packet->as.notice.properties = none;
        break;
    default:
        packet->as.ack.properties = none;
    }
}

/* A packet that the sender may send; its limits are set so that it may come now. */
static struct mqtt_packet some_packet(struct mqtt_limits *limits) {
    enum sender sender = (enum sender)(C31 + below(6));
    struct mqtt_packet packet;
    enum mqtt_version version;

    pool.used = 0;
    memset(&packet, 0x5A, sizeof packet);
    *limits = limits_of(sender);
    limits->topic_levels = 0;
    version = limits->version;
    do
        packet.type = (enum mqtt_type)(1 + below(15));
    while ((limits->accepts >> packet.type & 1) == 0 && (limits->from_server || packet.type != MQTT_CONNECT));
    if (packet.type == MQTT_AUTH && version != MQTT_5)
        packet.type = MQTT_DISCONNECT;
    switch (packet.type) {
    case MQTT_CONNECT:
        some_connect(&packet.as.connect, version);
        *limits = limits_of(NEW);
        break;
    case MQTT_CONNACK:
        packet.as.connack = (struct mqtt_connack){ false, some_reason(MQTT_CONNACK, version), MQTT_PROPERTIES_NONE };
        packet.as.connack.session_present = packet.as.connack.reason == 0 && version != MQTT_3_1 && coin();
        some_properties(MQTT_CONNACK, &packet.as.connack.properties, true);
        break;
    case MQTT_PUBLISH:
        some_publish(&packet.as.publish, version, limits->from_server);
        break;
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        some_subscribe(&packet.as.subscribe, packet.type, version);
        break;
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        some_suback(&packet.as.suback, packet.type, version);
        break;
    case MQTT_PINGREQ:
    case MQTT_PINGRESP:
        break;
    case MQTT_DISCONNECT:
    case MQTT_AUTH:
        packet.as.notice.reason = some_reason(packet.type, version);
        some_properties(packet.type, &packet.as.notice.properties, limits->from_server);
        break;
    default:
        packet.as.ack.packet_id = (uint16_t)(1 + below(65535));
        packet.as.ack.reason = some_reason(packet.type, version);
        some_properties(packet.type, &packet.as.ack.properties, limits->from_server);
    }
    if (version != MQTT_5)
        forget_properties(&packet);
    return packet;
}

static enum mqtt_version version_of(const struct mqtt_packet *packet, const struct mqtt_limits *limits) {
    return packet->type == MQTT_CONNECT ? packet->as.connect.version : limits->version;
}

/* Encoded into memory that ends where the packet does. */
static struct str encoded(const struct mqtt_packet *packet, enum mqtt_version version) {
    struct mqtt_target target = { version, MQTT_PACKET_MAX, false };
    size_t size = mqtt_encode(packet, &target, NULL, 0);
    char *bytes = malloc(size);

    if (size == 0)
        fail_msg("seed %llu: a %s cannot be encoded in %s", (unsigned long long)seed, mqtt_type_name(packet->type), mqtt_version_name(version));
    assert_int_equal(mqtt_encode(packet, &target, bytes, size), size);
    return str_make(bytes, size);
}

static void require(bool holds, const char *what, struct str bytes) {
    if (!holds)
        fail_msg("seed %llu: %s: %s", (unsigned long long)seed, what, bytes_hex(bytes));
}

static void what_is_written_is_read(void **state) {
    (void)state;
    for (int i = 0; i < 100000; i++) {
        struct mqtt_limits limits;
        struct mqtt_packet packet = some_packet(&limits), back, again;
        enum mqtt_version version = version_of(&packet, &limits);
        struct str bytes = encoded(&packet, version), twice;
        enum mqtt_rule rule = mqtt_decode(bytes, &limits, &back);
        require(rule == MQTT_FINE, mqtt_rule_words(rule), bytes);
        const char *differs = differing_packets(&packet, &back);
        require(differs == NULL, differs, bytes);
        twice = encoded(&back, version); /* a decoded packet is one that can be encoded */
        require(mqtt_decode(twice, &limits, &again) == MQTT_FINE, "not read again", twice);
        require(str_eq(bytes, twice), "encoded otherwise the second time", twice);
        require(differing_packets(&back, &again) == NULL, "read otherwise the second time", twice);
        bytes_drop(bytes);
        bytes_drop(twice);
    }
}

/*
 * [MQTT-4.2-1], [MQTT-6.0.0-2]; 3.1.1: [MQTT-6.0.0-2], [MQTT-7.1.1-1]: a stream, or frames that end anywhere. Wherever it is cut, the
 * packet is not there yet, and no more is asked for than it has.
 */
static void every_part_of_a_packet_is_more(void **state) {
    (void)state;
    for (int i = 0; i < 3000; i++) {
        struct mqtt_limits limits;
        struct mqtt_packet packet = some_packet(&limits), out;
        struct str bytes = encoded(&packet, version_of(&packet, &limits));
        size_t step = bytes.len > 400 ? 7 : 1;
        for (size_t len = 0; len < bytes.len; len += step) {
            struct str part = bytes_alone(str_make(bytes.data, len));
            struct mqtt_frame frame = mqtt_frame(part, &limits);
            require(frame.state == MQTT_FRAME_MORE && frame.size > len && frame.size <= bytes.len, "not more", part);
            require(mqtt_decode(part, &limits, &out) == MQTT_RULE_NOT_WHOLE, "decoded", part);
            bytes_drop(part);
        }
        struct mqtt_frame frame = mqtt_frame(bytes, &limits);
        require(frame.state == MQTT_FRAME_WHOLE && frame.size == bytes.len && frame.type == packet.type, "not whole", bytes);
        bytes_drop(bytes);
    }
}

/* Where the body of a packet may end early and still be one: those with a payload that is only bytes, or with optional fields. */
static bool may_end_at(const struct mqtt_packet *packet, enum mqtt_version version, size_t body, size_t len) {
    switch (packet->type) {
    case MQTT_PUBLISH:
        return len >= body - packet->as.publish.payload.len;
    case MQTT_CONNECT: /* 3.1 takes flags without fields */
        return version == MQTT_3_1;
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        return len > 2; /* between two filters or codes; those are looked at below */
    case MQTT_DISCONNECT:
    case MQTT_AUTH:
        return version == MQTT_5 && len <= 1;
    case MQTT_PINGREQ:
    case MQTT_PINGRESP:
    case MQTT_CONNACK:
        return false;
    default:
        return version == MQTT_5 && (len == 2 || len == 3);
    }
}

/* Cut anywhere, with a Remaining Length that says so: broken, unless what is left is a packet in its own right, and then the same again. */
static void every_packet_cut_short_is_refused(void **state) {
    unsigned refused = 0, still_fine = 0;

    (void)state;
    for (int i = 0; i < 3000; i++) {
        struct mqtt_limits limits;
        struct mqtt_packet packet = some_packet(&limits), out;
        enum mqtt_version version = version_of(&packet, &limits);
        struct str bytes = encoded(&packet, version);
        size_t header = mqtt_frame(bytes, &limits).header, body = bytes.len - header;
        for (size_t len = 0; len < body; len += body > 400 ? 11 : 1) {
            struct buf cut = BUF_INIT(1 << 20);
            buf_append(&cut, bytes.data, 1);
            bytes_append_varint(&cut, len);
            buf_append(&cut, bytes.data + header, len);
            struct str alone = bytes_alone(buf_str(&cut));
            enum mqtt_rule rule = mqtt_decode(alone, &limits, &out);
            require(rule != MQTT_FINE || may_end_at(&packet, version, body, len), "a cut packet is taken for one", alone);
            if (rule == MQTT_FINE) {
                struct str back = encoded(&out, version);
                struct mqtt_packet again;
                require(mqtt_decode(back, &limits, &again) == MQTT_FINE && differing_packets(&out, &again) == NULL, "differs", alone);
                bytes_drop(back);
            }
            refused += rule != MQTT_FINE;
            still_fine += rule == MQTT_FINE;
            bytes_drop(alone);
            buf_release(&cut);
        }
        bytes_drop(bytes);
    }
    print_message("%u refused, %u fine\n", refused, still_fine);
    assert_true(refused > 50000 && still_fine > 500); /* both ways were taken */
}

/* Every byte of a packet, changed: whatever is still taken for a packet comes back the same from its own encoding. */
static void changed_bytes_do_no_harm(void **state) {
    unsigned refused = 0, fine = 0;

    (void)state;
    for (int i = 0; i < 60000; i++) {
        struct mqtt_limits limits;
        struct mqtt_packet packet = some_packet(&limits), out, again;
        struct str bytes = encoded(&packet, version_of(&packet, &limits));
        for (uint32_t n = 1 + below(3); n > 0; n--)
            ((char *)(uintptr_t)bytes.data)[below((uint32_t)bytes.len)] = coin() ? (char)random_u32() : (char)(1 << below(8));
        enum mqtt_rule rule = mqtt_decode(bytes, &limits, &out);
        if (rule == MQTT_FINE) {
            struct str back = encoded(&out, version_of(&out, &limits));
            require(mqtt_decode(back, &limits, &again) == MQTT_FINE, "is not read back", bytes);
            require(differing_packets(&out, &again) == NULL, "differs", bytes);
            bytes_drop(back);
        }
        refused += rule != MQTT_FINE;
        fine += rule == MQTT_FINE;
        bytes_drop(bytes);
    }
    print_message("%u refused, %u fine\n", refused, fine);
    assert_true(refused > 10000 && fine > 1000);
}

/* What a broker does with a PUBLISH: keeps it, and sends it on to receivers that differ. Each reads what was published. */
static void deliveries_say_what_was_published(void **state) {
    (void)state;
    for (int i = 0; i < 30000; i++) {
        struct mqtt_limits limits = limits_of(S5);
        struct mqtt_packet packet = { .type = MQTT_PUBLISH }, out;
        char ids[16], *to;
        pool.used = 0;
        some_publish(&packet.as.publish, MQTT_5, false);
        if (packet.as.publish.topic.len == 0)
            packet.as.publish.topic = STR("t");
        struct str bytes = encoded(&packet, MQTT_5);
        assert_int_equal(mqtt_decode(bytes, &limits, &packet), MQTT_FINE);
        const struct mqtt_publish *in = &packet.as.publish;
        size_t len = mqtt_forwarded_properties(&in->properties, NULL);
        char *forwarded = malloc(len + 1);
        assert_int_equal(mqtt_forwarded_properties(&in->properties, forwarded), len);
        struct mqtt_message message = { in->topic, in->payload, str_make(forwarded, len) };
        struct mqtt_delivery delivery = {
            .version = coin() ? MQTT_5 : MQTT_3_1_1, .qos = (uint8_t)below(3), .retain = coin(), .packet_id = (uint16_t)(1 + below(65535)),
            .topic_alias = (uint16_t)below(3), .alias_is_known = coin(), .expires = mqtt_has(&in->properties, message_expiry_s),
            .message_expiry_s = below(1000), .subscription_ids = str_make(ids, coin() ? mqtt_subscription_id(ids, 1 + below(99999)) : 0),
        };
        delivery.dup = delivery.qos > 0 && coin();
        struct mqtt_outline outline = mqtt_outline(&message, &delivery);
        to = malloc(outline.size);
        mqtt_write_delivery(&message, &delivery, &outline, to);
        limits.version = delivery.version;
        struct str sent = { to, outline.size };
        enum mqtt_rule rule = mqtt_decode(sent, &limits, &out);
        require(rule == MQTT_FINE, mqtt_rule_words(rule), sent);
        const struct mqtt_publish *got = &out.as.publish;
        bool v5 = delivery.version == MQTT_5, bare = v5 && delivery.topic_alias > 0 && delivery.alias_is_known;
        require(str_eq(got->topic, bare ? STR_EMPTY : in->topic), "topic", sent);
        require(str_eq(got->payload, in->payload), "payload", sent);
        require(got->qos == delivery.qos && got->retain == delivery.retain && got->dup == delivery.dup, "flags", sent);
        require(got->packet_id == (delivery.qos > 0 ? delivery.packet_id : 0), "packet identifier", sent);
        if (v5) {
            struct mqtt_properties want = in->properties;
            uint32_t id = 0;
            struct str rest = got->properties.encoded;
            want.present &= ~(mqtt_bit(topic_alias) | mqtt_bit(message_expiry_s) | mqtt_bit(subscription_id));
            want.present |= delivery.topic_alias > 0 ? mqtt_bit(topic_alias) : 0;
            want.present |= delivery.expires ? mqtt_bit(message_expiry_s) : 0;
            want.present |= delivery.subscription_ids.len > 0 ? mqtt_bit(subscription_id) : 0;
            want.topic_alias = delivery.topic_alias;
            want.message_expiry_s = delivery.expires ? delivery.message_expiry_s : 0;
            require(mqtt_next_subscription_id(&rest, &id) == (delivery.subscription_ids.len > 0), "subscription identifier", sent);
            want.encoded = got->properties.encoded;
            require(differing_properties(&want, &got->properties) == NULL, "properties", sent);
            struct str a = in->properties.encoded, b = got->properties.encoded, an, av, bn, bv;
            while (mqtt_next_user_property(&a, &an, &av))
                require(mqtt_next_user_property(&b, &bn, &bv) && str_eq(an, bn) && str_eq(av, bv), "user property", sent);
            require(!mqtt_next_user_property(&b, &bn, &bv), "a user property more", sent);
        }
        free(to);
        free(forwarded);
        bytes_drop(bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(every_part_of_a_packet_is_more),
        cmocka_unit_test(every_packet_cut_short_is_refused),
        cmocka_unit_test(changed_bytes_do_no_harm),
        cmocka_unit_test(deliveries_say_what_was_published),
    };
    const char *given = getenv("MQTT_SEED");

    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)clock_real_ns() / 1000;
    random_state = seed * 2 + 1;
    fprintf(stderr, "MQTT_SEED=%llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests_name("mqtt_packet_roundtrip", tests, NULL, NULL);
}
