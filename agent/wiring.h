/*
 * agent/wiring.h: the one place that names concrete parsers, outputs and sources and ties them together. An agent is loaded
 * from a configuration, then started and stopped at most once. Called by the commands, on the main thread.
 */
#ifndef HELIOGRAF_WIRING_H
#define HELIOGRAF_WIRING_H

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/base/message.h"
#include "agent/ingest/ingest.h"
#include "agent/mqtt_client/client.h"
#include "config/diag.h"
#include "config/load.h"

struct agent;

enum agent_purpose {
    AGENT_RUN,     /* everything */
    AGENT_DRY_RUN, /* sources and ingest, no outputs: lines go to a callback */
    AGENT_OFFLINE, /* nothing is opened: check, explain, test */
};

/*
 * Builds everything that the configuration names and starts nothing. With errors in `diags` the agent is good for nothing but
 * agent_free, which must come after the printing of the diags: their file names live in the agent. NULL without memory.
 */
struct agent *agent_load(const struct config_sources *sources, enum agent_purpose purpose, struct diags *diags);
void agent_free(struct agent *agent); /* NULL is fine */

/* AGENT_RUN: threads, connections, status endpoint. Returns at once; remotes that are down are retried for ever. */
bool agent_start(struct agent *agent, struct err *err);

/* Ends what a failed agent_start has started; agent_free must follow. */
void agent_abort(struct agent *agent);

/*
 * Stops taking messages, flushes within the configured shutdown_timeout, disconnects after the last acknowledgement, and reports what
 * is left. True when nothing was left.
 */
bool agent_stop(struct agent *agent);

/* SIGHUP: passwords, rules and certificates of the broker are read again; says what of it could not be, and that the rest needs a restart. */
void agent_reload(struct agent *agent);

/* AGENT_DRY_RUN: as agent_start, but every message's lines go to `print` (on the sources' threads). */
struct agent_print {
    void *ctx;
    void (*lines)(void *ctx, const struct message *message, enum ingest_end end, struct str lines, const struct err *reason);
};
bool agent_start_dry(struct agent *agent, struct agent_print print, struct err *err);
void agent_stop_dry(struct agent *agent);

/* One row per input, for explain, test and check. */
struct agent_input {
    const char *name;      /* alias or type */
    struct ingest *ingest;
    struct cfg_strings topics; /* filters as configured; empty for inputs without */
};
size_t agent_inputs(const struct agent *agent, const struct agent_input **inputs);
/* The input called `name`, or, without a name, the first whose filters match the topic; NULL when there is none. */
const struct agent_input *agent_input_for(const struct agent *agent, const char *name, struct str topic);

/* Payloads of more bytes than this become dead letters at the input; 0: no limit. */
uint64_t agent_input_max_bytes(const struct agent *agent, const struct agent_input *input);

/* Where things are kept on disk as configured; NULL: they are not. */
const char *agent_dead_letters_directory(const struct agent *agent);
const char *agent_spool_directory(const struct agent *agent);
/* Output i of a record is names[i]. */
unsigned agent_outputs(const struct agent *agent, const char *const **names);

/* False when the input would leave this message to itself: a retained one, under `retained: skip`, or the opposite. */
bool agent_input_takes(const struct agent *agent, const struct agent_input *input, const struct message *message);

/* Where the status endpoint is; "" when it is turned off. */
const char *agent_status_address(const struct agent *agent);
/*
 * The broker of the input called `name`, or, without a name, of the first input that has one: fills what mqtt_source_client_options
 * fills, and says with which QoS the input subscribes. NULL with `err` that names the inputs.
 */
const struct agent_input *agent_input_broker(const struct agent *agent, const char *name, struct mqtt_client_options *out, int *qos,
                                             struct err *err);

/* The `tests:` section; NULL without. */
const struct yaml_node *agent_tests(const struct agent *agent);

/* For `check`: what is configured, in words, with the memory ceiling; no secrets. */
void agent_describe(const struct agent *agent, struct buf *out);
/* For `check --connect`: asks every broker and database; one line each to `report`. True when all is well. */
bool agent_probe(const struct agent *agent, int64_t timeout_ns, struct buf *report);

/* For `config`: a commented sample made from the option tables; with expert options when `full`. */
void agent_sample_config(bool full, struct buf *out);

/* For `plugins`. */
struct agent_plugin {
    const char *kind, *name, *summary; /* kind: "section", "input", "parser", "output" */
    const struct cfg_field *options;
};
/* The i-th plug-in; false past the end. */
bool agent_plugin(size_t i, struct agent_plugin *plugin);

#endif
