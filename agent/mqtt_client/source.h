/*
 * agent/mqtt_client/source.h: an existing broker as a source: the input `mqtt_consumer`. Connects through Paho,
 * subscribes again after every connect, delivers on Paho's receive thread, and acknowledges when the spool says
 * durable, not before.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_SOURCE_H
#define HELIOGRAF_MQTT_CLIENT_SOURCE_H

#include "agent/base/message.h"
#include "agent/base/metric.h"
#include "agent/mqtt_client/client.h"
#include "config/schema.h"
#include "config/yaml_tree.h"

struct mqtt_source;

/* To be filled by cfg_read through mqtt_source_options: zeroed memory of mqtt_source_options_size bytes. */
extern const struct cfg_field mqtt_source_options[];
extern const size_t mqtt_source_options_size;

/*
 * Checks the filled options (server URLs, topic filters, TLS files) and makes a source that is not connected. `map` is
 * for the positions of complaints, and may be NULL. `name` is the alias or "mqtt_consumer", for logs, metrics and the
 * default client id, so no two inputs may have the same. `options` and what they point to are borrowed for the source's
 * life. NULL with diags.
 */
struct mqtt_source *mqtt_source_new(const void *options, const struct yaml_node *map, const char *name,
                                    struct diags *diags);

/* `acknowledge_late`: false = dry run, a client id of its own and a clean session (run --test). Returns at once; a
 * broker that is down is retried for ever. */
bool mqtt_source_start(struct mqtt_source *source, struct message_sink sink, bool acknowledge_late, struct err *err);

/*
 * Messages that an earlier run took and may not have acknowledged, in their order, of this source's sessions or of others: what the broker
 * delivers again of them is acknowledged and not taken a second time. Before the start. Copied.
 */
void mqtt_source_remember(struct mqtt_source *source, const struct message_origin *origins, size_t count);

/* The spool made everything up to `sequence` durable. Any thread; never blocks; the release itself happens on a thread
 * of its own. */
void mqtt_source_durable(struct mqtt_source *source, uint64_t sequence);

/* No new messages from here on (they stay with the broker); returns when no delivery is running. */
void mqtt_source_stop_taking(struct mqtt_source *source);
/*
 * Sends the acknowledgements that are due by the last mqtt_source_durable, and disconnects cleanly, all within about
 * `timeout_ns`; the broker keeps what was not acknowledged. Call it after the spool has had its last word.
 */
void mqtt_source_stop(struct mqtt_source *source, int64_t timeout_ns);
void mqtt_source_free(struct mqtt_source *source); /* stops first; may wait for a name server. NULL is fine */

/* Connected now, and every filter was granted at least once since the start; for /-/ready. Any thread. */
bool mqtt_source_ready(const struct mqtt_source *source);

/* False for a retained message under `retained: skip`, and for any other under `retained: only`. Any thread. */
bool mqtt_source_wants(const struct mqtt_source *source, const struct message *message);

uint64_t mqtt_source_max_bytes(const struct mqtt_source *source); /* max_message_bytes; 0: no limit */

/*
 * Connects, subscribes, and disconnects again with a client id of its own; one line per server and per filter to
 * `report`. For `check --connect`.
 */
bool mqtt_source_probe(const struct mqtt_source *source, int64_t timeout_ns, struct buf *report, struct err *err);

/*
 * For a client beside the source: servers, credentials, TLS and MQTT version as the source has them, borrowed from it; no client
 * id. Returns the QoS that the source subscribes with.
 */
int mqtt_source_client_options(const struct mqtt_source *source, struct mqtt_client_options *out);

void mqtt_source_collect(void *source, const struct metric_writer *writer);

/*
 * Once per process, before any source starts. False when the program is linked in a way that would acknowledge messages
 * early (paho.mk): then it must not run. That http_proxy is out of Paho's sight comes from the link too.
 */
bool mqtt_client_setup(struct err *err);

#endif
