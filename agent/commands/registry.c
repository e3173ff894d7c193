/* agent/commands/registry.c: the subcommands, one row each. */
#include "agent/commands/command.h"

extern const struct command command_run, command_check, command_explain, command_test, command_plugins, command_config,
    command_deadletter, command_spool, command_pub, command_sub, command_passwd, command_clients, command_version, command_help_page;

const struct command *const commands[] = {
    &command_run,        &command_check, &command_explain, &command_test, &command_plugins, &command_config,  &command_clients,
    &command_deadletter, &command_spool, &command_pub,     &command_sub,  &command_passwd,  &command_version, &command_help_page,
    NULL,
};

const struct command *command_find(const char *name) {
    for (size_t i = 0; commands[i] != NULL; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}
