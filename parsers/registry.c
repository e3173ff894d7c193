/* parsers/registry.c: the list of payload formats. A new format is one file, one line here twice, and one test file. */
#include <stdlib.h>

#include "parsers/parser.h"

extern const struct parser_type parser_influx, parser_json, parser_value;

const struct parser_type *const parser_types[] = { &parser_influx, &parser_json, &parser_value, NULL };

const struct parser_type *parser_find(const char *name) {
    for (const struct parser_type *const *type = parser_types; *type != NULL; type++)
        if (strcmp((*type)->name, name) == 0)
            return *type;
    return NULL;
}

void *parser_new(const struct parser_type *type) {
    return calloc(1, type->state_size > 0 ? type->state_size : 1);
}

void parser_free(const struct parser_type *type, void *state) {
    if (state == NULL)
        return;
    if (type->fini != NULL)
        type->fini(state);
    free(state);
}
