/*
 * tests/unit/test_mqtt_packet_properties.c: each property in each packet, once, twice, cut short and with each kind of value; walking,
 * forwarding, and thousands of them.
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

/*
 * MQTT 5 table 2-4, typed from the specification and not from the code: `in` has a letter per packet: C CONNECT, K CONNACK, P PUBLISH,
 * W will, 4-7 PUBACK to PUBCOMP, S SUBSCRIBE, s SUBACK, U UNSUBSCRIBE, u UNSUBACK, D DISCONNECT, A AUTH.
 */
static const struct table_row {
    unsigned id;
    const char *in, *good, *bad; /* values in bytes; NULL: none is bad */
} table[] = {
    { 0x01, "PW", "01", "02" },
    { 0x02, "PW", "L9", NULL },
    { 0x03, "PW", "<text/plain>", "<\xFF>" },
    { 0x08, "PW", "<a/b>", "<a/#>" },
    { 0x09, "PW", "<\xFF>", NULL },
    { 0x0B, "PS", "v300", "v0" },
    { 0x11, "CKD", "L9", NULL },
    { 0x12, "K", "<id>", "<\xC3>" },
    { 0x13, "K", "H9", NULL },
    { 0x15, "CKA", "<m>", "<\xC3>" },
    { 0x16, "CKA", "<\xFF>", NULL },
    { 0x17, "C", "00", "02" },
    { 0x18, "W", "L9", NULL },
    { 0x19, "C", "01", "FF" },
    { 0x1A, "K", "<a>", "<\xC3>" },
    { 0x1C, "KD", "<a>", "<\xC3>" },
    { 0x1F, "K4567suDA", "<why>", "<\xC3>" },
    { 0x21, "CK", "H1", "H0" },
    { 0x22, "CK", "H0", NULL },
    { 0x23, "P", "H1", "H0" },
    { 0x24, "K", "00", "02" },
    { 0x25, "K", "01", "02" },
    { 0x26, "CKPW4567SsUuDA", "<k> <v>", "<k> <\xC3>" },
    { 0x27, "CK", "L1", "L0" },
    { 0x28, "K", "01", "02" },
    { 0x29, "K", "01", "02" },
    { 0x2A, "K", "01", "02" },
};

/* Where properties stand, with a star for them. */
static const struct carrier {
    char letter;
    enum sender sender;
    const char *packet;
} carriers[] = {
    { 'C', NEW, "10 ( <MQTT> 05 02 k9 ( * ) <i> )" },
    { 'W', NEW, "10 ( <MQTT> 05 06 k9 () <i> ( * ) <t> <p> )" },
    { 'K', S5, "20 ( 00 00 ( * ) )" },
    { 'P', S5, "30 ( <t> ( * ) 'payload' )" },
    { '4', C5, "40 ( m1 00 ( * ) )" },
    { '5', C5, "50 ( m1 00 ( * ) )" },
    { '6', C5, "62 ( m1 00 ( * ) )" },
    { '7', C5, "70 ( m1 00 ( * ) )" },
    { 'S', C5, "82 ( m1 ( * ) <a> 00 )" },
    { 's', S5, "90 ( m1 ( * ) 00 )" },
    { 'U', C5, "A2 ( m1 ( * ) <a> )" },
    { 'u', S5, "B0 ( m1 ( * ) 00 )" },
    { 'D', C5, "E0 ( 00 ( * ) )" },
    { 'A', C5, "F0 ( 18 ( * ) )" },
};

enum { CARRIERS = sizeof carriers / sizeof carriers[0], ROWS = sizeof table / sizeof table[0] };

static enum mqtt_rule decode(const struct carrier *carrier, const char *properties, struct mqtt_packet *packet, struct str *bytes) {
    struct mqtt_limits limits = limits_of(carrier->sender);
    int before = (int)strcspn(carrier->packet, "*");
    char text[512];

    snprintf(text, sizeof text, "%.*s%s%s", before, carrier->packet, properties, carrier->packet + before + 1);
    *bytes = bytes_of(text);
    return mqtt_decode(*bytes, &limits, packet);
}

static void expect(const struct carrier *carrier, const char *properties, enum mqtt_rule want) {
    struct mqtt_packet packet;
    struct str bytes;
    enum mqtt_rule got = decode(carrier, properties, &packet, &bytes);

    if (got != want)
        fail_msg("%c ( %s ): '%s', not '%s'", carrier->letter, properties, mqtt_rule_words(got), mqtt_rule_words(want));
    bytes_drop(bytes);
}

/* AUTH always needs its method and authentication data do, so that something stands before what is tried. */
static const char *method_before(const struct carrier *carrier, const struct table_row *row) {
    bool needs_method = carrier->letter == 'A' || (row->id == 0x16 && strchr("CK", carrier->letter) != NULL);

    return needs_method && row->id != 0x15 ? "15 <m> " : "";
}

static void each_property_in_each_packet(void **state) {
    char text[256];

    (void)state;
    for (size_t c = 0; c < CARRIERS; c++)
        for (size_t r = 0; r < ROWS; r++) {
            const struct table_row *row = &table[r];
            bool allowed = strchr(row->in, carriers[c].letter) != NULL;
            snprintf(text, sizeof text, "%s%02X %s", method_before(&carriers[c], row), row->id, row->good);
            expect(&carriers[c], text, allowed ? MQTT_FINE : MQTT_RULE_PROPERTY_MISPLACED);
        }
}

static void each_property_twice(void **state) {
    char text[256];

    (void)state;
    for (size_t c = 0; c < CARRIERS; c++)
        for (size_t r = 0; r < ROWS; r++) {
            const struct table_row *row = &table[r];
            bool repeats = row->id == 0x26 || (row->id == 0x0B && carriers[c].letter == 'P');
            if (strchr(row->in, carriers[c].letter) == NULL)
                continue;
            snprintf(text, sizeof text, "%s%02X %s %02X %s", method_before(&carriers[c], row), row->id, row->good, row->id, row->good);
            expect(&carriers[c], text, repeats ? MQTT_FINE : MQTT_RULE_PROPERTY_TWICE);
        }
}

static void each_value_that_is_none(void **state) {
    char text[256];

    (void)state;
    for (size_t c = 0; c < CARRIERS; c++)
        for (size_t r = 0; r < ROWS; r++) {
            const struct table_row *row = &table[r];
            struct mqtt_packet packet;
            struct str bytes;
            if (row->bad == NULL || strchr(row->in, carriers[c].letter) == NULL)
                continue;
            snprintf(text, sizeof text, "%s%02X %s", method_before(&carriers[c], row), row->id, row->bad);
            enum mqtt_rule rule = decode(&carriers[c], text, &packet, &bytes);
            bool is_text = strpbrk(row->bad, "\xFF\xC3") != NULL;
            assert_int_equal(rule, is_text            ? MQTT_RULE_TEXT_NOT_UTF8
                                   : row->id == 0x08  ? MQTT_RULE_RESPONSE_TOPIC
                                   : row->id == 0x23  ? MQTT_RULE_TOPIC_ALIAS_ZERO
                                                      : MQTT_RULE_PROPERTY_VALUE);
            bytes_drop(bytes);
        }
}

/* Identifiers without a row, and every property of every packet cut after every byte of it. */
static void unknown_and_cut_properties(void **state) {
    char text[256];

    (void)state;
    for (unsigned id = 0; id < 128; id++) {
        size_t r = 0;
        while (r < ROWS && table[r].id != id)
            r++;
        snprintf(text, sizeof text, "%02X 00", id);
        if (r == ROWS)
            expect(&carriers[3], text, MQTT_RULE_PROPERTY_UNKNOWN);
    }
    for (size_t c = 0; c < CARRIERS; c++)
        for (size_t r = 0; r < ROWS; r++) {
            char hex[128];
            snprintf(text, sizeof text, "%02X %s", table[r].id, table[r].good);
            struct str whole = bytes_of(text);
            for (size_t len = 1; len < whole.len; len++) {
                snprintf(hex, sizeof hex, "%s%s", carriers[c].letter == 'A' && table[r].id != 0x15 ? "15 <m> " : "",
                         bytes_hex(str_make(whole.data, len)));
                expect(&carriers[c], hex, MQTT_RULE_TRUNCATED);
            }
            bytes_drop(whole);
        }
}

static void names_every_property(void **state) {
    (void)state;
    assert_string_equal(mqtt_property_name(0x21), "receive_maximum");
    assert_string_equal(mqtt_property_name(0x7F), "unknown property");
    assert_string_equal(mqtt_property_name(1000), "unknown property");
    for (size_t r = 0; r < ROWS; r++)
        assert_string_not_equal(mqtt_property_name(table[r].id), "unknown property");
}

/* [MQTT-3.3.2-17], [MQTT-3.3.2-18] */
static void walks_user_properties_in_order(void **state) {
    struct mqtt_packet packet;
    struct str bytes, name, value, rest;

    (void)state;
    assert_int_equal(decode(&carriers[3], "26 <a> <1> 0B 05 26 <b> <> 03 <text> 26 <> <2> 0B FF7F 26 <a> <3>", &packet, &bytes), 0);
    static const char *const want[] = { "a", "1", "b", "", "", "2", "a", "3" };
    rest = packet.as.publish.properties.encoded;
    for (size_t i = 0; i < 8; i += 2) {
        assert_true(mqtt_next_user_property(&rest, &name, &value));
        assert_true(str_eq_c(name, want[i]) && str_eq_c(value, want[i + 1]));
    }
    assert_false(mqtt_next_user_property(&rest, &name, &value));
    uint32_t id = 0;
    rest = packet.as.publish.properties.encoded;
    assert_true(mqtt_next_subscription_id(&rest, &id) && id == 5);
    assert_true(mqtt_next_subscription_id(&rest, &id) && id == 16383);
    assert_false(mqtt_next_subscription_id(&rest, &id));
    bytes_drop(bytes);
}

/*
 * [MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-17], [MQTT-3.3.2-18], [MQTT-3.3.2-20]: what every receiver gets as it
 * came, and what none does.
 */
static struct forward_row {
    const char *name, *properties, *forwarded;
} forwards[] = {
    { "forwards nothing of nothing", "", "" },
    { "forwards all in its order", "09 <c> 26 <k> <v> 03 <t> 01 01 26 <k> <w> 08 <r>", "09 <c> 26 <k> <v> 03 <t> 01 01 26 <k> <w> 08 <r>" },
    { "keeps the expiry back", "26 <k> <v> 02 L9 26 <k> <w>", "26 <k> <v> 26 <k> <w>" },
    { "keeps the alias back", "23 H1 01 00", "01 00" },
    { "keeps subscription identifiers back", "0B 01 03 <t> 0B 02 0B FF7F", "03 <t>" },
    { "keeps all of them back", "02 L9 23 H1 0B 01", "" },
};

static void forwards_row(void **state) {
    const struct forward_row *row = *state;
    struct str want = bytes_of(row->forwarded), bytes;
    struct mqtt_packet packet;
    char to[256];

    assert_int_equal(decode(&carriers[3], row->properties, &packet, &bytes), MQTT_FINE);
    assert_int_equal(mqtt_forwarded_properties(&packet.as.publish.properties, NULL), want.len);
    assert_int_equal(mqtt_forwarded_properties(&packet.as.publish.properties, to), want.len);
    assert_memory_equal(to, want.data, want.len);
    bytes_drop(bytes);
    bytes_drop(want);
}

static void forwards_a_will_without_its_delay(void **state) {
    struct mqtt_packet packet;
    struct str bytes;
    char to[64];

    (void)state;
    assert_int_equal(decode(&carriers[1], "18 L5 26 <k> <v>", &packet, &bytes), MQTT_FINE);
    assert_int_equal(mqtt_forwarded_properties(&packet.as.connect.will.properties, to), 7);
    assert_memory_equal(to, "\x26\0\1k\0\1v", 7);
    bytes_drop(bytes);
}

/* Nanoseconds to decode a PUBLISH with so many user properties and to walk them, the best of some. */
static int64_t decode_many(size_t count) {
    struct mqtt_limits limits = limits_of(S5);
    struct buf properties = BUF_INIT(16 << 20), text = BUF_INIT(16 << 20);
    struct mqtt_packet packet;
    int64_t best = INT64_MAX;

    for (size_t i = 0; i < count; i++)
        buf_append(&properties, "\x26\0\3key\0\5value", 13);
    buf_append_char(&text, 0x30);
    size_t body = 3 + 4 + properties.len;
    bytes_append_varint(&text, body);
    buf_append(&text, "\0\1t", 3);
    for (int shift = 0; shift < 28; shift += 7) /* room for four bytes, so the count is at least 2 MiB / 13 */
        buf_append_char(&text, (char)((properties.len >> shift & 0x7F) | (shift < 21 ? 0x80 : 0)));
    buf_append_str(&text, buf_str(&properties));
    for (int round = 0; round < 7; round++) {
        struct str rest, name, value;
        size_t walked = 0;
        int64_t began = clock_mono_ns();
        assert_int_equal(mqtt_decode(buf_str(&text), &limits, &packet), MQTT_FINE);
        rest = packet.as.publish.properties.encoded;
        while (mqtt_next_user_property(&rest, &name, &value))
            walked++;
        int64_t took = clock_mono_ns() - began;
        best = took < best ? took : best;
        assert_int_equal(walked, count);
    }
    buf_release(&properties);
    buf_release(&text);
    return best;
}

/* CVE-2021-41039: twice the properties are twice the time, and not four times. */
static void many_user_properties_in_linear_time(void **state) {
    int64_t some = decode_many(170000), twice = decode_many(340000);

    (void)state;
    if (twice > 3 * some)
        fail_msg("170,000 took %lld ns, 340,000 took %lld ns", (long long)some, (long long)twice);
}

static void makes_single_properties(void **state) {
    char to[16];
    struct str huge = { to, 65536 };

    (void)state;
    assert_int_equal(mqtt_user_property(to, STR("k"), STR("v")), 7);
    assert_memory_equal(to, "\x26\0\1k\0\1v", 7);
    assert_int_equal(mqtt_user_property(NULL, huge, STR("v")), 0);
    assert_int_equal(mqtt_subscription_id(to, 268435455), MQTT_SUBSCRIPTION_ID_MAX);
    assert_memory_equal(to, "\x0B\xFF\xFF\xFF\x7F", 5);
    assert_int_equal(mqtt_subscription_id(to, 1), 2);
}

int main(void) {
    struct CMUnitTest tests[sizeof forwards / sizeof forwards[0] + 9] = {
        cmocka_unit_test(each_property_in_each_packet),
        cmocka_unit_test(each_property_twice),
        cmocka_unit_test(each_value_that_is_none),
        cmocka_unit_test(unknown_and_cut_properties),
        cmocka_unit_test(names_every_property),
        cmocka_unit_test(walks_user_properties_in_order),
        cmocka_unit_test(forwards_a_will_without_its_delay),
        cmocka_unit_test(many_user_properties_in_linear_time),
        cmocka_unit_test(makes_single_properties),
    };
    size_t used = 9;

    ROW_TESTS(tests, used, forwards, forwards_row);
    return cmocka_run_group_tests_name("mqtt_packet_properties", tests, NULL, NULL);
}
