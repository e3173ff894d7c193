/*
 * agent/broker/presence.c: who is online, as points: one of the measurement mqtt_client for each change, tagged with client and user.
 *   mqtt_client,client_id=press-4,user=press connected=1i,address="10.0.0.4",protocol="mqtt 5",keepalive=60i
 *   mqtt_client,client_id=press-4,user=press connected=0i,reason="keepalive_timeout",duration=3600.5
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

static void begin(struct buf *line, const struct session *session) {
    buf_append_c(line, "mqtt_client");
    append_tag(line, "client_id", session_client_id(session));
    append_tag(line, "user", session_user(session));
}

void presence_connected(struct connection *connection) {
    struct buf line = BUF_INIT(LINE_MAX);
    const struct transport_peer *peer = transport_peer(connection->transport);

    if (connection->broker->presence.deliver == NULL)
        return;
    begin(&line, connection->session);
    buf_printf(&line, " connected=1i,address=\"%s\",protocol=\"mqtt %s%s%s\",keepalive=%ui", peer->address,
               mqtt_version_name(connection->target.version), peer->encrypted ? " tls" : "", peer->websocket ? " websocket" : "",
               (unsigned)connection->keep_alive_s);
    send(connection->broker, &line);
}

void presence_disconnected(struct connection *connection, enum end_reason why) {
    struct buf line = BUF_INIT(LINE_MAX);
    const struct session *session = connection->session;

    if (connection->broker->presence.deliver == NULL)
        return;
    begin(&line, session);
    buf_printf(&line, " connected=0i,reason=\"%s\",duration=%.3f", end_reason_name(why),
               (double)(clock_real_ns() - session->connected_ns) / NS_PER_S);
    send(connection->broker, &line);
}
