/*
 * parsers/json.c: the payload is a JSON object, or an array of objects. Options and their meaning are Telegraf's; where its answer
 * loses data (strings, booleans, digits of large integers) a switch of ours keeps it. See json_flatten.h for how an object
 * becomes a point.
 */
#include "parsers/json_flatten.h"
#include "parsers/json_query.h"
#include "parsers/parser.h"

enum { STRINGS_LISTED, STRINGS_ALL };
enum { BOOLEANS_LISTED, BOOLEANS_KEEP, BOOLEANS_INTEGER };
enum { INTEGERS_FLOAT, INTEGERS_EXACT };

struct json_parser {
    char *metric_name;
    struct cfg_strings tag_keys, string_fields;
    char *name_key, *query_path, *time_key, *time_format_text, *timezone;
    bool strict, canonical_numbers, lenient;
    int strings, booleans, integers;
    /* Made from them: */
    struct json_query *query;
    struct time_format *time;
    struct json_flatten flatten;
};

static const char *const strings_names[] = { "listed", "all", NULL };
static const char *const booleans_names[] = { "listed", "keep", "integer", NULL };
static const char *const integers_names[] = { "float", "exact", NULL };

#define AT(member) offsetof(struct json_parser, member)

static const struct cfg_field json_options[] = {
    { .key = "metric_name", .type = CFG_STRING, .offset = AT(metric_name), .fallback = "", .flags = CFG_EXPERT,
      .help = "Measurement when json_name_key names none; empty: the input's name.", .example = "plc" },
    { .key = "tag_keys", .type = CFG_STRINGS, .offset = AT(tag_keys), .example = "[device, \"room_*\"]",
      .help = "Flattened keys (globs) whose values become tags instead of fields." },
    { .key = "json_string_fields", .type = CFG_STRINGS, .offset = AT(string_fields), .example = "[state, \"*_mode\"]",
      .help = "Flattened keys (globs) whose strings and booleans become fields; the others are left out and counted." },
    { .key = "json_name_key", .type = CFG_STRING, .offset = AT(name_key), .fallback = "", .example = "name",
      .help = "Flattened key whose string becomes the measurement." },
    { .key = "json_query", .type = CFG_STRING, .offset = AT(query_path), .fallback = "", .example = "data.readings",
      .help = "Path (GJSON: dots, \\., *, ?, indices, #) to the object or array to read; empty: the whole payload." },
    { .key = "json_time_key", .type = CFG_STRING, .offset = AT(time_key), .fallback = "", .example = "time",
      .help = "Flattened key that holds the time; needs json_time_format. Without it the arrival time is taken." },
    { .key = "json_time_format", .type = CFG_STRING, .offset = AT(time_format_text), .fallback = "", .example = "unix_ms",
      .help = "unix, unix_ms, unix_us, unix_ns, auto, a Go layout (2006-01-02T15:04:05Z07:00) or its name (RFC3339)." },
    { .key = "json_timezone", .type = CFG_STRING, .offset = AT(timezone), .fallback = "", .example = "Europe/Berlin",
      .help = "IANA zone of times without an offset, or Local; empty: UTC." },
    { .key = "json_strict", .type = CFG_BOOL, .offset = AT(strict), .fallback = "true",
      .help = "One element of an array without a readable time fails the message; false: only that element is left out." },
    { .key = "json_strings", .type = CFG_ENUM, .offset = AT(strings), .fallback = "listed", .names = strings_names,
      .help = "Strings to keep as fields: listed (those of json_string_fields, as Telegraf) or all." },
    { .key = "json_booleans", .type = CFG_ENUM, .offset = AT(booleans), .fallback = "listed", .names = booleans_names,
      .help = "Booleans: listed (those of json_string_fields, as Telegraf), keep (all), or integer (all, as 0 and 1)." },
    { .key = "json_integers", .type = CFG_ENUM, .offset = AT(integers), .fallback = "float", .names = integers_names,
      .help = "Numbers written without point and exponent: float (as Telegraf), or exact: integers, where 64 bits hold them." },
    { .key = "json_canonical_numbers", .type = CFG_BOOL, .offset = AT(canonical_numbers), .fallback = "false",
      .flags = CFG_EXPERT,
      .help = "Print floats as Telegraf does (shortest, no exponent) instead of keeping the payload's digits; slower." },
    { .key = "json_lenient", .type = CFG_BOOL, .offset = AT(lenient), .fallback = "false",
      .help = "Also read NaN and Infinity (left out, counted), 'single quotes', 25. and .5, trailing commas, True/False/None, and "
              "raw control bytes in strings." },
    CFG_END,
};

static bool set_up_time(struct json_parser *parser, struct err *err) {
    if (parser->time_key[0] == '\0')
        return true;
    if (parser->time_format_text[0] == '\0')
        return err_set(err, ERR_MISSING, "json_time_key '%s' needs json_time_format (unix, unix_ms, RFC3339, auto, ...)",
                       parser->time_key);
    parser->time = time_format_new(parser->time_format_text, parser->timezone, err);
    return parser->time != NULL;
}

static bool json_init(void *self, struct err *err) {
    struct json_parser *parser = self;

    if (parser->query_path[0] != '\0' && (parser->query = json_query_new(parser->query_path, err)) == NULL)
        return false;
    if (!set_up_time(parser, err))
        return false;
    parser->flatten = (struct json_flatten){
        .rules = { .tag_keys = &parser->tag_keys, .string_fields = &parser->string_fields, .name_key = parser->name_key,
                   .time_key = parser->time_key, .all_strings = parser->strings == STRINGS_ALL,
                   .all_booleans = parser->booleans != BOOLEANS_LISTED,
                   .careful_numbers = parser->integers == INTEGERS_EXACT || parser->canonical_numbers },
        .measurement = str_of(parser->metric_name),
        .time = parser->time,
        .strict = parser->strict,
        .exact_integers = parser->integers == INTEGERS_EXACT,
        .canonical_numbers = parser->canonical_numbers,
        .boolean_integers = parser->booleans == BOOLEANS_INTEGER,
    };
    return json_paths_init(&parser->flatten.paths, &parser->flatten.rules) || err_set(err, ERR_LIMIT, "no memory");
}

static void json_fini(void *self) {
    struct json_parser *parser = self;

    json_query_free(parser->query);
    time_format_free(parser->time);
    json_paths_release(&parser->flatten.paths);
}

static bool is_end(const struct json_text *text, char *at) {
    at = json_space(at);
    return at == text->end || json_fail(text, at, "nothing more");
}

/* Checks the whole text, then narrows it. */
static bool run_query(const struct json_parser *parser, struct json_text *text, struct arena *arena, bool *found) {
    char *end = json_skip(text, text->copy, 0);

    return end != NULL && is_end(text, end) && json_query_run(parser->query, text, arena, found);
}

static bool read_text(struct json_parser *parser, struct json_text *text, const struct message *message, struct points *out) {
    bool found = true;
    char *end;

    if (parser->query != NULL && !run_query(parser, text, &out->arena, &found))
        return false;
    if (!found) { /* as Telegraf: no points, no error; here it is counted */
        points_leave_out(out, STR("the payload"), "json_query finds nothing in it");
        return true;
    }
    if (!json_flatten(&parser->flatten, text, text->copy, message, out, &end))
        return false;
    return parser->query != NULL || is_end(text, end);
}

static bool json_parse(void *self, const struct message *message, struct points *out, struct err *err) {
    struct json_parser *parser = self;
    struct points_mark before = points_mark(out);
    uint64_t omitted = out->omitted;
    struct json_text text;

    /* Points of this message that stand in `out` already still use the keys. */
    if (out->count == 0 && !json_paths_trim(&parser->flatten.paths))
        return err_set(err, ERR_LIMIT, "no memory");
    if (!json_text_init(&text, &out->arena, message->payload))
        return err_set(err, ERR_LIMIT, "the payload of %zu bytes is too large", message->payload.len);
    text.err = err;
    text.lenient = parser->lenient;
    if (text.copy == text.end || read_text(parser, &text, message, out))
        return true;
    points_rewind(out, before);
    out->omitted = omitted;
    return false;
}

const struct parser_type parser_json = {
    .name = "json",
    .summary = "JSON objects and arrays of objects, flattened: numbers become float fields.",
    .state_size = sizeof(struct json_parser),
    .options = json_options,
    .init = json_init,
    .parse = json_parse,
    .fini = json_fini,
};
