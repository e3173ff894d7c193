/* parsers/json_flatten.c: see json_flatten.h. The first half is the fast path: walk, recognise, store. */
#include "parsers/json_flatten.h"

#include "parsers/decimal_text.h"
#include "parsers/json_walk.h"

enum {
    LONG_NUMBER = 300 /* digits from which on a number without an exponent may be past a double's range */
};

#define LIKELY(condition) __builtin_expect(!!(condition), 1)

static char *walk_value(struct walk *walk, char *at, struct json_path *path);

static bool fail_full(const struct walk *walk) {
    return err_set(walk->text->err, ERR_LIMIT, "the message makes too many points or fields");
}

static bool more_fields(struct walk *walk) {
    struct points *out = walk->out;

    out->field_count = (size_t)(walk->field - out->fields);
    if (!points_grow_fields(out))
        return fail_full(walk);
    walk->field = out->fields + out->field_count;
    walk->field_end = out->fields + out->field_cap;
    return true;
}

static inline bool add_field(struct walk *walk, struct json_path *path, struct value value) {
    if (walk->field == walk->field_end && !more_fields(walk))
        return false;
    walk->field->key = path->key;
    walk->field->value = value;
    walk->field++;
    return true;
}

static inline void leave_out(struct walk *walk, const struct json_path *path, const char *why) {
    walk->omitted++;
    if (walk->out->notes != NULL)
        points_note(walk->out, path->key, why);
}

static bool add_field_carefully(struct walk *walk, struct json_path *path, struct value value) {
    if ((path->flags & JSON_PATH_NO_KEY) != 0) {
        leave_out(walk, path, "its key is empty");
        return true;
    }
    if (!add_field(walk, path, value))
        return false;
    if ((path->flags & JSON_PATH_TWIN) != 0)
        walk->has_duplicates = true;
    return true;
}

static bool add_tag(struct walk *walk, struct json_path *path, struct str value) {
    if ((path->flags & JSON_PATH_NO_KEY) != 0) {
        leave_out(walk, path, "its key is empty");
        return true;
    }
    if (!points_add_tag(walk->out, path->key, value))
        return fail_full(walk);
    if ((path->flags & JSON_PATH_TWIN) != 0)
        walk->has_duplicates = true;
    return true;
}

/* --- numbers --- */

static bool arena_number(struct walk *walk, double value, struct str *out) {
    char text[DECIMAL_TEXT_MAX];

    *out = arena_copy(&walk->out->arena, (struct str){ text, decimal_text_shortest(value, text) });
    return out->data != NULL || fail_full(walk);
}

static bool is_integer(struct str number) {
    for (size_t i = number.data[0] == '-'; i < number.len; i++)
        if (number.data[i] < '0' || number.data[i] > '9')
            return false;
    return true;
}

/* Up to 18 digits cannot overflow; the rest is str_to_int64's. */
static bool exact_integer(struct str number, int64_t *out) {
    size_t i = number.data[0] == '-';
    int64_t value = 0;

    if (number.len > 18)
        return str_to_int64(number, out);
    for (; i < number.len; i++) {
        unsigned digit = (unsigned char)number.data[i] - '0';
        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    *out = number.data[0] == '-' ? -value : value;
    return true;
}

static bool take_number_tag(struct walk *walk, struct json_path *path, struct str number, double value) {
    struct str text = number;

    /* Telegraf prints the double; an integer's own digits are the same up to 2^53 and right beyond it. */
    if ((!is_integer(number) || walk->flatten->canonical_numbers) && !arena_number(walk, value, &text))
        return false;
    return add_tag(walk, path, text);
}

/* A number that is not simply a verbatim field. */
static bool take_number(struct walk *walk, struct json_path *path, enum json_number kind, struct str number) {
    struct value value = value_number(number);
    double d = 0;
    int64_t i;

    if ((path->flags & JSON_PATH_TIME) != 0) {
        walk->time_seen = TIME_NUMBER;
        walk->time = number;
        walk->time_path = path;
        return true;
    }
    if (kind == JSON_NOT_FINITE || (kind != JSON_NUMBER && !str_to_double(number, &d)) ||
        (number.len >= LONG_NUMBER && !str_to_double(number, &d))) {
        leave_out(walk, path, "a number that no double holds");
        return true;
    }
    if (kind == JSON_NUMBER && ((path->flags & JSON_PATH_TAG) != 0 || walk->flatten->canonical_numbers))
        (void)str_to_double(number, &d); /* in JSON's grammar and in range: cannot fail */
    if ((path->flags & JSON_PATH_TAG) != 0)
        return take_number_tag(walk, path, number, d);
    if (walk->flatten->exact_integers && kind != JSON_EXPONENT && exact_integer(number, &i))
        value = value_integer(i);
    else if (walk->flatten->canonical_numbers) {
        if (!arena_number(walk, d, &value.as.text))
            return false;
    } else if (kind == JSON_LOOSE)
        value = value_float(d);
    return add_field_carefully(walk, path, value);
}

static inline char *walk_number(struct walk *walk, char *at, struct json_path *path) {
    enum json_number kind;
    struct str number;
    char *behind = json_number(walk->text, at, &kind, &number);

    if (behind == NULL)
        return NULL;
    if (LIKELY(kind == JSON_NUMBER && (path->flags & JSON_PATH_NUMBER) == 0 && number.len < LONG_NUMBER))
        return add_field(walk, path, value_number(number)) ? behind : NULL;
    return take_number(walk, path, kind, number) ? behind : NULL;
}

/* --- strings and words --- */

static bool take_string(struct walk *walk, struct json_path *path, const struct json_string *string) {
    unsigned flags = path->flags;
    struct str text;

    if (!json_unescape(walk->text, string, &text))
        return false;
    if ((flags & JSON_PATH_NAME) != 0) {
        walk->name = text;
        walk->name_path = path;
    }
    if ((flags & JSON_PATH_TIME) != 0) {
        walk->time_seen = TIME_STRING;
        walk->time = text;
        walk->time_path = path;
        return true;
    }
    if ((flags & JSON_PATH_TAG) != 0)
        return add_tag(walk, path, text);
    if ((flags & JSON_PATH_STRING) != 0)
        return add_field_carefully(walk, path, value_string(text));
    return true;
}

static inline char *finish_string(struct walk *walk, char *behind, struct json_path *path, const struct json_string *string) {
    if (behind == NULL)
        return NULL;
    if (LIKELY((path->flags & (JSON_PATH_STRING | JSON_PATH_TAG | JSON_PATH_NAME | JSON_PATH_TIME)) == 0)) {
        leave_out(walk, path, "a string; json_string_fields with this name keeps it, json_strings: all keeps all");
        return behind;
    }
    return take_string(walk, path, string) ? behind : NULL;
}

static inline char *walk_string(struct walk *walk, char *at, struct json_path *path) {
    struct json_string string;
    char *behind = json_string(walk->text, at + 1, &string);

    return finish_string(walk, behind, path, &string);
}

static bool take_boolean(struct walk *walk, struct json_path *path, bool value) {
    if ((path->flags & JSON_PATH_TIME) != 0) {
        walk->time_seen = TIME_OTHER;
        walk->time_path = path;
        return true;
    }
    if ((path->flags & JSON_PATH_TAG) != 0)
        return add_tag(walk, path, value ? STR("true") : STR("false"));
    if ((path->flags & JSON_PATH_BOOLEAN) != 0)
        return add_field_carefully(walk, path,
                                   walk->flatten->boolean_integers ? value_integer(value) : value_boolean(value));
    leave_out(walk, path, "a boolean; json_string_fields with this name keeps it, json_booleans: keep or integer keeps all");
    return true;
}

static char *walk_boolean(struct walk *walk, char *at, struct json_path *path) {
    bool value = *at == 't';
    char *behind = value ? json_word(walk->text, at, "true", 4) : json_word(walk->text, at, "false", 5);

    return behind != NULL && take_boolean(walk, path, value) ? behind : NULL;
}

/* What strict JSON does not know, and plain errors. */
static char *walk_lenient(struct walk *walk, char *at, struct json_path *path) {
    struct json_string string;
    char word, *behind;

    if (!walk->text->lenient)
        return json_fail(walk->text, at, "a value");
    if (*at == '+' || *at == '.')
        return walk_number(walk, at, path);
    if (*at == '\'') {
        behind = json_string_slow(walk->text, at + 1, '\'', &string);
        return finish_string(walk, behind, path, &string);
    }
    behind = json_lenient_word(at, &word);
    if (behind == NULL)
        return json_fail(walk->text, at, "a value");
    if (word == 't' || word == 'f')
        return take_boolean(walk, path, word == 't') ? behind : NULL;
    leave_out(walk, path, "null, or no finite number");
    return behind;
}

/* --- structure --- */

static bool is_under(const struct json_path *path, const struct json_path *above) {
    while (path != NULL && path != above)
        path = path->parent;
    return path != NULL;
}

/* The key has been met before in this point: what it made then is void. RFC 8259 section 4; the last one wins, as in Go. */
static void replace(struct walk *walk, struct json_path *path) {
    path->void_stamp = walk->stamp;
    path->void_fields = (size_t)(walk->field - walk->out->fields);
    path->void_tags = walk->out->tag_count;
    walk->has_duplicates = true;
    if (walk->name.data != NULL && is_under(walk->name_path, path))
        walk->name.data = NULL;
    if (walk->time_seen != TIME_NONE && is_under(walk->time_path, path))
        walk->time_seen = TIME_NONE;
}

/* A key that was not the one guessed; `at` stands behind its opening quote. */
static char *find_key(struct walk *walk, char *at, char quote, struct json_path *parent, struct json_path **out) {
    struct json_string key;
    char *behind = quote == '"' ? json_string(walk->text, at, &key) : json_string_slow(walk->text, at, quote, &key);
    struct json_path *path;

    if (behind == NULL)
        return NULL;
    path = json_paths_member(&walk->flatten->paths, walk->text, parent, &key);
    if (path == NULL)
        return NULL;
    walk->last->next = path;
    *out = path;
    return behind;
}

/* A key and its colon. */
static inline char *walk_key(struct walk *walk, char *at, struct json_path *parent, struct json_path **out) {
    struct json_path *path = walk->last->next;

    if (LIKELY(*at == '"')) {
        at++;
        if (LIKELY(path->parent == parent && json_path_stands_at(path, at, walk->text->end)))
            at += path->raw_len;
        else if ((at = find_key(walk, at, '"', parent, &path)) == NULL)
            return NULL;
    } else if (*at == '\'' && walk->text->lenient) {
        if ((at = find_key(walk, at + 1, '\'', parent, &path)) == NULL)
            return NULL;
    } else {
        return json_fail(walk->text, at, "a key in quotes");
    }
    if (path->seen == walk->stamp)
        replace(walk, path);
    path->seen = walk->stamp;
    walk->last = path;
    *out = path;
    at = json_space(at);
    return LIKELY(*at == ':') ? json_space(at + 1) : json_fail(walk->text, at, "':' after a key");
}

static bool too_deep(const struct walk *walk, const struct json_path *path) {
    if (path->depth < JSON_DEPTH_MAX)
        return false;
    return !err_set(walk->text->err, ERR_LIMIT, "JSON is nested deeper than %d", JSON_DEPTH_MAX);
}

/* `at` stands behind the opening brace. */
static char *walk_object(struct walk *walk, char *at, struct json_path *parent) {
    struct json_path *path = NULL;

    if (too_deep(walk, parent))
        return NULL;
    at = json_space(at);
    if (*at == '}')
        return at + 1;
    for (;;) {
        if ((at = walk_key(walk, at, parent, &path)) == NULL || (at = walk_value(walk, at, path)) == NULL)
            return NULL;
        at = json_space(at);
        if (*at == ',') {
            at = json_space(at + 1);
            if (*at == '}' && walk->text->lenient)
                return at + 1;
        } else {
            return *at == '}' ? at + 1 : json_fail(walk->text, at, "',' or '}'");
        }
    }
}

static struct json_path *element_path(struct walk *walk, struct json_path *parent, uint32_t index) {
    struct json_path *path = walk->last->next;

    if (!LIKELY(path->parent == parent && path->index == index)) {
        path = json_paths_element(&walk->flatten->paths, walk->text, parent, index);
        if (path == NULL)
            return NULL;
        walk->last->next = path;
    }
    return walk->last = path;
}

/* `at` stands behind the opening bracket. */
static char *walk_array(struct walk *walk, char *at, struct json_path *parent) {
    struct json_path *path;

    if (too_deep(walk, parent))
        return NULL;
    at = json_space(at);
    if (*at == ']')
        return at + 1;
    for (uint32_t index = 0;; index++) {
        if ((path = element_path(walk, parent, index)) == NULL || (at = walk_value(walk, at, path)) == NULL)
            return NULL;
        at = json_space(at);
        if (*at == ',') {
            at = json_space(at + 1);
            if (*at == ']' && walk->text->lenient)
                return at + 1;
        } else {
            return *at == ']' ? at + 1 : json_fail(walk->text, at, "',' or ']'");
        }
    }
}

static char *walk_value(struct walk *walk, char *at, struct json_path *path) {
    switch (*at) {
    case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9': case '-':
        return walk_number(walk, at, path);
    case '"':
        return walk_string(walk, at, path);
    case '{':
        return walk_object(walk, at + 1, path);
    case '[':
        return walk_array(walk, at + 1, path);
    case 't':
    case 'f':
        return walk_boolean(walk, at, path);
    case 'n':
        if (walk->text->lenient)
            return walk_lenient(walk, at, path);
        leave_out(walk, path, "null");
        return json_word(walk->text, at, "null", 4);
    default:
        return walk_lenient(walk, at, path);
    }
}

/* --- points --- */

/* One object. Not `strict`: when it is well-formed and yet no point can be made of it, only this one is lost, and counted. */
static char *walk_point(struct walk *walk, char *at, bool strict) {
    struct err own = ERR_INIT;

    if (points_add(walk->out) == NULL) {
        fail_full(walk);
        return NULL;
    }
    walk->stamp = ++walk->flatten->stamp;
    walk->first_field = (size_t)(walk->field - walk->out->fields);
    walk->first_tag = walk->out->tag_count;
    walk->out->items[walk->out->count - 1].first_field = (uint32_t)walk->first_field;
    walk->has_duplicates = false;
    walk->time_seen = TIME_NONE;
    walk->name.data = NULL;
    at = walk_object(walk, at + 1, walk->flatten->paths.root);
    if (at == NULL)
        return NULL;
    if (json_point_finish(walk, strict ? walk->text->err : &own))
        return at;
    if (strict)
        return NULL;
    if (walk->out->notes != NULL)
        points_note(walk->out, STR("an element of the array"), own.text);
    json_point_abandon(walk);
    return at;
}

/* A root that is no object, and elements of the root that are none. */
static char *fail_type(struct walk *walk, char *at) {
    if (json_skip(walk->text, at, 0) != NULL)
        err_set(walk->text->err, ERR_TYPE, "the payload must be an object or an array of objects");
    return NULL;
}

static char *walk_points(struct walk *walk, char *at) {
    at = json_space(at + 1);
    if (*at == ']')
        return at + 1;
    for (;;) {
        if (*at != '{')
            return fail_type(walk, at);
        if ((at = walk_point(walk, at, walk->flatten->strict)) == NULL)
            return NULL;
        at = json_space(at);
        if (*at == ',') {
            at = json_space(at + 1);
            if (*at == ']' && walk->text->lenient)
                return at + 1;
        } else {
            return *at == ']' ? at + 1 : json_fail(walk->text, at, "',' or ']'");
        }
    }
}

static char *walk_root(struct walk *walk, char *at) {
    if (*at == '[')
        return walk_points(walk, at);
    if (*at == '{')
        return walk_point(walk, at, true);
    if (*at != 'n')
        return fail_type(walk, at);
    leave_out(walk, walk->flatten->paths.root, "the payload is null");
    return json_word(walk->text, at, "null", 4);
}

bool json_flatten(struct json_flatten *flatten, const struct json_text *text, char *at, const struct message *message,
                  struct points *out, char **behind) {
    struct walk walk;

    if (out->field_cap == 0 && !points_grow_fields(out))
        return err_set(text->err, ERR_LIMIT, "no room for fields");
    walk = (struct walk){
        .flatten = flatten, .text = text, .message = message, .out = out, .last = flatten->paths.root,
        .field = out->fields + out->field_count, .field_end = out->fields + out->field_cap,
    };

    *behind = walk_root(&walk, at);
    if (*behind == NULL)
        return false;
    out->omitted += walk.omitted;
    return true;
}
