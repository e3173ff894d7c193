/*
 * config/load.h: from files and directories to one tree. Later files add to earlier ones: maps are merged key by key,
 * lists of plugin blocks (under `inputs:` and `outputs:`), `tests:` and `routes:` are appended, anything else given
 * twice is an error that names both places.
 */
#ifndef HELIOGRAF_CONFIG_LOAD_H
#define HELIOGRAF_CONFIG_LOAD_H

#include "config/yaml_tree.h"

struct config_sources {
    const char **files; /* --config, in order; "-" is standard input; at most 4 MiB each */
    size_t file_count;
    const char **directories; /* --config-directory: every *.yaml and *.yml in it, by name, after the files */
    size_t directory_count;
    /* Looks up ${VAR}; NULL means getenv. */
    const char *(*lookup)(void *ctx, const char *name);
    void *lookup_ctx;
};

/*
 * The merged tree, with ${VAR}, ${VAR:-default}, ${VAR-default}, ${VAR:?message} and ${VAR?message} replaced in scalars
 * ($$ is a plain $, a $ before anything else is itself). NULL, with diags, when a file cannot be read or is not YAML.
 * After lesser errors (a variable that is not set, a key given twice) the tree is returned so that the rest can be
 * checked in the same run: the caller looks at diags->errors before anything starts.
 */
struct yaml_node *config_load(const struct config_sources *sources, struct arena *arena, struct diags *diags);

#endif
