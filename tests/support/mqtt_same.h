/* tests/support/mqtt_same.h: whether two packets say the same, member by member; NULL, or the name of what differs. */
#ifndef HELIOGRAF_TESTS_MQTT_SAME_H
#define HELIOGRAF_TESTS_MQTT_SAME_H

#include "agent/mqtt_packet/packet.h"

#define DIFFERS(member)                                                                                                \
    if (a->member != b->member)                                                                                        \
    return #member
#define DIFFERS_TEXT(member)                                                                                           \
    if (!str_eq(a->member, b->member))                                                                                 \
    return #member

static inline const char *differing_walks(const struct mqtt_properties *a, const struct mqtt_properties *b) {
    struct str rest_a = a->encoded, rest_b = b->encoded, name_a, name_b, value_a, value_b;
    uint32_t id_a = 0, id_b = 0;
    bool more;

    do {
        more = mqtt_next_user_property(&rest_a, &name_a, &value_a);
        if (more != mqtt_next_user_property(&rest_b, &name_b, &value_b))
            return "count of user properties";
        if (more && (!str_eq(name_a, name_b) || !str_eq(value_a, value_b)))
            return "user property";
    } while (more);
    rest_a = a->encoded;
    rest_b = b->encoded;
    do {
        more = mqtt_next_subscription_id(&rest_a, &id_a);
        if (more != mqtt_next_subscription_id(&rest_b, &id_b))
            return "count of subscription identifiers";
        if (id_a != id_b)
            return "subscription identifier";
    } while (more);
    return NULL;
}

static inline const char *differing_properties(const struct mqtt_properties *a, const struct mqtt_properties *b) {
    DIFFERS(present);
    DIFFERS_TEXT(content_type);
    DIFFERS_TEXT(response_topic);
    DIFFERS_TEXT(correlation_data);
    DIFFERS_TEXT(assigned_client_id);
    DIFFERS_TEXT(authentication_method);
    DIFFERS_TEXT(authentication_data);
    DIFFERS_TEXT(response_information);
    DIFFERS_TEXT(server_reference);
    DIFFERS_TEXT(reason_string);
    DIFFERS(message_expiry_s);
    DIFFERS(session_expiry_s);
    DIFFERS(will_delay_s);
    DIFFERS(maximum_packet_size);
    DIFFERS(server_keep_alive_s);
    DIFFERS(receive_maximum);
    DIFFERS(topic_alias_maximum);
    DIFFERS(topic_alias);
    DIFFERS(payload_format);
    DIFFERS(request_problem_information);
    DIFFERS(request_response_information);
    DIFFERS(maximum_qos);
    DIFFERS(retain_available);
    DIFFERS(wildcard_available);
    DIFFERS(subscription_id_available);
    DIFFERS(shared_available);
    return differing_walks(a, b);
}

static inline const char *differing_connects(const struct mqtt_connect *a, const struct mqtt_connect *b) {
    const char *why = NULL;

    DIFFERS(version);
    DIFFERS(bridge);
    DIFFERS(clean_start);
    DIFFERS(has_will);
    DIFFERS(has_user_name);
    DIFFERS(has_password);
    DIFFERS(keep_alive_s);
    DIFFERS_TEXT(client_id);
    DIFFERS_TEXT(user_name);
    DIFFERS_TEXT(password);
    if (a->has_will) {
        DIFFERS(will.qos);
        DIFFERS(will.retain);
        DIFFERS_TEXT(will.topic);
        DIFFERS_TEXT(will.payload);
        why = differing_properties(&a->will.properties, &b->will.properties);
    }
    return why != NULL ? why : differing_properties(&a->properties, &b->properties);
}

static inline const char *differing_publishes(const struct mqtt_publish *a, const struct mqtt_publish *b) {
    DIFFERS(qos);
    DIFFERS(retain);
    DIFFERS(dup);
    DIFFERS(packet_id);
    DIFFERS_TEXT(topic);
    DIFFERS_TEXT(payload);
    return differing_properties(&a->properties, &b->properties);
}

static inline const char *differing_packets(const struct mqtt_packet *a, const struct mqtt_packet *b) {
    DIFFERS(type);
    switch (a->type) {
    case MQTT_CONNECT:
        return differing_connects(&a->as.connect, &b->as.connect);
    case MQTT_CONNACK:
        DIFFERS(as.connack.session_present);
        DIFFERS(as.connack.reason);
        return differing_properties(&a->as.connack.properties, &b->as.connack.properties);
    case MQTT_PUBLISH:
        return differing_publishes(&a->as.publish, &b->as.publish);
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        DIFFERS(as.ack.packet_id);
        DIFFERS(as.ack.reason);
        return differing_properties(&a->as.ack.properties, &b->as.ack.properties);
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        DIFFERS(as.subscribe.packet_id);
        DIFFERS_TEXT(as.subscribe.filters);
        return differing_properties(&a->as.subscribe.properties, &b->as.subscribe.properties);
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        DIFFERS(as.suback.packet_id);
        DIFFERS_TEXT(as.suback.reasons);
        return differing_properties(&a->as.suback.properties, &b->as.suback.properties);
    case MQTT_DISCONNECT:
    case MQTT_AUTH:
        DIFFERS(as.notice.reason);
        return differing_properties(&a->as.notice.properties, &b->as.notice.properties);
    default:
        return NULL;
    }
}

#endif
