/* tests/unit/test_mqtt_packet_text.c: strings, topic names and filters, by statement. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/mqtt_packet/text.h"
#include "tests/support/mqtt_bytes.h"
#include "tests/support/parser_rows.h"

enum ask { TEXT, TOPIC, FILTER };

static struct text_row {
    const char *name;
    enum ask ask;
    const char *bytes;
    enum mqtt_rule want;
} texts[] = {
    { "an empty string is one", TEXT, "", MQTT_FINE },
    { "[MQTT-1.5.4-1] two, three and four bytes", TEXT, "C3A4 E282AC F0AA9B94", MQTT_FINE },
    { "[MQTT-1.5.4-1] the last code points before the surrogates and at the end", TEXT, "ED9FBF F48FBFBD", MQTT_FINE },
    { "[MQTT-1.5.4-1] a surrogate", TEXT, "EDA080", MQTT_RULE_TEXT_NOT_UTF8 },
    { "[MQTT-1.5.4-1] the last surrogate", TEXT, "'topic' EDBFBF", MQTT_RULE_TEXT_NOT_UTF8 },
    { "[MQTT-1.5.4-1] a pair of surrogates", TEXT, "EDA080 EDB080", MQTT_RULE_TEXT_NOT_UTF8 },
    { "[MQTT-1.5.4-1] an overlong slash", TEXT, "C0AF", MQTT_RULE_TEXT_NOT_UTF8 },
    { "[MQTT-1.5.4-1] an overlong NUL", TEXT, "C080", MQTT_RULE_TEXT_NOT_UTF8 },
    { "[MQTT-1.5.4-1] three bytes for two", TEXT, "E08080", MQTT_RULE_TEXT_NOT_UTF8 },
    { "[MQTT-1.5.4-1] four bytes for three", TEXT, "F0808080", MQTT_RULE_TEXT_NOT_UTF8 },
    { "[MQTT-1.5.4-1] past U+10FFFF", TEXT, "F4908080", MQTT_RULE_TEXT_NOT_UTF8 },
    { "[MQTT-1.5.4-1] five bytes", TEXT, "F888808080", MQTT_RULE_TEXT_NOT_UTF8 },
    { "[MQTT-1.5.4-1] a continuation alone", TEXT, "'12345678' 80", MQTT_RULE_TEXT_NOT_UTF8 },
    { "[MQTT-1.5.4-1] a sequence cut short", TEXT, "'1234567' E282", MQTT_RULE_TEXT_NOT_UTF8 },
    { "[MQTT-1.5.4-1] a sequence broken by a letter", TEXT, "C3 'a'", MQTT_RULE_TEXT_NOT_UTF8 },
    { "[MQTT-1.5.4-2] U+0000 alone", TEXT, "00", MQTT_RULE_TEXT_NUL },
    { "[MQTT-1.5.4-2] U+0000 behind eight letters", TEXT, "'12345678' 00", MQTT_RULE_TEXT_NUL },
    { "[MQTT-1.5.4-3] a byte order mark is a character", TEXT, "EFBBBF 'a'", MQTT_FINE },
    { "control characters are refused as Mosquitto does", TEXT, "'a' 01", MQTT_RULE_TEXT_CONTROL },
    { "a tab, too", TEXT, "'1234567890' 09 'a'", MQTT_RULE_TEXT_CONTROL },
    { "DEL, too", TEXT, "7F", MQTT_RULE_TEXT_CONTROL },
    { "U+0080, too", TEXT, "C280", MQTT_RULE_TEXT_CONTROL },
    { "U+00A0 is none", TEXT, "C2A0", MQTT_FINE },
    { "U+FFFF is no character", TEXT, "EFBFBF", MQTT_RULE_TEXT_CONTROL },
    { "U+FDD0 is no character", TEXT, "EFB790", MQTT_RULE_TEXT_CONTROL },
    { "U+1FFFE is no character", TEXT, "F09FBFBE", MQTT_RULE_TEXT_CONTROL },
    { "the replacement character is one", TEXT, "EFBFBD", MQTT_FINE },

    { "a topic", TOPIC, "'plant/line 4/press'", MQTT_FINE },
    { "a topic of slashes", TOPIC, "'///'", MQTT_FINE },
    { "a topic with $", TOPIC, "'$SYS/a'", MQTT_FINE },
    { "[MQTT-4.7.3-1] an empty topic", TOPIC, "", MQTT_RULE_TOPIC_EMPTY },
    { "[MQTT-3.3.2-2] a plus", TOPIC, "'a/+/b'", MQTT_RULE_TOPIC_WILDCARD },
    { "[MQTT-3.3.2-2] a hash", TOPIC, "'a/#'", MQTT_RULE_TOPIC_WILDCARD },
    { "[MQTT-4.7.0-1] a plus inside a word", TOPIC, "'a+b'", MQTT_RULE_TOPIC_WILDCARD },
    { "[MQTT-4.7.0-1] a plus before a wide character", TOPIC, "'+' C3A4", MQTT_RULE_TOPIC_WILDCARD },
    { "[MQTT-4.7.0-1] a hash before a wide character", TOPIC, "'#' C3A4", MQTT_RULE_TOPIC_WILDCARD },
    { "[MQTT-4.7.0-1] a hash behind a wide character", TOPIC, "C3A4 '#'", MQTT_RULE_TOPIC_WILDCARD },
    { "[MQTT-4.7.3-2] U+0000 in a topic", TOPIC, "'a' 00 'b'", MQTT_RULE_TEXT_NUL },
    { "a topic at the level limit", TOPIC, "'a/b/c/d'", MQTT_FINE },
    { "a topic past the level limit", TOPIC, "'a/b/c/d/'", MQTT_RULE_TOPIC_LEVELS },
    { "slashes behind wide characters count", TOPIC, "C3A4 '/' C3A4 '/' C3A4 '/' C3A4 '/'", MQTT_RULE_TOPIC_LEVELS },
    { "characters beside the slash do not count", TOPIC, "'.0.0.0.0.0.0.0'", MQTT_FINE },

    { "a filter", FILTER, "'a/+/#'", MQTT_FINE },
    { "[MQTT-4.7.3-1] an empty filter", FILTER, "", MQTT_RULE_FILTER_EMPTY },
    { "[MQTT-4.7.1-1] a hash before the end", FILTER, "'a/#/b'", MQTT_RULE_FILTER_HASH },
    { "[MQTT-4.7.1-1] a hash behind a letter", FILTER, "'a/b#'", MQTT_RULE_FILTER_HASH },
    { "[MQTT-4.7.1-2] a plus before a letter", FILTER, "'ab/+e'", MQTT_RULE_FILTER_PLUS },
    { "[MQTT-4.7.1-2] a plus at any level", FILTER, "'+/a/+'", MQTT_FINE },
    { "[MQTT-3.8.3-1] a filter that is not UTF-8", FILTER, "'a/' ED A080", MQTT_RULE_TEXT_NOT_UTF8 },
    { "[MQTT-4.7.3-2] U+0000 in a filter", FILTER, "'a' 00", MQTT_RULE_TEXT_NUL },
    { "a shared filter", FILTER, "'$share/g/a/+/#'", MQTT_FINE },
    { "[MQTT-4.8.2-1] an empty share name", FILTER, "'$share//a'", MQTT_RULE_SHARE_NAME },
    { "[MQTT-4.8.2-2] a share name with a plus", FILTER, "'$share/g+/a'", MQTT_RULE_SHARE_NAME },
    { "[MQTT-4.8.2-2] a share name with a hash", FILTER, "'$share/#/a'", MQTT_RULE_SHARE_NAME },
    { "[MQTT-4.8.2-2] a share name without a slash", FILTER, "'$share/g'", MQTT_RULE_SHARE_FILTER },
    { "[MQTT-4.8.2-2] a share without a filter", FILTER, "'$share/g/'", MQTT_RULE_SHARE_FILTER },
    { "[MQTT-4.7.1-1] in a shared filter", FILTER, "'$share/g/a/#/'", MQTT_RULE_FILTER_HASH },
    { "$share alone is a word", FILTER, "'$share'", MQTT_FINE },
    { "a filter at the level limit", FILTER, "'a/b/c/d'", MQTT_FINE },
    { "a filter past the level limit", FILTER, "'a/b/c/d/#'", MQTT_RULE_FILTER_LEVELS },
    { "a shared filter at the level limit", FILTER, "'$share/g/a/b/c/d'", MQTT_FINE },
    { "a shared filter past the level limit", FILTER, "'$share/g/a/b/c/d/e'", MQTT_RULE_FILTER_LEVELS },
};

static void judges_row(void **state) {
    const struct text_row *row = *state;
    struct str bytes = bytes_of(row->bytes);
    enum mqtt_rule got = row->ask == TEXT    ? mqtt_text(bytes).rule
                         : row->ask == TOPIC ? mqtt_topic_rule(bytes, 4)
                                             : mqtt_filter_rule(bytes, 4);

    assert_string_equal(mqtt_rule_words(got), mqtt_rule_words(row->want));
    bytes_drop(bytes);
}

/* What section 1.5.4 says about a code point, written down apart from the code. */
static bool allowed(uint32_t code) {
    static const struct {
        uint32_t first, last;
    } refused[] = { { 0, 0x1F }, { 0x7F, 0x9F }, { 0xD800, 0xDFFF }, { 0xFDD0, 0xFDEF }, { 0xFFFE, 0xFFFF } };

    for (size_t i = 0; i < 5; i++)
        if (code >= refused[i].first && code <= refused[i].last)
            return false;
    return (code & 0xFFFF) < 0xFFFE;
}

static size_t encode(uint32_t code, char *to) {
    unsigned char *at = (unsigned char *)to;

    if (code < 0x80)
        return at[0] = (unsigned char)code, 1;
    if (code < 0x800)
        return at[0] = 0xC0 | code >> 6, at[1] = 0x80 | (code & 63), 2;
    if (code < 0x10000)
        return at[0] = 0xE0 | code >> 12, at[1] = 0x80 | (code >> 6 & 63), at[2] = 0x80 | (code & 63), 3;
    at[0] = 0xF0 | code >> 18, at[1] = 0x80 | (code >> 12 & 63), at[2] = 0x80 | (code >> 6 & 63), at[3] = 0x80 | (code & 63);
    return 4;
}

/* Alone, at every place in a word, and next to a wide character. */
static void every_code_point_at_every_place(void **state) {
    char text[32];

    (void)state;
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        size_t step = code < 0x3000 || !allowed(code) ? 1 : 5;
        for (size_t before = code % step; before <= 8; before += step) {
            memset(text, 'x', sizeof text);
            size_t len = before + encode(code, text + before);
            struct mqtt_text seen = mqtt_text(str_make(text, len + 3));
            bool fine = allowed(code);
            if ((seen.rule == MQTT_FINE) != fine)
                fail_msg("U+%04X behind %zu bytes: %s", code, before, mqtt_rule_words(seen.rule));
            assert_int_equal(seen.rule == MQTT_RULE_TEXT_NUL, code == 0);
            assert_int_equal(seen.wildcards, fine && (code == '+' || code == '#'));
            assert_int_equal(seen.slashes, fine && code == '/');
        }
    }
}

static void counts_every_slash(void **state) {
    char text[64];

    (void)state;
    for (size_t len = 0; len <= sizeof text; len++)
        for (size_t every = 1; every < 9; every++) {
            uint32_t want = 0;
            for (size_t i = 0; i < len; i++) {
                text[i] = i % every == 0 ? '/' : "-.0?O\x6F_"[i % 7];
                want += text[i] == '/';
            }
            assert_int_equal(mqtt_text(str_make(text, len)).slashes, want);
        }
}

static void every_byte_alone_or_last(void **state) {
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++)
        for (size_t before = 0; before < 17; before++) {
            char text[20];
            memset(text, 'x', sizeof text);
            text[before] = (char)byte;
            struct str alone = bytes_alone(str_make(text, before + 1));
            assert_int_equal(mqtt_text(alone).rule == MQTT_FINE, byte >= 0x20 && byte < 0x7F);
            bytes_drop(alone);
        }
}

int main(void) {
    struct CMUnitTest tests[sizeof texts / sizeof texts[0] + 3] = {
        cmocka_unit_test(every_code_point_at_every_place),
        cmocka_unit_test(counts_every_slash),
        cmocka_unit_test(every_byte_alone_or_last),
    };
    size_t used = 3;

    ROW_TESTS(tests, used, texts, judges_row);
    return cmocka_run_group_tests_name("mqtt_packet_text", tests, NULL, NULL);
}
