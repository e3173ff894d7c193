/* tests/unit/test_str.c: one row per rule of str.h. */
#include "agent/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* The bytes in memory of their own, with nothing behind them: reading past the end is seen by the sanitizer. */
static struct str alone(const char *text) {
    size_t len = strlen(text);
    char *copy = malloc(len > 0 ? len : 1);

    assert_non_null(copy);
    memcpy(copy, text, len);
    return str_make(copy, len);
}

static void drop(struct str text) {
    free((char *)(uintptr_t)text.data);
}

/* --- numbers --- */

static struct int_row {
    const char *text;
    bool signed_ok, unsigned_ok;
    int64_t i;
    uint64_t u;
} ints[] = {
    { "0", true, true, 0, 0 },
    { "-0", true, false, 0, 0 },
    { "+7", true, true, 7, 7 },
    { "-7", true, false, -7, 0 },
    { "007", true, true, 7, 7 },
    { "9007199254740993", true, true, 9007199254740993, 9007199254740993 },
    { "9223372036854775807", true, true, INT64_MAX, INT64_MAX },
    { "9223372036854775808", false, true, 0, UINT64_C(9223372036854775808) },
    { "-9223372036854775808", true, false, INT64_MIN, 0 },
    { "-9223372036854775809", false, false, 0, 0 },
    { "18446744073709551615", false, true, 0, UINT64_MAX },
    { "18446744073709551616", false, false, 0, 0 },
    { "99999999999999999999999", false, false, 0, 0 },
    { "", false, false, 0, 0 },
    { "-", false, false, 0, 0 },
    { "+", false, false, 0, 0 },
    { "--1", false, false, 0, 0 },
    { "1.0", false, false, 0, 0 },
    { "1e3", false, false, 0, 0 },
    { " 1", false, false, 0, 0 },
    { "1 ", false, false, 0, 0 },
    { "0x10", false, false, 0, 0 },
    { "1a", false, false, 0, 0 },
};

static void reads_integer(void **state) {
    const struct int_row *row = *state;
    struct str text = alone(row->text);
    uint64_t u = 77;
    int64_t i = -77;

    assert_int_equal(str_to_int64(text, &i), row->signed_ok);
    assert_int_equal(i, row->signed_ok ? row->i : -77);
    assert_int_equal(str_to_uint64(text, &u), row->unsigned_ok);
    assert_int_equal(u, row->unsigned_ok ? row->u : 77);
    drop(text);
}

static struct double_row {
    const char *text;
    bool ok;
    double value;
} doubles[] = {
    { "0", true, 0 },
    { "-0.0", true, 0 },
    { "21.5", true, 21.5 },
    { "+1", true, 1 },
    { ".5", true, 0.5 },
    { "1.", true, 1 },
    { "1e3", true, 1000 },
    { "1E+3", true, 1000 },
    { "1e-3", true, 0.001 },
    { "-1.5e2", true, -150 },
    { "1e308", true, 1e308 },
    { "1e-400", true, 0 },
    { "0.1000000000000000055511151231257827021181583404541015625", true, 0.1 },
    { "00000000000000000000000000000000000000000000000000000000000000000000001", true, 1 },
    { "1e309", false, 0 },
    { "-1e999", false, 0 },
    { "", false, 0 },
    { ".", false, 0 },
    { "-", false, 0 },
    { "+.", false, 0 },
    { "e5", false, 0 },
    { "1e", false, 0 },
    { "1e+", false, 0 },
    { "1e5.0", false, 0 },
    { "1..2", false, 0 },
    { "1,5", false, 0 },
    { "0x10", false, 0 },
    { "0x1p3", false, 0 },
    { "nan", false, 0 },
    { "inf", false, 0 },
    { "-Infinity", false, 0 },
    { " 1", false, 0 },
    { "1 ", false, 0 },
    { "21.5C", false, 0 },
};

static void reads_double(void **state) {
    const struct double_row *row = *state;
    struct str text = alone(row->text);
    double value = -77;

    assert_int_equal(str_to_double(text, &value), row->ok);
    assert_true(value == (row->ok ? row->value : -77));
    drop(text);
}

/* --- UTF-8 --- */

static struct utf8_row {
    const char *name, *text;
    bool ok;
} utf8s[] = {
    { "accepts nothing", "", true },
    { "accepts ASCII", "plain text of more than eight bytes", true },
    { "accepts two bytes", "\xC2\x80 \xDF\xBF", true },
    { "accepts three bytes", "\xE0\xA0\x80\xEF\xBF\xBF", true },
    { "accepts what surrounds the surrogates", "\xED\x9F\xBF\xEE\x80\x80", true },
    { "accepts four bytes", "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", true },
    { "accepts the first and the last of ASCII", "\x01\x7F", true },
    { "refuses a lone continuation", "\x80", false },
    { "refuses an overlong slash", "\xC0\xAF", false },
    { "refuses an overlong in C1", "\xC1\xBF", false },
    { "refuses an overlong in three bytes", "\xE0\x9F\xBF", false },
    { "refuses an overlong in four bytes", "\xF0\x8F\xBF\xBF", false },
    { "refuses the first surrogate", "\xED\xA0\x80", false },
    { "refuses the last surrogate", "\xED\xBF\xBF", false },
    { "refuses past U+10FFFF", "\xF4\x90\x80\x80", false },
    { "refuses F5", "\xF5\x80\x80\x80", false },
    { "refuses FF", "12345678\xFF", false },
    { "refuses a cut sequence of two", "1234567\xC3", false },
    { "refuses a cut sequence of three", "\xE2\x82", false },
    { "refuses a cut sequence of four", "\xF0\x9F\x98", false },
    { "refuses a broken third byte", "\xE2\x82x", false },
    { "refuses a broken fourth byte", "\xF0\x9F\x98x", false },
};

static void checks_utf8(void **state) {
    const struct utf8_row *row = *state;
    struct str text = alone(row->text);

    assert_int_equal(str_is_utf8(text), row->ok);
    drop(text);
}

/* --- globs --- */

static struct glob_row {
    const char *pattern, *text;
    bool hit;
} globs[] = {
    { "", "", true },
    { "", "a", false },
    { "a", "", false },
    { "cpu", "cpu", true },
    { "cpu", "cpu0", false },
    { "cpu*", "cpu", true },
    { "cpu*", "cpu0", true },
    { "*", "", true },
    { "*", "anything/at.all", true },
    { "**", "x", true },
    { "*_temp", "oven_temp", true },
    { "*_temp", "oven_temp2", false },
    { "a*b*c", "aXbYbZc", true },
    { "a*b*c", "aXbYbZ", false },
    { "*a*a*a*", "aa", false },
    { "?", "x", true },
    { "?", "", false },
    { "?", "xy", false },
    { "t?st", "test", true },
    { "[abc]", "b", true },
    { "[abc]", "d", false },
    { "[a-c]x", "bx", true },
    { "[a-c]x", "dx", false },
    { "[!a-c]", "d", true },
    { "[!a-c]", "b", false },
    { "[^a]", "b", true },
    { "[]]", "]", true },
    { "[!]]", "x", true },
    { "[a-]", "-", true },
    { "[abc", "[abc", true },
    { "[", "[", true },
    { "[", "", false },
    { "x[0-9][0-9]", "x42", true },
    { "{a,b}", "a", true },
    { "{a,b}", "b", true },
    { "{a,b}", "c", false },
    { "{a,b}", "{a,b}", false },
    { "x{1,22,}y", "x22y", true },
    { "x{1,22,}y", "xy", true },
    { "x{1,22}y", "xy", false },
    { "{a,b}{c,d}", "bd", true },
    { "{a,b}{c,d}", "ab", false },
    { "{a,{b,c}d}", "cd", true },
    { "{a,{b,c}d}", "c", false },
    { "{*_min,*_max}", "load_max", true },
    { "{*_min,*_max}", "load", false },
    { "{a\\,b,c}", "a,b", true },
    { "{a\\,b,c}", "b", false },
    { "{a\\}b,c}", "a}b", true },
    { "{a", "{a", true },
    { "a}", "a}", true },
    { "{}", "", true },
    { "\\*", "*", true },
    { "\\*", "x", false },
    { "\\{a,b\\}", "{a,b}", true },
    { "a\\", "a\\", true },
    { "*\\?", "what?", true },
};

static void matches_glob(void **state) {
    const struct glob_row *row = *state;
    struct str pattern = alone(row->pattern), text = alone(row->text);

    if (str_glob(pattern, text) != row->hit)
        fail_msg("'%s' against '%s'", row->pattern, row->text);
    drop(pattern);
    drop(text);
}

static void matches_many_stars_in_no_time(void **state) {
    char pattern[2001], text[20001];

    (void)state;
    for (size_t i = 0; i < sizeof pattern - 1; i++)
        pattern[i] = i % 2 == 0 ? '*' : 'a';
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 'b';
    assert_true(str_glob(str_make(pattern, 2000), str_make(text, 20000)));
    assert_false(str_glob(str_make(pattern, 2000), str_make(text, 20001)));
}

/* --- distance --- */

static struct distance_row {
    const char *a, *b;
    size_t distance;
} distances[] = {
    { "", "", 0 },
    { "", "abc", 3 },
    { "topics", "topics", 0 },
    { "topic", "topics", 1 },
    { "topics", "topcs", 1 },
    { "topics", "topixs", 1 },
    { "topics", "topcis", 1 },
    { "kitten", "sitting", 3 },
    { "ab", "ba", 1 },
    { "abc", "cab", 2 },
    { "qos", "host", 2 },
};

static void measures_distance(void **state) {
    const struct distance_row *row = *state;

    assert_int_equal(str_distance(str_of(row->a), str_of(row->b)), row->distance);
    assert_int_equal(str_distance(str_of(row->b), str_of(row->a)), row->distance);
}

static void bounds_distance(void **state) {
    char longest[66];

    (void)state;
    memset(longest, 'a', sizeof longest);
    assert_int_equal(str_distance(str_make(longest, 64), str_make(longest, 63)), 1);
    assert_int_equal(str_distance(str_make(longest, 65), str_make(longest, 64)), 65);
}

/* --- the rest --- */

static void compares_in_byte_order(void **state) {
    (void)state;
    assert_int_equal(str_cmp(STR("a"), STR("a")), 0);
    assert_true(str_cmp(STR("a"), STR("b")) < 0);
    assert_true(str_cmp(STR("b"), STR("a")) > 0);
    assert_true(str_cmp(STR("a"), STR("aa")) < 0);
    assert_true(str_cmp(STR("aa"), STR("a")) > 0);
    assert_true(str_cmp(STR("Z"), STR("a")) < 0);
    assert_true(str_cmp(STR("\xFF"), STR("a")) > 0);
    assert_true(str_cmp(str_make(NULL, 0), STR("a")) < 0);
    assert_int_equal(str_cmp(str_make(NULL, 0), STR_EMPTY), 0);
    assert_true(str_eq(str_make(NULL, 0), STR_EMPTY));
    assert_true(str_eq(str_make("a\0b", 3), str_make("a\0b", 3)));
    assert_false(str_eq(str_make("a\0b", 3), str_make("a\0c", 3)));
    assert_true(str_eq_c(str_make("abc", 2), "ab"));
    assert_false(str_eq_c(STR("ab"), "abc"));
}

static void knows_prefixes_and_suffixes(void **state) {
    (void)state;
    assert_true(str_starts_with(STR("plant/a"), STR("plant/")));
    assert_true(str_starts_with(STR("plant"), STR("plant")));
    assert_true(str_starts_with(STR("x"), str_make(NULL, 0)));
    assert_false(str_starts_with(STR("plan"), STR("plant")));
    assert_false(str_starts_with(STR("xplant"), STR("plant")));
    assert_true(str_ends_with(STR("a.yaml"), STR(".yaml")));
    assert_true(str_ends_with(STR(".yaml"), STR(".yaml")));
    assert_true(str_ends_with(STR("x"), STR_EMPTY));
    assert_false(str_ends_with(STR("yaml"), STR(".yaml")));
    assert_false(str_ends_with(STR("a.yamlx"), STR(".yaml")));
}

static void trims_ascii_blanks(void **state) {
    (void)state;
    assert_true(str_eq_c(str_trim(STR(" \t\r\n\v\fa b \t\r\n\v\f")), "a b"));
    assert_true(str_eq_c(str_trim(STR("ab")), "ab"));
    assert_int_equal(str_trim(STR(" \n ")).len, 0);
    assert_int_equal(str_trim(str_make(NULL, 0)).len, 0);
    assert_int_equal(str_trim(STR("\xC2\xA0x")).len, 3); /* no-break space is text */
    assert_int_equal(str_trim(str_make("\0x", 2)).len, 2);
}

static void splits_into_every_part(void **state) {
    static const char *const parts[] = { "", "a", "", "b", "" };
    struct str rest = STR("/a//b/");
    size_t count = 0;

    (void)state;
    while (rest.data != NULL) {
        struct str part = str_split(&rest, '/');
        assert_true(count < 5);
        assert_true(str_eq_c(part, parts[count++]));
    }
    assert_int_equal(count, 5);
    rest = STR_EMPTY;
    assert_int_equal(str_split(&rest, '/').len, 0);
    assert_null(rest.data);
    rest = STR("whole");
    assert_true(str_eq_c(str_split(&rest, '/'), "whole"));
    assert_null(rest.data);
}

static void hashes_spread(void **state) {
    enum { SLOTS = 1024, NAMES = 4096 };
    unsigned used[SLOTS] = { 0 }, most = 0;
    char name[32];

    (void)state;
    assert_true(str_hash(STR("a")) == str_hash(str_make("ab", 1)));
    assert_true(str_hash(STR("a")) != str_hash(STR("b")));
    assert_true(str_hash(str_make("\0", 1)) != str_hash(str_make("\0\0", 2)));
    assert_true(str_hash(str_make(NULL, 0)) == str_hash(STR_EMPTY));
    assert_true(str_hash_stable(STR_EMPTY) == UINT64_C(0xcbf29ce484222325)); /* FNV's published values */
    assert_true(str_hash_stable(STR("a")) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(str_hash_stable(STR("foobar")) == UINT64_C(0x85944171f73967e8));
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "plant/line-%u/temperature", i);
        unsigned *slot = &used[str_hash(str_of(name)) % SLOTS];
        *slot += 1;
        most = *slot > most ? *slot : most;
    }
    assert_true(most < 20); /* 4 on average; a perfect hash's worst is about 13 */
}

/* Every code point there is, written by hand here and read back. */
static void reads_every_code_point(void **state) {
    (void)state;
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        unsigned char bytes[4] = { (unsigned char)code };
        size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        static const unsigned char lead[] = { 0, 0, 0xC0, 0xE0, 0xF0 };
        uint32_t got = 0, rest = code;
        bool surrogate = code >= 0xD800 && code <= 0xDFFF;
        for (size_t i = len; len > 1 && i-- > 1; rest >>= 6)
            bytes[i] = (unsigned char)(0x80 | (rest & 0x3F));
        if (len > 1)
            bytes[0] = (unsigned char)(lead[len] | rest);
        assert_int_equal(str_utf8_first(str_make((char *)bytes, len), &got), surrogate ? 0 : len);
        assert_int_equal(got, surrogate ? 0 : code);
        assert_int_equal(str_utf8_first(str_make((char *)bytes, len - 1), &got), 0);
    }
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void name_rows(struct CMUnitTest **tests, void (*test)(void **), void *rows, size_t count, size_t size) {
    for (size_t i = 0; i < count; i++) {
        char *row = (char *)rows + i * size;
        *(*tests)++ = (struct CMUnitTest){ .name = *(const char **)row, .test_func = test, .initial_state = row };
    }
}

int main(void) {
    enum {
        MORE = 8,
        ROWS = COUNT(ints) + COUNT(doubles) + COUNT(utf8s) + COUNT(globs) + COUNT(distances),
    };
    struct CMUnitTest tests[ROWS + MORE] = {
        cmocka_unit_test(matches_many_stars_in_no_time),
        cmocka_unit_test(bounds_distance),
        cmocka_unit_test(compares_in_byte_order),
        cmocka_unit_test(knows_prefixes_and_suffixes),
        cmocka_unit_test(trims_ascii_blanks),
        cmocka_unit_test(splits_into_every_part),
        cmocka_unit_test(hashes_spread),
        cmocka_unit_test(reads_every_code_point),
    };
    struct CMUnitTest *next = tests + MORE;

    name_rows(&next, reads_integer, ints, COUNT(ints), sizeof ints[0]);
    name_rows(&next, reads_double, doubles, COUNT(doubles), sizeof doubles[0]);
    name_rows(&next, checks_utf8, utf8s, COUNT(utf8s), sizeof utf8s[0]);
    name_rows(&next, matches_glob, globs, COUNT(globs), sizeof globs[0]);
    name_rows(&next, measures_distance, distances, COUNT(distances), sizeof distances[0]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
