/* tests/bench/mqtt_load/report.c: figures of one run. Every text in it is one of ours, so nothing needs escaping. */
#include "tests/bench/mqtt_load/report.h"

#include <stdio.h>

static double seconds_between(int64_t from_ns, int64_t to_ns) {
    return from_ns > 0 && to_ns > from_ns ? (double)(to_ns - from_ns) / 1e9 : 0;
}

static double per(double amount, double whole) {
    return whole > 0 ? amount / whole : 0;
}

static void print_histogram(const char *name, const struct histogram *histogram) {
    printf(", \"%s\": {\"count\": %llu, \"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f}", name, (unsigned long long)histogram->count,
           (double)histogram_at(histogram, 0.5) / 1e3, (double)histogram_at(histogram, 0.99) / 1e3, (double)histogram->max / 1e3);
}

static void print_clients(const struct load *load, const struct story *story) {
    printf("{\"mode\": \"%s\", \"ended\": \"%s\", \"clients\": %u, \"connected\": %llu, \"refused\": %u, \"failed\": %u, \"lost\": %u", load->options->mode_name,
           story->ended_by, load->count, (unsigned long long)load->connack.count, load->refused, load->failed, load->lost);
    if (load->options->stalled + load->options->slow > 0)
        printf(", \"slow_lost\": %u", load->slow_lost);
    if (!load->options->clean)
        printf(", \"resumed\": %u", load->resumed);
    printf(", \"connect_s\": %.6f, \"elapsed_s\": %.6f", seconds_between(story->began_ns, story->connected_ns),
           seconds_between(story->connected_ns, story->ended_ns));
    print_histogram("connack_us", &load->connack);
}

static void print_sent(const struct load *load, const struct story *story) {
    double taken_s = seconds_between(story->connected_ns, load->last_acknowledged_ns);

    printf(", \"sent\": %llu", (unsigned long long)load->sent);
    if (load->options->qos > 0)
        printf(", \"acknowledged\": %llu, \"rejected\": %llu", (unsigned long long)load->acknowledged, (unsigned long long)load->rejected);
    printf(", \"publish_s\": %.6f, \"publish_rate\": %.1f, \"behind_max\": %llu, \"burst_mean\": %.2f", taken_s, per((double)load->sent, taken_s),
           (unsigned long long)story->behind, per((double)load->sent, (double)story->bursts));
    if (load->options->qos > 0)
        print_histogram("ack_us", &load->acks);
}

static void print_received(const struct load *load, const struct story *story) {
    double taken_s = seconds_between(load->first_received_ns, load->last_received_ns);

    printf(", \"received\": %llu, \"expected\": %llu, \"duplicates\": %llu", (unsigned long long)load->received, (unsigned long long)story->expected,
           (unsigned long long)load->duplicates);
    if (load->options->stalled + load->options->slow > 0)
        printf(", \"received_slowly\": %llu", (unsigned long long)load->received_slowly);
    printf(", \"first_received_s\": %.6f, \"receive_s\": %.6f, \"receive_rate\": %.1f", seconds_between(story->began_ns, load->first_received_ns), taken_s,
           per((double)load->received, taken_s));
    print_histogram("latency_us", &load->latency);
}

static void print_broker(const struct load *load, const struct story *story) {
    const struct process_use *before = &story->before, *connected = &story->connected, *after = &story->after;
    double up = (double)load->connack.count;

    printf(", \"broker\": {\"connect_cpu_us\": %.3f", per((connected->cpu_s - before->cpu_s) * 1e6, up));
    printf(", \"cpu_s\": %.3f, \"cpu_share\": %.5f", after->cpu_s - connected->cpu_s,
           per(after->cpu_s - connected->cpu_s, seconds_between(story->connected_ns, story->ended_ns)));
    if (load->options->mode == MODE_PUB)
        printf(", \"cpu_us_per_message\": %.4f", per((after->cpu_s - connected->cpu_s) * 1e6, (double)load->sent));
    if (load->options->mode == MODE_SUB) /* a backlog comes while it connects */
        printf(", \"cpu_us_per_message\": %.4f", per((after->cpu_s - before->cpu_s) * 1e6, (double)load->received));
    printf(", \"rss_before_kb\": %ld, \"rss_connected_kb\": %ld, \"rss_after_kb\": %ld, \"rss_peak_kb\": %ld", before->rss_kb, connected->rss_kb,
           after->rss_kb, after->peak_rss_kb);
    printf(", \"rss_bytes_per_connection\": %.1f}", per((double)(connected->rss_kb - before->rss_kb) * 1024, up));
}

void report_print(const struct load *load, const struct story *story) {
    print_clients(load, story);
    if (load->options->publishers > 0)
        print_sent(load, story);
    if (load->options->subscribers > 0)
        print_received(load, story);
    if (load->options->pid != 0)
        print_broker(load, story);
    if (load->options->mode != MODE_CONN)
        printf(", \"tool_cpu_share\": %.3f", per(story->own_cpu_s, seconds_between(story->connected_ns, story->ended_ns)));
    puts("}");
}
