/* agent/mqtt_client/client.c: see client.h. Options, life, requests; client_connect.c and client_queue.c have the rest. */
#include "agent/mqtt_client/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/base/clock.h"
#include "agent/mqtt_client/client_parts.h"

enum {
    RECEIVE_MAXIMUM = 1000,
    CONNECT_TIMEOUT_S = 30,
    TAG_INDEX_BITS = 32,
    PACKET_MAX = 268435455,    /* MQTT 3.1.1, 2.2.3 */
    PACKET_OVERHEAD = 1 << 17, /* header and properties */
};

/* In the upper half of a tag: of a subscribe or an unsubscribe; publishes do not have it. */
#define REQUEST_BIT 0x80000000u

void mqtt_client_random_id(const char *base, char out[80]) {
    mqtt_client_id_random(base, out);
}

/* ---- options ------------------------------------------------------------------------------------------------------- */

bool mqtt_client_check_server(const char *url, struct err *err) {
    struct mqtt_server server;
    bool ok = mqtt_server_parse(&server, url, NULL, CHOICE_AUTO, err);

    mqtt_server_release(&server);
    return ok;
}

static bool read_servers(struct mqtt_client *client, struct err *err) {
    const struct mqtt_client_options *options = client->options;
    struct mqtt_settings *settings = &client->settings;
    int tls = options->tls == MQTT_CLIENT_TLS_ALWAYS ? CHOICE_FIRST_YES : CHOICE_AUTO;

    settings->servers = calloc(options->server_count, sizeof *settings->servers);
    if (settings->servers == NULL)
        return err_set(err, ERR_FULL, "no memory");
    for (size_t i = 0; i < options->server_count; i++)
        if (!mqtt_server_parse(&settings->servers[settings->server_count++], options->servers[i], options->tls_server_name, tls, err))
            return false;
    return true;
}

static bool is_set(const char *text) {
    return text != NULL && text[0] != '\0';
}

static bool check_tls(const struct mqtt_client_options *options, struct err *err) {
    struct stat info;

    if (is_set(options->tls_ca) && !paho_tls_check_ca(options->tls_ca, err))
        return false;
    if (options->tls_ca_directory != NULL && (stat(options->tls_ca_directory, &info) != 0 || !S_ISDIR(info.st_mode)))
        return err_set(err, ERR_IO, "%s is not a directory with CA certificates", options->tls_ca_directory);
    return !is_set(options->tls_cert) ||
           paho_tls_check_pair(options->tls_cert, options->tls_key, options->tls_key_password, err);
}

static bool read_ciphers(struct mqtt_client *client, struct err *err) {
    struct buf list = BUF_INIT(16384);
    bool ok;

    if (client->options->tls_suites != NULL)
        ok = buf_append_c(&list, client->options->tls_suites);
    else
        ok = paho_tls_cipher_list(client->options->tls_13 ? TLS_VERSION_1_3 : TLS_VERSION_1_2, client->options->tls_ciphers,
                                  &list, err);
    client->settings.tls_ciphers = ok ? strdup(buf_cstr(&list)) : NULL;
    buf_release(&list);
    return client->settings.tls_ciphers != NULL;
}

static void fill_settings(struct mqtt_client *client) {
    const struct mqtt_client_options *options = client->options;

    client->source_options = (struct mqtt_options){
        .username = (char *)options->username,
        .password = (char *)options->password,
        .keepalive_ns = options->keepalive_s * NS_PER_S,
        .ping_timeout_ns = options->keepalive_s * NS_PER_S,
        .connection_timeout_ns = CONNECT_TIMEOUT_S * NS_PER_S,
        .client_trace = options->trace,
        .tls_ca = (char *)options->tls_ca,
        .tls_cert = (char *)options->tls_cert,
        .tls_key = (char *)options->tls_key,
        .tls_key_password = (char *)options->tls_key_password,
        .insecure_skip_verify = options->verify == MQTT_CLIENT_VERIFY_NONE,
    };
    client->settings = (struct mqtt_settings){ .options = &client->source_options,
                                               .password_file = options->password_file,
                                               .receive_maximum = options->receive_maximum > 0 ? options->receive_maximum
                                                                                               : RECEIVE_MAXIMUM };
}

static void fill_extras(struct mqtt_client *client) {
    const struct mqtt_client_options *options = client->options;

    client->extras = (struct connection_extras){
        .bind_address = options->bind_address,
        .will_topic = options->will.topic,
        .will_payload = options->will.payload,
        .will_qos = options->will.qos,
        .will_retain = options->will.retain,
        .connect = options->connect_properties,
        .will = options->will_properties,
        .disconnect = options->disconnect_properties,
        .session_expiry_s = options->session_expiry_s,
        .tls_ca_directory = options->tls_ca_directory,
        .tls_alpn = options->tls_alpn,
        .tls_any_name = options->verify == MQTT_CLIENT_VERIFY_CHAIN,
        .buffered = (int)options->in_flight + 1000, /* never Paho's limit but ours */
        .held = client->held_bits,
    };
}

/* ---- life ---------------------------------------------------------------------------------------------------------- */

static size_t alias_maximum(const struct mqtt_client_options *options) {
    const struct mqtt_property *property = mqtt_properties_find(&options->connect_properties, MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM);

    return property != NULL ? property->number : 0;
}

struct mqtt_client *mqtt_client_new(const struct mqtt_client_options *options, struct err *err) {
    struct mqtt_client *client = calloc(1, sizeof *client);
    bool ok;

    if (client == NULL) {
        err_set(err, ERR_FULL, "no memory for a client");
        return NULL;
    }
    client->options = options;
    client->keepalive_s = options->keepalive_s;
    fill_settings(client);
    fill_extras(client);
    ok = client_queue_init(&client->queue, alias_maximum(options), err);
    client->hooks = client_queue_hooks(&client->queue);
    client->slots = calloc(options->in_flight, sizeof *client->slots);
    ok = ok && (client->slots != NULL || err_set(err, ERR_FULL, "no memory for a client")) && read_servers(client, err) &&
         check_tls(options, err) && read_ciphers(client, err);
    if (ok)
        return client; /* at rest until now: the first mqtt_client_event begins */
    mqtt_client_free(client);
    return NULL;
}

static void forget_publishes(struct mqtt_client *client) {
    while (client->first != NULL) {
        struct pending_publish *next = client->first->next;
        free(client->first);
        client->first = next;
    }
}

void mqtt_client_free(struct mqtt_client *client) {
    if (client == NULL)
        return;
    pthread_mutex_lock(&client->queue.lock);
    client->queue.dropping = true;
    pthread_mutex_unlock(&client->queue.lock);
    client_disconnect(client);
    connection_free(client->connection);
    lookup_free(client->lookup);
    client_queue_release(&client->queue);
    forget_publishes(client);
    mqtt_settings_release(&client->settings);
    free(client->given);
    free(client->slots);
    free(client);
}

int mqtt_client_fd(const struct mqtt_client *client) {
    return client->queue.wake_fd;
}

int64_t mqtt_client_due_ns(const struct mqtt_client *client) {
    return client->due_ns;
}

/* ---- events -------------------------------------------------------------------------------------------------------- */

static uint64_t tag_of(uint32_t generation, uint32_t index) {
    return (uint64_t)generation << TAG_INDEX_BITS | index;
}

static struct pending_publish *find_publish(struct mqtt_client *client, uint64_t tag) {
    uint32_t slot = (uint32_t)tag;
    struct pending_publish *publish = slot < client->options->in_flight ? client->slots[slot] : NULL;

    return publish != NULL && publish->generation == tag >> TAG_INDEX_BITS ? publish : NULL;
}

static void remove_publish(struct mqtt_client *client, struct pending_publish *publish) {
    *(publish->previous != NULL ? &publish->previous->next : &client->first) = publish->next;
    *(publish->next != NULL ? &publish->next->previous : &client->last) = publish->previous;
    client->slots[publish->slot] = NULL;
    client->in_flight--;
    free(publish);
}

/* The answer to a publish, or none any more: then it is sent again. */
static bool note_published(struct mqtt_client *client, const struct queued *queued, struct mqtt_client_event *event) {
    struct pending_publish *publish = find_publish(client, queued->as.answer.tag);

    if (publish == NULL)
        return false;
    if (queued->as.answer.code == SUBSCRIBE_ABANDONED) {
        publish->generation = 0;
        client->unsent++;
        if (client->phase == CLIENT_UP)
            client_send_pending(client);
        return false;
    }
    *event = (struct mqtt_client_event){ .kind = MQTT_CLIENT_ANSWER,
                                         .version = client->version,
                                         .tag = publish->tag,
                                         .code = queued->as.answer.code,
                                         .publish = true };
    remove_publish(client, publish);
    if (client->unsent > 0 && client->phase == CLIENT_UP)
        client_send_pending(client);
    return true;
}

/* To a subscribe or an unsubscribe. */
static bool note_request(const struct mqtt_client *client, const struct queued *queued, struct mqtt_client_event *event) {
    uint64_t tag = queued->as.answer.tag;

    if ((uint32_t)(tag >> TAG_INDEX_BITS) != (client->connection_number | REQUEST_BIT))
        return false;
    *event = (struct mqtt_client_event){ .kind = MQTT_CLIENT_ANSWER,
                                         .version = client->version,
                                         .tag = (uint32_t)tag,
                                         .code = queued->as.answer.code };
    return true;
}

static bool note_message(struct mqtt_client *client, struct queued *queued, struct mqtt_client_event *event) {
    client->given = queued;
    client->given_sequence = queued->as.arrived.sequence;
    *event = (struct mqtt_client_event){ .kind = MQTT_CLIENT_MESSAGE, .message = queued->as.arrived.message };
    return true;
}

static bool note(struct mqtt_client *client, struct queued *queued, struct mqtt_client_event *event) {
    switch (queued->kind) {
    case QUEUED_MESSAGE:
        return note_message(client, queued, event);
    case QUEUED_ANSWERED:
        return (queued->as.answer.tag >> TAG_INDEX_BITS & REQUEST_BIT) != 0 ? note_request(client, queued, event)
                                                                           : note_published(client, queued, event);
    case QUEUED_SUBSCRIBED:
        return note_request(client, queued, event);
    default:
        return client_note(client, queued, event);
    }
}

bool mqtt_client_event(struct mqtt_client *client, struct mqtt_client_event *event) {
    struct queued *queued;

    free(client->given);
    client->given = NULL;
    while ((queued = client_queue_take(&client->queue)) != NULL) {
        bool told = note(client, queued, event);
        if (queued != client->given)
            free(queued);
        if (told)
            return true;
    }
    if (atomic_load(&client->queue.starved)) {
        *event = (struct mqtt_client_event){ .kind = MQTT_CLIENT_FAILED, .text = "no memory for a message", .final = true,
                                             .failure = FAILED_BROKER };
        return true;
    }
    return client_advance(client, event);
}

void mqtt_client_acknowledge(struct mqtt_client *client) {
    client->written_sequence = client->given_sequence;
    if (client->phase != CLIENT_UP)
        return;
    client->acks_waiting = !client_queue_acknowledge(&client->queue, client->connection, client->written_sequence);
    if (client->acks_waiting)
        client->due_ns = clock_mono_ns(); /* mqtt_client_event tries again */
}

/* ---- requests ------------------------------------------------------------------------------------------------------ */

static uint64_t request_tag(const struct mqtt_client *client, uint64_t tag) {
    return tag_of(client->connection_number | REQUEST_BIT, (uint32_t)tag);
}

bool mqtt_client_subscribe(struct mqtt_client *client, const struct mqtt_client_subscription *subscription, uint64_t tag) {
    const struct connection_subscription how = {
        .filter = subscription->filter,
        .qos = subscription->qos,
        .retain_handling = subscription->retain_never ? 2 : 0,
        .retain_as_published = subscription->retain_as_published,
        .properties = subscription->properties,
    };

    return client->phase == CLIENT_UP && connection_subscribe_as(client->connection, &how, request_tag(client, tag));
}

bool mqtt_client_unsubscribe(struct mqtt_client *client, const char *filter, const struct mqtt_properties *properties,
                             uint64_t tag) {
    return client->phase == CLIENT_UP &&
           connection_unsubscribe(client->connection, filter, properties, request_tag(client, tag));
}

size_t mqtt_client_room(const struct mqtt_client *client) {
    size_t most = client->options->in_flight, theirs = client->accepted.receive_maximum;

    if (client->phase != CLIENT_UP)
        return 0;
    if (theirs > 0 && theirs < most)
        most = theirs;
    return client->in_flight < most ? most - client->in_flight : 0;
}

size_t mqtt_client_in_flight(const struct mqtt_client *client) {
    return client->in_flight;
}

static bool has_alias(const struct pending_publish *publish) {
    return publish->properties != NULL && mqtt_properties_find(publish->properties, MQTT_PROPERTY_TOPIC_ALIAS) != NULL;
}

/*
 * Behind the first message with a topic alias the topic may be left out (MQTT 5, 3.3.2.3.4). Not in a kept session: there Paho
 * may send again what it has, and over a connection that has not had the first one.
 */
static const char *topic_to_send(struct mqtt_client *client, const struct pending_publish *publish) {
    bool known = client->alias_known;

    if (client->options->keep_session || !has_alias(publish))
        return publish->topic;
    client->alias_known = true;
    return known ? "" : publish->topic;
}

static void send_publish(struct mqtt_client *client, struct pending_publish *publish) {
    const struct connection_publish how = {
        .topic = topic_to_send(client, publish),
        .payload = publish->payload,
        .qos = publish->qos,
        .retain = publish->retain,
        .properties = publish->properties,
    };
    struct err err = ERR_INIT;

    do
        client->generation = (client->generation + 1) & ~REQUEST_BIT;
    while (client->generation == 0);
    publish->generation = client->generation;
    if (connection_publish(client->connection, &how, tag_of(publish->generation, publish->slot), &err))
        client->unsent--;
    else
        publish->generation = 0; /* lost in this moment: after the next connect */
}

void client_send_pending(struct mqtt_client *client) {
    for (struct pending_publish *publish = client->first; publish != NULL && client->unsent > 0; publish = publish->next)
        if (publish->generation == 0)
            send_publish(client, publish);
}

void client_forget_requests(struct mqtt_client *client) {
    client->unsent = 0;
    for (struct pending_publish *publish = client->first; publish != NULL; publish = publish->next) {
        publish->generation = 0;
        client->unsent++;
    }
}

static struct pending_publish *publish_new(const struct mqtt_client_publish *from, uint64_t tag) {
    struct pending_publish *publish = malloc(sizeof *publish + from->topic.len + 1 + from->payload.len);

    if (publish == NULL)
        return NULL;
    *publish = (struct pending_publish){ .tag = tag, .qos = from->qos, .retain = from->retain, .properties = from->properties };
    memcpy(publish->topic, from->topic.data, from->topic.len);
    publish->topic[from->topic.len] = '\0';
    publish->payload = str_make(publish->topic + from->topic.len + 1, from->payload.len);
    if (from->payload.len > 0)
        memcpy(publish->topic + from->topic.len + 1, from->payload.data, from->payload.len);
    return publish;
}

bool mqtt_client_publish(struct mqtt_client *client, const struct mqtt_client_publish *from, uint64_t tag, struct err *err) {
    struct pending_publish *publish = NULL;

    if (from->topic.len + from->payload.len > PACKET_MAX - PACKET_OVERHEAD)
        return err_set(err, ERR_LIMIT, "a message of %zu bytes is larger than MQTT's packets can be", from->payload.len);
    if (client->in_flight < client->options->in_flight)
        publish = publish_new(from, tag);
    if (publish == NULL)
        return err_set(err, ERR_FULL, "no room for a message of %zu bytes", from->payload.len);
    while (client->slots[client->next_slot] != NULL)
        client->next_slot = (client->next_slot + 1) % client->options->in_flight;
    publish->slot = (uint32_t)client->next_slot;
    client->slots[publish->slot] = publish;
    publish->previous = client->last;
    *(client->last != NULL ? &client->last->next : &client->first) = publish;
    client->last = publish;
    client->in_flight++;
    if (client->phase == CLIENT_UP && client->unsent++ == 0)
        send_publish(client, publish); /* the only one: no need to look for it */
    else if (client->phase == CLIENT_UP)
        client_send_pending(client);
    else
        client->unsent++;
    return true;
}

const char *mqtt_client_reason(int version, int code) {
    return connection_reason(version, code);
}
