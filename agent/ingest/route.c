/* agent/ingest/route.c: see route.h. Routes are walked in order; the topic cache makes that once per topic, not per
 * message. */
#include "agent/ingest/route.h"

#include "agent/base/topic_filter.h"

#define OPTION(name) .key = #name, .offset = offsetof(struct route_options, name)

const struct cfg_field route_options[] = {
    { OPTION(topics), .type = CFG_STRINGS, .flags = CFG_REQUIRED,
      .help = "Topic filters of the messages this route takes.", .example = "[\"zigbee2mqtt/+\"]" },
    { OPTION(data_format), .type = CFG_STRING, .help = "The parser of this route; without it, the input's.",
      .example = "json" },
    { OPTION(topic_tag), .type = CFG_STRING,
      .help = "Tag that holds the topic; \"\" for none; without it, the input's." },
    { OPTION(topic_parsing), .type = CFG_OBJECTS, .fields = topic_parsing_options,
      .size = sizeof(struct topic_parsing_options), .help = "As the input's, which it replaces." },
    CFG_END,
};

static bool route_takes(const struct route *route, struct str topic) {
    for (size_t i = 0; i < route->topics.count; i++)
        if (topic_filter_match(str_of(route->topics.items[i]), topic))
            return true;
    return route->topics.count == 0;
}

struct route *route_match(struct route *routes, size_t count, struct str topic) {
    for (size_t i = 0; i < count; i++)
        if (route_takes(&routes[i], topic))
            return &routes[i];
    return NULL;
}

bool route_make_patterns(struct route *route, const struct cfg_objects *options, const char *what, struct arena *arena,
                         struct diags *diags) {
    const struct topic_parsing_options *blocks = options->items;
    bool good = true;

    route->patterns = arena_zalloc(arena, options->count * sizeof *route->patterns + 1);
    if (route->patterns == NULL)
        return false;
    route->pattern_count = options->count;
    for (size_t i = 0; i < options->count; i++) {
        struct err err = ERR_INIT;
        if (!topic_pattern_make(&blocks[i], arena, &route->patterns[i], &err)) {
            diag_add(diags, options->at[i], "%s: topic_parsing: %s", what, err.text);
            good = false;
        }
    }
    return good;
}

static bool offer_first(void *ctx, uint32_t number) {
    uint32_t *first = ctx;

    if (number < *first)
        *first = number;
    return true;
}

/* The route that a topic's number belongs to. */
static const struct route *route_of(const struct route *routes, size_t count, uint32_t number) {
    size_t low = 0;

    while (count - low > 1) {
        size_t middle = low + (count - low) / 2;
        if (routes[middle].first_topic <= number)
            low = middle;
        else
            count = middle;
    }
    return &routes[low];
}

void route_warn_shadowed(struct filter_index *earlier, struct route *routes, size_t index, const char *what, struct diags *diags) {
    struct route *route = &routes[index];
    const struct cfg_strings *mine = &route->topics;

    route->first_topic = index > 0 ? route[-1].first_topic + (uint32_t)route[-1].topics.count : 0;
    for (size_t i = 0; i < mine->count; i++) {
        uint32_t first = UINT32_MAX;
        if (!filter_index_covering(earlier, str_of(mine->items[i]), offer_first, &first) || first == UINT32_MAX)
            continue;
        const struct route *taker = route_of(routes, index, first);
        diag_warn(diags, mine->at[i], "%s: nothing will come here for '%s': %s takes all of '%s' first", what, mine->items[i],
                  taker->name, taker->topics.items[first - taker->first_topic]);
    }
    for (size_t i = 0; i < mine->count; i++)
        filter_index_add(earlier, str_of(mine->items[i]), route->first_topic + (uint32_t)i);
}

void route_release(struct route *route) {
    if (route->owns_parser)
        parser_free(route->type, route->parser);
    ingest_filter_fini(&route->filter);
    *route = (struct route){ 0 };
}
