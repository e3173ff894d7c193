/*
 * agent/delivery/letter_ids.h: a set of letters' ids. Added in any order, then sorted once, then asked. One owner.
 */
#ifndef HELIOGRAF_DELIVERY_LETTER_IDS_H
#define HELIOGRAF_DELIVERY_LETTER_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/str.h"

enum { LETTER_ID_LEN = 16, LETTER_ID_SHORTEST = 4 };

struct letter_ids {
    uint64_t *items;
    size_t count, cap;
};

bool letter_ids_add(struct letter_ids *ids, uint64_t id); /* false: no memory */
void letter_ids_sort(struct letter_ids *ids);
bool letter_ids_has(const struct letter_ids *ids, uint64_t id); /* after sorting */
void letter_ids_release(struct letter_ids *ids);                /* safe on a zeroed one */

/* As people write it: 16 hexadecimal digits. */
void letter_id_print(char text[LETTER_ID_LEN + 1], uint64_t id);
/* All 16 digits. */
bool letter_id_parse(struct str text, uint64_t *id);

/* The beginning of an id, of 4 digits or more: what it matches is [first, last]. */
bool letter_id_parse_prefix(struct str text, uint64_t *first, uint64_t *last);

#endif
