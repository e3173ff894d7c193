/* agent/mqtt_packet/publish.c: PUBLISH (section 3.3), as one packet. delivery.c writes it for many receivers. */
#include "agent/mqtt_packet/codecs.h"

static void check_flags(struct mqtt_reader *in, const struct mqtt_publish *publish) {
    mqtt_require(in, publish->qos < 3, MQTT_RULE_QOS_3);
    mqtt_require(in, publish->qos > 0 || !publish->dup, MQTT_RULE_QOS_0_DUP);
    mqtt_require(in, publish->qos <= in->limits->maximum_qos, MQTT_RULE_QOS_UNSUPPORTED);
    mqtt_require(in, !publish->retain || in->limits->retain_available, MQTT_RULE_RETAIN_UNSUPPORTED);
}

static void check_properties(struct mqtt_reader *in, const struct mqtt_properties *properties) {
    mqtt_require(in, !mqtt_has(properties, subscription_id) || in->limits->from_server, MQTT_RULE_SUBSCRIPTION_ID);
    mqtt_require(in, properties->topic_alias <= in->limits->topic_alias_maximum, MQTT_RULE_TOPIC_ALIAS_LARGE);
}

/* The topic comes first and may be empty only when an alias, which comes later, stands for it (section 3.3.2.1). */
static void check_topic(struct mqtt_reader *in, const struct mqtt_publish *publish) {
    if (publish->topic.len > 0 || !mqtt_has(&publish->properties, topic_alias))
        mqtt_obey(in, mqtt_topic_rule(publish->topic, in->limits->topic_levels));
}

void mqtt_read_publish(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out) {
    struct mqtt_publish *publish = &out->as.publish;

    publish->dup = (flags & 8) != 0;
    publish->qos = flags >> 1 & 3;
    publish->retain = (flags & 1) != 0;
    check_flags(in, publish);
    publish->topic = mqtt_read_binary(in);
    publish->packet_id = publish->qos > 0 ? mqtt_read_packet_id(in) : 0;
    mqtt_read_properties(in, MQTT_PUBLISH, &publish->properties);
    check_properties(in, &publish->properties);
    check_topic(in, publish);
    publish->payload = mqtt_read_rest(in);
    if (in->limits->check_payload && publish->properties.payload_format == 1)
        mqtt_require(in, str_is_utf8(publish->payload), MQTT_RULE_PAYLOAD_NOT_UTF8);
}

void mqtt_write_publish(struct mqtt_writer *out, const struct mqtt_packet *packet) {
    const struct mqtt_publish *publish = &packet->as.publish;

    mqtt_put_binary(out, publish->topic);
    if (publish->qos > 0)
        mqtt_put_u16(out, publish->packet_id);
    mqtt_put_properties(out, &publish->properties);
    mqtt_put_raw(out, publish->payload.data, publish->payload.len);
}
