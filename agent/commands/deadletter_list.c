/* agent/commands/deadletter_list.c: one line per letter, newest last. */
#include <stdio.h>

#include "agent/commands/deadletter.h"
#include "agent/commands/print.h"

static const struct flag flags[] = {
    LETTER_PLACE_FLAG,
    LETTER_FILTER_FLAGS,
    { "limit", "N", "only the newest N", 'n' },
    { "json", NULL, "whole letters, one JSON object per line", 0 },
    { NULL, NULL, NULL, 0 },
};

struct listing {
    const struct letter_choice *choice;
    struct letter_ids handed_over;
    uint64_t chosen, skip, printed, waiting;
    bool json;
    struct buf line;
};

static bool count(void *ctx, const struct dead_letter *letter) {
    struct listing *listing = ctx;

    listing->chosen += letter_is_chosen(listing->choice, letter);
    return true;
}

static void print_letter(struct listing *listing, const struct dead_letter *letter, bool handed_over) {
    struct buf *line = &listing->line;
    char id[LETTER_ID_LEN + 1], when[PRINT_TIME_MAX];
    size_t column;

    letter_id_print(id, letter->id);
    buf_reset(line);
    buf_printf(line, "%s  %s  ", id, print_time(when, letter->time_ns, false));
    column = line->len;
    print_short(line, letter->topic, 60);
    while (line->len < column + 28)
        buf_append_char(line, ' ');
    buf_append_c(line, "  ");
    column = line->len;
    print_short(line, letter->reason, 24);
    while (line->len < column + 13)
        buf_append_char(line, ' ');
    buf_append_c(line, "  ");
    print_short(line, letter->data, 60);
    printf("%s%s\n", buf_cstr(line), handed_over ? "  [handed over]" : "");
}

/* False when nobody reads any more. */
static bool list(void *ctx, const struct dead_letter *letter) {
    struct listing *listing = ctx;
    bool handed_over = letter_ids_has(&listing->handed_over, letter->id);

    if (!letter_is_chosen(listing->choice, letter))
        return true;
    if (listing->skip > 0) {
        listing->skip--;
        return true;
    }
    listing->printed++;
    listing->waiting += handed_over;
    if (listing->json)
        letter_print_json(letter, handed_over ? "\"handed_over\":true" : "\"handed_over\":false");
    else
        print_letter(listing, letter, handed_over);
    return ferror(stdout) == 0;
}

static void summarize(const struct listing *listing, const struct dead_letters_found *found, const char *directory) {
    unsigned long long printed = listing->printed, waiting = listing->waiting, skipped = found->skipped_lines;

    fprintf(stderr, "%llu dead letter%s", printed, print_plural(printed));
    if (found->letters > listing->printed)
        fprintf(stderr, " of %llu", (unsigned long long)found->letters);
    fprintf(stderr, " in %s", directory);
    if (waiting > 0)
        fprintf(stderr, ", %llu of them handed over to the agent", waiting);
    if (skipped > 0)
        fprintf(stderr, "; %llu line%s there %s no letters", skipped, print_plural(skipped), skipped == 1 ? "is" : "are");
    fprintf(stderr, "%s\n", printed > 0 ? "; `heliograf deadletter show ID` tells all about one" : "");
}

static int list_all(const struct command *self, const char *directory, struct listing *listing, int64_t limit) {
    struct dead_letters_found found;
    struct err err = ERR_INIT;

    if (limit > 0 && !dead_letters_read(directory, count, listing, &found, &err)) {
        fprintf(stderr, "heliograf %s: %s\n", self->name, err.text);
        return EXIT_FAILED;
    }
    if (limit > 0 && listing->chosen > (uint64_t)limit)
        listing->skip = listing->chosen - (uint64_t)limit;
    if (!inbox_ids(directory, &listing->handed_over, &err) || !dead_letters_read(directory, list, listing, &found, &err)) {
        fprintf(stderr, "heliograf %s: %s\n", self->name, err.text);
        return EXIT_FAILED;
    }
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        summarize(listing, &found, directory);
    return EXIT_FINE;
}

static int run(const struct command *self, const struct args *args) {
    const char *limit_text = args_value(self, args, "limit");
    struct listing listing = { .json = args_value(self, args, "json") != NULL, .line = BUF_INIT(1 << 16) };
    struct letter_choice choice;
    struct letter_place place;
    int64_t limit = 0;
    int code;

    if (!letter_choice_read(self, args, &choice))
        return EXIT_USAGE;
    if (limit_text != NULL && (!str_to_int64(str_of(limit_text), &limit) || limit < 1)) {
        fprintf(stderr, "heliograf %s: --limit: expected a number from 1 on, not '%s'\n", self->name, limit_text);
        return EXIT_USAGE;
    }
    code = letter_place_open(self, args, false, &place);
    if (code != EXIT_FINE)
        return code;
    listing.choice = &choice;
    code = list_all(self, place.directory, &listing, limit);
    letter_ids_release(&listing.handed_over);
    buf_release(&listing.line);
    letter_place_close(&place);
    return code;
}

const struct command command_deadletter_list = {
    .name = "deadletter list",
    .summary = "One line per letter: id, time, topic, reason, data; the newest last",
    .usage = "[flags]",
    .text = "  heliograf deadletter list --config heliograf.yaml --since 1h\n"
            "  heliograf deadletter list --directory /var/lib/heliograf/dead-letters --json | jq .detail\n\n"
            "Without --directory, the configuration says where the letters are.\n",
    .flags = flags,
    .takes_config = true,
    .run = run,
};
