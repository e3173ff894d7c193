/* agent/mqtt_packet/packet.c: from the fixed header to the packet types, and back. */
#include "agent/mqtt_packet/codecs.h"

static void read_nothing(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out) {
    (void)in, (void)flags, (void)out;
}

static void write_nothing(struct mqtt_writer *out, const struct mqtt_packet *packet) {
    (void)out, (void)packet;
}

static const struct codec {
    void (*read)(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out);
    void (*write)(struct mqtt_writer *out, const struct mqtt_packet *packet);
} codecs[MQTT_TYPES] = {
    [MQTT_CONNECT] = { mqtt_read_connect, mqtt_write_connect },
    [MQTT_CONNACK] = { mqtt_read_connack, mqtt_write_connack },
    [MQTT_PUBLISH] = { mqtt_read_publish, mqtt_write_publish },
    [MQTT_PUBACK] = { mqtt_read_ack, mqtt_write_ack },
    [MQTT_PUBREC] = { mqtt_read_ack, mqtt_write_ack },
    [MQTT_PUBREL] = { mqtt_read_ack, mqtt_write_ack },
    [MQTT_PUBCOMP] = { mqtt_read_ack, mqtt_write_ack },
    [MQTT_SUBSCRIBE] = { mqtt_read_subscribe, mqtt_write_subscribe },
    [MQTT_SUBACK] = { mqtt_read_suback, mqtt_write_suback },
    [MQTT_UNSUBSCRIBE] = { mqtt_read_subscribe, mqtt_write_subscribe },
    [MQTT_UNSUBACK] = { mqtt_read_suback, mqtt_write_suback },
    [MQTT_PINGREQ] = { read_nothing, write_nothing },
    [MQTT_PINGRESP] = { read_nothing, write_nothing },
    [MQTT_DISCONNECT] = { mqtt_read_notice, mqtt_write_notice },
    [MQTT_AUTH] = { mqtt_read_notice, mqtt_write_notice },
};

enum mqtt_rule mqtt_decode_at(struct str packet, const struct mqtt_limits *limits, struct mqtt_packet *out,
                              size_t *broken_at) {
    struct mqtt_frame frame = mqtt_frame(packet, limits);
    const uint8_t *bytes = (const uint8_t *)packet.data;
    struct mqtt_reader in;

    out->type = frame.type;
    *broken_at = 0;
    if (frame.type == MQTT_CONNECT)
        out->as.connect.version = MQTT_UNKNOWN;
    if (frame.state == MQTT_FRAME_BROKEN)
        return frame.rule;
    if (frame.state == MQTT_FRAME_MORE || frame.size != packet.len)
        return MQTT_RULE_NOT_WHOLE;
    in = (struct mqtt_reader){
        .at = bytes + frame.header,
        .end = bytes + packet.len,
        .limits = limits,
        .version = frame.type == MQTT_CONNECT ? MQTT_UNKNOWN : limits->version,
        .padded_length = frame.header > 2 && bytes[frame.header - 1] == 0,
    };
    codecs[frame.type].read(&in, bytes[0] & 0x0F, out);
    mqtt_require(&in, mqtt_left(&in) == 0, MQTT_RULE_TRAILING_BYTES);
    if (in.rule != MQTT_FINE)
        *broken_at = (size_t)(in.broken_at - bytes);
    return in.rule;
}

enum mqtt_rule mqtt_decode(struct str packet, const struct mqtt_limits *limits, struct mqtt_packet *out) {
    size_t broken_at;

    return mqtt_decode_at(packet, limits, out, &broken_at);
}

static uint8_t first_byte(const struct mqtt_packet *packet) {
    const struct mqtt_publish *publish = &packet->as.publish;

    if (packet->type == MQTT_PUBLISH)
        return (uint8_t)(MQTT_PUBLISH << 4 | mqtt_publish_flags(publish->qos, publish->retain, publish->dup));
    if (packet->type == MQTT_PUBREL || packet->type == MQTT_SUBSCRIBE || packet->type == MQTT_UNSUBSCRIBE)
        return (uint8_t)(packet->type << 4 | 2);
    return (uint8_t)(packet->type << 4);
}

/* What an answer can do without, in the order in which it goes. */
static const uint64_t dispensable[] = { 0, mqtt_bit(user_property), mqtt_bit(user_property) | mqtt_bit(reason_string) };

static bool is_unwanted_problem_information(enum mqtt_type type, const struct mqtt_target *target) {
    return target->no_problem_information && type != MQTT_CONNACK && type != MQTT_DISCONNECT;
}

/* Counts the packet's body with as many properties as fit; false when none of the ways does. */
static bool fit(struct mqtt_writer *count, const struct mqtt_packet *packet, const struct mqtt_target *target) {
    bool is_answer = (MQTT_IN_ANSWERS >> packet->type & 1) != 0;
    size_t first = is_answer && is_unwanted_problem_information(packet->type, target) ? 2 : 0;
    size_t last = is_answer ? 2 : 0, size;

    for (size_t way = first; way <= last; way++) {
        *count = (struct mqtt_writer){ .version = target->version, .left_out = dispensable[way] };
        codecs[packet->type].write(count, packet);
        size = 1 + mqtt_varint_size(count->len) + count->len;
        if (!count->unsayable && count->len <= MQTT_REMAINING_MAX && size <= target->max_packet_size)
            return true;
    }
    return false;
}

size_t mqtt_encode(const struct mqtt_packet *packet, const struct mqtt_target *target, void *to, size_t room) {
    struct mqtt_writer count, out;
    size_t size;

    if (target->version == MQTT_UNKNOWN || !fit(&count, packet, target))
        return 0;
    size = 1 + mqtt_varint_size(count.len) + count.len;
    if (size > room)
        return size;
    out = (struct mqtt_writer){ .to = to, .version = target->version, .left_out = count.left_out };
    mqtt_put_byte(&out, first_byte(packet));
    mqtt_put_varint(&out, (uint32_t)count.len);
    codecs[packet->type].write(&out, packet);
    return size;
}

bool mqtt_encode_buf(const struct mqtt_packet *packet, const struct mqtt_target *target, struct buf *to) {
    size_t size = mqtt_encode(packet, target, NULL, 0);

    if (size == 0 || !buf_reserve(to, size))
        return false;
    mqtt_encode(packet, target, to->data + to->len, size);
    to->len += size;
    return true;
}
