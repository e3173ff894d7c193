/* tests/unit/test_prometheus.c: figures as Prometheus text, as lines of the internal input, and as people read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "agent/status/internal.h"
#include "agent/status/page.h"
#include "agent/status/process.h"
#include "agent/status/prometheus.h"
#include "agent/status/status.h"

static const struct metric_desc received = { "received_total", "Messages received.", "gather", METRIC_COUNTER };
static const struct metric_desc level = { "level_ratio", "Back\\slash and\nnew line.", "gather", METRIC_GAUGE };
static const struct metric_desc took = { "took_seconds", "How long it took.", "write", METRIC_HISTOGRAM };
static const struct metric_desc memory = { "process_resident_memory_bytes", "Memory in RAM.", "process", METRIC_GAUGE };

static void empty(void *ctx, const struct metric_writer *writer) {
    (void)ctx;
    (void)writer;
}

static void two_counters(void *ctx, const struct metric_writer *writer) {
    (void)ctx;
    metric_sample(writer, &received, "input", "a", NULL, NULL, 3);
    metric_sample(writer, &level, "input", "a", NULL, NULL, 0.25);
    metric_sample(writer, &received, "input", "b", NULL, NULL, 4);
}

static void without_labels(void *ctx, const struct metric_writer *writer) {
    (void)ctx;
    metric_sample(writer, &memory, NULL, NULL, NULL, NULL, 8388608);
}

static void odd_label(void *ctx, const struct metric_writer *writer) {
    metric_sample(writer, &received, "input", ctx, NULL, NULL, 1);
}

static void odd_key(void *ctx, const struct metric_writer *writer) {
    (void)ctx;
    metric_sample(writer, &received, "in put", "a", "output", "b", 1);
}

static void odd_value(void *ctx, const struct metric_writer *writer) {
    metric_sample(writer, &level, NULL, NULL, NULL, NULL, *(double *)ctx);
}

static void one_histogram(void *ctx, const struct metric_writer *writer) {
    const struct metric_label label = { "output", "o" };
    struct metric_histogram histogram = { .sum_us = 0 };

    (void)ctx;
    metric_observe(&histogram, 1000000);      /* 1 ms: the bound belongs to its bucket */
    metric_observe(&histogram, 30000000);     /* 30 ms */
    metric_observe(&histogram, 100000000000); /* 100 s: past the last bound */
    writer->histogram(writer->ctx, &took, &label, 1, &histogram);
}

static void same_twice(void *ctx, const struct metric_writer *writer) {
    (void)ctx;
    metric_sample(writer, &received, "a", "1", "b", "2", 5);
    metric_sample(writer, &received, "b", "2", "a", "1", 6);
}

static double not_a_number, infinite, precise = 0.1 + 0.2, large = 9007199254740991.0;

static struct row {
    const char *name;
    void (*collect)(void *ctx, const struct metric_writer *writer);
    void *ctx;
    const char *want;
} text_rows[] = {
    { "text: nothing gives nothing", empty, NULL, "" },
    { "text: one head and one group per name", two_counters, NULL,
      "# HELP heliograf_received_total Messages received.\n"
      "# TYPE heliograf_received_total counter\n"
      "heliograf_received_total{input=\"a\"} 3\n"
      "heliograf_received_total{input=\"b\"} 4\n"
      "# HELP heliograf_level_ratio Back\\\\slash and\\nnew line.\n"
      "# TYPE heliograf_level_ratio gauge\n"
      "heliograf_level_ratio{input=\"a\"} 0.25\n" },
    { "text: process figures keep their common names", without_labels, NULL,
      "# HELP process_resident_memory_bytes Memory in RAM.\n"
      "# TYPE process_resident_memory_bytes gauge\n"
      "process_resident_memory_bytes 8388608\n" },
    { "text: escapes label values", odd_label, (char *)"quote\" slash\\ line\nend {}",
      "# HELP heliograf_received_total Messages received.\n"
      "# TYPE heliograf_received_total counter\n"
      "heliograf_received_total{input=\"quote\\\" slash\\\\ line\\nend {}\"} 1\n" },
    { "text: a label that is not UTF-8 does not spoil the page", odd_label, (char *)"\xff\xfe",
      "# HELP heliograf_received_total Messages received.\n"
      "# TYPE heliograf_received_total counter\n"
      "heliograf_received_total{input=\"(not UTF-8)\"} 1\n" },
    { "text: leaves out a label with an illegal key", odd_key, NULL,
      "# HELP heliograf_received_total Messages received.\n"
      "# TYPE heliograf_received_total counter\n"
      "heliograf_received_total{output=\"b\"} 1\n" },
    { "text: writes NaN", odd_value, &not_a_number,
      "# HELP heliograf_level_ratio Back\\\\slash and\\nnew line.\n# TYPE heliograf_level_ratio "
      "gauge\nheliograf_level_ratio NaN\n" },
    { "text: writes infinity", odd_value, &infinite,
      "# HELP heliograf_level_ratio Back\\\\slash and\\nnew line.\n# TYPE heliograf_level_ratio "
      "gauge\nheliograf_level_ratio +Inf\n" },
    { "text: writes every digit that counts", odd_value, &precise,
      "# HELP heliograf_level_ratio Back\\\\slash and\\nnew line.\n# TYPE heliograf_level_ratio gauge\n"
      "heliograf_level_ratio 0.30000000000000004\n" },
    { "text: writes large counts in full", odd_value, &large,
      "# HELP heliograf_level_ratio Back\\\\slash and\\nnew line.\n# TYPE heliograf_level_ratio gauge\n"
      "heliograf_level_ratio 9007199254740991\n" },
    { "text: histograms are cumulative", one_histogram, NULL,
      "# HELP heliograf_took_seconds How long it took.\n"
      "# TYPE heliograf_took_seconds histogram\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"0.001\"} 1\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"0.0025\"} 1\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"0.005\"} 1\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"0.01\"} 1\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"0.025\"} 1\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"0.05\"} 2\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"0.1\"} 2\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"0.25\"} 2\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"0.5\"} 2\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"1\"} 2\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"2.5\"} 2\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"5\"} 2\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"10\"} 2\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"60\"} 2\n"
      "heliograf_took_seconds_bucket{output=\"o\",le=\"+Inf\"} 3\n"
      "heliograf_took_seconds_sum{output=\"o\"} 100.031\n"
      "heliograf_took_seconds_count{output=\"o\"} 3\n" },
};

static struct row line_rows[] = {
    { "lines: nothing gives nothing", empty, NULL, "" },
    { "lines: labels are tags, counters integers, gauges floats", two_counters, NULL,
      "internal_gather,input=a received_total=3i,level_ratio=0.25 42\n"
      "internal_gather,input=b received_total=4i 42\n" },
    { "lines: without labels no tags", without_labels, NULL,
      "internal_process process_resident_memory_bytes=8388608 42\n" },
    { "lines: escapes what line protocol escapes", odd_label, (char *)"a,b c=d",
      "internal_gather,input=a\\,b\\ c\\=d received_total=1i 42\n" },
    { "lines: nothing can break out of a line", odd_label, (char *)"a\nevil v=1\r\\",
      "internal_gather,input=a_evil\\ v\\=1__ received_total=1i 42\n" },
    { "lines: an empty tag is left out", odd_label, (char *)"", "internal_gather received_total=1i 42\n" },
    { "lines: NaN cannot be stored", odd_value, &not_a_number, "" },
    { "lines: infinity cannot be stored", odd_value, &infinite, "" },
    { "lines: a histogram is its count and sum", one_histogram, NULL,
      "internal_write,output=o took_seconds_count=3i,took_seconds_sum=100.031 42\n" },
    { "lines: a field stands in a line once", same_twice, NULL, "internal_gather,a=1,b=2 received_total=5i 42\n" },
};

static void text_is(void **state) {
    const struct row *row = *state;
    struct metric_registry registry = { .count = 0 };
    struct buf out = BUF_INIT(65536);

    metric_register(&registry, (struct metric_source){ row->ctx, row->collect });
    status_prometheus(&registry, &out);
    assert_false(out.failed);
    assert_string_equal(buf_cstr(&out), row->want);
    buf_release(&out);
}

static void lines_are(void **state) {
    const struct row *row = *state;
    struct metric_registry registry = { .count = 0 };
    struct buf out = BUF_INIT(65536);

    metric_register(&registry, (struct metric_source){ row->ctx, row->collect });
    assert_true(internal_write(&registry, 42, &out));
    assert_string_equal(buf_cstr(&out), row->want);
    buf_release(&out);
}

static void many(void *ctx, const struct metric_writer *writer) {
    char value[1000];

    (void)ctx;
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (unsigned i = 0; i < 10000; i++)
        metric_sample(writer, &received, "input", value, NULL, NULL, i);
}

static void says_when_figures_are_left_out(void **state) {
    struct metric_registry registry = { .count = 0 };
    struct buf out = BUF_INIT(64 << 20);

    (void)state;
    metric_register(&registry, (struct metric_source){ NULL, many });
    status_prometheus(&registry, &out);
    assert_true(out.failed);
    buf_reset(&out);
    assert_false(internal_write(&registry, 42, &out));
    assert_int_equal(out.len, 0);
    buf_release(&out);
}

static void figures_of_this_process_are_plausible(void **state) {
    struct metric_registry registry = { .count = 0 };
    struct buf out = BUF_INIT(65536);
    const char *text, *at;
    double value;

    (void)state;
    metric_register(&registry, (struct metric_source){ NULL, status_collect_process });
    status_prometheus(&registry, &out);
    text = buf_cstr(&out);
    assert_non_null(strstr(text, "\nheliograf_build_info{version=\"" HELIOGRAF_VERSION "\""));
    at = strstr(text, "\nprocess_resident_memory_bytes ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "\nprocess_resident_memory_bytes %lf", &value), 1);
    assert_true(value > 100e3);
    at = strstr(text, "\nprocess_threads ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "\nprocess_threads %lf", &value), 1);
    assert_true(value >= 1 && value < 100);
    at = strstr(text, "\nprocess_open_fds ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "\nprocess_open_fds %lf", &value), 1);
    assert_true(value >= 3);
    assert_non_null(strstr(text, "\nprocess_cpu_seconds_total "));
    assert_non_null(strstr(text, "\nprocess_start_time_seconds 1"));
    buf_release(&out);
}

static struct stat_row {
    const char *name, *text;
    bool ok;
    struct process_stat want;
} stat_rows[] = {
    { "stat: reads the columns",
      "7 (x) S 1 7 7 0 -1 4194304 9 0 0 0 100 20 0 0 20 0 3 0 5000 1234567 99 18446744073709551615 1\n",
      true,
      { 120, 5000, 3, 1234567, 99 } },
    { "stat: a name with blanks and brackets",
      "7 (a) 1 2 (b) S 1 7 7 0 -1 4194304 9 0 0 0 1 2 0 0 20 0 4 0 5 6 7 8\n",
      true,
      { 3, 5, 4, 6, 7 } },
    { "stat: refuses one that is cut",
      "7 (x) S 1 7 7 0 -1 4194304 9 0 0 0 100 20 0 0 20 0 3 0 5000 1234567\n",
      false,
      { 0 } },
    { "stat: refuses one without a name", "7 x S 1 7 7\n", false, { 0 } },
    { "stat: refuses nothing", "", false, { 0 } },
};

static void reads_stat(void **state) {
    const struct stat_row *row = *state;
    struct process_stat stat = { 0 };

    assert_int_equal(process_parse_stat(str_of(row->text), &stat), row->ok);
    assert_memory_equal(&stat, &row->want, sizeof stat);
}

static struct number_row {
    const char *name, *metric;
    double value;
    const char *want;
} number_rows[] = {
    { "number: groups of three", "x_total", 1234567,
      "1\xe2\x80\xaf"
      "234\xe2\x80\xaf"
      "567" },
    { "number: a small one", "x", 12, "12" },
    { "number: negative", "x", -1234,
      "-1\xe2\x80\xaf"
      "234" },
    { "number: a fraction", "x_ratio", 0.125, "0.125" },
    { "number: bytes", "x_bytes", 512, "512 B" },
    { "number: mebibytes", "x_bytes_total", 1572864, "1.5 MiB" },
    { "number: nothing", "x_seconds", 0, "0 s" },
    { "number: microseconds", "x_seconds", 0.00025, "250 \xc2\xb5s" },
    { "number: milliseconds", "x_seconds", 0.25, "250 ms" },
    { "number: hours", "x_seconds", 9000, "2.5 h" },
    { "number: a point in time", "process_start_time_seconds", 86400, "1970-01-02 00:00:00Z" },
    { "number: never", "x_timestamp_seconds", 0, "never" },
    { "number: a time past all calendars", "x_timestamp_seconds", 1e300, "never" },
    { "number: not a number", "x_bytes", NAN, "NaN" },
};

static void reads_well(void **state) {
    const struct number_row *row = *state;
    struct buf out = BUF_INIT(100);

    page_number(&out, row->metric, row->value);
    assert_string_equal(buf_cstr(&out), row->want);
    buf_release(&out);
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define ADD_ROWS(array, test)                                                                                          \
    for (size_t i = 0; i < COUNT(array); i++)                                                                          \
        tests[count++] = (struct CMUnitTest) {                                                                         \
            .name = array[i].name, .test_func = test, .initial_state = &array[i]                                       \
        }

int main(void) {
    struct CMUnitTest tests[COUNT(text_rows) + COUNT(line_rows) + COUNT(stat_rows) + COUNT(number_rows) + 2];
    size_t count = 0;

    not_a_number = NAN;
    infinite = INFINITY;
    ADD_ROWS(text_rows, text_is);
    ADD_ROWS(line_rows, lines_are);
    ADD_ROWS(stat_rows, reads_stat);
    ADD_ROWS(number_rows, reads_well);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(says_when_figures_are_left_out);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(figures_of_this_process_are_plausible);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
