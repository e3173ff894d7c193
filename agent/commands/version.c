/* agent/commands/version.c */
#include <stdio.h>

#include "agent/commands/command.h"

static int run(const struct command *self, const struct args *args) {
    (void)self;
    (void)args;
    printf("heliograf %s\n", HELIOGRAF_VERSION);
    return EXIT_FINE;
}

const struct command command_version = {
    .name = "version",
    .summary = "Print the version",
    .usage = "",
    .run = run,
};
