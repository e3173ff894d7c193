/* agent/commands/spool.h: what the verbs of `spool` share. */
#ifndef HELIOGRAF_COMMANDS_SPOOL_H
#define HELIOGRAF_COMMANDS_SPOOL_H

#include "agent/commands/command.h"
#include "agent/spool/inspect.h"

#define SPOOL_PLACE_FLAG { "directory", "DIR", "the spool's directory, instead of the configuration's", 0 }

/* The directory that is meant; `agent` keeps its name. EXIT_FINE, or an exit code with words on stderr. */
int spool_place(const struct command *self, const struct args *args, struct agent **agent, const char **directory);

/* As spool_inspect, with progress on a terminal. EXIT_FINE, or EXIT_FAILED with words on stderr. */
int spool_look(const struct command *self, const char *directory, struct inspection *inspection);

/* "pending", "settled", ... */
const char *spool_state_name(enum inspect_state state);

extern const struct command command_spool_status, command_spool_list, command_spool_export, command_spool_verify,
    command_spool_drop;

#endif
