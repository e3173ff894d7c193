/* agent/mqtt_client/client_connect.c: how a client gets a connection and keeps one: every server, every address, the MQTT
 * versions that are allowed. Driven by events and by time, on the client's thread; nothing here waits but client_disconnect. */
#include "agent/mqtt_client/client_parts.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"

static const int64_t open_grace_ns = 5 * NS_PER_S, close_wait_ns = 2 * NS_PER_S, first_pause_ns = 250 * NS_PER_MS,
                     longest_pause_ns = 5 * NS_PER_S, steady_ns = 5 * NS_PER_S, far_ns = 3600 * NS_PER_S,
                     ack_retry_ns = 5 * NS_PER_MS;

static const struct mqtt_server *current_server(const struct mqtt_client *client) {
    return &client->settings.servers[client->server];
}

/* ---- one candidate: a server, a version, an address ---------------------------------------------------------------- */

/* The new one is there before the old one goes: with its last client Paho ends its threads, which takes a while. */
static bool renew(struct mqtt_client *client, struct err *err) {
    const struct connection_terms terms = {
        .version = client->version,
        .client_id = client->options->client_id,
        .clean = !client->options->keep_session,
        .extras = &client->extras,
    };
    struct connection *old = client->connection;

    client->connection = connection_new(&client->settings, current_server(client), &terms, &client->hooks, err);
    client->connection_number++;
    client_forget_requests(client);
    connection_free(old);
    return client->connection != NULL;
}

static bool is_usable(const struct mqtt_client *client) {
    return client->connection != NULL && connection_server(client->connection) == current_server(client) &&
           connection_version(client->connection) == client->version;
}

static void rest(struct mqtt_client *client, int64_t until_ns) {
    client->phase = CLIENT_RESTING;
    client->due_ns = until_ns;
}

static void fail_with(struct mqtt_client *client, enum connection_failure_kind kind, const char *words) {
    client->failure.kind = kind;
    snprintf(client->failure.text, sizeof client->failure.text, "%s", words);
}

static void note_failure(struct mqtt_client *client, const struct connection_failure *failure);

/* False with client->failure. */
static bool begin_lookup(struct mqtt_client *client) {
    struct err err = ERR_INIT;

    if (!is_usable(client) && !renew(client, &err)) {
        fail_with(client, FAILED_BROKER, err.text);
        return false;
    }
    client->lookup = lookup_start(current_server(client)->host, client->queue.wake_fd);
    client->phase = CLIENT_LOOKING_UP;
    client->due_ns = clock_mono_ns() + client->source_options.connection_timeout_ns;
    if (client->lookup == NULL)
        fail_with(client, FAILED_NAME, "no memory to look the host up");
    return client->lookup != NULL;
}

static bool open_address(struct mqtt_client *client) {
    struct connection_failure failure;

    client->phase = CLIENT_OPENING;
    client->due_ns = clock_mono_ns() + client->source_options.connection_timeout_ns + open_grace_ns;
    if (connection_open(client->connection, client->address, client->keepalive_s, &failure))
        return true;
    note_failure(client, &failure);
    return false;
}

/* ---- from one candidate to the next -------------------------------------------------------------------------------- */

/* How far a connect got: of a host's addresses, what the one that got furthest says is the reason. */
static int reached(enum connection_failure_kind kind) {
    switch (kind) {
    case FAILED_NAME:
        return 0;
    case FAILED_NETWORK:
        return 1;
    case FAILED_TIMEOUT:
        return 2;
    default:
        return 3;
    }
}

static void note_failure(struct mqtt_client *client, const struct connection_failure *failure) {
    if (client->address == 0 || reached(failure->kind) > reached(client->failure.kind))
        client->failure = *failure;
}

static void note_why(struct mqtt_client *client) {
    size_t used = strlen(client->why);

    snprintf(client->why + used, sizeof client->why - used, "%s%s: %s", used > 0 ? "; " : "", current_server(client)->shown,
             client->failure.text);
}

static int64_t pause_after(unsigned failures) {
    int64_t pause = first_pause_ns;

    for (unsigned i = 1; i < failures && pause < longest_pause_ns; i++)
        pause *= 2;
    return pause < longest_pause_ns ? pause : longest_pause_ns;
}

static bool end_round(struct mqtt_client *client, struct mqtt_client_event *event) {
    client->failures++;
    rest(client, clock_mono_ns() + pause_after(client->failures));
    *event = (struct mqtt_client_event){
        .kind = MQTT_CLIENT_FAILED,
        .server = current_server(client)->shown,
        .text = client->why,
        .failure = client->failure.kind,
        .final = client->failure.kind == FAILED_CREDENTIALS || client->failure.kind == FAILED_VERSION,
    };
    return true;
}

/* After a failure of the connect: the same broker will say the same at another address. */
static bool is_the_brokers_word(enum connection_failure_kind kind) {
    return kind == FAILED_CREDENTIALS || kind == FAILED_VERSION || kind == FAILED_BROKER;
}

/* Old brokers refuse MQTT 5 with words, or close. */
static bool may_be_too_new(const struct mqtt_client *client) {
    return client->options->version == 0 && client->version == 5 &&
           (client->failure.kind == FAILED_VERSION || client->failure.kind == FAILED_CLOSED);
}

static int first_version(const struct mqtt_client *client) {
    return client->options->version != 0 ? client->options->version : 5;
}

/* The candidate has failed: the next address, version or server; when there is none left, a rest and an event. */
static bool next_candidate(struct mqtt_client *client, struct mqtt_client_event *event) {
    for (;;) {
        bool same_broker = is_the_brokers_word(client->failure.kind);
        if (client->phase == CLIENT_OPENING && !same_broker && ++client->address < client->address_count) {
            if (open_address(client))
                return false;
            continue;
        }
        if (may_be_too_new(client)) {
            client->version = 4;
        } else {
            note_why(client);
            client->version = first_version(client);
            if (client->server + 1 == client->settings.server_count)
                return end_round(client, event);
            client->server++;
        }
        if (begin_lookup(client))
            return false;
    }
}

static bool begin_round(struct mqtt_client *client, struct mqtt_client_event *event) {
    client->why[0] = '\0';
    client->server = 0;
    client->version = first_version(client);
    return begin_lookup(client) ? false : next_candidate(client, event);
}

static bool end_lookup(struct mqtt_client *client, struct mqtt_client_event *event) {
    char addresses[LOOKUP_ADDRESSES_MAX][64];
    bool done = lookup_done(client->lookup, addresses, &client->address_count, client->failure.text,
                            sizeof client->failure.text);

    if (!done && clock_mono_ns() < client->due_ns)
        return false;
    lookup_free(client->lookup);
    client->lookup = NULL;
    if (!done)
        fail_with(client, FAILED_NAME, "the name server does not answer");
    if (!done || client->address_count == 0) {
        client->failure.kind = FAILED_NAME;
        return next_candidate(client, event);
    }
    connection_set_addresses(client->connection, addresses, client->address_count);
    client->address = 0;
    return open_address(client) ? false : next_candidate(client, event);
}

/* ---- connected ----------------------------------------------------------------------------------------------------- */

/* Paho 1.3.12 does not know that the broker's word on the keep alive counts (MQTT 5, 3.2.2.3.14). */
static bool wants_lower_keepalive(struct mqtt_client *client) {
    unsigned wanted = client->accepted.keepalive_s;

    if (wanted == 0 || wanted >= client->keepalive_s || !connection_close(client->connection))
        return false;
    client->keepalive_s = wanted;
    client->phase = CLIENT_CLOSING;
    client->due_ns = clock_mono_ns() + close_wait_ns;
    return true;
}

static bool note_accepted(struct mqtt_client *client, const struct connection_accepted *how, struct mqtt_client_event *event) {
    connection_opened(client->connection);
    client->accepted = *how;
    if (wants_lower_keepalive(client))
        return false;
    client->phase = CLIENT_UP;
    client->due_ns = clock_mono_ns() + far_ns;
    client->up_since_ns = clock_mono_ns();
    client->alias_known = false;
    client_send_pending(client);
    *event = (struct mqtt_client_event){ .kind = MQTT_CLIENT_CONNECTED,
                                         .server = current_server(client)->shown,
                                         .version = client->version,
                                         .session_present = how->session_present,
                                         .alias_maximum = how->alias_maximum };
    return true;
}

/* Reasons of a DISCONNECT (MQTT 5, 3.14.2.1) that lie in our packets, so that the next connection would end the same way. */
static bool is_our_fault(int code) {
    static const int codes[] = { 0x81, 0x82, 0x87, 0x90, 0x93, 0x94, 0x95, 0x99, 0x9a, 0x9b, 0x9e, 0xa1, 0xa2 };

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i] == code)
            return true;
    return false;
}

static bool note_lost(struct mqtt_client *client, const char *why, int code, struct mqtt_client_event *event) {
    struct err err = ERR_INIT;
    bool was_up = client->phase == CLIENT_UP;

    if (!was_up && client->phase != CLIENT_CLOSING)
        return false;
    if (was_up && clock_mono_ns() - client->up_since_ns >= steady_ns)
        client->failures = 0;
    /*
     * A session that ends with the connection leaves nothing in Paho that would be of use. Of a kept one Paho has packet
     * identifiers that the broker remembers, too.
     */
    if (!client->options->keep_session && !renew(client, &err))
        fail_with(client, FAILED_BROKER, err.text);
    /* At once, and after a growing pause when connections do not last. */
    rest(client, clock_mono_ns() + (client->failures > 0 ? pause_after(client->failures) : 0));
    client->failures += was_up;
    if (!was_up)
        return false;
    snprintf(client->lost, sizeof client->lost, "%s", why);
    *event = (struct mqtt_client_event){
        .kind = MQTT_CLIENT_LOST, .server = current_server(client)->shown, .text = client->lost, .final = is_our_fault(code)
    };
    return true;
}

static bool note_failed(struct mqtt_client *client, const struct connection_failure *failure, struct mqtt_client_event *event) {
    connection_opened(client->connection);
    if (client->phase != CLIENT_OPENING)
        return false;
    note_failure(client, failure);
    if (failure->kind == FAILED_TIMEOUT && client->failure.kind == FAILED_TIMEOUT)
        snprintf(client->failure.text, sizeof client->failure.text, "no answer within %d s",
                 (int)(client->source_options.connection_timeout_ns / NS_PER_S));
    return next_candidate(client, event);
}

bool client_note(struct mqtt_client *client, const struct queued *queued, struct mqtt_client_event *event) {
    if (queued->connection != client->connection)
        return false; /* of one that has been replaced */
    switch (queued->kind) {
    case QUEUED_ACCEPTED:
        return client->phase == CLIENT_OPENING && note_accepted(client, &queued->as.accepted, event);
    case QUEUED_FAILED:
        return note_failed(client, &queued->as.failure, event);
    case QUEUED_LOST:
        return note_lost(client, queued->as.lost.why, queued->as.lost.code, event);
    case QUEUED_CLOSED:
        if (client->phase == CLIENT_CLOSING)
            rest(client, clock_mono_ns());
        return false;
    default:
        return false;
    }
}

/* ---- what time brings ---------------------------------------------------------------------------------------------- */

/* Paho never said how it ended: its client is not to be trusted any more. */
static bool give_up_opening(struct mqtt_client *client, struct mqtt_client_event *event) {
    struct err err = ERR_INIT;

    connection_opened(client->connection);
    fail_with(client, FAILED_TIMEOUT, "no answer");
    if (!renew(client, &err))
        fail_with(client, FAILED_BROKER, err.text);
    client->address = client->address_count; /* they belonged to the old connection */
    return next_candidate(client, event);
}

static void look_after_connection(struct mqtt_client *client) {
    if (client_queue_should_resume(&client->queue)) {
        connection_lock();
        connection_pause(client->connection, false);
        connection_unlock();
    }
    if (client->acks_waiting)
        client->acks_waiting = !client_queue_acknowledge(&client->queue, client->connection, client->written_sequence);
    client->due_ns = clock_mono_ns() + (client->acks_waiting ? ack_retry_ns : far_ns);
}

bool client_advance(struct mqtt_client *client, struct mqtt_client_event *event) {
    bool due = clock_mono_ns() >= client->due_ns;

    switch (client->phase) {
    case CLIENT_RESTING:
        return due && begin_round(client, event);
    case CLIENT_LOOKING_UP:
        return end_lookup(client, event);
    case CLIENT_OPENING:
        return due && give_up_opening(client, event);
    case CLIENT_CLOSING:
        return due && note_lost(client, "", 0, event);
    case CLIENT_UP:
        look_after_connection(client);
        return false;
    }
    return false;
}

/* ---- leaving ------------------------------------------------------------------------------------------------------- */

static void wait_until_closed(struct mqtt_client *client, int64_t deadline_ns) {
    struct pollfd wake = { .fd = client->queue.wake_fd, .events = POLLIN };
    bool closed = false;

    while (!closed && clock_mono_ns() < deadline_ns) {
        struct queued *queued;
        poll(&wake, 1, (int)((deadline_ns - clock_mono_ns()) / NS_PER_MS) + 1);
        while ((queued = client_queue_take(&client->queue)) != NULL) {
            closed = closed || queued->kind == QUEUED_CLOSED || queued->kind == QUEUED_LOST;
            free(queued);
        }
    }
}

void client_disconnect(struct mqtt_client *client) {
    int64_t deadline = clock_mono_ns() + close_wait_ns;

    if (client->phase != CLIENT_UP || !connection_close(client->connection))
        return;
    wait_until_closed(client, deadline);
    connection_linger(client->connection, (int)(close_wait_ns / NS_PER_MS));
}
