/* agent/wiring_inputs.c: input blocks of the configuration become sources, each with an ingest of its own. */
#include <stdio.h>

#include "agent/base/filter_index.h"
#include "agent/base/topic_filter.h"
#include "agent/wiring_internal.h"

static bool is_taken(struct agent *agent, const char *name) {
    for (size_t i = 0; i < agent->input_count; i++)
        if (strcmp(agent->inputs[i].public.name, name) == 0)
            return true;
    return false;
}

static struct wired_input *next_input(struct agent *agent, const char *type, const struct yaml_node *block,
                                      struct diags *diags) {
    const struct yaml_node *alias = yaml_get(block, "alias");
    struct wired_input *input;

    if (agent->input_count == INPUTS_MAX) {
        diag_add(diags, block->at, "more than %d inputs", INPUTS_MAX);
        return NULL;
    }
    input = &agent->inputs[agent->input_count];
    input->agent = agent;
    input->public.name = wire_name(agent, alias != NULL && alias->kind == YAML_SCALAR ? alias->text.data : NULL, type,
                                   is_taken);
    return input;
}

/* The `topics` of a block as written; the source complains about what is wrong with them. */
static struct cfg_strings read_topics(struct agent *agent, const struct yaml_node *block) {
    const struct yaml_node *topics = yaml_get(block, "topics");
    struct cfg_strings list = { 0 };

    if (topics == NULL)
        return list;
    const struct yaml_node *first = topics->kind == YAML_LIST ? topics->first : topics;
    size_t count = topics->kind == YAML_LIST ? topics->count : 1;
    list.items = arena_zalloc(&agent->arena, (count + 1) * sizeof *list.items);
    for (; list.items != NULL && first != NULL && list.count < count; first = first->next)
        if (first->kind == YAML_SCALAR)
            list.items[list.count++] = (char *)first->text.data;
    return list;
}

/* A filter under routes or topic_parsing that no subscription can ever feed: most often a typing mistake. */
static void warn_if_never(const struct yaml_node *filter, struct filter_index *subscribed, const char *where, struct diags *diags) {
    if (filter->kind == YAML_SCALAR && topic_filter_valid(filter->text, NULL) && !filter_index_intersects(subscribed, filter->text))
        diag_warn(diags, filter->at, "%s: no subscribed topic can match '%.*s'", where, STR_ARGS(filter->text));
}

static void check_filters(const struct yaml_node *block, struct filter_index *subscribed, struct diags *diags) {
    const struct yaml_node *routes = yaml_get(block, "routes"), *parsing = yaml_get(block, "topic_parsing");

    for (const struct yaml_node *route = routes != NULL ? routes->first : NULL; route != NULL; route = route->next) {
        const struct yaml_node *list = yaml_get(route, "topics");
        if (list != NULL && list->kind == YAML_SCALAR)
            warn_if_never(list, subscribed, "routes", diags);
        for (const struct yaml_node *filter = list != NULL ? list->first : NULL; filter != NULL; filter = filter->next)
            warn_if_never(filter, subscribed, "routes", diags);
    }
    for (const struct yaml_node *entry = parsing != NULL ? parsing->first : NULL; entry != NULL; entry = entry->next) {
        const struct yaml_node *topic = yaml_get(entry, "topic");
        if (topic != NULL)
            warn_if_never(topic, subscribed, "topic_parsing", diags);
    }
}

static void check_reachable(const struct yaml_node *block, const struct cfg_strings *topics, struct diags *diags) {
    struct filter_index subscribed;
    bool fine = topics->count > 0;

    filter_index_init(&subscribed);
    for (size_t i = 0; i < topics->count && fine; i++)
        fine = filter_index_add(&subscribed, str_of(topics->items[i]), (uint32_t)i);
    if (fine)
        check_filters(block, &subscribed, diags);
    filter_index_release(&subscribed);
}

static void wire_mqtt_consumer(struct agent *agent, const char *type, const struct yaml_node *block, struct diags *diags) {
    struct wired_input *input = next_input(agent, type, block, diags);
    void *options = arena_zalloc(&agent->arena, mqtt_source_options_size);
    struct cfg_binding own = { mqtt_source_options, options };
    char what[160];

    if (input == NULL || options == NULL)
        return;
    if (strcmp(input->public.name, type) == 0)
        snprintf(what, sizeof what, "input %s", type);
    else
        snprintf(what, sizeof what, "input %s '%s'", type, input->public.name);
    input->public.topics = read_topics(agent, block);
    input->public.ingest = ingest_new(block, what, input->public.name, &own, 1, &agent->context, &agent->arena, diags);
    /* Also behind errors of the ingest's: all complaints at once. */
    if (wire_is_embedded(agent, block))
        wire_embedded(agent, input, options, block, diags);
    else
        input->mqtt = mqtt_source_new(options, block, input->public.name, diags);
    check_reachable(block, &input->public.topics, diags);
    agent->input_count++;
}

static void wire_internal(struct agent *agent, const char *type, const struct yaml_node *block, struct diags *diags) {
    struct wired_input *input = next_input(agent, type, block, diags);
    struct cfg_binding own = { internal_source_options, input != NULL ? &input->internal_options : NULL };

    if (input == NULL)
        return;
    input->public.ingest =
        ingest_new(block, "input internal", input->public.name, &own, 1, &agent->context, &agent->arena, diags);
    agent->input_count++;
}

static const struct {
    const char *name;
    void (*wire)(struct agent *, const char *, const struct yaml_node *, struct diags *);
} input_types[] = {
    { "mqtt_consumer", wire_mqtt_consumer },
    { "internal", wire_internal },
};
enum { INPUT_TYPES = sizeof input_types / sizeof input_types[0] };

static void wire_input_plugin(struct agent *agent, const struct yaml_node *plugin, struct diags *diags) {
    const char *names[INPUT_TYPES], *nearest;

    for (size_t i = 0; i < INPUT_TYPES; i++) {
        names[i] = input_types[i].name;
        if (str_eq_c(plugin->key->text, names[i])) {
            wire_blocks(agent, plugin, diags, input_types[i].wire);
            return;
        }
    }
    nearest = cfg_nearest(plugin->key->text.data, names, INPUT_TYPES);
    if (nearest != NULL)
        diag_add(diags, plugin->key->at, "unknown input '%s'; did you mean '%s'?", plugin->key->text.data, nearest);
    else
        diag_add(diags, plugin->key->at, "unknown input '%s'; known: mqtt_consumer, internal", plugin->key->text.data);
}

void wire_inputs(struct agent *agent, struct diags *diags) {
    const struct yaml_node *inputs = agent->top.inputs;

    if (inputs != NULL && inputs->kind != YAML_MAP) {
        if (!yaml_is_null(inputs))
            diag_add(diags, inputs->at, "inputs: expected names of inputs, as in `mqtt_consumer: [ { ... } ]`");
        return;
    }
    for (const struct yaml_node *plugin = inputs != NULL ? inputs->first : NULL; plugin != NULL; plugin = plugin->next)
        wire_input_plugin(agent, plugin, diags);
    for (size_t i = 0; i < agent->input_count; i++)
        agent->input_rows[i] = agent->inputs[i].public;
}

size_t agent_inputs(const struct agent *agent, const struct agent_input **inputs) {
    *inputs = agent->input_rows;
    return agent->input_count;
}

static bool takes_topic(const struct agent_input *input, struct str topic) {
    for (size_t i = 0; i < input->topics.count; i++)
        if (topic_filter_match(topic_filter_strip_share(str_of(input->topics.items[i])), topic))
            return true;
    return false;
}

struct str wire_inputs_of(void *ctx, struct str topic, char *room, size_t size) {
    const struct agent *agent = ctx;
    size_t used = 0;

    room[0] = '\0';
    for (size_t i = 0; i < agent->input_count && used < size; i++) {
        bool own_figures = agent->inputs[i].mqtt == NULL && str_eq_c(topic, INTERNAL_TOPIC);
        if (own_figures || takes_topic(&agent->input_rows[i], topic))
            used += (size_t)snprintf(room + used, size - used, "%s%s", used > 0 ? ", " : "", agent->input_rows[i].name);
    }
    return str_make(room, used < size ? used : size - 1);
}

const struct agent_input *agent_input_for(const struct agent *agent, const char *name, struct str topic) {
    for (size_t i = 0; i < agent->input_count; i++) {
        const struct agent_input *input = &agent->input_rows[i];
        if (name != NULL ? strcmp(name, input->name) == 0 : takes_topic(input, topic))
            return input;
    }
    return NULL;
}

uint64_t agent_input_max_bytes(const struct agent *agent, const struct agent_input *input) {
    const struct mqtt_source *mqtt = agent->inputs[input - agent->input_rows].mqtt;

    return mqtt != NULL ? mqtt_source_max_bytes(mqtt) : 0;
}

bool agent_input_takes(const struct agent *agent, const struct agent_input *input, const struct message *message) {
    const struct mqtt_source *mqtt = agent->inputs[input - agent->input_rows].mqtt;

    return mqtt == NULL || mqtt_source_wants(mqtt, message);
}

static void name_inputs(const struct agent *agent, struct buf *out) {
    for (size_t i = 0; i < agent->input_count; i++)
        if (agent->inputs[i].mqtt != NULL)
            buf_printf(out, "%s%s", out->len > 0 ? ", " : "", agent->input_rows[i].name);
}

const struct agent_input *agent_input_broker(const struct agent *agent, const char *name, struct mqtt_client_options *out, int *qos,
                                             struct err *err) {
    struct buf names = BUF_INIT(4096);

    for (size_t i = 0; i < agent->input_count; i++) {
        const struct wired_input *input = &agent->inputs[i];
        if (input->mqtt == NULL || (name != NULL && strcmp(name, input->public.name) != 0))
            continue;
        *qos = mqtt_source_client_options(input->mqtt, out);
        return &agent->input_rows[i];
    }
    name_inputs(agent, &names);
    err_set(err, ERR_MISSING, "there is no input '%s' with a broker; there is: %s%s", name != NULL ? name : "mqtt_consumer",
            names.len > 0 ? buf_cstr(&names) : "none", agent->top.broker != NULL ? "; for the embedded broker, name its port with -p" : "");
    buf_release(&names);
    return NULL;
}
