/* agent/mqtt_packet/frame.c: see frame.h. */
#include "agent/mqtt_packet/frame.h"

enum { ANY = 0xFF };

/* What the first two bytes say about a type: its flags, and the Remaining Length where that is always the same. */
static const struct shape {
    uint8_t flags;
    uint8_t length_3; /* in MQTT 3.x */
    uint8_t length_5;
} shapes[MQTT_TYPES] = {
    [MQTT_CONNECT] = { 0, ANY, ANY },   [MQTT_CONNACK] = { 0, 2, ANY },       [MQTT_PUBLISH] = { 0, ANY, ANY },
    [MQTT_PUBACK] = { 0, 2, ANY },      [MQTT_PUBREC] = { 0, 2, ANY },        [MQTT_PUBREL] = { 2, 2, ANY },
    [MQTT_PUBCOMP] = { 0, 2, ANY },     [MQTT_SUBSCRIBE] = { 2, ANY, ANY },   [MQTT_SUBACK] = { 0, ANY, ANY },
    [MQTT_UNSUBSCRIBE] = { 2, ANY, ANY }, [MQTT_UNSUBACK] = { 0, 2, ANY },    [MQTT_PINGREQ] = { 0, 0, 0 },
    [MQTT_PINGRESP] = { 0, 0, 0 },      [MQTT_DISCONNECT] = { 0, 0, ANY },    [MQTT_AUTH] = { 0, ANY, ANY },
};

/*
 * MQTT 3.1 gave the flags a meaning in PUBLISH only and left the others unused, so there they are not looked at; a
 * CONNECT says its version later, and is checked when it is read.
 */
static bool flags_fit(enum mqtt_type type, uint8_t flags, enum mqtt_version version) {
    if (type == MQTT_PUBLISH || type == MQTT_CONNECT || version == MQTT_3_1)
        return true;
    return flags == shapes[type].flags;
}

/* What cannot become right, however the packet goes on. */
static enum mqtt_rule first_byte_rule(enum mqtt_type type, const struct mqtt_limits *limits) {
    if (limits->accepts == MQTT_IN(CONNECT) && type != MQTT_CONNECT)
        return MQTT_RULE_FIRST_NOT_CONNECT;
    if (type == 0 || (type == MQTT_AUTH && limits->version != MQTT_5))
        return MQTT_RULE_TYPE_RESERVED;
    return MQTT_FINE;
}

/* In Mosquitto's order, since that decides which answer a packet gets that is wrong in several ways. */
static enum mqtt_rule header_rule(uint8_t first, uint32_t length, uint32_t size, const struct mqtt_limits *limits) {
    enum mqtt_type type = first >> 4;
    uint8_t only = limits->version == MQTT_5 ? shapes[type].length_5 : shapes[type].length_3;

    if (only != ANY && length != only)
        return MQTT_RULE_LENGTH_WRONG;
    if (size > limits->max_packet_size)
        return MQTT_RULE_PACKET_TOO_LARGE;
    if (!flags_fit(type, first & 0x0F, limits->version))
        return MQTT_RULE_FLAGS;
    if ((limits->accepts >> type & 1) == 0)
        return type == MQTT_CONNECT ? MQTT_RULE_SECOND_CONNECT : MQTT_RULE_TYPE_UNEXPECTED;
    return MQTT_FINE;
}

static struct mqtt_frame broken(enum mqtt_type type, enum mqtt_rule rule) {
    return (struct mqtt_frame){ .state = MQTT_FRAME_BROKEN, .rule = rule, .type = type };
}

struct mqtt_frame mqtt_frame(struct str stream, const struct mqtt_limits *limits) {
    const uint8_t *bytes = (const uint8_t *)stream.data;
    struct mqtt_frame frame = { .state = MQTT_FRAME_MORE, .size = 2 };
    uint32_t length = 0;
    enum mqtt_rule rule;

    if (stream.len == 0)
        return frame;
    frame.type = bytes[0] >> 4;
    if ((rule = first_byte_rule(frame.type, limits)) != MQTT_FINE)
        return broken(frame.type, rule);
    for (uint8_t i = 1; frame.header == 0; i++) {
        if (i == MQTT_HEADER_MAX)
            return broken(frame.type, MQTT_RULE_LENGTH_TOO_LONG);
        if (i == stream.len) {
            frame.size = i + 1u;
            return frame;
        }
        length |= (bytes[i] & 0x7Fu) << (7 * (i - 1));
        if (bytes[i] < 0x80)
            frame.header = i + 1;
    }
    /* 3.x has no rule against padding, Mosquitto takes it, and small clients do it to write the length last. */
    if (limits->version == MQTT_5 && frame.header > 2 && bytes[frame.header - 1] == 0)
        return broken(frame.type, MQTT_RULE_LENGTH_NOT_MINIMAL);
    frame.size = frame.header + length;
    if ((rule = header_rule(bytes[0], length, frame.size, limits)) != MQTT_FINE)
        return broken(frame.type, rule);
    if (stream.len >= frame.size)
        frame.state = MQTT_FRAME_WHOLE;
    return frame;
}
