/* config/schema_value.c: one function per type of value. */
#include "config/schema_read.h"

#include <stdlib.h>

#include "config/units.h"

enum { SHOWN_MAX = 60 };

/* What a message says about the value it complains of. One that came out of a variable may be a secret in the wrong
 * place. */
static const char *got(const struct yaml_node *node, char *out, size_t size) {
    static const char *const kinds[] = { [YAML_LIST] = "a list", [YAML_MAP] = "a map" };

    if (node->kind != YAML_SCALAR)
        snprintf(out, size, "got %s", kinds[node->kind]);
    else if (node->expanded)
        snprintf(out, size, "got something else from its variables");
    else if (node->text.len > SHOWN_MAX)
        snprintf(out, size, "got '%.*s...'", SHOWN_MAX, node->text.data);
    else
        snprintf(out, size, "got '%.*s'", STR_ARGS(node->text));
    return out;
}

static bool expected(struct cfg_reader *reader, const char *key, const struct yaml_node *node, const char *wanted) {
    char shown[SHOWN_MAX + 32];

    cfg_complain(reader, node->at, "%s: expected %s, %s", key, wanted, got(node, shown, sizeof shown));
    return false;
}

static bool no_memory(struct cfg_reader *reader, const struct yaml_node *node) {
    cfg_complain(reader, node->at, "the configuration is too large for its memory");
    return false;
}

char *cfg_read_text(struct cfg_reader *reader, const char *key, const struct yaml_node *node) {
    char *text;

    if (node->kind != YAML_SCALAR) {
        expected(reader, key, node, "a text");
        return NULL;
    }
    text = arena_strdup(reader->arena, node->text);
    if (text == NULL)
        no_memory(reader, node);
    return text;
}

static bool read_bool(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                      void *out) {
    if (node->kind != YAML_SCALAR || !cfg_parse_bool(node->text, out))
        return expected(reader, field->key, node, "true or false");
    return true;
}

static bool out_of_range(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                         const char *min, const char *max) {
    char shown[SHOWN_MAX + 32];

    got(node, shown, sizeof shown);
    if (field->max == INT64_MAX)
        cfg_complain(reader, node->at, "%s: must be at least %s, %s", field->key, min, shown);
    else if (field->min == INT64_MIN)
        cfg_complain(reader, node->at, "%s: must be at most %s, %s", field->key, max, shown);
    else
        cfg_complain(reader, node->at, "%s: must be between %s and %s, %s", field->key, min, max, shown);
    return false;
}

static bool read_integer(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                         void *out) {
    char min[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX];
    int64_t value;

    if (node->kind != YAML_SCALAR || !str_to_int64(node->text, &value))
        return expected(reader, field->key, node, "a whole number such as 5000");
    if (field->max > field->min && (value < field->min || value > field->max)) {
        snprintf(min, sizeof min, "%lld", (long long)field->min);
        snprintf(max, sizeof max, "%lld", (long long)field->max);
        return out_of_range(reader, field, node, min, max);
    }
    *(int64_t *)out = value;
    return true;
}

static bool read_double(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                        void *out) {
    if (node->kind != YAML_SCALAR || !str_to_double(node->text, out))
        return expected(reader, field->key, node, "a number such as 0.5");
    return true;
}

static bool read_duration(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                          void *out) {
    char min[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX];
    int64_t value;

    if (node->kind != YAML_SCALAR || !cfg_parse_duration(node->text, &value))
        return expected(reader, field->key, node, "a duration such as 10s, 1m30s or 7d");
    if (field->max > field->min && (value < field->min || value > field->max))
        return out_of_range(reader, field, node, units_print_duration(min, field->min),
                            units_print_duration(max, field->max));
    *(int64_t *)out = value;
    return true;
}

static bool read_size(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                      void *out) {
    uint64_t value, least = field->min > 0 ? (uint64_t)field->min : 0;
    char min[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX];

    if (node->kind != YAML_SCALAR || !cfg_parse_size(node->text, &value))
        return expected(reader, field->key, node, "a size such as 512, 64KB or 1MiB");
    if (field->max > field->min && (value < least || value > (uint64_t)field->max))
        return out_of_range(reader, field, node, units_print_size(min, least),
                            units_print_size(max, (uint64_t)field->max));
    *(uint64_t *)out = value;
    return true;
}

static bool read_string(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                        void *out) {
    char *text = cfg_read_text(reader, field->key, node);

    if (text == NULL)
        return false;
    *(char **)out = text;
    return true;
}

static bool read_enum(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                      void *out) {
    char wanted[160];
    size_t count = 0, used = 0;

    for (; field->names[count] != NULL; count++)
        if (node->kind == YAML_SCALAR && str_eq_c(node->text, field->names[count])) {
            *(int *)out = (int)count;
            return true;
        }
    used = (size_t)snprintf(wanted, sizeof wanted, "%s", count == 1 ? "" : "one of ");
    for (size_t i = 0; i < count && used < sizeof wanted; i++)
        used += (size_t)snprintf(wanted + used, sizeof wanted - used, "%s%s", i == 0 ? "" : ", ", field->names[i]);
    if (node->kind == YAML_SCALAR && !node->expanded) {
        const char *near = cfg_nearest(node->text.data, field->names, count);
        if (near != NULL) {
            cfg_complain(reader, node->at, "%s: unknown '%s'; did you mean '%s'? Known: %s", field->key,
                         node->text.data, near, wanted + (count == 1 ? 0 : sizeof "one of " - 1));
            return false;
        }
    }
    return expected(reader, field->key, node, wanted);
}

/* The children of a list, or the one scalar that stands for a list of one. */
static const struct yaml_node *first_item(const struct yaml_node *node) {
    return node->kind == YAML_LIST ? node->first : node;
}

static size_t item_count(const struct yaml_node *node) {
    return node->kind == YAML_LIST ? node->count : 1;
}

static bool read_item(struct cfg_reader *reader, const char *key, const struct yaml_node *item, char **out) {
    if (item->broken)
        return reader->ok = false;
    if (yaml_is_null(item)) {
        cfg_complain(reader, item->at, "%s: an item of the list is empty", key);
        return false;
    }
    *out = cfg_read_text(reader, key, item);
    return *out != NULL;
}

static bool read_strings_as(struct cfg_reader *reader, const char *key, const struct yaml_node *node,
                            struct cfg_strings *out) {
    const struct yaml_node *item = first_item(node);
    struct cfg_strings strings = { .count = item_count(node) };
    bool ok = true;

    if (node->kind == YAML_MAP)
        return expected(reader, key, node, "a list of texts such as [\"a\", \"b\"]");
    strings.items = arena_zalloc(reader->arena, (strings.count + 1) * sizeof *strings.items);
    strings.at = arena_zalloc(reader->arena, (strings.count + 1) * sizeof *strings.at);
    if (strings.items == NULL || strings.at == NULL)
        return no_memory(reader, node);
    for (size_t i = 0; i < strings.count; i++, item = item->next) {
        strings.at[i] = item->at;
        ok &= read_item(reader, key, item, &strings.items[i]);
    }
    if (ok)
        *out = strings;
    return ok;
}

static bool read_strings(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                         void *out) {
    if ((field->flags & CFG_REQUIRED) != 0 && item_count(node) == 0) {
        cfg_complain(reader, node->at, "%s: needs at least one item", field->key);
        return false;
    }
    return read_strings_as(reader, field->key, node, out);
}

/* A map's value as text; nothing at all is an empty text. */
static char *map_value(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *entry) {
    if (entry->broken) {
        reader->ok = false;
        return NULL;
    }
    if (entry->kind != YAML_SCALAR) {
        cfg_complain(reader, entry->at, "%s: the value of '%.*s' must be a text", field->key,
                     STR_ARGS(entry->key->text));
        return NULL;
    }
    char *value = arena_strdup(reader->arena, yaml_is_null(entry) ? STR_EMPTY : entry->text);
    if (value == NULL)
        no_memory(reader, entry);
    return value;
}

static bool read_map(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                     void *out) {
    struct cfg_map map = { .count = node->count };
    size_t i = 0;
    bool ok = true;

    if (node->kind != YAML_MAP)
        return expected(reader, field->key, node, "a map such as { name: value }");
    map.keys = arena_zalloc(reader->arena, (map.count + 1) * sizeof *map.keys);
    map.values = arena_zalloc(reader->arena, (map.count + 1) * sizeof *map.values);
    map.at = arena_zalloc(reader->arena, (map.count + 1) * sizeof *map.at);
    if (map.keys == NULL || map.values == NULL || map.at == NULL)
        return no_memory(reader, node);
    for (const struct yaml_node *entry = node->first; entry != NULL; entry = entry->next, i++) {
        map.keys[i] = arena_strdup(reader->arena, entry->key->text);
        if (map.keys[i] == NULL)
            return no_memory(reader, node);
        map.values[i] = map_value(reader, field, entry);
        map.at[i] = entry->at;
        ok &= map.values[i] != NULL;
    }
    if (ok)
        *(struct cfg_map *)out = map;
    return ok;
}

static bool read_lists(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                       void *out) {
    struct cfg_lists lists = { .count = node->count };
    size_t i = 0;
    bool ok = true;

    if (node->kind != YAML_MAP)
        return expected(reader, field->key, node, "a map of lists such as { name: [a, b] }");
    lists.keys = arena_zalloc(reader->arena, (lists.count + 1) * sizeof *lists.keys);
    lists.values = arena_zalloc(reader->arena, (lists.count + 1) * sizeof *lists.values);
    if (lists.keys == NULL || lists.values == NULL)
        return no_memory(reader, node);
    for (const struct yaml_node *entry = node->first; entry != NULL; entry = entry->next, i++) {
        lists.keys[i] = arena_strdup(reader->arena, entry->key->text);
        if (lists.keys[i] == NULL)
            return no_memory(reader, node);
        ok &= read_strings_as(reader, lists.keys[i], entry, &lists.values[i]);
    }
    if (ok)
        *(struct cfg_lists *)out = lists;
    return ok;
}

static bool read_objects(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                         void *out) {
    struct cfg_objects objects = { .count = item_count(node) };
    const struct yaml_node *item = first_item(node);
    bool ok = true;

    if (node->kind == YAML_SCALAR)
        return expected(reader, field->key, node, "a list of maps");
    if ((field->flags & CFG_REQUIRED) != 0 && objects.count == 0) {
        cfg_complain(reader, node->at, "%s: needs at least one item", field->key);
        return false;
    }
    if (objects.count >= SIZE_MAX / field->size - 1)
        return no_memory(reader, node);
    objects.items = arena_zalloc(reader->arena, (objects.count + 1) * field->size);
    objects.at = arena_zalloc(reader->arena, (objects.count + 1) * sizeof *objects.at);
    if (objects.items == NULL || objects.at == NULL)
        return no_memory(reader, node);
    for (size_t i = 0; i < objects.count; i++, item = item->next) {
        objects.at[i] = item->at;
        ok &= cfg_read_nested(reader, field->key, field->fields, item, (char *)objects.items + i * field->size);
    }
    if (ok)
        *(struct cfg_objects *)out = objects;
    return ok;
}

/* Defaults, but for `enabled`. */
static bool read_switch(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node, void *out) {
    const struct cfg_field *enabled = field->fields;

    while (strcmp(enabled->key, "enabled") != 0)
        enabled++;
    return cfg_read_nested(reader, field->key, field->fields, NULL, out) && cfg_read_value(reader, enabled, node, out);
}

static bool read_object(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                        void *out) {
    if ((field->flags & CFG_SWITCH) != 0 && node->kind == YAML_SCALAR)
        return read_switch(reader, field, node, out);
    return cfg_read_nested(reader, field->key, field->fields, node, out);
}

static bool read_node(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                      void *out) {
    (void)reader;
    (void)field;
    *(const struct yaml_node **)out = node;
    return true;
}

typedef bool value_reader(struct cfg_reader *, const struct cfg_field *, const struct yaml_node *, void *);

static value_reader *const readers[] = {
    [CFG_BOOL] = read_bool,         [CFG_INTEGER] = read_integer, [CFG_DOUBLE] = read_double,
    [CFG_DURATION] = read_duration, [CFG_SIZE] = read_size,       [CFG_STRING] = read_string,
    [CFG_SECRET] = read_string,     [CFG_ENUM] = read_enum,       [CFG_STRINGS] = read_strings,
    [CFG_MAP] = read_map,           [CFG_LISTS] = read_lists,     [CFG_OBJECT] = read_object,
    [CFG_OBJECTS] = read_objects,   [CFG_NODE] = read_node,
};

bool cfg_read_value(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                    void *object) {
    if (node->broken)
        return reader->ok = false;
    return readers[field->type](reader, field, node, (char *)object + field->offset);
}
