/* tests/unit/test_arena.c: the cap holds, memory is kept, marks lead back. */
#include "agent/base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void aligns_and_separates(void **state) {
    char *blocks[200];
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < 200; i++) {
        blocks[i] = arena_alloc(&arena, i + 1);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 16, 0);
        memset(blocks[i], (int)i, i + 1);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t j = 0; j <= i; j++)
            assert_int_equal((unsigned char)blocks[i][j], i);
    arena_release(&arena);
    arena_release(&arena);
}

static void holds_its_cap(void **state) {
    struct arena arena;
    size_t got = 0;

    (void)state;
    arena_init(&arena, 10000);
    while (arena_alloc(&arena, 16) != NULL)
        got += 16;
    assert_true(got <= 10000);
    assert_true(got > 9900);
    assert_null(arena_alloc(&arena, 10001));
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_true(arena.total <= 10000);
    arena_release(&arena);
}

static void gives_nothing_at_a_cap_of_zero(void **state) {
    struct arena arena = { .max = 0 };

    (void)state;
    assert_null(arena_alloc(&arena, 1));
    assert_null(arena_strdup(&arena, STR("")));
    assert_null(arena_copy(&arena, STR("x")).data);
    assert_int_equal(arena_copy(&arena, STR("x")).len, 0);
    arena_release(&arena);
}

static void zeroes_on_request(void **state) {
    struct arena arena;
    unsigned char *memory;

    (void)state;
    arena_init(&arena, 1 << 16);
    memset(arena_alloc(&arena, 1000), 0xAA, 1000);
    arena_reset(&arena);
    memory = arena_zalloc(&arena, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(memory[i], 0);
    arena_release(&arena);
}

static void copies_with_a_nul(void **state) {
    struct arena arena;
    struct str copy;

    (void)state;
    arena_init(&arena, 1 << 16);
    assert_string_equal(arena_strdup(&arena, str_make("abcdef", 3)), "abc");
    assert_string_equal(arena_strdup(&arena, str_make(NULL, 0)), "");
    copy = arena_copy(&arena, str_make("a\0b", 3));
    assert_int_equal(copy.len, 3);
    assert_memory_equal(copy.data, "a\0b", 4);
    arena_release(&arena);
}

static void allocates_nothing_under_a_steady_load(void **state) {
    struct arena arena;
    size_t total = 0;

    (void)state;
    arena_init(&arena, 1 << 20);
    for (int round = 0; round < 100; round++) {
        for (size_t i = 0; i < 50; i++)
            assert_non_null(arena_alloc(&arena, 100 + i * 40));
        if (round == 0)
            total = arena.total;
        assert_int_equal(arena.total, total);
        arena_reset(&arena);
    }
    arena_release(&arena);
}

static void goes_back_to_a_mark(void **state) {
    struct arena_mark empty, middle;
    struct arena arena;
    char *kept, *first;

    (void)state;
    arena_init(&arena, 1 << 20);
    empty = arena_mark(&arena);
    kept = arena_strdup(&arena, STR("kept"));
    middle = arena_mark(&arena);
    first = arena_alloc(&arena, 100);
    for (int i = 0; i < 50; i++)
        assert_non_null(arena_alloc(&arena, 1000));
    arena_rewind(&arena, middle);
    assert_ptr_equal(arena_alloc(&arena, 100), first);
    assert_string_equal(kept, "kept");
    arena_rewind(&arena, empty);
    assert_ptr_equal(arena_alloc(&arena, 5), kept);
    arena_release(&arena);
}

/* Small messages fill the cap with small blocks; one large message afterwards must fit as if it were the first. */
static void finds_room_for_a_large_one_after_many_small_ones(void **state) {
    struct arena_mark mark;
    struct arena arena;

    (void)state;
    arena_init(&arena, 65536);
    while (arena_alloc(&arena, 64) != NULL)
        continue;
    arena_reset(&arena);
    mark = arena_mark(&arena);
    assert_non_null(arena_alloc(&arena, 65536));
    assert_null(arena_alloc(&arena, 16));
    arena_rewind(&arena, mark);
    memset(arena_alloc(&arena, 30000), 1, 30000);
    memset(arena_alloc(&arena, 30000), 1, 30000);
    assert_true(arena.total <= 65536);
    arena_release(&arena);
}

static void keeps_what_is_in_use_when_it_makes_room(void **state) {
    struct arena_mark mark;
    struct arena arena;
    char *kept;

    (void)state;
    arena_init(&arena, 65536);
    kept = arena_strdup(&arena, STR("kept"));
    mark = arena_mark(&arena);
    while (arena_alloc(&arena, 64) != NULL)
        continue;
    arena_rewind(&arena, mark);
    memset(arena_alloc(&arena, 50000), 1, 50000);
    assert_string_equal(kept, "kept");
    arena_rewind(&arena, mark);
    memset(arena_alloc(&arena, 50000), 1, 50000);
    assert_string_equal(kept, "kept");
    assert_true(arena.total <= 65536);
    arena_release(&arena);
}

/* Random sizes, marks and rewinds against what each block should still hold. */
static void survives_random_use(void **state) {
    enum { HELD = 64 };
    struct held {
        struct arena_mark before;
        unsigned char *bytes, fill;
        size_t len;
    } held[HELD];
    uint32_t random = 12345;
    struct arena arena;
    size_t count = 0;

    (void)state;
    arena_init(&arena, 200000);
    for (int step = 0; step < 20000; step++) {
        random = random * 1664525 + 1013904223;
        if (count == HELD || (random >> 28) < 3) {
            count = count > 0 ? (random >> 8) % count : 0;
            if (count == 0)
                arena_reset(&arena);
            else
                arena_rewind(&arena, held[count].before);
        }
        struct held *next = &held[count];
        next->before = arena_mark(&arena);
        next->len = (random >> 6) % ((random >> 5) % 16 == 0 ? 150000 : 3000);
        next->fill = (unsigned char)step;
        next->bytes = arena_alloc(&arena, next->len);
        if (next->bytes == NULL)
            continue;
        memset(next->bytes, next->fill, next->len);
        count++;
        assert_true(arena.total <= 200000);
        for (size_t i = 0; i < count; i++)
            assert_true(held[i].len == 0 ||
                        (held[i].bytes[0] == held[i].fill && held[i].bytes[held[i].len - 1] == held[i].fill));
    }
    arena_release(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aligns_and_separates),
        cmocka_unit_test(holds_its_cap),
        cmocka_unit_test(gives_nothing_at_a_cap_of_zero),
        cmocka_unit_test(zeroes_on_request),
        cmocka_unit_test(copies_with_a_nul),
        cmocka_unit_test(allocates_nothing_under_a_steady_load),
        cmocka_unit_test(goes_back_to_a_mark),
        cmocka_unit_test(finds_room_for_a_large_one_after_many_small_ones),
        cmocka_unit_test(keeps_what_is_in_use_when_it_makes_room),
        cmocka_unit_test(survives_random_use),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
