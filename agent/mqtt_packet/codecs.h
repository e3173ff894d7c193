/*
 * agent/mqtt_packet/codecs.h: how each packet type is read and written, for packet.c to choose from. For the files of
 * this folder only. A reader gets the bytes behind the fixed header, a writer leaves the fixed header to its caller.
 */
#ifndef HELIOGRAF_MQTT_PACKET_CODECS_H
#define HELIOGRAF_MQTT_PACKET_CODECS_H

#include "agent/mqtt_packet/packet.h"
#include "agent/mqtt_packet/wire.h"

/* Nothing but the defaults in 3.x. */
void mqtt_read_properties(struct mqtt_reader *in, enum mqtt_type carrier, struct mqtt_properties *to);
void mqtt_put_properties(struct mqtt_writer *out, const struct mqtt_properties *from);
/* Without the length before them. */
size_t mqtt_properties_size(const struct mqtt_writer *out, const struct mqtt_properties *from);

/* `flags`: the low half of the first byte. `out->type` is set. */
void mqtt_read_connect(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out);
void mqtt_read_connack(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out);
void mqtt_read_publish(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out);
void mqtt_read_ack(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out);
void mqtt_read_subscribe(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out);
void mqtt_read_suback(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out);
void mqtt_read_notice(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out);

void mqtt_write_connect(struct mqtt_writer *out, const struct mqtt_packet *packet);
void mqtt_write_connack(struct mqtt_writer *out, const struct mqtt_packet *packet);
void mqtt_write_publish(struct mqtt_writer *out, const struct mqtt_packet *packet);
void mqtt_write_ack(struct mqtt_writer *out, const struct mqtt_packet *packet);
void mqtt_write_subscribe(struct mqtt_writer *out, const struct mqtt_packet *packet);
void mqtt_write_suback(struct mqtt_writer *out, const struct mqtt_packet *packet);
void mqtt_write_notice(struct mqtt_writer *out, const struct mqtt_packet *packet);

/* The low half of a PUBLISH's first byte. */
static inline uint8_t mqtt_publish_flags(uint8_t qos, bool retain, bool dup) {
    return (uint8_t)((dup ? 8 : 0) | qos << 1 | (retain ? 1 : 0));
}

#endif
