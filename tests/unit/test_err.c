/* tests/unit/test_err.c: the first failure wins, and says why. */
#include "agent/base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void keeps_the_first(void **state) {
    struct err err = ERR_INIT;

    (void)state;
    assert_false(err_set(&err, ERR_SYNTAX, "line %d", 3));
    assert_false(err_set(&err, ERR_IO, "later"));
    assert_false(err_set_errno(&err, ENOENT, "later"));
    assert_int_equal(err.code, ERR_SYNTAX);
    assert_string_equal(err.text, "line 3");
    err_clear(&err);
    assert_int_equal(err.code, ERR_NONE);
    assert_string_equal(err.text, "");
    assert_false(err_set(&err, ERR_FULL, "again"));
    assert_string_equal(err.text, "again");
}

static void adds_the_words_for_errno(void **state) {
    struct err err = ERR_INIT;

    (void)state;
    assert_false(err_set_errno(&err, ENOENT, "cannot open %s", "/x"));
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.text, "cannot open /x: No such file or directory");
}

static void takes_no_err_at_all(void **state) {
    (void)state;
    assert_false(err_set(NULL, ERR_IO, "x"));
    assert_false(err_set_errno(NULL, EIO, "x"));
}

static void cuts_long_texts(void **state) {
    struct err err = ERR_INIT;
    char text[1000];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_false(err_set_errno(&err, EIO, "%s", text));
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void names_every_code(void **state) {
    (void)state;
    for (int code = ERR_NONE; code <= ERR_FULL; code++) {
        const char *name = err_code_name((enum err_code)code);
        assert_string_not_equal(name, "unknown");
        for (int other = ERR_NONE; other < code; other++)
            assert_string_not_equal(name, err_code_name((enum err_code)other));
    }
    assert_string_equal(err_code_name((enum err_code)99), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_first),     cmocka_unit_test(adds_the_words_for_errno),
        cmocka_unit_test(takes_no_err_at_all), cmocka_unit_test(cuts_long_texts),
        cmocka_unit_test(names_every_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
