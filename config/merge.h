/*
 * config/merge.h: two files' trees become one.
 */
#ifndef HELIOGRAF_CONFIG_MERGE_H
#define HELIOGRAF_CONFIG_MERGE_H

#include "config/yaml_tree.h"

/*
 * Moves the nodes of `from` into `into`; both are maps. Lists of plugin blocks under `inputs` and `outputs`, and the
 * lists `tests` and `routes`, get longer, anything else that both give is an error that names both places. Nodes keep
 * their positions.
 */
void merge_trees(struct yaml_node *into, struct yaml_node *from, struct arena *arena, struct diags *diags);

#endif
