/* agent/mqtt_packet/subscribe.c: SUBSCRIBE and UNSUBSCRIBE (sections 3.8, 3.10), SUBACK and UNSUBACK (3.9, 3.11). */
#include "agent/mqtt_packet/codecs.h"

#include "agent/base/topic_filter.h"

enum { OPTION_NO_LOCAL = 0x04, OPTION_RETAIN_AS_PUBLISHED = 0x08, OPTIONS_RESERVED_5 = 0xC0, OPTIONS_RESERVED_3 = 0xFC };

static struct str read_filter(struct mqtt_reader *in) {
    struct str filter = mqtt_read_binary(in);

    mqtt_obey(in, mqtt_filter_rule(filter, in->limits->topic_levels));
    return filter;
}

static void check_options(struct mqtt_reader *in, uint8_t options, bool shared) {
    if (in->version != MQTT_5) {
        mqtt_require(in, (options & OPTIONS_RESERVED_3) == 0, MQTT_RULE_OPTIONS_RESERVED);
        mqtt_require(in, (options & 3) < 3, MQTT_RULE_OPTIONS_QOS);
        return;
    }
    mqtt_require(in, (options & OPTIONS_RESERVED_5) == 0, MQTT_RULE_OPTIONS_RESERVED);
    mqtt_require(in, (options & 3) < 3, MQTT_RULE_OPTIONS_QOS);
    mqtt_require(in, (options >> 4 & 3) < 3, MQTT_RULE_OPTIONS_RETAIN);
    mqtt_require(in, !shared || (options & OPTION_NO_LOCAL) == 0, MQTT_RULE_SHARE_NO_LOCAL);
}

/* All filters are checked before the first is used, so that a broken packet changes nothing. */
void mqtt_read_subscribe(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out) {
    struct mqtt_subscribe *subscribe = &out->as.subscribe;
    const char *start;

    (void)flags;
    subscribe->packet_id = mqtt_read_packet_id(in);
    mqtt_read_properties(in, out->type, &subscribe->properties);
    start = (const char *)in->at;
    mqtt_require(in, mqtt_left(in) > 0, MQTT_RULE_NO_FILTER);
    while (mqtt_left(in) > 0) {
        struct str filter = read_filter(in);
        if (out->type == MQTT_SUBSCRIBE)
            check_options(in, mqtt_read_byte(in), topic_filter_group(filter).data != NULL);
    }
    subscribe->filters = str_make(start, (size_t)((const char *)in->end - start));
}

void mqtt_write_subscribe(struct mqtt_writer *out, const struct mqtt_packet *packet) {
    const struct mqtt_subscribe *subscribe = &packet->as.subscribe;

    mqtt_put_u16(out, subscribe->packet_id);
    mqtt_put_properties(out, &subscribe->properties);
    mqtt_put_raw(out, subscribe->filters.data, subscribe->filters.len);
}

static struct str rest_of(const struct mqtt_reader *in) {
    return str_make((const char *)in->at, mqtt_left(in));
}

static struct mqtt_reader reader_of(struct str bytes) {
    const uint8_t *at = (const uint8_t *)bytes.data;

    return (struct mqtt_reader){ .at = at, .end = at + bytes.len };
}

bool mqtt_next_filter(struct str *rest, struct str *filter) {
    struct mqtt_reader in;

    if (rest->len == 0)
        return false;
    in = reader_of(*rest);
    *filter = mqtt_read_binary(&in);
    *rest = rest_of(&in);
    return in.rule == MQTT_FINE;
}

bool mqtt_next_subscription(struct str *rest, enum mqtt_version version, struct mqtt_subscription *out) {
    uint8_t options;

    if (!mqtt_next_filter(rest, &out->filter) || rest->len == 0)
        return false;
    options = (uint8_t)rest->data[0];
    *rest = str_make(rest->data + 1, rest->len - 1);
    out->share = topic_filter_group(out->filter);
    out->topics = topic_filter_strip_share(out->filter);
    out->qos = options & 3;
    out->no_local = version == MQTT_5 && (options & OPTION_NO_LOCAL) != 0;
    out->retain_as_published = version == MQTT_5 && (options & OPTION_RETAIN_AS_PUBLISHED) != 0;
    out->retain_handling = version == MQTT_5 ? options >> 4 & 3 : 0;
    return true;
}

size_t mqtt_put_filter(struct str filter, void *to) {
    struct mqtt_writer out = { .to = to };

    mqtt_put_binary(&out, filter);
    return out.unsayable ? 0 : out.len;
}

size_t mqtt_put_subscription(const struct mqtt_subscription *subscription, enum mqtt_version version, void *to) {
    struct mqtt_writer out = { .to = to };
    unsigned options = subscription->qos;

    if (version == MQTT_5)
        options |= (subscription->no_local ? OPTION_NO_LOCAL : 0u) | (unsigned)subscription->retain_handling << 4 |
                   (subscription->retain_as_published ? OPTION_RETAIN_AS_PUBLISHED : 0u);
    mqtt_put_binary(&out, subscription->filter);
    mqtt_put_byte(&out, (uint8_t)options);
    return out.unsayable ? 0 : out.len;
}

/* 3.1.1 knows QoS 0 to 2 and 0x80 in a SUBACK, and nothing in a UNSUBACK ([MQTT-3.9.3-2] there). */
static bool reason_fits(uint8_t reason, enum mqtt_type type, enum mqtt_version version) {
    return version == MQTT_5 ? mqtt_reason_fits(reason, type) : reason <= 2 || reason == MQTT_UNSPECIFIED_ERROR;
}

void mqtt_read_suback(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out) {
    struct mqtt_suback *suback = &out->as.suback;

    (void)flags;
    suback->packet_id = mqtt_read_packet_id(in);
    mqtt_read_properties(in, out->type, &suback->properties);
    suback->reasons = STR_EMPTY;
    if (out->type == MQTT_UNSUBACK && in->version != MQTT_5)
        return;
    mqtt_require(in, mqtt_left(in) > 0, MQTT_RULE_NO_REASONS);
    suback->reasons = mqtt_read_rest(in);
    for (size_t i = 0; i < suback->reasons.len; i++)
        mqtt_require(in, reason_fits((uint8_t)suback->reasons.data[i], out->type, in->version),
                     MQTT_RULE_REASON_UNDEFINED);
}

void mqtt_write_suback(struct mqtt_writer *out, const struct mqtt_packet *packet) {
    const struct mqtt_suback *suback = &packet->as.suback;

    mqtt_put_u16(out, suback->packet_id);
    mqtt_put_properties(out, &suback->properties);
    if (out->version == MQTT_5) {
        mqtt_put_raw(out, suback->reasons.data, suback->reasons.len);
        return;
    }
    for (size_t i = 0; i < suback->reasons.len && packet->type == MQTT_SUBACK; i++) {
        uint8_t reason = (uint8_t)suback->reasons.data[i];
        mqtt_put_byte(out, reason < MQTT_UNSPECIFIED_ERROR ? reason : MQTT_UNSPECIFIED_ERROR);
    }
}
