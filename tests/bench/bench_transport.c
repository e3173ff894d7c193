/*
 * tests/bench/bench_transport.c: what a message costs on its way through the broker's transports, one message a wake-up, from 1,000
 * publishers: `reader` takes 200-byte messages at a fixed rate, `echo` answers each with 4 bytes and gets the next one after that. The
 * limit beside it is a bare epoll loop that does the same with recv() and send(). CPU time is that of the receiving process, the clients are
 * another one. And what an idle connection costs in memory, the kernel's part left out.
 */
#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/broker/listener.h"
#include "agent/loop/loop.h"

enum {
    PUBLISHERS = 1000,
    MESSAGE_BYTES = 200,
    ANSWER_BYTES = 4,
    READER_RATE = 50000,     /* a second */
    READER_MESSAGES = 200000,
    ECHO_ROUNDS = 200,       /* of one message for each publisher */
    WARM_CONNECTIONS = 500,
    MASKED_BYTES = 2 + 2 + 4 + MESSAGE_BYTES,
};

enum carrier { BARE, PLAIN, TLS, WEBSOCKET };
static const char *const carrier_names[] = { "bare_epoll", "plain", "tls", "websocket" };

struct job {
    enum carrier carrier;
    bool echo;
    size_t connections, messages; /* 0 messages: idle */
};

static void check(bool ok, const char *what) {
    if (ok)
        return;
    fprintf(stderr, "bench_transport: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- the clients ------------------------------------------------------------------------------------------------ */

struct client {
    int fd;
    SSL *tls;
};

static void client_write(const struct client *client, const void *data, size_t len) {
    if (client->tls != NULL)
        check(SSL_write(client->tls, data, (int)len) == (int)len, "SSL_write");
    else
        check(send(client->fd, data, len, MSG_NOSIGNAL) == (ssize_t)len, "send");
}

static void client_read(const struct client *client, size_t len) {
    char in[512];

    for (size_t got = 0; got < len;) {
        ssize_t more = client->tls != NULL ? SSL_read(client->tls, in, sizeof in) : recv(client->fd, in, sizeof in, 0);
        check(more > 0, "no answer");
        got += (size_t)more;
    }
}

static void client_upgrade(const struct client *client) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

    client_write(client, request, sizeof request - 1);
    client_read(client, 159); /* the whole answer */
}

static void client_open(struct client *client, uint16_t port, enum carrier carrier, SSL_CTX *tls) {
    const struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1;

    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    client->tls = NULL;
    check(client->fd >= 0 && connect(client->fd, (const struct sockaddr *)&to, sizeof to) == 0, "connect");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (carrier == TLS) {
        client->tls = SSL_new(tls);
        SSL_set_fd(client->tls, client->fd);
        check(SSL_connect(client->tls) == 1, "TLS");
    }
    if (carrier == WEBSOCKET)
        client_upgrade(client);
}

/* What a publisher sends: the message, in a masked frame if it goes through a WebSocket. */
static size_t make_message(char *out, enum carrier carrier) {
    static const unsigned char head[] = { 0x82, 0xfe, 0, MESSAGE_BYTES, 1, 2, 3, 4 };

    if (carrier != WEBSOCKET) {
        memset(out, 'x', MESSAGE_BYTES);
        return MESSAGE_BYTES;
    }
    memcpy(out, head, sizeof head);
    memset(out + sizeof head, 'x', MESSAGE_BYTES);
    return MASKED_BYTES;
}

static void publish_at_a_rate(const struct client *clients, const struct job *job, const char *message, size_t len) {
    int64_t next = clock_mono_ns();

    for (size_t i = 0; i < job->messages; i++, next += NS_PER_S / READER_RATE) {
        while (clock_mono_ns() < next)
            continue;
        client_write(&clients[i % job->connections], message, len);
    }
}

static void publish_and_wait(const struct client *clients, const struct job *job, const char *message, size_t len) {
    size_t answer = ANSWER_BYTES + (job->carrier == WEBSOCKET ? 2 : 0);

    for (size_t round = 0; round < job->messages / job->connections; round++) {
        for (size_t i = 0; i < job->connections; i++)
            client_write(&clients[i], message, len);
        for (size_t i = 0; i < job->connections; i++)
            client_read(&clients[i], answer);
    }
}

/* A process of its own: 'r' when all are connected, waits for a byte, does its job, 'd'; ends when the other side does. */
static void run_clients(int control, uint16_t port, const struct job *job) {
    struct client *clients = calloc(job->connections, sizeof *clients);
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    char message[MASKED_BYTES], byte = 'r';
    size_t len = make_message(message, job->carrier);

    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    for (size_t i = 0; i < job->connections; i++)
        client_open(&clients[i], port, job->carrier, tls);
    check(write(control, &byte, 1) == 1, "control");
    if (read(control, &byte, 1) != 1)
        _exit(0); /* that was all */
    if (job->echo)
        publish_and_wait(clients, job, message, len);
    else
        publish_at_a_rate(clients, job, message, len);
    byte = 'd';
    check(write(control, &byte, 1) == 1, "control");
    (void)!read(control, &byte, 1);
    _exit(0);
}

static pid_t start_clients(int *control, uint16_t port, const struct job *job) {
    int ends[2];
    pid_t child;

    check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
    child = fork();
    if (child == 0) {
        close(ends[0]);
        run_clients(ends[1], port, job);
    }
    close(ends[1]);
    *control = ends[0];
    return child;
}

static void end_clients(pid_t child, int control) {
    close(control);
    waitpid(child, NULL, 0);
}

/* ---- the limit: epoll, recv and send, nothing else --------------------------------------------------------------- */

static int64_t cpu_ns(void) {
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * NS_PER_S + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * NS_PER_US;
}

static void watch(int epoll, int fd) {
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

    check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
}

static double run_bare(const struct job *job) {
    static char input[65536];
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    struct epoll_event events[1024];
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0), control, on = 1;
    bool done = false;
    int64_t started = 0;
    size_t bytes = 0;

    check(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 4096) == 0, "listen");
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    getsockname(listener, (struct sockaddr *)&at, &len);
    pid_t child = start_clients(&control, ntohs(at.sin_port), job);
    watch(epoll, listener);
    watch(epoll, control);
    while (!done || bytes < job->messages * MESSAGE_BYTES) {
        int count = epoll_wait(epoll, events, 1024, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                for (int peer; (peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;)
                    watch(epoll, peer);
            } else if (fd == control) {
                char byte;
                check(read(control, &byte, 1) == 1, "the clients have failed");
                done = byte == 'd';
                started = started != 0 ? started : cpu_ns();
                if (!done)
                    check(write(control, "g", 1) == 1, "control");
            } else {
                ssize_t got = recv(fd, input, sizeof input, 0);
                bytes += got > 0 ? (size_t)got : 0;
                if (job->echo && got > 0)
                    check(send(fd, "\x40\x02\x00\x01", ANSWER_BYTES, MSG_NOSIGNAL) == ANSWER_BYTES, "send");
            }
        }
    }
    double us = (double)(cpu_ns() - started) / NS_PER_US / (double)job->messages;
    close(listener);
    close(epoll);
    end_clients(child, control);
    return us;
}

/* ---- ours ------------------------------------------------------------------------------------------------------- */

struct bench {
    const struct job *job;
    struct event_base *base;
    int control;
    int64_t started_ns;
    struct sink *sinks;
    size_t bytes, open;
    size_t resident; /* when WARM_CONNECTIONS were there: libraries have got what they need */
    bool done;
};

/* One per transport. */
struct sink {
    struct bench *bench;
    struct transport *transport;
};

static size_t on_received(void *owner, struct str bytes) {
    static const struct transport_piece answer = { STR_INIT("\x40\x02\x00\x01"), NULL };
    struct sink *sink = owner;
    size_t whole = bytes.len - bytes.len % MESSAGE_BYTES;

    sink->bench->bytes += whole;
    if (sink->bench->job->echo)
        for (size_t i = 0; i < whole / MESSAGE_BYTES; i++)
            transport_write(sink->transport, &answer, 1, NULL);
    if (sink->bench->done && sink->bench->bytes == sink->bench->job->messages * MESSAGE_BYTES)
        event_base_loopbreak(sink->bench->base);
    return whole;
}

static void on_ended(void *owner, enum transport_end why, const char *words) {
    (void)owner;
    (void)why;
    (void)words;
}

static size_t resident_bytes(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    check(file != NULL && fscanf(file, "%*u %lu", &pages) == 1, "/proc/self/statm");
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void on_accepted(void *ctx, const struct listener_options *options, struct transport *transport) {
    static const struct transport_events events = { .received = on_received, .ended = on_ended };
    struct bench *bench = ctx;
    struct sink *sink = &bench->sinks[bench->open++];

    (void)options;
    *sink = (struct sink){ ctx, transport };
    transport_own(transport, &events, sink);
    if (bench->open == WARM_CONNECTIONS)
        bench->resident = resident_bytes();
}

static void on_control(evutil_socket_t fd, short what, void *ctx) {
    struct bench *bench = ctx;
    char byte;

    (void)what;
    check(read(fd, &byte, 1) == 1, "the clients have failed");
    bench->done = byte == 'd';
    if (!bench->done) {
        bench->started_ns = cpu_ns();
        if (bench->job->messages > 0)
            check(write(fd, "g", 1) == 1, "control");
    }
    if (bench->job->messages == 0 || (bench->done && bench->bytes == bench->job->messages * MESSAGE_BYTES))
        event_base_loopbreak(bench->base);
}

/* CPU microseconds a message, or bytes an idle connection. */
static double run_ours(const struct job *job, struct tls_settings tls) {
    struct bench bench = { .job = job, .sinks = malloc(job->connections * sizeof(struct sink)) };
    struct listener_options options = { .address = (char *)"127.0.0.1:0",
                                        .protocol = job->carrier == WEBSOCKET ? LISTENER_WEBSOCKET : LISTENER_MQTT,
                                        .has_tls = job->carrier == TLS,
                                        .tls = tls,
                                        .handshake_timeout_ns = 60 * NS_PER_S };
    const struct listener_hooks hooks = { &bench, on_accepted };
    struct err err = ERR_INIT;
    struct loop *loop = loop_new(&err);
    struct transports *transports = transports_new(loop_base(loop), &err);
    struct listener *listener = listener_new(&options, transports, &hooks, &err);
    struct event *control;
    double result;

    if (listener == NULL) {
        fprintf(stderr, "bench_transport: %s\n", err.text);
        exit(1);
    }
    memset(bench.sinks, 1, job->connections * sizeof(struct sink)); /* its pages are there before */
    bench.base = loop_base(loop);
    pid_t child = start_clients(&bench.control, listener_port(listener), job);
    control = event_new(bench.base, bench.control, EV_READ | EV_PERSIST, on_control, &bench);
    event_add(control, NULL);
    event_base_dispatch(bench.base);
    if (job->messages == 0)
        result = (double)(resident_bytes() - bench.resident) / (double)(bench.open - WARM_CONNECTIONS);
    else
        result = (double)(cpu_ns() - bench.started_ns) / NS_PER_US / (double)job->messages;
    event_free(control);
    listener_free(listener);
    transports_free(transports);
    loop_free(loop);
    end_clients(child, bench.control);
    free(bench.sinks);
    return result;
}

/* ---- certificate ------------------------------------------------------------------------------------------------ */

static void make_certificate(struct tls_settings *settings, char *directory) {
    static char certificate[64], key[64], command[400];

    check(mkdtemp(directory) != NULL, "mkdtemp");
    snprintf(certificate, sizeof certificate, "%s/crt", directory);
    snprintf(key, sizeof key, "%s/key", directory);
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost -keyout %s -out %s "
             "2>/dev/null",
             key, certificate);
    check(system(command) == 0, "openssl req");
    *settings = (struct tls_settings){ .certificate = certificate, .key = key };
}

/* The better of two, in a process of its own each: what one run leaves in memory is not another one's. */
static double measure(const struct job *job, const struct tls_settings *tls) {
    double best = 0;

    for (int i = 0; i < 2; i++) {
        double result = 0;
        int ends[2];
        check(pipe(ends) == 0, "pipe");
        pid_t child = fork();
        if (child == 0) {
            result = job->carrier == BARE ? run_bare(job) : run_ours(job, *tls);
            check(write(ends[1], &result, sizeof result) == sizeof result, "pipe");
            _exit(0);
        }
        close(ends[1]);
        check(read(ends[0], &result, sizeof result) == sizeof result, "a run has failed");
        close(ends[0]);
        waitpid(child, NULL, 0);
        if (best == 0 || result < best)
            best = result;
    }
    return best;
}

static void measure_messages(bool echo, const struct tls_settings *tls) {
    const char *kind = echo ? "echo" : "reader";
    double bare = 0;

    for (int carrier = BARE; carrier <= WEBSOCKET; carrier++) {
        const struct job job = { carrier, echo, PUBLISHERS, echo ? ECHO_ROUNDS * PUBLISHERS : READER_MESSAGES };
        double us = measure(&job, tls);
        printf("transport_%s_%s %.2f us/message\n", kind, carrier_names[carrier], us);
        if (carrier == BARE)
            bare = us;
        else
            printf("transport_%s_%s_ratio %.2f x\n", kind, carrier_names[carrier], us / bare);
        fflush(stdout);
    }
}

static void measure_idle(enum carrier carrier, size_t connections, const struct tls_settings *tls) {
    const struct job job = { carrier, false, connections, 0 };

    printf("transport_idle_%s %.0f bytes/connection\n", carrier_names[carrier], measure(&job, tls));
    fflush(stdout);
}

int main(void) {
    char directory[] = "/tmp/heliograf-bench-XXXXXX";
    struct tls_settings tls;

    signal(SIGPIPE, SIG_IGN);
    make_certificate(&tls, directory);
    measure_messages(false, &tls);
    measure_messages(true, &tls);
    measure_idle(PLAIN, 10000, &tls);
    measure_idle(WEBSOCKET, 5000, &tls);
    measure_idle(TLS, 3000, &tls);
    unlink(tls.certificate);
    unlink(tls.key);
    rmdir(directory);
    return 0;
}
