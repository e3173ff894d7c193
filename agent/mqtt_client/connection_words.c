/* agent/mqtt_client/connection_words.c: what the codes of CONNACK, SUBACK and DISCONNECT mean. */
#include "agent/mqtt_client/connection.h"

#include <MQTTAsync.h>

const char *connection_failure_name(enum connection_failure_kind kind) {
    static const char *const names[FAILED_KINDS] = { "name",        "network", "tls",    "timeout",
                                                     "credentials", "version", "closed", "broker" };

    return names[kind];
}

const char *connection_reason(int version, int code) {
    static const char *const connack[] = {
        "accepted",           "unacceptable protocol version", "client id rejected",
        "server unavailable", "bad user name or password",     "not authorised",
    };

    if (code >= 0x80 && version >= MQTTVERSION_5) {
        const char *words = MQTTReasonCode_toString((enum MQTTReasonCodes)code);
        return words != NULL ? words : "unknown reason";
    }
    if (code == 0x80)
        return "refused by the broker (not authorised, or not a filter it takes)";
    if (code >= 0 && code < (int)(sizeof connack / sizeof *connack))
        return connack[code];
    return "unknown reason";
}

enum connection_failure_kind connection_refusal_kind(int version, int code) {
    if (version < MQTTVERSION_5)
        return code == 1 ? FAILED_VERSION : code == 2 || code == 4 || code == 5 ? FAILED_CREDENTIALS : FAILED_BROKER;
    switch (code) {
    case 1: /* an old broker answers MQTT 5 in its own terms */
    case MQTTREASONCODE_UNSUPPORTED_PROTOCOL_VERSION:
        return FAILED_VERSION;
    case MQTTREASONCODE_CLIENT_IDENTIFIER_NOT_VALID:
    case MQTTREASONCODE_BAD_USER_NAME_OR_PASSWORD:
    case MQTTREASONCODE_NOT_AUTHORIZED:
    case MQTTREASONCODE_BANNED:
    case MQTTREASONCODE_BAD_AUTHENTICATION_METHOD:
        return FAILED_CREDENTIALS;
    default:
        return FAILED_BROKER;
    }
}
