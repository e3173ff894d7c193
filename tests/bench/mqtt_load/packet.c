/* tests/bench/mqtt_load/packet.c: the bytes of MQTT, as far as a load generator meets them. Clause numbers are those of MQTT 5.0. */
#include "tests/bench/mqtt_load/packet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bytes_release(struct bytes *bytes) {
    free(bytes->data);
    *bytes = (struct bytes){ NULL, 0, 0, 0 };
}

uint8_t *bytes_grow(struct bytes *bytes, size_t more) {
    if (bytes->at == bytes->len)
        bytes->at = bytes->len = 0;
    if (bytes->len + more > bytes->cap) {
        size_t cap = bytes->cap < 64 ? 64 : bytes->cap;
        while (cap < bytes->len + more)
            cap *= 2;
        bytes->data = realloc(bytes->data, cap);
        if (bytes->data == NULL) {
            fputs("mqtt_load: out of memory\n", stderr);
            exit(1);
        }
        bytes->cap = cap;
    }
    bytes->len += more;
    return bytes->data + bytes->len - more;
}

void bytes_add(struct bytes *bytes, const void *data, size_t len) {
    if (len > 0)
        memcpy(bytes_grow(bytes, len), data, len);
}

/* Writing. */

static void add_byte(struct bytes *out, unsigned value) {
    *bytes_grow(out, 1) = (uint8_t)value;
}

static void add_u16(struct bytes *out, unsigned value) {
    uint8_t *to = bytes_grow(out, 2);

    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static void add_text(struct bytes *out, const char *text) {
    size_t len = strlen(text);

    add_u16(out, (unsigned)len);
    bytes_add(out, text, len);
}

static void add_head(struct bytes *out, unsigned type, unsigned flags, size_t body_len) {
    add_byte(out, type << 4 | flags);
    do {
        unsigned digit = body_len % 128;
        body_len /= 128;
        add_byte(out, digit | (body_len > 0 ? 0x80 : 0));
    } while (body_len > 0);
}

static size_t text_size(const char *text) {
    return text != NULL ? 2 + strlen(text) : 0;
}

void packet_add_connect(struct bytes *out, const struct packet_connect *connect) {
    const char *protocol = connect->version == 3 ? "MQIsdp" : "MQTT";
    unsigned flags = (connect->user != NULL ? 0x80u : 0) | (connect->password != NULL ? 0x40u : 0) | (connect->clean ? 0x02u : 0);
    bool expires = connect->version == 5 && connect->session_expiry_s > 0;
    size_t properties = connect->version == 5 ? (expires ? 6 : 1) : 0;

    add_head(out, PACKET_CONNECT, 0, text_size(protocol) + 4 + properties + text_size(connect->client_id) + text_size(connect->user) +
                                         text_size(connect->password));
    add_text(out, protocol);
    add_byte(out, connect->version);
    add_byte(out, flags);
    add_u16(out, connect->keep_alive_s);
    if (properties > 0)
        add_byte(out, (unsigned)properties - 1);
    if (expires) {
        add_byte(out, 0x11); /* session expiry interval, 3.1.2.11.2 */
        add_u16(out, connect->session_expiry_s >> 16);
        add_u16(out, connect->session_expiry_s & 0xFFFF);
    }
    add_text(out, connect->client_id);
    if (connect->user != NULL)
        add_text(out, connect->user);
    if (connect->password != NULL)
        add_text(out, connect->password);
}

void packet_add_subscribe(struct bytes *out, unsigned version, uint16_t id, const char *filter, unsigned qos) {
    add_head(out, PACKET_SUBSCRIBE, 2, 2 + (version == 5) + text_size(filter) + 1);
    add_u16(out, id);
    if (version == 5)
        add_byte(out, 0);
    add_text(out, filter);
    add_byte(out, qos);
}

uint8_t *packet_add_publish(struct bytes *out, unsigned version, const char *topic, size_t topic_len, unsigned qos, bool retain, uint16_t id,
                            size_t size) {
    add_head(out, PACKET_PUBLISH, qos << 1 | (retain ? 1 : 0), 2 + topic_len + (qos > 0 ? 2 : 0) + (version == 5) + size);
    add_u16(out, (unsigned)topic_len);
    bytes_add(out, topic, topic_len);
    if (qos > 0)
        add_u16(out, id);
    if (version == 5)
        add_byte(out, 0);
    return bytes_grow(out, size);
}

void packet_add_answer(struct bytes *out, enum packet_type type, uint16_t id) {
    add_head(out, type, type == PACKET_PUBREL ? 2 : 0, 2);
    add_u16(out, id);
}

void packet_add_empty(struct bytes *out, enum packet_type type) {
    add_head(out, type, 0, 0);
}

/* Reading. */

static unsigned u16_at(const uint8_t *data) {
    return (unsigned)data[0] << 8 | data[1];
}

/* 1.5.5. Returns the bytes that it takes, 0 when it is not all there yet, -1 when it is longer than four. */
static int read_varint(const uint8_t *data, size_t len, size_t *value) {
    size_t sum = 0;

    for (unsigned i = 0; i < 4; i++) {
        if (i == len)
            return 0;
        sum |= (size_t)(data[i] & 0x7F) << 7 * i;
        if ((data[i] & 0x80) == 0) {
            *value = sum;
            return (int)i + 1;
        }
    }
    return -1;
}

enum packet_found packet_find(const uint8_t *data, size_t len, struct packet *packet) {
    size_t body_len = 0;
    int digits = len < 2 ? 0 : read_varint(data + 1, len - 1, &body_len);

    if (digits < 0)
        return PACKET_BROKEN;
    packet->whole_len = digits == 0 ? 0 : 1 + (size_t)digits + body_len;
    if (digits == 0 || packet->whole_len > len)
        return PACKET_PARTIAL;
    packet->type = data[0] >> 4;
    packet->flags = data[0] & 0x0F;
    packet->body = data + 1 + digits;
    packet->body_len = body_len;
    return PACKET_WHOLE;
}

/* The properties at *at, skipped. */
static bool skip_properties(const struct packet *packet, size_t *at) {
    size_t size;
    int digits = read_varint(packet->body + *at, packet->body_len - *at, &size);

    if (digits <= 0 || packet->body_len - *at - (size_t)digits < size)
        return false;
    *at += (size_t)digits + size;
    return true;
}

bool packet_read_publish(const struct packet *packet, unsigned version, struct packet_publish *publish) {
    size_t at;

    publish->qos = packet->flags >> 1 & 3;
    publish->duplicate = (packet->flags & 8) != 0;
    publish->id = 0;
    if (publish->qos == 3 || packet->body_len < 2)
        return false;
    at = 2 + u16_at(packet->body);
    if (publish->qos > 0) {
        if (packet->body_len < at + 2)
            return false;
        publish->id = (uint16_t)u16_at(packet->body + at);
        at += 2;
    }
    if (packet->body_len < at || (publish->qos > 0 && publish->id == 0) || (version == 5 && !skip_properties(packet, &at)))
        return false;
    publish->payload = packet->body + at;
    publish->payload_len = packet->body_len - at;
    return true;
}

/* The size of a CONNACK property's value, 3.2.2.3; 0 for one that does not belong there. `len` bytes are left. */
static size_t connack_property_size(const uint8_t *at, size_t len) {
    switch (at[0]) {
    case 0x24: case 0x25: case 0x28: case 0x29: case 0x2A: /* maximum QoS; retain, wildcard, identifiers, shared available */
        return 1;
    case 0x13: case 0x21: case 0x22: /* server keep alive, receive maximum, topic alias maximum */
        return 2;
    case 0x11: case 0x27: /* session expiry, maximum packet size */
        return 4;
    case 0x12: case 0x15: case 0x16: case 0x1A: case 0x1C: case 0x1F: /* texts, and authentication data */
        return len < 3 ? 0 : 2 + u16_at(at + 1);
    case 0x26: /* a user property: two texts */
        if (len < 3 || len < 3 + u16_at(at + 1) + 2)
            return 0;
        return 2 + u16_at(at + 1) + 2 + u16_at(at + 3 + u16_at(at + 1));
    default:
        return 0;
    }
}

static bool read_connack_properties(const struct packet *packet, unsigned *receive_maximum) {
    size_t at = 2, end, size;
    int digits = read_varint(packet->body + at, packet->body_len - at, &end);

    if (digits <= 0)
        return false;
    at += (size_t)digits;
    end += at;
    if (end != packet->body_len)
        return false;
    for (; at < end; at += 1 + size) {
        size = connack_property_size(packet->body + at, end - at);
        if (size == 0 || end - at < 1 + size)
            return false;
        if (packet->body[at] == 0x21)
            *receive_maximum = u16_at(packet->body + at + 1);
    }
    return *receive_maximum > 0;
}

bool packet_read_connack(const struct packet *packet, unsigned version, bool *session_present, unsigned *reason, unsigned *receive_maximum) {
    if (packet->flags != 0 || packet->body_len < 2 || packet->body[0] > 1 || (version < 5 && packet->body_len != 2))
        return false;
    *session_present = packet->body[0] == 1;
    *reason = packet->body[1];
    /* A broker without 5.0 refuses it in the short form. */
    return version < 5 || (packet->body_len == 2 && *reason != 0) || read_connack_properties(packet, receive_maximum);
}

bool packet_read_suback(const struct packet *packet, unsigned version, unsigned *reason) {
    size_t at = 2;

    if (packet->flags != 0 || packet->body_len < 3 || (version == 5 && !skip_properties(packet, &at)) || packet->body_len != at + 1)
        return false;
    *reason = packet->body[at];
    return true;
}

bool packet_read_answer(const struct packet *packet, unsigned version, uint16_t *id, unsigned *reason) {
    if (packet->flags != (packet->type == PACKET_PUBREL ? 2 : 0) || packet->body_len < 2 || (version < 5 && packet->body_len != 2))
        return false;
    *id = (uint16_t)u16_at(packet->body);
    *reason = packet->body_len > 2 ? packet->body[2] : 0;
    return *id != 0;
}
