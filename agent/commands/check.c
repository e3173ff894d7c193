/* agent/commands/check.c: is this configuration good? With --connect: are the remotes there, too? */
#include <signal.h>
#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/commands/command.h"
#include "agent/mqtt_client/source.h"

static const struct flag flags[] = {
    { "connect", NULL, "also ask every broker (each filter's SUBACK) and every database", 0 },
    { "timeout", "DURATION", "with --connect: per remote (default 10s)", 0 },
    { NULL, NULL, NULL, 0 },
};

static int connect_to_all(const struct agent *agent, int64_t timeout_ns) {
    struct buf text = BUF_INIT(1 << 20);
    struct err err = ERR_INIT;
    bool fine = mqtt_client_setup(&err);

    if (!fine)
        buf_printf(&text, "%s\n", err.text);
    else
        fine = agent_probe(agent, timeout_ns, &text);
    fputs(buf_cstr(&text), stdout);
    buf_release(&text);
    return fine ? EXIT_FINE : EXIT_FAILED;
}

static int run(const struct command *self, const struct args *args) {
    const char *timeout = args_value(self, args, "timeout");
    int64_t timeout_ns = 10 * NS_PER_S;
    struct buf text = BUF_INIT(1 << 20);
    struct agent *agent;
    int code = EXIT_FINE;

    if (timeout != NULL && !cfg_parse_duration(str_of(timeout), &timeout_ns)) {
        fprintf(stderr, "heliograf check: --timeout: expected a duration such as 10s, not '%s'\n", timeout);
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    agent = load_or_complain(args, AGENT_OFFLINE);
    if (agent == NULL)
        return EXIT_CONFIGURATION;
    if (!tests_are_readable(agent)) {
        agent_free(agent);
        return EXIT_CONFIGURATION;
    }
    agent_describe(agent, &text);
    fputs(buf_cstr(&text), stdout);
    buf_release(&text);
    if (args_value(self, args, "connect") != NULL) {
        log_set(LOG_ERROR, LOG_TEXT);
        code = connect_to_all(agent, timeout_ns);
    }
    printf(code == EXIT_FINE ? "the configuration is good\n" : "the configuration is good, but not every remote answers\n");
    agent_free(agent);
    return code;
}

const struct command command_check = {
    .name = "check",
    .summary = "Check a configuration, say what it does, and with --connect try its remotes",
    .usage = "[flags]",
    .text = "  heliograf check --config heliograf.yaml --connect\n\n"
            "Every error is printed as file:line:column. Exit code 0: good; 1: a remote does not\n"
            "answer; 78: the configuration has errors.\n",
    .flags = flags,
    .takes_config = true,
    .run = run,
};
