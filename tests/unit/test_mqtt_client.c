/* tests/unit/test_mqtt_client.c: the command line's client against a broker that does what the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/mqtt_client/client_parts.h"
#include "agent/mqtt_client/source.h"
#include "tests/support/fake_broker.c"

enum { PATIENCE_S = 10 };

/* Paho 1.3.12 loses the topic and the payload of a QoS 2 message that comes again, of which there is one here. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:MQTTProtocol_handlePublishes\nleak:readUTFlen\n";
}

struct rig {
    struct fake_broker broker;
    struct mqtt_client_options options;
    char server[64], other[64];
    const char *servers[2];
    struct mqtt_client *client;
    struct mqtt_client_event event; /* the last one */
    char topic[64], payload[64];    /* of the last message */
    size_t messages, answers;
};

static int prepare(void **state) {
    struct rig *rig = calloc(1, sizeof *rig);

    assert_non_null(rig);
    rig->options = (struct mqtt_client_options){
        .servers = rig->servers, .server_count = 1, .version = 5, .client_id = "test", .keepalive_s = 60, .in_flight = 10
    };
    *state = rig;
    return 0;
}

static int finish(void **state) {
    struct rig *rig = *state;

    mqtt_client_free(rig->client);
    if (rig->broker.port != 0)
        fake_broker_stop(&rig->broker);
    free(rig->broker.acks);
    free(rig);
    return 0;
}

static void begin(struct rig *rig) {
    struct err err = ERR_INIT;

    if (rig->broker.port == 0)
        fake_broker_start(&rig->broker);
    snprintf(rig->server, sizeof rig->server, "mqtt://127.0.0.1:%u", rig->broker.port);
    if (rig->servers[0] == NULL)
        rig->servers[0] = rig->server;
    rig->client = mqtt_client_new(&rig->options, &err);
    if (rig->client == NULL)
        fail_msg("%s", err.text);
}

/* Until an event of that kind, past others; false after some seconds. */
static bool wait_event(struct rig *rig, enum mqtt_client_event_kind kind) {
    int64_t until = clock_mono_ns() + PATIENCE_S * NS_PER_S;

    while (clock_mono_ns() < until) {
        struct pollfd wake = { .fd = mqtt_client_fd(rig->client), .events = POLLIN };
        int64_t due = mqtt_client_due_ns(rig->client) - clock_mono_ns();
        poll(&wake, 1, due < 0 ? 0 : due > 100 * NS_PER_MS ? 100 : (int)(due / NS_PER_MS) + 1);
        while (mqtt_client_event(rig->client, &rig->event)) {
            if (rig->event.kind == MQTT_CLIENT_MESSAGE) {
                snprintf(rig->topic, sizeof rig->topic, "%.*s", STR_ARGS(rig->event.message.topic));
                snprintf(rig->payload, sizeof rig->payload, "%.*s", STR_ARGS(rig->event.message.payload));
                rig->messages++;
            }
            rig->answers += rig->event.kind == MQTT_CLIENT_ANSWER;
            if (rig->event.kind == kind)
                return true;
        }
    }
    return false;
}

static void connect_and_subscribe(struct rig *rig, int qos) {
    const struct mqtt_client_subscription subscription = { .filter = "t/#", .qos = qos };

    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    assert_true(mqtt_client_subscribe(rig->client, &subscription, 7));
    assert_true(wait_event(rig, MQTT_CLIENT_ANSWER));
    assert_int_equal(rig->event.tag, 7);
    assert_int_equal(rig->event.code, qos);
}

static void send_to_client(struct rig *rig, int qos, uint16_t id, const char *payload) {
    fake_broker_publish(&rig->broker, &(struct fake_publish){ .topic = "t/x", .payload = payload, .qos = qos, .id = id });
}

static bool publish(struct rig *rig, const char *payload, int qos, uint64_t tag) {
    const struct mqtt_client_publish message = { .topic = STR("t/y"), .payload = str_of(payload), .qos = qos };
    struct err err = ERR_INIT;

    return mqtt_client_publish(rig->client, &message, tag, &err);
}

/* ---- connecting ---------------------------------------------------------------------------------------------------- */

static struct version_row {
    const char *name;
    int version;
} version_rows[] = { { "connects with MQTT 3.1", 3 }, { "connects with MQTT 3.1.1", 4 }, { "connects with MQTT 5", 5 } };

static void connects_in_version(void **state) {
    const struct version_row *row = *state;
    void *made;

    prepare(&made);
    struct rig *rig = made;
    rig->options.version = row->version;
    connect_and_subscribe(rig, 1);
    assert_int_equal(rig->event.version, row->version);
    assert_int_equal(rig->broker.connects[0].version, row->version);
    assert_true(rig->broker.connects[0].clean);
    assert_string_equal(rig->broker.connects[0].client_id, "test");
    finish(&made);
}

static void keeps_a_session_when_asked_to(void **state) {
    struct rig *rig = *state;

    rig->options.keep_session = true;
    rig->options.session_expiry_s = 99;
    rig->broker.session_present = true;
    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    assert_true(rig->event.session_present);
    assert_false(rig->broker.connects[0].clean);
    assert_int_equal(rig->broker.connects[0].session_expiry, 99);
}

static void the_given_receive_maximum_counts(void **state) {
    struct rig *rig = *state;
    const struct mqtt_property property = { .id = MQTT_PROPERTY_RECEIVE_MAXIMUM, .number = 3 };

    rig->options.connect_properties = (struct mqtt_properties){ &property, 1 };
    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    assert_int_equal(rig->broker.connects[0].receive_maximum, 3);
}

static void tells_a_refusal_as_final(void **state) {
    struct rig *rig = *state;

    rig->broker.refuse_code = 0x86; /* bad user name or password */
    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_FAILED));
    assert_true(rig->event.final);
    assert_int_equal(rig->event.failure, FAILED_CREDENTIALS);
    assert_non_null(strstr(rig->event.text, rig->server));
    assert_non_null(strstr(rig->event.text, mqtt_client_reason(5, 0x86)));
    assert_non_null(strstr(rig->event.text, "code 134"));
}

static void names_every_server_that_would_not_do(void **state) {
    struct rig *rig = *state;

    rig->servers[0] = "mqtt://127.0.0.1:1";
    rig->servers[1] = "mqtt://127.0.0.1:2";
    rig->options.server_count = 2;
    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_FAILED));
    assert_false(rig->event.final);
    assert_int_equal(rig->event.failure, FAILED_NETWORK);
    assert_non_null(strstr(rig->event.text, "127.0.0.1:1: Connection refused"));
    assert_non_null(strstr(rig->event.text, "127.0.0.1:2: Connection refused"));
}

static void takes_the_second_server_when_the_first_is_dead(void **state) {
    struct rig *rig = *state;

    fake_broker_start(&rig->broker);
    snprintf(rig->other, sizeof rig->other, "mqtt://127.0.0.1:%u", rig->broker.port);
    rig->servers[0] = "mqtt://127.0.0.1:1";
    rig->servers[1] = rig->other;
    rig->options.server_count = 2;
    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    assert_string_equal(rig->event.server, rig->other);
}

static void falls_back_to_3_1_1_where_both_are_allowed(void **state) {
    struct rig *rig = *state;

    rig->broker.old = true;
    rig->options.version = 0;
    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    assert_int_equal(rig->event.version, 4);
}

static void does_not_fall_back_from_a_version_that_was_asked_for(void **state) {
    struct rig *rig = *state;

    rig->broker.old = true;
    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_FAILED));
    assert_int_equal(rig->event.failure, FAILED_VERSION);
    assert_true(rig->event.final);
}

static void takes_the_brokers_keepalive(void **state) {
    static const unsigned char server_keep_alive[] = { 19, 0, 9 };
    struct rig *rig = *state;

    memcpy(rig->broker.connack_properties, server_keep_alive, sizeof server_keep_alive);
    rig->broker.connack_properties_len = sizeof server_keep_alive;
    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    assert_int_equal(rig->broker.connect_count, 2);
    assert_int_equal(rig->broker.connects[0].keepalive_s, 60);
    assert_int_equal(rig->broker.connects[1].keepalive_s, 9);
}

static void comes_back_after_a_loss(void **state) {
    struct rig *rig = *state;

    connect_and_subscribe(rig, 0);
    fake_broker_drop(&rig->broker);
    assert_true(wait_event(rig, MQTT_CLIENT_LOST));
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    fake_broker_dismiss(&rig->broker, 0x8b); /* server shutting down */
    assert_true(wait_event(rig, MQTT_CLIENT_LOST));
    assert_non_null(strstr(rig->event.text, "Server shutting down"));
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
}

static struct fault_row {
    const char *name;
    unsigned char code;
    bool final;
} fault_rows[] = {
    { "a packet that is too large is final", 0x95, true },
    { "a topic alias that is not allowed is final", 0x94, true },
    { "a broker that goes away is not", 0x8b, false },
    { "a session that is taken over is not", 0x8e, false },
};

static void tells_whose_fault_a_loss_is(void **state) {
    const struct fault_row *row = *state;
    void *made;

    prepare(&made);
    struct rig *rig = made;
    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    fake_broker_dismiss(&rig->broker, row->code);
    assert_true(wait_event(rig, MQTT_CLIENT_LOST));
    assert_int_equal(rig->event.final, row->final);
    finish(&made);
}

static void can_go_at_any_time(void **state) {
    struct rig *rig = *state;
    struct mqtt_client_event event;

    begin(rig);
    mqtt_client_free(rig->client); /* at rest */
    begin(rig);
    assert_false(mqtt_client_event(rig->client, &event));
    mqtt_client_free(rig->client); /* looking up */
    rig->broker.mute = true;
    begin(rig);
    assert_false(mqtt_client_event(rig->client, &event));
    for (int i = 0; i < 100 && rig->client->phase != CLIENT_OPENING; i++) {
        poll(NULL, 0, 10);
        assert_false(mqtt_client_event(rig->client, &event));
    }
    assert_int_equal(rig->client->phase, CLIENT_OPENING);
    mqtt_client_free(rig->client); /* connecting */
    rig->client = NULL;
}

static void leaves_with_a_disconnect(void **state) {
    struct rig *rig = *state;

    connect_and_subscribe(rig, 0);
    mqtt_client_free(rig->client);
    rig->client = NULL;
    assert_true(fake_broker_wait_disconnects(&rig->broker, 1));
}

static void refuses_what_it_cannot_be_given(void **state) {
    struct rig *rig = *state;
    struct err err = ERR_INIT;

    rig->servers[0] = "mqtt://h";
    rig->options.tls_ca = "/nowhere/ca.pem";
    assert_null(mqtt_client_new(&rig->options, &err));
    assert_non_null(strstr(err.text, "/nowhere/ca.pem"));
    rig->options.tls_ca = NULL;
    rig->options.tls_ca_directory = "/nowhere";
    err_clear(&err);
    assert_null(mqtt_client_new(&rig->options, &err));
    assert_non_null(strstr(err.text, "/nowhere"));
    rig->options.tls_ca_directory = NULL;
    rig->options.tls_ciphers = "no such cipher";
    err_clear(&err);
    assert_null(mqtt_client_new(&rig->options, &err));
    assert_non_null(strstr(err.text, "no such cipher"));
}

/* ---- receiving ----------------------------------------------------------------------------------------------------- */

static void acknowledges_what_is_written_and_no_more(void **state) {
    struct rig *rig = *state;

    connect_and_subscribe(rig, 1);
    send_to_client(rig, 1, 11, "one");
    send_to_client(rig, 1, 12, "two");
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    assert_string_equal(rig->payload, "one");
    poll(NULL, 0, 100); /* time enough for an acknowledgement that should not come */
    assert_int_equal(fake_broker_acks(&rig->broker), 0);
    mqtt_client_acknowledge(rig->client);
    assert_true(fake_broker_wait_acks(&rig->broker, 1));
    assert_int_equal(rig->broker.acks[0].id, 11);
    poll(NULL, 0, 100);
    assert_int_equal(fake_broker_acks(&rig->broker), 1);
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    mqtt_client_acknowledge(rig->client);
    assert_true(fake_broker_wait_acks(&rig->broker, 2));
}

static size_t receipts(struct rig *rig) {
    pthread_mutex_lock(&rig->broker.lock);
    size_t count = rig->broker.receipt_count;
    pthread_mutex_unlock(&rig->broker.lock);
    return count;
}

static void holds_the_pubrec_of_qos_2_in_mqtt_5(void **state) {
    struct rig *rig = *state;

    connect_and_subscribe(rig, 2);
    send_to_client(rig, 2, 21, "exactly");
    send_to_client(rig, 2, 300, "once");
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    assert_int_equal(rig->event.message.qos, 2);
    poll(NULL, 0, 100);
    assert_int_equal(receipts(rig), 0);
    mqtt_client_acknowledge(rig->client);
    assert_true(fake_broker_wait_receipts(&rig->broker, 1));
    assert_int_equal(rig->broker.receipts[0], 21);
    assert_true(fake_broker_wait_complete(&rig->broker, 1));
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    mqtt_client_acknowledge(rig->client);
    assert_true(fake_broker_wait_complete(&rig->broker, 2));
    assert_int_equal(rig->broker.receipts[1], 300);
}

/* In 3.1.1 Paho hands a QoS 2 message over when it is released, after its PUBREC. */
static void receives_qos_2_in_3_1_1(void **state) {
    struct rig *rig = *state;

    rig->options.version = 4;
    connect_and_subscribe(rig, 2);
    send_to_client(rig, 2, 21, "exactly");
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    assert_string_equal(rig->payload, "exactly");
    assert_true(fake_broker_wait_complete(&rig->broker, 1));
    mqtt_client_acknowledge(rig->client);
    poll(NULL, 0, 100);
    assert_int_equal(receipts(rig), 1);
}

/* A kept session: the broker sends again what it has no PUBREC for; Paho knows it already and hands nothing over. */
static void acknowledges_a_qos_2_message_that_comes_again(void **state) {
    struct rig *rig = *state;

    rig->options.keep_session = true;
    rig->options.session_expiry_s = 60;
    rig->broker.session_present = true;
    connect_and_subscribe(rig, 2);
    send_to_client(rig, 2, 5, "same");
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    fake_broker_drop(&rig->broker);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    mqtt_client_acknowledge(rig->client); /* of the lost connection: nothing is sent */
    fake_broker_publish(&rig->broker,
                        &(struct fake_publish){ .topic = "t/x", .payload = "same", .qos = 2, .id = 5, .dup = true });
    assert_true(fake_broker_wait_receipts(&rig->broker, 1));
    assert_true(fake_broker_wait_complete(&rig->broker, 1));
    send_to_client(rig, 2, 6, "next");
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    assert_string_equal(rig->payload, "next");
    assert_int_equal(rig->messages, 2);
}

static void forgets_acknowledgements_of_a_lost_connection(void **state) {
    struct rig *rig = *state;

    connect_and_subscribe(rig, 1);
    send_to_client(rig, 1, 11, "one");
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    fake_broker_drop(&rig->broker);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    mqtt_client_acknowledge(rig->client);
    send_to_client(rig, 1, 12, "two");
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    mqtt_client_acknowledge(rig->client);
    assert_true(fake_broker_wait_acks(&rig->broker, 1));
    assert_int_equal(rig->broker.acks[0].id, 12);
}

static void hands_over_every_property(void **state) {
    static const unsigned char properties[] = { 1,  1,   2, 0,   0,   1,   44, 3,   0, 4, 'j', 's', 'o', 'n', 8,  0, 1,
                                                'r', 9,  0, 2,   0,   255, 11, 200, 1, 38, 0,  1,  'k', 0,   1,   'v' };
    struct rig *rig = *state;

    connect_and_subscribe(rig, 0);
    fake_broker_publish(&rig->broker, &(struct fake_publish){ .topic = "t/x", .payload = "p", .retain = true,
                                                              .properties = properties, .properties_len = sizeof properties });
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    const struct mqtt_properties *list = &rig->event.message.properties;
    assert_int_equal(list->count, 7);
    assert_true(rig->event.message.retain);
    assert_int_equal(mqtt_properties_find(list, MQTT_PROPERTY_PAYLOAD_FORMAT)->number, 1);
    assert_int_equal(mqtt_properties_find(list, MQTT_PROPERTY_MESSAGE_EXPIRY)->number, 300);
    assert_true(str_eq_c(mqtt_properties_find(list, MQTT_PROPERTY_CONTENT_TYPE)->text, "json"));
    assert_true(str_eq_c(mqtt_properties_find(list, MQTT_PROPERTY_RESPONSE_TOPIC)->text, "r"));
    assert_true(str_eq(mqtt_properties_find(list, MQTT_PROPERTY_CORRELATION_DATA)->text, STR("\0\xff")));
    assert_int_equal(mqtt_properties_find(list, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER)->number, 200);
    assert_true(str_eq_c(mqtt_properties_find(list, MQTT_PROPERTY_USER)->text, "k"));
    assert_true(str_eq_c(mqtt_properties_find(list, MQTT_PROPERTY_USER)->value, "v"));
}

static void resolves_topic_aliases(void **state) {
    static const unsigned char alias_2[] = { 35, 0, 2 };
    const struct mqtt_property maximum = { .id = MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM, .number = 5 };
    struct fake_publish publish_row = { .topic = "t/long/topic", .payload = "1", .properties = alias_2, .properties_len = 3 };
    struct rig *rig = *state;

    rig->options.connect_properties = (struct mqtt_properties){ &maximum, 1 };
    connect_and_subscribe(rig, 0);
    fake_broker_publish(&rig->broker, &publish_row);
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    publish_row.topic = "";
    publish_row.payload = "2";
    fake_broker_publish(&rig->broker, &publish_row);
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    assert_string_equal(rig->topic, "t/long/topic");
    assert_string_equal(rig->payload, "2");
    publish_row.topic = "t/other";
    fake_broker_publish(&rig->broker, &publish_row);
    publish_row.topic = "";
    fake_broker_publish(&rig->broker, &publish_row);
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    assert_string_equal(rig->topic, "t/other");
}

static void *flood(void *ctx) {
    struct rig *rig = ctx;
    char *payload = calloc(1, 1 << 20);

    assert_non_null(payload);
    for (int i = 0; i < 64; i++)
        fake_broker_publish(&rig->broker, &(struct fake_publish){ .topic = "t/x", .payload = payload, .payload_len = 1 << 20 });
    free(payload);
    return NULL;
}

static size_t waiting_bytes(struct rig *rig, bool *paused) {
    pthread_mutex_lock(&rig->client->queue.lock);
    size_t bytes = rig->client->queue.bytes;
    *paused = rig->client->queue.paused;
    pthread_mutex_unlock(&rig->client->queue.lock);
    return bytes;
}

static void stops_reading_when_nobody_takes_the_messages(void **state) {
    struct rig *rig = *state;
    pthread_t thread;
    bool paused = false;

    connect_and_subscribe(rig, 0);
    assert_int_equal(pthread_create(&thread, NULL, flood, rig), 0);
    for (int i = 0; i < 1000 && !paused; i++) {
        waiting_bytes(rig, &paused);
        poll(NULL, 0, 10);
    }
    assert_true(paused);
    poll(NULL, 0, 300); /* time enough for more to come */
    assert_true(waiting_bytes(rig, &paused) < 6 << 20);
    while (rig->messages < 64)
        assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    assert_int_equal(pthread_join(thread, NULL), 0);
    send_to_client(rig, 0, 0, "after the flood");
    assert_true(wait_event(rig, MQTT_CLIENT_MESSAGE));
    assert_string_equal(rig->payload, "after the flood");
}

/* ---- publishing ---------------------------------------------------------------------------------------------------- */

static struct publish_row {
    const char *name;
    int version, qos;
} publish_rows[] = {
    { "publishes with 3.1.1 at QoS 0", 4, 0 }, { "publishes with 3.1.1 at QoS 1", 4, 1 }, { "publishes with 3.1.1 at QoS 2", 4, 2 },
    { "publishes with 5 at QoS 0", 5, 0 },     { "publishes with 5 at QoS 1", 5, 1 },     { "publishes with 5 at QoS 2", 5, 2 },
};

static void publishes_row(void **state) {
    const struct publish_row *row = *state;
    void *made;

    prepare(&made);
    struct rig *rig = made;
    rig->options.version = row->version;
    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    for (uint64_t i = 0; i < 10; i++)
        assert_true(publish(rig, "payload", row->qos, 100 + i));
    assert_false(publish(rig, "one too many", row->qos, 1));
    assert_int_equal(mqtt_client_room(rig->client), 0);
    for (uint64_t i = 0; i < 10; i++) {
        assert_true(wait_event(rig, MQTT_CLIENT_ANSWER));
        assert_true(rig->event.publish);
        assert_int_equal(rig->event.tag, 100 + i);
        assert_int_equal(rig->event.code, 0);
    }
    assert_int_equal(mqtt_client_in_flight(rig->client), 0);
    assert_true(fake_broker_wait_published(&rig->broker, 10));
    assert_string_equal(rig->broker.published[9].payload, "payload");
    assert_int_equal(rig->broker.published[9].qos, row->qos);
    finish(&made);
}

static void keeps_within_the_brokers_receive_maximum(void **state) {
    static const unsigned char receive_maximum[] = { 33, 0, 2 };
    struct rig *rig = *state;

    memcpy(rig->broker.connack_properties, receive_maximum, sizeof receive_maximum);
    rig->broker.connack_properties_len = sizeof receive_maximum;
    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    assert_int_equal(mqtt_client_room(rig->client), 2);
}

static struct refusal_row {
    const char *name;
    int qos;
} refusal_rows[] = { { "tells a PUBACK's reason", 1 }, { "tells a PUBREC's reason", 2 } };

static void tells_why_a_message_is_refused(void **state) {
    const struct refusal_row *row = *state;
    void *made;

    prepare(&made);
    struct rig *rig = made;
    rig->broker.puback_code = 0x97; /* quota exceeded */
    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    assert_true(publish(rig, "x", row->qos, 1));
    assert_true(wait_event(rig, MQTT_CLIENT_ANSWER));
    assert_int_equal(rig->event.code, 0x97);
    assert_string_equal(mqtt_client_reason(5, 0x97), "Quota exceeded");
    finish(&made);
}

static struct resend_row {
    const char *name;
    int version, qos;
    bool keep_session;
} resend_rows[] = {
    { "sends again over the next connection, QoS 1", 4, 1, false },
    { "sends again over the next connection, MQTT 5 at QoS 2", 5, 2, false },
    { "sends again in a kept session", 4, 1, true },
    { "sends again in a kept session of MQTT 5", 5, 1, true },
};

static void sends_again_what_had_no_answer(void **state) {
    const struct resend_row *row = *state;
    void *made;

    prepare(&made);
    struct rig *rig = made;
    rig->options.version = row->version;
    rig->options.keep_session = rig->broker.session_present = row->keep_session;
    rig->options.session_expiry_s = row->keep_session ? 60 : 0;
    rig->broker.mute_puback = true;
    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    assert_true(publish(rig, "first", row->qos, 1) && publish(rig, "second", row->qos, 2));
    assert_true(fake_broker_wait_published(&rig->broker, 2));
    pthread_mutex_lock(&rig->broker.lock);
    rig->broker.mute_puback = false;
    pthread_mutex_unlock(&rig->broker.lock);
    fake_broker_drop(&rig->broker);
    assert_true(wait_event(rig, MQTT_CLIENT_LOST));
    assert_int_equal(mqtt_client_in_flight(rig->client), 2);
    assert_true(wait_event(rig, MQTT_CLIENT_ANSWER));
    assert_int_equal(rig->event.tag, 1);
    assert_true(wait_event(rig, MQTT_CLIENT_ANSWER));
    assert_int_equal(rig->event.tag, 2);
    assert_int_equal(rig->broker.published_count, 4);
    assert_string_equal(rig->broker.published[2].payload, "first");
    assert_string_equal(rig->broker.published[3].payload, "second");
    finish(&made);
}

static struct dead_row {
    const char *name;
    int version, qos;
    bool keep_session;
} dead_rows[] = {
    { "writes to a dead connection, QoS 0", 4, 0, false },
    { "writes to a dead connection, QoS 1", 5, 1, false },
    { "writes to a dead connection in a kept session, QoS 1", 4, 1, true },
    { "writes to a dead connection in a kept session of MQTT 5, QoS 2", 5, 2, true },
};

/* Some losses are found by a write, not by a read: Paho 1.3.12 by itself then frees what it sends again later. */
static void writes_to_a_dead_connection(void **state) {
    const struct dead_row *row = *state;
    void *made;

    prepare(&made);
    struct rig *rig = made;
    rig->options.version = row->version;
    rig->options.keep_session = rig->broker.session_present = row->keep_session;
    rig->options.session_expiry_s = row->keep_session ? 60 : 0;
    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    for (size_t round = 1; round <= 30; round++) {
        rig->client->failures = 0; /* the pauses between connections that do not last are not what this is about */
        fake_broker_drop(&rig->broker);
        for (uint64_t i = 0; i < 5; i++)
            assert_true(publish(rig, "a payload of some length", row->qos, i));
        while (rig->answers < 5 * round)
            assert_true(wait_event(rig, MQTT_CLIENT_ANSWER));
    }
    assert_int_equal(mqtt_client_in_flight(rig->client), 0);
    finish(&made);
}

static void leaves_the_topic_out_behind_an_alias(void **state) {
    const struct mqtt_property alias = { .id = MQTT_PROPERTY_TOPIC_ALIAS, .number = 3 };
    const struct mqtt_properties properties = { &alias, 1 };
    const struct mqtt_client_publish message = { .topic = STR("t/y"), .payload = STR("x"), .qos = 1, .properties = &properties };
    struct rig *rig = *state;
    struct err err = ERR_INIT;

    begin(rig);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    for (int i = 0; i < 2; i++) {
        assert_true(mqtt_client_publish(rig->client, &message, 1, &err));
        assert_true(wait_event(rig, MQTT_CLIENT_ANSWER));
    }
    fake_broker_drop(&rig->broker);
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    assert_true(mqtt_client_publish(rig->client, &message, 1, &err));
    assert_true(wait_event(rig, MQTT_CLIENT_ANSWER));
    assert_string_equal(rig->broker.published[0].topic, "t/y");
    assert_string_equal(rig->broker.published[1].topic, "");
    assert_string_equal(rig->broker.published[2].topic, "t/y");
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig->broker.published[i].alias, 3);
}

static void unsubscribes(void **state) {
    struct rig *rig = *state;

    begin(rig);
    assert_false(mqtt_client_unsubscribe(rig->client, "t/#", NULL, 1)); /* no connection yet */
    assert_true(wait_event(rig, MQTT_CLIENT_CONNECTED));
    assert_true(mqtt_client_unsubscribe(rig->client, "t/#", NULL, 9));
    assert_true(wait_event(rig, MQTT_CLIENT_ANSWER));
    assert_int_equal(rig->event.tag, 9);
    assert_false(rig->event.publish);
    assert_int_equal(rig->broker.unsubscribe_count, 1);
}

static void publishes_what_was_asked_for_before_the_connection(void **state) {
    struct rig *rig = *state;

    begin(rig);
    assert_true(publish(rig, "early", 1, 4));
    assert_true(wait_event(rig, MQTT_CLIENT_ANSWER));
    assert_int_equal(rig->event.tag, 4);
    assert_string_equal(rig->broker.published[0].payload, "early");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, prepare, finish)

int main(void) {
    struct CMUnitTest tests[64] = {
        TEST(keeps_a_session_when_asked_to),
        TEST(the_given_receive_maximum_counts),
        TEST(tells_a_refusal_as_final),
        TEST(names_every_server_that_would_not_do),
        TEST(takes_the_second_server_when_the_first_is_dead),
        TEST(falls_back_to_3_1_1_where_both_are_allowed),
        TEST(does_not_fall_back_from_a_version_that_was_asked_for),
        TEST(takes_the_brokers_keepalive),
        TEST(comes_back_after_a_loss),
        TEST(can_go_at_any_time),
        TEST(leaves_with_a_disconnect),
        TEST(refuses_what_it_cannot_be_given),
        TEST(acknowledges_what_is_written_and_no_more),
        TEST(holds_the_pubrec_of_qos_2_in_mqtt_5),
        TEST(receives_qos_2_in_3_1_1),
        TEST(acknowledges_a_qos_2_message_that_comes_again),
        TEST(forgets_acknowledgements_of_a_lost_connection),
        TEST(hands_over_every_property),
        TEST(resolves_topic_aliases),
        TEST(stops_reading_when_nobody_takes_the_messages),
        TEST(keeps_within_the_brokers_receive_maximum),
        TEST(leaves_the_topic_out_behind_an_alias),
        TEST(unsubscribes),
        TEST(publishes_what_was_asked_for_before_the_connection),
    };
    size_t count = 24;
    struct err err = ERR_INIT;

    for (size_t i = 0; i < sizeof version_rows / sizeof *version_rows; i++)
        tests[count++] = (struct CMUnitTest){ version_rows[i].name, connects_in_version, NULL, NULL, &version_rows[i] };
    for (size_t i = 0; i < sizeof publish_rows / sizeof *publish_rows; i++)
        tests[count++] = (struct CMUnitTest){ publish_rows[i].name, publishes_row, NULL, NULL, &publish_rows[i] };
    for (size_t i = 0; i < sizeof refusal_rows / sizeof *refusal_rows; i++)
        tests[count++] = (struct CMUnitTest){ refusal_rows[i].name, tells_why_a_message_is_refused, NULL, NULL, &refusal_rows[i] };
    for (size_t i = 0; i < sizeof resend_rows / sizeof *resend_rows; i++)
        tests[count++] = (struct CMUnitTest){ resend_rows[i].name, sends_again_what_had_no_answer, NULL, NULL, &resend_rows[i] };
    for (size_t i = 0; i < sizeof fault_rows / sizeof *fault_rows; i++)
        tests[count++] = (struct CMUnitTest){ fault_rows[i].name, tells_whose_fault_a_loss_is, NULL, NULL, &fault_rows[i] };
    for (size_t i = 0; i < sizeof dead_rows / sizeof *dead_rows; i++)
        tests[count++] = (struct CMUnitTest){ dead_rows[i].name, writes_to_a_dead_connection, NULL, NULL, &dead_rows[i] };
    log_set(LOG_ERROR, LOG_TEXT);
    if (!mqtt_client_setup(&err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    return _cmocka_run_group_tests("mqtt client", tests, count, NULL, NULL);
}
