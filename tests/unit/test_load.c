/* tests/unit/test_load.c: files, directories and standard input become one tree; variables; what is given twice. */
#include "config/load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/buf.h"
#include "tests/support/config_text.h"

/* A test runs inside a folder of its own, so that paths in complaints are short and known. */
struct place {
    char directory[64];
    int before;
    struct arena arena;
    struct diags diags;
};

static int enter(void **state) {
    struct place *place = calloc(1, sizeof *place);

    snprintf(place->directory, sizeof place->directory, "/tmp/heliograf-test-load-XXXXXX");
    if (mkdtemp(place->directory) == NULL || chdir(place->directory) != 0)
        return -1;
    place->before = dup(STDIN_FILENO);
    arena_init(&place->arena, 16 << 20);
    *state = place;
    return 0;
}

static bool remove_tree(const char *path) {
    DIR *directory = opendir(path);
    struct dirent *entry;
    char below[512];

    if (directory == NULL)
        return false;
    while ((entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
        if (unlink(below) != 0 && !remove_tree(below))
            break;
    }
    closedir(directory);
    return entry == NULL && rmdir(path) == 0;
}

static int leave(void **state) {
    struct place *place = *state;

    dup2(place->before, STDIN_FILENO);
    close(place->before);
    diags_release(&place->diags);
    arena_release(&place->arena);
    if (chdir("/") != 0 || !remove_tree(place->directory))
        return -1;
    free(place);
    return 0;
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static const char *lookup(void *ctx, const char *name) {
    static const char *const set[][2] = {
        { "HOST", "plant-7" }, { "EMPTY", "" },        { "PORT", "1883" }, { "NASTY", "x, y: [1]\n- &a *b \"'" },
        { "REF", "${HOST}" },  { "NULLWORD", "null" }, { "_x1", "under" },
    };

    assert_ptr_equal(ctx, (void *)1);
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++)
        if (strcmp(set[i][0], name) == 0)
            return set[i][1];
    return NULL;
}

static struct yaml_node *load(struct place *place, const char **files, size_t file_count, const char *directory) {
    struct config_sources sources = {
        .files = files,
        .file_count = file_count,
        .directories = &directory,
        .directory_count = directory != NULL,
        .lookup = lookup,
        .lookup_ctx = (void *)1,
    };

    return config_load(&sources, &place->arena, &place->diags);
}

static void assert_diags(struct place *place, const char *want) {
    char *text = printed(&place->diags);

    assert_string_equal(text, want);
    free(text);
}

static const char *text_of(const struct yaml_node *node) {
    assert_non_null(node);
    assert_int_equal(node->kind, YAML_SCALAR);
    assert_int_equal(strlen(node->text.data), node->text.len);
    return node->text.data;
}

/* --- variables --- */

static struct row {
    const char *name, *scalar, *want; /* want NULL: broken, with `diag` */
    const char *diag;
} rows[] = {
    { "replaces a variable", "${HOST}", "plant-7", NULL },
    { "replaces inside a text", "tcp://${HOST}:${PORT}/x", "tcp://plant-7:1883/x", NULL },
    { "replaces in double quotes", "\"${HOST}\"", "plant-7", NULL },
    { "replaces in single quotes", "'${HOST}'", "plant-7", NULL },
    { "knows names with underscore and digits", "${_x1}", "under", NULL },
    { "takes a set but empty variable", "a${EMPTY}b", "ab", NULL },
    { "takes a default for an unset one", "${NO:-fallback}", "fallback", NULL },
    { "takes a default for an empty one", "${EMPTY:-fallback}", "fallback", NULL },
    { "takes no default for a set one", "${HOST:-fallback}", "plant-7", NULL },
    { "keeps an empty one without colon", "a${EMPTY-fallback}b", "ab", NULL },
    { "takes a default without colon for an unset one", "${NO-fallback}", "fallback", NULL },
    { "takes an empty default", "a${NO:-}b", "ab", NULL },
    { "takes a default with colons and dashes", "${NO:-tcp://a-b:1?c}", "tcp://a-b:1?c", NULL },
    { "takes a variable as default", "${NO:-${HOST}}", "plant-7", NULL },
    { "takes text around a variable as default", "${NO:-a${NO2-b}c}d", "abcd", NULL },
    { "takes a dollar in a default", "${NO:-$$x}", "$x", NULL },
    { "takes a message's variable when set", "${HOST:?no host}", "plant-7", NULL },
    { "takes an empty one with a message without colon", "a${EMPTY?no}b", "ab", NULL },
    { "writes a dollar for two", "a$$b", "a$b", NULL },
    { "writes a reference for two dollars", "$${HOST}", "${HOST}", NULL },
    { "keeps other dollars", "$SYS/#", "$SYS/#", NULL },
    { "keeps a shared subscription", "$share/g/plant/#", "$share/g/plant/#", NULL },
    { "keeps a last dollar", "cost$", "cost$", NULL },
    { "keeps a regular expression", "'^a$|b}'", "^a$|b}", NULL },
    { "does not replace what a variable brings", "${REF}", "${HOST}", NULL },
    { "lets no structure in", "${NASTY}", "x, y: [1]\n- &a *b \"'", NULL },
    { "lets no null in", "${NULLWORD}", "null", NULL },
    { "lets an empty text in", "${EMPTY}", "", NULL },

    { "refuses an unset variable", "${NO}", NULL,
      "environment variable 'NO' is not set; ${NO:-default} gives it a default" },
    { "refuses an unset variable with its message", "${NO:?set it in /etc/default}", NULL,
      "environment variable 'NO' is not set: set it in /etc/default" },
    { "refuses an empty variable with its message", "${EMPTY:?needed}", NULL,
      "environment variable 'EMPTY' is empty: needed" },
    { "refuses an unset variable without colon", "${NO?needed}", NULL, "environment variable 'NO' is not set: needed" },
    { "refuses without a message", "${NO:?}", NULL, "environment variable 'NO' is not set" },
    { "refuses an unset variable in a default", "${NO:-${NO2}}", NULL,
      "environment variable 'NO2' is not set; ${NO2:-default} gives it a default" },
    { "refuses a brace that is not closed", "a${HOST", NULL, "'${' without a '}'; write $${ for a plain ${" },
    { "refuses a nested one that is not closed", "${NO:-${HOST}", NULL,
      "'${' without a '}'; write $${ for a plain ${" },
    { "refuses no name", "${}", NULL,
      "no variable's name follows '${', or an unknown operator the name; write $${ for a plain ${" },
    { "refuses a name that begins with a digit", "${1a}", NULL,
      "no variable's name follows '${', or an unknown operator the name; write $${ for a plain ${" },
    { "refuses other operators", "${HOST:+x}", NULL,
      "no variable's name follows '${', or an unknown operator the name; write $${ for a plain ${" },
    { "refuses a colon alone", "${HOST:}", NULL,
      "no variable's name follows '${', or an unknown operator the name; write $${ for a plain ${" },
    { "bounds nesting", "${A-${A-${A-${A-${A-${A-${A-${A-${A-${A-x}}}}}}}}}}", NULL,
      "variables nested deeper than 8 levels" },
};

static void expands_row(void **state) {
    const struct row *row = *state;
    const char *file = "a.yaml";
    const struct yaml_node *root, *node;
    struct place *place;
    void *own = NULL;
    char text[256];

    assert_int_equal(enter(&own), 0);
    place = own;
    snprintf(text, sizeof text, "x: 1\nkey:  %s\n", row->scalar);
    write_file("a.yaml", text);
    root = load(place, &file, 1, NULL);
    node = yaml_get(root, "key");
    assert_non_null(node);
    if (row->want != NULL) {
        assert_diags(place, "");
        assert_string_equal(text_of(node), row->want);
        assert_false(node->broken);
        if (strstr(row->scalar, "${") != NULL && strstr(row->scalar, "$${") == NULL)
            assert_true(node->expanded && !yaml_is_null(node));
        else
            assert_false(node->expanded);
    } else {
        snprintf(text, sizeof text, "a.yaml:2:7: error: %s\n", row->diag);
        assert_diags(place, text);
        assert_true(node->broken);
    }
    assert_int_equal(leave(&own), 0);
}

static void leaves_keys_alone(void **state) {
    struct place *place = *state;
    const char *file = "a.yaml";

    write_file("a.yaml", "${HOST}: 1\n$$: 2\n");
    const struct yaml_node *root = load(place, &file, 1, NULL);
    assert_string_equal(text_of(yaml_get(root, "${HOST}")), "1");
    assert_string_equal(text_of(yaml_get(root, "$$")), "2");
    assert_diags(place, "");
}

static void looks_into_the_environment(void **state) {
    struct place *place = *state;
    const char *file = "a.yaml";
    struct config_sources sources = { .files = &file, .file_count = 1 };

    write_file("a.yaml", "a: ${HELIOGRAF_TEST_LOAD}\nb: ${HELIOGRAF_TEST_LOAD_UNSET:-no}\n");
    setenv("HELIOGRAF_TEST_LOAD", "yes", 1);
    const struct yaml_node *root = config_load(&sources, &place->arena, &place->diags);
    unsetenv("HELIOGRAF_TEST_LOAD");
    assert_string_equal(text_of(yaml_get(root, "a")), "yes");
    assert_string_equal(text_of(yaml_get(root, "b")), "no");
}

static void expands_a_copied_scalar_once(void **state) {
    struct place *place = *state;
    const char *file = "a.yaml";

    write_file("a.yaml", "a: &a $$$$x\nb: *a\nc: {<<: {d: $$$$y}}\n");
    const struct yaml_node *root = load(place, &file, 1, NULL);
    assert_string_equal(text_of(yaml_get(root, "a")), "$$x");
    assert_string_equal(text_of(yaml_get(root, "b")), "$$x");
    assert_string_equal(text_of(yaml_get(yaml_get(root, "c"), "d")), "$$y");
}

static void reports_every_variable(void **state) {
    struct place *place = *state;
    const char *file = "a.yaml";

    write_file("a.yaml", "a: ${ONE}\nb:\n  - ${TWO:?no}\n  - x\nc: '${HOST}${'\n");
    assert_non_null(load(place, &file, 1, NULL));
    assert_diags(place, "a.yaml:1:4: error: environment variable 'ONE' is not set; ${ONE:-default} gives it a default\n"
                        "a.yaml:3:5: error: environment variable 'TWO' is not set: no\n"
                        "a.yaml:5:4: error: '${' without a '}'; write $${ for a plain ${\n");
}

/* --- merging --- */

static void merges_maps_and_lists(void **state) {
    struct place *place = *state;
    const char *files[] = { "a.yaml", "b.yaml" };
    const struct yaml_node *root, *list;

    write_file("a.yaml", "agent: {flush_interval: 1s}\n"
                         "inputs:\n  mqtt_consumer:\n    - {topics: [a]}\n"
                         "tests:\n  - {topic: one}\n"
                         "empty:\nkept: {x: 1}\n");
    write_file("b.yaml", "agent: {spool: {sync: memory}}\n"
                         "inputs:\n  mqtt_consumer:\n    - {topics: [b]}\n    - {topics: [c]}\n  internal: [{}]\n"
                         "outputs: {file: [{files: [stdout]}]}\n"
                         "tests:\n  - {topic: two}\n"
                         "empty: {now: full}\nkept:\n");
    root = load(place, files, 2, NULL);
    assert_diags(place, "");
    assert_string_equal(text_of(yaml_get(yaml_get(root, "agent"), "flush_interval")), "1s");
    assert_string_equal(text_of(yaml_get(yaml_get(yaml_get(root, "agent"), "spool"), "sync")), "memory");
    list = yaml_get(yaml_get(root, "inputs"), "mqtt_consumer");
    assert_int_equal(list->count, 3);
    assert_string_equal(list->first->at.file, "a.yaml");
    assert_string_equal(list->first->next->at.file, "b.yaml");
    assert_int_equal(list->first->next->at.line, 4);
    assert_string_equal(text_of(yaml_get(list->first->next->next, "topics")->first), "c");
    assert_null(list->first->next->next->next);
    assert_int_equal(yaml_get(yaml_get(root, "inputs"), "internal")->count, 1);
    assert_int_equal(yaml_get(root, "tests")->count, 2);
    assert_string_equal(text_of(yaml_get(yaml_get(root, "empty"), "now")), "full");
    assert_string_equal(text_of(yaml_get(yaml_get(root, "kept"), "x")), "1");
    assert_non_null(yaml_get(root, "outputs"));
}

static void merges_single_blocks_as_lists(void **state) {
    struct place *place = *state;
    const char *files[] = { "a.yaml", "b.yaml", "c.yaml" };

    write_file("a.yaml", "outputs: {file: {files: [a]}}\n");
    write_file("b.yaml", "outputs: {file: {files: [b]}}\n");
    write_file("c.yaml", "outputs: {file: [{files: [c]}]}\n");
    const struct yaml_node *list = yaml_get(yaml_get(load(place, files, 3, NULL), "outputs"), "file");
    assert_diags(place, "");
    assert_int_equal(list->kind, YAML_LIST);
    assert_int_equal(list->count, 3);
    assert_string_equal(text_of(yaml_get(list->first, "files")->first), "a");
    assert_string_equal(text_of(yaml_get(list->first->next, "files")->first), "b");
    assert_string_equal(text_of(yaml_get(list->first->next->next, "files")->first), "c");
    assert_null(list->first->key);
    assert_null(list->first->next->key);
}

static void reports_what_is_given_twice(void **state) {
    struct place *place = *state;
    const char *files[] = { "a.yaml", "b.yaml" };

    write_file("a.yaml", "agent:\n  interval: 1s\nglobal_tags: {site: x}\nbroker: {listeners: [a]}\ninputs: {x: 5}\n");
    write_file("b.yaml", "agent:\n  interval: 1s\nglobal_tags: {site: y, line: 1}\nbroker: {listeners: [b]}\n"
                         "inputs: {x: [{}]}\n");
    const struct yaml_node *root = load(place, files, 2, NULL);
    assert_diags(place, "b.yaml:2:3: error: 'interval' is given twice; first at a.yaml:2:3\n"
                        "b.yaml:3:15: error: 'site' is given twice; first at a.yaml:3:15\n"
                        "b.yaml:4:10: error: 'listeners' is given twice; first at a.yaml:4:10\n"
                        "b.yaml:5:10: error: 'x' is given twice; first at a.yaml:5:10\n");
    assert_string_equal(text_of(yaml_get(yaml_get(root, "global_tags"), "line")), "1");
}

/* --- files --- */

static void reads_a_directory_by_name(void **state) {
    struct place *place = *state;
    const char *file = "main.yaml";

    assert_int_equal(mkdir("conf.d", 0700), 0);
    assert_int_equal(mkdir("conf.d/sub.yaml", 0700), 0);
    write_file("main.yaml", "tests: [main]\n");
    write_file("conf.d/20.yml", "tests: [second]\n");
    write_file("conf.d/10.yaml", "tests: [first]\n");
    write_file("conf.d/.10.yaml.swp", "\t\n");
    write_file("conf.d/.hidden.yaml", "\t\n");
    write_file("conf.d/notes.txt", "\t\n");
    write_file("conf.d/30.yaml~", "\t\n");
    const struct yaml_node *tests = yaml_get(load(place, &file, 1, "conf.d/"), "tests");
    assert_diags(place, "");
    assert_int_equal(tests->count, 3);
    assert_string_equal(text_of(tests->first), "main");
    assert_string_equal(text_of(tests->first->next), "first");
    assert_string_equal(tests->first->next->at.file, "conf.d/10.yaml");
    assert_string_equal(text_of(tests->first->next->next), "second");
}

static void reads_a_file_once(void **state) {
    struct place *place = *state;
    const char *files[] = { "a.yaml", "./a.yaml" };

    write_file("a.yaml", "a: 1\ntests: [x]\n");
    assert_int_equal(symlink("a.yaml", "b.yaml"), 0);
    const struct yaml_node *root = load(place, files, 2, ".");
    assert_diags(place, "");
    assert_int_equal(yaml_get(root, "tests")->count, 1);
}

static void warns_of_an_empty_directory(void **state) {
    struct place *place = *state;

    assert_int_equal(mkdir("conf.d", 0700), 0);
    const struct yaml_node *root = load(place, NULL, 0, "conf.d");
    assert_int_equal(root->kind, YAML_MAP);
    assert_diags(place, "conf.d: warning: no *.yaml or *.yml file in this directory\n");
}

static void reports_every_file(void **state) {
    struct place *place = *state;
    const char *files[] = { "missing.yaml", "broken.yaml", ".", "list.yaml", "fine.yaml", "scalar.yaml" };

    write_file("broken.yaml", "a: [\n");
    write_file("list.yaml", "- a\n");
    write_file("scalar.yaml", "# no colon\nagent\n");
    write_file("fine.yaml", "a: ${NO}\n");
    assert_null(load(place, files, 6, "nowhere"));
    assert_diags(place,
                 ".: error: is a directory; give it with --config-directory\n"
                 "broken.yaml:2:1: error: not valid YAML: did not find expected node content\n"
                 "fine.yaml:1:4: error: environment variable 'NO' is not set; ${NO:-default} gives it a default\n"
                 "list.yaml:1:1: error: a configuration is a map of sections such as 'inputs:' and 'outputs:'\n"
                 "missing.yaml: error: no such file; `heliograf config` prints a sample to begin with\n"
                 "nowhere: error: cannot open the directory: No such file or directory\n"
                 "scalar.yaml:2:1: error: a configuration is a map of sections such as 'inputs:' and 'outputs:'\n");
}

static void reports_a_file_it_may_not_read(void **state) {
    struct place *place = *state;
    const char *file = "a.yaml/b.yaml";

    write_file("a.yaml", "a: 1\n");
    assert_null(load(place, &file, 1, NULL));
    assert_diags(place, "a.yaml/b.yaml: error: cannot open a.yaml/b.yaml: Not a directory\n");
}

static void refuses_a_huge_file(void **state) {
    struct place *place = *state;
    const char *file = "a.yaml";
    FILE *out = fopen("a.yaml", "w");

    for (size_t i = 0; i < (4 << 20) / 64 + 1; i++)
        fprintf(out, "#%62s\n", "");
    fclose(out);
    assert_null(load(place, &file, 1, NULL));
    assert_diags(place, "a.yaml: error: a.yaml is larger than 4194304 bytes\n");
}

static void refuses_nothing_at_all(void **state) {
    struct place *place = *state;

    load(place, NULL, 0, NULL);
    assert_diags(place, "error: no configuration is given\n");
}

static void reads_standard_input(void **state) {
    struct place *place = *state;
    const char *files[] = { "-", "-" };
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "a: 1\nb: ${NO}\n", 14), 14);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    const struct yaml_node *root = load(place, files, 2, NULL);
    assert_string_equal(text_of(yaml_get(root, "a")), "1");
    assert_diags(place,
                 "<stdin>:2:4: error: environment variable 'NO' is not set; ${NO:-default} gives it a default\n");
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, enter, leave)

int main(void) {
    enum { ROWS = sizeof rows / sizeof rows[0], MORE = 15 };
    struct CMUnitTest tests[ROWS + MORE] = {
        PLACED(leaves_keys_alone),           PLACED(looks_into_the_environment), PLACED(expands_a_copied_scalar_once),
        PLACED(reports_every_variable),      PLACED(merges_maps_and_lists),      PLACED(merges_single_blocks_as_lists),
        PLACED(reports_what_is_given_twice), PLACED(reads_a_directory_by_name),  PLACED(reads_a_file_once),
        PLACED(warns_of_an_empty_directory), PLACED(reports_every_file),         PLACED(reports_a_file_it_may_not_read),
        PLACED(refuses_a_huge_file),         PLACED(refuses_nothing_at_all),     PLACED(reads_standard_input),
    };

    for (size_t i = 0; i < ROWS; i++)
        tests[MORE + i] =
            (struct CMUnitTest){ .name = rows[i].name, .test_func = expands_row, .initial_state = &rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
