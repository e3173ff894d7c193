/*
 * tests/unit/test_sip_hash.c: SipHash-1-3 against other implementations: CPython's hash of bytes with PYTHONHASHSEED=0, which is
 * this function with a key of zeros, and the reference implementation's value for no bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/base/sip_hash.h"

static struct row {
    const char *name, *text;
    uint64_t want;
} rows[] = {
    { "hashes no bytes", "", 0xd1fba762150c532c },
    { "hashes one byte", "a", 0x407448d2b89b1813 },
    { "hashes two bytes", "ab", 0x555508cbc6add439 },
    { "hashes three bytes", "abc", 0xc03bc3a0042630f2 },
    { "hashes four bytes", "abcd", 0xe3d1d5fdd52aae89 },
    { "hashes five bytes", "abcde", 0x251f3c725bd784a2 },
    { "hashes six bytes", "abcdef", 0x62207e654289df28 },
    { "hashes seven bytes", "abcdefg", 0x6db12aae9070f506 },
    { "hashes a whole word", "abcdefgh", 0x3f7b849c0b8e35ea },
    { "hashes a word and a byte", "abcdefghi", 0xf89b34a3d11eb6e5 },
    { "hashes a topic", "site/3/line/7/temp", 0x36413297ccacfaa1 },
};

static void hashes_row(void **state) {
    const struct row *row = *state;

    assert_int_equal(sip_hash((struct sip_key){ 0, 0 }, str_of(row->text)), row->want);
}

static void another_key_gives_another_hash(void **state) {
    struct sip_key one = sip_key_random(), other = sip_key_random();
    (void)state;

    assert_true(one.k0 != other.k0 || one.k1 != other.k1);
    assert_int_not_equal(sip_hash(one, STR("temp")), sip_hash(other, STR("temp")));
    assert_int_equal(sip_hash(one, STR("temp")), sip_hash(one, STR("temp")));
    assert_int_not_equal(sip_hash((struct sip_key){ 1, 0 }, STR("temp")), sip_hash((struct sip_key){ 0, 1 }, STR("temp")));
}

int main(void) {
    enum { ROWS = sizeof rows / sizeof rows[0] };
    struct CMUnitTest tests[ROWS + 1];

    for (size_t i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name, .test_func = hashes_row, .initial_state = &rows[i] };
    tests[ROWS] = (struct CMUnitTest)cmocka_unit_test(another_key_gives_another_hash);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
