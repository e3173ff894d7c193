/* tests/unit/test_retry.c: how long a failed request waits, and why a line was refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/delivery/reject_reason.h"
#include "agent/delivery/retry.h"

static struct ceiling_row {
    const char *name;
    enum retry_class retry;
    unsigned failures;
    int64_t want_ms;
} ceilings[] = {
    { "no failure, no pause", RETRY_BACKOFF, 0, 0 },
    { "the first pause is a quarter of a second", RETRY_BACKOFF, 1, 250 },
    { "each failure doubles it", RETRY_BACKOFF, 4, 2000 },
    { "the last step below the top is not rounded", RETRY_BACKOFF, 7, 16000 },
    { "it ends at 30 s", RETRY_BACKOFF, 8, 30000 },
    { "it stays at 30 s for ever", RETRY_BACKOFF, 4000000000u, 30000 },
    { "a suspect waits as anything else", RETRY_SUSPECT, 2, 500 },
    { "a wrong password is tried again soon", RETRY_SLOWLY, 1, 1000 },
    { "and a second time", RETRY_SLOWLY, 2, 5000 },
    { "then every half minute", RETRY_SLOWLY, 3, 30000 },
    { "up to five minutes", RETRY_SLOWLY, 6, 300000 },
    { "and never longer", RETRY_SLOWLY, 4000000000u, 300000 },
};

static void has_ceiling(void **state) {
    const struct ceiling_row *row = *state;

    assert_int_equal(retry_ceiling_ns(row->retry, row->failures), row->want_ms * NS_PER_MS);
}

static struct delay_row {
    const char *name;
    enum retry_class retry;
    unsigned failures;
    int64_t after_s;
    uint64_t random;
    int64_t want_ms;
} delays[] = {
    { "jitter may take nothing", RETRY_BACKOFF, 3, 0, 0, 1000 },
    { "jitter may take all", RETRY_BACKOFF, 3, 0, 1000 * NS_PER_MS, 0 },
    { "jitter wraps around its range", RETRY_BACKOFF, 3, 0, 1000 * NS_PER_MS + 1, 1000 },
    { "slow pauses lose a fifth at most", RETRY_SLOWLY, 3, 0, 6 * NS_PER_S, 24000 },
    { "the server's wish is a minimum", RETRY_BACKOFF, 3, 7, 0, 7000 },
    { "a longer pause of our own stays", RETRY_BACKOFF, 8, 7, 0, 30000 },
    { "the wish counts up to ten minutes", RETRY_BACKOFF, 1, 86400, 0, 600000 },
    { "the wish counts for slow troubles too", RETRY_SLOWLY, 1, 20, 0, 20000 },
};

static void has_delay(void **state) {
    const struct delay_row *row = *state;

    assert_int_equal(retry_delay_ns(row->retry, row->failures, row->after_s * NS_PER_S, row->random),
                     row->want_ms * NS_PER_MS);
}

static struct reason_row {
    const char *name;
    int status;
    const char *words;
    enum reject_reason want;
} reasons[] = {
    { "1.x type conflict", 400,
      "partial write: field type conflict: input field \"v\" on measurement \"m\" is type string",
      REJECT_TYPE_CONFLICT },
    { "3.x type conflict", 400, "invalid column type for column 'v', expected iox::column_type::field::float",
      REJECT_TYPE_CONFLICT },
    { "1.x unreadable line", 400, "partial write: unable to parse 'm v=': missing field value dropped=0",
      REJECT_SYNTAX },
    { "VictoriaMetrics unreadable line", 400, "cannot parse field value for \"v\"", REJECT_SYNTAX },
    { "the server's words count before the line it quotes", 400, "unable to parse 'retention v=': missing field value",
      REJECT_SYNTAX },
    { "too old", 400, "partial write: points beyond retention policy dropped=1", REJECT_RETENTION },
    { "cardinality", 400, "partial write: max-values-per-tag limit exceeded (100000/100000)", REJECT_CARDINALITY },
    { "413 whatever it says", 413, "retention", REJECT_TOO_LARGE },
    { "letter case does not matter", 400, "Request Entity Too Large", REJECT_TOO_LARGE },
    { "words that we do not know", 400, "no", REJECT_OTHER },
    { "no words", 400, "", REJECT_OTHER },
    { "a server that chokes", 500, "internal error", REJECT_SERVER_ERROR },
    { "a phrase at the very end", 422, "type conflict", REJECT_TYPE_CONFLICT },
    { "a phrase cut at the very end", 422, "type conflic", REJECT_OTHER },
};

static void has_reason(void **state) {
    const struct reason_row *row = *state;

    assert_string_equal(reject_reason_name(reject_reason_of(row->status, str_of(row->words))),
                        reject_reason_name(row->want));
}

enum {
    CEILINGS = sizeof ceilings / sizeof ceilings[0],
    DELAYS = sizeof delays / sizeof delays[0],
    REASONS = sizeof reasons / sizeof reasons[0],
};

int main(void) {
    struct CMUnitTest tests[CEILINGS + DELAYS + REASONS];
    size_t count = 0;

    for (size_t i = 0; i < CEILINGS; i++)
        tests[count++] = (struct CMUnitTest){ ceilings[i].name, has_ceiling, NULL, NULL, &ceilings[i] };
    for (size_t i = 0; i < DELAYS; i++)
        tests[count++] = (struct CMUnitTest){ delays[i].name, has_delay, NULL, NULL, &delays[i] };
    for (size_t i = 0; i < REASONS; i++)
        tests[count++] = (struct CMUnitTest){ reasons[i].name, has_reason, NULL, NULL, &reasons[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
