/* agent/main.c: picks the command; flags without a command mean `run`. */
#include <stdio.h>

#include "agent/commands/command.h"

static int unknown(const char *word) {
    const char *names[32], *nearest;
    size_t count = 0;

    for (; count < 32 && commands[count] != NULL; count++)
        names[count] = commands[count]->name;
    nearest = cfg_nearest(word, names, count);
    if (nearest != NULL)
        fprintf(stderr, "heliograf: there is no command '%s'; did you mean '%s'?\n", word, nearest);
    else
        fprintf(stderr, "heliograf: there is no command '%s'; `heliograf help` lists them\n", word);
    return EXIT_USAGE;
}

int main(int argc, char **argv) {
    const struct command *command;
    struct args args;
    int skip = 2, code;

    if (argc < 2 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
        command = command_find("help");
        skip = argc < 2 ? 1 : 2;
    } else if (strcmp(argv[1], "--version") == 0) {
        command = command_find("version");
    } else if (argv[1][0] == '-') {
        command = command_find("run");
        skip = 1;
    } else {
        command = command_find(argv[1]);
        if (command == NULL)
            return unknown(argv[1]);
    }
    if (command->verbs != NULL && argc > skip && (strcmp(argv[skip], "--help") == 0 || strcmp(argv[skip], "-h") == 0))
        return command_help(command);
    if (command->verbs != NULL) {
        command = command_find_verb(command, argc > skip ? argv[skip] : NULL);
        if (command == NULL)
            return EXIT_USAGE;
        skip++;
    }
    if (command->run_words != NULL) {
        code = command->run_words(command, argc - skip, argv + skip);
    } else {
        code = args_parse(command, argc - skip, argv + skip, &args);
        if (code != EXIT_FINE)
            return code < 0 ? EXIT_FINE : code;
        code = command->run(command, &args);
    }
    /* A full disk or a closed pipe behind stdout is a failure too. */
    if ((ferror(stdout) != 0 || fflush(stdout) != 0) && code == EXIT_FINE)
        code = EXIT_FAILED;
    return code;
}
