/* agent/wiring_outputs.c: output blocks of the configuration become outputs with their filters. */
#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/wiring_internal.h"

static bool is_taken(struct agent *agent, const char *name) {
    for (unsigned i = 0; i < agent->output_count; i++)
        if (strcmp(agent->output_names[i], name) == 0)
            return true;
    return false;
}

const char *wire_name(struct agent *agent, const char *alias, const char *type,
                      bool (*taken)(struct agent *, const char *)) {
    const char *base = alias != NULL && alias[0] != '\0' ? alias : type;
    char numbered[128];

    if (!taken(agent, base))
        return arena_strdup(&agent->arena, str_of(base));
    for (unsigned i = 2;; i++) {
        snprintf(numbered, sizeof numbered, "%.100s:%u", base, i);
        if (!taken(agent, numbered))
            return arena_strdup(&agent->arena, str_of(numbered));
    }
}

/* Nothing at all behind a plug-in's name is a block of defaults. */
static const struct yaml_node *as_block(struct agent *agent, const struct yaml_node *node) {
    struct yaml_node *empty;

    if (node->kind == YAML_MAP)
        return node;
    empty = arena_zalloc(&agent->arena, sizeof *empty);
    if (empty == NULL)
        return node;
    *empty = (struct yaml_node){ .kind = YAML_MAP, .at = node->at, .key = node->key, .text = STR_EMPTY };
    return empty;
}

void wire_blocks(struct agent *agent, const struct yaml_node *plugin, struct diags *diags,
                 void (*each)(struct agent *, const char *, const struct yaml_node *, struct diags *)) {
    const char *type = plugin->key->text.data;

    if (plugin->kind == YAML_MAP || yaml_is_null(plugin)) {
        each(agent, type, as_block(agent, plugin), diags);
        return;
    }
    if (plugin->kind == YAML_SCALAR) {
        diag_add(diags, plugin->at, "%s: expected a list of blocks, as in `%s: [ { ... } ]`", type, type);
        return;
    }
    for (const struct yaml_node *block = plugin->first; block != NULL; block = block->next) {
        if (block->kind == YAML_MAP || yaml_is_null(block))
            each(agent, type, as_block(agent, block), diags);
        else
            diag_add(diags, block->at, "%s: expected a map of options", type);
    }
}

enum { OUTPUT_TYPES_MAX = 64 };

/* So that an option of another generation of InfluxDB is told where it belongs. */
static size_t list_other_outputs(const struct output_type *type, struct cfg_elsewhere *others) {
    size_t count = 0;

    for (size_t i = 0; output_types[i] != NULL && count < OUTPUT_TYPES_MAX; i++)
        if (output_types[i] != type)
            others[count++] = (struct cfg_elsewhere){ output_types[i]->options, "output", output_types[i]->name };
    return count;
}

static bool read_output(struct agent *agent, struct wired_output *output, const struct yaml_node *block,
                        struct diags *diags) {
    char what[160];
    struct err err = ERR_INIT;
    struct cfg_elsewhere others[OUTPUT_TYPES_MAX];
    size_t other_count = list_other_outputs(output->type, others);
    struct cfg_binding bindings[] = {
        { output->type->options, output->state },
        { output_common_options, &output->settings },
        { ingest_filter_options, output->filter },
    };

    snprintf(what, sizeof what, "output %s", output->type->name);
    if (!cfg_read_beside(block, what, bindings, 3, others, other_count, &agent->arena, diags))
        return false;
    if (!ingest_filter_init(output->filter, &err) || (output->type->init != NULL && !output->type->init(output->state, &err))) {
        diag_add(diags, block->at, "%s: %s", what, err.text);
        return false;
    }
    return true;
}

static void wire_output(struct agent *agent, const char *name, const struct yaml_node *block, struct diags *diags) {
    struct wired_output *output;

    if (agent->output_count == SPOOL_OUTPUTS_MAX) {
        diag_add(diags, block->at, "more than %d outputs", SPOOL_OUTPUTS_MAX);
        return;
    }
    output = &agent->outputs[agent->output_count];
    output->type = output_find(name);
    output->state = output_new(output->type);
    output->filter = arena_zalloc(&agent->arena, ingest_filter_size());
    if (output->state == NULL || output->filter == NULL) {
        diag_add(diags, block->at, "no memory for another output");
        return;
    }
    read_output(agent, output, block, diags);
    output->name = wire_name(agent, output->settings.alias, name, is_taken);
    agent->output_names[agent->output_count] = output->name;
    agent->filters[agent->output_count] = ingest_filter_is_empty(output->filter) ? NULL : output->filter;
    agent->output_count++;
}

static void unknown_output(const struct yaml_node *plugin, struct diags *diags) {
    const char *names[OUTPUT_TYPES_MAX];
    size_t count = 0;
    const char *nearest;

    for (; count < OUTPUT_TYPES_MAX && output_types[count] != NULL; count++)
        names[count] = output_types[count]->name;
    nearest = cfg_nearest(plugin->key->text.data, names, count);
    if (nearest != NULL)
        diag_add(diags, plugin->key->at, "unknown output '%s'; did you mean '%s'?", plugin->key->text.data, nearest);
    else
        diag_add(diags, plugin->key->at, "unknown output '%s'; `heliograf plugins` lists those that exist",
                 plugin->key->text.data);
}

void wire_outputs(struct agent *agent, struct diags *diags) {
    const struct yaml_node *outputs = agent->top.outputs;

    if (outputs != NULL && outputs->kind != YAML_MAP) {
        if (!yaml_is_null(outputs))
            diag_add(diags, outputs->at, "outputs: expected names of outputs, as in `influxdb: [ { ... } ]`");
        return;
    }
    for (const struct yaml_node *plugin = outputs != NULL ? outputs->first : NULL; plugin != NULL; plugin = plugin->next) {
        if (output_find(plugin->key->text.data) == NULL)
            unknown_output(plugin, diags);
        else
            wire_blocks(agent, plugin, diags, wire_output);
    }
}

double wire_rate(const struct output_settings *settings, double per_period) {
    int64_t period_ns = settings->rate_limit_period_ns > 0 ? settings->rate_limit_period_ns : NS_PER_S;

    return per_period * (double)NS_PER_S / (double)period_ns;
}

/* The suffix `u` goes into lines that all outputs share, so all of them must know it. */
bool wire_takes_unsigned(const struct agent *agent) {
    for (unsigned i = 0; i < agent->output_count; i++) {
        const struct output_type *type = agent->outputs[i].type;
        if (type->takes_unsigned == NULL || !type->takes_unsigned(agent->outputs[i].state))
            return false;
    }
    return agent->output_count > 0;
}

unsigned agent_outputs(const struct agent *agent, const char *const **names) {
    *names = agent->output_names;
    return agent->output_count;
}
