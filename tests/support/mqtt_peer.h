/*
 * tests/support/mqtt_peer.h: the few packets of MQTT 3.1.1 that ask a broker for a decision, over a blocking socket, and a real Mosquitto to
 * ask. Packets are shorter than 16 KiB. What goes wrong ends the test with words.
 */
#ifndef HELIOGRAF_TESTS_MQTT_PEER_H
#define HELIOGRAF_TESTS_MQTT_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/buf.h"

struct peer {
    int fd;
    uint16_t identifier;
};

struct peer_packet {
    uint8_t type; /* the first byte */
    uint8_t body[16384];
    size_t len;
};

__attribute__((noreturn)) static inline void peer_die(const char *what) {
    fprintf(stderr, "mqtt_peer: %s: %s\n", what, strerror(errno));
    abort();
}

static inline void peer_text(struct buf *to, struct str text) {
    buf_append_char(to, (char)(text.len >> 8));
    buf_append_char(to, (char)text.len);
    buf_append_str(to, text);
}

static inline void peer_send(const struct peer *peer, uint8_t type, struct str body) {
    struct buf packet = BUF_INIT(17000);

    buf_append_char(&packet, (char)type);
    if (body.len > 127)
        buf_append_char(&packet, (char)((body.len & 127) | 128));
    buf_append_char(&packet, (char)(body.len > 127 ? body.len >> 7 : body.len));
    buf_append_str(&packet, body);
    if (send(peer->fd, packet.data, packet.len, MSG_NOSIGNAL) != (ssize_t)packet.len)
        peer_die("cannot send");
    buf_release(&packet);
}

static inline void peer_read(const struct peer *peer, void *to, size_t len) {
    if (recv(peer->fd, to, len, MSG_WAITALL) != (ssize_t)len)
        peer_die("the broker has closed the connection, or says nothing");
}

static inline void peer_receive(const struct peer *peer, struct peer_packet *packet) {
    uint8_t byte;
    unsigned shift = 0;

    peer_read(peer, &packet->type, 1);
    packet->len = 0;
    do {
        peer_read(peer, &byte, 1);
        packet->len |= (size_t)(byte & 127) << shift;
        shift += 7;
    } while ((byte & 128) != 0 && shift < 28);
    if (packet->len > sizeof packet->body)
        peer_die("a packet is too long");
    if (packet->len > 0)
        peer_read(peer, packet->body, packet->len);
}

/* The next packet, which must be of this type. */
static inline void peer_expect(const struct peer *peer, uint8_t type, struct peer_packet *packet) {
    peer_receive(peer, packet);
    if (packet->type != type) {
        fprintf(stderr, "mqtt_peer: expected a packet 0x%02x, got 0x%02x\n", type, packet->type);
        abort();
    }
}

static inline int peer_open(uint16_t port) {
    const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    const struct timeval patience = { 20, 0 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    if (fd < 0)
        peer_die("socket");
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* `user` data NULL: no user name. */
static inline struct peer peer_connect(uint16_t port, struct str client_id, struct str user) {
    struct peer peer = { .fd = peer_open(port), .identifier = 0 };
    struct buf body = BUF_INIT(1000);
    struct peer_packet answer;

    if (peer.fd < 0)
        peer_die("cannot connect");
    peer_text(&body, STR("MQTT"));
    buf_append_char(&body, 4);
    buf_append_char(&body, (char)(user.data != NULL ? 0x82 : 0x02)); /* clean session, user name */
    buf_append(&body, "\0\0", 2);                                    /* no keep alive */
    peer_text(&body, client_id);
    if (user.data != NULL)
        peer_text(&body, user);
    peer_send(&peer, 0x10, buf_str(&body));
    peer_expect(&peer, 0x20, &answer);
    if (answer.len < 2 || answer.body[1] != 0) {
        fprintf(stderr, "mqtt_peer: the broker refuses '%.*s' with 0x%02x\n", STR_ARGS(user), answer.body[1]);
        abort();
    }
    buf_release(&body);
    return peer;
}

static inline void peer_close(struct peer *peer) {
    close(peer->fd);
}

static inline void peer_identifier(struct peer *peer, struct buf *body) {
    peer->identifier++;
    buf_append_char(body, (char)(peer->identifier >> 8));
    buf_append_char(body, (char)peer->identifier);
}

/* At QoS 0. */
static inline void peer_publish(const struct peer *peer, struct str topic, struct str payload) {
    struct buf body = BUF_INIT(16000);

    peer_text(&body, topic);
    buf_append_str(&body, payload);
    peer_send(peer, 0x30, buf_str(&body));
    buf_release(&body);
}

/* The return code of the SUBACK. */
static inline uint8_t peer_subscribe(struct peer *peer, struct str filter) {
    struct buf body = BUF_INIT(16000);
    struct peer_packet answer;

    peer_identifier(peer, &body);
    peer_text(&body, filter);
    buf_append_char(&body, 0); /* QoS 0 */
    peer_send(peer, 0x82, buf_str(&body));
    buf_release(&body);
    peer_expect(peer, 0x90, &answer);
    return answer.body[answer.len - 1];
}

/* All that was on its way when it is called has come when it returns; `publish` gets each payload. */
static inline void peer_ping(const struct peer *peer, void (*publish)(void *ctx, struct str payload), void *ctx) {
    struct peer_packet packet;

    peer_send(peer, 0xC0, STR_EMPTY);
    for (;;) {
        peer_receive(peer, &packet);
        if (packet.type == 0xD0)
            return;
        if ((packet.type & 0xF0) != 0x30 || publish == NULL)
            peer_die("an unexpected packet");
        size_t before = 2 + ((size_t)packet.body[0] << 8 | packet.body[1]);
        publish(ctx, str_make((const char *)packet.body + before, packet.len - before));
    }
}

/* --- a Mosquitto of our own --- */

struct mosquitto {
    pid_t pid;
    uint16_t port;
};

static inline uint16_t mosquitto_free_port(void) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        peer_die("no free port");
    close(fd);
    return ntohs(address.sin_port);
}

static inline bool mosquitto_listens(const struct mosquitto *mosquitto) {
    const struct timespec moment = { 0, 5000000 };

    for (int i = 0; i < 4000; i++) {
        int fd = peer_open(mosquitto->port);
        if (fd >= 0) {
            close(fd);
            return true;
        }
        if (waitpid(mosquitto->pid, NULL, WNOHANG) != 0)
            return false;
        nanosleep(&moment, NULL);
    }
    peer_die("mosquitto does not listen");
}

static inline void mosquitto_stop(struct mosquitto *mosquitto) {
    kill(mosquitto->pid, SIGKILL);
    waitpid(mosquitto->pid, NULL, 0);
}

/*
 * Anybody may connect, under any name. (With max_queued_messages 0, which is no limit, Mosquitto 2.0.11 closes the connection of whoever publishes what
 * it may not.) `config` is written for it. Somebody else may be quicker to take the port: then on another one. False: it does not start with this ACL.
 */
static inline bool mosquitto_start(struct mosquitto *mosquitto, const char *config, const char *acl_file) {
    for (int attempt = 0; attempt < 3; attempt++) {
        FILE *to = fopen(config, "w");
        mosquitto->port = mosquitto_free_port();
        if (to == NULL)
            peer_die(config);
        fprintf(to,
                "%slistener %u 127.0.0.1\nallow_anonymous true\nacl_file %s\nsys_interval 0\nset_tcp_nodelay true\n"
                "max_queued_messages 10000\nlog_dest none\n",
                geteuid() == 0 ? "user root\n" : "", mosquitto->port, acl_file);
        fclose(to);
        mosquitto->pid = fork();
        if (mosquitto->pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            execl("/usr/sbin/mosquitto", "mosquitto", "-c", config, (char *)NULL);
            _exit(127);
        }
        if (mosquitto_listens(mosquitto))
            return true;
    }
    return false;
}

#endif
