/* tests/support/options.h: fills a module's options by key, as the configuration would, through its own table. */
#ifndef HELIOGRAF_TESTS_OPTIONS_H
#define HELIOGRAF_TESTS_OPTIONS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"

static inline void *option_at(const struct cfg_field *fields, void *state, const char *key, enum cfg_type type) {
    for (; fields->key != NULL; fields++)
        if (strcmp(fields->key, key) == 0 && fields->type == type)
            return (char *)state + fields->offset;
    fprintf(stderr, "no option '%s' of type %d\n", key, (int)type);
    abort();
}

static inline void option_text(const struct cfg_field *fields, void *state, const char *key, const char *value) {
    *(const char **)option_at(fields, state, key, CFG_STRING) = value;
}
static inline void option_secret(const struct cfg_field *fields, void *state, const char *key, const char *value) {
    *(const char **)option_at(fields, state, key, CFG_SECRET) = value;
}
static inline void option_bool(const struct cfg_field *fields, void *state, const char *key, bool value) {
    *(bool *)option_at(fields, state, key, CFG_BOOL) = value;
}
static inline void option_integer(const struct cfg_field *fields, void *state, const char *key, int64_t value) {
    *(int64_t *)option_at(fields, state, key, CFG_INTEGER) = value;
}
static inline void option_duration(const struct cfg_field *fields, void *state, const char *key, int64_t value) {
    *(int64_t *)option_at(fields, state, key, CFG_DURATION) = value;
}
static inline void option_size(const struct cfg_field *fields, void *state, const char *key, uint64_t value) {
    *(uint64_t *)option_at(fields, state, key, CFG_SIZE) = value;
}
static inline void option_strings(const struct cfg_field *fields, void *state, const char *key, char **items,
                                  size_t count) {
    *(struct cfg_strings *)option_at(fields, state, key, CFG_STRINGS) = (struct cfg_strings){ items, NULL, count };
}

/* By name, as it is written; "" is fine where the table has it. */
static inline void option_enum(const struct cfg_field *fields, void *state, const char *key, const char *value) {
    int *at = option_at(fields, state, key, CFG_ENUM);

    while (strcmp(fields->key, key) != 0)
        fields++;
    for (int i = 0; fields->names[i] != NULL; i++)
        if (strcmp(fields->names[i], value) == 0) {
            *at = i;
            return;
        }
    fprintf(stderr, "option '%s' has no value '%s'\n", key, value);
    abort();
}

#endif
