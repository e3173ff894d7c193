/* tests/bench/mqtt_load/options.h: the command line. Letters and long names are emqtt-bench's where it has the thing. */
#ifndef MQTT_LOAD_OPTIONS_H
#define MQTT_LOAD_OPTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum mode { MODE_CONN, MODE_PUB, MODE_SUB };

enum { SOURCES_MAX = 64, CLIENTS_MAX = 1000000, PAYLOAD_MAX = 512 * 1024 };

struct options {
    enum mode mode;
    const char *mode_name;
    struct sockaddr_in broker;
    struct in_addr sources[SOURCES_MAX]; /* used in turn */
    unsigned source_count;               /* 0: the kernel chooses */

    unsigned version;
    const char *user, *password, *prefix;
    bool clean;
    unsigned keep_alive_s;

    unsigned publishers, subscribers, idlers; /* one of them is -c */
    const char *topic, *filter;               /* with %i: the number of the client, %c: its id */
    unsigned qos, subscriber_qos, inflight, size;
    bool retain;
    double rate;    /* messages/s of all publishers together; 0: flat out */
    uint64_t total; /* messages of all publishers, or received by all subscribers; 0: no limit */
    unsigned stalled, slow; /* of the subscribers: the first so many never read, the next so many read slowly */
    unsigned slow_bytes_s;  /* bytes/s of each slow one */
    bool leave;             /* sub: go as soon as subscribed */

    int64_t duration_ns, connect_ns, drain_ns, quiet_ns; /* of the measured phase; limits of connecting and draining; see the help */
    int64_t connect_interval_ns;                         /* between two connects; 0: as fast as they are taken */
    unsigned pending;                                    /* connects that may wait at a time; 0: any number */
    pid_t pid;                                           /* of the broker; 0: unknown */
};

/* Ends the program with exit code 64 and a message on stderr when the line makes no sense, with 0 after --help. */
void options_read(struct options *options, int argc, char **argv);

#endif
