/* agent/commands/deadletter_show.c: everything about one letter, and what today's configuration would make of it. */
#include <cjson/cJSON.h>
#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/commands/deadletter.h"
#include "agent/commands/print.h"
#include "agent/delivery/json_text.h"

enum { OUT_MAX = 64 << 20 };

static const struct flag flags[] = {
    LETTER_PLACE_FLAG,
    { "json", NULL, "one JSON object: the letter, and `today`", 0 },
    { NULL, NULL, NULL, 0 },
};

struct showing {
    const struct command *self;
    const struct letter_choice *choice;
    const struct letter_place *place;
    bool json, handed_over, fine;
};

/* What would become of it. */
struct today {
    const char *end; /* "lines", "filtered", "dead_letter" or "impossible" */
    struct buf lines, trace;
    struct err reason;
};

static const char *end_of(enum ingest_end end) {
    return end == INGEST_LINES ? "lines" : end == INGEST_FILTERED ? "filtered" : "dead_letter";
}

static void explain_payload(const struct agent *agent, const struct dead_letter *letter, struct today *today) {
    const struct agent_input *input = letter_input(agent, letter, &today->reason);
    struct message message = letter_message(letter);

    if (input == NULL)
        return;
    buf_printf(&today->trace, "input %s%s\n", input->name,
               str_eq_c(letter->input, input->name) ? "" : " (the letter's own is not there any more)");
    today->end = end_of(ingest_explain(input->ingest, &message, &today->lines, &today->trace, &today->reason));
}

static void explain_line(const struct agent *agent, const struct dead_letter *letter, struct today *today) {
    struct letter_lines lines = { .text = BUF_INIT(OUT_MAX) };

    if (letter_to_lines(agent, letter, &lines, &today->reason)) {
        today->end = "lines";
        buf_printf(&today->trace, "the same line would be sent to output %.*s again\n", STR_ARGS(letter->output));
        buf_append_str(&today->lines, lines.records[0].text);
    }
    buf_release(&lines.text);
}

static void explain(const struct agent *agent, const struct dead_letter *letter, struct today *today) {
    *today = (struct today){ "impossible", BUF_INIT(OUT_MAX), BUF_INIT(OUT_MAX), ERR_INIT };
    if (!letter_is_whole(letter, &today->reason))
        return;
    if (str_eq_c(letter->stage, "ingest"))
        explain_payload(agent, letter, today);
    else
        explain_line(agent, letter, today);
}

static void release_today(struct today *today) {
    buf_release(&today->lines);
    buf_release(&today->trace);
}

/* For people. */

static void put_row(const char *name, struct str text) {
    struct buf line = BUF_INIT(1 << 20);

    if (text.len > 0) {
        print_short(&line, text, 4096);
        printf("%-10s %s\n", name, buf_cstr(&line));
    }
    buf_release(&line);
}

static const char *stage_words(struct str stage) {
    return str_eq_c(stage, "ingest")     ? "a payload that could not become points"
           : str_eq_c(stage, "delivery") ? "a line that the database refused"
                                         : "of another program";
}

static void put_head(const struct showing *showing, const struct dead_letter *letter) {
    char id[LETTER_ID_LEN + 1], when[PRINT_TIME_MAX], age[PRINT_TIME_MAX];

    letter_id_print(id, letter->id);
    printf("%-10s %s%s\n", "letter", id, showing->handed_over ? " (handed over to the agent)" : "");
    printf("%-10s %s (%s ago)\n", "time", print_time(when, letter->time_ns, true), print_age(age, clock_real_ns() - letter->time_ns));
    printf("%-10s %.*s: %s\n", "stage", STR_ARGS(letter->stage), stage_words(letter->stage));
    put_row("input", letter->input);
    put_row("output", letter->output);
    put_row("topic", letter->topic);
    put_row("reason", letter->reason);
    put_row(str_eq_c(letter->stage, "delivery") ? "answer" : "detail", letter->detail);
    if (letter->status != 0)
        printf("%-10s %d\n", "status", letter->status);
}

static void put_data(const struct dead_letter *letter) {
    struct buf data = BUF_INIT(OUT_MAX);

    printf("\n%s, %zu bytes%s", str_eq_c(letter->stage, "delivery") ? "line" : "payload", letter->data.len,
           print_is_text(letter->data) ? "" : ", not text");
    if (letter->full_bytes > 0)
        printf(", the beginning of %llu", (unsigned long long)letter->full_bytes);
    printf(":\n");
    print_whole(&data, letter->data);
    fputs(buf_cstr(&data), stdout);
    buf_release(&data);
}

static void put_today(const struct today *today) {
    struct buf text = BUF_INIT(OUT_MAX);
    struct str trace = buf_str(&today->trace);

    while (trace.data != NULL && trace.len > 0) {
        print_short(&text, str_split(&trace, '\n'), 4096); /* words with bytes of the payload in them */
        buf_append_char(&text, '\n');
    }
    if (strcmp(today->end, "lines") == 0) {
        print_whole(&text, buf_str(&today->lines));
    } else {
        buf_append_c(&text, strcmp(today->end, "filtered") == 0      ? "filtered: "
                            : strcmp(today->end, "dead_letter") == 0 ? "a dead letter again: "
                                                                     : "cannot be replayed: ");
        print_short(&text, str_of(today->reason.text), 4096);
        buf_append_char(&text, '\n');
    }
    printf("\nwith today's configuration:\n%s", buf_cstr(&text));
    buf_release(&text);
}

static void show(const struct showing *showing, const struct dead_letter *letter) {
    struct today today;

    put_head(showing, letter);
    put_data(letter);
    if (showing->place->agent == NULL) {
        fprintf(stderr, "\nwith --config it also says what today's configuration would make of it\n");
        return;
    }
    explain(showing->place->agent, letter, &today);
    put_today(&today);
    release_today(&today);
}

/* For programs. */

static void show_json(const struct showing *showing, const struct dead_letter *letter) {
    cJSON *more = cJSON_CreateObject(), *object;
    struct today today;
    char *text;

    cJSON_AddBoolToObject(more, "handed_over", showing->handed_over);
    if (showing->place->agent != NULL) {
        explain(showing->place->agent, letter, &today);
        object = cJSON_AddObjectToObject(more, "today");
        cJSON_AddStringToObject(object, "end", today.end);
        if (today.reason.text[0] != '\0')
            json_add_text(object, "reason", str_of(today.reason.text));
        json_add_data(object, "lines", "lines_base64", buf_str(&today.lines));
        json_add_text(object, "trace", buf_str(&today.trace));
        release_today(&today);
    }
    text = cJSON_PrintUnformatted(more);
    if (text != NULL) {
        text[strlen(text) - 1] = '\0'; /* the braces go */
        letter_print_json(letter, text + 1);
    }
    cJSON_free(text);
    cJSON_Delete(more);
}

static bool find(void *ctx, const struct dead_letter *letter) {
    struct showing *showing = ctx;

    if (!letter_is_chosen(showing->choice, letter))
        return true;
    if (showing->json)
        show_json(showing, letter);
    else
        show(showing, letter);
    showing->fine = true;
    return false;
}

static int show_one(const struct command *self, const struct letter_place *place, struct letter_choice *choice, bool json) {
    struct showing showing = { .self = self, .choice = choice, .place = place, .json = json };
    struct dead_letters_found found;
    struct letter_ids handed_over = { 0 };
    struct err err = ERR_INIT;

    if (!letter_choice_resolve(self, choice, place->directory))
        return EXIT_FAILED;
    if (inbox_ids(place->directory, &handed_over, &err)) {
        showing.handed_over = letter_ids_has(&handed_over, choice->ids[0].id);
        dead_letters_read(place->directory, find, &showing, &found, &err);
    }
    letter_ids_release(&handed_over);
    if (!showing.fine)
        fprintf(stderr, "heliograf %s: %s\n", self->name, err.code != ERR_NONE ? err.text : "the letter has gone meanwhile");
    return showing.fine ? EXIT_FINE : EXIT_FAILED;
}

static int run(const struct command *self, const struct args *args) {
    bool with_agent = args_value(self, args, "directory") == NULL || args->config_count > 0 || args->directory_count > 0;
    struct letter_choice choice;
    struct letter_place place;
    int code;

    if (args->word_count != 1) {
        fprintf(stderr, "heliograf %s: expected one id; `heliograf deadletter list` prints them\n", self->name);
        return EXIT_USAGE;
    }
    if (!letter_choice_read(self, args, &choice))
        return EXIT_USAGE;
    code = letter_place_open(self, args, with_agent, &place);
    if (code != EXIT_FINE)
        return code;
    code = show_one(self, &place, &choice, args_value(self, args, "json") != NULL);
    letter_place_close(&place);
    return code;
}

const struct command command_deadletter_show = {
    .name = "deadletter show",
    .summary = "Everything about one letter, and what today's configuration would make of it",
    .usage = "[flags] ID",
    .text = "  heliograf deadletter show --config heliograf.yaml 3f2a\n\n"
            "The beginning of an id is enough, four digits or more. Payloads that are no text are printed as\n"
            "hexadecimal digits. Nothing is connected.\n",
    .flags = flags,
    .takes_config = true,
    .words_max = 1,
    .run = run,
};
