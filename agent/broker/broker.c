/* agent/broker/broker.c: the broker's life: made, started, its rounds and timers, stopped. */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>

#include "agent/broker/parts.h"

enum { INPUTS_MAX = 64, RECEIVER_IDS_MAX = 16 * 1024 * 1024 };

/* ---- figures that go up and down ----------------------------------------------------------------------------------- */

void broker_count_up(metric_counter *gauge) {
    metric_add(gauge, 1);
}

void broker_count_down(metric_counter *gauge) {
    metric_add(gauge, UINT64_MAX);
}

bool broker_may_hold(const struct broker *broker, uint64_t bytes) {
    uint64_t limit = broker->settings->memory_limit;

    return limit == 0 || broker->held_bytes + retained_bytes(broker->retained) + bytes <= limit;
}

/* ---- rounds -------------------------------------------------------------------------------------------------------- */

static void on_round(evutil_socket_t fd, short what, void *ctx) {
    struct broker *broker = ctx;

    (void)fd;
    (void)what;
    broker->round_ends = false;
    connection_end_late_ones(broker);
    if (broker->store != NULL)
        store_hand_over(broker->store);
    connection_free_dead(broker);
}

void broker_round(struct broker *broker) {
    if (broker->round_ends || broker->round == NULL)
        return;
    broker->round_ends = true;
    event_active(broker->round, EV_TIMEOUT, 0);
}

/* Not in this pass of the loop, or sockets would have to wait. */
void broker_continue(struct broker *broker, struct session *session) {
    const struct timeval now = { 0, 0 };

    if (session->continued)
        return;
    session->continued = true;
    session->next_continued = broker->continued;
    broker->continued = session;
    event_add(broker->continue_timer, &now);
}

void broker_discontinue(struct broker *broker, struct session *session) {
    struct session **link = &broker->continued;

    if (!session->continued)
        return;
    while (*link != session)
        link = &(*link)->next_continued;
    *link = session->next_continued;
    session->continued = false;
}

/* Nobody is freed meanwhile: what ends a connection here takes effect in the next round. */
static void on_continue(evutil_socket_t fd, short what, void *ctx) {
    struct broker *broker = ctx;
    struct session *list = broker->continued;

    (void)fd;
    (void)what;
    broker->continued = NULL;
    for (struct session *session = list, *next; session != NULL; session = next) {
        next = session->next_continued;
        session->continued = false;
        retain_go_on(session);
    }
    broker_round(broker);
}

/* ---- timers -------------------------------------------------------------------------------------------------------- */

#define OWNER(entry, type) ((type *)(void *)((char *)(entry) - offsetof(type, timer)))

/* None of them is blocked again before the next round: that is when transports offer what they kept. */
static void unblock(struct broker *broker) {
    while (broker->blocked != NULL) {
        struct connection *connection = broker->blocked;
        connection_unblock(connection);
        connection_resume(connection);
    }
}

/* Said when it begins, from time to time while it lasts, and when it has ended. */
static void watch_store(struct broker *broker) {
    struct err why = ERR_INIT;

    if (broker->store == NULL)
        return;
    if (store_degraded(broker->store, &why))
        complain(&broker->store_trouble, LOG_ERROR, "BROKER-DISK", "the broker's state cannot be written, so nothing of it is acknowledged: %s", why.text);
    else if (complaint_end(&broker->store_trouble))
        log_info("BROKER-DISK-FINE", "the broker's state in %s is written again", broker->settings->persistence.directory);
    if (store_is_full(broker->store))
        complain(&broker->full_trouble, LOG_ERROR, "BROKER-STORE-FULL",
                 "the broker's state in %s has reached persistence.max_bytes, or waits for the disk: messages for sessions that are away, retained and "
                 "delayed ones are refused (MQTT 5) or wait (3.x)", broker->settings->persistence.directory);
    else if (complaint_end(&broker->full_trouble))
        log_info("BROKER-STORE-ROOM", "the broker's state in %s has room again", broker->settings->persistence.directory);
}

static void on_tick(void *ctx) {
    struct broker *broker = ctx;
    int64_t now_ns = clock_mono_ns();
    struct wheel_entry *entry;

    if (!broker->taking)
        return;
    while ((entry = wheel_take_due(&broker->wheel, now_ns)) != NULL)
        connection_on_timer(OWNER(entry, struct connection), now_ns);
    while ((entry = wheel_take_due(&broker->session_wheel, now_ns)) != NULL)
        session_on_timer(OWNER(entry, struct session), now_ns);
    retain_sweep(broker);
    sys_topics_tick(broker, now_ns);
    watch_store(broker);
    unblock(broker);
    broker_round(broker);
}

static void on_delayed(evutil_socket_t fd, short what, void *ctx) {
    struct broker *broker = ctx;

    (void)fd;
    (void)what;
    if (broker->taking)
        delayed_publish_due(broker, clock_real_ns());
}

/* The clock may be set meanwhile, so a far one is looked at again every minute. */
void broker_schedule_delayed(struct broker *broker) {
    int64_t due_ns = delayed_next_ns(broker), wait_ns = due_ns - clock_real_ns();
    const int64_t minute_ns = 60 * NS_PER_S;
    struct timeval wait;

    if (broker->delayed_timer == NULL)
        return;
    if (due_ns == 0) {
        event_del(broker->delayed_timer);
        return;
    }
    wait_ns = wait_ns < 0 ? 0 : wait_ns > minute_ns ? minute_ns : wait_ns;
    wait = (struct timeval){ .tv_sec = wait_ns / NS_PER_S, .tv_usec = wait_ns % NS_PER_S / NS_PER_US };
    event_add(broker->delayed_timer, &wait);
}

/* ---- what became durable ------------------------------------------------------------------------------------------- */

static void on_store_durable(void *ctx, uint64_t ticket) {
    struct broker *broker = ctx;

    broker->store_durable = ticket;
    answers_flush(broker);
    broker_round(broker);
}

static void on_spool_durable(void *ctx) {
    struct broker *broker = ctx;

    atomic_store(&broker->spool_told, false);
    answers_flush(broker);
    unblock(broker);
    broker_round(broker);
}

void broker_durable(struct broker *broker, uint64_t sequence) {
    uint64_t before = atomic_load_explicit(&broker->spool_durable, memory_order_relaxed);

    while (sequence > before && !atomic_compare_exchange_weak(&broker->spool_durable, &before, sequence))
        continue;
    if (!atomic_exchange(&broker->spool_told, true) && !loop_post(broker->loop, on_spool_durable, broker))
        atomic_store(&broker->spool_told, false);
}

/* ---- birth --------------------------------------------------------------------------------------------------------- */

/* A file that cannot be opened is a complaint about the line that names it; what is in it, about its own lines. */
static bool can_open(const char *path, const struct yaml_node *map, const char *key, const char *remedy, struct diags *diags) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        diag_add(diags, cfg_at(map, key), "broker: %s: cannot open %s: %s; %s", key, path, strerror(errno),
                 errno == EACCES ? "the user that heliograf runs as must be able to read it" : remedy);
    else
        close(fd);
    return fd >= 0;
}

static bool load_security(struct broker *broker, const struct yaml_node *map, struct diags *diags) {
    const struct broker_settings *settings = broker->settings;
    size_t errors = diags->errors;

    if (settings->password_file[0] != '\0' &&
        can_open(settings->password_file, map, "password_file", "`heliograf passwd -c FILE USER` makes one", diags))
        broker->passwords = passwords_load(settings->password_file, diags);
    if (settings->acl_file[0] != '\0' && can_open(settings->acl_file, map, "acl_file", "an empty file denies everything; rules may also stand under acl:", diags))
        broker->acl = acl_load(settings->acl_file, diags);
    else if (settings->acl.items != NULL)
        broker->acl = acl_from_rules(&settings->acl, diags);
    return diags->errors == errors;
}

static bool make_parts(struct broker *broker) {
    const struct retained_limits limits = { .count = (size_t)broker->settings->max_retained_messages,
                                            .bytes = broker->settings->max_retained_bytes };

    broker->tree = topic_tree_new();
    broker->retained = retained_new(&limits);
    return broker->tree != NULL && broker->retained != NULL && sessions_init(broker);
}

struct broker *broker_new(const void *options, const struct yaml_node *map, struct diags *diags) {
    struct broker *broker = calloc(1, sizeof *broker);
    size_t errors = diags->errors;

    if (broker == NULL)
        return NULL;
    broker->settings = options;
    broker->started_ns = clock_real_ns();
    broker->assigned_ids = (uint64_t)clock_real_ns() ^ (uint64_t)(uintptr_t)broker;
    buf_init(&broker->receiver_ids, RECEIVER_IDS_MAX);
    wheel_init(&broker->wheel, clock_mono_ns());
    wheel_init(&broker->session_wheel, clock_mono_ns());
    if (broker_settings_check(broker->settings, map, diags) && load_security(broker, map, diags) && make_parts(broker))
        return broker;
    if (diags->errors == errors)
        diag_add(diags, cfg_at(map, "listeners"), "broker: no memory");
    broker_free(broker);
    return NULL;
}

/* ---- inputs of this process ----------------------------------------------------------------------------------------- */

/* `$share/group/filter` is one for the group, as for any client. */
static bool subscribe_input(struct broker *broker, struct input *input, struct str filter, struct err *err) {
    const struct subscription_terms terms = { .qos = input->terms.qos };
    struct str share = STR_EMPTY, topics = filter;

    if (str_starts_with(filter, STR("$share/"))) {
        topics = str_make(filter.data + strlen("$share/"), filter.len - strlen("$share/"));
        share = str_split(&topics, '/');
    }
    if (topic_tree_add(broker->tree, topics, share, input, &terms) == TOPIC_TREE_NO_MEMORY)
        return err_set(err, ERR_LIMIT, "no memory for the subscription of input %s", input->terms.name);
    return true;
}

bool broker_add_input(struct broker *broker, const struct broker_input *terms, struct err *err) {
    struct input *input;

    if (broker->input_count == INPUTS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d inputs read from the embedded broker", INPUTS_MAX);
    input = calloc(1, sizeof *input);
    if (input == NULL)
        return err_set(err, ERR_LIMIT, "no memory for input %s", terms->name);
    input->subscriber.kind = SUBSCRIBER_INPUT;
    input->terms = *terms;
    input->number = (unsigned)broker->input_count++;
    input->next = broker->inputs;
    broker->inputs = input;
    for (size_t i = 0; i < terms->filters->count; i++)
        if (!subscribe_input(broker, input, str_of(terms->filters->items[i]), err))
            return false;
    return true;
}

void broker_set_presence(struct broker *broker, struct message_sink sink) {
    broker->presence = sink;
}

void broker_remember(struct broker *broker, const struct message_origin *origins, size_t count) {
    for (size_t i = 0; i < count; i++)
        remembered_add(&broker->remembered, origins[i], false);
}

/* An input that wants retained messages gets those that were there before it. */
static void give_retained(struct broker *broker) {
    for (struct input *input = broker->inputs; input != NULL; input = input->next)
        for (size_t i = 0; input->terms.retained == BROKER_RETAINED_ONLY && i < input->terms.filters->count; i++) {
            struct str filter = str_of(input->terms.filters->items[i]);
            if (!str_starts_with(filter, STR("$share/")))
                retain_give_input(broker, input, filter);
        }
}

/* ---- start --------------------------------------------------------------------------------------------------------- */

static bool make_events(struct broker *broker, struct err *err) {
    struct event_base *base = loop_base(broker->loop);

    broker->round = event_new(base, -1, 0, on_round, broker);
    broker->continue_timer = event_new(base, -1, 0, on_continue, broker);
    broker->delayed_timer = event_new(base, -1, 0, on_delayed, broker);
    broker->ticks = loop_every(broker->loop, WHEEL_SLOT_MS * NS_PER_MS, on_tick, broker);
    if (broker->round == NULL || broker->continue_timer == NULL || broker->delayed_timer == NULL || broker->ticks == NULL)
        return err_set(err, ERR_LIMIT, "no memory for the broker's timers");
    return true;
}

static bool open_listeners(struct broker *broker, struct err *err) {
    const struct listener_hooks hooks = { .ctx = broker, .accepted = connection_accept };
    const struct cfg_objects *wanted = &broker->settings->listeners;
    const struct listener_options *options = wanted->items;

    broker->transports = transports_new(loop_base(broker->loop), err);
    if (broker->transports == NULL)
        return false;
    broker->listeners = calloc(wanted->count, sizeof *broker->listeners);
    if (broker->listeners == NULL)
        return err_set(err, ERR_LIMIT, "no memory for the broker's listeners");
    for (size_t i = 0; i < wanted->count; i++) {
        struct listener *listener = listener_new(&options[i], broker->transports, &hooks, err);
        if (listener == NULL)
            return false;
        broker->listeners[broker->listener_count++] = listener;
        log_info("BROKER-LISTENING", "MQTT%s%s on %s", options[i].protocol == LISTENER_WEBSOCKET ? " over WebSocket" : "",
                 options[i].has_tls ? " with TLS" : "", options[i].address);
    }
    return true;
}

bool broker_start(struct broker *broker, struct loop *loop, struct err *err) {
    broker->loop = loop;
    broker->logins = logins_new(loop);
    if (broker->logins == NULL)
        return err_set(err, ERR_LIMIT, "no memory for the broker");
    if (!restore_state(broker, err) || !sys_topics_init(broker) || !make_events(broker, err))
        return false;
    if (broker->store != NULL && !store_start(broker->store, loop, on_store_durable, broker, err))
        return false;
    broker->taking = true;
    give_retained(broker);
    broker_schedule_delayed(broker);
    broker->started = open_listeners(broker, err);
    return broker->started;
}

/* ---- stop ---------------------------------------------------------------------------------------------------------- */

struct errand {
    struct broker *broker;
    sem_t done;
    int64_t timeout_ns;
    bool fine;
};

/* Runs `call` on the loop's thread and waits for it. */
static bool on_loop(struct broker *broker, void (*call)(void *errand), int64_t timeout_ns) {
    struct errand errand = { .broker = broker, .timeout_ns = timeout_ns };

    sem_init(&errand.done, 0, 0);
    if (loop_post(broker->loop, call, &errand))
        while (sem_wait(&errand.done) != 0 && errno == EINTR)
            continue;
    sem_destroy(&errand.done);
    return errand.fine;
}

static void stop_taking_now(void *ctx) {
    struct errand *errand = ctx;
    struct broker *broker = errand->broker;

    broker->taking = false;
    for (size_t i = 0; i < broker->listener_count; i++)
        listener_pause(broker->listeners[i], true);
    for (struct connection *connection = broker->connections; connection != NULL; connection = connection->next)
        if (connection->transport != NULL) {
            transport_pause(connection->transport);
            presence_disconnected(connection, END_SHUTDOWN); /* nothing is taken from us when it really ends */
        }
    sem_post(&errand->done);
}

void broker_stop_taking(struct broker *broker) {
    if (broker->started)
        on_loop(broker, stop_taking_now, 0);
}

static void end_all(void *ctx) {
    struct errand *errand = ctx;
    struct broker *broker = errand->broker;

    answers_flush(broker);
    for (struct connection *connection = broker->connections; connection != NULL; connection = connection->next)
        connection_end(connection, END_SHUTDOWN, MQTT_SERVER_SHUTTING_DOWN);
    loop_cancel(broker->ticks);
    broker->ticks = NULL;
    event_del(broker->delayed_timer);
    if (broker->store != NULL)
        store_hand_over(broker->store);
    sem_post(&errand->done);
}

static void count_now(void *ctx) {
    struct errand *errand = ctx;

    errand->broker->open = transports_lingering(errand->broker->transports);
    sem_post(&errand->done);
}

static void stop_store_now(void *ctx) {
    struct errand *errand = ctx;

    errand->fine = store_stop(errand->broker->store, errand->timeout_ns);
    sem_post(&errand->done);
}

void broker_stop(struct broker *broker, int64_t timeout_ns) {
    int64_t until_ns = clock_mono_ns() + timeout_ns;

    if (!broker->started)
        return;
    broker->started = false;
    on_loop(broker, end_all, 0);
    do { /* the last packets are on their way */
        on_loop(broker, count_now, 0);
        if (broker->open > 0)
            nanosleep(&(struct timespec){ 0, 5 * NS_PER_MS }, NULL);
    } while (broker->open > 0 && clock_mono_ns() < until_ns);
    if (broker->store != NULL && !on_loop(broker, stop_store_now, timeout_ns))
        log_error("BROKER-STORE", "the last changes of the broker's state could not be written");
}

static void free_event(struct event *event) {
    if (event != NULL)
        event_free(event);
}

void broker_free(struct broker *broker) {
    if (broker == NULL)
        return;
    for (size_t i = 0; i < broker->listener_count; i++)
        listener_free(broker->listeners[i]);
    free(broker->listeners);
    logins_free(broker->logins);
    free_event(broker->round);
    free_event(broker->continue_timer);
    free_event(broker->delayed_timer);
    broker->round = broker->continue_timer = broker->delayed_timer = NULL;
    loop_cancel(broker->ticks);
    connection_free_all(broker);
    transports_free(broker->transports);
    sys_topics_release(broker);
    if (broker->buckets != NULL)
        sessions_release(broker);
    delayed_release(broker);
    broker_store_close(broker->store);
    retained_free(broker->retained);
    topic_tree_free(broker->tree);
    while (broker->inputs != NULL) {
        struct input *input = broker->inputs;
        broker->inputs = input->next;
        free(input);
    }
    passwords_unref(broker->passwords);
    acl_unref(broker->acl);
    free(broker->receivers);
    buf_release(&broker->receiver_ids);
    remembered_release(&broker->remembered);
    free(broker);
}

/* ---- again --------------------------------------------------------------------------------------------------------- */

/* What cannot be read whole changes nothing. */
static bool report_diags(struct diags *diags, const char *what, struct buf *report) {
    bool fine = diags->errors == 0;

    for (size_t i = 0; i < diags->count; i++)
        buf_printf(report, "%s:%u: %s\n", diags->items[i].at.file, diags->items[i].at.line, diags->items[i].text);
    if (!fine)
        buf_printf(report, "the %s stay as they were\n", what);
    diags_release(diags);
    return fine;
}

static bool reload_passwords(struct broker *broker, struct buf *report) {
    struct diags diags = { 0 };
    struct passwords *passwords;

    if (broker->settings->password_file[0] == '\0')
        return true;
    passwords = passwords_load(broker->settings->password_file, &diags);
    if (passwords != NULL) {
        passwords_unref(broker->passwords);
        broker->passwords = passwords;
    }
    return report_diags(&diags, "users and passwords", report);
}

static bool reload_acl(struct broker *broker, struct buf *report) {
    struct diags diags = { 0 };
    struct acl *acl;

    if (broker->settings->acl_file[0] == '\0')
        return true;
    acl = acl_load(broker->settings->acl_file, &diags);
    if (acl != NULL) {
        acl_unref(broker->acl);
        broker->acl = acl;
    }
    return report_diags(&diags, "access rules", report);
}

bool broker_reload(struct broker *broker, struct buf *report) {
    bool fine = reload_passwords(broker, report);

    fine = reload_acl(broker, report) && fine;
    for (size_t i = 0; i < broker->listener_count; i++) {
        struct err err = ERR_INIT;
        if (listener_reload(broker->listeners[i], &err))
            continue;
        buf_printf(report, "certificates: %s; the old ones stay in use\n", err.text);
        fine = false;
    }
    return fine;
}

bool broker_ready(const struct broker *broker, struct buf *why) {
    if (!broker->started)
        buf_printf(why, "broker: not listening\n");
    else
        buf_printf(why, "broker: %llu clients connected\n", (unsigned long long)metric_get(&broker->figures.connected));
    return broker->started;
}
