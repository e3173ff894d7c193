/*
 * config/schema_read.h: what schema.c (tables, keys) and schema_value.c (one value) share while a map is read. Nobody
 * else includes it.
 */
#ifndef HELIOGRAF_CONFIG_SCHEMA_READ_H
#define HELIOGRAF_CONFIG_SCHEMA_READ_H

#include "config/schema.h"
#include "config/yaml_tree.h"

struct cfg_reader {
    const char *what, *colon; /* begin every message; both may be "" */
    struct arena *arena;
    struct diags *diags;
    const struct cfg_elsewhere *elsewhere;
    size_t elsewhere_count;
    bool ok;
};

void cfg_complain(struct cfg_reader *reader, struct src_pos at, const char *format, ...) PRINTF_LIKE(3, 4);

/* Stores the value of `node` for `field` into `object`. False, with a complaint and `object` as it was, if it is wrong.
 */
bool cfg_read_value(struct cfg_reader *reader, const struct cfg_field *field, const struct yaml_node *node,
                    void *object);

/* As cfg_read for one table inside another; `key` is added to what messages begin with. */
bool cfg_read_nested(struct cfg_reader *reader, const char *key, const struct cfg_field *fields,
                     const struct yaml_node *map, void *object);

/* The scalar's text, NUL-terminated in the arena; NULL, with a complaint, for anything else. */
char *cfg_read_text(struct cfg_reader *reader, const char *key, const struct yaml_node *node);

#endif
