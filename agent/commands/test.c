/* agent/commands/test.c: the configuration's own tests: topic and payload in, line protocol out. */
#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/commands/command.h"
#include "config/yaml_tree.h"

enum { LINES_MAX = 1 << 24 };

struct test_case {
    char *name, *topic, *payload, *input;
    bool retain;
    int64_t now_s;
    struct cfg_strings expect;
    char *dead_letter;
    bool filtered;
};

#define AT(member) offsetof(struct test_case, member)
static const struct cfg_field case_options[] = {
    { .key = "name", .type = CFG_STRING, .offset = AT(name), .help = "What it shows; by default the topic." },
    { .key = "topic", .type = CFG_STRING, .offset = AT(topic), .flags = CFG_REQUIRED, .help = "Topic of the message." },
    { .key = "payload", .type = CFG_STRING, .offset = AT(payload), .fallback = "\"\"", .help = "Payload, as text." },
    { .key = "input", .type = CFG_STRING, .offset = AT(input), .help = "Name of the input; by default the first that subscribes to the topic." },
    { .key = "retain", .type = CFG_BOOL, .offset = AT(retain), .fallback = "false", .help = "As a retained message." },
    { .key = "now", .type = CFG_INTEGER, .offset = AT(now_s), .fallback = "0", .help = "Arrival, in seconds since 1970; 0: now." },
    { .key = "expect", .type = CFG_STRINGS, .offset = AT(expect), .help = "The lines, in order; a line without a time matches any." },
    { .key = "expect_dead_letter", .type = CFG_STRING, .offset = AT(dead_letter), .help = "Part of the reason why it can't be stored." },
    { .key = "expect_filtered", .type = CFG_BOOL, .offset = AT(filtered), .fallback = "false", .help = "Nothing is left to store." },
    CFG_END,
};
#undef AT

/* Whether a line ends in a time stamp: blank, optional minus, digits. Inside a quoted string there is a quote behind. */
static size_t without_time(struct str line) {
    size_t end = line.len;

    while (end > 0 && line.data[end - 1] >= '0' && line.data[end - 1] <= '9')
        end--;
    if (end < line.len && end > 0 && line.data[end - 1] == '-')
        end--;
    return end < line.len && end > 0 && line.data[end - 1] == ' ' ? end - 1 : line.len;
}

static bool line_matches(struct str expected, struct str line) {
    if (str_eq(expected, line))
        return true;
    if (without_time(expected) != expected.len)
        return false;
    line.len = without_time(line);
    return str_eq(expected, line);
}

static bool lines_match(const struct test_case *test, struct str lines, struct buf *why) {
    struct str rest = lines;

    for (size_t i = 0; i < test->expect.count; i++) {
        struct str expected = str_trim(str_of(test->expect.items[i])), line;
        if (rest.data == NULL || rest.len == 0) {
            buf_printf(why, "    expected: %.*s\n    got:      nothing more\n", STR_ARGS(expected));
            return false;
        }
        line = str_split(&rest, '\n');
        if (!line_matches(expected, line)) {
            buf_printf(why, "    expected: %.*s\n    got:      %.*s\n", STR_ARGS(expected), STR_ARGS(line));
            return false;
        }
    }
    if (rest.data != NULL && rest.len > 0) {
        buf_printf(why, "    not expected: %.*s", STR_ARGS(rest));
        return false;
    }
    return true;
}

static bool judge(const struct test_case *test, enum ingest_end end, struct str lines, const struct err *reason,
                  struct buf *why) {
    if (test->dead_letter != NULL) {
        if (end == INGEST_DEAD && strstr(reason->text, test->dead_letter) != NULL)
            return true;
        buf_printf(why, "    expected a dead letter with '%s'\n    got: %s%.*s\n", test->dead_letter,
                   end == INGEST_DEAD ? reason->text : "", STR_ARGS(lines));
        return false;
    }
    if (end == INGEST_DEAD) {
        buf_printf(why, "    got a dead letter: %s\n", reason->text);
        return false;
    }
    if (test->filtered && end != INGEST_FILTERED) {
        buf_printf(why, "    expected nothing to be left, got: %.*s\n", STR_ARGS(lines));
        return false;
    }
    return lines_match(test, lines, why);
}

static bool run_case(const struct agent *agent, const struct test_case *test, struct buf *why) {
    const struct agent_input *input = agent_input_for(agent, test->input, str_of(test->topic));
    struct buf lines = BUF_INIT(LINES_MAX);
    struct err reason = ERR_INIT;
    struct message message = {
        .topic = str_of(test->topic),
        .payload = str_of(test->payload),
        .received_ns = test->now_s != 0 ? test->now_s * NS_PER_S : clock_unique_ns(),
        .retain = test->retain,
    };
    bool good;

    if (input == NULL) {
        buf_printf(why, "    no input subscribes to this topic\n");
        return false;
    }
    enum ingest_end end = INGEST_FILTERED;
    if (agent_input_takes(agent, input, &message))
        end = ingest_explain(input->ingest, &message, &lines, NULL, &reason);
    good = judge(test, end, buf_str(&lines), &reason, why);
    buf_release(&lines);
    return good;
}

/* 1 passed, 0 failed, -1 not a test. */
static int run_node(const struct agent *agent, const struct yaml_node *node, struct arena *arena, struct diags *diags) {
    struct test_case test = { 0 };
    struct cfg_binding binding = { case_options, &test };
    struct buf why = BUF_INIT(1 << 20);
    bool good;

    if (!cfg_read(node, "test", &binding, 1, arena, diags))
        return -1;
    good = run_case(agent, &test, &why);
    printf("%s %s:%u %s\n%s", good ? "ok  " : "FAIL", node->at.file, node->at.line, test.name != NULL ? test.name : test.topic,
           good ? "" : buf_cstr(&why));
    buf_release(&why);
    return good;
}

static int run_all(const struct agent *agent, const struct yaml_node *tests) {
    struct arena arena;
    struct diags diags = { 0 };
    unsigned passed = 0, failed = 0;

    arena_init(&arena, 16 << 20);
    for (const struct yaml_node *node = tests->first; node != NULL; node = node->next) {
        int verdict = node->kind == YAML_MAP ? run_node(agent, node, &arena, &diags) : -1;
        if (node->kind != YAML_MAP)
            diag_add(&diags, node->at, "tests: expected a map with topic, payload and expect");
        passed += verdict == 1;
        failed += verdict == 0;
    }
    diags_print(&diags, stderr);
    bool broken = diags.errors > 0;
    diags_release(&diags);
    arena_release(&arena);
    printf("%u passed, %u failed\n", passed, failed);
    return broken ? EXIT_CONFIGURATION : failed > 0 ? EXIT_FAILED : EXIT_FINE;
}

bool tests_are_readable(const struct agent *agent) {
    const struct yaml_node *tests = agent_tests(agent);
    struct diags diags = { 0 };
    struct arena arena;

    arena_init(&arena, 16 << 20);
    if (tests != NULL && tests->kind != YAML_LIST && !yaml_is_null(tests))
        diag_add(&diags, tests->at, "tests: expected a list of maps with topic, payload and expect");
    for (const struct yaml_node *node = tests != NULL && tests->kind == YAML_LIST ? tests->first : NULL; node != NULL;
         node = node->next) {
        struct test_case test = { 0 };
        struct cfg_binding binding = { case_options, &test };
        if (node->kind != YAML_MAP)
            diag_add(&diags, node->at, "tests: expected a map with topic, payload and expect");
        else
            cfg_read(node, "test", &binding, 1, &arena, &diags);
    }
    diags_print(&diags, stderr);
    bool readable = diags.errors == 0;
    diags_release(&diags);
    arena_release(&arena);
    return readable;
}

static int run(const struct command *self, const struct args *args) {
    const struct yaml_node *tests;
    struct agent *agent = load_or_complain(args, AGENT_OFFLINE);
    int code = EXIT_FINE;

    (void)self;
    if (agent == NULL)
        return EXIT_CONFIGURATION;
    tests = agent_tests(agent);
    if (tests == NULL || tests->kind != YAML_LIST)
        fprintf(stderr, "heliograf test: the configuration has no `tests:` list; see heliograf test --help\n");
    else
        code = run_all(agent, tests);
    agent_free(agent);
    return code;
}

const struct command command_test = {
    .name = "test",
    .summary = "Run the tests that stand in the configuration",
    .usage = "[flags]",
    .text = "  heliograf test --config heliograf.yaml\n\n"
            "  tests:\n"
            "    - topic: plant/a/press/temperature\n"
            "      payload: '{\"value\": 21.5}'\n"
            "      expect: ['mqtt_consumer,line=a,machine=press value=21.5']\n\n"
            "Lines are compared as they are written: tags sorted by name, fields in the payload's order; an\n"
            "expected line without a time stamp matches any time. Other keys: name, input, retain, now (seconds\n"
            "since 1970), expect_dead_letter (a part of the reason's text), expect_filtered (true).\n"
            "Exit code 0: all passed; 1: some failed.\n",
    .takes_config = true,
    .run = run,
};
