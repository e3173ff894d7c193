/*
 * agent/commands/deadletter_purge.c: deletes letters: by request where an agent runs, as the ring is the agent's; where none does, at
 * once, as its owner.
 */
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "agent/base/clock.h"
#include "agent/commands/deadletter.h"
#include "agent/commands/print.h"
#include "agent/delivery/dead_letter_ring.h"

static const int64_t patience_ns = 10 * NS_PER_S;

static const struct flag flags[] = {
    LETTER_PLACE_FLAG,
    LETTER_FILTER_FLAGS,
    { "all", NULL, "every letter", 0 },
    { "dry-run", NULL, "only say how many it would be", 0 },
    { NULL, NULL, NULL, 0 },
};

struct purging {
    const struct command *self;
    const struct letter_choice *choice;
    struct letter_ids handed_over, going;
    uint64_t kept; /* handed over for replay: not deleted before that is done */
    bool out_of_memory;
};

static bool choose(void *ctx, const struct dead_letter *letter) {
    struct purging *purging = ctx;

    if (!letter_is_chosen(purging->choice, letter))
        return true;
    if (letter_ids_has(&purging->handed_over, letter->id))
        purging->kept++;
    else if (!letter_ids_add(&purging->going, letter->id))
        purging->out_of_memory = true;
    return !purging->out_of_memory;
}

static bool find(struct purging *purging, const char *directory, struct err *err) {
    struct dead_letters_found found;

    if (!inbox_ids(directory, &purging->handed_over, err) || !dead_letters_read(directory, choose, purging, &found, err))
        return false;
    letter_ids_sort(&purging->going);
    return !purging->out_of_memory || err_set(err, ERR_LIMIT, "no memory for so many letters");
}

static bool is_going(void *ctx, uint64_t id) {
    const struct purging *purging = ctx;

    return letter_ids_has(&purging->going, id);
}

/* As the ring's owner. ERR_FULL: there is an agent now. */
static bool delete_here(struct purging *purging, const char *directory, struct err *err) {
    struct ring ring;
    uint64_t removed = 0;
    bool fine;

    if (!ring_open(&ring, directory, INT64_MAX, err))
        return false;
    fine = ring_remove(&ring, is_going, purging, &removed, err);
    ring_close(&ring);
    if (fine || removed > 0)
        fprintf(stderr, "purged %llu letter%s\n", (unsigned long long)removed, print_plural(removed));
    return fine;
}

static bool is_there(const char *directory, const char *name) {
    struct inbox_names names = { 0 };
    bool there = false;

    inbox_list(directory, &names, NULL);
    for (size_t i = 0; i < names.count; i++)
        there = there || strcmp(names.items[i], name) == 0;
    inbox_names_release(&names);
    return there;
}

/* The agent is quick, unless it has no disk or much to do. */
static bool wait_until_done(const char *directory, const char *name) {
    int64_t until = clock_mono_ns() + patience_ns;

    while (is_there(directory, name)) {
        if (clock_mono_ns() > until)
            return false;
        nanosleep(&(struct timespec){ 0, 50 * NS_PER_MS }, NULL);
    }
    return true;
}

static bool hand_over(struct purging *purging, const char *directory, struct err *err) {
    struct inbox_writer writer;
    bool fine = inbox_open(&writer, directory, err);

    for (size_t i = 0; fine && i < purging->going.count; i++)
        fine = inbox_add_purge(&writer, purging->going.items[i], err);
    fine = fine && inbox_finish(&writer, err);
    inbox_close(&writer);
    if (!fine)
        return false;
    if (wait_until_done(directory, writer.last_name))
        fprintf(stderr, "purged %zu letter%s\n", writer.handed_over, print_plural(writer.handed_over));
    else
        fprintf(stderr, "the agent has been asked to purge %zu letter%s and has not done it within %lld s; its log says why\n",
                writer.handed_over, print_plural(writer.handed_over), (long long)(patience_ns / NS_PER_S));
    return true;
}

static bool purge(struct purging *purging, const char *directory, struct err *err) {
    if (purging->going.count == 0) {
        fprintf(stderr, "there is nothing to purge\n");
        return true;
    }
    if (!ring_in_use(directory)) {
        if (delete_here(purging, directory, err))
            return true;
        if (err->code != ERR_FULL)
            return false;
        err_clear(err);
    }
    return hand_over(purging, directory, err);
}

static int run_on(struct purging *purging, const char *directory, bool dry) {
    struct err err = ERR_INIT;
    bool fine = find(purging, directory, &err);

    if (fine && dry)
        fprintf(stderr, "%zu letter%s would be purged\n", purging->going.count, print_plural(purging->going.count));
    else if (fine)
        fine = purge(purging, directory, &err);
    if (!fine)
        fprintf(stderr, "heliograf %s: %s\n", purging->self->name, err.text);
    else if (purging->kept > 0)
        fprintf(stderr, "%llu letter%s handed over for replay, and %s\n", (unsigned long long)purging->kept,
                purging->kept == 1 ? " is" : "s are", purging->kept == 1 ? "goes with it" : "go with it");
    return fine ? EXIT_FINE : EXIT_FAILED;
}

static int run(const struct command *self, const struct args *args) {
    struct purging purging = { .self = self };
    struct letter_choice choice;
    struct letter_place place;
    int code;

    if (!letter_choice_read(self, args, &choice))
        return EXIT_USAGE;
    if (choice.narrowed == (args_value(self, args, "all") != NULL)) {
        fprintf(stderr, "heliograf %s: say which letters: ids, filters, or --all\n", self->name);
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    code = letter_place_open(self, args, false, &place);
    if (code != EXIT_FINE)
        return code;
    purging.choice = &choice;
    code = EXIT_FAILED;
    if (letter_choice_resolve(self, &choice, place.directory))
        code = run_on(&purging, place.directory, args_value(self, args, "dry-run") != NULL);
    letter_ids_release(&purging.handed_over);
    letter_ids_release(&purging.going);
    letter_place_close(&place);
    return code;
}

const struct command command_deadletter_purge = {
    .name = "deadletter purge",
    .summary = "Delete letters, for good",
    .usage = "[flags] [ID...|--all]",
    .text = "  heliograf deadletter purge --config heliograf.yaml --older-than 7d\n"
            "  heliograf deadletter purge --directory /mnt/old/dead-letters --all\n\n"
            "Beside a running agent the agent does it, within 2 s. Letters that were handed over for replay and are not\n"
            "taken yet stay until they are.\n",
    .flags = flags,
    .takes_config = true,
    .words_max = VALUES_MAX,
    .run = run,
};
