/* tests/unit/test_route.c: which route takes a topic, and which routes can never take what they ask for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "agent/ingest/route.h"

enum { ROUTES = 5, FILTERS = 3 };

/* The routes in order, with up to three filters each. */
static struct row {
    const char *name;
    const char *filters[ROUTES][FILTERS];
    const char *want; /* the warnings, each ended by ';'; R:FILTER<R:FILTER: what is taken, and by what */
} rows[] = {
    { "different filters", { { "a/+" }, { "b/+", "c/#" }, { "d" } }, "" },
    { "the same filter twice", { { "a/+" }, { "b" }, { "a/+" } }, "3:a/+<1:a/+;" },
    { "a wider filter earlier", { { "a", "b/#" }, { "b/c/+" } }, "2:b/c/+<1:b/#;" },
    { "a wider filter later is fine", { { "b/c/+" }, { "b/#" } }, "" },
    { "the first one that takes it is named", { { "x" }, { "b/#" }, { "b/+" }, { "y" }, { "b/c" } }, "3:b/+<2:b/#;5:b/c<2:b/#;" },
    { "of one route's own filters none is in the way", { { "a/#", "a/b" } }, "" },
    { "all filters of a route", { { "#" }, { "a", "b", "c" } }, "2:a<1:#;2:b<1:#;2:c<1:#;" },
    { "a leading wildcard takes no $SYS", { { "#" }, { "$SYS/#" } }, "" },
};

static struct src_pos places[FILTERS];

static void set_route(struct route *route, char name[16], size_t number, const char *const *filters) {
    snprintf(name, 16, "%zu", number);
    *route = (struct route){ .name = name, .topics = { .items = (char **)filters, .at = places } };
    while (route->topics.count < FILTERS && filters[route->topics.count] != NULL)
        route->topics.count++;
}

/* `2: nothing will come here for 'b': 1 takes all of '#' first` as 2:b<1:#; */
static void shorten(const char *text, char *out, size_t size) {
    char route[16], filter[16], taker[16], wide[16];

    assert_int_equal(sscanf(text, "%15[^:]: nothing will come here for '%15[^']': %15s takes all of '%15[^']' first", route, filter, taker,
                            wide),
                     4);
    snprintf(out + strlen(out), size - strlen(out), "%s:%s<%s:%s;", route, filter, taker, wide);
}

static void warns_of_what_cannot_come(void **state) {
    const struct row *row = *state;
    struct route routes[ROUTES];
    struct filter_index earlier;
    struct diags diags = { 0 };
    char names[ROUTES][16], got[200] = "";

    filter_index_init(&earlier);
    for (size_t i = 0; i < ROUTES && row->filters[i][0] != NULL; i++) {
        set_route(&routes[i], names[i], i + 1, row->filters[i]);
        route_warn_shadowed(&earlier, routes, i, names[i], &diags);
    }
    for (size_t i = 0; i < diags.count; i++)
        shorten(diags.items[i].text, got, sizeof got);
    assert_string_equal(got, row->want);
    filter_index_release(&earlier);
    diags_release(&diags);
}

static uint64_t steps_for(size_t count) {
    struct route *routes = calloc(count, sizeof *routes);
    char (*texts)[40] = calloc(count, sizeof *texts), **items = calloc(count, sizeof *items);
    struct filter_index earlier;
    struct diags diags = { 0 };

    filter_index_init(&earlier);
    for (size_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "plant/%zu/+", i);
        items[i] = texts[i];
        routes[i] = (struct route){ .name = "r", .topics = { .items = &items[i], .at = places, .count = 1 } };
        route_warn_shadowed(&earlier, routes, i, "r", &diags);
    }
    assert_int_equal(diags.count, 0);
    uint64_t steps = earlier.steps;
    filter_index_release(&earlier);
    free(items);
    free(texts);
    free(routes);
    return steps;
}

static void many_routes_cost_a_few_steps_each(void **state) {
    uint64_t few = steps_for(10000);

    (void)state;
    assert_in_range(few, 10000, 10000 * 8);
    assert_in_range(steps_for(20000), 20000, 2 * few + 100);
}

static void the_first_route_that_matches_takes_the_topic(void **state) {
    const char *const filters[ROUTES][FILTERS] = { { "a/b" }, { "b/+", "a/+" }, { NULL } };
    struct route routes[3];
    char names[3][16];

    (void)state;
    for (size_t i = 0; i < 3; i++)
        set_route(&routes[i], names[i], i, filters[i]);
    assert_ptr_equal(route_match(routes, 3, STR("a/b")), &routes[0]);
    assert_ptr_equal(route_match(routes, 3, STR("a/c")), &routes[1]);
    assert_ptr_equal(route_match(routes, 3, STR("c")), &routes[2]); /* without filters: everything */
    assert_null(route_match(routes, 2, STR("c")));
}

enum { COUNT = sizeof rows / sizeof rows[0], PLAIN = 2 };

int main(void) {
    struct CMUnitTest tests[COUNT + PLAIN] = {
        cmocka_unit_test(many_routes_cost_a_few_steps_each),
        cmocka_unit_test(the_first_route_that_matches_takes_the_topic),
    };

    for (size_t i = 0; i < COUNT; i++)
        tests[PLAIN + i] = (struct CMUnitTest){ rows[i].name, warns_of_what_cannot_come, NULL, NULL, &rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
