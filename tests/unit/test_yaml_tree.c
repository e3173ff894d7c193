/* tests/unit/test_yaml_tree.c: each row is a document, and the tree it becomes or the complaint it earns. */
#include "config/yaml_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/base/buf.h"
#include "tests/support/config_text.h"

#define BOM "\xEF\xBB\xBF"

/* `tree` is the shape: {key:value,...}, [item,...], 'quoted', plain, and ~ for null; `diags` what is printed. */
static struct row {
    const char *name, *yaml;
    const char *tree; /* NULL: nothing usable */
    const char *diags;
    size_t len; /* of `yaml` when it has NUL bytes in it */
} rows[] = {
    { "reads maps, lists and scalars", "a: 1\nb: [x, 'y']\nc: {d: e}\n", "{a:1,b:[x,'y'],c:{d:e}}", "", 0 },
    { "reads blocks as quoted", "a: |\n  x\n  y\nb: >-\n  z\n", "{a:'x\ny\n',b:'z'}", "", 0 },
    { "takes an empty file for an empty map", "", "{}", "", 0 },
    { "takes comments alone for an empty map", "# nothing\n\n# here\n", "{}", "", 0 },
    { "takes an empty document for an empty map", "---\n", "{}", "", 0 },
    { "reads a list as root", "- a\n- b\n", "[a,b]", "", 0 },
    { "knows every spelling of null", "[~, null, Null, NULL, '', '~', nil]", "[~,~,~,~,'','~',nil]", "", 0 },
    { "takes a missing value for null", "a:\nb: x\n", "{a:~,b:x}", "", 0 },
    { "reads after a byte order mark", BOM "a: 1\n", "{a:1}", "", 0 },
    { "reads CRLF", "a: 1\r\nb:\r\n  - x\r\n", "{a:1,b:[x]}", "", 0 },
    { "reads a document with markers", "%YAML 1.1\n---\na: 1\n...\n", "{a:1}", "", 0 },
    { "keeps hashes inside words", "a: plant/#\nb: x #y\n", "{a:plant/#,b:x}", "", 0 },
    { "keeps text that looks like numbers", "a: 007\nb: 1e3\nc: 0x10\n", "{a:007,b:1e3,c:0x10}", "", 0 },
    { "honours !!str", "a: !!str null\nb: !!int 5\n", "{a:'null',b:5}", "", 0 },
    { "resolves aliases", "a: &x {k: [1, 2]}\nb: *x\nc: *x\n", "{a:{k:[1,2]},b:{k:[1,2]},c:{k:[1,2]}}", "", 0 },
    { "copies quotes with an alias", "a: &x 'null'\nb: *x\n", "{a:'null',b:'null'}", "", 0 },
    { "takes the latest anchor of a name", "a: &x 1\nb: &x 2\nc: *x\n", "{a:1,b:2,c:2}", "", 0 },
    { "lists an aliased entry", "a: &x 1\nb: [*x, *x]\n", "{a:1,b:[1,1]}", "", 0 },
    { "takes an alias for a key", "a: &x k\nb: {*x : 1}\n", "{a:k,b:{k:1}}", "", 0 },
    { "merges a map", "d: &d {a: 1, b: 2}\nx: {b: 3, <<: *d}\n", "{d:{a:1,b:2},x:{b:3,a:1}}", "", 0 },
    { "lets the map's own entry win after a merge", "d: &d {a: 1}\nx: {<<: *d, a: 2}\n", "{d:{a:1},x:{a:2}}", "", 0 },
    { "lets the first of several merged maps win", "p: &p {a: 1}\nq: &q {a: 2, b: 3}\nx: {<<: [*p, *q]}\n",
      "{p:{a:1},q:{a:2,b:3},x:{a:1,b:3}}", "", 0 },
    { "merges into a map of nothing else", "d: &d {}\nx: {<<: *d}\n", "{d:{},x:{}}", "", 0 },
    { "takes a quoted << for a key", "'<<': {a: 1}\n", "{<<:{a:1}}", "", 0 },

    { "reports every duplicate key", "a: 1\nb: 2\na: 3\nc: {d: 1, d: 2}\n", "{a:1,b:2,c:{d:1}}",
      "f.yaml:3:1: error: duplicate key 'a'; first given on line 1\n"
      "f.yaml:4:11: error: duplicate key 'd'; first given on line 4\n",
      0 },
    { "refuses to merge a scalar", "x:\n  <<: 5\n  a: 1\n", "{x:{a:1}}",
      "f.yaml:2:7: error: '<<' takes a map, or a list of maps, to merge in\n", 0 },
    { "reports an unknown anchor", "a: *nowhere\nb: 1\n", "{a:!,b:1}",
      "f.yaml:1:4: error: no anchor '&nowhere' stands before this alias; put a text that begins with '*' in quotes\n",
      0 },
    { "reports an alias inside itself", "a: &x [1, *x]\n", "{a:[1,!]}",
      "f.yaml:1:11: error: the alias '*x' stands for something that contains it\n", 0 },
    { "reports a list as key", "? [a, b]\n: 1\nc: 2\n", "{c:2}",
      "f.yaml:1:3: error: a key must be one word; put a text with braces or brackets in quotes\n", 0 },
    { "reports a template that lost its quotes", "a: {{ host }}\n", "{a:{}}",
      "f.yaml:1:5: error: a key must be one word; put a text with braces or brackets in quotes\n", 0 },
    { "reports a missing key", "a: 1\n?\n: 2\n", "{a:1}", "f.yaml:2:2: error: a key is missing before the ':'\n", 0 },
    { "reports unknown tags", "a: !secret token\nb: 1\n", "{a:!,b:1}",
      "f.yaml:1:4: error: the tag '!secret' is not known here; secrets come from ${VAR} or a file\n", 0 },
    { "reports a broken text once, whatever its aliases", "a: &x !secret t\nb: *x\n", "{a:!,b:!}",
      "f.yaml:1:4: error: the tag '!secret' is not known here; secrets come from ${VAR} or a file\n", 0 },
    { "reports an escaped NUL", "a: \"x\\0y\"\nb: 1\n", "{a:!,b:1}",
      "f.yaml:1:4: error: a text cannot contain a NUL byte\n", 0 },

    { "refuses a second document", "a: 1\n---\nb: 2\n", NULL,
      "f.yaml:2:1: error: a second document begins here; one file is one configuration\n", 0 },
    { "refuses a tab as indentation", "a:\n\tb: 1\n", NULL,
      "f.yaml:2:1: error: not valid YAML: a tab cannot indent; use spaces\n", 0 },
    { "refuses a tab after a byte order mark", BOM "a:\n\tb: 1\n", NULL,
      "f.yaml:2:1: error: not valid YAML: a tab cannot indent; use spaces\n", 0 },
    { "refuses reserved characters", "a: @x\n", NULL,
      "f.yaml:1:4: error: not valid YAML: no text begins with '@' unless it is in quotes\n", 0 },
    { "counts characters, not bytes", "\"\xC3\xBC\xE2\x82\xAC\": @x\n", NULL,
      "f.yaml:1:7: error: not valid YAML: no text begins with '@' unless it is in quotes\n", 0 },
    { "points at a key without colon", "a: 1\nfoo\nb: 2\n", NULL,
      "f.yaml:2:1: error: not valid YAML: could not find expected ':'; a ':' with a blank behind it must follow the "
      "key\n",
      0 },
    { "points at the quote that is not closed", "a: 1\nb: \"x\nc: 2\n", NULL,
      "f.yaml:2:4: error: not valid YAML: found unexpected end of stream; the closing quote is missing\n", 0 },
    { "points at a bad indentation", "a:\n  b: 1\n c: 2\n", NULL,
      "f.yaml:3:2: error: not valid YAML: did not find expected key while parsing a block mapping that begins on line "
      "1; "
      "check the indentation of this line and the quotes before it\n",
      0 },
    { "points at a colon inside a text", "a: b: c\n", NULL,
      "f.yaml:1:5: error: not valid YAML: mapping values are not allowed in this context; check the indentation, and "
      "put a "
      "text that contains ': ' in quotes\n",
      0 },
    { "explains a bare asterisk", "a: *\n", NULL,
      "f.yaml:1:4: error: not valid YAML: did not find expected alphabetic or numeric character; put a text that "
      "begins "
      "with '*' in quotes\n",
      0 },
    { "refuses a NUL byte", "a: 1\nb: x\0y\n", NULL,
      "f.yaml:2:5: error: not valid YAML: control characters are not allowed; a configuration is text in UTF-8\n", 12 },
    { "refuses what is no UTF-8", "a: 1\nb: \xFF\n", NULL,
      "f.yaml:2:4: error: not valid YAML: invalid leading UTF-8 octet; a configuration is text in UTF-8\n", 0 },
};

static void print_text(struct buf *out, const struct yaml_node *node) {
    buf_printf(out, node->quoted ? "'%.*s'" : "%.*s", STR_ARGS(node->text));
}

static void print_tree(struct buf *out, const struct yaml_node *node) {
    if (node->broken)
        buf_append_char(out, '!');
    else if (node->kind == YAML_SCALAR && yaml_is_null(node))
        buf_append_char(out, '~');
    else if (node->kind == YAML_SCALAR)
        print_text(out, node);
    if (node->kind == YAML_SCALAR)
        return;
    size_t count = 0;
    buf_append_char(out, node->kind == YAML_MAP ? '{' : '[');
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        if (count++ > 0)
            buf_append_char(out, ',');
        assert_true((child->key != NULL) == (node->kind == YAML_MAP));
        if (child->key != NULL)
            buf_printf(out, "%s:", child->key->text.data);
        print_tree(out, child);
    }
    assert_int_equal(count, node->count);
    buf_append_char(out, node->kind == YAML_MAP ? '}' : ']');
}

static void parses_row(void **state) {
    const struct row *row = *state;
    struct str text = { row->yaml, row->len > 0 ? row->len : strlen(row->yaml) };
    struct buf tree = BUF_INIT(1 << 16);
    struct diags diags = { .items = NULL };
    struct yaml_node *root;
    struct arena arena;
    char *complaints;

    arena_init(&arena, 1 << 20);
    root = yaml_parse("f.yaml", text, &arena, &diags);
    complaints = printed(&diags);
    assert_string_equal(complaints, row->diags);
    assert_int_equal(root != NULL, row->tree != NULL);
    if (root != NULL) {
        print_tree(&tree, root);
        assert_string_equal(buf_cstr(&tree), row->tree);
    }
    free(complaints);
    buf_release(&tree);
    diags_release(&diags);
    arena_release(&arena);
}

static void assert_at(const struct yaml_node *node, unsigned line, unsigned column) {
    assert_non_null(node);
    assert_string_equal(node->at.file, "f.yaml");
    assert_int_equal(node->at.line, line);
    assert_int_equal(node->at.column, column);
}

static void keeps_positions(void **state) {
    struct diags diags = { .items = NULL };
    const struct yaml_node *root, *list;
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    root =
        yaml_parse("f.yaml", STR(BOM "a: 1\r\nlist:\r\n  - {x: y}\r\n  - 'z'\r\nmap:\r\n  k: v\r\n"), &arena, &diags);
    assert_at(root, 1, 1);
    assert_at(yaml_get(root, "a"), 1, 4);
    assert_at(yaml_get(root, "a")->key, 1, 1);
    list = yaml_get(root, "list");
    assert_at(list, 3, 3);
    assert_at(list->first, 3, 5);
    assert_at(yaml_get(list->first, "x"), 3, 9);
    assert_at(list->first->next, 4, 5);
    assert_at(yaml_get(root, "map"), 6, 3);
    assert_at(yaml_get(yaml_get(root, "map"), "k"), 6, 6);
    assert_null(yaml_get(root, "nothing"));
    assert_null(yaml_get(NULL, "a"));
    assert_null(yaml_get(list, "a"));
    assert_int_equal(diags.count, 0);
    arena_release(&arena);
}

/* One text repeated, between two others. */
static char *repeated(const char *head, const char *part, size_t times, const char *tail) {
    struct buf text = BUF_INIT(1 << 24);

    buf_append_c(&text, head);
    for (size_t i = 0; i < times; i++)
        buf_append_c(&text, part);
    buf_append_c(&text, tail);
    buf_cstr(&text);
    return text.data;
}

static void assert_refused(char *yaml, const char *words) {
    struct diags diags = { .items = NULL };
    struct arena arena;
    char *complaints;

    arena_init(&arena, 64 << 20);
    assert_null(yaml_parse("f.yaml", str_of(yaml), &arena, &diags));
    complaints = printed(&diags);
    assert_non_null(strstr(complaints, words));
    assert_int_equal(diags.errors, 1);
    free(complaints);
    free(yaml);
    diags_release(&diags);
    arena_release(&arena);
}

static void bounds_depth(void **state) {
    struct diags diags = { .items = NULL };
    struct arena arena;
    char *fine = repeated("", "[", 64, "");

    (void)state;
    assert_refused(repeated("", "[", 65, ""), "f.yaml:1:65: error: nested deeper than 64 levels");
    assert_refused(repeated("", "- ", 100000, "x"), "f.yaml:1:129: error: nested deeper than 64 levels");
    assert_refused(repeated("a: &a {k: x}\n", "", 0,
                            "b: &b [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[*a]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n"
                            "c: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[*b]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n"),
                   "nested deeper than 64 levels through its aliases");
    for (char *at = fine; *at != '\0'; at++)
        assert_int_equal(*at, '[');
    fine = realloc(fine, 129);
    memset(fine + 64, ']', 64);
    fine[128] = '\0';
    arena_init(&arena, 1 << 20);
    assert_non_null(yaml_parse("f.yaml", str_of(fine), &arena, &diags));
    assert_int_equal(diags.count, 0);
    free(fine);
    arena_release(&arena);
}

static void bounds_aliases_that_multiply(void **state) {
    struct buf text = BUF_INIT(1 << 16);

    (void)state;
    buf_append_c(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 10; i++)
        buf_printf(&text, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1,
                   i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    buf_cstr(&text);
    assert_refused(text.data, "more than 100000 values: the file is too large, or its aliases multiply");
}

static void bounds_the_number_of_values(void **state) {
    (void)state;
    assert_refused(repeated("[", "x,", 100001, "]"), "more than 100000 values");
}

static void bounds_merges_that_multiply(void **state) {
    struct buf text = BUF_INIT(1 << 20);

    (void)state;
    buf_append_c(&text, "a: &a {");
    for (int i = 0; i < 1000; i++)
        buf_printf(&text, "k%d: x, ", i);
    buf_append_c(&text, "}\nb: {<<: [");
    for (int i = 0; i < 1000; i++)
        buf_append_c(&text, "*a, ");
    buf_append_c(&text, "]}\n");
    buf_cstr(&text);
    assert_refused(text.data, "more than 100000 values");
}

/* With too little memory at every step there is a complaint, and no tree that lacks something. */
static void fails_whole_without_memory(void **state) {
    const struct str yaml = STR("a: &x [1, {b: 'c'}]\nd: {e: *x, <<: {f: g}}\nh: i\n");
    bool done = false;

    (void)state;
    for (size_t max = 0; !done; max += 16) {
        struct diags diags = { .items = NULL };
        struct arena arena;
        assert_true(max < 65536);
        arena_init(&arena, max);
        done = yaml_parse("f.yaml", yaml, &arena, &diags) != NULL;
        assert_int_equal(diags.errors, done ? 0 : 1);
        diags_release(&diags);
        arena_release(&arena);
    }
}

int main(void) {
    enum { ROWS = sizeof rows / sizeof rows[0], MORE = 6 };
    struct CMUnitTest tests[ROWS + MORE] = {
        cmocka_unit_test(keeps_positions),
        cmocka_unit_test(bounds_depth),
        cmocka_unit_test(bounds_aliases_that_multiply),
        cmocka_unit_test(bounds_the_number_of_values),
        cmocka_unit_test(bounds_merges_that_multiply),
        cmocka_unit_test(fails_whole_without_memory),
    };

    for (size_t i = 0; i < ROWS; i++)
        tests[MORE + i] =
            (struct CMUnitTest){ .name = rows[i].name, .test_func = parses_row, .initial_state = &rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
