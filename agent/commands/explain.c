/* agent/commands/explain.c: what would become of this message? Offline. */
#include <stdio.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/commands/command.h"

enum { PAYLOAD_MAX = 64 << 20 };

static const struct flag flags[] = {
    { "topic", "TOPIC", "the topic that the message is published on", 't' },
    { "input", "NAME", "the input (alias) that receives it; by default the first that subscribes to the topic", 0 },
    { "retain", NULL, "as a retained message", 0 },
    { NULL, NULL, NULL, 0 },
};

static bool read_payload(const struct args *args, struct buf *payload) {
    char chunk[65536];
    size_t got;

    if (args->word_count > 0 && strcmp(args->words[0], "-") != 0)
        return buf_append_c(payload, args->words[0]);
    if (args->word_count == 0 && isatty(STDIN_FILENO)) {
        fprintf(stderr, "heliograf explain: reading the payload from the terminal; end it with Ctrl-D\n");
    }
    while ((got = fread(chunk, 1, sizeof chunk, stdin)) > 0)
        if (!buf_append(payload, chunk, got))
            return false;
    return ferror(stdin) == 0;
}

static int explain(const struct agent_input *input, const struct message *message) {
    struct buf lines = BUF_INIT(PAYLOAD_MAX), trace = BUF_INIT(PAYLOAD_MAX);
    struct err reason = ERR_INIT;
    enum ingest_end end = ingest_explain(input->ingest, message, &lines, &trace, &reason);

    fputs(buf_cstr(&trace), stderr);
    fputs(buf_cstr(&lines), stdout);
    if (end == INGEST_DEAD)
        fprintf(stderr, "dead letter: %s\n", reason.text);
    else if (end == INGEST_FILTERED)
        fprintf(stderr, "filtered: %s\n", reason.text[0] != '\0' ? reason.text : "nothing is left to store");
    buf_release(&lines);
    buf_release(&trace);
    return end == INGEST_LINES ? EXIT_FINE : EXIT_FAILED;
}

static int run(const struct command *self, const struct args *args) {
    const char *topic = args_value(self, args, "topic"), *name = args_value(self, args, "input");
    struct buf payload = BUF_INIT(PAYLOAD_MAX);
    const struct agent_input *input;
    struct agent *agent;
    int code = EXIT_FAILED;

    if (topic == NULL) {
        fprintf(stderr, "heliograf explain: --topic is missing; see heliograf explain --help\n");
        return EXIT_USAGE;
    }
    agent = load_or_complain(args, AGENT_OFFLINE);
    if (agent == NULL)
        return EXIT_CONFIGURATION;
    input = agent_input_for(agent, name, str_of(topic));
    if (input == NULL) {
        if (name != NULL)
            fprintf(stderr, "heliograf explain: there is no input '%s'\n", name);
        else
            fprintf(stderr, "no input subscribes to '%s': the message would never arrive\n", topic);
    } else if (!read_payload(args, &payload)) {
        fprintf(stderr, "heliograf explain: the payload could not be read or is larger than %d MiB\n", PAYLOAD_MAX >> 20);
    } else {
        struct message message = {
            .topic = str_of(topic),
            .payload = buf_str(&payload),
            .received_ns = clock_unique_ns(),
            .retain = args_value(self, args, "retain") != NULL,
        };
        fprintf(stderr, "input %s\n", input->name);
        if (agent_input_takes(agent, input, &message))
            code = explain(input, &message);
        else
            fprintf(stderr, "filtered: the input's option `retained` does not want a message that is %sretained\n",
                    message.retain ? "" : "not ");
    }
    buf_release(&payload);
    agent_free(agent);
    return code;
}

const struct command command_explain = {
    .name = "explain",
    .summary = "Say what would become of a message: route, parser, every decision, the line protocol or why there is none",
    .usage = "--topic TOPIC [flags] [PAYLOAD|-]",
    .text = "  heliograf explain --config heliograf.yaml --topic plant/a/t1 '{\"value\": 21.5}'\n"
            "  mosquitto_sub -t plant/a/t1 -C 1 | heliograf explain --topic plant/a/t1 -\n\n"
            "Decisions go to standard error, line protocol to standard output. Nothing is connected.\n",
    .flags = flags,
    .takes_config = true,
    .words_max = 1,
    .run = run,
};
