/*
 * outputs/influxdb_route.h: finds the tag of a line that says where it goes, and takes it out when it is not to be
 * stored. Pure; reads the key part of the line only.
 */
#ifndef HELIOGRAF_OUTPUTS_INFLUXDB_ROUTE_H
#define HELIOGRAF_OUTPUTS_INFLUXDB_ROUTE_H

#include "agent/base/buf.h"

/* Between the values of two routing tags in one target; the encoder lets no control byte into a tag. */
#define ROUTE_SEPARATOR '\x1f'

struct route_tag {
    const char *key; /* unescaped; NULL or empty: none */
    bool exclude;    /* leave the tag out of the line */
};

/*
 * As output_type.route: `target` becomes the value of `first`; with a `second` tag in the line, ROUTE_SEPARATOR and
 * that one's value follow. Bytes that had to be made are appended to `scratch`, which is grown at most once.
 */
void influxdb_route(const struct route_tag *first, const struct route_tag *second, struct str *line, struct str *target,
                    struct buf *scratch);

#endif
