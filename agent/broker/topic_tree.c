/*
 * agent/broker/topic_tree.c: see topic_tree.h. A node per level of a filter. Literal children stand in one hash table for the whole tree,
 * keyed by parent and text; `+` is a slot of its parent; `#` is no node at all: `a/#` stands at the node `a`, with a longer reach. A node
 * knows its parent, so that a match walks down and up again without a stack or memory of its own, and no depth can overflow anything.
 *
 * A match is a walk through all paths from the root that spell the topic: each level by its literal child first, then by `+`. A path
 * ends at one node, a filter stands at one node with one reach, and no path is taken twice: so no subscription is met twice.
 */
#include "agent/broker/topic_tree.h"

#include <stdlib.h>

#include "agent/base/hash_index.h"
#include "agent/base/sip_hash.h"
#include "agent/base/topic_levels.h"
#include "agent/broker/subscriber_set.h"

/* Which topics a subscription at a node is for. */
enum reach {
    HERE,  /* those that end at it: `a` at the node `a` */
    BELOW, /* those and all that go on: `a/#` at the node `a` */
};

struct node {
    struct node *parent;                /* NULL: a root */
    struct node *plus;                  /* the child for `+` */
    struct subscriber_set *subscribers[2]; /* by reach; without the shared subscriptions */
    struct topic_group *groups;         /* a ring, those that reach below first; NULL: none */
    uint32_t literals;                  /* how many literal children it has */
    uint32_t len;
    char text[]; /* of a literal one */
};

struct topic_group {
    struct topic_group *next, *previous; /* the node's ring */
    struct node *node;
    struct subscriber_set *members; /* in order of arrival; never NULL but inside of topic_tree_add */
    uint64_t state;
    enum reach reach;
    uint32_t share_len, topics_len;
    char text[]; /* share, then filter */
};

struct topic_tree {
    struct node *root, *dollar_root; /* the second for what begins with `$` */
    struct hash_index literals;      /* nodes */
    struct hash_index groups;
    struct sip_key key;
    size_t count, shared_count;
    size_t bytes; /* of all blocks but the two tables */
};

/* What a block takes of the heap: glibc's header and rounding; others are not far from it. */
static size_t block_bytes(size_t size) {
    size_t taken = (size + 8 + 15) & ~(size_t)15;

    if (size == 0)
        return 0;
    return taken < 32 ? 32 : taken;
}

static size_t node_size(size_t text_len) {
    return sizeof(struct node) + text_len;
}

static size_t group_size(size_t text_len) {
    return sizeof(struct topic_group) + text_len;
}

/* Nodes. */

static struct node *node_new(struct topic_tree *tree, struct node *parent, struct str text) {
    struct node *node = calloc(1, node_size(text.len));

    if (node == NULL)
        return NULL;
    node->parent = parent;
    node->len = (uint32_t)text.len;
    memcpy(node->text, text.data, text.len);
    tree->bytes += block_bytes(node_size(text.len));
    return node;
}

static void node_free(struct topic_tree *tree, struct node *node) {
    tree->bytes -= block_bytes(node_size(node->len));
    free(node);
}

/* The key is secret, so that nobody can choose levels that fall together; the parent makes another one of it for each node. */
static uint32_t literal_hash(const struct topic_tree *tree, const struct node *parent, struct str level) {
    struct sip_key key = { tree->key.k0 ^ (uint64_t)(uintptr_t)parent, tree->key.k1 };

    return (uint32_t)sip_hash(key, level);
}

static struct node *find_literal(const struct topic_tree *tree, const struct node *parent, struct str level) {
    struct hash_probe at;
    struct node *node;

    if (parent->literals == 0)
        return NULL;
    at = hash_index_probe(&tree->literals, literal_hash(tree, parent, level));
    while ((node = hash_index_next(&tree->literals, &at)) != NULL)
        if (node->parent == parent && str_eq(str_make(node->text, node->len), level))
            return node;
    return NULL;
}

static struct node *add_literal(struct topic_tree *tree, struct node *parent, struct str level) {
    struct node *node = node_new(tree, parent, level);

    if (node == NULL)
        return NULL;
    if (!hash_index_reserve(&tree->literals)) {
        node_free(tree, node);
        return NULL;
    }
    hash_index_put(&tree->literals, literal_hash(tree, parent, level), node);
    parent->literals++;
    return node;
}

static struct node *get_child(const struct topic_tree *tree, const struct node *parent, struct str level) {
    return topic_level_is(level, '+') ? parent->plus : find_literal(tree, parent, level);
}

static struct node *add_child(struct topic_tree *tree, struct node *parent, struct str level) {
    if (!topic_level_is(level, '+'))
        return add_literal(tree, parent, level);
    return parent->plus = node_new(tree, parent, STR_EMPTY);
}

/* Frees the node if it serves nobody, and then those above it that were there for its sake. */
static void prune(struct topic_tree *tree, struct node *node) {
    while (node->parent != NULL && node->plus == NULL && node->literals == 0 && node->subscribers[HERE] == NULL &&
           node->subscribers[BELOW] == NULL && node->groups == NULL) {
        struct node *parent = node->parent;
        if (parent->plus == node) {
            parent->plus = NULL;
        } else {
            hash_index_take(&tree->literals, literal_hash(tree, parent, str_make(node->text, node->len)), node);
            parent->literals--;
        }
        node_free(tree, node);
        node = parent;
    }
}

static struct node *root_of(const struct topic_tree *tree, struct str topics) {
    return topic_is_dollar(topics) ? tree->dollar_root : tree->root;
}

/* The node of a filter, or NULL; with `make` nodes are added as needed, and NULL means that memory has run out. */
static struct node *node_of(struct topic_tree *tree, struct str topics, bool make, enum reach *reach) {
    struct topic_levels levels = topic_levels_of(topics);
    struct node *node = root_of(tree, topics), *child;

    *reach = HERE;
    while (levels.more) {
        struct str level = topic_levels_next(&levels);
        if (!levels.more && topic_level_is(level, '#')) {
            *reach = BELOW;
            break;
        }
        child = get_child(tree, node, level);
        if (child == NULL && make) {
            child = add_child(tree, node, level);
            if (child == NULL)
                prune(tree, node);
        }
        if (child == NULL)
            return NULL;
        node = child;
    }
    return node;
}

/* Groups. */

static uint32_t group_hash(const struct topic_tree *tree, const struct node *node, enum reach reach, struct str share) {
    struct sip_key key = { tree->key.k0 ^ (uint64_t)(uintptr_t)node, tree->key.k1 ^ (uint64_t)reach };

    return (uint32_t)sip_hash(key, share);
}

static struct topic_group *find_group(const struct topic_tree *tree, const struct node *node, enum reach reach, struct str share) {
    struct hash_probe at = hash_index_probe(&tree->groups, group_hash(tree, node, reach, share));
    struct topic_group *group;

    while ((group = hash_index_next(&tree->groups, &at)) != NULL)
        if (group->node == node && group->reach == reach && str_eq(topic_group_share(group), share))
            return group;
    return NULL;
}

static void link_group(struct node *node, struct topic_group *group) {
    struct topic_group *first = node->groups;

    group->next = first != NULL ? first : group;
    group->previous = first != NULL ? first->previous : group;
    group->next->previous = group;
    group->previous->next = group;
    if (first == NULL || group->reach == BELOW)
        node->groups = group;
}

static void unlink_group(struct node *node, struct topic_group *group) {
    if (node->groups == group)
        node->groups = group->next != group ? group->next : NULL;
    group->next->previous = group->previous;
    group->previous->next = group->next;
}

static struct topic_group *add_group(struct topic_tree *tree, struct node *node, enum reach reach, struct str share,
                                     struct str topics) {
    struct topic_group *group = calloc(1, group_size(share.len + topics.len));

    if (group == NULL)
        return NULL;
    if (!hash_index_reserve(&tree->groups)) {
        free(group);
        return NULL;
    }
    group->node = node;
    group->reach = reach;
    group->share_len = (uint32_t)share.len;
    group->topics_len = (uint32_t)topics.len;
    memcpy(group->text, share.data, share.len);
    memcpy(group->text + share.len, topics.data, topics.len);
    hash_index_put(&tree->groups, group_hash(tree, node, reach, share), group);
    link_group(node, group);
    tree->bytes += block_bytes(group_size(share.len + topics.len));
    return group;
}

static void group_free(struct topic_tree *tree, struct topic_group *group) {
    hash_index_take(&tree->groups, group_hash(tree, group->node, group->reach, topic_group_share(group)), group);
    unlink_group(group->node, group);
    tree->bytes -= block_bytes(group_size((size_t)group->share_len + group->topics_len));
    free(group);
}

size_t topic_group_count(const struct topic_group *group) {
    return group->members->count;
}

void *topic_group_member(const struct topic_group *group, size_t index, const struct subscription_terms **terms) {
    const struct subscriber *member = &group->members->items[index];

    *terms = &member->terms;
    return member->who;
}

struct str topic_group_share(const struct topic_group *group) {
    return str_make(group->text, group->share_len);
}

struct str topic_group_topics(const struct topic_group *group) {
    return str_make(group->text + group->share_len, group->topics_len);
}

uint64_t *topic_group_state(struct topic_group *group) {
    return &group->state;
}

/* Subscriptions. */

static enum topic_tree_result put(struct topic_tree *tree, struct subscriber_set **set, void *subscriber,
                                  const struct subscription_terms *terms) {
    size_t before = block_bytes(subscriber_set_bytes(*set));
    enum topic_tree_result result = subscriber_set_put(set, subscriber, terms);

    tree->bytes += block_bytes(subscriber_set_bytes(*set)) - before;
    tree->count += result == TOPIC_TREE_ADDED;
    return result;
}

static bool take(struct topic_tree *tree, struct subscriber_set **set, const void *subscriber, bool keep_order) {
    size_t before = block_bytes(subscriber_set_bytes(*set));
    bool taken = subscriber_set_remove(set, subscriber, keep_order);

    tree->bytes -= before - block_bytes(subscriber_set_bytes(*set));
    tree->count -= taken;
    return taken;
}

static enum topic_tree_result put_shared(struct topic_tree *tree, struct node *node, enum reach reach, struct str share,
                                         struct str topics, void *subscriber, const struct subscription_terms *terms) {
    struct topic_group *group = find_group(tree, node, reach, share);
    enum topic_tree_result result;

    if (group == NULL)
        group = add_group(tree, node, reach, share, topics);
    if (group == NULL)
        return TOPIC_TREE_NO_MEMORY;
    result = put(tree, &group->members, subscriber, terms);
    tree->shared_count += result == TOPIC_TREE_ADDED;
    if (group->members == NULL)
        group_free(tree, group);
    return result;
}

enum topic_tree_result topic_tree_add(struct topic_tree *tree, struct str topics, struct str share, void *subscriber,
                                      const struct subscription_terms *terms) {
    enum reach reach;
    struct node *node = node_of(tree, topics, true, &reach);
    enum topic_tree_result result;

    if (node == NULL)
        return TOPIC_TREE_NO_MEMORY;
    if (share.len > 0)
        result = put_shared(tree, node, reach, share, topics, subscriber, terms);
    else
        result = put(tree, &node->subscribers[reach], subscriber, terms);
    if (result == TOPIC_TREE_NO_MEMORY)
        prune(tree, node);
    return result;
}

static bool take_shared(struct topic_tree *tree, struct node *node, enum reach reach, struct str share, const void *subscriber) {
    struct topic_group *group = find_group(tree, node, reach, share);

    if (group == NULL || !take(tree, &group->members, subscriber, true))
        return false;
    tree->shared_count--;
    if (group->members == NULL)
        group_free(tree, group);
    return true;
}

bool topic_tree_remove(struct topic_tree *tree, struct str topics, struct str share, void *subscriber) {
    enum reach reach;
    struct node *node = node_of(tree, topics, false, &reach);
    bool taken;

    if (node == NULL)
        return false;
    if (share.len > 0)
        taken = take_shared(tree, node, reach, share, subscriber);
    else
        taken = take(tree, &node->subscribers[reach], subscriber, false);
    prune(tree, node);
    return taken;
}

/* Matching. */

static void meet_set(const struct subscriber_set *set, const struct topic_match *match) {
    for (uint32_t i = 0; set != NULL && i < set->count; i++)
        match->matched(match->ctx, set->items[i].who, &set->items[i].terms);
}

static void meet(const struct node *node, bool at_end, const struct topic_match *match) {
    struct topic_group *group = node->groups;

    meet_set(node->subscribers[BELOW], match);
    if (at_end)
        meet_set(node->subscribers[HERE], match);
    if (group == NULL)
        return;
    do {
        if (group->reach == HERE && !at_end)
            return; /* the others do so, too */
        match->shared(match->ctx, group);
        group = group->next;
    } while (group != node->groups);
}

/* Where a match stands: the path from the root to `node` has taken the topic up to `next`, where the next level begins. */
struct stand {
    const struct topic_tree *tree;
    struct str topic;
    const struct node *node;
    size_t next; /* the topic's length + 1: there are no more levels */
};

static struct str next_level(const struct stand *stand) {
    const char *begin = stand->topic.data + stand->next;
    size_t left = stand->topic.len - stand->next;
    const char *slash = left > 0 ? memchr(begin, '/', left) : NULL;

    return str_make(begin, slash != NULL ? (size_t)(slash - begin) : left);
}

static bool go_down(struct stand *stand) {
    const struct node *child;
    struct str level;

    if (stand->next > stand->topic.len)
        return false;
    level = next_level(stand);
    child = find_literal(stand->tree, stand->node, level);
    if (child == NULL)
        child = stand->node->plus;
    if (child == NULL)
        return false;
    stand->node = child;
    stand->next += level.len + 1;
    return true;
}

/* Back to the parent, whose next level is the one that this node took. */
static void go_up(struct stand *stand) {
    size_t begin = stand->next - 1; /* behind the level */

    if (stand->node != stand->node->parent->plus)
        begin -= stand->node->len;
    else
        while (begin > 0 && stand->topic.data[begin - 1] != '/')
            begin--;
    stand->node = stand->node->parent;
    stand->next = begin;
}

/* To the next path: up, until there is a `+` beside the literal that was taken. False: there are no more. */
static bool go_on(struct stand *stand) {
    while (stand->node->parent != NULL) {
        const struct node *plus = stand->node->parent->plus;
        if (plus != NULL && plus != stand->node) {
            stand->node = plus;
            return true;
        }
        go_up(stand);
    }
    return false;
}

void topic_tree_match(const struct topic_tree *tree, struct str topic, const struct topic_match *match) {
    struct stand stand = { .tree = tree, .topic = topic, .node = root_of(tree, topic) };

    if (topic.len == 0)
        return;
    do
        meet(stand.node, stand.next > topic.len, match);
    while (go_down(&stand) || go_on(&stand));
}

/* The whole. */

struct topic_tree *topic_tree_new(void) {
    struct topic_tree *tree = calloc(1, sizeof *tree);

    if (tree == NULL)
        return NULL;
    tree->key = sip_key_random();
    tree->bytes = block_bytes(sizeof *tree);
    tree->root = node_new(tree, NULL, STR_EMPTY);
    tree->dollar_root = node_new(tree, NULL, STR_EMPTY);
    if (tree->root != NULL && tree->dollar_root != NULL)
        return tree;
    topic_tree_free(tree);
    return NULL;
}

/* A node and the chain of `+` below it. */
static void free_chain(struct node *node) {
    while (node != NULL) {
        struct node *plus = node->plus;
        free(node->subscribers[HERE]);
        free(node->subscribers[BELOW]);
        free(node);
        node = plus;
    }
}

void topic_tree_free(struct topic_tree *tree) {
    if (tree == NULL)
        return;
    for (size_t place = 0; place < tree->groups.places; place++) {
        struct topic_group *group = hash_index_at(&tree->groups, place);
        if (group != NULL)
            free(group->members);
        free(group);
    }
    for (size_t place = 0; place < tree->literals.places; place++)
        free_chain(hash_index_at(&tree->literals, place));
    free_chain(tree->root);
    free_chain(tree->dollar_root);
    hash_index_release(&tree->groups);
    hash_index_release(&tree->literals);
    free(tree);
}

size_t topic_tree_count(const struct topic_tree *tree) {
    return tree->count;
}

size_t topic_tree_shared_count(const struct topic_tree *tree) {
    return tree->shared_count;
}

size_t topic_tree_bytes(const struct topic_tree *tree) {
    return tree->bytes + block_bytes(hash_index_bytes(&tree->literals)) + block_bytes(hash_index_bytes(&tree->groups));
}
