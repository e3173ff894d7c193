/* agent/commands/spool.c: `heliograf spool`: the group, and spool.h. */
#include "agent/commands/spool.h"

#include <stdio.h>

#include "agent/commands/print.h"

int spool_place(const struct command *self, const struct args *args, struct agent **agent, const char **directory) {
    *agent = NULL;
    *directory = args_value(self, args, "directory");
    if (*directory != NULL)
        return EXIT_FINE;
    *agent = load_or_complain(args, AGENT_OFFLINE);
    if (*agent == NULL)
        return EXIT_CONFIGURATION;
    *directory = agent_spool_directory(*agent);
    if (*directory != NULL)
        return EXIT_FINE;
    fprintf(stderr, "heliograf %s: the configuration keeps the spool in memory (agent.spool.sync): there is nothing on disk\n", self->name);
    agent_free(*agent);
    *agent = NULL;
    return EXIT_FAILED;
}

int spool_look(const struct command *self, const char *directory, struct inspection *inspection) {
    struct progress progress = { .what = "reading" };
    const struct inspect_options options = { print_progress, &progress };
    struct err err = ERR_INIT;
    bool fine = spool_inspect(directory, &options, inspection, &err);

    print_progress_end(&progress);
    if (fine)
        return EXIT_FINE;
    fprintf(stderr, "heliograf %s: %s\n", self->name, err.text);
    inspection_release(inspection);
    return EXIT_FAILED;
}

const char *spool_state_name(enum inspect_state state) {
    switch (state) {
    case INSPECT_PENDING:
        return "pending";
    case INSPECT_SETTLED:
        return "settled";
    case INSPECT_FOREIGN:
        return "foreign";
    case INSPECT_UNREADABLE:
        break;
    }
    return "unreadable";
}

static const struct command *const verbs[] = {
    &command_spool_status, &command_spool_list, &command_spool_export, &command_spool_verify, &command_spool_drop, NULL,
};

const struct command command_spool = {
    .name = "spool",
    .summary = "The spool on disk: status, list, export, verify, drop",
    .usage = "VERB [flags]",
    .text = "  heliograf spool status --config heliograf.yaml\n"
            "  heliograf spool export --directory /mnt/old/spool --pending-only | influx write --bucket telemetry\n\n"
            "All but drop work beside a running agent, whom they do not disturb, and on the directory of one that is\n"
            "stopped, also on another machine (--directory). Without --directory, the configuration says where it is.\n",
    .verbs = verbs,
};
