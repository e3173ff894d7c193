/* agent/mqtt_client/client_queue.c: what Paho's threads tell, in the order in which it came, for the client's one thread. */
#include "agent/mqtt_client/client_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/base/clock.h"

enum {
    QUEUE_MAX_BYTES = 4 << 20, /* of messages; then the connection is not read until half of it is gone */
    ACKS_AT_ONCE = 1024,
};

/* ---- Paho's side: its lock is held, so nothing here may wait ------------------------------------------------------- */

static void put(struct client_queue *queue, struct queued *queued) {
    const uint64_t one = 1;
    bool first;

    if (queued == NULL)
        return;
    pthread_mutex_lock(&queue->lock);
    first = queue->first == NULL;
    *queue->tail = queued;
    queue->tail = &queued->next;
    queue->bytes += queued->bytes;
    pthread_mutex_unlock(&queue->lock);
    if (first && write(queue->wake_fd, &one, sizeof one) < 0)
        return; /* its counter is full: readable already */
}

/* NULL without memory, which the client then tells as its end. */
static struct queued *queued_new(struct client_queue *queue, enum queued_kind kind, const struct connection *connection, size_t more) {
    struct queued *queued = malloc(sizeof *queued + more);
    const uint64_t one = 1;

    if (queued != NULL) {
        *queued = (struct queued){ .kind = kind, .connection = connection };
        return queued;
    }
    atomic_store(&queue->starved, true);
    if (write(queue->wake_fd, &one, sizeof one) < 0)
        return NULL; /* readable already */
    return NULL;
}

/* `up` changes here, on Paho's thread: acknowledgements are only sent while it stands. */
static void set_up(struct client_queue *queue, bool up) {
    pthread_mutex_lock(&queue->lock);
    queue->up = up;
    queue->paused = false;
    held_acks_discard(&queue->held[0]);
    held_acks_discard(&queue->held[1]);
    pthread_mutex_unlock(&queue->lock);
}

static void forget_aliases(struct client_queue *queue) {
    for (size_t i = 0; i < queue->alias_max; i++) {
        free(queue->aliases[i]);
        queue->aliases[i] = NULL;
    }
}

static void on_accepted(void *ctx, struct connection *connection, const struct connection_accepted *how) {
    struct queued *queued = queued_new(ctx, QUEUED_ACCEPTED, connection, 0);

    set_up(ctx, true);
    forget_aliases(ctx);
    if (queued != NULL)
        queued->as.accepted = *how;
    put(ctx, queued);
}

static void on_failed(void *ctx, struct connection *connection, const struct connection_failure *why) {
    struct queued *queued = queued_new(ctx, QUEUED_FAILED, connection, 0);

    if (queued != NULL)
        queued->as.failure = *why;
    put(ctx, queued);
}

static void on_lost(void *ctx, struct connection *connection, const char *why, int code) {
    struct queued *queued = queued_new(ctx, QUEUED_LOST, connection, 0);

    set_up(ctx, false);
    if (queued != NULL) {
        snprintf(queued->as.lost.why, sizeof queued->as.lost.why, "%s", why);
        queued->as.lost.code = code;
    }
    put(ctx, queued);
}

static void on_closed(void *ctx, struct connection *connection) {
    set_up(ctx, false);
    put(ctx, queued_new(ctx, QUEUED_CLOSED, connection, 0));
}

static void put_answer(struct client_queue *queue, const struct connection *connection, enum queued_kind kind, uint64_t tag, int code) {
    struct queued *queued = queued_new(queue, kind, connection, 0);

    if (queued == NULL)
        return;
    queued->as.answer.tag = tag;
    queued->as.answer.code = code;
    put(queue, queued);
}

static void on_subscribed(void *ctx, struct connection *connection, uint64_t tag, int code) {
    put_answer(ctx, connection, QUEUED_SUBSCRIBED, tag, code);
}

static void on_answered(void *ctx, struct connection *connection, uint64_t tag, int code) {
    put_answer(ctx, connection, QUEUED_ANSWERED, tag, code);
}

/* MQTT 5, 3.3.2.3.4: a topic alias stands for the topic that came with it last on this connection. Paho leaves that to us. */
static struct str resolve_topic(struct client_queue *queue, struct str topic, const struct mqtt_properties *properties) {
    const struct mqtt_property *alias = mqtt_properties_find(properties, MQTT_PROPERTY_TOPIC_ALIAS);
    size_t index = alias != NULL ? (size_t)alias->number - 1 : SIZE_MAX;

    if (index >= queue->alias_max)
        return topic;
    if (topic.len == 0)
        return queue->aliases[index] != NULL ? str_of(queue->aliases[index]) : topic;
    free(queue->aliases[index]);
    queue->aliases[index] = strndup(topic.data, topic.len);
    if (topic.len > queue->longest_alias)
        queue->longest_alias = topic.len;
    return topic;
}

static struct str append(char **at, struct str text) {
    struct str copy = str_make(*at, text.len);

    if (text.len > 0)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return copy;
}

/* The message and everything that it points to in one allocation: properties, their text, topic, payload. */
static struct queued *copy_message(struct client_queue *queue, const struct connection *connection, const struct inbound *in) {
    size_t count = connection_properties_count(in->properties), text = connection_properties_bytes(in->properties);
    size_t topic = in->message.topic.len > 0 ? in->message.topic.len : queue->longest_alias;
    size_t more = count * sizeof(struct mqtt_property) + text + topic + in->message.payload.len;
    struct queued *queued = queued_new(queue, QUEUED_MESSAGE, connection, more);
    struct mqtt_property *properties = (struct mqtt_property *)(queued + 1);
    char *at = (char *)(properties + count);

    if (queued == NULL)
        return NULL;
    struct mqtt_client_message *message = &queued->as.arrived.message;
    connection_properties_copy(in->properties, properties, at);
    at += text;
    *message = (struct mqtt_client_message){
        .received_ns = in->message.received_ns,
        .id = in->id,
        .qos = in->message.qos,
        .retain = in->message.retain,
        .dup = in->message.dup,
        .properties = { properties, count },
    };
    message->topic = append(&at, resolve_topic(queue, in->message.topic, &message->properties));
    message->payload = append(&at, in->message.payload);
    queued->bytes = sizeof *queued + more;
    return queued;
}

static bool note_arrival(struct client_queue *queue, struct queued *queued, const struct inbound *in) {
    bool taken;

    pthread_mutex_lock(&queue->lock);
    taken = !queue->dropping;
    if (taken)
        queued->as.arrived.sequence = ++queue->sequence;
    if (taken && in->message.qos > 0 && !in->early)
        held_acks_add(&queue->held[in->message.qos - 1], in->id, queue->sequence, 0);
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

static void pause_when_full(struct client_queue *queue, struct connection *connection) {
    bool full;

    pthread_mutex_lock(&queue->lock);
    full = queue->bytes > QUEUE_MAX_BYTES && !queue->paused;
    queue->paused = queue->paused || full;
    pthread_mutex_unlock(&queue->lock);
    if (full)
        connection_pause(connection, true);
}

static void on_message(void *ctx, struct connection *connection, const struct inbound *in) {
    struct queued *queued = copy_message(ctx, connection, in);

    if (queued == NULL)
        return; /* never acknowledged: the broker keeps it */
    if (!note_arrival(ctx, queued, in)) {
        free(queued);
        return;
    }
    put(ctx, queued);
    pause_when_full(ctx, connection);
}

/* ---- the client's side --------------------------------------------------------------------------------------------- */

bool client_queue_init(struct client_queue *queue, size_t alias_max, struct err *err) {
    pthread_mutex_init(&queue->lock, NULL);
    queue->tail = &queue->first;
    queue->alias_max = alias_max;
    queue->aliases = alias_max > 0 ? calloc(alias_max, sizeof *queue->aliases) : NULL;
    queue->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return (queue->wake_fd >= 0 && (alias_max == 0 || queue->aliases != NULL)) ||
           err_set(err, ERR_IO, "no memory or no descriptor for the client");
}

void client_queue_release(struct client_queue *queue) {
    struct queued *queued;

    while ((queued = client_queue_take(queue)) != NULL)
        free(queued);
    forget_aliases(queue);
    free(queue->aliases);
    held_acks_release(&queue->held[0]);
    held_acks_release(&queue->held[1]);
    if (queue->wake_fd >= 0)
        close(queue->wake_fd);
    pthread_mutex_destroy(&queue->lock);
}

struct connection_hooks client_queue_hooks(struct client_queue *queue) {
    return (struct connection_hooks){ .ctx = queue,
                                      .accepted = on_accepted,
                                      .failed = on_failed,
                                      .lost = on_lost,
                                      .closed = on_closed,
                                      .subscribed = on_subscribed,
                                      .message = on_message,
                                      .answered = on_answered };
}

struct queued *client_queue_take(struct client_queue *queue) {
    struct queued *queued;
    uint64_t count;

    pthread_mutex_lock(&queue->lock);
    queued = queue->first;
    if (queued != NULL) {
        queue->first = queued->next;
        queue->bytes -= queued->bytes;
    }
    if (queue->first == NULL) {
        queue->tail = &queue->first;
        if (read(queue->wake_fd, &count, sizeof count) < 0)
            count = 0; /* nothing has been told since */
    }
    pthread_mutex_unlock(&queue->lock);
    return queued;
}

bool client_queue_should_resume(struct client_queue *queue) {
    bool resume;

    pthread_mutex_lock(&queue->lock);
    resume = queue->paused && queue->bytes < QUEUE_MAX_BYTES / 2;
    queue->paused = queue->paused && !resume;
    pthread_mutex_unlock(&queue->lock);
    return resume;
}

/* Due acknowledgements of one QoS, as many as the socket takes; false when some are left. Under connection_lock. */
static bool acknowledge_some(struct client_queue *queue, struct connection *connection, struct held_acks *held, uint64_t sequence,
                             size_t (*acknowledge)(struct connection *, const uint16_t *, size_t)) {
    uint16_t ids[ACKS_AT_ONCE];
    size_t due, sent;

    do {
        pthread_mutex_lock(&queue->lock);
        due = queue->up ? held_acks_due(held, sequence, ids, ACKS_AT_ONCE) : 0;
        pthread_mutex_unlock(&queue->lock);
        sent = due > 0 ? acknowledge(connection, ids, due) : 0;
        pthread_mutex_lock(&queue->lock);
        held_acks_sent(held, sent);
        pthread_mutex_unlock(&queue->lock);
    } while (sent > 0 && sent == due);
    return sent == due;
}

bool client_queue_acknowledge(struct client_queue *queue, struct connection *connection, uint64_t sequence) {
    bool any, done;

    pthread_mutex_lock(&queue->lock);
    any = queue->held[0].count + queue->held[1].count > 0;
    pthread_mutex_unlock(&queue->lock);
    if (!any)
        return true;
    /* Under Paho's lock the connection cannot end, so what is held belongs to it. */
    connection_lock();
    done = acknowledge_some(queue, connection, &queue->held[0], sequence, connection_acknowledge);
    done = acknowledge_some(queue, connection, &queue->held[1], sequence, connection_acknowledge_received) && done;
    connection_unlock();
    return done;
}
