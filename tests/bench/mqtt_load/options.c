/* tests/bench/mqtt_load/options.c: getopt_long, one case per option. */
#define _GNU_SOURCE
#include "tests/bench/mqtt_load/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: mqtt_load conn|pub|sub [options]\n"
    "One JSON object on stdout, complaints on stderr. Exit 0: done; 1: the broker refused, went away or did not finish in time; 64: usage.\n"
    "\n"
    "  conn  connects, stays -d seconds, leaves: a storm of connects, idle memory and CPU\n"
    "  pub   publishes, and with --subscribers also receives what it published\n"
    "  sub   receives\n"
    "\n"
    "  -h, --host HOST          127.0.0.1\n"
    "  -p, --port PORT          1883\n"
    "  -V, --version 3|4|5      MQTT 3.1, 3.1.1, 5.0 (4)\n"
    "  -u, --username USER      -P, --password PASSWORD\n"
    "  -k, --keepalive S        300\n"
    "  -C, --clean BOOL         false: sessions that stay; give a --prefix, so that the next run has the same client ids (true)\n"
    "      --prefix TEXT        client ids are TEXT-p1, TEXT-s1 and so on (load-PID)\n"
    "      --ifaddr LIST        source addresses, used in turn: 127.0.0.1,127.0.0.2; one carries some 28,000 connections\n"
    "  -c, --count N            clients (1)\n"
    "  -i, --interval MS        between two connects (0: as fast as they are taken)\n"
    "      --pending N          connects that may wait for their CONNACK at a time; 0: all at once (64)\n"
    "  -d, --duration S         of the measured phase, at most (10)\n"
    "      --connect-time S     for all connects together, at most (30)\n"
    "      --drain-time S       for what is still on its way afterwards, at most (10)\n"
    "      --quiet S            pub: nothing received for so long after the last acknowledgement means the rest is lost (1)\n"
    "      --pid PID            the broker's process: its CPU and memory go into the answer\n"
    "\n"
    "  -t, --topic TOPIC        to publish on, or to subscribe to; %i: number of the client, %c: its id (bench/%i; sub: bench/#)\n"
    "  -q, --qos 0|1|2          0\n"
    "  -s, --size BYTES         of a payload (256). It is line protocol with the time it was made in it, if 64 bytes are enough;\n"
    "                           below that the time alone, below 19 no time at all\n"
    "  -F, --inflight N         unacknowledged messages of one client (1)\n"
    "  -L, --limit N            messages of all publishers together, or received by all subscribers together\n"
    "  -I, --interval_of_msg MS between two messages of one client (0)\n"
    "      --rate N             messages/s of all clients together; neither of the two: flat out\n"
    "  -r, --retain             publish retained messages\n"
    "      --subscribers N      pub: so many beside the publishers (0)\n"
    "      --filter FILTER      theirs (bench/#)\n"
    "      --subscriber-qos Q   theirs (as -q)\n"
    "      --stall N            the first N subscribers never read\n"
    "      --slow N             the next N subscribers read slowly\n"
    "      --slow-rate BYTES    a second, each (10000)\n"
    "      --leave              sub: disconnect as soon as subscribed\n";

__attribute__((format(printf, 1, 2), noreturn)) static void refuse(const char *format, ...) {
    va_list arguments;

    fputs("mqtt_load: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputs("; --help shows the options\n", stderr);
    exit(64);
}

static uint64_t whole(const char *name, const char *text, uint64_t least, uint64_t most) {
    char *end;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < least || value > most)
        refuse("%s takes a whole number from %llu to %llu, not '%s'", name, (unsigned long long)least, (unsigned long long)most, text);
    return value;
}

static double positive(const char *name, const char *text, double most) {
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0 && value <= most))
        refuse("%s takes a number from 0 to %g, not '%s'", name, most, text);
    return value;
}

static int64_t seconds(const char *name, const char *text) {
    return (int64_t)(positive(name, text, 1e6) * 1e9);
}

static void read_host(struct options *options, const char *host) {
    const struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found;
    int failure = getaddrinfo(host, NULL, &hints, &found);

    if (failure != 0)
        refuse("host '%s': %s", host, gai_strerror(failure));
    options->broker.sin_addr = ((const struct sockaddr_in *)(const void *)found->ai_addr)->sin_addr;
    freeaddrinfo(found);
}

static void read_sources(struct options *options, const char *list) {
    while (*list != '\0') {
        char text[INET_ADDRSTRLEN + 1];
        size_t len = strcspn(list, ",");
        if (options->source_count == SOURCES_MAX)
            refuse("--ifaddr takes at most %d addresses", SOURCES_MAX);
        snprintf(text, sizeof text, "%.*s", (int)len, list);
        if (inet_pton(AF_INET, text, &options->sources[options->source_count++]) != 1)
            refuse("--ifaddr: '%.*s' is not an IPv4 address", (int)len, list);
        list += len + (list[len] == ',');
    }
}

static bool truth(const char *name, const char *text) {
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        refuse("%s takes true or false, not '%s'", name, text);
    return text[0] == 't';
}

enum {
    ONLY_LONG = 256, PREFIX, IFADDR, PENDING, CONNECT_TIME, DRAIN_TIME, QUIET, PID, RATE, SUBSCRIBERS, FILTER, SUBSCRIBER_QOS, STALL, SLOW,
    SLOW_RATE, LEAVE, HELP,
};

static const struct option names[] = {
    { "host", 1, NULL, 'h' }, { "port", 1, NULL, 'p' }, { "version", 1, NULL, 'V' }, { "username", 1, NULL, 'u' },
    { "password", 1, NULL, 'P' }, { "keepalive", 1, NULL, 'k' }, { "clean", 1, NULL, 'C' }, { "prefix", 1, NULL, PREFIX },
    { "ifaddr", 1, NULL, IFADDR }, { "count", 1, NULL, 'c' }, { "interval", 1, NULL, 'i' }, { "pending", 1, NULL, PENDING },
    { "duration", 1, NULL, 'd' }, { "connect-time", 1, NULL, CONNECT_TIME }, { "drain-time", 1, NULL, DRAIN_TIME },
    { "quiet", 1, NULL, QUIET }, { "pid", 1, NULL, PID }, { "topic", 1, NULL, 't' }, { "qos", 1, NULL, 'q' }, { "size", 1, NULL, 's' },
    { "inflight", 1, NULL, 'F' }, { "limit", 1, NULL, 'L' }, { "interval_of_msg", 1, NULL, 'I' }, { "rate", 1, NULL, RATE },
    { "retain", 0, NULL, 'r' }, { "subscribers", 1, NULL, SUBSCRIBERS }, { "filter", 1, NULL, FILTER },
    { "subscriber-qos", 1, NULL, SUBSCRIBER_QOS }, { "stall", 1, NULL, STALL }, { "slow", 1, NULL, SLOW },
    { "slow-rate", 1, NULL, SLOW_RATE }, { "leave", 0, NULL, LEAVE }, { "help", 0, NULL, HELP }, { NULL, 0, NULL, 0 },
};

/* What one option alone cannot decide. */
struct raw {
    unsigned count, subscribers, interval_ms;
    int subscriber_qos;
};

static void take(struct options *options, struct raw *raw, int letter, const char *value) {
    switch (letter) {
    case 'h': read_host(options, value); break;
    case 'p': options->broker.sin_port = htons((uint16_t)whole("-p", value, 1, 65535)); break;
    case 'V': options->version = (unsigned)whole("-V", value, 3, 5); break;
    case 'u': options->user = value; break;
    case 'P': options->password = value; break;
    case 'k': options->keep_alive_s = (unsigned)whole("-k", value, 0, 65535); break;
    case 'C': options->clean = truth("-C", value); break;
    case PREFIX: options->prefix = value; break;
    case IFADDR: read_sources(options, value); break;
    case 'c': raw->count = (unsigned)whole("-c", value, 1, CLIENTS_MAX); break;
    case 'i': options->connect_interval_ns = (int64_t)whole("-i", value, 0, 60000) * 1000000; break;
    case PENDING: options->pending = (unsigned)whole("--pending", value, 0, CLIENTS_MAX); break;
    case 'd': options->duration_ns = seconds("-d", value); break;
    case CONNECT_TIME: options->connect_ns = seconds("--connect-time", value); break;
    case DRAIN_TIME: options->drain_ns = seconds("--drain-time", value); break;
    case QUIET: options->quiet_ns = seconds("--quiet", value); break;
    case PID: options->pid = (pid_t)whole("--pid", value, 1, INT32_MAX); break;
    case 't': options->topic = value; break;
    case 'q': options->qos = (unsigned)whole("-q", value, 0, 2); break;
    case 's': options->size = (unsigned)whole("-s", value, 0, PAYLOAD_MAX); break;
    case 'F': options->inflight = (unsigned)whole("-F", value, 1, 65535); break;
    case 'L': options->total = whole("-L", value, 1, UINT64_MAX / 2); break;
    case 'I': raw->interval_ms = (unsigned)whole("-I", value, 0, 3600000); break;
    case RATE: options->rate = positive("--rate", value, 1e7); break;
    case 'r': options->retain = true; break;
    case SUBSCRIBERS: raw->subscribers = (unsigned)whole("--subscribers", value, 0, CLIENTS_MAX); break;
    case FILTER: options->filter = value; break;
    case SUBSCRIBER_QOS: raw->subscriber_qos = (int)whole("--subscriber-qos", value, 0, 2); break;
    case STALL: options->stalled = (unsigned)whole("--stall", value, 0, CLIENTS_MAX); break;
    case SLOW: options->slow = (unsigned)whole("--slow", value, 0, CLIENTS_MAX); break;
    case SLOW_RATE: options->slow_bytes_s = (unsigned)whole("--slow-rate", value, 10, 1000000000); break;
    case LEAVE: options->leave = true; break;
    case HELP: fputs(usage, stdout); exit(0);
    default: fputs("mqtt_load: --help shows the options\n", stderr); exit(64);
    }
}

static enum mode mode_of(const char *name) {
    static const char *const modes[] = { "conn", "pub", "sub" };

    for (int i = 0; i < 3; i++)
        if (strcmp(name, modes[i]) == 0)
            return (enum mode)i;
    refuse("there is no mode '%s'", name);
}

static void settle(struct options *options, const struct raw *raw) {
    if (options->mode == MODE_PUB && raw->interval_ms > 0) {
        if (options->rate > 0)
            refuse("-I and --rate say the same thing");
        options->rate = raw->count * 1000.0 / raw->interval_ms;
    }
    if (options->mode == MODE_CONN)
        options->idlers = raw->count;
    if (options->mode == MODE_PUB) {
        options->publishers = raw->count;
        options->subscribers = raw->subscribers;
    }
    if (options->mode == MODE_SUB) {
        options->subscribers = raw->count;
        options->filter = options->topic != NULL ? options->topic : options->filter;
    }
    if (options->topic == NULL)
        options->topic = "bench/%i";
    options->subscriber_qos = raw->subscriber_qos >= 0 ? (unsigned)raw->subscriber_qos : options->qos;
    if (strlen(options->topic) > 1000 || strlen(options->filter) > 1000 || strlen(options->prefix) > 200)
        refuse("topics of more than 1,000 and prefixes of more than 200 bytes are not for this tool");
    if (options->user != NULL && strlen(options->user) + (options->password != NULL ? strlen(options->password) : 0) > 1000)
        refuse("user and password are too long");
    if (options->stalled + options->slow > options->subscribers)
        refuse("--stall and --slow are more than there are subscribers (%u)", options->subscribers);
    if (options->password != NULL && options->user == NULL && options->version < 5)
        refuse("a password without a user needs -V 5");
}

void options_read(struct options *options, int argc, char **argv) {
    static char prefix[32];
    struct raw raw = { .count = 1, .subscriber_qos = -1 };
    int letter;

    if (argc >= 2 && strcmp(argv[1], "--help") == 0)
        take(options, &raw, HELP, NULL);
    if (argc < 2 || argv[1][0] == '-')
        refuse("the first word is the mode: conn, pub or sub");
    snprintf(prefix, sizeof prefix, "load-%ld", (long)getpid());
    *options = (struct options){
        .mode = mode_of(argv[1]), .mode_name = argv[1],
        .broker = { .sin_family = AF_INET, .sin_port = htons(1883), .sin_addr = { htonl(INADDR_LOOPBACK) } },
        .version = 4, .prefix = prefix, .clean = true, .keep_alive_s = 300, .filter = "bench/#", .inflight = 1, .size = 256, .pending = 64,
        .slow_bytes_s = 10000, .duration_ns = 10000000000, .connect_ns = 30000000000, .drain_ns = 10000000000, .quiet_ns = 1000000000,
    };
    while ((letter = getopt_long(argc - 1, argv + 1, "h:p:V:u:P:k:C:c:i:d:t:q:s:F:L:I:r", names, NULL)) != -1)
        take(options, &raw, letter, optarg);
    if (optind < argc - 1)
        refuse("what is '%s'?", argv[1 + optind]);
    settle(options, &raw);
}
