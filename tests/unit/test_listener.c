/* tests/unit/test_listener.c: addresses, limits, deadlines, strangers, certificates, and options of listeners. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "agent/base/log.h"
#include "config/yaml_tree.h"
#include "tests/support/broker_side.h"
#include "tests/support/config_text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Standard error goes into a file while a test looks at the log. */
struct log_capture {
    FILE *file;
    int before;
    char text[16384];
};

static void log_begin(struct log_capture *capture) {
    capture->file = tmpfile();
    fflush(stderr);
    capture->before = dup(STDERR_FILENO);
    dup2(fileno(capture->file), STDERR_FILENO);
}

static const char *log_end(struct log_capture *capture) {
    size_t len;

    fflush(stderr);
    dup2(capture->before, STDERR_FILENO);
    close(capture->before);
    rewind(capture->file);
    len = fread(capture->text, 1, sizeof capture->text - 1, capture->file);
    capture->text[len] = '\0';
    fclose(capture->file);
    return capture->text;
}

static size_t count_of(const char *text, const char *part) {
    size_t count = 0;

    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        count++;
    return count;
}

static struct listener_figures figures_of(const struct side *side) {
    struct listener_figures figures;

    listener_figures(side->listener, &figures);
    return figures;
}

/* ---- addresses -------------------------------------------------------------------------------------------------- */

static void assert_refused(struct side *side, const char *address, const char *words) {
    const struct listener_hooks hooks = { side, side_accepted };
    struct err err = ERR_INIT;

    side->options.address = (char *)address;
    assert_null(listener_new(&side->options, side->transports, &hooks, &err));
    if (strstr(err.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, words);
}

static void bad_addresses_are_refused_with_words(void **state) {
    struct side *side = side_new();
    char text[200];

    (void)state;
    assert_refused(side, "1883", "'1883' is not host:port; write 127.0.0.1:1883");
    assert_refused(side, "::1:1883", "is not host:port");
    assert_refused(side, "[]:1883", "is not host:port");
    assert_refused(side, "127.0.0.1:mqtt", "port 'mqtt' is not 0 to 65535");
    assert_refused(side, "127.0.0.1:65536", "port '65536' is not 0 to 65535");
    assert_refused(side, "127.0.0.1:", "port '' is not 0 to 65535");
    assert_refused(side, "unix:relative", "a Unix socket is written with its whole path");
    assert_refused(side, "192.0.2.1:0", "this machine has no such address");
    assert_refused(side, "no-such-host.invalid:0", "cannot listen on no-such-host.invalid:0: ");
    assert_refused(side, "unix:/nonexistent/directory/s", "No such file or directory");
    memset(text, 'x', sizeof text);
    memcpy(text, "unix:/", 6);
    text[sizeof text - 1] = '\0';
    assert_refused(side, text, "the path of a Unix socket has at most 107 bytes");
    side->options.address = (char *)"127.0.0.1:0";
    side_listen(side);
    snprintf(text, sizeof text, "127.0.0.1:%u", listener_port(side->listener));
    assert_refused(side, text, "another broker has it, or a second copy of this one");
    side_free(side);
}

static bool has_ipv6(void) {
    struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0;

    close(fd);
    return has;
}

static void connect_by(struct side *side, int family, const char *shown) {
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(listener_port(side->listener)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(listener_port(side->listener)), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(family, SOCK_STREAM, 0);
    size_t before = side->accepted;
    int result = connect(fd, family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6, family == AF_INET ? sizeof v4 : sizeof v6);

    assert_int_equal(result == 0, shown != NULL);
    if (shown != NULL) {
        assert_true(side_until(side, side->accepted == before + 1));
        assert_string_equal(transport_peer(side->owners[before]->transport)->address, shown);
        assert_true(transport_peer(side->owners[before]->transport)->loopback);
    }
    close(fd);
}

static void a_port_without_a_host_is_for_both_families(void **state) {
    struct side *side = side_new();

    (void)state;
    side->options.address = (char *)":0";
    side_listen(side);
    connect_by(side, AF_INET, "127.0.0.1"); /* shown as what it is */
    if (has_ipv6())
        connect_by(side, AF_INET6, "::1");
    side_free(side);
    if (!has_ipv6())
        return;
    side = side_new();
    side->options.address = (char *)"[::]:0";
    side_listen(side);
    connect_by(side, AF_INET6, "::1");
    connect_by(side, AF_INET, NULL); /* whoever says IPv6 means it */
    side_free(side);
}

static int option_of(int fd, int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;

    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void sockets_have_their_options(void **state) {
    struct side *side = side_start(CARRIER_PLAIN);
    struct client *client = client_open(side, CARRIER_PLAIN);
    int fd = accepted_end(client);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 20);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 120000);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    client_close(client);
    side_free(side);
}

static void a_unix_socket_has_its_mode(void **state) {
    struct side *side = side_new();
    char address[CERTIFICATE_PATH_MAX + 8], *path = address + 5;
    struct stat status;
    mode_t before = umask(0077);

    (void)state;
    snprintf(address, sizeof address, "unix:%s/s", side->files.directory);
    side->options.address = address;
    side_listen(side);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0660);
    assert_int_equal(listener_port(side->listener), 0);
    listener_free(side->listener);
    assert_int_not_equal(stat(path, &status), 0); /* it goes with its listener */
    side->options.socket_mode = (char *)"0606";
    side_listen(side);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0606);
    listener_free(side->listener);
    side->listener = NULL;
    side->options.socket_mode = (char *)"rw";
    assert_refused(side, address, "socket_mode 'rw' is not octal");
    umask(before);
    side_free(side);
}

static void only_a_dead_unix_socket_is_replaced(void **state) {
    struct side *side = side_new();
    char address[CERTIFICATE_PATH_MAX + 8], *path = address + 5;
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    struct stat status;
    int other;

    (void)state;
    snprintf(address, sizeof address, "unix:%s/s", side->files.directory);
    memcpy(at.sun_path, path, strlen(path) + 1);
    certificates_write_file(path, "a file of somebody's");
    assert_refused(side, address, "there is something else at that place");
    unlink(path);
    other = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(other, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(other, 1), 0);
    assert_refused(side, address, "another process has it");
    close(other); /* killed: the file stays */
    assert_int_equal(stat(path, &status), 0);
    side_listen(side);
    client_close(client_open(side, CARRIER_UNIX));
    unlink(path); /* another broker has taken the place meanwhile */
    other = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(other, (struct sockaddr *)&at, sizeof at), 0);
    listener_free(side->listener);
    side->listener = NULL;
    assert_int_equal(stat(path, &status), 0); /* and keeps it */
    close(other);
    unlink(path);
    side_free(side);
}

static void knows_what_is_loopback(void **state) {
    static const struct {
        const char *address;
        bool loopback;
    } rows[] = { { "127.0.0.1:1883", true }, { "127.9.9.9:1883", true }, { "[::1]:1883", true }, { "localhost:1883", true }, { "unix:/run/s", true },
                 { ":1883", false }, { "0.0.0.0:1883", false }, { "[::]:1883", false }, { "10.0.0.1:1883", false }, { "127.example.com:1883", false },
                 { "127.1:1883", false }, { "localhost.example.com:1883", false }, { "nonsense", false } };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct listener_options options = { .address = (char *)rows[i].address };
        assert_int_equal(listener_is_loopback(&options), rows[i].loopback);
    }
}

/* ---- limits ----------------------------------------------------------------------------------------------------- */

static void max_connections_is_kept(void **state) {
    struct side *side = side_new();
    struct client *clients[4];
    struct log_capture capture;

    (void)state;
    side->options.max_connections = 3;
    side_listen(side);
    log_begin(&capture);
    for (int i = 0; i < 3; i++)
        clients[i] = client_open(side, CARRIER_PLAIN);
    for (int i = 0; i < 5; i++) {
        clients[3] = client_dial(side, CARRIER_PLAIN);
        assert_true(client_until(clients[3], clients[3]->at_end));
        client_close(clients[3]);
    }
    assert_int_equal(count_of(log_end(&capture), "max_connections (3) is reached"), 1);
    assert_int_equal(figures_of(side).refused_limit, 5);
    assert_int_equal(figures_of(side).accepted, 3);
    assert_int_equal(listener_connections(side->listener), 3);
    owner_close(side->owners[1], 1000); /* one that lingers is no connection any more */
    clients[3] = client_open(side, CARRIER_PLAIN);
    assert_int_equal(listener_connections(side->listener), 3);
    for (int i = 0; i < 4; i++)
        client_close(clients[i]);
    assert_true(side_until(side, listener_connections(side->listener) == 0));
    side_free(side);
}

/* Those who do not get in are told so at once, one line is logged, and it goes on when there are descriptors again. */
static void a_lack_of_descriptors_passes(void **state) {
    enum { BEFORE = 10, WAITING = 40 };
    struct side *side = side_start(CARRIER_PLAIN);
    struct client *clients[BEFORE + WAITING], *late;
    struct rlimit before, low;
    struct log_capture capture;
    size_t refused = 0, open = 0;
    int highest;

    (void)state;
    for (int i = 0; i < BEFORE; i++)
        clients[i] = client_open(side, CARRIER_PLAIN);
    for (int i = BEFORE; i < BEFORE + WAITING; i++)
        clients[i] = client_dial(side, CARRIER_PLAIN);
    log_begin(&capture);
    highest = dup(STDERR_FILENO);
    getrlimit(RLIMIT_NOFILE, &before);
    low = before;
    low.rlim_cur = (rlim_t)highest + 5; /* so many more and no more: the lowest free ones are taken first */
    setrlimit(RLIMIT_NOFILE, &low);
    close(highest);
    assert_true(side_until(side, ({
                               refused = 0;
                               for (int i = BEFORE; i < BEFORE + WAITING; i++) {
                                   client_read(clients[i]);
                                   refused += clients[i]->at_end;
                               }
                               refused + side->accepted == BEFORE + WAITING;
                           })));
    open = side->accepted;
    assert_true(refused >= WAITING - 8 && open >= BEFORE);
    assert_int_equal(figures_of(side).refused_limit, refused);
    assert_int_equal(figures_of(side).accepted, open);
    client_close(clients[BEFORE + WAITING - 1]); /* the client's end needs a descriptor, too */
    clients[BEFORE + WAITING - 1] = client_dial(side, CARRIER_PLAIN);
    late = clients[BEFORE + WAITING - 1];
    assert_true(client_until(late, late->at_end));
    assert_string_not_equal(log_end(&capture), "");
    assert_int_equal(count_of(capture.text, "raise the limit (LimitNOFILE= in the service, ulimit -n)"), 1);
    for (int i = 0; i < BEFORE; i++) { /* those that are in work */
        client_send(clients[i], "\x10", 1);
        assert_true(side_until(side, side->owners[i]->received.len == 1));
    }
    setrlimit(RLIMIT_NOFILE, &before);
    for (int i = 0; i < BEFORE + WAITING; i++)
        client_close(clients[i]);
    client_close(client_open(side, CARRIER_PLAIN)); /* by itself */
    side_free(side);
}

static void ten_thousand_connects(void **state) {
    enum { WAVES = 20, WAVE = 500 };
    static struct client *clients[WAVE];
    struct side *side = side_start(CARRIER_PLAIN);

    (void)state;
    for (size_t wave = 0; wave < WAVES; wave++) {
        for (size_t i = 0; i < WAVE; i++)
            clients[i] = client_dial(side, CARRIER_PLAIN);
        assert_true(side_until(side, side->accepted == (wave + 1) * WAVE));
        assert_int_equal(listener_connections(side->listener), WAVE);
        for (size_t i = 0; i < WAVE; i++) {
            client_send(clients[i], "\x10", 1);
            if (i % 3 == 0)
                client_reset(clients[i]);
            client_close(clients[i]);
        }
        assert_true(side_until(side, listener_connections(side->listener) == 0));
    }
    for (size_t i = 0; i < side->accepted; i++)
        assert_true(side->owners[i]->ended);
    assert_int_equal(figures_of(side).accepted, WAVES * WAVE);
    assert_int_equal(figures_of(side).refused_limit, 0);
    side_free(side);
}

static void a_paused_listener_lets_nobody_in(void **state) {
    struct side *side = side_start(CARRIER_PLAIN);
    struct client *client;

    (void)state;
    listener_pause(side->listener, true);
    client = client_dial(side, CARRIER_PLAIN);
    for (int i = 0; i < 50; i++)
        side_spin(side);
    assert_int_equal(side->accepted, 0);
    listener_pause(side->listener, false);
    assert_true(side_until(side, side->accepted == 1));
    client_close(client);
    side_free(side);
}

/* ---- deadlines and strangers ------------------------------------------------------------------------------------ */

static void slow_set_ups_are_ended(void **state) {
    static const enum carrier carriers[] = { CARRIER_TLS, CARRIER_WEBSOCKET, CARRIER_BOTH };

    (void)state;
    for (size_t i = 0; i < COUNT(carriers); i++) {
        struct side *side = side_new();
        struct client *silent, *slow, *good;
        struct log_capture capture;
        int64_t started;
        if (carrier_has_tls(carriers[i]))
            side_use_tls(side);
        if (carrier_has_websocket(carriers[i]))
            side->options.protocol = LISTENER_WEBSOCKET;
        side->options.handshake_timeout_ns = 300 * NS_PER_MS;
        side_listen(side);
        log_begin(&capture);
        started = clock_mono_ns();
        silent = client_dial(side, carriers[i]);
        slow = client_dial(side, carriers[i]);
        good = client_open(side, carriers[i]);
        client_send_raw(slow, carrier_has_tls(carriers[i]) ? "\x16\x03\x01\x02\x00\x01" : "GET / HT", carrier_has_tls(carriers[i]) ? 6 : 8);
        assert_true(client_until(silent, silent->at_end));
        assert_true(client_until(slow, slow->at_end));
        assert_in_range((clock_mono_ns() - started) / NS_PER_MS, 299, 3000);
        assert_int_equal(figures_of(side).timed_out, 2);
        assert_int_equal(figures_of(side).accepted, 3);
        assert_int_equal(listener_connections(side->listener), 1);
        client_send(good, "\x10", 1);
        assert_true(side_until(side, side->owners[0]->received.len == 1)); /* long after its own deadline */
        assert_int_equal(count_of(log_end(&capture), "took too long"), 1);
        client_close(silent);
        client_close(slow);
        client_close(good);
        side_free(side);
    }
}

static const struct stranger_row {
    enum carrier listener;
    struct str said;
    const char *words;
    bool owner; /* the owner is told, as it was handed over at once */
} strangers[] = {
    { CARRIER_TLS, STR_INIT("\x10\x0c\0\4MQTT\4\2\0\x3c\0\0"), "it speaks MQTT without TLS, and this listener wants TLS", false },
    { CARRIER_TLS, STR_INIT("GET / HTTP/1.1\r\n\r\n"), "it does not speak TLS, and this listener wants TLS", false },
    { CARRIER_PLAIN, STR_INIT("\x16\3\1\2\0\1\0\1\xfc\3\3"), "it speaks TLS, and this listener has no tls", true },
    { CARRIER_PLAIN, STR_INIT("GET / HTTP/1.1\r\n\r\n"), "it speaks HTTP, and this listener's protocol is not websocket", true },
    { CARRIER_WEBSOCKET, STR_INIT("\x16\3\1\2\0\1\0\1\xfc\3\3"), "it speaks TLS, and this listener has no tls", false },
    { CARRIER_WEBSOCKET, STR_INIT("\x10\x0c\0\4MQTT\4\2\0\x3c\0\0"), "it speaks MQTT without WebSocket, and this listener's protocol is websocket", false },
};

static void strangers_are_told_apart(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(strangers); i++) {
        const struct stranger_row *row = &strangers[i];
        struct side *side = side_start(row->listener);
        struct client *client = client_dial(side, CARRIER_PLAIN);
        struct log_capture capture;
        log_begin(&capture);
        client_send_raw(client, row->said.data, row->said.len);
        assert_true(client_until(client, client->at_end));
        assert_int_equal(client->error, 0);
        log_end(&capture);
        if (row->owner)
            assert_string_equal(side->owners[0]->words, row->words);
        else
            assert_int_equal(count_of(capture.text, row->words), 1);
        assert_int_equal(count_of(capture.text, "refused a client at 127.0.0.1"), !row->owner);
        assert_int_equal(figures_of(side).failed_handshakes, row->listener == CARRIER_TLS);
        assert_int_equal(figures_of(side).failed_upgrades, row->listener == CARRIER_WEBSOCKET);
        client_close(client);
        side_free(side);
    }
}

/* Monitoring looks whether the port is open: nothing to complain about. */
static void a_look_at_the_port_is_no_failure(void **state) {
    struct side *side = side_start(CARRIER_TLS);
    struct log_capture capture;

    (void)state;
    log_begin(&capture);
    client_close(client_dial(side, CARRIER_TLS));
    assert_true(side_until(side, figures_of(side).accepted == 1 && listener_connections(side->listener) == 0));
    assert_string_equal(log_end(&capture), "");
    assert_int_equal(figures_of(side).failed_handshakes, 0);
    side_free(side);
}

static void http_answers_reach_the_client(void **state) {
    static const struct {
        const char *request, *answer;
    } rows[] = {
        { "GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 " },
        { "GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426 " },
        { "GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\nOrigin: https://evil.example\r\n\r\n",
          "HTTP/1.1 403 " },
        { "nonsense\r\n\r\n", "HTTP/1.1 400 " },
    };
    struct side *side = side_new();
    struct log_capture capture;

    (void)state;
    side->options.protocol = LISTENER_WEBSOCKET;
    side->options.websocket_path = (char *)"/mqtt";
    side->options.websocket_origin = (char *)"https://plant.example";
    side_listen(side);
    log_begin(&capture);
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t piece = 0; piece <= 1; piece++) {
            struct client *client = client_dial(side, CARRIER_PLAIN);
            client->piece = piece;
            client_send_raw(client, rows[i].request, strlen(rows[i].request));
            client_send_raw(client, "and more behind it", 18);
            assert_true(client_until(client, client->at_end));
            assert_int_equal(client->error, 0);
            assert_true(str_starts_with(buf_str(&client->in), str_of(rows[i].answer)));
            client_close(client);
        }
    assert_int_equal(count_of(log_end(&capture), "its WebSocket request was answered with 404: There is nothing at this path"), 1);
    assert_int_equal(figures_of(side).failed_upgrades, 2 * COUNT(rows));
    assert_int_equal(side->accepted, 0);
    side_free(side);
}

static void a_long_request_is_cut(void **state) {
    static char request[9000];
    struct side *side = side_start(CARRIER_WEBSOCKET);

    (void)state;
    memset(request, 'x', sizeof request);
    memcpy(request, "GET /", 5);
    for (size_t piece = 0; piece < 2000; piece += 1999) {
        struct client *client = client_dial(side, CARRIER_PLAIN);
        client->piece = piece;
        client_send_raw(client, request, sizeof request);
        assert_true(client_until(client, client->at_end));
        assert_true(str_starts_with(buf_str(&client->in), STR("HTTP/1.1 431 ")));
        client_close(client);
    }
    side_free(side);
}

/* ---- certificates ----------------------------------------------------------------------------------------------- */

/* A client with a certificate; NULL when it is not let in. */
static struct client *client_with(struct side *side, const struct certificate *certificate) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    struct client *client = client_dial(side, CARRIER_TLS);
    size_t before = side->accepted;
    bool in;

    SSL_CTX_load_verify_file(context, side->ca.path);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (certificate != NULL) {
        SSL_CTX_use_certificate_chain_file(context, certificate->path);
        SSL_CTX_use_PrivateKey_file(context, certificate->key_path, SSL_FILETYPE_PEM);
    }
    /* With TLS 1.3 the client is through before the broker has looked at its certificate. */
    in = client_shake_hands(client, context) && client_until(client, side->accepted > before || client->at_end);
    SSL_CTX_free(context);
    assert_true(in || client->at_end);
    if (side->accepted > before)
        return client;
    client_close(client);
    return NULL;
}

static void a_certificate_becomes_a_name(void **state) {
    struct side *side = side_new();
    struct certificate device, stranger;
    struct client *client;
    struct log_capture capture;

    (void)state;
    side_use_tls(side);
    device = certificate_named(&side->files, "press-4", &side->ca, 0);
    stranger = certificate_named(&side->files, "stranger", NULL, 0);
    side->options.tls.client_ca = side->ca.path;
    side->options.tls.require_client_certificate = true;
    side->options.tls.use_identity_as_username = true;
    side_listen(side);
    client = client_with(side, &device);
    assert_non_null(client);
    assert_true(str_eq_c(transport_peer(side->owners[0]->transport)->certificate_name, "press-4"));
    log_begin(&capture);
    assert_null(client_with(side, NULL));
    assert_null(client_with(side, &stranger));
    assert_int_equal(count_of(log_end(&capture), "it sent no client certificate, and require_client_certificate is set"), 1);
    assert_int_equal(figures_of(side).failed_handshakes, 2);
    client_close(client);
    certificate_release(&device);
    certificate_release(&stranger);
    side_free(side);
}

/* What is wrong with a certificate is told in an alert, and the alert is read: it is not lost in a reset. */
static void an_alert_is_not_lost(void **state) {
    struct side *side = side_new();
    struct certificate stranger;
    struct log_capture capture;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    struct client *client;
    char byte;

    (void)state;
    side_use_tls(side);
    stranger = certificate_named(&side->files, "stranger", NULL, 0);
    side->options.tls.client_ca = side->ca.path;
    side->options.tls.require_client_certificate = true;
    side_listen(side);
    SSL_CTX_load_verify_file(context, side->ca.path);
    SSL_CTX_use_certificate_chain_file(context, stranger.path);
    SSL_CTX_use_PrivateKey_file(context, stranger.key_path, SSL_FILETYPE_PEM);
    client = client_dial(side, CARRIER_TLS);
    log_begin(&capture);
    assert_true(client_shake_hands(client, context));
    client_send_stream(client, "CONNECT and more", 16); /* on its way when the broker says no */
    assert_true(side_until(side, ({
                               char cipher[4096];
                               ssize_t len = recv(client->fd, cipher, sizeof cipher, 0);
                               if (len > 0)
                                   BIO_write(client->incoming, cipher, (int)len);
                               assert_true(len >= 0 || errno == EAGAIN); /* no reset */
                               len == 0;
                           })));
    log_end(&capture);
    ERR_clear_error();
    assert_true(SSL_read(client->tls, &byte, 1) <= 0);
    assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_TLSV1_ALERT_UNKNOWN_CA);
    client_close(client);
    certificate_release(&stranger);
    SSL_CTX_free(context);
    side_free(side);
}

static void a_reload_drops_nobody(void **state) {
    struct side *side = side_start(CARRIER_TLS);
    struct client *before = client_open(side, CARRIER_TLS), *after;
    struct certificate other = certificate_named(&side->files, "other", &side->ca, 0);
    struct err err = ERR_INIT;
    char words[400];
    X509 *shown;

    (void)state;
    side->options.tls.certificate = other.path;
    assert_false(listener_reload(side->listener, &err)); /* the key is still the old one */
    snprintf(words, sizeof words, "listener 127.0.0.1:0: the private key in %s does not belong to the certificate in %s", side->server.key_path, other.path);
    assert_true(str_starts_with(str_of(words), str_of(err.text)) && strlen(err.text) > 100);
    after = client_open(side, CARRIER_TLS);
    shown = SSL_get1_peer_certificate(after->tls);
    assert_int_equal(X509_cmp(shown, side->server.x509), 0);
    X509_free(shown);
    client_close(after);
    side->options.tls.key = other.key_path;
    assert_true(listener_reload(side->listener, &err));
    after = client_open(side, CARRIER_TLS);
    shown = SSL_get1_peer_certificate(after->tls);
    assert_int_equal(X509_cmp(shown, other.x509), 0);
    X509_free(shown);
    client_send(before, "\x10", 1);
    assert_true(side_until(side, side->owners[0]->received.len == 1));
    listener_free(side->listener); /* neither does its end */
    side->listener = NULL;
    client_send(before, "\x10", 1);
    assert_true(side_until(side, side->owners[0]->received.len == 2));
    assert_true(owner_write(side->owners[0], "x", 1));
    assert_true(client_until(before, before->in.len == 1));
    client_close(before);
    client_close(after);
    assert_true(side_until(side, side->owners[0]->ended));
    certificate_release(&other);
    side_free(side);
}

static void findings_are_logged(void **state) {
    struct side *side = side_new();
    struct log_capture capture;
    const struct certificate_wish wish = { .file = "old", .from_s = -7200, .until_s = -60 };
    struct certificate old;

    (void)state;
    side_use_tls(side);
    old = certificate_make(&side->files, &wish);
    chmod(side->server.key_path, 0644);
    log_begin(&capture);
    side_listen(side);
    side->options.tls.certificate = old.path;
    side->options.tls.key = old.key_path;
    assert_true(listener_reload(side->listener, NULL));
    log_end(&capture);
    assert_int_equal(count_of(capture.text, "everybody on this machine can read the private key"), 1);
    assert_int_equal(count_of(capture.text, "has expired; clients that check it will not connect"), 1);
    certificate_release(&old);
    side_free(side);
}

static void a_listener_without_certificate_is_refused(void **state) {
    struct side *side = side_new();

    (void)state;
    side->options.has_tls = true;
    side->options.tls.certificate = side->options.tls.key = (char *)"/nonexistent";
    assert_refused(side, "127.0.0.1:0", "listener 127.0.0.1:0: cannot read a certificate from /nonexistent: No such file");
    side_free(side);
}

/* ---- ends ------------------------------------------------------------------------------------------------------- */

static void a_listener_ends_with_set_ups_under_way(void **state) {
    struct side *side = side_start(CARRIER_BOTH);
    struct client *in_handshake = client_dial(side, CARRIER_BOTH), *in_upgrade = client_dial(side, CARRIER_BOTH), *open = client_open(side, CARRIER_BOTH);

    (void)state;
    assert_true(client_shake_hands(in_upgrade, side->client_context));
    client_send_stream(in_upgrade, "GET / HTTP", 10);
    side_spin(side);
    assert_int_equal(listener_connections(side->listener), 3);
    listener_free(side->listener);
    side->listener = NULL;
    assert_true(client_until(in_handshake, in_handshake->at_end));
    assert_true(client_until(in_upgrade, in_upgrade->at_end));
    client_send(open, "\x10", 1);
    assert_true(side_until(side, side->owners[0]->received.len == 1));
    client_close(in_handshake);
    client_close(in_upgrade);
    client_close(open);
    side_free(side);
}

static void refuse_all(struct side *side, struct owner *owner) {
    (void)side;
    assert_true(owner_write(owner, "no", 2));
    owner_close(owner, 1000);
}

static void whoever_accepts_may_close(void **state) {
    (void)state;
    for (int carrier = 0; carrier < CARRIERS; carrier++) {
        struct side *side = side_start((enum carrier)carrier);
        struct client *client;
        side->on_accepted = refuse_all;
        client = client_open(side, (enum carrier)carrier);
        assert_true(client_until(client, client->at_end));
        assert_memory_equal(client->in.data, "no", 2);
        client_close(client);
        side_free(side);
    }
}

static void leave_it(void *ctx, const struct listener_options *options, struct transport *transport) {
    (void)options;
    (void)transport;
    ++*(int *)ctx;
}

static void what_nobody_owns_is_closed(void **state) {
    struct side *side = side_new();
    int calls = 0;
    const struct listener_hooks hooks = { &calls, leave_it };
    struct client *client;

    (void)state;
    side->listener = listener_new(&side->options, side->transports, &hooks, NULL);
    client = client_dial(side, CARRIER_PLAIN);
    assert_true(client_until(client, client->at_end));
    assert_int_equal(calls, 1);
    assert_int_equal(listener_connections(side->listener), 0);
    client_close(client);
    side_free(side);
}

/* ---- options ---------------------------------------------------------------------------------------------------- */

static struct option_row {
    const char *name, *yaml, *complaints;
} option_rows[] = {
    { "options: the least", "address: 127.0.0.1:1883\n", "" },
    { "options: all",
      "address: ':8084'\nprotocol: websocket\nmax_connections: 100\nhandshake_timeout: 5s\nallow_anonymous: true\nwebsocket_path: /mqtt\n"
      "websocket_origin: https://plant.example\nsocket_mode: 0600\ntls:\n  certificate: c.pem\n  key: k.pem\n"
      "  key_password: x\n  client_ca: ca.pem\n  crl: crl.pem\n  require_client_certificate: true\n  use_identity_as_username: true\n"
      "  min_version: '1.3'\n  ciphers: HIGH\n  cipher_suites: TLS_AES_128_GCM_SHA256\n", "" },
    { "options: no address", "protocol: mqtt\n", "c.yaml:1:1: error: listener: 'address' is required" },
    { "options: a bad address", "address: 1883\n", "c.yaml:1:10: error: address '1883' is not host:port; write 127.0.0.1:1883" },
    { "options: a Unix socket by a relative path", "address: unix:s\n", "c.yaml:1:10: error: address 'unix:s': a Unix socket is written with its whole path" },
    { "options: TLS without a key", "address: ':1'\ntls:\n  certificate: c.pem\n", "c.yaml:3:3: error: listener: tls: 'key' is required" },
    { "options: certificates of nobody", "address: ':1'\ntls: { certificate: c, key: k, require_client_certificate: true }\n",
      "c.yaml:2:60: error: require_client_certificate needs client_ca" },
    { "options: names of nobody", "address: ':1'\ntls: { certificate: c, key: k, use_subject_as_username: true }\n",
      "c.yaml:2:57: error: names from client certificates need client_ca" },
    { "options: revocation of nobody", "address: ':1'\ntls: { certificate: c, key: k, crl: l }\n", "c.yaml:2:37: error: crl needs client_ca" },
    { "options: two names", "address: ':1'\ntls: { certificate: c, key: k, client_ca: a, use_subject_as_username: true, use_identity_as_username: true }\n",
      "c.yaml:2:71: error: use_identity_as_username and use_subject_as_username cannot both be on" },
    { "options: an unknown version", "address: ':1'\ntls: { certificate: c, key: k, min_version: 1.1 }\n", "'1.1'" },
    { "options: a path without its slash", "address: ':1'\nprotocol: websocket\nwebsocket_path: mqtt\n", "c.yaml:3:17: error: websocket_path 'mqtt' does not begin with '/'" },
    { "options: a path without WebSocket", "address: ':1'\nwebsocket_path: /mqtt\n", "c.yaml:2:17: warning: websocket_path has no effect" },
    { "options: a mode that is none", "address: unix:/s\nsocket_mode: 0999\n", "c.yaml:2:14: error: socket_mode '0999' is not octal" },
};

static void options_are_checked(void **state) {
    const struct option_row *row = *state;
    struct arena arena;
    struct diags diags = { .count = 0 };
    struct listener_options options = { .address = NULL };
    struct cfg_binding binding = { listener_options, &options };
    struct yaml_node *map;
    char *text;
    bool ok;

    arena_init(&arena, 1 << 20);
    map = yaml_parse("c.yaml", str_of(row->yaml), &arena, &diags);
    ok = cfg_read(map, "listener", &binding, 1, &arena, &diags);
    ok &= listener_options_check(&options, map, &diags);
    text = printed(&diags);
    if (strstr(text, row->complaints) == NULL)
        fail_msg("'%s' does not say '%s'", text, row->complaints);
    assert_int_equal(ok, diags.errors == 0);
    if (row->complaints[0] == '\0')
        assert_string_equal(text, "");
    free(text);
    diags_release(&diags);
    arena_release(&arena);
}

static void options_become_values(void **state) {
    struct arena arena;
    struct diags diags = { .count = 0 };
    struct listener_options least = { .address = NULL }, all = { .address = NULL };
    struct cfg_binding binding = { listener_options, &least };
    struct yaml_node *map;

    (void)state;
    arena_init(&arena, 1 << 20);
    map = yaml_parse("c.yaml", str_of(option_rows[0].yaml), &arena, &diags);
    assert_true(cfg_read(map, "", &binding, 1, &arena, &diags) && listener_options_check(&least, map, &diags));
    assert_false(least.has_tls);
    assert_int_equal(least.protocol, LISTENER_MQTT);
    assert_int_equal(least.handshake_timeout_ns, 10 * NS_PER_S);
    assert_string_equal(least.socket_mode, "0660");
    binding.object = &all;
    map = yaml_parse("c.yaml", str_of(option_rows[1].yaml), &arena, &diags);
    assert_true(cfg_read(map, "", &binding, 1, &arena, &diags) && listener_options_check(&all, map, &diags));
    assert_true(all.has_tls);
    assert_int_equal(all.protocol, LISTENER_WEBSOCKET);
    assert_int_equal(all.tls.min_version, TLS_MIN_1_3);
    assert_string_equal(all.socket_mode, "0600"); /* not a number */
    assert_string_equal(all.tls.key_password, "x");
    diags_release(&diags);
    arena_release(&arena);
}

int main(void) {
    struct CMUnitTest tests[COUNT(option_rows) + 40];
    const struct CMUnitTest others[] = {
        cmocka_unit_test(bad_addresses_are_refused_with_words),
        cmocka_unit_test(a_port_without_a_host_is_for_both_families),
        cmocka_unit_test(sockets_have_their_options),
        cmocka_unit_test(a_unix_socket_has_its_mode),
        cmocka_unit_test(only_a_dead_unix_socket_is_replaced),
        cmocka_unit_test(knows_what_is_loopback),
        cmocka_unit_test(max_connections_is_kept),
        cmocka_unit_test(a_lack_of_descriptors_passes),
        cmocka_unit_test(ten_thousand_connects),
        cmocka_unit_test(a_paused_listener_lets_nobody_in),
        cmocka_unit_test(slow_set_ups_are_ended),
        cmocka_unit_test(strangers_are_told_apart),
        cmocka_unit_test(a_look_at_the_port_is_no_failure),
        cmocka_unit_test(http_answers_reach_the_client),
        cmocka_unit_test(a_long_request_is_cut),
        cmocka_unit_test(a_certificate_becomes_a_name),
        cmocka_unit_test(an_alert_is_not_lost),
        cmocka_unit_test(a_reload_drops_nobody),
        cmocka_unit_test(findings_are_logged),
        cmocka_unit_test(a_listener_without_certificate_is_refused),
        cmocka_unit_test(a_listener_ends_with_set_ups_under_way),
        cmocka_unit_test(whoever_accepts_may_close),
        cmocka_unit_test(what_nobody_owns_is_closed),
        cmocka_unit_test(options_become_values),
    };
    size_t count = COUNT(others);

    memcpy(tests, others, sizeof others);
    for (size_t i = 0; i < COUNT(option_rows); i++)
        tests[count++] = (struct CMUnitTest){ option_rows[i].name, options_are_checked, NULL, NULL, &option_rows[i] };
    return _cmocka_run_group_tests("listener", tests, count, NULL, NULL);
}
