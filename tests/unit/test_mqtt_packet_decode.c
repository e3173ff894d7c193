/*
 * tests/unit/test_mqtt_packet_decode.c: what the specifications say about a packet that a receiver can see, a row each, named by the
 * statement. A number alone is MQTT 5's, "3.1.1" the older one's. Fields are checked further down.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/mqtt_bytes.h"
#include "tests/support/mqtt_limits.h"
#include "tests/support/parser_rows.h"

#define CONNECT_31(rest) "10 ( <MQIsdp> 03 " rest " )"
#define CONNECT_311(rest) "10 ( <MQTT> 04 " rest " )"
#define CONNECT_5(rest) "10 ( <MQTT> 05 " rest " )"
#define SUBSCRIBE_5(rest) "82 ( m7 () " rest " )"
#define RULE(name) MQTT_RULE_##name

static struct decode_row {
    const char *name;
    enum sender sender;
    const char *bytes;
    enum mqtt_rule want;
} rows[] = {
    /* strings and integers, in fields of every kind */
    { "[MQTT-1.5.4-1] ill-formed UTF-8 in a topic", C5, "30 ( <a\xED\xA0\x80> () )", RULE(TEXT_NOT_UTF8) },
    { "[MQTT-1.5.4-1] ill-formed UTF-8 in a filter", C5, SUBSCRIBE_5("<a\xC3> 00"), RULE(TEXT_NOT_UTF8) },
    { "[MQTT-1.5.4-1] ill-formed UTF-8 in a will topic", NEW, CONNECT_5("06 k9 () <i> () <a\xFF> <p>"), RULE(TEXT_NOT_UTF8) },
    { "[MQTT-1.5.4-1] ill-formed UTF-8 in a reason string", C5, "40 ( m1 00 ( 1F <\xC3> ) )", RULE(TEXT_NOT_UTF8) },
    { "[MQTT-1.5.4-1] 3.1.1: [MQTT-1.5.3-1] in a topic", C311, "30 ( <a\xF8> 'x' )", RULE(TEXT_NOT_UTF8) },
    { "[MQTT-1.5.4-2] U+0000 in a content type", C5, "30 ( <t> ( 03 s1 00 ) )", RULE(TEXT_NUL) },
    { "[MQTT-1.5.4-2] 3.1.1: [MQTT-1.5.3-2] in a filter", C311, "82 ( m1 s2 'a' 00 00 )", RULE(TEXT_NUL) },
    { "[MQTT-1.5.4-3] a byte order mark stays", C5, "30 ( <\xEF\xBB\xBF> () )", MQTT_FINE },
    { "[MQTT-1.5.4-3] 3.1.1: [MQTT-1.5.3-3] a byte order mark stays", C311, "30 ( <\xEF\xBB\xBF> )", MQTT_FINE },
    { "section 1.5.4: a control character in a user property", C5, "30 ( <t> ( 26 <k> <\x01> ) )", RULE(TEXT_CONTROL) },
    { "section 1.5.4: a non-character in a topic", C311, "30 ( <\xEF\xBF\xBE> )", RULE(TEXT_CONTROL) },
    { "[MQTT-1.5.5-1] a property length longer than needed", C5, "30 ( <t> 8000 )", RULE(VARIABLE_INTEGER) },
    { "[MQTT-1.5.5-1] a property length of five bytes", C5, "30 ( <t> 8080808001 )", RULE(VARIABLE_INTEGER) },
    { "[MQTT-1.5.5-1] a subscription identifier longer than needed", C5, "82 ( m1 ( 0B 8100 ) <a> 00 )", RULE(VARIABLE_INTEGER) },
    { "[MQTT-1.5.5-1] a property identifier longer than needed", C5, "30 ( <t> ( 8100 01 ) )", RULE(VARIABLE_INTEGER) },
    { "[MQTT-1.5.5-1] the largest subscription identifier", C5, "82 ( m1 ( 0B FFFFFF7F ) <a> 00 )", MQTT_FINE },
    { "[MQTT-1.5.5-1] a CONNECT of 5.0 whose length is padded", NEW, "10 8E00 <MQTT> 05 02 k9 () <i>", RULE(LENGTH_NOT_MINIMAL) },
    { "3.1.1: a CONNECT may pad its length", NEW, "10 8D00 <MQTT> 04 02 k9 <i>", MQTT_FINE },
    { "[MQTT-1.5.7-1] ill-formed UTF-8 in a property name", C5, "30 ( <t> ( 26 <\xFF> <v> ) )", RULE(TEXT_NOT_UTF8) },
    { "[MQTT-1.5.7-1] ill-formed UTF-8 in a property value", C5, "30 ( <t> ( 26 <k> <\xFF> ) )", RULE(TEXT_NOT_UTF8) },

    /* the fixed header, seen through the whole packet */
    { "[MQTT-2.1.3-1] PINGREQ with a flag", C5, "C1 00", RULE(FLAGS) },
    { "[MQTT-2.1.3-1] 3.1.1: [MQTT-2.2.2-1], [MQTT-2.2.2-2] PUBACK with a flag", C311, "48 ( m1 )", RULE(FLAGS) },
    { "[MQTT-3.8.1-1] SUBSCRIBE without its flag", C5, "80 ( m1 () <a> 00 )", RULE(FLAGS) },
    { "3.1.1: [MQTT-3.8.1-1] SUBSCRIBE with another flag", C311, "8A ( m1 <a> 00 )", RULE(FLAGS) },
    { "3.1: SUBSCRIBE may be a DUP", C31, "8A ( m1 <a> 00 )", MQTT_FINE },
    { "[MQTT-3.10.1-1] UNSUBSCRIBE without its flag", C5, "A0 ( m1 () <a> )", RULE(FLAGS) },
    { "3.1.1: [MQTT-3.10.1-1] UNSUBSCRIBE with all flags", C311, "AF ( m1 <a> )", RULE(FLAGS) },
    { "[MQTT-3.6.1-1] PUBREL without its flag", C5, "60 ( m1 )", RULE(FLAGS) },
    { "3.1.1: [MQTT-3.6.1-1] PUBREL with another flag", C311, "63 ( m1 )", RULE(FLAGS) },
    { "[MQTT-3.14.1-1] DISCONNECT with a flag", C5, "E1 00", RULE(FLAGS) },
    { "3.1.1: [MQTT-3.14.1-1] DISCONNECT with a flag", C311, "E8 00", RULE(FLAGS) },
    { "[MQTT-3.15.1-1] AUTH with a flag", C5, "F2 00", RULE(FLAGS) },
    { "[MQTT-3.1.0-1] PUBLISH before CONNECT", NEW, "30 ( <t> 'x' )", RULE(FIRST_NOT_CONNECT) },
    { "3.1.1: [MQTT-3.1.0-1] PINGREQ before CONNECT", NEW, "C0 00", RULE(FIRST_NOT_CONNECT) },
    { "[MQTT-3.1.0-2] a second CONNECT", C5, CONNECT_5("02 k9 () <i>"), RULE(SECOND_CONNECT) },
    { "3.1.1: [MQTT-3.1.0-2] a second CONNECT", C311, CONNECT_311("02 k9 <i>"), RULE(SECOND_CONNECT) },
    { "section 2.1.2: type 0", C311, "00 00", RULE(TYPE_RESERVED) },
    { "section 2.1.2: AUTH in 3.1.1", C311, "F0 00", RULE(TYPE_RESERVED) },
    { "section 2.1.2: SUBACK from a client", C5, "90 ( m1 () 00 )", RULE(TYPE_UNEXPECTED) },
    { "section 2.1.2: SUBSCRIBE from a server", S5, SUBSCRIBE_5("<a> 00"), RULE(TYPE_UNEXPECTED) },
    { "section 2.1.4: a Remaining Length of five bytes", C311, "30 8080808001", RULE(LENGTH_TOO_LONG) },
    { "section 3.12: PINGREQ with a body", C5, "C0 01 00", RULE(LENGTH_WRONG) },
    { "[MQTT-3.2.2-15] a packet above the maximum", C5, "30 FFFFFF7F", RULE(PACKET_TOO_LARGE) },
    { "one packet and a byte", C5, "C0 00 00", RULE(NOT_WHOLE) },
    { "less than one packet", C5, "30 05 00", RULE(NOT_WHOLE) },

    /* packet identifiers */
    { "[MQTT-2.2.1-2] QoS 0 has no packet identifier", C5, "30 ( <t> () 'x' )", MQTT_FINE },
    { "[MQTT-2.2.1-2] 3.1.1: [MQTT-2.3.1-5] QoS 0 has no packet identifier", C311, "30 ( <t> 'x' )", MQTT_FINE },
    { "[MQTT-2.2.1-3] PUBLISH QoS 1 with identifier 0", C5, "32 ( <t> m0 () )", RULE(PACKET_ID_ZERO) },
    { "[MQTT-2.2.1-3] PUBLISH QoS 2 with identifier 0", C5, "34 ( <t> m0 () )", RULE(PACKET_ID_ZERO) },
    { "[MQTT-2.2.1-3] SUBSCRIBE with identifier 0", C5, "82 ( m0 () <a> 00 )", RULE(PACKET_ID_ZERO) },
    { "[MQTT-2.2.1-3] UNSUBSCRIBE with identifier 0", C5, "A2 ( m0 () <a> )", RULE(PACKET_ID_ZERO) },
    { "[MQTT-2.2.1-3] 3.1.1: [MQTT-2.3.1-1] PUBLISH with identifier 0", C311, "32 ( <t> m0 'x' )", RULE(PACKET_ID_ZERO) },
    { "[MQTT-2.2.1-3] 3.1.1: [MQTT-2.3.1-1] SUBSCRIBE with identifier 0", C311, "82 ( m0 <a> 00 )", RULE(PACKET_ID_ZERO) },
    { "[MQTT-2.2.1-4] a server's PUBLISH with identifier 0", S5, "32 ( <t> m0 () )", RULE(PACKET_ID_ZERO) },
    { "[MQTT-2.2.1-5] PUBACK with identifier 0", C5, "40 ( m0 )", RULE(PACKET_ID_ZERO) },
    { "[MQTT-2.2.1-5] 3.1.1: [MQTT-2.3.1-6] PUBREC with identifier 0", C311, "50 ( m0 )", RULE(PACKET_ID_ZERO) },
    { "[MQTT-2.2.1-5] PUBREL with identifier 0", C5, "62 ( m0 )", RULE(PACKET_ID_ZERO) },
    { "[MQTT-2.2.1-5] PUBCOMP with identifier 0", C5, "70 ( m0 )", RULE(PACKET_ID_ZERO) },
    { "[MQTT-2.2.1-6] SUBACK with identifier 0", S5, "90 ( m0 () 00 )", RULE(PACKET_ID_ZERO) },
    { "[MQTT-2.2.2-1] no properties are a length of 0", C5, "30 ( <t> 00 )", MQTT_FINE },
    { "[MQTT-2.2.2-1] a missing property length", C5, "30 ( <t> )", RULE(TRUNCATED) },

    { "section 2.2.2.2: an unknown property identifier", C5, "30 ( <t> ( 7F 00 ) )", RULE(PROPERTY_UNKNOWN) },
    { "section 2.2.2.2: property identifier 0", C5, "30 ( <t> ( 00 00 ) )", RULE(PROPERTY_UNKNOWN) },
    { "section 2.2.2.2: an identifier of two bytes", C5, "30 ( <t> ( 8101 00 ) )", RULE(PROPERTY_UNKNOWN) },
    { "section 2.2.2.2: properties longer than the packet", C5, "30 ( <t> 05 01 00 )", RULE(TRUNCATED) },
    { "section 2.2.2.2: a property longer than the properties", C5, "30 ( <t> ( 02 0000 ) 0000 )", RULE(TRUNCATED) },

    /* CONNECT */
    { "[MQTT-3.1.2-1] MQTT", NEW, CONNECT_5("02 k9 () <i>"), MQTT_FINE },
    { "[MQTT-3.1.2-1] 3.1.1: MQTT", NEW, CONNECT_311("02 k9 <i>"), MQTT_FINE },
    { "3.1: MQIsdp", NEW, CONNECT_31("02 k9 <i>"), MQTT_FINE },
    { "[MQTT-3.1.2-1] 3.1.1: [MQTT-3.1.2-1] another name", NEW, "10 ( <MQTU> 04 02 k9 <i> )", RULE(PROTOCOL_NAME) },
    { "[MQTT-3.1.2-1] a shorter name", NEW, "10 ( <MQT> 04 02 k9 <i> )", RULE(PROTOCOL_NAME) },
    { "[MQTT-3.1.2-1] no name", NEW, "10 ( <> 04 02 k9 <i> )", RULE(PROTOCOL_NAME) },
    { "[MQTT-3.1.2-1] a name in lower case", NEW, "10 ( <mqtt> 04 02 k9 <i> )", RULE(PROTOCOL_NAME) },
    { "[MQTT-3.1.2-2] level 6", NEW, "10 ( <MQTT> 06 02 k9 <i> )", RULE(PROTOCOL_LEVEL) },
    { "[MQTT-3.1.2-2] level 2", NEW, "10 ( <MQTT> 02 02 k9 <i> )", RULE(PROTOCOL_LEVEL) },
    { "[MQTT-3.1.2-2] 3.1.1: [MQTT-3.1.2-2] MQTT with level 3", NEW, "10 ( <MQTT> 03 02 k9 <i> )", RULE(PROTOCOL_LEVEL) },
    { "[MQTT-3.1.2-2] MQIsdp with level 4", NEW, "10 ( <MQIsdp> 04 02 k9 <i> )", RULE(PROTOCOL_LEVEL) },
    { "[MQTT-3.1.2-2] level 5 of a bridge", NEW, "10 ( <MQTT> 85 02 k9 () <i> )", RULE(PROTOCOL_LEVEL) },
    { "[MQTT-2.1.3-1] CONNECT with a flag in its first byte", NEW, "11 ( <MQTT> 04 02 k9 <i> )", RULE(FLAGS) },
    { "3.1: CONNECT may have flags in its first byte", NEW, "14 ( <MQIsdp> 03 02 k9 <i> )", MQTT_FINE },
    { "[MQTT-3.1.2-3] the reserved flag", NEW, CONNECT_5("03 k9 () <i>"), RULE(CONNECT_RESERVED) },
    { "3.1.1: [MQTT-3.1.2-3] the reserved flag", NEW, CONNECT_311("01 k9 <i>"), RULE(CONNECT_RESERVED) },
    { "3.1: the first flag is not used", NEW, CONNECT_31("01 k9 <i>"), MQTT_FINE },
    { "[MQTT-3.1.2-9] a will", NEW, CONNECT_5("06 k9 () <i> () <t> <p>"), MQTT_FINE },
    { "[MQTT-3.1.2-9] a will without its fields", NEW, CONNECT_5("06 k9 () <i>"), RULE(WILL_MISSING) },
    { "[MQTT-3.1.2-9] a will without topic and payload", NEW, CONNECT_5("06 k9 () <i> ()"), RULE(WILL_MISSING) },
    { "[MQTT-3.1.2-9] a will without payload", NEW, CONNECT_5("06 k9 () <i> () <t>"), RULE(WILL_MISSING) },
    { "3.1.1: [MQTT-3.1.2-9] a will without payload", NEW, CONNECT_311("06 k9 <i> <t>"), RULE(WILL_MISSING) },
    { "[MQTT-3.1.2-11] will QoS without will", NEW, CONNECT_5("0A k9 () <i>"), RULE(WILL_FLAGS) },
    { "3.1.1: [MQTT-3.1.2-11], [MQTT-3.1.2-13] will QoS without will", NEW, CONNECT_311("12 k9 <i>"), RULE(WILL_FLAGS) },
    { "[MQTT-3.1.2-12] will QoS 2", NEW, CONNECT_5("16 k9 () <i> () <t> <p>"), MQTT_FINE },
    { "[MQTT-3.1.2-12] will QoS 3", NEW, CONNECT_5("1E k9 () <i> () <t> <p>"), RULE(WILL_QOS_3) },
    { "3.1.1: [MQTT-3.1.2-14] will QoS 3", NEW, CONNECT_311("1E k9 <i> <t> <p>"), RULE(WILL_QOS_3) },
    { "[MQTT-3.1.2-13] will retain without will", NEW, CONNECT_5("22 k9 () <i>"), RULE(WILL_FLAGS) },
    { "3.1.1: [MQTT-3.1.2-15] will retain without will", NEW, CONNECT_311("22 k9 <i>"), RULE(WILL_FLAGS) },
    { "[MQTT-3.1.2-16] a user name without its flag", NEW, CONNECT_5("02 k9 () <i> <u>"), RULE(TRAILING_BYTES) },
    { "3.1.1: [MQTT-3.1.2-18] a user name without its flag", NEW, CONNECT_311("02 k9 <i> <u>"), RULE(TRAILING_BYTES) },
    { "[MQTT-3.1.2-17] a flag without a user name", NEW, CONNECT_5("82 k9 () <i>"), RULE(USER_NAME_MISSING) },
    { "3.1.1: [MQTT-3.1.2-19] a flag without a user name", NEW, CONNECT_311("82 k9 <i>"), RULE(USER_NAME_MISSING) },
    { "3.1: a flag without a user name is none", NEW, CONNECT_31("82 k9 <i>"), MQTT_FINE },
    { "[MQTT-3.1.2-18] a password without its flag", NEW, CONNECT_5("82 k9 () <i> <u> <p>"), RULE(TRAILING_BYTES) },
    { "3.1.1: [MQTT-3.1.2-20] a password without its flag", NEW, CONNECT_311("82 k9 <i> <u> <p>"), RULE(TRAILING_BYTES) },
    { "[MQTT-3.1.2-19] a flag without a password", NEW, CONNECT_5("C2 k9 () <i> <u>"), RULE(PASSWORD_MISSING) },
    { "3.1.1: [MQTT-3.1.2-21] a flag without a password", NEW, CONNECT_311("C2 k9 <i> <u>"), RULE(PASSWORD_MISSING) },
    { "3.1: a flag without a password is none", NEW, CONNECT_31("C2 k9 <i> <u>"), MQTT_FINE },
    { "3.1.1: [MQTT-3.1.2-22] a password without a user name", NEW, CONNECT_311("42 k9 <i> <p>"), RULE(PASSWORD_ALONE) },
    { "5.0 allows a password alone", NEW, CONNECT_5("42 k9 () <i> <p>"), MQTT_FINE },
    { "a password may hold any bytes", NEW, CONNECT_311("C2 k9 <i> <u> s3 00FFED"), MQTT_FINE },
    { "[MQTT-3.1.3-1] all fields in their order", NEW, CONNECT_5("F6 k9 () <i> () <t> <p> <u> <w>"), MQTT_FINE },
    { "3.1.1: [MQTT-3.1.3-1] all fields in their order", NEW, CONNECT_311("F6 k9 <i> <t> <p> <u> <w>"), MQTT_FINE },
    { "[MQTT-3.1.3-3] no client identifier", NEW, CONNECT_5("02 k9 ()"), RULE(TRUNCATED) },
    { "3.1.1: [MQTT-3.1.3-3] no client identifier", NEW, CONNECT_311("02 k9"), RULE(TRUNCATED) },
    { "[MQTT-3.1.3-4] a client identifier with U+0000", NEW, CONNECT_5("02 k9 () s2 'i' 00"), RULE(CLIENT_ID_TEXT) },
    { "3.1.1: [MQTT-3.1.3-4] a client identifier with a surrogate", NEW, CONNECT_311("02 k9 <\xED\xA0\x80>"), RULE(CLIENT_ID_TEXT) },
    { "[MQTT-3.1.3-5] 23 letters and digits", NEW, CONNECT_5("02 k9 () <0123456789abcdefghijABC>"), MQTT_FINE },
    { "3.1.1: [MQTT-3.1.3-5] 23 letters and digits", NEW, CONNECT_311("02 k9 <DEFGHIJKLMNOPQRSTUVWXYZ>"), MQTT_FINE },
    { "[MQTT-3.1.3-6] no letters at all", NEW, CONNECT_5("02 k9 () <>"), MQTT_FINE },
    { "[MQTT-3.1.3-6] 5.0 names a session that stays, too", NEW, CONNECT_5("00 k9 () <>"), MQTT_FINE },
    { "3.1.1: [MQTT-3.1.3-6] no letters with a clean session", NEW, CONNECT_311("02 k9 <>"), MQTT_FINE },
    { "3.1.1: [MQTT-3.1.3-7], [MQTT-3.1.3-8] no letters and a session to keep", NEW, CONNECT_311("00 k9 <>"), RULE(CLIENT_ID_EMPTY) },
    { "3.1: always a name", NEW, CONNECT_31("02 k9 <>"), RULE(CLIENT_ID_EMPTY) },
    { "[MQTT-3.1.3-11] 3.1.1: [MQTT-3.1.3-10] a will topic that is not UTF-8", NEW, CONNECT_311("06 k9 <i> <\xC3> <p>"), RULE(TEXT_NOT_UTF8) },
    { "[MQTT-3.1.3-12] a user name that is not UTF-8", NEW, CONNECT_5("82 k9 () <i> <\xC3>"), RULE(USER_NAME_TEXT) },
    { "3.1.1: [MQTT-3.1.3-11] a user name with U+0000", NEW, CONNECT_311("82 k9 <i> s1 00"), RULE(USER_NAME_TEXT) },
    { "[MQTT-3.1.4-1] a CONNECT that ends before its flags", NEW, "10 ( <MQTT> 04 )", RULE(CONNECT_CUT) },
    { "[MQTT-3.1.4-1] a CONNECT that ends in its keep alive", NEW, "10 ( <MQTT> 05 02 00 )", RULE(CONNECT_CUT) },
    { "[MQTT-3.1.4-1] a CONNECT that ends in its name", NEW, "10 ( s4 'MQ' )", RULE(TRUNCATED) },
    { "3.1.1: [MQTT-3.1.4-1] bytes behind a CONNECT", NEW, CONNECT_311("02 k9 <i> 00"), RULE(TRAILING_BYTES) },
    { "[MQTT-4.7.0-1] a will topic with a wildcard", NEW, CONNECT_5("06 k9 () <i> () <a/#> <p>"), RULE(TOPIC_WILDCARD) },
    { "[MQTT-4.7.3-1] an empty will topic", NEW, CONNECT_311("06 k9 <i> <> <p>"), RULE(TOPIC_EMPTY) },
    { "section 3.1.2.11.10: authentication data alone", NEW, CONNECT_5("02 k9 ( 16 <d> ) <i>"), RULE(AUTH_DATA_ALONE) },
    { "section 3.1.2.11.9: a method and data", NEW, CONNECT_5("02 k9 ( 15 <m> 16 <d> ) <i>"), MQTT_FINE },
    { "section 3.1.2.11.3: receive maximum 0", NEW, CONNECT_5("02 k9 ( 21 s0 ) <i>"), RULE(PROPERTY_VALUE) },
    { "section 3.1.2.11.4: maximum packet size 0", NEW, CONNECT_5("02 k9 ( 27 L0 ) <i>"), RULE(PROPERTY_VALUE) },
    { "section 3.1.2.11.6: request response information 2", NEW, CONNECT_5("02 k9 ( 19 02 ) <i>"), RULE(PROPERTY_VALUE) },
    { "section 3.1.2.11.7: request problem information 2", NEW, CONNECT_5("02 k9 ( 17 02 ) <i>"), RULE(PROPERTY_VALUE) },
    { "section 3.1.3.2: a will property in the CONNECT's", NEW, CONNECT_5("02 k9 ( 18 L1 ) <i>"), RULE(PROPERTY_MISPLACED) },
    { "section 3.1.3.2: a CONNECT's property in the will's", NEW, CONNECT_5("06 k9 () <i> ( 21 s1 ) <t> <p>"), RULE(PROPERTY_MISPLACED) },
    { "section 3.1.3.2: a will delay", NEW, CONNECT_5("06 k9 () <i> ( 18 L1 ) <t> <p>"), MQTT_FINE },

    /* CONNACK, as a client reads it */
    { "[MQTT-3.2.2-1] reserved flags", S5, "20 ( 02 00 () )", RULE(CONNACK_FLAGS) },
    { "[MQTT-3.2.2-1] 3.1.1: section 3.2.2.1 reserved flags", S311, "20 ( 80 00 )", RULE(CONNACK_FLAGS) },
    { "3.1: CONNACK has no flags", S31, "20 ( FF 00 )", MQTT_FINE },
    { "[MQTT-3.2.2-6] a refusal with session present", S5, "20 ( 01 87 () )", RULE(CONNACK_SESSION) },
    { "3.1.1: [MQTT-3.2.2-4] a refusal with session present", S311, "20 ( 01 05 )", RULE(CONNACK_SESSION) },
    { "[MQTT-3.2.2-8] a reason code of another packet", S5, "20 ( 00 8E () )", RULE(REASON_UNDEFINED) },
    { "[MQTT-3.2.2-8] 3.1.1: return code 6", S311, "20 ( 00 06 )", RULE(REASON_UNDEFINED) },
    { "[MQTT-3.2.2-8] all return codes of 3.1.1: 1", S311, "20 ( 00 01 )", MQTT_FINE },
    { "[MQTT-3.2.2-8] all return codes of 3.1.1: 5", S311, "20 ( 00 05 )", MQTT_FINE },
    { "section 3.2.2.3.4: maximum QoS 2", S5, "20 ( 00 00 ( 24 02 ) )", RULE(PROPERTY_VALUE) },

    /* PUBLISH */
    { "[MQTT-3.3.1-1] DUP with QoS 1", C5, "3A ( <t> m1 () )", MQTT_FINE },
    { "[MQTT-3.3.1-2] DUP with QoS 0", C5, "38 ( <t> () )", RULE(QOS_0_DUP) },
    { "3.1.1: [MQTT-3.3.1-2] DUP with QoS 0", C311, "38 ( <t> )", RULE(QOS_0_DUP) },
    { "[MQTT-3.3.1-4] QoS 3", C5, "36 ( <t> m1 () )", RULE(QOS_3) },
    { "3.1.1: [MQTT-3.3.1-4] QoS 3", C311, "36 ( <t> m1 )", RULE(QOS_3) },
    { "3.1: QoS 3", C31, "36 ( <t> m1 )", RULE(QOS_3) },
    { "[MQTT-3.3.2-1] no topic field", C5, "30 ( 00 )", RULE(TRUNCATED) },
    { "3.1.1: [MQTT-3.3.2-1] no topic field", C311, "30 00", RULE(TRUNCATED) },
    { "[MQTT-3.3.2-2] a topic with a plus", C5, "30 ( <+opic> () )", RULE(TOPIC_WILDCARD) },
    { "3.1.1: [MQTT-3.3.2-2], [MQTT-4.7.1-1] a topic with a hash", C311, "30 ( <#opic> )", RULE(TOPIC_WILDCARD) },
    { "3.1.1: [MQTT-4.7.3-1] an empty topic", C311, "30 ( <> 'x' )", RULE(TOPIC_EMPTY) },
    { "section 3.3.2.1: an empty topic without an alias", C5, "30 ( <> () )", RULE(TOPIC_EMPTY) },
    { "section 3.3.2.1: an empty topic with an alias", C5, "30 ( <> ( 23 s3 ) )", MQTT_FINE },
    { "[MQTT-3.3.2-2] a topic with a wildcard and an alias", C5, "30 ( <#> ( 23 s3 ) )", RULE(TOPIC_WILDCARD) },
    { "[MQTT-3.3.2-8] topic alias 0", C5, "30 ( <t> ( 23 s0 ) )", RULE(TOPIC_ALIAS_ZERO) },
    { "[MQTT-3.3.2-9] a topic alias above the maximum", C5, "30 ( <t> ( 23 s11 ) )", RULE(TOPIC_ALIAS_LARGE) },
    { "[MQTT-3.3.2-12] the largest topic alias", C5, "30 ( <t> ( 23 s10 ) )", MQTT_FINE },
    { "[MQTT-3.3.2-13] a response topic that is not UTF-8", C5, "30 ( <t> ( 08 <\xC3> ) )", RULE(TEXT_NOT_UTF8) },
    { "[MQTT-3.3.2-14] a response topic with a wildcard", C5, "30 ( <t> ( 08 <a/#> ) )", RULE(RESPONSE_TOPIC) },
    { "[MQTT-3.3.2-14] a will's response topic with a wildcard", NEW, CONNECT_5("06 k9 () <i> ( 08 <+> ) <t> <p>"), RULE(RESPONSE_TOPIC) },
    { "[MQTT-3.3.2-14] an empty response topic", C5, "30 ( <t> ( 08 <> ) )", RULE(RESPONSE_TOPIC) },
    { "[MQTT-3.3.2-19] a content type that is not UTF-8", C5, "30 ( <t> ( 03 <\xC3> ) )", RULE(TEXT_NOT_UTF8) },
    { "[MQTT-3.3.4-6] a subscription identifier from a client", C5, "30 ( <t> ( 0B 01 ) )", RULE(SUBSCRIPTION_ID) },
    { "[MQTT-3.3.4-4] two subscription identifiers from a server", S5, "30 ( <t> ( 0B 01 0B 02 ) )", MQTT_FINE },
    { "section 3.3.2.3.8: subscription identifier 0", S5, "30 ( <t> ( 0B 00 ) )", RULE(PROPERTY_VALUE) },
    { "section 3.3.2.3.2: payload format 2", C5, "30 ( <t> ( 01 02 ) )", RULE(PROPERTY_VALUE) },
    { "correlation data are any bytes", C5, "30 ( <t> ( 09 s3 00FFED ) )", MQTT_FINE },
    { "a PUBLISH without payload", C311, "30 ( <t> )", MQTT_FINE },

    /* acknowledgements */
    { "section 3.4.2: an identifier alone", C5, "40 ( m1 )", MQTT_FINE },
    { "section 3.4.2: a reason code", C5, "40 ( m1 10 )", MQTT_FINE },
    { "section 3.4.2: a reason code and no properties", C5, "40 ( m1 87 () )", MQTT_FINE },
    { "section 3.4.2: half an identifier", C5, "40 ( 01 )", RULE(TRUNCATED) },
    { "section 3.4.2: bytes behind the properties", C5, "40 ( m1 00 () 00 )", RULE(TRAILING_BYTES) },
    { "[MQTT-3.4.2-1] PUBACK with an undefined reason code", C5, "40 ( m1 FF )", RULE(REASON_UNDEFINED) },
    { "[MQTT-3.4.2-1] PUBACK with a reason code of PUBREL", C5, "40 ( m1 92 )", RULE(REASON_UNDEFINED) },
    { "[MQTT-3.5.2-1] PUBREC with an undefined reason code", C5, "50 ( m1 04 )", RULE(REASON_UNDEFINED) },
    { "[MQTT-3.6.2-1] PUBREL with a reason code of PUBACK", C5, "62 ( m1 80 )", RULE(REASON_UNDEFINED) },
    { "[MQTT-3.6.2-1] PUBREL for an identifier not found", C5, "62 ( m1 92 )", MQTT_FINE },
    { "[MQTT-3.7.2-1] PUBCOMP with a reason code of PUBACK", C5, "70 ( m1 10 )", RULE(REASON_UNDEFINED) },

    /* SUBSCRIBE and UNSUBSCRIBE */
    { "[MQTT-3.8.3-1] a filter that is not UTF-8", C5, SUBSCRIBE_5("<\xC0\xAF> 00"), RULE(TEXT_NOT_UTF8) },
    { "3.1.1: [MQTT-3.8.3-1] a filter that is not UTF-8", C311, "82 ( m1 <\xC0\xAF> 00 )", RULE(TEXT_NOT_UTF8) },
    { "[MQTT-3.8.3-2] no filter", C5, SUBSCRIBE_5(""), RULE(NO_FILTER) },
    { "3.1.1: [MQTT-3.8.3-3] no filter", C311, "82 ( m1 )", RULE(NO_FILTER) },
    { "[MQTT-3.8.3-2] a filter without options", C5, SUBSCRIBE_5("<a>"), RULE(TRUNCATED) },
    { "[MQTT-3.8.3-4] No Local on a shared subscription", C5, SUBSCRIBE_5("<$share/g/a> 04"), RULE(SHARE_NO_LOCAL) },
    { "[MQTT-3.8.3-3] No Local", C5, SUBSCRIBE_5("<a> 04"), MQTT_FINE },
    { "[MQTT-3.8.3-5] option bit 6", C5, SUBSCRIBE_5("<a> 40"), RULE(OPTIONS_RESERVED) },
    { "[MQTT-3.8.3-5] option bit 7", C5, SUBSCRIBE_5("<a> 80"), RULE(OPTIONS_RESERVED) },
    { "3.1.1: [MQTT-3-8.3-4] option bit 2", C311, "82 ( m1 <a> 04 )", RULE(OPTIONS_RESERVED) },
    { "3.1.1: [MQTT-3-8.3-4] option bit 7", C311, "82 ( m1 <a> 80 )", RULE(OPTIONS_RESERVED) },
    { "3.1.1: [MQTT-3-8.3-4] QoS 3", C311, "82 ( m1 <a> 03 )", RULE(OPTIONS_QOS) },
    { "section 3.8.3.1: QoS 3", C5, SUBSCRIBE_5("<a> 03"), RULE(OPTIONS_QOS) },
    { "section 3.8.3.1: retain handling 2", C5, SUBSCRIBE_5("<a> 20"), MQTT_FINE },
    { "section 3.8.3.1: retain handling 3", C5, SUBSCRIBE_5("<a> 30"), RULE(OPTIONS_RETAIN) },
    { "section 3.8.2.1.2: subscription identifier 0", C5, "82 ( m1 ( 0B 00 ) <a> 00 )", RULE(PROPERTY_VALUE) },
    { "section 3.8.2.1.2: two subscription identifiers", C5, "82 ( m1 ( 0B 01 0B 02 ) <a> 00 )", RULE(PROPERTY_TWICE) },
    { "[MQTT-3.8.4-5] several filters", C5, SUBSCRIBE_5("<a> 00 <b/#> 01 <+> 02"), MQTT_FINE },
    { "a broken filter behind a good one", C5, SUBSCRIBE_5("<a> 00 <b#> 01"), RULE(FILTER_HASH) },
    { "[MQTT-4.7.1-1] 3.1.1: [MQTT-4.7.1-2] a hash glued to a word", C311, "82 ( m1 <a#> 00 )", RULE(FILTER_HASH) },
    { "3.1.1: [MQTT-4.7.1-3] a plus glued to a word", C311, "82 ( m1 <+a/b> 00 )", RULE(FILTER_PLUS) },
    { "3.1.1: [MQTT-4.7.3-1] an empty filter", C311, "82 ( m1 <> 00 )", RULE(FILTER_EMPTY) },
    { "3.1.1: [MQTT-4.7.3-2] U+0000 in a filter", C311, "A2 ( m1 s2 'a' 00 )", RULE(TEXT_NUL) },
    { "[MQTT-4.7.1-2] a plus glued to a word", C5, SUBSCRIBE_5("<ab/+e> 00"), RULE(FILTER_PLUS) },
    { "[MQTT-4.7.3-1] an empty filter", C5, SUBSCRIBE_5("<> 00"), RULE(FILTER_EMPTY) },
    { "[MQTT-4.8.2-1] a share without a name", C5, SUBSCRIBE_5("<$share//a> 00"), RULE(SHARE_NAME) },
    { "[MQTT-4.8.2-2] a share with a wildcard for a name", C311, "82 ( m1 <$share/+/a> 00 )", RULE(SHARE_NAME) },
    { "[MQTT-4.8.2-2] a share without a filter", C5, SUBSCRIBE_5("<$share/g> 00"), RULE(SHARE_FILTER) },
    { "[MQTT-3.10.3-1] a filter that is not UTF-8", C5, "A2 ( m1 () <\xFF> )", RULE(TEXT_NOT_UTF8) },
    { "3.1.1: [MQTT-3.10.3-1] a filter that is not UTF-8", C311, "A2 ( m1 <\xFF> )", RULE(TEXT_NOT_UTF8) },
    { "[MQTT-3.10.3-2] no filter", C5, "A2 ( m1 () )", RULE(NO_FILTER) },
    { "3.1.1: [MQTT-3.10.3-2] no filter", C311, "A2 ( m1 )", RULE(NO_FILTER) },
    { "[MQTT-3.10.4-6] several filters", C311, "A2 ( m1 <a> <b> )", MQTT_FINE },
    { "UNSUBSCRIBE has no options", C311, "A2 ( m1 <a> 00 )", RULE(TRUNCATED) },

    /* SUBACK and UNSUBACK, as a client reads them */
    { "[MQTT-3.9.3-1] a code for each of three filters", S5, "90 ( m1 () 00 02 87 )", MQTT_FINE },
    { "[MQTT-3.9.3-2] an undefined code", S5, "90 ( m1 () 03 )", RULE(REASON_UNDEFINED) },
    { "3.1.1: [MQTT-3.9.3-2] a code of 5.0", S311, "90 ( m1 87 )", RULE(REASON_UNDEFINED) },
    { "3.1.1: [MQTT-3.9.3-2] a failure", S311, "90 ( m1 80 )", MQTT_FINE },
    { "[MQTT-3.8.4-6] SUBACK without a code", S5, "90 ( m1 () )", RULE(NO_REASONS) },
    { "[MQTT-3.11.3-2] an undefined code", S5, "B0 ( m1 () 01 )", RULE(REASON_UNDEFINED) },
    { "[MQTT-3.11.3-1] a code for each of two filters", S5, "B0 ( m1 () 00 11 )", MQTT_FINE },
    { "3.1.1: UNSUBACK has no codes", S311, "B0 ( m1 )", MQTT_FINE },

    /* DISCONNECT and AUTH */
    { "section 3.14.2: nothing is a normal disconnection", C5, "E0 00", MQTT_FINE },
    { "section 3.14.2: a reason code alone", C5, "E0 ( 04 )", MQTT_FINE },
    { "[MQTT-3.14.2-1] an undefined reason code", C5, "E0 ( 01 )", RULE(REASON_UNDEFINED) },
    { "[MQTT-3.14.2-2] a server's session expiry", S5, "E0 ( 00 ( 11 L9 ) )", RULE(SERVER_SESSION_EXPIRY) },
    { "section 3.14.2.2.2: a client's session expiry", C5, "E0 ( 00 ( 11 L9 ) )", MQTT_FINE },
    { "[MQTT-3.15.2-1] an undefined reason code", C5, "F0 ( 01 ( 15 <m> ) )", RULE(REASON_UNDEFINED) },
    { "[MQTT-3.15.2-1] re-authentication", C5, "F0 ( 19 ( 15 <m> 16 <d> ) )", MQTT_FINE },
    { "[MQTT-4.12.0-5] no method", C5, "F0 ( 18 () )", RULE(AUTH_METHOD_MISSING) },
};

static bool hit[MQTT_RULE_COUNT];

static void expect(struct str bytes, const struct mqtt_limits *limits, enum mqtt_rule want) {
    struct mqtt_packet packet;
    enum mqtt_rule got = mqtt_decode(bytes, limits, &packet);

    hit[got] = true;
    if (got != want)
        fail_msg("%s: '%s', not '%s'", bytes_hex(bytes), mqtt_rule_words(got), mqtt_rule_words(want));
}

static void judges_row(void **state) {
    const struct decode_row *row = *state;
    struct mqtt_limits limits = limits_of(row->sender);
    struct str bytes = bytes_of(row->bytes);

    if (row->want == RULE(PACKET_TOO_LARGE))
        limits.max_packet_size = 1000;
    expect(bytes, &limits, row->want);
    bytes_drop(bytes);
}

static void one(enum sender sender, const char *text, struct mqtt_limits *limits, enum mqtt_rule want) {
    struct str bytes = bytes_of(text);

    limits->version = limits_of(sender).version;
    limits->accepts = limits_of(sender).accepts;
    expect(bytes, limits, want);
    bytes_drop(bytes);
}

/* [MQTT-3.2.2-11], [MQTT-3.2.2-12], [MQTT-3.2.2-13], [MQTT-3.2.2-14]: what a server said in its CONNACK. */
static void limits_of_the_server(void **state) {
    struct mqtt_limits limits = MQTT_LIMITS_SERVER;

    (void)state;
    limits.maximum_qos = 1;
    one(C5, "32 ( <t> m1 () )", &limits, MQTT_FINE);
    one(C5, "34 ( <t> m1 () )", &limits, RULE(QOS_UNSUPPORTED));
    one(NEW, CONNECT_5("16 k9 () <i> () <t> <p>"), &limits, RULE(QOS_UNSUPPORTED));
    one(NEW, CONNECT_311("0E k9 <i> <t> <p>"), &limits, MQTT_FINE);
    limits.retain_available = false;
    one(C5, "31 ( <t> () )", &limits, RULE(RETAIN_UNSUPPORTED));
    one(NEW, CONNECT_5("26 k9 () <i> () <t> <p>"), &limits, RULE(RETAIN_UNSUPPORTED));
    limits.topic_levels = 2;
    one(C311, "30 ( <a/b> )", &limits, MQTT_FINE);
    one(C311, "30 ( <a/b/c> )", &limits, RULE(TOPIC_LEVELS));
    one(C5, SUBSCRIBE_5("<a/+/#> 00"), &limits, RULE(FILTER_LEVELS));
    one(C5, "A2 ( m1 () <a/b/c> )", &limits, RULE(FILTER_LEVELS));
    one(NEW, CONNECT_311("06 k9 <i> <a/b/c> <p>"), &limits, RULE(TOPIC_LEVELS));
}

static void payload_format_when_asked(void **state) {
    struct mqtt_limits limits = MQTT_LIMITS_SERVER;

    (void)state;
    one(C5, "30 ( <t> ( 01 01 ) FF )", &limits, MQTT_FINE);
    limits.check_payload = true;
    one(C5, "30 ( <t> ( 01 01 ) FF )", &limits, RULE(PAYLOAD_NOT_UTF8));
    one(C5, "30 ( <t> ( 01 00 ) FF )", &limits, MQTT_FINE);
    one(C5, "30 ( <t> () FF )", &limits, MQTT_FINE);
    one(C5, "30 ( <t> ( 01 01 ) 00 'a' C3A4 )", &limits, MQTT_FINE);
}

/* --- fields --- */

static struct str kept;

static struct mqtt_packet decoded(enum sender sender, const char *text) {
    struct mqtt_limits limits = limits_of(sender);
    struct mqtt_packet packet;

    bytes_drop(kept);
    kept = bytes_of(text);
    assert_string_equal(mqtt_rule_words(mqtt_decode(kept, &limits, &packet)), "");
    return packet;
}

static void assert_text(struct str got, const char *want) {
    if (!str_eq_c(got, want))
        fail_msg("'%.*s', not '%s'", STR_ARGS(got), want);
}

static void fields_of_connect(void **state) {
    struct mqtt_packet packet = decoded(
        NEW, CONNECT_5("F6 k300 ( 11 L77 21 s5 27 L900 22 s8 19 01 17 00 15 <SCRAM> 16 <data> 26 <a> <b> ) <me> "
                       "( 18 L6 01 01 02 L44 03 <text> 08 <reply> 09 <corr> ) <will/topic> <gone> <user> <secret>"));
    const struct mqtt_connect *connect = &packet.as.connect;
    const struct mqtt_properties *properties = &connect->properties, *will = &connect->will.properties;

    (void)state;
    assert_int_equal(packet.type, MQTT_CONNECT);
    assert_int_equal(connect->version, MQTT_5);
    assert_true(connect->clean_start && connect->has_will && connect->has_user_name && connect->has_password);
    assert_false(connect->bridge);
    assert_int_equal(connect->keep_alive_s, 300);
    assert_text(connect->client_id, "me");
    assert_text(connect->user_name, "user");
    assert_text(connect->password, "secret");
    assert_int_equal(properties->session_expiry_s, 77);
    assert_int_equal(properties->receive_maximum, 5);
    assert_int_equal(properties->maximum_packet_size, 900);
    assert_int_equal(properties->topic_alias_maximum, 8);
    assert_int_equal(properties->request_response_information, 1);
    assert_int_equal(properties->request_problem_information, 0);
    assert_text(properties->authentication_method, "SCRAM");
    assert_text(properties->authentication_data, "data");
    assert_text(connect->will.topic, "will/topic");
    assert_text(connect->will.payload, "gone");
    assert_int_equal(connect->will.qos, 2);
    assert_true(connect->will.retain);
    assert_int_equal(will->will_delay_s, 6);
    assert_int_equal(will->payload_format, 1);
    assert_int_equal(will->message_expiry_s, 44);
    assert_text(will->content_type, "text");
    assert_text(will->response_topic, "reply");
    assert_text(will->correlation_data, "corr");
}

/* What the specification says about a property that is not there, and which are not. */
static void defaults_of_properties(void **state) {
    struct mqtt_packet packet = decoded(NEW, CONNECT_5("02 k0 () <i>"));
    const struct mqtt_properties *absent = &packet.as.connect.properties;

    (void)state;
    assert_false(mqtt_has(absent, receive_maximum));
    assert_int_equal(absent->present, 0);
    assert_int_equal(absent->receive_maximum, 65535);
    assert_int_equal(absent->session_expiry_s, 0);
    assert_int_equal(absent->topic_alias_maximum, 0);
    assert_int_equal(absent->request_problem_information, 1);
    assert_int_equal(absent->request_response_information, 0);
    assert_int_equal(absent->maximum_qos, 2);
    assert_true(absent->retain_available && absent->wildcard_available && absent->subscription_id_available &&
                absent->shared_available);
    assert_true(absent->maximum_packet_size >= MQTT_PACKET_MAX);
    assert_int_equal(absent->authentication_method.len, 0);
    packet = decoded(NEW, CONNECT_311("02 k0 <i>"));
    assert_int_equal(packet.as.connect.properties.receive_maximum, 65535);
    assert_int_equal(packet.as.connect.version, MQTT_3_1_1);
}

static void bridges_and_credentials_of_old(void **state) {
    struct mqtt_packet packet = decoded(NEW, "10 ( <MQTT> 84 02 k1 <b> )");

    (void)state;
    assert_true(packet.as.connect.bridge);
    assert_int_equal(packet.as.connect.version, MQTT_3_1_1);
    packet = decoded(NEW, "10 ( <MQIsdp> 83 C2 k1 <b> <u> )");
    assert_true(packet.as.connect.bridge);
    assert_int_equal(packet.as.connect.version, MQTT_3_1);
    assert_true(packet.as.connect.has_user_name);
    assert_false(packet.as.connect.has_password);
    packet = decoded(NEW, CONNECT_311("C2 k1 <b> <> <>"));
    assert_true(packet.as.connect.has_user_name && packet.as.connect.has_password); /* empty is there */
}

/* [MQTT-3.1.2-2]: in which form a refused CONNECT is answered. */
static void version_to_answer_in(void **state) {
    static const struct {
        const char *bytes;
        enum mqtt_version want;
    } cases[] = {
        { "10 ( <MQTT> 06 02 k9 <i> )", MQTT_5 },         { "10 ( <MQTT> 02 02 k9 <i> )", MQTT_5 },
        { "10 ( <MQIsdp> 02 02 k9 <i> )", MQTT_5 },       { "10 ( <MQTT> 03 02 k9 <i> )", MQTT_3_1_1 },
        { "10 ( <MQIsdp> 04 02 k9 <i> )", MQTT_3_1_1 },   { "10 ( <MQTU> 04 02 k9 <i> )", MQTT_UNKNOWN },
        { "10 ( <MQTT> 05 03 k9 () <i> )", MQTT_5 },      { "10 ( <MQTT> 04 03 k9 <i> )", MQTT_3_1_1 },
        { "10 ( <MQIsdp> 05 02 k9 <i> )", MQTT_3_1_1 },   { "10 ( <MQTT> 00 02 k9 <i> )", MQTT_5 },
        { "10 ( <MQIsdp> 03 02 k9 <> )", MQTT_3_1 },      { "10 8080808001", MQTT_UNKNOWN },
        { "10 ( <MQTT> 05 02 k9 ( 7F ) <i> )", MQTT_5 },  { "10 ( s9 'MQTT' )", MQTT_UNKNOWN },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mqtt_limits limits = limits_of(NEW);
        struct str bytes = bytes_of(cases[i].bytes);
        struct mqtt_packet packet;
        memset(&packet, 0x5A, sizeof packet);
        assert_int_not_equal(mqtt_decode(bytes, &limits, &packet), MQTT_FINE);
        assert_int_equal(packet.type, MQTT_CONNECT);
        assert_int_equal(packet.as.connect.version, cases[i].want);
        bytes_drop(bytes);
    }
}

static void fields_of_publish(void **state) {
    struct mqtt_packet packet = decoded(C5, "3D ( <a/b> m515 ( 23 s9 02 L70000 ) 'payload' )");
    const struct mqtt_publish *publish = &packet.as.publish;

    (void)state;
    assert_int_equal(packet.type, MQTT_PUBLISH);
    assert_true(publish->dup && publish->retain);
    assert_int_equal(publish->qos, 2);
    assert_int_equal(publish->packet_id, 515);
    assert_text(publish->topic, "a/b");
    assert_text(publish->payload, "payload");
    assert_int_equal(publish->properties.topic_alias, 9);
    assert_int_equal(publish->properties.message_expiry_s, 70000);
    assert_true(publish->payload.data > kept.data && publish->payload.data < kept.data + kept.len); /* borrowed */
    packet = decoded(C311, "30 ( <t> )");
    assert_int_equal(publish->packet_id, 0);
    assert_int_equal(publish->payload.len, 0);
    assert_int_equal(publish->properties.present, 0);
}

static void fields_of_subscribe(void **state) {
    struct mqtt_packet packet = decoded(C5, "82 ( m258 ( 0B C801 ) <a/+> 01 <$share/g/b/#> 2A <c> 1D )");
    struct str rest = packet.as.subscribe.filters;
    struct mqtt_subscription sub;
    uint32_t id = 0;

    (void)state;
    assert_int_equal(packet.as.subscribe.packet_id, 258);
    assert_true(mqtt_next_subscription_id(&(struct str){ packet.as.subscribe.properties.encoded.data, 3 }, &id));
    assert_int_equal(id, 200);
    assert_true(mqtt_next_subscription(&rest, MQTT_5, &sub));
    assert_text(sub.filter, "a/+");
    assert_text(sub.topics, "a/+");
    assert_null(sub.share.data);
    assert_true(sub.qos == 1 && !sub.no_local && !sub.retain_as_published && sub.retain_handling == 0);
    assert_true(mqtt_next_subscription(&rest, MQTT_5, &sub));
    assert_text(sub.filter, "$share/g/b/#");
    assert_text(sub.share, "g");
    assert_text(sub.topics, "b/#");
    assert_true(sub.qos == 2 && !sub.no_local && sub.retain_as_published && sub.retain_handling == 2);
    assert_true(mqtt_next_subscription(&rest, MQTT_5, &sub));
    assert_text(sub.filter, "c");
    assert_true(sub.qos == 1 && sub.no_local && sub.retain_as_published && sub.retain_handling == 1);
    assert_false(mqtt_next_subscription(&rest, MQTT_5, &sub));
    packet = decoded(C311, "A2 ( m2 <a/+> <b> )");
    rest = packet.as.subscribe.filters;
    assert_true(mqtt_next_filter(&rest, &sub.filter));
    assert_text(sub.filter, "a/+");
    assert_true(mqtt_next_filter(&rest, &sub.filter));
    assert_text(sub.filter, "b");
    assert_false(mqtt_next_filter(&rest, &sub.filter));
}

static void fields_of_answers(void **state) {
    struct mqtt_packet packet = decoded(C5, "50 ( m9 97 ( 1F <full> ) )");

    (void)state;
    assert_int_equal(packet.type, MQTT_PUBREC);
    assert_int_equal(packet.as.ack.packet_id, 9);
    assert_int_equal(packet.as.ack.reason, MQTT_QUOTA_EXCEEDED);
    assert_text(packet.as.ack.properties.reason_string, "full");
    packet = decoded(C311, "62 ( m9 )");
    assert_int_equal(packet.type, MQTT_PUBREL);
    assert_int_equal(packet.as.ack.reason, MQTT_SUCCESS);
    packet = decoded(S5, "20 ( 01 00 ( 12 <id> 13 s30 24 01 25 00 28 00 29 00 2A 00 1A <info> 1C <other> ) )");
    const struct mqtt_properties *properties = &packet.as.connack.properties;
    assert_true(packet.as.connack.session_present);
    assert_text(properties->assigned_client_id, "id");
    assert_int_equal(properties->server_keep_alive_s, 30);
    assert_int_equal(properties->maximum_qos, 1);
    assert_false(properties->retain_available || properties->wildcard_available || properties->subscription_id_available ||
                 properties->shared_available);
    assert_text(properties->response_information, "info");
    assert_text(properties->server_reference, "other");
    packet = decoded(S311, "20 ( 00 04 )");
    assert_int_equal(packet.as.connack.reason, MQTT_BAD_USER_NAME_OR_PASSWORD);
    packet = decoded(S5, "90 ( m3 () 01 8F )");
    assert_int_equal(packet.as.suback.reasons.len, 2);
    assert_int_equal((uint8_t)packet.as.suback.reasons.data[1], MQTT_TOPIC_FILTER_INVALID);
    packet = decoded(C5, "E0 ( 04 ( 11 L5 ) )");
    assert_int_equal(packet.as.notice.reason, MQTT_DISCONNECT_WITH_WILL);
    assert_int_equal(packet.as.notice.properties.session_expiry_s, 5);
    packet = decoded(C5, "F0 00");
    assert_int_equal(packet.as.notice.reason, MQTT_SUCCESS);
    decoded(C5, "C0 00");
}

static void says_how_far_it_came(void **state) {
    struct mqtt_limits limits = limits_of(C5);
    struct str bytes = bytes_of("82 ( m1 () <a> 00 <b> 40 <c> 00 )");
    struct mqtt_packet packet;
    size_t at;

    (void)state;
    assert_int_equal(mqtt_decode_at(bytes, &limits, &packet, &at), MQTT_RULE_OPTIONS_RESERVED);
    assert_int_equal(at, 13); /* behind the options of the second filter */
    bytes_drop(bytes);
}

static void every_rule_has_a_row(void **state) {
    (void)state;
    for (int rule = MQTT_FINE; rule < MQTT_RULE_COUNT; rule++) {
        if (!hit[rule])
            fail_msg("nothing breaks '%s'", mqtt_rule_words((enum mqtt_rule)rule));
        if (rule == MQTT_FINE)
            continue;
        assert_int_equal(mqtt_rule_words((enum mqtt_rule)rule)[0], '[');
        assert_true(mqtt_rule_reason((enum mqtt_rule)rule) >= MQTT_UNSPECIFIED_ERROR);
        assert_true(mqtt_reason_fits(mqtt_rule_reason((enum mqtt_rule)rule), MQTT_DISCONNECT) ||
                    mqtt_reason_fits(mqtt_rule_reason((enum mqtt_rule)rule), MQTT_CONNACK));
    }
}

static int release(void **state) {
    (void)state;
    bytes_drop(kept);
    return 0;
}

int main(void) {
    struct CMUnitTest tests[sizeof rows / sizeof rows[0] + 11];
    size_t used = 0;

    ROW_TESTS(tests, used, rows, judges_row);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(limits_of_the_server);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(payload_format_when_asked);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(every_rule_has_a_row); /* behind all that break one */
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(fields_of_connect);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(defaults_of_properties);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(bridges_and_credentials_of_old);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(version_to_answer_in);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(fields_of_publish);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(fields_of_subscribe);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(fields_of_answers);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(says_how_far_it_came);
    return cmocka_run_group_tests_name("mqtt_packet_decode", tests, NULL, release);
}
