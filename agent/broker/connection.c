/* agent/broker/connection.c: one client's connection: packets from bytes, sending, deadlines, the end. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/broker/parts.h"

enum {
    LINGER_MS = 2000,
    HEAD_ON_STACK = 512,
    CONNECT_PACKET_MAX = 256 * 1024, /* of what has not proved to be a client: will, user name and password included */
};

static const char *const reason_names[END_REASONS] = {
    [END_NORMAL] = "normal",          [END_WITH_WILL] = "disconnected_with_will", [END_CLOSED] = "tcp_closed",
    [END_RESET] = "connection_reset", [END_KEEPALIVE] = "keepalive_timeout",      [END_TAKEN_OVER] = "takenover",
    [END_KICKED] = "kicked",          [END_PROTOCOL] = "protocol_error",          [END_NOT_AUTHORIZED] = "not_authorized",
    [END_TOO_SLOW] = "too_slow",      [END_SHUTDOWN] = "server_shutdown",         [END_TIMEOUT] = "timeout",
    [END_LIMIT] = "quota_exceeded",   [END_INTERNAL] = "internal_error",
    [END_UNCLEAN] = "unclean_shutdown",
};

const char *end_reason_name(enum end_reason why) {
    return reason_names[why];
}

/* ---- sending ------------------------------------------------------------------------------------------------------- */

static void hold_publication(void *owner) {
    publication_ref(owner);
}

static void release_publication(void *owner) {
    publication_unref(owner);
}

static const struct transport_references publication_references = { hold_publication, release_publication };

static void count_sent(struct connection *connection, size_t len) {
    metric_add(&connection->broker->figures.packets_sent, 1);
    metric_add(&connection->broker->figures.bytes_sent, len);
}

bool connection_send_bytes(struct connection *connection, const void *bytes, size_t len) {
    const struct transport_piece piece = { .bytes = str_make(bytes, len) };

    if (connection->transport == NULL)
        return false;
    count_sent(connection, len);
    return transport_write(connection->transport, &piece, 1, NULL);
}

bool connection_send(struct connection *connection, const struct mqtt_packet *packet) {
    char small[HEAD_ON_STACK], *bytes = small;
    size_t size = mqtt_encode(packet, &connection->target, small, sizeof small);
    bool sent;

    if (size > sizeof small) {
        bytes = malloc(size);
        if (bytes == NULL)
            return false;
        mqtt_encode(packet, &connection->target, bytes, size);
    }
    sent = size > 0 && connection_send_bytes(connection, bytes, size);
    if (bytes != small)
        free(bytes);
    return sent;
}

/* A number that stands for the topic from now on; 0: none. `known`: the client has had it before. */
static uint16_t alias_for(struct connection *connection, struct str topic, bool *known) {
    struct alias_table *table = connection->aliases_out;

    *known = false;
    if (table == NULL)
        return 0;
    for (uint16_t i = 0; i < table->used; i++)
        if (str_eq(table->topics[i], topic)) {
            *known = true;
            return (uint16_t)(i + 1);
        }
    if (table->used == table->maximum)
        return 0;
    char *copy = malloc(topic.len > 0 ? topic.len : 1);
    if (copy == NULL)
        return 0;
    memcpy(copy, topic.data, topic.len);
    table->topics[table->used++] = str_make(copy, topic.len);
    return table->used;
}

/* The newest one was not told after all. */
static void forget_alias(struct connection *connection) {
    struct alias_table *table = connection->aliases_out;

    free((char *)table->topics[--table->used].data);
    table->topics[table->used] = str_make(NULL, 0); /* nothing to free */
}

/*
 * What it takes to send the message, with an alias where the client takes one. A new alias makes the packet larger: a message that has room only
 * without it is sent without.
 */
static struct mqtt_outline outline_for(struct connection *connection, const struct mqtt_message *message, struct mqtt_delivery *delivery) {
    struct mqtt_outline outline;

    delivery->topic_alias = alias_for(connection, message->topic, &delivery->alias_is_known);
    outline = mqtt_outline(message, delivery);
    if (delivery->topic_alias == 0 || delivery->alias_is_known || (outline.size > 0 && outline.size <= connection->target.max_packet_size))
        return outline;
    forget_alias(connection);
    delivery->topic_alias = 0;
    return mqtt_outline(message, delivery);
}

/* Whole seconds that are left, rounded up: what has not expired has one at least. */
static uint32_t seconds_left(int64_t expires_ns) {
    int64_t left = expires_ns - clock_real_ns();

    return left > 0 ? (uint32_t)((left + NS_PER_S - 1) / NS_PER_S) : 1;
}

static bool write_message(struct connection *connection, const struct mqtt_message *message, struct publication *owner,
                          const struct mqtt_delivery *delivery, const struct mqtt_outline *outline) {
    char small[HEAD_ON_STACK], *head = outline->head <= sizeof small ? small : malloc(outline->head);
    bool written;

    if (head == NULL)
        return false;
    mqtt_write_head(message, delivery, outline, head);
    const struct transport_piece pieces[] = {
        { .bytes = str_make(head, outline->head) },
        { .bytes = outline->shared[0], .owner = owner },
        { .bytes = outline->shared[1], .owner = owner },
    };
    written = transport_write(connection->transport, pieces, 3, &publication_references);
    if (head != small)
        free(head);
    return written;
}

enum send_result connection_send_message(struct connection *connection, const struct mqtt_message *message, struct publication *owner,
                                         int64_t expires_ns, const struct sending *how) {
    struct mqtt_delivery delivery = {
        .version = connection->target.version,
        .qos = how->qos,
        .retain = how->retain,
        .dup = how->dup,
        .packet_id = how->packet_id,
        .expires = expires_ns != 0,
        .message_expiry_s = expires_ns != 0 ? seconds_left(expires_ns) : 0,
        .subscription_ids = how->subscription_ids,
    };
    struct mqtt_outline outline;

    if (connection->transport == NULL)
        return SEND_FULL;
    outline = outline_for(connection, message, &delivery);
    if (outline.size == 0 || outline.size > connection->target.max_packet_size)
        return SEND_TOO_LARGE;
    if (!write_message(connection, message, owner, &delivery, &outline)) {
        if (delivery.topic_alias != 0 && !delivery.alias_is_known)
            forget_alias(connection);
        return SEND_FULL;
    }
    count_sent(connection, outline.size);
    metric_add(&connection->broker->figures.publish_sent, 1);
    metric_add(&connection->broker->figures.publish_bytes_sent, message->payload.len);
    return SEND_DONE;
}

static bool fits_output(const struct connection *connection, size_t bytes) {
    return transport_queued(connection->transport) + bytes <= connection->broker->settings->max_output_bytes;
}

/* A round may bring more than the limit from many publishers: what the kernel takes of it meanwhile is no reason to drop any. */
bool connection_has_room(struct connection *connection, size_t bytes) {
    if (connection->transport == NULL)
        return false;
    if (!fits_output(connection, bytes))
        transport_flush(connection->transport);
    return fits_output(connection, bytes);
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

static void free_aliases(struct alias_table *table) {
    if (table == NULL)
        return;
    for (uint16_t i = 0; i < table->maximum; i++)
        free((char *)table->topics[i].data);
    free(table->topics);
    free(table);
}

static void release_connection(struct connection *connection) {
    struct broker *broker = connection->broker;

    wheel_clear(&broker->wheel, &connection->timer);
    answers_forget(connection);
    free_aliases(connection->aliases_in);
    free_aliases(connection->aliases_out);
    *connection->link = connection->next;
    if (connection->next != NULL)
        connection->next->link = connection->link;
    broker->connection_count--;
    free(connection);
}

/* Whoever is still on the stack may look at a closed connection until the round ends. */
void connection_free_dead(struct broker *broker) {
    for (struct connection *connection = broker->dead, *next; connection != NULL; connection = next) {
        next = connection->next_dead;
        release_connection(connection);
    }
    broker->dead = NULL;
}

void connection_free_all(struct broker *broker) {
    for (struct connection *connection = broker->connections; connection != NULL; connection = connection->next)
        if (connection->transport != NULL) {
            transport_close(connection->transport, 0);
            connection->transport = NULL;
        }
    while (broker->connections != NULL)
        release_connection(broker->connections);
}

static void say_goodbye(struct connection *connection, uint8_t reason) {
    struct mqtt_packet packet = { .type = MQTT_DISCONNECT,
                                  .as.notice = { .reason = reason, .properties = MQTT_PROPERTIES_NONE } };

    if (reason != 0 && connection->state == CONNECTION_UP && connection->target.version == MQTT_5)
        connection_send(connection, &packet);
}

static bool publishes_will(enum end_reason why) {
    return why != END_NORMAL;
}

/*
 * What is left when the bytes have ended, whichever side ended them. One that was to end later is not taken off that list: it stays in memory as long as the list does.
 */
static void bury(struct connection *connection, enum end_reason why) {
    struct broker *broker = connection->broker;
    struct session *session = connection->session;

    connection->transport = NULL;
    connection->state = CONNECTION_CLOSED;
    wheel_clear(&broker->wheel, &connection->timer);
    connection_unblock(connection);
    if (connection->login != NULL)
        login_forget(connection->login);
    connection->login = NULL;
    connection->next_dead = broker->dead;
    broker->dead = connection;
    broker_round(broker);
    if (session == NULL)
        return;
    metric_add(&broker->figures.ended[why], 1);
    broker_count_down(&broker->figures.connected);
    client_event_disconnected(connection, why);
    presence_disconnected(connection, why);
    answers_forget(connection);
    connection->session = NULL;
    session->connection = NULL;
    if (why == END_SHUTDOWN || !broker->taking) { /* inputs take nothing any more */
        session_pause(session);
        return;
    }
    if (!publishes_will(why))
        will_clear(session);
    session_leave(session);
}

/* Another end may come first, e.g. that it is taken over. */
static void end_later(struct connection *connection, enum end_reason why, uint8_t reason) {
    struct broker *broker = connection->broker;

    connection->ends_later = true;
    connection->ends_why = why;
    connection->ends_reason = reason;
    connection->next_ending = broker->ending;
    broker->ending = connection;
    broker_round(broker);
}

void connection_end_late_ones(struct broker *broker) {
    while (broker->ending != NULL) {
        struct connection *connection = broker->ending;
        broker->ending = connection->next_ending;
        connection_end(connection, connection->ends_why, connection->ends_reason);
    }
}

void connection_end(struct connection *connection, enum end_reason why, uint8_t reason) {
    struct transport *transport = connection->transport;

    if (connection->state == CONNECTION_CLOSED)
        return;
    if (connection->broker->giving) {
        if (!connection->ends_later)
            end_later(connection, why, reason);
        return;
    }
    say_goodbye(connection, reason);
    connection->transport = NULL;
    if (transport != NULL)
        transport_close(transport, LINGER_MS);
    bury(connection, why);
}

static const char *shown_client(const struct connection *connection) {
    return connection->session != NULL ? connection->session->client_id : "(not connected yet)";
}

static void report_break(struct connection *connection, enum mqtt_rule rule) {
    metric_add(&connection->broker->figures.protocol_errors, 1);
    complain(&connection->broker->protocol_trouble, LOG_WARN, "BROKER-PROTOCOL", "client %s from %s broke a rule and is disconnected: %s",
             shown_client(connection), transport_peer(connection->transport)->address, mqtt_rule_words(rule));
}

/* A CONNECT that is none is answered as Mosquitto does in any case: clients and their test suites expect silence where it is silent. */
static uint8_t reason_for(const struct connection *connection, enum mqtt_rule rule, enum mqtt_type type, enum mqtt_version version) {
    bool compatible = connection->broker->settings->mosquitto_compat || type == MQTT_CONNECT;

    return compatible ? mqtt_rule_mosquitto(rule, type, version) : mqtt_rule_reason(rule);
}

/* Before CONNECT was accepted, only what is a CONNECT in a version that we know of gets an answer. */
static void break_rule(struct connection *connection, enum mqtt_rule rule, enum mqtt_type type, enum mqtt_version version) {
    uint8_t reason = reason_for(connection, rule, type, version);

    report_break(connection, rule);
    if (connection->state == CONNECTION_NEW && type == MQTT_CONNECT && version != MQTT_UNKNOWN && reason != 0)
        handle_refusal(connection, version, reason);
    else
        connection_end(connection, END_PROTOCOL, reason);
}

void connection_break(struct connection *connection, enum mqtt_rule rule) {
    break_rule(connection, rule, MQTT_PUBLISH, connection->target.version);
}

/* Its silence is ours. */
static bool is_not_read(const struct connection *connection) {
    return connection->blocked || connection->held;
}

/* ---- deadlines ----------------------------------------------------------------------------------------------------- */

static int64_t keep_alive_due(const struct connection *connection) {
    /* One and a half times ([MQTT-3.1.2-22]). */
    return connection->active_ns + (int64_t)connection->keep_alive_s * NS_PER_S * 3 / 2;
}

void connection_schedule(struct connection *connection) {
    const struct broker_settings *settings = connection->broker->settings;
    int64_t due_ns = INT64_MAX;

    if (connection->state == CONNECTION_NEW || connection->state == CONNECTION_CHECKING)
        due_ns = connection->active_ns + settings->connect_timeout_ns;
    else if (connection->keep_alive_s > 0)
        due_ns = keep_alive_due(connection);
    if (connection->packet_since_ns != 0 && connection->packet_since_ns + settings->packet_timeout_ns < due_ns)
        due_ns = connection->packet_since_ns + settings->packet_timeout_ns;
    if (due_ns != INT64_MAX)
        wheel_set(&connection->broker->wheel, &connection->timer, due_ns);
}

/*
 * A client whose packet had to wait for room is not silent until that has been taken: it is unblocked a round of the loop before it is looked at, and on a busy
 * machine this timer may come in between.
 */
void connection_on_timer(struct connection *connection, int64_t now_ns) {
    const struct broker_settings *settings = connection->broker->settings;
    bool up = connection->state == CONNECTION_UP;

    if (!up && connection->active_ns + settings->connect_timeout_ns <= now_ns)
        connection_end(connection, END_TIMEOUT, 0);
    else if (connection->packet_since_ns != 0 && connection->packet_since_ns + settings->packet_timeout_ns <= now_ns)
        connection_end(connection, END_TIMEOUT, MQTT_KEEP_ALIVE_TIMEOUT);
    else if (up && connection->keep_alive_s > 0 && !is_not_read(connection) && !connection->again && keep_alive_due(connection) <= now_ns)
        connection_end(connection, END_KEEPALIVE, MQTT_KEEP_ALIVE_TIMEOUT);
    else
        connection_schedule(connection);
}

/* ---- receiving ----------------------------------------------------------------------------------------------------- */

static void send_pong(struct connection *connection) {
    static const char pong[] = { (char)(MQTT_PINGRESP << 4), 0 };

    connection_send_bytes(connection, pong, sizeof pong);
}

/* False: not now; the packet stays where it is. */
static bool handle(struct connection *connection, const struct mqtt_packet *packet) {
    switch (packet->type) {
    case MQTT_CONNECT:
        return handle_connect(connection, &packet->as.connect);
    case MQTT_PUBLISH:
        return handle_publish(connection, &packet->as.publish);
    case MQTT_PUBREL:
        handle_pubrel(connection, &packet->as.ack);
        return true;
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBCOMP:
        handle_acknowledged(connection, packet->type, &packet->as.ack);
        return true;
    case MQTT_SUBSCRIBE:
        handle_subscribe(connection, &packet->as.subscribe);
        return true;
    case MQTT_UNSUBSCRIBE:
        handle_unsubscribe(connection, &packet->as.subscribe);
        return true;
    case MQTT_PINGREQ:
        send_pong(connection);
        return true;
    case MQTT_DISCONNECT:
        handle_disconnect(connection, &packet->as.notice);
        return true;
    case MQTT_AUTH:
        handle_auth(connection, &packet->as.notice);
        return true;
    default: /* the frame's check lets no others through */
        connection_break(connection, MQTT_RULE_TYPE_UNEXPECTED);
        return true;
    }
}

/* One whole packet. False: it has to wait. */
static bool take_packet(struct connection *connection, struct str bytes) {
    struct mqtt_packet packet;
    enum mqtt_rule rule = mqtt_decode(bytes, &connection->limits, &packet);

    if (rule != MQTT_FINE) {
        break_rule(connection, rule, packet.type,
                   packet.type == MQTT_CONNECT ? packet.as.connect.version : connection->target.version);
        return true;
    }
    if (!handle(connection, &packet))
        return false;
    metric_add(&connection->broker->figures.packets_received, 1);
    metric_add(&connection->broker->figures.bytes_received, bytes.len);
    return true;
}

static void await_rest(struct connection *connection, size_t needed, size_t have, int64_t now_ns) {
    transport_expect(connection->transport, needed);
    connection->expects = true;
    if (have == 0) {
        connection->packet_since_ns = 0;
    } else if (connection->packet_since_ns == 0) {
        connection->packet_since_ns = now_ns;
        connection_schedule(connection);
    }
}

static bool goes_on(const struct connection *connection) {
    return connection->state != CONNECTION_CLOSED && connection->state != CONNECTION_CHECKING && !is_not_read(connection) && !connection->ends_later;
}

/* A QoS 0 PUBLISH: the first four bits are its type, then DUP, QoS and RETAIN. */
static bool wants_answer(struct str packet) {
    return ((unsigned char)packet.data[0] & 0xf6) != MQTT_PUBLISH << 4;
}

static size_t on_received(void *owner, struct str bytes) {
    struct connection *connection = owner;
    struct str rest = bytes;

    connection->active_ns = connection->state == CONNECTION_NEW ? connection->active_ns : clock_mono_ns();
    if (!wants_answer(bytes))
        loop_note_patient(connection->broker->loop);
    while (rest.len > 0 && goes_on(connection)) {
        struct mqtt_frame frame = mqtt_frame(rest, &connection->limits);
        if (frame.state == MQTT_FRAME_BROKEN) {
            break_rule(connection, frame.rule, frame.type, connection->target.version);
            return bytes.len;
        }
        if (frame.state == MQTT_FRAME_MORE) {
            await_rest(connection, frame.size, rest.len, clock_mono_ns());
            return bytes.len - rest.len;
        }
        connection->packet_since_ns = 0;
        if (connection->expects) {
            connection->expects = false;
            transport_expect(connection->transport, 0);
        }
        if (!take_packet(connection, str_make(rest.data, frame.size)))
            break;
        rest = str_make(rest.data + frame.size, rest.len - frame.size);
    }
    return connection->state == CONNECTION_CLOSED ? bytes.len : bytes.len - rest.len;
}

static void on_drained(void *owner) {
    struct connection *connection = owner;

    if (connection->session == NULL)
        return;
    outbox_pump(connection->session);
    retain_go_on(connection->session);
}

static enum end_reason reason_of_end(enum transport_end why) {
    switch (why) {
    case TRANSPORT_CLOSED:
        return END_CLOSED;
    case TRANSPORT_DEADLINE:
        return END_TIMEOUT;
    case TRANSPORT_FULL:
        return END_TOO_SLOW;
    case TRANSPORT_NO_MEMORY:
        return END_INTERNAL;
    default:
        return END_RESET;
    }
}

static void on_ended(void *owner, enum transport_end why, const char *words) {
    struct connection *connection = owner;

    log_debug("BROKER-ENDED", "client %s: %s", shown_client(connection), words);
    bury(connection, reason_of_end(why));
}

static const struct transport_events events = { on_received, on_drained, on_ended };

void connection_block(struct connection *connection) {
    struct connection **head = &connection->broker->blocked;

    connection->blocked = true;
    connection->next_blocked = *head;
    connection->blocked_link = head;
    if (*head != NULL)
        (*head)->blocked_link = &connection->next_blocked;
    *head = connection;
    transport_pause(connection->transport);
}

void connection_unblock(struct connection *connection) {
    if (!connection->blocked)
        return;
    connection->blocked = false;
    *connection->blocked_link = connection->next_blocked;
    if (connection->next_blocked != NULL)
        connection->next_blocked->blocked_link = connection->blocked_link;
    connection->blocked_link = NULL;
}

void connection_hold(struct connection *connection) {
    connection->held = true;
    transport_pause(connection->transport);
}

void connection_release(struct connection *connection) {
    if (!connection->held)
        return;
    connection->held = false;
    connection->active_ns = clock_mono_ns(); /* it could not be heard */
    connection_resume(connection);
}

void connection_resume(struct connection *connection) {
    if (connection->transport != NULL && connection->broker->taking && !is_not_read(connection))
        transport_resume(connection->transport);
}

/* ---- accepting ----------------------------------------------------------------------------------------------------- */

/* Connects per second over the whole broker: a storm is spread, not served worse for everybody. */
static bool rate_is_exceeded(struct broker *broker, int64_t now_ns) {
    int64_t limit = broker->settings->max_connect_rate;

    if (now_ns - broker->rate_since_ns >= NS_PER_S) {
        broker->rate_since_ns = now_ns;
        broker->rate_count = 0;
    }
    return limit > 0 && ++broker->rate_count > limit;
}

static bool is_welcome(struct broker *broker, int64_t now_ns) {
    int64_t limit = broker->settings->max_connections;

    if (!broker->taking)
        return false;
    if (limit > 0 && (int64_t)broker->connection_count >= limit) {
        complain(&broker->limit_trouble, LOG_WARN, "BROKER-FULL", "%lld clients are connected, which is broker.max_connections: more are turned away",
                 (long long)limit);
        return false;
    }
    if (rate_is_exceeded(broker, now_ns)) {
        complain(&broker->rate_trouble, LOG_WARN, "BROKER-RATE", "more than %lld connects in a second (broker.max_connect_rate): some are turned away",
                 (long long)broker->settings->max_connect_rate);
        return false;
    }
    return true;
}

void connection_accept(void *ctx, const struct listener_options *options, struct transport *transport) {
    struct broker *broker = ctx;
    int64_t now_ns = clock_mono_ns();

    metric_add(&broker->figures.sockets_total, 1);
    struct connection *connection = is_welcome(broker, now_ns) ? calloc(1, sizeof *connection) : NULL;

    if (connection == NULL) {
        metric_add(&broker->figures.connects_refused, 1);
        transport_close(transport, 0);
        return;
    }
    *connection = (struct connection){ .broker = broker, .listener = options, .transport = transport, .active_ns = now_ns,
                                       .limits = MQTT_LIMITS_SERVER, .quota = UINT16_MAX };
    connection->target.max_packet_size = MQTT_PACKET_MAX;
    connection->limits.max_packet_size = CONNECT_PACKET_MAX;
    if (broker->settings->max_packet_size < CONNECT_PACKET_MAX)
        connection->limits.max_packet_size = (uint32_t)broker->settings->max_packet_size;
    connection->limits.topic_levels = (uint16_t)broker->settings->max_topic_levels;
    connection->limits.maximum_qos = (uint8_t)broker->settings->max_qos;
    connection->limits.retain_available = broker->settings->retain_available;
    connection->limits.check_payload = broker->settings->check_payload_format;
    connection->answers.last = &connection->answers.first;
    connection->next = broker->connections;
    connection->link = &broker->connections;
    if (connection->next != NULL)
        connection->next->link = &connection->next;
    broker->connections = connection;
    broker->connection_count++;
    transport_own(transport, &events, connection);
    transport_set_output_limit(transport, broker->settings->max_output_bytes + MQTT_HEADER_MAX + broker->settings->max_packet_size);
    connection_schedule(connection);
}
