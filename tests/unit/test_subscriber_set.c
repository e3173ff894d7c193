/* tests/unit/test_subscriber_set.c: sets beside a plain list, small ones and those that have an index. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "agent/broker/subscriber_set.h"

enum { WHO = 300 };

static char who[WHO]; /* neighbours in memory, as their addresses are the keys */

/* The set as it should be, in order of arrival. */
struct model {
    struct subscriber items[WHO];
    uint32_t count;
};

static uint32_t model_find(const struct model *model, const void *one) {
    uint32_t i = 0;

    while (i < model->count && model->items[i].who != one)
        i++;
    return i;
}

static bool same(const struct subscriber *a, const struct subscriber *b) {
    return a->who == b->who && memcmp(&a->terms, &b->terms, sizeof a->terms) == 0;
}

static void compare(const struct model *model, const struct subscriber_set *set, bool in_order) {
    assert_int_equal(set != NULL ? set->count : 0, model->count);
    for (uint32_t i = 0; i < model->count; i++) {
        uint32_t at = in_order ? i : model_find(model, set->items[i].who);
        assert_true(at < model->count);
        assert_true(same(&set->items[i], &model->items[at]));
    }
}

static void put(struct model *model, struct subscriber_set **set, char *one, uint32_t identifier) {
    struct subscription_terms terms = { .qos = identifier & 1, .no_local = identifier & 2, .identifier = identifier };
    uint32_t at = model_find(model, one);
    enum topic_tree_result want = at < model->count ? TOPIC_TREE_REPLACED : TOPIC_TREE_ADDED;

    assert_int_equal(subscriber_set_put(set, one, &terms), want);
    model->items[at] = (struct subscriber){ one, terms };
    model->count += want == TOPIC_TREE_ADDED;
}

static void take(struct model *model, struct subscriber_set **set, char *one, bool keep_order) {
    uint32_t at = model_find(model, one);

    assert_int_equal(subscriber_set_remove(set, one, keep_order), at < model->count);
    if (at == model->count)
        return;
    memmove(&model->items[at], &model->items[at + 1], (model->count - at - 1) * sizeof model->items[0]);
    model->count--;
}

static void run(bool keep_order) {
    struct subscriber_set *set = NULL;
    static struct model model;
    uint64_t random = 88172645463325252ULL;
    uint32_t largest = 0;

    model.count = 0;
    for (int step = 0; step < 40000; step++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bool filling = step % 4000 < 2000;
        char *one = &who[random % WHO];
        if (filling == (random >> 61 != 0))
            put(&model, &set, one, (uint32_t)(random >> 8) & 0xfffffff);
        else
            take(&model, &set, one, keep_order);
        compare(&model, set, keep_order);
        largest = model.count > largest ? model.count : largest;
    }
    assert_true(largest > 100);
    for (int i = 0; i < WHO; i++)
        take(&model, &set, &who[i], keep_order);
    assert_null(set);
    assert_int_equal(subscriber_set_bytes(set), 0);
}

static void holds_each_subscriber_once(void **state) {
    (void)state;
    run(false);
}

static void keeps_the_order_of_arrival(void **state) {
    (void)state;
    run(true);
}

static void one_subscriber_takes_24_bytes(void **state) {
    struct subscriber_set *set = NULL;
    static struct model model;
    (void)state;

    model.count = 0;
    put(&model, &set, &who[0], 1);
    if (sizeof(void *) == 8)
        assert_int_equal(subscriber_set_bytes(set), 24);
    take(&model, &set, &who[0], false);
}

static void gives_memory_back(void **state) {
    struct subscriber_set *set = NULL;
    static struct model model;
    size_t full;
    (void)state;

    model.count = 0;
    for (int i = 0; i < WHO; i++)
        put(&model, &set, &who[i], 1);
    full = subscriber_set_bytes(set);
    for (int i = 3; i < WHO; i++)
        take(&model, &set, &who[i], i & 1);
    assert_true(subscriber_set_bytes(set) < full / 30);
    for (int i = 0; i < 3; i++)
        take(&model, &set, &who[i], false);
    assert_null(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_each_subscriber_once),
        cmocka_unit_test(keeps_the_order_of_arrival),
        cmocka_unit_test(one_subscriber_takes_24_bytes),
        cmocka_unit_test(gives_memory_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
