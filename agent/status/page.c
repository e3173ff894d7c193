/*
 * agent/status/page.c: see page.h. First the question that matters, whether every message is accounted for, per output;
 * then the outputs and inputs one by one; then the rest.
 */
#include "agent/status/page.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "agent/base/clock.h"
#include "agent/status/prometheus.h"

#define NAMES_MAX 64

/* Label values in the order in which they came up. */
struct names {
    const char *items[NAMES_MAX];
    size_t count;
};

static void put_escaped(struct buf *out, struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        switch (text.data[i]) {
        case '&':
            buf_append_c(out, "&amp;");
            break;
        case '<':
            buf_append_c(out, "&lt;");
            break;
        case '>':
            buf_append_c(out, "&gt;");
            break;
        case '"':
            buf_append_c(out, "&quot;");
            break;
        default:
            buf_append_char(out, text.data[i]);
        }
    }
}

static void put_text(struct buf *out, const char *text) {
    put_escaped(out, str_of(text));
}

static void put_integer(struct buf *out, double value) {
    char digits[40];
    int len = snprintf(digits, sizeof digits, "%.0f", fabs(value));

    if (value < 0)
        buf_append_char(out, '-');
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            buf_append_c(out, "\xe2\x80\xaf"); /* narrow no-break space */
        buf_append_char(out, digits[i]);
    }
}

static void put_bytes(struct buf *out, double value) {
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    size_t unit = 0;

    while (fabs(value) >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    buf_printf(out, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static void put_seconds(struct buf *out, double value) {
    if (value == 0)
        buf_append_c(out, "0 s");
    else if (fabs(value) < 0.001)
        buf_printf(out, "%.0f \xc2\xb5s", value * 1e6);
    else if (fabs(value) < 1)
        buf_printf(out, "%.3g ms", value * 1e3);
    else if (fabs(value) < 120)
        buf_printf(out, "%.3g s", value);
    else if (fabs(value) < 7200)
        buf_printf(out, "%.0f min", value / 60);
    else if (fabs(value) < 172800)
        buf_printf(out, "%.1f h", value / 3600);
    else
        buf_printf(out, "%.1f days", value / 86400);
}

static void put_time(struct buf *out, double value) {
    time_t seconds = (time_t)value;
    char text[32];
    struct tm tm;

    if (value <= 0 || value > 253402300799.0 || gmtime_r(&seconds, &tm) == NULL) { /* not past the year 9999 */
        buf_append_c(out, "never");
        return;
    }
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%SZ", &tm);
    buf_append_c(out, text);
}

/* Without `_total`, which stands behind the unit. */
static struct str unit_part(const char *name) {
    struct str unit = str_of(name);

    if (str_ends_with(unit, STR("_total")))
        unit.len -= 6;
    return unit;
}

void page_number(struct buf *out, const char *name, double value) {
    struct str unit = unit_part(name);

    if (!isfinite(value))
        prometheus_number(out, value);
    else if (str_ends_with(unit, STR("_time_seconds")) || str_ends_with(unit, STR("_timestamp_seconds")))
        put_time(out, value);
    else if (str_ends_with(unit, STR("_bytes")))
        put_bytes(out, value);
    else if (str_ends_with(unit, STR("_seconds")))
        put_seconds(out, value);
    else if (value == floor(value) && fabs(value) < 1e18)
        put_integer(out, value);
    else
        buf_printf(out, "%.6g", value);
}

static void put_value(struct buf *out, const struct metric_desc *desc, const struct snapshot_sample *sample) {
    const struct snapshot_histogram *histogram = sample->histogram;
    double count;

    if (histogram == NULL) {
        page_number(out, desc->name, sample->value);
        return;
    }
    count = (double)histogram->cumulative[METRIC_BUCKETS];
    put_integer(out, count);
    if (count > 0) {
        buf_append_c(out, ", mean ");
        put_seconds(out, histogram->sum_seconds / count);
    }
}

static void add_name(struct names *names, const char *name) {
    if (name == NULL || names->count == NAMES_MAX)
        return;
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return;
    names->items[names->count++] = name;
}

static void add_names_in(struct names *names, const struct snapshot_family *family, const char *key) {
    for (const struct snapshot_sample *sample = family != NULL ? family->first : NULL; sample != NULL;
         sample = sample->next)
        add_name(names, snapshot_label(sample, key));
}

static struct names names_of(const struct snapshot *snapshot, const char *key) {
    struct names names = { .count = 0 };

    for (const struct snapshot_family *family = snapshot->first; family != NULL; family = family->next)
        add_names_in(&names, family, key);
    return names;
}

static void put_cell(struct buf *out, double value) {
    buf_append_c(out, "<td>");
    put_integer(out, value);
    buf_append_c(out, "</td>");
}

/* The one sample with this output and, unless NULL, this outcome. */
static double ledger_value(const struct snapshot_family *family, const char *output, const char *outcome) {
    for (const struct snapshot_sample *sample = family != NULL ? family->first : NULL; sample != NULL;
         sample = sample->next) {
        const char *out = snapshot_label(sample, "output"), *end = snapshot_label(sample, "outcome");

        if (out != NULL && strcmp(out, output) == 0 && (outcome == NULL || (end != NULL && strcmp(end, outcome) == 0)))
            return sample->value;
    }
    return 0;
}

static void put_identity_row(struct buf *out, const struct snapshot *snapshot, const char *output,
                             const struct names *outcomes) {
    const struct snapshot_family *ended = snapshot_find(snapshot, "messages_total");
    double received = snapshot_sum(snapshot_find(snapshot, "messages_received_total"), NULL, NULL);
    double pending = ledger_value(snapshot_find(snapshot, "messages_pending"), output, NULL), sum = pending;

    buf_append_c(out, "<tr><th>");
    put_text(out, output);
    buf_append_c(out, "</th>");
    put_cell(out, received);
    for (size_t i = 0; i < outcomes->count; i++) {
        double value = ledger_value(ended, output, outcomes->items[i]);

        sum += value;
        put_cell(out, value);
    }
    put_cell(out, pending);
    if (sum == received)
        buf_append_c(out, "<td class=\"good\">adds up</td></tr>\n");
    else {
        buf_append_c(out, "<td class=\"bad\">differs by ");
        put_integer(out, received - sum);
        buf_append_c(out, "</td></tr>\n");
    }
}

static void put_identity(struct buf *out, const struct snapshot *snapshot) {
    const struct snapshot_family *ended = snapshot_find(snapshot, "messages_total");
    struct names outputs = { .count = 0 }, outcomes = { .count = 0 };

    add_names_in(&outputs, ended, "output");
    add_names_in(&outcomes, ended, "outcome");
    if (outputs.count == 0)
        return;
    buf_append_c(out, "<h2>Messages</h2>\n<table>\n<tr><th>output</th><th>received =</th>");
    for (size_t i = 0; i < outcomes.count; i++) {
        buf_append_c(out, "<th>");
        put_text(out, outcomes.items[i]);
        buf_append_c(out, " +</th>");
    }
    buf_append_c(out, "<th>pending</th><th></th></tr>\n");
    for (size_t i = 0; i < outputs.count; i++)
        put_identity_row(out, snapshot, outputs.items[i], &outcomes);
    buf_append_c(out, "</table>\n");
}

/* One figure: its name, the labels that the heading does not say, its value. */
static void put_row(struct buf *out, const struct metric_desc *desc, const struct snapshot_sample *sample,
                    const char *said) {
    buf_append_c(out, "<tr><th title=\"");
    put_text(out, desc->help != NULL ? desc->help : "");
    buf_append_c(out, "\">");
    put_text(out, desc->name);
    buf_append_c(out, "</th><td class=\"labels\">");
    for (size_t i = 0; i < sample->label_count; i++) {
        if (said != NULL && strcmp(sample->labels[i].key, said) == 0)
            continue;
        put_text(out, sample->labels[i].key);
        buf_append_c(out, "=");
        put_text(out, sample->labels[i].value);
        buf_append_c(out, " ");
    }
    buf_append_c(out, "</td><td>");
    put_value(out, desc, sample);
    buf_append_c(out, "</td></tr>\n");
}

/* Whether the sample belongs under the heading `key` = `value`; with key NULL, under none of the headings. */
static bool belongs(const struct snapshot_sample *sample, const char *key, const char *value) {
    const char *found = key != NULL ? snapshot_label(sample, key) : NULL;

    if (key != NULL)
        return found != NULL && strcmp(found, value) == 0;
    return snapshot_label(sample, "output") == NULL && snapshot_label(sample, "input") == NULL;
}

static void put_rows(struct buf *out, const struct snapshot *snapshot, const char *key, const char *value) {
    buf_append_c(out, "<table class=\"list\">\n");
    for (const struct snapshot_family *family = snapshot->first; family != NULL; family = family->next)
        for (const struct snapshot_sample *sample = family->first; sample != NULL; sample = sample->next)
            if (belongs(sample, key, value))
                put_row(out, family->desc, sample, key);
    buf_append_c(out, "</table>\n");
}

static void put_sections(struct buf *out, const struct snapshot *snapshot, const char *key, const char *title) {
    struct names names = names_of(snapshot, key);

    for (size_t i = 0; i < names.count; i++) {
        buf_append_c(out, "<details open><summary>");
        put_text(out, title);
        buf_append_char(out, ' ');
        put_text(out, names.items[i]);
        buf_append_c(out, "</summary>\n");
        put_rows(out, snapshot, key, names.items[i]);
        buf_append_c(out, "</details>\n");
    }
}

static void put_state(struct buf *out, const struct page *page) {
    double started = snapshot_sum(snapshot_find(page->snapshot, "process_start_time_seconds"), NULL, NULL);

    buf_printf(out, "<p><b class=\"%s\">%s</b> \xc2\xb7 version " HELIOGRAF_VERSION, page->ready ? "good" : "bad",
               page->ready ? "ready" : "not ready");
    if (started > 0) {
        buf_append_c(out, " \xc2\xb7 running for ");
        put_seconds(out, fmax(0, (double)page->now_ns / NS_PER_S - started));
    }
    buf_append_c(out, "</p>\n");
    if (str_trim(page->why).len > 0) {
        buf_append_c(out, "<pre>");
        put_escaped(out, str_trim(page->why));
        buf_append_c(out, "</pre>\n");
    }
}

void page_write(const struct page *page, struct buf *out) {
    buf_append_c(
        out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Heliograf</title>\n"
             "<meta name=\"viewport\" content=\"width=device-width\">\n<meta http-equiv=\"refresh\" content=\"5\">\n"
             "<style>\n"
             ":root { color-scheme: light dark }\n"
             "body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 64em; padding: 0 1em }\n"
             "table { border-collapse: collapse; margin: .5em 0 1em }\n"
             "th, td { padding: .15em .8em .15em 0; border-bottom: 1px solid #8884; text-align: right }\n"
             "th { font-weight: normal; opacity: .8 } th:first-child, td.labels { text-align: left }\n"
             "td { font-variant-numeric: tabular-nums } summary { font-size: 120%; cursor: pointer }\n"
             ".good { color: #2a8c3c } .bad { color: #d22f2f }\n"
             "</style>\n</head>\n<body>\n<h1>Heliograf</h1>\n");
    put_state(out, page);
    put_identity(out, page->snapshot);
    put_sections(out, page->snapshot, "output", "Output");
    put_sections(out, page->snapshot, "input", "Input");
    buf_append_c(out, "<details><summary>Agent and process</summary>\n");
    put_rows(out, page->snapshot, NULL, NULL);
    buf_append_c(out, "</details>\n<p>The same as text for machines: <a href=\"metrics\">metrics</a>, "
                      "<a href=\"-/ready\">-/ready</a>, <a href=\"-/healthy\">-/healthy</a>.</p>\n</body>\n</html>\n");
}
