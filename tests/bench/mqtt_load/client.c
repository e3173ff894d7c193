/* tests/bench/mqtt_load/client.c: sockets, and what a client does with each packet that it gets. */
#define _GNU_SOURCE
#include "tests/bench/mqtt_load/client.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/mqtt_load/publisher.h"

enum { COMPLAINTS_MAX = 5, READ_MOST = 256 * 1024, SEND_BUFFER = 64 * 1024, SESSION_EXPIRY_S = 3600 };

static const char role_letters[] = { [ROLE_IDLE] = 'i', [ROLE_PUBLISHER] = 'p', [ROLE_SUBSCRIBER] = 's' };

void client_complain(struct load *load, const struct client *client, const char *format, ...) {
    va_list arguments;

    if (load->complaints++ >= COMPLAINTS_MAX)
        return;
    fprintf(stderr, "mqtt_load: %s-%c%u: ", load->options->prefix, role_letters[client->role], client->number);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

char *client_expand(const struct load *load, const struct client *client, const char *pattern) {
    struct bytes text = { NULL, 0, 0, 0 };
    char word[256];

    for (const char *at = pattern; *at != '\0'; at++) {
        if (strncmp(at, "%i", 2) == 0) {
            bytes_add(&text, word, (size_t)snprintf(word, sizeof word, "%u", client->number));
            at++;
        } else if (strncmp(at, "%c", 2) == 0) {
            bytes_add(&text, word,
                      (size_t)snprintf(word, sizeof word, "%s-%c%u", load->options->prefix, role_letters[client->role], client->number));
            at++;
        } else {
            bytes_add(&text, at, 1);
        }
    }
    bytes_add(&text, "", 1);
    return (char *)text.data;
}

/* The socket. */

static bool wants_input(const struct client *client) {
    return client->reading == READS_ALWAYS || client->state < CLIENT_READY;
}

static bool wants_output(const struct load *load, const struct client *client) {
    if (!client->connected || client->out.len > client->out.at)
        return true;
    return client->role == ROLE_PUBLISHER && load->options->rate == 0 && publisher_may_send(load, client);
}

static void watch(struct load *load, struct client *client, bool anew) {
    uint32_t events = EPOLLRDHUP | (wants_input(client) ? EPOLLIN : 0u) | (wants_output(load, client) ? EPOLLOUT : 0u);
    struct epoll_event event = { .events = events, .data.ptr = client };

    if (client->fd < 0 || (!anew && events == client->events))
        return;
    client->events = events;
    if (epoll_ctl(load->epoll, anew ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, client->fd, &event) != 0) {
        perror("mqtt_load: epoll_ctl");
        exit(1);
    }
}

static void close_socket(struct client *client) {
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client->state = CLIENT_GONE;
    bytes_release(&client->out);
    bytes_release(&client->rest);
}

void client_drop(struct load *load, struct client *client, unsigned *counter) {
    if (client->state == CLIENT_GONE)
        return;
    if (client->state == CLIENT_FINISHED)
        load->finished--;
    if (client_is_up(client))
        load->up--;
    ++*counter;
    close_socket(client);
}

/* The peer or the network ended it; `why` in words. */
static void lose(struct load *load, struct client *client, const char *why) {
    if (client->state >= CLIENT_READY && client->reading != READS_ALWAYS) { /* a broker may well tire of those */
        client_drop(load, client, &load->slow_lost);
        return;
    }
    client_complain(load, client, "%s%s", client->state < CLIENT_READY ? "not connected: " : "connection lost: ", why);
    client_drop(load, client, client->state < CLIENT_READY ? &load->failed : &load->lost);
}

static bool open_socket(struct load *load, struct client *client) {
    const struct options *options = load->options;
    const int yes = 1, send_buffer = SEND_BUFFER;

    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        return false;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (client->role == ROLE_PUBLISHER) /* else the kernel takes seconds of messages */
        setsockopt(client->fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    if (options->source_count > 0) {
        struct sockaddr_in source = { .sin_family = AF_INET,
                                      .sin_addr = options->sources[(size_t)(client - load->clients) % options->source_count] };
        /* The port is chosen at connect(), where it must differ for this broker only. */
        setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
        if (bind(client->fd, (const struct sockaddr *)&source, sizeof source) != 0)
            return false;
    }
    return connect(client->fd, (const struct sockaddr *)&options->broker, sizeof options->broker) == 0 || errno == EINPROGRESS;
}

static void greet(struct load *load, struct client *client) {
    const struct options *options = load->options;
    char *id = client_expand(load, client, "%c");

    packet_add_connect(&client->out, &(struct packet_connect){
        .version = options->version, .client_id = id, .user = options->user, .password = options->password,
        .keep_alive_s = options->keep_alive_s, .clean = options->clean, .session_expiry_s = options->clean ? 0 : SESSION_EXPIRY_S });
    free(id);
}

void client_connect(struct load *load, struct client *client) {
    client->began_ns = client->last_sent_ns = now_ns();
    client->state = CLIENT_GREETING;
    client->receive_maximum = UINT16_MAX;
    if (!open_socket(load, client)) {
        lose(load, client, errno == EADDRNOTAVAIL ? "no free source port or no such source address: give more addresses to --ifaddr"
                                                  : strerror(errno));
        return;
    }
    greet(load, client);
    watch(load, client, true);
}

void client_flush(struct load *load, struct client *client) {
    struct bytes *out = &client->out;

    if (client->fd < 0 || !client->connected)
        return;
    while (out->at < out->len) {
        ssize_t sent = send(client->fd, out->data + out->at, out->len - out->at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0) {
            lose(load, client, strerror(errno));
            return;
        }
        out->at += (size_t)sent;
        client->last_sent_ns = load->now_ns;
    }
    watch(load, client, false);
}

void client_ping(struct load *load, struct client *client) {
    client->pings++;
    packet_add_empty(&client->out, PACKET_PINGREQ);
    client_flush(load, client);
}

void client_leave(struct client *client) {
    static const uint8_t disconnect[] = { PACKET_DISCONNECT << 4, 0 };

    /* Only at the end of a packet; a client whose bytes wait is cut. */
    if (client->fd >= 0 && client_is_up(client) && client->out.at == client->out.len)
        (void)!send(client->fd, disconnect, sizeof disconnect, MSG_NOSIGNAL);
    close_socket(client);
}

/* What the broker sends. */

static void become_ready(struct load *load, struct client *client) {
    client->state = CLIENT_READY;
    load->up++;
}

static void take_connack(struct load *load, struct client *client, const struct packet *packet) {
    bool present;
    unsigned reason;

    if (client->state != CLIENT_GREETING ||
        !packet_read_connack(packet, load->options->version, &present, &reason, &client->receive_maximum)) {
        lose(load, client, "a CONNACK that is malformed or a second one");
        return;
    }
    if (reason != 0) {
        client_complain(load, client, "refused by the broker with reason %u", reason);
        client_drop(load, client, &load->refused);
        return;
    }
    histogram_add(&load->connack, now_ns() - client->began_ns);
    load->resumed += present;
    if (client->role == ROLE_SUBSCRIBER && !present) {
        char *filter = client_expand(load, client, load->options->filter);
        client->state = CLIENT_SUBSCRIBING;
        packet_add_subscribe(&client->out, load->options->version, 1, filter, load->options->subscriber_qos);
        free(filter);
        return;
    }
    if (client->role == ROLE_PUBLISHER && !publisher_prepare(load, client)) {
        fputs("mqtt_load: out of memory\n", stderr);
        exit(1);
    }
    become_ready(load, client);
}

static void take_suback(struct load *load, struct client *client, const struct packet *packet) {
    unsigned reason;

    if (client->state != CLIENT_SUBSCRIBING || !packet_read_suback(packet, load->options->version, &reason)) {
        lose(load, client, "a SUBACK that is malformed or not asked for");
        return;
    }
    if (reason >= 0x80) {
        client_complain(load, client, "subscription refused by the broker with reason %u", reason);
        client_drop(load, client, &load->refused);
        return;
    }
    become_ready(load, client);
}

static void count_message(struct load *load, const struct client *client, const struct packet_publish *publish) {
    int64_t now, sent_ns;

    load->duplicates += publish->duplicate;
    if (client->reading != READS_ALWAYS) {
        load->received_slowly++;
        return;
    }
    now = now_ns();
    if (load->received++ == 0)
        load->first_received_ns = now;
    load->last_received_ns = now;
    if (publisher_stamp_of(publish->payload, publish->payload_len, &sent_ns))
        histogram_add(&load->latency, now - sent_ns);
}

static void take_publish(struct load *load, struct client *client, const struct packet *packet) {
    struct packet_publish publish;

    if (client->role != ROLE_SUBSCRIBER || !packet_read_publish(packet, load->options->version, &publish)) {
        lose(load, client, "a PUBLISH that is malformed or not asked for");
        return;
    }
    count_message(load, client, &publish);
    if (publish.qos > 0)
        packet_add_answer(&client->out, publish.qos == 1 ? PACKET_PUBACK : PACKET_PUBREC, publish.id);
}

static void take_pubrel(struct load *load, struct client *client, const struct packet *packet) {
    unsigned reason;
    uint16_t id;

    if (!packet_read_answer(packet, load->options->version, &id, &reason)) {
        lose(load, client, "a malformed PUBREL");
        return;
    }
    packet_add_answer(&client->out, PACKET_PUBCOMP, id);
}

static void take_pingresp(struct load *load, struct client *client) {
    if (client->pings == 0) {
        lose(load, client, "a PINGRESP that was not asked for");
        return;
    }
    if (--client->pings == 0 && client->state == CLIENT_FINISHING) {
        client->state = CLIENT_FINISHED;
        load->finished++;
        load->last_acknowledged_ns = now_ns();
    }
}

static void take_disconnect(struct load *load, struct client *client, const struct packet *packet) {
    char why[64];

    snprintf(why, sizeof why, "DISCONNECT from the broker with reason %u", packet->body_len > 0 ? packet->body[0] : 0);
    lose(load, client, why);
}

static void take_packet(struct load *load, struct client *client, const struct packet *packet) {
    char why[64];

    switch (packet->type) {
    case PACKET_CONNACK:
        take_connack(load, client, packet);
        return;
    case PACKET_SUBACK:
        take_suback(load, client, packet);
        return;
    case PACKET_PUBLISH:
        take_publish(load, client, packet);
        return;
    case PACKET_PUBACK:
    case PACKET_PUBREC:
    case PACKET_PUBCOMP:
        publisher_answer(load, client, packet);
        return;
    case PACKET_PUBREL:
        take_pubrel(load, client, packet);
        return;
    case PACKET_PINGRESP:
        take_pingresp(load, client);
        return;
    case PACKET_DISCONNECT:
        take_disconnect(load, client, packet);
        return;
    default:
        snprintf(why, sizeof why, "a packet of type %u, which no broker sends", packet->type);
        lose(load, client, why);
    }
}

/* All whole packets of the inbox; the beginning of one more waits in `rest`. */
static void take_packets(struct load *load, struct client *client, size_t len) {
    size_t at = 0;
    enum packet_found found = PACKET_PARTIAL;
    struct packet packet = { .whole_len = 0 };

    while (client->fd >= 0 && (found = packet_find(load->inbox + at, len - at, &packet)) == PACKET_WHOLE) {
        take_packet(load, client, &packet);
        at += packet.whole_len;
    }
    if (client->fd < 0)
        return;
    if (found == PACKET_BROKEN || (len > at && packet.whole_len > INBOX - READ_MOST)) {
        lose(load, client, "a packet longer than this tool takes");
        return;
    }
    client->rest.at = client->rest.len = 0;
    bytes_add(&client->rest, load->inbox + at, len - at);
}

static void read_some(struct load *load, struct client *client, size_t most) {
    size_t before = client->rest.len;
    ssize_t got;

    if (before > 0)
        memcpy(load->inbox, client->rest.data, before);
    do
        got = recv(client->fd, load->inbox + before, most, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        lose(load, client, got == 0 ? "closed by the broker" : strerror(errno));
        return;
    }
    take_packets(load, client, before + (size_t)got);
    if (client->fd < 0)
        return;
    if (client->role == ROLE_PUBLISHER) {
        if (load->options->rate == 0 && load->options->qos > 0)
            publisher_fill(load, client); /* the window has room again */
        publisher_finish(load, client);
    }
    client_flush(load, client);
}

void client_read_slowly(struct load *load, struct client *client, size_t most) {
    if (client->fd >= 0)
        read_some(load, client, most < READ_MOST ? most : READ_MOST);
}

static bool finish_connect(struct load *load, struct client *client) {
    int failure = 0;
    socklen_t size = sizeof failure;

    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    if (failure != 0) {
        lose(load, client, strerror(failure));
        return false;
    }
    client->connected = true;
    return true;
}

void client_event(struct load *load, struct client *client, uint32_t events) {
    if (client->fd < 0 || (!client->connected && !finish_connect(load, client)))
        return;
    if (events & EPOLLIN || (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP) && wants_input(client))) {
        read_some(load, client, READ_MOST);
    } else if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
        lose(load, client, "closed by the broker");
    }
    if (client->fd < 0 || (events & EPOLLOUT) == 0)
        return;
    client_flush(load, client);
    if (client->fd >= 0 && client->role == ROLE_PUBLISHER && load->options->rate == 0)
        publisher_fill(load, client);
}
