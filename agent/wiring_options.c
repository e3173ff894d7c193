/* agent/wiring_options.c: the option tables of the sections that belong to no module: agent, top level, any output. */
#include <stddef.h>

#include "agent/base/clock.h"
#include "agent/wiring_internal.h"

static const char *const sync_names[] = { "memory", "commit", "interval", NULL };                      /* enum spool_sync */
static const char *const when_full_names[] = { "drop_oldest", "drop_newest", "block", "thin", NULL }; /* enum spool_when_full */
static const char *const order_names[] = { "oldest_first", "live_first", NULL };                      /* enum spool_order */
static const char *const log_format_names[] = { "text", "json", "structured", NULL };

#define AT(member) offsetof(struct spool_settings, member)
static const struct cfg_field spool_options_table[] = {
    { .key = "sync", .type = CFG_ENUM, .offset = AT(sync), .fallback = "commit", .names = sync_names,
      .help = "When a message is safe and is acknowledged: commit (on disk, survives a power cut), interval (written, survives kill -9; "
              "on disk every `interval`), memory (survives outages of the database, not the end of the process)." },
    { .key = "directory", .type = CFG_STRING, .offset = AT(directory), .fallback = SPOOL_DIRECTORY_DEFAULT,
      .help = "Where waiting points are kept, for commit and interval. Made when it is not there; one agent per directory." },
    { .key = "max_bytes", .type = CFG_SIZE, .offset = AT(max_bytes), .fallback = "0", .max = INT64_MAX,
      .help = "Hard limit of the spool, 1MiB and up; 0: 1GiB on disk, 64MiB with sync: memory. A point takes about 150 bytes." },
    { .key = "max_memory", .type = CFG_SIZE, .offset = AT(max_memory), .fallback = "64MiB", .min = 1 << 20, .max = INT64_MAX,
      .help = "With commit and interval: bytes that wait for a disk that is slow or refuses, at most; then nothing more is taken. Usually 4MiB are in use." },
    { .key = "max_age", .type = CFG_DURATION, .offset = AT(max_age_ns), .fallback = "0s", .min = 0, .max = INT64_MAX,
      .help = "Older points are dropped, and counted; 0s keeps them." },
    { .key = "min_free", .type = CFG_SIZE, .offset = AT(min_free), .fallback = "0", .min = 0, .max = INT64_MAX,
      .help = "Bytes of the filesystem that the spool leaves to others: then it is full, whatever max_bytes says." },
    { .key = "commit_delay", .type = CFG_DURATION, .offset = AT(commit_delay_ns), .fallback = "500us", .min = 0, .max = 10 * NS_PER_S,
      .help = "A commit waits so long for more messages: fewer writes for flash, later acknowledgements." },
    { .key = "interval", .type = CFG_DURATION, .offset = AT(interval_ns), .fallback = "1s", .min = NS_PER_MS, .max = 3600 * NS_PER_S,
      .help = "sync: interval: how much a power cut may cost, in time." },
    { .key = "order", .type = CFG_ENUM, .offset = AT(order), .fallback = "oldest_first", .names = order_names,
      .help = "After an outage: oldest_first, or live_first: fresh points at once and the backlog beside them." },
    { .key = "live_share", .type = CFG_INTEGER, .offset = AT(live_share), .fallback = "80", .min = 1, .max = 99,
      .help = "order: live_first: percent of the lines that are fresh ones while a backlog waits too." },
    { .key = "when_full", .type = CFG_ENUM, .offset = AT(when_full), .fallback = "drop_oldest", .names = when_full_names,
      .help = "At the limit: drop_oldest, drop_newest, block (stop acknowledging, so that the broker keeps QoS 1 and 2), or thin "
              "(of the oldest, every second point of each series stays, then every fourth)." },
    CFG_END,
};
#undef AT

/* Known from Telegraf, accepted, without effect here; the value lands in a place of its own. */
#define IGNORED(name, why)                                                                                             \
    { .key = (name), .type = CFG_NODE, .offset = AT(ignored), .flags = CFG_IGNORED, .help = (why) }

#define AT(member) offsetof(struct agent_settings, member)
static const struct cfg_field agent_options[] = {
    { .key = "flush_interval", .type = CFG_DURATION, .offset = AT(flush_interval_ns), .fallback = "1s", .min = 1000000,
      .max = INT64_MAX, .help = "Largest age of a waiting point before it is sent (Telegraf: 10s)." },
    { .key = "flush_jitter", .type = CFG_DURATION, .offset = AT(flush_jitter_ns), .fallback = "0s",
      .help = "Random addition to flush_interval, so that many agents do not write at the same moment." },
    { .key = "metric_batch_size", .type = CFG_INTEGER, .offset = AT(metric_batch_size), .fallback = "5000", .min = 1,
      .max = 100000, .help = "Lines per request at most (Telegraf: 1000)." },
    { .key = "max_batch_bytes", .type = CFG_SIZE, .offset = AT(max_batch_bytes), .fallback = "1MiB", .min = 1024,
      .max = 16 << 20, .help = "Bytes per request at most, before compression." },
    { .key = "omit_hostname", .type = CFG_BOOL, .offset = AT(omit_hostname), .fallback = "false",
      .help = "Leave out the tag `host`." },
    { .key = "hostname", .type = CFG_STRING, .offset = AT(hostname), .fallback = "\"\"",
      .help = "Value of the tag `host`; empty: this machine's name." },
    { .key = "shutdown_timeout", .type = CFG_DURATION, .offset = AT(shutdown_timeout_ns), .fallback = "8s",
      .help = "At SIGTERM: how long waiting points may take to be stored. What is left then is reported." },
    { .key = "debug", .type = CFG_BOOL, .offset = AT(debug), .fallback = "false", .help = "Log more, payloads included." },
    { .key = "quiet", .type = CFG_BOOL, .offset = AT(quiet), .fallback = "false", .help = "Log errors only." },
    { .key = "logformat", .type = CFG_ENUM, .offset = AT(log_format), .fallback = "text", .names = log_format_names,
      .help = "Lines on standard error as text or as JSON objects; `structured` is Telegraf's word for JSON." },
    { .key = "spool", .type = CFG_OBJECT, .offset = AT(spool), .fields = spool_options_table,
      .help = "What stands between the inputs and the outputs." },
    { .key = "dead_letters", .type = CFG_OBJECT, .offset = AT(dead_letters), .fields = dead_letters_options,
      .help = "Where data goes that can never be stored, with topic and reason." },
    IGNORED("interval", "messages are taken when they are published; nothing is polled"),
    IGNORED("round_interval", "nothing is polled"),
    IGNORED("collection_jitter", "nothing is polled"),
    IGNORED("collection_offset", "nothing is polled"),
    IGNORED("metric_buffer_limit", "the spool has a limit in bytes instead: agent.spool.max_bytes"),
    IGNORED("precision", "points keep nanoseconds, as Telegraf's service inputs do"),
    IGNORED("logtarget", "logs go to standard error"),
    IGNORED("logfile", "logs go to standard error"),
    IGNORED("buffer_strategy", "see agent.spool"),
    IGNORED("buffer_directory", "see agent.spool"),
    IGNORED("buffer_disk_sync", "see agent.spool"),
    IGNORED("skip_processors_before_aggregators", "there are no processors or aggregators"),
    IGNORED("skip_processors_after_aggregators", "there are no processors or aggregators"),
    IGNORED("always_include_local_tags", "tags follow taginclude and tagexclude"),
    IGNORED("always_include_global_tags", "tags follow taginclude and tagexclude"),
    IGNORED("statefile", "nothing needs it"),
    CFG_END,
};
#undef AT

#define AT(member) offsetof(struct top_settings, member)
const struct cfg_field top_options[] = {
    { .key = "agent", .type = CFG_OBJECT, .offset = AT(agent), .fields = agent_options, .help = "The agent as a whole." },
    { .key = "global_tags", .type = CFG_MAP, .offset = AT(global_tags), .help = "Tags on every point.",
      .example = "{ site: plant-7 }" },
    { .key = "status", .type = CFG_OBJECT, .offset = AT(status), .fields = status_options,
      .help = "Metrics, health and the status page." },
    { .key = "broker", .type = CFG_NODE, .offset = AT(broker), .flags = CFG_EXPERT, /* the sample has it elsewhere, with its options */
      .help = "An MQTT broker in this process, for a site that has none: devices connect straight to it." },
    { .key = "inputs", .type = CFG_NODE, .offset = AT(inputs), .help = "Where messages come from." },
    { .key = "outputs", .type = CFG_NODE, .offset = AT(outputs), .help = "Where points go." },
    { .key = "tests", .type = CFG_NODE, .offset = AT(tests), .help = "Run by `heliograf test`." },
    CFG_END,
};
#undef AT

#define AT(member) offsetof(struct output_settings, member)
const struct cfg_field output_common_options[] = {
    { .key = "alias", .type = CFG_STRING, .offset = AT(alias), .help = "Name of this block in logs and metrics." },
    { .key = "flush_interval", .type = CFG_DURATION, .offset = AT(flush_interval_ns), .fallback = "0s",
      .help = "As agent.flush_interval, for this output; 0s takes the agent's." },
    { .key = "flush_jitter", .type = CFG_DURATION, .offset = AT(flush_jitter_ns), .fallback = "0s",
      .help = "As agent.flush_jitter, for this output; 0s takes the agent's." },
    { .key = "metric_batch_size", .type = CFG_INTEGER, .offset = AT(metric_batch_size), .fallback = "0", .min = 0,
      .max = 100000, .help = "As agent.metric_batch_size, for this output; 0 takes the agent's." },
    { .key = "max_batch_bytes", .type = CFG_SIZE, .offset = AT(max_batch_bytes), .fallback = "0", .min = 0, .max = 16 << 20,
      .help = "As agent.max_batch_bytes, for this output; 0 takes the agent's." },
    { .key = "rate_limit", .type = CFG_SIZE, .offset = AT(rate_limit), .fallback = "0", .max = INT64_MAX,
      .help = "Bytes of line protocol, before compression, that are sent at most in a rate_limit_period, retries counted; 0: no limit." },
    { .key = "rate_limit_points", .type = CFG_INTEGER, .offset = AT(rate_limit_points), .fallback = "0", .max = INT64_MAX,
      .help = "The same in points." },
    { .key = "rate_limit_period", .type = CFG_DURATION, .offset = AT(rate_limit_period_ns), .fallback = "1s", .max = INT64_MAX,
      .help = "What the limits refer to: 5MB in 5m are 17kB a second, evenly, with one second's worth at once at most; 0s: 1s." },
    IGNORED("metric_buffer_limit", "the spool has a limit in bytes instead: agent.spool.max_bytes"),
    IGNORED("precision", "points are sent with nanoseconds"),
    IGNORED("startup_error_behavior", "a remote that is down is retried and never a reason to exit"),
    CFG_END,
};
#undef AT
