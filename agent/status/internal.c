/* agent/status/internal.c: see internal.h. Figures with the same measurement and labels share one line. */
#include "agent/status/internal.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/loop/loop.h"
#include "agent/status/prometheus.h"
#include "agent/status/snapshot.h"

#define PAYLOAD_MAX_BYTES (1 << 20)

const struct cfg_field internal_source_options[] = {
    { .key = "interval",
      .type = CFG_DURATION,
      .offset = offsetof(struct internal_source_options, interval_ns),
      .fallback = "10s",
      .help = "How often the agent's own figures are taken; 100ms to 1d.",
      .min = 100 * NS_PER_MS,
      .max = 86400 * NS_PER_S },
    CFG_END,
};

struct internal_source {
    struct internal_source_options options;
    const struct metric_registry *metrics;
    struct loop *loop;
    struct message_sink sink;
    struct loop_timer *timer;
    struct buf payload;
    struct complaint complaint;
};

struct line_field {
    const struct metric_desc *desc;
    const struct snapshot_sample *sample;
    struct line_field *next;
};

struct line {
    const char *measurement;
    const struct snapshot_sample *labelled; /* any of the fields: all have the same labels */
    struct line_field *first, **tail;
    struct line *next;
};

static bool same_labels(const struct snapshot_sample *a, const struct snapshot_sample *b) {
    if (a->label_count != b->label_count)
        return false;
    for (size_t i = 0; i < a->label_count; i++) {
        const char *other = snapshot_label(b, a->labels[i].key);

        if (other == NULL || strcmp(a->labels[i].value, other) != 0)
            return false;
    }
    return true;
}

static struct line *line_of(struct arena *arena, struct line **lines, const char *measurement,
                            const struct snapshot_sample *sample) {
    struct line *line;

    for (; *lines != NULL; lines = &(*lines)->next)
        if (strcmp((*lines)->measurement, measurement) == 0 && same_labels((*lines)->labelled, sample))
            return *lines;
    line = arena_zalloc(arena, sizeof *line);
    if (line == NULL)
        return NULL;
    *line = (struct line){ .measurement = measurement, .labelled = sample, .tail = &line->first };
    *lines = line;
    return line;
}

/* A field may stand in a line once only; the first one wins. */
static bool has_field(const struct line *line, const struct metric_desc *desc) {
    for (const struct line_field *field = line->first; field != NULL; field = field->next)
        if (field->desc == desc)
            return true;
    return false;
}

static bool add_field(struct arena *arena, struct line **lines, const struct metric_desc *desc,
                      const struct snapshot_sample *sample) {
    struct line *line = line_of(arena, lines, desc->measurement != NULL ? desc->measurement : "agent", sample);
    struct line_field *field;

    if (line == NULL)
        return false;
    if (has_field(line, desc) || (sample->histogram == NULL && !isfinite(sample->value)))
        return true;
    field = arena_zalloc(arena, sizeof *field);
    if (field == NULL)
        return false;
    *field = (struct line_field){ .desc = desc, .sample = sample };
    *line->tail = field;
    line->tail = &field->next;
    return true;
}

static bool group(struct snapshot *snapshot, struct line **lines) {
    for (const struct snapshot_family *family = snapshot->first; family != NULL; family = family->next)
        for (const struct snapshot_sample *sample = family->first; sample != NULL; sample = sample->next)
            if (!add_field(&snapshot->arena, lines, family->desc, sample))
                return false;
    return !snapshot->truncated;
}

/* Line protocol's names. Control bytes would end a line, a backslash at the end would swallow what follows: both become
 * `_`. */
static void put_name(struct buf *out, const char *text) {
    for (; *text != '\0'; text++) {
        bool control = (unsigned char)*text < 0x20 || *text == 0x7f;

        if (*text == ',' || *text == ' ' || *text == '=')
            buf_append_char(out, '\\');
        buf_append_char(out, control || (*text == '\\' && text[1] == '\0') ? '_' : *text);
    }
}

static void put_tags(struct buf *out, const struct snapshot_sample *sample) {
    for (size_t i = 0; i < sample->label_count; i++) {
        if (*sample->labels[i].value == '\0')
            continue;
        buf_append_char(out, ',');
        put_name(out, sample->labels[i].key);
        buf_append_char(out, '=');
        put_name(out, sample->labels[i].value);
    }
}

static void put_field(struct buf *out, const struct line_field *field) {
    const struct snapshot_histogram *histogram = field->sample->histogram;

    put_name(out, field->desc->name);
    if (histogram != NULL) {
        buf_printf(out, "_count=%" PRIu64 "i,", histogram->cumulative[METRIC_BUCKETS]);
        put_name(out, field->desc->name);
        buf_append_c(out, "_sum=");
        prometheus_number(out, histogram->sum_seconds);
        return;
    }
    buf_append_char(out, '=');
    if (field->desc->kind == METRIC_COUNTER)
        buf_printf(out, "%.0fi", field->sample->value);
    else
        prometheus_number(out, field->sample->value);
}

static void put_line(struct buf *out, const struct line *line, int64_t time_ns) {
    if (line->first == NULL)
        return;
    buf_append_c(out, "internal_");
    put_name(out, line->measurement);
    put_tags(out, line->labelled);
    for (const struct line_field *field = line->first; field != NULL; field = field->next) {
        buf_append_char(out, field == line->first ? ' ' : ',');
        put_field(out, field);
    }
    buf_printf(out, " %" PRId64 "\n", time_ns);
}

bool internal_write(const struct metric_registry *metrics, int64_t time_ns, struct buf *out) {
    struct snapshot snapshot;
    struct line *lines = NULL;
    size_t before = out->len;
    bool ok;

    snapshot_take(&snapshot, metrics);
    ok = group(&snapshot, &lines);
    for (const struct line *line = ok ? lines : NULL; line != NULL; line = line->next)
        put_line(out, line, time_ns);
    ok = ok && !out->failed;
    if (!ok)
        out->len = before;
    snapshot_release(&snapshot);
    return ok;
}

static void gather(void *ctx) {
    struct internal_source *source = ctx;
    struct message message = { .topic = STR_INIT(INTERNAL_TOPIC),
                               .content_type = STR_INIT(""),
                               .received_ns = clock_unique_ns() };
    uint64_t sequence;

    buf_reset(&source->payload);
    if (!internal_write(source->metrics, message.received_ns, &source->payload)) {
        complain(&source->complaint, LOG_WARN, "INTERNAL-SIZE",
                 "the agent's own figures do not fit into %d bytes: skipped", PAYLOAD_MAX_BYTES);
        return;
    }
    message.payload = buf_str(&source->payload);
    /* What becomes of it is counted where every message's fate is counted; there is nobody to acknowledge to. */
    source->sink.deliver(source->sink.ctx, &message, &sequence);
}

struct internal_source *internal_source_new(const struct internal_source_options *options,
                                            const struct metric_registry *metrics, struct loop *loop,
                                            struct message_sink sink) {
    struct internal_source *source = calloc(1, sizeof *source);

    if (source == NULL)
        return NULL;
    source->options = *options;
    source->metrics = metrics;
    source->loop = loop;
    source->sink = sink;
    buf_init(&source->payload, PAYLOAD_MAX_BYTES);
    return source;
}

bool internal_source_start(struct internal_source *source, struct err *err) {
    source->timer = loop_every(source->loop, source->options.interval_ns, gather, source);
    return source->timer != NULL || err_set(err, ERR_LIMIT, "no memory for the input internal");
}

void internal_source_stop(struct internal_source *source) {
    loop_cancel(source->timer);
    source->timer = NULL;
}

void internal_source_free(struct internal_source *source) {
    if (source == NULL)
        return;
    internal_source_stop(source);
    buf_release(&source->payload);
    free(source);
}
