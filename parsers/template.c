/*
 * parsers/template.c: copy this to start a new format. It is not part of the program, but it compiles and has a test. Then:
 *
 *   1. parsers/<format>.c: rename `template`; one file per format, what is large moves to <format>_<part>.c
 *   2. parsers/registry.c: two lines
 *   3. tests/unit/test_parser_<format>.c: one named row per case; tests/fuzz/fuzz_parsers.c picks it up from the registry
 *
 * What it does as it stands: the payload is `name=number`, one line each, and each line becomes a field.
 */
#include "parsers/parser.h"

/* The options, filled in from the configuration before init; then whatever the format has to remember. */
struct template_parser {
    char *prefix;
    int64_t max_lines;
};

#define AT(member) offsetof(struct template_parser, member)

/* Names, defaults and help texts: what is not in this table does not exist. Use Telegraf's names where it has the format. */
static const struct cfg_field template_options[] = {
    { .key = "template_prefix", .type = CFG_STRING, .offset = AT(prefix), .fallback = "",
      .help = "Put before every field's name." },
    { .key = "template_max_lines", .type = CFG_INTEGER, .offset = AT(max_lines), .fallback = "1000", .min = 1, .max = 100000,
      .help = "Largest number of lines in a payload, 1 to 100000." },
    CFG_END,
};

/* Once per instance: checks options against each other, compiles patterns. I/O is allowed here and nowhere else. */
static bool template_init(void *self, struct err *err) {
    struct template_parser *parser = self;

    if (strchr(parser->prefix, '=') != NULL)
        return err_set(err, ERR_SYNTAX, "template_prefix '%s' must not hold '='", parser->prefix);
    return true;
}

/* `name=21.5` becomes a field of the point added last. */
static bool read_line(const struct template_parser *parser, struct str line, struct points *out, struct err *err) {
    struct str name = str_split(&line, '='), key;
    double number;

    /* Refuse early, and say what was wanted and what was found; payloads have a length and no terminator. */
    if (line.data == NULL)
        return err_set(err, ERR_SYNTAX, "expected name=number, found '%.*s'", STR_ARGS(name));
    if (!str_is_utf8(name))
        return err_set(err, ERR_SYNTAX, "a name is not valid UTF-8");
    /* Values left out on purpose are counted, never silent. */
    if (str_eq_c(line, "nan")) {
        points_leave_out(out, name, "not a number"); /* the reason is for `heliograf explain` */
        return true;
    }
    if (!str_to_double(line, &number))
        return err_set(err, ERR_SYNTAX, "'%.*s' is not a number", STR_ARGS(line));
    /* What is not a piece of the payload lives in the points' arena. Keys and texts are raw: the line encoder escapes. */
    key.len = strlen(parser->prefix) + name.len;
    key.data = arena_alloc(&out->arena, key.len);
    if (key.data == NULL)
        return err_set(err, ERR_LIMIT, "the payload is too large");
    memcpy((char *)(uintptr_t)key.data, parser->prefix, strlen(parser->prefix));
    memcpy((char *)(uintptr_t)key.data + strlen(parser->prefix), name.data, name.len);
    return points_add_field(out, key, value_float(number)) || err_set(err, ERR_LIMIT, "the payload has too many fields");
}

static bool read_lines(const struct template_parser *parser, struct str rest, struct points *out, struct err *err) {
    int64_t lines = 0;

    while (rest.data != NULL) {
        struct str line = str_trim(str_split(&rest, '\n'));
        if (line.len == 0)
            continue;
        if (++lines > parser->max_lines)
            return err_set(err, ERR_LIMIT, "the payload has more than %lld lines", (long long)parser->max_lines);
        if (!read_line(parser, line, out, err))
            return false;
    }
    return true;
}

/* The same message always gives the same points: no clock, no I/O, no globals. */
static bool template_parse(void *self, const struct message *message, struct points *out, struct err *err) {
    const struct template_parser *parser = self;
    struct points_mark before = points_mark(out);
    uint64_t omitted = out->omitted;
    struct point *point = points_add(out);

    if (point == NULL)
        return err_set(err, ERR_LIMIT, "no room for a point");
    if (!read_lines(parser, message->payload, out, err)) {
        points_rewind(out, before); /* on failure nothing is left behind */
        out->omitted = omitted;
        return false;
    }
    if (out->items[out->count - 1].field_count == 0)
        points_rewind(out, before); /* nothing to store, and no error */
    return true;
}

/* Frees what init made, never `self`; also called after a failed init, so everything may still be zero. */
static void template_fini(void *self) {
    (void)self;
}

extern const struct parser_type parser_template; /* stands in registry.c, for a real format */

const struct parser_type parser_template = {
    .name = "template",
    .summary = "Lines of name=number; the pattern for new formats.",
    .state_size = sizeof(struct template_parser),
    .options = template_options,
    .init = template_init,
    .parse = template_parse,
    .fini = template_fini,
};
