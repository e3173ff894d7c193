/* tests/support/mqtt_limits.h: who sends, in one word, and the limits that follow from it. */
#ifndef HELIOGRAF_TESTS_MQTT_LIMITS_H
#define HELIOGRAF_TESTS_MQTT_LIMITS_H

#include "agent/mqtt_packet/packet.h"

enum sender {
    NEW,              /* a client before its CONNECT */
    C31, C311, C5,    /* a client of that version, accepted */
    S31, S311, S5,    /* a server of that version, CONNACK included */
};

static inline struct mqtt_limits limits_of(enum sender sender) {
    static const enum mqtt_version versions[] = { MQTT_UNKNOWN, MQTT_3_1, MQTT_3_1_1, MQTT_5, MQTT_3_1, MQTT_3_1_1, MQTT_5 };
    struct mqtt_limits limits = MQTT_LIMITS_SERVER;

    limits.version = versions[sender];
    limits.max_packet_size = MQTT_PACKET_MAX;
    limits.topic_alias_maximum = 10;
    limits.from_server = sender >= S31;
    if (sender != NEW)
        limits.accepts = limits.from_server ? MQTT_FROM_SERVER | MQTT_IN(CONNACK) : MQTT_FROM_CLIENT;
    return limits;
}

#endif
