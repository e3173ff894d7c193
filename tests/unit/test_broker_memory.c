/*
 * tests/unit/test_broker_memory.c: the broker's structures when memory runs out: each allocation of an operation fails once, and then nothing has
 * changed and nothing is lost. And whether what they say they take is what the heap gave. The allocator is replaced here, which the sanitizers
 * and valgrind do, too: with them these tests are skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/broker/retained.h"
#include "agent/broker/topic_tree.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define OWN_ALLOCATOR 0
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_ALLOCATOR 0
#endif
#if !defined(OWN_ALLOCATOR) && defined(__GLIBC__)
#define OWN_ALLOCATOR 1
#endif

/* Volatile, as the compiler believes that malloc changes nothing of ours. */
static volatile size_t live_bytes, live_blocks;
static volatile int fail_in; /* the nth allocation from now on fails; 0: none does */

#if OWN_ALLOCATOR
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

static bool fails(void) {
    return fail_in > 0 && --fail_in == 0;
}

static void *counted(void *block) {
    if (block != NULL) {
        live_bytes += malloc_usable_size(block) + 8;
        live_blocks++;
    }
    return block;
}

static void uncount(void *block) {
    if (block != NULL) {
        live_bytes -= malloc_usable_size(block) + 8;
        live_blocks--;
    }
}

void *malloc(size_t size) {
    return fails() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size) {
    return fails() ? NULL : counted(__libc_calloc(count, size));
}

void *realloc(void *block, size_t size) {
    void *moved;

    if (fails())
        return NULL;
    uncount(block);
    moved = __libc_realloc(block, size);
    return counted(moved != NULL ? moved : block) == moved ? moved : NULL;
}

void free(void *block) {
    uncount(block);
    __libc_free(block);
}
#endif

/* valgrind, too, puts an allocator of its own in place of ours. */
static void needs_own_allocator(void) {
    size_t before = live_blocks;
    void *volatile block = malloc(1);
    bool is_ours = live_blocks > before;

    free(block);
    if (!OWN_ALLOCATOR || getenv("LD_PRELOAD") != NULL)
        skip();
    assert_true(is_ours);
}

static char subscribers[64];
static const struct subscription_terms terms;

struct tally {
    unsigned matched, shared, members;
};

static void on_matched(void *ctx, void *subscriber, const struct subscription_terms *found) {
    struct tally *tally = ctx;
    (void)subscriber;
    (void)found;

    tally->matched++;
}

static void on_shared(void *ctx, struct topic_group *group) {
    struct tally *tally = ctx;

    tally->shared++;
    tally->members += (unsigned)topic_group_count(group);
}

static struct tally match(const struct topic_tree *tree, struct str topic) {
    struct tally tally = { 0, 0, 0 };

    topic_tree_match(tree, topic, &(struct topic_match){ &tally, on_matched, on_shared });
    return tally;
}

static bool same(struct tally a, struct tally b) {
    return a.matched == b.matched && a.shared == b.shared && a.members == b.members;
}

/* What the tree says of itself and what it matches, so that any change shows. */
struct picture {
    size_t count, shared, bytes, blocks;
    struct tally tallies[4];
};

static struct picture picture_of(const struct topic_tree *tree) {
    return (struct picture){
        topic_tree_count(tree), topic_tree_shared_count(tree), topic_tree_bytes(tree), live_blocks,
        { match(tree, STR("a")), match(tree, STR("a/b")), match(tree, STR("a/b/c/d")), match(tree, STR("x/y/z")) },
    };
}

static void compare(const struct picture *a, const struct picture *b) {
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->shared, b->shared);
    assert_int_equal(a->blocks, b->blocks);
    for (int i = 0; i < 4; i++)
        assert_true(same(a->tallies[i], b->tallies[i]));
}

/* Fails the first, the second, ... allocation of the addition, until it succeeds. How many failed. */
static int add_with_failures(struct topic_tree *tree, const char *filter, const char *share, void *subscriber) {
    struct picture before = picture_of(tree), after;
    enum topic_tree_result result;
    int nth = 0;

    do {
        after = picture_of(tree);
        compare(&before, &after);
        fail_in = ++nth;
        result = topic_tree_add(tree, str_of(filter), str_of(share), subscriber, &terms);
        fail_in = 0;
    } while (result == TOPIC_TREE_NO_MEMORY);
    assert_int_equal(result, TOPIC_TREE_ADDED);
    return nth - 1;
}

static void an_addition_that_fails_changes_nothing(void **state) {
    static const char *const filters[] = { "a", "a/#", "a/b", "a/b/c/d", "a/+/c/+", "#", "+/+/#", "x/y/z", "$x/y/z", "+/y/z/+/u/v" };
    static const char *const shares[] = { "", "g", "a longer name" };
    struct topic_tree *tree;
    struct picture empty;
    int failures = 0;
    (void)state;

    needs_own_allocator();
    tree = topic_tree_new();
    empty = picture_of(tree);
    for (unsigned s = 0; s < 40; s++) /* enough of them that sets grow an index */
        for (unsigned i = 0; i < 30; i++)
            failures += add_with_failures(tree, filters[i % 10], shares[i / 10], &subscribers[s]);
    assert_true(failures > 200);
    for (unsigned s = 0; s < 40; s++)
        for (unsigned i = 0; i < 30; i++) {
            fail_in = 1; /* a removal needs no memory */
            assert_true(topic_tree_remove(tree, str_of(filters[i % 10]), str_of(shares[i / 10]), &subscribers[s]));
            fail_in = 0;
        }
    struct picture after = picture_of(tree);
    compare(&empty, &after);
    topic_tree_free(tree);
}

static void a_tree_that_cannot_be_made_leaves_nothing(void **state) {
    size_t before = live_blocks;
    struct topic_tree *tree;
    int nth = 0;
    (void)state;

    needs_own_allocator();
    do {
        assert_int_equal(live_blocks, before);
        fail_in = ++nth;
        tree = topic_tree_new();
        fail_in = 0;
    } while (tree == NULL);
    assert_true(nth > 3);
    topic_tree_free(tree);
    assert_int_equal(live_blocks, before);
}

static void a_tree_says_what_it_takes(void **state) {
    size_t before = live_bytes, took;
    struct topic_tree *tree;
    char text[64];
    (void)state;

    needs_own_allocator();
    tree = topic_tree_new();
    for (unsigned i = 0; i < 30000; i++) {
        struct str filter = str_make(text, (size_t)sprintf(text, "site/%u/line/%u/temp%s", i / 300, i % 50, i % 7 == 0 ? "erature/#" : ""));
        topic_tree_add(tree, filter, i % 5 == 0 ? STR("g") : STR_EMPTY, &subscribers[i % 64], &terms);
    }
    took = live_bytes - before;
    print_message("%zu bytes said, %zu taken\n", topic_tree_bytes(tree), took);
    assert_true(topic_tree_bytes(tree) > took - took / 50 && topic_tree_bytes(tree) < took + took / 50);
    topic_tree_free(tree);
    assert_int_equal(live_bytes, before);
}

static struct publication *publication_of(const char *topic) {
    return publication_new(&(struct publication_parts){ .topic = str_of(topic), .payload = STR("x") });
}

static void a_message_that_cannot_be_kept_changes_nothing(void **state) {
    struct publication *first, *second;
    struct retained *retained;
    (void)state;

    needs_own_allocator();
    retained = retained_new(&(struct retained_limits){ .count = 0 });
    first = publication_of("a");
    second = publication_of("a/b");
    assert_int_equal(retained_set(retained, first), RETAINED_SET);
    fail_in = 1;
    assert_int_equal(retained_set(retained, second), RETAINED_NO_MEMORY);
    fail_in = 0;
    assert_int_equal(second->references, 1);
    assert_int_equal(retained_count(retained), 1);
    assert_int_equal(retained_bytes(retained), publication_size(first));
    assert_null(retained_get(retained, STR("a/b")));
    assert_int_equal(retained_set(retained, second), RETAINED_SET);
    publication_unref(first);
    publication_unref(second);
    retained_free(retained);
}

static void a_walk_without_memory_goes_on_later(void **state) {
    struct retained_walk *walk = NULL;
    struct publication *found;
    struct retained *retained;
    char topic[8192];
    size_t steps = 1000, met = 0, blocks;
    int failures = 0;
    (void)state;

    needs_own_allocator();
    retained = retained_new(&(struct retained_limits){ .count = 0 });
    blocks = live_blocks;
    for (int nth = 1; walk == NULL; nth++) {
        assert_int_equal(live_blocks, blocks);
        fail_in = nth;
        walk = retained_walk_new(retained, STR("a/+/#"));
        fail_in = 0;
    }
    memset(topic, 'x', sizeof topic);
    memcpy(topic, "a/", 2);
    for (size_t len = 3; len < sizeof topic; len *= 2) {
        struct publication *publication = publication_new(
            &(struct publication_parts){ .topic = str_make(topic, len), .payload = STR("x"), .expires_ns = 10 });
        retained_set(retained, publication);
        publication_unref(publication);
    }
    for (;;) {
        enum retained_step step;
        fail_in = 1; /* each time, once: the bound does not move, and the next call meets it */
        step = retained_walk_next(walk, 0, &steps, &found);
        fail_in = 0;
        if (step == RETAINED_LATER) {
            failures++;
            step = retained_walk_next(walk, 0, &steps, &found);
        }
        if (step == RETAINED_END)
            break;
        assert_int_equal(step, RETAINED_FOUND);
        assert_int_equal(found->topic.len, (size_t)3 << met);
        met++;
    }
    assert_int_equal(met, 12);
    assert_true(failures > 3);
    fail_in = 1;
    retained_sweep(retained, 10, 1000, NULL, NULL);
    fail_in = 0;
    retained_sweep(retained, 10, 1000, NULL, NULL);
    retained_sweep(retained, 10, 1000, NULL, NULL);
    assert_int_equal(retained_count(retained), 0);
    retained_walk_free(walk);
    retained_free(retained);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_addition_that_fails_changes_nothing),
        cmocka_unit_test(a_tree_that_cannot_be_made_leaves_nothing),
        cmocka_unit_test(a_tree_says_what_it_takes),
        cmocka_unit_test(a_message_that_cannot_be_kept_changes_nothing),
        cmocka_unit_test(a_walk_without_memory_goes_on_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
