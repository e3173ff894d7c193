/*
 * config/yaml_tree.h: YAML as a tree whose nodes keep file, line and column. The only user of libyaml. Anchors and
 * aliases are resolved (bounded: at most 100,000 nodes, depth 64), duplicate keys are errors, merge keys (`<<`) work.
 */
#ifndef HELIOGRAF_CONFIG_YAML_TREE_H
#define HELIOGRAF_CONFIG_YAML_TREE_H

#include "agent/base/arena.h"
#include "config/diag.h"

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    struct src_pos at;
    struct str text;         /* scalar: content after ${VAR} replacement, NUL-terminated */
    bool quoted;             /* scalar: written in quotes or as a block, so never null */
    bool expanded;           /* scalar: a ${VAR} was replaced: never null, and never quoted in messages */
    bool broken;             /* an error about it is in the diags already: readers say nothing more */
    struct yaml_node *key;   /* as a map's entry: the key's scalar node */
    struct yaml_node *first; /* list, map: children in order */
    struct yaml_node *next;  /* next child of the same parent */
    size_t count;            /* children */
};

/*
 * The tree of one document, in `arena`. An empty file is an empty map; the root may be of any kind. NULL when there is
 * nothing usable, with at least one diag; after lesser errors (a duplicate key, an unknown anchor) the tree is whole
 * enough to be checked further, so it is diags->errors that says whether it may be used.
 */
struct yaml_node *yaml_parse(const char *file, struct str text, struct arena *arena, struct diags *diags);

/* The entry of a map, NULL when absent or when `map` is NULL or no map. */
struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);

/* A scalar `null`, `~` or nothing at all, unquoted, that really stands there: neither expanded nor broken. */
bool yaml_is_null(const struct yaml_node *node);

#endif
