/* agent/mqtt_client/properties.c: see properties.h. */
#include "agent/mqtt_client/properties.h"

#include <stdio.h>
#include <strings.h>

enum { TEXT_MAX = 65535, VARIABLE_MAX = 268435455 };

#define CONNECT     MQTT_PACKET_CONNECT
#define PUBLISH     MQTT_PACKET_PUBLISH
#define SUBSCRIBE   MQTT_PACKET_SUBSCRIBE
#define UNSUBSCRIBE MQTT_PACKET_UNSUBSCRIBE
#define DISCONNECT  MQTT_PACKET_DISCONNECT
#define WILL        MQTT_PACKET_WILL

/* clang-format off */
static const struct mqtt_property_kind kinds[] = {
    { MQTT_PROPERTY_PAYLOAD_FORMAT,          "payload-format-indicator",     MQTT_TYPE_BYTE,       PUBLISH | WILL, 0, 1 },
    { MQTT_PROPERTY_MESSAGE_EXPIRY,          "message-expiry-interval",      MQTT_TYPE_FOUR_BYTES, PUBLISH | WILL, 0, UINT32_MAX },
    { MQTT_PROPERTY_CONTENT_TYPE,            "content-type",                 MQTT_TYPE_STRING,     PUBLISH | WILL, 0, 0 },
    { MQTT_PROPERTY_RESPONSE_TOPIC,          "response-topic",               MQTT_TYPE_STRING,     PUBLISH | WILL, 0, 0 },
    { MQTT_PROPERTY_CORRELATION_DATA,        "correlation-data",             MQTT_TYPE_BINARY,     PUBLISH | WILL, 0, 0 },
    { MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER, "subscription-identifier",      MQTT_TYPE_VARIABLE,   SUBSCRIBE, 1, VARIABLE_MAX },
    { MQTT_PROPERTY_SESSION_EXPIRY,          "session-expiry-interval",      MQTT_TYPE_FOUR_BYTES, CONNECT | DISCONNECT, 0, UINT32_MAX },
    { MQTT_PROPERTY_REQUEST_PROBLEM,         "request-problem-information",  MQTT_TYPE_BYTE,       CONNECT, 0, 1 },
    { MQTT_PROPERTY_WILL_DELAY,              "will-delay-interval",          MQTT_TYPE_FOUR_BYTES, WILL, 0, UINT32_MAX },
    { MQTT_PROPERTY_REQUEST_RESPONSE,        "request-response-information", MQTT_TYPE_BYTE,       CONNECT, 0, 1 },
    { MQTT_PROPERTY_REASON_STRING,           "reason-string",                MQTT_TYPE_STRING,     DISCONNECT, 0, 0 },
    { MQTT_PROPERTY_RECEIVE_MAXIMUM,         "receive-maximum",              MQTT_TYPE_TWO_BYTES,  CONNECT, 1, UINT16_MAX },
    { MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM,     "topic-alias-maximum",          MQTT_TYPE_TWO_BYTES,  CONNECT, 0, UINT16_MAX },
    { MQTT_PROPERTY_TOPIC_ALIAS,             "topic-alias",                  MQTT_TYPE_TWO_BYTES,  PUBLISH, 1, UINT16_MAX },
    { MQTT_PROPERTY_MAXIMUM_PACKET,          "maximum-packet-size",          MQTT_TYPE_FOUR_BYTES, CONNECT, 1, UINT32_MAX },
    { MQTT_PROPERTY_USER,                    "user-property",                MQTT_TYPE_PAIR,
      CONNECT | PUBLISH | SUBSCRIBE | UNSUBSCRIBE | DISCONNECT | WILL, 0, 0 },
};
/* clang-format on */
enum { KINDS = sizeof kinds / sizeof *kinds };

static const struct {
    const char *name;
    unsigned bit;
} packets[] = {
    { "connect", CONNECT },         { "publish", PUBLISH },       { "subscribe", SUBSCRIBE },
    { "unsubscribe", UNSUBSCRIBE }, { "disconnect", DISCONNECT }, { "will", WILL },
};

const struct mqtt_property_kind *mqtt_property_named(const char *name) {
    for (size_t i = 0; i < KINDS; i++)
        if (strcasecmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

const struct mqtt_property_kind *mqtt_property_kind(enum mqtt_property_id id) {
    for (size_t i = 0; i < KINDS; i++)
        if (kinds[i].id == id)
            return &kinds[i];
    return NULL;
}

unsigned mqtt_packet_named(const char *name) {
    for (size_t i = 0; i < sizeof packets / sizeof *packets; i++)
        if (strcasecmp(packets[i].name, name) == 0)
            return packets[i].bit;
    return 0;
}

void mqtt_property_names(unsigned packet, char *out, size_t size) {
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < KINDS && used < size; i++)
        if ((kinds[i].packets & packet) != 0)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", kinds[i].name);
}

static bool read_number(const struct mqtt_property_kind *kind, const char *text, uint32_t *out, struct err *err) {
    uint64_t number;

    if (!str_to_uint64(str_of(text), &number) || number < kind->least || number > kind->most)
        return err_set(err, ERR_SYNTAX, "%s is a number from %u to %u, not '%s'", kind->name, (unsigned)kind->least,
                       (unsigned)kind->most, text);
    *out = (uint32_t)number;
    return true;
}

static bool read_text(const struct mqtt_property_kind *kind, const char *text, struct str *out, struct err *err) {
    *out = str_of(text);
    if (out->len > TEXT_MAX)
        return err_set(err, ERR_LIMIT, "%s is longer than %d bytes", kind->name, TEXT_MAX);
    return kind->type == MQTT_TYPE_BINARY || str_is_utf8(*out) ||
           err_set(err, ERR_SYNTAX, "%s is not UTF-8", kind->name);
}

bool mqtt_property_read(const struct mqtt_property_kind *kind, const char *text, const char *second,
                        struct mqtt_property *out, struct err *err) {
    struct mqtt_property read = { .id = kind->id, .text = STR_EMPTY, .value = STR_EMPTY };
    bool ok;

    if (kind->type <= MQTT_TYPE_VARIABLE)
        ok = read_number(kind, text, &read.number, err);
    else
        ok = read_text(kind, text, &read.text, err) &&
             (kind->type != MQTT_TYPE_PAIR || read_text(kind, second, &read.value, err));
    if (ok)
        *out = read;
    return ok;
}

const struct mqtt_property *mqtt_properties_find(const struct mqtt_properties *list, enum mqtt_property_id id) {
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].id == id)
            return &list->items[i];
    return NULL;
}
