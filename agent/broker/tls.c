/* agent/broker/tls.c: from a listener's files to an OpenSSL context. */
#include "agent/broker/tls_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* A client's certificate with its chain; OpenSSL makes room for what a client announces, before it knows who that is. */
#define CLIENT_CHAIN_BYTES (32 * 1024)
/* A ticket is good for so long: after that, certificates are looked at again. */
#define SESSION_SECONDS 7200

static const char *const min_versions[] = { "1.2", "1.3", NULL };

#define AT(member) offsetof(struct tls_settings, member)

/* clang-format off */
const struct cfg_field tls_settings_options[] = {
    { .key = "certificate", .type = CFG_STRING, .offset = AT(certificate), .flags = CFG_REQUIRED,
      .help = "File with the server's certificate and its chain (PEM).", .example = "/etc/heliograf/server.pem" },
    { .key = "key", .type = CFG_STRING, .offset = AT(key), .flags = CFG_REQUIRED,
      .help = "File with its private key (PEM).", .example = "/etc/heliograf/server.key" },
    { .key = "key_password", .type = CFG_SECRET, .offset = AT(key_password),
      .help = "Password of the private key.", .example = "\"${TLS_KEY_PASSWORD}\"" },
    { .key = "client_ca", .type = CFG_STRING, .offset = AT(client_ca),
      .help = "File with the CA certificates (PEM) that client certificates must come from, or a directory of such files; without it, clients are not asked for one.",
      .example = "/etc/heliograf/clients-ca.pem" },
    { .key = "crl", .type = CFG_STRING, .offset = AT(crl),
      .help = "File with revocation lists (PEM) of the client CAs: one for each CA that signs client certificates.",
      .example = "/etc/heliograf/clients.crl" },
    { .key = "require_client_certificate", .type = CFG_BOOL, .offset = AT(require_client_certificate), .fallback = "false",
      .help = "Refuse clients without a certificate; otherwise one is asked for, and checked when it comes." },
    { .key = "use_identity_as_username", .type = CFG_BOOL, .offset = AT(use_identity_as_username), .fallback = "false",
      .help = "The client certificate's common name is the user name; no password is asked for." },
    { .key = "use_subject_as_username", .type = CFG_BOOL, .offset = AT(use_subject_as_username), .fallback = "false",
      .help = "The client certificate's whole subject is the user name, as `CN=press-4,O=acme`." },
    { .key = "min_version", .type = CFG_ENUM, .offset = AT(min_version), .fallback = "\"1.2\"", .names = min_versions,
      .help = "Lowest TLS version." },
    { .key = "ciphers", .type = CFG_STRING, .offset = AT(ciphers), .flags = CFG_EXPERT,
      .help = "Ciphers of TLS 1.2, as OpenSSL writes them; by default OpenSSL's.", .example = "\"ECDHE+AESGCM:ECDHE+CHACHA20\"" },
    { .key = "cipher_suites", .type = CFG_STRING, .offset = AT(cipher_suites), .flags = CFG_EXPERT,
      .help = "Cipher suites of TLS 1.3, as OpenSSL writes them; by default OpenSSL's.",
      .example = "\"TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256\"" },
    CFG_END,
};
/* clang-format on */

static bool is_given(const char *text) {
    return text != NULL && text[0] != '\0';
}

/* The system's error, if there is one, says more than those that it led to. */
const char *tls_reason(void) {
    unsigned long error = 0, next;

    while ((error == 0 || !ERR_SYSTEM_ERROR(error)) && (next = ERR_get_error()) != 0)
        error = next;
    ERR_clear_error();
    if (error == 0)
        return "unknown error";
    if (ERR_SYSTEM_ERROR(error))
        return strerror(ERR_GET_REASON(error));
    return ERR_reason_error_string(error) != NULL ? ERR_reason_error_string(error) : "unknown error";
}

/* OpenSSL would ask on the terminal otherwise. */
static int give_password(char *out, int size, int writing, void *password) {
    size_t len = password != NULL ? strlen(password) : 0;

    (void)writing;
    if (len >= (size_t)size)
        return -1;
    memcpy(out, password != NULL ? password : "", len);
    return (int)len;
}

/* ---- our own certificate ---------------------------------------------------------------------------------------- */

static bool load_key(SSL_CTX *ssl, const struct tls_settings *settings, struct err *err) {
    bool has_password = is_given(settings->key_password);

    SSL_CTX_set_default_passwd_cb(ssl, give_password);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, settings->key_password);
    if (SSL_CTX_use_PrivateKey_file(ssl, settings->key, SSL_FILETYPE_PEM) == 1)
        return true;
    if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH) {
        ERR_clear_error();
        return err_set(err, ERR_SYNTAX, "the private key in %s does not belong to the certificate in %s", settings->key,
                       settings->certificate);
    }
    return err_set(err, ERR_IO, "cannot use the private key in %s: %s; %s", settings->key, tls_reason(),
                   has_password ? "is the password right?" : "a key with a password needs key_password");
}

static int64_t seconds_left(const SSL_CTX *ssl) {
    const X509 *certificate = SSL_CTX_get0_certificate(ssl);
    int days = 0, seconds = 0;

    if (certificate == NULL || ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate)) != 1)
        return 0;
    return (int64_t)days * 86400 + seconds;
}

static bool load_certificate(SSL_CTX *ssl, const struct tls_settings *settings, struct tls_findings *findings,
                             struct err *err) {
    struct stat status;

    if (SSL_CTX_use_certificate_chain_file(ssl, settings->certificate) != 1)
        return err_set(err, ERR_IO, "cannot read a certificate from %s: %s", settings->certificate, tls_reason());
    if (!load_key(ssl, settings, err))
        return false;
    findings->loose_key = stat(settings->key, &status) == 0 && (status.st_mode & S_IROTH) != 0;
    findings->expires_s = seconds_left(ssl);
    return true;
}

/* ---- those of clients ------------------------------------------------------------------------------------------- */

/* What client certificates are checked against, also as one digest: a ticket that was given under other terms is void. */
struct trust {
    X509_STORE *store;
    STACK_OF(X509_NAME) *names; /* that clients are told to choose from */
    EVP_MD_CTX *digest;
    size_t certificates, lists;
};

static void digest_certificate(struct trust *trust, const X509 *certificate) {
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len;

    if (X509_digest(certificate, EVP_sha256(), sum, &len) == 1)
        EVP_DigestUpdate(trust->digest, sum, len);
}

static void digest_list(struct trust *trust, const X509_CRL *list) {
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len;

    if (X509_CRL_digest(list, EVP_sha256(), sum, &len) == 1)
        EVP_DigestUpdate(trust->digest, sum, len);
}

static bool add_certificate(struct trust *trust, X509 *certificate) {
    X509_NAME *name = X509_NAME_dup(X509_get_subject_name(certificate));

    if (X509_STORE_add_cert(trust->store, certificate) != 1 || name == NULL || sk_X509_NAME_push(trust->names, name) == 0) {
        X509_NAME_free(name);
        return false;
    }
    digest_certificate(trust, certificate);
    trust->certificates++;
    return true;
}

/* Every certificate or list of one PEM file; other things in it are passed over. */
static bool load_pem(struct trust *trust, const char *path, bool lists, struct err *err) {
    BIO *file = BIO_new_file(path, "r");
    STACK_OF(X509_INFO) *items = file != NULL ? PEM_X509_INFO_read_bio(file, NULL, give_password, NULL) : NULL;
    bool ok = items != NULL;

    for (int i = 0; ok && i < sk_X509_INFO_num(items); i++) {
        X509_INFO *item = sk_X509_INFO_value(items, i);
        if (!lists && item->x509 != NULL) {
            ok = add_certificate(trust, item->x509);
        } else if (lists && item->crl != NULL) {
            ok = X509_STORE_add_crl(trust->store, item->crl) == 1;
            digest_list(trust, item->crl);
            trust->lists++;
        }
    }
    if (!ok)
        err_set(err, ERR_IO, "cannot read %s from %s: %s", lists ? "revocation lists" : "CA certificates", path, tls_reason());
    sk_X509_INFO_pop_free(items, X509_INFO_free);
    BIO_free(file);
    return ok;
}

static int is_visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

/* Every file of the directory, in the order of their names; files without a certificate in them do no harm. */
static bool load_directory(struct trust *trust, const char *directory, struct err *err) {
    struct dirent **entries;
    int count = scandir(directory, &entries, is_visible, alphasort);
    struct stat status;
    char path[1024];
    bool ok = true;

    if (count < 0)
        return err_set_errno(err, errno, "cannot read the directory %s", directory);
    for (int i = 0; i < count; i++) {
        int len = snprintf(path, sizeof path, "%s/%s", directory, entries[i]->d_name);
        if (ok && len > 0 && (size_t)len < sizeof path && stat(path, &status) == 0 && S_ISREG(status.st_mode))
            ok = load_pem(trust, path, false, err);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

static bool load_authorities(struct trust *trust, const char *path, struct err *err) {
    struct stat status;

    if (stat(path, &status) != 0)
        return err_set_errno(err, errno, "cannot read CA certificates from %s", path);
    if (!(S_ISDIR(status.st_mode) ? load_directory(trust, path, err) : load_pem(trust, path, false, err)))
        return false;
    if (trust->certificates == 0)
        return err_set(err, ERR_MISSING, "no CA certificate (PEM) in %s", path);
    return true;
}

static bool load_trust(struct trust *trust, const struct tls_settings *settings, struct err *err) {
    if (!load_authorities(trust, settings->client_ca, err))
        return false;
    /* What is in the file is trusted, be it an intermediate CA or one client's own certificate. */
    X509_STORE_set_flags(trust->store, X509_V_FLAG_PARTIAL_CHAIN);
    if (!is_given(settings->crl))
        return true;
    if (!load_pem(trust, settings->crl, true, err))
        return false;
    if (trust->lists == 0)
        return err_set(err, ERR_MISSING, "no revocation list (PEM) in %s", settings->crl);
    X509_STORE_set_flags(trust->store, X509_V_FLAG_CRL_CHECK);
    return true;
}

static bool set_session_context(SSL_CTX *ssl, struct trust *trust, const struct tls_settings *settings) {
    unsigned char sum[EVP_MAX_MD_SIZE], terms[3] = { settings->require_client_certificate, is_given(settings->client_ca),
                                                     is_given(settings->crl) };
    unsigned len;

    return EVP_DigestUpdate(trust->digest, terms, sizeof terms) == 1 && EVP_DigestFinal_ex(trust->digest, sum, &len) == 1 &&
           len <= SSL_MAX_SID_CTX_LENGTH && SSL_CTX_set_session_id_context(ssl, sum, len) == 1;
}

static bool use_trust(SSL_CTX *ssl, const struct tls_settings *settings, struct err *err) {
    struct trust trust = { X509_STORE_new(), sk_X509_NAME_new_null(), EVP_MD_CTX_new(), 0, 0 };
    bool ok = (trust.store != NULL && trust.names != NULL && trust.digest != NULL &&
               EVP_DigestInit_ex(trust.digest, EVP_sha256(), NULL) == 1) ||
              err_set(err, ERR_LIMIT, "no memory for TLS");

    if (ok && is_given(settings->client_ca))
        ok = load_trust(&trust, settings, err);
    if (ok && !set_session_context(ssl, &trust, settings))
        ok = err_set(err, ERR_IO, "cannot set up TLS: %s", tls_reason());
    if (ok && is_given(settings->client_ca)) {
        SSL_CTX_set1_verify_cert_store(ssl, trust.store);
        SSL_CTX_set0_CA_list(ssl, trust.names);
        trust.names = NULL;
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | (settings->require_client_certificate ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                           NULL);
    }
    /* The store that clients are checked against would also complete our own chain: send what is in the file, no more. */
    SSL_CTX_set_mode(ssl, SSL_MODE_NO_AUTO_CHAIN);
    X509_STORE_free(trust.store);
    sk_X509_NAME_pop_free(trust.names, X509_NAME_free);
    EVP_MD_CTX_free(trust.digest);
    return ok;
}

/* ---- the context ------------------------------------------------------------------------------------------------ */

static bool set_ciphers(SSL_CTX *ssl, const struct tls_settings *settings, struct err *err) {
    if (is_given(settings->ciphers) && SSL_CTX_set_cipher_list(ssl, settings->ciphers) != 1) {
        ERR_clear_error();
        return err_set(err, ERR_UNSUPPORTED, "no cipher of '%s' is known; `openssl ciphers` lists those of TLS 1.2",
                       settings->ciphers);
    }
    if (is_given(settings->cipher_suites) && SSL_CTX_set_ciphersuites(ssl, settings->cipher_suites) != 1) {
        ERR_clear_error();
        return err_set(err, ERR_UNSUPPORTED, "cipher suites '%s' are not those of TLS 1.3; `openssl ciphers -tls1_3 -s` lists them",
                       settings->cipher_suites);
    }
    return true;
}

static void set_modes(SSL_CTX *ssl, const struct tls_settings *settings) {
    SSL_CTX_set_min_proto_version(ssl, settings->min_version == TLS_MIN_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    /* Idle connections have no buffers; there is no cache of sessions, a client keeps its own as a ticket. */
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ssl, 1);
    SSL_CTX_set_timeout(ssl, SESSION_SECONDS);
    SSL_CTX_set_max_cert_list(ssl, CLIENT_CHAIN_BYTES);
}

static SSL_CTX *make_context(const struct tls_settings *settings, struct tls_findings *findings, struct err *err) {
    SSL_CTX *ssl;

    ERR_clear_error();
    ssl = SSL_CTX_new(TLS_server_method());
    if (ssl == NULL) {
        err_set(err, ERR_LIMIT, "cannot set up TLS: %s", tls_reason());
        return NULL;
    }
    set_modes(ssl, settings);
    if (load_certificate(ssl, settings, findings, err) && set_ciphers(ssl, settings, err) && use_trust(ssl, settings, err))
        return ssl;
    SSL_CTX_free(ssl);
    return NULL;
}

static enum tls_name wanted_name(const struct tls_settings *settings) {
    if (settings->use_identity_as_username)
        return TLS_NAME_COMMON;
    return settings->use_subject_as_username ? TLS_NAME_SUBJECT : TLS_NAME_NONE;
}

struct tls_context *tls_context_new(const struct tls_settings *settings, struct tls_findings *findings, struct err *err) {
    struct tls_context *context = calloc(1, sizeof *context);

    if (context == NULL) {
        err_set(err, ERR_LIMIT, "no memory for TLS");
        return NULL;
    }
    context->name = wanted_name(settings);
    context->ssl = make_context(settings, findings, err);
    if (context->ssl == NULL) {
        free(context);
        return NULL;
    }
    return context;
}

/* Tickets are sealed with keys that a new context makes up: it gets the old one's. */
static void keep_ticket_keys(SSL_CTX *to, SSL_CTX *from) {
    unsigned char keys[80]; /* OpenSSL's three: 16 + 32 + 32 bytes */
    long len = SSL_CTX_get_tlsext_ticket_keys(from, NULL, 0);

    if (len > 0 && (size_t)len <= sizeof keys && SSL_CTX_get_tlsext_ticket_keys(from, keys, len) == 1)
        SSL_CTX_set_tlsext_ticket_keys(to, keys, len);
    OPENSSL_cleanse(keys, sizeof keys);
}

bool tls_context_reload(struct tls_context *context, const struct tls_settings *settings, struct tls_findings *findings,
                        struct err *err) {
    SSL_CTX *ssl = make_context(settings, findings, err);

    if (ssl == NULL)
        return false;
    keep_ticket_keys(ssl, context->ssl);
    SSL_CTX_free(context->ssl);
    context->ssl = ssl;
    context->name = wanted_name(settings);
    return true;
}

void tls_context_free(struct tls_context *context) {
    if (context == NULL)
        return;
    SSL_CTX_free(context->ssl);
    free(context);
}
