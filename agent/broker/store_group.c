/* agent/broker/store_group.c: see store_group.h. Changes stand in blocks and do not move; a hash finds them by their key. */
#include "agent/broker/store_group.h"

#include <stdlib.h>

enum { BLOCKS_KEPT = 64, TEXTS_KEPT = 256 * 1024, WASTE_MIN = 64 * 1024 };

void group_init(struct group *group, struct sip_key key) {
    *group = (struct group){ .key = key };
    arena_init(&group->texts, SIZE_MAX);
}

static void drop(struct change *change) {
    if (change->kind == CHANGE_PUBLICATION && !change->erase)
        publication_unref(change->as.publication);
}

void group_reset(struct group *group) {
    struct change_block *next;
    size_t kept = 0;

    for (struct change_block *block = group->blocks, **at = &group->blocks; block != NULL; block = next) {
        next = block->next;
        if (block->used == 0)
            break; /* nor is any behind it */
        for (size_t i = 0; i < block->used; i++)
            if (block->changes[i].live)
                drop(&block->changes[i]);
        block->used = 0;
        if (++kept <= BLOCKS_KEPT) {
            at = &block->next;
            continue;
        }
        *at = next;
        free(block);
        group->block_count--;
    }
    group->last = group->blocks;
    group->free = NULL;
    hash_index_release(&group->index);
    if (group->texts.total > TEXTS_KEPT)
        arena_release(&group->texts);
    else
        arena_reset(&group->texts);
    group->count = group->text_bytes = group->text_waste = group->publication_bytes = 0;
}

void group_release(struct group *group) {
    group_reset(group);
    for (struct change_block *block = group->blocks, *next; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    arena_release(&group->texts);
    *group = (struct group){ .blocks = NULL };
}

size_t group_bytes(const struct group *group) {
    return group->block_count * sizeof(struct change_block) + hash_index_bytes(&group->index) + group->texts.total + group->publication_bytes;
}

/* ---- finding ------------------------------------------------------------------------------------------------------- */

/* Our own numbers, which nobody chooses: their low bits will do once they are spread. */
static uint32_t hash_of(const struct group *group, const struct change *key) {
    uint64_t mixed = (key->number << 3 | key->kind) + ((uint64_t)key->packet_id << 48);

    if (key->kind == CHANGE_SUBSCRIPTION)
        mixed ^= sip_hash(group->key, key->as.subscription.filter);
    mixed *= UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mixed >> 32);
}

static bool is_same(const struct change *a, const struct change *b) {
    return a->number == b->number && a->kind == b->kind && a->packet_id == b->packet_id &&
           (a->kind != CHANGE_SUBSCRIPTION || str_eq(a->as.subscription.filter, b->as.subscription.filter));
}

static struct change *find(const struct group *group, const struct change *key, uint32_t hash) {
    struct hash_probe at = hash_index_probe(&group->index, hash);

    for (struct change *change; (change = hash_index_next(&group->index, &at)) != NULL;)
        if (is_same(change, key))
            return change;
    return NULL;
}

bool group_erases_session(const struct group *group, uint64_t session) {
    const struct change key = { .kind = CHANGE_SESSION, .number = session };
    const struct change *found = find(group, &key, hash_of(group, &key));

    return found != NULL && found->erase;
}

/* ---- places -------------------------------------------------------------------------------------------------------- */

static bool add_block(struct group *group) {
    struct change_block *block = malloc(sizeof *block);

    if (block == NULL)
        return false;
    block->next = NULL;
    block->used = 0;
    if (group->last != NULL)
        group->last->next = block;
    else
        group->blocks = block;
    group->last = block;
    group->block_count++;
    return true;
}

static struct change *take_place(struct group *group) {
    struct change *place = group->free;

    if (place != NULL) {
        group->free = place->as.next_free;
        return place;
    }
    if (group->last != NULL && group->last->used == CHANGES_PER_BLOCK && group->last->next != NULL)
        group->last = group->last->next;
    if ((group->last == NULL || group->last->used == CHANGES_PER_BLOCK) && !add_block(group))
        return NULL;
    return &group->last->changes[group->last->used++];
}

/* ---- texts --------------------------------------------------------------------------------------------------------- */

static size_t text_bytes(const struct change *change) {
    if (change->kind == CHANGE_SESSION && !change->erase)
        return sizeof *change->as.session + change->as.session->client_id.len + change->as.session->user.len;
    if (change->kind == CHANGE_SUBSCRIPTION)
        return change->as.subscription.filter.len;
    return change->kind == CHANGE_DELIVERY && !change->erase ? change->as.delivery.subscription_ids.len : 0;
}

static bool copy_text(struct arena *texts, struct str *text) {
    if (text->len > 0)
        *text = arena_copy(texts, *text);
    return text->data != NULL || text->len == 0;
}

static bool copy_session(struct arena *texts, struct change *change) {
    struct stored_session *copy = arena_alloc(texts, sizeof *copy);

    if (copy == NULL)
        return false;
    *copy = *change->as.session;
    change->as.session = copy;
    return copy_text(texts, &copy->client_id) && copy_text(texts, &copy->user);
}

static bool copy_texts(struct arena *texts, struct change *change) {
    if (change->kind == CHANGE_SUBSCRIPTION)
        return copy_text(texts, &change->as.subscription.filter);
    if (change->erase)
        return true;
    if (change->kind == CHANGE_SESSION)
        return copy_session(texts, change);
    return change->kind != CHANGE_DELIVERY || copy_text(texts, &change->as.delivery.subscription_ids);
}

/* What was replaced or undone leaves its texts behind: when that is the larger part, the others move. */
static void compact_texts(struct group *group) {
    struct arena texts;
    bool fine = true;

    if (group->text_waste < WASTE_MIN || group->text_waste < group->text_bytes)
        return;
    arena_init(&texts, SIZE_MAX);
    for (struct change_block *block = group->blocks; block != NULL; block = block->next)
        for (size_t i = 0; i < block->used && fine; i++)
            if (block->changes[i].live)
                fine = copy_texts(&texts, &block->changes[i]);
    if (!fine) {
        group->failed = true; /* some point into the new one, some into the old one: both stay */
        return;
    }
    arena_release(&group->texts);
    group->texts = texts;
    group->text_waste = 0;
}

static void forget_texts(struct group *group, const struct change *change) {
    group->text_bytes -= text_bytes(change);
    group->text_waste += text_bytes(change);
}

/* ---- changes ------------------------------------------------------------------------------------------------------- */

/* The content of `change` into a place of ours, whose key is set. */
static void fill(struct group *group, struct change *place, const struct change *change) {
    struct change copy = *change;

    copy.live = true;
    if (!copy_texts(&group->texts, &copy)) {
        group->failed = true;
        return;
    }
    if (copy.kind == CHANGE_PUBLICATION && !copy.erase) {
        publication_ref(copy.as.publication);
        group->publication_bytes += publication_size(copy.as.publication);
    }
    group->text_bytes += text_bytes(&copy);
    *place = copy;
}

static void add(struct group *group, const struct change *change, uint32_t hash, bool erase) {
    struct change wanted = *change, *place;

    wanted.hash = hash;
    wanted.erase = erase;
    place = hash_index_reserve(&group->index) ? take_place(group) : NULL;
    if (place == NULL) {
        group->failed = true;
        return;
    }
    place->live = false;
    fill(group, place, &wanted);
    if (!place->live)
        return;
    hash_index_put(&group->index, hash, place);
    group->count++;
}

static void take_away(struct group *group, struct change *change) {
    hash_index_take(&group->index, change->hash, change);
    forget_texts(group, change);
    if (change->kind == CHANGE_PUBLICATION && !change->erase)
        group->publication_bytes -= publication_size(change->as.publication);
    drop(change);
    change->live = false;
    change->as.next_free = group->free;
    group->free = change;
    group->count--;
    if (group->count == 0)
        group_reset(group);
    else
        compact_texts(group);
}

void group_put(struct group *group, const struct change *change) {
    uint32_t hash = hash_of(group, change);
    struct change *found = find(group, change, hash), wanted = *change;

    if (found == NULL) {
        add(group, change, hash, false);
        return;
    }
    wanted.hash = hash;
    wanted.erase = false;
    wanted.fresh = found->fresh && !found->erase;
    forget_texts(group, found);
    if (found->kind == CHANGE_PUBLICATION && !found->erase)
        group->publication_bytes -= publication_size(found->as.publication);
    drop(found);
    fill(group, found, &wanted);
    compact_texts(group);
}

bool group_erase(struct group *group, const struct change *key) {
    uint32_t hash = hash_of(group, key);
    struct change *found = find(group, key, hash);

    if (found == NULL) {
        add(group, key, hash, true);
        return false;
    }
    if (found->erase)
        return false;
    if (found->fresh) {
        take_away(group, found);
        return true;
    }
    forget_texts(group, found);
    drop(found);
    found->erase = true;
    group->text_bytes += text_bytes(found);
    return false;
}

void group_absorb(struct group *group, struct group *newer) {
    for (struct change_block *block = newer->blocks; block != NULL; block = block->next)
        for (size_t i = 0; i < block->used; i++) {
            const struct change *change = &block->changes[i];
            if (!change->live)
                continue;
            if (change->erase)
                group_erase(group, change);
            else
                group_put(group, change);
        }
    group->failed = group->failed || newer->failed;
    group_reset(newer);
}
