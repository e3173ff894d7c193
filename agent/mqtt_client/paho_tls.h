/*
 * agent/mqtt_client/paho_tls.h: what Paho's TLS options cannot say: a lowest version without pinning it, and cipher
 * suites by their IANA names. It travels in the string for the cipher suites, which Paho hands on unread.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_PAHO_TLS_H
#define HELIOGRAF_MQTT_CLIENT_PAHO_TLS_H

#include <stddef.h>

#include "agent/base/buf.h"

enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };

/*
 * Appends the string for MQTTAsync_SSLOptions.enabledCipherSuites. `suites` are IANA names (TLS_AES_128_GCM_SHA256) or
 * OpenSSL's; none: OpenSSL's defaults. False with `err` on a name that OpenSSL does not know.
 */
bool paho_tls_ciphers(enum tls_version lowest, char *const *suites, size_t count, struct buf *out, struct err *err);

/* The same for a list as OpenSSL writes it, of what is older than TLS 1.3 ("ECDHE+AESGCM:!aNULL"); NULL: its defaults. */
bool paho_tls_cipher_list(enum tls_version lowest, const char *list, struct buf *out, struct err *err);

/* PEM files: that OpenSSL can load them. */
bool paho_tls_check_ca(const char *ca, struct err *err);
/* The same for a client certificate and its key, and that the two belong together; `password` may be NULL. */
bool paho_tls_check_pair(const char *certificate, const char *key, const char *password, struct err *err);

#endif
