/* agent/broker/tls_internal.h: what tls.c (files to contexts) and tls_stream.c (connections) share. Nobody else includes it. */
#ifndef HELIOGRAF_BROKER_TLS_INTERNAL_H
#define HELIOGRAF_BROKER_TLS_INTERNAL_H

#include "agent/broker/tls.h"

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

enum tls_name { TLS_NAME_NONE, TLS_NAME_COMMON, TLS_NAME_SUBJECT };

struct tls_context {
    struct ssl_ctx_st *ssl;
    enum tls_name name;
};

/* OpenSSL's last error in its words, without its numbers; the queue is empty afterwards. "unknown error" when it was. */
const char *tls_reason(void);

#endif
