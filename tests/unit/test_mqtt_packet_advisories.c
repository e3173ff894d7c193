/*
 * tests/unit/test_mqtt_packet_advisories.c: what broke other brokers and clients by its bytes alone, a row or test per advisory. Each
 * packet stands in memory of its own, with nothing behind it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/base/clock.h"
#include "tests/support/mqtt_bytes.h"
#include "tests/support/mqtt_limits.h"
#include "tests/support/parser_rows.h"

#define CONNECT_311(rest) "10 ( <MQTT> 04 " rest " )"
#define CONNECT_5(rest) "10 ( <MQTT> 05 " rest " )"
#define RULE(name) MQTT_RULE_##name

static struct advisory_row {
    const char *name;
    enum sender sender;
    const char *bytes;
    enum mqtt_rule want;
} rows[] = {
    { "CVE-2023-0809: PUBLISH of 100 MB before CONNECT", NEW, "30 r100000000", RULE(FIRST_NOT_CONNECT) },
    { "CVE-2023-0809: SUBSCRIBE of 100 MB before CONNECT", NEW, "82 r100000000", RULE(FIRST_NOT_CONNECT) },
    { "CVE-2017-7651: CONNECT of 100 MB", NEW, "10 r100000000", RULE(PACKET_TOO_LARGE) },
    { "CVE-2021-22116: a client identifier longer than its CONNECT", NEW, CONNECT_311("02 k9 s65535 'abc'"), RULE(TRUNCATED) },
    { "CVE-2021-33175: a protocol name longer than its CONNECT", NEW, "10 ( s65535 'MQTT' 04 02 k9 <i> )", RULE(TRUNCATED) },
    { "CVE-2021-33176: properties longer than their CONNECT", NEW, CONNECT_5("02 k9 FFFFFF7F <i>"), RULE(TRUNCATED) },
    { "CVE-2017-7651: a password longer than its CONNECT", NEW, CONNECT_311("C2 k9 <i> <u> s65535 'p'"), RULE(TRUNCATED) },
    { "NanoMQ CWE-119: 7 bytes of CONNECT for 40", NEW, "10 r7 <MQTT> 04 C2 k60 s11 'test-python' s5 'admin' s8 'password'", RULE(NOT_WHOLE) },
    { "CVE-2026-21888: a Remaining Length of five bytes", C5, "30 FFFFFFFF7F", RULE(LENGTH_TOO_LONG) },
    { "CVE-2026-21888: a property length of five bytes", C5, "30 ( <t> FFFFFFFF7F )", RULE(VARIABLE_INTEGER) },
    { "CVE-2019-19307: a Remaining Length that never ends", C311, "C0 FFFFFFFFFFFFFFFF", RULE(LENGTH_TOO_LONG) },
    { "CVE-2019-19307: a property length that ends with the packet", C5, "30 ( <t> 80 )", RULE(TRUNCATED) },
    { "an overlong property length", C5, "30 ( <t> 80808000 )", RULE(VARIABLE_INTEGER) },
    { "NanoMQ #2268: SUBSCRIBE that ends behind its filter", C311, "82 ( m1 <topic> )", RULE(TRUNCATED) },
    { "NanoMQ #2268: and in 5.0, behind its second filter", C5, "82 ( m1 () <a> 00 <topic> )", RULE(TRUNCATED) },
    { "NanoMQ #2270: QoS 1 that ends behind its topic", C311, "32 ( <topic> )", RULE(TRUNCATED) },
    { "NanoMQ #2270: QoS 2 that ends in its identifier", C5, "34 ( <topic> 12 )", RULE(TRUNCATED) },
    { "NanoMQ #1153: a topic longer than its packet", C311, "30 ( s9 'topic' )", RULE(TRUNCATED) },
    { "CVE-2026-54412, CVE-2019-17210: a topic longer than a server's packet", S311, "32 ( s65535 'a' )", RULE(TRUNCATED) },
    { "CVE-2019-17210: no room for the topic's length", S5, "30 ( 00 )", RULE(TRUNCATED) },
    { "CVE-2021-34432: an empty topic", C311, "30 ( <> )", RULE(TOPIC_EMPTY) },
    { "Mosquitto #3384: an empty topic without an alias", C5, "30 ( <> () 'x' )", RULE(TOPIC_EMPTY) },
    { "CVE-2021-28166: CONNACK from a client", C5, "20 ( 00 00 () )", RULE(TYPE_UNEXPECTED) },
    { "CVE-2021-28166: a malformed CONNACK before CONNECT", NEW, "20 00", RULE(FIRST_NOT_CONNECT) },
    { "CVE-2021-28166: SUBACK from a client", C311, "90 ( m1 )", RULE(TYPE_UNEXPECTED) },
    { "CVE-2021-28166: UNSUBACK from a client", C311, "B0 ( m1 )", RULE(TYPE_UNEXPECTED) },
    { "CVE-2021-28166: PINGRESP from a client", C5, "D0 00", RULE(TYPE_UNEXPECTED) },
    { "CVE-2021-28166: AUTH in 3.1.1", C311, "F0 00", RULE(TYPE_RESERVED) },
    { "CVE-2021-34431: an invalid property in CONNECT", NEW, CONNECT_5("02 k9 ( 24 01 ) <i>"), RULE(PROPERTY_MISPLACED) },
    { "CVE-2023-3592: an invalid property in a will", NEW, CONNECT_5("06 k9 () <i> ( 11 L1 ) <t> <p>"), RULE(PROPERTY_MISPLACED) },
    { "CVE-2023-3592: a duplicate property in a will", NEW, CONNECT_5("06 k9 () <i> ( 03 <a> 03 <a> ) <t> <p>"), RULE(PROPERTY_TWICE) },
    { "CVE-2017-7654: a CONNECT that is refused behind its will", NEW, CONNECT_311("C6 k9 <i> <t> <p> <u>"), RULE(PASSWORD_MISSING) },
    { "CVE-2017-7653: ill-formed UTF-8 in a topic", C311, "30 ( s2 C3 'x' )", RULE(TEXT_NOT_UTF8) },
    { "CVE-2017-7653: a surrogate in a will topic", NEW, CONNECT_311("06 k9 <i> s3 EDA080 <p>"), RULE(TEXT_NOT_UTF8) },
    { "CVE-2017-7653: U+0000 in a client identifier", NEW, CONNECT_311("02 k9 s3 'a' 00 'b'"), RULE(CLIENT_ID_TEXT) },
    { "wolfMQTT #534: U+0000 in a user name", NEW, CONNECT_311("82 k9 <i> s3 'a' 00 'b'"), RULE(USER_NAME_TEXT) },
    { "wolfMQTT #534: a surrogate in a user property", C5, "30 ( <t> ( 26 <k> s3 EDA080 ) )", RULE(TEXT_NOT_UTF8) },
    { "wolfMQTT #534: U+0000 in a response topic", C5, "30 ( <t> ( 08 s2 'a' 00 ) )", RULE(TEXT_NUL) },
    { "wolfMQTT #530: a user name that no flag announces", NEW, CONNECT_311("02 k9 <i> <user>"), RULE(TRAILING_BYTES) },
    { "wolfMQTT #530: a password that no flag announces", NEW, CONNECT_5("82 k9 () <i> <user> <pass>"), RULE(TRAILING_BYTES) },
    { "wolfMQTT #518: subscription options with QoS 3", C5, "82 ( m1 () <a> 03 )", RULE(OPTIONS_QOS) },
    { "wolfMQTT #518: reserved subscription options", C5, "82 ( m1 () <a> C0 )", RULE(OPTIONS_RESERVED) },
    { "wolfMQTT #518: retain handling 3", C5, "82 ( m1 () <a> 30 )", RULE(OPTIONS_RETAIN) },
    { "wolfMQTT #518: options of 5.0 in 3.1.1", C311, "82 ( m1 <a> 08 )", RULE(OPTIONS_RESERVED) },
    { "wolfMQTT #607: PUBLISH with identifier 0", C311, "34 ( <t> m0 )", RULE(PACKET_ID_ZERO) },
    { "wolfMQTT #607: PUBACK with identifier 0", C311, "40 ( m0 )", RULE(PACKET_ID_ZERO) },
    { "wolfMQTT #607: PUBREC with identifier 0", C311, "50 ( m0 )", RULE(PACKET_ID_ZERO) },
    { "wolfMQTT #607: PUBREL with identifier 0", C311, "62 ( m0 )", RULE(PACKET_ID_ZERO) },
    { "wolfMQTT #607: PUBCOMP with identifier 0", C311, "70 ( m0 )", RULE(PACKET_ID_ZERO) },
    { "wolfMQTT #607: SUBSCRIBE with identifier 0", C311, "82 ( m0 <a> 00 )", RULE(PACKET_ID_ZERO) },
    { "Mosquitto #3319: $share/x without a filter", C5, "82 ( m1 () <$share/x> 00 )", RULE(SHARE_FILTER) },
    { "Mosquitto #3319: an empty share name", C5, "82 ( m1 () <$share//x> 00 )", RULE(SHARE_NAME) },
    { "Mosquitto #3319: a share in UNSUBSCRIBE", C5, "A2 ( m1 () <$share/x> )", RULE(SHARE_FILTER) },
    { "Mosquitto #3052: a subscription identifier from a client", C5, "30 ( <t> ( 0B 05 ) )", RULE(SUBSCRIPTION_ID) },
    { "Mosquitto #3052: subscription identifier 0", C5, "82 ( m1 ( 0B 00 ) <a> 00 )", RULE(PROPERTY_VALUE) },
    { "EMQX #13045: a response topic with a wildcard", C5, "30 ( <t> ( 08 <a/+> ) )", RULE(RESPONSE_TOPIC) },
    { "EMQX #13045: request response information 2", NEW, CONNECT_5("02 k9 ( 19 02 ) <i>"), RULE(PROPERTY_VALUE) },
    { "EMQX #13045: a content type twice", C5, "30 ( <t> ( 03 <a> 03 <b> ) )", RULE(PROPERTY_TWICE) },
    { "Mosquitto #2325: packet type 0", C311, "00", RULE(TYPE_RESERVED) },
    { "Mosquitto #2325: packet type 0 in 5.0", C5, "00", RULE(TYPE_RESERVED) },
    { "Mosquitto #2325: packet type 15 in 3.1.1", C311, "F0", RULE(TYPE_RESERVED) },
    { "CVE-2024-10525: SUBACK without reason codes", S5, "90 ( m1 () )", RULE(NO_REASONS) },
    { "CVE-2024-10525: SUBACK without return codes", S311, "90 ( m1 )", RULE(NO_REASONS) },
    { "CVE-2018-12543: a topic that begins with $", C311, "30 ( <$x/y> )", MQTT_FINE }, /* no harm here; the broker judges it */
    { "wolfMQTT 2026: Receive Maximum 0", NEW, CONNECT_5("02 k9 ( 21 s0 ) <i>"), RULE(PROPERTY_VALUE) },
    { "wolfMQTT 2026: Maximum Packet Size 0", NEW, CONNECT_5("02 k9 ( 27 L0 ) <i>"), RULE(PROPERTY_VALUE) },
    { "wolfMQTT 2026: authentication data without a method", NEW, CONNECT_5("02 k9 ( 16 <d> ) <i>"), RULE(AUTH_DATA_ALONE) },
    { "wolfMQTT 2026: a will delay outside the will", NEW, CONNECT_5("06 k9 ( 18 L1 ) <i> () <t> <p>"), RULE(PROPERTY_MISPLACED) },
    { "wolfMQTT 2026: two subscription identifiers in SUBSCRIBE", C5, "82 ( m1 ( 0B 01 0B 01 ) <a> 00 )", RULE(PROPERTY_TWICE) },
};

static void survives_row(void **state) {
    const struct advisory_row *row = *state;
    struct mqtt_limits limits = limits_of(row->sender);
    struct str bytes = bytes_of(row->bytes);
    struct mqtt_packet packet;
    enum mqtt_rule got;

    if (row->sender == NEW)
        limits.max_packet_size = MQTT_FIRST_PACKET_MAX;
    got = mqtt_decode(bytes, &limits, &packet);
    if (got != row->want)
        fail_msg("'%s', not '%s'", mqtt_rule_words(got), mqtt_rule_words(row->want));
    bytes_drop(bytes);
}

/* CVE-2019-11779, Mosquitto #1412, GHSA-xxqp-5qx8-gj5q: a topic of nothing but slashes, everywhere a topic can stand. */
static void slashes_without_end(void **state) {
    static const struct {
        const char *before, *behind;
        enum sender sender;
        enum mqtt_rule want;
    } places[] = {
        { "30 ( s65535 '", "' )", C311, RULE(TOPIC_LEVELS) },
        { "30 ( s65535 '", "' () )", C5, RULE(TOPIC_LEVELS) },
        { "82 ( m1 s65535 '", "' 00 )", C311, RULE(FILTER_LEVELS) },
        { "A2 ( m1 () s65535 '", "' )", C5, RULE(FILTER_LEVELS) },
        { "10 ( <MQTT> 04 06 k9 <i> s65535 '", "' <p> )", NEW, RULE(TOPIC_LEVELS) },
        { "30 ( <t> ( 08 s65535 '", "' ) )", C5, MQTT_FINE }, /* a response topic is only forwarded */
    };
    static char text[70000], slashes[65536];

    (void)state;
    memset(slashes, '/', 65535);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct mqtt_limits limits = limits_of(places[i].sender);
        struct mqtt_packet packet;
        snprintf(text, sizeof text, "%s%s%s", places[i].before, slashes, places[i].behind);
        struct str bytes = bytes_of(text);
        assert_int_equal(mqtt_decode(bytes, &limits, &packet), places[i].want);
        limits.topic_levels = 0; /* and without a cap they are only long */
        assert_int_equal(mqtt_decode(bytes, &limits, &packet), MQTT_FINE);
        bytes_drop(bytes);
    }
}

/* Mosquitto script 575314: 5,000 user properties in each of 1,000 CONNECTs. */
static void five_thousand_user_properties(void **state) {
    struct buf text = BUF_INIT(1 << 20);
    struct mqtt_limits limits = limits_of(NEW);
    struct mqtt_packet packet;
    int64_t began;

    (void)state;
    buf_append_c(&text, "10 ( <MQTT> 05 02 k9 ( ");
    for (int i = 0; i < 5000; i++)
        buf_append_c(&text, "26 <k> <v> ");
    buf_append_c(&text, ") <i> )");
    struct str bytes = bytes_of(buf_cstr(&text));
    began = clock_mono_ns();
    for (int i = 0; i < 1000; i++)
        assert_int_equal(mqtt_decode(bytes, &limits, &packet), MQTT_FINE);
    assert_true(clock_mono_ns() - began < 30 * NS_PER_S); /* a fraction of a second; quadratic time would take minutes */
    bytes_drop(bytes);
    buf_release(&text);
}

/* CVE-2023-0809: what a server takes from a stranger unless told otherwise. */
static void strangers_send_little(void **state) {
    struct mqtt_limits limits = MQTT_LIMITS_SERVER;
    struct str large = bytes_of("10 r99996"), too_large = bytes_of("10 r99997"); /* behind a header of four bytes */

    (void)state;
    assert_int_equal(mqtt_frame(too_large, &limits).rule, RULE(PACKET_TOO_LARGE));
    assert_int_equal(mqtt_frame(large, &limits).size, MQTT_FIRST_PACKET_MAX);
    bytes_drop(large);
    bytes_drop(too_large);
}

/* CVE-2026-25627: a websocket frame may end anywhere, and hold two packets. */
static void packets_over_frame_borders(void **state) {
    struct str two = bytes_of("30 ( <a> () 'x' ) 32 ( <b> m1 () 'y' )");
    struct mqtt_limits limits = limits_of(C5);

    (void)state;
    for (size_t cut = 0; cut <= two.len; cut++) {
        struct str part = bytes_alone(str_make(two.data, cut));
        struct mqtt_frame frame = mqtt_frame(part, &limits);
        assert_int_equal(frame.state, cut < 7 ? MQTT_FRAME_MORE : MQTT_FRAME_WHOLE);
        if (frame.state == MQTT_FRAME_WHOLE) {
            struct str rest = bytes_alone(str_make(part.data + frame.size, part.len - frame.size));
            assert_int_equal(mqtt_frame(rest, &limits).state, cut < two.len ? MQTT_FRAME_MORE : MQTT_FRAME_WHOLE);
            bytes_drop(rest);
        }
        bytes_drop(part);
    }
    bytes_drop(two);
}

int main(void) {
    struct CMUnitTest tests[sizeof rows / sizeof rows[0] + 4] = {
        cmocka_unit_test(slashes_without_end),
        cmocka_unit_test(five_thousand_user_properties),
        cmocka_unit_test(packets_over_frame_borders),
        cmocka_unit_test(strangers_send_little),
    };
    size_t used = 4;

    ROW_TESTS(tests, used, rows, survives_row);
    return cmocka_run_group_tests_name("mqtt_packet_advisories", tests, NULL, NULL);
}
