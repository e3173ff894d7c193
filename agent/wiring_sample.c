/* agent/wiring_sample.c: what exists, for `plugins`, and a sample configuration, for `config`; both from the tables. */
#include "agent/wiring_internal.h"
#include "parsers/parser.h"

static const struct agent_plugin sections[] = {
    { "section", "broker", "An MQTT broker in this process, for a site that has none: devices connect straight to it.", broker_options },
    { "input", "mqtt_consumer", "Subscribes to a broker: an existing one (3.1.1 and 5; tcp, TLS, WebSocket), or \"embedded\".", mqtt_source_options },
    { "input", "internal", "The agent's own figures, as points through its own pipeline.", internal_source_options },
};
enum { SECTIONS = sizeof sections / sizeof sections[0] };

bool agent_plugin(size_t i, struct agent_plugin *plugin) {
    if (i < SECTIONS) {
        *plugin = sections[i];
        return true;
    }
    i -= SECTIONS;
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

/* Every line of it, behind `mark`. */
static void append_lines(const struct buf *text, const char *mark, struct buf *out) {
    struct str rest = buf_str(text);

    while (rest.data != NULL && rest.len > 0) {
        struct str line = str_split(&rest, '\n');
        buf_printf(out, "%s%.*s\n", mark, STR_ARGS(line));
    }
}

/* A block in a list; those that are not `live` are commented out whole. */
static void sample_block(const char *name, const struct cfg_field *const *tables, bool live, struct buf *out) {
    struct buf text = BUF_INIT(1 << 20);

    buf_printf(&text, "  %s:\n    -\n", name);
    for (; *tables != NULL; tables++)
        cfg_sample(*tables, 6, &text);
    append_lines(&text, live ? "" : "# ", out);
    buf_release(&text);
}

static void sample_broker(bool full, struct buf *out) {
    struct buf text = BUF_INIT(1 << 20);

    buf_printf(out, "\n## %s\n", sections[0].summary);
    buf_append_c(&text, "broker:\n");
    (full ? cfg_sample : cfg_sample_short)(broker_options, 2, &text);
    append_lines(&text, "# ", out);
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
    cfg_sample_short(top_options, 0, out);
    sample_broker(full, out);
    sample_inputs(full, out);
    sample_outputs(full, out);
}
