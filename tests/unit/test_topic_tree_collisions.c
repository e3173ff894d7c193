/*
 * tests/unit/test_topic_tree_collisions.c: the topic tree with a hash that knows three values only, so that everything falls together: what tells
 * levels, parents, groups and reaches apart must be the comparison, as it is for the one in four thousand million that collides in earnest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/base/sip_hash.h"

static uint64_t poor_hash(struct sip_key key, struct str text) {
    (void)key;
    return text.len % 3;
}

#define sip_hash poor_hash
#include "agent/broker/topic_tree.c"
#undef sip_hash

#include "agent/base/clock.h"
#include "tests/support/topic_tree_model.h"

static void agrees_with_a_plain_list(void **state) {
    enum { BYTES = 100000 };
    static struct tree_model model;
    static uint8_t bytes[BYTES];
    const char *set = getenv("HELIOGRAF_SEED");
    uint64_t random = set != NULL ? strtoull(set, NULL, 10) : (uint64_t)clock_real_ns();
    (void)state;

    print_message("HELIOGRAF_SEED=%llu\n", (unsigned long long)random);
    random = random * 2 + 1;
    for (size_t i = 0; i < BYTES; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bytes[i] = (uint8_t)(random >> 24);
    }
    tree_model_run(&model, (struct words){ bytes, bytes + BYTES });
    print_message("%llu operations, %llu matches\n", (unsigned long long)model.operations, (unsigned long long)model.matches);
    assert_true(model.matches > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_plain_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
