/*
 * tests/bench/mqtt_sink.c: the least that anything can do with MQTT 3.1.1 clients: one thread with epoll finds the packets, answers what must be answered, and
 * forgets the rest. What a broker costs more than this is its own.
 *
 * usage: mqtt_sink PORT      listens on 127.0.0.1 until a signal ends it
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/mqtt_load/packet.h"

enum { EVENTS = 512, INBOX = 1 << 20, READ_MOST = 64 * 1024, BACKLOG = 4096 };

struct peer {
    int fd;
    struct bytes rest; /* the beginning of a packet whose end is not here yet */
};

/* What all peers share: one of them is served at a time. */
struct sink {
    int epoll, listener;
    uint8_t inbox[INBOX];
    struct bytes answers;
};

static void acknowledge(struct sink *sink, const struct packet *packet) {
    struct packet_publish publish;

    if (packet_read_publish(packet, 4, &publish) && publish.qos > 0)
        packet_add_answer(&sink->answers, publish.qos == 1 ? PACKET_PUBACK : PACKET_PUBREC, publish.id);
}

static void answer(struct sink *sink, const struct packet *packet) {
    static const uint8_t connack[] = { PACKET_CONNACK << 4, 2, 0, 0 };

    switch (packet->type) {
    case PACKET_CONNECT:
        bytes_add(&sink->answers, connack, sizeof connack);
        return;
    case PACKET_PUBLISH:
        acknowledge(sink, packet);
        return;
    case PACKET_PUBREL:
        if (packet->body_len >= 2)
            packet_add_answer(&sink->answers, PACKET_PUBCOMP, (uint16_t)(packet->body[0] << 8 | packet->body[1]));
        return;
    case PACKET_PINGREQ:
        packet_add_empty(&sink->answers, PACKET_PINGRESP);
        return;
    default:
        return;
    }
}

/* False when the peer is of no use any more. Answers are small and peers read them: no need to wait until a socket takes more. */
static bool send_answers(struct sink *sink, const struct peer *peer) {
    struct bytes *answers = &sink->answers;
    bool sent = answers->len == answers->at || send(peer->fd, answers->data, answers->len, MSG_NOSIGNAL) == (ssize_t)answers->len;

    answers->at = answers->len = 0;
    return sent;
}

static bool serve(struct sink *sink, struct peer *peer) {
    size_t len = peer->rest.len, at = 0;
    struct packet packet = { .whole_len = 0 };
    enum packet_found found;
    ssize_t got;

    if (len > 0)
        memcpy(sink->inbox, peer->rest.data, len);
    got = recv(peer->fd, sink->inbox + len, READ_MOST, 0);
    if (got <= 0)
        return got < 0 && (errno == EAGAIN || errno == EINTR);
    len += (size_t)got;
    while ((found = packet_find(sink->inbox + at, len - at, &packet)) == PACKET_WHOLE) {
        answer(sink, &packet);
        at += packet.whole_len;
    }
    if (found == PACKET_BROKEN || packet.whole_len > INBOX - READ_MOST)
        return false;
    peer->rest.at = peer->rest.len = 0;
    bytes_add(&peer->rest, sink->inbox + at, len - at);
    return send_answers(sink, peer);
}

static void let_go(struct peer *peer) {
    close(peer->fd);
    bytes_release(&peer->rest);
    free(peer);
}

static void take_peers(struct sink *sink) {
    const int yes = 1;
    int fd;

    while ((fd = accept4(sink->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct peer *peer = calloc(1, sizeof *peer);
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = peer };
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        if (peer == NULL || epoll_ctl(sink->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
            perror("mqtt_sink");
            exit(1);
        }
        peer->fd = fd;
    }
}

static void listen_on(struct sink *sink, unsigned port) {
    const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct epoll_event event = { .events = EPOLLIN };
    const int yes = 1;

    sink->epoll = epoll_create1(EPOLL_CLOEXEC);
    sink->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(sink->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(sink->listener, (const struct sockaddr *)&address, sizeof address) != 0 || listen(sink->listener, BACKLOG) != 0 ||
        epoll_ctl(sink->epoll, EPOLL_CTL_ADD, sink->listener, &event) != 0) {
        perror("mqtt_sink");
        exit(1);
    }
}

int main(int argc, char **argv) {
    static struct sink sink;
    struct epoll_event events[EVENTS];
    struct rlimit limit;
    long port = argc == 2 ? strtol(argv[1], NULL, 10) : 0;

    if (port < 1 || port > 65535) {
        fputs("usage: mqtt_sink PORT\n", stderr);
        return 64;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    listen_on(&sink, (unsigned)port);
    for (;;) {
        int count = epoll_wait(sink.epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                take_peers(&sink);
            else if (!serve(&sink, events[i].data.ptr))
                let_go(events[i].data.ptr);
        }
    }
}
