/*
 * agent/mqtt_packet/delivery.h: one message as PUBLISH packets for any number of receivers. What is the same for all of
 * them (topic, payload, forwarded properties) is kept once and referred to; what differs (flags, packet identifier,
 * subscription identifiers, topic alias, remaining expiry) goes with the topic into a head of some dozen bytes that is
 * made per receiver. A packet is its head and two shared pieces: copy them all while they are small, hand the pieces to
 * writev or a buffer's references when they are large.
 */
#ifndef HELIOGRAF_MQTT_PACKET_DELIVERY_H
#define HELIOGRAF_MQTT_PACKET_DELIVERY_H

#include "agent/base/str.h"
#include "agent/mqtt_packet/frame.h"

/* Borrowed; the caller sees to it that topic and properties are what mqtt_decode let through. */
struct mqtt_message {
    struct str topic, payload;
    struct str properties; /* mqtt_forwarded_properties; left out in 3.x */
};

struct mqtt_delivery {
    enum mqtt_version version;
    uint8_t qos;
    bool retain, dup;
    uint16_t packet_id; /* with QoS 1 and 2 */
    /* MQTT 5 only; ignored in 3.x. */
    uint16_t topic_alias; /* 0: none */
    bool alias_is_known;  /* the receiver has had the alias together with the topic: only the alias is sent */
    bool expires;
    uint32_t message_expiry_s;  /* what is left of it ([MQTT-3.3.2-6]) */
    struct str subscription_ids; /* one after the other as mqtt_subscription_id makes them */
};

struct mqtt_outline {
    uint32_t size;     /* of the packet: compare it with the receiver's Maximum Packet Size. 0: MQTT has no such packet */
    uint32_t head;     /* of it, bytes of the head */
    uint32_t length;   /* Remaining Length */
    uint32_t properties_length;
    struct str shared[2]; /* behind the head: properties (empty in 3.x), payload */
};

struct mqtt_outline mqtt_outline(const struct mqtt_message *message, const struct mqtt_delivery *delivery);

/* Writes outline->head bytes. */
void mqtt_write_head(const struct mqtt_message *message, const struct mqtt_delivery *delivery,
                     const struct mqtt_outline *outline, void *to);

/* Writes outline->size bytes: the head and what is shared. */
void mqtt_write_delivery(const struct mqtt_message *message, const struct mqtt_delivery *delivery,
                         const struct mqtt_outline *outline, void *to);

#endif
