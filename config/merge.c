/* config/merge.c: see merge.h. */
#include "config/merge.h"

struct merge {
    struct arena *arena;
    struct diags *diags;
};

/* Where in the tree two values meet: what is allowed there follows from it. */
enum level { LEVEL_ROOT, LEVEL_PLUGINS, LEVEL_DEEPER };

static bool is_plugin_section(struct str key) {
    return str_eq_c(key, "inputs") || str_eq_c(key, "outputs");
}

static bool grows(enum level level, struct str key) {
    return level == LEVEL_PLUGINS || (level == LEVEL_ROOT && (str_eq_c(key, "tests") || str_eq_c(key, "routes")));
}

static struct yaml_node *last_child(struct yaml_node *parent) {
    struct yaml_node *last = parent->first;

    while (last != NULL && last->next != NULL)
        last = last->next;
    return last;
}

static void append(struct yaml_node *parent, struct yaml_node *first, size_t count) {
    struct yaml_node *last = last_child(parent);

    *(last != NULL ? &last->next : &parent->first) = first;
    parent->count += count;
}

/* A block that stands alone is a list of one. */
static bool make_list(struct merge *merge, struct yaml_node *node) {
    struct yaml_node *item;

    if (node->kind == YAML_LIST)
        return true;
    item = arena_alloc(merge->arena, sizeof *item);
    if (item == NULL) {
        diag_add(merge->diags, node->at, "the configuration is too large for its memory");
        return false;
    }
    *item = *node;
    item->next = item->key = NULL;
    node->kind = YAML_LIST;
    node->first = item;
    node->count = 1;
    return true;
}

static void complain_twice(struct merge *merge, const struct yaml_node *first, const struct yaml_node *second) {
    diag_add(merge->diags, second->key->at, "'%.*s' is given twice; first at %s:%u:%u", STR_ARGS(second->key->text),
             first->key->at.file, first->key->at.line, first->key->at.column);
}

static void merge_maps(struct merge *merge, struct yaml_node *into, struct yaml_node *from, enum level level);

/* Both trees have a value for one key. */
static void merge_values(struct merge *merge, struct yaml_node *old, struct yaml_node *new, enum level level) {
    if (yaml_is_null(new))
        return;
    if (yaml_is_null(old)) {
        struct yaml_node *next = old->next;
        *old = *new;
        old->next = next;
    } else if (grows(level, new->key->text) && old->kind != YAML_SCALAR && new->kind != YAML_SCALAR) {
        if (make_list(merge, old) && make_list(merge, new))
            append(old, new->first, new->count);
    } else if (old->kind == YAML_MAP && new->kind == YAML_MAP) {
        bool plugins = level == LEVEL_ROOT && is_plugin_section(new->key->text);
        merge_maps(merge, old, new, plugins ? LEVEL_PLUGINS : LEVEL_DEEPER);
    } else {
        complain_twice(merge, old, new);
    }
}

static void merge_maps(struct merge *merge, struct yaml_node *into, struct yaml_node *from, enum level level) {
    struct yaml_node *next;

    for (struct yaml_node *entry = from->first; entry != NULL; entry = next) {
        struct yaml_node *old = yaml_get(into, entry->key->text.data);
        next = entry->next;
        if (old != NULL) {
            merge_values(merge, old, entry, level);
        } else {
            entry->next = NULL;
            append(into, entry, 1);
        }
    }
}

void merge_trees(struct yaml_node *into, struct yaml_node *from, struct arena *arena, struct diags *diags) {
    struct merge merge = { arena, diags };

    merge_maps(&merge, into, from, LEVEL_ROOT);
}
