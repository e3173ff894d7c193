/*
 * tests/support/topic_tree_model.h: operations on a topic tree, made from bytes, beside a plain list of subscriptions that is searched with
 * topic_filter_match. The bytes are random in the unit test and the fuzzer's in the fuzz target. Differences are told on stderr and abort.
 */
#ifndef HELIOGRAF_TESTS_TOPIC_TREE_MODEL_H
#define HELIOGRAF_TESTS_TOPIC_TREE_MODEL_H

#include <stdio.h>
#include <stdlib.h>

#include "agent/base/topic_filter.h"
#include "agent/broker/topic_tree.h"
#include "tests/support/topic_words.h"

enum { MODEL_SUBSCRIPTIONS = 512, MODEL_SUBSCRIBERS = 24, MODEL_GROUPS = 256, MODEL_SHARES = 4 };

static const char *const model_shares[MODEL_SHARES] = { "", "g", "h", "a long name of a group" };

struct model_subscription {
    struct word filter;
    unsigned share, subscriber; /* share 0: none */
    struct subscription_terms terms;
    bool met;
};

struct model_group {
    struct word filter;
    unsigned share;
    uint64_t state;
    size_t members;
    bool met;
};

struct tree_model {
    struct topic_tree *tree;
    struct model_subscription subscriptions[MODEL_SUBSCRIPTIONS]; /* in order of arrival */
    size_t count;
    struct model_group groups[MODEL_GROUPS];
    size_t group_count;
    struct word topic; /* that is being matched */
    uint64_t operations, matches, met, states;
    size_t empty_bytes;
    char subscribers[MODEL_SUBSCRIBERS]; /* their addresses are what counts */
};

static void tree_model_fail(const struct tree_model *model, const char *what, struct str filter, unsigned share) {
    fprintf(stderr, "operation %llu: %s: filter '%.*s', share '%s', topic '%.*s'\n", (unsigned long long)model->operations, what,
            STR_ARGS(filter), model_shares[share], STR_ARGS(word_str(&model->topic)));
    abort();
}

static size_t tree_model_find(const struct tree_model *model, const struct word *filter, unsigned share, unsigned subscriber) {
    size_t i = 0;

    for (; i < model->count; i++) {
        const struct model_subscription *one = &model->subscriptions[i];
        if (one->share == share && one->subscriber == subscriber && word_eq(&one->filter, filter))
            break;
    }
    return i;
}

static size_t tree_model_group(const struct tree_model *model, const struct word *filter, unsigned share) {
    size_t i = 0;

    while (i < model->group_count && !(model->groups[i].share == share && word_eq(&model->groups[i].filter, filter)))
        i++;
    return i;
}

static void tree_model_add(struct tree_model *model, const struct word *filter, unsigned share, unsigned subscriber, uint32_t random) {
    size_t at = tree_model_find(model, filter, share, subscriber), group = tree_model_group(model, filter, share);
    enum topic_tree_result want = at < model->count ? TOPIC_TREE_REPLACED : TOPIC_TREE_ADDED;
    struct subscription_terms terms = {
        .qos = random % 3, .no_local = random & 4, .retain_as_published = random & 8, .retain_handling = random >> 4 & 1, .identifier = random,
    };

    if (at == MODEL_SUBSCRIPTIONS || group == MODEL_GROUPS)
        return;
    if (topic_tree_add(model->tree, word_str(filter), str_of(model_shares[share]), &model->subscribers[subscriber], &terms) != want)
        tree_model_fail(model, "add says something else", word_str(filter), share);
    model->subscriptions[at] = (struct model_subscription){ .filter = *filter, .share = share, .subscriber = subscriber, .terms = terms };
    model->count += want == TOPIC_TREE_ADDED;
    if (share == 0)
        return;
    if (group == model->group_count)
        model->groups[model->group_count++] = (struct model_group){ .filter = *filter, .share = share };
    model->groups[group].members += want == TOPIC_TREE_ADDED;
}

static void tree_model_remove(struct tree_model *model, const struct word *filter, unsigned share, unsigned subscriber) {
    size_t at = tree_model_find(model, filter, share, subscriber), group = tree_model_group(model, filter, share);
    bool want = at < model->count;

    if (topic_tree_remove(model->tree, word_str(filter), str_of(model_shares[share]), &model->subscribers[subscriber]) != want)
        tree_model_fail(model, "remove says something else", word_str(filter), share);
    if (!want)
        return;
    memmove(&model->subscriptions[at], &model->subscriptions[at + 1], (model->count - at - 1) * sizeof model->subscriptions[0]);
    model->count--;
    if (share > 0 && --model->groups[group].members == 0)
        model->groups[group] = model->groups[--model->group_count];
}

static void tree_model_matched(void *ctx, void *subscriber, const struct subscription_terms *terms) {
    struct tree_model *model = ctx;

    model->met++;
    for (size_t i = 0; i < model->count; i++) {
        struct model_subscription *one = &model->subscriptions[i];
        if (one->share == 0 && !one->met && &model->subscribers[one->subscriber] == subscriber &&
            memcmp(&one->terms, terms, sizeof *terms) == 0 && topic_filter_match(word_str(&one->filter), word_str(&model->topic))) {
            one->met = true;
            return;
        }
    }
    tree_model_fail(model, "met what it should not, or met it again", STR("?"), 0);
}

static void tree_model_members(struct tree_model *model, struct topic_group *group, const struct model_group *want) {
    size_t index = 0;

    if (topic_group_count(group) != want->members)
        tree_model_fail(model, "a group's count is wrong", word_str(&want->filter), want->share);
    for (size_t i = 0; i < model->count; i++) {
        const struct model_subscription *one = &model->subscriptions[i];
        const struct subscription_terms *terms;
        if (one->share != want->share || !word_eq(&one->filter, &want->filter))
            continue;
        if (topic_group_member(group, index++, &terms) != &model->subscribers[one->subscriber] ||
            memcmp(terms, &one->terms, sizeof *terms) != 0)
            tree_model_fail(model, "a group's member is wrong", word_str(&want->filter), want->share);
    }
}

static void tree_model_shared(void *ctx, struct topic_group *group) {
    struct tree_model *model = ctx;
    struct str topics = topic_group_topics(group);

    model->met++;
    for (size_t i = 0; i < model->group_count; i++) {
        struct model_group *want = &model->groups[i];
        if (!str_eq(word_str(&want->filter), topics) || !str_eq(topic_group_share(group), str_of(model_shares[want->share])))
            continue;
        if (want->met || !topic_filter_match(topics, word_str(&model->topic)))
            tree_model_fail(model, "met a group that it should not, or met it again", topics, want->share);
        if (*topic_group_state(group) != want->state)
            tree_model_fail(model, "a group's word is not what was written", topics, want->share);
        tree_model_members(model, group, want);
        *topic_group_state(group) = want->state = ++model->states;
        want->met = true;
        return;
    }
    tree_model_fail(model, "met a group that is not", topics, 0);
}

static void tree_model_match(struct tree_model *model, const struct word *topic) {
    const struct topic_match match = { model, tree_model_matched, tree_model_shared };

    model->topic = *topic;
    for (size_t i = 0; i < model->count; i++)
        model->subscriptions[i].met = false;
    for (size_t i = 0; i < model->group_count; i++)
        model->groups[i].met = false;
    topic_tree_match(model->tree, word_str(topic), &match);
    for (size_t i = 0; i < model->count; i++) {
        const struct model_subscription *one = &model->subscriptions[i];
        if (one->share == 0 && !one->met && topic_filter_match(word_str(&one->filter), word_str(topic)))
            tree_model_fail(model, "missed", word_str(&one->filter), 0);
    }
    for (size_t i = 0; i < model->group_count; i++)
        if (!model->groups[i].met && topic_filter_match(word_str(&model->groups[i].filter), word_str(topic)))
            tree_model_fail(model, "missed a group", word_str(&model->groups[i].filter), model->groups[i].share);
    model->matches++;
}

static void tree_model_counts(const struct tree_model *model) {
    size_t shared = 0;

    for (size_t i = 0; i < model->count; i++)
        shared += model->subscriptions[i].share > 0;
    if (topic_tree_count(model->tree) != model->count || topic_tree_shared_count(model->tree) != shared)
        tree_model_fail(model, "the counts are wrong", STR(""), 0);
    if (model->count == 0 && topic_tree_bytes(model->tree) != model->empty_bytes)
        tree_model_fail(model, "an empty tree keeps memory", STR(""), 0);
}

static void tree_model_clear(struct tree_model *model) {
    while (model->count > 0) {
        struct model_subscription one = model->subscriptions[model->count * 7 / 9];
        tree_model_remove(model, &one.filter, one.share, one.subscriber);
        tree_model_counts(model);
    }
}

/* One operation. Half of the removals and additions go to a subscription that is there, or to its filter with another share or subscriber. */
static void tree_model_step(struct tree_model *model, struct words *words) {
    unsigned what = words_next(words), share = words_next(words) % MODEL_SHARES, subscriber = words_next(words) % MODEL_SUBSCRIBERS;
    struct word word;

    model->operations++;
    if (what % 4 == 3) {
        words_topic(words, &word);
        tree_model_match(model, &word);
        return;
    }
    if (what == 0 && words_next(words) == 0) {
        tree_model_clear(model);
        return;
    }
    if (what & 4 && model->count > 0) {
        const struct model_subscription *one = &model->subscriptions[(what << 8 | words_next(words)) % model->count];
        word = one->filter;
        if (what & 8)
            share = one->share;
        if (what & 16)
            subscriber = one->subscriber;
    } else {
        words_filter(words, &word);
    }
    if (what % 4 == 0 || (what % 4 == 1 && model->count > MODEL_SUBSCRIPTIONS / 2))
        tree_model_remove(model, &word, share, subscriber);
    else
        tree_model_add(model, &word, share, subscriber, (uint32_t)words_next(words) << 8 | words_next(words));
    tree_model_counts(model);
}

/* Until the bytes are used up. */
static void tree_model_run(struct tree_model *model, struct words words) {
    memset(model, 0, sizeof *model);
    model->tree = topic_tree_new();
    if (model->tree == NULL)
        abort();
    model->empty_bytes = topic_tree_bytes(model->tree);
    while (words.at < words.end)
        tree_model_step(model, &words);
    if (model->operations % 2 == 0)
        tree_model_clear(model);
    topic_tree_free(model->tree);
}

#endif
