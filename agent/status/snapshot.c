/* agent/status/snapshot.c: see snapshot.h. */
#include "agent/status/snapshot.h"

#include <string.h>

#define SNAPSHOT_MAX_BYTES (8 << 20)

static struct snapshot_family *family_of(struct snapshot *snapshot, const struct metric_desc *desc) {
    struct snapshot_family *family = snapshot->last_used;

    if (family != NULL && family->desc == desc)
        return family;
    for (family = snapshot->first; family != NULL; family = family->next)
        if (family->desc == desc || strcmp(family->desc->name, desc->name) == 0)
            break;
    if (family == NULL) {
        family = arena_zalloc(&snapshot->arena, sizeof *family);
        if (family == NULL)
            return NULL;
        family->desc = desc;
        family->tail = &family->first;
        *snapshot->tail = family;
        snapshot->tail = &family->next;
    }
    snapshot->last_used = family;
    return family;
}

static const struct metric_label *copy_labels(struct arena *arena, const struct metric_label *labels, size_t count) {
    struct metric_label *copy = arena_alloc(arena, count * sizeof *copy);

    if (copy == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        copy[i].key = arena_strdup(arena, str_of(labels[i].key));
        copy[i].value = arena_strdup(arena, str_of(labels[i].value));
        if (copy[i].key == NULL || copy[i].value == NULL)
            return NULL;
    }
    return copy;
}

static struct snapshot_sample *add_sample(struct snapshot *snapshot, const struct metric_desc *desc,
                                          const struct metric_label *labels, size_t label_count) {
    struct snapshot_family *family = family_of(snapshot, desc);
    struct snapshot_sample *sample = family != NULL ? arena_zalloc(&snapshot->arena, sizeof *sample) : NULL;

    if (sample != NULL && label_count > 0) {
        sample->labels = copy_labels(&snapshot->arena, labels, label_count);
        if (sample->labels == NULL)
            sample = NULL;
    }
    if (sample == NULL) {
        snapshot->truncated = true;
        return NULL;
    }
    sample->label_count = label_count;
    *family->tail = sample;
    family->tail = &sample->next;
    return sample;
}

static void on_sample(void *ctx, const struct metric_desc *desc, const struct metric_label *labels, size_t label_count,
                      double value) {
    struct snapshot_sample *sample = add_sample(ctx, desc, labels, label_count);

    if (sample != NULL)
        sample->value = value;
}

static void on_histogram(void *ctx, const struct metric_desc *desc, const struct metric_label *labels,
                         size_t label_count, const struct metric_histogram *histogram) {
    struct snapshot *snapshot = ctx;
    struct snapshot_histogram *copy = arena_zalloc(&snapshot->arena, sizeof *copy);
    struct snapshot_sample *sample = copy != NULL ? add_sample(snapshot, desc, labels, label_count) : NULL;
    uint64_t count = 0;

    if (sample == NULL) {
        snapshot->truncated = true;
        return;
    }
    for (size_t i = 0; i <= METRIC_BUCKETS; i++)
        copy->cumulative[i] = count += metric_get(&histogram->buckets[i]);
    copy->sum_seconds = (double)metric_get(&histogram->sum_us) / 1e6;
    sample->histogram = copy;
}

void snapshot_take(struct snapshot *snapshot, const struct metric_registry *metrics) {
    const struct metric_writer writer = { .ctx = snapshot, .sample = on_sample, .histogram = on_histogram };

    *snapshot = (struct snapshot){ .tail = &snapshot->first };
    arena_init(&snapshot->arena, SNAPSHOT_MAX_BYTES);
    metric_collect(metrics, &writer);
}

void snapshot_release(struct snapshot *snapshot) {
    arena_release(&snapshot->arena);
}

const struct snapshot_family *snapshot_find(const struct snapshot *snapshot, const char *name) {
    const struct snapshot_family *family = snapshot->first;

    while (family != NULL && strcmp(family->desc->name, name) != 0)
        family = family->next;
    return family;
}

const char *snapshot_label(const struct snapshot_sample *sample, const char *key) {
    for (size_t i = 0; i < sample->label_count; i++)
        if (strcmp(sample->labels[i].key, key) == 0)
            return sample->labels[i].value;
    return NULL;
}

double snapshot_sum(const struct snapshot_family *family, const char *key, const char *value) {
    double sum = 0;

    for (const struct snapshot_sample *sample = family != NULL ? family->first : NULL; sample != NULL;
         sample = sample->next) {
        const char *found = key != NULL ? snapshot_label(sample, key) : NULL;

        if (key == NULL || (found != NULL && strcmp(found, value) == 0))
            sum += sample->value;
    }
    return sum;
}
