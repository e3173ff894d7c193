/* tests/bench/mqtt_load/publisher.h: the sending side of a client: its window, its messages, and when it has nothing left to do. */
#ifndef MQTT_LOAD_PUBLISHER_H
#define MQTT_LOAD_PUBLISHER_H

#include "tests/bench/mqtt_load/client.h"

/* Where a payload has what; all sizes are those of its text. The time is CLOCK_MONOTONIC plus STAMP_BASE, so that it always has 19 digits. */
#define STAMP_BASE INT64_C(1000000000000000000)
enum { STAMP_DIGITS = 19, LINE_LEAST = 64 };

char *publisher_payload(unsigned size);                                             /* to be freed; NULL without memory */
bool publisher_stamp_of(const uint8_t *payload, size_t len, int64_t *sent_ns);      /* false: it has none */

bool publisher_prepare(struct load *load, struct client *client);                   /* topic and window; false without memory */
bool publisher_may_send(const struct load *load, const struct client *client);
void publisher_send(struct load *load, struct client *client);                      /* one message, into `out`; only when it may */
void publisher_fill(struct load *load, struct client *client);                      /* flat out: as many as it may */
void publisher_answer(struct load *load, struct client *client, const struct packet *packet); /* PUBACK, PUBREC, PUBCOMP */
/* When nothing more will be sent and all is acknowledged: counts it as finished. At QoS 0 the answer to a PINGREQ behind the last message says so. */
void publisher_finish(struct load *load, struct client *client);

#endif
