/* tests/unit/test_output_queue.c: what is appended comes out in order, whatever the pieces and the steps; nothing leaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/broker/output_queue.h"

#define ROUNDS 300

static size_t held, released;

static void hold(void *owner) {
    (void)owner;
    held++;
}

static void release(void *owner) {
    (void)owner;
    released++;
}

static const struct transport_references references = { hold, release };

static int reset(void **state) {
    (void)state;
    held = released = 0;
    return 0;
}

static bool append(struct output_queue *queue, struct output_pool *pool, const char *data, size_t len, bool owned) {
    const struct transport_piece piece = { str_make(data, len), owned ? &held : NULL };

    return output_append(queue, pool, &piece, &references);
}

/* Takes `step` bytes through vectors, as a system call would, and compares them. */
static void take(struct output_queue *queue, struct output_pool *pool, const char **expected, size_t step, size_t max_vectors) {
    struct iovec vectors[8];
    size_t count = max_vectors, total = output_gather(queue, vectors, &count, step), checked = 0;

    assert_true(total <= step && count <= max_vectors);
    assert_true(total > 0 || queue->bytes == 0);
    for (size_t i = 0; i < count; i++) {
        assert_true(vectors[i].iov_len > 0);
        assert_memory_equal(vectors[i].iov_base, *expected + checked, vectors[i].iov_len);
        checked += vectors[i].iov_len;
    }
    assert_int_equal(checked, total);
    *expected += total;
    output_advance(queue, pool, total);
}

static void keeps_the_order_of_random_pieces(void **state) {
    static char source[200000];
    struct output_pool pool = { .count = 0 };

    (void)state;
    srand(7);
    for (size_t i = 0; i < sizeof source; i++)
        source[i] = (char)rand();
    for (int round = 0; round < ROUNDS; round++) {
        struct output_queue queue = { .bytes = 0 };
        const char *expected = source;
        size_t put = 0;
        while (expected < source + sizeof source) {
            size_t len = (size_t)rand() % (rand() % 20 == 0 ? 9000 : 700);
            if (len > sizeof source - put)
                len = sizeof source - put;
            assert_true(append(&queue, &pool, source + put, len, rand() % 2));
            put += len;
            assert_int_equal(queue.bytes, put - (size_t)(expected - source));
            if (put == sizeof source || rand() % 3 == 0)
                take(&queue, &pool, &expected, 1 + (size_t)rand() % 3000, 1 + (size_t)rand() % 8);
        }
        assert_null(queue.first);
        assert_int_equal(queue.bytes, 0);
        assert_int_equal(held, released);
    }
    assert_true(held > 0);
    output_pool_release(&pool);
}

static void small_pieces_share_a_vector(void **state) {
    struct output_pool pool = { .count = 0 };
    struct output_queue queue = { .bytes = 0 };
    struct iovec vectors[4];
    size_t count = 4;

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_true(append(&queue, &pool, "\x40\x02\x00\x01", 4, i % 2));
    assert_int_equal(held, 0);
    assert_int_equal(output_gather(&queue, vectors, &count, SIZE_MAX), 400);
    assert_int_equal(count, 1);
    output_clear(&queue, &pool);
    output_pool_release(&pool);
}

static void large_pieces_with_an_owner_are_not_copied(void **state) {
    static char payload[OUTPUT_REFERENCE_BYTES];
    struct output_pool pool = { .count = 0 };
    struct output_queue queue = { .bytes = 0 };
    struct iovec vectors[4];
    size_t count = 4;

    (void)state;
    assert_true(append(&queue, &pool, "head", 4, false));
    assert_true(append(&queue, &pool, payload, sizeof payload, true));
    assert_true(append(&queue, &pool, "next", 4, false));
    assert_int_equal(held, 1);
    assert_int_equal(output_gather(&queue, vectors, &count, SIZE_MAX), sizeof payload + 8);
    assert_int_equal(count, 3);
    assert_ptr_equal(vectors[1].iov_base, payload);
    output_advance(&queue, &pool, sizeof payload + 3);
    assert_int_equal(released, 0); /* one byte of it is left */
    output_advance(&queue, &pool, 1);
    assert_int_equal(released, 1);
    output_clear(&queue, &pool);
    output_pool_release(&pool);
}

static void clearing_releases_everything(void **state) {
    static char payload[2000];
    struct output_pool pool = { .count = 0 };
    struct output_queue queue = { .bytes = 0 };

    (void)state;
    for (int i = 0; i < 50; i++)
        assert_true(append(&queue, &pool, payload, sizeof payload, true) && append(&queue, &pool, payload, 700, false));
    output_advance(&queue, &pool, 1500);
    output_clear(&queue, &pool);
    assert_int_equal(held, 50);
    assert_int_equal(released, 50);
    assert_int_equal(queue.bytes, 0);
    assert_int_equal(output_memory(&queue), 0);
    output_pool_release(&pool);
}

static void memory_follows_what_is_copied(void **state) {
    static char payload[100];
    struct output_pool pool = { .count = 0 };
    struct output_queue queue = { .bytes = 0 };

    (void)state;
    assert_int_equal(output_memory(&queue), 0);
    for (int i = 0; i < 10000; i++)
        assert_true(append(&queue, &pool, payload, sizeof payload, false));
    assert_in_range(output_memory(&queue), 1000000, 1100000);
    output_clear(&queue, &pool);
    assert_true(pool.count < 1000); /* most of it is given back */
    output_pool_release(&pool);
    assert_null(pool.spare);
}

static void a_large_copy_is_one_piece(void **state) {
    static char payload[300000];
    struct output_pool pool = { .count = 0 };
    struct output_queue queue = { .bytes = 0 };
    const char *expected = payload;

    (void)state;
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (char)(i * 31);
    assert_true(append(&queue, &pool, payload, 10, false));
    assert_true(append(&queue, &pool, payload + 10, sizeof payload - 10, false));
    take(&queue, &pool, &expected, sizeof payload, 2);
    assert_int_equal(queue.bytes, 0);
    output_pool_release(&pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(keeps_the_order_of_random_pieces, reset),
        cmocka_unit_test_setup(small_pieces_share_a_vector, reset),
        cmocka_unit_test_setup(large_pieces_with_an_owner_are_not_copied, reset),
        cmocka_unit_test_setup(clearing_releases_everything, reset),
        cmocka_unit_test_setup(memory_follows_what_is_copied, reset),
        cmocka_unit_test_setup(a_large_copy_is_one_piece, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
