/*
 * tests/support/retained_model.h: operations on the retained messages, made from bytes, beside a plain list: setting, clearing, limits, expiry,
 * sweeps, and several walks that are under way all the time. A walk must meet what was there from its beginning to its end once, and nothing
 * twice. The bytes are random in the unit test and the fuzzer's in the fuzz target. Differences are told on stderr and abort.
 */
#ifndef HELIOGRAF_TESTS_RETAINED_MODEL_H
#define HELIOGRAF_TESTS_RETAINED_MODEL_H

#include <stdio.h>
#include <stdlib.h>

#include "agent/base/topic_filter.h"
#include "agent/broker/retained.h"
#include "tests/support/topic_words.h"

enum { MODEL_TOPICS = 400, MODEL_WALKS = 4, MODEL_MET = 4096 };

struct model_walk {
    struct retained_walk *walk; /* NULL: none */
    struct word filter;
    struct word kept[MODEL_TOPICS]; /* matching, and there since the beginning without having expired */
    size_t kept_count;
    struct word met[MODEL_MET];
    size_t met_count;
};

struct retained_model {
    struct retained *retained;
    struct retained_limits limits;
    struct publication *there[MODEL_TOPICS]; /* borrowed of `retained` */
    size_t count;
    int64_t now_ns;
    struct model_walk walks[MODEL_WALKS];
    uint64_t operations, walks_begun, walks_ended, met, swept, changed_under_walk;
};

static void retained_model_fail(const struct retained_model *model, const char *what, struct str topic, struct str filter) {
    fprintf(stderr, "operation %llu: %s: topic '%.*s', filter '%.*s'\n", (unsigned long long)model->operations, what, STR_ARGS(topic),
            STR_ARGS(filter));
    abort();
}

static size_t retained_model_find(const struct retained_model *model, struct str topic) {
    size_t i = 0;

    while (i < model->count && !str_eq(model->there[i]->topic, topic))
        i++;
    return i;
}

static uint64_t retained_model_bytes(const struct retained_model *model) {
    uint64_t bytes = 0;

    for (size_t i = 0; i < model->count; i++)
        bytes += publication_size(model->there[i]);
    return bytes;
}

/* A topic that a walk need not meet any more. */
static void retained_model_drop(struct retained_model *model, struct str topic) {
    for (struct model_walk *walk = model->walks; walk < model->walks + MODEL_WALKS; walk++)
        for (size_t i = 0; i < walk->kept_count; i++)
            if (str_eq(word_str(&walk->kept[i]), topic)) {
                walk->kept[i] = walk->kept[--walk->kept_count];
                model->changed_under_walk++;
            }
}

static void retained_model_gone(struct retained_model *model, size_t at) {
    model->there[at] = model->there[--model->count];
}

static enum retained_result retained_model_expect(const struct retained_model *model, const struct publication *publication, size_t at) {
    uint64_t size = publication_size(publication), bytes = retained_model_bytes(model);
    bool is_new = at == model->count;

    if (publication->payload.len == 0)
        return is_new ? RETAINED_NOTHING : RETAINED_CLEARED;
    if (is_new && model->limits.count > 0 && model->count >= model->limits.count)
        return RETAINED_FULL;
    if (!is_new) {
        bytes -= publication_size(model->there[at]);
        if (size <= publication_size(model->there[at]))
            return RETAINED_REPLACED;
    }
    if (model->limits.bytes > 0 && bytes + size > model->limits.bytes)
        return RETAINED_FULL;
    return is_new ? RETAINED_SET : RETAINED_REPLACED;
}

static void retained_model_set(struct retained_model *model, struct words *words) {
    static const char payload[64] = "0123456789";
    unsigned what = words_next(words);
    struct word topic;
    struct publication_parts parts = { .payload = str_make(payload, what % 8 == 0 ? 0 : what % 64), .retain = true };
    struct publication *publication;
    enum retained_result want;
    size_t at;

    words_topic(words, &topic);
    parts.topic = word_str(&topic);
    if (what & 64)
        parts.expires_ns = model->now_ns + words_next(words) % 16;
    publication = publication_new(&parts);
    if (publication == NULL)
        abort();
    at = retained_model_find(model, parts.topic);
    want = retained_model_expect(model, publication, at);
    if (at < MODEL_TOPICS && retained_set(model->retained, publication) != want)
        retained_model_fail(model, "set says something else", parts.topic, STR_EMPTY);
    if (want == RETAINED_CLEARED || (want == RETAINED_REPLACED && publication_is_expired(publication, model->now_ns)))
        retained_model_drop(model, parts.topic);
    if (want == RETAINED_CLEARED)
        retained_model_gone(model, at);
    if (at < MODEL_TOPICS && (want == RETAINED_SET || want == RETAINED_REPLACED)) {
        model->there[at] = publication;
        model->count += want == RETAINED_SET;
    }
    publication_unref(publication);
}

static void retained_model_remove(struct retained_model *model, struct words *words) {
    struct word topic;
    size_t at;

    if (model->count > 0 && words_next(words) % 2 == 0) {
        struct str of = model->there[(words_next(words) << 8 | words_next(words)) % model->count]->topic;
        topic.len = 0;
        word_add(&topic, of.data, of.len);
    } else {
        words_topic(words, &topic);
    }
    at = retained_model_find(model, word_str(&topic));
    if (retained_get(model->retained, word_str(&topic)) != (at < model->count ? model->there[at] : NULL))
        retained_model_fail(model, "get finds something else", word_str(&topic), STR_EMPTY);
    if (retained_remove(model->retained, word_str(&topic)) != (at < model->count))
        retained_model_fail(model, "remove says something else", word_str(&topic), STR_EMPTY);
    if (at == model->count)
        return;
    retained_model_drop(model, word_str(&topic));
    retained_model_gone(model, at);
}

static void retained_model_end_walk(struct model_walk *walk) {
    retained_walk_free(walk->walk);
    walk->walk = NULL;
    walk->kept_count = walk->met_count = 0;
}

static void retained_model_begin_walk(struct retained_model *model, struct model_walk *walk, struct words *words) {
    retained_model_end_walk(walk);
    words_filter(words, &walk->filter);
    walk->walk = retained_walk_new(model->retained, word_str(&walk->filter));
    if (walk->walk == NULL)
        abort();
    for (size_t i = 0; i < model->count; i++) {
        struct str topic = model->there[i]->topic;
        if (publication_is_expired(model->there[i], model->now_ns) || !topic_filter_match(word_str(&walk->filter), topic))
            continue;
        walk->kept[walk->kept_count].len = 0;
        word_add(&walk->kept[walk->kept_count++], topic.data, topic.len);
    }
    model->walks_begun++;
}

static void retained_model_met(struct retained_model *model, struct model_walk *walk, const struct publication *found) {
    struct str filter = word_str(&walk->filter);
    size_t at = retained_model_find(model, found->topic);

    if (at == model->count || model->there[at] != found)
        retained_model_fail(model, "a walk met what is not there", found->topic, filter);
    if (!topic_filter_match(filter, found->topic))
        retained_model_fail(model, "a walk met what does not match", found->topic, filter);
    if (publication_is_expired(found, model->now_ns))
        retained_model_fail(model, "a walk met what has expired", found->topic, filter);
    for (size_t i = 0; i < walk->met_count; i++)
        if (str_eq(word_str(&walk->met[i]), found->topic))
            retained_model_fail(model, "a walk met a topic twice", found->topic, filter);
    if (walk->met_count == MODEL_MET)
        abort();
    walk->met[walk->met_count].len = 0;
    word_add(&walk->met[walk->met_count++], found->topic.data, found->topic.len);
    model->met++;
}

static void retained_model_check_end(struct retained_model *model, struct model_walk *walk) {
    for (size_t k = 0; k < walk->kept_count; k++) {
        size_t i = 0;
        while (i < walk->met_count && !word_eq(&walk->met[i], &walk->kept[k]))
            i++;
        if (i == walk->met_count)
            retained_model_fail(model, "a walk missed a topic", word_str(&walk->kept[k]), word_str(&walk->filter));
    }
    model->walks_ended++;
    retained_model_end_walk(walk);
}

static void retained_model_walk(struct retained_model *model, struct model_walk *walk, size_t steps) {
    struct publication *found = NULL;

    for (size_t left = steps, calls = 0; calls < steps + 1; calls++) {
        size_t before = left;
        switch (retained_walk_next(walk->walk, model->now_ns, &left, &found)) {
        case RETAINED_FOUND:
            if (left >= before)
                retained_model_fail(model, "a walk counts no steps", found->topic, word_str(&walk->filter));
            retained_model_met(model, walk, found);
            break;
        case RETAINED_LATER:
            if (left != 0)
                retained_model_fail(model, "a walk leaves steps", STR_EMPTY, word_str(&walk->filter));
            return;
        case RETAINED_END:
            retained_model_check_end(model, walk);
            return;
        }
    }
    retained_model_fail(model, "a walk takes more steps than it was given", STR_EMPTY, word_str(&walk->filter));
}

static void retained_model_swept(void *ctx, const struct publication *publication) {
    struct retained_model *model = ctx;
    size_t at = retained_model_find(model, publication->topic);

    if (at == model->count || model->there[at] != publication || !publication_is_expired(publication, model->now_ns))
        retained_model_fail(model, "a sweep removes what it should not", publication->topic, STR_EMPTY);
    retained_model_drop(model, publication->topic);
    retained_model_gone(model, at);
    model->swept++;
}

/* Two whole sweeps (one may begin in the middle) leave nothing that has expired. */
static void retained_model_sweep_all(struct retained_model *model) {
    for (int i = 0; i < 2; i++)
        retained_sweep(model->retained, model->now_ns, 16 * MODEL_TOPICS, retained_model_swept, model);
    for (size_t i = 0; i < model->count; i++)
        if (publication_is_expired(model->there[i], model->now_ns))
            retained_model_fail(model, "a sweep leaves what has expired", model->there[i]->topic, STR_EMPTY);
}

static void retained_model_time(struct retained_model *model, unsigned ns) {
    model->now_ns += ns;
    for (size_t i = 0; i < model->count; i++)
        if (publication_is_expired(model->there[i], model->now_ns))
            retained_model_drop(model, model->there[i]->topic);
}

static void retained_model_limit(struct retained_model *model, struct words *words) {
    unsigned what = words_next(words);

    model->limits.count = what % 4 == 0 ? words_next(words) * 2u : 0;
    model->limits.bytes = what % 8 == 1 ? words_next(words) * 200u : 0;
    retained_set_limits(model->retained, &model->limits);
}

static void retained_model_step(struct retained_model *model, struct words *words) {
    unsigned what = words_next(words);
    struct model_walk *walk = &model->walks[what % MODEL_WALKS];

    model->operations++;
    switch (what / 4 % 16) {
    case 0:
    case 1:
        retained_model_remove(model, words);
        break;
    case 2:
        if (walk->walk == NULL || words_next(words) % 8 == 0) /* seldom leaves one unfinished */
            retained_model_begin_walk(model, walk, words);
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        if (walk->walk != NULL)
            retained_model_walk(model, walk, words_next(words) % 32);
        break;
    case 7:
        retained_sweep(model->retained, model->now_ns, words_next(words) % 8, retained_model_swept, model);
        break;
    case 8:
        if (what == 32)
            retained_model_sweep_all(model);
        else if (what == 96)
            retained_model_limit(model, words);
        else
            retained_model_time(model, words_next(words) % 2);
        break;
    default:
        retained_model_set(model, words);
    }
    if (retained_count(model->retained) != model->count || retained_bytes(model->retained) != retained_model_bytes(model))
        retained_model_fail(model, "count or bytes are wrong", STR_EMPTY, STR_EMPTY);
}

/* Until the bytes are used up. */
static void retained_model_run(struct retained_model *model, struct words words) {
    memset(model, 0, sizeof *model);
    model->now_ns = 1000;
    model->retained = retained_new(&model->limits);
    if (model->retained == NULL)
        abort();
    while (words.at < words.end)
        retained_model_step(model, &words);
    for (struct model_walk *walk = model->walks; walk < model->walks + MODEL_WALKS; walk++) {
        if (walk->walk != NULL)
            retained_model_walk(model, walk, 8 * MODEL_TOPICS);
        retained_model_end_walk(walk);
    }
    retained_model_sweep_all(model);
    retained_free(model->retained);
}

#endif
