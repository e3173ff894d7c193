/*
 * agent/commands/broker_url.h: a broker, credentials and a topic in one word, as `-L` takes it:
 * mqtt(s)://[user[:password]@]host[:port]/topic, and ws(s):// likewise. Pure.
 */
#ifndef HELIOGRAF_COMMANDS_BROKER_URL_H
#define HELIOGRAF_COMMANDS_BROKER_URL_H

#include "agent/base/err.h"

struct broker_url {
    char *server;              /* scheme://host[:port], for mqtt_client_options */
    char *username, *password; /* NULL: not given */
    char *topic;
};

/*
 * User and password may be percent-encoded (RFC 3986, 2.1), the topic is taken as it stands. False with `err`, which
 * never repeats the password. `out` is to be released in any case.
 */
bool broker_url_parse(const char *text, struct broker_url *out, struct err *err);
void broker_url_release(struct broker_url *url); /* safe on a zeroed one */

#endif
