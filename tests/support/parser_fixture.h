/*
 * tests/support/parser_fixture.h: a parser as the configuration loader would make it: defaults from its option table, then the
 * options of one line such as `tag_keys=a,b json_strict=false`, without YAML. For tests, fuzz targets and benches.
 */
#ifndef HELIOGRAF_TESTS_PARSER_FIXTURE_H
#define HELIOGRAF_TESTS_PARSER_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include "parsers/parser.h"

struct parser_fixture {
    const struct parser_type *type;
    void *state;
    struct arena arena;
    struct points out;
    struct err err;
};

static inline void fixture_fail(const char *what, const char *key) {
    fprintf(stderr, "parser fixture: %s '%s'\n", what, key);
    abort();
}

/* Durations only as 1ns, 1us, 1ms, 1s; lists with commas. */
static inline void fixture_set(struct parser_fixture *fixture, const struct cfg_field *field, const char *text) {
    char *at = (char *)fixture->state + field->offset;
    struct cfg_strings *list = (struct cfg_strings *)(void *)at;
    struct str rest = str_of(text), item;

    switch (field->type) {
    case CFG_BOOL:
        *(bool *)(void *)at = strcmp(text, "true") == 0;
        return;
    case CFG_INTEGER:
        *(int64_t *)(void *)at = strtoll(text, NULL, 10);
        return;
    case CFG_DURATION:
        *(int64_t *)(void *)at = strcmp(text, "1ns") == 0 ? 1 : strcmp(text, "1us") == 0 ? 1000 : strcmp(text, "1ms") == 0 ? 1000000
                                 : strcmp(text, "1s") == 0 ? 1000000000 : strtoll(text, NULL, 10);
        return;
    case CFG_STRING:
        *(char **)(void *)at = arena_strdup(&fixture->arena, rest);
        return;
    case CFG_ENUM:
        for (int i = 0; field->names[i] != NULL; i++)
            if (strcmp(field->names[i], text) == 0) {
                *(int *)(void *)at = i;
                return;
            }
        fixture_fail("unknown value", text);
        return;
    case CFG_STRINGS:
        list->items = arena_alloc(&fixture->arena, 64 * sizeof *list->items);
        for (list->count = 0; rest.data != NULL && list->count < 64; list->count++) {
            item = str_split(&rest, ',');
            list->items[list->count] = arena_strdup(&fixture->arena, item);
        }
        return;
    default:
        fixture_fail("type not known here, of", field->key);
    }
}

/* `options` is `key=value` separated by blanks; `~` stands for a blank in a value. False with fixture->err when init refuses. */
static inline bool fixture_init(struct parser_fixture *fixture, const struct parser_type *type, const char *options) {
    struct str rest = str_of(options);

    *fixture = (struct parser_fixture){ .type = type, .state = parser_new(type) };
    arena_init(&fixture->arena, 1 << 20);
    points_init(&fixture->out, 8 << 20);
    for (const struct cfg_field *field = type->options; field->key != NULL; field++)
        if (field->fallback != NULL)
            fixture_set(fixture, field, field->fallback);
    while (rest.data != NULL && rest.len > 0) {
        struct str value = str_split(&rest, ' '), key = str_split(&value, '=');
        const struct cfg_field *field = type->options;
        char text[512];
        if (key.len == 0)
            continue;
        while (field->key != NULL && !str_eq_c(key, field->key))
            field++;
        snprintf(text, sizeof text, "%.*s", STR_ARGS(value));
        for (char *c = text; *c != '\0'; c++)
            *c = *c == '~' ? ' ' : *c;
        if (field->key == NULL)
            fixture_fail("unknown option in", options);
        fixture_set(fixture, field, text);
    }
    return type->init == NULL || type->init(fixture->state, &fixture->err);
}

static inline void fixture_release(struct parser_fixture *fixture) {
    parser_free(fixture->type, fixture->state);
    points_release(&fixture->out);
    arena_release(&fixture->arena);
}

/* Clears the points and the error, then parses. */
static inline bool fixture_parse(struct parser_fixture *fixture, struct str payload, int64_t received_ns) {
    struct message message = { .topic = STR_INIT("plant/boiler"), .payload = payload, .received_ns = received_ns };

    points_reset(&fixture->out);
    err_clear(&fixture->err);
    return fixture->type->parse(fixture->state, &message, &fixture->out, &fixture->err);
}

/* --- points as text: `measurement,tag=value field=1.5,other=3i 1700000000`, unescaped, one point a line --- */

static inline void fixture_put_value(struct buf *to, const struct value *value) {
    switch (value->type) {
    case VALUE_NUMBER:
        buf_append_str(to, value->as.text);
        break;
    case VALUE_FLOAT:
        buf_printf(to, "%.17gf", value->as.f);
        break;
    case VALUE_INTEGER:
        buf_printf(to, "%lldi", (long long)value->as.i);
        break;
    case VALUE_UNSIGNED:
        buf_printf(to, "%lluu", (unsigned long long)value->as.u);
        break;
    case VALUE_BOOLEAN:
        buf_append_c(to, value->as.b ? "true" : "false");
        break;
    case VALUE_STRING:
        buf_append_char(to, '"');
        buf_append_str(to, value->as.text);
        buf_append_char(to, '"');
        break;
    }
}

/* The text lives until the buffer is reset. */
static inline const char *fixture_print(struct points *points, struct buf *to) {
    buf_reset(to);
    for (size_t i = 0; i < points->count; i++) {
        const struct point *point = &points->items[i];
        if (i > 0)
            buf_append_char(to, '\n');
        buf_append_str(to, point->measurement);
        for (uint32_t t = 0; t < point->tag_count; t++) {
            const struct tag *tag = point_tags(points, point) + t;
            buf_append_char(to, ',');
            buf_append_str(to, tag->key);
            buf_append_char(to, '=');
            buf_append_str(to, tag->value);
        }
        for (uint32_t f = 0; f < point->field_count; f++) {
            const struct field *field = point_fields(points, point) + f;
            buf_append_char(to, f == 0 ? ' ' : ',');
            buf_append_str(to, field->key);
            buf_append_char(to, '=');
            fixture_put_value(to, &field->value);
        }
        if (point->has_time)
            buf_printf(to, " %lld", (long long)point->time_ns);
    }
    return buf_cstr(to);
}

#endif
