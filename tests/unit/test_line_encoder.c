/* tests/unit/test_line_encoder.c: whatever names and values hold, the line is valid. Every line is read back as well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>

#include "agent/ingest/line_encoder.h"
#include "tests/support/lp_reader.c"

#define T(k, v)  { STR_INIT(k), STR_INIT(v) }
#define STRING(k, v) { STR_INIT(k), { .type = VALUE_STRING, .as.text = STR_INIT(v) } }
#define NUMBER(k, v) { STR_INIT(k), { .type = VALUE_NUMBER, .as.text = STR_INIT(v) } }
#define FLOAT(k, v)  { STR_INIT(k), { .type = VALUE_FLOAT, .as.f = (v) } }
#define INT(k, v)    { STR_INIT(k), { .type = VALUE_INTEGER, .as.i = (v) } }
#define UINT(k, v)   { STR_INIT(k), { .type = VALUE_UNSIGNED, .as.u = (v) } }
#define BOOL(k, v)   { STR_INIT(k), { .type = VALUE_BOOLEAN, .as.b = (v) } }
#define ONE NUMBER("v", "1")

enum { LOOSE_MAX = 6 };

struct expected {
    unsigned renamed, clipped, omitted[OMIT_COUNT];
};

static struct row {
    const char *name;
    struct str measurement;
    struct tag tags[LOOSE_MAX];
    struct field fields[LOOSE_MAX];
    const char *line; /* without ` 42` and newline; NULL: no line */
    struct expected counts;
    enum err_code err;
    bool influx_uint;
} rows[] = {
    { "writes a plain line", STR_INIT("m"), { T("t", "x") }, { ONE }, "m,t=x v=1", { 0 }, 0, 0 },
    { "writes every type", STR_INIT("m"), { { { 0 }, { 0 } } },
      { FLOAT("f", 21.5), INT("i", -3), UINT("u", 7), BOOL("b", true), BOOL("c", false), STRING("s", "x") },
      "m f=21.5,i=-3i,u=7i,b=true,c=false,s=\"x\"", { 0 }, 0, 0 },
    { "sorts tags by key", STR_INIT("m"), { T("b", "2"), T("a", "1"), T("ab", "3"), T("B", "4") }, { ONE },
      "m,B=4,a=1,ab=3,b=2 v=1", { 0 }, 0, 0 },
    { "keeps the first of two tags with one key", STR_INIT("m"), { T("a", "1"), T("a", "2") }, { ONE }, "m,a=1 v=1",
      { 0 }, 0, 0 },
    { "leaves out empty tags", STR_INIT("m"), { T("a", ""), T("b", "2"), T("", "3") }, { ONE }, "m,b=2 v=1", { 0 }, 0, 0 },
    { "escapes the measurement but not its =", STR_INIT("a b,c=d"), { { { 0 }, { 0 } } }, { ONE }, "a\\ b\\,c=d v=1", { 0 },
      0, 0 },
    { "escapes tags", STR_INIT("m"), { T("a b", "c,d=e f") }, { ONE }, "m,a\\ b=c\\,d\\=e\\ f v=1", { 0 }, 0, 0 },
    { "escapes field keys", STR_INIT("m"), { { { 0 }, { 0 } } }, { NUMBER("a b,c=d", "1") }, "m a\\ b\\,c\\=d=1", { 0 }, 0, 0 },
    { "escapes a long field key", STR_INIT("m"), { { { 0 }, { 0 } } }, { NUMBER("temperature of oven", "1") },
      "m temperature\\ of\\ oven=1", { 0 }, 0, 0 },
    { "keeps quotes in names", STR_INIT("\"m\""), { T("a", "\"x\"") }, { ONE }, "\"m\",a=\"x\" v=1", { 0 }, 0, 0 },
    { "keeps UTF-8 in names", STR_INIT("\xC3\xA4"), { T("\xC3\xB6", "\xE2\x84\x83") }, { NUMBER("\xC3\xBC", "1") },
      "\xC3\xA4,\xC3\xB6=\xE2\x84\x83 \xC3\xBC=1", { 0 }, 0, 0 },
    { "stops injection through a tag", STR_INIT("m"), { T("t", "a\nb v=2") }, { ONE }, "m,t=a_b\\ v\\=2 v=1",
      { .renamed = 1 }, 0, 0 },
    { "stops injection through the measurement", STR_INIT("m\nx"), { { { 0 }, { 0 } } }, { ONE }, "m_x v=1", { .renamed = 1 },
      0, 0 },
    { "stops injection through a field key", STR_INIT("m"), { { { 0 }, { 0 } } }, { NUMBER("a\tb", "1") }, "m a_b=1",
      { .renamed = 1 }, 0, 0 },
    { "replaces NUL and DEL in names", STR_INIT("m"), { T("t", "a\0b\x7f") }, { ONE }, "m,t=a_b_ v=1", { .renamed = 1 }, 0, 0 },
    { "keeps a backslash inside a name", STR_INIT("m"), { T("p", "C:\\x\\\\y") }, { ONE }, "m,p=C:\\x\\\\y v=1", { 0 }, 0, 0 },
    { "replaces a backslash at the end", STR_INIT("m\\"), { T("a\\", "b\\\\") }, { NUMBER("c\\", "1") },
      "m/,a/=b\\/ c/=1", { .renamed = 4 }, 0, 0 },
    { "replaces a backslash before an escape", STR_INIT("m"), { T("p", "a\\,b\\ c") }, { ONE }, "m,p=a/\\,b/\\ c v=1",
      { .renamed = 1 }, 0, 0 },
    { "does not start a comment", STR_INIT("#m"), { { { 0 }, { 0 } } }, { ONE }, "_#m v=1", { .renamed = 1 }, 0, 0 },
    { "renames a field time", STR_INIT("m"), { { { 0 }, { 0 } } }, { NUMBER("time", "1"), NUMBER("times", "2") },
      "m time_=1,times=2", { .renamed = 1 }, 0, 0 },
    { "renames a tag time", STR_INIT("m"), { T("time", "x") }, { ONE }, "m,time_=x v=1", { .renamed = 1 }, 0, 0 },
    { "renames what Flux keeps for itself", STR_INIT("m"), { T("_measurement", "x") },
      { NUMBER("_field", "1"), NUMBER("_time", "2"), NUMBER("_x", "3") }, "m,_measurement_=x _field_=1,_time_=2,_x=3",
      { .renamed = 3 }, 0, 0 },
    { "a repaired name may be reserved", STR_INIT("m"), { T("\ntime", "x") }, { NUMBER("\tfield", "1") },
      "m,_time_=x _field_=1", { .renamed = 2 }, 0, 0 },
    { "renames a field that is a tag", STR_INIT("m"), { T("state", "x") }, { NUMBER("state", "1") },
      "m,state=x state_field=1", { .renamed = 1 }, 0, 0 },
    { "renames it until it is none", STR_INIT("m"), { T("a", "x"), T("a_field", "y") }, { NUMBER("a", "1") },
      "m,a=x,a_field=y a_field_field=1", { .renamed = 2 }, 0, 0 },
    { "the last of equal fields wins", STR_INIT("m"), { { { 0 }, { 0 } } },
      { NUMBER("a", "1"), NUMBER("b", "2"), STRING("a", "x"), NUMBER("a", "3") }, "m a=3,b=2",
      { .omitted[OMIT_DUPLICATE] = 2 }, 0, 0 },
    { "fields made equal by renaming too", STR_INIT("m"), { { { 0 }, { 0 } } },
      { NUMBER("time_", "1"), NUMBER("time", "2"), NUMBER("a\nb", "3"), NUMBER("a_b", "4") }, "m time_=2,a_b=4",
      { .renamed = 2, .omitted[OMIT_DUPLICATE] = 2 }, 0, 0 },
    { "leaves out what is not finite", STR_INIT("m"), { { { 0 }, { 0 } } },
      { FLOAT("a", (double)NAN), ONE, FLOAT("b", (double)INFINITY), FLOAT("c", (double)-INFINITY) }, "m v=1",
      { .omitted[OMIT_NOT_FINITE] = 3 }, 0, 0 },
    { "no line without a field", STR_INIT("m"), { T("a", "b") }, { FLOAT("a1", (double)NAN) }, NULL,
      { .omitted[OMIT_NOT_FINITE] = 1 }, 0, 0 },
    { "leaves out a field without key", STR_INIT("m"), { { { 0 }, { 0 } } }, { ONE, NUMBER("", "2") }, "m v=1",
      { .omitted[OMIT_NO_KEY] = 1 }, 0, 0 },
    { "clips unsigned at int64", STR_INIT("m"), { { { 0 }, { 0 } } }, { UINT("u", UINT64_MAX) }, "m u=9223372036854775807i",
      { .clipped = 1 }, 0, 0 },
    { "writes unsigned where allowed", STR_INIT("m"), { { { 0 }, { 0 } } }, { UINT("u", UINT64_MAX) },
      "m u=18446744073709551615u", { 0 }, 0, true },
    { "writes the least integer", STR_INIT("m"), { { { 0 }, { 0 } } }, { INT("i", INT64_MIN) }, "m i=-9223372036854775808i",
      { 0 }, 0, 0 },
    { "escapes strings", STR_INIT("m"), { { { 0 }, { 0 } } }, { STRING("s", "a\"b\\c, d=e") }, "m s=\"a\\\"b\\\\c, d=e\"",
      { 0 }, 0, 0 },
    { "keeps lines whole", STR_INIT("m"), { { { 0 }, { 0 } } }, { STRING("s", "a\nb\rc\0d\te") },
      "m s=\"a\\\\nb\\\\rc\\\\0d\te\"", { 0 }, 0, 0 },
    { "keeps a backslash at a string's end", STR_INIT("m"), { { { 0 }, { 0 } } }, { STRING("s", "a\\") }, "m s=\"a\\\\\"",
      { 0 }, 0, 0 },
    { "writes an empty string", STR_INIT("m"), { { { 0 }, { 0 } } }, { STRING("s", "") }, "m s=\"\"", { 0 }, 0, 0 },
    { "keeps UTF-8 in strings", STR_INIT("m"), { { { 0 }, { 0 } } }, { STRING("s", "23 \xC2\xB0\x43") },
      "m s=\"23 \xC2\xB0\x43\"", { 0 }, 0, 0 },
    { "refuses broken UTF-8 in a string", STR_INIT("m"), { { { 0 }, { 0 } } }, { ONE, STRING("s", "a\xFF") }, NULL, { 0 },
      ERR_SYNTAX, 0 },
    { "refuses broken UTF-8 in a field key", STR_INIT("m"), { { { 0 }, { 0 } } }, { ONE, NUMBER("s\xC3", "1") }, NULL, { 0 },
      ERR_SYNTAX, 0 },
    { "refuses broken UTF-8 in a tag", STR_INIT("m"), { T("a", "\xED\xA0\x80") }, { ONE }, NULL, { 0 }, ERR_SYNTAX, 0 },
    { "refuses no measurement", STR_INIT(""), { { { 0 }, { 0 } } }, { ONE }, NULL, { 0 }, ERR_MISSING, 0 },
    { "number text goes out as it came", STR_INIT("m"), { { { 0 }, { 0 } } },
      { NUMBER("a", "9007199254740993"), NUMBER("b", "-0.10"), NUMBER("c", "1.5E+3"), NUMBER("d", "0") },
      "m a=9007199254740993,b=-0.10,c=1.5E+3,d=0", { 0 }, 0, 0 },
    { "number text past the range is left out", STR_INIT("m"), { { { 0 }, { 0 } } },
      { ONE, NUMBER("a", "1e400"), NUMBER("b", "-1e999"), NUMBER("c", "1e-400") }, "m v=1,c=1e-400",
      { .omitted[OMIT_BAD_NUMBER] = 2 }, 0, 0 },
};

static struct number_row {
    const char *name, *text;
    bool ok;
} number_rows[] = {
    { "number: digit", "7", true },           { "number: minus digit", "-7", true },
    { "number: two digits", "42", true },     { "number: three", "1.5", true },
    { "number: four", "21.5", true },         { "number: seven", "-21.534", true },
    { "number: eight", "12345678", true },    { "number: eight with point", "1234.678", true },
    { "number: nine", "123456.89", true },    { "number: 20 digits", "12345678901234567890", true },
    { "number: exponent", "1e5", true },      { "number: signed exponent", "-1.5e-05", true },
    { "number: nothing", "", false },         { "number: minus", "-", false },
    { "number: plus", "+1", false },          { "number: two minus", "--1", false },
    { "number: late minus", "1-1", false },   { "number: point first", ".5", false },
    { "number: minus point", "-.5", false },  { "number: point last", "5.", false },
    { "number: two points", "1.2.3", false }, { "number: letter", "12a", false },
    { "number: comma", "1,5", false },        { "number: blank", "1 5", false },
    { "number: high byte", "1\xB0", false },  { "number: long point last", "123456789.", false },
    { "number: hex", "0x10", false },         { "number: NaN", "NaN", false },
    { "number: Inf", "Infinity", false },     { "number: empty exponent", "1e", false },
    { "number: exponent sign only", "1e+", false }, { "number: overflow", "1e309", false },
    { "number: largest", "1.7976931348623157e308", true }, { "number: colon", "1:5", false },
    { "number: slash", "1/5", false },        { "number: long letter", "1234567890x", false },
};

static struct float_row {
    const char *name;
    double value;
    const char *text;
} float_rows[] = {
    { "float: zero", 0, "0" },
    { "float: minus zero", -0.0, "-0" },
    { "float: whole", 12500, "12500" },
    { "float: tenth", 0.1, "0.1" },
    { "float: sum", 0.1 + 0.2, "0.30000000000000004" },
    { "float: 34.67", 34.67, "34.67" },
    { "float: negative", -273.15, "-273.15" },
    { "float: third", 1.0 / 3, "0.3333333333333333" },
    { "float: 2^53", 9007199254740992.0, "9007199254740992" },
    { "float: 1e20", 1e20, "100000000000000000000" },
    { "float: 1e21", 1e21, "1e21" },
    { "float: 1e-7", 1e-7, "0.0000001" },
    { "float: 1e-8", 1.5e-8, "0.000000015" },
    { "float: 1e-10", 1.25e-10, "1.25e-10" },
    { "float: largest", DBL_MAX, "1.7976931348623157e308" },
    { "float: least normal", DBL_MIN, "2.2250738585072014e-308" },
    { "float: least", 4.9406564584124654e-324, "5e-324" },
};

static struct stamp_row {
    const char *name;
    int64_t time_ns;
    const char *text;
} stamp_rows[] = {
    { "stamp: now", 1764000000123456789, "1764000000123456789" },
    { "stamp: full second", 1764000000000000000, "1764000000000000000" },
    { "stamp: 1970", 0, "0" },
    { "stamp: first second", 999999999, "999999999" },
    { "stamp: second second", 1000000001, "1000000001" },
    { "stamp: before 1970", -1500000000, "-1500000000" },
    { "stamp: last", INT64_MAX - 1, "9223372036854775806" },
};

struct bench {
    struct line_counters counters;
    struct line_encoder encoder;
    struct arena arena;
    struct buf out;
};

/* Large: on the heap or static. */
static void bench_init(struct bench *bench, bool influx_uint) {
    memset(bench, 0, sizeof *bench);
    line_encoder_init(&bench->encoder, influx_uint, &bench->counters);
    arena_init(&bench->arena, 8 << 20);
    buf_init(&bench->out, 32 << 20);
}

static void bench_release(struct bench *bench) {
    arena_release(&bench->arena);
    buf_release(&bench->out);
}

static enum line_end encode(struct bench *bench, struct str measurement, const struct tag *tags, size_t tag_count,
                            const struct field *fields, size_t field_count, struct err *err) {
    struct line_prefix prefix;

    if (!line_prefix_build(&bench->encoder, measurement, tags, tag_count, &bench->arena, &prefix, err))
        return LINE_REFUSED;
    return line_encode(&bench->encoder, &prefix, fields, field_count, 42, &bench->out, &bench->arena, err);
}

static void assert_reads_back(const struct buf *out) {
    struct lp_point point;
    const char *why;

    assert_true(out->len > 0 && out->data[out->len - 1] == '\n');
    why = lp_read(out->data, out->len - 1, &point);
    if (why != NULL)
        fail_msg("%s: %.*s", why, (int)out->len, out->data);
    lp_free(&point);
}

static void encodes_row(void **state) {
    const struct row *row = *state;
    struct err err = ERR_INIT;
    struct bench bench;
    size_t tags = 0, fields = 0;
    enum line_end end;

    while (tags < LOOSE_MAX && row->tags[tags].key.data != NULL)
        tags++;
    while (fields < LOOSE_MAX && row->fields[fields].key.data != NULL)
        fields++;
    bench_init(&bench, row->influx_uint);
    end = encode(&bench, row->measurement, row->tags, tags, row->fields, fields, &err);
    assert_int_equal(end, row->err != ERR_NONE ? LINE_REFUSED : row->line != NULL ? LINE_WRITTEN : LINE_EMPTY);
    assert_int_equal(err.code, row->err);
    assert_int_equal(metric_get(&bench.counters.renamed), row->counts.renamed);
    assert_int_equal(metric_get(&bench.counters.clipped), row->counts.clipped);
    for (size_t i = 0; i < OMIT_COUNT; i++)
        assert_int_equal(metric_get(&bench.counters.omitted[i]), row->counts.omitted[i]);
    if (row->line != NULL) {
        char want[512];
        snprintf(want, sizeof want, "%s 42\n", row->line);
        assert_string_equal(buf_cstr(&bench.out), want);
        assert_reads_back(&bench.out);
    } else {
        assert_int_equal(bench.out.len, 0);
    }
    bench_release(&bench);
}

static void checks_number(void **state) {
    const struct number_row *row = *state;
    /* An exact allocation, so that the sanitizer sees a read past the end. */
    size_t len = strlen(row->text);
    char *copy = malloc(len + 1);

    memcpy(copy, row->text, len);
    copy = realloc(copy, len > 0 ? len : 1);
    assert_int_equal(number_text_valid(str_make(copy, len)), row->ok);
    free(copy);
}

static void writes_float(void **state) {
    const struct float_row *row = *state;
    char text[NUMBER_TEXT_MAX + 1] = "";

    *number_write_float(text, row->value) = '\0';
    assert_string_equal(text, row->text);
}

static void writes_stamp(void **state) {
    const struct stamp_row *row = *state;
    struct stamp_writer writer = { 0 };
    char text[NUMBER_TEXT_MAX + 1];

    for (int i = 0; i < 2; i++) { /* the second time from the kept digits */
        memset(text, 0, sizeof text);
        *number_write_stamp(&writer, text, row->time_ns) = '\0';
        assert_string_equal(text, row->text);
    }
}

static void stamps_follow_each_other(void **state) {
    struct stamp_writer writer = { 0 };
    char text[NUMBER_TEXT_MAX + 1], want[40];
    (void)state;

    for (int64_t t = 9999999990; t > 0 && t < INT64_MAX / 3; t = t * 3 + 7) {
        *number_write_stamp(&writer, text, t) = '\0';
        snprintf(want, sizeof want, "%lld", (long long)t);
        assert_string_equal(text, want);
    }
}

static void floats_round_trip(void **state) {
    uint64_t seed = 88172645463325252ULL;
    (void)state;

    for (int i = 0; i < 200000; i++) {
        char text[NUMBER_TEXT_MAX + 1];
        double value, back;
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        if (i % 2 == 0)
            value = (double)(int64_t)(seed >> 40) / (double)(1 + (seed & 1023)); /* measured values */
        else
            memcpy(&value, &seed, sizeof value);
        if (!isfinite(value))
            continue;
        char *end = number_write_float(text, value);
        assert_true(end - text <= NUMBER_TEXT_MAX);
        assert_true(number_text_valid(str_make(text, (size_t)(end - text))));
        assert_true(str_to_double(str_make(text, (size_t)(end - text)), &back));
        assert_memory_equal(&value, &back, sizeof value);
    }
}

static void limits_hold(void **state) {
    static char large[LINE_STRING_MAX + 1];
    struct str over_string = { large, LINE_STRING_MAX + 1 }, over_name = { large, LINE_NAME_MAX + 1 };
    struct field fields[] = {
        { STR("fits"), value_string(str_make(large, LINE_STRING_MAX)) },
        { STR("over"), value_string(over_string) },
        { over_name, value_integer(1) },
        { STR("number"), value_number(str_make(large, LINE_NUMBER_MAX + 1)) },
    };
    struct tag tags[32] = { { STR("over"), over_name } };
    struct err err = ERR_INIT;
    struct bench bench;
    (void)state;

    memset(large, '7', sizeof large);
    bench_init(&bench, false);
    assert_int_equal(encode(&bench, STR("m"), tags, 1, fields, 4, &err), LINE_WRITTEN);
    assert_int_equal(bench.out.len, strlen("m fits=\"\" 42\n") + LINE_STRING_MAX);
    assert_int_equal(metric_get(&bench.counters.omitted[OMIT_TOO_LONG]), 4);
    assert_reads_back(&bench.out);

    for (size_t i = 0; i < 32; i++)
        tags[i] = (struct tag){ str_make(large, i + 1), str_make(large, LINE_NAME_MAX) };
    assert_int_equal(encode(&bench, STR("m"), tags, 32, fields, 1, &err), LINE_REFUSED);
    assert_int_equal(err.code, ERR_LIMIT);
    bench_release(&bench);
}

/* A cap on the message's lines stops the line and leaves those before it. */
static void full_buffer_refuses(void **state) {
    struct field field = { STR("s"), value_string(STR("0123456789012345678901234567890123456789")) };
    struct line_prefix prefix;
    struct err err = ERR_INIT;
    struct bench bench;
    size_t lines = 0, len = 0;
    (void)state;

    bench_init(&bench, false);
    bench.out.max = 1024;
    assert_true(line_prefix_build(&bench.encoder, STR("m"), NULL, 0, &bench.arena, &prefix, &err));
    while (line_encode(&bench.encoder, &prefix, &field, 1, 42, &bench.out, &bench.arena, &err) == LINE_WRITTEN) {
        lines++;
        len = bench.out.len;
    }
    assert_true(lines > 5);
    assert_int_equal(bench.out.len, len);
    assert_int_equal(err.code, ERR_LIMIT);
    bench_release(&bench);
}

/* 20,000 fields, half of them twice: the sorted way, and within a second. */
static void many_fields(void **state) {
    enum { COUNT = 20000 };
    struct field *fields = calloc(COUNT, sizeof *fields);
    char (*keys)[8] = calloc(COUNT, 8);
    struct err err = ERR_INIT;
    struct lp_point point;
    struct bench bench;
    (void)state;

    for (int i = 0; i < COUNT; i++) {
        snprintf(keys[i], 8, "k%d", i % (COUNT / 2));
        fields[i] = (struct field){ str_of(keys[i]), value_integer(i) };
    }
    bench_init(&bench, false);
    assert_int_equal(encode(&bench, STR("m"), NULL, 0, fields, COUNT, &err), LINE_WRITTEN);
    assert_int_equal(metric_get(&bench.counters.omitted[OMIT_DUPLICATE]), COUNT / 2);
    assert_null(lp_read(bench.out.data, bench.out.len - 1, &point));
    assert_int_equal(point.field_count, COUNT / 2);
    assert_int_equal(point.fields[3].i, COUNT / 2 + 3);
    lp_free(&point);
    bench_release(&bench);
    free(fields);
    free(keys);
}

/* A key that was never looked at, because its value was left out, is not remembered as a good one. */
static void remembers_only_checked_keys(void **state) {
    static char large[LINE_STRING_MAX + 1];
    struct field fields[] = { { STR("a"), value_integer(1) }, { STR("b\nc"), value_string(str_make(large, sizeof large)) },
                              { STR("d"), value_integer(1) } };
    struct err err = ERR_INIT;
    struct bench bench;
    (void)state;

    memset(large, 'x', sizeof large);
    bench_init(&bench, false);
    assert_int_equal(encode(&bench, STR("m"), NULL, 0, fields, 3, &err), LINE_WRITTEN);
    fields[1].value = value_integer(2);
    bench.out.len = 0;
    assert_int_equal(encode(&bench, STR("m"), NULL, 0, fields, 3, &err), LINE_WRITTEN);
    assert_string_equal(buf_cstr(&bench.out), "m a=1i,b_c=2i,d=1i 42\n");
    bench_release(&bench);
}

/* The second line of a shape goes through the memo; a tag that has come in between must not become a field as well. */
static void memo_minds_tags_and_changes(void **state) {
    const struct tag tag = { STR("humidity"), STR("x") };
    struct field fields[] = { { STR("temperature"), value_integer(1) }, { STR("humidity"), value_integer(2) },
                              { STR("p"), value_integer(3) } };
    struct err err = ERR_INIT;
    struct bench bench;
    (void)state;

    bench_init(&bench, false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(encode(&bench, STR("m"), NULL, 0, fields, 3, &err), LINE_WRITTEN);
    for (int i = 0; i < 2; i++)
        assert_int_equal(encode(&bench, STR("m"), &tag, 1, fields, 3, &err), LINE_WRITTEN);
    fields[1].key = STR("humidify");
    assert_int_equal(encode(&bench, STR("m"), NULL, 0, fields, 3, &err), LINE_WRITTEN);
    fields[1].key = STR("p");
    assert_int_equal(encode(&bench, STR("m"), NULL, 0, fields, 3, &err), LINE_WRITTEN);
    assert_string_equal(buf_cstr(&bench.out), "m temperature=1i,humidity=2i,p=3i 42\n"
                                              "m temperature=1i,humidity=2i,p=3i 42\n"
                                              "m temperature=1i,humidity=2i,p=3i 42\n"
                                              "m,humidity=x temperature=1i,humidity_field=2i,p=3i 42\n"
                                              "m,humidity=x temperature=1i,humidity_field=2i,p=3i 42\n"
                                              "m temperature=1i,humidify=2i,p=3i 42\n"
                                              "m temperature=1i,p=3i 42\n");
    bench_release(&bench);
}

/* Keys that end exactly where the memory does, of every length: nothing is read past them. */
static void reads_no_byte_too_many(void **state) {
    struct err err = ERR_INIT;
    struct bench bench;
    (void)state;

    bench_init(&bench, false);
    for (size_t len = 1; len < 40; len++) {
        char *key = malloc(len), *text = malloc(len), *number = malloc(len);
        memset(key, 'k', len);
        memset(text, 's', len);
        memset(number, '1', len);
        struct field fields[] = { { str_make(key, len), value_string(str_make(text, len)) },
                                  { STR("n"), value_number(str_make(number, len)) } };
        bench.out.len = 0;
        assert_int_equal(encode(&bench, STR("m"), NULL, 0, fields, 2, &err), LINE_WRITTEN);
        assert_int_equal(bench.out.len, 3 * len + strlen("m =\"\",n= 42\n"));
        assert_reads_back(&bench.out);
        free(key);
        free(text);
        free(number);
    }
    bench_release(&bench);
}

#define ROW_TESTS(table, function)                                                                                     \
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)                                                        \
        tests[count++] = (struct CMUnitTest){ .name = table[i].name, .test_func = function, .initial_state = &table[i] }

int main(void) {
    struct CMUnitTest tests[256];
    size_t count = 0;

    ROW_TESTS(rows, encodes_row);
    ROW_TESTS(number_rows, checks_number);
    ROW_TESTS(float_rows, writes_float);
    ROW_TESTS(stamp_rows, writes_stamp);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(stamps_follow_each_other);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(floats_round_trip);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(limits_hold);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(full_buffer_refuses);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(many_fields);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(remembers_only_checked_keys);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(memo_minds_tags_and_changes);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(reads_no_byte_too_many);
    return _cmocka_run_group_tests("line_encoder", tests, count, NULL, NULL);
}
