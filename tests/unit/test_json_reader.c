/* tests/unit/test_json_reader.c: the eight-byte steps of the reader at every offset, and what it does to strings and numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "parsers/json_reader.h"
#include "parsers/decimal_text.h"

static struct arena arena;

static struct json_text open_text(struct str payload, bool lenient, struct err *err) {
    struct json_text text;

    arena_reset(&arena);
    err_clear(err);
    assert_true(json_text_init(&text, &arena, payload));
    text.err = err;
    text.lenient = lenient;
    return text;
}

/* Every byte value at every offset of a string: found exactly where it matters. */
static void scan_finds_every_byte(void **state) {
    char buffer[64];

    (void)state;
    for (int c = 0; c < 256; c++)
        for (size_t at = 0; at < 24; at++) {
            bool stops = c < 0x20 || c == '"' || c == '\\';
            memset(buffer, 'x', sizeof buffer);
            buffer[40] = '"';
            buffer[at] = (char)c;
            assert_ptr_equal(json_scan(buffer, '"'), buffer + (stops ? at : 40));
        }
}

/* Two stops close to each other: the borrow of the first must not hide or invent another. */
static void scan_takes_the_first_of_two(void **state) {
    static const char stops[] = { '"', '\\', 0x00, 0x01, 0x1F, 0x20, 0x21, 0x23, 0x5B, 0x5D, (char)0x80, (char)0xFF, (char)0xA2 };
    char buffer[32];

    (void)state;
    for (size_t a = 0; a < sizeof stops; a++)
        for (size_t b = 0; b < sizeof stops; b++)
            for (size_t at = 0; at < 8; at++) {
                const char *want = buffer;
                memset(buffer, 'x', sizeof buffer);
                buffer[at] = stops[a];
                buffer[at + 1] = stops[b];
                buffer[20] = '"';
                while ((unsigned char)*want >= 0x20 && *want != '"' && *want != '\\')
                    want++;
                assert_ptr_equal(json_scan(buffer, '"'), want);
            }
}

static void digits_counts_every_run(void **state) {
    char buffer[48];

    (void)state;
    for (int c = 0; c < 256; c++) {
        bool digit = c >= '0' && c <= '9';
        for (size_t at = 0; at < 20; at++) {
            memset(buffer, '7', sizeof buffer);
            buffer[30] = '\0';
            buffer[at] = (char)c;
            assert_ptr_equal(json_digits(buffer), buffer + (digit ? 30 : at));
        }
    }
}

static struct number_row {
    const char *name, *text;
    size_t taken; /* 0: refused */
    enum json_number kind;
    bool lenient;
} numbers[] = {
    { "0", "0", 1, JSON_NUMBER, false },
    { "-0", "-0", 2, JSON_NUMBER, false },
    { "8 digits", "12345678", 8, JSON_NUMBER, false },
    { "9 digits and a point", "123456789.123456789", 19, JSON_NUMBER, false },
    { "stops at a comma", "12.5,7", 4, JSON_NUMBER, false },
    { "stops at a second point", "1.2.3", 3, JSON_NUMBER, false },
    { "exponent", "1e5", 3, JSON_EXPONENT, false },
    { "exponent with sign and fraction", "-1.5E-10}", 8, JSON_EXPONENT, false },
    { "minus alone", "-", 0, JSON_NUMBER, false },
    { "leading zero", "01", 0, JSON_NUMBER, false },
    { "minus and leading zero", "-01", 0, JSON_NUMBER, false },
    { "open point", "1.", 0, JSON_NUMBER, false },
    { "open exponent", "1e+", 0, JSON_NUMBER, false },
    { "lenient: open point", "1.", 2, JSON_LOOSE, true },
    { "lenient: plus", "+1", 2, JSON_LOOSE, true },
    { "lenient: point alone", ".", 0, JSON_NUMBER, true },
    { "lenient: leading zeros", "-007", 4, JSON_LOOSE, true },
    { "lenient: a plain number is plain", "12", 2, JSON_NUMBER, true },
    { "lenient: minus infinity", "-Infinity,", 9, JSON_NOT_FINITE, true },
    { "lenient: open exponent", "1.e", 0, JSON_NUMBER, true },
};

static void reads_number(void **state) {
    const struct number_row *row = *state;
    struct err err = ERR_INIT;
    struct json_text text = open_text(str_of(row->text), row->lenient, &err);
    enum json_number kind = JSON_NUMBER;
    struct str number;
    char *behind = json_number(&text, text.copy, &kind, &number);

    assert_int_equal(behind != NULL, row->taken > 0);
    if (behind == NULL) {
        assert_int_equal(err.code, ERR_SYNTAX);
        return;
    }
    assert_int_equal(behind - text.copy, row->taken);
    assert_int_equal(number.len, row->taken);
    assert_int_equal(kind, row->kind);
}

static struct string_row {
    const char *name;
    struct str payload; /* from behind the opening quote */
    const char *want;   /* unescaped; NULL: refused */
    size_t want_len;
} strings[] = {
    { "empty", STR_INIT("\""), "", 0 },
    { "plain", STR_INIT("abc\"x"), "abc", 3 },
    { "all short escapes", STR_INIT("\\\"\\\\\\/\\b\\f\\n\\r\\t\""), "\"\\/\b\f\n\r\t", 8 },
    { "one byte", STR_INIT("\\u0041\""), "A", 1 },
    { "NUL", STR_INIT("a\\u0000b\""), "a\0b", 3 },
    { "two bytes", STR_INIT("\\u00E9\""), "\xC3\xA9", 2 },
    { "three bytes", STR_INIT("\\u20ac\""), "\xE2\x82\xAC", 3 },
    { "a pair", STR_INIT("\\uD83D\\uDE00\""), "\xF0\x9F\x98\x80", 4 },
    { "the last code point", STR_INIT("\\uDBFF\\uDFFF\""), "\xF4\x8F\xBF\xBF", 4 },
    { "a high half alone", STR_INIT("\\uD83D\""), "\xEF\xBF\xBD", 3 },
    { "a high half before another escape", STR_INIT("\\uD83D\\n\""), "\xEF\xBF\xBD\n", 4 },
    { "two high halves and a low", STR_INIT("\\uD83D\\uD83D\\uDE00\""), "\xEF\xBF\xBD\xF0\x9F\x98\x80", 7 },
    { "a low half alone", STR_INIT("\\uDE00\""), "\xEF\xBF\xBD", 3 },
    { "UTF-8 as it is", STR_INIT("\xE2\x82\xAC\""), "\xE2\x82\xAC", 3 },
    { "broken UTF-8", STR_INIT("\xC3\x28\""), NULL, 0 },
    { "an overlong form", STR_INIT("\xC0\x80\""), NULL, 0 },
    { "a surrogate in UTF-8", STR_INIT("\xED\xA0\x80\""), NULL, 0 },
    { "a NUL byte", STR_INIT("a\0b\""), NULL, 0 },
    { "no closing quote", STR_INIT("abc"), NULL, 0 },
    { "an escaped quote at the end", STR_INIT("abc\\\""), NULL, 0 },
    { "hex that is none", STR_INIT("\\u00g0\""), NULL, 0 },
    { "hex that is cut", STR_INIT("\\u00"), NULL, 0 },
};

static void reads_string(void **state) {
    const struct string_row *row = *state;
    struct err err = ERR_INIT;
    struct json_text text = open_text(row->payload, false, &err);
    struct json_string string;
    struct str got;
    char *behind = json_string(&text, text.copy, &string);
    bool fine = behind != NULL && json_unescape(&text, &string, &got);

    assert_int_equal(fine, row->want != NULL);
    if (!fine) {
        assert_int_equal(err.code, ERR_SYNTAX);
        return;
    }
    assert_int_equal(got.len, row->want_len);
    assert_memory_equal(got.data, row->want, row->want_len);
    assert_int_equal(behind[-1], '"');
}

static struct skip_row {
    const char *name, *text;
    int taken; /* -1: refused */
    bool lenient;
} skips[] = {
    { "a number", "12,", 2, false },
    { "a string", "\"a]\"]", 4, false },
    { "words", "[true,false,null]x", 17, false },
    { "nested", "{\"a\":[{},[],{\"b\":[1,{\"c\":2}]}],\"d\":{}} ", 38, false },
    { "blanks everywhere", "[ 1 ,\n{ \"a\" : 2 } , [ ] ]", 25, false },
    { "a missing value", "[1,]", -1, false },
    { "a missing key", "{\"a\":1,}", -1, false },
    { "a missing colon", "{\"a\"1}", -1, false },
    { "the wrong bracket", "[1}", -1, false },
    { "the wrong brace", "{\"a\":1]", -1, false },
    { "cut", "[1,[2", -1, false },
    { "nothing", "", -1, false },
    { "lenient: trailing commas", "[1,{'a':2,},]", 13, true },
    { "lenient: a comma alone is none", "[,]", -1, true },
    { "lenient: words", "[NaN,-inf,None,True]", 20, true },
};

static void skips_value(void **state) {
    const struct skip_row *row = *state;
    struct err err = ERR_INIT;
    struct json_text text = open_text(str_of(row->text), row->lenient, &err);
    char *behind = json_skip(&text, text.copy, 0);

    assert_int_equal(behind != NULL ? behind - text.copy : -1, row->taken);
    assert_int_equal(err.code, row->taken >= 0 ? ERR_NONE : ERR_SYNTAX);
}

static void skip_knows_its_depth(void **state) {
    char deep[2 * (JSON_DEPTH_MAX + 1)];
    struct err err = ERR_INIT;

    (void)state;
    for (size_t depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        struct json_text text;
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        text = open_text(str_make(deep, 2 * depth), false, &err);
        if (depth <= JSON_DEPTH_MAX) {
            assert_ptr_equal(json_skip(&text, text.copy, 0), text.end);
        } else {
            assert_null(json_skip(&text, text.copy, 0));
            assert_int_equal(err.code, ERR_LIMIT);
        }
    }
}

/* Shortest texts, as Go's strconv.FormatFloat(x, 'f', -1, 64) writes them. */
static struct shortest_row {
    const char *want;
    double value;
} shortests[] = {
    { "0", 0 }, { "-0", -0.0 }, { "21.5", 21.5 }, { "34.67", 34.67 }, { "0.1", 0.1 }, { "-0.000001", -1e-6 }, { "0.0000001", 1e-7 },
    { "100000000000000000000000", 1e23 }, { "9007199254740992", 9007199254740992.0 }, { "1152921504606847000", 1152921504606846976.0 },
    { "0.30000000000000004", 0.1 + 0.2 }, { "123456789.12345679", 123456789.123456789 }, { "1.7976931348623157", 1.7976931348623157 },
    { "1000000", 1e6 }, { "2251799813685249.5", 2251799813685249.5 }, { "0.333333", 0.333333 },
};

static void prints_shortest(void **state) {
    char text[DECIMAL_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof shortests / sizeof shortests[0]; i++) {
        size_t len = decimal_text_shortest(shortests[i].value, text);
        assert_int_equal(len, strlen(shortests[i].want));
        assert_memory_equal(text, shortests[i].want, len);
    }
    assert_int_equal(decimal_text_shortest(5e-324, text), 326);
    assert_int_equal(decimal_text_shortest(-1.7976931348623157e308, text), 310);
}

static void shortest_reads_back(void **state) {
    uint64_t random = 88172645463325252ULL;
    char text[DECIMAL_TEXT_MAX];

    (void)state;
    for (int i = 0; i < 20000; i++) {
        double value, back;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        memcpy(&value, &random, sizeof value);
        if (i % 2 == 0)
            value = (double)(int64_t)(random % 200000000) / 1000 - 100000;
        if (value - value != 0)
            continue;
        size_t len = decimal_text_shortest(value, text);
        assert_true(str_to_double(str_make(text, len), &back));
        assert_memory_equal(&back, &value, sizeof value);
    }
}

#define ADD(rows, function)                                             \
    for (size_t i = 0; i < sizeof(rows) / sizeof((rows)[0]); i++)       \
    tests[used++] = (struct CMUnitTest){ .name = (rows)[i].name, .test_func = function, .initial_state = &(rows)[i] }

int main(void) {
    static struct CMUnitTest tests[128];
    size_t used = 0;
    int failed;

    arena_init(&arena, 1 << 20);
    ADD(numbers, reads_number);
    ADD(strings, reads_string);
    ADD(skips, skips_value);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(scan_finds_every_byte);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(scan_takes_the_first_of_two);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(digits_counts_every_run);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(skip_knows_its_depth);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(prints_shortest);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(shortest_reads_back);
    failed = _cmocka_run_group_tests("json_reader", tests, used, NULL, NULL);
    arena_release(&arena);
    return failed;
}
