/*
 * tests/unit/test_settle.c: the split plays against a server that refuses a request holding a bad line, and the tally
 * adds up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "agent/delivery/settle.h"

enum { LINES = 5000 };
static uint32_t line_ends[LINES]; /* every line is 10 bytes long */

static int make_lines(void **state) {
    (void)state;
    for (uint32_t i = 0; i < LINES; i++)
        line_ends[i] = (i + 1) * 10;
    return 0;
}

struct play {
    bool bad[LINES], stored[LINES], dead[LINES];
    unsigned requests, largest;
    size_t dead_count;
};

static bool any_bad(const struct play *play, const struct range *range) {
    for (uint32_t i = 0; i < range->count; i++)
        if (play->bad[range->first + i])
            return true;
    return false;
}

/* A server that refuses whole what holds a bad line, and what is larger than `max_bytes`. */
static void play_all(struct play *play, struct split *split, uint32_t max_lines, uint64_t max_bytes) {
    struct range range;

    while (split_next(split, max_lines, UINT64_MAX, &range)) {
        bool large = split_bytes(line_ends, range.first, range.count) > max_bytes, bad = any_bad(play, &range);
        play->requests++;
        if (range.count > play->largest)
            play->largest = range.count;
        if ((bad || large) && range.count > 1) {
            split_halve(split, &range, !large);
            continue;
        }
        if (!bad)
            split_clean(split, &range);
        for (uint32_t i = 0; i < range.count; i++) {
            assert_false(play->stored[range.first + i] || play->dead[range.first + i]);
            *(bad ? &play->dead[range.first + i] : &play->stored[range.first + i]) = true;
        }
        play->dead_count += bad;
    }
    for (uint32_t i = 0; i < LINES; i++) {
        assert_int_equal(play->dead[i], play->bad[i]); /* never a good neighbour, never a bad line stored */
        assert_int_equal(play->stored[i], !play->bad[i]);
    }
}

static struct play *play_with(uint32_t max_lines, uint64_t max_bytes, const uint32_t *bad, size_t bad_count) {
    struct play *play = test_calloc(1, sizeof *play);
    struct split split;

    for (size_t i = 0; i < bad_count; i++)
        play->bad[bad[i]] = true;
    split_begin(&split, 0, LINES, line_ends);
    play_all(play, &split, max_lines, max_bytes);
    return play;
}

static void finds_one_bad_line_of_5000_wherever_it_is(void **state) {
    unsigned most = 0;
    uint64_t sum = 0;

    (void)state;
    for (uint32_t i = 0; i < LINES; i += 37) {
        struct play *play = play_with(LINES, UINT64_MAX, &i, 1);
        most = play->requests > most ? play->requests : most;
        sum += play->requests;
        test_free(play);
    }
    assert_in_range(most, 14, 26);
    assert_in_range(sum / (LINES / 37 + 1), 14, 21); /* a clean half proves the other one bad, which saves a request */
}

static void finds_any_number_of_bad_lines(void **state) {
    static uint32_t bad[LINES];

    (void)state;
    srand(1);
    for (size_t count = 0; count <= LINES; count = count * 3 + 1) {
        for (size_t i = 0; i < count; i++)
            bad[i] = (uint32_t)rand() % LINES;
        struct play *play = play_with(LINES, UINT64_MAX, bad, count);
        assert_in_range(play->requests, 1, 2 * LINES);
        test_free(play);
    }
}

static void every_line_bad_leaves_nothing_stored(void **state) {
    static uint32_t bad[LINES];

    (void)state;
    for (uint32_t i = 0; i < LINES; i++)
        bad[i] = i;
    struct play *play = play_with(LINES, UINT64_MAX, bad, LINES);
    assert_int_equal(play->dead_count, LINES);
    test_free(play);
}

static void a_size_limit_loses_nothing(void **state) {
    (void)state;
    struct play *play = play_with(LINES, 12345, NULL, 0);
    assert_int_equal(play->dead_count, 0);
    assert_int_equal(play->requests, 1 + 2 + 4 + 8); /* a size says nothing about the other half */
    test_free(play);
}

static void size_limit_and_bad_lines_together(void **state) {
    const uint32_t bad[] = { 0, 1, 2499, 2500, 4999 };

    (void)state;
    struct play *play = play_with(LINES, 12345, bad, 5);
    assert_int_equal(play->dead_count, 5);
    test_free(play);
}

static void cuts_what_is_longer_than_a_request(void **state) {
    (void)state;
    struct play *play = play_with(700, UINT64_MAX, NULL, 0);
    assert_int_equal(play->largest, 700);
    assert_int_equal(play->requests, 8);
    test_free(play);
}

static struct cut_row {
    const char *name;
    uint32_t max_lines;
    uint64_t max_bytes;
    uint32_t want;
} cuts[] = {
    { "bytes to the byte", 5000, 100, 10 },
    { "one byte short is a line less", 5000, 99, 9 },
    { "a line that is too long goes alone", 5000, 3, 1 },
    { "lines", 7, 100, 7 },
    { "everything fits", 5000, 50000, 5000 },
    { "no limit of zero lines", 0, 100, 1 },
};

static void cuts_row(void **state) {
    const struct cut_row *row = *state;
    struct split split;
    struct range range;

    split_begin(&split, 0, LINES, line_ends);
    assert_true(split_next(&split, row->max_lines, row->max_bytes, &range));
    assert_int_equal(range.first, 0);
    assert_int_equal(range.count, row->want);
}

static void a_retry_is_the_same_range_even_below_a_lower_ceiling(void **state) {
    struct split split;
    struct range range, again;

    (void)state;
    split_begin(&split, 100, 50, line_ends);
    assert_true(split_next(&split, 5000, UINT64_MAX, &range));
    split_again(&split, &range);
    assert_true(split_next(&split, 10, 10, &again));
    assert_int_equal(again.first, 100);
    assert_int_equal(again.count, 50);
}

static void what_is_put_off_comes_after_everything_else(void **state) {
    struct split split;
    struct range range;

    (void)state;
    split_begin(&split, 0, 3, line_ends);
    assert_true(split_next(&split, 1, UINT64_MAX, &range));
    range.elder = true; /* stale by the time it comes back */
    assert_true(split_defer(&split, &range));
    assert_true(split_next(&split, 1, UINT64_MAX, &range));
    assert_int_equal(range.first, 1);
    assert_true(split_next(&split, 1, UINT64_MAX, &range));
    assert_int_equal(range.first, 2);
    assert_true(split_next(&split, 1, UINT64_MAX, &range));
    assert_int_equal(range.first, 0);
    assert_false(range.elder);
    assert_false(split_defer(&split, &range)); /* nothing else is left to wait for */
    assert_false(split_next(&split, 1, UINT64_MAX, &range));
}

/* Three messages of 2, 1 and 3 lines. */
static struct spool_batch_record records[] = { { .first_line = 0, .lines = 2, .topic_len = 1 },
                                               { .first_line = 2, .lines = 1, .topic_offset = 1, .topic_len = 2 },
                                               { .first_line = 3, .lines = 3 } };
static char text[] = "a\nb\nc\nd\ne\nf\n", topics[] = "tuv";
static uint32_t ends[] = { 2, 4, 6, 8, 10, 12 };
static const struct spool_batch batch = { .lines = { .data = text, .len = 12 },
                                          .topics = { .data = topics, .len = 3 },
                                          .records = records,
                                          .record_count = 3,
                                          .line_ends = ends,
                                          .line_count = 6 };

static struct tally_row {
    const char *name, *lines; /* a fate per line: s, d(ead), x (dropped at shutdown) */
    uint64_t stored, dead, dropped;
} tallies[] = {
    { "all stored", "ssssss", 3, 0, 0 },
    { "one dead line makes a dead message", "sdssss", 2, 1, 0 },
    { "two dead lines of one message count once", "ssssdd", 2, 1, 0 },
    { "one of each", "ssdssx", 1, 1, 1 },
    { "dropped is worse than dead", "dxssss", 2, 0, 1 },
    { "whatever the order", "xdssss", 2, 0, 1 },
    { "all dead", "dddddd", 0, 3, 0 },
};

static void tallies_row(void **state) {
    const struct tally_row *row = *state;
    struct tally tally = { 0 };
    uint64_t lines = 0, messages = 0;

    assert_true(tally_begin(&tally, &batch));
    for (uint32_t i = 0; i < 6; i++)
        if (row->lines[i] != 's')
            tally_line(&tally, i, row->lines[i] == 'd' ? FATE_DEAD_LETTERED : FATE_DROPPED_SHUTDOWN);
    struct spool_settlement how = tally_end(&tally);
    assert_int_equal(how.messages[FATE_STORED], row->stored);
    assert_int_equal(how.messages[FATE_DEAD_LETTERED], row->dead);
    assert_int_equal(how.messages[FATE_DROPPED_SHUTDOWN], row->dropped);
    for (int i = 0; i < FATE_COUNT; i++) {
        lines += how.lines[i];
        messages += how.messages[i];
    }
    assert_int_equal(lines, 6);
    assert_int_equal(messages, 3);
    tally_release(&tally);
}

static void a_line_knows_its_topic(void **state) {
    const char *const want[] = { "t", "t", "uv", "", "", "" };

    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        assert_true(str_eq_c(batch_topic(&batch, i), want[i]));
        assert_int_equal(batch_line(&batch, i).len, 1);
        assert_int_equal(batch_line(&batch, i).data[0], 'a' + (int)i);
    }
}

enum { CUTS = sizeof cuts / sizeof cuts[0], TALLIES = sizeof tallies / sizeof tallies[0] };

int main(void) {
    const struct CMUnitTest plain[] = {
        cmocka_unit_test(finds_one_bad_line_of_5000_wherever_it_is),
        cmocka_unit_test(finds_any_number_of_bad_lines),
        cmocka_unit_test(every_line_bad_leaves_nothing_stored),
        cmocka_unit_test(a_size_limit_loses_nothing),
        cmocka_unit_test(size_limit_and_bad_lines_together),
        cmocka_unit_test(cuts_what_is_longer_than_a_request),
        cmocka_unit_test(a_retry_is_the_same_range_even_below_a_lower_ceiling),
        cmocka_unit_test(what_is_put_off_comes_after_everything_else),
        cmocka_unit_test(a_line_knows_its_topic),
    };
    struct CMUnitTest tests[sizeof plain / sizeof plain[0] + CUTS + TALLIES];
    size_t count = sizeof plain / sizeof plain[0];

    memcpy(tests, plain, sizeof plain);
    for (size_t i = 0; i < CUTS; i++)
        tests[count++] = (struct CMUnitTest){ cuts[i].name, cuts_row, NULL, NULL, &cuts[i] };
    for (size_t i = 0; i < TALLIES; i++)
        tests[count++] = (struct CMUnitTest){ tallies[i].name, tallies_row, NULL, NULL, &tallies[i] };
    return cmocka_run_group_tests(tests, make_lines, NULL);
}
