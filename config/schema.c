/* config/schema.c: option tables against a map: which keys are there, missing or unknown, and what their defaults are.
 */
#include "config/schema_read.h"

#include <ctype.h>
#include <stdarg.h>

#include "agent/base/fs.h"

enum { KEY_MAX = 64, SECRET_MAX = 65536 };

void cfg_complain(struct cfg_reader *reader, struct src_pos at, const char *format, ...) {
    char text[DIAG_TEXT_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    reader->ok = false;
    diag_add(reader->diags, at, "%s%s%s", reader->what, reader->colon, text);
}

/* Names as one person types them and another one does: `client-id`, `ClientId`. */
static struct str fold(const char *name, char out[KEY_MAX]) {
    size_t len = 0;

    for (; len < KEY_MAX && name[len] != '\0'; len++)
        out[len] = name[len] == '-' ? '_' : (char)tolower((unsigned char)name[len]);
    return str_make(out, len);
}

struct nearest {
    const char *name; /* that was written */
    const char *best;
    size_t distance;
};

static void nearest_offer(struct nearest *nearest, const char *name) {
    char left[KEY_MAX], right[KEY_MAX];
    size_t length = strlen(nearest->name), distance;

    if (length >= KEY_MAX || strlen(name) >= KEY_MAX)
        return;
    distance = str_distance(fold(nearest->name, left), fold(name, right));
    if (distance <= (length + 2) / 3 && distance < length && (nearest->best == NULL || distance < nearest->distance)) {
        nearest->best = name;
        nearest->distance = distance;
    }
}

const char *cfg_nearest(const char *name, const char *const *names, size_t count) {
    struct nearest nearest = { .name = name };

    for (size_t i = 0; i < count; i++)
        nearest_offer(&nearest, names[i]);
    return nearest.best;
}

/* "token_file" for the secret "token"; "" when that is too long for a key. */
static const char *file_key(const struct cfg_field *field, char out[KEY_MAX]) {
    int len = snprintf(out, KEY_MAX, "%s_file", field->key);

    if (len < 0 || len >= KEY_MAX)
        out[0] = '\0';
    return out;
}

static bool is_plain_word(const char *text) {
    for (const char *at = text; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at) && strchr("_./+-", *at) == NULL)
            return false;
    return text[0] != '\0' && text[0] != '-' && strcmp(text, "null") != 0;
}

/* Null counts as not given, but for what may be empty and still be there. */
static bool is_given(const struct cfg_field *field, const struct yaml_node *node) {
    if (node == NULL)
        return false;
    if (field->type == CFG_NODE || (field->type == CFG_OBJECT && (field->flags & CFG_REQUIRED) != 0))
        return true;
    return !yaml_is_null(node);
}

/* The default as a node. Plain words, the bulk of them, do without libyaml. */
static const struct yaml_node *fallback_node(struct cfg_reader *reader, const struct cfg_field *field) {
    struct yaml_node *node;

    if (!is_plain_word(field->fallback) && field->fallback[0] != '\0')
        return yaml_parse(field->key, str_of(field->fallback), reader->arena, reader->diags);
    node = arena_alloc(reader->arena, sizeof *node);
    if (node == NULL)
        cfg_complain(reader, (struct src_pos){ .file = NULL }, "the configuration is too large for its memory");
    else
        *node = (struct yaml_node){ .kind = YAML_SCALAR, .text = str_of(field->fallback), .quoted = true };
    return node;
}

static void apply_default(struct cfg_reader *reader, const struct cfg_field *field, void *object) {
    const struct yaml_node *node;

    if (field->type == CFG_OBJECT) {
        cfg_read_nested(reader, field->key, field->fields, NULL, (char *)object + field->offset);
        return;
    }
    if (field->fallback == NULL)
        return;
    node = fallback_node(reader, field);
    if (node == NULL) {
        reader->ok = false;
        return;
    }
    cfg_read_value(reader, field, node, object);
}

static void complain_missing(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *map,
                             const char *or_file) {
    const struct yaml_node *empty = yaml_get(map, field->key);
    struct src_pos at = empty != NULL ? empty->at : map->at;

    if (or_file[0] != '\0')
        cfg_complain(reader, at, "'%s' is required, or '%s'", field->key, or_file);
    else
        cfg_complain(reader, at, "'%s' is required%s", field->key,
                     empty != NULL ? ", and nothing is written here" : "");
}

/* The content of a secret's file. An empty one is a mistake: no server takes it, and it would be hard to find. */
static char *read_secret_file(struct cfg_reader *reader, const char *key, const struct yaml_node *node) {
    char *path = cfg_read_text(reader, key, node), *secret = NULL;
    struct err err = ERR_INIT;
    struct buf content;

    if (path == NULL)
        return NULL;
    buf_init(&content, SECRET_MAX);
    if (!fs_read_secret(path, &content, &err)) {
        cfg_complain(reader, node->at, "%s: %s", key, err.text);
    } else if (content.len == 0) {
        cfg_complain(reader, node->at, "%s: %s is empty", key, path);
    } else if (memchr(content.data, '\0', content.len) != NULL) {
        cfg_complain(reader, node->at, "%s: %s contains a NUL byte", key, path);
    } else {
        secret = arena_strdup(reader->arena, buf_str(&content));
        if (secret == NULL)
            cfg_complain(reader, node->at, "the configuration is too large for its memory");
    }
    buf_release(&content);
    return secret;
}

static void read_secret(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *map,
                        void *object) {
    char key[KEY_MAX], *secret;
    const struct yaml_node *direct = yaml_get(map, field->key), *file = yaml_get(map, file_key(field, key));

    if (is_given(field, direct) && is_given(field, file)) {
        cfg_complain(reader, file->at, "'%s' and '%s' cannot both be given", field->key, key);
        return;
    }
    if (is_given(field, direct)) {
        if (!cfg_read_value(reader, field, direct, object))
            apply_default(reader, field, object);
        return;
    }
    if (!is_given(field, file)) {
        if ((field->flags & CFG_REQUIRED) != 0 && map != NULL)
            complain_missing(reader, field, map, key);
        apply_default(reader, field, object);
        return;
    }
    if (file->broken) {
        reader->ok = false;
        return;
    }
    secret = read_secret_file(reader, key, file);
    if (secret != NULL)
        *(char **)((char *)object + field->offset) = secret;
}

static void warn_ignored(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node) {
    diag_warn(reader->diags, node->key->at, "%s%s'%s' has no effect here%s%s", reader->what, reader->colon, field->key,
              field->help != NULL ? ": " : "", field->help != NULL ? field->help : "");
}

static void read_field(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *map,
                       void *object) {
    const struct yaml_node *node = yaml_get(map, field->key);

    if ((field->flags & CFG_IGNORED) != 0) {
        if (node != NULL)
            warn_ignored(reader, field, node);
    } else if (field->type == CFG_SECRET) {
        read_secret(reader, field, map, object);
    } else if (is_given(field, node)) {
        /* An object has got its defaults on the way, unless nothing of it can be read. */
        if (!cfg_read_value(reader, field, node, object) && (field->type != CFG_OBJECT || node->broken))
            apply_default(reader, field, object);
    } else {
        if ((field->flags & CFG_REQUIRED) != 0 && map != NULL)
            complain_missing(reader, field, map, "");
        apply_default(reader, field, object);
    }
}

static bool has_key(const struct cfg_field *field, struct str key) {
    char with_file[KEY_MAX];

    for (; field->key != NULL; field++)
        if (str_eq_c(key, field->key) || (field->type == CFG_SECRET && str_eq_c(key, file_key(field, with_file))))
            return true;
    return false;
}

static bool is_known(const struct cfg_binding *bindings, size_t count, struct str key) {
    for (size_t i = 0; i < count; i++)
        if (has_key(bindings[i].fields, key))
            return true;
    return false;
}

/* The right option in the wrong place. */
static bool complain_misplaced(struct cfg_reader *reader, const struct yaml_node *entry) {
    char places[120] = "";
    size_t used = 0;

    for (size_t i = 0; i < reader->elsewhere_count && used < sizeof places; i++) {
        const struct cfg_elsewhere *other = &reader->elsewhere[i];
        if (other->fields != NULL && has_key(other->fields, entry->key->text))
            used += (size_t)snprintf(places + used, sizeof places - used, "%s%s%s%s", used > 0 ? ", " : "", other->where,
                                     other->name != NULL ? " " : "", other->name != NULL ? other->name : "");
    }
    if (used > 0)
        cfg_complain(reader, entry->key->at, "unknown option '%s': it belongs to %s", entry->key->text.data, places);
    return used > 0;
}

/* "; known: a, b" when nothing is near and there are few, "" otherwise. */
static void list_known(const struct cfg_binding *bindings, size_t count, char *out, size_t size) {
    size_t used = (size_t)snprintf(out, size, "; known: ");
    const char *comma = "";

    for (size_t i = 0; i < count; i++)
        for (const struct cfg_field *field = bindings[i].fields; field->key != NULL; field++) {
            if ((field->flags & CFG_IGNORED) != 0)
                continue;
            used += (size_t)snprintf(out + used, size - used, "%s%s", comma, field->key);
            comma = ", ";
            if (used >= size) {
                out[0] = '\0';
                return;
            }
        }
    if (comma[0] == '\0')
        out[0] = '\0';
}

static void complain_unknown(struct cfg_reader *reader, const struct yaml_node *entry,
                             const struct cfg_binding *bindings, size_t count) {
    struct nearest nearest = { .name = entry->key->text.data };
    char with_file[KEY_MAX], best_file[KEY_MAX], known[100];

    if (complain_misplaced(reader, entry))
        return;
    for (size_t i = 0; i < count && reader->diags->count < DIAGS_MAX; i++)
        for (const struct cfg_field *field = bindings[i].fields; field->key != NULL; field++) {
            nearest_offer(&nearest, field->key);
            if (field->type != CFG_SECRET)
                continue;
            nearest_offer(&nearest, file_key(field, with_file));
            if (nearest.best == with_file)
                nearest.best = memcpy(best_file, with_file, sizeof best_file);
        }
    if (nearest.best != NULL) {
        cfg_complain(reader, entry->key->at, "unknown option '%s'; did you mean '%s'?", nearest.name, nearest.best);
        return;
    }
    list_known(bindings, count, known, sizeof known);
    cfg_complain(reader, entry->key->at, "unknown option '%s'%s", nearest.name, known);
}

/* A map, or nothing at all in its place. */
static bool is_usable(struct cfg_reader *reader, const struct yaml_node *map) {
    if (map->broken)
        return reader->ok = false;
    if (map->kind == YAML_MAP || yaml_is_null(map))
        return true;
    cfg_complain(reader, map->at, "expected a map of options, got %s",
                 map->kind == YAML_LIST ? "a list" : "a single value");
    return false;
}

bool cfg_read(const struct yaml_node *map, const char *what, const struct cfg_binding *bindings, size_t count,
              struct arena *arena, struct diags *diags) {
    return cfg_read_beside(map, what, bindings, count, NULL, 0, arena, diags);
}

bool cfg_read_beside(const struct yaml_node *map, const char *what, const struct cfg_binding *bindings, size_t count,
                     const struct cfg_elsewhere *elsewhere, size_t elsewhere_count, struct arena *arena, struct diags *diags) {
    struct cfg_reader reader = {
        .what = what != NULL ? what : "",
        .arena = arena,
        .diags = diags,
        .elsewhere = elsewhere,
        .elsewhere_count = elsewhere_count,
        .ok = true,
    };

    reader.colon = reader.what[0] != '\0' ? ": " : "";
    if (map != NULL && !is_usable(&reader, map))
        map = NULL;
    for (size_t i = 0; i < count; i++)
        for (const struct cfg_field *field = bindings[i].fields; field->key != NULL; field++)
            read_field(&reader, field, map, bindings[i].object);
    for (const struct yaml_node *entry = map != NULL ? map->first : NULL; entry != NULL; entry = entry->next)
        if (!is_known(bindings, count, entry->key->text))
            complain_unknown(&reader, entry, bindings, count);
    return reader.ok;
}

bool cfg_read_nested(struct cfg_reader *reader, const char *key, const struct cfg_field *fields,
                     const struct yaml_node *map, void *object) {
    struct cfg_binding binding = { fields, object };
    char what[120];
    bool ok;

    snprintf(what, sizeof what, "%s%s%s", reader->what, reader->colon, key);
    ok = cfg_read(map, what, &binding, 1, reader->arena, reader->diags);
    if (!ok)
        reader->ok = false;
    return ok;
}

struct src_pos cfg_at(const struct yaml_node *map, const char *key) {
    const struct yaml_node *node = yaml_get(map, key);

    if (node != NULL)
        return node->at;
    return map != NULL ? map->at : (struct src_pos){ .file = NULL };
}
