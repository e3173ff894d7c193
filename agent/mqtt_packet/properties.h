/*
 * agent/mqtt_packet/properties.h: the properties of MQTT 5 (section 2.2.2): those that come once as fields, user
 * properties and subscription identifiers as a walk over the bytes.
 */
#ifndef HELIOGRAF_MQTT_PACKET_PROPERTIES_H
#define HELIOGRAF_MQTT_PACKET_PROPERTIES_H

#include "agent/base/str.h"
#include "agent/mqtt_packet/protocol.h"

/*
 * Table 2-4: identifier, field of struct mqtt_properties, kind, values that it can have, packets that may carry it.
 * Intervals are in seconds. They are written in this order, which is Mosquitto's for CONNACK.
 */
#define MQTT_PROPERTIES(X)                                                                                             \
    X(0x01, payload_format, BYTE, BOOLEAN, MQTT_IN(PUBLISH) | MQTT_IN(WILL))                                           \
    X(0x02, message_expiry_s, U32, ANY, MQTT_IN(PUBLISH) | MQTT_IN(WILL))                                              \
    X(0x03, content_type, TEXT, ANY, MQTT_IN(PUBLISH) | MQTT_IN(WILL))                                                 \
    X(0x08, response_topic, TEXT, TOPIC, MQTT_IN(PUBLISH) | MQTT_IN(WILL))                                             \
    X(0x09, correlation_data, BINARY, ANY, MQTT_IN(PUBLISH) | MQTT_IN(WILL))                                           \
    X(0x0B, subscription_id, VARINT, NOT_ZERO, MQTT_IN(PUBLISH) | MQTT_IN(SUBSCRIBE))                                  \
    X(0x11, session_expiry_s, U32, ANY, MQTT_IN(CONNECT) | MQTT_IN(CONNACK) | MQTT_IN(DISCONNECT))                     \
    X(0x12, assigned_client_id, TEXT, ANY, MQTT_IN(CONNACK))                                                           \
    X(0x13, server_keep_alive_s, U16, ANY, MQTT_IN(CONNACK))                                                           \
    X(0x15, authentication_method, TEXT, ANY, MQTT_IN(CONNECT) | MQTT_IN(CONNACK) | MQTT_IN(AUTH))                     \
    X(0x16, authentication_data, BINARY, ANY, MQTT_IN(CONNECT) | MQTT_IN(CONNACK) | MQTT_IN(AUTH))                     \
    X(0x17, request_problem_information, BYTE, BOOLEAN, MQTT_IN(CONNECT))                                              \
    X(0x18, will_delay_s, U32, ANY, MQTT_IN(WILL))                                                                     \
    X(0x19, request_response_information, BYTE, BOOLEAN, MQTT_IN(CONNECT))                                             \
    X(0x1A, response_information, TEXT, ANY, MQTT_IN(CONNACK))                                                         \
    X(0x1C, server_reference, TEXT, ANY, MQTT_IN(CONNACK) | MQTT_IN(DISCONNECT))                                       \
    X(0x1F, reason_string, TEXT, ANY, MQTT_IN_ANSWERS)                                                                 \
    X(0x22, topic_alias_maximum, U16, ANY, MQTT_IN(CONNECT) | MQTT_IN(CONNACK))                                        \
    X(0x23, topic_alias, U16, ALIAS, MQTT_IN(PUBLISH))                                                                 \
    X(0x24, maximum_qos, BYTE, BOOLEAN, MQTT_IN(CONNACK))                                                              \
    X(0x25, retain_available, BYTE, BOOLEAN, MQTT_IN(CONNACK))                                                         \
    X(0x26, user_property, PAIR, ANY, MQTT_IN_ANSWERS | MQTT_IN(CONNECT) | MQTT_IN(PUBLISH) | MQTT_IN(WILL) |          \
      MQTT_IN(SUBSCRIBE) | MQTT_IN(UNSUBSCRIBE))                                                                       \
    X(0x27, maximum_packet_size, U32, NOT_ZERO, MQTT_IN(CONNECT) | MQTT_IN(CONNACK))                                   \
    X(0x21, receive_maximum, U16, NOT_ZERO, MQTT_IN(CONNECT) | MQTT_IN(CONNACK))                                       \
    X(0x28, wildcard_available, BYTE, BOOLEAN, MQTT_IN(CONNACK))                                                       \
    X(0x29, subscription_id_available, BYTE, BOOLEAN, MQTT_IN(CONNACK))                                                \
    X(0x2A, shared_available, BYTE, BOOLEAN, MQTT_IN(CONNACK))

/* The packets that answer: they may carry a reason string. */
#define MQTT_IN_ANSWERS                                                                                                \
    (MQTT_IN(CONNACK) | MQTT_IN_ACKS | MQTT_IN(SUBACK) | MQTT_IN(UNSUBACK) | MQTT_IN(DISCONNECT) | MQTT_IN(AUTH))

/* Named after the fields, for mqtt_has and mqtt_set. */
enum mqtt_property {
#define X(id, field, kind, values, packets) MQTT_PROPERTY_##field = id,
    MQTT_PROPERTIES(X)
#undef X
    MQTT_PROPERTY_LIMIT
};

/*
 * Begins as MQTT_PROPERTIES_NONE: fields that are not there hold what the specification says about their absence; 0 and
 * empty otherwise. Strings are borrowed. Set fields with mqtt_set, which also says that they are there.
 *
 * `encoded` are properties as they stand in a packet. Decoded: all of them, the fields included. To be encoded: its user
 * properties and subscription identifiers are written behind the fields, in their order, and the rest is passed over, so
 * that a decoded packet can be encoded again as it is. mqtt_user_property and mqtt_subscription_id make them.
 */
struct mqtt_properties {
    uint64_t present; /* bit n: the property with identifier n */
    struct str encoded;
    struct str content_type, response_topic, correlation_data, assigned_client_id, authentication_method;
    struct str authentication_data, response_information, server_reference, reason_string;
    uint32_t message_expiry_s, session_expiry_s, will_delay_s, maximum_packet_size;
    uint16_t server_keep_alive_s, receive_maximum, topic_alias_maximum, topic_alias;
    uint8_t payload_format, request_problem_information, request_response_information, maximum_qos;
    uint8_t retain_available, wildcard_available, subscription_id_available, shared_available;
};

#define MQTT_PROPERTIES_NONE                                                                                           \
    { .maximum_packet_size = UINT32_MAX, .receive_maximum = UINT16_MAX, .request_problem_information = 1,              \
      .maximum_qos = 2, .retain_available = 1, .wildcard_available = 1, .subscription_id_available = 1,                \
      .shared_available = 1 }

#define mqtt_bit(field) (UINT64_C(1) << MQTT_PROPERTY_##field)
/* mqtt_has(&connect.properties, receive_maximum) */
#define mqtt_has(properties, field) (((properties)->present & mqtt_bit(field)) != 0)
/* mqtt_set(&connack.properties, receive_maximum, 20) */
#define mqtt_set(properties, field, value)                                                                             \
    ((void)((properties)->field = (value)), (void)((properties)->present |= mqtt_bit(field)))

/* "receive_maximum"; "unknown property". */
const char *mqtt_property_name(unsigned identifier);

/*
 * Walks: begin with `struct str rest = properties->encoded` (of a packet that was decoded), until false. One pass,
 * however many there are.
 */
bool mqtt_next_user_property(struct str *rest, struct str *name, struct str *value);
bool mqtt_next_subscription_id(struct str *rest, uint32_t *identifier);

/* Encodes one property for `encoded` at `to` (NULL: only measures) and returns its bytes; 0: a part is above 65,535. */
size_t mqtt_user_property(void *to, struct str name, struct str value);
enum { MQTT_SUBSCRIPTION_ID_MAX = 5 }; /* bytes of the longest */
size_t mqtt_subscription_id(void *to, uint32_t identifier);

/*
 * The properties of a PUBLISH or will that every receiver gets unaltered and in their order ([MQTT-3.3.2-4] and others):
 * all but message expiry, topic alias, subscription identifiers and will delay. Copies them to `to` (NULL: only
 * measures) and returns their bytes, at most properties->encoded.len.
 */
size_t mqtt_forwarded_properties(const struct mqtt_properties *properties, void *to);

#endif
