/*
 * tests/bench/mqtt_load.c: a load generator for MQTT brokers: thousands of clients on one thread with epoll, with emqtt-bench's flag names. It connects all
 * of them, measures what the mode is about, waits for what is on its way, and prints one JSON object. Every phase has a limit in time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tests/bench/mqtt_load/client.h"
#include "tests/bench/mqtt_load/publisher.h"
#include "tests/bench/mqtt_load/report.h"

enum { EVENTS = 512, CONNECTS_AT_A_TIME = 64, FILES_BESIDE = 16, WAIT_MS = 20, HOUSEKEEPING_NS = 100000000, RATE_TICK_LEAST_NS = 50000, RATE_TICK_MOST_NS = 5000000 };

static volatile sig_atomic_t told_to_stop;

static void on_signal(int number) {
    (void)number;
    told_to_stop = 1;
}

struct run {
    struct load load;
    struct story story;
    bool failed;
    int rate_timer;
    unsigned next_publisher;
    int64_t housekept_ns;
};

__attribute__((format(printf, 2, 3))) static void fail(struct run *run, const char *format, ...) {
    va_list arguments;

    fputs("mqtt_load: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    run->failed = true;
}

/* Setting up. */

static void raise_file_limit(unsigned clients) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max >= clients + FILES_BESIDE)
        return;
    fprintf(stderr, "mqtt_load: %u clients need %u open files, and this process may have %llu (ulimit -Hn): raise that limit, or ask for fewer clients\n",
            clients, clients + FILES_BESIDE, (unsigned long long)limit.rlim_max);
    exit(1);
}

static void set_up_clients(struct load *load) {
    const struct options *options = load->options;

    for (unsigned i = 0; i < load->count; i++) {
        struct client *client = &load->clients[i];
        unsigned before = i < options->publishers ? 0 : options->publishers;
        client->fd = -1;
        client->role = i < options->publishers ? ROLE_PUBLISHER : options->subscribers > 0 ? ROLE_SUBSCRIBER : ROLE_IDLE;
        client->number = i - before + 1;
        if (client->role == ROLE_SUBSCRIBER)
            client->reading = client->number <= options->stalled ? READS_NEVER
                              : client->number <= options->stalled + options->slow ? READS_SLOWLY : READS_ALWAYS;
    }
}

static void set_up(struct run *run, const struct options *options) {
    struct load *load = &run->load;
    struct epoll_event event = { .events = EPOLLIN };

    load->options = options;
    load->count = options->publishers + options->subscribers + options->idlers;
    raise_file_limit(load->count);
    load->clients = calloc(load->count, sizeof *load->clients);
    load->inbox = malloc(INBOX);
    load->payload = publisher_payload(options->size);
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    run->rate_timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (load->clients == NULL || load->inbox == NULL || load->payload == NULL || load->epoll < 0 || run->rate_timer < 0 ||
        epoll_ctl(load->epoll, EPOLL_CTL_ADD, run->rate_timer, &event) != 0) {
        perror("mqtt_load");
        exit(1);
    }
    set_up_clients(load);
    if (options->pid != 0 && !process_read(options->pid, &run->story.before)) {
        fprintf(stderr, "mqtt_load: there is no process %ld\n", (long)options->pid);
        exit(1);
    }
    run->story.began_ns = load->now_ns = now_ns();
    run->story.ended_by = "failure";
}

static void tear_down(struct run *run) {
    struct load *load = &run->load;

    for (unsigned i = 0; i < load->count; i++) {
        client_leave(&load->clients[i]);
        free(load->clients[i].topic);
        free(load->clients[i].flights);
    }
    close(run->rate_timer);
    close(load->epoll);
    free(load->clients);
    free(load->inbox);
    free(load->payload);
}

/* The loop. */

/* Once in a tenth of a second: pings where nothing was sent for long, and what the slow ones read. */
static void keep_house(struct run *run) {
    struct load *load = &run->load;
    int64_t silence_ns = load->options->keep_alive_s * INT64_C(750000000);

    if (load->now_ns - run->housekept_ns < HOUSEKEEPING_NS)
        return;
    run->housekept_ns = load->now_ns;
    for (unsigned i = 0; i < load->begun; i++) {
        struct client *client = &load->clients[i];
        if (client->state == CLIENT_READY && silence_ns > 0 && load->now_ns - client->last_sent_ns > silence_ns)
            client_ping(load, client);
        if (client->reading == READS_SLOWLY && client_is_up(client))
            client_read_slowly(load, client, load->options->slow_bytes_s / 10);
    }
}

/* One turn: waits for events, at most `wait_ms`, and handles them. False: told to stop by a signal. */
static bool turn(struct run *run, int wait_ms) {
    struct load *load = &run->load;
    struct epoll_event events[EVENTS];
    int count = epoll_wait(load->epoll, events, EVENTS, wait_ms);
    uint64_t ticks;

    load->now_ns = now_ns();
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr != NULL)
            client_event(load, events[i].data.ptr, events[i].events);
        else
            (void)!read(run->rate_timer, &ticks, sizeof ticks); /* a timer that is not read stands still */
    }
    keep_house(run);
    return !told_to_stop;
}

/* Whether the run has no point any more. A storm of connects goes on and counts. */
static bool is_hopeless(const struct load *load) {
    return load->options->mode != MODE_CONN && load->refused + load->failed + load->lost > 0;
}

static void connect_more(struct run *run) {
    struct load *load = &run->load;
    const struct options *options = load->options;
    int64_t passed_ns = load->now_ns - run->story.began_ns;

    for (int i = 0; i < CONNECTS_AT_A_TIME && load->begun < load->count; i++) {
        unsigned waiting = load->begun - load->up - load->refused - load->failed - load->lost;
        if (options->pending > 0 && waiting >= options->pending)
            return;
        if (options->connect_interval_ns > 0 && passed_ns < options->connect_interval_ns * load->begun)
            return;
        client_connect(load, &load->clients[load->begun++]);
    }
}

static int connect_wait_ms(const struct load *load) {
    if (load->begun == load->count)
        return WAIT_MS;
    return load->options->connect_interval_ns > 0 || load->options->pending > 0 ? 1 : 0;
}

static bool connect_all(struct run *run) {
    struct load *load = &run->load;

    while (load->up + load->slow_lost + load->refused + load->failed + load->lost < load->count) {
        connect_more(run);
        if (!turn(run, connect_wait_ms(load))) {
            run->story.ended_by = "signal";
            return false;
        }
        if (is_hopeless(load))
            return false;
        if (load->now_ns - run->story.began_ns > load->options->connect_ns) {
            fail(run, "%u of %u clients are connected after %.1f s", load->up, load->count, (double)load->options->connect_ns / 1e9);
            return load->options->mode == MODE_CONN;
        }
    }
    return true;
}

static void mark_connected(struct run *run) {
    run->story.connected_ns = run->load.now_ns = now_ns();
    run->story.own_cpu_s = -process_own_cpu_s();
    if (run->load.options->pid != 0)
        process_read(run->load.options->pid, &run->story.connected);
}

/* Publishing. */

static void start_publishing(struct run *run) {
    struct load *load = &run->load;
    int64_t tick_ns = load->options->rate > 0 ? (int64_t)(1e9 / load->options->rate) : 0;

    load->publishing = PUBLISHING_NOW;
    if (load->options->rate > 0) {
        tick_ns = tick_ns < RATE_TICK_LEAST_NS ? RATE_TICK_LEAST_NS : tick_ns > RATE_TICK_MOST_NS ? RATE_TICK_MOST_NS : tick_ns;
        const struct timespec tick = { 0, tick_ns };
        timerfd_settime(run->rate_timer, 0, &(struct itimerspec){ tick, tick }, NULL);
        return;
    }
    for (unsigned i = 0; i < load->options->publishers; i++)
        publisher_fill(load, &load->clients[i]);
}

/* The next publisher in turn that has room; NULL when none has. */
static struct client *next_with_room(struct run *run) {
    struct load *load = &run->load;

    for (unsigned tried = 0; tried < load->options->publishers; tried++) {
        struct client *client = &load->clients[run->next_publisher];
        run->next_publisher = (run->next_publisher + 1) % load->options->publishers;
        if (publisher_may_send(load, client))
            return client;
    }
    return NULL;
}

/* Each message by itself, as devices send them. */
static void publish_due(struct run *run) {
    struct load *load = &run->load;
    uint64_t due = (uint64_t)((double)(load->now_ns - run->story.connected_ns) * load->options->rate / 1e9);

    if (load->options->total > 0 && due > load->options->total)
        due = load->options->total;
    run->story.bursts += load->sent < due;
    while (load->sent < due) {
        struct client *client = next_with_room(run);
        if (due - load->sent > run->story.behind)
            run->story.behind = due - load->sent;
        if (client == NULL)
            return;
        publisher_send(load, client);
        client_flush(load, client);
    }
}

static bool publish_until_limit(struct run *run) {
    struct load *load = &run->load;
    const struct options *options = load->options;

    start_publishing(run);
    for (;;) {
        if (options->rate > 0)
            publish_due(run);
        if (options->total > 0 && load->sent >= options->total) {
            run->story.ended_by = "limit";
            return true;
        }
        if (load->now_ns - run->story.connected_ns >= options->duration_ns) {
            run->story.ended_by = "time";
            if (options->total > 0)
                fail(run, "%llu of %llu messages are sent after %.1f s", (unsigned long long)load->sent, (unsigned long long)options->total,
                     (double)options->duration_ns / 1e9);
            return true;
        }
        if (!turn(run, WAIT_MS)) {
            run->story.ended_by = "signal";
            return true;
        }
        if (is_hopeless(load))
            return false;
    }
}

/* Until the broker has taken all that was sent. */
static bool wait_for_acknowledgements(struct run *run) {
    struct load *load = &run->load;
    int64_t began_ns = load->now_ns;

    load->publishing = PUBLISHING_OVER;
    for (unsigned i = 0; i < load->options->publishers; i++) {
        publisher_finish(load, &load->clients[i]);
        client_flush(load, &load->clients[i]);
    }
    while (load->finished < load->options->publishers) {
        turn(run, WAIT_MS);
        if (is_hopeless(load))
            return false;
        if (load->now_ns - began_ns > load->options->drain_ns) {
            fail(run, "%u of %u publishers still wait for answers after %.1f s", load->options->publishers - load->finished, load->options->publishers,
                 (double)load->options->drain_ns / 1e9);
            return true;
        }
    }
    return true;
}

/* What the healthy subscribers get when each filter takes every message; with $share, or with filters of their own, each message goes to one of them. */
static uint64_t messages_expected(const struct load *load) {
    const struct options *options = load->options;
    unsigned healthy = options->subscribers - options->stalled - options->slow;
    bool one_each = strncmp(options->filter, "$share/", 7) == 0 || strstr(options->filter, "%i") != NULL || strstr(options->filter, "%c") != NULL;

    if (options->mode == MODE_SUB)
        return options->total;
    return load->sent * (one_each && healthy > 0 ? 1 : healthy);
}

static bool wait_for_receipt(struct run *run) {
    struct load *load = &run->load;
    int64_t began_ns = load->now_ns;

    while (load->received < messages_expected(load)) {
        int64_t last_ns = load->last_received_ns > began_ns ? load->last_received_ns : began_ns;
        if (load->now_ns - last_ns > load->options->quiet_ns || load->now_ns - began_ns > load->options->drain_ns)
            return true; /* the rest is lost: the figures say how much */
        turn(run, WAIT_MS);
        if (is_hopeless(load))
            return false;
    }
    return true;
}

static bool run_pub(struct run *run) {
    return publish_until_limit(run) && wait_for_acknowledgements(run) && wait_for_receipt(run);
}

/* The other modes. */

static bool run_sub(struct run *run) {
    struct load *load = &run->load;
    const struct options *options = load->options;

    fputs("mqtt_load: ready\n", stderr);
    while (!options->leave) {
        if (options->total > 0 && load->received >= options->total)
            break;
        if (load->now_ns - run->story.connected_ns >= options->duration_ns) {
            run->story.ended_by = "time";
            if (options->total > 0)
                fail(run, "%llu of %llu messages are received after %.1f s", (unsigned long long)load->received, (unsigned long long)options->total,
                     (double)options->duration_ns / 1e9);
            return true;
        }
        if (!turn(run, WAIT_MS)) {
            run->story.ended_by = "signal";
            return true;
        }
        if (is_hopeless(load))
            return false;
    }
    run->story.ended_by = "limit";
    return true;
}

static bool run_conn(struct run *run) {
    struct load *load = &run->load;

    run->story.ended_by = "time";
    while (load->up > 0 && load->now_ns - run->story.connected_ns < load->options->duration_ns)
        if (!turn(run, WAIT_MS)) {
            run->story.ended_by = "signal";
            break;
        }
    return load->refused + load->failed + load->lost == 0;
}

static void finish(struct run *run) {
    struct story *story = &run->story;
    const struct options *options = run->load.options;

    story->ended_ns = now_ns();
    story->own_cpu_s += process_own_cpu_s();
    story->expected = messages_expected(&run->load);
    if (options->pid != 0 && !process_read(options->pid, &story->after)) {
        fail(run, "the broker's process %ld is gone", (long)options->pid);
        story->after = story->connected;
    }
    report_print(&run->load, story);
}

int main(int argc, char **argv) {
    static bool (*const modes[])(struct run *run) = { [MODE_CONN] = run_conn, [MODE_PUB] = run_pub, [MODE_SUB] = run_sub };
    const struct sigaction action = { .sa_handler = on_signal };
    static struct options options;
    static struct run run;
    bool connected, done;

    options_read(&options, argc, argv);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    set_up(&run, &options);
    connected = connect_all(&run);
    mark_connected(&run);
    done = connected && modes[options.mode](&run);
    finish(&run);
    tear_down(&run);
    return done && !run.failed ? 0 : 1;
}
