/*
 * agent/broker/answers.c: what is sent to a client only when something is on disk, in the order in which it came up ([MQTT-4.6.0-2] and
 * following): acknowledgements, and QoS 2 packets of deliveries that the store has to know of first.
 */
#include <stdlib.h>

#include "agent/broker/parts.h"

/* Of one client. MQTT 3.x has no receive maximum: when the disk is slow, only not reading keeps a publisher from piling up more. */
enum { WAITING_BYTES_MAX = 256 * 1024 };

uint64_t answers_ticket(const struct broker *broker) {
    return broker->touched && broker->store != NULL ? store_ticket(broker->store) : 0;
}

static bool is_through(const struct broker *broker, const struct answer *answer) {
    return answer->ticket <= broker->store_durable &&
           answer->sequence <= atomic_load_explicit(&broker->spool_durable, memory_order_acquire);
}

static void end_one(struct connection *connection) {
    if (connection->unanswered > 0)
        connection->unanswered--;
}

static void send_answer(struct connection *connection, const struct answer *answer) {
    if (answer->counts)
        end_one(connection);
    if (answer->delivery != NULL)
        outbox_send_waiting(connection->session, answer->delivery);
    else if (answer->len > 0)
        connection_send_bytes(connection, answer->bytes, answer->len);
}

static void start_waiting(struct connection *connection) {
    struct connection **head = &connection->broker->waiting;

    if (connection->waiting_link != NULL)
        return;
    connection->next_waiting = *head;
    connection->waiting_link = head;
    if (*head != NULL)
        (*head)->waiting_link = &connection->next_waiting;
    *head = connection;
}

static void stop_waiting(struct connection *connection) {
    if (connection->waiting_link == NULL)
        return;
    *connection->waiting_link = connection->next_waiting;
    if (connection->next_waiting != NULL)
        connection->next_waiting->waiting_link = connection->waiting_link;
    connection->waiting_link = NULL;
}

static size_t size_of(const struct answer *answer) {
    return sizeof *answer + answer->len;
}

static struct answer *take_first(struct answers *answers) {
    struct answer *answer = answers->first;

    answers->first = answer->next;
    if (answers->first == NULL)
        answers->last = &answers->first;
    answers->bytes -= size_of(answer);
    return answer;
}

static void enqueue(struct connection *connection, struct answer *answer) {
    answer->next = NULL;
    *connection->answers.last = answer;
    connection->answers.last = &answer->next;
    connection->answers.bytes += size_of(answer);
    start_waiting(connection);
}

void answers_send(struct connection *connection, struct wait wait, const void *bytes, size_t len, bool counts) {
    struct answer *answer;

    if (connection->transport == NULL)
        return;
    if (connection->answers.first == NULL && wait.ticket <= connection->broker->store_durable &&
        wait.sequence <= atomic_load_explicit(&connection->broker->spool_durable, memory_order_acquire)) {
        if (counts)
            end_one(connection);
        connection_send_bytes(connection, bytes, len);
        return;
    }
    answer = malloc(sizeof *answer + len);
    if (answer == NULL) { /* unacknowledged, it comes again */
        connection_end(connection, END_INTERNAL, MQTT_UNSPECIFIED_ERROR);
        return;
    }
    *answer = (struct answer){ .ticket = wait.ticket, .sequence = wait.sequence, .origin = wait.origin, .counts = counts, .len = len };
    memcpy(answer->bytes, bytes, len);
    enqueue(connection, answer);
    if (connection->answers.bytes > WAITING_BYTES_MAX)
        connection_hold(connection);
}

void answers_send_delivery(struct connection *connection, uint64_t ticket, struct delivery *delivery) {
    struct answer *answer;

    if (connection->answers.first == NULL && ticket <= connection->broker->store_durable) {
        outbox_send_waiting(connection->session, delivery);
        return;
    }
    answer = malloc(sizeof *answer);
    if (answer == NULL) {
        connection_end(connection, END_INTERNAL, MQTT_UNSPECIFIED_ERROR);
        return;
    }
    *answer = (struct answer){ .ticket = ticket, .delivery = delivery };
    enqueue(connection, answer);
}

static void flush_connection(struct connection *connection) {
    struct answers *answers = &connection->answers;

    while (answers->first != NULL && connection->session != NULL && is_through(connection->broker, answers->first)) {
        struct answer *answer = take_first(answers);
        send_answer(connection, answer);
        free(answer);
    }
    if (answers->bytes <= WAITING_BYTES_MAX / 2)
        connection_release(connection);
    if (answers->first != NULL)
        start_waiting(connection);
}

/* Everybody once, whoever joins or leaves meanwhile. */
void answers_flush(struct broker *broker) {
    struct connection *list = broker->waiting;

    broker->waiting = NULL;
    if (list != NULL)
        list->waiting_link = &list;
    while (list != NULL) {
        struct connection *connection = list;
        stop_waiting(connection);
        flush_connection(connection);
    }
}

void answers_forget(struct connection *connection) {
    struct answers *answers = &connection->answers;

    while (answers->first != NULL) {
        struct answer *answer = take_first(answers);
        remembered_add(&connection->broker->remembered, answer->origin, true);
        free(answer);
    }
    stop_waiting(connection);
}

void answers_forget_delivery(struct connection *connection, const struct delivery *delivery) {
    for (struct answer *answer = connection->answers.first; answer != NULL; answer = answer->next)
        if (answer->delivery == delivery)
            answer->delivery = NULL; /* nothing is sent in its place */
}
