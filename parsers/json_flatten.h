/*
 * parsers/json_flatten.h: one JSON object becomes one point, as Telegraf's json parser does it: nested keys joined with `_`,
 * arrays as `key_0`, numbers to float fields, strings and booleans only where asked for. Fields come in document order. A key
 * that comes twice counts the last time; values that become nothing are counted in points->omitted.
 *
 * The field keys of the points belong to the flattener: they are valid until the next message is flattened.
 */
#ifndef HELIOGRAF_PARSERS_JSON_FLATTEN_H
#define HELIOGRAF_PARSERS_JSON_FLATTEN_H

#include "agent/base/message.h"
#include "agent/base/points.h"
#include "parsers/json_paths.h"
#include "parsers/time_format.h"

struct json_flatten {
    struct json_paths paths;
    struct json_rules rules;
    struct str measurement;         /* unless a name key says another; empty: the input's */
    const struct time_format *time; /* how to read the time key; NULL without one */
    bool strict;                    /* an array's element without a readable time fails the message, not only itself */
    bool exact_integers, canonical_numbers, boolean_integers;
    uint64_t stamp;                 /* rises with every point */
};

/*
 * Appends the points of the value at `at`, an object, an array of objects, or null (none). False with text->err set and `out` in
 * any state: the caller rewinds. Returns in `behind` where the value ended.
 */
bool json_flatten(struct json_flatten *flatten, const struct json_text *text, char *at, const struct message *message,
                  struct points *out, char **behind);

#endif
