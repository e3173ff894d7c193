/*
 * agent/broker/presence.c: who is online, as points: one of the measurement mqtt_client for each change, tagged with client and user.
 *   mqtt_client,client_id=press-4,user=press connected=1i,address="10.0.0.4",protocol="mqtt 5",keepalive=60i
 *   mqtt_client,client_id=press-4,user=press connected=0i,reason="keepalive_timeout",duration=3600.5
 * Who is connected also stands in the store, so that the start after a crash or a power cut can say that those connections are over:
 *   mqtt_client,client_id=press-4,user=press connected=0i,reason="unclean_shutdown"
 * Nothing waits for these points or rows: of who came or went in the last milliseconds before a crash, a point may be missing or be there twice.
 * They go to a sink of their own as messages of line protocol; what names may not hold is escaped here, as the parser expects it.
 */
#include <stdio.h>

#include "agent/broker/parts.h"

enum { LINE_MAX = 512 * 1024 };

/* Tag values: commas, blanks, equal signs and backslashes; control characters become `_`. */
static void append_tag(struct buf *line, const char *key, struct str value) {
    if (value.len == 0)
        return;
    buf_printf(line, ",%s=", key);
    for (size_t i = 0; i < value.len; i++) {
        char c = value.data[i];
        if (c == ',' || c == ' ' || c == '=')
            buf_append_char(line, '\\');
        buf_append_char(line, (unsigned char)c < ' ' || c == '\\' ? '_' : c);
    }
}

static void send(struct broker *broker, struct buf *line) {
    const struct message message = { .topic = STR("$presence"), .payload = buf_str(line), .received_ns = clock_unique_ns() };
    uint64_t sequence;

    if (!line->failed)
        broker->presence.deliver(broker->presence.ctx, &message, &sequence);
    buf_release(line);
}

static void begin(struct buf *line, struct str client_id, struct str user) {
    buf_append_c(line, "mqtt_client");
    append_tag(line, "client_id", client_id);
    append_tag(line, "user", user);
}

/* A row in the store for as long as the connection is there. */
static void keep(struct connection *connection) {
    struct broker *broker = connection->broker;
    const struct session *session = connection->session;

    if (broker->store == NULL)
        return;
    const struct stored_session row = {
        .number = broker->next_session++,
        .client_id = session_client_id(session),
        .user = session_user(session),
        .version = (uint8_t)session->version,
    };
    store_put_session(broker->store, &row);
    connection->announced_row = row.number;
    broker_round(broker);
}

void presence_connected(struct connection *connection) {
    struct buf line = BUF_INIT(LINE_MAX);
    const struct transport_peer *peer = transport_peer(connection->transport);
    const struct session *session = connection->session;

    if (connection->broker->presence.deliver == NULL)
        return;
    begin(&line, session_client_id(session), session_user(session));
    buf_printf(&line, " connected=1i,address=\"%s\",protocol=\"mqtt %s%s%s\",keepalive=%ui", peer->address,
               mqtt_version_name(connection->target.version), peer->encrypted ? " tls" : "", peer->websocket ? " websocket" : "",
               (unsigned)connection->keep_alive_s);
    send(connection->broker, &line);
    connection->announced = true;
    keep(connection);
}

static void end_line(struct buf *line, enum end_reason why) {
    buf_printf(line, " connected=0i,reason=\"%s\"", end_reason_name(why));
}

void presence_disconnected(struct connection *connection, enum end_reason why) {
    struct buf line = BUF_INIT(LINE_MAX);
    const struct session *session = connection->session;
    struct broker *broker = connection->broker;

    if (!connection->announced)
        return;
    connection->announced = false;
    begin(&line, session_client_id(session), session_user(session));
    end_line(&line, why);
    buf_printf(&line, ",duration=%.3f", (double)(clock_real_ns() - session->connected_ns) / NS_PER_S);
    send(broker, &line);
    if (connection->announced_row != 0)
        store_delete_session(broker->store, connection->announced_row);
    connection->announced_row = 0;
    broker_round(broker);
}

void presence_was_lost(struct broker *broker, struct str client_id, struct str user) {
    struct buf line = BUF_INIT(LINE_MAX);

    metric_add(&broker->figures.ended[END_UNCLEAN], 1);
    if (broker->presence.deliver == NULL)
        return;
    begin(&line, client_id, user);
    end_line(&line, END_UNCLEAN);
    send(broker, &line);
}
