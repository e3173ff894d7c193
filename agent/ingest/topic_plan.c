/* agent/ingest/topic_plan.c: see topic_plan.h. */
#include "agent/ingest/topic_plan.h"

#include <stdlib.h>

/* A point's name and tags on their way to a prefix. Of tags with one key the first one counts. */
struct series {
    struct str name;
    struct tag *tags;
    size_t tag_count;
};

static bool out_of_room(struct err *err) {
    return err_set(err, ERR_LIMIT, "the message makes too many points");
}

static bool has_tag(const struct tag *tags, size_t count, struct str key) {
    for (size_t i = 0; i < count; i++)
        if (str_eq(tags[i].key, key))
            return true;
    return false;
}

static void add_missing(struct series *series, const struct tag *tags, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!has_tag(series->tags, series->tag_count, tags[i].key))
            series->tags[series->tag_count++] = tags[i];
}

static void add_configured(struct series *series, const struct cfg_map *tags) {
    for (size_t i = 0; i < tags->count; i++) {
        struct tag tag = { str_of(tags->keys[i]), str_of(tags->values[i]) };
        add_missing(series, &tag, 1);
    }
}

static void drop_tags(struct series *series, const struct ingest_filter *filter) {
    size_t kept = 0;

    for (size_t i = 0; i < series->tag_count; i++)
        if (filter_keeps_tag(filter, series->tags[i].key))
            series->tags[kept++] = series->tags[i];
    series->tag_count = kept;
}

static bool rename_series(struct series *series, const struct ingest_filter *filter, struct arena *arena,
                          struct err *err) {
    series->name = filter_rename(filter, series->name, arena);
    return series->name.data != NULL || out_of_room(err);
}

/* The topic's tags, then the point's own from the last, so that its last one of a key counts. */
static void gather(struct series *series, const struct topic_facts *facts, const struct tag *own, size_t own_count) {
    memcpy(series->tags, facts->tags, facts->tag_count * sizeof *facts->tags);
    series->tag_count = facts->tag_count;
    for (size_t i = own_count; i > 0; i--)
        if (!has_tag(facts->tags, facts->tag_count, own[i - 1].key))
            series->tags[series->tag_count++] = own[i - 1];
}

bool topic_plan_variant(const struct transform *transform, const struct topic_plan *plan, const struct point *point,
                        const struct tag *tags, size_t variant, struct arena *arena, struct plan_variant *out,
                        struct err *err) {
    const struct ingest_filter *output = variant > 0 ? transform->filtered[variant - 1] : NULL;
    const struct route *route = plan->route;
    const struct topic_facts *facts = &plan->facts;
    size_t own_count = point != NULL ? point->tag_count : 0;
    size_t room = facts->tag_count + own_count + route->base_tag_count + (output != NULL ? output->tags.count : 0);
    struct series series = { .tags = arena_alloc(arena, room * sizeof *series.tags + 1) };

    *out = (struct plan_variant){ .wanted = false };
    if (series.tags == NULL)
        return out_of_room(err);
    series.name = point != NULL && point->measurement.len > 0 ? point->measurement : transform->default_name;
    if (facts->measurement.len > 0)
        series.name = facts->measurement;
    gather(&series, facts, tags, own_count);
    if (!filter_selects(&route->filter, series.name, series.tags, series.tag_count))
        return true;
    if (!rename_series(&series, &route->filter, arena, err))
        return false;
    add_missing(&series, route->base_tags, route->base_tag_count);
    drop_tags(&series, &route->filter);
    if (output != NULL) {
        if (!filter_selects(output, series.name, series.tags, series.tag_count))
            return true;
        drop_tags(&series, output);
        if (!rename_series(&series, output, arena, err))
            return false;
        add_configured(&series, &output->tags);
    }
    out->wanted = true;
    return line_prefix_build(transform->encoder, series.name, series.tags, series.tag_count, arena, &out->prefix, err);
}

static bool read_topic(const struct route *route, struct str topic, struct arena *arena, struct topic_facts *facts,
                       struct err *err) {
    struct topic_levels levels;

    if (!topic_facts_init(facts, route->patterns, route->pattern_count, arena))
        return out_of_room(err);
    if (route->topic_tag.len > 0)
        topic_facts_set_tag(facts, route->topic_tag, topic);
    if (route->pattern_count == 0)
        return true;
    levels = topic_levels_split(topic, arena);
    if (levels.items == NULL)
        return out_of_room(err);
    for (size_t i = 0; i < route->pattern_count; i++)
        if (topic_pattern_matches(&route->patterns[i], &levels) &&
            !topic_pattern_apply(&route->patterns[i], &levels, facts, err))
            return false;
    return true;
}

bool topic_plan_build(const struct transform *transform, struct route *route, struct str topic, struct arena *arena,
                      struct topic_plan *plan, struct err *err) {
    *plan = (struct topic_plan){ .topic = topic, .hash = str_hash(topic), .route = route };
    if (route == NULL || route->drops)
        return true;
    if (!read_topic(route, topic, arena, &plan->facts, err))
        return false;
    plan->variant_count = transform->filtered_count + 1;
    plan->variants = arena_alloc(arena, plan->variant_count * sizeof *plan->variants);
    if (plan->variants == NULL)
        return out_of_room(err);
    for (size_t i = 0; i < plan->variant_count; i++)
        if (!topic_plan_variant(transform, plan, NULL, NULL, i, arena, &plan->variants[i], err))
            return false;
    return true;
}

/* Packing: the parts are laid one behind the other, structs first for their alignment, then the texts. */
struct packer {
    char *at;
};

static void *pack(struct packer *packer, const void *data, size_t len) {
    void *copy = packer->at;

    if (len > 0)
        memcpy(copy, data, len);
    packer->at += len;
    return copy;
}

static struct str pack_text(struct packer *packer, struct str text) {
    return str_make(pack(packer, text.data, text.len), text.len);
}

static size_t fields_text(const struct topic_facts *facts) {
    size_t bytes = 0;

    for (size_t i = 0; i < facts->field_count; i++)
        if (facts->fields[i].value.type == VALUE_STRING)
            bytes += facts->fields[i].value.as.text.len;
    return bytes;
}

static size_t packed_size(const struct topic_plan *plan) {
    const struct topic_facts *facts = &plan->facts;
    size_t bytes = sizeof *plan + plan->topic.len + facts->measurement.len + facts->tag_count * sizeof *facts->tags +
                   facts->field_count * sizeof *facts->fields + fields_text(facts) +
                   plan->variant_count * sizeof *plan->variants;

    for (size_t i = 0; i < facts->tag_count; i++)
        bytes += facts->tags[i].value.len;
    for (size_t i = 0; i < plan->variant_count; i++) {
        const struct line_prefix *prefix = &plan->variants[i].prefix;
        bytes += prefix->tag_count * sizeof *prefix->tag_keys + prefix->text.len + prefix->tag_names.len;
    }
    return bytes;
}

/* The keys of the prefix are slices of tag_names, in order, each ended by one byte. */
static void repoint_keys(const struct line_prefix *prefix, struct str *keys) {
    const char *at = prefix->tag_names.data;

    for (size_t i = 0; i < prefix->tag_count; i++) {
        keys[i].data = at;
        at += keys[i].len + 1;
    }
}

struct topic_plan *topic_plan_pack(const struct topic_plan *plan) {
    size_t bytes = packed_size(plan);
    struct packer packer = { malloc(bytes) };
    struct topic_plan *copy;
    struct topic_facts *facts;

    if (packer.at == NULL)
        return NULL;
    copy = pack(&packer, plan, sizeof *plan);
    copy->bytes = bytes;
    facts = &copy->facts;
    facts->tags = pack(&packer, facts->tags, facts->tag_count * sizeof *facts->tags);
    facts->fields = pack(&packer, facts->fields, facts->field_count * sizeof *facts->fields);
    copy->variants = pack(&packer, plan->variants, plan->variant_count * sizeof *plan->variants);
    for (size_t i = 0; i < copy->variant_count; i++) {
        struct line_prefix *prefix = &copy->variants[i].prefix;
        prefix->tag_keys = pack(&packer, prefix->tag_keys, prefix->tag_count * sizeof *prefix->tag_keys);
    }
    copy->topic = pack_text(&packer, plan->topic);
    facts->measurement = pack_text(&packer, facts->measurement);
    for (size_t i = 0; i < facts->tag_count; i++) /* keys are the configuration's */
        facts->tags[i].value = pack_text(&packer, facts->tags[i].value);
    for (size_t i = 0; i < facts->field_count; i++)
        if (facts->fields[i].value.type == VALUE_STRING)
            facts->fields[i].value.as.text = pack_text(&packer, facts->fields[i].value.as.text);
    for (size_t i = 0; i < copy->variant_count; i++) {
        struct line_prefix *prefix = &copy->variants[i].prefix;
        prefix->text = pack_text(&packer, prefix->text);
        prefix->tag_names = pack_text(&packer, prefix->tag_names);
        repoint_keys(prefix, (struct str *)(uintptr_t)prefix->tag_keys);
    }
    return copy;
}
