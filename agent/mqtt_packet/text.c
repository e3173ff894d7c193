/*
 * agent/mqtt_packet/text.c: eight bytes at a time while they are printable ASCII, which topics nearly always are, and one
 * code point at a time otherwise.
 *
 * In a word whose bytes are all below 0x80 nothing carries from byte to byte, so that x + 0x60 has its high bit set where
 * x >= 0x20, x + 0x01 where x is 0x7F, and x + 0x7F where x is not 0.
 */
#include "agent/mqtt_packet/text.h"

#include "agent/base/topic_filter.h"

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static bool is_printable_ascii(uint64_t word) {
    return ((word | (word + EACH(0x01)) | ~(word + EACH(0x60))) & EACH(0x80)) == 0;
}

/* The high bit of every byte of a printable word that is `byte`. */
static uint64_t bytes_that_are(uint64_t word, uint8_t byte) {
    return ~((word ^ EACH(byte)) + EACH(0x7F)) & EACH(0x80);
}

/* `#` is 0x23 and `+` is 0x2B: without the bit that parts them they are one. */
static uint64_t bytes_that_are_wildcards(uint64_t word) {
    return bytes_that_are(word & EACH(0xF7), '#');
}

static uint64_t word_at(const char *bytes) {
    uint64_t word;

    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Less than eight bytes, behind blanks, which are printable and nothing else. */
static uint64_t short_word(struct str bytes) {
    uint64_t word = EACH(' ');

    for (size_t i = 0; i < bytes.len; i++)
        word = word << 8 | (uint8_t)bytes.data[i];
    return word;
}

/* The bytes at the start that are printable ASCII, as far as whole words go; a short last word counts as one. */
static size_t note_words(struct mqtt_text *seen, struct str text) {
    uint64_t wildcards = 0, slashes = 0;
    size_t at = 0, step;

    for (; at < text.len; at += step) {
        step = text.len - at < 8 ? text.len - at : 8;
        uint64_t word = step == 8 ? word_at(text.data + at) : short_word(str_make(text.data + at, step));
        if (!is_printable_ascii(word))
            break;
        wildcards |= bytes_that_are_wildcards(word);
        slashes += (bytes_that_are(word, '/') >> 7) * EACH(1) >> 56; /* the highest byte of the product is the sum of all */
    }
    seen->wildcards |= wildcards != 0;
    seen->slashes += (uint32_t)slashes;
    return at;
}

static bool is_disallowed(uint32_t code) {
    return code < 0x20 || (code >= 0x7F && code <= 0x9F) || (code >= 0xFDD0 && code <= 0xFDEF) ||
           (code & 0xFFFE) == 0xFFFE;
}

/* One code point; its length, or 0 with the rule that it breaks. */
static size_t note_code_point(struct mqtt_text *seen, struct str rest) {
    uint32_t code = 0;
    size_t len = str_utf8_first(rest, &code);

    if (len == 0)
        seen->rule = MQTT_RULE_TEXT_NOT_UTF8;
    else if (code == 0)
        seen->rule = MQTT_RULE_TEXT_NUL;
    else if (is_disallowed(code))
        seen->rule = MQTT_RULE_TEXT_CONTROL;
    seen->wildcards |= code == '#' || code == '+';
    seen->slashes += code == '/';
    return seen->rule == MQTT_FINE ? len : 0;
}

struct mqtt_text mqtt_text(struct str text) {
    struct mqtt_text seen = { .rule = MQTT_FINE };

    while (text.len > 0) {
        size_t len = note_words(&seen, text);
        if (len == 0 && (len = note_code_point(&seen, text)) == 0)
            break;
        text = str_make(text.data + len, text.len - len);
    }
    return seen;
}

static bool too_deep(uint32_t slashes, unsigned max_levels) {
    return max_levels > 0 && slashes >= max_levels;
}

enum mqtt_rule mqtt_topic_rule(struct str topic, unsigned max_levels) {
    struct mqtt_text text = mqtt_text(topic);

    if (text.rule != MQTT_FINE)
        return text.rule;
    if (topic.len == 0)
        return MQTT_RULE_TOPIC_EMPTY;
    if (text.wildcards)
        return MQTT_RULE_TOPIC_WILDCARD;
    return too_deep(text.slashes, max_levels) ? MQTT_RULE_TOPIC_LEVELS : MQTT_FINE;
}

enum mqtt_rule mqtt_filter_rule(struct str filter, unsigned max_levels) {
    static const enum mqtt_rule rules[] = {
        [TOPIC_FILTER_FINE] = MQTT_FINE,
        [TOPIC_FILTER_EMPTY] = MQTT_RULE_FILTER_EMPTY,
        [TOPIC_FILTER_BAD_HASH] = MQTT_RULE_FILTER_HASH,
        [TOPIC_FILTER_BAD_PLUS] = MQTT_RULE_FILTER_PLUS,
        [TOPIC_FILTER_NO_GROUP] = MQTT_RULE_SHARE_NAME,
        [TOPIC_FILTER_NO_SHARED_FILTER] = MQTT_RULE_SHARE_FILTER,
    };
    struct mqtt_text text = mqtt_text(filter);
    uint32_t share_slashes = topic_filter_group(filter).data != NULL ? 2 : 0;
    enum topic_filter_fault fault;

    if (text.rule != MQTT_FINE)
        return text.rule;
    fault = topic_filter_fault(filter);
    if (fault != TOPIC_FILTER_FINE)
        return rules[fault];
    return too_deep(text.slashes - share_slashes, max_levels) ? MQTT_RULE_FILTER_LEVELS : MQTT_FINE;
}
