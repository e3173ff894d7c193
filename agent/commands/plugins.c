/* agent/commands/plugins.c: what this program can read, parse and write, from the registries. */
#include <stdio.h>

#include "agent/commands/command.h"

static int list(void) {
    struct agent_plugin plugin;
    const char *kind = "";

    for (size_t i = 0; agent_plugin(i, &plugin); i++) {
        if (strcmp(kind, plugin.kind) != 0)
            printf("%s%ss\n", i > 0 ? "\n" : "", plugin.kind);
        kind = plugin.kind;
        printf("  %-16s %s\n", plugin.name, plugin.summary);
    }
    printf("\n`heliograf plugins NAME` prints the options of one.\n");
    return EXIT_FINE;
}

static int show(const char *name) {
    struct buf text = BUF_INIT(1 << 20);
    struct agent_plugin plugin;
    bool found = false;

    for (size_t i = 0; agent_plugin(i, &plugin); i++) {
        if (strcmp(plugin.name, name) != 0)
            continue;
        printf("%s# %s %s: %s\n", found ? "\n" : "", plugin.kind, plugin.name, plugin.summary);
        buf_reset(&text);
        cfg_sample(plugin.options, 0, &text);
        fputs(buf_cstr(&text), stdout);
        found = true;
    }
    buf_release(&text);
    if (!found)
        fprintf(stderr, "heliograf plugins: there is no plug-in '%s'; `heliograf plugins` lists them\n", name);
    return found ? EXIT_FINE : EXIT_FAILED;
}

static int run(const struct command *self, const struct args *args) {
    (void)self;
    return args->word_count == 0 ? list() : show(args->words[0]);
}

const struct command command_plugins = {
    .name = "plugins",
    .summary = "List the broker, inputs, parsers and outputs, or print the options of one",
    .usage = "[NAME]",
    .text = "  heliograf plugins json\n"
            "  heliograf plugins broker\n",
    .words_max = 1,
    .run = run,
};
