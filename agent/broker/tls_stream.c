/*
 * agent/broker/tls_stream.c: one TLS connection over memory. OpenSSL reads what was fed and writes into a buffer that all
 * streams share: one read and one write of the socket, however many records there are.
 */
#include "agent/broker/tls_internal.h"

#include <pthread.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct tls_stream {
    SSL *ssl;
    struct str in; /* what is fed and not yet read */
    struct buf *out;
    enum tls_name name;
    bool broken; /* OpenSSL wants nothing more to be done with it */
};

/* ---- memory as OpenSSL's "socket" -------------------------------------------------------------------------------- */

static int bio_read(BIO *bio, char *data, int size) {
    struct tls_stream *stream = BIO_get_data(bio);
    size_t len = size > 0 ? (size_t)size : 0;

    BIO_clear_retry_flags(bio);
    if (len > stream->in.len)
        len = stream->in.len;
    if (len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(data, stream->in.data, len);
    stream->in = str_make(stream->in.data + len, stream->in.len - len);
    return (int)len;
}

static int bio_write(BIO *bio, const char *data, int len) {
    struct tls_stream *stream = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    return len >= 0 && buf_append(stream->out, data, (size_t)len) ? len : -1;
}

static long bio_control(BIO *bio, int what, long number, void *pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    return what == BIO_CTRL_FLUSH;
}

/* Written once, by the first who needs it, and the same for everybody. */
static BIO_METHOD *memory_method;
static pthread_once_t memory_method_made = PTHREAD_ONCE_INIT;

static void make_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "heliograf memory");

    if (method != NULL && BIO_meth_set_read(method, bio_read) == 1 && BIO_meth_set_write(method, bio_write) == 1 &&
        BIO_meth_set_ctrl(method, bio_control) == 1)
        memory_method = method;
}

struct tls_stream *tls_stream_new(struct tls_context *context, struct buf *out) {
    struct tls_stream *stream = calloc(1, sizeof *stream);
    BIO *bio;

    pthread_once(&memory_method_made, make_method);
    bio = stream != NULL && memory_method != NULL ? BIO_new(memory_method) : NULL;
    if (bio != NULL)
        stream->ssl = SSL_new(context->ssl);
    if (bio == NULL || stream->ssl == NULL) {
        BIO_free(bio);
        free(stream);
        ERR_clear_error();
        return NULL;
    }
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(stream->ssl, bio, bio);
    SSL_set_accept_state(stream->ssl);
    stream->in = STR_EMPTY;
    stream->out = out;
    stream->name = context->name;
    return stream;
}

void tls_stream_free(struct tls_stream *stream) {
    if (stream == NULL)
        return;
    SSL_free(stream->ssl);
    free(stream);
}

void tls_stream_feed(struct tls_stream *stream, struct str ciphertext) {
    stream->in = ciphertext;
}

/* ---- words ------------------------------------------------------------------------------------------------------ */

static const char *certificate_remedy(long verify) {
    switch (verify) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return "; it must come from a CA in client_ca";
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "; give the client a new one, or set this machine's clock";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "; is this machine's clock right?";
    case X509_V_ERR_UNABLE_TO_GET_CRL:
        return "; crl needs a list from the CA that signed it";
    case X509_V_ERR_CRL_HAS_EXPIRED:
        return "; put a new list into crl and reload";
    case X509_V_ERR_INVALID_PURPOSE:
        return "; it is not made for clients (extended key usage)";
    }
    return "";
}

static bool client_refused_ours(int reason) {
    switch (reason) {
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
        return true;
    }
    return false;
}

static enum tls_result fail(struct tls_stream *stream, struct err *err) {
    int reason = ERR_GET_REASON(ERR_peek_last_error());
    long verify = SSL_get_verify_result(stream->ssl);

    stream->broken = true;
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        err_set(err, ERR_NETWORK, "its client certificate is refused: %s%s", X509_verify_cert_error_string(verify),
                certificate_remedy(verify));
    else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        err_set(err, ERR_NETWORK, "it sent no client certificate, and require_client_certificate is set");
    else if (reason == SSL_R_NO_SHARED_CIPHER)
        err_set(err, ERR_NETWORK, "it has no cipher in common with us; see ciphers, and whether it knows keys like ours");
    else if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_VERSION_TOO_LOW)
        err_set(err, ERR_NETWORK, "it speaks no TLS version from min_version on");
    else if (client_refused_ours(reason))
        err_set(err, ERR_NETWORK,
                "it refuses our certificate (%s); it needs the CA that signed it, and must connect to a name that is in it",
                ERR_reason_error_string(ERR_peek_last_error()));
    else
        err_set(err, ERR_NETWORK, "TLS: %s", tls_reason());
    ERR_clear_error();
    return TLS_FAILED;
}

/* ---- the stream ------------------------------------------------------------------------------------------------- */

/* A ticket outlives a certificate: a resumed session has it from the first time. */
static bool is_still_valid(const struct tls_stream *stream) {
    const X509 *certificate = SSL_get0_peer_certificate(stream->ssl);

    return certificate == NULL || X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0;
}

enum tls_result tls_stream_handshake(struct tls_stream *stream, struct err *err) {
    int result;

    ERR_clear_error();
    result = SSL_do_handshake(stream->ssl);
    if (result != 1)
        return SSL_get_error(stream->ssl, result) == SSL_ERROR_WANT_READ ? TLS_MORE : fail(stream, err);
    if (is_still_valid(stream))
        return TLS_DONE;
    err_set(err, ERR_NETWORK, "its client certificate has expired since it got its ticket");
    return TLS_FAILED;
}

enum tls_result tls_stream_read(struct tls_stream *stream, char *plain, size_t size, size_t *len, struct err *err) {
    *len = 0;
    ERR_clear_error();
    if (SSL_read_ex(stream->ssl, plain, size, len) == 1)
        return TLS_DONE;
    switch (SSL_get_error(stream->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
        return TLS_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_END;
    }
    return fail(stream, err);
}

bool tls_stream_write(struct tls_stream *stream, struct str plain) {
    size_t written = 0;

    if (stream->broken)
        return false;
    ERR_clear_error();
    if (SSL_write_ex(stream->ssl, plain.data, plain.len, &written) == 1 && written == plain.len)
        return true;
    stream->broken = true;
    ERR_clear_error();
    return false;
}

void tls_stream_goodbye(struct tls_stream *stream) {
    if (!stream->broken && SSL_is_init_finished(stream->ssl))
        SSL_shutdown(stream->ssl);
    ERR_clear_error();
}

bool tls_stream_was_resumed(const struct tls_stream *stream) {
    return SSL_session_reused(stream->ssl) == 1;
}

/* ---- the client's name ------------------------------------------------------------------------------------------ */

/* Control characters, U+0080 to U+009F among them, have no place in a name that goes into topics, logs and files. */
static bool is_clean(struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && i + 1 < text.len && (unsigned char)text.data[i + 1] < 0xa0))
            return false;
    }
    return str_is_utf8(text);
}

/* Appends the text of one part of a name (`out` may be NULL: only checks it). */
static bool take_entry(const X509_NAME_ENTRY *entry, struct buf *out) {
    unsigned char *text = NULL;
    int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
    bool ok = len >= 0 && is_clean(str_make((char *)text, (size_t)len));

    if (ok && out != NULL)
        ok = buf_append(out, text, (size_t)len);
    OPENSSL_free(text);
    return ok;
}

static bool common_name(const X509_NAME *subject, struct buf *name, struct err *err) {
    int at = X509_NAME_get_index_by_NID((X509_NAME *)subject, NID_commonName, -1);
    size_t before = name->len;

    if (at < 0)
        return err_set(err, ERR_MISSING, "its client certificate has no common name to be the user name");
    if (X509_NAME_get_index_by_NID((X509_NAME *)subject, NID_commonName, at) >= 0)
        return err_set(err, ERR_UNSUPPORTED, "its client certificate has more than one common name");
    if (!take_entry(X509_NAME_get_entry(subject, at), name))
        return err_set(err, ERR_SYNTAX, "the common name of its client certificate has control characters or is no UTF-8");
    return name->len > before || err_set(err, ERR_MISSING, "the common name of its client certificate is empty");
}

static bool whole_subject(const X509_NAME *subject, struct buf *name, struct err *err) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long len;
    bool ok;

    for (int i = 0; i < X509_NAME_entry_count(subject); i++)
        if (!take_entry(X509_NAME_get_entry(subject, i), NULL)) {
            BIO_free(bio);
            return err_set(err, ERR_SYNTAX, "the subject of its client certificate has control characters or is no UTF-8");
        }
    ok = bio != NULL && X509_NAME_print_ex(bio, subject, 0, XN_FLAG_RFC2253) >= 0;
    len = ok ? BIO_get_mem_data(bio, &text) : 0;
    ok = ok && (len == 0 || buf_append(name, text, (size_t)len));
    BIO_free(bio);
    if (!ok)
        return err_set(err, ERR_LIMIT, "no memory for the subject of its client certificate");
    return len > 0 || err_set(err, ERR_MISSING, "the subject of its client certificate is empty");
}

bool tls_stream_client_name(const struct tls_stream *stream, struct buf *name, struct err *err) {
    const X509 *certificate = SSL_get0_peer_certificate(stream->ssl);
    bool ok;

    if (certificate == NULL || stream->name == TLS_NAME_NONE)
        return true;
    if (stream->name == TLS_NAME_COMMON)
        ok = common_name(X509_get_subject_name(certificate), name, err);
    else
        ok = whole_subject(X509_get_subject_name(certificate), name, err);
    ERR_clear_error();
    return ok;
}
