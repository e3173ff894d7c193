/* agent/commands/spool_export.c: the spool's lines on standard output, as any InfluxDB reads them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "agent/commands/print.h"
#include "agent/commands/spool.h"

static const struct flag flags[] = {
    SPOOL_PLACE_FLAG,
    { "output", "NAME", "only lines for this output", 0 },
    { "since", "TIME", "only of messages that came from then on: 1h (ago), or 2026-11-22T21:30:00Z", 0 },
    { "until", "TIME", "only of messages that came before then", 0 },
    { "pending-only", NULL, "only what still waits for an output (with --output: for that one)", 0 },
    { NULL, NULL, NULL, 0 },
};

static bool write_lines(void *ctx, struct str lines) {
    (void)ctx;
    return fwrite(lines.data, 1, lines.len, stdout) == lines.len && ferror(stdout) == 0;
}

/* Quiet when whoever read has gone. */
static int end(const struct command *self, const struct exported *exported) {
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        if (errno != EPIPE)
            fprintf(stderr, "heliograf %s: cannot write to standard output\n", self->name);
        return EXIT_FAILED;
    }
    fprintf(stderr, "%" PRIu64 " line%s of %" PRIu64 " message%s\n", exported->lines, print_plural(exported->lines), exported->records,
            print_plural(exported->records));
    if (exported->damaged_bytes == 0 && exported->lost_records == 0)
        return EXIT_FINE;
    fprintf(stderr, "%" PRIu64 " bytes are damaged and were passed over, at least %" PRIu64 " records are lost; `heliograf spool verify` "
                    "says where\n", exported->damaged_bytes, exported->lost_records);
    return EXIT_FAILED;
}

static int run_on(const struct command *self, const char *directory, const struct export_options *options) {
    struct exported exported;
    struct err err = ERR_INIT;

    if (spool_export(directory, options, &exported, &err))
        return end(self, &exported);
    fflush(stdout);
    fprintf(stderr, "heliograf %s: %s\n", self->name, err.text);
    return EXIT_FAILED;
}

static int run(const struct command *self, const struct args *args) {
    struct export_options options = {
        .output = args_value(self, args, "output"),
        .pending_only = args_value(self, args, "pending-only") != NULL,
        .write = write_lines,
    };
    const char *directory;
    struct agent *agent;
    int code;

    if (!args_time(self, args, "since", &options.since_ns) || !args_time(self, args, "until", &options.until_ns))
        return EXIT_USAGE;
    code = spool_place(self, args, &agent, &directory);
    if (code != EXIT_FINE)
        return code;
    code = run_on(self, directory, &options);
    agent_free(agent);
    return code;
}

const struct command command_spool_export = {
    .name = "spool export",
    .summary = "Print the spool's line protocol, oldest first",
    .usage = "[flags]",
    .text = "  heliograf spool export --directory /mnt/old/spool --pending-only > lines.lp\n"
            "  heliograf spool export --config heliograf.yaml --output influxdb --since 1h\n\n"
            "Stamps are in nanoseconds. Beside a running agent nothing is locked, and nothing is printed that is not safely\n"
            "on disk; what is let go while it is read may be missing, what waits is not. Without --pending-only, lines that\n"
            "were stored already are printed too, as long as their segment is there: storing them again changes nothing.\n"
            "Exit code 1: something could not be read, or not be written.\n",
    .flags = flags,
    .takes_config = true,
    .run = run,
};
