/*
 * agent/mqtt_client/failure.h: the kinds of reasons why there is no connection.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_FAILURE_H
#define HELIOGRAF_MQTT_CLIENT_FAILURE_H

enum connection_failure_kind {
    FAILED_NAME,    /* the name server does not know the host, or does not answer */
    FAILED_NETWORK, /* refused, unreachable */
    FAILED_TLS,     /* no agreement on TLS, or not the certificate that we want */
    FAILED_TIMEOUT,
    FAILED_CREDENTIALS, /* the broker knows us and says no: user, password, authorisation, client id */
    FAILED_VERSION,     /* the broker does not speak this version of MQTT */
    FAILED_CLOSED,      /* the broker ends the connection without a word; old ones do so on MQTT 5 */
    FAILED_BROKER,      /* any other refusal */
    FAILED_KINDS,
};
const char *connection_failure_name(enum connection_failure_kind kind);

#endif
