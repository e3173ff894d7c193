/* tests/unit/test_tls.c: contexts from files good and bad, handshakes with clients of every kind, over memory alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/ssl.h>
#include <poll.h>

#include "agent/base/clock.h"
#include "agent/broker/tls.h"
#include "tests/support/certificates.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What all tests share; made once. */
static struct {
    struct certificates files;
    struct certificate ca, middle, other_ca, server, other_server, client, via_middle, expired, early, revoked, stranger, self_signed,
        for_servers;
    char no_crl[CERTIFICATE_PATH_MAX], crl[CERTIFICATE_PATH_MAX], old_crl[CERTIFICATE_PATH_MAX];
} all;

static int make_all(void **state) {
    const struct subject_part subject = { "CN", "client", 0, 0 };
    struct certificate_wish wish = { .subject = &subject, .parts = 1 };

    (void)state;
    certificates_init(&all.files);
    all.ca = certificate_named(&all.files, "ca", NULL, 1);
    all.middle = certificate_named(&all.files, "middle", &all.ca, 1);
    all.other_ca = certificate_named(&all.files, "other-ca", NULL, 1);
    all.server = certificate_named(&all.files, "server", &all.ca, 0);
    all.other_server = certificate_named(&all.files, "other-server", &all.other_ca, 0);
    all.client = certificate_named(&all.files, "client", &all.ca, 0);
    all.revoked = certificate_named(&all.files, "revoked", &all.ca, 0);
    all.stranger = certificate_named(&all.files, "stranger", &all.other_ca, 0);
    all.self_signed = certificate_named(&all.files, "self-signed", NULL, 0);
    wish.file = "via-middle", wish.issuer = &all.middle, wish.chain = &all.middle;
    all.via_middle = certificate_make(&all.files, &wish);
    wish.file = "expired", wish.issuer = &all.ca, wish.chain = NULL, wish.from_s = -7200, wish.until_s = -60;
    all.expired = certificate_make(&all.files, &wish);
    wish.file = "early", wish.from_s = 3600, wish.until_s = 7200;
    all.early = certificate_make(&all.files, &wish);
    wish.file = "for-servers", wish.from_s = wish.until_s = 0, wish.usage = "serverAuth";
    all.for_servers = certificate_make(&all.files, &wish);
    certificate_list(&all.ca, &all.revoked, 86400, certificates_path(&all.files, "crl.pem", all.crl));
    certificate_list(&all.ca, NULL, -60, certificates_path(&all.files, "old-crl.pem", all.old_crl));
    certificate_list(&all.other_ca, NULL, 86400, certificates_path(&all.files, "no-crl.pem", all.no_crl));
    return 0;
}

static int release_all(void **state) {
    struct certificate *each[] = { &all.ca,     &all.middle,  &all.other_ca, &all.server,   &all.other_server, &all.client,     &all.via_middle,
                                   &all.expired, &all.early, &all.revoked,  &all.stranger, &all.self_signed,  &all.for_servers };

    (void)state;
    for (size_t i = 0; i < COUNT(each); i++)
        certificate_release(each[i]);
    certificates_release(&all.files);
    return 0;
}

static struct tls_settings settings_of(const struct certificate *certificate) {
    return (struct tls_settings){ .certificate = (char *)certificate->path, .key = (char *)certificate->key_path };
}

static struct tls_context *context_of(const struct tls_settings *settings) {
    struct tls_findings findings;
    struct err err = ERR_INIT;
    struct tls_context *context = tls_context_new(settings, &findings, &err);

    if (context == NULL)
        fail_msg("%s", err.text);
    return context;
}

/* ---- a client and a server, and nothing between them ------------------------------------------------------------- */

struct client_wish {
    const struct certificate *certificate, *trusts; /* NULL: none; all.ca */
    int max_version;                                /* 0: any */
    SSL_SESSION *session;
    const char *suites, *ciphers;
    bool does_not_verify;
};

struct pair {
    SSL_CTX *client_context;
    SSL *client;
    BIO *to_client, *from_client;
    struct tls_stream *server;
    struct buf out;
    enum tls_result result; /* of the server's handshake */
    bool client_through;
    struct err err;
    SSL_SESSION *session; /* the last ticket that came */
};

static int keep_session(SSL *client, SSL_SESSION *session) {
    struct pair *pair = SSL_get_app_data(client);

    SSL_SESSION_free(pair->session);
    pair->session = session;
    return 1;
}

static void client_init(struct pair *pair, const struct client_wish *wish) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    pair->client_context = context;
    SSL_CTX_load_verify_file(context, (wish->trusts != NULL ? wish->trusts : &all.ca)->path);
    SSL_CTX_set_verify(context, wish->does_not_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_session);
    if (wish->certificate != NULL) {
        certificates_need(SSL_CTX_use_certificate_chain_file(context, wish->certificate->path) == 1);
        certificates_need(SSL_CTX_use_PrivateKey_file(context, wish->certificate->key_path, SSL_FILETYPE_PEM) == 1);
    }
    if (wish->max_version != 0) {
        SSL_CTX_set_min_proto_version(context, wish->max_version < TLS1_2_VERSION ? wish->max_version : TLS1_2_VERSION);
        SSL_CTX_set_max_proto_version(context, wish->max_version);
        if (wish->max_version < TLS1_2_VERSION)
            SSL_CTX_set_security_level(context, 0);
    }
    if (wish->ciphers != NULL)
        SSL_CTX_set_cipher_list(context, wish->ciphers);
    if (wish->suites != NULL)
        SSL_CTX_set_ciphersuites(context, wish->suites);
    pair->client = SSL_new(context);
    SSL_set_app_data(pair->client, pair);
    pair->to_client = BIO_new(BIO_s_mem());
    pair->from_client = BIO_new(BIO_s_mem());
    SSL_set_bio(pair->client, pair->to_client, pair->from_client);
    SSL_set_connect_state(pair->client);
    if (wish->session != NULL)
        certificates_need(SSL_set_session(pair->client, wish->session) == 1);
}

/* What the server has to say goes to the client. */
static void server_says(struct pair *pair) {
    if (pair->out.len > 0)
        BIO_write(pair->to_client, pair->out.data, (int)pair->out.len);
    buf_reset(&pair->out);
}

/* Feeds the server what the client has said, at most `piece` bytes at a time. */
static void client_says(struct pair *pair, size_t piece) {
    char bytes[4096];
    int len;

    while (pair->result == TLS_MORE && (len = BIO_read(pair->from_client, bytes, (int)(piece < sizeof bytes ? piece : sizeof bytes))) > 0) {
        tls_stream_feed(pair->server, str_make(bytes, (size_t)len));
        pair->result = tls_stream_handshake(pair->server, &pair->err);
        server_says(pair);
    }
}

static void shake_hands(struct pair *pair, struct tls_context *context, const struct client_wish *wish, size_t piece) {
    char byte;

    *pair = (struct pair){ .out = BUF_INIT(1 << 20), .result = TLS_MORE, .err = ERR_INIT };
    client_init(pair, wish);
    pair->server = tls_stream_new(context, &pair->out);
    assert_non_null(pair->server);
    for (int round = 0; round < 6; round++) {
        pair->client_through = SSL_do_handshake(pair->client) == 1;
        client_says(pair, piece);
    }
    if (pair->result == TLS_DONE)
        SSL_read(pair->client, &byte, 1); /* takes the tickets */
}

static void pair_release(struct pair *pair) {
    tls_stream_free(pair->server);
    SSL_set_quiet_shutdown(pair->client, 1); /* a session that was cut off is not taken up again */
    SSL_shutdown(pair->client);
    SSL_free(pair->client);
    SSL_CTX_free(pair->client_context);
    SSL_SESSION_free(pair->session);
    buf_release(&pair->out);
    ERR_clear_error();
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static void assert_refused(const struct tls_settings *settings, const char *words) {
    struct tls_findings findings;
    struct err err = ERR_INIT;

    assert_null(tls_context_new(settings, &findings, &err));
    if (strstr(err.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, words);
    assert_int_equal(ERR_peek_error(), 0); /* nothing is left for the next one to find */
}

static void refuses_files_with_words(void **state) {
    struct tls_settings settings = settings_of(&all.server);
    char path[CERTIFICATE_PATH_MAX], empty[CERTIFICATE_PATH_MAX];

    (void)state;
    settings.certificate = (char *)"/nonexistent/server.pem";
    assert_refused(&settings, "cannot read a certificate from /nonexistent/server.pem: No such file or directory");
    settings.certificate = all.server.key_path;
    assert_refused(&settings, "cannot read a certificate from");
    settings = settings_of(&all.server);
    settings.key = all.client.key_path;
    assert_refused(&settings, "does not belong to the certificate in");
    settings.key = (char *)"/nonexistent/server.key";
    assert_refused(&settings, "cannot use the private key in /nonexistent/server.key");
    settings.key = all.server.path;
    assert_refused(&settings, "cannot use the private key in");
    settings = settings_of(&all.server);
    settings.client_ca = (char *)"/nonexistent/ca.pem";
    assert_refused(&settings, "cannot read CA certificates from /nonexistent/ca.pem: No such file or directory");
    settings.client_ca = all.server.key_path;
    assert_refused(&settings, "no CA certificate (PEM) in");
    certificates_write_file(certificates_path(&all.files, "broken.pem", path),
                            "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n");
    settings.client_ca = path;
    assert_refused(&settings, "cannot read CA certificates from");
    certificates_path(&all.files, "empty", empty);
    assert_int_equal(mkdir(empty, 0700), 0);
    settings.client_ca = empty;
    assert_refused(&settings, "no CA certificate (PEM) in");
    rmdir(empty);
    unlink(path);
    settings.client_ca = all.ca.path;
    settings.crl = all.ca.path;
    assert_refused(&settings, "no revocation list (PEM) in");
    settings.crl = (char *)"/nonexistent/crl.pem";
    assert_refused(&settings, "cannot read revocation lists from /nonexistent/crl.pem");
    settings = settings_of(&all.server);
    settings.ciphers = (char *)"nonsense";
    assert_refused(&settings, "no cipher of 'nonsense' is known");
    settings.ciphers = NULL;
    settings.cipher_suites = (char *)"TLS_NONSENSE";
    assert_refused(&settings, "cipher suites 'TLS_NONSENSE' are not those of TLS 1.3");
}

static void a_key_may_have_a_password(void **state) {
    struct certificate locked = all.server;
    struct tls_settings settings;

    (void)state;
    snprintf(locked.key_path, sizeof locked.key_path, "%s/locked.key", all.files.directory);
    certificate_save(&locked, NULL, "secret");
    settings = settings_of(&locked);
    assert_refused(&settings, "a key with a password needs key_password");
    settings.key_password = (char *)"wrong";
    assert_refused(&settings, "is the password right?");
    settings.key_password = (char *)"secret";
    tls_context_free(context_of(&settings));
}

static void finds_what_is_worth_a_warning(void **state) {
    struct tls_settings settings = settings_of(&all.server);
    struct tls_findings findings;

    (void)state;
    tls_context_free(tls_context_new(&settings, &findings, NULL));
    assert_false(findings.loose_key);
    assert_in_range(findings.expires_s, 30 * 86400 - 600, 30 * 86400);
    chmod(all.server.key_path, 0644);
    tls_context_free(tls_context_new(&settings, &findings, NULL));
    assert_true(findings.loose_key);
    chmod(all.server.key_path, 0640);
    tls_context_free(tls_context_new(&settings, &findings, NULL));
    assert_false(findings.loose_key);
    chmod(all.server.key_path, 0600);
    settings = settings_of(&all.expired);
    tls_context_free(tls_context_new(&settings, &findings, NULL)); /* the clock may be wrong, and not every client looks */
    assert_in_range(-findings.expires_s, 59, 600);
}

static void a_directory_of_authorities_needs_no_hashes(void **state) {
    char directory[CERTIFICATE_PATH_MAX], from[CERTIFICATE_PATH_MAX + 40];
    struct tls_settings settings = settings_of(&all.server);
    struct client_wish wish = { .certificate = &all.stranger };
    struct pair pair;

    (void)state;
    certificates_path(&all.files, "authorities", directory);
    assert_int_equal(mkdir(directory, 0700), 0);
    snprintf(from, sizeof from, "%s/ca.crt", directory);
    assert_int_equal(symlink(all.ca.path, from), 0);
    snprintf(from, sizeof from, "%s/other", directory);
    assert_int_equal(symlink(all.other_ca.path, from), 0);
    snprintf(from, sizeof from, "%s/README", directory);
    certificates_write_file(from, "not a certificate\n");
    settings.client_ca = directory;
    settings.require_client_certificate = true;
    struct tls_context *context = context_of(&settings);
    shake_hands(&pair, context, &wish, 4096);
    assert_int_equal(pair.result, TLS_DONE);
    pair_release(&pair);
    tls_context_free(context);
    unlink(from);
    snprintf(from, sizeof from, "%s/other", directory);
    unlink(from);
    snprintf(from, sizeof from, "%s/ca.crt", directory);
    unlink(from);
    rmdir(directory);
}

/* ---- handshakes ------------------------------------------------------------------------------------------------- */

struct handshake_row {
    const char *name;
    bool ask, require, crl;
    const char *crl_path; /* instead of all.crl */
    const struct certificate *certificate, *server, *trusts, *client_ca;
    int max_version, min_version;
    const char *words; /* NULL: it goes through; otherwise what the server says of it */
    const char *ciphers;
};

static struct handshake_row handshakes[] = {
    { .name = "no certificate is asked for" },
    { .name = "one that was not asked for is not sent", .certificate = &all.stranger },
    { .name = "required, and good", .require = true, .certificate = &all.client },
    { .name = "required, and good, TLS 1.2", .require = true, .certificate = &all.client, .max_version = TLS1_2_VERSION },
    { .name = "required, through an intermediate", .require = true, .certificate = &all.via_middle },
    { .name = "an intermediate alone is trusted", .require = true, .certificate = &all.via_middle, .client_ca = &all.middle },
    { .name = "one client alone is trusted", .require = true, .certificate = &all.self_signed, .client_ca = &all.self_signed },
    { .name = "required, and none", .require = true, .words = "it sent no client certificate, and require_client_certificate is set" },
    { .name = "required, and none, TLS 1.2", .require = true, .max_version = TLS1_2_VERSION,
      .words = "it sent no client certificate" },
    { .name = "asked for, and none", .ask = true },
    { .name = "asked for, and a bad one", .ask = true, .certificate = &all.stranger, .words = "it must come from a CA in client_ca" },
    { .name = "from another authority", .require = true, .certificate = &all.stranger,
      .words = "its client certificate is refused: unable to get local issuer certificate; it must come from a CA in client_ca" },
    { .name = "self-signed", .require = true, .certificate = &all.self_signed, .words = "it must come from a CA in client_ca" },
    { .name = "expired", .require = true, .certificate = &all.expired, .words = "certificate has expired; give the client a new one" },
    { .name = "not yet valid", .require = true, .certificate = &all.early, .words = "certificate is not yet valid; is this machine's clock right?" },
    { .name = "made for servers", .require = true, .certificate = &all.for_servers, .words = "it is not made for clients" },
    { .name = "revoked, without a list", .require = true, .certificate = &all.revoked },
    { .name = "revoked", .require = true, .crl = true, .certificate = &all.revoked, .words = "certificate revoked" },
    { .name = "not revoked", .require = true, .crl = true, .certificate = &all.client },
    { .name = "with a list that has expired", .require = true, .crl = true, .crl_path = all.old_crl, .certificate = &all.client,
      .words = "put a new list into crl and reload" },
    { .name = "with the list of another authority", .require = true, .crl = true, .crl_path = all.no_crl, .certificate = &all.client,
      .words = "crl needs a list from the CA that signed it" },
    { .name = "a client that does not trust us", .trusts = &all.other_ca, .words = "it refuses our certificate (tlsv1 alert unknown ca)" },
    { .name = "a client that does not trust us, TLS 1.2", .trusts = &all.other_ca, .max_version = TLS1_2_VERSION, .words = "it refuses our certificate" },
    { .name = "our certificate has expired", .server = &all.expired, .words = "it refuses our certificate (sslv3 alert certificate expired)" },
    { .name = "TLS 1.2", .max_version = TLS1_2_VERSION },
    { .name = "TLS 1.2 where 1.3 is wanted", .max_version = TLS1_2_VERSION, .min_version = TLS_MIN_1_3, .words = "it speaks no TLS version from min_version on" },
    { .name = "TLS 1.1", .max_version = TLS1_1_VERSION, .words = "it speaks no TLS version from min_version on" },
    { .name = "no cipher in common", .max_version = TLS1_2_VERSION, .ciphers = "ECDHE-RSA-AES128-GCM-SHA256", .words = "it has no cipher in common with us" },
};

static void shakes_hands_as_it_should(void **state) {
    const struct handshake_row *row = *state;
    struct tls_settings settings = settings_of(row->server != NULL ? row->server : &all.server);
    const struct client_wish wish = { row->certificate, row->trusts, row->max_version, NULL, NULL, row->ciphers, false };
    struct tls_context *context;
    struct pair pair;

    if (row->ask || row->require)
        settings.client_ca = row->client_ca != NULL ? (char *)row->client_ca->path : all.ca.path;
    settings.require_client_certificate = row->require;
    settings.min_version = row->min_version;
    if (row->crl)
        settings.crl = row->crl_path != NULL ? (char *)row->crl_path : all.crl;
    context = context_of(&settings);
    for (size_t piece = 1; piece <= 4096; piece *= 16) {
        shake_hands(&pair, context, &wish, piece);
        assert_int_equal(pair.result, row->words == NULL ? TLS_DONE : TLS_FAILED);
        if (row->words == NULL)
            assert_true(pair.client_through);
        else if (strstr(pair.err.text, row->words) == NULL)
            fail_msg("'%s' does not say '%s'", pair.err.text, row->words);
        pair_release(&pair);
    }
    tls_context_free(context);
}

static void what_is_no_tls_is_refused(void **state) {
    static const struct str said[] = { STR_INIT("\x10\x0c\0\4MQTT\4\2\0\x3c\0\0"), STR_INIT("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
                                       STR_INIT("\x16\3\1\0\5hello"), STR_INIT("\x16\3\1\xff\xff") };
    struct tls_settings settings = settings_of(&all.server);
    struct tls_context *context = context_of(&settings);
    struct buf out = BUF_INIT(65536);

    (void)state;
    for (size_t i = 0; i < COUNT(said); i++) {
        struct tls_stream *stream = tls_stream_new(context, &out);
        struct err err = ERR_INIT;
        tls_stream_feed(stream, said[i]);
        assert_int_equal(tls_stream_handshake(stream, &err), TLS_FAILED);
        assert_true(str_starts_with(str_of(err.text), STR("TLS: ")));
        assert_false(tls_stream_write(stream, STR("x")));
        tls_stream_goodbye(stream);
        tls_stream_free(stream);
        buf_reset(&out);
    }
    buf_release(&out);
    tls_context_free(context);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------ */

static void bytes_go_both_ways(void **state) {
    static char sent[100000], got[100000];
    struct tls_settings settings = settings_of(&all.server);
    struct tls_context *context = context_of(&settings);
    const struct client_wish wish = { .certificate = NULL };
    struct err err = ERR_INIT;
    char cipher[5000];
    size_t len = 0, more;
    struct pair pair;
    int cut;

    (void)state;
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)(i * 13 + i / 256);
    shake_hands(&pair, context, &wish, 4096);
    assert_true(tls_stream_write(pair.server, str_make(sent, sizeof sent)));
    assert_true(pair.out.len > sizeof sent && pair.out.len < sizeof sent + 7 * 40);
    server_says(&pair);
    for (int part; len < sizeof got && (part = SSL_read(pair.client, got + len, (int)(sizeof got - len))) > 0;)
        len += (size_t)part;
    assert_int_equal(len, sizeof sent);
    assert_memory_equal(got, sent, sizeof sent);
    memset(got, 0, sizeof got);
    assert_int_equal(SSL_write(pair.client, sent, sizeof sent), sizeof sent);
    for (len = 0; (cut = BIO_read(pair.from_client, cipher, 1 + (int)len % 4999)) > 0;) {
        enum tls_result result;
        tls_stream_feed(pair.server, str_make(cipher, (size_t)cut));
        while ((result = tls_stream_read(pair.server, got + len, sizeof got - len < 777 ? sizeof got - len : 777, &more, &err)) == TLS_DONE) {
            len += more;
            if (len == sizeof got)
                break;
        }
        assert_true(result == TLS_MORE || len == sizeof got);
    }
    assert_int_equal(len, sizeof sent);
    assert_memory_equal(got, sent, sizeof sent);
    SSL_shutdown(pair.client);
    cut = BIO_read(pair.from_client, cipher, sizeof cipher);
    tls_stream_feed(pair.server, str_make(cipher, (size_t)cut));
    assert_int_equal(tls_stream_read(pair.server, got, sizeof got, &more, &err), TLS_END);
    tls_stream_goodbye(pair.server);
    server_says(&pair);
    assert_int_equal(SSL_read(pair.client, got, 1), 0);
    assert_int_equal(SSL_get_error(pair.client, 0), SSL_ERROR_ZERO_RETURN);
    pair_release(&pair);
    tls_context_free(context);
}

static void a_flipped_bit_ends_the_stream(void **state) {
    struct tls_settings settings = settings_of(&all.server);
    struct tls_context *context = context_of(&settings);
    const struct client_wish wish = { .certificate = NULL };
    struct err err = ERR_INIT;
    char bytes[200], plain[200];
    struct pair pair;
    size_t len;

    (void)state;
    shake_hands(&pair, context, &wish, 4096);
    SSL_write(pair.client, "hello", 5);
    len = (size_t)BIO_read(pair.from_client, bytes, sizeof bytes);
    bytes[len - 1] ^= 1;
    tls_stream_feed(pair.server, str_make(bytes, len));
    assert_int_equal(tls_stream_read(pair.server, plain, sizeof plain, &len, &err), TLS_FAILED);
    assert_non_null(strstr(err.text, "decryption failed or bad record mac"));
    assert_true(pair.out.len > 0); /* an alert */
    assert_false(tls_stream_write(pair.server, STR("x")));
    pair_release(&pair);
    tls_context_free(context);
}

static void renegotiation_is_refused(void **state) {
    struct tls_settings settings = settings_of(&all.server);
    struct tls_context *context = context_of(&settings);
    const struct client_wish wish = { .max_version = TLS1_2_VERSION };
    struct err err = ERR_INIT;
    char bytes[2000], plain[200];
    struct pair pair;
    size_t len;
    int got;

    (void)state;
    shake_hands(&pair, context, &wish, 4096);
    assert_int_equal(SSL_renegotiate(pair.client), 1);
    SSL_do_handshake(pair.client);
    got = BIO_read(pair.from_client, bytes, sizeof bytes);
    assert_true(got > 0);
    tls_stream_feed(pair.server, str_make(bytes, (size_t)got));
    assert_int_equal(tls_stream_read(pair.server, plain, sizeof plain, &len, &err), TLS_MORE);
    server_says(&pair);
    assert_int_not_equal(SSL_do_handshake(pair.client), 1);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    pair_release(&pair);
    tls_context_free(context);
}

/* ---- resumption and reload --------------------------------------------------------------------------------------- */

static SSL_SESSION *ticket_of(struct tls_context *context, const struct client_wish *wish) {
    struct pair pair;
    SSL_SESSION *session;

    shake_hands(&pair, context, wish, 4096);
    assert_int_equal(pair.result, TLS_DONE);
    assert_false(tls_stream_was_resumed(pair.server));
    session = pair.session;
    assert_non_null(session);
    pair.session = NULL;
    pair_release(&pair);
    return session;
}

/* Tries a ticket, which is good for once, and takes the next one; false when it went through without it. */
static bool resumes(struct tls_context *context, const struct client_wish *wish, SSL_SESSION **session, struct buf *name) {
    struct client_wish again = *wish;
    struct err err = ERR_INIT;
    struct pair pair;
    bool resumed;

    again.session = *session;
    shake_hands(&pair, context, &again, 4096);
    assert_int_equal(pair.result, TLS_DONE);
    if (pair.session != NULL) {
        SSL_SESSION_free(*session);
        *session = pair.session;
        pair.session = NULL;
    }
    resumed = tls_stream_was_resumed(pair.server);
    if (name != NULL)
        assert_true(tls_stream_client_name(pair.server, name, &err));
    pair_release(&pair);
    return resumed;
}

static void reload(struct tls_context *context, const struct tls_settings *settings) {
    struct tls_findings findings;
    struct err err = ERR_INIT;

    if (!tls_context_reload(context, settings, &findings, &err))
        fail_msg("%s", err.text);
}

static void a_ticket_outlives_a_reload(void **state) {
    static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    struct tls_settings settings = settings_of(&all.server);
    struct buf name = BUF_INIT(1000);

    (void)state;
    settings.client_ca = all.ca.path;
    settings.require_client_certificate = true;
    settings.use_identity_as_username = true;
    for (size_t i = 0; i < COUNT(versions); i++) {
        const struct client_wish wish = { .certificate = &all.client, .max_version = versions[i] };
        struct tls_context *context = context_of(&settings), *stranger = context_of(&settings);
        SSL_SESSION *ticket = ticket_of(context, &wish);
        assert_true(resumes(context, &wish, &ticket, &name));
        assert_string_equal(buf_cstr(&name), "client"); /* the name is in the ticket */
        buf_reset(&name);
        reload(context, &settings);
        assert_true(resumes(context, &wish, &ticket, NULL));
        assert_false(resumes(stranger, &wish, &ticket, NULL)); /* of another process */
        SSL_SESSION_free(ticket);
        tls_context_free(context);
        tls_context_free(stranger);
    }
    buf_release(&name);
}

/* The revoked client would get in with its ticket for hours. */
static void a_ticket_is_void_when_the_terms_have_changed(void **state) {
    static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

    (void)state;
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct tls_settings settings = settings_of(&all.server);
        const struct client_wish wish = { .certificate = &all.revoked, .max_version = versions[i] };
        struct pair pair;
        settings.client_ca = all.ca.path;
        settings.require_client_certificate = true;
        struct tls_context *context = context_of(&settings);
        SSL_SESSION *ticket = ticket_of(context, &wish);
        struct client_wish again = wish;
        assert_true(resumes(context, &wish, &ticket, NULL));
        reload(context, &settings);
        assert_true(resumes(context, &wish, &ticket, NULL));
        again.session = ticket;
        settings.crl = all.crl;
        reload(context, &settings);
        shake_hands(&pair, context, &again, 4096);
        assert_int_equal(pair.result, TLS_FAILED);
        assert_non_null(strstr(pair.err.text, "certificate revoked"));
        pair_release(&pair);
        SSL_SESSION_free(ticket);
        tls_context_free(context);
    }
}

static void a_ticket_does_not_outlive_the_certificate(void **state) {
    static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    const struct subject_part subject = { "CN", "brief", 0, 0 };
    const struct certificate_wish wanted = { .file = "brief", .subject = &subject, .parts = 1, .issuer = &all.ca, .from_s = -60, .until_s = 2 };
    struct certificate brief = certificate_make(&all.files, &wanted);
    struct tls_settings settings = settings_of(&all.server);
    SSL_SESSION *tickets[COUNT(versions)];
    struct tls_context *context;
    struct pair pair;

    (void)state;
    settings.client_ca = all.ca.path;
    settings.require_client_certificate = true;
    context = context_of(&settings);
    for (size_t i = 0; i < COUNT(versions); i++) {
        const struct client_wish wish = { .certificate = &brief, .max_version = versions[i] };
        tickets[i] = ticket_of(context, &wish);
    }
    while (X509_cmp_current_time(X509_get0_notAfter(brief.x509)) > 0)
        poll(NULL, 0, 20);
    for (size_t i = 0; i < COUNT(versions); i++) {
        const struct client_wish wish = { .certificate = &brief, .max_version = versions[i], .session = tickets[i] };
        shake_hands(&pair, context, &wish, 4096);
        assert_int_equal(pair.result, TLS_FAILED);
        assert_string_equal(pair.err.text, "its client certificate has expired since it got its ticket");
        pair_release(&pair);
        SSL_SESSION_free(tickets[i]);
    }
    certificate_release(&brief);
    tls_context_free(context);
}

static void a_reload_is_for_new_connections(void **state) {
    struct tls_settings settings = settings_of(&all.server), other = settings_of(&all.other_server);
    struct tls_context *context = context_of(&settings);
    const struct client_wish wish = { .certificate = NULL }, other_wish = { .trusts = &all.other_ca };
    struct tls_findings findings;
    struct pair before, after;
    struct err err = ERR_INIT;
    char byte;

    (void)state;
    shake_hands(&before, context, &wish, 4096);
    reload(context, &other);
    shake_hands(&after, context, &other_wish, 4096);
    assert_int_equal(after.result, TLS_DONE);
    pair_release(&after);
    settings.key = all.client.key_path;
    assert_false(tls_context_reload(context, &settings, &findings, &err)); /* a bad one changes nothing */
    assert_non_null(strstr(err.text, "does not belong to"));
    shake_hands(&after, context, &other_wish, 4096);
    assert_int_equal(after.result, TLS_DONE);
    pair_release(&after);
    tls_context_free(context);
    assert_true(tls_stream_write(before.server, STR("x"))); /* and the old ones go on, also without the context */
    server_says(&before);
    assert_int_equal(SSL_read(before.client, &byte, 1), 1);
    pair_release(&before);
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

static const struct subject_part plain[] = { { "CN", "press-4", 0, 0 } };
static const struct subject_part whole[] = { { "C", "DE", 0, 0 }, { "O", "Acme, Inc.", 0, 0 }, { "CN", "press-4", 0, 0 } };
static const struct subject_part umlaut[] = { { "CN", "M\xc3\xbchle", 0, 0 } };
static const struct subject_part latin[] = { { "CN", "M\xfchle", 0, MBSTRING_ASC } };
static const struct subject_part wide[] = { { "CN", "\0p\0r\0e\0s\0s", 10, V_ASN1_BMPSTRING } };
/* Ill-formed UTF-8 and lone surrogates never get here: OpenSSL refuses such a certificate. */
static const struct subject_part no_name[] = { { "O", "Acme", 0, 0 } };
static const struct subject_part twice[] = { { "CN", "press-4", 0, 0 }, { "CN", "admin", 0, 0 } };
static const struct subject_part nul[] = { { "CN", "admin\0.evil", 11, V_ASN1_UTF8STRING } };
static const struct subject_part newline[] = { { "CN", "press\nadmin", 11, V_ASN1_UTF8STRING } };
static const struct subject_part c1[] = { { "CN", "press\xc2\x85", 7, V_ASN1_UTF8STRING } };
static const struct subject_part hidden[] = { { "O", "a\0b", 3, V_ASN1_UTF8STRING }, { "CN", "press-4", 0, 0 } };

static struct name_row {
    const char *name;
    const struct subject_part *parts;
    size_t count;
    bool subject;
    const char *want, *words;
} names[] = {
    { "name: common", plain, 1, false, "press-4", NULL },
    { "name: common of several parts", whole, 3, false, "press-4", NULL },
    { "name: in UTF-8", umlaut, 1, false, "M\xc3\xbchle", NULL },
    { "name: in Latin 1", latin, 1, false, "M\xc3\xbchle", NULL },
    { "name: in UTF-16", wide, 1, false, "press", NULL },
    { "name: none", no_name, 1, false, NULL, "has no common name" },
    { "name: two", twice, 2, false, NULL, "more than one common name" },
    { "name: with a NUL", nul, 1, false, NULL, "control characters" },
    { "name: with a line end", newline, 1, false, NULL, "control characters" },
    { "name: with U+0085", c1, 1, false, NULL, "control characters" },
    { "name: subject", whole, 3, true, "CN=press-4,O=Acme\\, Inc.,C=DE", NULL },
    { "name: subject without a common name", no_name, 1, true, "O=Acme", NULL },
    { "name: subject with two common names", twice, 2, true, "CN=admin,CN=press-4", NULL },
    { "name: subject with a NUL in it", hidden, 2, true, NULL, "control characters" },
    { "name: empty subject", NULL, 0, true, NULL, "is empty" },
};

static void takes_the_name(void **state) {
    const struct name_row *row = *state;
    const struct certificate_wish wanted = { .file = "named", .subject = row->parts, .parts = row->count, .issuer = &all.ca };
    struct certificate named = certificate_make(&all.files, &wanted);
    struct tls_settings settings = settings_of(&all.server);
    const struct client_wish wish = { .certificate = &named };
    struct buf name = BUF_INIT(65535);
    struct err err = ERR_INIT;
    struct tls_context *context;
    struct pair pair;

    settings.client_ca = all.ca.path;
    settings.require_client_certificate = true;
    settings.use_identity_as_username = !row->subject;
    settings.use_subject_as_username = row->subject;
    context = context_of(&settings);
    shake_hands(&pair, context, &wish, 4096);
    assert_int_equal(pair.result, TLS_DONE);
    assert_int_equal(tls_stream_client_name(pair.server, &name, &err), row->want != NULL);
    if (row->want != NULL) {
        assert_int_equal(name.len, strlen(row->want));
        assert_string_equal(buf_cstr(&name), row->want);
    } else {
        assert_int_equal(name.len, 0);
        assert_non_null(strstr(err.text, row->words));
    }
    buf_release(&name);
    pair_release(&pair);
    tls_context_free(context);
    certificate_release(&named);
}

static void no_name_is_taken_unless_wanted(void **state) {
    struct tls_settings settings = settings_of(&all.server);
    const struct client_wish with = { .certificate = &all.client }, without = { .certificate = NULL };
    struct tls_context *context;
    struct buf name = BUF_INIT(100);
    struct pair pair;

    (void)state;
    settings.client_ca = all.ca.path;
    context = context_of(&settings);
    shake_hands(&pair, context, &with, 4096);
    assert_true(tls_stream_client_name(pair.server, &name, NULL));
    assert_int_equal(name.len, 0);
    pair_release(&pair);
    settings.use_identity_as_username = true;
    reload(context, &settings);
    shake_hands(&pair, context, &without, 4096);
    assert_true(tls_stream_client_name(pair.server, &name, NULL));
    assert_int_equal(name.len, 0);
    pair_release(&pair);
    tls_context_free(context);
    buf_release(&name);
}

int main(void) {
    struct CMUnitTest tests[COUNT(handshakes) + COUNT(names) + 20];
    size_t count = 0;

    for (size_t i = 0; i < COUNT(handshakes); i++)
        tests[count++] = (struct CMUnitTest){ handshakes[i].name, shakes_hands_as_it_should, NULL, NULL, &handshakes[i] };
    for (size_t i = 0; i < COUNT(names); i++)
        tests[count++] = (struct CMUnitTest){ names[i].name, takes_the_name, NULL, NULL, &names[i] };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(refuses_files_with_words),
        cmocka_unit_test(a_key_may_have_a_password),
        cmocka_unit_test(finds_what_is_worth_a_warning),
        cmocka_unit_test(a_directory_of_authorities_needs_no_hashes),
        cmocka_unit_test(what_is_no_tls_is_refused),
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(a_flipped_bit_ends_the_stream),
        cmocka_unit_test(renegotiation_is_refused),
        cmocka_unit_test(a_ticket_outlives_a_reload),
        cmocka_unit_test(a_ticket_is_void_when_the_terms_have_changed),
        cmocka_unit_test(a_ticket_does_not_outlive_the_certificate),
        cmocka_unit_test(a_reload_is_for_new_connections),
        cmocka_unit_test(no_name_is_taken_unless_wanted),
    };
    memcpy(tests + count, others, sizeof others);
    count += COUNT(others);
    return _cmocka_run_group_tests("tls", tests, count, make_all, release_all);
}
