/* agent/wiring_sample.c: what exists, for `plugins`, and a sample configuration, for `config`; both from the tables. */
#include "agent/wiring_internal.h"
#include "parsers/parser.h"

static const struct agent_plugin inputs[] = {
    { "input", "mqtt_consumer", "Subscribes to an existing MQTT broker (3.1.1 and 5; tcp, TLS, WebSocket).", mqtt_source_options },
    { "input", "internal", "The agent's own figures, as points through its own pipeline.", internal_source_options },
};
enum { INPUTS = sizeof inputs / sizeof inputs[0] };

bool agent_plugin(size_t i, struct agent_plugin *plugin) {
    if (i < INPUTS) {
        *plugin = inputs[i];
        return true;
    }
    i -= INPUTS;
    for (size_t j = 0; parser_types[j] != NULL; j++) {
        if (i-- > 0)
            continue;
        *plugin = (struct agent_plugin){ "parser", parser_types[j]->name, parser_types[j]->summary, parser_types[j]->options };
        return true;
    }
    for (size_t j = 0; output_types[j] != NULL; j++) {
        if (i-- > 0)
            continue;
        *plugin = (struct agent_plugin){ "output", output_types[j]->name, output_types[j]->summary, output_types[j]->options };
        return true;
    }
    return false;
}

/* A block in a list; those that are not `live` are commented out whole. */
static void sample_block(const char *name, const struct cfg_field *const *tables, bool live, struct buf *out) {
    struct buf text = BUF_INIT(1 << 20);
    struct str rest;

    buf_printf(&text, "  %s:\n    -\n", name);
    for (; *tables != NULL; tables++)
        cfg_sample(*tables, 6, &text);
    rest = buf_str(&text);
    while (rest.data != NULL && rest.len > 0) {
        struct str line = str_split(&rest, '\n');
        buf_printf(out, "%s%.*s\n", live ? "" : "# ", STR_ARGS(line));
    }
    buf_release(&text);
}

static void sample_inputs(bool full, struct buf *out) {
    const struct cfg_field *mqtt[] = { mqtt_source_options, ingest_options, ingest_filter_options, NULL };
    const struct cfg_field *internal[] = { internal_source_options, NULL };

    buf_append_c(out, "\ninputs:\n");
    sample_block("mqtt_consumer", mqtt, true, out);
    for (size_t i = 0; parser_types[i] != NULL; i++) {
        buf_printf(out, "\n      # Options of `data_format: %s`: %s\n", parser_types[i]->name, parser_types[i]->summary);
        cfg_sample(parser_types[i]->options, 6, out);
    }
    if (full)
        sample_block("internal", internal, false, out);
}

static void sample_outputs(bool full, struct buf *out) {
    buf_append_c(out, "\noutputs:\n");
    for (size_t i = 0; output_types[i] != NULL; i++) {
        const struct cfg_field *tables[] = { output_types[i]->options, output_common_options, ingest_filter_options, NULL };
        if (i == 0 || full)
            sample_block(output_types[i]->name, tables, i == 0, out);
    }
}

void agent_sample_config(bool full, struct buf *out) {
    buf_append_c(out, "# Heliograf's configuration. Every option stands here with its default; lines that begin with # change nothing.\n"
                      "# `heliograf check --config FILE` says whether it is good, `heliograf help` what else there is.\n\n");
    cfg_sample(top_options, 0, out);
    sample_inputs(full, out);
    sample_outputs(full, out);
}
