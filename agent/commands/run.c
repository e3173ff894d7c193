/* agent/commands/run.c: the main job, and its dry form. The main thread only waits for signals. */
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/commands/command.h"

static const struct flag flags[] = {
    { "test", NULL, "print line protocol instead of sending it; never takes the production client id", 0 },
    { "test-wait", "DURATION", "with --test: how long to listen (default 10s)", 0 },
    { "debug", NULL, "log more, payloads included", 0 },
    { "quiet", NULL, "log errors only", 0 },
    { NULL, NULL, NULL, 0 },
};

/*
 * A second SIGTERM or SIGINT stays pending and does no harm: a terminal's Ctrl-C and a supervisor often both send one, and
 * shutdown_timeout bounds the end anyhow. Signals end up in sigtimedwait on the main thread: blocked before any other thread exists, so that all
 * inherit it.
 */
static void block_signals(sigset_t *waited) {
    sigemptyset(waited);
    sigaddset(waited, SIGTERM);
    sigaddset(waited, SIGINT);
    sigaddset(waited, SIGHUP);
    pthread_sigmask(SIG_BLOCK, waited, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* True for a signal that ends the run, false when the time is over. timeout_ns < 0: no end. */
static bool wait_for_end(struct agent *agent, const sigset_t *waited, int64_t timeout_ns) {
    int64_t until = clock_mono_ns() + timeout_ns;

    for (;;) {
        struct timespec left = { 3600, 0 };
        int64_t rest = until - clock_mono_ns();
        if (timeout_ns >= 0 && rest <= 0)
            return false;
        if (timeout_ns >= 0 && rest < 3600 * NS_PER_S)
            left = clock_timespec(rest);
        switch (sigtimedwait(waited, NULL, &left)) {
        case SIGTERM:
        case SIGINT:
            return true;
        case SIGHUP:
            agent_reload(agent);
            break;
        default:
            break;
        }
    }
}

static int run_for_good(struct agent *agent, const sigset_t *waited) {
    struct err err = ERR_INIT;
    bool nothing_left;

    if (!agent_start(agent, &err)) {
        log_error("START-FAILED", "%s", err.text);
        agent_abort(agent);
        return EXIT_FAILED;
    }
    log_info("STARTED", "heliograf %s", HELIOGRAF_VERSION);
    wait_for_end(agent, waited, -1);
    log_info("STOPPING", "flushing what is waiting, for as long as agent.shutdown_timeout allows");
    nothing_left = agent_stop(agent);
    if (nothing_left)
        log_info("STOPPED", "nothing left behind");
    else
        log_error("STOPPED", "some messages could not be stored in time; the lines above say how many, and for which output");
    return nothing_left ? EXIT_FINE : EXIT_FAILED;
}

/* One write per message, as several sources may print at once. */
static void print_lines(void *ctx, const struct message *message, enum ingest_end end, struct str lines,
                        const struct err *reason) {
    _Atomic unsigned *messages = ctx;

    (*messages)++;
    if (end != INGEST_LINES) {
        log_warn(end == INGEST_DEAD ? "DEAD-LETTER" : "FILTERED", "topic %.*s: %s", STR_ARGS(message->topic), reason->text);
        return;
    }
    fwrite(lines.data, 1, lines.len, stdout);
    fflush(stdout);
}

static int run_dry(struct agent *agent, const sigset_t *waited, int64_t wait_ns) {
    struct err err = ERR_INIT;
    _Atomic unsigned messages = 0;

    if (!agent_start_dry(agent, (struct agent_print){ &messages, print_lines }, &err)) {
        fprintf(stderr, "heliograf: %s\n", err.text);
        agent_abort(agent);
        return EXIT_FAILED;
    }
    wait_for_end(agent, waited, wait_ns);
    agent_stop_dry(agent);
    fprintf(stderr, "heliograf: %u messages came; nothing was stored\n", messages);
    return EXIT_FINE;
}

static int run(const struct command *self, const struct args *args) {
    bool dry = args_value(self, args, "test") != NULL;
    const char *wait = args_value(self, args, "test-wait");
    int64_t wait_ns = 10 * NS_PER_S;
    sigset_t waited;
    struct agent *agent;
    int code;

    if (wait != NULL && !cfg_parse_duration(str_of(wait), &wait_ns)) {
        fprintf(stderr, "heliograf run: --test-wait: expected a duration such as 10s, not '%s'\n", wait);
        return EXIT_USAGE;
    }
    block_signals(&waited);
    agent = load_or_complain(args, dry ? AGENT_DRY_RUN : AGENT_RUN);
    if (agent == NULL)
        return EXIT_CONFIGURATION;
    if (args_value(self, args, "debug") != NULL)
        log_set(LOG_DEBUG, LOG_TEXT);
    else if (args_value(self, args, "quiet") != NULL)
        log_set(LOG_ERROR, LOG_TEXT);
    code = dry ? run_dry(agent, &waited, wait_ns) : run_for_good(agent, &waited);
    agent_free(agent);
    return code;
}

const struct command command_run = {
    .name = "run",
    .summary = "Collect: subscribe, parse, batch, store, until SIGTERM or SIGINT",
    .usage = "[flags]",
    .text = "  heliograf run --config heliograf.yaml\n"
            "  heliograf run --config heliograf.yaml --test --test-wait 10s\n\n"
            "A broker or database that is down is retried for ever. Exit code 0: nothing was left\n"
            "behind; 1: it was, or the start failed; 78: the configuration has errors.\n",
    .flags = flags,
    .takes_config = true,
    .run = run,
};
