/* agent/mqtt_packet/acknowledge.c: PUBACK, PUBREC, PUBREL, PUBCOMP (sections 3.4 to 3.7), which differ in their reason codes. */
#include "agent/mqtt_packet/codecs.h"

/* MQTT 5 leaves out what says nothing: the properties, and then the reason code, when success stands alone. */
void mqtt_read_ack(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out) {
    struct mqtt_ack *ack = &out->as.ack;

    (void)flags;
    *ack = (struct mqtt_ack){ .packet_id = mqtt_read_packet_id(in), .properties = MQTT_PROPERTIES_NONE };
    if (in->version != MQTT_5)
        return;
    if (mqtt_left(in) > 0)
        ack->reason = mqtt_read_byte(in);
    mqtt_require(in, mqtt_reason_fits(ack->reason, out->type), MQTT_RULE_REASON_UNDEFINED);
    if (mqtt_left(in) > 0)
        mqtt_read_properties(in, out->type, &ack->properties);
}

void mqtt_write_ack(struct mqtt_writer *out, const struct mqtt_packet *packet) {
    const struct mqtt_ack *ack = &packet->as.ack;
    bool bare = mqtt_properties_size(out, &ack->properties) == 0;

    mqtt_put_u16(out, ack->packet_id);
    if (out->version != MQTT_5)
        return;
    if (ack->reason != MQTT_SUCCESS || !bare)
        mqtt_put_byte(out, ack->reason);
    if (!bare)
        mqtt_put_properties(out, &ack->properties);
}

size_t mqtt_encode_ack(enum mqtt_type type, enum mqtt_version version, uint16_t packet_id, uint8_t reason,
                       uint8_t to[MQTT_ACK_MAX]) {
    bool with_reason = version == MQTT_5 && reason != MQTT_SUCCESS;

    to[0] = (uint8_t)(type << 4 | (type == MQTT_PUBREL ? 2 : 0));
    to[1] = with_reason ? 3 : 2;
    to[2] = (uint8_t)(packet_id >> 8);
    to[3] = (uint8_t)packet_id;
    if (with_reason)
        to[4] = reason;
    return with_reason ? 5 : 4;
}
