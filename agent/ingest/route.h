/* agent/ingest/route.h: what is done with the messages of some topics: one parser, one set of rules. The first match
 * wins. */
#ifndef HELIOGRAF_INGEST_ROUTE_H
#define HELIOGRAF_INGEST_ROUTE_H

#include "agent/base/filter_index.h"
#include "agent/base/log.h"
#include "agent/ingest/filter.h"
#include "agent/ingest/topic_parsing.h"
#include "parsers/parser.h"

enum { ROUTE_COMPLAINTS = ERR_FULL + 1 }; /* one per enum err_code */

/* The options of a route beside its filters and its parser's. NULL or empty: as the input has it. */
struct route_options {
    struct cfg_strings topics;
    char *data_format, *topic_tag;
    struct cfg_objects topic_parsing;
};
extern const struct cfg_field route_options[];

struct route {
    const char *name;          /* for people: `route 2 (plant/#)`, or `the input's own parser` */
    struct cfg_strings topics; /* empty: every topic */
    uint32_t first_topic;      /* number of the first of them among those of all routes, from 0 */
    bool drops;                /* its messages are wanted by nobody (`unmatched: drop`) */
    const struct parser_type *type;
    void *parser;
    bool owns_parser;     /* false: it is the one of the input */
    struct str topic_tag; /* empty: none */
    struct topic_pattern *patterns;
    size_t pattern_count;
    struct ingest_filter filter;
    struct tag *base_tags; /* of the configuration, most specific first */
    size_t base_tag_count;
    struct complaint complaints[ROUTE_COMPLAINTS];
};

/* The first of `count` routes that wants the topic; NULL when none does. */
struct route *route_match(struct route *routes, size_t count, struct str topic);

/* Makes the patterns of a route from its options; complaints at their places. False when there were some. */
bool route_make_patterns(struct route *route, const struct cfg_objects *options, const char *what, struct arena *arena,
                         struct diags *diags);

/* A warning for each topic of a route that an earlier one takes already. To be called for one route after the other: `earlier` grows. */
void route_warn_shadowed(struct filter_index *earlier, struct route *routes, size_t index, const char *what, struct diags *diags);

void route_release(struct route *route); /* safe on a zeroed one */

#endif
