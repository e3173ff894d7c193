/* tests/unit/test_parser_influx.c: line protocol in, raw names and values out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/parser_rows.h"

extern const struct parser_type parser_influx;

static struct parser_row rows[] = {
    { "a field", "", P("cpu value=1"), .want = "cpu value=1" },
    { "tags, fields and time", "", P("cpu,host=a,dc=b idle=98.5,busy=1i 1700000000000000001"),
      .want = "cpu,host=a,dc=b idle=98.5,busy=1i 1700000000000000001" },
    { "all types", "", P("m a=1,b=-2i,c=3u,d=t,e=False,f=\"x\",g=1e3,h=.5,i=1.,j=007"),
      .want = "m a=1,b=-2i,c=3u,d=true,e=false,f=\"x\",g=1000f,h=0.5f,i=1f,j=7f" },
    { "the ends of the integers", "", P("m a=9223372036854775807i,b=-9223372036854775808i,c=18446744073709551615u"),
      .want = "m a=9223372036854775807i,b=-9223372036854775808i,c=18446744073709551615u" },
    { "number text as it is", "", P("m a=21.50,b=9007199254740993"), .want = "m a=21.50,b=9007199254740993" },
    { "several lines, CRLF, blanks, comments, empty ones", "",
      P("# note\n  a v=1 1 \r\n\r\n\t\n #x\nb\tv=2\t2\nc v=3"), .want = "a v=1 1\nb v=2 2\nc v=3" },
    { "an empty payload gives nothing", "", P(""), .want = "" },
    { "comments only give nothing", "", P("# a\n#b"), .want = "" },
    { "mark and trailing NUL", "", P("\xEF\xBB\xBF" "m v=1\n\0"), .want = "m v=1" },
    { "a negative time", "", P("m v=1 -1"), .want = "m v=1 -1" },

    { "unescapes names and tags", "", P("m\\ a\\,b\\=,k\\ \\,\\==v\\ \\,\\= f\\ \\,\\==1"), .want = "m a,b\\=,k ,==v ,= f ,==1" },
    { "other backslashes stay", "", P("m\\n,k\\\\x=v\\x f\\\"=1"), .want = "m\\n,k\\\\x=v\\x f\\\"=1" },
    { "of two backslashes the second escapes", "", P("m,t=a\\\\,b f=1"), .want = "m,t=a\\,b f=1" },
    { "a measurement may hold =", "", P("a=b v=1"), .want = "a=b v=1" },
    { "quotes around names are part of them", "", P("\"m\",\"t\"=\"x\" \"f\"=1"), .want = "\"m\",\"t\"=\"x\" \"f\"=1" },
    { "strings: quote, backslash, others", "", P("m a=\"x\\\"y\\\\z\\n, =\",b=1"), .want = "m a=\"x\"y\\z\\n, =\",b=1" },
    { "a backslash before the closing quote", "", P("m a=\"c:\\\\\""), .want = "m a=\"c:\\\"" },
    { "a line feed in a string", "", P("m a=\"x\ny\" 5\nn v=1"), .want = "m a=\"x\ny\" 5\nn v=1" },
    { "an empty string", "", P("m a=\"\""), .want = "m a=\"\"" },
    { "a comment sign later is no comment", "", P("m v=1 \n#m v=2\nx#y v=3"), .want = "m v=1\nx#y v=3" },

    { "precision in seconds", "influx_timestamp_precision=1s", P("m v=1 1700000000"), .want = "m v=1 1700000000000000000" },
    { "precision in milliseconds", "influx_timestamp_precision=1ms", P("m v=1 1700000000123"), .want = "m v=1 1700000000123000000" },
    { "refuses a time that overflows", "influx_timestamp_precision=1s", P("m v=1 9223372037"), .why = "a timestamp that fits 64 bits" },
    { "takes the largest time", "influx_timestamp_precision=1s", P("m v=1 9223372036"), .want = "m v=1 9223372036000000000" },

    { "the last of two equal tags counts", "", P("m,a=1,b=2,a=3 v=1"), .want = "m,b=2,a=3 v=1", .omitted = 1 },
    { "the last of two equal fields counts", "", P("m v=1,w=2,v=\"x\""), .want = "m w=2,v=\"x\"", .omitted = 1 },
    { "many fields, some of them twice", "",
      P("m a=0,b=0,c=0,d=0,e=0,f=0,g=0,h=0,i=0,j=0,k=0,l=0,m=0,n=0,o=0,p=0,q=0,r=0,s=0,t=0,u=0,v=0,w=0,x=0,y=0,z=0,a=1,z=2"),
      .want = "m b=0,c=0,d=0,e=0,f=0,g=0,h=0,i=0,j=0,k=0,l=0,m=0,n=0,o=0,p=0,q=0,r=0,s=0,t=0,u=0,v=0,w=0,x=0,y=0,a=1,z=2",
      .omitted = 2 },

    { "refuses a line without fields", "", P("cpu"), .why = "a blank before the fields at line 1:4, found the end" },
    { "refuses a line without a field", "", P("cpu "), .why = "a field key at line 1:5" },
    { "refuses no measurement", "", P(",a=b v=1"), .why = "a measurement at line 1:1, found ','" },
    { "refuses an empty tag value", "", P("m,a= v=1"), .why = "a tag value at line 1:5, found ' '" },
    { "refuses an empty tag key", "", P("m,=x v=1"), .why = "a tag key" },
    { "refuses a tag without a value", "", P("m,a v=1"), .why = "'=' after a tag key" },
    { "refuses = in a tag value", "", P("m,a=b=c v=1"), .why = "after a tag value at line 1:6" },
    { "refuses a field without a value", "", P("m v"), .why = "'=' after a field key" },
    { "refuses an empty value", "", P("m v="), .why = "a number, an integer" },
    { "refuses NaN", "", P("m v=NaN"), .why = "a number, an integer" },
    { "refuses hexadecimal", "", P("m v=0x1f"), .why = "a number, an integer" },
    { "refuses a plus", "", P("m v=+1"), .why = "found '+'" },
    { "refuses 1.0i", "", P("m v=1.0i"), .why = "at line 1:5" },
    { "refuses an integer past its range", "", P("m v=9223372036854775808i"), .why = "in range" },
    { "refuses a negative unsigned", "", P("m v=-1u"), .why = "in range" },
    { "refuses a float past its range", "", P("m v=1e400"), .why = "a number" },
    { "refuses text without quotes", "", P("m v=abc"), .why = "a string in quotes" },
    { "refuses an open string", "", P("m v=\"abc"), .why = "the closing quote of a string" },
    { "refuses something behind a string", "", P("m v=\"a\"x"), .why = "',' or a blank after a field" },
    { "refuses a float time", "", P("m v=1 1.5"), .why = "a timestamp" },
    { "refuses something behind the time", "", P("m v=1 1 2"), .why = "the end of the line at line 1:9" },
    { "refuses a trailing comma", "", P("m v=1,"), .why = "a field key at line 1:7" },
    { "refuses broken UTF-8 in a tag", "", P("m,a=\xC3\x28 v=1"), .why = "not valid UTF-8" },
    { "refuses broken UTF-8 in a string", "", P("m v=\"\xC3\x28\""), .why = "not valid UTF-8" },
    { "counts lines over strings with line feeds", "", P("m v=\"x\ny\"\nm v=?"), .why = "at line 3:5, found '?'" },
    { "one bad line fails all", "", P("m v=1\nm v\nm v=2"), .why = "at line 2:4" },

    { "skipping keeps the good lines", "influx_skip_bad_lines=true", P("m v=1\nm,a=b w=1,v\nm v=2"), .want = "m v=1\nm v=2", .omitted = 1 },
    { "skipping an open string loses one line only", "influx_skip_bad_lines=true", P("m v=\"x\nm v=2\nm v=3"), .want = "m v=2\nm v=3",
      .omitted = 1 },
    { "skipping everything", "influx_skip_bad_lines=true", P("a\nb\n"), .want = "", .omitted = 2 },
};

static struct init_row inits[] = {
    { "refuses another precision", "influx_timestamp_precision=60", "must be 1ns, 1us, 1ms or 1s" },
    { "takes Telegraf's reader choice", "influx_parser_type=upstream influx_timestamp_precision=1us", NULL },
};

static void parses(void **state) {
    check_parser_row(&parser_influx, *state);
}

static void inits_row(void **state) {
    check_init_row(&parser_influx, *state);
}

static void fails_cleanly_at_every_cap(void **state) {
    static const char payload[] = "m\\ x,a\\ b=c v=1,w=\"\\\"x\"\nm,a=b v=1,v=2,w=3\nm v=1";
    struct parser_fixture fixture;
    bool fine = false;

    (void)state;
    assert_true(fixture_init(&fixture, &parser_influx, ""));
    for (size_t cap = 0; cap < 8192 && !fine; cap += 16) {
        points_release(&fixture.out);
        points_init(&fixture.out, cap);
        fine = fixture_parse(&fixture, STR(payload), 1);
        if (!fine) {
            assert_int_equal(fixture.err.code, ERR_LIMIT);
            assert_int_equal(fixture.out.count + fixture.out.tag_count + fixture.out.field_count, 0);
        }
    }
    assert_true(fine);
    assert_int_equal(fixture.out.count, 3);
    fixture_release(&fixture);
}

int main(void) {
    static struct CMUnitTest tests[128];
    size_t used = 0;

    ROW_TESTS(tests, used, rows, parses);
    ROW_TESTS(tests, used, inits, inits_row);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(fails_cleanly_at_every_cap);
    return _cmocka_run_group_tests("parser_influx", tests, used, NULL, NULL);
}
