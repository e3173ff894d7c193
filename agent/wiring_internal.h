/*
 * agent/wiring_internal.h: what agent/wiring*.c share: the agent itself. Nobody else includes this.
 */
#ifndef HELIOGRAF_WIRING_INTERNAL_H
#define HELIOGRAF_WIRING_INTERNAL_H

#include <semaphore.h>

#include "agent/base/log.h"
#include "agent/broker/broker.h"
#include "agent/delivery/dead_letters.h"
#include "agent/delivery/delivery.h"
#include "agent/delivery/replay.h"
#include "agent/loop/loop.h"
#include "agent/mqtt_client/source.h"
#include "agent/spool/spool.h"
#include "agent/status/internal.h"
#include "agent/status/status.h"
#include "agent/wiring.h"
#include "outputs/output.h"

enum { INPUTS_MAX = 64 };

struct mqtt_options;

#define SPOOL_DIRECTORY_DEFAULT "/var/spool/heliograf"

struct spool_settings {
    int sync, when_full, order;
    char *directory;
    uint64_t max_bytes, max_memory, min_free;
    int64_t max_age_ns, commit_delay_ns, interval_ns, live_share;
};

struct agent_settings {
    int64_t flush_interval_ns, flush_jitter_ns, shutdown_timeout_ns;
    int64_t metric_batch_size;
    uint64_t max_batch_bytes;
    bool omit_hostname, debug, quiet;
    char *hostname;
    int log_format;
    struct spool_settings spool;
    struct dead_letters_options dead_letters;
    const struct yaml_node *ignored;
};

struct top_settings {
    struct agent_settings agent;
    struct cfg_map global_tags;
    struct status_options status;
    const struct yaml_node *broker, *inputs, *outputs, *tests;
};

/* An output block: what Telegraf calls the options on any output. */
struct output_settings {
    char *alias;
    int64_t flush_interval_ns, flush_jitter_ns, metric_batch_size;
    uint64_t max_batch_bytes, rate_limit;
    int64_t rate_limit_points, rate_limit_period_ns;
    const struct yaml_node *ignored;
};

struct wired_output {
    const struct output_type *type;
    void *state;
    struct ingest_filter *filter;
    struct output_settings settings;
    const char *name;
    struct delivery *delivery;
};

struct wired_input {
    struct agent_input public; /* name, ingest, topics */
    struct mqtt_source *mqtt;          /* one of these three */
    const struct mqtt_options *embedded; /* reads from the broker in this process */
    struct internal_source *internal;  /* made at the start, when there is a loop */
    struct internal_source_options internal_options;
    struct agent *agent;
    struct buf lines; /* dry runs */
};

struct agent {
    enum agent_purpose purpose;
    struct arena arena;
    struct top_settings top;
    char hostname[256];
    struct spool *spool;
    struct dead_letters *dead_letters;
    struct replay *replay; /* NULL: letters are not kept */
    struct ingest_context context;
    const struct ingest_filter *filters[SPOOL_OUTPUTS_MAX];
    const char *output_names[SPOOL_OUTPUTS_MAX];
    struct spool_metrics spool_metrics;
    struct wired_output outputs[SPOOL_OUTPUTS_MAX];
    unsigned output_count;
    struct wired_input inputs[INPUTS_MAX];
    struct agent_input input_rows[INPUTS_MAX];
    size_t input_count;
    struct metric_registry metrics;
    struct loop *loop;
    void *broker_options;
    struct broker *broker;   /* NULL: none is configured */
    struct ingest *presence; /* of its clients */
    struct loop_timer *spool_watch;
    struct status *status;
    struct agent_print print;
    sem_t internal_stopped;
    struct spool_figures last_figures;
    struct complaint drop_troubles[SPOOL_OUTPUTS_MAX], block_trouble, disk_trouble;
};

extern const struct cfg_field top_options[], output_common_options[];

/* wiring_inputs.c, wiring_outputs.c: build from the configuration; complaints go to diags. */
void wire_outputs(struct agent *agent, struct diags *diags);
void wire_inputs(struct agent *agent, struct diags *diags);
/* wiring_broker.c */
void wire_broker(struct agent *agent, struct diags *diags);
void wire_presence(struct agent *agent, struct diags *diags);
bool wire_is_embedded(const struct agent *agent, const struct yaml_node *block);
void wire_embedded(struct agent *agent, struct wired_input *input, const struct mqtt_options *options, const struct yaml_node *block,
                   struct diags *diags);
bool start_broker(struct agent *agent, struct err *err);
/* What an output may send per second, of points or bytes; 0: no limit. `per_period` is the option. */
double wire_rate(const struct output_settings *settings, double per_period);
/* delivery_options.inputs_of with ctx = struct agent *. */
struct str wire_inputs_of(void *agent, struct str topic, char *room, size_t size);
/* All outputs take unsigned integers with their suffix. */
bool wire_takes_unsigned(const struct agent *agent);

/* The next name for a block: its alias, or the type's name, with `:2` and so on when it is taken. */
const char *wire_name(struct agent *agent, const char *alias, const char *type, bool (*taken)(struct agent *, const char *));

/* Blocks under a plug-in's name: a list of maps, or a single map. Calls `each` for every map; complains about anything else. */
void wire_blocks(struct agent *agent, const struct yaml_node *plugin, struct diags *diags,
                 void (*each)(struct agent *, const char *type, const struct yaml_node *block, struct diags *));

#endif
