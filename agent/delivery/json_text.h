/*
 * agent/delivery/json_text.h: text and bytes as members of JSON objects, and back, whatever the bytes.
 */
#ifndef HELIOGRAF_DELIVERY_JSON_TEXT_H
#define HELIOGRAF_DELIVERY_JSON_TEXT_H

#include "agent/base/arena.h"

struct cJSON;

/* What is not UTF-8, and every NUL, becomes U+FFFD. False: no memory. */
bool json_add_text(struct cJSON *object, const char *key, struct str text);
/* Exactly: as text under `key` or, when it is none, as base64 under `key_base64`. */
bool json_add_data(struct cJSON *object, const char *key, const char *key_base64, struct str data);

/* Copies live in `arena`. False: not there, of another type, or no memory. */
bool json_read_text(const struct cJSON *object, const char *key, struct arena *arena, struct str *text);
bool json_read_data(const struct cJSON *object, const char *key, const char *key_base64, struct arena *arena, struct str *data);

#endif
