/*
 * agent/broker/broker.h: the embedded MQTT broker. One thread, the loop's, runs all of it but the writing of its state (store.h)
 * and slow password checks. Everything here is called on the main thread before the loop runs or after it has stopped, unless it says otherwise.
 *
 *   listener, transport*   bytes in and out               connection   packets from bytes, one handler per type
 *   session, outbox        what outlives a connection     routing      from a message to whoever gets it
 *   answers                what waits for the disk        wills, delayed, retained, shared groups, $SYS, presence
 */
#ifndef HELIOGRAF_BROKER_BROKER_H
#define HELIOGRAF_BROKER_BROKER_H

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/base/message.h"
#include "agent/base/metric.h"
#include "agent/loop/loop.h"
#include "config/schema.h"

struct broker;
struct yaml_node;

/* The section `broker:`, to be filled by cfg_read: zeroed memory of broker_options_size bytes. */
extern const struct cfg_field broker_options[];
extern const size_t broker_options_size;

/*
 * Checks what cfg_read cannot (listeners that would let anybody in, files of passwords and rules), and makes a broker that listens nowhere yet. `options` is borrowed for its
 * life; `map` is for the places of complaints. NULL with diags.
 */
struct broker *broker_new(const void *options, const struct yaml_node *map, struct diags *diags);
void broker_free(struct broker *broker); /* stops first; NULL is fine */

/*
 * An input of this process: messages that match go to the sink on the loop's thread, borrowed, before anybody else gets them, and the
 * publisher's acknowledgement waits for the sequence that the sink gives. A sink that refuses (MESSAGE_REFUSED) stops the reading from that publisher
 * until broker_room. `filters`: as in SUBSCRIBE, `$share/group/filter` and `$SYS/#` included. Before broker_start. Borrowed for the broker's life.
 */
enum broker_retained { BROKER_RETAINED_STORE, BROKER_RETAINED_SKIP, BROKER_RETAINED_ONLY };
struct broker_input {
    const char *name;
    const struct cfg_strings *filters;
    uint8_t qos; /* at most; a message arrives with the lower of this and its own */
    enum broker_retained retained;
    struct message_sink sink;
};
bool broker_add_input(struct broker *broker, const struct broker_input *input, struct err *err);

/* Where presence points go, as messages whose payload is line protocol; none without. Before broker_start. */
void broker_set_presence(struct broker *broker, struct message_sink sink);

/* Reads the state and listens; clients are served when the loop runs. False: nothing listens. */
bool broker_start(struct broker *broker, struct loop *loop, struct err *err);

/* The spool made everything up to `sequence` durable; what waited for room may be tried again. Any thread. */
void broker_durable(struct broker *broker, uint64_t sequence);

/* Messages that an earlier run took: what comes again of them is not given to the inputs a second time. Before broker_start; copied. */
void broker_remember(struct broker *broker, const struct message_origin *origins, size_t count);

/* No more messages, no new clients: returns when that is so. Main thread, while the loop runs. */
void broker_stop_taking(struct broker *broker);
/* Acknowledges what is durable by now, says goodbye to every client (server shutting down), writes the state. Main thread, while the loop runs. */
void broker_stop(struct broker *broker, int64_t timeout_ns);

/* Passwords, rules and certificates again; what cannot be read stays as it was, and is said in `report`. On the loop's thread. */
bool broker_reload(struct broker *broker, struct buf *report);

/* On the loop's thread, for the status endpoint: an array of clients as JSON; and the end of one. */
void broker_list_clients(struct broker *broker, struct buf *json);
bool broker_kick(struct broker *broker, struct str client_id);

bool broker_ready(const struct broker *broker, struct buf *why); /* any thread */
void broker_collect(void *broker, const struct metric_writer *writer); /* any thread */

/* Whether points of clients' comings and goings are wanted. */
bool broker_wants_presence(const void *options);
/* In words, for `check`: listeners, security, limits. */
void broker_describe(const void *options, struct buf *out);
/* Bytes of memory at most, from the options, but for what is on its way to clients that do not read, and in packets that are not whole yet. */
uint64_t broker_memory_max(const void *options);

#endif
