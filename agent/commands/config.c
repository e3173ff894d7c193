/* agent/commands/config.c: a sample configuration, made from the option tables, so that it cannot go stale. */
#include <stdio.h>

#include "agent/commands/command.h"

static const struct flag flags[] = {
    { "full", NULL, "with the options that few need", 0 },
    { NULL, NULL, NULL, 0 },
};

static int run(const struct command *self, const struct args *args) {
    struct buf text = BUF_INIT(1 << 22);

    agent_sample_config(args_value(self, args, "full") != NULL, &text);
    fputs(buf_cstr(&text), stdout);
    buf_release(&text);
    return EXIT_FINE;
}

const struct command command_config = {
    .name = "config",
    .summary = "Print a commented sample configuration",
    .usage = "[flags]",
    .text = "  heliograf config > heliograf.yaml\n",
    .flags = flags,
    .run = run,
};
