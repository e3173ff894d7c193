/* tests/bench/mqtt_load/publisher.c: messages that carry the time at which they were made, and flights that wait for an answer. */
#include "tests/bench/mqtt_load/publisher.h"

#include <stdlib.h>
#include <string.h>

/* load,client=0000001 sent=1000000000000000000i,pad="..." */
static const char line_head[] = "load,client=0000000 sent=0000000000000000000i,pad=\"";
enum { NUMBER_AT = 12, NUMBER_DIGITS = 7, STAMP_AT = 25 };

static size_t stamp_place(const uint8_t *payload) {
    return payload[0] == 'l' ? STAMP_AT : 0;
}

char *publisher_payload(unsigned size) {
    char *payload = malloc(size + 1);

    if (payload == NULL)
        return NULL;
    memset(payload, 'x', size);
    if (size >= LINE_LEAST) {
        memcpy(payload, line_head, sizeof line_head - 1);
        payload[size - 1] = '"';
    }
    return payload;
}

static void put_digits(uint8_t *to, unsigned digits, uint64_t value) {
    for (unsigned i = digits; i-- > 0; value /= 10)
        to[i] = (uint8_t)('0' + value % 10);
}

bool publisher_stamp_of(const uint8_t *payload, size_t len, int64_t *sent_ns) {
    size_t at = len > 0 ? stamp_place(payload) : 0;
    int64_t sum = 0;

    if (len < at + STAMP_DIGITS || payload[at] != '1')
        return false;
    for (unsigned i = 0; i < STAMP_DIGITS; i++) {
        if (payload[at + i] < '0' || payload[at + i] > '9')
            return false;
        sum = sum * 10 + (payload[at + i] - '0');
    }
    *sent_ns = sum - STAMP_BASE;
    return true;
}

bool publisher_prepare(struct load *load, struct client *client) {
    const struct options *options = load->options;

    client->topic = client_expand(load, client, options->topic);
    client->topic_len = strlen(client->topic);
    if (options->qos == 0)
        return true;
    client->window = options->inflight < client->receive_maximum ? options->inflight : client->receive_maximum;
    client->flights = calloc(client->window, sizeof *client->flights);
    if (client->flights == NULL)
        return false;
    for (unsigned i = 0; i + 1 < client->window; i++)
        client->flights[i].next_free = (uint16_t)(i + 2);
    client->free = 1;
    return true;
}

bool publisher_may_send(const struct load *load, const struct client *client) {
    const struct options *options = load->options;

    return load->publishing == PUBLISHING_NOW && client->state == CLIENT_READY && (options->total == 0 || load->sent < options->total) &&
           client->out.len - client->out.at < OUT_ENOUGH && (options->qos == 0 || client->free != 0);
}

static uint16_t take_flight(const struct load *load, struct client *client, int64_t now) {
    uint16_t id = client->free;
    struct flight *flight = &client->flights[id - 1];

    client->free = flight->next_free;
    client->in_flight++;
    flight->sent_ns = now;
    flight->state = load->options->qos == 1 ? FLIGHT_PUBACK : FLIGHT_PUBREC;
    return id;
}

void publisher_send(struct load *load, struct client *client) {
    const struct options *options = load->options;
    int64_t now = now_ns();
    uint16_t id = options->qos > 0 ? take_flight(load, client, now) : 0;
    uint8_t *payload = packet_add_publish(&client->out, options->version, client->topic, client->topic_len, options->qos, options->retain, id,
                                          options->size);

    memcpy(payload, load->payload, options->size);
    if (options->size >= LINE_LEAST)
        put_digits(payload + NUMBER_AT, NUMBER_DIGITS, client->number);
    if (options->size >= STAMP_DIGITS)
        put_digits(payload + (options->size >= LINE_LEAST ? STAMP_AT : 0), STAMP_DIGITS, (uint64_t)(now + STAMP_BASE));
    load->sent++;
}

void publisher_fill(struct load *load, struct client *client) {
    while (publisher_may_send(load, client))
        publisher_send(load, client);
    client_flush(load, client);
}

static void end_flight(struct load *load, struct client *client, uint16_t id, unsigned reason) {
    struct flight *flight = &client->flights[id - 1];
    int64_t now = now_ns();

    if (reason >= 0x80) {
        load->rejected++;
    } else {
        load->acknowledged++;
        load->last_acknowledged_ns = now;
        histogram_add(&load->acks, now - flight->sent_ns);
    }
    flight->state = FLIGHT_FREE;
    flight->next_free = client->free;
    client->free = id;
    client->in_flight--;
}

void publisher_answer(struct load *load, struct client *client, const struct packet *packet) {
    unsigned reason, state;
    uint16_t id;

    if (!packet_read_answer(packet, load->options->version, &id, &reason)) {
        client_complain(load, client, "a malformed answer to a PUBLISH");
        client_drop(load, client, &load->lost);
        return;
    }
    state = id <= client->window ? client->flights[id - 1].state : FLIGHT_FREE;
    if (packet->type == PACKET_PUBREC && state == FLIGHT_PUBREC && reason < 0x80) {
        client->flights[id - 1].state = FLIGHT_PUBCOMP;
        packet_add_answer(&client->out, PACKET_PUBREL, id);
    } else if ((packet->type == PACKET_PUBACK && state == FLIGHT_PUBACK) || (packet->type == PACKET_PUBREC && state == FLIGHT_PUBREC) ||
               (packet->type == PACKET_PUBCOMP && state == FLIGHT_PUBCOMP)) {
        end_flight(load, client, id, reason);
    } else {
        client_complain(load, client, "packet of type %u for identifier %u, which does not wait for one", packet->type, id);
        client_drop(load, client, &load->lost);
    }
}

void publisher_finish(struct load *load, struct client *client) {
    if (load->publishing != PUBLISHING_OVER || client->role != ROLE_PUBLISHER || client->state != CLIENT_READY || client->in_flight > 0)
        return;
    if (load->options->qos == 0) {
        client->state = CLIENT_FINISHING;
        client_ping(load, client);
        return;
    }
    client->state = CLIENT_FINISHED;
    load->finished++;
}
