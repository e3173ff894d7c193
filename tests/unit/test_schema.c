/* tests/unit/test_schema.c: option tables against YAML: values, defaults, complaints, the sample. */
#include "config/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <unistd.h>

#include "config/units.h"
#include "config/yaml_tree.h"
#include "tests/support/config_text.h"

/* --- single values --- */

static struct duration_row {
    const char *text;
    bool ok;
    int64_t ns;
} durations[] = {
    { "1ns", true, 1 },
    { "1us", true, 1000 },
    { "1\xC2\xB5s", true, 1000 },
    { "1\xCE\xBCs", true, 1000 },
    { "1ms", true, 1000000 },
    { "1s", true, 1000000000 },
    { "1m", true, 60000000000 },
    { "1h", true, 3600000000000 },
    { "1d", true, 86400000000000 },
    { "1w", true, 604800000000000 },
    { "7d", true, 7 * 86400000000000 },
    { "10s", true, 10000000000 },
    { "1m30s", true, 90000000000 },
    { "1h30m10s5ms", true, 5410005000000 },
    { "250ms", true, 250000000 },
    { "0", true, 0 },
    { "0s", true, 0 },
    { "5", true, 5000000000 },
    { "0.5", true, 500000000 },
    { "1.5h", true, 5400000000000 },
    { ".5s", true, 500000000 },
    { "1.000000001s", true, 1000000001 },
    { "0.0000000019s", true, 1 },
    { "1.5ns", true, 1 },
    { "1.12345678999999999999999999999999999999999s", true, 1123456789 },
    { "9223372036854775807ns", true, INT64_MAX },
    { "9223372036s", true, 9223372036000000000 },
    { "106751d", true, 106751 * 86400000000000 },
    { "9223372036854775808ns", false, 0 },
    { "9223372037s", false, 0 },
    { "106752d", false, 0 },
    { "15251w", false, 0 },
    { "9223372036s854775808ns", false, 0 },
    { "9223372036.9s", false, 0 },
    { "99999999999999999999s", false, 0 },
    { "18446744073709551616ns", false, 0 },
    { "-1s", false, 0 },
    { "-0", false, 0 },
    { "+1s", false, 0 },
    { "", false, 0 },
    { "s", false, 0 },
    { ".", false, 0 },
    { ".s", false, 0 },
    { "1 s", false, 0 },
    { " 1s", false, 0 },
    { "1s ", false, 0 },
    { "1m30", false, 0 },
    { "1M", false, 0 },
    { "1y", false, 0 },
    { "1mo", false, 0 },
    { "1.5.5s", false, 0 },
    { "1,5s", false, 0 },
    { "1e3s", false, 0 },
    { "0x10s", false, 0 },
    { "10s,", false, 0 },
};

static void parses_duration(void **state) {
    const struct duration_row *row = *state;
    int64_t ns = -7;

    assert_int_equal(cfg_parse_duration(str_of(row->text), &ns), row->ok);
    assert_int_equal(ns, row->ok ? row->ns : -7);
}

static struct size_row {
    const char *text;
    bool ok;
    uint64_t bytes;
} sizes[] = {
    { "0", true, 0 },
    { "512", true, 512 },
    { "512B", true, 512 },
    { "1KB", true, 1000 },
    { "64KB", true, 64000 },
    { "64kB", true, 64000 },
    { "1KiB", true, 1024 },
    { "1kib", true, 1024 },
    { "1MB", true, 1000000 },
    { "1MiB", true, 1048576 },
    { "1GB", true, 1000000000 },
    { "1GiB", true, 1073741824 },
    { "1TB", true, 1000000000000 },
    { "1TiB", true, 1099511627776 },
    { "1.5GiB", true, 1610612736 },
    { "0.5KB", true, 500 },
    { "18446744073709551615", true, UINT64_MAX },
    { "16777215TiB", true, UINT64_C(16777215) << 40 },
    { "16777216TiB", false, 0 },
    { "18446744073709551616", false, 0 },
    { "18446744073710MB", false, 0 },
    { "-1", false, 0 },
    { "1.5", false, 0 },
    { "", false, 0 },
    { "KB", false, 0 },
    { "1K", false, 0 },
    { "1M", false, 0 },
    { "1 MiB", false, 0 },
    { "1MiBs", false, 0 },
    { "1MiB1KiB", false, 0 },
    { "1PiB", false, 0 },
};

static void parses_size(void **state) {
    const struct size_row *row = *state;
    uint64_t bytes = 77;

    assert_int_equal(cfg_parse_size(str_of(row->text), &bytes), row->ok);
    assert_int_equal(bytes, row->ok ? row->bytes : 77);
}

static struct bool_row {
    const char *text;
    bool ok, value;
} bools[] = {
    { "true", true, true },    { "yes", true, true },   { "on", true, true },     { "True", true, true },
    { "false", true, false },  { "no", true, false },   { "off", true, false },   { "OFF", true, false },
    { "1", false, false },     { "0", false, false },   { "", false, false },     { "y", false, false },
    { "truex", false, false }, { "tru", false, false }, { "none", false, false },
};

static void parses_bool(void **state) {
    const struct bool_row *row = *state;
    bool value = !row->value;

    assert_int_equal(cfg_parse_bool(str_of(row->text), &value), row->ok);
    assert_int_equal(value, row->ok ? row->value : !row->value);
}

static void prints_units_that_parse_back(void **state) {
    const int64_t times[] = { 0, 1, 999, 1000, 1500000, 90000000000, 604800000000000, INT64_MAX };
    const uint64_t bytes[] = { 0, 1, 512, 1000, 1024, 64000, 1048576, 1000003, UINT64_MAX };
    char text[UNITS_TEXT_MAX];
    uint64_t size;
    int64_t ns;

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        assert_true(cfg_parse_duration(str_of(units_print_duration(text, times[i])), &ns));
        assert_int_equal(ns, times[i]);
    }
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        assert_true(cfg_parse_size(str_of(units_print_size(text, bytes[i])), &size));
        assert_int_equal(size, bytes[i]);
    }
    assert_string_equal(units_print_duration(text, 90000000000), "1m30s");
    assert_string_equal(units_print_duration(text, 604800000000000), "7d");
    assert_string_equal(units_print_duration(text, 0), "0s");
    assert_string_equal(units_print_size(text, 1073741824), "1GiB");
    assert_string_equal(units_print_size(text, 64000), "64KB");
    assert_string_equal(units_print_size(text, 0), "0");
}

static struct near_row {
    const char *name, *near;
} nears[] = {
    { "topcis", "topics" },
    { "topic", "topics" },
    { "Topics", "topics" },
    { "client-id", "client_id" },
    { "clientId", "client_id" },
    { "clientid", "client_id" },
    { "qso", "qos" },
    { "QOS", "qos" },
    { "server", "servers" },
    { "q", NULL },
    { "x", NULL },
    { "", NULL },
    { "absent", NULL },
    { "password", NULL },
};

static void finds_the_nearest(void **state) {
    static const char *const names[] = { "servers", "topics", "qos", "client_id", "y" };
    const struct near_row *row = *state;
    const char *near = cfg_nearest(row->name, names, 5);

    if (row->near == NULL)
        assert_null(near);
    else
        assert_string_equal(near, row->near);
}

/* --- a table with every type --- */

struct inner {
    char *name;
    int64_t count;
};

struct all {
    bool flag;
    int64_t whole, wait;
    double real;
    uint64_t size;
    char *text, *maybe, *secret, *token, *token_path;
    int mode, level;
    struct cfg_strings list, preset;
    struct cfg_map tags;
    struct cfg_lists pass;
    struct inner one;
    struct cfg_objects many;
    const struct yaml_node *raw;
    char *ignored;
};

static const char *const modes[] = { "fast", "safe", "off", NULL };

static const struct cfg_field inner_fields[] = {
    { .key = "name",
      .type = CFG_STRING,
      .offset = offsetof(struct inner, name),
      .flags = CFG_REQUIRED,
      .help = "What it is called.",
      .example = "press" },
    { .key = "count",
      .type = CFG_INTEGER,
      .offset = offsetof(struct inner, count),
      .fallback = "3",
      .help = "How many.",
      .min = 1,
      .max = 9 },
    { .key = "old", .type = CFG_STRING, .flags = CFG_IGNORED },
    CFG_END,
};

static const struct cfg_field all_fields[] = {
    { .key = "flag", .type = CFG_BOOL, .offset = offsetof(struct all, flag), .fallback = "true", .help = "A switch." },
    { .key = "whole",
      .type = CFG_INTEGER,
      .offset = offsetof(struct all, whole),
      .fallback = "2",
      .min = 0,
      .max = 2,
      .help = "A whole number." },
    { .key = "wait",
      .type = CFG_DURATION,
      .offset = offsetof(struct all, wait),
      .fallback = "10s",
      .min = 1000000,
      .max = 3600000000000,
      .help = "A duration." },
    { .key = "real", .type = CFG_DOUBLE, .offset = offsetof(struct all, real), .fallback = "-0.5" },
    { .key = "size",
      .type = CFG_SIZE,
      .offset = offsetof(struct all, size),
      .fallback = "1MiB",
      .min = 1024,
      .max = INT64_MAX,
      .help = "A size." },
    { .key = "text", .type = CFG_STRING, .offset = offsetof(struct all, text), .fallback = "", .help = "A text." },
    { .key = "maybe",
      .type = CFG_STRING,
      .offset = offsetof(struct all, maybe),
      .help = "A text that may be missing." },
    { .key = "secret", .type = CFG_SECRET, .offset = offsetof(struct all, secret), .help = "A secret." },
    { .key = "token", .type = CFG_SECRET, .offset = offsetof(struct all, token), .help = "Another one." },
    { .key = "token_file", .type = CFG_STRING, .offset = offsetof(struct all, token_path), .help = "Its path." },
    { .key = "mode",
      .type = CFG_ENUM,
      .offset = offsetof(struct all, mode),
      .fallback = "safe",
      .names = modes,
      .help = "A choice." },
    { .key = "level",
      .type = CFG_ENUM,
      .offset = offsetof(struct all, level),
      .names = modes,
      .help = "Another choice, of fast, safe and off." },
    { .key = "list", .type = CFG_STRINGS, .offset = offsetof(struct all, list), .help = "A list." },
    { .key = "preset", .type = CFG_STRINGS, .offset = offsetof(struct all, preset), .fallback = "[\"a b\", c]" },
    { .key = "tags",
      .type = CFG_MAP,
      .offset = offsetof(struct all, tags),
      .fallback = "{ site: here }",
      .flags = CFG_EXPERT },
    { .key = "pass", .type = CFG_LISTS, .offset = offsetof(struct all, pass), .example = "{ line: [a, b] }" },
    { .key = "one",
      .type = CFG_OBJECT,
      .offset = offsetof(struct all, one),
      .fields = inner_fields,
      .help = "An object." },
    { .key = "many",
      .type = CFG_OBJECTS,
      .offset = offsetof(struct all, many),
      .fields = inner_fields,
      .size = sizeof(struct inner),
      .help = "A list of objects." },
    { .key = "raw", .type = CFG_NODE, .offset = offsetof(struct all, raw), .example = "- a: 1\n  b: 2\n- c" },
    { .key = "ignored",
      .type = CFG_STRING,
      .offset = offsetof(struct all, ignored),
      .fallback = "x",
      .flags = CFG_IGNORED,
      .help = "the agent keeps one loop." },
    CFG_END,
};

/* Reads `yaml` as a map for the table; the caller compares and releases. */
struct reading {
    struct arena arena;
    struct diags diags;
    struct all all;
    bool ok;
    char *complaints;
};

static void mark_expanded(struct yaml_node *node) {
    node->expanded = node->kind == YAML_SCALAR;
    for (struct yaml_node *child = node->first; child != NULL; child = child->next)
        mark_expanded(child);
}

static void read_with(struct reading *reading, const char *yaml, bool expanded) {
    struct cfg_binding binding = { all_fields, &reading->all };
    struct yaml_node *map = NULL;

    *reading = (struct reading){ .ok = false };
    arena_init(&reading->arena, 1 << 20);
    if (yaml != NULL)
        map = yaml_parse("f.yaml", str_of(yaml), &reading->arena, &reading->diags);
    assert_true(yaml == NULL || map != NULL);
    if (expanded)
        mark_expanded(map);
    reading->ok = cfg_read(map, "input x", &binding, 1, &reading->arena, &reading->diags);
    reading->complaints = printed(&reading->diags);
}

static void release(struct reading *reading) {
    free(reading->complaints);
    diags_release(&reading->diags);
    arena_release(&reading->arena);
}

static void assert_defaults(const struct all *all) {
    assert_true(all->flag);
    assert_int_equal(all->whole, 2);
    assert_int_equal(all->wait, 10000000000);
    assert_true(all->real == -0.5);
    assert_int_equal(all->size, 1048576);
    assert_string_equal(all->text, "");
    assert_null(all->maybe);
    assert_null(all->secret);
    assert_null(all->token);
    assert_null(all->token_path);
    assert_int_equal(all->mode, 1);
    assert_int_equal(all->level, 0);
    assert_int_equal(all->list.count, 0);
    assert_int_equal(all->preset.count, 2);
    assert_string_equal(all->preset.items[0], "a b");
    assert_string_equal(all->preset.items[1], "c");
    assert_int_equal(all->tags.count, 1);
    assert_string_equal(all->tags.keys[0], "site");
    assert_string_equal(all->tags.values[0], "here");
    assert_int_equal(all->pass.count, 0);
    assert_null(all->one.name);
    assert_int_equal(all->one.count, 3);
    assert_int_equal(all->many.count, 0);
    assert_null(all->raw);
    assert_null(all->ignored);
}

static struct default_row {
    const char *name, *yaml;
} default_rows[] = {
    { "fills defaults without a map", NULL },
    { "fills defaults for an empty map", "{}" },
    { "takes null for not given",
      "flag:\nwhole: ~\nwait: null\nreal:\nsize:\ntext:\nmaybe:\nsecret:\ntoken:\ntoken_file:\nmode:\nlevel:\nlist:\n"
      "preset:\ntags:\npass:\none:\nmany:\n" },
};

static void fills_defaults(void **state) {
    const struct default_row *row = *state;
    struct reading reading;

    read_with(&reading, row->yaml, false);
    assert_string_equal(reading.complaints, "");
    assert_true(reading.ok);
    assert_defaults(&reading.all);
    release(&reading);
}

static void reads_every_type(void **state) {
    struct reading reading;
    const struct all *all = &reading.all;

    (void)state;
    read_with(&reading,
              "flag: off\nwhole: 0\nwait: 1m30s\nreal: 1e3\nsize: 64KB\ntext: 'null'\nmaybe: 5\nsecret: s3cret\n"
              "token: \"\"\nmode: fast\nlevel: 'off'\nlist: [a, 1, '']\npreset: one\n"
              "tags: {site: plant, n: 7, none: ~}\npass:\n  line: [a, b]\n  machine: m\n"
              "one: {name: x, count: 9}\nmany:\n  - name: p\n  - {name: q, count: 1}\nraw: {any: [thing]}\n",
              false);
    assert_string_equal(reading.complaints, "");
    assert_true(reading.ok);
    assert_false(all->flag);
    assert_int_equal(all->whole, 0);
    assert_int_equal(all->wait, 90000000000);
    assert_true(all->real == 1000);
    assert_int_equal(all->size, 64000);
    assert_string_equal(all->text, "null");
    assert_string_equal(all->maybe, "5");
    assert_string_equal(all->secret, "s3cret");
    assert_string_equal(all->token, "");
    assert_int_equal(all->mode, 0);
    assert_int_equal(all->level, 2);
    assert_int_equal(all->list.count, 3);
    assert_string_equal(all->list.items[1], "1");
    assert_string_equal(all->list.items[2], "");
    assert_int_equal(all->list.at[1].line, 12);
    assert_int_equal(all->list.at[1].column, 11);
    assert_int_equal(all->preset.count, 1);
    assert_string_equal(all->preset.items[0], "one");
    assert_int_equal(all->tags.count, 3);
    assert_string_equal(all->tags.keys[1], "n");
    assert_string_equal(all->tags.values[1], "7");
    assert_string_equal(all->tags.values[2], "");
    assert_int_equal(all->tags.at[0].column, 14);
    assert_int_equal(all->pass.count, 2);
    assert_int_equal(all->pass.values[0].count, 2);
    assert_string_equal(all->pass.keys[1], "machine");
    assert_string_equal(all->pass.values[1].items[0], "m");
    assert_string_equal(all->one.name, "x");
    assert_int_equal(all->one.count, 9);
    assert_int_equal(all->many.count, 2);
    assert_string_equal(((struct inner *)all->many.items)[0].name, "p");
    assert_int_equal(((struct inner *)all->many.items)[0].count, 3);
    assert_int_equal(((struct inner *)all->many.items)[1].count, 1);
    assert_int_equal(all->many.at[1].line, 21);
    assert_non_null(yaml_get(all->raw, "any"));
    release(&reading);
}

/* One mistake each. */
static struct wrong_row {
    const char *name, *yaml, *diags;
} wrongs[] = {
    { "names the nearest option", "flga: true\n",
      "f.yaml:1:1: error: input x: unknown option 'flga'; did you mean 'flag'?\n" },
    { "names the nearest file option", "a: 1\n\nsecret_fiel: x\n",
      "f.yaml:1:1: error: input x: unknown option 'a'\n"
      "f.yaml:3:1: error: input x: unknown option 'secret_fiel'; did you mean 'secret_file'?\n" },
    { "lists the options of a small table", "one: {name: x, colour: 5}\n",
      "f.yaml:1:16: error: input x: one: unknown option 'colour'; known: name, count\n" },
    { "refuses a switch", "flag: maybe\n", "f.yaml:1:7: error: input x: flag: expected true or false, got 'maybe'\n" },
    { "refuses a list for a switch", "flag: [a]\n",
      "f.yaml:1:7: error: input x: flag: expected true or false, got a list\n" },
    { "refuses a whole number", "whole: 1.5\n",
      "f.yaml:1:8: error: input x: whole: expected a whole number such as 5000, got '1.5'\n" },
    { "refuses a whole number past range", "whole:   3\n",
      "f.yaml:1:10: error: input x: whole: must be between 0 and 2, got '3'\n" },
    { "refuses a whole number past int64", "whole: 9223372036854775808\n",
      "f.yaml:1:8: error: input x: whole: expected a whole number such as 5000, got '9223372036854775808'\n" },
    { "refuses a negative number", "whole: -1\n",
      "f.yaml:1:8: error: input x: whole: must be between 0 and 2, got '-1'\n" },
    { "refuses a duration", "wait: soon\n",
      "f.yaml:1:7: error: input x: wait: expected a duration such as 10s, 1m30s or 7d, got 'soon'\n" },
    { "refuses a short duration", "wait: 10us\n",
      "f.yaml:1:7: error: input x: wait: must be between 1ms and 1h, got '10us'\n" },
    { "refuses a number", "real: 0x1\n",
      "f.yaml:1:7: error: input x: real: expected a number such as 0.5, got '0x1'\n" },
    { "refuses a size", "size: {a: 1}\n",
      "f.yaml:1:7: error: input x: size: expected a size such as 512, 64KB or 1MiB, got a map\n" },
    { "refuses a small size", "size: 1KB\n", "f.yaml:1:7: error: input x: size: must be at least 1KiB, got '1KB'\n" },
    { "refuses a list for a text", "text: [a]\n", "f.yaml:1:7: error: input x: text: expected a text, got a list\n" },
    { "refuses a list for a secret", "secret: [geheim]\n",
      "f.yaml:1:9: error: input x: secret: expected a text, got a list\n" },
    { "names the nearest choice", "mode: saef\n",
      "f.yaml:1:7: error: input x: mode: unknown 'saef'; did you mean 'safe'? Known: fast, safe, off\n" },
    { "lists the choices", "mode: turbo\n",
      "f.yaml:1:7: error: input x: mode: expected one of fast, safe, off, got 'turbo'\n" },
    { "refuses a map for a choice", "mode: {a: 1}\n",
      "f.yaml:1:7: error: input x: mode: expected one of fast, safe, off, got a map\n" },
    { "refuses a map for a list", "list: {a: 1}\n",
      "f.yaml:1:7: error: input x: list: expected a list of texts such as [\"a\", \"b\"], got a map\n" },
    { "refuses a list in a list", "list: [a, [b]]\n",
      "f.yaml:1:11: error: input x: list: expected a text, got a list\n" },
    { "refuses an empty item", "list:\n  - a\n  -\n",
      "f.yaml:3:4: error: input x: list: an item of the list is empty\n" },
    { "refuses a list for a map", "tags: [a]\n",
      "f.yaml:1:7: error: input x: tags: expected a map such as { name: value }, got a list\n" },
    { "refuses a list in a map", "tags: {a: [b]}\n",
      "f.yaml:1:11: error: input x: tags: the value of 'a' must be a text\n" },
    { "refuses a scalar for a map of lists", "pass: x\n",
      "f.yaml:1:7: error: input x: pass: expected a map of lists such as { name: [a, b] }, got 'x'\n" },
    { "refuses a map in a map of lists", "pass: {a: {b: c}}\n",
      "f.yaml:1:11: error: input x: a: expected a list of texts such as [\"a\", \"b\"], got a map\n" },
    { "refuses a scalar for an object", "one: 5\n",
      "f.yaml:1:6: error: input x: one: expected a map of options, got a single value\n" },
    { "refuses a scalar for objects", "many: 5\n",
      "f.yaml:1:7: error: input x: many: expected a list of maps, got '5'\n" },
    { "refuses a scalar among objects", "many: [{name: x}, 5]\n",
      "f.yaml:1:19: error: input x: many: expected a map of options, got a single value\n" },
    { "misses what is required in an object", "one: {count: 1}\n",
      "f.yaml:1:6: error: input x: one: 'name' is required\n" },
    { "misses what is required in each object", "many:\n  - count: 1\n  - {}\n",
      "f.yaml:2:5: error: input x: many: 'name' is required\nf.yaml:3:5: error: input x: many: 'name' is required\n" },
    { "points at what is required and empty", "one:\n  count: 1\n  name:\n",
      "f.yaml:3:8: error: input x: one: 'name' is required, and nothing is written here\n" },
    { "refuses a secret given twice", "secret: a\nsecret_file: b\n",
      "f.yaml:2:14: error: input x: 'secret' and 'secret_file' cannot both be given\n" },
    { "names the path of a secret", "secret_file: /nonexistent/token\n",
      "f.yaml:1:14: error: input x: secret_file: cannot open /nonexistent/token: No such file or directory\n" },
    { "refuses an empty secret", "token_file: /dev/null\n",
      "f.yaml:1:13: error: input x: token_file: /dev/null is empty\n" },
    { "refuses an endless secret", "token_file: /dev/zero\n",
      "f.yaml:1:13: error: input x: token_file: /dev/zero is larger than 65536 bytes\n" },
    { "refuses a list for a path", "secret_file: [a]\n",
      "f.yaml:1:14: error: input x: secret_file: expected a text, got a list\n" },
    { "refuses a list for the whole", "[a]\n", "f.yaml:1:1: error: input x: expected a map of options, got a list\n" },
    { "reports ten mistakes at once",
      "flag: 1\nwhole: 9\nwait: x\nreal: x\nsize: x\ntext: []\nmode: x\nlist: {}\ntgas: {}\none: {}\n",
      "f.yaml:1:7: error: input x: flag: expected true or false, got '1'\n"
      "f.yaml:2:8: error: input x: whole: must be between 0 and 2, got '9'\n"
      "f.yaml:3:7: error: input x: wait: expected a duration such as 10s, 1m30s or 7d, got 'x'\n"
      "f.yaml:4:7: error: input x: real: expected a number such as 0.5, got 'x'\n"
      "f.yaml:5:7: error: input x: size: expected a size such as 512, 64KB or 1MiB, got 'x'\n"
      "f.yaml:6:7: error: input x: text: expected a text, got a list\n"
      "f.yaml:7:7: error: input x: mode: expected one of fast, safe, off, got 'x'\n"
      "f.yaml:8:7: error: input x: list: expected a list of texts such as [\"a\", \"b\"], got a map\n"
      "f.yaml:9:1: error: input x: unknown option 'tgas'; did you mean 'tags'?\n"
      "f.yaml:10:6: error: input x: one: 'name' is required\n" },
};

static void reports_wrong(void **state) {
    const struct wrong_row *row = *state;
    struct reading reading;

    read_with(&reading, row->yaml, false);
    assert_string_equal(reading.complaints, row->diags);
    assert_false(reading.ok);
    release(&reading);
}

static void keeps_defaults_where_values_are_wrong(void **state) {
    struct reading reading;

    (void)state;
    read_with(
        &reading,
        "flag: 1\nwhole: 9\nwait: x\nreal: x\nsize: x\ntext: []\nmaybe: {}\nsecret: []\ntoken: {}\nmode: x\nlevel: x\n"
        "list: {}\npreset: [[]]\ntags: []\npass: 5\none: 5\nmany: 5\n",
        false);
    assert_false(reading.ok);
    assert_int_equal(reading.diags.errors, 17);
    assert_defaults(&reading.all);
    release(&reading);
}

/* `store: false` is `store: { enabled: false }`; anything else that is no map is an error. */
static void takes_a_switch_for_an_object(void **state) {
    struct store {
        bool enabled;
        int64_t size;
    } store;
    static const struct cfg_field inner[] = {
        { .key = "size", .type = CFG_INTEGER, .offset = offsetof(struct store, size), .fallback = "7" },
        { .key = "enabled", .type = CFG_BOOL, .offset = offsetof(struct store, enabled), .fallback = "true" },
        CFG_END,
    };
    static const struct cfg_field outer[] = { { .key = "store", .type = CFG_OBJECT, .fields = inner, .flags = CFG_SWITCH }, CFG_END };
    static const struct {
        const char *yaml;
        bool ok, enabled;
        int64_t size;
    } rows[] = {
        { "store: false\n", true, false, 7 },       { "store: true\n", true, true, 7 },
        { "store: { size: 9 }\n", true, true, 9 },  { "store: { enabled: false, size: 9 }\n", true, false, 9 },
        { "other: 1\n", false, true, 7 },           { "store: perhaps\n", false, true, 7 },
        { "store: [ false ]\n", false, true, 7 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct arena arena;
        struct diags diags = { .count = 0 };
        struct cfg_binding binding = { outer, &store };
        memset(&store, 0, sizeof store);
        arena_init(&arena, 1 << 16);
        const struct yaml_node *map = yaml_parse("f.yaml", str_of(rows[i].yaml), &arena, &diags);
        assert_int_equal(cfg_read(map, "x", &binding, 1, &arena, &diags), rows[i].ok);
        assert_int_equal(store.enabled, rows[i].enabled);
        assert_int_equal(store.size, rows[i].size);
        diags_release(&diags);
        arena_release(&arena);
    }
}

static void warns_of_what_has_no_effect(void **state) {
    struct reading reading;

    (void)state;
    read_with(&reading, "flag: true\nignored: [any, thing]\n", false);
    assert_true(reading.ok);
    assert_string_equal(reading.complaints,
                        "f.yaml:2:1: warning: input x: 'ignored' has no effect here: the agent keeps one loop.\n");
    assert_null(reading.all.ignored);
    release(&reading);
}

static void asks_once_for_what_is_broken(void **state) {
    struct reading reading;

    (void)state;
    read_with(&reading, "one: {name: *x}\ntoken_file: *x\n", false);
    assert_false(reading.ok);
    assert_int_equal(reading.diags.errors, 2);
    assert_null(strstr(reading.complaints, "required"));
    assert_null(strstr(reading.complaints, "open"));
    release(&reading);
}

static void never_shows_what_came_from_variables(void **state) {
    struct reading reading;

    (void)state;
    read_with(&reading,
              "flag: geheim\nwhole: '77'\nwait: geheim\nmode: geheim\nlevel: saef\none: geheim\nmany: geheim\n", true);
    assert_false(reading.ok);
    assert_int_equal(reading.diags.errors, 7);
    assert_null(strstr(reading.complaints, "geheim"));
    assert_null(strstr(reading.complaints, "77"));
    assert_null(strstr(reading.complaints, "saef"));
    release(&reading);
}

static void says_nothing_of_broken_values(void **state) {
    static const char *const yaml =
        "flag: *x\nwhole: *x\ntext: *x\nsecret: *x\ntoken_file: *x\nlist: [a, *x]\npass: {a: *x}\n"
        "tags: {a: *x}\none: *x\nmany: [*x]\n";
    struct reading reading;

    (void)state;
    read_with(&reading, yaml, false);
    assert_false(reading.ok);
    assert_int_equal(reading.diags.errors, 10); /* the tree's own */
    assert_null(strstr(reading.complaints, "input x"));
    assert_defaults(&reading.all);
    release(&reading);
}

/* --- secrets from files --- */

static void reads_secrets_from_files(void **state) {
    char path[] = "/tmp/heliograf-test-schema-XXXXXX", yaml[128];
    struct reading reading;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "gehe im\r\n", 9), 9);
    close(fd);
    snprintf(yaml, sizeof yaml, "secret_file: %s\ntoken_file: %s\n", path, path);
    read_with(&reading, yaml, false);
    assert_string_equal(reading.complaints, "");
    assert_true(reading.ok);
    assert_string_equal(reading.all.secret, "gehe im");
    assert_string_equal(reading.all.token, "gehe im");
    assert_string_equal(reading.all.token_path, path);
    release(&reading);
    unlink(path);
}

static void refuses_a_secret_with_nul(void **state) {
    char path[] = "/tmp/heliograf-test-schema-XXXXXX", yaml[128];
    struct reading reading;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "geh\0eim", 7), 7);
    close(fd);
    snprintf(yaml, sizeof yaml, "secret_file: %s\n", path);
    read_with(&reading, yaml, false);
    assert_false(reading.ok);
    assert_non_null(strstr(reading.complaints, "contains a NUL byte"));
    assert_null(strstr(reading.complaints, "geh\n"));
    assert_null(reading.all.secret);
    release(&reading);
    unlink(path);
}

static void takes_a_required_secret_from_either(void **state) {
    static const struct cfg_field fields[] = { { .key = "token", .type = CFG_SECRET, .flags = CFG_REQUIRED }, CFG_END };
    struct diags diags = { .items = NULL };
    struct arena arena;
    char *token = NULL, *complaints;
    struct cfg_binding binding = { fields, &token };

    (void)state;
    arena_init(&arena, 1 << 16);
    assert_true(cfg_read(yaml_parse("f", STR("token: a"), &arena, &diags), "", &binding, 1, &arena, &diags));
    assert_string_equal(token, "a");
    assert_false(cfg_read(yaml_parse("f", STR("# none\n{}"), &arena, &diags), "", &binding, 1, &arena, &diags));
    complaints = printed(&diags);
    assert_string_equal(complaints, "f:2:1: error: 'token' is required, or 'token_file'\n");
    free(complaints);
    diags_release(&diags);
    arena_release(&arena);
}

/* --- several bindings --- */

static void gives_a_key_to_every_binding(void **state) {
    static const struct cfg_field first[] = { { .key = "name", .type = CFG_STRING },
                                              { .key = "a", .type = CFG_STRING },
                                              CFG_END };
    static const struct cfg_field second[] = { { .key = "name", .type = CFG_STRING }, CFG_END };
    struct {
        char *name;
    } one = { NULL }, two = { NULL };
    struct cfg_binding bindings[] = { { first, &one }, { second, &two } };
    struct diags diags = { .items = NULL };
    struct arena arena;
    char *complaints;

    (void)state;
    arena_init(&arena, 1 << 16);
    assert_true(cfg_read(yaml_parse("f", STR("name: x"), &arena, &diags), NULL, bindings, 2, &arena, &diags));
    assert_string_equal(two.name, "x");
    assert_false(cfg_read(yaml_parse("f", STR("nmae: x"), &arena, &diags), NULL, bindings, 2, &arena, &diags));
    complaints = printed(&diags);
    assert_string_equal(complaints, "f:1:1: error: unknown option 'nmae'; did you mean 'name'?\n");
    free(complaints);
    diags_release(&diags);
    arena_release(&arena);
}

static void says_where_a_misplaced_option_belongs(void **state) {
    static const struct cfg_field own[] = { { .key = "mode", .type = CFG_STRING }, CFG_END };
    static const struct cfg_field json[] = { { .key = "node", .type = CFG_STRING }, { .key = "token", .type = CFG_SECRET }, CFG_END };
    static const struct cfg_field csv[] = { { .key = "node", .type = CFG_STRING }, CFG_END };
    const struct cfg_elsewhere elsewhere[] = { { json, "format", "json" }, { NULL, "format", "none" }, { csv, "format", "csv" },
                                               { csv, "the input", NULL } };
    struct {
        char *mode;
    } one = { NULL };
    struct cfg_binding binding = { own, &one };
    struct diags diags = { .items = NULL };
    struct arena arena;
    char *complaints;

    (void)state;
    arena_init(&arena, 1 << 16);
    assert_false(cfg_read_beside(yaml_parse("f", STR("node: x\ntoken_file: y\nmoed: z\n"), &arena, &diags), NULL, &binding, 1, elsewhere, 4,
                                 &arena, &diags));
    complaints = printed(&diags);
    assert_string_equal(complaints, "f:1:1: error: unknown option 'node': it belongs to format json, format csv, the input\n"
                                    "f:2:1: error: unknown option 'token_file': it belongs to format json\n"
                                    "f:3:1: error: unknown option 'moed'; did you mean 'mode'?\n");
    free(complaints);
    diags_release(&diags);
    arena_release(&arena);
}

static void asks_for_required_options_where_the_map_is(void **state) {
    static const struct cfg_field fields[] = { { .key = "servers", .type = CFG_STRINGS, .flags = CFG_REQUIRED },
                                               CFG_END };
    struct cfg_strings servers = { .count = 0 };
    struct cfg_binding binding = { fields, &servers };
    struct diags diags = { .items = NULL };
    struct arena arena;
    char *complaints;

    (void)state;
    arena_init(&arena, 1 << 16);
    assert_true(cfg_read(NULL, "x", &binding, 1, &arena, &diags));
    const struct yaml_node *root = yaml_parse("f", STR("a: []\nb:\n  servers: []\nc:\n"), &arena, &diags);
    assert_false(cfg_read(yaml_get(root, "b"), "x", &binding, 1, &arena, &diags));
    assert_false(cfg_read(yaml_get(root, "c"), "x", &binding, 1, &arena, &diags));
    complaints = printed(&diags);
    assert_string_equal(complaints, "f:3:12: error: x: servers: needs at least one item\n"
                                    "f:4:3: error: x: 'servers' is required\n");
    assert_int_equal(cfg_at(root, "b").line, 3);
    assert_int_equal(cfg_at(root, "none").line, 1);
    assert_int_equal(cfg_at(NULL, "none").line, 0);
    free(complaints);
    diags_release(&diags);
    arena_release(&arena);
}

static void fails_whole_without_memory(void **state) {
    static const char *const yaml =
        "text: a\nlist: [a, b]\ntags: {a: b}\npass: {a: [b]}\none: {name: x}\nmany: [{name: y}]\n";
    struct diags tree_diags = { .items = NULL };
    struct arena tree;
    bool done = false;

    (void)state;
    arena_init(&tree, 1 << 16);
    const struct yaml_node *map = yaml_parse("f", str_of(yaml), &tree, &tree_diags);
    for (size_t max = 0; !done; max += 16) {
        struct all all = { .flag = false };
        struct cfg_binding binding = { all_fields, &all };
        struct diags diags = { .items = NULL };
        struct arena arena;
        assert_true(max < 65536);
        arena_init(&arena, max);
        done = cfg_read(map, "x", &binding, 1, &arena, &diags);
        assert_int_equal(done, diags.errors == 0);
        diags_release(&diags);
        arena_release(&arena);
    }
    arena_release(&tree);
}

/* --- the sample --- */

/* Takes the comment mark away from every line that has an option or a value behind it. */
static void uncomment(const struct buf *sample, struct buf *out) {
    struct str rest = buf_str(sample);

    while (rest.data != NULL && rest.len > 0) {
        struct str line = str_split(&rest, '\n');
        for (size_t i = 0; i + 1 < line.len; i++) {
            if (line.data[i] == '#' && line.data[i + 1] == ' ')
                i++;
            else
                buf_append_char(out, line.data[i]);
            if (line.data[i] != ' ') {
                buf_append(out, line.data + i + 1, line.len - i - 1);
                break;
            }
        }
        buf_append_char(out, '\n');
    }
}

static void assert_clean(const struct buf *yaml, const struct cfg_field *fields, void *object, struct arena *arena) {
    struct cfg_binding binding = { fields, object };
    struct diags diags = { .items = NULL };
    const struct yaml_node *map = yaml_parse("sample", buf_str(yaml), arena, &diags);
    char *complaints;
    bool ok = map != NULL && cfg_read(map, "sample", &binding, 1, arena, &diags);

    complaints = printed(&diags);
    if (!ok || complaints[0] != '\0')
        fprintf(stderr, "%.*s", STR_ARGS(buf_str(yaml)));
    assert_string_equal(complaints, "");
    assert_true(ok);
    free(complaints);
    diags_release(&diags);
}

static void prints_a_sample_that_is_valid(void **state) {
    struct buf sample = BUF_INIT(1 << 16), whole = BUF_INIT(1 << 16);
    struct all all = { .flag = false };
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    cfg_sample(all_fields, 0, &sample);
    assert_clean(&sample, all_fields, &all, &arena);
    assert_defaults(&all);
    all = (struct all){ .flag = false };
    uncomment(&sample, &whole);
    assert_clean(&whole, all_fields, &all, &arena);
    assert_string_equal(all.text, "");
    assert_int_equal(all.whole, 2);
    assert_string_equal(all.one.name, "press");
    assert_int_equal(all.many.count, 1);
    assert_int_equal(all.pass.count, 1);
    assert_int_equal(all.raw->count, 2);
    buf_release(&sample);
    buf_release(&whole);
    arena_release(&arena);
}

static void prints_readable_samples(void **state) {
    static const struct cfg_field rows[] = {
        { .key = "servers",
          .type = CFG_STRINGS,
          .flags = CFG_REQUIRED,
          .example = "[\"tcp://127.0.0.1:1883\"]",
          .help = "Where the broker is." },
        { .key = "qos",
          .type = CFG_INTEGER,
          .fallback = "0",
          .help = "Quality of service of the subscriptions, and with it what happens to messages that arrive while "
                  "nobody is "
                  "there to take them: 0, 1 or 2." },
        { .key = "token", .type = CFG_SECRET, .help = "For the server." },
        { .key = "token_file", .type = CFG_STRING, .help = "For the server." },
        { .key = "many",
          .type = CFG_OBJECTS,
          .fields = inner_fields,
          .size = sizeof(struct inner),
          .help = "Several." },
        { .key = "plain", .type = CFG_OBJECT, .fields = inner_fields + 1, .help = "Nested." },
        { .key = "mode", .type = CFG_ENUM, .names = modes, .fallback = "safe", .flags = CFG_EXPERT },
        { .key = "old", .type = CFG_STRING, .flags = CFG_IGNORED },
        CFG_END,
    };
    struct buf sample = BUF_INIT(1 << 16);

    (void)state;
    cfg_sample(rows, 2, &sample);
    assert_string_equal(
        buf_cstr(&sample),
        "  ## Where the broker is.\n"
        "  servers: [\"tcp://127.0.0.1:1883\"]\n"
        "  ## Quality of service of the subscriptions, and with it what happens to messages that arrive while\n"
        "  ## nobody is there to take them: 0, 1 or 2.\n"
        "  # qos: 0\n"
        "  ## For the server. May come from a file instead: token_file.\n"
        "  # token: \"\"\n"
        "  ## Several.\n"
        "  # many:\n"
        "  #   ## What it is called.\n"
        "  #   - name: press\n"
        "  #     ## How many.\n"
        "  #     count: 3\n"
        "  ## Nested.\n"
        "  plain:\n"
        "    ## How many.\n"
        "    # count: 3\n"
        "  ## One of: fast, safe, off.\n"
        "  # mode: safe\n");
    buf_reset(&sample);
    cfg_sample_short(rows, 0, &sample);
    assert_null(strstr(buf_cstr(&sample), "mode"));
    assert_non_null(strstr(buf_cstr(&sample), "count"));
    buf_release(&sample);
}

/* Every type without default or example, required and not, alone and in a list. */
static void prints_samples_of_bare_rows(void **state) {
    static const struct cfg_field leaf[] = { { .key = "leaf", .type = CFG_STRING }, CFG_END };
    struct cfg_field rows[CFG_NODE + 2] = { { .key = NULL } }, outer[2] = { { .key = NULL }, CFG_END };
    static const char *const keys[] = { "k0", "k1", "k2", "k3", "k4", "k5", "k6",
                                        "k7", "k8", "k9", "ka", "kb", "kc", "kd" };

    (void)state;
    for (unsigned required = 0; required < 4; required++) {
        struct buf sample = BUF_INIT(1 << 16), whole = BUF_INIT(1 << 16);
        max_align_t object[64] = { 0 };
        struct arena arena;
        for (int type = CFG_BOOL; type <= CFG_NODE; type++)
            rows[type] = (struct cfg_field){ .key = keys[type],
                                             .type = (enum cfg_type)type,
                                             .offset = (size_t)type * 64,
                                             .names = modes,
                                             .fields = leaf,
                                             .size = sizeof(char *),
                                             .flags = (required & 1) != 0 && type != CFG_NODE ? CFG_REQUIRED : 0 };
        rows[CFG_INTEGER].min = rows[CFG_DURATION].min = rows[CFG_SIZE].min = 7;
        rows[CFG_INTEGER].max = rows[CFG_DURATION].max = rows[CFG_SIZE].max = 9;
        outer[0] = (struct cfg_field){ .key = "outer",
                                       .type = CFG_OBJECTS,
                                       .fields = rows,
                                       .size = 1024,
                                       .flags = (required & 2) != 0 ? CFG_REQUIRED : 0 };
        arena_init(&arena, 1 << 20);
        cfg_sample(rows, 0, &sample);
        assert_clean(&sample, rows, object, &arena);
        uncomment(&sample, &whole);
        assert_clean(&whole, rows, object, &arena);
        buf_reset(&sample);
        buf_reset(&whole);
        cfg_sample(outer, 4, &sample);
        assert_clean(&sample, outer, object, &arena);
        uncomment(&sample, &whole);
        assert_clean(&whole, outer, object, &arena);
        buf_release(&sample);
        buf_release(&whole);
        arena_release(&arena);
    }
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void name_rows(struct CMUnitTest **tests, void (*test)(void **), void *rows, size_t count, size_t size) {
    for (size_t i = 0; i < count; i++) {
        char *row = (char *)rows + i * size;
        *(*tests)++ = (struct CMUnitTest){ .name = *(const char **)row, .test_func = test, .initial_state = row };
    }
}

int main(void) {
    enum {
        MORE = 18,
        ROWS = COUNT(durations) + COUNT(sizes) + COUNT(bools) + COUNT(nears) + COUNT(default_rows) + COUNT(wrongs),
    };
    struct CMUnitTest tests[ROWS + MORE] = {
        cmocka_unit_test(prints_units_that_parse_back),
        cmocka_unit_test(says_where_a_misplaced_option_belongs),
        cmocka_unit_test(reads_every_type),
        cmocka_unit_test(keeps_defaults_where_values_are_wrong),
        cmocka_unit_test(takes_a_switch_for_an_object),
        cmocka_unit_test(warns_of_what_has_no_effect),
        cmocka_unit_test(asks_once_for_what_is_broken),
        cmocka_unit_test(never_shows_what_came_from_variables),
        cmocka_unit_test(says_nothing_of_broken_values),
        cmocka_unit_test(reads_secrets_from_files),
        cmocka_unit_test(refuses_a_secret_with_nul),
        cmocka_unit_test(takes_a_required_secret_from_either),
        cmocka_unit_test(gives_a_key_to_every_binding),
        cmocka_unit_test(asks_for_required_options_where_the_map_is),
        cmocka_unit_test(fails_whole_without_memory),
        cmocka_unit_test(prints_a_sample_that_is_valid),
        cmocka_unit_test(prints_readable_samples),
        cmocka_unit_test(prints_samples_of_bare_rows),
    };
    struct CMUnitTest *next = tests + MORE;

    name_rows(&next, parses_duration, durations, COUNT(durations), sizeof durations[0]);
    name_rows(&next, parses_size, sizes, COUNT(sizes), sizeof sizes[0]);
    name_rows(&next, parses_bool, bools, COUNT(bools), sizeof bools[0]);
    name_rows(&next, finds_the_nearest, nears, COUNT(nears), sizeof nears[0]);
    name_rows(&next, fills_defaults, default_rows, COUNT(default_rows), sizeof default_rows[0]);
    name_rows(&next, reports_wrong, wrongs, COUNT(wrongs), sizeof wrongs[0]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
