/*
 * tests/fuzz/fuzz_broker.c: the whole broker behind scripted clients: sockets that open and close, packets whole, in pieces, broken or raw, time that passes,
 * inputs that have no room, a spool that is late. After each step its books are right; what it sends are packets; and when everybody has left and
 * everything has expired, nothing is left. Clocks and the loop are the script's, so that an input always means the same.
 *
 * Input: two bytes of settings, then steps of one byte (step + STEPS * client) and what the step wants.
 */
#include <event2/event.h>
#include <event2/util.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/broker/parts.h"
#include "agent/broker/transport_internal.h"
#include "agent/mqtt_packet/frame.h"
#include "config/yaml_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define require(holds)                                                                                                 \
    do {                                                                                                               \
        if (!(holds)) {                                                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #holds);                                 \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* ---- time, and the loop that agent/loop would be: no thread, and its timer is called by the script ------------------ */

static int64_t mono_ns, real_ns;

static int64_t tell_mono(void) {
    return mono_ns;
}

static int64_t tell_real(void) {
    return real_ns;
}

struct loop {
    struct event_base *base;
    void (*tick)(void *ctx);
    void *tick_ctx;
};

struct loop *loop_new(struct err *err) {
    (void)err;
    return NULL;
}

struct event_base *loop_base(struct loop *loop) {
    return loop->base;
}

bool loop_start(struct loop *loop, struct err *err) {
    (void)loop;
    (void)err;
    return true;
}

/* A broker that waits for its last words waits by the clock. */
bool loop_post(struct loop *loop, void (*call)(void *ctx), void *ctx) {
    event_base_loop(loop->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    mono_ns += NS_PER_MS;
    call(ctx);
    return true;
}

struct loop_timer *loop_every(struct loop *loop, int64_t interval_ns, void (*call)(void *ctx), void *ctx) {
    (void)interval_ns;
    loop->tick = call;
    loop->tick_ctx = ctx;
    return (struct loop_timer *)(void *)loop;
}

void loop_note_patient(struct loop *loop) {
    (void)loop;
}

void loop_cancel(struct loop_timer *timer) {
    if (timer != NULL)
        ((struct loop *)(void *)timer)->tick = NULL;
}

void loop_stop(struct loop *loop) {
    (void)loop;
}

void loop_free(struct loop *loop) {
    (void)loop;
}

/* ---- the broker under test ------------------------------------------------------------------------------------------ */

enum { CLIENTS = 5, EXPIRY_S = 20, INPUTS = 2 };

static const char yaml[] =
    "listeners: [{ address: '127.0.0.1:0' }]\n"
    "allow_anonymous: true\n"
    "acl:\n"
    "  - { everybody: true, allow: all, topics: ['#', '$SYS/#', '$delayed/#'] }\n"
    "  - { everybody: true, deny: all, topics: ['secret/#'] }\n"
    "  - { user: u, deny: publish, topics: ['t/b'] }\n"
    "persistence: { enabled: false }\n"
    "max_connections: 4\n"
    "max_sessions: 4\n"
    "max_session_expiry: 20s\n"
    "max_packet_size: 16KiB\n"
    "max_topic_levels: 6\n"
    "max_topic_alias: 3\n"
    "max_subscriptions: 5\n"
    "receive_maximum: 4\n"
    "max_inflight_messages: 3\n"
    "max_queued_messages: 6\n"
    "max_queued_bytes: 8KiB\n"
    "max_output_bytes: 8KiB\n"
    "max_retained_messages: 200\n"
    "max_retained_bytes: 64KiB\n"
    "max_delayed_messages: 4\n"
    "max_delayed_bytes: 8KiB\n"
    "max_delay: 20s\n"
    "memory_limit: 48KiB\n"
    "sys_interval: 5s\n"
    "subscription_events: true\n";

static char *input_filters[INPUTS][2] = { { (char *)"t/#", (char *)"$SYS/brokers/#" }, { (char *)"$share/g/+/a", (char *)"t/b" } };

struct client {
    int fd;                  /* -1: none */
    enum mqtt_version version; /* of the CONNECT that was sent whole; MQTT_UNKNOWN: not known what the broker speaks */
    bool raw;
    struct mqtt_limits limits; /* of what the broker may say, as the connection goes on */
    struct buf read;         /* what the broker said and is no whole packet yet */
    struct transport_origin origin;
};

struct world {
    struct loop loop;
    struct broker *broker;
    struct client clients[CLIENTS];
    struct cfg_strings filters[INPUTS];
    uint64_t sequence, durable, taken;
    bool full[INPUTS];
    long announced;
    size_t open; /* transports that were adopted and not freed */
    const uint8_t *at, *end;
};

struct sink {
    struct world *world;
    unsigned number;
};

static const struct listener_options listener = { .address = (char *)"unix:/script" };

static void *make_settings(void) {
    static struct arena arena;
    static void *settings;
    struct diags diags = { 0 };

    if (settings != NULL)
        return settings;
    log_set(LOG_ERROR, LOG_TEXT);
    signal(SIGPIPE, SIG_IGN);
    arena_init(&arena, 4 << 20);
    settings = arena_zalloc(&arena, broker_options_size);
    if (!cfg_read(yaml_parse("broker", str_of(yaml), &arena, &diags), "broker", &(struct cfg_binding){ broker_options, settings }, 1, &arena, &diags)) {
        diags_print(&diags, stderr);
        abort();
    }
    diags_release(&diags);
    return settings;
}

static enum message_fate on_message(void *ctx, const struct message *message, uint64_t *sequence) {
    struct sink *sink = ctx;
    struct world *world = sink->world;

    require(message->topic.len > 0 && memchr(message->topic.data, '\0', message->topic.len) == NULL);
    if (sink->number == 1)
        require(str_eq(message->topic, STR("t/b")) || (message->topic.len >= 2 && memcmp(message->topic.data + message->topic.len - 2, "/a", 2) == 0));
    if (world->full[sink->number])
        return MESSAGE_REFUSED;
    world->taken++;
    *sequence = ++world->sequence;
    return MESSAGE_TAKEN;
}

/* A point for each coming and going, never one too many. */
static enum message_fate on_presence(void *ctx, const struct message *message, uint64_t *sequence) {
    struct world *world = ctx;
    struct str rest = message->payload;

    while (rest.len > 0 && !str_starts_with(rest, STR(" connected=")))
        rest = str_make(rest.data + 1, rest.len - 1);
    require(rest.len > strlen(" connected=1i"));
    world->announced += rest.data[strlen(" connected=")] == '1' ? 1 : -1;
    require(world->announced >= 0);
    *sequence = 0;
    return MESSAGE_TAKEN;
}

static void start(struct world *world, struct sink sinks[INPUTS]) {
    static const enum broker_retained retained[INPUTS] = { BROKER_RETAINED_STORE, BROKER_RETAINED_SKIP };
    struct broker_settings *settings = make_settings();
    struct diags diags = { 0 };
    struct err err = ERR_INIT;

    world->loop.base = event_base_new();
    settings->listeners.count = 1;
    world->broker = broker_new(settings, NULL, &diags);
    settings->listeners.count = 0; /* it listens nowhere: clients are handed over */
    diags_print(&diags, stderr);
    require(world->loop.base != NULL && world->broker != NULL);
    for (unsigned i = 0; i < INPUTS; i++) {
        world->filters[i] = (struct cfg_strings){ .items = input_filters[i], .count = 2 };
        sinks[i] = (struct sink){ world, i };
        const struct broker_input input = { .name = "fuzz", .filters = &world->filters[i], .qos = 2 - (uint8_t)i, .retained = retained[i],
                                            .sink = { &sinks[i], on_message } };
        require(broker_add_input(world->broker, &input, &err));
    }
    broker_set_presence(world->broker, (struct message_sink){ world, on_presence });
    require(broker_start(world->broker, &world->loop, &err));
}

/* ---- books ---------------------------------------------------------------------------------------------------------- */

static void check_list(const struct delivery_list *list, uint64_t *bytes) {
    const struct delivery *last = NULL;
    size_t count = 0;

    for (const struct delivery *delivery = list->first; delivery != NULL; last = delivery, delivery = delivery->next) {
        count++;
        *bytes += publication_size(delivery->publication);
    }
    require(count == list->count && (count == 0 || list->last == last));
}

static void check_session(const struct session *session, uint64_t *queued, uint64_t *bytes) {
    uint64_t mine = 0, inflight = 0;
    size_t subscriptions = 0;

    require(session->connection == NULL || session->connection->session == session);
    require(session->connection != NULL || session->expiry_s > 0);
    check_list(&session->outbox.queued, &mine);
    check_list(&session->outbox.inflight, &inflight);
    require(mine == session->outbox.queued_bytes);
    require(session->outbox.on_wire <= session->outbox.inflight.count);
    for (const struct subscription *subscription = session->subscriptions; subscription != NULL; subscription = subscription->next)
        subscriptions++;
    require(subscriptions == session->subscription_count);
    *queued += session->outbox.queued.count;
    *bytes += mine;
}

static void check_books(const struct world *world) {
    const struct broker *broker = world->broker;
    uint64_t queued = 0, bytes = 0, delayed = 0;
    size_t sessions = 0, up = 0, connections = 0, blocked = 0, listed = 0;

    for (size_t i = 0; i < broker->bucket_count; i++)
        for (const struct session *session = broker->buckets[i]; session != NULL; session = session->next_in_bucket) {
            sessions++;
            check_session(session, &queued, &bytes);
        }
    for (const struct connection *connection = broker->connections; connection != NULL; connection = connection->next) {
        connections++;
        up += connection->session != NULL;
        blocked += connection->blocked;
        require(connection->session == NULL || connection->session->connection == connection);
        require((connection->state == CONNECTION_UP) == (connection->session != NULL));
    }
    for (const struct connection *connection = broker->blocked; connection != NULL; connection = connection->next_blocked)
        listed++;
    delayed = broker->delayed.bytes;
    require(sessions == broker->session_count && sessions == metric_get(&broker->figures.sessions));
    require(connections == broker->connection_count && up == metric_get(&broker->figures.connected));
    require(blocked == listed);
    require(queued == metric_get(&broker->figures.queued) && bytes == metric_get(&broker->figures.queued_bytes));
    require(broker->held_bytes == bytes + delayed);
    require(broker->settings->memory_limit >= broker->held_bytes + retained_bytes(broker->retained));
    require((size_t)world->announced == up);
}

static void turn(struct world *world) {
    event_base_loop(world->loop.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

/* Until all that can be done now is done: rounds ask for rounds. */
static void settle(struct world *world) {
    for (int i = 0; i < 6; i++)
        turn(world);
    check_books(world);
}

static void pass(struct world *world, unsigned ticks) {
    while (ticks-- > 0 && world->loop.tick != NULL) {
        mono_ns += WHEEL_SLOT_MS * NS_PER_MS;
        real_ns += WHEEL_SLOT_MS * NS_PER_MS;
        world->loop.tick(world->loop.tick_ctx);
        broker_schedule_delayed(world->broker);
        turn(world);
    }
}

/* ---- clients -------------------------------------------------------------------------------------------------------- */

static void on_ready(void *ctx, struct transport *transport) {
    connection_accept(((struct world *)ctx)->broker, &listener, transport);
}

static void on_failed(void *ctx, const struct transport *transport, enum transport_end why, const char *words) {
    (void)ctx;
    (void)transport;
    (void)why;
    (void)words;
}

static void on_left(void *ctx) {
    (void)ctx;
}

static void on_freed(void *ctx) {
    ((struct world *)ctx)->open--;
}

static struct transport_origin origin_of(struct world *world) {
    return (struct transport_origin){ .ctx = world, .ready = on_ready, .failed = on_failed, .left = on_left, .freed = on_freed };
}

static void open_client(struct world *world, struct client *client) {
    const struct transport_peer peer = { .address = "unix", .loopback = true };
    int ends[2], small = 4096;

    if (client->fd >= 0)
        return;
    require(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    evutil_make_socket_nonblocking(ends[0]);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small); /* a client that does not read is soon one that cannot be written to */
    client->fd = ends[1];
    client->version = MQTT_UNKNOWN;
    client->raw = false;
    world->open++;
    require(transport_adopt(world->broker->transports, ends[0], &client->origin, &peer, NS_PER_S));
}

static void close_client(struct client *client) {
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    buf_release(&client->read);
}

static void send_bytes(struct client *client, const void *data, size_t len) {
    if (client->fd >= 0 && len > 0)
        (void)!send(client->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void send_ack(struct client *client, enum mqtt_type type, uint16_t packet_id) {
    const uint8_t bytes[] = { (uint8_t)(type << 4 | (type == MQTT_PUBREL ? 2 : 0)), 2, (uint8_t)(packet_id >> 8), (uint8_t)packet_id };

    send_bytes(client, bytes, sizeof bytes);
}

static void answer(struct client *client, const struct mqtt_packet *packet) {
    switch (packet->type) {
    case MQTT_PUBLISH:
        if (packet->as.publish.qos > 0)
            send_ack(client, packet->as.publish.qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, packet->as.publish.packet_id);
        break;
    case MQTT_PUBREC:
        send_ack(client, MQTT_PUBREL, packet->as.ack.packet_id);
        break;
    case MQTT_PUBREL:
        send_ack(client, MQTT_PUBCOMP, packet->as.ack.packet_id);
        break;
    default:
        break;
    }
}

/* What the broker has said to a client whose version is known is packets of that version. */
static void read_client(struct client *client, bool answers) {
    static char bytes[65536];
    ssize_t got = client->fd >= 0 ? recv(client->fd, bytes, sizeof bytes, MSG_DONTWAIT) : 0;
    struct str rest;

    if (got <= 0 || client->raw || client->version == MQTT_UNKNOWN)
        return;
    buf_append(&client->read, bytes, (size_t)got);
    rest = buf_str(&client->read);
    while (rest.len > 0) {
        struct mqtt_frame frame = mqtt_frame(rest, &client->limits);
        struct mqtt_packet packet;
        if (frame.state == MQTT_FRAME_BROKEN)
            fprintf(stderr, "%s: %02x %02x\n", mqtt_rule_words(frame.rule), (unsigned char)rest.data[0], (unsigned char)rest.data[rest.len > 1]);
        require(frame.state != MQTT_FRAME_BROKEN);
        if (frame.state == MQTT_FRAME_MORE)
            break;
        require(mqtt_decode(str_make(rest.data, frame.size), &client->limits, &packet) == MQTT_FINE);
        if (packet.type == MQTT_CONNACK)
            client->limits.accepts = packet.as.connack.reason == 0 ? MQTT_FROM_SERVER : 0;
        if (answers)
            answer(client, &packet);
        rest = str_make(rest.data + frame.size, rest.len - frame.size);
    }
    memmove(client->read.data, rest.data, rest.len);
    client->read.len = rest.len;
}

/* ---- packets -------------------------------------------------------------------------------------------------------- */

static unsigned take(struct world *world) {
    return world->at < world->end ? *world->at++ : 0;
}

struct packet {
    uint8_t bytes[20000];
    size_t len;
};

static void put(struct packet *packet, unsigned byte) {
    if (packet->len < sizeof packet->bytes)
        packet->bytes[packet->len++] = (uint8_t)byte;
}

static void put16(struct packet *packet, unsigned number) {
    put(packet, number >> 8);
    put(packet, number & 0xff);
}

static void put_text(struct packet *packet, const char *text) {
    put16(packet, (unsigned)strlen(text));
    for (; *text != '\0'; text++)
        put(packet, (unsigned char)*text);
}

static void finish(struct packet *packet, unsigned first) {
    uint8_t head[5] = { (uint8_t)first };
    size_t size = 1, left = packet->len;

    do {
        head[size++] = (uint8_t)(left % 128 | (left >= 128 ? 0x80 : 0));
        left /= 128;
    } while (left > 0);
    if (packet->len + size > sizeof packet->bytes)
        packet->len = sizeof packet->bytes - size;
    memmove(packet->bytes + size, packet->bytes, packet->len);
    memcpy(packet->bytes, head, size);
    packet->len += size;
}

static const char *const topics[] = { "t/a", "t/b", "s/a", "secret/x", "$delayed/2/t/a", "$delay/9/q/1", "q/1", "a/b/c/d/e/f/g", "$SYS/x", "", "q/2", "t" };
static const char *const filters[] = { "t/#", "#", "+/a", "$share/g/t/#", "$SYS/#", "q/+", "secret/#", "t/a", "$share/h/#", "$share/g/q/+", "+/+", "$delayed/#" };

static const char *pick(struct world *world, const char *const *from, size_t count) {
    return from[take(world) % count];
}
#define PICK(world, list) pick(world, list, sizeof(list) / sizeof *(list))

static void put_connect(struct world *world, struct client *client, struct packet *packet) {
    static const enum mqtt_version versions[] = { MQTT_3_1, MQTT_3_1_1, MQTT_5, MQTT_5 };
    static const char *const ids[] = { "a", "b", "c", "", "d", "e" };
    unsigned how = take(world), flags = how >> 2 & 2;
    enum mqtt_version version = versions[how & 3];
    bool will = (how & 4) != 0, user = (how & 16) != 0;
    unsigned expiry_s = (how & 32) != 0 ? how >> 4 : 0, terms = take(world);

    put_text(packet, version == MQTT_3_1 ? "MQIsdp" : "MQTT");
    put(packet, version);
    put(packet, flags | (will ? 4u | (terms & 0x18 & (terms >> 1 == 0x18 ? 0 : 0xff)) | (terms & 0x20) : 0) | (user ? 0x80u : 0));
    put16(packet, terms & 7);
    if (version == MQTT_5) {
        put(packet, 5 + 3 + 3);
        put(packet, 0x11);
        put16(packet, 0);
        put16(packet, expiry_s);
        put(packet, 0x21);
        put16(packet, terms % 4 + 1);
        put(packet, 0x22);
        put16(packet, terms % 3);
    }
    put_text(packet, PICK(world, ids));
    if (will) {
        if (version == MQTT_5) {
            put(packet, 5);
            put(packet, 0x18);
            put16(packet, 0);
            put16(packet, terms >> 5);
        }
        put_text(packet, PICK(world, topics));
        put_text(packet, "gone");
    }
    if (user)
        put_text(packet, terms & 1 ? "u" : "v");
    finish(packet, 0x10);
    if (client->version != MQTT_UNKNOWN)
        client->raw = true; /* a second one: the end, and whatever comes before it */
    client->version = version;
    client->limits = (struct mqtt_limits)MQTT_LIMITS_CLIENT(version);
    client->limits.topic_alias_maximum = (uint16_t)(terms % 3);
}

static void put_publish(struct world *world, const struct client *client, struct packet *packet) {
    unsigned how = take(world), qos = how & 3, size = take(world), large = how >> 6;
    const char *topic = PICK(world, topics);
    unsigned more = take(world);

    put_text(packet, topic);
    if (qos > 0)
        put16(packet, (more & 7) + 1);
    if (client->version == MQTT_5) {
        bool alias = (more & 8) != 0, expires = (more & 16) != 0;
        put(packet, (alias ? 3u : 0) + (expires ? 5u : 0));
        if (alias) {
            put(packet, 0x23);
            put16(packet, more >> 6);
        }
        if (expires) {
            put(packet, 0x02);
            put16(packet, 0);
            put16(packet, more >> 5);
        }
    }
    for (unsigned i = 0; i < size << 2 * large; i++)
        put(packet, 'x');
    finish(packet, 0x30 | (how & 8) | qos << 1 | (how >> 2 & 1));
}

static void put_subscribe(struct world *world, const struct client *client, struct packet *packet, bool un) {
    unsigned how = take(world), count = how % 3 + 1;

    put16(packet, how >> 4 | 1);
    if (client->version == MQTT_5) {
        bool id = !un && (how & 8) != 0;
        put(packet, id ? 2 : 0);
        if (id) {
            put(packet, 0x0b);
            put(packet, (how >> 4) + 1);
        }
    }
    while (count-- > 0) {
        put_text(packet, PICK(world, filters));
        if (!un)
            put(packet, take(world) & (client->version == MQTT_5 ? 0x3f : 3));
    }
    finish(packet, un ? 0xa2 : 0x82);
}

static void put_ack(struct world *world, const struct client *client, struct packet *packet) {
    static const uint8_t firsts[] = { 0x40, 0x50, 0x62, 0x70 };
    unsigned how = take(world);

    put16(packet, (how >> 2 & 7) + 1);
    if (client->version == MQTT_5 && how >= 0x80)
        put(packet, how & 0x20 ? 0x80 : 0x10);
    finish(packet, firsts[how & 3]);
}

static void put_last(struct world *world, const struct client *client, struct packet *packet) {
    unsigned how = take(world);

    if (client->version == MQTT_5 && how > 0) {
        put(packet, how & 1 ? 0x04 : 0x00);
        if (how & 2) {
            put(packet, 5);
            put(packet, 0x11);
            put16(packet, 0);
            put16(packet, how >> 3);
        }
    }
    finish(packet, 0xe0);
}

enum step { OPEN, CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, ACK, PING, LAST, RAW, READ, ANSWER, CLOSE, HALF_CLOSE, PASS, ROOM, DURABLE, KICK, TURN, CUT, STEPS };

static bool put_packet(struct world *world, struct client *client, enum step step, struct packet *packet) {
    packet->len = 0;
    switch (step) {
    case CONNECT:
        put_connect(world, client, packet);
        return true;
    case PUBLISH:
        put_publish(world, client, packet);
        return true;
    case SUBSCRIBE:
    case UNSUBSCRIBE:
        put_subscribe(world, client, packet, step == UNSUBSCRIBE);
        return true;
    case ACK:
        put_ack(world, client, packet);
        return true;
    case PING:
        finish(packet, 0xc0);
        return true;
    case LAST:
        put_last(world, client, packet);
        return true;
    default:
        return false;
    }
}

/* A packet in two pieces, with a turn of the loop between them, or with one byte changed. */
static void send_cut(struct world *world, struct client *client) {
    static struct packet packet;
    unsigned how = take(world), where = take(world);

    if (!put_packet(world, client, CONNECT + how % (RAW - CONNECT), &packet))
        return;
    size_t at = where % packet.len;
    if (how >= 0x80) {
        packet.bytes[at] ^= (uint8_t)(1 << (how >> 4 & 7));
        client->raw = true;
        send_bytes(client, packet.bytes, packet.len);
        return;
    }
    send_bytes(client, packet.bytes, at);
    turn(world);
    send_bytes(client, packet.bytes + at, packet.len - at);
}

static void send_raw(struct world *world, struct client *client) {
    size_t len = take(world), left = (size_t)(world->end - world->at);

    len = len < left ? len : left;
    client->raw = true;
    send_bytes(client, world->at, len);
    world->at += len;
}

static void kick(struct world *world) {
    static const char *const ids[] = { "a", "b", "c", "nobody" };
    struct buf json = BUF_INIT(1 << 20);

    broker_list_clients(world->broker, &json);
    require(!json.failed);
    buf_release(&json);
    broker_kick(world->broker, str_of(PICK(world, ids)));
}

static void step(struct world *world) {
    static struct packet packet;
    unsigned byte = take(world);
    enum step step = (enum step)(byte % STEPS);
    struct client *client = &world->clients[byte / STEPS % CLIENTS];

    if (put_packet(world, client, step, &packet)) {
        send_bytes(client, packet.bytes, packet.len);
        return;
    }
    switch (step) {
    case OPEN:
        open_client(world, client);
        break;
    case RAW:
        send_raw(world, client);
        break;
    case CUT:
        send_cut(world, client);
        break;
    case READ:
    case ANSWER:
        read_client(client, step == ANSWER);
        break;
    case CLOSE:
        close_client(client);
        break;
    case HALF_CLOSE:
        if (client->fd >= 0)
            shutdown(client->fd, SHUT_WR);
        break;
    case PASS:
        pass(world, take(world) % 64);
        break;
    case ROOM:
        world->full[byte / STEPS % INPUTS] = !world->full[byte / STEPS % INPUTS];
        break;
    case DURABLE:
        world->durable = world->sequence;
        broker_durable(world->broker, world->durable);
        break;
    case KICK:
        kick(world);
        break;
    default:
        break;
    }
    settle(world);
}

/* ---- the end -------------------------------------------------------------------------------------------------------- */

/* Everybody leaves, and all that may be kept for them has its time to go. */
static void leave(struct world *world) {
    struct broker *broker = world->broker;

    for (int i = 0; i < CLIENTS; i++)
        close_client(&world->clients[i]);
    world->full[0] = world->full[1] = false;
    broker_durable(broker, world->sequence);
    for (int i = 0; i < 20; i++)
        settle(world);
    pass(world, (unsigned)(3 * EXPIRY_S * 1000 / WHEEL_SLOT_MS));
    for (int i = 0; i < 20; i++)
        settle(world);
    require(broker->connection_count == 0 && broker->session_count == 0 && world->announced == 0);
    require(metric_get(&broker->figures.subscriptions) == 0 && metric_get(&broker->figures.inflight) == 0);
    require(broker->delayed.count == 0 && broker->held_bytes == 0);
    require(broker->waiting == NULL && broker->blocked == NULL && broker->ending == NULL && broker->continued == NULL);
    require(broker->wheel.count == 0 && broker->session_wheel.count == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct world world = { .at = data + 2, .end = data + size };
    struct sink sinks[INPUTS];
    struct broker_settings *settings = make_settings();

    if (size < 2 || size > 8192)
        return 0;
    mono_ns = 1000 * NS_PER_S;
    real_ns = 1800000000 * NS_PER_S;
    clock_override(tell_real, tell_mono);
    settings->queue_full = data[0] % 3;
    settings->share_strategy = data[0] / 3 % 3;
    settings->mosquitto_compat = (data[0] & 0x40) != 0;
    settings->check_payload_format = (data[0] & 0x80) != 0;
    start(&world, sinks);
    for (int i = 0; i < CLIENTS; i++) {
        world.clients[i] = (struct client){ .fd = -1, .read = BUF_INIT(1 << 20), .origin = origin_of(&world) };
    }
    while (world.at < world.end)
        step(&world);
    settle(&world);
    if (data[1] % 4 != 0)
        leave(&world);
    broker_stop_taking(world.broker);
    require(world.announced == 0);
    broker_stop(world.broker, 3 * NS_PER_MS);
    broker_free(world.broker);
    require(world.open == 0);
    for (int i = 0; i < CLIENTS; i++)
        close_client(&world.clients[i]);
    event_base_free(world.loop.base);
    clock_override(NULL, NULL);
    return 0;
}
