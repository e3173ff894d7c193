/* agent/ingest/options.c: from an input's map to routes that are ready to run. All complaints are gathered before
 * giving up. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/base/topic_filter.h"
#include "agent/ingest/ingest_parts.h"

enum { BINDINGS_MAX = 64, WHAT_MAX = 200, DEFAULT_POINTS_BYTES = 8 << 20, LINES_PER_POINTS_BYTES = 4 };

static const char *const bad_time_names[] = { "receive_time", "drop", "keep", NULL };
static const char *const unmatched_names[] = { "parse", "drop", NULL };

#define OPTION(name)            .key = #name, .offset = offsetof(struct ingest_block, name)
#define OPTION_AT(name, member) .key = name, .offset = offsetof(struct ingest_block, member)

const struct cfg_field ingest_options[] = {
    { OPTION(alias), .type = CFG_STRING, .help = "Name of this input in logs, figures and dead letters.",
      .example = "plant" },
    { OPTION(data_format), .type = CFG_STRING, .fallback = "influx",
      .help = "What the payloads are; `heliograf plugins` lists the parsers. Their options stand beside it." },
    { OPTION(topic_tag), .type = CFG_STRING, .fallback = "topic", .help = "Tag that holds the topic; \"\" for none." },
    { OPTION(topic_parsing), .type = CFG_OBJECTS, .fields = topic_parsing_options,
      .size = sizeof(struct topic_parsing_options),
      .help = "Levels of the topic as measurement, tags and fields; every block that matches is applied, in order." },
    { OPTION(routes), .type = CFG_NODE,
      .help = "Payloads of other kinds on the same connection: the first route whose topics match takes the message, "
              "with its own data_format, its parser's options, topic_tag, topic_parsing, filters, names and tags.",
      .example = "[ { topics: [\"meters/#\"], data_format: json } ]" },
    { OPTION(unmatched), .type = CFG_ENUM, .names = unmatched_names, .fallback = "parse", .flags = CFG_EXPERT,
      .help = "Messages that no route takes: parse (as the input says) or drop (counted as filtered)." },
    { OPTION_AT("implausible_time", bad_time), .type = CFG_ENUM, .names = bad_time_names, .fallback = "receive_time",
      .flags = CFG_EXPERT,
      .help = "Points whose time lies outside max_past and max_future: receive_time (counted), drop (counted), keep." },
    { OPTION_AT("max_past", max_past_ns), .type = CFG_DURATION, .fallback = "0s", .flags = CFG_EXPERT,
      .help = "How old a point may be; 0s: not older than the year 2000." },
    { OPTION_AT("max_future", max_future_ns), .type = CFG_DURATION, .fallback = "365d", .flags = CFG_EXPERT,
      .help = "How far ahead of the arrival a point may be; 0s: as far as it likes." },
    { OPTION_AT("topic_cache_entries", cache_entries), .type = CFG_INTEGER, .fallback = "8192", .flags = CFG_EXPERT,
      .min = 4, .max = 1 << 24, .help = "Topics whose measurement and tags are kept ready." },
    { OPTION_AT("topic_cache_bytes", cache_bytes), .type = CFG_SIZE, .fallback = "8MiB", .flags = CFG_EXPERT,
      .min = 64 << 10, .max = INT64_C(1) << 32, .help = "Memory for that, at most." },
    CFG_END,
};

/* What is being read, with the places of everything that is needed while it lasts. */
struct reader {
    struct ingest *ingest;
    const struct yaml_node *block; /* the input's */
    const struct cfg_binding *own;
    size_t own_count;
    struct arena *arena;
    struct diags *diags;
};

/* `input mqtt_consumer 'plant': route 2`, for complaints. */
static const char *route_what(struct reader *reader, const char *what, size_t number) {
    char text[WHAT_MAX];
    const char *copy;

    snprintf(text, sizeof text, "%s: route %zu", what, number);
    copy = arena_strdup(reader->arena, str_of(text));
    return copy != NULL ? copy : what;
}

static void complain_about_format(struct reader *reader, struct src_pos at, const char *what, const char *name) {
    const char *names[BINDINGS_MAX], *nearest;
    char known[160] = "";
    size_t count = 0, used = 0;

    for (; count < BINDINGS_MAX && parser_types[count] != NULL; count++) {
        names[count] = parser_types[count]->name;
        if (used + strlen(names[count]) + 3 < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", count > 0 ? ", " : "", names[count]);
    }
    nearest = cfg_nearest(name, names, count);
    if (nearest != NULL)
        diag_add(reader->diags, at, "%s: unknown data_format '%s'; did you mean '%s'?", what, name, nearest);
    else
        diag_add(reader->diags, at, "%s: unknown data_format '%s'; known: %s", what, name, known);
}

/* The parser that the map names, `fallback` without a name, NULL with a complaint for an unknown one. */
static const struct parser_type *format_of(struct reader *reader, const struct yaml_node *map, const char *what,
                                           const struct parser_type *fallback) {
    const struct yaml_node *node = yaml_get(map, "data_format");
    const struct parser_type *type;

    if (node == NULL || node->kind != YAML_SCALAR || yaml_is_null(node))
        return fallback;
    type = parser_find(node->text.data);
    if (type == NULL)
        complain_about_format(reader, node->at, what, node->text.data);
    return type;
}

static void add_parser_binding(struct cfg_binding *bindings, size_t *count, const struct parser_type *type,
                               void *state) {
    static const struct cfg_field none[] = { CFG_END };

    bindings[(*count)++] = (struct cfg_binding){ type->options != NULL ? type->options : none, state };
}

/* Where options stand that do not belong into this map: with other parsers, and, for a route, with the input. */
static size_t list_elsewhere(struct reader *reader, const struct yaml_node *map, const struct parser_type *type,
                             struct cfg_elsewhere *elsewhere) {
    size_t count = 0;

    for (size_t i = 0; parser_types[i] != NULL && count < BINDINGS_MAX; i++)
        if (parser_types[i] != type)
            elsewhere[count++] = (struct cfg_elsewhere){ parser_types[i]->options, "data_format", parser_types[i]->name };
    if (map == reader->block)
        return count;
    elsewhere[count++] = (struct cfg_elsewhere){ ingest_options, "the input, not to a route", NULL };
    for (size_t i = 0; i < reader->own_count && count < 2 * BINDINGS_MAX; i++)
        elsewhere[count++] = (struct cfg_elsewhere){ reader->own[i].fields, "the input, not to a route", NULL };
    return count;
}

/*
 * Reads `map` into the bindings and `parser`; NULL for a parser that the map does not set up. Under an unknown
 * data_format (type == NULL) the options of every parser are let through, so that only the one mistake is reported.
 */
static bool read_map(struct reader *reader, const struct yaml_node *map, const char *what, struct cfg_binding *bindings,
                     size_t count, const struct parser_type *type, void *parser) {
    struct cfg_elsewhere elsewhere[2 * BINDINGS_MAX];
    void *loose[BINDINGS_MAX] = { NULL };
    size_t loose_count = 0, elsewhere_count = list_elsewhere(reader, map, type, elsewhere);
    bool good;

    if (parser != NULL)
        add_parser_binding(bindings, &count, type, parser);
    while (type == NULL && parser_types[loose_count] != NULL && count < BINDINGS_MAX) {
        const struct parser_type *other = parser_types[loose_count];
        loose[loose_count] = parser_new(other);
        if (loose[loose_count] != NULL)
            add_parser_binding(bindings, &count, other, loose[loose_count]);
        loose_count++;
    }
    good = cfg_read_beside(map, what, bindings, count, elsewhere, elsewhere_count, reader->arena,
                           reader->diags);
    for (size_t i = 0; i < loose_count; i++)
        parser_free(parser_types[i], loose[i]);
    return good && type != NULL;
}

static bool start_parser(struct reader *reader, struct route *route, const struct yaml_node *map, const char *what) {
    struct err err = ERR_INIT;

    if (route->type->init == NULL || route->type->init(route->parser, &err))
        return true;
    diag_add(reader->diags, cfg_at(map, "data_format"), "%s: %s: %s", what, route->type->name, err.text);
    return false;
}

static bool start_filter(struct reader *reader, struct ingest_filter *filter, const struct yaml_node *map,
                         const char *what) {
    struct err err = ERR_INIT;

    if (ingest_filter_init(filter, &err))
        return true;
    diag_add(reader->diags, map->at, "%s: %s", what, err.text);
    return false;
}

static void add_tags(struct route *route, const struct cfg_map *tags) {
    for (size_t i = 0; tags != NULL && i < tags->count; i++)
        route->base_tags[route->base_tag_count++] = (struct tag){ str_of(tags->keys[i]), str_of(tags->values[i]) };
}

/* Tags of the configuration, most specific first: the route's, the input's, the host's, the global ones. */
static bool make_base_tags(struct reader *reader, struct route *route, const struct cfg_map *input_tags) {
    const struct ingest_context *context = reader->ingest->context;
    size_t room = 1 + route->filter.tags.count + (input_tags != NULL ? input_tags->count : 0) +
                  (context->global_tags != NULL ? context->global_tags->count : 0);

    route->base_tags = arena_alloc(reader->arena, room * sizeof *route->base_tags);
    if (route->base_tags == NULL)
        return false;
    add_tags(route, &route->filter.tags);
    add_tags(route, input_tags);
    if (context->hostname != NULL)
        route->base_tags[route->base_tag_count++] = (struct tag){ STR("host"), str_of(context->hostname) };
    add_tags(route, context->global_tags);
    return true;
}

static bool topics_valid(struct reader *reader, const struct cfg_strings *topics, const char *what) {
    bool good = true;

    for (size_t i = 0; i < topics->count; i++) {
        struct err err = ERR_INIT;
        if (!topic_filter_valid(str_of(topics->items[i]), &err)) {
            diag_add(reader->diags, topics->at[i], "%s: topic filter '%s': %s", what, topics->items[i], err.text);
            good = false;
        }
    }
    return good;
}

static bool names_parser_option(const struct yaml_node *map, const struct parser_type *type) {
    for (const struct cfg_field *field = type->options; field != NULL && field->key != NULL; field++)
        if (yaml_get(map, field->key) != NULL)
            return true;
    return false;
}

/* A parser of its own for a route that names a format or an option of it; else the input's, state and all. */
static bool choose_parser(struct route *route, const struct yaml_node *map, const struct parser_type *type,
                          const struct route *input) {
    route->type = type;
    if (type == NULL)
        return true;
    route->owns_parser = yaml_get(map, "data_format") != NULL || names_parser_option(map, type);
    route->parser = route->owns_parser ? parser_new(type) : input->parser;
    return route->parser != NULL;
}

static const char *route_name(struct reader *reader, size_t number, const struct cfg_strings *topics) {
    char text[WHAT_MAX];
    const char *copy;

    snprintf(text, sizeof text, "route %zu (%s%s)", number, topics->count > 0 ? topics->items[0] : "",
             topics->count > 1 ? ", ..." : "");
    copy = arena_strdup(reader->arena, str_of(text));
    return copy != NULL ? copy : "route";
}

static bool read_route(struct reader *reader, const struct yaml_node *map, size_t number, struct route *route,
                       const struct route *input, const struct cfg_objects *input_parsing) {
    const char *what = route_what(reader, reader->ingest->what, number);
    struct route_options options = { 0 };
    struct cfg_binding bindings[BINDINGS_MAX] = { { route_options, &options },
                                                  { ingest_filter_options, &route->filter } };
    size_t errors = reader->diags->errors;
    bool good;

    if (map->kind != YAML_MAP) {
        diag_add(reader->diags, map->at, "%s: a route is a map: { topics: [...], data_format: ... }", what);
        return false;
    }
    if (!choose_parser(route, map, format_of(reader, map, what, input->type), input))
        return false;
    good = read_map(reader, map, what, bindings, 2, route->type, route->owns_parser ? route->parser : NULL);
    route->topics = options.topics;
    route->name = route_name(reader, number, &options.topics);
    route->topic_tag = options.topic_tag != NULL ? str_of(options.topic_tag) : input->topic_tag;
    good = topics_valid(reader, &options.topics, what) && good;
    if (good && options.topics.count == 0) {
        diag_add(reader->diags, cfg_at(map, "topics"), "%s: topics must not be empty", what);
        good = false;
    }
    ingest_filter_inherit(&route->filter, &input->filter);
    good = start_filter(reader, &route->filter, map, what) && good;
    good = route_make_patterns(route, options.topic_parsing.count > 0 ? &options.topic_parsing : input_parsing, what,
                               reader->arena, reader->diags) &&
           good;
    if (good && route->owns_parser)
        good = start_parser(reader, route, map, what);
    return good && make_base_tags(reader, route, &input->filter.tags) && reader->diags->errors == errors;
}

static bool read_routes(struct reader *reader, struct route *input) {
    struct ingest *ingest = reader->ingest;
    const struct yaml_node *list = ingest->block.routes;
    struct filter_index earlier;
    size_t index = 0;
    bool good = true;

    if (list == NULL || yaml_is_null(list))
        return true;
    if (list->kind != YAML_LIST) {
        diag_add(reader->diags, list->at, "%s: routes: expected a list of routes", ingest->what);
        return false;
    }
    filter_index_init(&earlier);
    for (const struct yaml_node *map = list->first; map != NULL; map = map->next, index++) {
        good = read_route(reader, map, index + 1, &ingest->routes[index], input, &ingest->block.topic_parsing) && good;
        route_warn_shadowed(&earlier, ingest->routes, index, route_what(reader, ingest->what, index + 1), reader->diags);
    }
    filter_index_release(&earlier);
    return good;
}

/* The input's own route is the last in the array and is read first: the others take from it what they do not say. */
static bool read_block(struct reader *reader, const struct yaml_node *map) {
    struct ingest *ingest = reader->ingest;
    struct route *input = &ingest->routes[ingest->route_count - 1];
    struct cfg_binding bindings[BINDINGS_MAX] = { { ingest_options, &ingest->block },
                                                  { ingest_filter_options, &input->filter } };
    size_t count = 2;
    bool good;

    for (size_t i = 0; i < reader->own_count && count < BINDINGS_MAX / 2; i++)
        bindings[count++] = reader->own[i];
    input->name = "the input's own parser";
    input->type = format_of(reader, map, ingest->what, parser_find("influx"));
    input->owns_parser = true;
    input->parser = input->type != NULL ? parser_new(input->type) : NULL;
    if (input->type != NULL && input->parser == NULL)
        return false;
    good = read_map(reader, map, ingest->what, bindings, count, input->type, input->parser);
    input->drops = ingest->block.unmatched == UNMATCHED_DROP;
    input->topic_tag = str_of(ingest->block.topic_tag != NULL ? ingest->block.topic_tag : "");
    good = start_filter(reader, &input->filter, map, ingest->what) && good;
    good = route_make_patterns(input, &ingest->block.topic_parsing, ingest->what, reader->arena, reader->diags) && good;
    if (good)
        good = start_parser(reader, input, map, ingest->what);
    good = make_base_tags(reader, input, NULL) && good;
    return read_routes(reader, input) && good;
}

/* Outputs with filters get variants of their own, all others share variant 0. */
static bool make_variants(struct ingest *ingest, size_t lines_max) {
    const struct ingest_context *context = ingest->context;
    size_t filtered = 0;

    ingest->filtered = calloc(context->outputs + 1, sizeof *ingest->filtered);
    ingest->lines = calloc(context->outputs + 1, sizeof *ingest->lines);
    ingest->records = calloc(context->outputs + 1, sizeof *ingest->records);
    if (ingest->filtered == NULL || ingest->lines == NULL || ingest->records == NULL)
        return false;
    for (unsigned i = 0; i < context->outputs; i++) {
        const struct ingest_filter *filter = context->output_filters != NULL ? context->output_filters[i] : NULL;
        if (filter == NULL) {
            ingest->lines[0].outputs |= UINT64_C(1) << i;
        } else {
            ingest->filtered[filtered++] = filter;
            ingest->lines[filtered].outputs = UINT64_C(1) << i;
        }
    }
    for (size_t i = 0; i <= filtered; i++)
        buf_init(&ingest->lines[i].text, lines_max);
    ingest->transform.filtered = ingest->filtered;
    ingest->transform.filtered_count = filtered;
    return true;
}

/* `what` is "input TYPE ...": TYPE is the measurement of points that have no name of their own. */
static struct str type_in(const char *what) {
    struct str rest = str_of(what), word = str_split(&rest, ' ');

    if (str_eq_c(word, "input") && rest.data != NULL)
        word = str_split(&rest, ' ');
    return word;
}

static size_t count_routes(const struct yaml_node *map) {
    const struct yaml_node *routes = yaml_get(map, "routes");

    return routes != NULL && routes->kind == YAML_LIST ? routes->count : 0;
}

static bool set_up(struct reader *reader, const struct yaml_node *map) {
    struct ingest *ingest = reader->ingest;
    uint64_t points_bytes = ingest->context->max_message_points_bytes;

    if (points_bytes == 0)
        points_bytes = DEFAULT_POINTS_BYTES;
    ingest->route_count = count_routes(map) + 1;
    ingest->routes = calloc(ingest->route_count, sizeof *ingest->routes);
    if (ingest->routes == NULL || !make_variants(ingest, points_bytes * LINES_PER_POINTS_BYTES)) {
        diag_add(reader->diags, map->at, "%s: out of memory", ingest->what);
        return false;
    }
    points_init(&ingest->points, points_bytes);
    line_encoder_init(&ingest->encoder, ingest->context->influx_uint, &ingest->figures->lines);
    ingest->transform.encoder = &ingest->encoder;
    ingest->transform.default_name = type_in(ingest->what);
    if (!read_block(reader, map))
        return false;
    if (reader->diags->errors > 0)
        return false; /* complained about already; what could not be read may be zero here */
    if (!prefix_cache_init(&ingest->cache, (size_t)ingest->block.cache_entries, ingest->block.cache_bytes)) {
        diag_add(reader->diags, map->at, "%s: out of memory", ingest->what);
        return false;
    }
    return true;
}

struct ingest *ingest_new(const struct yaml_node *map, const char *what, const char *alias,
                          const struct cfg_binding *own, size_t own_count, const struct ingest_context *context,
                          struct arena *arena, struct diags *diags) {
    struct ingest *ingest = calloc(1, sizeof *ingest);
    struct reader reader = { ingest, map, own, own_count, arena, diags };

    if (ingest == NULL) {
        diag_add(diags, map->at, "%s: out of memory", what);
        return NULL;
    }
    ingest->context = context;
    ingest->what = arena_strdup(arena, str_of(what));
    ingest->figures = &ingest->own_figures;
    if (ingest->what != NULL && set_up(&reader, map)) {
        ingest->name = alias != NULL && alias[0] != '\0' ? arena_strdup(arena, str_of(alias)) : ingest->what;
        if (ingest->name != NULL && diags->errors == 0)
            return ingest;
    }
    if (diags->errors == 0)
        diag_add(diags, map->at, "%s: out of memory", what);
    ingest_free(ingest);
    return NULL;
}

void ingest_free(struct ingest *ingest) {
    if (ingest == NULL)
        return;
    for (size_t i = 0; i < ingest->route_count && ingest->routes != NULL; i++)
        route_release(&ingest->routes[i]);
    for (size_t i = 0; i <= ingest->transform.filtered_count && ingest->lines != NULL; i++)
        buf_release(&ingest->lines[i].text);
    prefix_cache_release(&ingest->cache);
    points_release(&ingest->points);
    free(ingest->routes);
    free(ingest->filtered);
    free(ingest->lines);
    free(ingest->records);
    free(ingest);
}
