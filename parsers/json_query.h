/*
 * parsers/json_query.h: `json_query`, the part of GJSON's path syntax that leads to objects and arrays: keys joined with dots,
 * `\.` for a dot in a key, `*` and `?` in keys, numbers as array indices, `#` for every element of an array.
 */
#ifndef HELIOGRAF_PARSERS_JSON_QUERY_H
#define HELIOGRAF_PARSERS_JSON_QUERY_H

#include "parsers/json_reader.h"

struct json_query;

/* NULL with `err` for what is not supported: modifiers, pipes, #(...) queries, multipaths, a count at the end. */
struct json_query *json_query_new(const char *path, struct err *err);
void json_query_free(struct json_query *query); /* NULL is fine */

/*
 * Narrows `text`, whose syntax json_skip has checked, to what the path leads to. With `#` that is a new array, made in `arena`.
 * False with text->err at the arena's cap. *found is false when the path leads nowhere: `text` is unchanged then.
 */
bool json_query_run(const struct json_query *query, struct json_text *text, struct arena *arena, bool *found);

#endif
