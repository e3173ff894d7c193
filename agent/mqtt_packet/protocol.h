/*
 * agent/mqtt_packet/protocol.h: the numbers of MQTT 3.1, 3.1.1 and 5.0, and their names in words. Reason codes are those
 * of MQTT 5 for all versions; the few that 3.x knows are translated on the wire (mqtt_connack_code).
 */
#ifndef HELIOGRAF_MQTT_PACKET_PROTOCOL_H
#define HELIOGRAF_MQTT_PACKET_PROTOCOL_H

#include <stdbool.h>
#include <stdint.h>

/* The protocol level as CONNECT writes it. */
enum mqtt_version { MQTT_UNKNOWN = 0, MQTT_3_1 = 3, MQTT_3_1_1 = 4, MQTT_5 = 5 };

/* Table 2-1. MQTT_WILL is no packet: it stands for the will inside a CONNECT, which has properties of its own. */
enum mqtt_type {
    MQTT_WILL = 0,
    MQTT_CONNECT = 1,
    MQTT_CONNACK = 2,
    MQTT_PUBLISH = 3,
    MQTT_PUBACK = 4,
    MQTT_PUBREC = 5,
    MQTT_PUBREL = 6,
    MQTT_PUBCOMP = 7,
    MQTT_SUBSCRIBE = 8,
    MQTT_SUBACK = 9,
    MQTT_UNSUBSCRIBE = 10,
    MQTT_UNSUBACK = 11,
    MQTT_PINGREQ = 12,
    MQTT_PINGRESP = 13,
    MQTT_DISCONNECT = 14,
    MQTT_AUTH = 15,
    MQTT_TYPES = 16,
};

/* A set of packet types: MQTT_IN(CONNECT) | MQTT_IN(AUTH). */
#define MQTT_IN(type) (1u << MQTT_##type)

#define MQTT_IN_ACKS (MQTT_IN(PUBACK) | MQTT_IN(PUBREC) | MQTT_IN(PUBREL) | MQTT_IN(PUBCOMP))
#define MQTT_FROM_CLIENT                                                                                               \
    (MQTT_IN(PUBLISH) | MQTT_IN_ACKS | MQTT_IN(SUBSCRIBE) | MQTT_IN(UNSUBSCRIBE) | MQTT_IN(PINGREQ) |                  \
     MQTT_IN(DISCONNECT) | MQTT_IN(AUTH))
#define MQTT_FROM_SERVER                                                                                               \
    (MQTT_IN(PUBLISH) | MQTT_IN_ACKS | MQTT_IN(SUBACK) | MQTT_IN(UNSUBACK) | MQTT_IN(PINGRESP) | MQTT_IN(DISCONNECT) | \
     MQTT_IN(AUTH))

/* Table 2-6: name, number, words, and the packets that may carry it. 0x00 to 0x02 are the granted QoS in a SUBACK. */
#define MQTT_REASONS(X)                                                                                                \
    X(SUCCESS, 0x00, "success", MQTT_IN(CONNACK) | MQTT_IN_ACKS | MQTT_IN(SUBACK) | MQTT_IN(UNSUBACK) |                \
      MQTT_IN(DISCONNECT) | MQTT_IN(AUTH))                                                                             \
    X(GRANTED_QOS_1, 0x01, "granted QoS 1", MQTT_IN(SUBACK))                                                           \
    X(GRANTED_QOS_2, 0x02, "granted QoS 2", MQTT_IN(SUBACK))                                                           \
    X(DISCONNECT_WITH_WILL, 0x04, "disconnect with will message", MQTT_IN(DISCONNECT))                                 \
    X(NO_MATCHING_SUBSCRIBERS, 0x10, "no matching subscribers", MQTT_IN(PUBACK) | MQTT_IN(PUBREC))                     \
    X(NO_SUBSCRIPTION_EXISTED, 0x11, "no subscription existed", MQTT_IN(UNSUBACK))                                     \
    X(CONTINUE_AUTHENTICATION, 0x18, "continue authentication", MQTT_IN(AUTH))                                         \
    X(RE_AUTHENTICATE, 0x19, "re-authenticate", MQTT_IN(AUTH))                                                         \
    X(UNSPECIFIED_ERROR, 0x80, "unspecified error", MQTT_REFUSING)                                                     \
    X(MALFORMED_PACKET, 0x81, "malformed packet", MQTT_CLOSING)                                                        \
    X(PROTOCOL_ERROR, 0x82, "protocol error", MQTT_CLOSING)                                                            \
    X(IMPLEMENTATION_SPECIFIC, 0x83, "implementation specific error", MQTT_REFUSING)                                   \
    X(UNSUPPORTED_VERSION, 0x84, "unsupported protocol version", MQTT_IN(CONNACK))                                     \
    X(CLIENT_ID_NOT_VALID, 0x85, "client identifier not valid", MQTT_IN(CONNACK))                                      \
    X(BAD_USER_NAME_OR_PASSWORD, 0x86, "bad user name or password", MQTT_IN(CONNACK))                                  \
    X(NOT_AUTHORIZED, 0x87, "not authorized", MQTT_REFUSING)                                                           \
    X(SERVER_UNAVAILABLE, 0x88, "server unavailable", MQTT_IN(CONNACK))                                                \
    X(SERVER_BUSY, 0x89, "server busy", MQTT_CLOSING)                                                                  \
    X(BANNED, 0x8A, "banned", MQTT_IN(CONNACK))                                                                        \
    X(SERVER_SHUTTING_DOWN, 0x8B, "server shutting down", MQTT_IN(DISCONNECT))                                         \
    X(BAD_AUTHENTICATION_METHOD, 0x8C, "bad authentication method", MQTT_CLOSING)                                      \
    X(KEEP_ALIVE_TIMEOUT, 0x8D, "keep alive timeout", MQTT_IN(DISCONNECT))                                             \
    X(SESSION_TAKEN_OVER, 0x8E, "session taken over", MQTT_IN(DISCONNECT))                                             \
    X(TOPIC_FILTER_INVALID, 0x8F, "topic filter invalid", MQTT_IN(SUBACK) | MQTT_IN(UNSUBACK) | MQTT_IN(DISCONNECT))   \
    X(TOPIC_NAME_INVALID, 0x90, "topic name invalid", MQTT_CLOSING | MQTT_IN(PUBACK) | MQTT_IN(PUBREC))                \
    X(PACKET_ID_IN_USE, 0x91, "packet identifier in use",                                                              \
      MQTT_IN(PUBACK) | MQTT_IN(PUBREC) | MQTT_IN(SUBACK) | MQTT_IN(UNSUBACK))                                         \
    X(PACKET_ID_NOT_FOUND, 0x92, "packet identifier not found", MQTT_IN(PUBREL) | MQTT_IN(PUBCOMP))                    \
    X(RECEIVE_MAXIMUM_EXCEEDED, 0x93, "receive maximum exceeded", MQTT_IN(DISCONNECT))                                 \
    X(TOPIC_ALIAS_INVALID, 0x94, "topic alias invalid", MQTT_IN(DISCONNECT))                                           \
    X(PACKET_TOO_LARGE, 0x95, "packet too large", MQTT_CLOSING)                                                        \
    X(MESSAGE_RATE_TOO_HIGH, 0x96, "message rate too high", MQTT_IN(DISCONNECT))                                       \
    X(QUOTA_EXCEEDED, 0x97, "quota exceeded", MQTT_CLOSING | MQTT_IN(PUBACK) | MQTT_IN(PUBREC) | MQTT_IN(SUBACK))      \
    X(ADMINISTRATIVE_ACTION, 0x98, "administrative action", MQTT_IN(DISCONNECT))                                       \
    X(PAYLOAD_FORMAT_INVALID, 0x99, "payload format invalid", MQTT_CLOSING | MQTT_IN(PUBACK) | MQTT_IN(PUBREC))        \
    X(RETAIN_NOT_SUPPORTED, 0x9A, "retain not supported", MQTT_CLOSING)                                                \
    X(QOS_NOT_SUPPORTED, 0x9B, "QoS not supported", MQTT_CLOSING)                                                      \
    X(USE_ANOTHER_SERVER, 0x9C, "use another server", MQTT_CLOSING)                                                    \
    X(SERVER_MOVED, 0x9D, "server moved", MQTT_CLOSING)                                                                \
    X(SHARED_NOT_SUPPORTED, 0x9E, "shared subscriptions not supported", MQTT_IN(SUBACK) | MQTT_IN(DISCONNECT))         \
    X(CONNECTION_RATE_EXCEEDED, 0x9F, "connection rate exceeded", MQTT_CLOSING)                                        \
    X(MAXIMUM_CONNECT_TIME, 0xA0, "maximum connect time", MQTT_IN(DISCONNECT))                                         \
    X(SUBSCRIPTION_IDS_NOT_SUPPORTED, 0xA1, "subscription identifiers not supported",                                  \
      MQTT_IN(SUBACK) | MQTT_IN(DISCONNECT))                                                                           \
    X(WILDCARDS_NOT_SUPPORTED, 0xA2, "wildcard subscriptions not supported", MQTT_IN(SUBACK) | MQTT_IN(DISCONNECT))

#define MQTT_CLOSING (MQTT_IN(CONNACK) | MQTT_IN(DISCONNECT))
#define MQTT_REFUSING                                                                                                  \
    (MQTT_CLOSING | MQTT_IN(PUBACK) | MQTT_IN(PUBREC) | MQTT_IN(SUBACK) | MQTT_IN(UNSUBACK))

enum mqtt_reason {
#define X(name, number, words, packets) MQTT_##name = number,
    MQTT_REASONS(X)
#undef X
};

/* Session Expiry Interval that stands for "never" (MQTT 5 section 3.1.2.11.2). */
#define MQTT_NEVER_EXPIRES UINT32_C(0xFFFFFFFF)

/* "PUBLISH"; "reserved" for 0 and what is no type. */
const char *mqtt_type_name(enum mqtt_type type);
/* "3.1.1"; "unknown" for MQTT_UNKNOWN and what is none. */
const char *mqtt_version_name(enum mqtt_version version);
/* "topic alias invalid"; "undefined reason code" for a number without a meaning. */
const char *mqtt_reason_name(uint8_t reason);
/* Whether a packet of that type may carry the reason code. */
bool mqtt_reason_fits(uint8_t reason, enum mqtt_type type);

/*
 * CONNACK's return code in MQTT 3.x (table 3.1 there) for a reason code: 0 for success, and for errors without a code of
 * their own, where the connection is closed without a CONNACK ([MQTT-3.2.2-6] of 3.1.1). And back: 0 for undefined codes.
 */
uint8_t mqtt_connack_code(uint8_t reason);
uint8_t mqtt_connack_reason(uint8_t code);

#endif
