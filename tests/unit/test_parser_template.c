/* tests/unit/test_parser_template.c: the pattern for new parsers compiles and does what it says; and the registry that they go into. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "parsers/template.c" /* not part of the library */
#include "tests/support/parser_rows.h"

static struct parser_row rows[] = {
    { "lines become fields", "", P("a=1\nb=2.5\n"), .want = " a=1f,b=2.5f" },
    { "the prefix stands before every name", "template_prefix=x_", P("a=1"), .want = " x_a=1f" },
    { "nan is left out and counted", "", P("a=nan\nb=1"), .want = " b=1f", .omitted = 1 },
    { "nothing gives nothing", "", P("\n"), .want = "" },
    { "refuses a line without =", "", P("a=1\nb"), .why = "expected name=number, found 'b'" },
    { "refuses text", "", P("a=x"), .why = "'x' is not a number" },
    { "refuses too many lines", "template_max_lines=1", P("a=1\nb=2"), .why = "more than 1 lines" },
};

static struct init_row inits[] = { { "refuses a prefix with =", "template_prefix=a=b", "must not hold '='" } };

static void parses(void **state) {
    check_parser_row(&parser_template, *state);
}

static void inits_row(void **state) {
    check_init_row(&parser_template, *state);
}

static void registry_finds_by_name(void **state) {
    (void)state;
    for (size_t i = 0; parser_types[i] != NULL; i++) {
        assert_ptr_equal(parser_find(parser_types[i]->name), parser_types[i]);
        assert_non_null(parser_types[i]->summary);
    }
    assert_null(parser_find("template"));
    assert_null(parser_find(""));
}

/* What the configuration loader and the documentation rely on. */
static void option_tables_are_whole(void **state) {
    (void)state;
    for (size_t i = 0; parser_types[i] != NULL; i++)
        for (const struct cfg_field *field = parser_types[i]->options; field->key != NULL; field++) {
            assert_non_null(field->help);
            assert_true(field->offset < parser_types[i]->state_size);
            assert_int_equal(field->type == CFG_ENUM, field->names != NULL);
            assert_true(field->fallback != NULL || field->type == CFG_STRINGS);
        }
}

/* fini must cope with a state whose init never ran or failed. */
static void a_state_that_never_was_set_up_can_be_freed(void **state) {
    (void)state;
    for (size_t i = 0; parser_types[i] != NULL; i++)
        parser_free(parser_types[i], parser_new(parser_types[i]));
    parser_free(parser_types[0], NULL);
}

int main(void) {
    static struct CMUnitTest tests[32];
    size_t used = 0;

    ROW_TESTS(tests, used, rows, parses);
    ROW_TESTS(tests, used, inits, inits_row);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(registry_finds_by_name);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(option_tables_are_whole);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(a_state_that_never_was_set_up_can_be_freed);
    return _cmocka_run_group_tests("parser_template", tests, used, NULL, NULL);
}
