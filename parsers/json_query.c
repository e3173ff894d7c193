/* parsers/json_query.c: see json_query.h. Of a duplicate key the first is taken, as GJSON does. */
#include "parsers/json_query.h"

#include <stdlib.h>

enum { PARTS_MAX = 32 };

struct part {
    struct str name;  /* escapes resolved, or a glob with them when `glob` */
    bool glob, each;  /* each: `#` */
    bool is_index;
    uint64_t index;
};

struct json_query {
    char *text; /* parts borrow from it */
    struct part parts[PARTS_MAX];
    size_t count;
};

struct result {
    struct arena *arena;
    char *start, *end;
    bool found, made; /* made: an array joined by `#`, not a part of the text */
};

static bool unsupported(struct err *err, const char *path, const char *what) {
    return err_set(err, ERR_UNSUPPORTED,
                   "json_query '%s': %s not supported; known: keys, \\. for a dot, * and ?, array indices, #", path, what);
}

static bool check(const char *path, struct err *err) {
    size_t len = strlen(path);

    if (len == 0 || path[0] == '.' || path[len - 1] == '.' || strstr(path, "..") != NULL)
        return unsupported(err, path, "an empty part (also .. for lines) is");
    if (path[0] == '@' || strstr(path, ".@") != NULL)
        return unsupported(err, path, "a modifier (@) is");
    if (path[0] == '!' || path[0] == '{' || path[0] == '[')
        return unsupported(err, path, "a literal or multipath is");
    if (strchr(path, '|') != NULL)
        return unsupported(err, path, "a pipe is");
    if (strstr(path, "#(") != NULL || strstr(path, "#[") != NULL)
        return unsupported(err, path, "a query in #(...) is");
    if (path[len - 1] == '#' && (len == 1 || path[len - 2] == '.'))
        return unsupported(err, path, "a count (# at the end; it is a number, and only objects and arrays make points) is");
    return true;
}

/* Cuts the part at `*at`, which ends at a dot or the end, and moves `*at` behind. */
static void take_part(char **at, struct part *part) {
    char *start = *at, *p = start, *to = start;
    bool glob = false;

    for (; *p != '\0' && *p != '.'; p++) {
        if (*p == '\\' && p[1] != '\0')
            p++;
        else if (*p == '*' || *p == '?')
            glob = true;
    }
    *at = *p == '.' ? p + 1 : p;
    part->glob = glob;
    part->name = str_make(start, (size_t)(p - start));
    if (glob)
        return;
    for (char *from = start; from < p; from++) {
        if (*from == '\\' && from + 1 < p)
            from++;
        *to++ = *from;
    }
    part->name.len = (size_t)(to - start);
    part->each = str_eq_c(part->name, "#");
    part->is_index = str_to_uint64(part->name, &part->index) && part->name.data[0] != '+';
}

struct json_query *json_query_new(const char *path, struct err *err) {
    struct json_query *query;
    char *at;

    if (!check(path, err))
        return NULL;
    query = calloc(1, sizeof *query);
    if (query == NULL || (query->text = malloc(strlen(path) + 1)) == NULL) {
        free(query);
        err_set(err, ERR_LIMIT, "no memory for json_query");
        return NULL;
    }
    strcpy(query->text, path);
    for (at = query->text; *at != '\0';) {
        if (query->count == PARTS_MAX) {
            err_set(err, ERR_LIMIT, "json_query '%s' has more than %d parts", path, PARTS_MAX);
            json_query_free(query);
            return NULL;
        }
        take_part(&at, &query->parts[query->count++]);
    }
    return query;
}

void json_query_free(struct json_query *query) {
    if (query == NULL)
        return;
    free(query->text);
    free(query);
}

static bool run(const struct json_query *query, size_t number, const struct json_text *text, char *at, struct result *result);

/* A glob of GJSON has `*`, `?` and backslashes only: brackets and braces are plain there. */
static bool match(struct str pattern, struct str name) {
    size_t p = 0, n = 0, star = SIZE_MAX, mark = 0;

    while (n < name.len) {
        size_t plain = p + (p + 1 < pattern.len && pattern.data[p] == '\\');
        if (p < pattern.len && pattern.data[p] == '*') {
            star = ++p;
            mark = n;
        } else if (p < pattern.len && (pattern.data[p] == '?' || pattern.data[plain] == name.data[n])) {
            p = plain + 1;
            n++;
        } else if (star != SIZE_MAX) {
            p = star;
            n = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

/* The key at `at` (its quote) compared with the part, without changing the text. */
static bool is_key(const struct part *part, const struct json_text *text, struct arena *arena, const struct json_string *key) {
    struct json_string copy = *key;
    struct arena_mark mark = arena_mark(arena);
    struct str name = key->raw;
    struct json_text scratch = *text;
    struct err none = ERR_INIT;
    bool same;

    if (key->escaped) { /* unescaping writes in place: do that in a copy */
        copy.raw = arena_copy(arena, key->raw);
        if (copy.raw.data == NULL)
            return false;
        scratch.copy = (char *)(uintptr_t)copy.raw.data;
        scratch.err = &none;
        if (!json_unescape(&scratch, &copy, &name))
            name = key->raw;
    }
    same = part->glob ? match(part->name, name) : str_eq(part->name, name);
    arena_rewind(arena, mark);
    return same;
}

/* The text has been checked: nothing here can fail but for the lenient forms that json_skip took as well. */
static bool run_object(const struct json_query *query, size_t number, const struct json_text *text, char *at,
                       struct result *result) {
    for (at = json_space(at + 1); *at != '}';) {
        struct json_string key;
        at = *at == '"' ? json_string(text, at + 1, &key) : json_string_slow(text, at + 1, '\'', &key);
        at = json_space(json_space(at) + 1);
        if (is_key(&query->parts[number], text, result->arena, &key))
            return run(query, number + 1, text, at, result);
        at = json_space(json_skip(text, at, 0));
        if (*at == ',')
            at = json_space(at + 1);
    }
    return true;
}

static bool run_index(const struct json_query *query, size_t number, const struct json_text *text, char *at,
                      struct result *result) {
    uint64_t index = 0;

    for (at = json_space(at + 1); *at != ']'; index++) {
        if (index == query->parts[number].index)
            return run(query, number + 1, text, at, result);
        at = json_space(json_skip(text, at, 0));
        if (*at == ',')
            at = json_space(at + 1);
    }
    return true;
}

/* Every element in which the rest of the path leads somewhere, as a new array. */
static bool run_each(const struct json_query *query, size_t number, const struct json_text *text, char *at,
                     struct result *result) {
    char *array_end = json_skip(text, at, 0), *made, *to;

    /* Nested arrays write at most their own text, a comma for each element, and two brackets. */
    made = to = arena_alloc(result->arena, 2 * (size_t)(array_end - at) + 2 + JSON_SLACK);
    if (made == NULL)
        return err_set(text->err, ERR_LIMIT, "no memory for what json_query leads to");
    *to++ = '[';
    for (at = json_space(at + 1); *at != ']';) {
        struct result one = { .arena = result->arena };
        if (!run(query, number + 1, text, at, &one))
            return false;
        if (one.found) {
            size_t len = (size_t)(one.end - one.start);
            if (to > made + 1)
                *to++ = ',';
            memcpy(to, one.start, len);
            to += len;
        }
        at = json_space(json_skip(text, at, 0));
        if (*at == ',')
            at = json_space(at + 1);
    }
    *to++ = ']';
    memset(to, 0, JSON_SLACK);
    *result = (struct result){ result->arena, made, to, true, true };
    return true;
}

static bool run(const struct json_query *query, size_t number, const struct json_text *text, char *at, struct result *result) {
    if (number == query->count) {
        *result = (struct result){ result->arena, at, json_skip(text, at, 0), true, false };
        return true;
    }
    if (*at == '{')
        return run_object(query, number, text, at, result);
    if (*at == '[' && query->parts[number].each)
        return run_each(query, number, text, at, result);
    if (*at == '[' && query->parts[number].is_index)
        return run_index(query, number, text, at, result);
    return true;
}

bool json_query_run(const struct json_query *query, struct json_text *text, struct arena *arena, bool *found) {
    struct result result = { .arena = arena };

    if (!run(query, 0, text, json_space(text->copy), &result))
        return false;
    *found = result.found;
    if (!result.found)
        return true;
    text->stripped = result.made ? 0 : text->stripped + (size_t)(result.start - text->copy);
    text->copy = result.start;
    text->end = result.end;
    return true;
}
