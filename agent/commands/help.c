/* agent/commands/help.c: the list of commands, or the help of one. */
#include <stdio.h>

#include "agent/commands/command.h"

static int help_of(const struct args *args) {
    const struct command *wanted = command_find(args->words[0]);

    if (wanted == NULL || (args->word_count > 1 && wanted->verbs == NULL)) {
        fprintf(stderr, "heliograf: there is no command '%s%s%s'\n", args->words[0], args->word_count > 1 ? " " : "",
                args->word_count > 1 ? args->words[1] : "");
        return EXIT_USAGE;
    }
    if (args->word_count > 1)
        wanted = command_find_verb(wanted, args->words[1]);
    return wanted != NULL ? command_help(wanted) : EXIT_USAGE;
}

static int run(const struct command *self, const struct args *args) {
    (void)self;
    if (args->word_count > 0)
        return help_of(args);
    printf("Heliograf collects telemetry from MQTT and writes it to InfluxDB.\n\n"
           "usage: heliograf COMMAND [flags]        heliograf --config FILE is short for run\n\n"
           "  heliograf config > heliograf.yaml      a sample to start from\n"
           "  heliograf check --config heliograf.yaml --connect\n"
           "  heliograf run --config heliograf.yaml\n\n"
           "commands:\n");
    for (size_t i = 0; commands[i] != NULL; i++)
        printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
    printf("\n`heliograf help COMMAND` tells more. Exit codes: 0 fine, 1 failed, 27 timed out (pub, sub), 64 usage, 78 configuration.\n");
    return EXIT_FINE;
}

const struct command command_help_page = {
    .name = "help",
    .summary = "This list, or the help of one command",
    .usage = "[COMMAND [VERB]]",
    .words_max = 2,
    .run = run,
};
