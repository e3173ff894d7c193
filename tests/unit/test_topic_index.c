/* tests/unit/test_topic_index.c: the order of topics, and seeking in it, beside a sorted list that is searched from its beginning. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "agent/broker/topic_index.h"
#include "tests/support/topic_words.h"

/* In order. */
static const struct str in_order[] = {
    STR_INIT(""), STR_INIT("/"), STR_INIT("//"), STR_INIT("/a"), STR_INIT("\0"), STR_INIT("\0\0"), STR_INIT("\0a"), STR_INIT("!"),
    STR_INIT("$"), STR_INIT("$/a"), STR_INIT("$SYS"), STR_INIT("$SYS/a"), STR_INIT("%"), STR_INIT("."), STR_INIT("0"), STR_INIT("a"),
    STR_INIT("a/"), STR_INIT("a//"), STR_INIT("a//b"), STR_INIT("a/\0"), STR_INIT("a/b"), STR_INIT("a/b/c"), STR_INIT("a/b!"), STR_INIT("a/c"),
    STR_INIT("a\0"), STR_INIT("a\0b"), STR_INIT("a!"), STR_INIT("a!/x"), STR_INIT("a."), STR_INIT("a0"), STR_INIT("aa"), STR_INIT("b"),
    STR_INIT("b/\xff"), STR_INIT("\x7f"), STR_INIT("\x80"), STR_INIT("\xc3\xa4"), STR_INIT("\xff"), STR_INIT("\xff\xff"),
};
enum { COUNT = sizeof in_order / sizeof in_order[0] };

static struct publication *publication_of(struct str topic) {
    return publication_new(&(struct publication_parts){ .topic = topic, .payload = STR("x") });
}

static void put(struct topic_index *index, struct str topic) {
    struct publication *publication = publication_of(topic);

    assert_true(topic_index_add(index, publication));
    publication_unref(publication);
}

static void seeks_in_the_order_of_levels(void **state) {
    struct topic_index index = { .root = NULL };
    (void)state;

    /* Of every subset that leaves out each nth, in another order of coming: the first one at or behind each bound. */
    for (size_t leave = 1; leave <= 5; leave++) {
        for (size_t i = 0; i < COUNT; i++)
            if (leave == 1 || i % leave != 0)
                put(&index, in_order[i * 7 % COUNT]);
        for (size_t bound = 0; bound < COUNT; bound++) {
            size_t want = bound;
            while (want < COUNT && topic_index_find(&index, in_order[want]) == NULL)
                want++;
            const struct publication *got = topic_index_seek(&index, in_order[bound], NULL);
            assert_true(want < COUNT ? got != NULL && str_eq(got->topic, in_order[want]) : got == NULL);
        }
        topic_index_release(&index);
        assert_int_equal(index.count, 0);
    }
}

static void the_next_one_follows_at_once(void **state) {
    struct topic_index index = { .root = NULL };
    char bound[16] = "";
    size_t len = 0;
    (void)state;

    for (size_t i = 0; i < COUNT; i++)
        put(&index, in_order[i]);
    for (size_t i = 0; i < COUNT; i++) {
        const struct publication *got = topic_index_seek(&index, str_make(bound, len), NULL);
        assert_true(got != NULL && str_eq(got->topic, in_order[i]));
        memcpy(bound, got->topic.data, got->topic.len);
        bound[got->topic.len] = '/';
        len = got->topic.len + 1;
    }
    assert_null(topic_index_seek(&index, str_make(bound, len), NULL));
    topic_index_release(&index);
}

static void passes_over_a_family(void **state) {
    struct topic_index index = { .root = NULL };
    (void)state;

    for (size_t i = 0; i < COUNT; i++)
        if (memchr(in_order[i].data, '\0', in_order[i].len) == NULL)
            put(&index, in_order[i]);
    assert_true(str_eq_c(topic_index_seek(&index, STR("a\0"), NULL)->topic, "a!"));
    assert_true(str_eq_c(topic_index_seek(&index, STR("a/b\0"), NULL)->topic, "a/b!"));
    assert_true(str_eq_c(topic_index_seek(&index, STR("\0"), NULL)->topic, "!"));
    assert_true(str_eq_c(topic_index_seek(&index, STR("$"), NULL)->topic, "$"));
    assert_true(str_eq_c(topic_index_seek(&index, STR("$T"), NULL)->topic, "%"));
    topic_index_release(&index);
}

static void finds_replaces_and_takes(void **state) {
    struct topic_index index = { .root = NULL };
    struct publication *first = publication_of(STR("a/b")), *second = publication_of(STR("a/b"));
    (void)state;

    assert_null(topic_index_find(&index, STR("a/b")));
    assert_null(topic_index_take(&index, STR("a/b")));
    assert_null(topic_index_seek(&index, STR(""), NULL));
    assert_true(topic_index_add(&index, first));
    assert_int_equal(first->references, 2);
    assert_ptr_equal(topic_index_find(&index, STR("a/b")), first);
    put(&index, STR("a"));
    put(&index, STR("a/b/c"));
    assert_null(topic_index_place(&index, STR("a/")));
    *topic_index_place(&index, STR("a/b")) = second; /* and its reference; the one to `first` is ours now */
    assert_int_equal(index.count, 3);
    assert_null(topic_index_find(&index, STR("a/")));
    assert_null(topic_index_take(&index, STR("a/")));
    assert_ptr_equal(topic_index_take(&index, STR("a/b")), second);
    assert_int_equal(index.count, 2);
    assert_null(topic_index_find(&index, STR("a/b")));
    assert_true(str_eq_c(topic_index_find(&index, STR("a/b/c"))->topic, "a/b/c"));
    publication_unref(first);
    publication_unref(first);
    publication_unref(second);
    topic_index_release(&index);
    assert_null(index.root);
}

/* Each topic is the beginning of the next: the deepest tree that topics can make. No recursion in looking nor in freeing. */
static void bears_a_tree_that_is_a_list(void **state) {
    enum { DEEP = 4000 };
    struct topic_index index = { .root = NULL };
    static char text[DEEP + 1];
    size_t branches = 0;
    (void)state;

    memset(text, 'a', sizeof text);
    for (size_t len = 1; len <= DEEP; len++)
        put(&index, str_make(text, len));
    assert_int_equal(topic_index_seek(&index, str_make(text, DEEP), &branches)->topic.len, DEEP);
    assert_true(branches >= DEEP - 1 && branches <= 2 * DEEP);
    branches = 0;
    assert_int_equal(topic_index_seek(&index, STR("aa"), &branches)->topic.len, 2);
    assert_true(branches <= 2 * 18); /* of a short topic's way, whatever else is there */
    topic_index_release(&index);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeks_in_the_order_of_levels),
        cmocka_unit_test(the_next_one_follows_at_once),
        cmocka_unit_test(passes_over_a_family),
        cmocka_unit_test(finds_replaces_and_takes),
        cmocka_unit_test(bears_a_tree_that_is_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
