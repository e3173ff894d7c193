/* tests/unit/test_hash_index.c: items beside a plain list of them, with hashes that fall together on purpose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/base/hash_index.h"

enum { ITEMS = 600 };

/* Few different hashes, with neighbours, zero and the largest: long chains that run into each other and around the end. */
static uint32_t hash_of(unsigned item) {
    static const uint32_t rare[] = { 0, 1, 15, 16, UINT32_MAX, UINT32_MAX - 1, 0x80000000u };

    return item % 3 == 0 ? rare[item % 7] : item % 3 == 1 ? item * 2654435761u : item & 31;
}

static unsigned times_found(const struct hash_index *index, uint32_t hash, const void *item) {
    unsigned times = 0;
    void *found;

    for (struct hash_probe at = hash_index_probe(index, hash); (found = hash_index_next(index, &at)) != NULL;)
        times += found == item;
    return times;
}

static void finds_what_is_in_it_and_nothing_else(void **state) {
    static char items[ITEMS];
    static bool is_in[ITEMS];
    struct hash_index index = { .items = NULL };
    uint64_t random = 88172645463325252ULL;
    size_t count = 0, largest = 0;
    (void)state;

    for (int step = 0; step < 100000; step++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        unsigned item = random % ITEMS;
        bool filling = step % 20000 < 10000; /* grows full, then shrinks to nothing */
        if (is_in[item] && (!filling || random >> 60 == 0)) {
            hash_index_take(&index, hash_of(item), &items[item]);
            is_in[item] = false;
            count--;
        } else if (!is_in[item] && (filling || random >> 60 == 0)) {
            assert_true(hash_index_reserve(&index));
            hash_index_put(&index, hash_of(item), &items[item]);
            is_in[item] = true;
            count++;
        }
        unsigned other = (unsigned)(random >> 20) % ITEMS;
        assert_int_equal(times_found(&index, hash_of(item), &items[item]), is_in[item]);
        assert_int_equal(times_found(&index, hash_of(other), &items[other]), is_in[other]);
        assert_int_equal(index.count, count);
        assert_true(count <= index.places / 4 * 3);
        largest = count > largest ? count : largest;
    }
    assert_true(largest > ITEMS / 2);
    for (unsigned item = 0; item < ITEMS; item++)
        if (is_in[item])
            hash_index_take(&index, hash_of(item), &items[item]);
    assert_int_equal(index.places, 0);
    assert_int_equal(hash_index_bytes(&index), 0);
    hash_index_release(&index);
}

static void gives_memory_back(void **state) {
    static char items[10000];
    struct hash_index index = { .items = NULL };
    size_t full;
    (void)state;

    for (uint32_t i = 0; i < sizeof items; i++) {
        assert_true(hash_index_reserve(&index));
        hash_index_put(&index, i * 2654435761u, &items[i]);
    }
    full = hash_index_bytes(&index);
    for (uint32_t i = 100; i < sizeof items; i++)
        hash_index_take(&index, i * 2654435761u, &items[i]);
    assert_true(hash_index_bytes(&index) <= full / 16);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(times_found(&index, i * 2654435761u, &items[i]), 1);
    hash_index_release(&index);
}

static void an_empty_one_has_nothing(void **state) {
    struct hash_index index = { .items = NULL };
    struct hash_probe at = hash_index_probe(&index, 0);
    (void)state;

    assert_null(hash_index_next(&index, &at));
    hash_index_release(&index);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_is_in_it_and_nothing_else),
        cmocka_unit_test(gives_memory_back),
        cmocka_unit_test(an_empty_one_has_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
