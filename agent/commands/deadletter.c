/* agent/commands/deadletter.c: `heliograf deadletter`: the group, and deadletter.h. */
#include "agent/commands/deadletter.h"

#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/base/topic_filter.h"
#include "agent/delivery/dead_letter_json.h"

/* Which letters. */

static bool read_id(const struct command *self, const char *text, struct letter_prefix *prefix) {
    *prefix = (struct letter_prefix){ .text = text };
    if (letter_id_parse_prefix(str_of(text), &prefix->first, &prefix->last))
        return true;
    fprintf(stderr, "heliograf %s: '%s' is no letter's id: %d to %d digits of 0-9 and a-f, as `heliograf deadletter list` prints them\n",
            self->name, text, LETTER_ID_SHORTEST, LETTER_ID_LEN);
    return false;
}

bool letter_choice_read(const struct command *self, const struct args *args, struct letter_choice *choice) {
    *choice = (struct letter_choice){
        .topic = args_value(self, args, "topic"),
        .input = args_value(self, args, "input"),
        .output = args_value(self, args, "output"),
        .reason = args_value(self, args, "reason"),
    };
    if (!args_time(self, args, "since", &choice->since_ns) || !args_time(self, args, "older-than", &choice->until_ns))
        return false;
    if (choice->topic != NULL && !topic_filter_valid(str_of(choice->topic), NULL)) {
        fprintf(stderr, "heliograf %s: --topic: '%s' is no topic filter\n", self->name, choice->topic);
        return false;
    }
    for (size_t i = 0; i < args->word_count; i++)
        if (!read_id(self, args->words[i], &choice->ids[choice->id_count++]))
            return false;
    choice->narrowed = choice->since_ns != 0 || choice->until_ns != 0 || choice->topic != NULL || choice->input != NULL ||
                       choice->output != NULL || choice->reason != NULL || choice->id_count > 0;
    return true;
}

/* The inputs of a line's letter are a list: `a, b`. */
static bool has_input(struct str inputs, const char *name) {
    while (inputs.data != NULL && inputs.len > 0)
        if (str_eq_c(str_trim(str_split(&inputs, ',')), name))
            return true;
    return false;
}

static bool has_id(const struct letter_choice *choice, uint64_t id) {
    for (size_t i = 0; i < choice->id_count; i++)
        if (choice->ids[i].id == id)
            return true;
    return choice->id_count == 0;
}

bool letter_is_chosen(const struct letter_choice *choice, const struct dead_letter *letter) {
    return has_id(choice, letter->id) && (choice->since_ns == 0 || letter->time_ns >= choice->since_ns) &&
           (choice->until_ns == 0 || letter->time_ns < choice->until_ns) &&
           (choice->topic == NULL || topic_filter_match(str_of(choice->topic), letter->topic)) &&
           (choice->input == NULL || str_eq_c(letter->input, choice->input) || has_input(letter->input, choice->input)) &&
           (choice->output == NULL || str_eq_c(letter->output, choice->output)) &&
           (choice->reason == NULL || str_eq_c(letter->reason, choice->reason));
}

static bool match_ids(void *ctx, const struct dead_letter *letter) {
    struct letter_choice *choice = ctx;

    for (size_t i = 0; i < choice->id_count; i++) {
        struct letter_prefix *prefix = &choice->ids[i];
        if (letter->id < prefix->first || letter->id > prefix->last || (prefix->letters > 0 && prefix->id == letter->id))
            continue;
        prefix->id = letter->id;
        prefix->letters += prefix->letters < 2;
    }
    return true;
}

bool letter_choice_resolve(const struct command *self, struct letter_choice *choice, const char *directory) {
    struct dead_letters_found found;
    struct err err = ERR_INIT;
    bool fine = true;

    if (choice->id_count == 0)
        return true;
    if (!dead_letters_read(directory, match_ids, choice, &found, &err)) {
        fprintf(stderr, "heliograf %s: %s\n", self->name, err.text);
        return false;
    }
    for (size_t i = 0; i < choice->id_count; i++) {
        if (choice->ids[i].letters == 1)
            continue;
        fprintf(stderr, choice->ids[i].letters == 0 ? "heliograf %s: there is no letter %s in %s (any more)\n"
                                                    : "heliograf %s: several letters begin with %s in %s: give more digits\n",
                self->name, choice->ids[i].text, directory);
        fine = false;
    }
    return fine;
}

/* Where. */

int letter_place_open(const struct command *self, const struct args *args, bool with_agent, struct letter_place *place) {
    const char *directory = args_value(self, args, "directory");

    *place = (struct letter_place){ .directory = directory };
    if (directory != NULL && !with_agent)
        return EXIT_FINE;
    place->agent = load_or_complain(args, AGENT_OFFLINE);
    if (place->agent == NULL)
        return EXIT_CONFIGURATION;
    if (directory == NULL)
        place->directory = agent_dead_letters_directory(place->agent);
    if (place->directory != NULL)
        return EXIT_FINE;
    fprintf(stderr, "heliograf %s: the configuration keeps no dead letters (agent.dead_letters.directory is empty)\n", self->name);
    letter_place_close(place);
    return EXIT_FAILED;
}

void letter_place_close(struct letter_place *place) {
    agent_free(place->agent);
    place->agent = NULL;
}

/* What becomes of one. */

const struct agent_input *letter_input(const struct agent *agent, const struct dead_letter *letter, struct err *err) {
    const struct agent_input *input;
    char name[256];

    snprintf(name, sizeof name, "%.*s", STR_ARGS(letter->input));
    input = agent_input_for(agent, name, letter->topic);
    if (input == NULL)
        input = agent_input_for(agent, NULL, letter->topic);
    if (input == NULL)
        err_set(err, ERR_MISSING, "the configuration has no input '%s', and no other that subscribes to this topic", name);
    return input;
}

bool letter_is_whole(const struct dead_letter *letter, struct err *err) {
    if (letter->full_bytes > 0)
        return err_set(err, ERR_LIMIT, "only the first %zu of its %llu bytes were kept", letter->data.len,
                       (unsigned long long)letter->full_bytes);
    if (str_eq_c(letter->stage, "ingest"))
        for (size_t i = 0; i + 2 < letter->topic.len; i++)
            if (memcmp(letter->topic.data + i, "\xEF\xBF\xBD", 3) == 0)
                return err_set(err, ERR_SYNTAX, "its topic was not UTF-8, and is not kept exactly");
    return true;
}

struct message letter_message(const struct dead_letter *letter) {
    return (struct message){
        .topic = letter->topic,
        .payload = letter->data,
        .received_ns = letter->time_ns,
        .content_type = STR_EMPTY,
    };
}

static bool payload_to_lines(const struct agent *agent, const struct dead_letter *letter, struct letter_lines *lines, struct err *err) {
    const struct agent_input *input = letter_input(agent, letter, err);
    struct message message = letter_message(letter);
    uint64_t max = input != NULL ? agent_input_max_bytes(agent, input) : 0;

    if (input == NULL)
        return false;
    if (max > 0 && message.payload.len > max)
        return err_set(err, ERR_LIMIT, "a payload of %zu bytes is larger than max_message_bytes of input %s", message.payload.len,
                       input->name);
    switch (ingest_records(input->ingest, &message, &lines->records, &lines->count, err)) {
    case INGEST_LINES:
        return true;
    case INGEST_FILTERED:
        return err_set(err, ERR_MISSING, "the configuration leaves nothing of it to be stored (filters, or no field); purge it if "
                                         "that is meant");
    case INGEST_DEAD:
        break;
    }
    return err_set(err, ERR_SYNTAX, "no reason was given");
}

static uint32_t count_lines(struct str text) {
    uint32_t lines = 0;

    for (size_t i = 0; i < text.len; i++)
        lines += text.data[i] == '\n';
    return lines;
}

static bool line_to_lines(const struct agent *agent, const struct dead_letter *letter, struct letter_lines *lines, struct err *err) {
    const char *const *names;
    unsigned count = agent_outputs(agent, &names), output = 0;

    while (output < count && !str_eq_c(letter->output, names[output]))
        output++;
    if (output == count)
        return err_set(err, ERR_MISSING, "the configuration has no output '%.*s'", STR_ARGS(letter->output));
    if (str_trim(letter->data).len == 0)
        return err_set(err, ERR_SYNTAX, "its line is empty");
    buf_reset(&lines->text);
    if (!buf_append_str(&lines->text, letter->data) || !buf_append_char(&lines->text, '\n'))
        return err_set(err, ERR_LIMIT, "its line is too long");
    lines->own = (struct spool_record){
        .outputs = UINT64_C(1) << output,
        .lines = count_lines(buf_str(&lines->text)),
        .topic = letter->topic,
        .text = buf_str(&lines->text),
    };
    lines->records = &lines->own;
    lines->count = 1;
    return true;
}

bool letter_to_lines(const struct agent *agent, const struct dead_letter *letter, struct letter_lines *lines, struct err *err) {
    if (!letter_is_whole(letter, err))
        return false;
    if (str_eq_c(letter->stage, "ingest"))
        return payload_to_lines(agent, letter, lines, err);
    if (str_eq_c(letter->stage, "delivery"))
        return line_to_lines(agent, letter, lines, err);
    return err_set(err, ERR_UNSUPPORTED, "its stage '%.*s' is of another program", STR_ARGS(letter->stage));
}

void letter_print_json(const struct dead_letter *letter, const char *more) {
    struct buf line = BUF_INIT(64 << 20);
    char id[LETTER_ID_LEN + 1];

    letter_id_print(id, letter->id);
    if (dead_letter_encode(letter, &line))
        printf("{\"id\":\"%s\",%s%s%.*s", id, more != NULL ? more : "", more != NULL ? "," : "", (int)line.len - 1, line.data + 1);
    buf_release(&line);
}

static const struct command *const verbs[] = {
    &command_deadletter_list, &command_deadletter_show, &command_deadletter_replay, &command_deadletter_purge, NULL,
};

const struct command command_deadletter = {
    .name = "deadletter",
    .summary = "Dead letters: list, show, replay and purge what could not be stored",
    .usage = "VERB [flags]",
    .text = "  heliograf deadletter list --config heliograf.yaml --since 1h\n"
            "  heliograf deadletter show --config heliograf.yaml 3f2a\n"
            "  heliograf deadletter replay --config heliograf.yaml --reason type_conflict --dry-run\n\n"
            "A dead letter is a payload that could not become points, or a line that a database refused. When\n"
            "the cause is mended, replay makes points of them. All of it works beside a running agent, and on the\n"
            "directory of one that is stopped (--directory).\n",
    .verbs = verbs,
};
