/* tests/unit/test_points.c: points, their tags and fields, the caps, and the way back. */
#include "agent/base/points.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void keeps_values_with_their_point(void **state) {
    struct points points;

    (void)state;
    points_init(&points, 1 << 20);
    for (int64_t i = 0; i < 100; i++) {
        struct point *point = points_add(&points);
        assert_non_null(point);
        assert_int_equal(point->measurement.len, 0);
        assert_false(point->has_time);
        point->time_ns = i;
        for (int64_t j = 0; j < i % 5; j++)
            assert_true(points_add_tag(&points, STR("t"), STR("v")));
        for (int64_t j = 0; j < i % 7; j++)
            assert_true(points_add_field(&points, STR("f"), value_integer(i * 10 + j)));
    }
    assert_int_equal(points.count, 100);
    for (int64_t i = 0; i < 100; i++) {
        const struct point *point = &points.items[i];
        assert_int_equal(point->time_ns, i);
        assert_int_equal(point->tag_count, i % 5);
        assert_int_equal(point->field_count, i % 7);
        for (int64_t j = 0; j < i % 7; j++)
            assert_int_equal(point_fields(&points, point)[j].value.as.i, i * 10 + j);
        for (int64_t j = 0; j < i % 5; j++)
            assert_true(str_eq_c(point_tags(&points, point)[j].key, "t"));
    }
    points_reset(&points);
    assert_int_equal(points.count + points.tag_count + points.field_count, 0);
    points_release(&points);
    points_release(&points);
}

static void stops_at_its_caps(void **state) {
    struct points points;
    size_t count = 0;

    (void)state;
    points_init(&points, 1600);
    while (points_add(&points) != NULL)
        count++;
    assert_int_equal(count, 100);
    for (count = 0; points_add_tag(&points, STR("t"), STR("v")); count++)
        continue;
    assert_int_equal(count, 200);
    for (count = 0; points_add_field(&points, STR("f"), value_boolean(true)); count++)
        continue;
    assert_int_equal(count, 200);
    assert_int_equal(points.items[points.count - 1].tag_count, 200);
    assert_int_equal(points.items[points.count - 1].field_count, 200);
    points_release(&points);
}

static void goes_back_to_a_mark(void **state) {
    struct points_mark mark;
    struct points points;
    struct str text;

    (void)state;
    points_init(&points, 1 << 16);
    assert_non_null(points_add(&points));
    assert_true(points_add_field(&points, STR("a"), value_float(1)));
    mark = points_mark(&points);
    text = arena_copy(&points.arena, STR("text"));
    assert_non_null(points_add(&points));
    assert_true(points_add_field(&points, text, value_string(text)));
    points_rewind(&points, mark);
    assert_int_equal(points.count, 1);
    assert_int_equal(points.field_count, 1);
    assert_int_equal(points.items[0].field_count, 1);
    points_rewind(&points, (struct points_mark){ .count = 0 });
    assert_int_equal(points.count, 0);
    points_release(&points);
}

/* A parser that gives up in the middle of a point keeps what it had before. */
static void goes_back_into_a_point(void **state) {
    struct points_mark mark;
    struct points points;

    (void)state;
    points_init(&points, 1 << 16);
    assert_non_null(points_add(&points));
    assert_true(points_add_tag(&points, STR("a"), STR("1")));
    assert_true(points_add_field(&points, STR("a"), value_unsigned(1)));
    mark = points_mark(&points);
    assert_true(points_add_tag(&points, STR("b"), STR("2")));
    assert_true(points_add_field(&points, STR("b"), value_unsigned(2)));
    assert_true(points_add_field(&points, STR("c"), value_unsigned(3)));
    assert_non_null(points_add(&points));
    assert_true(points_add_field(&points, STR("d"), value_unsigned(4)));
    points_rewind(&points, mark);
    assert_int_equal(points.items[0].tag_count, 1);
    assert_int_equal(points.items[0].field_count, 1);
    assert_true(points_add_field(&points, STR("e"), value_unsigned(5)));
    assert_int_equal(points.items[0].field_count, 2);
    assert_int_equal(point_fields(&points, &points.items[0])[1].value.as.u, 5);
    points_release(&points);
}

static void makes_values_of_every_type(void **state) {
    (void)state;
    assert_int_equal(value_number(STR("1.50")).type, VALUE_NUMBER);
    assert_true(str_eq_c(value_number(STR("1.50")).as.text, "1.50"));
    assert_true(value_float(1.5).as.f == 1.5 && value_float(1.5).type == VALUE_FLOAT);
    assert_true(value_integer(INT64_MIN).as.i == INT64_MIN && value_integer(0).type == VALUE_INTEGER);
    assert_true(value_unsigned(UINT64_MAX).as.u == UINT64_MAX && value_unsigned(0).type == VALUE_UNSIGNED);
    assert_true(value_boolean(true).as.b && value_boolean(true).type == VALUE_BOOLEAN);
    assert_true(str_eq_c(value_string(STR("x")).as.text, "x") && value_string(STR("x")).type == VALUE_STRING);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_values_with_their_point), cmocka_unit_test(stops_at_its_caps),
        cmocka_unit_test(goes_back_to_a_mark),           cmocka_unit_test(goes_back_into_a_point),
        cmocka_unit_test(makes_values_of_every_type),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
