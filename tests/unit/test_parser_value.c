/* tests/unit/test_parser_value.c: one bare value per payload; the accepted rows are Telegraf's answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/parser_rows.h"

extern const struct parser_type parser_value;

static struct parser_row rows[] = {
    { "an integer by default", "", P("55"), .want = " value=55i" },
    { "keeps the sign", "", P("-5"), .want = " value=-5i" },
    { "takes a plus", "", P("+21"), .want = " value=21i" },
    { "blanks around", "", P(" 21\r\n"), .want = " value=21i" },
    { "Unicode blanks around", "", P("\xC2\xA0\xE2\x80\x89" "21\xE3\x80\x80"), .want = " value=21i" },
    { "NULs and mark around", "", P("\xEF\xBB\xBF" "21\0"), .want = " value=21i" },
    { "NULs before", "", P("\0\0" "21"), .want = " value=21i" },
    { "the last of several words", "", P("55 45 223 12 999"), .want = " value=999i" },
    { "strict refuses several words", "value_strict=true", P("55 45"), .why = "not a single word" },
    { "strict takes one word with blanks", "value_strict=true", P(" 55\n"), .want = " value=55i" },
    { "a float is no integer", "", P("55.0"), .why = "is data_type float meant?" },
    { "refuses a unit", "", P("21 C"), .why = "'C' is not an integer" },
    { "refuses an integer past 64 bits", "", P("9223372036854775808"), .why = "not an integer of 64 bits" },
    { "the smallest integer", "", P("-9223372036854775808"), .want = " value=-9223372036854775808i" },
    { "refuses hexadecimal", "", P("0x15"), .why = "not an integer" },
    { "an empty payload gives nothing", "", P(""), .want = "" },
    { "a lone NUL gives nothing", "", P("\0"), .want = "" },
    { "blanks give nothing", "", P(" \n"), .want = "" },
    { "another field name", "value_field_name=penguin", P("55"), .want = " penguin=55i" },

    { "a float", "data_type=float", P("64"), .want = " value=64f" },
    { "long is a float", "data_type=long", P("2.5"), .want = " value=2.5f" },
    { "a float with an exponent", "data_type=float", P("2.1e1"), .want = " value=21f" },
    { "a float with an open point", "data_type=float", P("25."), .want = " value=25f" },
    { "a float with a leading point", "data_type=float", P(".5"), .want = " value=0.5f" },
    { "refuses a decimal comma", "data_type=float", P("21,0"), .why = "'21,0' is not a number" },
    { "refuses a float past its range", "data_type=float", P("1e400"), .why = "not a number in the range" },
    { "refuses a unit behind the number", "data_type=float", P("20.6\xE2\x84\x83"), .why = "is not a number" },
    { "refuses text", "data_type=float", P("foobar"), .why = "'foobar' is not a number" },
    { "NaN is left out and counted", "data_type=float", P("NaN"), .want = "", .omitted = 1 },
    { "infinity is left out and counted", "data_type=float", P("-Infinity"), .want = "", .omitted = 1 },
    { "None is left out and counted", "data_type=int", P("None"), .want = "", .omitted = 1 },
    { "unknown is left out and counted", "data_type=float", P("unknown"), .want = "", .omitted = 1 },
    { "unavailable is left out and counted", "data_type=integer", P("unavailable\n"), .want = "", .omitted = 1 },

    { "a string", "data_type=string", P(" foo bar "), .want = " value=\"foo bar\"" },
    { "str is a string", "data_type=str", P("x"), .want = " value=\"x\"" },
    { "text is a string", "data_type=text", P("x"), .want = " value=\"x\"" },
    { "the empty string of Homie", "data_type=string", P("\0"), .want = " value=\"\"" },
    { "a string called unknown", "data_type=string", P("unknown"), .want = " value=\"unknown\"" },
    { "refuses broken UTF-8", "data_type=string", P("\xC3\x28"), .why = "not valid UTF-8" },

    { "true", "data_type=boolean", P("true"), .want = " value=true" },
    { "T", "data_type=bool", P("T"), .want = " value=true" },
    { "0", "data_type=boolean", P("0"), .want = " value=false" },
    { "refuses another number", "data_type=boolean", P("213"), .why = "'213' is not a boolean" },
    { "refuses ON", "data_type=boolean", P("ON"), .why = "'ON' is not a boolean" },
    { "refuses an odd case", "data_type=boolean", P("tRue"), .why = "not a boolean" },

    { "base64 with no padding", "data_type=base64", P("foobar"), .want = " value=\"Zm9vYmFy\"" },
    { "base64 with one", "data_type=base64", P("fooba"), .want = " value=\"Zm9vYmE=\"" },
    { "base64 with two, of any bytes", "data_type=base64", P("\x01\xFF\xC3\x28"), .want = " value=\"Af/DKA==\"" },
    { "base64 keeps blanks and NULs", "data_type=base64", P(" x\0"), .want = " value=\"IHgA\"" },

    { "auto_integer: integer", "data_type=auto_integer", P("55"), .want = " value=55i" },
    { "auto_integer: text", "data_type=auto_integer", P("foobar"), .want = " value=\"foobar\"" },
    { "auto_integer: a float is text", "data_type=auto_integer", P("55.0"), .want = " value=\"55.0\"" },
    { "auto_integer: unknown is text", "data_type=auto_integer", P("unknown"), .want = " value=\"unknown\"" },
    { "auto_float: float", "data_type=auto_float", P("64.2"), .want = " value=64.200000000000003f" },
    { "auto_float: text", "data_type=auto_float", P("a b"), .want = " value=\"b\"" },
    { "auto_float: NaN is left out", "data_type=auto_float", P("nan"), .want = "", .omitted = 1 },
    { "auto refuses broken UTF-8", "data_type=auto_float", P("\xFF"), .why = "not valid UTF-8" },
};

static struct init_row inits[] = {
    { "refuses an empty field name", "value_field_name=", "value_field_name is empty" },
    { "takes defaults", "", NULL },
};

static void parses(void **state) {
    check_parser_row(&parser_value, *state);
}

static void inits_row(void **state) {
    check_init_row(&parser_value, *state);
}

static void fails_cleanly_at_every_cap(void **state) {
    struct parser_fixture fixture;
    bool fine = false;

    (void)state;
    assert_true(fixture_init(&fixture, &parser_value, "data_type=base64"));
    for (size_t cap = 0; cap < 2048 && !fine; cap += 8) {
        points_release(&fixture.out);
        points_init(&fixture.out, cap);
        fine = fixture_parse(&fixture, STR("abc"), 1);
        if (!fine)
            assert_int_equal(fixture.out.count + fixture.out.field_count, 0);
    }
    assert_true(fine);
    fixture_release(&fixture);
}

int main(void) {
    static struct CMUnitTest tests[128];
    size_t used = 0;

    ROW_TESTS(tests, used, rows, parses);
    ROW_TESTS(tests, used, inits, inits_row);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(fails_cleanly_at_every_cap);
    return _cmocka_run_group_tests("parser_value", tests, used, NULL, NULL);
}
