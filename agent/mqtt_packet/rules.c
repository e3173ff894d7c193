/* agent/mqtt_packet/rules.c: see rules.h. */
#include "agent/mqtt_packet/rules.h"

enum { SILENT = 0 };

static const struct rule {
    uint8_t reason, mosquitto;
    const char *words;
} rules[MQTT_RULE_COUNT] = {
    [MQTT_FINE] = { 0, 0, "" },
#define X(name, reason, mosquitto, words) [MQTT_RULE_##name] = { reason, mosquitto, words },
    MQTT_RULES(X)
#undef X
};

const char *mqtt_rule_words(enum mqtt_rule rule) {
    return rule < MQTT_RULE_COUNT ? rules[rule].words : "";
}

uint8_t mqtt_rule_reason(enum mqtt_rule rule) {
    return rule < MQTT_RULE_COUNT ? rules[rule].reason : 0;
}

uint8_t mqtt_rule_mosquitto(enum mqtt_rule rule, enum mqtt_type type, enum mqtt_version version) {
    bool subscribing = type == MQTT_SUBSCRIBE || type == MQTT_UNSUBSCRIBE;

    if (version != MQTT_5 && rule != MQTT_RULE_PROTOCOL_LEVEL && rule != MQTT_RULE_CLIENT_ID_EMPTY)
        return SILENT;
    if (subscribing && (rule == MQTT_RULE_PROPERTY_MISPLACED || rule == MQTT_RULE_PACKET_ID_ZERO))
        return MQTT_MALFORMED_PACKET; /* its SUBSCRIBE handler calls every failed read malformed */
    if (rule == MQTT_RULE_FLAGS && type == MQTT_CONNECT)
        return SILENT;
    if (rule == MQTT_RULE_FLAGS && (type == MQTT_CONNACK || type == MQTT_AUTH))
        return MQTT_PROTOCOL_ERROR; /* refused by their type, before it looks at flags */
    return rule < MQTT_RULE_COUNT ? rules[rule].mosquitto : 0;
}
