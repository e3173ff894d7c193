/*
 * config/load.h: from files and directories to one tree. Later files add to earlier ones: maps are merged key by key, lists
 * of plugin blocks (under `inputs:` and `outputs:`) and `tests:` are appended, a scalar given twice is an error that names both places.
 */
#ifndef HELIOGRAF_CONFIG_LOAD_H
#define HELIOGRAF_CONFIG_LOAD_H

#include "config/yaml_tree.h"

struct config_sources {
    const char **files;       /* --config, in order; "-" is standard input */
    size_t file_count;
    const char **directories; /* --config-directory: every *.yaml and *.yml in it, by name */
    size_t directory_count;
    /* Looks up ${VAR}; NULL means getenv. */
    const char *(*lookup)(void *ctx, const char *name);
    void *lookup_ctx;
};

/* The merged tree with ${VAR}, ${VAR:-default} and ${VAR:?message} replaced in scalars ($$ is a plain $). NULL with diags on failure. */
struct yaml_node *config_load(const struct config_sources *sources, struct arena *arena, struct diags *diags);

#endif
