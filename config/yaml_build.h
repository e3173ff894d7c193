/*
 * config/yaml_build.h: what yaml_tree.c, yaml_map.c and yaml_error.c share while one document becomes a tree. Nobody
 * else includes it.
 */
#ifndef HELIOGRAF_CONFIG_YAML_BUILD_H
#define HELIOGRAF_CONFIG_YAML_BUILD_H

#include "config/yaml_tree.h"

/* Against aliases that multiply and lists that never end; a person's configuration stays far below. */
enum { YAML_NODES_MAX = 100000, YAML_DEPTH_MAX = 64 };

struct yaml_build {
    const char *file;
    struct arena *arena;
    struct diags *diags;
    size_t nodes;
};

/* A zeroed node that counts; NULL, with a diag, at a limit. */
struct yaml_node *yaml_node_new(struct yaml_build *build, enum yaml_kind kind, struct src_pos at);

/* A copy of everything below `node`, as an alias stands for it, `depth` levels down; NULL, with a diag, at a limit. */
struct yaml_node *yaml_node_copy(struct yaml_build *build, const struct yaml_node *node, unsigned depth);

void yaml_append(struct yaml_node *parent, struct yaml_node **tail, struct yaml_node *child);

/* Puts merge keys (`<<`) into effect and drops duplicate keys, with a diag for each. False, with a diag, at a limit. */
bool yaml_map_finish(struct yaml_build *build, struct yaml_node *map, unsigned depth);

/* Why the bytes are not YAML, as the library says it; lines and columns from 1, 0 when not known. */
struct yaml_syntax_error {
    const char *problem, *context; /* context may be NULL */
    struct src_pos at, context_at;
};

/* One diag in words that help: the place where a person has to look, and what is probably wrong there. */
void yaml_report_syntax(struct diags *diags, const struct yaml_syntax_error *error, struct str source);

#endif
