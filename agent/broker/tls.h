/*
 * agent/broker/tls.h: TLS of a server, over memory: no sockets, no loop. A context is what a listener's files come to; a
 * stream is one connection: ciphertext in and out as bytes. TLS 1.2 and 1.3, no renegotiation, no compression, resumption by
 * tickets. One thread. OpenSSL's types stay in tls*.c.
 */
#ifndef HELIOGRAF_BROKER_TLS_H
#define HELIOGRAF_BROKER_TLS_H

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "config/schema.h"

struct tls_context;
struct tls_stream;

enum tls_min_version { TLS_MIN_1_2, TLS_MIN_1_3 };

struct tls_settings {
    char *certificate, *key, *key_password; /* PEM files; a certificate with its chain. What follows may be "" or NULL */
    char *client_ca;                        /* file or directory of them; none: no client certificate is asked for */
    char *crl;                              /* file */
    bool require_client_certificate;
    bool use_identity_as_username, use_subject_as_username; /* common name, or whole subject (RFC 4514) */
    int min_version;                                        /* enum tls_min_version */
    char *ciphers, *cipher_suites;                          /* of TLS 1.2; of TLS 1.3; as OpenSSL writes them; none: its defaults */
};
extern const struct cfg_field tls_settings_options[];

/* What is not as it should be, and no reason to refuse. */
struct tls_findings {
    bool loose_key;    /* everybody on this machine may read the private key */
    int64_t expires_s; /* seconds until the certificate expires; negative: it has */
};

/* NULL with words that name the file and what is wrong with it. */
struct tls_context *tls_context_new(const struct tls_settings *settings, struct tls_findings *findings, struct err *err);
/*
 * Reads the files again. Streams that exist go on with what they were made from; new ones use the new files. Tickets stay
 * valid, unless what client certificates are checked against has changed. False: nothing has changed.
 */
bool tls_context_reload(struct tls_context *context, const struct tls_settings *settings, struct tls_findings *findings,
                        struct err *err);
void tls_context_free(struct tls_context *context); /* NULL is fine; streams go on */

enum tls_result {
    TLS_DONE, /* handshake: it is through; read: there are bytes */
    TLS_MORE, /* all ciphertext that was fed is used up */
    TLS_END,  /* the peer has said goodbye (close_notify) */
    TLS_FAILED,
};

/* Ciphertext for the peer is appended to `out`, which is shared by many streams and empty between calls. NULL without memory. */
struct tls_stream *tls_stream_new(struct tls_context *context, struct buf *out);
void tls_stream_free(struct tls_stream *stream); /* NULL is fine */

/* Borrowed until one of the next two says something else than TLS_DONE, or is TLS_DONE with the handshake. */
void tls_stream_feed(struct tls_stream *stream, struct str ciphertext);
/* Until TLS_DONE. What is said in `out` is to be sent in every case: an alert tells the peer what is wrong. */
enum tls_result tls_stream_handshake(struct tls_stream *stream, struct err *err);
enum tls_result tls_stream_read(struct tls_stream *stream, char *plain, size_t size, size_t *len, struct err *err);
/* Encrypts all of it, in records of at most 16 KiB. False: `out` is full, or the stream is broken. */
bool tls_stream_write(struct tls_stream *stream, struct str plain);
void tls_stream_goodbye(struct tls_stream *stream);

/*
 * After the handshake: appends the name that the settings want from the client's certificate; nothing without a certificate or
 * such a setting. False: the certificate has no such name, or one with control characters or ill-formed UTF-8.
 */
bool tls_stream_client_name(const struct tls_stream *stream, struct buf *name, struct err *err);
bool tls_stream_was_resumed(const struct tls_stream *stream);

/* Of an idle one, as measured (bench_transport). */
enum { TLS_STREAM_BYTES = 16 * 1024 };

#endif
