/* agent/wiring_broker.c: the embedded broker, and inputs that read from it in this process instead of over a socket. */
#include "agent/base/topic_filter.h"
#include "agent/mqtt_client/source_options.h"
#include "agent/wiring_internal.h"

void wire_broker(struct agent *agent, struct diags *diags) {
    const struct yaml_node *map = agent->top.broker;
    size_t errors = diags->errors;

    if (map == NULL)
        return;
    agent->broker_options = arena_zalloc(&agent->arena, broker_options_size);
    if (agent->broker_options == NULL)
        return;
    cfg_read(map, "broker", &(struct cfg_binding){ broker_options, agent->broker_options }, 1, &agent->arena, diags);
    if (diags->errors == errors)
        agent->broker = broker_new(agent->broker_options, map, diags);
}

/* ---- inputs -------------------------------------------------------------------------------------------------------- */

/* `servers: ["embedded"]`, or none at all beside a broker of our own. */
bool wire_is_embedded(const struct agent *agent, const struct yaml_node *block) {
    const struct yaml_node *servers = yaml_get(block, "servers");

    if (servers == NULL)
        return agent->top.broker != NULL;
    const struct yaml_node *first = servers->kind == YAML_LIST ? servers->first : servers;
    return first != NULL && first->kind == YAML_SCALAR && str_eq(first->text, STR("embedded"));
}

static void check_filters(const struct mqtt_options *options, struct diags *diags) {
    for (size_t i = 0; i < options->topics.count; i++) {
        struct err err = ERR_INIT;
        if (!topic_filter_valid(str_of(options->topics.items[i]), &err))
            diag_add(diags, options->topics.at[i], "topics: %s", err.text);
    }
}

void wire_embedded(struct agent *agent, struct wired_input *input, const struct mqtt_options *options, const struct yaml_node *block,
                   struct diags *diags) {
    input->embedded = options;
    if (agent->top.broker == NULL)
        diag_add(diags, cfg_at(block, "servers"), "servers: \"embedded\" reads from the broker in this process, and there is none: add `broker:`, "
                                                  "or name a server");
    else if (options->servers.count > 1)
        diag_add(diags, cfg_at(block, "servers"), "servers: \"embedded\" stands alone");
    if (options->topics.count == 0)
        diag_add(diags, block->at, "no topics");
    check_filters(options, diags);
}

static bool add_input(struct agent *agent, struct wired_input *input, struct err *err) {
    static const enum broker_retained retained[] = {
        [MQTT_RETAINED_STORE] = BROKER_RETAINED_STORE,
        [MQTT_RETAINED_SKIP] = BROKER_RETAINED_SKIP,
        [MQTT_RETAINED_ONLY] = BROKER_RETAINED_ONLY,
    };
    const struct broker_input terms = {
        .name = input->public.name,
        .filters = &input->embedded->topics,
        .qos = 2, /* whatever the block says: nothing lies in between that a lower one would spare, and what is acknowledged to a device must be safe */
        .retained = retained[input->embedded->retained],
        .sink = { input->public.ingest, ingest_deliver },
    };

    return broker_add_input(agent->broker, &terms, err);
}

/* ---- presence ------------------------------------------------------------------------------------------------------ */

/* Points of who comes and goes take the way of any other, so that they have the global tags and go to every output. */
void wire_presence(struct agent *agent, struct diags *diags) {
    static const char block[] = "topic_tag: \"\"\n";

    if (agent->broker == NULL || !broker_wants_presence(agent->broker_options))
        return;
    const struct yaml_node *map = yaml_parse("presence", str_of(block), &agent->arena, diags);
    if (map != NULL)
        agent->presence = ingest_new(map, "input presence", "presence", NULL, 0, &agent->context, &agent->arena, diags);
}

/* ---- life ---------------------------------------------------------------------------------------------------------- */

bool start_broker(struct agent *agent, struct err *err) {
    const struct message_origin *origins;
    size_t count;

    if (agent->broker == NULL)
        return true;
    for (size_t i = 0; i < agent->input_count; i++)
        if (agent->inputs[i].embedded != NULL && !add_input(agent, &agent->inputs[i], err))
            return false;
    if (agent->presence != NULL)
        broker_set_presence(agent->broker, (struct message_sink){ agent->presence, ingest_deliver });
    count = spool_origins(agent->spool, &origins);
    broker_remember(agent->broker, origins, count);
    return broker_start(agent->broker, agent->loop, err);
}

static void reload(void *ctx) {
    struct agent *agent = ctx;
    struct buf report = BUF_INIT(64 * 1024);
    bool fine = broker_reload(agent->broker, &report);
    struct str rest = buf_str(&report);

    while (rest.len > 0) {
        struct str line = str_split(&rest, '\n');
        log_error("BROKER-RELOAD", "%.*s", STR_ARGS(line));
    }
    if (fine)
        log_info("BROKER-RELOADED", "passwords, access rules and certificates were read again; a changed configuration needs a restart");
    buf_release(&report);
}

void agent_reload(struct agent *agent) {
    if (agent->broker == NULL || agent->loop == NULL || !loop_post(agent->loop, reload, agent))
        log_warn("RELOAD-UNSUPPORTED", "SIGHUP does nothing here: restart to apply a changed configuration");
}
