/* config/yaml_map.c: maps and copies: finding an entry, duplicate keys, merge keys, what an alias stands for. */
#include "config/yaml_build.h"

#include <stdlib.h>

struct yaml_node *yaml_get(const struct yaml_node *map, const char *key) {
    if (map == NULL || map->kind != YAML_MAP)
        return NULL;
    for (struct yaml_node *entry = map->first; entry != NULL; entry = entry->next)
        if (str_eq_c(entry->key->text, key))
            return entry;
    return NULL;
}

bool yaml_is_null(const struct yaml_node *node) {
    static const char *const words[] = { "", "~", "null", "Null", "NULL" };

    if (node->kind != YAML_SCALAR || node->quoted || node->expanded || node->broken)
        return false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (str_eq_c(node->text, words[i]))
            return true;
    return false;
}

struct yaml_node *yaml_node_new(struct yaml_build *build, enum yaml_kind kind, struct src_pos at) {
    struct yaml_node *node;

    if (build->nodes >= YAML_NODES_MAX) {
        diag_add(build->diags, at, "more than %d values: the file is too large, or its aliases multiply",
                 YAML_NODES_MAX);
        return NULL;
    }
    node = arena_zalloc(build->arena, sizeof *node);
    if (node == NULL) {
        diag_add(build->diags, at, "the configuration is too large for its memory");
        return NULL;
    }
    build->nodes++;
    node->kind = kind;
    node->at = at;
    node->text = STR_EMPTY;
    return node;
}

void yaml_append(struct yaml_node *parent, struct yaml_node **tail, struct yaml_node *child) {
    *(*tail != NULL ? &(*tail)->next : &parent->first) = child;
    *tail = child;
    child->next = NULL;
    parent->count++;
}

struct yaml_node *yaml_node_copy(struct yaml_build *build, const struct yaml_node *node, unsigned depth) {
    struct yaml_node *copy, *tail = NULL;

    if (depth > YAML_DEPTH_MAX) {
        diag_add(build->diags, node->at, "nested deeper than %d levels through its aliases", YAML_DEPTH_MAX);
        return NULL;
    }
    copy = yaml_node_new(build, node->kind, node->at);
    if (copy == NULL)
        return NULL;
    copy->text = node->text;
    copy->quoted = node->quoted;
    copy->broken = node->broken;
    copy->key = node->key;
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        struct yaml_node *twin = yaml_node_copy(build, child, depth + 1);
        if (twin == NULL)
            return NULL;
        yaml_append(copy, &tail, twin);
    }
    return copy;
}

/* An entry on its way through duplicate detection. What was written in the map itself goes before what is merged in. */
struct candidate {
    struct yaml_node *node;
    size_t order;
    bool merged, dropped;
};

struct candidates {
    struct candidate *items;
    size_t count, cap;
};

static bool candidates_add(struct candidates *all, struct yaml_node *node, bool merged) {
    if (all->count == all->cap) {
        size_t cap = all->cap == 0 ? 64 : all->cap * 2;
        struct candidate *larger = realloc(all->items, cap * sizeof *larger);
        if (larger == NULL)
            return false;
        all->items = larger;
        all->cap = cap;
    }
    all->items[all->count] = (struct candidate){ .node = node, .order = all->count, .merged = merged };
    all->count++;
    return true;
}

static bool is_merge_key(const struct yaml_node *entry) {
    return !entry->key->quoted && str_eq_c(entry->key->text, "<<");
}

/* The entries of one map that `<<` names. */
static bool merge_map(struct yaml_build *build, struct candidates *all, const struct yaml_node *from, unsigned depth) {
    if (from->kind != YAML_MAP) {
        if (!from->broken)
            diag_add(build->diags, from->at, "'<<' takes a map, or a list of maps, to merge in");
        return true;
    }
    for (const struct yaml_node *entry = from->first; entry != NULL; entry = entry->next) {
        struct yaml_node *copy = yaml_node_copy(build, entry, depth + 1);
        if (copy == NULL)
            return false;
        if (!candidates_add(all, copy, true)) {
            diag_add(build->diags, from->at, "out of memory");
            return false;
        }
    }
    return true;
}

static bool merge_all(struct yaml_build *build, struct candidates *all, const struct yaml_node *from, unsigned depth) {
    if (from->kind != YAML_LIST)
        return merge_map(build, all, from, depth);
    for (const struct yaml_node *item = from->first; item != NULL; item = item->next)
        if (!merge_map(build, all, item, depth))
            return false;
    return true;
}

static bool collect(struct yaml_build *build, struct candidates *all, struct yaml_node *map, unsigned depth) {
    for (struct yaml_node *entry = map->first; entry != NULL; entry = entry->next) {
        if (is_merge_key(entry)) {
            if (!merge_all(build, all, entry, depth))
                return false;
        } else if (!candidates_add(all, entry, false)) {
            diag_add(build->diags, map->at, "out of memory");
            return false;
        }
    }
    return true;
}

static int by_key(const void *left, const void *right) {
    const struct candidate *a = *(struct candidate *const *)left, *b = *(struct candidate *const *)right;
    int order = str_cmp(a->node->key->text, b->node->key->text);

    if (order == 0)
        order = (int)a->merged - (int)b->merged;
    return order != 0 ? order : (a->order > b->order) - (a->order < b->order);
}

/* Of several entries with one key the first stays. */
static bool drop_duplicates(struct yaml_build *build, struct candidates *all, struct src_pos at) {
    struct candidate **sorted = malloc((all->count + 1) * sizeof *sorted);
    const struct candidate *kept = NULL;

    if (sorted == NULL) {
        diag_add(build->diags, at, "out of memory");
        return false;
    }
    for (size_t i = 0; i < all->count; i++)
        sorted[i] = &all->items[i];
    if (all->count > 0)
        qsort(sorted, all->count, sizeof *sorted, by_key);
    for (size_t i = 0; i < all->count; i++) {
        struct str key = sorted[i]->node->key->text;
        if (kept == NULL || !str_eq(kept->node->key->text, key)) {
            kept = sorted[i];
            continue;
        }
        sorted[i]->dropped = true;
        if (!sorted[i]->merged)
            diag_add(build->diags, sorted[i]->node->key->at, "duplicate key '%.*s'; first given on line %u",
                     STR_ARGS(key), kept->node->key->at.line);
    }
    free(sorted);
    return true;
}

static void relink(struct yaml_node *map, const struct candidates *all) {
    struct yaml_node *tail = NULL;

    map->first = NULL;
    map->count = 0;
    for (size_t i = 0; i < all->count; i++)
        if (!all->items[i].dropped)
            yaml_append(map, &tail, all->items[i].node);
}

bool yaml_map_finish(struct yaml_build *build, struct yaml_node *map, unsigned depth) {
    struct candidates all = { .items = NULL };
    bool ok;

    if (map->count == 0 || (map->count == 1 && !is_merge_key(map->first)))
        return true;
    ok = collect(build, &all, map, depth) && drop_duplicates(build, &all, map->at);
    if (ok)
        relink(map, &all);
    free(all.items);
    return ok;
}
