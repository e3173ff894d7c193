/* agent/delivery/letter_ids.c: see letter_ids.h. */
#include "agent/delivery/letter_ids.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

bool letter_ids_add(struct letter_ids *ids, uint64_t id) {
    if (ids->count == ids->cap) {
        size_t cap = ids->cap > 0 ? ids->cap * 2 : 64;
        uint64_t *larger = realloc(ids->items, cap * sizeof *larger);
        if (larger == NULL)
            return false;
        ids->items = larger;
        ids->cap = cap;
    }
    ids->items[ids->count++] = id;
    return true;
}

static int by_value(const void *a, const void *b) {
    const uint64_t *left = a, *right = b;

    return (*left > *right) - (*left < *right);
}

void letter_ids_sort(struct letter_ids *ids) {
    if (ids->count > 0)
        qsort(ids->items, ids->count, sizeof ids->items[0], by_value);
}

bool letter_ids_has(const struct letter_ids *ids, uint64_t id) {
    return ids->count > 0 && bsearch(&id, ids->items, ids->count, sizeof ids->items[0], by_value) != NULL;
}

void letter_ids_release(struct letter_ids *ids) {
    free(ids->items);
    *ids = (struct letter_ids){ 0 };
}

void letter_id_print(char text[LETTER_ID_LEN + 1], uint64_t id) {
    snprintf(text, LETTER_ID_LEN + 1, "%016" PRIx64, id);
}

static int digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool letter_id_parse_prefix(struct str text, uint64_t *first, uint64_t *last) {
    uint64_t id = 0;

    if (text.len < LETTER_ID_SHORTEST || text.len > LETTER_ID_LEN)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int value = digit(text.data[i]);
        if (value < 0)
            return false;
        id = id << 4 | (uint64_t)value;
    }
    unsigned open_bits = (unsigned)(LETTER_ID_LEN - text.len) * 4;
    *first = open_bits > 0 ? id << open_bits : id;
    *last = open_bits > 0 ? *first | ((UINT64_C(1) << open_bits) - 1) : id;
    return true;
}

bool letter_id_parse(struct str text, uint64_t *id) {
    uint64_t last;

    return text.len == LETTER_ID_LEN && letter_id_parse_prefix(text, id, &last);
}
