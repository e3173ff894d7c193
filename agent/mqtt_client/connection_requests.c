/* agent/mqtt_client/connection_requests.c: what is asked of a connected broker and answered: subscribe, unsubscribe,
 * publish. See connection.h. */
#include "agent/mqtt_client/connection_parts.h"

#include <stdlib.h>

#include <MQTTAsync.h>

/* One request under way: freed by whichever callback ends it. */
struct request {
    struct connection *connection;
    uint64_t tag;
    bool is_qos_0; /* a publish that is answered when it is written */
};

static struct request *request_new(struct connection *c, uint64_t tag, MQTTAsync_responseOptions *options,
                                   const struct mqtt_properties *properties) {
    struct request *request = malloc(sizeof *request);

    if (request == NULL)
        return NULL;
    *request = (struct request){ .connection = c, .tag = tag };
    options->context = request;
    if (c->link.version < MQTTVERSION_5 || connection_add_properties(&options->properties, properties))
        return request;
    MQTTProperties_free(&options->properties);
    free(request);
    return NULL;
}

/* Paho has copied the properties. Returns whether it has taken the request, which an answer will free. */
static bool request_sent(struct request *request, MQTTAsync_responseOptions *options, int rc) {
    MQTTProperties_free(&options->properties);
    if (rc == MQTTASYNC_SUCCESS)
        return true;
    free(request);
    return false;
}

/* ---- subscribing ------------------------------------------------------------------------------------------------ */

static void end_subscribe(struct request *request, int code) {
    struct connection *c = request->connection;

    c->hooks->subscribed(c->hooks->ctx, c, request->tag, code);
    free(request);
}

static void on_subscribed(void *context, MQTTAsync_successData *data) {
    end_subscribe(context, data->alt.qos);
}

static void on_subscribed5(void *context, MQTTAsync_successData5 *data) {
    end_subscribe(context, (int)data->reasonCode);
}

static void on_refused(void *context, MQTTAsync_failureData *data) {
    end_subscribe(context, data != NULL && data->code == 0x80 ? 0x80 : SUBSCRIBE_ABANDONED);
}

static void on_refused5(void *context, MQTTAsync_failureData5 *data) {
    end_subscribe(context, data->reasonCode >= 0x80 ? (int)data->reasonCode : SUBSCRIBE_ABANDONED);
}

bool connection_subscribe_as(struct connection *c, const struct connection_subscription *how, uint64_t tag) {
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    struct request *request = request_new(c, tag, &options, how->properties);

    if (request == NULL)
        return false;
    if (c->link.version >= MQTTVERSION_5) {
        options.onSuccess5 = on_subscribed5;
        options.onFailure5 = on_refused5;
        options.subscribeOptions.retainHandling = (unsigned char)how->retain_handling;
        options.subscribeOptions.retainAsPublished = how->retain_as_published;
    } else {
        options.onSuccess = on_subscribed;
        options.onFailure = on_refused;
    }
    return request_sent(request, &options, MQTTAsync_subscribe(c->handle, how->filter, how->qos, &options));
}

bool connection_subscribe(struct connection *c, const char *filter, int qos, int retain_handling, uint32_t identifier,
                          uint64_t tag) {
    const struct mqtt_property property = { .id = MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER, .number = identifier };
    const struct mqtt_properties properties = { &property, identifier > 0 };
    const struct connection_subscription how = {
        .filter = filter, .qos = qos, .retain_handling = retain_handling, .properties = &properties
    };

    return connection_subscribe_as(c, &how, tag);
}

/* ---- unsubscribing and publishing ------------------------------------------------------------------------------- */

static void end_request(struct request *request, int code) {
    struct connection *c = request->connection;

    c->hooks->answered(c->hooks->ctx, c, request->tag, code);
    free(request);
}

/* True once, when Paho believes that this was written and it was not. Paho calls back for QoS 0 right after it has written. */
static bool is_unwritten(const struct request *request) {
    bool unwritten = request->is_qos_0 && request->connection->link.own.unwritten;

    if (unwritten)
        request->connection->link.own.unwritten = false;
    return unwritten;
}

static void on_answered(void *context, MQTTAsync_successData *data) {
    (void)data;
    end_request(context, is_unwritten(context) ? SUBSCRIBE_ABANDONED : 0);
}

static void on_answered5(void *context, MQTTAsync_successData5 *data) {
    end_request(context, is_unwritten(context) ? SUBSCRIBE_ABANDONED : (int)data->reasonCode);
}

static void on_unanswered(void *context, MQTTAsync_failureData *data) {
    (void)data;
    end_request(context, SUBSCRIBE_ABANDONED);
}

static void on_unanswered5(void *context, MQTTAsync_failureData5 *data) {
    end_request(context, data->reasonCode >= 0x80 ? (int)data->reasonCode : SUBSCRIBE_ABANDONED);
}

static void set_callbacks(const struct connection *c, MQTTAsync_responseOptions *options) {
    if (c->link.version >= MQTTVERSION_5) {
        options->onSuccess5 = on_answered5;
        options->onFailure5 = on_unanswered5;
    } else {
        options->onSuccess = on_answered;
        options->onFailure = on_unanswered;
    }
}

bool connection_unsubscribe(struct connection *c, const char *filter, const struct mqtt_properties *properties,
                            uint64_t tag) {
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    struct request *request = request_new(c, tag, &options, properties);

    if (request == NULL)
        return false;
    set_callbacks(c, &options);
    return request_sent(request, &options, MQTTAsync_unsubscribe(c->handle, filter, &options));
}

bool connection_publish(struct connection *c, const struct connection_publish *publish, uint64_t tag, struct err *err) {
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    struct request *request = request_new(c, tag, &options, publish->properties);
    int rc;

    if (request == NULL)
        return err_set(err, ERR_FULL, "no memory for a message");
    request->is_qos_0 = publish->qos == 0;
    set_callbacks(c, &options);
    rc = MQTTAsync_send(c->handle, publish->topic, (int)publish->payload.len, publish->payload.data, publish->qos,
                        publish->retain, &options);
    return request_sent(request, &options, rc) || err_set(err, ERR_NETWORK, "%s", MQTTAsync_strerror(rc));
}
