/* tests/unit/test_diag.c: order, wording and bounds of complaints. */
#include "config/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/config_text.h"

static struct src_pos at(const char *file, unsigned line, unsigned column) {
    return (struct src_pos){ file, line, column };
}

static void assert_printed(struct diags *diags, const char *want) {
    char *text = printed(diags);

    assert_string_equal(text, want);
    free(text);
}

static void sorts_by_file_line_column(void **state) {
    struct diags diags = { .items = NULL };

    (void)state;
    diag_add(&diags, at("b.yaml", 1, 1), "fourth");
    diag_add(&diags, at("a.yaml", 10, 1), "third");
    diag_warn(&diags, at("a.yaml", 2, 10), "second");
    diag_add(&diags, at("a.yaml", 2, 9), "first %d", 1);
    assert_printed(&diags, "a.yaml:2:9: error: first 1\n"
                           "a.yaml:2:10: warning: second\n"
                           "a.yaml:10:1: error: third\n"
                           "b.yaml:1:1: error: fourth\n");
    assert_int_equal(diags.errors, 3);
    assert_int_equal(diags.warnings, 1);
    diags_release(&diags);
}

static void prints_the_same_once(void **state) {
    struct diags diags = { .items = NULL };

    (void)state;
    diag_add(&diags, at("a.yaml", 1, 1), "twice");
    diag_add(&diags, at("a.yaml", 1, 1), "twice");
    diag_warn(&diags, at("a.yaml", 1, 1), "twice");
    assert_printed(&diags, "a.yaml:1:1: error: twice\na.yaml:1:1: warning: twice\n");
    assert_int_equal(diags.errors, 1);
    diags_release(&diags);
}

static void leaves_out_what_is_not_known_of_a_place(void **state) {
    struct diags diags = { .items = NULL };

    (void)state;
    diag_add(&diags, at("a.yaml", 0, 0), "no such file");
    diag_add(&diags, at(NULL, 0, 0), "nothing is given");
    assert_printed(&diags, "error: nothing is given\na.yaml: error: no such file\n");
    diags_release(&diags);
}

static void prints_no_control_bytes(void **state) {
    struct diags diags = { .items = NULL };

    (void)state;
    diag_add(&diags, at("a.yaml", 1, 1), "unknown option '%s'", "a\033[2J\nb");
    assert_printed(&diags, "a.yaml:1:1: error: unknown option 'a [2J b'\n");
    diags_release(&diags);
}

static void cuts_long_texts_between_characters(void **state) {
    struct diags diags = { .items = NULL };
    char umlauts[600];

    (void)state;
    for (size_t i = 0; i + 1 < sizeof umlauts; i += 2)
        memcpy(umlauts + i, "\xC3\xBC", 2);
    umlauts[sizeof umlauts - 2] = '\0';
    diag_add(&diags, at("a.yaml", 1, 1), "%s", umlauts);
    diag_add(&diags, at("a.yaml", 1, 2), "x%s", umlauts);
    for (size_t i = 0; i < 2; i++) {
        const char *text = diags.items[i].text;
        size_t len = strlen(text);
        assert_true(len < sizeof diags.items[i].text);
        assert_string_equal(text + len - 3, "...");
        assert_int_equal((unsigned char)text[len - 4], 0xBC);
    }
    diags_release(&diags);
}

static void counts_what_it_does_not_keep(void **state) {
    struct diags diags = { .items = NULL };
    char *text;

    (void)state;
    for (unsigned i = 1; i <= DIAGS_MAX + 7; i++)
        diag_add(&diags, at("a.yaml", i, 1), "wrong");
    assert_int_equal(diags.count, DIAGS_MAX);
    assert_int_equal(diags.errors, DIAGS_MAX + 7);
    text = printed(&diags);
    assert_non_null(strstr(text, "\n7 more complaints are not shown\n"));
    free(text);
    diags_release(&diags);
    diags_release(&diags);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_by_file_line_column),
        cmocka_unit_test(prints_the_same_once),
        cmocka_unit_test(leaves_out_what_is_not_known_of_a_place),
        cmocka_unit_test(prints_no_control_bytes),
        cmocka_unit_test(cuts_long_texts_between_characters),
        cmocka_unit_test(counts_what_it_does_not_keep),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
