/*
 * tests/support/fake_broker.h: an MQTT broker that does what a test says: a thread with a socket that speaks just
 * enough of MQTT 3.1.1 and 5 to accept, refuse, publish, drop connections, and remember what it was told. Include
 * fake_broker.c in the test.
 */
#ifndef HELIOGRAF_TESTS_FAKE_BROKER_H
#define HELIOGRAF_TESTS_FAKE_BROKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FAKE_CONNECTIONS = 16, FAKE_NOTES = 4096, FAKE_FILTERS = 64 };

struct fake_connect {
    int version; /* 4, 5 */
    bool clean;
    char client_id[128], username[64], password[64];
    unsigned keepalive_s;
    uint32_t session_expiry, receive_maximum, maximum_packet; /* MQTT 5; 0: not sent */
};

struct fake_subscribe {
    char filter[128];
    unsigned options;    /* the byte behind the filter */
    uint32_t identifier; /* 0: none */
};

struct fake_published {
    char topic[64], payload[32]; /* cut */
    size_t payload_len;
    int qos;
    bool retain, dup;
    uint16_t id;
    unsigned alias; /* MQTT 5; 0: none */
};

struct fake_ack {
    uint16_t id;
    int64_t at_ns; /* monotonic */
};

struct fake_broker {
    /* What it does; set before fake_broker_start or under the lock. */
    int refuse_code;  /* CONNACK's; 0: accept */
    bool old;         /* answers MQTT 5 as a 3.1.1 broker does: CONNACK code 1, then closes */
    bool closes_v5;   /* closes on MQTT 5 without a word */
    bool mute_suback; /* never answers a SUBSCRIBE */
    bool mute;        /* never answers a CONNECT */
    bool deaf;        /* reads nothing; fake_broker_listen ends it */
    bool session_present;
    bool mute_puback; /* answers no PUBLISH */
    int puback_code;  /* MQTT 5: of PUBACK and PUBREC */
    unsigned char connack_properties[64];
    size_t connack_properties_len;
    struct {
        const char *filter;
        int code;
    } suback[FAKE_FILTERS]; /* granted as asked for without an entry */
    size_t suback_count;

    /* What it saw; read it under the lock or after fake_broker_stop. */
    struct fake_connect connects[256];
    size_t connect_count, disconnect_count, closed_count;
    struct fake_subscribe subscribes[FAKE_NOTES];
    size_t subscribe_count;
    struct fake_ack *acks; /* PUBACKs in order */
    size_t ack_count, ack_cap;
    uint16_t receipts[FAKE_NOTES]; /* PUBRECs in order; each is answered with PUBREL */
    size_t receipt_count, complete_count; /* complete: PUBCOMPs */
    struct fake_published published[FAKE_NOTES];
    size_t published_count, unsubscribe_count;

    /* Its own. */
    uint16_t port;
    int listener, wake[2];
    struct fake_link {
        int fd, version;
        unsigned char in[65536];
        size_t len;
    } links[FAKE_CONNECTIONS];
    int newest; /* index of the link that connected last; -1: none */
    bool stopping;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

void fake_broker_start(struct fake_broker *broker); /* on a free port of 127.0.0.1, or again on `port` */
void fake_broker_stop(struct fake_broker *broker);

struct fake_publish {
    const char *topic, *payload;
    size_t payload_len; /* 0: strlen */
    int qos;
    uint16_t id;
    bool retain, dup;
    const void *properties; /* MQTT 5, without their length */
    size_t properties_len;
};
/* To the newest connection, which a broker gives up, with whatever it has not read yet, when it cannot write to it. */
void fake_broker_publish(struct fake_broker *broker, const struct fake_publish *publish);
/* These bytes to the newest connection, whatever they are. */
void fake_broker_send(struct fake_broker *broker, const void *bytes, size_t len);
/* Closes the newest connection; what it has in its pockets is lost. */
void fake_broker_drop(struct fake_broker *broker);
/* Sends the newest connection a DISCONNECT of MQTT 5 with that reason, and leaves the closing to the other side. */
void fake_broker_dismiss(struct fake_broker *broker, unsigned char reason);

/* Bytes that a deaf broker has not read from the newest connection. */
size_t fake_broker_unread(struct fake_broker *broker);
void fake_broker_listen(struct fake_broker *broker);

/* Wait for at most 10 s; false when it has not come to that. */
bool fake_broker_wait_acks(struct fake_broker *broker, size_t count);
bool fake_broker_wait_receipts(struct fake_broker *broker, size_t count);
bool fake_broker_wait_complete(struct fake_broker *broker, size_t count);
bool fake_broker_wait_published(struct fake_broker *broker, size_t count);
bool fake_broker_wait_subscribes(struct fake_broker *broker, size_t count);
bool fake_broker_wait_connects(struct fake_broker *broker, size_t count);
bool fake_broker_wait_disconnects(struct fake_broker *broker, size_t count);

size_t fake_broker_acks(struct fake_broker *broker);

#endif
