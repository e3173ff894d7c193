/*
 * config/expand.h: ${VAR} in scalars. Works on the finished tree, so a variable can bring in text, never structure.
 */
#ifndef HELIOGRAF_CONFIG_EXPAND_H
#define HELIOGRAF_CONFIG_EXPAND_H

#include "config/yaml_tree.h"

struct expand_variables {
    const char *(*lookup)(void *ctx, const char *name); /* NULL: not set */
    void *ctx;
};

/*
 * Replaces the references in every scalar below `node`, keys apart; texts are copied to `arena`. A scalar with a
 * reference that fails gets a diag at its position, an empty text and `broken`. Values of variables never stand in a
 * diag.
 */
void expand_tree(struct yaml_node *node, const struct expand_variables *variables, struct arena *arena,
                 struct diags *diags);

#endif
