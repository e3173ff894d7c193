/* agent/mqtt_client/connection.c: see connection.h. */
#include "agent/mqtt_client/connection_parts.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <MQTTAsync.h>

#include "agent/base/fs.h"
#include "agent/base/log.h"

enum {
    UNSEEN_ACKS = 3, /* so many messages without an attempt to acknowledge them mean that the seam is open */
    TURN_WAIT_MS = 2000,
    PASSWORD_MAX_BYTES = 65535,
    /*
     * The broker drops what is larger without a word, so this is no use for counting what is too large: it is there to
     * keep a single packet from eating the memory.
     */
    PACKET_MIN_LIMIT = 16 * 1024 * 1024,
    PACKET_OVERHEAD = 128 * 1024, /* topic and properties */
};

static const char malformed_words[] = "the broker sent a malformed packet";

/* ---- Paho's callbacks, on its threads and with its lock held ---------------------------------------------------- */

static bool fail(struct connection_failure *failure, enum connection_failure_kind kind, const char *words) {
    failure->kind = kind;
    snprintf(failure->text, sizeof failure->text, "%s", words);
    return false;
}

/* `code` > 0 is the broker's; what else went wrong is found out from the socket and from OpenSSL. */
static void explain_failure(struct connection *c, int code, const char *message, struct connection_failure *failure) {
    int error = paho_link_error(&c->link);

    if (code > 0) {
        failure->kind = connection_refusal_kind(c->link.version, code);
        snprintf(failure->text, sizeof failure->text, "refused by the broker: %s (code %d)",
                 connection_reason(c->link.version, code), code);
    } else if (c->link.own.malformed) {
        fail(failure, FAILED_BROKER, malformed_words);
    } else if (message != NULL && strstr(message, "timeout") != NULL) {
        fail(failure, FAILED_TIMEOUT, "no answer within connection_timeout");
    } else if (c->tls_error[0] != '\0') {
        snprintf(failure->text, sizeof failure->text, "TLS: %s", c->tls_error);
        failure->kind = FAILED_TLS;
    } else if (error != 0) {
        fail(failure, FAILED_NETWORK, strerror(error));
    } else if (message != NULL && strstr(message, "completion") != NULL) {
        fail(failure, FAILED_CLOSED, "closed by the broker before it had accepted the connection");
    } else if (c->server->tls) {
        fail(failure, FAILED_TLS, "no TLS connection (is this the TLS port, and does the certificate name this host?)");
    } else {
        fail(failure, FAILED_NETWORK, message != NULL ? message : "cannot connect");
    }
}

static void report_failure(struct connection *c, int code, const char *message) {
    struct connection_failure failure;

    explain_failure(c, code, message, &failure);
    c->hooks->failed(c->hooks->ctx, c, &failure);
}

/* ---- Paho's callbacks ------------------------------------------------------------------------------------------- */

static void on_failure(void *context, MQTTAsync_failureData *data) {
    report_failure(context, data != NULL ? data->code : -1, data != NULL ? data->message : NULL);
}

static void on_failure5(void *context, MQTTAsync_failureData5 *data) {
    int code = data->reasonCode >= 0x80 ? (int)data->reasonCode : data->code;

    report_failure(context, code, data->message);
}

static void tell_accepted(struct connection *c, const struct connection_accepted *how) {
    c->expected = 0;
    c->accepted = true;
    c->leaving[0] = '\0';
    c->hooks->accepted(c->hooks->ctx, c, how);
}

static void on_success(void *context, MQTTAsync_successData *data) {
    tell_accepted(context, &(struct connection_accepted){ .session_present = data->alt.connect.sessionPresent != 0 });
}

static int property_number(MQTTProperties *properties, enum MQTTPropertyCodes code, int fallback) {
    if (!MQTTProperties_hasProperty(properties, code))
        return fallback;
    return MQTTProperties_getNumericValue(properties, code);
}

static void on_success5(void *context, MQTTAsync_successData5 *data) {
    struct connection *c = context;
    struct connection_accepted how = {
        .session_present = data->alt.connect.sessionPresent != 0,
        .identifiers = property_number(&data->properties, MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIERS_AVAILABLE, 1) != 0,
        .keepalive_s = (unsigned)property_number(&data->properties, MQTTPROPERTY_CODE_SERVER_KEEP_ALIVE, 0),
        .receive_maximum = (unsigned)property_number(&data->properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM, 0),
        .alias_maximum = (unsigned)property_number(&data->properties, MQTTPROPERTY_CODE_TOPIC_ALIAS_MAXIMUM, 0),
    };

    tell_accepted(c, &how);
}

static void on_lost(void *context, char *cause) {
    struct connection *c = context;
    const char *why = c->leaving[0] != '\0'  ? c->leaving
                      : c->link.own.malformed ? malformed_words
                      : cause != NULL         ? cause
                                              : "connection closed";

    c->accepted = false;
    c->hooks->lost(c->hooks->ctx, c, why, 0);
}

/* Paho closes the connection next, and calls it lost in no callback; one not accepted yet it calls a failure. */
static void on_disconnect(void *context, MQTTProperties *properties, enum MQTTReasonCodes code) {
    struct connection *c = context;

    (void)properties;
    snprintf(c->leaving, sizeof c->leaving, "broker says: %s",
             code == MQTTREASONCODE_SUCCESS ? "goodbye" : connection_reason(MQTTVERSION_5, (int)code));
    if (c->accepted)
        c->hooks->lost(c->hooks->ctx, c, c->leaving, (int)code);
    c->accepted = false;
}

static void on_closed(void *context, MQTTAsync_successData *data) {
    struct connection *c = context;

    (void)data;
    c->accepted = false;
    c->hooks->closed(c->hooks->ctx, c);
}

static void on_closed5(void *context, MQTTAsync_successData5 *data) {
    (void)data;
    on_closed(context, NULL);
}

static int on_tls_error(const char *text, size_t len, void *context) {
    struct connection *c = context;
    /* "...:SSL routines:function:certificate verify failed:file.c:1889:\n"; the last line is the cause */
    const char *library = strstr(text, "routines:");
    const char *reason = library != NULL ? strchr(library + strlen("routines:"), ':') : NULL;

    (void)len;
    if (reason != NULL)
        text = reason + 1;
    snprintf(c->tls_error, sizeof c->tls_error, "%.*s", (int)strcspn(text, ":\n"), text);
    return 1;
}

static struct str str_of_lenstring(MQTTLenString text) {
    return str_make(text.data, (size_t)text.len);
}

static void read_properties(const MQTTProperties *from, struct inbound *in, struct message_property *user) {
    for (int i = 0; i < from->count; i++) {
        const MQTTProperty *property = &from->array[i];
        switch ((int)property->identifier) {
        case MQTTPROPERTY_CODE_USER_PROPERTY:
            if (in->message.property_count < MESSAGE_PROPERTIES_MAX)
                user[in->message.property_count++] =
                    (struct message_property){ str_of_lenstring(property->value.data),
                                               str_of_lenstring(property->value.value) };
            break;
        case MQTTPROPERTY_CODE_CONTENT_TYPE:
            in->message.content_type = str_of_lenstring(property->value.data);
            break;
        case MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER:
            if (in->identifier_count < MESSAGE_IDENTIFIERS_MAX)
                in->identifiers[in->identifier_count++] = property->value.integer4;
            break;
        }
    }
    in->message.properties = user;
}

/* True when the PUBREC that Paho is about to send will be held. Before MQTT 5 it was sent before we saw the message. */
static bool hold_received(struct connection *c, uint16_t id) {
    if (c->extras == NULL || c->extras->held == NULL || c->link.version < MQTTVERSION_5)
        return false;
    c->extras->held[id / 8] |= (uint8_t)(1 << id % 8);
    return true;
}

/* Paho acknowledges QoS 2 without asking us; a source's subscribing at QoS 1 keeps a broker from using it. */
static bool is_acknowledged_early(struct connection *c, int qos, uint16_t id) {
    if (qos == 0)
        return false;
    if (qos == 2)
        return !hold_received(c, id);
    c->expected++;
    return c->expected > c->link.own.hits + UNSEEN_ACKS;
}

static int on_message(void *context, char *topic, int topic_len, MQTTAsync_message *from) {
    struct connection *c = context;
    struct message_property user[MESSAGE_PROPERTIES_MAX];
    struct inbound in;

    in.message = (struct message){
        .topic = str_make(topic, topic_len > 0 ? (size_t)topic_len : strlen(topic)),
        .payload = str_make(from->payload != NULL ? from->payload : "", (size_t)from->payloadlen),
        .received_ns = clock_unique_ns(),
        .qos = (uint8_t)from->qos,
        .retain = from->retained != 0,
        .dup = from->dup != 0,
    };
    in.id = (uint16_t)from->msgid;
    in.early = is_acknowledged_early(c, from->qos, in.id);
    in.identifier_count = 0;
    in.properties = from->properties.count > 0 ? &from->properties : NULL;
    if (from->properties.count > 0)
        read_properties(&from->properties, &in, user);
    c->hooks->message(c->hooks->ctx, c, &in);
    MQTTAsync_freeMessage(&from);
    MQTTAsync_free(topic);
    return 1; /* never 0: Paho would acknowledge all the same, and keep the message to itself */
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

/* Paho puts a time before each line, which the log has already. */
static void on_trace(enum MQTTASYNC_TRACE_LEVELS level, char *text) {
    static const size_t time_bytes = sizeof "20261125 100000.000 " - 1;

    (void)level;
    if (strlen(text) > time_bytes && text[8] == ' ' && text[time_bytes - 1] == ' ')
        text += time_bytes;
    log_debug("MQTT-TRACE", "%s", text);
}

/* Makes a client and throws it away, to see whose functions Paho calls: with its own, every message would be
 * acknowledged early. */
static bool check_link(struct err *err) {
    MQTTAsync handle = NULL;
    int rc = MQTTAsync_create(&handle, "tcp://127.0.0.1:1883", "check", MQTTCLIENT_PERSISTENCE_NONE, NULL);

    if (rc != MQTTASYNC_SUCCESS)
        return err_set(err, ERR_UNSUPPORTED, "the MQTT library does not start: %s", MQTTAsync_strerror(rc));
    MQTTAsync_destroy(&handle);
    return paho_wraps_used() || err_set(err, ERR_UNSUPPORTED,
                                        "this program is linked with an MQTT library that was not prepared for it, and "
                                        "would acknowledge messages "
                                        "before they are safe");
}

bool connection_setup(struct err *err) {
    MQTTAsync_init_options options = MQTTAsync_init_options_initializer;

    if (!paho_wraps_init(err))
        return false;
    options.do_openssl_init = 1;
    MQTTAsync_global_init(&options);
    MQTTAsync_setTraceLevel(MQTTASYNC_TRACE_ERROR);
    return check_link(err);
}

static void set_trace(const struct mqtt_options *options) {
    if (!options->client_trace)
        return;
    MQTTAsync_setTraceCallback(on_trace);
    MQTTAsync_setTraceLevel(MQTTASYNC_TRACE_PROTOCOL);
}

struct connection *connection_new(const struct mqtt_settings *settings, const struct mqtt_server *server,
                                  const struct connection_terms *terms, const struct connection_hooks *hooks,
                                  struct err *err) {
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
    struct connection *c = calloc(1, sizeof *c);
    int rc;

    if (c == NULL) {
        err_set(err, ERR_FULL, "no memory for a connection");
        return NULL;
    }
    c->settings = settings;
    c->server = server;
    c->hooks = hooks;
    c->extras = terms->extras;
    c->clean = terms->clean;
    c->link.host = server->name;
    c->link.plain = !server->tls && !server->websocket;
    c->link.version = terms->version;
    c->link.user_timeout_ms =
        (unsigned)((settings->options->keepalive_ns + settings->options->ping_timeout_ns) / NS_PER_MS);
    create.MQTTVersion = terms->version;
    if (c->extras != NULL) {
        c->link.bind_address = c->extras->bind_address;
        c->link.held = c->extras->held;
        create.maxBufferedMessages = c->extras->buffered;
    }
    rc = MQTTAsync_createWithOptions(&c->handle, server->uri, terms->client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL,
                                     &create);
    if (rc != MQTTASYNC_SUCCESS) {
        err_set(err, ERR_UNSUPPORTED, "cannot make an MQTT client for %s: %s", server->shown, MQTTAsync_strerror(rc));
        free(c);
        return NULL;
    }
    set_trace(settings->options);
    /* Before connecting: a kept session's messages may come before the first SUBACK. */
    MQTTAsync_setCallbacks(c->handle, c, on_lost, on_message, NULL);
    MQTTAsync_setDisconnected(c->handle, c, on_disconnect);
    paho_link_add(&c->link);
    return c;
}

void connection_free(struct connection *c) {
    if (c == NULL)
        return;
    paho_forget_commands(c->handle);
    MQTTAsync_destroy(&c->handle);
    paho_link_remove(&c->link);
    free(c);
}

bool connection_was_malformed(const struct connection *c) {
    return c->link.own.malformed;
}

const struct mqtt_server *connection_server(const struct connection *c) {
    return c->server;
}

int connection_version(const struct connection *c) {
    return c->link.version;
}

/* ---- connecting ------------------------------------------------------------------------------------------------- */

size_t connection_resolve(struct connection *c, struct connection_failure *failure) {
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(c->server->host, NULL, &hints, &found);

    c->address_count = 0;
    if (rc != 0) {
        failure->kind = FAILED_NAME;
        snprintf(failure->text, sizeof failure->text, "host %.100s: %s", c->server->host, gai_strerror(rc));
        return 0;
    }
    for (struct addrinfo *at = found; at != NULL && c->address_count < CONNECTION_ADDRESSES_MAX; at = at->ai_next)
        if (getnameinfo(at->ai_addr, at->ai_addrlen, c->addresses[c->address_count], sizeof c->addresses[0], NULL, 0,
                        NI_NUMERICHOST) == 0)
            c->address_count++;
    freeaddrinfo(found);
    if (c->address_count == 0)
        fail(failure, FAILED_NAME, "the host has no usable address");
    return c->address_count;
}

void connection_set_addresses(struct connection *c, char (*addresses)[64], size_t count) {
    c->address_count = count < CONNECTION_ADDRESSES_MAX ? count : CONNECTION_ADDRESSES_MAX;
    memcpy(c->addresses, addresses, c->address_count * sizeof c->addresses[0]);
}

/* `protocol` in the form of RFC 7301: its length before it; 0 without. */
static unsigned fill_alpn(const char *protocol, unsigned char out[256]) {
    size_t len = protocol != NULL ? strlen(protocol) : 0;

    if (len == 0 || len > 255)
        return 0;
    out[0] = (unsigned char)len;
    memcpy(out + 1, protocol, len);
    return (unsigned)len + 1;
}

static void fill_tls(const struct connection *c, MQTTAsync_SSLOptions *tls, unsigned char alpn[256]) {
    const struct mqtt_options *options = c->settings->options;
    bool verify = !options->insecure_skip_verify;
    bool pair = options->tls_cert != NULL && options->tls_cert[0] != '\0';

    tls->trustStore = options->tls_ca != NULL && options->tls_ca[0] != '\0' ? options->tls_ca : NULL;
    tls->keyStore = pair ? options->tls_cert : NULL;
    tls->privateKey = pair ? options->tls_key : NULL;
    tls->privateKeyPassword = pair ? options->tls_key_password : NULL;
    tls->enabledCipherSuites = c->settings->tls_ciphers;
    tls->enableServerCertAuth = verify;
    tls->verify = verify && !(c->extras != NULL && c->extras->tls_any_name);
    if (c->extras != NULL) {
        tls->CApath = c->extras->tls_ca_directory;
        tls->protos_len = fill_alpn(c->extras->tls_alpn, alpn);
        tls->protos = tls->protos_len > 0 ? alpn : NULL;
    }
    tls->ssl_error_cb = on_tls_error;
    tls->ssl_error_context = (void *)c;
}

static bool add_number(MQTTProperties *properties, enum MQTTPropertyCodes code, uint32_t value) {
    MQTTProperty property = { .identifier = code };

    if (code == MQTTPROPERTY_CODE_RECEIVE_MAXIMUM)
        property.value.integer2 = (unsigned short)value;
    else
        property.value.integer4 = value;
    return MQTTProperties_add(properties, &property) == 0;
}

/* What the command line said, and the window that it did not mention. */
static bool fill_extra_properties(const struct connection *c, MQTTProperties *properties) {
    const struct connection_extras *extras = c->extras;
    const struct mqtt_properties *given = &extras->connect;

    return connection_add_properties(properties, given) &&
           (extras->session_expiry_s == 0 || mqtt_properties_find(given, MQTT_PROPERTY_SESSION_EXPIRY) != NULL ||
            add_number(properties, MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, extras->session_expiry_s)) &&
           (mqtt_properties_find(given, MQTT_PROPERTY_RECEIVE_MAXIMUM) != NULL ||
            add_number(properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM, c->settings->receive_maximum));
}

static bool fill_properties(const struct connection *c, MQTTProperties *properties) {
    const struct mqtt_options *options = c->settings->options;
    uint64_t packet = options->max_message_bytes + PACKET_OVERHEAD;
    uint32_t expiry = c->clean ? 0 : (uint32_t)(options->session_expiry_ns / NS_PER_S);

    if (c->extras != NULL)
        return fill_extra_properties(c, properties);
    if (packet < PACKET_MIN_LIMIT)
        packet = PACKET_MIN_LIMIT;
    return add_number(properties, MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, expiry) &&
           add_number(properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM, c->settings->receive_maximum) &&
           add_number(properties, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE, (uint32_t)packet);
}

/* The password as it is now: a file may have been rewritten since the last connect. */
static bool read_password(const struct connection *c, struct buf *out, struct connection_failure *failure) {
    struct err err = ERR_INIT;

    if (c->settings->password_file != NULL)
        return fs_read_secret(c->settings->password_file, out, &err) || fail(failure, FAILED_CREDENTIALS, err.text);
    return c->settings->options->password == NULL || buf_append_c(out, c->settings->options->password);
}

static MQTTAsync_connectOptions connect_options(struct connection *c, unsigned keepalive_s,
                                                MQTTProperties *properties) {
    MQTTAsync_connectOptions v5 = MQTTAsync_connectOptions_initializer5, v311 = MQTTAsync_connectOptions_initializer;
    bool is_v5 = c->link.version >= MQTTVERSION_5;
    MQTTAsync_connectOptions out = is_v5 ? v5 : v311;

    if (is_v5) {
        out.cleanstart = c->clean;
        out.connectProperties = properties;
        out.onSuccess5 = on_success5;
        out.onFailure5 = on_failure5;
    } else {
        out.cleansession = c->clean;
        out.onSuccess = on_success;
        out.onFailure = on_failure;
    }
    out.MQTTVersion = c->link.version;
    out.context = c;
    out.keepAliveInterval = (int)keepalive_s;
    out.connectTimeout = (int)(c->settings->options->connection_timeout_ns / NS_PER_S);
    return out;
}

/* The will as Paho takes it; a payload of no bytes would be taken for none. */
static bool fill_will(const struct connection_extras *extras, MQTTAsync_willOptions *will, MQTTProperties *properties) {
    will->topicName = extras->will_topic;
    will->message = extras->will_payload.len == 0 ? "" : NULL;
    will->payload.data = extras->will_payload.data;
    will->payload.len = (int)extras->will_payload.len;
    will->qos = extras->will_qos;
    will->retained = extras->will_retain;
    return connection_add_properties(properties, &extras->will);
}

static bool connect_now(struct connection *c, unsigned keepalive_s, struct buf *password,
                        struct connection_failure *failure) {
    MQTTProperties properties = MQTTProperties_initializer, will_properties = MQTTProperties_initializer;
    MQTTAsync_connectOptions options = connect_options(c, keepalive_s, &properties);
    MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
    MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;
    unsigned char alpn[256];
    bool filled = true;
    const char *username = c->settings->options->username;
    int rc = MQTTASYNC_FAILURE;

    if (username != NULL && username[0] != '\0')
        options.username = username;
    if (password->len > 0) {
        options.binarypwd.data = password->data;
        options.binarypwd.len = (int)password->len;
    }
    if (c->server->tls) {
        fill_tls(c, &tls, alpn);
        options.ssl = &tls;
    }
    if (c->extras != NULL && c->extras->will_topic != NULL) {
        filled = fill_will(c->extras, &will, &will_properties);
        options.will = &will;
        options.willProperties = c->link.version >= MQTTVERSION_5 ? &will_properties : NULL;
    }
    if (filled && (c->link.version < MQTTVERSION_5 || fill_properties(c, &properties)))
        rc = MQTTAsync_connect(c->handle, &options);
    MQTTProperties_free(&will_properties);
    MQTTProperties_free(&properties);
    return rc == MQTTASYNC_SUCCESS || fail(failure, FAILED_NETWORK, MQTTAsync_strerror(rc));
}

bool connection_open(struct connection *c, size_t address, unsigned keepalive_s, struct connection_failure *failure) {
    struct buf password = BUF_INIT(PASSWORD_MAX_BYTES);
    bool ok = read_password(c, &password, failure);

    if (ok && !paho_link_route(&c->link, c->addresses[address % c->address_count], TURN_WAIT_MS))
        ok = fail(failure, FAILED_TIMEOUT, "the MQTT library is busy");
    if (ok) {
        c->tls_error[0] = '\0';
        ok = connect_now(c, keepalive_s, &password, failure);
        if (!ok)
            paho_link_settle(&c->link);
    }
    buf_release(&password);
    return ok;
}

void connection_opened(struct connection *c) {
    paho_link_settle(&c->link);
}

bool connection_close(struct connection *c) {
    MQTTAsync_disconnectOptions v5 = MQTTAsync_disconnectOptions_initializer5,
                                v311 = MQTTAsync_disconnectOptions_initializer;
    bool is_v5 = c->link.version >= MQTTVERSION_5;
    MQTTAsync_disconnectOptions options = is_v5 ? v5 : v311;

    options.context = c;
    if (is_v5)
        options.onSuccess5 = on_closed5;
    else
        options.onSuccess = on_closed;
    if (is_v5 && c->extras != NULL)
        connection_add_properties(&options.properties, &c->extras->disconnect);
    paho_lock();
    paho_link_leave(&c->link);
    paho_unlock();
    int rc = MQTTAsync_disconnect(c->handle, &options);
    MQTTProperties_free(&options.properties);
    return rc == MQTTASYNC_SUCCESS;
}

void connection_linger(struct connection *c, int timeout_ms) {
    paho_link_linger(&c->link, timeout_ms);
}

/* ---- acknowledging ---------------------------------------------------------------------------------------------- */

void connection_lock(void) {
    paho_lock();
}

void connection_unlock(void) {
    paho_unlock();
}

size_t connection_acknowledge(struct connection *c, const uint16_t *ids, size_t count) {
    return paho_link_acknowledge(&c->link, PAHO_PUBACK, ids, count);
}

size_t connection_acknowledge_received(struct connection *c, const uint16_t *ids, size_t count) {
    return paho_link_acknowledge(&c->link, PAHO_PUBREC, ids, count);
}

void connection_pause(struct connection *c, bool paused) {
    paho_link_pause(&c->link, paused);
}
