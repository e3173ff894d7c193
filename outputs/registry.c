/* outputs/registry.c: the outputs there are. A new one is a file and a line here. */
#include <stdlib.h>

#include "outputs/output.h"

extern const struct output_type output_influxdb, output_influxdb_v2, output_influxdb_v3, output_file;

const struct output_type *const output_types[] = {
    &output_influxdb,
    &output_influxdb_v2,
    &output_influxdb_v3,
    &output_file,
    NULL,
};

const struct output_type *output_find(const char *name) {
    for (size_t i = 0; output_types[i] != NULL; i++)
        if (strcmp(output_types[i]->name, name) == 0)
            return output_types[i];
    return NULL;
}

void *output_new(const struct output_type *type) {
    return calloc(1, type->state_size);
}

void output_free(const struct output_type *type, void *state) {
    if (state == NULL)
        return;
    if (type->fini != NULL)
        type->fini(state);
    free(state);
}
