/*
 * agent/ingest/topic_plan.h: all that can be known about a topic's points before a payload is there: its route, what
 * its name adds, and, for points that bring neither measurement nor tags, the finished prefix, once as it is and once
 * for each output that filters or renames. One block of memory, so that the cache can keep and free it.
 */
#ifndef HELIOGRAF_INGEST_TOPIC_PLAN_H
#define HELIOGRAF_INGEST_TOPIC_PLAN_H

#include "agent/ingest/line_encoder.h"
#include "agent/ingest/route.h"

/* What is the same for all routes of an input. */
struct transform {
    struct str default_name; /* measurement of points without one */
    /* Outputs with filters of their own. Variant 0 is for all others, variant i for filtered[i - 1]. */
    const struct ingest_filter *const *filtered;
    size_t filtered_count;
    struct line_encoder *encoder;
};

struct plan_variant {
    bool wanted; /* false: name or tags are filtered away */
    struct line_prefix prefix;
};

struct topic_plan {
    uint64_t hash; /* of the topic */
    size_t bytes;  /* of the whole block */
    struct str topic;
    struct route *route; /* NULL: nobody wants the topic */
    struct topic_facts facts;
    struct plan_variant *variants; /* of a point without measurement and tags */
    size_t variant_count;
};

/* Builds the plan in `arena`. False with `err`: a topic level has the wrong type, or its names cannot be written. */
bool topic_plan_build(const struct transform *transform, struct route *route, struct str topic, struct arena *arena,
                      struct topic_plan *plan, struct err *err);

/* The same plan in one block of its own, to be freed by free(); NULL without memory. */
struct topic_plan *topic_plan_pack(const struct topic_plan *plan);

/*
 * The prefix of a point for a variant: Telegraf's order. What the topic says replaces what the parser said; the input's
 * selectors see that; then come name_override and its like, tags and global tags for those that are not there yet, then
 * taginclude and tagexclude; then the output's selectors, its tag rules, and its name rules.
 */
bool topic_plan_variant(const struct transform *transform, const struct topic_plan *plan, const struct point *point,
                        const struct tag *tags, size_t variant, struct arena *arena, struct plan_variant *out,
                        struct err *err);

#endif
