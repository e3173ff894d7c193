/* agent/status/prometheus.c: figures as Prometheus text, exposition format 0.0.4: one HELP and TYPE and one group per
 * name. */
#include "agent/status/prometheus.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/status/status.h"

static const char *const kind_names[] = {
    [METRIC_COUNTER] = "counter",
    [METRIC_GAUGE] = "gauge",
    [METRIC_HISTOGRAM] = "histogram",
};

const char *prometheus_prefix(const char *name) {
    /* Figures every program has, under the names every dashboard for programs knows. */
    return str_starts_with(str_of(name), STR("process_")) ? "" : "heliograf_";
}

void prometheus_escape(struct buf *out, const char *text, bool quotes) {
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            buf_append_c(out, "\\\\");
        else if (*text == '\n')
            buf_append_c(out, "\\n");
        else if (*text == '"' && quotes)
            buf_append_c(out, "\\\"");
        else
            buf_append_char(out, *text);
    }
}

static bool key_is_legal(const char *key) {
    if (*key >= '0' && *key <= '9')
        return false;
    return *key != '\0' &&
           strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == strlen(key);
}

static void put_label(struct buf *out, const char *key, const char *value, bool *any) {
    /* Keys are ours and fixed; one that is not legal would make the whole page unreadable, so it alone is left out. */
    if (!key_is_legal(key))
        return;
    buf_append_char(out, *any ? ',' : '{');
    buf_append_c(out, key);
    buf_append_c(out, "=\"");
    if (str_is_utf8(str_of(value)))
        prometheus_escape(out, value, true);
    else
        buf_append_c(out, "(not UTF-8)");
    buf_append_char(out, '"');
    *any = true;
}

static void put_name(struct buf *out, const struct metric_desc *desc, const char *suffix) {
    buf_append_c(out, prometheus_prefix(desc->name));
    buf_append_c(out, desc->name);
    buf_append_c(out, suffix);
}

void prometheus_number(struct buf *out, double value) {
    char text[40];

    if (isnan(value)) {
        buf_append_c(out, "NaN");
        return;
    }
    if (isinf(value)) {
        buf_append_c(out, value > 0 ? "+Inf" : "-Inf");
        return;
    }
    snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof text, "%.17g", value);
    buf_append_c(out, text);
}

/* `le` NULL: no such label. */
static void put_line(struct buf *out, const struct metric_desc *desc, const char *suffix,
                     const struct snapshot_sample *sample, const char *le, double value) {
    bool any = false;

    put_name(out, desc, suffix);
    for (size_t i = 0; i < sample->label_count; i++)
        put_label(out, sample->labels[i].key, sample->labels[i].value, &any);
    if (le != NULL)
        put_label(out, "le", le, &any);
    if (any)
        buf_append_char(out, '}');
    buf_append_char(out, ' ');
    prometheus_number(out, value);
    buf_append_char(out, '\n');
}

static void put_histogram(struct buf *out, const struct metric_desc *desc, const struct snapshot_sample *sample) {
    const struct snapshot_histogram *histogram = sample->histogram;
    char le[32];

    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        snprintf(le, sizeof le, "%g", metric_bucket_bounds[i]);
        put_line(out, desc, "_bucket", sample, le, (double)histogram->cumulative[i]);
    }
    put_line(out, desc, "_bucket", sample, "+Inf", (double)histogram->cumulative[METRIC_BUCKETS]);
    put_line(out, desc, "_sum", sample, NULL, histogram->sum_seconds);
    put_line(out, desc, "_count", sample, NULL, (double)histogram->cumulative[METRIC_BUCKETS]);
}

static void put_family(struct buf *out, const struct snapshot_family *family) {
    const struct metric_desc *desc = family->desc;

    buf_append_c(out, "# HELP ");
    put_name(out, desc, " ");
    prometheus_escape(out, desc->help != NULL ? desc->help : "", false);
    buf_append_c(out, "\n# TYPE ");
    put_name(out, desc, " ");
    buf_append_c(out, kind_names[desc->kind]);
    buf_append_char(out, '\n');
    for (const struct snapshot_sample *sample = family->first; sample != NULL; sample = sample->next) {
        /* A sample of another kind under the same name would be a lie in this group. */
        if ((sample->histogram != NULL) != (desc->kind == METRIC_HISTOGRAM))
            continue;
        if (sample->histogram != NULL)
            put_histogram(out, desc, sample);
        else
            put_line(out, desc, "", sample, NULL, sample->value);
    }
}

void prometheus_write(const struct snapshot *snapshot, struct buf *out) {
    for (const struct snapshot_family *family = snapshot->first; family != NULL; family = family->next)
        put_family(out, family);
    /* Rather no answer than figures with a hole that nobody sees. */
    if (snapshot->truncated)
        out->failed = true;
}

void status_prometheus(const struct metric_registry *metrics, struct buf *out) {
    struct snapshot snapshot;

    snapshot_take(&snapshot, metrics);
    prometheus_write(&snapshot, out);
    snapshot_release(&snapshot);
}
