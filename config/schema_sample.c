/*
 * config/schema_sample.c: an option table as commented YAML. Help stands behind `##`; what stands behind `#` can be
 * taken into use by removing that.
 */
#include "config/schema.h"

#include <stdio.h>

#include "config/units.h"

enum { WIDTH = 100, VALUE_MAX = 96 };

/* Where a line begins. Inside a part that is commented out as a whole, `# ` stands in front of the inner indentation.
 */
struct place {
    unsigned indent, inner;
    bool commented;
    bool dash; /* the next option opens an item of a list: "- " stands in the last two columns of its indentation */
};

struct sample {
    struct buf *out;
    bool expert;
};

static void sample_fields(struct sample *sample, const struct cfg_field *fields, struct place place);

static void put_blanks(struct buf *out, unsigned count) {
    buf_printf(out, "%*s", (int)count, "");
}

static void put_margin(struct buf *out, struct place place) {
    put_blanks(out, place.indent);
    if (place.commented) {
        buf_append_c(out, "# ");
        put_blanks(out, place.inner);
    }
}

static struct place shifted(struct place place, int columns) {
    unsigned *indent = place.commented ? &place.inner : &place.indent;

    *indent = (unsigned)((int)*indent + columns);
    return place;
}

/* Up to the margin of an option, its comment mark and its dash included; the dash is used up. */
static void put_start(struct buf *out, struct place *place, bool active) {
    put_margin(out, place->dash ? shifted(*place, -2) : *place);
    if (!active)
        buf_append_c(out, "# ");
    if (place->dash)
        buf_append_c(out, "- ");
    place->dash = false;
}

/* One line of help: as many words as fit, at least one. Returns what is left. */
static struct str put_help_line(struct buf *out, struct place place, struct str text) {
    size_t margin = place.indent + (place.commented ? 2 + place.inner : 0) + 3;
    size_t room = margin + 20 < WIDTH ? WIDTH - margin : 20, end = text.len;

    if (text.len > room) {
        end = room + 1;
        while (end > 0 && text.data[end - 1] != ' ')
            end--;
        if (end == 0) {
            const char *blank = memchr(text.data, ' ', text.len);
            end = blank != NULL ? (size_t)(blank - text.data) : text.len;
        }
    }
    put_margin(out, place);
    buf_printf(out, "## %.*s\n", STR_ARGS(str_trim(str_make(text.data, end))));
    return str_trim(str_make(text.data + end, text.len - end));
}

static bool names_are_in(const char *const *names, const char *help) {
    for (; *names != NULL; names++)
        if (strstr(help, *names) == NULL)
            return false;
    return true;
}

static void put_help(struct buf *out, struct place place, const struct cfg_field *field) {
    struct buf text = BUF_INIT(8192);
    struct str left;

    if (place.dash)
        place = shifted(place, -2);
    if (field->help != NULL)
        buf_append_c(&text, field->help);
    if (field->type == CFG_ENUM && !names_are_in(field->names, field->help != NULL ? field->help : "")) {
        buf_append_c(&text, text.len > 0 ? " One of: " : "One of: ");
        for (size_t i = 0; field->names[i] != NULL; i++)
            buf_printf(&text, "%s%s", i == 0 ? "" : ", ", field->names[i]);
        buf_append_char(&text, '.');
    }
    if (field->type == CFG_SECRET)
        buf_printf(&text, "%sMay come from a file instead: %s_file.", text.len > 0 ? " " : "", field->key);
    for (left = str_trim(buf_str(&text)); left.len > 0;)
        left = put_help_line(out, place, left);
    buf_release(&text);
}

/* A value that can stand for an option of which nothing else is known. */
static const char *placeholder(const struct cfg_field *field, char out[VALUE_MAX]) {
    int64_t least = field->max > field->min && field->min > 0 ? field->min : 0;

    switch (field->type) {
    case CFG_BOOL:
        return "false";
    case CFG_INTEGER:
        snprintf(out, VALUE_MAX, "%lld", (long long)(field->max > field->min && field->max < 0 ? field->max : least));
        return out;
    case CFG_DOUBLE:
        return "0";
    case CFG_DURATION:
        return units_print_duration(out, least);
    case CFG_SIZE:
        return units_print_size(out, (uint64_t)least);
    case CFG_ENUM:
        return field->names[0];
    case CFG_STRING:
    case CFG_SECRET:
        return "\"\"";
    case CFG_STRINGS:
        return (field->flags & CFG_REQUIRED) != 0 ? "[\"\"]" : "[]";
    case CFG_MAP:
    case CFG_LISTS:
        return "{}";
    default:
        return "";
    }
}

static const char *value_of(const struct cfg_field *field, char out[VALUE_MAX]) {
    /* A required option has to be given, so an example says more than a default would. */
    const char *first = (field->flags & CFG_REQUIRED) != 0 ? field->example : field->fallback;
    const char *second = (field->flags & CFG_REQUIRED) != 0 ? field->fallback : field->example;
    const char *value = first != NULL ? first : second;

    if (value == NULL)
        return placeholder(field, out);
    return value[0] != '\0' ? value : "\"\"";
}

/* `key: value`; a value of several lines stands below its key. */
static void put_option(struct buf *out, struct place place, const struct cfg_field *field, bool active) {
    char buffer[VALUE_MAX];
    struct str rest = str_of(value_of(field, buffer));

    put_start(out, &place, active);
    if (memchr(rest.data, '\n', rest.len) == NULL) {
        buf_printf(out, "%s:%s%s\n", field->key, rest.len > 0 ? " " : "", rest.data);
        return;
    }
    buf_printf(out, "%s:\n", field->key);
    while (rest.data != NULL && rest.len > 0) {
        struct str line = str_split(&rest, '\n');
        put_start(out, &place, active);
        buf_printf(out, "  %.*s\n", STR_ARGS(line));
    }
}

static bool needs_something(const struct cfg_field *fields) {
    for (; fields->key != NULL; fields++) {
        if ((fields->flags & CFG_REQUIRED) != 0)
            return true;
        if (fields->type == CFG_OBJECT && needs_something(fields->fields))
            return true;
    }
    return false;
}

/* A line without a comment mark of its own. In a part that is commented out, so is everything that has a value. */
static bool is_active(const struct cfg_field *field, struct place place) {
    if ((field->flags & CFG_REQUIRED) != 0)
        return true;
    if (field->type == CFG_OBJECT && (place.commented || !needs_something(field->fields)))
        return true;
    return place.commented && (field->fallback != NULL || field->example != NULL);
}

/* The part below an optional object or list of objects that would take effect by being there is commented out whole. */
static void sample_nested(struct sample *sample, const struct cfg_field *field, struct place place, bool active) {
    struct place below;

    if (!active && !place.commented)
        place = (struct place){ .indent = place.indent, .commented = true, .dash = false };
    put_start(sample->out, &place, true);
    buf_printf(sample->out, "%s:\n", field->key);
    below = shifted(place, field->type == CFG_OBJECTS ? 4 : 2);
    below.dash = field->type == CFG_OBJECTS;
    sample_fields(sample, field->fields, below);
}

static void sample_field(struct sample *sample, const struct cfg_field *field, struct place place, bool active) {
    bool nested = field->type == CFG_OBJECT || (field->type == CFG_OBJECTS && field->example == NULL &&
                                                (field->fallback == NULL || (field->flags & CFG_REQUIRED) != 0));

    put_help(sample->out, place, field);
    if (nested)
        sample_nested(sample, field, place, active);
    else
        put_option(sample->out, place, field, active);
}

/* The path row that goes with a secret: its help says so, and both cannot be given. */
static bool is_companion(const struct cfg_field *fields, const struct cfg_field *field) {
    for (const struct cfg_field *other = fields; other->key != NULL; other++) {
        size_t len = strlen(other->key);
        if (other->type == CFG_SECRET && strncmp(field->key, other->key, len) == 0 &&
            strcmp(field->key + len, "_file") == 0)
            return true;
    }
    return false;
}

static bool is_shown(const struct sample *sample, const struct cfg_field *fields, const struct cfg_field *field) {
    if ((field->flags & CFG_IGNORED) != 0 || is_companion(fields, field))
        return false;
    return sample->expert || (field->flags & CFG_EXPERT) == 0 || (field->flags & CFG_REQUIRED) != 0;
}

static void sample_all(struct sample *sample, const struct cfg_field *fields, struct place *place, bool active,
                       const struct cfg_field *except) {
    for (const struct cfg_field *field = fields; field->key != NULL; field++) {
        if (field == except || !is_shown(sample, fields, field) || is_active(field, *place) != active)
            continue;
        sample_field(sample, field, *place, active);
        place->dash = false;
    }
}

/* An item of a list begins with an option that is no comment, or it would be none. */
static void sample_item(struct sample *sample, const struct cfg_field *fields, struct place place) {
    const struct cfg_field *shown = NULL;

    sample_all(sample, fields, &place, true, NULL);
    for (const struct cfg_field *field = fields; place.dash && field->key != NULL && shown == NULL; field++)
        if (is_shown(sample, fields, field) && field->type != CFG_OBJECT && field->type != CFG_OBJECTS)
            shown = field;
    if (shown != NULL) {
        sample_field(sample, shown, place, true);
        place.dash = false;
    }
    if (place.dash) {
        put_margin(sample->out, shifted(place, -2));
        buf_append_c(sample->out, "- {}\n");
        return;
    }
    sample_all(sample, fields, &place, false, shown);
}

static void sample_fields(struct sample *sample, const struct cfg_field *fields, struct place place) {
    if (place.dash) {
        sample_item(sample, fields, place);
        return;
    }
    for (const struct cfg_field *field = fields; field->key != NULL; field++)
        if (is_shown(sample, fields, field))
            sample_field(sample, field, place, is_active(field, place));
}

void cfg_sample(const struct cfg_field *fields, unsigned indent, struct buf *out) {
    struct sample sample = { .out = out, .expert = true };

    sample_fields(&sample, fields, (struct place){ .indent = indent });
}

void cfg_sample_short(const struct cfg_field *fields, unsigned indent, struct buf *out) {
    struct sample sample = { .out = out, .expert = false };

    sample_fields(&sample, fields, (struct place){ .indent = indent });
}
