/* tests/unit/test_log.c: what a line looks like, and when a repeating trouble is logged. */
#include "agent/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/base/clock.h"

static int64_t now_ns;

static int64_t set_clock(void) {
    return now_ns;
}

/* Standard error goes into a file while a test runs. */
struct capture {
    FILE *file;
    int before;
    char text[8192];
};

static int begin(void **state) {
    static struct capture capture;

    capture.file = tmpfile();
    fflush(stderr);
    capture.before = dup(STDERR_FILENO);
    now_ns = 1795382600123456789; /* 2026-11-22T21:23:20.123Z */
    clock_override(set_clock, set_clock);
    log_set(LOG_INFO, LOG_TEXT);
    *state = &capture;
    return capture.file != NULL && dup2(fileno(capture.file), STDERR_FILENO) >= 0 ? 0 : -1;
}

static const char *captured(struct capture *capture) {
    size_t len;

    rewind(capture->file);
    len = fread(capture->text, 1, sizeof capture->text - 1, capture->file);
    capture->text[len] = '\0';
    return capture->text;
}

static int end(void **state) {
    struct capture *capture = *state;

    dup2(capture->before, STDERR_FILENO);
    close(capture->before);
    fclose(capture->file);
    clock_override(NULL, NULL);
    log_set(LOG_INFO, LOG_TEXT);
    return 0;
}

static void writes_time_level_and_id(void **state) {
    log_warn("MQTT-DOWN", "no answer from %s", "broker");
    assert_string_equal(captured(*state), "2026-11-22T21:23:20.123Z warn MQTT-DOWN no answer from broker\n");
}

static void keeps_to_its_level(void **state) {
    log_set(LOG_WARN, LOG_TEXT);
    log_error("A", "1");
    log_warn("B", "2");
    log_info("C", "3");
    log_debug("D", "4");
    assert_true(log_enabled(LOG_WARN));
    assert_false(log_enabled(LOG_INFO));
    log_set(LOG_DEBUG, LOG_TEXT);
    log_debug("E", "%d", 5);
    assert_string_equal(captured(*state), "2026-11-22T21:23:20.123Z error A 1\n2026-11-22T21:23:20.123Z warn B 2\n"
                                          "2026-11-22T21:23:20.123Z debug E 5\n");
}

static void is_one_line_whatever_is_in_it(void **state) {
    log_info("X", "topic '%s'", "a\nb\r\033[2J\x7f\tc");
    assert_string_equal(captured(*state), "2026-11-22T21:23:20.123Z info X topic 'a b  [2J  c'\n");
}

static void writes_json(void **state) {
    log_set(LOG_INFO, LOG_JSON);
    log_info("X", "a \"quoted\" \\ text\n");
    assert_string_equal(captured(*state), "{\"time\":\"2026-11-22T21:23:20.123Z\",\"level\":\"info\",\"id\":\"X\","
                                          "\"message\":\"a \\\"quoted\\\" \\\\ text \"}\n");
}

static void cuts_long_lines_whole(void **state) {
    char text[5000];
    const char *line;

    memset(text, '"', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_info("X", "%s", text);
    log_set(LOG_INFO, LOG_JSON);
    log_info("X", "%s", text);
    line = captured(*state);
    assert_non_null(strchr(line, '\n'));
    line = strchr(line, '\n') + 1;
    assert_string_equal(line + strlen(line) - 3, "\"}\n");
    /* Quotes come in escaped pairs up to the closing one. */
    assert_int_equal((strlen(strstr(line, "\"message\":\"") + 11) - 3) % 2, 0);
}

static void repeats_at_growing_intervals(void **state) {
    static const int64_t logged_at[] = { 0, 10, 30, 70, 150, 310, 630, 1270, 2550, 5110, 8710, 12310 };
    struct complaint trouble = { .active = false };
    uint64_t repeats, silent = 0;
    size_t next = 0;

    (void)state;
    now_ns = 0;
    for (int64_t second = 0; second <= 12310; second++, now_ns += NS_PER_S) {
        bool due = complaint_due(&trouble, &repeats);
        assert_int_equal(due, second == logged_at[next]);
        assert_int_equal(repeats, due ? silent : 0);
        silent = due ? 0 : silent + 1;
        next += due;
    }
    assert_int_equal(next, sizeof logged_at / sizeof logged_at[0]);
}

static void ends_once_and_begins_anew(void **state) {
    struct complaint trouble = { .active = false };
    uint64_t repeats;

    (void)state;
    now_ns = 0;
    assert_false(complaint_end(&trouble));
    assert_true(complaint_due(&trouble, &repeats));
    assert_false(complaint_due(&trouble, &repeats));
    assert_true(complaint_end(&trouble));
    assert_false(complaint_end(&trouble));
    assert_true(complaint_due(&trouble, &repeats));
    assert_int_equal(repeats, 0);
    now_ns = 9 * NS_PER_S;
    assert_false(complaint_due(&trouble, &repeats));
    now_ns = 10 * NS_PER_S;
    assert_true(complaint_due(&trouble, &repeats));
    assert_int_equal(repeats, 1);
}

static void says_how_many_were_not_logged(void **state) {
    struct complaint trouble = { .active = false };

    now_ns = 0;
    for (int i = 0; i < 12; i++, now_ns += NS_PER_S)
        complain(&trouble, LOG_WARN, "SLOW", "%s is slow", "influx");
    assert_string_equal(captured(*state),
                        "1970-01-01T00:00:00.000Z warn SLOW influx is slow\n"
                        "1970-01-01T00:00:10.000Z warn SLOW influx is slow (9 more like this were not logged)\n");
}

#define CAPTURED(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        CAPTURED(writes_time_level_and_id),      CAPTURED(keeps_to_its_level),
        CAPTURED(is_one_line_whatever_is_in_it), CAPTURED(writes_json),
        CAPTURED(cuts_long_lines_whole),         CAPTURED(repeats_at_growing_intervals),
        CAPTURED(ends_once_and_begins_anew),     CAPTURED(says_how_many_were_not_logged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
