/* agent/mqtt_packet/names.c: tables of protocol.h, by number. */
#include "agent/mqtt_packet/protocol.h"

#include <stddef.h>

const char *mqtt_type_name(enum mqtt_type type) {
    static const char *const names[MQTT_TYPES] = {
        "reserved", "CONNECT", "CONNACK",     "PUBLISH",  "PUBACK",  "PUBREC",   "PUBREL",     "PUBCOMP",
        "SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
    };

    return type < MQTT_TYPES ? names[type] : "reserved";
}

const char *mqtt_version_name(enum mqtt_version version) {
    switch (version) {
    case MQTT_3_1:
        return "3.1";
    case MQTT_3_1_1:
        return "3.1.1";
    case MQTT_5:
        return "5.0";
    case MQTT_UNKNOWN:
        break;
    }
    return "unknown";
}

static const struct reason {
    const char *words;
    uint32_t packets;
} reasons[] = {
#define X(name, number, words, packets) [number] = { words, packets },
    MQTT_REASONS(X)
#undef X
};

const char *mqtt_reason_name(uint8_t reason) {
    bool known = reason < sizeof reasons / sizeof reasons[0] && reasons[reason].words != NULL;

    return known ? reasons[reason].words : "undefined reason code";
}

bool mqtt_reason_fits(uint8_t reason, enum mqtt_type type) {
    return reason < sizeof reasons / sizeof reasons[0] && (reasons[reason].packets >> type & 1) != 0;
}

uint8_t mqtt_connack_code(uint8_t reason) {
    switch (reason) {
    case MQTT_UNSUPPORTED_VERSION:
        return 1;
    case MQTT_CLIENT_ID_NOT_VALID:
        return 2;
    case MQTT_SERVER_UNAVAILABLE:
    case MQTT_SERVER_BUSY:
    case MQTT_QUOTA_EXCEEDED:
    case MQTT_CONNECTION_RATE_EXCEEDED:
        return 3;
    case MQTT_BAD_USER_NAME_OR_PASSWORD:
        return 4;
    case MQTT_NOT_AUTHORIZED:
    case MQTT_BANNED:
        return 5;
    default:
        return 0;
    }
}

uint8_t mqtt_connack_reason(uint8_t code) {
    static const uint8_t reason_of[] = {
        MQTT_SUCCESS,           MQTT_UNSUPPORTED_VERSION,       MQTT_CLIENT_ID_NOT_VALID,
        MQTT_SERVER_UNAVAILABLE, MQTT_BAD_USER_NAME_OR_PASSWORD, MQTT_NOT_AUTHORIZED,
    };

    return code < sizeof reason_of ? reason_of[code] : 0;
}
