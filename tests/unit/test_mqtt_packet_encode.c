/* tests/unit/test_mqtt_packet_encode.c: what goes out, byte for byte and version by version, and what is left out to fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/mqtt_packet/delivery.h"
#include "tests/support/mqtt_bytes.h"
#include "tests/support/mqtt_limits.h"
#include "tests/support/parser_rows.h"

static const struct mqtt_properties none = MQTT_PROPERTIES_NONE;

static struct mqtt_target target_of(enum mqtt_version version) {
    return (struct mqtt_target){ .version = version, .max_packet_size = MQTT_PACKET_MAX };
}

static void expect_bytes(struct str got, const char *text) {
    struct str want = bytes_of(text);

    if (!str_eq(got, want))
        fail_msg("%s, not %s", bytes_hex(got), bytes_hex(want));
    bytes_drop(want);
}

/* Through the buffer, and through a span of exactly the size that was asked for. `text` NULL: cannot be sent. */
static void expect_to(const struct mqtt_packet *packet, const struct mqtt_target *target, const char *text) {
    struct buf buf = BUF_INIT(1 << 20);
    size_t size = mqtt_encode(packet, target, NULL, 0);
    char *span = malloc(size + 1);

    buf_append_c(&buf, "x");
    assert_int_equal(mqtt_encode_buf(packet, target, &buf), text != NULL);
    if (text == NULL) {
        assert_int_equal(size, 0);
    } else {
        expect_bytes(str_make(buf.data + 1, buf.len - 1), text);
        span[size] = 'y';
        assert_int_equal(mqtt_encode(packet, target, span, size - 1), size); /* no room: nothing is written */
        assert_int_equal(mqtt_encode(packet, target, span, size), size);
        assert_int_equal(span[size], 'y');
        expect_bytes(str_make(span, size), text);
    }
    free(span);
    buf_release(&buf);
}

static void expect(const struct mqtt_packet *packet, enum mqtt_version version, const char *text) {
    struct mqtt_target target = target_of(version);

    expect_to(packet, &target, text);
}

static void connects(void **state) {
    struct mqtt_packet packet = { .type = MQTT_CONNECT };
    struct mqtt_connect *connect = &packet.as.connect;

    (void)state;
    *connect = (struct mqtt_connect){ .version = MQTT_3_1_1, .clean_start = true, .keep_alive_s = 60, .client_id = STR("me"),
                                      .properties = MQTT_PROPERTIES_NONE };
    expect(&packet, MQTT_3_1_1, "10 ( <MQTT> 04 02 k60 <me> )");
    expect(&packet, MQTT_5, NULL); /* not the version that the target speaks */
    connect->version = MQTT_3_1;
    connect->bridge = true;
    expect(&packet, MQTT_3_1, "10 ( <MQIsdp> 83 02 k60 <me> )");
    connect->bridge = false;
    connect->version = MQTT_5;
    connect->has_will = connect->has_user_name = connect->has_password = true;
    connect->user_name = STR("u");
    connect->password = STR("p");
    connect->will = (struct mqtt_will){ STR("t"), STR("gone"), 1, true, MQTT_PROPERTIES_NONE };
    mqtt_set(&connect->properties, receive_maximum, 7);
    mqtt_set(&connect->properties, session_expiry_s, MQTT_NEVER_EXPIRES);
    mqtt_set(&connect->will.properties, will_delay_s, 5);
    expect(&packet, MQTT_5, "10 ( <MQTT> 05 EE k60 ( 11 FFFFFFFF 21 H7 ) <me> ( 18 L5 ) <t> <gone> <u> <p> )");
}

static void connacks(void **state) {
    struct mqtt_packet packet = { .type = MQTT_CONNACK, .as.connack = { true, MQTT_SUCCESS, MQTT_PROPERTIES_NONE } };
    struct mqtt_properties *properties = &packet.as.connack.properties;

    (void)state;
    expect(&packet, MQTT_3_1, "20 ( 00 00 )");
    expect(&packet, MQTT_3_1_1, "20 ( 01 00 )");
    expect(&packet, MQTT_5, "20 ( 01 00 () )");
    expect(&packet, MQTT_UNKNOWN, NULL);
    mqtt_set(properties, topic_alias_maximum, 10);
    mqtt_set(properties, maximum_packet_size, 2000000);
    mqtt_set(properties, receive_maximum, 20);
    mqtt_set(properties, retain_available, 0);
    mqtt_set(properties, assigned_client_id, STR("id"));
    expect(&packet, MQTT_5, "20 ( 01 00 ( 12 <id> 22 H10 25 00 27 L2000000 21 H20 ) )");
    expect(&packet, MQTT_3_1_1, "20 ( 01 00 )");
}

/* [MQTT-3.2.2-6] session present only with success; 3.1.1: [MQTT-3.2.2-4] the same, [MQTT-3.2.2-6] no CONNACK where there is no code. */
static struct refusal_row {
    const char *name;
    uint8_t reason, code; /* code 0: closes without CONNACK */
} refusals[] = {
    { "unacceptable protocol version", MQTT_UNSUPPORTED_VERSION, 1 },
    { "identifier rejected", MQTT_CLIENT_ID_NOT_VALID, 2 },
    { "server unavailable", MQTT_SERVER_UNAVAILABLE, 3 },
    { "server busy is unavailable in 3.1.1", MQTT_SERVER_BUSY, 3 },
    { "quota exceeded is unavailable in 3.1.1", MQTT_QUOTA_EXCEEDED, 3 },
    { "bad user name or password", MQTT_BAD_USER_NAME_OR_PASSWORD, 4 },
    { "not authorized", MQTT_NOT_AUTHORIZED, 5 },
    { "banned is not authorized in 3.1.1", MQTT_BANNED, 5 },
    { "malformed packet closes in 3.1.1", MQTT_MALFORMED_PACKET, 0 },
    { "packet too large closes in 3.1.1", MQTT_PACKET_TOO_LARGE, 0 },
    { "QoS not supported closes in 3.1.1", MQTT_QOS_NOT_SUPPORTED, 0 },
};

static void refuses_row(void **state) {
    const struct refusal_row *row = *state;
    struct mqtt_packet packet = { .type = MQTT_CONNACK, .as.connack = { true, row->reason, MQTT_PROPERTIES_NONE } };
    char text[64];

    snprintf(text, sizeof text, "20 ( 00 %02X )", row->code);
    expect(&packet, MQTT_3_1_1, row->code != 0 ? text : NULL);
    snprintf(text, sizeof text, "20 ( 00 %02X () )", row->reason);
    expect(&packet, MQTT_5, text);
    assert_true(mqtt_reason_fits(row->reason, MQTT_CONNACK));
    if (row->code != 0)
        assert_int_equal(mqtt_connack_code(mqtt_connack_reason(row->code)), row->code);
}

static void publishes(void **state) {
    struct mqtt_packet packet = { .type = MQTT_PUBLISH };
    char user[7];

    (void)state;
    packet.as.publish = (struct mqtt_publish){ .topic = STR("a/b"), .payload = STR("x"), .properties = MQTT_PROPERTIES_NONE };
    expect(&packet, MQTT_3_1_1, "30 ( <a/b> 'x' )");
    expect(&packet, MQTT_5, "30 ( <a/b> () 'x' )");
    packet.as.publish.qos = 2;
    packet.as.publish.dup = packet.as.publish.retain = true;
    packet.as.publish.packet_id = 258;
    mqtt_set(&packet.as.publish.properties, content_type, STR("json"));
    mqtt_set(&packet.as.publish.properties, message_expiry_s, 9);
    packet.as.publish.properties.encoded = str_make(user, mqtt_user_property(user, STR("k"), STR("v")));
    expect(&packet, MQTT_3_1, "3D ( <a/b> m258 'x' )");
    expect(&packet, MQTT_5, "3D ( <a/b> m258 ( 02 L9 03 <json> 26 <k> <v> ) 'x' )");
}

static void acknowledgements(void **state) {
    static const enum mqtt_type types[] = { MQTT_PUBACK, MQTT_PUBREC, MQTT_PUBREL, MQTT_PUBCOMP };
    uint8_t small[MQTT_ACK_MAX];
    char text[64];

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct mqtt_packet packet = { .type = types[i], .as.ack = { 258, MQTT_SUCCESS, MQTT_PROPERTIES_NONE } };
        unsigned first = types[i] << 4 | (types[i] == MQTT_PUBREL ? 2 : 0);
        for (enum mqtt_version version = MQTT_3_1; version <= MQTT_5; version++) {
            uint8_t reason = types[i] <= MQTT_PUBREC ? MQTT_NOT_AUTHORIZED : MQTT_PACKET_ID_NOT_FOUND;
            snprintf(text, sizeof text, "%02X 02 m258", first);
            packet.as.ack.reason = MQTT_SUCCESS;
            expect(&packet, version, text);
            assert_int_equal(mqtt_encode_ack(types[i], version, 258, MQTT_SUCCESS, small), 4);
            expect_bytes(str_make((char *)small, 4), text);
            packet.as.ack.reason = reason;
            if (version == MQTT_5)
                snprintf(text, sizeof text, "%02X 03 m258 %02X", first, reason);
            expect(&packet, version, text);
            assert_int_equal(mqtt_encode_ack(types[i], version, 258, reason, small), version == MQTT_5 ? 5 : 4);
            expect_bytes(str_make((char *)small, version == MQTT_5 ? 5 : 4), text);
        }
        packet.as.ack.reason = MQTT_SUCCESS;
        mqtt_set(&packet.as.ack.properties, reason_string, STR("why"));
        snprintf(text, sizeof text, "%02X ( m258 00 ( 1F <why> ) )", first);
        expect(&packet, MQTT_5, text);
    }
}

static void subscriptions(void **state) {
    struct mqtt_subscription subs[] = { { .filter = STR("a/#"), .qos = 1 },
                                        { .filter = STR("b"), .qos = 2, .no_local = true, .retain_as_published = true, .retain_handling = 2 } };
    struct mqtt_packet packet = { .type = MQTT_SUBSCRIBE, .as.subscribe = { 9, none, STR_EMPTY } };
    struct str huge = { NULL, 65536 };
    char filters[64], id[MQTT_SUBSCRIPTION_ID_MAX];
    size_t len;

    (void)state;
    len = mqtt_put_subscription(&subs[0], MQTT_3_1_1, filters);
    len += mqtt_put_subscription(&subs[1], MQTT_3_1_1, filters + len);
    packet.as.subscribe.filters = str_make(filters, len);
    expect(&packet, MQTT_3_1_1, "82 ( m9 <a/#> 01 <b> 02 )");
    len = mqtt_put_subscription(&subs[0], MQTT_5, filters);
    assert_int_equal(mqtt_put_subscription(&subs[1], MQTT_5, NULL), 4);
    len += mqtt_put_subscription(&subs[1], MQTT_5, filters + len);
    packet.as.subscribe.filters = str_make(filters, len);
    packet.as.subscribe.properties.encoded = str_make(id, mqtt_subscription_id(id, 200));
    expect(&packet, MQTT_5, "82 ( m9 ( 0B C801 ) <a/#> 01 <b> 2E )");
    packet = (struct mqtt_packet){ .type = MQTT_UNSUBSCRIBE, .as.subscribe = { 9, none, str_make(filters, mqtt_put_filter(STR("a"), filters)) } };
    expect(&packet, MQTT_3_1, "A2 ( m9 <a> )");
    expect(&packet, MQTT_5, "A2 ( m9 () <a> )");
    assert_int_equal(mqtt_put_filter(huge, NULL), 0);
    assert_int_equal(mqtt_put_subscription(&(struct mqtt_subscription){ .filter = huge }, MQTT_5, NULL), 0);
}

/* 3.1.1's [MQTT-3.9.3-2]: no code but 0, 1, 2 and 0x80. */
static void subacks(void **state) {
    struct mqtt_packet packet = { .type = MQTT_SUBACK, .as.suback = { 9, none, STR("\x00\x02\x87\xA2") } };

    (void)state;
    expect(&packet, MQTT_5, "90 ( m9 () 00 02 87 A2 )");
    expect(&packet, MQTT_3_1_1, "90 ( m9 00 02 80 80 )");
    packet.type = MQTT_UNSUBACK;
    packet.as.suback.reasons = STR("\x00\x11");
    expect(&packet, MQTT_5, "B0 ( m9 () 00 11 )");
    expect(&packet, MQTT_3_1_1, "B0 ( m9 )");
}

static void pings_and_notices(void **state) {
    struct mqtt_packet packet = { .type = MQTT_PINGREQ };

    (void)state;
    expect(&packet, MQTT_3_1_1, "C0 00");
    packet.type = MQTT_PINGRESP;
    expect(&packet, MQTT_5, "D0 00");
    packet = (struct mqtt_packet){ .type = MQTT_DISCONNECT, .as.notice = { MQTT_SUCCESS, MQTT_PROPERTIES_NONE } };
    expect(&packet, MQTT_3_1_1, "E0 00");
    expect(&packet, MQTT_5, "E0 00");
    packet.as.notice.reason = MQTT_SESSION_TAKEN_OVER;
    expect(&packet, MQTT_5, "E0 ( 8E )");
    mqtt_set(&packet.as.notice.properties, server_reference, STR("other"));
    expect(&packet, MQTT_5, "E0 ( 8E ( 1C <other> ) )");
    packet = (struct mqtt_packet){ .type = MQTT_AUTH, .as.notice = { MQTT_CONTINUE_AUTHENTICATION, MQTT_PROPERTIES_NONE } };
    mqtt_set(&packet.as.notice.properties, authentication_method, STR("m"));
    expect(&packet, MQTT_5, "F0 ( 18 ( 15 <m> ) )");
    expect(&packet, MQTT_3_1_1, NULL);
}

/* --- what is left out --- */

static struct mqtt_packet with_problem_information(enum mqtt_type type, char *user) {
    struct mqtt_packet packet = { .type = type };
    struct mqtt_properties properties = none;

    properties.encoded = str_make(user, mqtt_user_property(user, STR("key"), STR("value")));
    mqtt_set(&properties, reason_string, STR("because"));
    if (type == MQTT_AUTH)
        mqtt_set(&properties, authentication_method, STR("m"));
    if (type == MQTT_CONNACK)
        packet.as.connack = (struct mqtt_connack){ false, MQTT_QUOTA_EXCEEDED, properties };
    else if (type == MQTT_SUBACK || type == MQTT_UNSUBACK)
        packet.as.suback = (struct mqtt_suback){ 258, properties, STR("\x87") };
    else if (type == MQTT_DISCONNECT)
        packet.as.notice = (struct mqtt_notice){ MQTT_QUOTA_EXCEEDED, properties };
    else if (type == MQTT_AUTH)
        packet.as.notice = (struct mqtt_notice){ MQTT_CONTINUE_AUTHENTICATION, properties };
    else
        packet.as.ack = (struct mqtt_ack){ 258, MQTT_PACKET_ID_NOT_FOUND, properties };
    return packet;
}

/*
 * First the user properties go, then the reason string, then nothing can be sent ([MQTT-3.1.2-24]):
 * [MQTT-3.2.2-19], [MQTT-3.2.2-20], [MQTT-3.4.2-2], [MQTT-3.4.2-3], [MQTT-3.5.2-2], [MQTT-3.5.2-3], [MQTT-3.6.2-2], [MQTT-3.6.2-3],
 * [MQTT-3.7.2-2], [MQTT-3.7.2-3], [MQTT-3.9.2-1], [MQTT-3.9.2-2], [MQTT-3.11.2-1], [MQTT-3.11.2-2], [MQTT-3.14.2-3], [MQTT-3.14.2-4],
 * [MQTT-3.15.2-2], [MQTT-3.15.2-3].
 * And [MQTT-3.1.2-29], whatever the size.
 */
#define REASON "1F <because> "
#define USER "26 <key> <value> "

static struct drop_row {
    const char *name;
    enum mqtt_type type;
    const char *all, *less, *least;
    bool keeps_unasked; /* is sent with its words to a client that wants no problem information */
} drops[] = {
    { "CONNACK fits", MQTT_CONNACK, "20 ( 00 97 ( " REASON USER " ) )", "20 ( 00 97 ( " REASON " ) )", "20 ( 00 97 () )", true },
    { "PUBACK fits", MQTT_PUBACK, "40 ( m258 92 ( " REASON USER " ) )", "40 ( m258 92 ( " REASON " ) )", "40 ( m258 92 )", false },
    { "PUBREC fits", MQTT_PUBREC, "50 ( m258 92 ( " REASON USER " ) )", "50 ( m258 92 ( " REASON " ) )", "50 ( m258 92 )", false },
    { "PUBREL fits", MQTT_PUBREL, "62 ( m258 92 ( " REASON USER " ) )", "62 ( m258 92 ( " REASON " ) )", "62 ( m258 92 )", false },
    { "PUBCOMP fits", MQTT_PUBCOMP, "70 ( m258 92 ( " REASON USER " ) )", "70 ( m258 92 ( " REASON " ) )", "70 ( m258 92 )", false },
    { "SUBACK fits", MQTT_SUBACK, "90 ( m258 ( " REASON USER " ) 87 )", "90 ( m258 ( " REASON " ) 87 )", "90 ( m258 () 87 )", false },
    { "UNSUBACK fits", MQTT_UNSUBACK, "B0 ( m258 ( " REASON USER " ) 87 )", "B0 ( m258 ( " REASON " ) 87 )", "B0 ( m258 () 87 )", false },
    { "DISCONNECT fits", MQTT_DISCONNECT, "E0 ( 97 ( " REASON USER " ) )", "E0 ( 97 ( " REASON " ) )", "E0 ( 97 )", true },
    { "AUTH fits", MQTT_AUTH, "F0 ( 18 ( 15 <m> " REASON USER " ) )", "F0 ( 18 ( 15 <m> " REASON " ) )", "F0 ( 18 ( 15 <m> ) )", false },
};

static size_t size_of(const char *text) {
    struct str bytes = bytes_of(text);
    size_t len = bytes.len;

    bytes_drop(bytes);
    return len;
}

static void drops_row(void **state) {
    const struct drop_row *row = *state;
    struct mqtt_target target = target_of(MQTT_5);
    char user[32];
    struct mqtt_packet packet = with_problem_information(row->type, user);

    for (uint32_t max = 1; max < 60; max++) {
        target.max_packet_size = max;
        expect_to(&packet, &target, max >= size_of(row->all)     ? row->all
                                    : max >= size_of(row->less)  ? row->less
                                    : max >= size_of(row->least) ? row->least
                                                                 : NULL);
    }
    target.no_problem_information = true;
    expect_to(&packet, &target, row->keeps_unasked ? row->all : row->least);
}

/* [MQTT-3.1.2-25], [MQTT-3.3.2-17]: a PUBLISH loses nothing; it is sent whole or not at all. */
static void publish_loses_nothing(void **state) {
    struct mqtt_target target = target_of(MQTT_5);
    struct mqtt_packet packet = { .type = MQTT_PUBLISH };
    char user[32];

    (void)state;
    packet.as.publish = (struct mqtt_publish){ .topic = STR("t"), .payload = STR("x"), .properties = MQTT_PROPERTIES_NONE };
    packet.as.publish.properties.encoded = str_make(user, mqtt_user_property(user, STR("key"), STR("value")));
    target.no_problem_information = true;
    expect_to(&packet, &target, "30 ( <t> ( 26 <key> <value> ) 'x' )");
    target.max_packet_size = 20;
    expect_to(&packet, &target, "30 ( <t> ( 26 <key> <value> ) 'x' )");
    target.max_packet_size = 19;
    expect_to(&packet, &target, NULL);
}

static void what_is_too_long_to_say(void **state) {
    static char long_text[65537];
    struct mqtt_packet packet = { .type = MQTT_PUBLISH };
    struct mqtt_target target = target_of(MQTT_5);

    (void)state;
    memset(long_text, 'x', sizeof long_text);
    packet.as.publish = (struct mqtt_publish){ .topic = str_make(long_text, 65535), .properties = MQTT_PROPERTIES_NONE };
    assert_int_equal(mqtt_encode(&packet, &target, NULL, 0), 1 + 3 + 2 + 65535 + 1);
    packet.as.publish.topic.len = 65536;
    assert_int_equal(mqtt_encode(&packet, &target, NULL, 0), 0);
    packet.as.publish.topic.len = 1;
    mqtt_set(&packet.as.publish.properties, correlation_data, str_make(long_text, 65536));
    assert_int_equal(mqtt_encode(&packet, &target, NULL, 0), 0);
    packet.as.publish.properties = none;
    packet.as.publish.payload = str_make(long_text, (size_t)MQTT_REMAINING_MAX - 3); /* only counted, never read */
    assert_int_equal(mqtt_encode(&packet, &target, NULL, 0), 0);
    packet.as.publish.payload.len--;
    assert_int_equal(mqtt_encode(&packet, &target, NULL, 0), MQTT_PACKET_MAX);
}

/* --- deliveries --- */

#define SHARED_PROPERTIES "03 <json> 26 <k> <v>"

static const struct mqtt_message shared_message = { STR_INIT("plant/a"), STR_INIT("payload"), STR_INIT("\x03\0\4json\x26\0\1k\0\1v") };

static struct delivery_row {
    const char *name;
    struct mqtt_delivery delivery;
    const char *want;
} deliveries[] = {
    { "3.1.1, QoS 0", { .version = MQTT_3_1_1 }, "30 ( <plant/a> 'payload' )" },
    { "3.1, QoS 1, retained", { .version = MQTT_3_1, .qos = 1, .retain = true, .packet_id = 9 }, "33 ( <plant/a> m9 'payload' )" },
    { "3.1.1 has no expiry, alias and identifiers",
      { .version = MQTT_3_1_1, .expires = true, .topic_alias = 1, .alias_is_known = true, .subscription_ids = STR_INIT("\x0B\1") },
      "30 ( <plant/a> 'payload' )" },
    { "5.0, QoS 0", { .version = MQTT_5 }, "30 ( <plant/a> ( " SHARED_PROPERTIES " ) 'payload' )" },
    { "5.0, QoS 2, again", { .version = MQTT_5, .qos = 2, .dup = true, .packet_id = 258 },
      "3C ( <plant/a> m258 ( " SHARED_PROPERTIES " ) 'payload' )" },
    { "[MQTT-3.3.2-6] 5.0, with what is left of its expiry", { .version = MQTT_5, .expires = true, .message_expiry_s = 7 },
      "30 ( <plant/a> ( 02 L7 " SHARED_PROPERTIES " ) 'payload' )" },
    { "[MQTT-3.3.2-6] 5.0, expiry 0 is one", { .version = MQTT_5, .expires = true },
      "30 ( <plant/a> ( 02 L0 " SHARED_PROPERTIES " ) 'payload' )" },
    { "5.0, a new alias", { .version = MQTT_5, .topic_alias = 3 }, "30 ( <plant/a> ( 23 H3 " SHARED_PROPERTIES " ) 'payload' )" },
    { "5.0, an alias it knows", { .version = MQTT_5, .topic_alias = 3, .alias_is_known = true },
      "30 ( <> ( 23 H3 " SHARED_PROPERTIES " ) 'payload' )" },
    { "[MQTT-3.3.4-4] 5.0, two identifiers", { .version = MQTT_5, .subscription_ids = STR_INIT("\x0B\1\x0B\xC8\1") },
      "30 ( <plant/a> ( 0B 01 0B C801 " SHARED_PROPERTIES " ) 'payload' )" },
    { "5.0, all of it",
      { .version = MQTT_5, .qos = 1, .retain = true, .packet_id = 65535, .topic_alias = 3, .alias_is_known = true, .expires = true,
        .message_expiry_s = 60, .subscription_ids = STR_INIT("\x0B\1") },
      "33 ( <> m65535 ( 02 L60 23 H3 0B 01 " SHARED_PROPERTIES " ) 'payload' )" },
};

static void delivers_row(void **state) {
    const struct delivery_row *row = *state;
    struct mqtt_outline outline = mqtt_outline(&shared_message, &row->delivery);
    char *whole = malloc(outline.size), *head = malloc(outline.head);
    struct buf pieces = BUF_INIT(1 << 16);

    mqtt_write_delivery(&shared_message, &row->delivery, &outline, whole);
    expect_bytes(str_make(whole, outline.size), row->want);
    mqtt_write_head(&shared_message, &row->delivery, &outline, head);
    buf_append(&pieces, head, outline.head);
    buf_append_str(&pieces, outline.shared[0]);
    buf_append_str(&pieces, outline.shared[1]);
    expect_bytes(buf_str(&pieces), row->want);
    assert_ptr_equal(outline.shared[1].data, shared_message.payload.data);
    buf_release(&pieces);
    free(head);
    free(whole);
}

static void deliveries_at_the_edges(void **state) {
    static char bytes[70000];
    struct mqtt_message message = { str_make(bytes, 65535), STR_EMPTY, STR_EMPTY };
    struct mqtt_delivery delivery = { .version = MQTT_5 };

    (void)state;
    assert_int_equal(mqtt_outline(&message, &delivery).size, 1 + 3 + 2 + 65535 + 1);
    message.topic.len++;
    assert_int_equal(mqtt_outline(&message, &delivery).size, 0);
    message = (struct mqtt_message){ STR("t"), str_make(bytes, (size_t)MQTT_REMAINING_MAX - 4), STR_EMPTY };
    assert_int_equal(mqtt_outline(&message, &delivery).size, MQTT_PACKET_MAX);
    delivery.qos = 1; /* an identifier more than fits */
    assert_int_equal(mqtt_outline(&message, &delivery).size, 0);
    message.payload = str_make(bytes, 123); /* the Remaining Length gets its second byte at 128 */
    delivery.qos = 0;
    assert_int_equal(mqtt_outline(&message, &delivery).size, 2 + 4 + 123);
    message.payload.len = 124;
    assert_int_equal(mqtt_outline(&message, &delivery).size, 3 + 4 + 124);
}

static void names(void **state) {
    (void)state;
    assert_string_equal(mqtt_type_name(MQTT_PUBLISH), "PUBLISH");
    assert_string_equal(mqtt_type_name(MQTT_AUTH), "AUTH");
    assert_string_equal(mqtt_type_name(0), "reserved");
    assert_string_equal(mqtt_type_name((enum mqtt_type)16), "reserved");
    assert_string_equal(mqtt_version_name(MQTT_3_1), "3.1");
    assert_string_equal(mqtt_version_name(MQTT_5), "5.0");
    assert_string_equal(mqtt_version_name(MQTT_UNKNOWN), "unknown");
    assert_string_equal(mqtt_reason_name(MQTT_TOPIC_ALIAS_INVALID), "topic alias invalid");
    assert_string_equal(mqtt_reason_name(0xA2), "wildcard subscriptions not supported");
    assert_string_equal(mqtt_reason_name(0x03), "undefined reason code");
    assert_string_equal(mqtt_reason_name(0xFF), "undefined reason code");
}

/* MQTT 5 tables 3-1, 3-4 to 3-7, 3-8, 3-9, 3-10 and 3-11, typed from the specification; 0x8C in a DISCONNECT stands in table 2-6 only. */
static void reason_codes_of_each_packet(void **state) {
    static const struct {
        enum mqtt_type type;
        const char *codes;
    } tables[] = {
        { MQTT_CONNACK, "00 80 81 82 83 84 85 86 87 88 89 8A 8C 90 95 97 99 9A 9B 9C 9D 9F" },
        { MQTT_PUBACK, "00 10 80 83 87 90 91 97 99" },
        { MQTT_PUBREC, "00 10 80 83 87 90 91 97 99" },
        { MQTT_PUBREL, "00 92" },
        { MQTT_PUBCOMP, "00 92" },
        { MQTT_SUBACK, "00 01 02 80 83 87 8F 91 97 9E A1 A2" },
        { MQTT_UNSUBACK, "00 11 80 83 87 8F 91" },
        { MQTT_DISCONNECT, "00 04 80 81 82 83 87 89 8B 8C 8D 8E 8F 90 93 94 95 96 97 98 99 9A 9B 9C 9D 9E 9F A0 A1 A2" },
        { MQTT_AUTH, "00 18 19" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        struct str codes = bytes_of(tables[i].codes);
        for (unsigned code = 0; code < 256; code++)
            assert_int_equal(mqtt_reason_fits((uint8_t)code, tables[i].type), memchr(codes.data, (int)code, codes.len) != NULL);
        bytes_drop(codes);
    }
    assert_false(mqtt_reason_fits(0, MQTT_PUBLISH));
}

int main(void) {
    struct CMUnitTest tests[64] = {
        cmocka_unit_test(connects),
        cmocka_unit_test(connacks),
        cmocka_unit_test(publishes),
        cmocka_unit_test(acknowledgements),
        cmocka_unit_test(subscriptions),
        cmocka_unit_test(subacks),
        cmocka_unit_test(pings_and_notices),
        cmocka_unit_test(publish_loses_nothing),
        cmocka_unit_test(what_is_too_long_to_say),
        cmocka_unit_test(deliveries_at_the_edges),
        cmocka_unit_test(names),
        cmocka_unit_test(reason_codes_of_each_packet),
    };
    size_t used = 12;

    ROW_TESTS(tests, used, refusals, refuses_row);
    ROW_TESTS(tests, used, drops, drops_row);
    ROW_TESTS(tests, used, deliveries, delivers_row);
    return _cmocka_run_group_tests("mqtt_packet_encode", tests, used, NULL, NULL);
}
