/* agent/mqtt_client/paho_tls.c: see paho_tls.h. The string is "VERSION|TLS 1.3 suites|older suites", lists with colons.
 */
#include "agent/mqtt_client/paho_tls.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

/* Called by Paho's objects where they say SSL_CTX_set_cipher_list. */
int paho_SSL_CTX_set_cipher_list(SSL_CTX *ctx, const char *text);

static bool is_tls13(const char *name) {
    /* RFC 8446 names neither key exchange nor authentication: TLS_AES_..., TLS_CHACHA20_...; older ones say
     * ..._WITH_... */
    return strncmp(name, "TLS_", 4) == 0 && strstr(name, "_WITH_") == NULL;
}

static void append_listed(struct buf *list, const char *name) {
    if (list->len > 0)
        buf_append_char(list, ':');
    buf_append_c(list, name);
}

bool paho_tls_ciphers(enum tls_version lowest, char *const *suites, size_t count, struct buf *out, struct err *err) {
    struct buf modern = BUF_INIT(4096), older = BUF_INIT(4096);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    bool ok = ctx != NULL || err_set(err, ERR_IO, "cannot set up TLS");

    for (size_t i = 0; ok && i < count; i++) {
        const char *name = suites[i];
        if (is_tls13(name)) {
            ok = SSL_CTX_set_ciphersuites(ctx, name) == 1;
            append_listed(&modern, name);
        } else {
            const char *known = strncmp(name, "TLS_", 4) == 0 ? OPENSSL_cipher_name(name) : name;
            ok = strcmp(known, "(NONE)") != 0 && strpbrk(known, ":|") == NULL &&
                 SSL_CTX_set_cipher_list(ctx, known) == 1;
            append_listed(&older, known);
        }
        if (!ok)
            err_set(err, ERR_UNSUPPORTED, "unknown cipher suite '%s'", name);
    }
    if (ok) {
        buf_printf(out, "%s|", lowest == TLS_VERSION_1_3 ? "1.3" : "1.2");
        buf_append_str(out, buf_str(&modern));
        buf_append_char(out, '|');
        buf_append_str(out, buf_str(&older));
    }
    SSL_CTX_free(ctx);
    ERR_clear_error();
    buf_release(&modern);
    buf_release(&older);
    return ok;
}

bool paho_tls_cipher_list(enum tls_version lowest, const char *list, struct buf *out, struct err *err) {
    SSL_CTX *ctx = list != NULL ? SSL_CTX_new(TLS_client_method()) : NULL;
    bool ok = list == NULL || (ctx != NULL && strchr(list, '|') == NULL && SSL_CTX_set_cipher_list(ctx, list) == 1);

    SSL_CTX_free(ctx);
    ERR_clear_error();
    if (!ok)
        return err_set(err, ERR_UNSUPPORTED, "'%s' is no list of ciphers; `openssl ciphers` prints one", list);
    return buf_printf(out, "%s||%s", lowest == TLS_VERSION_1_3 ? "1.3" : "1.2", list != NULL ? list : "");
}

int paho_SSL_CTX_set_cipher_list(SSL_CTX *ctx, const char *text) {
    const char *modern = strchr(text, '|'), *older = modern != NULL ? strchr(modern + 1, '|') : NULL;
    char list[4096];
    size_t len;

    if (older == NULL)
        return SSL_CTX_set_cipher_list(ctx, text);
    modern++;
    len = (size_t)(older - modern);
    older++;
    if (SSL_CTX_set_min_proto_version(ctx, strncmp(text, "1.3", 3) == 0 ? TLS1_3_VERSION : TLS1_2_VERSION) != 1)
        return 0;
    if (len > 0 && len < sizeof list) {
        memcpy(list, modern, len);
        list[len] = '\0';
        if (SSL_CTX_set_ciphersuites(ctx, list) != 1)
            return 0;
    }
    return older[0] == '\0' || SSL_CTX_set_cipher_list(ctx, older) == 1;
}

static bool tls_error(struct err *err, const char *what, const char *path) {
    char words[160];

    ERR_error_string_n(ERR_peek_last_error(), words, sizeof words);
    ERR_clear_error();
    const char *reason = strrchr(words, ':');
    return err_set(err, ERR_IO, "%s %s: %s", what, path, reason != NULL ? reason + 1 : words);
}

bool paho_tls_check_ca(const char *ca, struct err *err) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    bool ok = ctx != NULL && SSL_CTX_load_verify_locations(ctx, ca, NULL) == 1;

    if (!ok)
        tls_error(err, "cannot read CA certificates from", ca);
    SSL_CTX_free(ctx);
    return ok;
}

static int give_password(char *out, int size, int writing, void *password) {
    size_t len = password != NULL ? strlen(password) : 0;

    (void)writing;
    if (len >= (size_t)size)
        return 0;
    memcpy(out, password != NULL ? password : "", len);
    return (int)len;
}

bool paho_tls_check_pair(const char *certificate, const char *key, const char *password, struct err *err) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    bool ok = false;

    if (ctx == NULL)
        return tls_error(err, "cannot set up TLS for", certificate);
    SSL_CTX_set_default_passwd_cb(ctx, give_password);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, (void *)password);
    if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1)
        tls_error(err, "cannot read a certificate from", certificate);
    else if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        tls_error(err, "cannot use the private key in", key);
    else
        ok = true;
    SSL_CTX_free(ctx);
    return ok;
}
