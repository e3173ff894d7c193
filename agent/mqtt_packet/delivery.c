/* agent/mqtt_packet/delivery.c: see delivery.h. */
#include "agent/mqtt_packet/delivery.h"

#include "agent/mqtt_packet/codecs.h"

static bool sends_topic(const struct mqtt_delivery *delivery) {
    return delivery->version != MQTT_5 || delivery->topic_alias == 0 || !delivery->alias_is_known;
}

/* The receiver's own properties: before the shared ones, since their order among each other has no meaning. */
static void put_own_properties(struct mqtt_writer *out, const struct mqtt_delivery *delivery) {
    if (delivery->expires) {
        mqtt_put_byte(out, MQTT_PROPERTY_message_expiry_s);
        mqtt_put_u32(out, delivery->message_expiry_s);
    }
    if (delivery->topic_alias != 0) {
        mqtt_put_byte(out, MQTT_PROPERTY_topic_alias);
        mqtt_put_u16(out, delivery->topic_alias);
    }
    mqtt_put_raw(out, delivery->subscription_ids.data, delivery->subscription_ids.len);
}

static size_t own_properties_size(const struct mqtt_delivery *delivery) {
    struct mqtt_writer count = { .to = NULL };

    put_own_properties(&count, delivery);
    return count.len;
}

struct mqtt_outline mqtt_outline(const struct mqtt_message *message, const struct mqtt_delivery *delivery) {
    struct mqtt_outline outline = { .shared = { STR_EMPTY, message->payload } };
    size_t own = 2 + (sends_topic(delivery) ? message->topic.len : 0) + (delivery->qos > 0 ? 2 : 0), length;

    if (delivery->version == MQTT_5) {
        size_t properties = own_properties_size(delivery);
        outline.shared[0] = message->properties;
        outline.properties_length = (uint32_t)(properties + message->properties.len);
        own += mqtt_varint_size(outline.properties_length) + properties;
    }
    length = own + outline.shared[0].len + outline.shared[1].len;
    if (length > MQTT_REMAINING_MAX || message->topic.len > UINT16_MAX)
        return (struct mqtt_outline){ .size = 0 };
    outline.length = (uint32_t)length;
    outline.head = (uint32_t)(1 + mqtt_varint_size(length) + own);
    outline.size = (uint32_t)(1 + mqtt_varint_size(length) + length);
    return outline;
}

void mqtt_write_head(const struct mqtt_message *message, const struct mqtt_delivery *delivery,
                     const struct mqtt_outline *outline, void *to) {
    struct mqtt_writer out = { .to = to };

    mqtt_put_byte(&out, (uint8_t)(MQTT_PUBLISH << 4 |
                                  mqtt_publish_flags(delivery->qos, delivery->retain, delivery->dup)));
    mqtt_put_varint(&out, outline->length);
    mqtt_put_binary(&out, sends_topic(delivery) ? message->topic : STR_EMPTY);
    if (delivery->qos > 0)
        mqtt_put_u16(&out, delivery->packet_id);
    if (delivery->version != MQTT_5)
        return;
    mqtt_put_varint(&out, outline->properties_length);
    put_own_properties(&out, delivery);
}

void mqtt_write_delivery(const struct mqtt_message *message, const struct mqtt_delivery *delivery,
                         const struct mqtt_outline *outline, void *to) {
    struct mqtt_writer out = { .to = to, .len = outline->head };

    mqtt_write_head(message, delivery, outline, to);
    mqtt_put_raw(&out, outline->shared[0].data, outline->shared[0].len);
    mqtt_put_raw(&out, outline->shared[1].data, outline->shared[1].len);
}
