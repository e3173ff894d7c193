/*
 * tests/fuzz/fuzz_ingest.c: topic and payload of random bytes through a configuration with routes of every parser,
 * topic parsing, filters and outputs: no crash, every line can be read back, and each message ends as lines, filtered
 * or a dead letter. The input is the topic, a line feed, and the payload.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/base/log.h"
#include "agent/ingest/ingest_parts.h"
#include "tests/support/lp_reader.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char yaml[] = "data_format: json\n"
                           "tags: { site: plant-7, \"odd key\": \"a,b\" }\n"
                           "json_string_fields: [\"*\"]\n"
                           "tag_keys: [id, name]\n"
                           "topic_cache_entries: 64\n"
                           "topic_parsing:\n"
                           "  - { topic: '+/+', measurement: '_/m', tags: 'a/_' }\n"
                           "  - { topic: 'p/#/+', tags: '_/#/last', fields: '#/last_field' }\n"
                           "  - { topic: 'n/+', fields: '_/n', types: { n: int } }\n"
                           "routes:\n"
                           "  - { topics: ['i/#'], data_format: influx, fieldexclude: ['x*'] }\n"
                           "  - { topics: ['v/#'], data_format: value, data_type: string }\n"
                           "  - { topics: ['f/#'], data_format: value, data_type: float, name_prefix: 'p ' }\n"
                           "  - { topics: ['j/+/#'], topic_tag: '' }\n";

/* One for all inputs: what a message leaves behind may meet the next one. */
static struct ingest *shared(void) {
    static struct ingest *ingest;
    static struct arena arena;
    static struct ingest_context context;
    static const struct ingest_filter *filters[3];
    struct diags diags = { 0 };

    if (ingest != NULL)
        return ingest;
    log_set(LOG_ERROR, LOG_TEXT);
    arena_init(&arena, 8 << 20);
    for (int i = 1; i < 3; i++) {
        struct ingest_filter *filter = arena_zalloc(&arena, ingest_filter_size());
        struct cfg_binding binding = { ingest_filter_options, filter };
        struct err err = ERR_INIT;
        const char *text =
            i == 1 ? "{tagexclude: [topic], name_suffix: '\\'}" : "{fieldinclude: ['*a*'], tagdrop: {a: ['x*']}}";
        if (!cfg_read(yaml_parse("f", str_of(text), &arena, &diags), "f", &binding, 1, &arena, &diags) ||
            !ingest_filter_init(filter, &err))
            abort();
        filters[i] = filter;
    }
    context = (struct ingest_context){ .hostname = "h", .output_filters = filters, .outputs = 3 };
    ingest = ingest_new(yaml_parse("t", str_of(yaml), &arena, &diags), "input mqtt_consumer", "fuzz", NULL, 0, &context,
                        &arena, &diags);
    if (ingest == NULL) {
        diags_print(&diags, stderr);
        abort();
    }
    diags_release(&diags);
    return ingest;
}

static void check_lines(struct str lines, size_t *count) {
    while (lines.len > 0) {
        struct lp_point point;
        struct str line = str_split(&lines, '\n');
        const char *why = lp_read(line.data, line.len, &point);
        if (why != NULL || lines.data == NULL) {
            fprintf(stderr, "%s: %.*s\n", why != NULL ? why : "no newline", STR_ARGS(line));
            abort();
        }
        lp_free(&point);
        ++*count;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ingest *ingest = shared();
    struct str all = { (const char *)data, size }, topic;
    struct message message = { .received_ns = 1764000000000000000 };
    struct buf lines = BUF_INIT(64 << 20), trace = BUF_INIT(64 << 20);
    struct err reason = ERR_INIT;
    enum ingest_end end;
    uint64_t sequence;
    char *exact;

    topic = str_split(&all, '\n');
    message.topic = topic;
    exact = malloc(all.len > 0 ? all.len : 1); /* its own block: the sanitizer sees a read past the payload */
    if (all.len > 0)
        memcpy(exact, all.data, all.len);
    message.payload = str_make(exact, all.len);
    end = ingest_explain(ingest, &message, &lines, &trace, &reason);
    if ((end == INGEST_DEAD) != (reason.code != ERR_NONE) || (end == INGEST_LINES) < (lines.len > 0))
        abort();
    for (size_t v = 0; v <= ingest->transform.filtered_count; v++) {
        size_t count = 0;
        if (end != INGEST_LINES)
            break;
        check_lines(buf_str(&ingest->lines[v].text), &count);
        if (count != ingest->lines[v].count)
            abort();
    }
    if (ingest_deliver(ingest, &message, &sequence) != MESSAGE_TAKEN)
        abort();
    free(exact);
    buf_release(&lines);
    buf_release(&trace);
    return 0;
}
