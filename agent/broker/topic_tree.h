/*
 * agent/broker/topic_tree.h: topic filters and who subscribed to them: from a topic name to its subscriptions in time that
 * depends on the topic's levels and on the filters that agree with them, not on the number of all. Literal levels are found by
 * hash (with a secret key: strangers choose them), `+` and `#` have slots of their own, and topics that begin with `$` have a
 * root of their own, so that wildcards in the first level never reach them (MQTT 4.7.2). No recursion, whatever the depth. Not
 * thread-safe.
 *
 * A subscription belongs to a subscriber (an opaque pointer: a session, or an input of this process) and, when it is shared, to a
 * group of that name and filter. The tree does not look into subscribers.
 */
#ifndef HELIOGRAF_BROKER_TOPIC_TREE_H
#define HELIOGRAF_BROKER_TOPIC_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/str.h"

struct topic_tree;
struct topic_group; /* of a shared subscription */

/* What a subscription says; copied. */
struct subscription_terms {
    uint8_t qos;
    bool no_local, retain_as_published;
    uint8_t retain_handling;
    uint32_t identifier; /* MQTT 5; 0: none */
};

struct topic_tree *topic_tree_new(void); /* NULL without memory */
void topic_tree_free(struct topic_tree *tree); /* NULL is fine; subscribers are not touched */

enum topic_tree_result { TOPIC_TREE_ADDED, TOPIC_TREE_REPLACED, TOPIC_TREE_NO_MEMORY };
/*
 * `topics`: a valid filter without its `$share/name/`; `share`: the name, or empty; both are copied. One subscriber has one subscription to a
 * filter, and one in each group of that filter: another one replaces the terms (MQTT 3.8.4-3), and a group's member keeps its place.
 * TOPIC_TREE_NO_MEMORY: nothing has changed. A removal never needs memory; from a group it takes time in proportion to its members. A plain
 * subscription with one level of its own takes some 130 bytes, each more level of its own some 90, a further subscriber of the filter some 30.
 */
enum topic_tree_result topic_tree_add(struct topic_tree *tree, struct str topics, struct str share, void *subscriber,
                                      const struct subscription_terms *terms);
/* False: there was none. Nodes that serve nobody any more are freed, a group goes with its last member. */
bool topic_tree_remove(struct topic_tree *tree, struct str topics, struct str share, void *subscriber);

/*
 * Calls back for every subscription that the topic (without wildcards) matches, in no particular order: `matched` for one of a
 * subscriber's own, once per filter of its that matches; `shared` once per group, which has at least one member. Neither may be NULL. The tree must
 * not be changed meanwhile; to match another topic from within is fine. Allocates nothing. An empty topic matches nothing.
 */
struct topic_match {
    void *ctx;
    void (*matched)(void *ctx, void *subscriber, const struct subscription_terms *terms);
    void (*shared)(void *ctx, struct topic_group *group);
};
void topic_tree_match(const struct topic_tree *tree, struct str topic, const struct topic_match *match);

/* A group's members, in the order in which they came; `index` < topic_group_count. Terms and texts are borrowed until the next change. */
size_t topic_group_count(const struct topic_group *group);
void *topic_group_member(const struct topic_group *group, size_t index, const struct subscription_terms **terms);
struct str topic_group_share(const struct topic_group *group);  /* its name */
struct str topic_group_topics(const struct topic_group *group); /* its filter */
/* A word of the caller's that lives as long as the group does (where round_robin stands, who is sticky); 0 at first. */
uint64_t *topic_group_state(struct topic_group *group);

/* Figures. */
size_t topic_tree_count(const struct topic_tree *tree);        /* subscriptions, shared ones included */
size_t topic_tree_shared_count(const struct topic_tree *tree); /* of them */
size_t topic_tree_bytes(const struct topic_tree *tree);        /* of memory, with what an allocator adds */

#endif
