/*
 * tests/support/topic_words.h: topics and filters made from bytes, out of few levels, so that they meet: empty ones, ones that are the
 * beginning of others, `$`, the bytes beside `/`, and wildcards for filters. Now and then one byte of any kind, and great depth.
 */
#ifndef HELIOGRAF_TESTS_TOPIC_WORDS_H
#define HELIOGRAF_TESTS_TOPIC_WORDS_H

#include "agent/base/str.h"

enum { WORD_MAX = 120 };

struct word {
    uint8_t len;
    char text[WORD_MAX];
};

/* Where the bytes come from; zeros when they are used up. */
struct words {
    const uint8_t *at, *end;
};

static inline uint8_t words_next(struct words *words) {
    return words->at < words->end ? *words->at++ : 0;
}

static inline struct str word_str(const struct word *word) {
    return str_make(word->text, word->len);
}

static inline bool word_eq(const struct word *a, const struct word *b) {
    return str_eq(word_str(a), word_str(b));
}

static inline void word_add(struct word *word, const char *text, size_t len) {
    if (word->len + len > WORD_MAX)
        return;
    memcpy(word->text + word->len, text, len);
    word->len = (uint8_t)(word->len + len);
}

static inline void words_level(struct words *words, struct word *word) {
    static const char *const levels[] = { "a", "b", "", "ab", "a.", "a0", "$", "$x", "aa", "temp", "line-17", "a level of some length" };
    unsigned choice = words_next(words);
    char any;

    if (choice < 250) {
        const char *level = levels[choice % 25 < 18 ? choice % 3 : choice % 12];
        word_add(word, level, strlen(level));
        return;
    }
    any = (char)words_next(words);
    if (any != '\0' && any != '/' && any != '+' && any != '#')
        word_add(word, &any, 1);
}

static inline unsigned words_depth(struct words *words) {
    unsigned choice = words_next(words);

    return choice < 250 ? choice % 4 + 1 : choice % 50 + 1;
}

/* Never empty. */
static inline void words_topic(struct words *words, struct word *topic) {
    unsigned depth = words_depth(words);

    topic->len = 0;
    words_level(words, topic);
    while (--depth > 0 && topic->len + 1 < WORD_MAX) {
        word_add(topic, "/", 1);
        words_level(words, topic);
    }
    if (topic->len == 0)
        word_add(topic, "a", 1);
}

/* Valid, without `$share/`. */
static inline void words_filter(struct words *words, struct word *filter) {
    unsigned depth = words_depth(words), kind = words_next(words);

    filter->len = 0;
    for (unsigned i = 0; i < depth && filter->len + 2 < WORD_MAX; i++) {
        if (i > 0)
            word_add(filter, "/", 1);
        if (kind & 1 && words_next(words) % 3 == 0)
            word_add(filter, "+", 1);
        else
            words_level(words, filter);
    }
    if (kind % 3 == 0 && filter->len + 2 <= WORD_MAX)
        word_add(filter, "/#", 2);
    if (kind == 7 || filter->len == 0) {
        filter->len = 0;
        word_add(filter, "#", 1);
    }
}

#endif
