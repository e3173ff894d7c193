/*
 * agent/mqtt_client/properties.h: the properties of MQTT 5 (2.2.2.2): their names, types and packets, and lists of them
 * that do not depend on any library. Pure.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_PROPERTIES_H
#define HELIOGRAF_MQTT_CLIENT_PROPERTIES_H

#include "agent/base/err.h"
#include "agent/base/str.h"

/* The numbers of the specification. */
enum mqtt_property_id {
    MQTT_PROPERTY_PAYLOAD_FORMAT = 1,
    MQTT_PROPERTY_MESSAGE_EXPIRY = 2,
    MQTT_PROPERTY_CONTENT_TYPE = 3,
    MQTT_PROPERTY_RESPONSE_TOPIC = 8,
    MQTT_PROPERTY_CORRELATION_DATA = 9,
    MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER = 11,
    MQTT_PROPERTY_SESSION_EXPIRY = 17,
    MQTT_PROPERTY_REQUEST_PROBLEM = 23,
    MQTT_PROPERTY_WILL_DELAY = 24,
    MQTT_PROPERTY_REQUEST_RESPONSE = 25,
    MQTT_PROPERTY_REASON_STRING = 31,
    MQTT_PROPERTY_RECEIVE_MAXIMUM = 33,
    MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM = 34,
    MQTT_PROPERTY_TOPIC_ALIAS = 35,
    MQTT_PROPERTY_USER = 38,
    MQTT_PROPERTY_MAXIMUM_PACKET = 39,
};

enum mqtt_property_type {
    MQTT_TYPE_BYTE,
    MQTT_TYPE_TWO_BYTES,
    MQTT_TYPE_FOUR_BYTES,
    MQTT_TYPE_VARIABLE, /* a number up to 268435455 */
    MQTT_TYPE_BINARY,
    MQTT_TYPE_STRING,
    MQTT_TYPE_PAIR,
};

/* Packets that a client sends properties with; bits. */
enum mqtt_packet {
    MQTT_PACKET_CONNECT = 1,
    MQTT_PACKET_PUBLISH = 2,
    MQTT_PACKET_SUBSCRIBE = 4,
    MQTT_PACKET_UNSUBSCRIBE = 8,
    MQTT_PACKET_DISCONNECT = 16,
    MQTT_PACKET_WILL = 32,
};

struct mqtt_property_kind {
    enum mqtt_property_id id;
    const char *name; /* as the specification writes it, in lower case with dashes */
    enum mqtt_property_type type;
    unsigned packets; /* of a client's, in which it may stand */
    uint32_t least, most;
};

struct mqtt_property {
    enum mqtt_property_id id;
    uint32_t number;
    struct str text;  /* a string, bytes, or a user property's key */
    struct str value; /* a user property's value */
};

struct mqtt_properties {
    const struct mqtt_property *items;
    size_t count;
};

/* NULL without such a property, or for one that no packet of a client's has (or that needs AUTH packets). */
const struct mqtt_property_kind *mqtt_property_named(const char *name);
/* NULL for an unknown one. */
const struct mqtt_property_kind *mqtt_property_kind(enum mqtt_property_id id);

/* The bit of "connect", "publish", ... in any case of letters; 0 without such a packet. */
unsigned mqtt_packet_named(const char *name);

/* The names of all properties that such a packet may have, with commas between them, into `out`. */
void mqtt_property_names(unsigned packet, char *out, size_t size);

/* Reads the words of a command line, which `out` then borrows; `second` is a user property's value. */
bool mqtt_property_read(const struct mqtt_property_kind *kind, const char *text, const char *second,
                        struct mqtt_property *out, struct err *err);

/* The first of that kind, or NULL. */
const struct mqtt_property *mqtt_properties_find(const struct mqtt_properties *list, enum mqtt_property_id id);

#endif
