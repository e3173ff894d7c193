/* agent/mqtt_packet/notice.c: DISCONNECT (section 3.14) and AUTH (section 3.15): a reason code and properties. */
#include "agent/mqtt_packet/codecs.h"

/* Success without properties may be no bytes at all, and DISCONNECT may leave out the properties. */
void mqtt_read_notice(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out) {
    struct mqtt_notice *notice = &out->as.notice;
    const struct mqtt_properties *properties = &notice->properties;
    bool empty = mqtt_left(in) == 0, is_auth = out->type == MQTT_AUTH;

    (void)flags;
    *notice = (struct mqtt_notice){ .reason = MQTT_SUCCESS, .properties = MQTT_PROPERTIES_NONE };
    if (empty || in->version != MQTT_5)
        return;
    notice->reason = mqtt_read_byte(in);
    mqtt_require(in, mqtt_reason_fits(notice->reason, out->type), MQTT_RULE_REASON_UNDEFINED);
    if (mqtt_left(in) > 0)
        mqtt_read_properties(in, out->type, &notice->properties);
    mqtt_require(in, !mqtt_has(properties, session_expiry_s) || !in->limits->from_server,
                 MQTT_RULE_SERVER_SESSION_EXPIRY);
    mqtt_require(in, !is_auth || mqtt_has(properties, authentication_method), MQTT_RULE_AUTH_METHOD_MISSING);
}

void mqtt_write_notice(struct mqtt_writer *out, const struct mqtt_packet *packet) {
    const struct mqtt_notice *notice = &packet->as.notice;
    bool bare = mqtt_properties_size(out, &notice->properties) == 0;

    if (out->version != MQTT_5) {
        out->unsayable |= packet->type == MQTT_AUTH;
        return;
    }
    if (notice->reason == MQTT_SUCCESS && bare)
        return;
    mqtt_put_byte(out, notice->reason);
    if (!bare || packet->type == MQTT_AUTH)
        mqtt_put_properties(out, &notice->properties);
}
