/* tests/unit/test_mqtt_source.c: a source against a broker that does what the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/mqtt_client/source_parts.h"
#include "tests/support/fake_broker.c"

/* ---- a source with a sink that remembers --------------------------------------------------------------------------
 */

struct taken {
    bool too_large;
    char topic[64], payload[64], content_type[32], property[64];
    size_t payload_len;
    bool retain, dup;
    int qos;
    uint64_t sequence;
    struct message_origin origin;
};

struct rig {
    struct fake_broker broker;
    struct mqtt_options options;
    char server[64];
    char *servers[2], *topics[8];
    struct diags diags;
    struct mqtt_source *source;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct taken taken[4096];
    size_t count, offered;
    uint64_t sequence; /* given to the last message */
    bool refuse;       /* MESSAGE_REFUSED */
    bool at_once;      /* sequence 0 */
};

static enum message_fate sink(void *ctx, const struct message *message, uint64_t *sequence) {
    struct rig *rig = ctx;
    struct taken *taken;
    enum message_fate fate = MESSAGE_REFUSED;

    pthread_mutex_lock(&rig->lock);
    rig->offered++;
    if (!rig->refuse) {
        taken = &rig->taken[rig->count % 4096];
        memset(taken, 0, sizeof *taken);
        snprintf(taken->topic, sizeof taken->topic, "%.*s", STR_ARGS(message->topic));
        snprintf(taken->payload, sizeof taken->payload, "%.*s", STR_ARGS(message->payload));
        snprintf(taken->content_type, sizeof taken->content_type, "%.*s", STR_ARGS(message->content_type));
        if (message->property_count > 0)
            snprintf(taken->property, sizeof taken->property, "%.*s=%.*s", STR_ARGS(message->properties[0].key),
                     STR_ARGS(message->properties[0].value));
        taken->payload_len = message->payload.len;
        taken->too_large = message->too_large;
        taken->retain = message->retain;
        taken->dup = message->dup;
        taken->origin = message->origin;
        taken->qos = message->qos;
        taken->sequence = rig->at_once ? 0 : ++rig->sequence;
        *sequence = taken->sequence;
        rig->count++;
        fate = MESSAGE_TAKEN;
    }
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->lock);
    return fate;
}

static bool wait_count(struct rig *rig, const size_t *value, size_t count) {
    struct timespec until = clock_timespec(clock_mono_ns() + 10 * NS_PER_S);
    int rc = 0;

    pthread_mutex_lock(&rig->lock);
    while (*value < count && rc == 0)
        rc = pthread_cond_timedwait(&rig->changed, &rig->lock, &until);
    bool reached = *value >= count;
    pthread_mutex_unlock(&rig->lock);
    return reached;
}

static bool wait_taken(struct rig *rig, size_t count) {
    return wait_count(rig, &rig->count, count);
}

static int prepare(void **state) {
    struct rig *rig = calloc(1, sizeof *rig);
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&rig->lock, NULL);
    pthread_cond_init(&rig->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    rig->topics[0] = (char *)"plant/#";
    rig->options = (struct mqtt_options){
        .topics = { .items = rig->topics, .count = 1 },
        .servers = { .items = rig->servers, .count = 1 },
        .qos = 1,
        .keepalive_ns = 30 * NS_PER_S,
        .ping_timeout_ns = 10 * NS_PER_S,
        .connection_timeout_ns = 5 * NS_PER_S,
        .max_reconnect_interval_ns = 30 * NS_PER_S,
        .session_expiry_ns = 3600 * NS_PER_S,
        .max_undelivered_messages = 1000,
        .max_message_bytes = 1 << 20,
    };
    *state = rig;
    return 0;
}

static void make_source(struct rig *rig) {

    if (rig->broker.port == 0)
        fake_broker_start(&rig->broker);
    snprintf(rig->server, sizeof rig->server, "tcp://127.0.0.1:%u", rig->broker.port);
    rig->servers[0] = rig->server;
    rig->source = mqtt_source_new(&rig->options, NULL, "test", &rig->diags);
    assert_non_null(rig->source);
}

static void start_source(struct rig *rig, bool late) {
    struct err err = ERR_INIT;

    assert_true(mqtt_source_start(rig->source, (struct message_sink){ rig, sink }, late, &err));
}

static void begin_with(struct rig *rig, bool late) {
    make_source(rig);
    start_source(rig, late);
}

static void begin_with_memory(struct rig *rig, const struct message_origin *origins, size_t count) {
    make_source(rig);
    mqtt_source_remember(rig->source, origins, count);
    start_source(rig, true);
}

static void begin(struct rig *rig) {
    begin_with(rig, true);
    assert_true(fake_broker_wait_subscribes(&rig->broker, rig->options.topics.count));
}

static int finish(void **state) {
    struct rig *rig = *state;

    mqtt_source_free(rig->source);
    if (rig->broker.port != 0)
        fake_broker_stop(&rig->broker);
    free(rig->broker.acks);
    diags_release(&rig->diags);
    pthread_cond_destroy(&rig->changed);
    pthread_mutex_destroy(&rig->lock);
    free(rig);
    return 0;
}

static void publish_qos1(struct rig *rig, uint16_t first, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char payload[16];
        snprintf(payload, sizeof payload, "%zu", first + i);
        fake_broker_publish(
            &rig->broker,
            &(struct fake_publish){ .topic = "plant/t", .payload = payload, .qos = 1, .id = (uint16_t)(first + i) });
    }
}

struct wanted {
    const char *name, *key, *value;
    double found;
};

static void pick(void *ctx, const struct metric_desc *desc, const struct metric_label *labels, size_t count,
                 double value) {
    struct wanted *wanted = ctx;

    if (strcmp(desc->name, wanted->name) != 0)
        return;
    for (size_t i = 0; wanted->key != NULL && i < count; i++)
        if (strcmp(labels[i].key, wanted->key) == 0 && strcmp(labels[i].value, wanted->value) != 0)
            return;
    wanted->found = value;
}

static double figure_of(struct rig *rig, const char *name, const char *key, const char *value) {
    struct wanted wanted = { name, key, value, -1 };
    struct metric_writer writer = { .ctx = &wanted, .sample = pick };

    mqtt_source_collect(rig->source, &writer);
    return wanted.found;
}

static double figure(struct rig *rig, const char *name) {
    return figure_of(rig, name, NULL, NULL);
}

/* For figures that follow what the broker saw by a moment. */
static bool figure_reaches(struct rig *rig, const char *name, double value) {
    for (int i = 0; i < 1000; i++) {
        if (figure(rig, name) >= value)
            return true;
        poll(NULL, 0, 10);
    }
    return false;
}

/* ---- connecting ---------------------------------------------------------------------------------------------------
 */

static void asks_for_a_session_with_mqtt_5(void **state) {
    struct rig *rig = *state;

    begin(rig);
    const struct fake_connect *connect = &rig->broker.connects[0];
    assert_int_equal(connect->version, 5);
    assert_false(connect->clean);
    assert_int_equal(connect->session_expiry, 3600);
    assert_int_equal(connect->receive_maximum, 1000);
    assert_true(connect->maximum_packet >= 1 << 20);
    assert_memory_equal(connect->client_id, "heliograf-", 10);
    assert_non_null(strstr(connect->client_id, "-test"));
    assert_int_equal(rig->broker.subscribes[0].options, 1 | 1 << 4); /* QoS 1, retained for a new subscription */
    assert_true(figure_reaches(rig, "mqtt_subscriptions", 0));
}

static void keeps_no_session_at_qos_0(void **state) {
    struct rig *rig = *state;

    rig->options.qos = 0;
    begin(rig);
    assert_true(rig->broker.connects[0].clean);
    assert_int_equal(rig->broker.connects[0].session_expiry, 0);
    assert_int_equal(rig->broker.subscribes[0].options & 3, 0);
}

static void a_dry_run_takes_another_client_id_and_no_session(void **state) {
    struct rig *rig = *state;

    rig->options.client_id = (char *)"production";
    begin_with(rig, false);
    assert_true(fake_broker_wait_subscribes(&rig->broker, 1));
    assert_true(rig->broker.connects[0].clean);
    assert_string_not_equal(rig->broker.connects[0].client_id, "production");
    publish_qos1(rig, 1, 3);
    assert_true(fake_broker_wait_acks(&rig->broker, 3));
}

static void falls_back_to_3_1_1(void **state) {
    struct rig *rig = *state;

    rig->broker.old = true;
    begin(rig);
    assert_int_equal(rig->broker.connects[0].version, 5);
    assert_int_equal(rig->broker.connects[1].version, 4);
    assert_false(rig->broker.connects[1].clean);
    fake_broker_drop(&rig->broker);
    assert_true(fake_broker_wait_subscribes(&rig->broker, 2));
    assert_int_equal(rig->broker.connects[2].version, 4); /* remembered */
    publish_qos1(rig, 1, 1);
    assert_true(wait_taken(rig, 1));
}

static void falls_back_when_refused_by_reason_code(void **state) {
    struct rig *rig = *state;

    rig->broker.refuse_code = 0x84;
    begin_with(rig, true);
    assert_true(fake_broker_wait_connects(&rig->broker, 2));
    assert_int_equal(rig->broker.connects[1].version, 4);
}

static void falls_back_when_mqtt_5_is_met_with_silence(void **state) {
    struct rig *rig = *state;

    rig->broker.closes_v5 = true;
    begin(rig);
    pthread_mutex_lock(&rig->broker.lock);
    int version = rig->broker.connects[rig->broker.connect_count - 1].version;
    pthread_mutex_unlock(&rig->broker.lock);
    assert_int_equal(version, 4);
}

static void does_not_fall_back_when_told_not_to(void **state) {
    struct rig *rig = *state;

    rig->broker.old = true;
    rig->options.protocol = MQTT_PROTOCOL_5;
    begin_with(rig, true);
    assert_true(fake_broker_wait_connects(&rig->broker, 3));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(rig->broker.connects[i].version, 5);
}

static void waits_for_a_broker_that_is_not_up_yet(void **state) {
    struct rig *rig = *state;
    struct timespec pause = { .tv_nsec = 300000000 };

    fake_broker_start(&rig->broker);
    uint16_t port = rig->broker.port;
    fake_broker_stop(&rig->broker);
    begin_with(rig, true);
    nanosleep(&pause, NULL); /* an outage has to last a while */
    assert_false(mqtt_source_ready(rig->source));
    assert_true(figure_of(rig, "mqtt_connect_failures_total", "reason", "network") >= 1);
    rig->broker.port = port;
    fake_broker_start(&rig->broker);
    int64_t back = clock_mono_ns();
    assert_true(fake_broker_wait_subscribes(&rig->broker, 1));
    assert_true(clock_mono_ns() - back < 2 * NS_PER_S);
}

static void tries_the_servers_in_order(void **state) {
    struct rig *rig = *state;
    char dead[64];

    fake_broker_start(&rig->broker);
    rig->options.servers.count = 2;
    snprintf(dead, sizeof dead, "tcp://127.0.0.1:%u", 1); /* nothing listens there */
    snprintf(rig->server, sizeof rig->server, "tcp://127.0.0.1:%u", rig->broker.port);
    rig->servers[0] = dead;
    rig->servers[1] = rig->server;
    rig->source = mqtt_source_new(&rig->options, NULL, "test", &rig->diags);
    assert_non_null(rig->source);
    assert_true(mqtt_source_start(rig->source, (struct message_sink){ rig, sink }, true, NULL));
    assert_true(fake_broker_wait_subscribes(&rig->broker, 1));
    assert_true(figure_of(rig, "mqtt_connect_failures_total", "reason", "network") >= 1);
}

static void keeps_trying_with_wrong_credentials(void **state) {
    struct rig *rig = *state;

    rig->broker.refuse_code = 0x86;
    rig->options.username = (char *)"operator";
    rig->options.password = (char *)"wrong";
    rig->options.max_reconnect_interval_ns = NS_PER_S / 4;
    begin_with(rig, true);
    assert_true(fake_broker_wait_connects(&rig->broker, 1));
    assert_string_equal(rig->broker.connects[0].username, "operator");
    assert_string_equal(rig->broker.connects[0].password, "wrong");
    assert_true(figure_reaches(rig, "mqtt_connect_failures_total", 0));
    pthread_mutex_lock(&rig->broker.lock);
    rig->broker.refuse_code = 0;
    pthread_mutex_unlock(&rig->broker.lock);
    assert_true(fake_broker_wait_subscribes(&rig->broker, 1));
    assert_true(figure_of(rig, "mqtt_connect_failures_total", "reason", "credentials") >= 1);
}

static void reads_the_password_file_at_every_connect(void **state) {
    struct rig *rig = *state;
    char path[] = "/tmp/heliograf-test-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0 && write(fd, "first\n", 6) == 6);
    struct yaml_node key = { .text = STR_INIT("password_file") };
    struct yaml_node file = { .kind = YAML_SCALAR, .text = { path, strlen(path) }, .key = &key };
    struct yaml_node map = { .kind = YAML_MAP, .first = &file, .count = 1 };
    fake_broker_start(&rig->broker);
    snprintf(rig->server, sizeof rig->server, "tcp://127.0.0.1:%u", rig->broker.port);
    rig->servers[0] = rig->server;
    rig->options.username = (char *)"operator";
    rig->options.password = (char *)"first";
    rig->source = mqtt_source_new(&rig->options, &map, "test", &rig->diags);
    assert_non_null(rig->source);
    assert_true(mqtt_source_start(rig->source, (struct message_sink){ rig, sink }, true, NULL));
    assert_true(fake_broker_wait_subscribes(&rig->broker, 1));
    assert_string_equal(rig->broker.connects[0].password, "first");
    assert_true(pwrite(fd, "other\n", 6, 0) == 6);
    fake_broker_drop(&rig->broker);
    assert_true(fake_broker_wait_subscribes(&rig->broker, 2));
    assert_string_equal(rig->broker.connects[1].password, "other");
    close(fd);
    unlink(path);
}

static void takes_the_brokers_keepalive(void **state) {
    struct rig *rig = *state;

    memcpy(rig->broker.connack_properties, "\x13\x00\x05", 3); /* server keep alive 5 s */
    rig->broker.connack_properties_len = 3;
    begin(rig);
    assert_int_equal(rig->broker.connects[0].keepalive_s, 30);
    assert_int_equal(rig->broker.connects[1].keepalive_s, 5);
}

static void gives_up_on_a_mute_broker(void **state) {
    struct rig *rig = *state;

    rig->broker.mute = true;
    rig->options.connection_timeout_ns = 1 * NS_PER_S;
    begin_with(rig, true);
    assert_true(fake_broker_wait_connects(&rig->broker, 2));
    assert_true(figure_of(rig, "mqtt_connect_failures_total", "reason", "timeout") >= 1);
}

static void goes_through_no_http_proxy(void **state) {
    struct rig *rig = *state;

    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    begin(rig);
    assert_string_equal(getenv("http_proxy"), "http://127.0.0.1:1"); /* still there for those whom it concerns */
    unsetenv("http_proxy");
    unsetenv("https_proxy");
}

static void comes_back_every_time(void **state) {
    struct rig *rig = *state;

    begin(rig);
    for (size_t i = 0; i < 12; i++) {
        int64_t dropped = clock_mono_ns();
        fake_broker_drop(&rig->broker);
        assert_true(fake_broker_wait_subscribes(&rig->broker, i + 2));
        assert_true(clock_mono_ns() - dropped < 2 * NS_PER_S);
        publish_qos1(rig, (uint16_t)(i + 1), 1);
        assert_true(wait_taken(rig, i + 1));
    }
    assert_int_equal(figure(rig, "mqtt_disconnects_total"), 12);
}

/* MQTT 5: shutting down, session taken over, administrative action, and one that only clients should send. */
static void comes_back_when_the_broker_says_goodbye(void **state) {
    static const unsigned char reasons[] = { 0x8b, 0x8e, 0x98, 0x00 };
    struct rig *rig = *state;

    begin(rig);
    for (size_t i = 0; i < sizeof reasons; i++) {
        fake_broker_dismiss(&rig->broker, reasons[i]);
        assert_true(fake_broker_wait_subscribes(&rig->broker, i + 2));
        publish_qos1(rig, (uint16_t)(i + 1), 1);
        assert_true(wait_taken(rig, i + 1));
    }
    assert_int_equal(figure(rig, "mqtt_disconnects_total"), sizeof reasons);
}

/* PUBLISH packets that MQTT 5 does not allow: QoS, and what stands behind the topic. */
static const struct malformed {
    unsigned char first;
    const char *rest;
    size_t rest_len;
} malformed[] = {
    { 0x32, "\x01", 1 },                              /* half a packet identifier */
    { 0x30, "", 0 },                                  /* no length of the properties */
    { 0x30, "\x05\x7f\x00\x00\x00\x00", 6 },          /* a property that does not exist */
    { 0x30, "\x0b\x26\x00\x02kk\x00\x02vv\x7f\x00", 12 }, /* ... behind a user property */
    { 0x30, "\x06\x26\x00\x02kk\xff\xff", 7 },         /* a value that is longer than the packet */
    { 0x30, "\x09\x03\x00\x04text\x03\x00\x09", 11 },  /* a text that is longer than the properties */
};
enum { MALFORMED = sizeof malformed / sizeof malformed[0], LONG_TOPIC = 60000, ROUNDS = 4 };

static void send_malformed(struct rig *rig, const struct malformed *what) {
    static unsigned char packet[LONG_TOPIC + 64];
    size_t body = 2 + LONG_TOPIC + what->rest_len, at = 0;

    packet[at++] = what->first;
    at += fake_put_length(packet + at, body);
    packet[at++] = LONG_TOPIC >> 8;
    packet[at++] = LONG_TOPIC & 0xff;
    memset(packet + at, 't', LONG_TOPIC);
    memcpy(packet + at + LONG_TOPIC, what->rest, what->rest_len);
    fake_broker_send(&rig->broker, packet, at + LONG_TOPIC + what->rest_len);
}

/* Paho 1.3.12 forgets the topic and the properties of a packet that it gives up. A broker may do that all day. */
static void a_malformed_packet_ends_the_connection_and_leaves_nothing_behind(void **state) {
    struct rig *rig = *state;
    size_t before = 0;

    begin(rig);
    for (size_t i = 0; i < ROUNDS * MALFORMED; i++) {
        if (i == MALFORMED)
            before = mallinfo2().uordblks;
        send_malformed(rig, &malformed[i % MALFORMED]);
        assert_true(fake_broker_wait_subscribes(&rig->broker, i + 2));
        publish_qos1(rig, (uint16_t)(i + 1), 1);
        assert_true(wait_taken(rig, i + 1));
    }
    assert_int_equal(figure(rig, "mqtt_malformed_packets_total"), ROUNDS * MALFORMED);
    /* A topic a round would be noticed; one may stand in a buffer that is in use right now. */
    assert_true(mallinfo2().uordblks < before + (ROUNDS - 2) * LONG_TOPIC);
}

/* ---- subscribing --------------------------------------------------------------------------------------------------
 */

static void names_a_refused_filter_and_goes_on(void **state) {
    struct rig *rig = *state;

    rig->topics[1] = (char *)"secret/#";
    rig->options.topics.count = 2;
    rig->broker.suback[0].filter = "secret/#";
    rig->broker.suback[0].code = 0x87;
    rig->broker.suback_count = 1;
    begin(rig);
    publish_qos1(rig, 1, 1);
    assert_true(wait_taken(rig, 1));
    for (int i = 0; i < 500 && figure_of(rig, "mqtt_subscriptions", "state", "refused") < 1; i++)
        poll(NULL, 0, 10);
    assert_int_equal(figure_of(rig, "mqtt_subscriptions", "state", "refused"), 1);
    assert_int_equal(figure_of(rig, "mqtt_subscriptions", "state", "granted"), 1);
    assert_false(mqtt_source_ready(rig->source));
}

static void connects_anew_when_a_subscription_is_not_answered(void **state) {
    struct rig *rig = *state;

    rig->broker.mute_suback = true;
    rig->broker.session_present = true;
    rig->options.connection_timeout_ns = 1 * NS_PER_S;
    begin(rig);
    pthread_mutex_lock(&rig->broker.lock);
    rig->broker.mute_suback = false;
    pthread_mutex_unlock(&rig->broker.lock);
    assert_true(fake_broker_wait_subscribes(&rig->broker, 2));
    assert_int_equal(rig->broker.disconnect_count, 1);
    publish_qos1(rig, 1, 1);
    assert_true(wait_taken(rig, 1));
}

static void leaves_out_covered_filters(void **state) {
    struct rig *rig = *state;

    rig->topics[1] = (char *)"plant/press/+";
    rig->topics[2] = (char *)"plant/#";
    rig->topics[3] = (char *)"$share/g/plant/#";
    rig->options.topics.count = 4;
    begin_with(rig, true);
    assert_true(fake_broker_wait_subscribes(&rig->broker, 2));
    for (int i = 0; i < 500 && !mqtt_source_ready(rig->source); i++)
        poll(NULL, 0, 10);
    assert_true(mqtt_source_ready(rig->source));
    assert_int_equal(rig->broker.subscribe_count, 2);
    assert_string_equal(rig->broker.subscribes[0].filter, "plant/#");
    assert_string_equal(rig->broker.subscribes[1].filter, "$share/g/plant/#");
    assert_int_equal(rig->broker.subscribes[0].identifier, 0); /* nothing to tell apart */
}

static size_t identifier_property(uint32_t identifier, unsigned char *out) {
    out[0] = 11;
    return 1 + fake_put_length(out + 1, identifier);
}

static void delivers_overlapping_filters_once(void **state) {
    struct rig *rig = *state;
    unsigned char property[8];
    size_t len;

    rig->topics[0] = (char *)"+/press";
    rig->topics[1] = (char *)"plant/+";
    rig->options.topics.count = 2;
    begin(rig);
    assert_true(rig->broker.subscribes[0].identifier > 0);
    assert_true(rig->broker.subscribes[0].identifier != rig->broker.subscribes[1].identifier);
    for (uint16_t round = 0; round < 2; round++)
        for (uint16_t i = 0; i < 2; i++) {
            len = identifier_property(rig->broker.subscribes[i].identifier, property);
            fake_broker_publish(&rig->broker, &(struct fake_publish){ .topic = "plant/press",
                                                                      .payload = "1",
                                                                      .qos = 1,
                                                                      .id = (uint16_t)(round * 2 + i + 1),
                                                                      .properties = property,
                                                                      .properties_len = len });
        }
    assert_true(wait_taken(rig, 2));
    mqtt_source_durable(rig->source, 2);
    assert_true(fake_broker_wait_acks(&rig->broker, 4)); /* copies are acknowledged as well */
    assert_int_equal(rig->count, 2);
    assert_int_equal(figure(rig, "mqtt_overlap_copies_total"), 2);
}

/* ---- messages -----------------------------------------------------------------------------------------------------
 */

static void passes_everything_on(void **state) {
    struct rig *rig = *state;
    static const unsigned char properties[] = { 3, 0, 4, 'j', 's', 'o', 'n', 38, 0, 1, 'k', 0, 1, 'v' };

    begin(rig);
    fake_broker_publish(&rig->broker, &(struct fake_publish){ .topic = "plant/x",
                                                              .payload = "a\0b",
                                                              .payload_len = 3,
                                                              .qos = 1,
                                                              .id = 9,
                                                              .dup = true,
                                                              .properties = properties,
                                                              .properties_len = sizeof properties });
    fake_broker_publish(&rig->broker,
                        &(struct fake_publish){ .topic = "plant/y", .payload = "", .qos = 0, .retain = true });
    assert_true(wait_taken(rig, 2));
    assert_string_equal(rig->taken[0].topic, "plant/x");
    assert_int_equal(rig->taken[0].payload_len, 3);
    assert_int_equal(rig->taken[0].qos, 1);
    assert_true(rig->taken[0].dup);
    assert_string_equal(rig->taken[0].content_type, "json");
    assert_string_equal(rig->taken[0].property, "k=v");
    assert_int_equal(rig->taken[1].payload_len, 0);
    assert_true(rig->taken[1].retain);
    assert_int_equal(figure(rig, "mqtt_messages_received_total"), 2);
    assert_int_equal(figure(rig, "mqtt_bytes_received_total"), 3);
    assert_int_equal(figure(rig, "mqtt_duplicates_flagged_total"), 1);
}

static void reads_large_messages_across_the_read_ahead(void **state) {
    struct rig *rig = *state;
    size_t len = 900000;
    char *payload = malloc(len);

    memset(payload, 'x', len);
    begin(rig);
    for (uint16_t i = 0; i < 20; i++) {
        publish_qos1(rig, (uint16_t)(100 + i), 1);
        fake_broker_publish(
            &rig->broker,
            &(struct fake_publish){
                .topic = "plant/big", .payload = payload, .payload_len = len - i, .qos = 1, .id = (uint16_t)(i + 1) });
    }
    assert_true(wait_taken(rig, 40));
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(rig->taken[2 * i + 1].payload_len, len - i);
    mqtt_source_durable(rig->source, 40);
    assert_true(fake_broker_wait_acks(&rig->broker, 40));
    free(payload);
}

static struct retained_row {
    const char *name;
    enum mqtt_retained option;
    size_t taken;
    const char *first;
    unsigned handling;
} retained_rows[] = {
    { "retained: store takes all", MQTT_RETAINED_STORE, 3, "old", 1 },
    { "retained: skip leaves them out", MQTT_RETAINED_SKIP, 2, "new", 2 },
    { "retained: only takes nothing else", MQTT_RETAINED_ONLY, 1, "old", 0 },
};

static void treats_retained_row(void **state) {
    const struct retained_row *row = *state;
    void *made;

    prepare(&made);
    struct rig *rig = made;
    rig->options.retained = (int)row->option;
    begin(rig);
    assert_int_equal(rig->broker.subscribes[0].options >> 4, row->handling);
    fake_broker_publish(&rig->broker, &(struct fake_publish){
                                          .topic = "plant/a", .payload = "old", .qos = 1, .id = 1, .retain = true });
    fake_broker_publish(&rig->broker,
                        &(struct fake_publish){ .topic = "plant/a", .payload = "new", .qos = 1, .id = 2 });
    fake_broker_publish(&rig->broker,
                        &(struct fake_publish){ .topic = "plant/a", .payload = "new", .qos = 1, .id = 3 });
    mqtt_source_durable(rig->source, 3);
    assert_true(fake_broker_wait_acks(&rig->broker, 3));
    assert_int_equal(rig->count, row->taken);
    assert_string_equal(rig->taken[0].payload, row->first);
    assert_int_equal(figure(rig, "mqtt_retained_skipped_total"), 3 - row->taken);
    finish(&made);
}

static void hands_on_what_is_too_large_marked_and_counted(void **state) {
    struct rig *rig = *state;

    rig->options.max_message_bytes = 4;
    begin(rig);
    fake_broker_publish(&rig->broker,
                        &(struct fake_publish){ .topic = "plant/a", .payload = "12345", .qos = 1, .id = 1 });
    fake_broker_publish(&rig->broker,
                        &(struct fake_publish){ .topic = "plant/a", .payload = "1234", .qos = 1, .id = 2 });
    mqtt_source_durable(rig->source, 2);
    assert_true(fake_broker_wait_acks(&rig->broker, 2));
    assert_int_equal(rig->count, 2);
    assert_true(rig->taken[0].too_large);
    assert_false(rig->taken[1].too_large);
    assert_int_equal(figure(rig, "mqtt_messages_too_large_total"), 1);
}

/* ---- acknowledging ------------------------------------------------------------------------------------------------
 */

static void acknowledges_in_order_and_only_what_is_durable(void **state) {
    struct rig *rig = *state;

    begin(rig);
    publish_qos1(rig, 1, 100);
    assert_true(wait_taken(rig, 100));
    assert_int_equal(fake_broker_acks(&rig->broker), 0);
    assert_true(figure_reaches(rig, "mqtt_acks_held", 100));
    mqtt_source_durable(rig->source, 60);
    assert_true(fake_broker_wait_acks(&rig->broker, 60));
    publish_qos1(rig, 101, 1); /* were another one under way, it would be seen before this message's */
    assert_true(wait_taken(rig, 101));
    assert_int_equal(fake_broker_acks(&rig->broker), 60);
    mqtt_source_durable(rig->source, 101);
    assert_true(fake_broker_wait_acks(&rig->broker, 101));
    for (size_t i = 0; i < 101; i++)
        assert_int_equal(rig->broker.acks[i].id, i + 1);
    assert_int_equal(figure(rig, "mqtt_early_acks_total"), 0);
    assert_true(figure_reaches(rig, "mqtt_acks_sent_total", 101));
}

static void acknowledges_at_once_what_needs_no_disk(void **state) {
    struct rig *rig = *state;

    rig->at_once = true;
    begin(rig);
    publish_qos1(rig, 1, 10);
    assert_true(fake_broker_wait_acks(&rig->broker, 10));
}

static void forgets_acknowledgements_of_a_lost_connection(void **state) {
    struct rig *rig = *state;

    begin(rig);
    publish_qos1(rig, 1, 10);
    assert_true(wait_taken(rig, 10));
    fake_broker_drop(&rig->broker);
    assert_true(fake_broker_wait_subscribes(&rig->broker, 2));
    mqtt_source_durable(rig->source, 10); /* for messages of the connection that is gone */
    publish_qos1(rig, 5, 1);              /* the broker sends one of them again, under the same identifier */
    assert_true(wait_taken(rig, 11));
    assert_int_equal(fake_broker_acks(&rig->broker), 0);
    mqtt_source_durable(rig->source, 11);
    assert_true(fake_broker_wait_acks(&rig->broker, 1));
    assert_int_equal(rig->broker.acks[0].id, 5);
    assert_int_equal(figure(rig, "mqtt_acks_discarded_total"), 10);
}

static void publish_again(struct rig *rig, uint16_t first, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char payload[16];
        snprintf(payload, sizeof payload, "%zu", first + i);
        fake_broker_publish(&rig->broker, &(struct fake_publish){ .topic = "plant/t", .payload = payload, .qos = 1,
                                                                  .id = (uint16_t)(first + i), .dup = true });
    }
}

static void takes_once_what_the_broker_delivers_twice(void **state) {
    struct rig *rig = *state;

    rig->broker.session_present = true;
    begin(rig);
    publish_qos1(rig, 1, 10);
    assert_true(wait_taken(rig, 10));
    fake_broker_drop(&rig->broker);
    assert_true(fake_broker_wait_subscribes(&rig->broker, 2));
    publish_again(rig, 1, 10);
    publish_qos1(rig, 11, 1);
    assert_true(wait_taken(rig, 11));
    assert_string_equal(rig->taken[10].payload, "11");
    assert_int_equal(fake_broker_acks(&rig->broker), 0); /* not before they are safe */
    mqtt_source_durable(rig->source, 11);
    assert_true(fake_broker_wait_acks(&rig->broker, 11));
    assert_int_equal(figure(rig, "mqtt_redeliveries_suppressed_total"), 10);
}

static void a_new_session_repeats_nothing(void **state) {
    struct rig *rig = *state;

    begin(rig); /* the broker says that it knows no session, each time */
    publish_qos1(rig, 1, 10);
    assert_true(wait_taken(rig, 10));
    fake_broker_drop(&rig->broker);
    assert_true(fake_broker_wait_subscribes(&rig->broker, 2));
    publish_again(rig, 1, 10);
    assert_true(wait_taken(rig, 20));
}

static void remembers_what_an_earlier_run_took(void **state) {
    struct rig *rig = *state;
    struct message_origin origins[3000];

    /* A run that takes 3000 messages, and where they came from, as the spool would keep it. */
    rig->broker.session_present = true;
    begin(rig);
    publish_qos1(rig, 1, 3000);
    assert_true(wait_taken(rig, 3000));
    for (size_t i = 0; i < 3000; i++)
        origins[i] = rig->taken[i].origin;
    mqtt_source_free(rig->source);
    begin_with_memory(rig, origins, 3000);
    assert_true(fake_broker_wait_subscribes(&rig->broker, 2));
    publish_again(rig, 2500, 501);
    publish_qos1(rig, 3001, 1);
    assert_true(wait_taken(rig, 3001));
    assert_string_equal(rig->taken[3000].payload, "3001");
    mqtt_source_durable(rig->source, 3001);
    assert_true(fake_broker_wait_acks(&rig->broker, 502));
    assert_int_equal(figure(rig, "mqtt_redeliveries_suppressed_total"), 501);
}

static void takes_a_whole_window_of_identifiers(void **state) {
    struct rig *rig = *state;

    begin(rig);
    publish_qos1(rig, 1, 65535);
    assert_true(wait_taken(rig, 65535));
    mqtt_source_durable(rig->source, 65535);
    assert_true(fake_broker_wait_acks(&rig->broker, 65535));
}

static void reconnects_for_refused_messages(void **state) {
    struct rig *rig = *state;

    begin(rig);
    publish_qos1(rig, 1, 2);
    assert_true(wait_taken(rig, 2));
    pthread_mutex_lock(&rig->lock);
    rig->refuse = true;
    pthread_mutex_unlock(&rig->lock);
    publish_qos1(rig, 3, 3);
    assert_true(figure_reaches(rig, "mqtt_messages_refused_total", 3));
    assert_int_equal(rig->offered, 3); /* nothing overtakes the first refused one */
    pthread_mutex_lock(&rig->lock);
    rig->refuse = false;
    pthread_mutex_unlock(&rig->lock);
    mqtt_source_durable(rig->source, 2); /* there is room again */
    assert_true(fake_broker_wait_subscribes(&rig->broker, 2));
    assert_int_equal(fake_broker_acks(&rig->broker), 2);
    assert_int_equal(rig->broker.disconnect_count, 1);
    publish_qos1(rig, 3, 3);
    assert_true(wait_taken(rig, 5));
    mqtt_source_durable(rig->source, 5);
    assert_true(fake_broker_wait_acks(&rig->broker, 5));
}

/* ---- stopping -----------------------------------------------------------------------------------------------------
 */

static void stops_with_the_last_acknowledgement(void **state) {
    struct rig *rig = *state;

    begin(rig);
    publish_qos1(rig, 1, 5);
    assert_true(wait_taken(rig, 5));
    mqtt_source_stop_taking(rig->source);
    publish_qos1(rig, 6, 1);
    assert_true(figure_reaches(rig, "mqtt_messages_received_total", 6));
    mqtt_source_durable(rig->source, 5);
    mqtt_source_stop(rig->source, 5 * NS_PER_S);
    assert_true(fake_broker_wait_disconnects(&rig->broker, 1));
    assert_int_equal(fake_broker_acks(&rig->broker), 5);
    assert_int_equal(rig->count, 5);
}

static void *stop_source(void *source) {
    mqtt_source_stop(source, 5 * NS_PER_S);
    return NULL;
}

/* A broker that is busy sending reads late. Were the socket closed before, its next write would fail and it would read no more. */
static void leaves_only_when_the_broker_has_read_all(void **state) {
    struct rig *rig = *state;
    const size_t puback = 4, disconnect = 2;
    const struct fake_publish more = { .topic = "plant/a", .payload = "1" };
    pthread_t stopper;

    begin(rig);
    publish_qos1(rig, 1, 1);
    assert_true(wait_taken(rig, 1));
    pthread_mutex_lock(&rig->broker.lock);
    rig->broker.deaf = true;
    pthread_mutex_unlock(&rig->broker.lock);
    fake_wake(&rig->broker);
    mqtt_source_durable(rig->source, 1);
    pthread_create(&stopper, NULL, stop_source, rig->source);
    while (fake_broker_unread(&rig->broker) < puback + disconnect)
        nanosleep(&(struct timespec){ 0, NS_PER_MS }, NULL);
    for (size_t i = 0; i < 20000; i++)
        fake_broker_publish(&rig->broker, &more);
    fake_broker_listen(&rig->broker);
    pthread_join(stopper, NULL);
    assert_true(fake_broker_wait_disconnects(&rig->broker, 1));
    assert_int_equal(fake_broker_acks(&rig->broker), 1);
}

static void stops_while_nobody_answers(void **state) {
    struct rig *rig = *state;

    rig->broker.mute = true;
    begin_with(rig, true);
    assert_true(fake_broker_wait_connects(&rig->broker, 1));
    int64_t asked = clock_mono_ns();
    mqtt_source_stop(rig->source, NS_PER_S);
    assert_true(clock_mono_ns() - asked < 3 * NS_PER_S);
}

static void two_sources_do_not_mix_their_acknowledgements(void **state) {
    struct rig *rig = *state;
    void *made;

    prepare(&made);
    struct rig *other = made;
    begin(rig);
    begin(other);
    publish_qos1(rig, 1, 20);
    publish_qos1(other, 1001, 20);
    assert_true(wait_taken(rig, 20));
    assert_true(wait_taken(other, 20));
    mqtt_source_durable(other->source, 20);
    assert_true(fake_broker_wait_acks(&other->broker, 20));
    assert_int_equal(fake_broker_acks(&rig->broker), 0);
    mqtt_source_durable(rig->source, 20);
    assert_true(fake_broker_wait_acks(&rig->broker, 20));
    assert_int_equal(other->broker.acks[19].id, 1020);
    assert_int_equal(rig->broker.acks[19].id, 20);
    finish(&made);
}

static void probes_servers_and_filters(void **state) {
    struct rig *rig = *state;
    struct buf report = BUF_INIT(4096);
    struct err err = ERR_INIT;

    fake_broker_start(&rig->broker);
    snprintf(rig->server, sizeof rig->server, "tcp://127.0.0.1:%u", rig->broker.port);
    rig->servers[0] = rig->server;
    rig->topics[1] = (char *)"secret/#";
    rig->options.topics.count = 2;
    rig->options.client_id = (char *)"production";
    rig->broker.suback[0].filter = "secret/#";
    rig->broker.suback[0].code = 0x87;
    rig->broker.suback_count = 1;
    rig->source = mqtt_source_new(&rig->options, NULL, "test", &rig->diags);
    assert_false(mqtt_source_probe(rig->source, 5 * NS_PER_S, &report, &err));
    assert_non_null(strstr(buf_cstr(&report), "connected with MQTT 5"));
    assert_non_null(strstr(buf_cstr(&report), "plant/#: granted, QoS 1"));
    assert_non_null(strstr(buf_cstr(&report), "secret/#: refused: Not authorized"));
    assert_string_not_equal(rig->broker.connects[0].client_id, "production");
    assert_true(rig->broker.connects[0].clean);
    buf_release(&report);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, prepare, finish)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(asks_for_a_session_with_mqtt_5),
        CASE(keeps_no_session_at_qos_0),
        CASE(a_dry_run_takes_another_client_id_and_no_session),
        CASE(falls_back_to_3_1_1),
        CASE(falls_back_when_refused_by_reason_code),
        CASE(falls_back_when_mqtt_5_is_met_with_silence),
        CASE(does_not_fall_back_when_told_not_to),
        CASE(waits_for_a_broker_that_is_not_up_yet),
        CASE(tries_the_servers_in_order),
        CASE(keeps_trying_with_wrong_credentials),
        CASE(reads_the_password_file_at_every_connect),
        CASE(takes_the_brokers_keepalive),
        CASE(gives_up_on_a_mute_broker),
        CASE(goes_through_no_http_proxy),
        CASE(comes_back_every_time),
        CASE(comes_back_when_the_broker_says_goodbye),
        CASE(a_malformed_packet_ends_the_connection_and_leaves_nothing_behind),
        CASE(names_a_refused_filter_and_goes_on),
        CASE(connects_anew_when_a_subscription_is_not_answered),
        CASE(leaves_out_covered_filters),
        CASE(delivers_overlapping_filters_once),
        CASE(passes_everything_on),
        CASE(reads_large_messages_across_the_read_ahead),
        { retained_rows[0].name, treats_retained_row, NULL, NULL, &retained_rows[0] },
        { retained_rows[1].name, treats_retained_row, NULL, NULL, &retained_rows[1] },
        { retained_rows[2].name, treats_retained_row, NULL, NULL, &retained_rows[2] },
        CASE(hands_on_what_is_too_large_marked_and_counted),
        CASE(acknowledges_in_order_and_only_what_is_durable),
        CASE(acknowledges_at_once_what_needs_no_disk),
        CASE(forgets_acknowledgements_of_a_lost_connection),
        CASE(takes_once_what_the_broker_delivers_twice),
        CASE(a_new_session_repeats_nothing),
        CASE(remembers_what_an_earlier_run_took),
        CASE(takes_a_whole_window_of_identifiers),
        CASE(reconnects_for_refused_messages),
        CASE(stops_with_the_last_acknowledgement),
        CASE(leaves_only_when_the_broker_has_read_all),
        CASE(stops_while_nobody_answers),
        CASE(two_sources_do_not_mix_their_acknowledgements),
        CASE(probes_servers_and_filters),
    };
    struct err err = ERR_INIT;

    log_set(LOG_ERROR, LOG_TEXT);
    if (!mqtt_client_setup(&err)) {
        fprintf(stderr, "mqtt_client_setup: %s\n", err.text);
        return 1;
    }
    return cmocka_run_group_tests_name("mqtt_source", tests, NULL, NULL);
}
