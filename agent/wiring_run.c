/*
 * agent/wiring_run.c: the start and the end of a run. Started from the outputs backwards to the sources, stopped from the sources
 * onwards, so that at any moment whoever gives has somebody who takes.
 */
#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/wiring_internal.h"

static void on_durable(void *ctx, uint64_t sequence) {
    struct agent *agent = ctx;

    for (size_t i = 0; i < agent->input_count; i++)
        if (agent->inputs[i].mqtt != NULL)
            mqtt_source_durable(agent->inputs[i].mqtt, sequence);
    if (agent->broker != NULL)
        broker_durable(agent->broker, sequence);
}

static bool start_delivery(struct agent *agent, unsigned index, struct err *err) {
    struct wired_output *output = &agent->outputs[index];
    const struct agent_settings *fallback = &agent->top.agent;
    const struct output_settings *own = &output->settings;
    struct delivery_options options = {
        .name = output->name,
        .index = index,
        .flush_interval_ns = own->flush_interval_ns > 0 ? own->flush_interval_ns : fallback->flush_interval_ns,
        .flush_jitter_ns = own->flush_jitter_ns > 0 ? own->flush_jitter_ns : fallback->flush_jitter_ns,
        .metric_batch_size = own->metric_batch_size > 0 ? own->metric_batch_size : fallback->metric_batch_size,
        .max_batch_bytes = own->max_batch_bytes > 0 ? own->max_batch_bytes : fallback->max_batch_bytes,
        .points_per_s = wire_rate(own, (double)own->rate_limit_points),
        .bytes_per_s = wire_rate(own, (double)own->rate_limit),
        .inputs_of = wire_inputs_of,
        .inputs_ctx = agent,
    };

    output->delivery = delivery_new(&options, output->type, output->state, agent->spool, agent->context.dead_letters);
    if (output->delivery == NULL)
        return err_set(err, ERR_LIMIT, "no memory for output %s", output->name);
    return delivery_start(output->delivery, err);
}

/* What a replay hands over is taken where letters are kept at all. */
static bool make_replay(struct agent *agent, struct err *err) {
    const struct agent_settings *settings = &agent->top.agent;
    struct replay_options options = {
        .directory = settings->dead_letters.directory,
        .output_names = agent->output_names,
        .outputs = agent->output_count,
        .spool_on_disk = settings->spool.sync != SPOOL_MEMORY,
    };

    if (options.directory[0] == '\0')
        return true;
    agent->replay = replay_new(&options, agent->dead_letters, agent->spool);
    return agent->replay != NULL || err_set(err, ERR_LIMIT, "no memory for the inbox of dead letters");
}

static bool is_ready(void *ctx, struct buf *why) {
    struct agent *agent = ctx;
    bool ready = agent->broker == NULL || broker_ready(agent->broker, why);

    for (size_t i = 0; i < agent->input_count; i++) {
        const struct wired_input *input = &agent->inputs[i];
        bool subscribed = input->mqtt == NULL || mqtt_source_ready(input->mqtt);
        buf_printf(why, "input %s: %s\n", input->public.name, subscribed ? "ready" : "not subscribed yet");
        ready = ready && subscribed;
    }
    /* An output that is away is told, but the agent does its job without it: it takes, keeps and will deliver. */
    for (unsigned i = 0; i < agent->output_count; i++) {
        struct delivery_state state;
        delivery_state(agent->outputs[i].delivery, &state);
        if (state.up || !state.answered)
            buf_printf(why, "output %s: %s\n", agent->output_names[i], state.up ? "up" : "not used yet");
        else
            buf_printf(why, "output %s: down for %lld s: %s\n", agent->output_names[i],
                       (long long)(state.down_ns / NS_PER_S), state.reason);
    }
    return ready;
}

/* What the spool drops is said aloud, soon: it is data that nobody will see. */
static void watch_output(struct agent *agent, unsigned i, const struct spool_figures *now) {
    const struct spool_output_figures *output = &now->output[i], *before = &agent->last_figures.output[i];
    unsigned long long dropped = output->messages[FATE_DROPPED_FULL], limit = now->max_bytes >> 20;

    if (dropped > before->messages[FATE_DROPPED_FULL])
        complain(&agent->drop_troubles[i], LOG_ERROR, "SPOOL-FULL",
                 "output %s: the spool's %llu MiB are full and messages are being LOST (%llu so far); mend the output, raise "
                 "agent.spool.max_bytes, or set agent.spool.when_full: block",
                 agent->output_names[i], limit, dropped);
    else if (output->pending_messages == 0 && complaint_end(&agent->drop_troubles[i]))
        log_info("SPOOL-DRAINED", "output %s: nothing waits any more; %llu messages were lost in all", agent->output_names[i],
                 dropped);
}

/* A disk that refuses is an alarm: nothing new is acknowledged until it works again. */
static void watch_disk(struct agent *agent) {
    struct err why = ERR_INIT;

    if (spool_degraded(agent->spool, &why))
        complain(&agent->disk_trouble, LOG_ERROR, "SPOOL-DEGRADED",
                 "%s: messages are not acknowledged until that works again; outputs are served from memory", why.text);
    else if (complaint_end(&agent->disk_trouble))
        log_info("SPOOL-MENDED", "the spool's disk works again");
}

static void watch_spool(void *ctx) {
    struct agent *agent = ctx;
    struct spool_figures figures;

    spool_figures(agent->spool, &figures);
    for (unsigned i = 0; i < figures.outputs; i++)
        watch_output(agent, i, &figures);
    watch_disk(agent);
    if (figures.output[0].messages[FATE_RETURNED] > agent->last_figures.output[0].messages[FATE_RETURNED] && !figures.degraded)
        complain(&agent->block_trouble, LOG_WARN, "SPOOL-BLOCKED",
                 "the spool's %llu MiB are full: further messages are not acknowledged and stay with the broker",
                 (unsigned long long)(figures.max_bytes >> 20));
    else if (figures.bytes < figures.max_bytes / 2 && complaint_end(&agent->block_trouble))
        log_info("SPOOL-ROOM", "the spool has room again");
    agent->last_figures = figures;
}

static bool register_metrics(struct agent *agent) {
    struct metric_registry *registry = &agent->metrics;
    bool fine = metric_register(registry, (struct metric_source){ &agent->spool_metrics, spool_collect });

    fine = metric_register(registry, (struct metric_source){ agent->dead_letters, dead_letters_collect }) && fine;
    fine = metric_register(registry, (struct metric_source){ agent->replay, replay_collect }) && fine;
    fine = metric_register(registry, (struct metric_source){ NULL, status_collect_process }) && fine;
    for (size_t i = 0; i < agent->input_count; i++) {
        struct wired_input *input = &agent->inputs[i];
        fine = metric_register(registry, (struct metric_source){ input->public.ingest, ingest_collect }) && fine;
        if (input->mqtt != NULL)
            fine = metric_register(registry, (struct metric_source){ input->mqtt, mqtt_source_collect }) && fine;
    }
    if (agent->broker != NULL)
        fine = metric_register(registry, (struct metric_source){ agent->broker, broker_collect }) && fine;
    if (agent->presence != NULL)
        fine = metric_register(registry, (struct metric_source){ agent->presence, ingest_collect }) && fine;
    for (unsigned i = 0; i < agent->output_count; i++)
        fine = metric_register(registry, (struct metric_source){ agent->outputs[i].delivery, delivery_collect }) && fine;
    return fine;
}

static void list_clients(void *ctx, struct buf *json) {
    broker_list_clients(((struct agent *)ctx)->broker, json);
}

static bool kick_client(void *ctx, struct str client_id) {
    return broker_kick(((struct agent *)ctx)->broker, client_id);
}

static bool start_loop(struct agent *agent, struct err *err) {
    struct status_hooks hooks = { .ctx = agent, .metrics = &agent->metrics, .ready = is_ready };

    if (agent->broker != NULL) {
        hooks.list_clients = list_clients;
        hooks.kick_client = kick_client;
    }

    agent->loop = loop_new(err);
    if (agent->loop == NULL)
        return false;
    if (agent->top.status.address[0] != '\0') {
        agent->status = status_open(&agent->top.status, agent->loop, &hooks, err);
        if (agent->status == NULL)
            return false;
        log_info("STATUS-LISTENING", "metrics and health on port %u", status_port(agent->status));
    }
    agent->spool_watch = loop_every(agent->loop, 2 * NS_PER_S, watch_spool, agent);
    return agent->spool_watch != NULL || err_set(err, ERR_LIMIT, "no memory for a timer");
}

static bool start_input(struct agent *agent, struct wired_input *input, struct message_sink sink, bool for_good,
                        struct err *err) {
    if (input->mqtt != NULL)
        return mqtt_source_start(input->mqtt, sink, for_good, err);
    if (input->embedded != NULL)
        return true; /* the broker gives it its messages */
    if (!for_good)
        return true; /* a dry run shows messages, not figures of itself */
    input->internal = internal_source_new(&input->internal_options, &agent->metrics, agent->loop, sink);
    if (input->internal == NULL)
        return err_set(err, ERR_LIMIT, "no memory for input %s", input->public.name);
    return internal_source_start(input->internal, err);
}

/* A crash may have come between the disk and the acknowledgement. */
static void remember_origins(struct agent *agent) {
    const struct message_origin *origins;
    size_t count = spool_origins(agent->spool, &origins);

    for (size_t i = 0; i < agent->input_count; i++)
        if (agent->inputs[i].mqtt != NULL)
            mqtt_source_remember(agent->inputs[i].mqtt, origins, count);
    spool_forget_origins(agent->spool);
}

static void make_letters_safe(void *letters) {
    dead_letters_sync(letters);
}

bool agent_start(struct agent *agent, struct err *err) {
    if (!mqtt_client_setup(err))
        return false;
    spool_on_durable(agent->spool, on_durable, agent);
    spool_before_promise(agent->spool, make_letters_safe, agent->dead_letters);
    for (unsigned i = 0; i < agent->output_count; i++)
        if (!start_delivery(agent, i, err))
            return false;
    if (!make_replay(agent, err))
        return false;
    if (!register_metrics(agent))
        return err_set(err, ERR_LIMIT, "too many inputs and outputs to count");
    if (!start_loop(agent, err))
        return false;
    if (!start_broker(agent, err))
        return false;
    remember_origins(agent);
    for (size_t i = 0; i < agent->input_count; i++) {
        struct message_sink sink = { agent->inputs[i].public.ingest, ingest_deliver };
        if (!start_input(agent, &agent->inputs[i], sink, true, err))
            return false;
    }
    if (agent->replay != NULL && !replay_start(agent->replay, err))
        return false;
    return loop_start(agent->loop, err);
}

static void stop_internal(void *ctx) {
    struct agent *agent = ctx;

    for (size_t i = 0; i < agent->input_count; i++)
        if (agent->inputs[i].internal != NULL)
            internal_source_stop(agent->inputs[i].internal);
    sem_post(&agent->internal_stopped);
}

/* The status endpoint stays until the end, so the loop goes on; its own source ends on its thread. */
static void stop_taking(struct agent *agent) {
    for (size_t i = 0; i < agent->input_count; i++)
        if (agent->inputs[i].mqtt != NULL)
            mqtt_source_stop_taking(agent->inputs[i].mqtt);
    if (agent->broker != NULL)
        broker_stop_taking(agent->broker);
    sem_init(&agent->internal_stopped, 0, 0);
    if (loop_post(agent->loop, stop_internal, agent))
        while (sem_wait(&agent->internal_stopped) != 0)
            continue;
}

/* What the disk has refused to the end. Said, as an operator who believes that it is there will not look for it. */
static bool is_all_on_disk(const struct agent *agent, const struct spool_figures *figures) {
    uint64_t missing = figures->appended_sequence - figures->durable_sequence;
    struct err why = ERR_INIT;

    if (!figures->on_disk || missing == 0)
        return true;
    spool_degraded(agent->spool, &why);
    log_error("STOPPED-UNSAVED", "the last %llu records could not be written to the spool%s%s: what of them was QoS 0 is lost, the rest was not acknowledged and "
              "comes again", (unsigned long long)missing, why.code != ERR_NONE ? ": " : "", why.code != ERR_NONE ? why.text : "");
    return false;
}

static bool report(const struct agent *agent) {
    struct spool_figures figures;
    bool nothing_left, on_disk;

    spool_figures(agent->spool, &figures);
    nothing_left = is_all_on_disk(agent, &figures);
    on_disk = figures.on_disk && nothing_left;
    for (unsigned i = 0; i < figures.outputs; i++) {
        const struct spool_output_figures *output = &figures.output[i];
        uint64_t left = output->messages[FATE_DROPPED_SHUTDOWN] + output->pending_messages;
        log_write(left > 0 && !on_disk ? LOG_ERROR : LOG_INFO, "STOPPED-OUTPUT",
                  "output %s: %llu messages received, %llu stored, %llu dead-lettered, %llu filtered, %llu dropped, "
                  "%llu returned to the broker, %llu left unstored%s",
                  agent->output_names[i], (unsigned long long)(figures.received - output->messages[FATE_EARLIER]),
                  (unsigned long long)output->messages[FATE_STORED], (unsigned long long)output->messages[FATE_DEAD_LETTERED],
                  (unsigned long long)output->messages[FATE_FILTERED],
                  (unsigned long long)(output->messages[FATE_DROPPED_FULL] + output->messages[FATE_EXPIRED] + output->messages[FATE_DAMAGED]),
                  (unsigned long long)output->messages[FATE_RETURNED], (unsigned long long)left,
                  left == 0 ? "" : on_disk ? ", on disk for the next start" : figures.on_disk ? ", not all of it on disk" : "");
        nothing_left = nothing_left && (left == 0 || figures.on_disk);
    }
    return nothing_left;
}

/* What a start that failed half-way has set going: ended without ceremony, as nothing was received yet. */
void agent_abort(struct agent *agent) {
    int64_t now = clock_mono_ns();

    replay_stop(agent->replay);
    for (size_t i = 0; i < agent->input_count; i++)
        if (agent->inputs[i].mqtt != NULL)
            mqtt_source_stop_taking(agent->inputs[i].mqtt);
    if (agent->spool != NULL)
        spool_interrupt(agent->spool);
    for (unsigned i = 0; i < agent->output_count; i++)
        if (agent->outputs[i].delivery != NULL)
            delivery_stop(agent->outputs[i].delivery, now);
    for (size_t i = 0; i < agent->input_count; i++)
        if (agent->inputs[i].mqtt != NULL)
            mqtt_source_stop(agent->inputs[i].mqtt, 0);
    if (agent->loop != NULL)
        loop_stop(agent->loop);
}

bool agent_stop(struct agent *agent) {
    int64_t deadline = clock_mono_ns() + agent->top.agent.shutdown_timeout_ns;
    const int64_t goodbye_ns = 2 * NS_PER_S;

    stop_taking(agent);
    replay_stop(agent->replay);
    spool_close(agent->spool);
    for (unsigned i = 0; i < agent->output_count; i++)
        delivery_begin_stop(agent->outputs[i].delivery, deadline);
    for (unsigned i = 0; i < agent->output_count; i++)
        delivery_stop(agent->outputs[i].delivery, deadline);
    spool_interrupt(agent->spool);
    for (size_t i = 0; i < agent->input_count; i++)
        if (agent->inputs[i].mqtt != NULL)
            mqtt_source_stop(agent->inputs[i].mqtt, goodbye_ns);
    if (agent->broker != NULL)
        broker_stop(agent->broker, goodbye_ns);
    loop_stop(agent->loop);
    spool_stop(agent->spool); /* the last of it is written, or cannot be */
    return report(agent);
}

/* Dry runs. */

static enum message_fate print_message(void *ctx, const struct message *message, uint64_t *sequence) {
    struct wired_input *input = ctx;
    struct err reason = ERR_INIT;
    enum ingest_end end;

    buf_reset(&input->lines);
    end = ingest_explain(input->public.ingest, message, &input->lines, NULL, &reason);
    input->agent->print.lines(input->agent->print.ctx, message, end, buf_str(&input->lines), &reason);
    *sequence = 0;
    return MESSAGE_TAKEN;
}

bool agent_start_dry(struct agent *agent, struct agent_print print, struct err *err) {
    const size_t lines_max = 64 << 20;

    agent->print = print;
    if (!mqtt_client_setup(err))
        return false;
    for (size_t i = 0; i < agent->input_count; i++) {
        buf_init(&agent->inputs[i].lines, lines_max);
        if (agent->inputs[i].embedded != NULL)
            log_warn("DRY-EMBEDDED", "input %s gets nothing: a dry run listens nowhere; try messages with `heliograf explain`", agent->inputs[i].public.name);
        if (!start_input(agent, &agent->inputs[i], (struct message_sink){ &agent->inputs[i], print_message }, false, err))
            return false;
    }
    return true;
}

void agent_stop_dry(struct agent *agent) {
    for (size_t i = 0; i < agent->input_count; i++) {
        if (agent->inputs[i].mqtt == NULL)
            continue;
        mqtt_source_stop_taking(agent->inputs[i].mqtt);
        mqtt_source_stop(agent->inputs[i].mqtt, NS_PER_S);
    }
}
