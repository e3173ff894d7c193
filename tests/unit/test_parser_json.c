/* tests/unit/test_parser_json.c: what becomes of a JSON payload; the first rows are Telegraf's own documented examples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/parser_rows.h"

extern const struct parser_type parser_json;

#define DEEP16 "[[[[[[[[[[[[[[[["
#define DEEP64 DEEP16 DEEP16 DEEP16 DEEP16

static struct parser_row rows[] = {
    /* Telegraf's README */
    { "flattens nested objects and drops strings", "", P("{\"a\":5,\"b\":{\"c\":6},\"ignored\":\"I'm a string\"}"), .want = " a=5,b_c=6",
      .omitted = 1 },
    { "takes name, tags and listed strings", "json_name_key=name tag_keys=my_tag_1 json_string_fields=b_my_field",
      P("{\"a\":5,\"b\":{\"c\":6,\"my_field\":\"description\"},\"my_tag_1\":\"foo\",\"name\":\"my_json\"}"),
      .want = "my_json,my_tag_1=foo a=5,b_c=6,b_my_field=\"description\"" },
    { "makes one point per element with its own time", "json_time_key=b_time json_time_format=02~Jan~06~15:04~MST",
      P("[{\"a\":5,\"b\":{\"c\":6,\"time\":\"04 Jan 06 15:04 MST\"}},{\"a\":7,\"b\":{\"c\":8,\"time\":\"11 Jan 07 15:04 MST\"}}]"),
      .want = " a=5,b_c=6 1136412240000000000\n a=7,b_c=8 1168553040000000000" },
    { "follows json_query to an array", "tag_keys=first json_string_fields=last json_query=obj.friends",
      P("{\"obj\":{\"age\":37,\"fav.movie\":\"x\",\"friends\":[{\"first\":\"Dale\",\"last\":\"Murphy\",\"age\":44},"
        "{\"first\":\"Jane\",\"last\":\"Murphy\",\"age\":47}]}}"),
      .want = ",first=Dale last=\"Murphy\",age=44\n,first=Jane last=\"Murphy\",age=47" },

    /* roots */
    { "an empty payload gives nothing", "", P(""), .want = "" },
    { "blanks give nothing", "", P("\n\t "), .want = "" },
    { "an empty object gives nothing", "", P("{}"), .want = "" },
    { "an empty array gives nothing", "", P("[]"), .want = "" },
    { "null gives nothing and is counted", "", P("null"), .want = "", .omitted = 1 },
    { "a number alone is refused", "", P("42"), .why = "must be an object or an array of objects" },
    { "a string alone is refused", "", P("\"x\""), .why = "must be an object or an array of objects" },
    { "an array of numbers is refused", "", P("[1,2]"), .why = "must be an object or an array of objects" },
    { "an array in an array is refused", "", P("[{\"a\":1},[]]"), .why = "must be an object or an array of objects" },
    { "null in an array is refused", "", P("[{\"a\":1},null]"), .why = "must be an object or an array of objects" },
    { "text is refused with its place", "", P("I don't think"), .why = "expected a value at byte 0, found 'I'" },
    { "an object of strings only gives no point", "", P("{\"a\":\"x\",\"b\":\"y\"}"), .want = "", .omitted = 2 },
    { "an element without fields does not cost its neighbour", "tag_keys=t", P("[{\"t\":\"x\"},{\"t\":\"y\",\"v\":1}]"), .want = ",t=y v=1" },
    { "strips mark, blanks and trailing NULs", "", P("\xEF\xBB\xBF {\"a\":1}\n\0\0"), .want = " a=1" },

    /* keys */
    { "numbers an array's elements", "", P("{\"a\":[1,[2,{\"b\":3}]]}"), .want = " a_0=1,a_1_0=2,a_1_1_b=3" },
    { "an empty key is left out", "", P("{\"\":1,\"a\":2}"), .want = " a=2", .omitted = 1 },
    { "an empty outer key adds no joint", "", P("{\"\":{\"b\":1}}"), .want = " b=1" },
    { "an empty inner key adds a joint", "", P("{\"b\":{\"\":1}}"), .want = " b_=1" },
    { "unescapes keys", "", P("{\"a\\u00e9\\n\\\"\":1}"), .want = " a\xC3\xA9\n\"=1" },
    { "two spellings are one key", "", P("{\"ab\":1,\"a\\u0062\":2}"), .want = " ab=2", .omitted = 1 },
    { "keeps keys longer than eight bytes apart", "", P("{\"temperature_a\":1,\"temperature_b\":2,\"temperature\":3}"),
      .want = " temperature_a=1,temperature_b=2,temperature=3" },
    { "the last of two equal keys counts", "", P("{\"a\":1,\"b\":2,\"a\":3}"), .want = " b=2,a=3", .omitted = 1 },
    { "a later null takes the key back", "", P("{\"a\":1,\"b\":2,\"a\":null}"), .want = " b=2", .omitted = 2 },
    { "a later object replaces the whole earlier one", "", P("{\"a\":{\"x\":1,\"z\":9},\"a\":{\"y\":2,\"x\":3}}"), .want = " a_y=2,a_x=3",
      .omitted = 2 },
    { "a later number replaces an object", "", P("{\"a\":{\"x\":1},\"a\":5}"), .want = " a=5", .omitted = 1 },
    { "a later tag replaces the earlier", "tag_keys=t", P("{\"t\":\"x\",\"v\":1,\"t\":\"y\"}"), .want = ",t=y v=1", .omitted = 1 },
    { "a later name that is no string takes the name back", "json_name_key=n", P("{\"n\":\"x\",\"v\":1,\"n\":2}"), .want = " v=1,n=2" },
    { "of two ways to one key the last counts", "", P("{\"a_b\":1,\"c\":0,\"a\":{\"b\":2}}"), .want = " c=0,a_b=2", .omitted = 1 },
    { "of two ways to one key a replaced one does not count", "", P("{\"a_b\":1,\"a\":{\"b\":2},\"a\":null}"), .want = " a_b=1",
      .omitted = 2 },
    { "of two ways to one tag the last counts", "tag_keys=a_b", P("{\"a_b\":1,\"c\":0,\"a\":{\"b\":2}}"), .want = ",a_b=2 c=0", .omitted = 1 },
    { "duplicates of one element do not touch the next", "", P("[{\"a\":1,\"a\":2},{\"a\":3}]"), .want = " a=2\n a=3", .omitted = 1 },
    { "a dropped string also counts as the last", "", P("{\"a\":1,\"a\":\"x\",\"b\":1}"), .want = " b=1", .omitted = 2 },

    /* numbers */
    { "keeps number text as it is", "", P("{\"a\":21.50,\"b\":-0,\"c\":9007199254740993,\"d\":18446744073709551615,\"e\":1E+2}"),
      .want = " a=21.50,b=-0,c=9007199254740993,d=18446744073709551615,e=1E+2" },
    { "leaves out what no float holds", "", P("{\"a\":1e400,\"b\":-1e400,\"c\":1e-400,\"d\":1}"), .want = " c=1e-400,d=1", .omitted = 2 },
    { "refuses a leading zero", "", P("{\"a\":01}"), .why = "a number without leading zeros" },
    { "refuses a bare point", "", P("{\"a\":25.}"), .why = "digits on both sides of a point at byte 5" },
    { "refuses a leading point", "", P("{\"a\":.5}"), .why = "expected a value at byte 5, found '.'" },
    { "refuses a plus", "", P("{\"a\":+1}"), .why = "expected a value at byte 5, found '+'" },
    { "refuses an empty exponent", "", P("{\"a\":1e}"), .why = "after its exponent" },
    { "refuses hexadecimal", "", P("{\"a\":0x15}"), .why = "',' or '}' at byte 6, found 'x'" },
    { "refuses NaN", "", P("{\"a\":NaN}"), .why = "expected a value at byte 5, found 'N'" },
    { "exact integers", "json_integers=exact", P("{\"a\":21,\"b\":21.0,\"c\":-9223372036854775808,\"d\":9223372036854775808,\"e\":1e3}"),
      .want = " a=21i,b=21.0,c=-9223372036854775808i,d=9223372036854775808,e=1e3" },
    { "canonical numbers", "json_canonical_numbers=true",
      P("{\"a\":21.50,\"b\":1e3,\"c\":9007199254740993,\"d\":1e-7,\"e\":-0.0,\"f\":34.67,\"g\":1e23}"),
      .want = " a=21.5,b=1000,c=9007199254740992,d=0.0000001,e=-0,f=34.67,g=100000000000000000000000" },

    /* strings and booleans */
    { "globs select strings and booleans", "json_string_fields=st*,d?", P("{\"state\":\"ON\",\"d1\":true,\"d22\":false,\"x\":\"y\"}"),
      .want = " state=\"ON\",d1=true", .omitted = 2 },
    { "a listed number stays a number", "json_string_fields=a", P("{\"a\":1}"), .want = " a=1" },
    { "all strings", "json_strings=all", P("{\"a\":\"x\",\"b\":true,\"c\":1}"), .want = " a=\"x\",c=1", .omitted = 1 },
    { "all booleans", "json_booleans=keep", P("{\"a\":\"x\",\"b\":true,\"c\":1}"), .want = " b=true,c=1", .omitted = 1 },
    { "booleans as integers", "json_booleans=integer", P("{\"b\":true,\"c\":false}"), .want = " b=1i,c=0i" },
    { "unescapes strings", "json_strings=all", P("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\ud83d\\ude00\"}"),
      .want = " a=\"\"\\/\b\f\n\r\tA\xF0\x9F\x98\x80\"" },
    { "a lone surrogate becomes U+FFFD", "json_strings=all", P("{\"a\":\"\\ud83dx\\ude00\"}"), .want = " a=\"\xEF\xBF\xBDx\xEF\xBF\xBD\"" },
    { "refuses broken UTF-8 in a kept string", "json_strings=all", P("{\"a\":\"\xC3\x28\"}"), .why =
      "the string at byte 6 is not valid UTF-8" },
    { "broken UTF-8 in a dropped string is no matter", "", P("{\"a\":\"\xC3\x28\",\"b\":1}"), .want = " b=1", .omitted = 1 },
    { "refuses broken UTF-8 in a key", "", P("{\"\xC3\x28\":1}"), .why = "not valid UTF-8" },
    { "refuses a raw line feed in a string", "", P("{\"a\":\"x\ny\"}"), .why = "no raw control byte in a string at byte 7" },
    { "refuses an unknown escape", "", P("{\"a\":\"\\x\"}"), .why = "one of \"\\/bfnrtu after a backslash at byte 7" },
    { "refuses a short \\u", "", P("{\"a\":\"\\u12\"}"), .why = "four hexadecimal digits" },
    { "refuses an open string", "", P("{\"a\":\"x"), .why = "the closing quote of a string at byte 7, found the end" },
    { "refuses a backslash at the end", "", P("{\"a\":\"x\\"), .why = "after a backslash" },

    /* tags */
    { "prints tags as Telegraf does", "tag_keys=*", P("[{\"a\":1},{\"b\":2}]"), .want = "" },
    { "numbers and booleans become tags", "tag_keys=t*", P("{\"t1\":21.50,\"t2\":true,\"t3\":1e3,\"t4\":9007199254740993,\"v\":1}"),
      .want = ",t1=21.5,t2=true,t3=1000,t4=9007199254740993 v=1" },
    { "a nested tag has its flat key", "tag_keys=b_c,d_0", P("{\"b\":{\"c\":\"x\"},\"d\":[\"y\"],\"v\":1}"), .want = ",b_c=x,d_0=y v=1" },

    /* name */
    { "the name stays a field when it is listed", "json_name_key=n json_string_fields=n", P("{\"n\":\"m\",\"v\":1}"), .want = "m n=\"m\",v=1" },
    { "the name may be a tag too", "json_name_key=n tag_keys=n", P("{\"n\":\"m\",\"v\":1}"), .want = "m,n=m v=1" },
    { "without the name key the default stays", "json_name_key=n metric_name=dft", P("{\"v\":1}"), .want = "dft v=1" },
    { "a nested name key", "json_name_key=d_n", P("{\"d\":{\"n\":\"m\"},\"v\":1}"), .want = "m v=1" },

    /* time */
    { "unix time with a fraction, from the digits", "json_time_key=t json_time_format=unix", P("{\"t\":1581520546.014773143,\"v\":1}"),
      .want = " v=1 1581520546014773143" },
    { "nanoseconds beyond a double", "json_time_key=t json_time_format=unix_ns", P("{\"t\":1581520546014773143,\"v\":1}"),
      .want = " v=1 1581520546014773143" },
    { "a text time with a zone of its own", "json_time_key=t json_time_format=2006-01-02T15:04:05 json_timezone=Europe/Berlin",
      P("{\"v\":1,\"t\":\"2020-02-12T16:15:46\"}"), .want = " v=1 1581520546000000000" },
    { "the time is no tag and no field", "json_time_key=t json_time_format=RFC3339 tag_keys=t json_string_fields=t",
      P("{\"t\":\"2020-02-12T15:15:46Z\",\"v\":1}"), .want = " v=1 1581520546000000000" },
    { "a missing time fails", "json_time_key=t json_time_format=unix", P("{\"v\":1}"), .why = "time key 't' is not in the payload" },
    { "a time that is null is missing", "json_time_key=t json_time_format=unix", P("{\"v\":1,\"t\":null}"), .why = "is not in the payload" },
    { "a boolean is no time", "json_time_key=t json_time_format=unix", P("{\"t\":true,\"v\":1}"), .why = "neither a number nor a string" },
    { "strict: one bad element fails all", "json_time_key=t json_time_format=unix", P("[{\"t\":1,\"v\":1},{\"v\":2},{\"t\":3,\"v\":3}]"),
      .why = "time key 't'" },
    { "not strict: only the bad element goes", "json_time_key=t json_time_format=unix json_strict=false tag_keys=g",
      P("[{\"t\":1,\"v\":1},{\"g\":\"x\",\"v\":2,\"w\":5},{\"t\":3,\"v\":3}]"), .want = " v=1 1000000000\n v=3 3000000000", .omitted = 1 },
    { "not strict: a single object still fails", "json_time_key=t json_time_format=unix json_strict=false", P("{\"v\":1}"), .why =
      "time key 't'" },
    { "not strict: broken syntax still fails", "json_strict=false", P("[{\"v\":1},{\"v\":]"), .why = "expected a value at byte 14" },
    { "a layout without a year takes the message's", "json_time_key=t json_time_format=Jan~_2~15:04:05", P("{\"t\":\"Mar  1 00:00:10\",\"v\":1}"),
      .want = " v=1 1583020810000000000", .received_ns = 1583020811000000000 },

    /* query */
    { "query that leads nowhere", "json_query=a.b", P("{\"a\":{\"c\":1}}"), .want = "", .omitted = 1 },
    { "query that leads to a number", "json_query=a", P("{\"a\":1}"), .why = "must be an object or an array of objects" },
    { "query with an index", "json_query=a.1", P("{\"a\":[{\"b\":1},{\"b\":2}]}"), .want = " b=2" },
    { "query with an escaped dot", "json_query=a\\.b", P("{\"a.b\":{\"c\":1}}"), .want = " c=1" },
    { "query with a glob takes the first", "json_query=ch?ld*", P("{\"x\":1,\"child_1\":{\"c\":1},\"child_2\":{\"c\":2}}"), .want = " c=1" },
    { "query into every element", "json_query=list.#.data", P("{\"list\":[{\"data\":{\"v\":1}},{},{\"data\":{\"v\":2}}]}"), .want = " v=1\n v=2" },
    { "query through two arrays", "json_query=#.a.0", P("[{\"a\":[{\"v\":1}]},{\"a\":[{\"v\":2},{\"v\":3}]}]"), .want = " v=1\n v=2" },
    { "query compares unescaped keys", "json_query=caf\xC3\xA9", P("{\"caf\\u00e9\":{\"v\":1}}"), .want = " v=1" },
    { "query checks the rest of the payload too", "json_query=a", P("{\"a\":{\"v\":1},\"b\":}"), .why = "expected a value at byte 17" },
    { "query of a payload with something behind", "json_query=a", P("{\"a\":{\"v\":1}} x"), .why = "nothing more at byte 14" },

    /* syntax */
    { "refuses what stands behind", "", P("{\"a\":1} {"), .why = "expected nothing more at byte 8, found '{'" },
    { "a refused payload counts nothing", "", P("{\"a\":\"dropped\"} x"), .why = "expected nothing more at byte 16" },
    { "refuses a missing colon", "", P("{\"a\" 1}"), .why = "expected ':' after a key at byte 5, found '1'" },
    { "refuses a missing comma", "", P("{\"a\":1 \"b\":2}"), .why = "expected ',' or '}' at byte 7, found '\"'" },
    { "refuses a trailing comma", "", P("{\"a\":1,}"), .why = "expected a key in quotes at byte 7, found '}'" },
    { "refuses a trailing comma in an array", "", P("{\"a\":[1,]}"), .why = "expected a value at byte 8, found ']'" },
    { "refuses a cut payload", "", P("{\"a\":{\"b\":1"), .why = "expected ',' or '}' at byte 11, found the end" },
    { "refuses a NUL inside", "", P("{\"a\"\0:1}"), .why = "found byte 0x00" },
    { "refuses single quotes", "", P("{'a':1}"), .why = "a key in quotes" },
    { "refuses other words", "", P("{\"a\":nul}"), .why = "expected a value at byte 5" },
    { "offsets count what was stripped", "", P("\xEF\xBB\xBF  {\"a\":x}"), .why = "at byte 10, found 'x'" },
    { "takes any white space", "", P(" {\n\t\"a\" :\r 1 ,\n \"b\" : [ 2 , 3 ] }\n"), .want = " a=1,b_0=2,b_1=3" },
    { "a null is left out and counted", "", P("{\"a\":null,\"b\":1}"), .want = " b=1", .omitted = 1 },
    { "refuses bottomless nesting", "", P("{\"a\":" DEEP64), .why = "nested deeper than 64" },
    { "refuses bottomless nesting under a query", "json_query=a", P("{\"a\":" DEEP64), .why = "nested deeper than 64" },

    /* lenient */
    { "lenient: numbers", "json_lenient=true", P("{\"a\":25.,\"b\":.5,\"c\":+1,\"d\":007,\"e\":1.e2}"), .want = " a=25f,b=0.5f,c=1f,d=7f,e=100f" },
    { "lenient: what is no number", "json_lenient=true", P("{\"a\":NaN,\"b\":-Infinity,\"c\":nan,\"d\":inf,\"e\":None,\"f\":1}"), .want = " f=1",
      .omitted = 5 },
    { "lenient: Python's print", "json_lenient=true json_strings=all json_booleans=keep",
      P("{'a': True, 'b': 'it\\'s', 'c': None, 'd': False,}"), .want = " a=true,b=\"it's\",d=false", .omitted = 1 },
    { "lenient: raw control bytes", "json_lenient=true json_strings=all", P("{\"a\":\"x\ny\"}"), .want = " a=\"x\ny\"" },
    { "lenient: trailing commas", "json_lenient=true", P("[{\"a\":[1,2,],},]"), .want = " a_0=1,a_1=2" },
    { "lenient: null still is null", "json_lenient=true", P("{\"a\":null,\"b\":1}"), .want = " b=1", .omitted = 1 },
    { "lenient: under a query", "json_lenient=true json_query=d", P("{'x':nan,'d':{'v':.5,},}"), .want = " v=0.5f" },
    { "lenient: words are still words", "json_lenient=true", P("{\"a\":Nay}"), .why = "expected a value" },
    { "lenient: a sign wants a number", "json_lenient=true", P("{\"a\":-true}"), .why = "expected a number" },
};

static struct init_row inits[] = {
    { "time key without a format", "json_time_key=t", "needs json_time_format" },
    { "time format that is none", "json_time_key=t json_time_format=yyyy-MM-dd", "has no part of Go's reference time" },
    { "unknown zone", "json_time_key=t json_time_format=unix json_timezone=Mars/Base", "unknown time zone 'Mars/Base'" },
    { "zone that leaves the folder", "json_time_key=t json_time_format=unix json_timezone=../../../etc/passwd", "unknown time zone" },
    { "query with a modifier", "json_query=a.@reverse", "a modifier (@) is not supported" },
    { "query with a filter", "json_query=a.#(x==1)", "a query in #(...) is not supported" },
    { "query that counts", "json_query=a.#", "a count (# at the end" },
    { "query with a pipe", "json_query=a|b", "a pipe is not supported" },
    { "query with an empty part", "json_query=a..b", "an empty part" },
    { "query that is a multipath", "json_query={a,b}", "a literal or multipath" },
    { "all of it at once", "json_time_key=t json_time_format=auto json_timezone=Local json_query=a.#.b tag_keys=x", NULL },
};

static void parses(void **state) {
    check_parser_row(&parser_json, *state);
}

static void inits_row(void **state) {
    check_init_row(&parser_json, *state);
}

/* The learned shape must never show: a hundred messages in changing order give what a fresh parser gives. */
static void learning_changes_nothing(void **state) {
    static const char *const payloads[] = {
        "{\"a\":1,\"b\":2,\"c\":3}", "{\"c\":3,\"a\":1}", "{\"b\":{\"a\":1},\"a\":[1,2]}", "[{\"a\":1},{\"b\":1},{\"a\":2,\"b\":3}]",
        "{\"temperature_a\":1,\"temperature_in_the_middle_1\":2}", "{\"temperature_b\":1,\"temperature_in_the_MIDDLE_1\":2}",
        "{\"temperature_a\":1,\"temperature_in_the_middle_2\":2}", "{\"a\":{\"a\":{\"a\":1}}}", "{\"a\":[{\"a\":1},{\"a\":2}],\"ab\":1}", "{\"ab\":1,\"abc\":2,\"abcdefgh\":3,\"abcdefghi\":4}",
    };
    struct parser_fixture old, fresh;
    struct buf a = BUF_INIT(1 << 16), b = BUF_INIT(1 << 16);
    size_t count = sizeof payloads / sizeof payloads[0];

    (void)state;
    assert_true(fixture_init(&old, &parser_json, ""));
    for (unsigned i = 0; i < 100; i++) {
        struct str payload = str_of(payloads[(i * 31 + i / 7) % count]);
        assert_true(fixture_init(&fresh, &parser_json, ""));
        assert_true(fixture_parse(&old, payload, 1));
        assert_true(fixture_parse(&fresh, payload, 1));
        assert_string_equal(fixture_print(&old.out, &a), fixture_print(&fresh.out, &b));
        fixture_release(&fresh);
    }
    buf_release(&a);
    buf_release(&b);
    fixture_release(&old);
}

/* A key in single quotes must not be taken for the beginning of one in double quotes. */
static void quotes_are_kept_apart(void **state) {
    struct parser_fixture fixture;
    struct buf text = BUF_INIT(1 << 16);

    (void)state;
    assert_true(fixture_init(&fixture, &parser_json, "json_lenient=true"));
    assert_true(fixture_parse(&fixture, STR("{'a':1,'long_enough_for_two_words':2}"), 1));
    assert_true(fixture_parse(&fixture, STR("{\"a':1,'\":3,\"long_enough_for_two_words':2\":4}"), 1));
    assert_string_equal(fixture_print(&fixture.out, &text), " a':1,'=3,long_enough_for_two_words':2=4");
    buf_release(&text);
    fixture_release(&fixture);
}

/* A message of many keys is read whole; after many different keys the memory is given back. */
static void memory_stays_bounded(void **state) {
    struct parser_fixture fixture;
    struct buf text = BUF_INIT(4 << 20);

    (void)state;
    assert_true(fixture_init(&fixture, &parser_json, ""));
    for (int message = 0; message < 20; message++) {
        buf_reset(&text);
        for (int i = 0; i < 20000; i++)
            buf_printf(&text, "%c\"key_%d_%d\":%d", i == 0 ? '{' : ',', message, i, i);
        buf_append_char(&text, '}');
        assert_true(fixture_parse(&fixture, buf_str(&text), 1));
        assert_int_equal(fixture.out.field_count, 20000);
    }
    assert_true(fixture_parse(&fixture, STR("{\"a\":1}"), 1));
    assert_int_equal(fixture.out.field_count, 1);
    buf_release(&text);
    fixture_release(&fixture);
}

/* Whatever the cap of the points, the parser fails cleanly or succeeds. */
static void fails_cleanly_at_every_cap(void **state) {
    static const char payload[] = "[{\"a\":1,\"b\":\"x\\n\",\"t\":\"y\"},{\"a\":1.5e3,\"b\":true,\"c\":[1,2,3]},{\"a\":7}]";
    struct parser_fixture fixture;
    bool fine = false;

    (void)state;
    assert_true(fixture_init(&fixture, &parser_json, "json_strings=all tag_keys=t json_canonical_numbers=true"));
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

/* What stood in `out` before is left as it was, after success and after failure. */
static void keeps_what_was_there(void **state) {
    struct parser_fixture fixture;
    struct message good = { .payload = STR_INIT("{\"a\":1}") }, bad = { .payload = STR_INIT("{\"a\":1,\"b\":\"\\n\",}") };

    (void)state;
    assert_true(fixture_init(&fixture, &parser_json, ""));
    assert_true(fixture_parse(&fixture, STR("{\"z\":1,\"s\":null}"), 1));
    assert_false(parser_json.parse(fixture.state, &bad, &fixture.out, &fixture.err));
    assert_int_equal(fixture.out.count, 1);
    assert_int_equal(fixture.out.field_count, 1);
    assert_int_equal(fixture.out.omitted, 1);
    err_clear(&fixture.err);
    assert_true(parser_json.parse(fixture.state, &good, &fixture.out, &fixture.err));
    assert_int_equal(fixture.out.count, 2);
    assert_int_equal(fixture.out.items[1].first_field, 1);
    assert_true(str_eq_c(fixture.out.fields[0].key, "z"));
    fixture_release(&fixture);
}

int main(void) {
    static struct CMUnitTest tests[256];
    size_t used = 0;

    ROW_TESTS(tests, used, rows, parses);
    ROW_TESTS(tests, used, inits, inits_row);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(learning_changes_nothing);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(quotes_are_kept_apart);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(memory_stays_bounded);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(fails_cleanly_at_every_cap);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(keeps_what_was_there);
    return _cmocka_run_group_tests("parser_json", tests, used, NULL, NULL);
}
