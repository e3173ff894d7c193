/*
 * tests/fuzz/fuzz_config.c: arbitrary bytes as configuration: parsed, expanded, merged with themselves, and read
 * against a table with every type of option. What was read is touched to its last byte.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/expand.h"
#include "config/merge.h"
#include "config/schema.h"
#include "config/yaml_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct inner {
    char *name;
    struct cfg_strings list;
};

struct options {
    bool flag;
    int64_t whole, wait;
    double real;
    uint64_t size;
    char *text, *secret;
    int mode;
    struct cfg_strings list;
    struct cfg_map tags;
    struct cfg_lists pass;
    struct inner one;
    struct cfg_objects many;
    const struct yaml_node *raw;
};

static const char *const modes[] = { "fast", "safe", NULL };

static const struct cfg_field inner_fields[] = {
    { .key = "name",
      .type = CFG_STRING,
      .offset = offsetof(struct inner, name),
      .flags = CFG_REQUIRED,
      .example = "x" },
    { .key = "list", .type = CFG_STRINGS, .offset = offsetof(struct inner, list), .fallback = "[a]" },
    CFG_END,
};

static const struct cfg_field fields[] = {
    { .key = "flag", .type = CFG_BOOL, .offset = offsetof(struct options, flag), .fallback = "on" },
    { .key = "whole", .type = CFG_INTEGER, .offset = offsetof(struct options, whole), .min = -5, .max = 5 },
    { .key = "wait", .type = CFG_DURATION, .offset = offsetof(struct options, wait), .min = 1, .max = INT64_MAX },
    { .key = "real", .type = CFG_DOUBLE, .offset = offsetof(struct options, real) },
    { .key = "size", .type = CFG_SIZE, .offset = offsetof(struct options, size), .max = 1 << 20 },
    { .key = "text", .type = CFG_STRING, .offset = offsetof(struct options, text), .fallback = "" },
    { .key = "mode", .type = CFG_ENUM, .offset = offsetof(struct options, mode), .names = modes },
    { .key = "list", .type = CFG_STRINGS, .offset = offsetof(struct options, list), .flags = CFG_REQUIRED },
    { .key = "tags", .type = CFG_MAP, .offset = offsetof(struct options, tags) },
    { .key = "pass", .type = CFG_LISTS, .offset = offsetof(struct options, pass) },
    { .key = "one", .type = CFG_OBJECT, .offset = offsetof(struct options, one), .fields = inner_fields },
    { .key = "many",
      .type = CFG_OBJECTS,
      .offset = offsetof(struct options, many),
      .fields = inner_fields,
      .size = sizeof(struct inner) },
    { .key = "raw", .type = CFG_NODE, .offset = offsetof(struct options, raw) },
    { .key = "old", .type = CFG_STRING, .flags = CFG_IGNORED, .help = "it is old" },
    CFG_END,
};

/* Apart, because it is left out when the bytes name a file to read. */
static const struct cfg_field secret_fields[] = {
    { .key = "secret", .type = CFG_SECRET, .offset = offsetof(struct options, secret) },
    CFG_END,
};

static volatile size_t sink;

static void touch(const char *text) {
    if (text != NULL)
        sink += strlen(text);
}

static void touch_strings(const struct cfg_strings *strings) {
    for (size_t i = 0; i < strings->count; i++) {
        touch(strings->items[i]);
        sink += strings->at[i].line;
    }
}

static void touch_options(const struct options *options) {
    touch(options->text);
    touch(options->secret);
    touch_strings(&options->list);
    for (size_t i = 0; i < options->tags.count; i++) {
        touch(options->tags.keys[i]);
        touch(options->tags.values[i]);
    }
    for (size_t i = 0; i < options->pass.count; i++) {
        touch(options->pass.keys[i]);
        touch_strings(&options->pass.values[i]);
    }
    touch(options->one.name);
    touch_strings(&options->one.list);
    for (size_t i = 0; i < options->many.count; i++) {
        const struct inner *inner = (const struct inner *)options->many.items + i;
        touch(inner->name);
        touch_strings(&inner->list);
    }
}

/* Every node is consistent: counts match, entries have keys, texts are closed. */
static void check_tree(const struct yaml_node *node) {
    size_t count = 0;

    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        if ((child->key != NULL) != (node->kind == YAML_MAP))
            abort();
        check_tree(child);
        count++;
    }
    if (count != node->count || node->at.line == 0 || node->text.data[node->text.len] != '\0')
        abort();
}

static const char *lookup(void *ctx, const char *name) {
    (void)ctx;
    return name[0] == 'A' ? "a: [value" : name[0] == 'E' ? "" : NULL;
}

/* Opening what the bytes name would make the run depend on the machine. */
static bool names_a_file(const struct yaml_node *map) {
    return yaml_get(map, "secret_file") != NULL;
}

static void read_all(struct yaml_node *root, struct arena *arena, struct diags *diags) {
    struct options options = { .flag = false };
    struct cfg_binding bindings[] = { { fields, &options }, { secret_fields, &options } };
    size_t before = diags->errors;
    bool ok;

    ok = cfg_read(root, "fuzz", bindings, names_a_file(root) ? 1 : 2, arena, diags);
    if (ok && diags->errors != before)
        abort();
    if (ok)
        touch_options(&options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct expand_variables variables = { lookup, NULL };
    struct str text = { (const char *)data, size };
    struct yaml_node *root, *again;
    struct diags diags = { .items = NULL };
    struct arena arena;
    FILE *nowhere;

    arena_init(&arena, 64 << 20);
    root = yaml_parse("fuzz.yaml", text, &arena, &diags);
    if (root == NULL && diags.errors == 0)
        abort();
    if (root != NULL && root->kind == YAML_MAP) {
        check_tree(root);
        expand_tree(root, &variables, &arena, &diags);
        read_all(root, &arena, &diags);
        again = yaml_parse("again.yaml", text, &arena, &diags);
        if (again != NULL)
            merge_trees(root, again, &arena, &diags);
        check_tree(root);
    }
    nowhere = fopen("/dev/null", "w");
    diags_print(&diags, nowhere);
    fclose(nowhere);
    diags_release(&diags);
    arena_release(&arena);
    return 0;
}
