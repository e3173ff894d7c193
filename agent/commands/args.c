/* agent/commands/args.c: the command line. */
#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/commands/command.h"
#include "parsers/time_format.h"

static const struct flag config_flag = { "config", "FILE", "configuration; repeat it to merge several; - is standard input", 0 };
static const struct flag directory_flag = { "config-directory", "DIR", "every *.yaml and *.yml in it is merged in too", 0 };

static size_t flag_count(const struct command *command) {
    size_t count = 0;

    while (command->flags != NULL && command->flags[count].name != NULL)
        count++;
    return count;
}

/* -1 when it is none of this command's own flags. */
static int own_flag(const struct command *command, struct str name, char letter) {
    for (size_t i = 0; i < flag_count(command); i++)
        if (letter != 0 ? command->flags[i].letter == letter : str_eq_c(name, command->flags[i].name))
            return (int)i;
    return -1;
}

static int unknown_flag(const struct command *command, struct str name) {
    const char *names[20] = { "help" }, *nearest;
    size_t count = 1;
    char text[128];

    for (size_t i = 0; i < flag_count(command); i++)
        names[count++] = command->flags[i].name;
    if (command->takes_config) {
        names[count++] = config_flag.name;
        names[count++] = directory_flag.name;
    }
    snprintf(text, sizeof text, "%.*s", STR_ARGS(name));
    nearest = cfg_nearest(text, names, count);
    if (nearest != NULL)
        fprintf(stderr, "heliograf %s: unknown flag --%s; did you mean --%s?\n", command->name, text, nearest);
    else
        fprintf(stderr, "heliograf %s: unknown flag --%s; see heliograf %s --help\n", command->name, text, command->name);
    return EXIT_USAGE;
}

static bool add_config(const char **list, size_t *count, const char *value) {
    if (*count == VALUES_MAX)
        return false;
    list[(*count)++] = value;
    return true;
}

static bool store(const struct command *command, struct args *args, struct str name, int own, const char *value) {
    if (own >= 0) {
        args->values[own] = command->flags[own].value != NULL ? value : "";
        return true;
    }
    if (str_eq_c(name, config_flag.name))
        return add_config(args->configs, &args->config_count, value);
    return add_config(args->directories, &args->directory_count, value);
}

/* One flag at argv[*i]; moves on over its value. */
static int parse_flag(const struct command *command, int argc, char **argv, int *i, struct args *args) {
    const char *word = argv[*i], *value = NULL;
    struct str name = str_of(word + 2);
    char letter = 0;
    int own;

    if (word[1] != '-') {
        letter = word[1];
        name = str_make(word + 1, 1);
        value = word[2] != '\0' ? word + 2 : NULL;
    } else if (strchr(word, '=') != NULL) {
        value = strchr(word, '=') + 1;
        name.len = (size_t)(value - word) - 3;
    }
    if (letter == 'h' || str_eq_c(name, "help")) {
        command_help(command);
        return -1;
    }
    own = own_flag(command, name, letter);
    bool config = command->takes_config && letter == 0 && (str_eq_c(name, config_flag.name) || str_eq_c(name, directory_flag.name));
    if (own < 0 && !config)
        return unknown_flag(command, name);
    bool takes_value = config || command->flags[own].value != NULL;
    if (takes_value && value == NULL) {
        if (*i + 1 == argc) {
            fprintf(stderr, "heliograf %s: --%.*s needs a value\n", command->name, STR_ARGS(name));
            return EXIT_USAGE;
        }
        value = argv[++*i];
    }
    if (!takes_value && value != NULL) {
        fprintf(stderr, "heliograf %s: --%.*s takes no value\n", command->name, STR_ARGS(name));
        return EXIT_USAGE;
    }
    if (!store(command, args, name, own, value)) {
        fprintf(stderr, "heliograf %s: more than %d configurations\n", command->name, VALUES_MAX);
        return EXIT_USAGE;
    }
    return EXIT_FINE;
}

int args_parse(const struct command *command, int argc, char **argv, struct args *args) {
    bool only_words = false;

    *args = (struct args){ 0 };
    for (int i = 0; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0') {
            int code = parse_flag(command, argc, argv, &i, args);
            if (code != EXIT_FINE)
                return code;
        } else if (args->word_count == command->words_max || args->word_count == VALUES_MAX) {
            fprintf(stderr, "heliograf %s: unexpected '%s'; see heliograf %s --help\n", command->name, argv[i], command->name);
            return EXIT_USAGE;
        } else {
            args->words[args->word_count++] = argv[i];
        }
    }
    return EXIT_FINE;
}

const char *args_value(const struct command *command, const struct args *args, const char *flag) {
    int own = own_flag(command, str_of(flag), 0);

    return own >= 0 ? args->values[own] : NULL;
}

bool args_time(const struct command *command, const struct args *args, const char *flag, int64_t *time_ns) {
    static const char *const layouts[] = { "RFC3339", "2006-01-02T15:04:05", "2006-01-02" };
    const char *text = args_value(command, args, flag);
    int64_t now_ns = clock_real_ns(), ago_ns;
    bool read = false;

    if (text == NULL)
        return true;
    if (cfg_parse_duration(str_of(text), &ago_ns)) {
        *time_ns = now_ns - ago_ns;
        return true;
    }
    for (size_t i = 0; !read && i < sizeof layouts / sizeof layouts[0]; i++) {
        struct time_format *format = time_format_new(layouts[i], "", NULL);
        read = format != NULL && time_format_read(format, str_of(text), false, now_ns, time_ns, NULL);
        time_format_free(format);
    }
    if (!read)
        fprintf(stderr, "heliograf %s: --%s: expected a duration such as 1h, or a time such as 2026-11-22T21:30:00Z, not '%s'\n",
                command->name, flag, text);
    return read;
}

static void print_flag(const struct flag *flag) {
    char left[64];

    snprintf(left, sizeof left, "%s%c%s--%s%s%s", flag->letter != 0 ? "-" : " ", flag->letter != 0 ? flag->letter : ' ',
             flag->letter != 0 ? ", " : "  ", flag->name, flag->value != NULL ? " " : "", flag->value != NULL ? flag->value : "");
    printf("  %-32s %s\n", left, flag->help);
}

static void print_verbs(const struct command *group, FILE *out) {
    for (size_t i = 0; group->verbs[i] != NULL; i++)
        fprintf(out, "  %-18s %s\n", group->verbs[i]->name, group->verbs[i]->summary);
}

static int verbs_help(const struct command *group) {
    printf("\n");
    print_verbs(group, stdout);
    printf("\n`heliograf %s VERB --help` tells more about each.\n", group->name);
    return EXIT_FINE;
}

const struct command *command_find_verb(const struct command *group, const char *name) {
    const char *names[8], *nearest;
    size_t skip = strlen(group->name) + 1, count = 0;

    for (; group->verbs[count] != NULL; count++) {
        names[count] = group->verbs[count]->name + skip;
        if (name != NULL && strcmp(names[count], name) == 0)
            return group->verbs[count];
    }
    nearest = name != NULL ? cfg_nearest(name, names, count) : NULL;
    if (nearest != NULL)
        fprintf(stderr, "heliograf %s: there is no '%s'; did you mean '%s'?\n", group->name, name, nearest);
    else if (name != NULL)
        fprintf(stderr, "heliograf %s: there is no '%s'; there are:\n", group->name, name);
    else
        fprintf(stderr, "heliograf %s: what of it?\n", group->name);
    if (nearest == NULL)
        print_verbs(group, stderr);
    return NULL;
}

int command_help(const struct command *command) {
    static const struct flag help_flag = { "help", NULL, "this text", 'h' };

    printf("usage: heliograf %s %s\n\n%s.\n", command->name, command->usage, command->summary);
    if (command->text != NULL)
        printf("\n%s", command->text);
    if (command->print_flags != NULL) {
        command->print_flags();
        return EXIT_FINE;
    }
    if (command->verbs != NULL)
        return verbs_help(command);
    printf("\nflags:\n");
    for (size_t i = 0; i < flag_count(command); i++)
        print_flag(&command->flags[i]);
    if (command->takes_config) {
        print_flag(&config_flag);
        print_flag(&directory_flag);
    }
    print_flag(&help_flag);
    return EXIT_FINE;
}

struct agent *load_or_complain(const struct args *args, enum agent_purpose purpose) {
    static const char *usual[] = { "/etc/heliograf/heliograf.yaml" };
    struct config_sources sources = {
        .files = (const char **)args->configs,
        .file_count = args->config_count,
        .directories = (const char **)args->directories,
        .directory_count = args->directory_count,
    };
    struct diags diags = { 0 };
    struct agent *agent;

    if (sources.file_count == 0 && sources.directory_count == 0) {
        sources.files = usual;
        sources.file_count = 1;
    }
    agent = agent_load(&sources, purpose, &diags);
    diags_print(&diags, stderr);
    if (agent == NULL)
        fprintf(stderr, "heliograf: no memory\n");
    if (diags.errors > 0) {
        agent_free(agent);
        agent = NULL;
        fprintf(stderr, "heliograf: %zu error%s in the configuration; nothing was started\n", diags.errors,
                diags.errors == 1 ? "" : "s");
    }
    diags_release(&diags);
    return agent;
}
