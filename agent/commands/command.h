/*
 * agent/commands/command.h: what every subcommand promises, and what they share. Data goes to stdout, messages to stderr. One
 * file a command; the registry lists them.
 */
#ifndef HELIOGRAF_COMMANDS_COMMAND_H
#define HELIOGRAF_COMMANDS_COMMAND_H

#include "agent/base/buf.h"
#include "agent/wiring.h"

enum exit_code {
    EXIT_FINE = 0,
    EXIT_FAILED = 1,
    EXIT_TIMED_OUT = 27,     /* as mosquitto_sub's */
    EXIT_USAGE = 64,         /* sysexits.h EX_USAGE */
    EXIT_CONFIGURATION = 78, /* sysexits.h EX_CONFIG */
};

/* One flag; long names only, a letter where mosquitto or Telegraf users expect one. */
struct flag {
    const char *name, *value; /* value: what it takes, in words ("FILE"); NULL for a switch */
    const char *help;
    char letter; /* 0: none */
};

#define VALUES_MAX 64

/* The command line after parsing; strings are those of argv. */
struct args {
    const char *values[16];       /* by the flag's place in the table; the last one wins; "" for a switch that was given */
    const char *configs[VALUES_MAX], *directories[VALUES_MAX];
    size_t config_count, directory_count;
    const char *words[VALUES_MAX]; /* what is no flag */
    size_t word_count;
};

struct command {
    const char *name, *summary;
    const char *usage;       /* behind the name: "[flags] [PAYLOAD|-]" */
    const char *text;        /* a few lines for --help, with an example first */
    const struct flag *flags; /* own ones, ended by a row without a name; at most 16 */
    bool takes_config;       /* --config and --config-directory too */
    size_t words_max;
    int (*run)(const struct command *self, const struct args *args);
    /* Instead of `flags` and `run`, for flags that are not of this table's kind: the words behind the name, and the list for --help. */
    int (*run_words)(const struct command *self, int argc, char **argv);
    void (*print_flags)(void);
    /* A command that is a group: `heliograf deadletter list`. NULL-ended; their names are "deadletter list" and so on. */
    const struct command *const *verbs;
};

extern const struct command *const commands[]; /* NULL-ended, in the order of `help` */

const struct command *command_find(const char *name);
/* Of a group. NULL when there is none of that name (NULL: none was given): words are on stderr. */
const struct command *command_find_verb(const struct command *group, const char *name);
int command_help(const struct command *command); /* to stdout */

/* Parses what follows the command's name. EXIT_USAGE with words on stderr, EXIT_FINE, or -1 when --help was printed. */
int args_parse(const struct command *command, int argc, char **argv, struct args *args);
/* The value of an own flag, NULL when it was not given. */
const char *args_value(const struct command *command, const struct args *args, const char *flag);
/*
 * A flag's moment: a duration, that long ago (`1h`), or a time (`2026-11-22T21:30:00Z`, `2026-11-22`: UTC). False with words
 * on stderr; `*time_ns` stays as it is when the flag was not given.
 */
bool args_time(const struct command *command, const struct args *args, const char *flag, int64_t *time_ns);

/*
 * The agent as --config and --config-directory say, by default /etc/heliograf/heliograf.yaml. On failure prints every complaint
 * and returns NULL; warnings are printed in any case.
 */
struct agent *load_or_complain(const struct args *args, enum agent_purpose purpose);

/*
 * A password: asked for twice on a terminal, without echo; otherwise the first line of standard input. Never empty. `out` is filled from nothing, and
 * secret_release wipes it, in any case.
 */
bool secret_read(struct buf *out, struct err *err);
void secret_release(struct buf *secret);

/* Reads the `tests:` without running them; complaints go to stderr. True when there is nothing wrong with them, or none. */
bool tests_are_readable(const struct agent *agent);

#endif
