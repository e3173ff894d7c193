/* agent/ingest/ingest_explain.c: the same way as a delivered message, with words, and without anything left behind. */
#include "agent/ingest/ingest_parts.h"

static void explain_counts(const struct ingest_figures *figures, struct buf *trace) {
    const struct line_counters *lines = &figures->lines;

    for (size_t i = 0; i < OMIT_COUNT; i++)
        if (metric_get(&lines->omitted[i]) > 0)
            say(trace, "left out by the encoder: %llu (%s)", (unsigned long long)metric_get(&lines->omitted[i]),
                line_omission_name((enum line_omission)i));
    if (metric_get(&lines->renamed) > 0)
        say(trace, "names changed because servers refuse them: %llu", (unsigned long long)metric_get(&lines->renamed));
    if (metric_get(&lines->clipped) > 0)
        say(trace, "unsigned values cut at int64's end: %llu", (unsigned long long)metric_get(&lines->clipped));
}

/* What outputs with filters get, where it is not the same. */
static void explain_outputs(const struct ingest *ingest, struct buf *trace) {
    struct str plain = buf_str(&ingest->lines[0].text);

    for (size_t v = 1; v <= ingest->transform.filtered_count; v++) {
        struct str text = buf_str(&ingest->lines[v].text);
        unsigned output = (unsigned)__builtin_ctzll(ingest->lines[v].outputs);
        if (text.len == 0)
            say(trace, "output %u: its filters let nothing through", output + 1);
        else if (!str_eq(text, plain))
            say(trace, "output %u gets other lines:\n%.*s", output + 1, (int)text.len - 1, text.data);
    }
}

enum ingest_end ingest_explain(struct ingest *ingest, const struct message *message, struct buf *lines,
                               struct buf *trace, struct err *reason) {
    struct ingest_figures figures = { 0 };
    int64_t last_given_ns = ingest->last_given_ns;
    struct buf notes = BUF_INIT(1 << 16);
    enum ingest_end end;

    ingest->last_given_ns = INT64_MIN;
    ingest->figures = &figures;
    ingest->encoder.counters = &figures.lines;
    ingest->points.notes = trace != NULL ? &notes : NULL;
    end = ingest_process(ingest, message, true, trace, reason);
    ingest->points.notes = NULL;
    buf_release(&notes);
    ingest->last_given_ns = last_given_ns;
    ingest->figures = &ingest->own_figures;
    ingest->encoder.counters = &ingest->own_figures.lines;
    if (trace != NULL) {
        explain_counts(&figures, trace);
        if (end == INGEST_LINES)
            explain_outputs(ingest, trace);
    }
    if (end == INGEST_LINES)
        buf_append_str(lines, buf_str(&ingest->lines[0].text));
    else if (end == INGEST_FILTERED)
        err_set(reason, ERR_NONE, "%s", ingest->points.omitted > 0
                                               ? "no field is left: the parser left values out (json keeps strings and "
                                                 "booleans only with json_string_fields, json_strings or json_booleans)"
                                               : "no field is left after parser and filters");
    return end;
}
