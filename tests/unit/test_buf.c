/* tests/unit/test_buf.c: what fits is there whole, what does not leaves no trace but `failed`. */
#include "agent/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void appends_in_order(void **state) {
    struct buf buf = BUF_INIT(1 << 16);

    (void)state;
    assert_true(buf_append_c(&buf, "a"));
    assert_true(buf_append_char(&buf, 'b'));
    assert_true(buf_append_str(&buf, STR("cd")));
    assert_true(buf_append(&buf, "e\0f", 3));
    assert_true(buf_append(&buf, NULL, 0));
    assert_true(buf_printf(&buf, "%d-%s", 7, "g"));
    assert_int_equal(buf.len, 10);
    assert_memory_equal(buf_cstr(&buf), "abcde\0f7-g", 11);
    assert_int_equal(buf_str(&buf).len, 10);
    assert_false(buf.failed);
    buf_release(&buf);
    buf_release(&buf);
}

static void is_empty_text_at_first(void **state) {
    struct buf buf;

    (void)state;
    buf_init(&buf, 0);
    assert_string_equal(buf_cstr(&buf), "");
    assert_int_equal(buf_str(&buf).len, 0);
    assert_non_null(buf_str(&buf).data);
    assert_false(buf.failed);
    buf_release(&buf);
}

static void refuses_whole_what_does_not_fit(void **state) {
    struct buf buf = BUF_INIT(5);

    (void)state;
    assert_true(buf_append_c(&buf, "abc"));
    assert_false(buf_append_c(&buf, "def"));
    assert_true(buf.failed);
    assert_string_equal(buf_cstr(&buf), "abc");
    assert_true(buf_append_c(&buf, "de"));
    assert_true(buf.failed); /* checked once, at the end of the sequence */
    buf_reset(&buf);
    assert_false(buf.failed);
    assert_int_equal(buf.len, 0);
    buf_release(&buf);
}

static void closes_a_full_buffer(void **state) {
    struct buf buf = BUF_INIT(5);

    (void)state;
    assert_true(buf_append_c(&buf, "abcde"));
    assert_string_equal(buf_cstr(&buf), "abcde");
    assert_false(buf.failed);
    buf_release(&buf);
}

static void prints_up_to_the_last_byte(void **state) {
    (void)state;
    for (size_t max = 1; max < 700; max++) {
        struct buf fits = BUF_INIT(max), fails = BUF_INIT(max);
        assert_true(buf_printf(&fits, "%*d", (int)max, 5));
        assert_int_equal(strlen(buf_cstr(&fits)), max);
        assert_false(buf_printf(&fails, "%*d", (int)max + 1, 5));
        assert_true(fails.failed);
        assert_int_equal(fails.len, 0);
        buf_release(&fits);
        buf_release(&fails);
    }
}

static void grows_up_to_its_maximum(void **state) {
    struct buf buf = BUF_INIT(100000);
    char part[37];

    (void)state;
    memset(part, 'x', sizeof part);
    while (buf_append(&buf, part, sizeof part))
        assert_true(buf.cap <= 100000);
    assert_true(buf.len > 100000 - sizeof part);
    assert_true(buf_reserve(&buf, 100000 - buf.len));
    assert_false(buf_reserve(&buf, 100001 - buf.len));
    buf_release(&buf);
}

static void refuses_absurd_lengths(void **state) {
    struct buf buf = BUF_INIT(SIZE_MAX);

    (void)state;
    assert_false(buf_reserve(&buf, SIZE_MAX));
    assert_false(buf_reserve(&buf, SIZE_MAX / 2 + 2));
    assert_true(buf.failed);
    buf_reset(&buf);
    assert_true(buf_append_c(&buf, "a"));
    assert_false(buf_reserve(&buf, SIZE_MAX));
    assert_string_equal(buf_cstr(&buf), "a");
    buf_release(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_in_order),
        cmocka_unit_test(is_empty_text_at_first),
        cmocka_unit_test(refuses_whole_what_does_not_fit),
        cmocka_unit_test(closes_a_full_buffer),
        cmocka_unit_test(prints_up_to_the_last_byte),
        cmocka_unit_test(grows_up_to_its_maximum),
        cmocka_unit_test(refuses_absurd_lengths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
