/*
 * agent/commands/deadletter_replay.c: letters through today's configuration. What it makes of them is handed over to the agent as a
 * file (agent/delivery/inbox.h); what it makes nothing of stays a letter.
 */
#include <cjson/cJSON.h>
#include <signal.h>
#include <stdio.h>

#include "agent/commands/deadletter.h"
#include "agent/commands/print.h"
#include "agent/delivery/dead_letter_ring.h"
#include "agent/delivery/json_text.h"

enum { REASONS_SHOWN = 20, TEXT_MAX = 64 << 20 };

static const struct flag flags[] = {
    LETTER_PLACE_FLAG,
    LETTER_FILTER_FLAGS,
    { "all", NULL, "every letter", 0 },
    { "dry-run", NULL, "only say what would be sent: line protocol on standard output", 0 },
    { "json", NULL, "one JSON object per letter: id, topic, result, reason", 0 },
    { NULL, NULL, NULL, 0 },
};

struct replaying {
    const struct command *self;
    const struct letter_choice *choice;
    const struct agent *agent;
    struct inbox_writer *writer; /* NULL: a dry run */
    struct letter_ids handed_over; /* before */
    struct letter_lines lines;
    bool json;
    uint64_t ready, staying, before;
    struct err trouble; /* handing over does not work */
};

/* `reason` and `lines` may be NULL. */
static void print_json(const struct dead_letter *letter, const char *result, const char *reason, const struct letter_lines *lines) {
    cJSON *object = cJSON_CreateObject(), *list;
    char id[LETTER_ID_LEN + 1], *text;

    letter_id_print(id, letter->id);
    cJSON_AddStringToObject(object, "id", id);
    json_add_text(object, "topic", letter->topic);
    cJSON_AddStringToObject(object, "result", result);
    if (reason != NULL)
        json_add_text(object, "reason", str_of(reason));
    if (lines != NULL) {
        list = cJSON_AddArrayToObject(object, "lines");
        for (size_t i = 0; i < lines->count; i++) {
            cJSON *item = cJSON_CreateObject();
            json_add_data(item, "text", "text_base64", lines->records[i].text);
            cJSON_AddItemToArray(list, item);
        }
    }
    text = cJSON_PrintUnformatted(object);
    if (text != NULL)
        printf("%s\n", text);
    cJSON_free(text);
    cJSON_Delete(object);
}

static void print_lines(const struct replaying *replaying, const struct dead_letter *letter) {
    const struct letter_lines *lines = &replaying->lines;
    const char *const *names;
    char id[LETTER_ID_LEN + 1];

    agent_outputs(replaying->agent, &names);
    letter_id_print(id, letter->id);
    for (size_t i = 0; i < lines->count; i++) {
        printf("# %s for", id);
        for (uint64_t left = lines->records[i].outputs; left != 0; left &= left - 1)
            printf(" %s", names[__builtin_ctzll(left)]);
        printf("\n%.*s", STR_ARGS(lines->records[i].text));
    }
}

static void tell_staying(const struct replaying *replaying, const struct dead_letter *letter, const struct err *why) {
    struct buf words = BUF_INIT(8192);
    char id[LETTER_ID_LEN + 1];

    letter_id_print(id, letter->id);
    print_short(&words, letter->topic, 80);
    buf_append_c(&words, "  stays: ");
    print_short(&words, str_of(why->text), 300); /* may quote the payload */
    if (replaying->staying <= REASONS_SHOWN)
        fprintf(stderr, "%s  %s\n", id, buf_cstr(&words));
    else if (replaying->staying == REASONS_SHOWN + 1)
        fprintf(stderr, "... and more; --json tells of each\n");
    buf_release(&words);
}

static void stay(struct replaying *replaying, const struct dead_letter *letter, const struct err *why) {
    replaying->staying++;
    if (replaying->json)
        print_json(letter, "stays", why->text, NULL);
    else
        tell_staying(replaying, letter, why);
}

/* False: it makes no sense to go on. */
static bool send(struct replaying *replaying, const struct dead_letter *letter) {
    const struct letter_lines *lines = &replaying->lines;
    const char *const *names;
    struct err err = ERR_INIT;

    agent_outputs(replaying->agent, &names);
    if (replaying->writer != NULL && !inbox_add(replaying->writer, letter->id, lines->records, lines->count, names, &err)) {
        if (err.code != ERR_LIMIT) {
            replaying->trouble = err;
            return false;
        }
        stay(replaying, letter, &err); /* one that is too large for a file */
        return true;
    }
    replaying->ready++;
    if (replaying->json)
        print_json(letter, replaying->writer != NULL ? "handed_over" : "would_be_handed_over", NULL,
                   replaying->writer != NULL ? NULL : lines);
    else if (replaying->writer == NULL)
        print_lines(replaying, letter);
    return true;
}

static bool replay(void *ctx, const struct dead_letter *letter) {
    struct replaying *replaying = ctx;
    struct err err = ERR_INIT;

    if (!letter_is_chosen(replaying->choice, letter))
        return true;
    if (letter_ids_has(&replaying->handed_over, letter->id)) {
        replaying->before++;
        if (replaying->json)
            print_json(letter, "handed_over_before", NULL, NULL);
        return true;
    }
    if (letter_to_lines(replaying->agent, letter, &replaying->lines, &err))
        return send(replaying, letter);
    stay(replaying, letter, &err);
    return true;
}

static void tell_rest(const struct replaying *replaying) {
    if (replaying->staying > 0)
        fprintf(stderr, "%llu stay%s a dead letter, for the reasons above\n", (unsigned long long)replaying->staying,
                replaying->staying == 1 ? "s" : "");
    if (replaying->before > 0)
        fprintf(stderr, "%llu %s handed over before\n", (unsigned long long)replaying->before, replaying->before == 1 ? "was" : "were");
}

static void tell_dry(const struct replaying *replaying) {
    fprintf(stderr, "%llu letter%s would be handed over\n", (unsigned long long)replaying->ready, print_plural(replaying->ready));
    tell_rest(replaying);
}

static void tell(const struct replaying *replaying, size_t handed_over, const char *directory) {
    if (handed_over > 0 && ring_in_use(directory))
        fprintf(stderr, "handed over %zu letter%s; the agent takes them within 2 s. To watch: `heliograf deadletter list`, or the metric "
                        "heliograf_dead_letters_replayed_total\n", handed_over, print_plural(handed_over));
    else if (handed_over > 0)
        fprintf(stderr, "handed over %zu letter%s; no agent runs on %s: they will be sent by the next one that starts on it\n", handed_over,
                print_plural(handed_over), directory);
    else
        fprintf(stderr, "nothing was handed over\n");
    tell_rest(replaying);
}

static bool read_letters(struct replaying *replaying, const char *directory, struct err *err) {
    struct dead_letters_found found;

    return inbox_ids(directory, &replaying->handed_over, err) && dead_letters_read(directory, replay, replaying, &found, err);
}

static int complain_about(const struct command *self, const struct err *err) {
    fprintf(stderr, "heliograf %s: %s\n", self->name, err->text);
    return EXIT_FAILED;
}

static int run_dry(struct replaying *replaying, const char *directory) {
    struct err err = ERR_INIT;

    if (!read_letters(replaying, directory, &err))
        return complain_about(replaying->self, &err);
    tell_dry(replaying);
    return replaying->staying == 0 ? EXIT_FINE : EXIT_FAILED;
}

static int run_for_good(struct replaying *replaying, const char *directory) {
    struct inbox_writer writer;
    struct err err = ERR_INIT;
    bool fine = inbox_open(&writer, directory, &err);

    replaying->writer = &writer;
    fine = fine && read_letters(replaying, directory, &err);
    if (fine && replaying->trouble.code == ERR_NONE)
        inbox_finish(&writer, &replaying->trouble);
    inbox_close(&writer);
    if (!fine)
        return complain_about(replaying->self, &err);
    if (replaying->trouble.code != ERR_NONE)
        complain_about(replaying->self, &replaying->trouble);
    tell(replaying, writer.handed_over, directory);
    return replaying->staying == 0 && replaying->trouble.code == ERR_NONE ? EXIT_FINE : EXIT_FAILED;
}

static int run(const struct command *self, const struct args *args) {
    struct replaying replaying = {
        .self = self,
        .json = args_value(self, args, "json") != NULL,
        .lines = { .text = BUF_INIT(TEXT_MAX) },
        .trouble = ERR_INIT,
    };
    struct letter_choice choice;
    struct letter_place place;
    int code;

    if (!letter_choice_read(self, args, &choice))
        return EXIT_USAGE;
    if (choice.narrowed == (args_value(self, args, "all") != NULL)) {
        fprintf(stderr, "heliograf %s: say which letters: ids, filters, or --all\n", self->name);
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN); /* whoever reads the list may stop: the hand-over goes on */
    code = letter_place_open(self, args, true, &place);
    if (code != EXIT_FINE)
        return code;
    replaying.choice = &choice;
    replaying.agent = place.agent;
    if (!letter_choice_resolve(self, &choice, place.directory))
        code = EXIT_FAILED;
    else if (args_value(self, args, "dry-run") != NULL)
        code = run_dry(&replaying, place.directory);
    else
        code = run_for_good(&replaying, place.directory);
    letter_ids_release(&replaying.handed_over);
    buf_release(&replaying.lines.text);
    letter_place_close(&place);
    return code;
}

const struct command command_deadletter_replay = {
    .name = "deadletter replay",
    .summary = "Run payloads through today's configuration, and send lines again",
    .usage = "[flags] [ID...|--all]",
    .text = "  heliograf deadletter replay --config heliograf.yaml --dry-run --topic 'plant/#'\n"
            "  heliograf deadletter replay --config heliograf.yaml 3f2a 90c1\n"
            "  heliograf deadletter replay --config heliograf.yaml --output influxdb --reason type_conflict\n\n"
            "A payload without a time of its own gets the time at which it arrived then. What the configuration makes\n"
            "lines of is handed over to the agent, which stores it like any message and then deletes the letter; what it\n"
            "makes nothing of stays a letter, with the reason. A line that the database refuses again becomes a new letter.\n"
            "Without a running agent, the next one that starts sends them. Nothing is lost in between; after a crash the\n"
            "same lines may be sent once more, which changes nothing in the database.\n"
            "Exit code 0: all of it was handed over; 1: some letters stay.\n",
    .flags = flags,
    .takes_config = true,
    .words_max = VALUES_MAX,
    .run = run,
};
