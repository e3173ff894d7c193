/* agent/commands/spool_drop.c: throws away what waits, on a stopped agent's directory. */
#include <inttypes.h>
#include <stdio.h>

#include "agent/commands/print.h"
#include "agent/commands/spool.h"

static const struct flag flags[] = {
    SPOOL_PLACE_FLAG,
    { "output", "NAME", "only what waits for this output", 0 },
    { "before", "TIME", "only messages that came before then: 7d (ago), or 2026-11-22T21:30:00Z", 0 },
    { "yes", NULL, "really: it is gone for good", 0 },
    { NULL, NULL, NULL, 0 },
};

static void tell(const struct dropped *dropped) {
    char size[PRINT_TIME_MAX];
    uint64_t all = 0;

    for (unsigned i = 0; i < dropped->output_count; i++) {
        const struct inspect_output *output = &dropped->outputs[i];
        all += output->messages;
        if (output->messages > 0)
            fprintf(stderr, "dropped %" PRIu64 " message%s, %" PRIu64 " line%s, for output %s\n", output->messages,
                    print_plural(output->messages), output->lines, print_plural(output->lines), output->name);
    }
    if (all == 0)
        fprintf(stderr, "there is nothing to drop\n");
    else
        fprintf(stderr, "%" PRIu64 " segment%s removed, %s\n", dropped->segments, print_plural(dropped->segments),
                print_size(size, dropped->bytes));
}

static int run_on(const struct command *self, const char *directory, const struct drop_options *options) {
    struct dropped dropped;
    struct err err = ERR_INIT;

    if (spool_drop(directory, options, &dropped, &err)) {
        tell(&dropped);
        return EXIT_FINE;
    }
    fprintf(stderr, "heliograf %s: %s\n", self->name, err.text);
    if (err.code == ERR_FULL)
        fprintf(stderr, "stop it first (systemctl stop heliograf), drop, and start it again; or let it drop by itself: "
                        "agent.spool.max_age\n");
    return EXIT_FAILED;
}

static int run(const struct command *self, const struct args *args) {
    struct drop_options options = { .output = args_value(self, args, "output") };
    const char *directory;
    struct agent *agent;
    int code;

    if (!args_time(self, args, "before", &options.before_ns))
        return EXIT_USAGE;
    if (args_value(self, args, "yes") == NULL) {
        fprintf(stderr, "heliograf %s: what is dropped is gone for good; say --yes (`heliograf spool status` tells what waits, "
                        "`heliograf spool export` prints it)\n", self->name);
        return EXIT_USAGE;
    }
    code = spool_place(self, args, &agent, &directory);
    if (code != EXIT_FINE)
        return code;
    code = run_on(self, directory, &options);
    agent_free(agent);
    return code;
}

const struct command command_spool_drop = {
    .name = "spool drop",
    .summary = "Throw away what waits, for good; only while no agent runs",
    .usage = "[flags] --yes",
    .text = "  heliograf spool drop --config heliograf.yaml --output influxdb --yes\n"
            "  heliograf spool drop --config heliograf.yaml --before 7d --yes\n\n"
            "With --before, messages are dropped in the order in which they came, up to the first that is not older.\n"
            "Exit code 1: an agent runs on the directory, or it cannot be written.\n",
    .flags = flags,
    .takes_config = true,
    .run = run,
};
