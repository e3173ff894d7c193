/* tests/unit/test_ingest.c: configuration, topic and payload in; lines, reasons, and the spool's ledger out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "agent/base/log.h"
#include "agent/ingest/ingest_parts.h"
#include "tests/support/lp_reader.c"

#define NOW  1764000000123456789
#define NOWS " 1764000000123456789\n"

/* Everything one ingest needs. On the heap of each test. */
struct site {
    struct arena arena;
    struct diags diags;
    struct ingest_context context;
    const struct ingest_filter *filters[4];
    struct ingest *ingest;
    char letters[512]; /* `reason:topic:payload` of dead letters */
    struct dead_letter last; /* its texts are gone */
};

static void put_letter(void *ctx, const struct dead_letter *letter) {
    struct site *site = ctx;
    size_t used = strlen(site->letters);

    site->last = *letter;
    if (letter->full_bytes > 0)
        return;
    snprintf(site->letters + used, sizeof site->letters - used, "%.*s %.*s:%.*s:%.*s;", STR_ARGS(letter->stage),
             STR_ARGS(letter->reason), STR_ARGS(letter->topic), STR_ARGS(letter->data));
}

static void site_init(struct site *site) {
    *site = (struct site){ .context = { .dead_letters = { site, put_letter } } };
    arena_init(&site->arena, 4 << 20);
}

static bool site_open(struct site *site, const char *yaml) {
    struct yaml_node *map = yaml_parse("t.yaml", str_of(yaml), &site->arena, &site->diags);

    assert_non_null(map);
    site->ingest = ingest_new(map, "input mqtt_consumer 'plant'", "plant", NULL, 0, &site->context, &site->arena, &site->diags);
    return site->ingest != NULL;
}

static void site_close(struct site *site) {
    ingest_free(site->ingest);
    diags_release(&site->diags);
    arena_release(&site->arena);
}

static struct message message_of(const char *topic, const char *payload) {
    return (struct message){ .topic = str_of(topic), .payload = str_of(payload), .received_ns = NOW, .qos = 1 };
}

#define JSON "data_format: json\ntopic_tag: \"\"\n"

static struct row {
    const char *name, *yaml, *topic, *payload;
    const char *lines; /* NULL: none */
    enum err_code dead; /* else why */
} rows[] = {
    { "takes influx by default and tags the topic", "{}", "a/b", "m,x=1 v=2i 1764000000000000001",
      "m,topic=a/b,x=1 v=2i 1764000000000000001\n", 0 },
    { "names points after the input", JSON, "a/b", "{\"v\": 21.5}", "mqtt_consumer v=21.5" NOWS, 0 },
    { "gives topic_tag another name", "{data_format: json, topic_tag: t}", "a/b", "{\"v\": 1}",
      "mqtt_consumer,t=a/b v=1" NOWS, 0 },
    { "the topic's tag replaces the point's, as in Telegraf", "{}", "a/b", "m,topic=x v=1 1764000000000000001",
      "m,topic=a/b v=1 1764000000000000001\n", 0 },
    { "topic_parsing blocks are applied in order", JSON "topic_parsing:\n"
      "  - { topic: plant/+/+, measurement: _/_/measurement, tags: _/line/_ }\n"
      "  - { topic: office/+/+, tags: _/room/_ }\n"
      "  - { topic: '#/temperature', tags: '#/kind', fields: '#/seen' }\n",
      "plant/a/temperature", "{\"v\": 1}", "temperature,kind=temperature,line=a v=1,seen=\"temperature\"" NOWS, 0 },
    { "a topic field replaces the payload's", JSON "topic_parsing: [{ topic: +/+, fields: _/v, types: {v: int} }]", "a/7",
      "{\"v\": 1, \"w\": 2}", "mqtt_consumer v=7i,w=2" NOWS, 0 },
    { "a topic level of the wrong type is a dead letter", JSON "topic_parsing: [{ topic: +/+, fields: _/v, types: {v: int} }]",
      "a/x", "{\"w\": 2}", NULL, ERR_TYPE },
    { "tags and name options", JSON "name_override: n\nname_prefix: p_\nname_suffix: _s\ntags: {z: \"1\", a: \"2\"}", "a/b",
      "{\"v\": 1}", "p_n_s,a=2,z=1 v=1" NOWS, 0 },
    { "a point's tag wins over the input's", "{topic_tag: '', tags: {x: \"9\", y: \"8\"}}", "a", "m,x=1 v=1 1764000000000000001",
      "m,x=1,y=8 v=1 1764000000000000001\n", 0 },
    { "the input's tags win over global ones", "{topic_tag: '', data_format: json, tags: {site: here}}#global", "a", "{\"v\":1}",
      "mqtt_consumer,host=h,line=g,site=here v=1" NOWS, 0 },
    { "namepass sees the name before the override", JSON "name_override: n\nnamepass: [mqtt_*]", "a/b", "{\"v\": 1}",
      "n v=1" NOWS, 0 },
    { "namedrop filters", JSON "namedrop: [mqtt_*]", "a/b", "{\"v\": 1}", NULL, 0 },
    { "tagpass sees the topic's tags", JSON "topic_parsing: [{ topic: +/+, tags: site/_ }]\ntagpass: {site: [a*]}", "abc/x",
      "{\"v\": 1}", "mqtt_consumer,site=abc v=1" NOWS, 0 },
    { "tagpass lets others go", JSON "topic_parsing: [{ topic: +/+, tags: site/_ }]\ntagpass: {site: [a*]}", "bc/x",
      "{\"v\": 1}", NULL, 0 },
    { "tagdrop filters a payload's tag", "{topic_tag: '', tagdrop: {x: [\"1\"]}}", "a", "m,x=1 v=1 1764000000000000001\nm,x=2 v=2 1764000000000000001",
      "m,x=2 v=2 1764000000000000001\n", 0 },
    { "fieldinclude and fieldexclude", JSON "fieldinclude: [temp*, hum]\nfieldexclude: [temp_raw]", "a",
      "{\"temp\": 1, \"temp_raw\": 2, \"hum\": 3, \"x\": 4}", "mqtt_consumer temp=1,hum=3" NOWS, 0 },
    { "no field left is filtered", JSON "fieldinclude: [nothing]", "a", "{\"temp\": 1}", NULL, 0 },
    { "taginclude also takes input tags away", "{data_format: json, tags: {x: \"1\", y: \"2\"}, taginclude: [y]}", "a", "{\"v\": 1}",
      "mqtt_consumer,y=2 v=1" NOWS, 0 },
    { "a bad payload is a dead letter", JSON, "a", "{\"v\": ", NULL, ERR_SYNTAX },
    { "an empty payload gives nothing", JSON, "a", "", NULL, 0 },
    { "a topic that is not UTF-8 is a dead letter", JSON, "a/\xFF", "{\"v\": 1}", NULL, ERR_SYNTAX },
    { "an empty topic is a dead letter", JSON, "", "{\"v\": 1}", NULL, ERR_SYNTAX },
    { "newlines in a topic stay in their tag", "{data_format: json}", "a\nb c", "{\"v\": 1}", "mqtt_consumer,topic=a_b\\ c v=1" NOWS, 0 },
    { "an old time becomes the arrival", "{topic_tag: ''}", "a", "m v=1 1000", "m v=1" NOWS, 0 },
    { "a far time becomes the arrival", "{topic_tag: ''}", "a", "m v=1 4294967295000000000", "m v=1" NOWS, 0 },
    { "a last year's time is fine", "{topic_tag: ''}", "a", "m v=1 1700000000000000000", "m v=1 1700000000000000000\n", 0 },
    { "max_past bounds it", "{topic_tag: '', max_past: 1d}", "a", "m v=1 1700000000000000000", "m v=1" NOWS, 0 },
    { "implausible times are dropped on demand", "{topic_tag: '', implausible_time: drop}", "a", "m v=1 1000", NULL, 0 },
    { "implausible times are kept on demand", "{topic_tag: '', implausible_time: keep}", "a", "m v=1 1000", "m v=1 1000\n", 0 },
    { "points of one series get times of their own", "{topic_tag: ''}", "a", "m v=1\nn v=1\nm v=2\nm v=3",
      "m v=1 1764000000123456789\nn v=1 1764000000123456789\nm v=2 1764000000123456790\nm v=3 1764000000123456791\n", 0 },

    { "the first matching route wins", JSON "routes:\n  - { topics: [meters/#], name_override: first }\n"
      "  - { topics: ['#'], name_override: second }", "meters/1", "{\"v\": 1}", "first v=1" NOWS, 0 },
    { "the second route takes the rest", JSON "routes:\n  - { topics: [meters/#], name_override: first }\n"
      "  - { topics: ['#'], name_override: second }", "x", "{\"v\": 1}", "second v=1" NOWS, 0 },
    { "what no route takes is the input's", JSON "routes: [{ topics: [meters/#], name_override: first }]", "x", "{\"v\": 1}",
      "mqtt_consumer v=1" NOWS, 0 },
    { "unmatched: drop", JSON "unmatched: drop\nroutes: [{ topics: [meters/#], name_override: first }]", "x", "{\"v\": 1}", NULL, 0 },
    { "a route has its own parser and options", JSON "routes: [{ topics: [v/#], data_format: value, data_type: float, topic_tag: t }]",
      "v/1", "21.5", "mqtt_consumer,t=v/1 value=21.5" NOWS, 0 },
    { "a route inherits format and rules", JSON "fieldexclude: [x]\ntags: {a: \"1\", b: \"2\"}\nroutes: [{ topics: [r/#], tags: {b: \"3\"} }]",
      "r/1", "{\"v\": 1, \"x\": 2}", "mqtt_consumer,a=1,b=3 v=1" NOWS, 0 },
    { "a route's rule replaces the input's", JSON "fieldexclude: [x]\nroutes: [{ topics: [r/#], fieldexclude: [v] }]", "r/1",
      "{\"v\": 1, \"x\": 2}", "mqtt_consumer x=2" NOWS, 0 },
    { "a route's option gives it a parser of its own", JSON "routes: [{ topics: [r/#], tag_keys: [id] }]", "r/1",
      "{\"v\": 1, \"id\": \"q\"}", "mqtt_consumer,id=q v=1" NOWS, 0 },
    { "a shared filter works in a route", JSON "routes: [{ topics: ['$share/g/m/+'], name_override: s }]", "m/1", "{\"v\": 1}",
      "s v=1" NOWS, 0 },
};

static void explains_row(void **state) {
    const struct row *row = *state;
    char *keys[] = { (char[]){ "site" }, (char[]){ "line" }, (char[]){ "host" } };
    char *values[] = { (char[]){ "global" }, (char[]){ "g" }, (char[]){ "not me" } };
    const struct cfg_map globals = { .keys = keys, .values = values, .count = 3 };
    struct message message = message_of(row->topic, row->payload);
    struct buf lines = BUF_INIT(1 << 20), trace = BUF_INIT(1 << 20);
    struct site *site = malloc(sizeof *site);

    site_init(site);
    if (strstr(row->yaml, "#global") != NULL) {
        site->context.global_tags = &globals;
        site->context.hostname = "h";
    }
    if (!site_open(site, row->yaml)) {
        diags_print(&site->diags, stderr);
        fail();
    }
    for (int i = 0; i < 2; i++) { /* the second time from the topic cache, with the same result */
        struct err reason = ERR_INIT;
        enum ingest_end want = row->lines != NULL ? INGEST_LINES : row->dead != 0 ? INGEST_DEAD : INGEST_FILTERED;
        buf_reset(&lines);
        enum ingest_end end = ingest_explain(site->ingest, &message, &lines, &trace, &reason);
        assert_string_equal(buf_cstr(&lines), row->lines != NULL ? row->lines : "");
        assert_int_equal(end, want);
        assert_int_equal(reason.code, row->dead);
    }
    assert_true(trace.len > 0);
    buf_release(&lines);
    buf_release(&trace);
    site_close(site);
    free(site);
}

/* What is said about a payload; `not`: what must not be said. */
static struct words_row {
    const char *name, *yaml, *payload, *words, *not;
} words_rows[] = {
    { "a string that nobody wants", JSON, "{\"state\": \"ON\", \"v\": 1}",
      "parsed: 1 point, 1 value, 1 left out\n  left out: state: a string; json_string_fields with this name keeps it", "tag" },
    { "a string that is wanted", JSON "json_strings: all", "{\"state\": \"ON\"}", "parsed: 1 point, 1 value, 0 left out\n  time: of arrival",
      "left out: state" },
    { "a boolean that nobody wants", JSON, "{\"a\": {\"on\": true}, \"v\": 1}", "left out: a_on: a boolean; json_string_fields", NULL },
    { "null and a number without a double", JSON, "{\"a\": null, \"b\": 1e999, \"v\": 1}",
      "  left out: a: null\n  left out: b: a number that no double holds\n", NULL },
    { "what became tag, name and time", JSON "tag_keys: [id]\njson_name_key: kind\njson_time_key: t\njson_time_format: unix",
      "{\"id\": 7, \"kind\": \"pump\", \"t\": 1764000000, \"v\": 1}",
      "  measurement from the payload or the parser's options: pump\n  tag from the payload: id = 7\n  time: the payload's\n", "left out: " },
    { "a query that finds nothing", JSON "json_query: data", "{\"v\": 1}", "left out: the payload: json_query finds nothing in it", NULL },
    { "an element without a time", JSON "json_strict: false\njson_time_key: t\njson_time_format: unix", "[{\"v\": 1}, {\"t\": 1764000000, \"v\": 2}]",
      "left out: an element of the array: ", NULL },
    { "a word for no value", "data_format: value\ndata_type: float", "nan", "left out: value: a word that stands for no value", NULL },
    { "a bad line among good ones", "influx_skip_bad_lines: true", "m v=1\nm v\n",
      "left out: a line (influx_skip_bad_lines): ", NULL },
    { "control bytes of a key do not reach the terminal", JSON, "{\"a\\u001b[2J\": \"x\", \"v\": 1}", "left out: a?[2J: a string", "\033" },
};

static void explains_in_words(void **state) {
    const struct words_row *row = *state;
    struct message message = message_of("a", row->payload);
    struct buf lines = BUF_INIT(1 << 20), trace = BUF_INIT(1 << 20);
    struct site *site = malloc(sizeof *site);
    struct err reason = ERR_INIT;

    site_init(site);
    assert_true(site_open(site, row->yaml));
    ingest_explain(site->ingest, &message, &lines, &trace, &reason);
    if (strstr(buf_cstr(&trace), row->words) == NULL)
        fail_msg("'%s' is not in:\n%s", row->words, buf_cstr(&trace));
    assert_true(row->not == NULL || strstr(buf_cstr(&trace), row->not) == NULL);
    assert_null(site->ingest->points.notes);
    buf_release(&lines);
    buf_release(&trace);
    site_close(site);
    free(site);
}

/* A payload of many unwanted values is not explained value by value. */
static void explains_no_more_than_people_read(void **state) {
    struct buf payload = BUF_INIT(1 << 20), lines = BUF_INIT(1 << 20), trace = BUF_INIT(1 << 20);
    struct site *site = malloc(sizeof *site);
    struct err reason = ERR_INIT;

    (void)state;
    site_init(site);
    assert_true(site_open(site, JSON));
    for (int i = 0; i < 5000; i++)
        buf_printf(&payload, "%s\"k%d\": \"x\"", i == 0 ? "{" : ", ", i);
    buf_append_c(&payload, "}");
    struct message message = message_of("a", buf_cstr(&payload));
    assert_int_equal(ingest_explain(site->ingest, &message, &lines, &trace, &reason), INGEST_FILTERED);
    assert_in_range(trace.len, 4000, 6000);
    assert_non_null(strstr(buf_cstr(&trace), "5000 left out"));
    buf_release(&payload);
    buf_release(&lines);
    buf_release(&trace);
    site_close(site);
    free(site);
}

static struct bad_row {
    const char *name, *yaml;
    unsigned line, column;
    const char *text;
} bad_rows[] = {
    { "an unknown format, with the nearest", "data_format: jsn", 1, 14, "unknown data_format 'jsn'; did you mean 'json'?" },
    { "an unknown format alone is no reason for more", "data_format: jsn\njson_string_fields: [a]", 1, 14, "did you mean" },
    { "an unknown format far from all", "data_format: protobuf", 1, 14, "known: " },
    { "an unknown option", "topc_tag: x", 1, 1, "topic_tag" },
    { "a bad glob", "{namepass: ['a[b']}", 1, 1, "[ without ]" },
    { "a bad topic_parsing", "topic_parsing:\n  - { topic: a/+, tags: _/x/y }", 2, 5, "tags has 3 levels" },
    { "routes that are no list", "routes: x", 1, 9, "expected a list" },
    { "a route that is no map", "routes: [x]", 1, 10, "a route is a map" },
    { "a route without topics", "routes:\n  - { data_format: json }", 2, 5, "topics" },
    { "a route with a bad filter", "routes:\n  - { topics: [a/#/b] }", 2, 16, "# must be the last level" },
    { "a route with an unknown format", "routes:\n  - { topics: [a], data_format: jsonn }", 2, 33, "did you mean 'json'" },
    { "an option of another format", "data_format: value\njson_time_key: t", 2, 1,
      "unknown option 'json_time_key': it belongs to data_format json" },
    { "an option of another format than the route's", "data_format: json\nroutes:\n  - { topics: [a], data_format: value, tag_keys: [b] }", 3,
      40, "unknown option 'tag_keys': it belongs to data_format json" },
    { "an option of another format than the inherited one", "data_format: value\nroutes:\n  - { topics: [a], json_query: b }", 3, 20,
      "route 1: unknown option 'json_query': it belongs to data_format json" },
    { "an option of the input in a route", "routes:\n  - { topics: [a], unmatched: drop }", 2, 20,
      "unknown option 'unmatched': it belongs to the input, not to a route" },
    { "a route with an unknown option", "routes:\n  - { topics: [a], name_overide: x }", 2, 20, "name_override" },
};

static void refuses_row(void **state) {
    const struct bad_row *row = *state;
    struct site *site = malloc(sizeof *site);

    site_init(site);
    assert_false(site_open(site, row->yaml));
    if (site->diags.count != 1 || strstr(site->diags.items[0].text, row->text) == NULL)
        diags_print(&site->diags, stderr);
    assert_int_equal(site->diags.count, 1);
    assert_non_null(strstr(site->diags.items[0].text, row->text));
    assert_int_equal(site->diags.items[0].at.line, row->line);
    assert_int_equal(site->diags.items[0].at.column, row->column);
    site_close(site);
    free(site);
}

static void warns_about_shadowed_routes(void **state) {
    struct site *site = malloc(sizeof *site);
    (void)state;

    site_init(site);
    assert_true(site_open(site, "routes:\n  - { topics: [a/#] }\n  - { topics: [b, a/b] }"));
    assert_int_equal(site->diags.warnings, 1);
    assert_non_null(strstr(site->diags.items[0].text, "route 1 (a/#) takes all of 'a/#' first"));
    site_close(site);
    free(site);
}

/* Two outputs as they are, one with other names, one that wants little. */
static struct ingest_filter *filter_of(struct site *site, const char *yaml) {
    struct ingest_filter *filter = arena_zalloc(&site->arena, ingest_filter_size());
    struct cfg_binding binding = { ingest_filter_options, filter };
    struct err err = ERR_INIT;

    assert_true(cfg_read(yaml_parse("f.yaml", str_of(yaml), &site->arena, &site->diags), "output", &binding, 1, &site->arena,
                         &site->diags));
    assert_true(ingest_filter_init(filter, &err));
    return filter;
}

static struct spool *spool_of(unsigned outputs, enum spool_when_full when_full) {
    const struct spool_options options = { .max_bytes = 1 << 20, .when_full = when_full, .outputs = outputs };
    struct err err = ERR_INIT;
    struct spool *spool = spool_new(&options, &err);

    assert_non_null(spool);
    return spool;
}

/* What one output would send now. */
static void take_text(struct spool *spool, unsigned output, char *text, size_t size) {
    const struct spool_flush flush = { .max_lines = 1000, .max_bytes = 1 << 20, .early_lines = 1, .max_age_ns = 0 };
    struct spool_settlement settled = { 0 };
    struct spool_batch batch;

    text[0] = '\0';
    spool_batch_init(&batch);
    if (spool_take(spool, output, &flush, &batch)) {
        snprintf(text, size, "%.*s", (int)batch.lines.len, batch.lines.data);
        settled.messages[FATE_STORED] = batch.record_count;
        settled.lines[FATE_STORED] = batch.line_count;
        spool_settle(spool, output, &batch, &settled);
    }
    spool_batch_release(&batch);
}

static void outputs_get_what_they_want(void **state) {
    static const char *const want[] = { "mqtt_consumer,topic=a v=1,w=2" NOWS, "new,topic=a v=1,w=2" NOWS,
                                        "mqtt_consumer v=1" NOWS, "" };
    struct site *site = malloc(sizeof *site);
    struct message message = message_of("a", "{\"v\": 1, \"w\": 2}");
    uint64_t sequence = 99;
    struct ingest_filter *made[3];
    struct spool_figures figures;
    char text[256];
    (void)state;

    site_init(site);
    made[0] = filter_of(site, "name_override: new");
    made[1] = filter_of(site, "{fieldinclude: [v], tagexclude: [topic], namepass: [mqtt*]}");
    made[2] = filter_of(site, "{tagdrop: {topic: [a]}}");
    for (size_t i = 0; i < 3; i++)
        site->filters[i + 1] = made[i];
    site->context.output_filters = site->filters;
    site->context.outputs = 4;
    site->context.spool = spool_of(4, SPOOL_DROP_OLDEST);
    assert_true(site_open(site, "data_format: json"));
    assert_int_equal(ingest_deliver(site->ingest, &message, &sequence), MESSAGE_TAKEN);
    assert_true(sequence > 0);
    spool_figures(site->context.spool, &figures);
    assert_int_equal(figures.output[3].messages[FATE_FILTERED], 1);
    spool_close(site->context.spool);
    for (unsigned i = 0; i < 4; i++) {
        take_text(site->context.spool, i, text, sizeof text);
        assert_string_equal(text, want[i]);
    }
    spool_free(site->context.spool);
    for (size_t i = 0; i < 3; i++)
        ingest_filter_fini(made[i]);
    site_close(site);
    free(site);
}

/* Filters that happen to change nothing do not make a second copy in the spool. */
static void equal_lines_are_one_record(void **state) {
    struct site *site = malloc(sizeof *site);
    struct message message = message_of("a", "{\"v\": 1}");
    struct spool_figures figures;
    struct ingest_filter *made;
    uint64_t sequence, bytes;
    (void)state;

    site_init(site);
    made = filter_of(site, "namedrop: [other]");
    site->filters[0] = made;
    site->context.output_filters = site->filters;
    site->context.outputs = 2;
    site->context.spool = spool_of(2, SPOOL_DROP_OLDEST);
    assert_true(site_open(site, "data_format: json"));
    ingest_deliver(site->ingest, &message, &sequence);
    assert_int_equal(site->ingest->records[0].outputs, 3);
    spool_figures(site->context.spool, &figures);
    bytes = figures.output[0].pending_bytes;
    assert_true(bytes > 0);
    assert_int_equal(figures.output[1].pending_bytes, bytes);
    spool_free(site->context.spool);
    ingest_filter_fini(made);
    site_close(site);
    free(site);
}

static void every_message_is_accounted_for(void **state) {
    static const char *const payloads[] = { "{\"v\": 1}", "{\"v\": ", "{\"other\": \"text\"}", "", "{\"v\": 2}" };
    struct site *site = malloc(sizeof *site);
    struct spool_figures figures;
    uint64_t sequence;
    (void)state;

    log_set(LOG_ERROR, LOG_TEXT);
    site_init(site);
    site->context.outputs = 1;
    site->context.spool = spool_of(1, SPOOL_DROP_OLDEST);
    assert_true(site_open(site, JSON));
    for (size_t i = 0; i < 5; i++) {
        struct message message = message_of("a/b", payloads[i]);
        assert_int_equal(ingest_deliver(site->ingest, &message, &sequence), MESSAGE_TAKEN);
    }
    spool_figures(site->context.spool, &figures);
    assert_int_equal(figures.received, 5);
    assert_int_equal(figures.output[0].messages[FATE_DEAD_LETTERED], 1);
    assert_int_equal(figures.output[0].messages[FATE_FILTERED], 2);
    assert_int_equal(figures.output[0].pending_messages, 2);
    assert_string_equal(site->letters, "ingest syntax:a/b:{\"v\": ;");
    assert_int_equal(metric_get(&site->ingest->own_figures.failures[ERR_SYNTAX]), 1);
    assert_int_equal(metric_get(&site->ingest->own_figures.points), 2);
    assert_int_equal(metric_get(&site->ingest->cache.misses), 1);
    assert_int_equal(metric_get(&site->ingest->cache.hits), 4);
    spool_free(site->context.spool);
    site_close(site);
    free(site);
}

static void a_full_spool_refuses_qos_1(void **state) {
    struct site *site = malloc(sizeof *site);
    char *payload = malloc(60001);
    struct message message;
    uint64_t sequence;
    enum message_fate fate = MESSAGE_TAKEN;
    (void)state;

    memset(payload, 'x', 60000);
    payload[60000] = '\0';
    site_init(site);
    site->context.outputs = 1;
    site->context.spool = spool_of(1, SPOOL_BLOCK);
    assert_true(site_open(site, "data_format: value\ndata_type: string"));
    message = message_of("a", payload);
    for (int i = 0; i < 40 && fate == MESSAGE_TAKEN; i++)
        fate = ingest_deliver(site->ingest, &message, &sequence);
    assert_int_equal(fate, MESSAGE_REFUSED);
    message.qos = 0;
    assert_int_equal(ingest_deliver(site->ingest, &message, &sequence), MESSAGE_TAKEN);
    assert_int_equal(sequence, 0);
    spool_free(site->context.spool);
    site_close(site);
    free(site);
    free(payload);
}

/* More topics than places, by far: the cache stays within its bounds and the lines stay right. */
static void the_cache_is_bounded(void **state) {
    struct site *site = malloc(sizeof *site);
    struct buf lines = BUF_INIT(1 << 20);
    (void)state;

    site_init(site);
    assert_true(site_open(site, "{data_format: json, topic_cache_entries: 64, topic_cache_bytes: 64KiB, "
                                "topic_parsing: [{ topic: +/+, tags: _/n, fields: _/f }]}"));
    for (int i = 0; i < 5000; i++) {
        char topic[32], want[192];
        struct err reason = ERR_INIT;
        snprintf(topic, sizeof topic, "t/%d", i % 7 == 0 ? i % 21 : i);
        snprintf(want, sizeof want, "mqtt_consumer,n=%s,topic=%s v=1,f=\"%s\"" NOWS, topic + 2, topic, topic + 2);
        struct message message = message_of(topic, "{\"v\": 1}");
        buf_reset(&lines);
        assert_int_equal(ingest_explain(site->ingest, &message, &lines, NULL, &reason), INGEST_LINES);
        assert_string_equal(buf_cstr(&lines), want);
        assert_true(site->ingest->cache.bytes <= 64 << 10);
    }
    assert_true(metric_get(&site->ingest->cache.entries) <= 64);
    assert_true(metric_get(&site->ingest->cache.evictions) > 1000);
    assert_true(metric_get(&site->ingest->cache.hits) > 600); /* those that come again are spared: 3 of 7 x 714 */
    buf_release(&lines);
    site_close(site);
    free(site);
}

/* Bytes bound the cache too, and what is used again and again stays through a flood of other topics. */
static void the_cache_is_bounded_in_bytes(void **state) {
    struct site *site = malloc(sizeof *site);
    struct buf lines = BUF_INIT(1 << 20);
    uint64_t hits;
    (void)state;

    site_init(site);
    assert_true(site_open(site, "{data_format: json, topic_cache_entries: 4096, topic_cache_bytes: 64KiB}"));
    for (int i = 0; i < 3000; i++) {
        char topic[64];
        struct err reason = ERR_INIT;
        snprintf(topic, sizeof topic, "%s/%d", i % 2 == 0 ? "hot" : "cold", i % 2 == 0 ? i % 8 : i);
        struct message message = message_of(topic, "{\"v\": 1}");
        buf_reset(&lines);
        assert_int_equal(ingest_explain(site->ingest, &message, &lines, NULL, &reason), INGEST_LINES);
        assert_true(site->ingest->cache.bytes <= 64 << 10);
    }
    hits = metric_get(&site->ingest->cache.hits);
    assert_true(metric_get(&site->ingest->cache.evictions) > 1000);
    assert_int_equal(hits, 1500 - 4);
    buf_release(&lines);
    site_close(site);
    free(site);
}

/* A cached plan stands on its own: nothing in it points to the memory of the message that made it. */
static void a_cached_plan_owns_its_names(void **state) {
    struct site *site = malloc(sizeof *site);
    struct message message = message_of("p/oven", "{\"machine\": 5}");
    struct message other = message_of("x/y", "{\"machine\": 5, \"a\\u0041b\": \"\\u0041\\u0042\\u0043 and some more of it\"}");
    struct buf lines = BUF_INIT(1 << 20);
    struct err reason = ERR_INIT;
    (void)state;

    site_init(site);
    assert_true(site_open(site, JSON "json_string_fields: ['*']\ntopic_parsing: [{ topic: p/+, tags: _/machine }]"));
    for (int i = 0; i < 3; i++) {
        buf_reset(&lines);
        assert_int_equal(ingest_explain(site->ingest, &message, &lines, NULL, &reason), INGEST_LINES);
        assert_string_equal(buf_cstr(&lines), "mqtt_consumer,machine=oven machine_field=5" NOWS);
        assert_int_equal(ingest_explain(site->ingest, &other, &lines, NULL, &reason), INGEST_LINES);
    }
    buf_release(&lines);
    site_close(site);
    free(site);
}

/* What a letter says about a payload of which only the beginning is kept. */
static void a_letter_says_how_much_of_a_payload_is_missing(void **state) {
    const size_t sizes[] = { 256 * 1024, 256 * 1024 + 1 }, full[] = { 0, 256 * 1024 + 1 };
    struct site *site = malloc(sizeof *site);
    char *payload = malloc(sizes[1]);
    uint64_t sequence;
    (void)state;

    log_set(LOG_ERROR, LOG_TEXT);
    memset(payload, 'x', sizes[1]);
    site_init(site);
    assert_true(site_open(site, JSON));
    for (size_t i = 0; i < 2; i++) {
        struct message message = { .topic = STR("a"), .payload = str_make(payload, sizes[i]), .received_ns = NOW };
        site->letters[0] = '\0';
        ingest_deliver(site->ingest, &message, &sequence);
        assert_int_equal(site->last.full_bytes, full[i]);
        assert_int_equal(site->last.data.len, full[i] == 0 ? sizes[i] : 64 * 1024);
    }
    free(payload);
    site_close(site);
    free(site);
}

/* The same message gives the same bytes each time, stamped with its arrival, and nobody's spool or letters hear of it. */
static void records_can_be_had_without_a_spool(void **state) {
    struct site *site = malloc(sizeof *site);
    struct message good = message_of("a", "{\"v\": 1}"), bad = message_of("a", "{\"v\": "), none = message_of("a", "{}");
    const struct spool_record *records;
    struct ingest_filter *made;
    struct err reason;
    size_t count;
    (void)state;

    site_init(site);
    made = filter_of(site, "name_override: new");
    site->filters[1] = made;
    site->context.output_filters = site->filters;
    site->context.outputs = 2;
    assert_true(site_open(site, JSON));
    for (int i = 0; i < 2; i++) {
        err_clear(&reason);
        assert_int_equal(ingest_records(site->ingest, &good, &records, &count, &reason), INGEST_LINES);
        assert_int_equal(count, 2);
        assert_true(records[0].outputs == 1 && str_eq_c(records[0].text, "mqtt_consumer v=1" NOWS));
        assert_true(records[1].outputs == 2 && str_eq_c(records[1].text, "new v=1" NOWS));
        assert_true(str_eq_c(records[0].topic, "a"));
    }
    assert_int_equal(ingest_records(site->ingest, &bad, &records, &count, &reason), INGEST_DEAD);
    assert_true(count == 0 && reason.code == ERR_SYNTAX);
    err_clear(&reason);
    assert_int_equal(ingest_records(site->ingest, &none, &records, &count, &reason), INGEST_FILTERED);
    assert_int_equal(count, 0);
    assert_string_equal(site->letters, "");
    ingest_filter_fini(made);
    site_close(site);
    free(site);
}

/* Messages that share a stamp, or come a nanosecond behind one with several points, still rise. */
static void stamps_rise_across_messages(void **state) {
    struct site *site = malloc(sizeof *site);
    struct message message = message_of("a", "m v=1\nm v=2");
    char text[512];
    uint64_t sequence;
    (void)state;

    site_init(site);
    site->context.outputs = 1;
    site->context.spool = spool_of(1, SPOOL_DROP_OLDEST);
    assert_true(site_open(site, "topic_tag: ''"));
    ingest_deliver(site->ingest, &message, &sequence);
    message.received_ns++;
    ingest_deliver(site->ingest, &message, &sequence);
    spool_close(site->context.spool);
    take_text(site->context.spool, 0, text, sizeof text);
    assert_string_equal(text, "m v=1 1764000000123456789\nm v=2 1764000000123456790\n"
                              "m v=1 1764000000123456791\nm v=2 1764000000123456792\n");
    spool_free(site->context.spool);
    site_close(site);
    free(site);
}

static void count_sample(void *ctx, const struct metric_desc *desc, const struct metric_label *labels, size_t label_count,
                         double value) {
    (void)value;
    assert_non_null(desc->name);
    assert_string_equal(labels[0].key, "input");
    assert_string_equal(labels[0].value, "plant");
    assert_true(label_count <= 2);
    ++*(int *)ctx;
}

static void figures_are_collected(void **state) {
    struct site *site = malloc(sizeof *site);
    int samples = 0;
    const struct metric_writer writer = { .ctx = &samples, .sample = count_sample };
    (void)state;

    site_init(site);
    assert_true(site_open(site, "{}"));
    ingest_collect(site->ingest, &writer);
    assert_true(samples > 20);
    site_close(site);
    free(site);
}

#define ROW_TESTS(table, function)                                                                                     \
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)                                                        \
        tests[count++] = (struct CMUnitTest){ .name = table[i].name, .test_func = function, .initial_state = &table[i] }

int main(void) {
    struct CMUnitTest tests[128];
    size_t count = 0;

    ROW_TESTS(rows, explains_row);
    ROW_TESTS(bad_rows, refuses_row);
    ROW_TESTS(words_rows, explains_in_words);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(explains_no_more_than_people_read);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(warns_about_shadowed_routes);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(outputs_get_what_they_want);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(equal_lines_are_one_record);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(every_message_is_accounted_for);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(a_full_spool_refuses_qos_1);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(the_cache_is_bounded);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(the_cache_is_bounded_in_bytes);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(a_cached_plan_owns_its_names);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(stamps_rise_across_messages);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(figures_are_collected);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(a_letter_says_how_much_of_a_payload_is_missing);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(records_can_be_had_without_a_spool);
    return _cmocka_run_group_tests("ingest", tests, count, NULL, NULL);
}
