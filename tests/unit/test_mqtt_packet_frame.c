/* tests/unit/test_mqtt_packet_frame.c: where a packet ends, and what the fixed header alone can break. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/mqtt_packet/frame.h"
#include "tests/support/mqtt_bytes.h"
#include "tests/support/parser_rows.h"

enum { SMALL = 64 };

static struct frame_row {
    const char *name, *bytes;
    enum mqtt_version version; /* MQTT_UNKNOWN: before the CONNECT */
    enum mqtt_frame_state state;
    uint32_t size; /* or the rule */
} frames[] = {
    { "nothing yet asks for two bytes", "", MQTT_5, MQTT_FRAME_MORE, 2 },
    { "a type alone asks for two bytes", "30", MQTT_5, MQTT_FRAME_MORE, 2 },
    { "an unfinished length asks for its next byte", "30 80", MQTT_5, MQTT_FRAME_MORE, 3 },
    { "an unfinished length asks for its third byte", "30 FF FF", MQTT_3_1_1, MQTT_FRAME_MORE, 4 },
    { "an unfinished length asks for its fourth byte", "30 FF FF FF", MQTT_3_1_1, MQTT_FRAME_MORE, 5 },
    { "a header asks for its packet", "30 0A", MQTT_5, MQTT_FRAME_MORE, 12 },
    { "a packet without its last byte asks for it", "30 03 00 01", MQTT_5, MQTT_FRAME_MORE, 5 },
    { "an empty packet is whole", "C0 00", MQTT_5, MQTT_FRAME_WHOLE, 2 },
    { "a packet ends where it says", "30 03 00 01 61", MQTT_5, MQTT_FRAME_WHOLE, 5 },
    { "what stands behind a packet is left alone", "C0 00 FF FF FF FF", MQTT_5, MQTT_FRAME_WHOLE, 2 },
    { "the smallest two-byte length", "30 8001", MQTT_5, MQTT_FRAME_BROKEN, MQTT_RULE_PACKET_TOO_LARGE },
    { "a packet of the maximum size", "30 3E", MQTT_5, MQTT_FRAME_MORE, SMALL },
    { "one byte above the maximum size", "30 3F", MQTT_5, MQTT_FRAME_BROKEN, MQTT_RULE_PACKET_TOO_LARGE },
    { "256 MB are refused with five bytes", "30 FFFFFF7F", MQTT_5, MQTT_FRAME_BROKEN, MQTT_RULE_PACKET_TOO_LARGE },

    { "[MQTT-3.1.0-1] CONNECT may come first", "10 1C", MQTT_UNKNOWN, MQTT_FRAME_MORE, 30 },
    { "[MQTT-3.1.0-1] PUBLISH may not, after one byte", "30", MQTT_UNKNOWN, MQTT_FRAME_BROKEN, MQTT_RULE_FIRST_NOT_CONNECT },
    { "[MQTT-3.1.0-1] type 0 may not", "00", MQTT_UNKNOWN, MQTT_FRAME_BROKEN, MQTT_RULE_FIRST_NOT_CONNECT },
    { "[MQTT-3.1.0-1] AUTH may not", "F0", MQTT_UNKNOWN, MQTT_FRAME_BROKEN, MQTT_RULE_FIRST_NOT_CONNECT },
    { "[MQTT-3.1.0-2] a second CONNECT", "10 0C", MQTT_3_1_1, MQTT_FRAME_BROKEN, MQTT_RULE_SECOND_CONNECT },
    { "[MQTT-3.1.0-2] a second CONNECT of 5.0", "10 0C", MQTT_5, MQTT_FRAME_BROKEN, MQTT_RULE_SECOND_CONNECT },
    { "3.1.1: [MQTT-3.1.0-1] SUBSCRIBE may not come first", "82 06", MQTT_UNKNOWN, MQTT_FRAME_BROKEN, MQTT_RULE_FIRST_NOT_CONNECT },
    { "a CONNECT's flags wait for its version", "1F 04", MQTT_UNKNOWN, MQTT_FRAME_MORE, 6 },
    { "type 0 is reserved", "00", MQTT_5, MQTT_FRAME_BROKEN, MQTT_RULE_TYPE_RESERVED },
    { "type 0 is reserved, whatever follows", "0A C0", MQTT_5, MQTT_FRAME_BROKEN, MQTT_RULE_TYPE_RESERVED },
    { "type 15 is reserved in 3.1.1", "F0", MQTT_3_1_1, MQTT_FRAME_BROKEN, MQTT_RULE_TYPE_RESERVED },
    { "type 15 is reserved in 3.1", "F0", MQTT_3_1, MQTT_FRAME_BROKEN, MQTT_RULE_TYPE_RESERVED },
    { "AUTH is a type of 5.0", "F0 00", MQTT_5, MQTT_FRAME_WHOLE, 2 },
    { "CONNACK is a server's", "20 03", MQTT_5, MQTT_FRAME_BROKEN, MQTT_RULE_TYPE_UNEXPECTED },
    { "SUBACK is a server's", "90 03", MQTT_3_1_1, MQTT_FRAME_BROKEN, MQTT_RULE_TYPE_UNEXPECTED },
    { "UNSUBACK is a server's", "B0 03", MQTT_5, MQTT_FRAME_BROKEN, MQTT_RULE_TYPE_UNEXPECTED },
    { "PINGRESP is a server's", "D0 00", MQTT_3_1, MQTT_FRAME_BROKEN, MQTT_RULE_TYPE_UNEXPECTED },

    { "a Remaining Length of five bytes", "30 80808080", MQTT_5, MQTT_FRAME_BROKEN, MQTT_RULE_LENGTH_TOO_LONG },
    { "a Remaining Length of five bytes in 3.1.1", "C0 8080808001", MQTT_3_1_1, MQTT_FRAME_BROKEN, MQTT_RULE_LENGTH_TOO_LONG },
    { "[MQTT-1.5.5-1] a length of two bytes for 0", "C0 8000", MQTT_5, MQTT_FRAME_BROKEN, MQTT_RULE_LENGTH_NOT_MINIMAL },
    { "[MQTT-1.5.5-1] a length of four bytes for 3", "30 83808000 000161", MQTT_5, MQTT_FRAME_BROKEN, MQTT_RULE_LENGTH_NOT_MINIMAL },
    { "3.1.1 may pad its length, as Mosquitto takes it", "C0 8000", MQTT_3_1_1, MQTT_FRAME_WHOLE, 3 },
    { "3.1 may pad its length to four bytes", "30 83808000 000161", MQTT_3_1, MQTT_FRAME_WHOLE, 8 },

    { "PINGREQ has no body", "C0 01", MQTT_5, MQTT_FRAME_BROKEN, MQTT_RULE_LENGTH_WRONG },
    { "PINGREQ has no body in 3.1.1", "C0 01", MQTT_3_1_1, MQTT_FRAME_BROKEN, MQTT_RULE_LENGTH_WRONG },
    { "PUBACK has two bytes in 3.1.1", "40 03", MQTT_3_1_1, MQTT_FRAME_BROKEN, MQTT_RULE_LENGTH_WRONG },
    { "PUBREC has two bytes in 3.1", "50 01", MQTT_3_1, MQTT_FRAME_BROKEN, MQTT_RULE_LENGTH_WRONG },
    { "PUBREL has two bytes in 3.1.1", "62 00", MQTT_3_1_1, MQTT_FRAME_BROKEN, MQTT_RULE_LENGTH_WRONG },
    { "PUBCOMP has two bytes in 3.1.1", "70 04", MQTT_3_1_1, MQTT_FRAME_BROKEN, MQTT_RULE_LENGTH_WRONG },
    { "PUBACK may have more in 5.0", "40 03", MQTT_5, MQTT_FRAME_MORE, 5 },
    { "DISCONNECT has no body in 3.1.1", "E0 01", MQTT_3_1_1, MQTT_FRAME_BROKEN, MQTT_RULE_LENGTH_WRONG },
    { "DISCONNECT may have one in 5.0", "E0 01", MQTT_5, MQTT_FRAME_MORE, 3 },
};

static struct mqtt_limits server_limits(enum mqtt_version version) {
    struct mqtt_limits limits = MQTT_LIMITS_SERVER;

    limits.max_packet_size = SMALL;
    limits.version = version;
    if (version != MQTT_UNKNOWN)
        limits.accepts = MQTT_FROM_CLIENT;
    return limits;
}

static void frames_row(void **state) {
    const struct frame_row *row = *state;
    struct mqtt_limits limits = server_limits(row->version);
    struct str bytes = bytes_of(row->bytes);
    struct mqtt_frame frame = mqtt_frame(bytes, &limits);

    assert_int_equal(frame.state, row->state);
    if (row->state == MQTT_FRAME_BROKEN)
        assert_string_equal(mqtt_rule_words(frame.rule), mqtt_rule_words((enum mqtt_rule)row->size));
    else
        assert_int_equal(frame.size, row->size);
    bytes_drop(bytes);
}

/*
 * [MQTT-2.1.3-1], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.14.1-1], [MQTT-3.15.1-1];
 * 3.1.1: [MQTT-2.2.2-1], [MQTT-2.2.2-2], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.14.1-1]
 */
static void all_flags_of_all_types(void **state) {
    static const uint16_t good[MQTT_TYPES] = { /* bit n: the flags n are right */
        0, 0xFFFF, 1, 0xFFFF, 1, 1, 4, 1, 4, 1, 4, 1, 1, 1, 1, 1,
    };

    (void)state;
    for (unsigned byte = 0x10; byte <= 0xFF; byte++) {
        char header[] = { (char)byte, byte >> 4 == MQTT_PINGREQ || byte >> 4 == MQTT_PINGRESP || byte >> 4 == MQTT_DISCONNECT ? 0 : 2 };
        for (enum mqtt_version version = MQTT_3_1; version <= MQTT_5; version++) {
            struct mqtt_limits limits = { .version = version, .accepts = 0xFFFF, .max_packet_size = 99 };
            bool reserved = byte >> 4 == MQTT_AUTH && version != MQTT_5;
            bool fine = version == MQTT_3_1 || (good[byte >> 4] >> (byte & 15) & 1) != 0;
            struct mqtt_frame frame = mqtt_frame(str_make(header, 2), &limits);
            assert_int_equal(frame.type, byte >> 4);
            assert_int_equal(frame.rule, reserved ? MQTT_RULE_TYPE_RESERVED : fine ? MQTT_FINE : MQTT_RULE_FLAGS);
        }
    }
}

/* Every length at the edges of its encodings (table 1-1), cut after every byte of the header. */
static void lengths_at_the_edges(void **state) {
    static const uint32_t edges[] = { 0, 1, 127, 128, 16383, 16384, 2097151, 2097152, MQTT_REMAINING_MAX };
    struct mqtt_limits limits = { .version = MQTT_5, .accepts = 0xFFFF, .max_packet_size = MQTT_PACKET_MAX };

    (void)state;
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        char text[32];
        snprintf(text, sizeof text, "30 r%u", edges[i]);
        struct str header = bytes_of(text);
        for (size_t len = 1; len < header.len; len++) {
            struct str cut = bytes_alone(str_make(header.data, len));
            struct mqtt_frame frame = mqtt_frame(cut, &limits);
            assert_int_equal(frame.state, MQTT_FRAME_MORE);
            assert_int_equal(frame.size, len + 1);
            assert_int_equal(frame.header, 0);
            bytes_drop(cut);
        }
        struct mqtt_frame frame = mqtt_frame(header, &limits);
        assert_int_equal(frame.state, edges[i] == 0 ? MQTT_FRAME_WHOLE : MQTT_FRAME_MORE);
        assert_int_equal(frame.header, header.len);
        assert_int_equal(frame.size, header.len + edges[i]);
        bytes_drop(header);
    }
}

/* A client hears a CONNACK or an AUTH first, and never what only clients send. */
static void a_client_frames_what_servers_send(void **state) {
    struct mqtt_limits limits = MQTT_LIMITS_CLIENT(MQTT_5);

    (void)state;
    assert_int_equal(mqtt_frame(STR("\x20\x03"), &limits).state, MQTT_FRAME_MORE);
    assert_int_equal(mqtt_frame(STR("\xF0\x03"), &limits).state, MQTT_FRAME_MORE);
    assert_int_equal(mqtt_frame(STR("\x30\x03"), &limits).rule, MQTT_RULE_TYPE_UNEXPECTED);
    limits.accepts = MQTT_FROM_SERVER;
    assert_int_equal(mqtt_frame(STR("\x30\x03"), &limits).state, MQTT_FRAME_MORE);
    assert_int_equal(mqtt_frame(STR("\xC0\x00"), &limits).rule, MQTT_RULE_TYPE_UNEXPECTED);
    assert_int_equal(mqtt_frame(STR("\x20\x03"), &limits).rule, MQTT_RULE_TYPE_UNEXPECTED);
}

int main(void) {
    struct CMUnitTest tests[sizeof frames / sizeof frames[0] + 3] = {
        cmocka_unit_test(all_flags_of_all_types),
        cmocka_unit_test(lengths_at_the_edges),
        cmocka_unit_test(a_client_frames_what_servers_send),
    };
    size_t used = 3;

    ROW_TESTS(tests, used, frames, frames_row);
    return cmocka_run_group_tests_name("mqtt_packet_frame", tests, NULL, NULL);
}
