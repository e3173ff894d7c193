/*
 * agent/mqtt_client/connection_parts.h: the inside of a connection, shared by the files that make it up: connection.c (life,
 * connecting, what arrives), connection_requests.c (subscribe, unsubscribe, publish) and connection_properties.c.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_CONNECTION_PARTS_H
#define HELIOGRAF_MQTT_CLIENT_CONNECTION_PARTS_H

#include "agent/mqtt_client/connection.h"
#include "agent/mqtt_client/paho_wraps.h"

struct connection {
    void *handle; /* MQTTAsync */
    struct paho_link link;
    const struct mqtt_settings *settings;
    const struct mqtt_server *server;
    const struct connection_hooks *hooks;
    const struct connection_extras *extras; /* NULL: none */
    bool clean;
    char addresses[CONNECTION_ADDRESSES_MAX][64];
    size_t address_count;
    /* On Paho's threads: */
    uint64_t expected; /* messages that Paho should want to acknowledge */
    bool accepted;     /* and not lost since */
    char tls_error[120];
    char leaving[80]; /* why the broker says goodbye, MQTT 5 */
};

/* Appends to Paho's MQTTProperties, which copies; false without memory. */
bool connection_add_properties(void *paho_properties, const struct mqtt_properties *list);

#endif
