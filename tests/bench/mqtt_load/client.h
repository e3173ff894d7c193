/*
 * tests/bench/mqtt_load/client.h: one connection to the broker, and what all of them share. Everything runs on one thread; nothing here waits.
 */
#ifndef MQTT_LOAD_CLIENT_H
#define MQTT_LOAD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "tests/bench/mqtt_load/histogram.h"
#include "tests/bench/mqtt_load/options.h"
#include "tests/bench/mqtt_load/packet.h"

enum role { ROLE_IDLE, ROLE_PUBLISHER, ROLE_SUBSCRIBER };

enum client_state {
    CLIENT_NEW,
    CLIENT_GREETING,    /* TCP connect and CONNECT are under way */
    CLIENT_SUBSCRIBING, /* CONNACK is here, SUBACK is not */
    CLIENT_READY,
    CLIENT_FINISHING,   /* a publisher at QoS 0 whose PINGREQ stands behind its last message */
    CLIENT_FINISHED,    /* a publisher: the broker has taken all that it sent */
    CLIENT_GONE,        /* no connection any more */
};

enum reading { READS_ALWAYS, READS_SLOWLY, READS_NEVER };

/* A message on its way to the broker; its packet identifier is its place in the window, from 1. */
enum flight_state { FLIGHT_FREE, FLIGHT_PUBACK, FLIGHT_PUBREC, FLIGHT_PUBCOMP }; /* what it waits for */
struct flight {
    int64_t sent_ns;
    uint16_t next_free; /* 0: none */
    uint8_t state;
};

struct client {
    int fd; /* -1: none */
    unsigned number; /* from 1, within its role */
    uint8_t role, state, reading;
    bool connected; /* TCP */
    uint32_t events; /* that epoll watches */
    unsigned pings;  /* unanswered */
    int64_t began_ns, last_sent_ns;
    struct bytes out, rest; /* not sent yet; the beginning of a packet whose end is not here yet */
    char *topic;            /* a publisher's */
    size_t topic_len;
    struct flight *flights; /* [window], QoS 1 and 2 */
    unsigned window, in_flight, receive_maximum;
    uint16_t free;          /* first free flight, 0: none */
};

enum publishing { PUBLISHING_LATER, PUBLISHING_NOW, PUBLISHING_OVER };

struct load {
    const struct options *options;
    int epoll;
    struct client *clients; /* publishers, then subscribers, then idle ones */
    unsigned count;
    uint8_t *inbox; /* INBOX bytes, for whoever reads */
    char *payload;  /* options->size bytes, all but the stamp and the number */
    int64_t now_ns;  /* of the last look at the clock, for what needs no better */
    enum publishing publishing;

    /* Clients. */
    unsigned begun, up, refused, failed, lost, slow_lost, finished, resumed, complaints;
    struct histogram connack;

    /* Messages. `received` is by those who read as fast as they can. */
    uint64_t sent, acknowledged, rejected, received, received_slowly, duplicates;
    int64_t first_received_ns, last_received_ns, last_acknowledged_ns;
    struct histogram acks, latency;
};

enum { INBOX = 1 << 20, OUT_ENOUGH = 16 * 1024 };

static inline int64_t now_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* Says on stderr what went wrong with a client (the first few only), in the words of printf. */
__attribute__((format(printf, 3, 4))) void client_complain(struct load *load, const struct client *client, const char *format, ...);

/* A topic or filter with %i and %c filled in; to be freed. */
char *client_expand(const struct load *load, const struct client *client, const char *pattern);

void client_connect(struct load *load, struct client *client);
void client_event(struct load *load, struct client *client, uint32_t events); /* of epoll */
void client_flush(struct load *load, struct client *client);
void client_read_slowly(struct load *load, struct client *client, size_t most); /* at most so many bytes */
void client_ping(struct load *load, struct client *client);
void client_leave(struct client *client); /* DISCONNECT as far as it goes, and closes; any state */
/* The connection is of no use any more: closes it, and counts it as refused, failed or lost. */
void client_drop(struct load *load, struct client *client, unsigned *counter);
static inline bool client_is_up(const struct client *client) {
    return client->state >= CLIENT_READY && client->state <= CLIENT_FINISHED;
}

#endif
