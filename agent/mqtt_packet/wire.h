/*
 * agent/mqtt_packet/wire.h: the fields that packets are made of (MQTT 5 section 1.5), read and written in order. For the
 * files of this folder only.
 *
 * Reading and writing never stop in the middle: a reader that broke a rule stands at its end and gives zeros and empty
 * strings, a writer without a place to write to only counts. So a packet reads like its picture in the specification,
 * and what is counted is what is written.
 */
#ifndef HELIOGRAF_MQTT_PACKET_WIRE_H
#define HELIOGRAF_MQTT_PACKET_WIRE_H

#include "agent/base/str.h"
#include "agent/mqtt_packet/frame.h"
#include "agent/mqtt_packet/text.h"

struct mqtt_reader {
    const uint8_t *at, *end;
    const struct mqtt_limits *limits;
    enum mqtt_version version; /* that of the limits; a CONNECT brings its own */
    enum mqtt_rule rule;       /* the first one broken */
    const uint8_t *broken_at;  /* where */
    bool padded_length;        /* the Remaining Length had more bytes than needed */
};

static inline void mqtt_break(struct mqtt_reader *in, enum mqtt_rule rule) {
    if (in->rule == MQTT_FINE) {
        in->rule = rule;
        in->broken_at = in->at;
    }
    in->at = in->end;
}

/* For `mqtt_require(in, id != 0, MQTT_RULE_PACKET_ID_ZERO)`. */
static inline void mqtt_require(struct mqtt_reader *in, bool holds, enum mqtt_rule rule) {
    if (!holds)
        mqtt_break(in, rule);
}

static inline void mqtt_obey(struct mqtt_reader *in, enum mqtt_rule rule) {
    if (rule != MQTT_FINE)
        mqtt_break(in, rule);
}

static inline size_t mqtt_left(const struct mqtt_reader *in) {
    return (size_t)(in->end - in->at);
}

/* The next `len` bytes, or NULL and a broken rule. */
static inline const uint8_t *mqtt_take(struct mqtt_reader *in, size_t len) {
    const uint8_t *bytes = in->at;

    if (mqtt_left(in) < len) {
        mqtt_break(in, MQTT_RULE_TRUNCATED);
        return NULL;
    }
    in->at += len;
    return bytes;
}

static inline uint8_t mqtt_read_byte(struct mqtt_reader *in) {
    const uint8_t *bytes = mqtt_take(in, 1);

    return bytes != NULL ? bytes[0] : 0;
}

static inline uint16_t mqtt_read_u16(struct mqtt_reader *in) {
    const uint8_t *bytes = mqtt_take(in, 2);

    return bytes != NULL ? (uint16_t)(bytes[0] << 8 | bytes[1]) : 0;
}

static inline uint32_t mqtt_read_u32(struct mqtt_reader *in) {
    uint32_t high = mqtt_read_u16(in);

    return high << 16 | mqtt_read_u16(in);
}

static inline uint32_t mqtt_read_varint(struct mqtt_reader *in) {
    uint32_t value = 0;

    for (unsigned shift = 0; shift < 28; shift += 7) {
        uint8_t byte = mqtt_read_byte(in);
        value |= (byte & 0x7Fu) << shift;
        if (byte >= 0x80)
            continue;
        mqtt_require(in, byte != 0 || shift == 0 || in->rule != MQTT_FINE, MQTT_RULE_VARIABLE_INTEGER);
        return value;
    }
    mqtt_break(in, MQTT_RULE_VARIABLE_INTEGER);
    return 0;
}

static inline struct str mqtt_read_bytes(struct mqtt_reader *in, size_t len) {
    const uint8_t *bytes = mqtt_take(in, len);

    return bytes != NULL ? str_make((const char *)bytes, len) : STR_EMPTY;
}

static inline struct str mqtt_read_rest(struct mqtt_reader *in) {
    return mqtt_read_bytes(in, mqtt_left(in));
}

/* Binary data: its length in two bytes, then the bytes. */
static inline struct str mqtt_read_binary(struct mqtt_reader *in) {
    return mqtt_read_bytes(in, mqtt_read_u16(in));
}

static inline struct str mqtt_read_text(struct mqtt_reader *in) {
    struct str text = mqtt_read_binary(in);

    mqtt_obey(in, mqtt_text(text).rule);
    return text;
}

static inline uint16_t mqtt_read_packet_id(struct mqtt_reader *in) {
    uint16_t id = mqtt_read_u16(in);

    mqtt_require(in, id != 0, MQTT_RULE_PACKET_ID_ZERO);
    return id;
}

struct mqtt_writer {
    uint8_t *to; /* NULL: only count */
    size_t len;
    enum mqtt_version version;
    uint64_t left_out; /* properties that are not written, as bits (properties.h) */
    bool unsayable;    /* the version has no words for what was to be written */
};

static inline void mqtt_put_raw(struct mqtt_writer *out, const void *bytes, size_t len) {
    if (out->to != NULL && len > 0)
        memcpy(out->to + out->len, bytes, len);
    out->len += len;
}

static inline void mqtt_put_byte(struct mqtt_writer *out, uint8_t value) {
    if (out->to != NULL)
        out->to[out->len] = value;
    out->len++;
}

static inline void mqtt_put_u16(struct mqtt_writer *out, uint16_t value) {
    mqtt_put_byte(out, (uint8_t)(value >> 8));
    mqtt_put_byte(out, (uint8_t)value);
}

static inline void mqtt_put_u32(struct mqtt_writer *out, uint32_t value) {
    mqtt_put_u16(out, (uint16_t)(value >> 16));
    mqtt_put_u16(out, (uint16_t)value);
}

static inline void mqtt_put_varint(struct mqtt_writer *out, uint32_t value) {
    for (; value >= 0x80; value >>= 7)
        mqtt_put_byte(out, (uint8_t)(value | 0x80));
    mqtt_put_byte(out, (uint8_t)value);
}

static inline size_t mqtt_varint_size(size_t value) {
    return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

/* Binary data and strings. More than 65,535 bytes cannot be said. */
static inline void mqtt_put_binary(struct mqtt_writer *out, struct str bytes) {
    if (bytes.len > UINT16_MAX) {
        out->unsayable = true;
        bytes.len = 0;
    }
    mqtt_put_u16(out, (uint16_t)bytes.len);
    mqtt_put_raw(out, bytes.data, bytes.len);
}

#endif
