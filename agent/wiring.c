/*
 * agent/wiring.c: an agent from its configuration: outputs first, because inputs tag their lines with them, then the spool
 * between them, then inputs.
 */
#include "agent/wiring.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/fs.h"
#include "agent/base/log.h"
#include "agent/wiring_internal.h"
#include "parsers/parser.h"

enum { CONFIG_ARENA_MAX = 64 * 1024 * 1024 };

/* A gateway's memory is smaller than its disk. */
static void choose_spool_limit(struct agent *agent, const struct yaml_node *root, struct diags *diags) {
    struct spool_settings *spool = &agent->top.agent.spool;
    const uint64_t least = 1 << 20, on_disk = 1 << 30, in_memory = 64 << 20;

    if (spool->max_bytes == 0)
        spool->max_bytes = spool->sync == SPOOL_MEMORY ? in_memory : on_disk;
    else if (spool->max_bytes < least)
        diag_add(diags, cfg_at(yaml_get(yaml_get(root, "agent"), "spool"), "max_bytes"),
                 "spool: max_bytes: must be 1MiB or more (0: the default)");
}

static void choose_hostname(struct agent *agent) {
    const struct agent_settings *settings = &agent->top.agent;

    if (settings->omit_hostname)
        return;
    if (settings->hostname != NULL && settings->hostname[0] != '\0') {
        agent->context.hostname = settings->hostname;
        return;
    }
    if (gethostname(agent->hostname, sizeof agent->hostname - 1) == 0 && agent->hostname[0] != '\0')
        agent->context.hostname = agent->hostname;
}

static void apply_log_settings(const struct agent_settings *settings) {
    log_set(settings->debug   ? LOG_DEBUG
            : settings->quiet ? LOG_ERROR
                              : LOG_INFO,
            settings->log_format == 0 ? LOG_TEXT : LOG_JSON);
}

/* The ring of dead letters. Where nobody chose a directory and the usual one is not to be had, letters are only counted. */
static void open_dead_letters(struct agent *agent, const struct yaml_node *root, struct diags *diags) {
    struct dead_letters_options *options = &agent->top.agent.dead_letters;
    const struct yaml_node *chosen = yaml_get(yaml_get(yaml_get(root, "agent"), "dead_letters"), "directory");
    static char nowhere[] = "";
    struct err err = ERR_INIT;

    agent->dead_letters = dead_letters_open(options, &err);
    if (agent->dead_letters == NULL && chosen == NULL) {
        log_warn("DEAD-LETTERS-OFF", "%s: dead letters are counted and not kept; set agent.dead_letters.directory", err.text);
        options->directory = nowhere;
        err_clear(&err);
        agent->dead_letters = dead_letters_open(options, &err);
    }
    if (agent->dead_letters == NULL)
        diag_add(diags, chosen != NULL ? chosen->at : root->at, "%s", err.text);
    else
        agent->context.dead_letters = dead_letters_sink(agent->dead_letters);
}

static struct spool_options spool_options_of(const struct agent *agent) {
    const struct spool_settings *settings = &agent->top.agent.spool;

    return (struct spool_options){
        .max_bytes = settings->max_bytes,
        .memory_bytes = settings->max_memory,
        .when_full = (enum spool_when_full)settings->when_full,
        .outputs = agent->output_count,
        .sync = (enum spool_sync)settings->sync,
        .directory = settings->directory,
        .output_names = agent->output_names,
        .commit_delay_ns = settings->commit_delay_ns,
        .interval_ns = settings->interval_ns,
        .max_age_ns = settings->max_age_ns,
        .min_free = settings->min_free,
        .order = (enum spool_order)settings->order,
        .live_percent = (unsigned)settings->live_share,
    };
}

/* What was found on disk is said once, and what is wrong with it as a warning of its own. */
static void log_recovery(const struct agent *agent) {
    struct spool_recovery found;

    spool_recovered(agent->spool, &found);
    if (found.messages > 0)
        log_info("SPOOL-RECOVERED", "%llu messages of an earlier run wait in %s (%llu segments, read in %lld ms)",
                 (unsigned long long)found.messages, agent->top.agent.spool.directory, (unsigned long long)found.segments,
                 (long long)(found.duration_ns / NS_PER_MS));
    if (found.damaged_bytes > 0 || found.lost_records > 0)
        log_warn("SPOOL-DAMAGED", "%llu bytes in %s are damaged and %llu records are gone; the rest is intact, the damaged bytes are kept as damaged-*.bin",
                 (unsigned long long)found.damaged_bytes, agent->top.agent.spool.directory, (unsigned long long)found.lost_records);
    if (found.torn_bytes > 0)
        log_info("SPOOL-TORN", "the last write before the end was cut off: %llu bytes, never acknowledged", (unsigned long long)found.torn_bytes);
    if (found.foreign_segments > 0)
        log_warn("SPOOL-FOREIGN", "%llu segments in %s are of another spool or another version, and stay untouched: run that version on "
                                  "them, or move them away", (unsigned long long)found.foreign_segments, agent->top.agent.spool.directory);
    if (found.orphans > 0)
        log_warn("SPOOL-ORPHANS", "%llu records wait for outputs that the configuration does not have any more: they are not sent",
                 (unsigned long long)found.orphans);
    if (found.without_checkpoint)
        log_warn("SPOOL-CHECKPOINT", "%s has no readable checkpoint: all of it is sent again, which changes nothing in the database",
                 agent->top.agent.spool.directory);
}

static void open_spool(struct agent *agent, const struct yaml_node *root, struct diags *diags) {
    const struct yaml_node *section = yaml_get(yaml_get(root, "agent"), "spool");
    const struct yaml_node *chosen = yaml_get(section, "directory");
    struct spool_options options = spool_options_of(agent);
    struct err err = ERR_INIT;

    if (options.sync == SPOOL_MEMORY || fs_make_directories(options.directory, 0700, &err))
        agent->spool = spool_new(&options, &err);
    if (agent->spool == NULL && options.sync != SPOOL_MEMORY && chosen == NULL)
        diag_add(diags, section != NULL ? section->at : root->at,
                 "%s; set agent.spool.directory to a directory that this user may write to, or agent.spool.sync to memory", err.text);
    else if (agent->spool == NULL)
        diag_add(diags, chosen != NULL ? chosen->at : root->at, "%s", err.text);
    else
        log_recovery(agent);
    agent->context.spool = agent->spool;
    agent->spool_metrics = (struct spool_metrics){ agent->spool, agent->output_names };
}

static void require_blocks(const struct agent *agent, const struct yaml_node *root, struct diags *diags) {
    if (diags->errors > 0)
        return;
    if (agent->input_count == 0)
        diag_add(diags, root->at, "no inputs: add `inputs: mqtt_consumer:` with servers and topics; `heliograf config` prints a sample");
    if (agent->output_count == 0 && agent->purpose != AGENT_DRY_RUN)
        diag_add(diags, root->at, "no outputs: add for example `outputs: influxdb:` with urls and database");
}

static void check_status(const struct agent *agent, const struct yaml_node *root, struct diags *diags) {
    const struct yaml_node *status = yaml_get(root, "status");
    struct err err = ERR_INIT;

    if (agent->top.status.address != NULL && !status_check_address(agent->top.status.address, &err))
        diag_add(diags, status != NULL ? cfg_at(status, "address") : root->at, "status: %s", err.text);
}

static void ignore_letter(void *ctx, const struct dead_letter *letter) {
    (void)ctx;
    (void)letter;
}

static void build(struct agent *agent, const struct yaml_node *root, struct diags *diags) {
    struct cfg_binding binding = { top_options, &agent->top };

    cfg_read(root, "configuration", &binding, 1, &agent->arena, diags);
    check_status(agent, root, diags);
    choose_spool_limit(agent, root, diags);
    choose_hostname(agent);
    agent->context.global_tags = &agent->top.global_tags;
    agent->context.dead_letters = (struct dead_letter_sink){ .put = ignore_letter };
    wire_outputs(agent, diags);
    agent->context.output_filters = agent->filters;
    agent->context.outputs = agent->output_count;
    agent->context.influx_uint = diags->errors == 0 && wire_takes_unsigned(agent);
    if (agent->purpose == AGENT_RUN && diags->errors == 0 && agent->output_count > 0) {
        open_dead_letters(agent, root, diags);
        open_spool(agent, root, diags);
    }
    wire_broker(agent, diags);
    wire_inputs(agent, diags);
    wire_presence(agent, diags);
    require_blocks(agent, root, diags);
}

struct agent *agent_load(const struct config_sources *sources, enum agent_purpose purpose, struct diags *diags) {
    struct agent *agent = calloc(1, sizeof *agent);
    const struct yaml_node *root;

    if (agent == NULL)
        return NULL;
    agent->purpose = purpose;
    arena_init(&agent->arena, CONFIG_ARENA_MAX);
    root = config_load(sources, &agent->arena, diags);
    if (root != NULL)
        build(agent, root, diags);
    if (diags->errors == 0 && purpose != AGENT_OFFLINE)
        apply_log_settings(&agent->top.agent);
    return agent;
}

static void free_input(struct wired_input *input) {
    mqtt_source_free(input->mqtt);
    internal_source_free(input->internal);
    ingest_free(input->public.ingest);
    buf_release(&input->lines);
}

static void free_output(struct wired_output *output) {
    delivery_free(output->delivery);
    if (output->filter != NULL)
        ingest_filter_fini(output->filter);
    output_free(output->type, output->state);
}

void agent_free(struct agent *agent) {
    if (agent == NULL)
        return;
    spool_stop(agent->spool); /* its commit thread tells inputs and the broker what is durable, to the last group */
    for (size_t i = 0; i < agent->input_count; i++)
        free_input(&agent->inputs[i]);
    for (unsigned i = 0; i < agent->output_count; i++)
        free_output(&agent->outputs[i]);
    ingest_free(agent->presence);
    replay_free(agent->replay);
    status_close(agent->status);
    broker_free(agent->broker);
    loop_cancel(agent->spool_watch);
    loop_free(agent->loop);
    spool_free(agent->spool); /* its last checkpoint rests on dead letters */
    dead_letters_close(agent->dead_letters);
    arena_release(&agent->arena);
    free(agent);
}

const struct yaml_node *agent_tests(const struct agent *agent) {
    return agent->top.tests;
}

const char *agent_status_address(const struct agent *agent) {
    return agent->top.status.address;
}

const char *agent_dead_letters_directory(const struct agent *agent) {
    const char *directory = agent->top.agent.dead_letters.directory;

    return directory != NULL && directory[0] != '\0' ? directory : NULL;
}

const char *agent_spool_directory(const struct agent *agent) {
    return agent->top.agent.spool.sync != SPOOL_MEMORY ? agent->top.agent.spool.directory : NULL;
}

/* The ceiling: the spool, and what each sender can hold of it beside: its batch, its copies for requests, and compressed bytes. */
static uint64_t memory_ceiling(const struct agent *agent) {
    const uint64_t base = 16 << 20, points_of_an_input = 8 << 20, topics_of_an_input = 8 << 20;
    struct spool_options spool = spool_options_of(agent);
    uint64_t total = base + spool_memory_max(&spool) + agent->input_count * (points_of_an_input + topics_of_an_input);

    if (agent->broker_options != NULL)
        total += broker_memory_max(agent->broker_options);
    for (unsigned i = 0; i < agent->output_count; i++) {
        const struct wired_output *output = &agent->outputs[i];
        uint64_t batch = output->settings.max_batch_bytes > 0 ? output->settings.max_batch_bytes : agent->top.agent.max_batch_bytes;
        unsigned senders = output->type->concurrency != NULL ? output->type->concurrency(output->state) : 1;
        total += senders * 3 * batch;
    }
    return total;
}

/* ", at most 1000 points/s and 1.5 MB/s", or nothing. */
static void describe_rates(const struct output_settings *settings, struct buf *out) {
    double points = wire_rate(settings, (double)settings->rate_limit_points), bytes = wire_rate(settings, (double)settings->rate_limit);

    if (points > 0)
        buf_printf(out, ", at most %.10g points/s", points);
    if (bytes > 0)
        buf_printf(out, "%s%.4g kB/s", points > 0 ? " and " : ", at most ", bytes / 1000);
}

void agent_describe(const struct agent *agent, struct buf *out) {
    for (size_t i = 0; i < agent->input_count; i++) {
        const struct agent_input *input = &agent->input_rows[i];
        buf_printf(out, "input %s:", input->name);
        for (size_t j = 0; j < input->topics.count; j++)
            buf_printf(out, " %s", input->topics.items[j]);
        buf_append_char(out, '\n');
    }
    for (unsigned i = 0; i < agent->output_count; i++) {
        const struct wired_output *output = &agent->outputs[i];
        buf_printf(out, "output %s: ", output->name);
        if (output->type->describe != NULL)
            output->type->describe(output->state, out);
        describe_rates(&output->settings, out);
        buf_append_char(out, '\n');
    }
    if (agent->top.agent.spool.sync == SPOOL_MEMORY)
        buf_printf(out, "spool: in memory, up to %llu MiB\n", (unsigned long long)(agent->top.agent.spool.max_bytes >> 20));
    else
        buf_printf(out, "spool: %s, up to %llu MiB\n", agent->top.agent.spool.directory,
                   (unsigned long long)(agent->top.agent.spool.max_bytes >> 20));
    if (agent->broker_options != NULL)
        broker_describe(agent->broker_options, out);
    buf_printf(out, "memory at most: about %llu MiB\n", (unsigned long long)(memory_ceiling(agent) >> 20));
}

static bool probe_output(const struct wired_output *output, struct buf *report) {
    static const atomic_bool never = false;
    struct err err = ERR_INIT;
    void *connection;
    bool fine;

    if (output->type->probe == NULL)
        return true;
    connection = output->type->open(output->state, &never, &err);
    fine = connection != NULL && output->type->probe(output->state, connection, &err);
    output->type->close(output->state, connection);
    buf_printf(report, "output %s: %s\n", output->name, fine ? "answers" : err.text);
    return fine;
}

bool agent_probe(const struct agent *agent, int64_t timeout_ns, struct buf *report) {
    bool fine = true;

    for (size_t i = 0; i < agent->input_count; i++) {
        struct err err = ERR_INIT;
        if (agent->inputs[i].mqtt != NULL && !mqtt_source_probe(agent->inputs[i].mqtt, timeout_ns, report, &err)) {
            buf_printf(report, "input %s: %s\n", agent->input_rows[i].name, err.text);
            fine = false;
        }
    }
    for (unsigned i = 0; i < agent->output_count; i++)
        fine = probe_output(&agent->outputs[i], report) && fine;
    return fine;
}
