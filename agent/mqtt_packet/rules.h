/*
 * agent/mqtt_packet/rules.h: every rule that a packet can break, in one table: its name, the MQTT 5 reason code for it,
 * what Mosquitto 2.1 answers where that differs, and words with the number of the normative statement. Numbers are MQTT
 * 5's; "3.1.1:" marks the older specification's where it numbers the same rule differently, "section" a rule without one.
 *
 * Where the specification leaves the choice, the reason code is Mosquitto's. SILENT: Mosquitto closes without a word.
 */
#ifndef HELIOGRAF_MQTT_PACKET_RULES_H
#define HELIOGRAF_MQTT_PACKET_RULES_H

#include "agent/mqtt_packet/protocol.h"

#define MQTT_RULES(X)                                                                                                  \
    /* the fixed header */                                                                                             \
    X(FIRST_NOT_CONNECT, 0x82, SILENT, "[MQTT-3.1.0-1] the first packet of a client must be CONNECT")                  \
    X(SECOND_CONNECT, 0x82, 0x82, "[MQTT-3.1.0-2] a second CONNECT on one connection")                                 \
    X(TYPE_RESERVED, 0x82, 0x82, "[section 2.1.2] a packet type that this version reserves")                           \
    X(TYPE_UNEXPECTED, 0x82, 0x82, "[section 2.1.2] a packet type that this side does not send, or not yet")           \
    X(FLAGS, 0x81, 0x81, "[MQTT-2.1.3-1, 3.1.1: MQTT-2.2.2-2] flags that the packet type does not have")               \
    X(LENGTH_TOO_LONG, 0x81, SILENT, "[section 2.1.4] a Remaining Length of more than four bytes")                     \
    X(LENGTH_NOT_MINIMAL, 0x81, 0x81, "[MQTT-1.5.5-1] a Remaining Length that is longer than its value needs")         \
    X(LENGTH_WRONG, 0x81, SILENT, "[section 3] a Remaining Length that the packet type cannot have")                   \
    X(PACKET_TOO_LARGE, 0x95, 0x95, "[MQTT-3.2.2-15] a packet above the maximum packet size")                          \
    X(NOT_WHOLE, 0x81, 0x81, "[section 2.1] not exactly one packet")                                                   \
    /* fields */                                                                                                       \
    X(TRUNCATED, 0x81, 0x81, "[section 1.2] a field reaches past the end of its packet")                               \
    X(TRAILING_BYTES, 0x81, 0x81, "[section 1.2] bytes behind the last field")                                         \
    X(TEXT_NOT_UTF8, 0x81, 0x81, "[MQTT-1.5.4-1, 3.1.1: MQTT-1.5.3-1] a string that is not UTF-8")                     \
    X(TEXT_NUL, 0x81, 0x81, "[MQTT-1.5.4-2, 3.1.1: MQTT-1.5.3-2] a string with U+0000")                                \
    X(TEXT_CONTROL, 0x81, 0x81, "[section 1.5.4] a string with a control character or a non-character")                \
    X(VARIABLE_INTEGER, 0x81, 0x81, "[MQTT-1.5.5-1] a variable byte integer of five bytes, or longer than needed")     \
    X(PACKET_ID_ZERO, 0x82, 0x82, "[MQTT-2.2.1-3, 3.1.1: MQTT-2.3.1-1] packet identifier 0")                           \
    X(REASON_UNDEFINED, 0x82, 0x82, "[section 2.4] a reason code that the packet type does not have")                  \
    /* properties */                                                                                                   \
    X(PROPERTY_UNKNOWN, 0x81, 0x81, "[section 2.2.2.2] an unknown property identifier")                                \
    X(PROPERTY_MISPLACED, 0x81, 0x82, "[section 2.2.2.2] a property that the packet type does not have")               \
    X(PROPERTY_TWICE, 0x82, 0x82, "[section 2.2.2.2] a property twice that may be there once")                         \
    X(PROPERTY_VALUE, 0x82, 0x82, "[section 2.2.2.2] a property with a value that it cannot have")                     \
    X(RESPONSE_TOPIC, 0x82, 0x82, "[MQTT-3.3.2-14] a response topic that is empty or has a wildcard")                  \
    X(TOPIC_ALIAS_ZERO, 0x94, 0x94, "[MQTT-3.3.2-8] topic alias 0")                                                    \
    X(TOPIC_ALIAS_LARGE, 0x94, 0x94, "[MQTT-3.3.2-9] a topic alias above the Topic Alias Maximum")                     \
    X(SUBSCRIPTION_ID, 0x82, 0x82, "[MQTT-3.3.4-6] a subscription identifier in a client's PUBLISH")                   \
    X(AUTH_DATA_ALONE, 0x82, 0x82, "[section 3.1.2.11.10] authentication data without a method")                       \
    X(AUTH_METHOD_MISSING, 0x82, 0x82, "[MQTT-4.12.0-5] AUTH without an authentication method")                        \
    X(SERVER_SESSION_EXPIRY, 0x82, 0x82, "[MQTT-3.14.2-2] a server's DISCONNECT with a session expiry")                \
    /* CONNECT and CONNACK */                                                                                          \
    X(PROTOCOL_NAME, 0x84, SILENT, "[MQTT-3.1.2-1] a protocol name other than MQTT and MQIsdp")                        \
    X(PROTOCOL_LEVEL, 0x84, 0x84, "[MQTT-3.1.2-2] a protocol level that is unknown, or not of this name")              \
    X(CONNECT_CUT, 0x81, SILENT, "[MQTT-3.1.4-1] a CONNECT without connect flags or keep alive")                       \
    X(CONNECT_RESERVED, 0x81, SILENT, "[MQTT-3.1.2-3] the reserved connect flag is set")                               \
    X(WILL_QOS_3, 0x81, SILENT, "[MQTT-3.1.2-12, 3.1.1: MQTT-3.1.2-14] will QoS 3")                                    \
    X(WILL_FLAGS, 0x81, SILENT, "[MQTT-3.1.2-11, MQTT-3.1.2-13] will QoS or retain without a will")                    \
    X(WILL_MISSING, 0x81, 0x81, "[MQTT-3.1.2-9] the will flag is set and a field of the will is missing")              \
    X(USER_NAME_MISSING, 0x81, SILENT, "[MQTT-3.1.2-17, 3.1.1: MQTT-3.1.2-19] the user name is missing")               \
    X(USER_NAME_TEXT, 0x81, SILENT, "[MQTT-3.1.3-12, 3.1.1: MQTT-3.1.3-11] a user name that is not fit UTF-8")         \
    X(PASSWORD_MISSING, 0x81, SILENT, "[MQTT-3.1.2-19, 3.1.1: MQTT-3.1.2-21] the password is missing")                 \
    X(PASSWORD_ALONE, 0x81, SILENT, "[3.1.1: MQTT-3.1.2-22] a password without a user name")                           \
    X(CLIENT_ID_TEXT, 0x85, 0x85, "[MQTT-3.1.3-4] a client identifier that is not fit UTF-8")                          \
    X(CLIENT_ID_EMPTY, 0x85, 0x85, "[3.1.1: MQTT-3.1.3-8] an empty client identifier with a session to keep")          \
    X(CONNACK_FLAGS, 0x81, 0x81, "[MQTT-3.2.2-1] CONNACK with reserved flags")                                         \
    X(CONNACK_SESSION, 0x82, 0x82, "[MQTT-3.2.2-6, 3.1.1: MQTT-3.2.2-4] a refusal with session present")               \
    /* PUBLISH and wills */                                                                                            \
    X(QOS_3, 0x81, 0x81, "[MQTT-3.3.1-4] QoS 3")                                                                       \
    X(QOS_0_DUP, 0x81, 0x81, "[MQTT-3.3.1-2] DUP with QoS 0")                                                          \
    X(QOS_UNSUPPORTED, 0x9B, 0x9B, "[MQTT-3.2.2-11, MQTT-3.2.2-12] a QoS above the maximum")                           \
    X(RETAIN_UNSUPPORTED, 0x9A, 0x9A, "[MQTT-3.2.2-13, MQTT-3.2.2-14] RETAIN where it is not available")               \
    X(TOPIC_EMPTY, 0x82, 0x81, "[MQTT-4.7.3-1] an empty topic without a topic alias")                                  \
    X(TOPIC_WILDCARD, 0x90, 0x81, "[MQTT-3.3.2-2, MQTT-4.7.0-1, 3.1.1: MQTT-4.7.1-1] a topic with a wildcard")         \
    X(TOPIC_LEVELS, 0x90, 0x81, "[section 4.7.3] a topic with more levels than we take")                               \
    X(PAYLOAD_NOT_UTF8, 0x99, 0x99, "[section 3.3.2.3.2] a payload that is not the UTF-8 it says to be")               \
    /* SUBSCRIBE, UNSUBSCRIBE and their answers */                                                                     \
    X(NO_FILTER, 0x82, 0x81, "[MQTT-3.8.3-2, MQTT-3.10.3-2, 3.1.1: MQTT-3.8.3-3] no topic filter")                     \
    X(FILTER_EMPTY, 0x8F, 0x81, "[MQTT-4.7.3-1] an empty topic filter")                                                \
    X(FILTER_HASH, 0x8F, 0x81, "[MQTT-4.7.1-1, 3.1.1: MQTT-4.7.1-2] # not alone in the last level")                    \
    X(FILTER_PLUS, 0x8F, 0x81, "[MQTT-4.7.1-2, 3.1.1: MQTT-4.7.1-3] + not alone in its level")                         \
    X(FILTER_LEVELS, 0x8F, 0x81, "[section 4.7.3] a topic filter with more levels than we take")                       \
    X(SHARE_NAME, 0x8F, 0x81, "[MQTT-4.8.2-1, MQTT-4.8.2-2] a share name that is empty or has a wildcard")             \
    X(SHARE_FILTER, 0x8F, 0x81, "[MQTT-4.8.2-2] a shared subscription without a topic filter")                         \
    X(SHARE_NO_LOCAL, 0x82, 0x82, "[MQTT-3.8.3-4] No Local on a shared subscription")                                  \
    X(OPTIONS_RESERVED, 0x81, 0x81, "[MQTT-3.8.3-5, 3.1.1: MQTT-3-8.3-4] reserved subscription options")               \
    X(OPTIONS_QOS, 0x82, 0x81, "[section 3.8.3.1, 3.1.1: MQTT-3-8.3-4] a subscription with QoS 3")                     \
    X(OPTIONS_RETAIN, 0x82, 0x81, "[section 3.8.3.1] a subscription with retain handling 3")                           \
    X(NO_REASONS, 0x82, 0x82, "[MQTT-3.8.4-6, 3.1.1: MQTT-3.8.4-5] an acknowledgement without reason codes")

/* MQTT_FINE, or the rule that was broken. */
enum mqtt_rule {
    MQTT_FINE = 0,
#define X(name, reason, mosquitto, words) MQTT_RULE_##name,
    MQTT_RULES(X)
#undef X
    MQTT_RULE_COUNT
};

/* "[MQTT-3.3.1-4] QoS 3": static, for logs and reason strings; "" for MQTT_FINE. */
const char *mqtt_rule_words(enum mqtt_rule rule);

/* The reason code for CONNACK or DISCONNECT in MQTT 5; 0 for MQTT_FINE. */
uint8_t mqtt_rule_reason(enum mqtt_rule rule);

/*
 * The reason code that Mosquitto 2.1 answers with when a packet of that type breaks the rule, byte for byte as its own
 * tests expect it; 0: it closes the connection without a word, as 3.x does but for two refusals of a CONNECT. `version`
 * is what the answer is written in. Whether a broken CONNECT is answered is the server's choice, and conformance suites
 * expect this one.
 */
uint8_t mqtt_rule_mosquitto(enum mqtt_rule rule, enum mqtt_type type, enum mqtt_version version);

#endif
