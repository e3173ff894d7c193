/*
 * agent/commands/deadletter.h: what the verbs of `deadletter` share: where the letters are, which of them are meant, and what
 * today's configuration makes of one.
 */
#ifndef HELIOGRAF_COMMANDS_DEADLETTER_H
#define HELIOGRAF_COMMANDS_DEADLETTER_H

#include "agent/commands/command.h"
#include "agent/delivery/dead_letters.h"
#include "agent/delivery/inbox.h"

#define LETTER_PLACE_FLAG { "directory", "DIR", "the dead letters' directory, instead of the configuration's", 0 }
#define LETTER_FILTER_FLAGS                                                                                            \
    { "since", "TIME", "only letters from then on: 1h (ago), or 2026-11-22T21:30:00Z", 0 },                            \
    { "older-than", "TIME", "only letters from before then: 7d (ago), or a time", 0 },                                 \
    { "topic", "FILTER", "only letters of these topics; + and # as in MQTT", 't' },                                    \
    { "input", "NAME", "only letters of this input", 0 },                                                              \
    { "output", "NAME", "only letters of this output", 0 },                                                            \
    { "reason", "WORD", "only letters with this reason: syntax, type_conflict, ...", 0 }

/* The beginning of an id on the command line, and which letters it is. */
struct letter_prefix {
    const char *text;
    uint64_t first, last;
    uint64_t id;      /* of the letter that it is */
    unsigned letters; /* with different ids; 2 stands for more, too */
};

/* Zeroed: every letter. */
struct letter_choice {
    int64_t since_ns, until_ns; /* [since, until); 0: no bound */
    const char *topic, *input, *output, *reason; /* NULL: any */
    struct letter_prefix ids[VALUES_MAX];
    size_t id_count;
    bool narrowed; /* something of all that was given */
};

/* From the command line; words are ids. False with words on stderr: EXIT_USAGE. */
bool letter_choice_read(const struct command *self, const struct args *args, struct letter_choice *choice);
/* Whether the letter is meant. After letter_choice_resolve, where there are ids. */
bool letter_is_chosen(const struct letter_choice *choice, const struct dead_letter *letter);
/* Finds the letters of the ids, if any. False with words on stderr: there is none of one, or more than one. */
bool letter_choice_resolve(const struct command *self, struct letter_choice *choice, const char *directory);

/* The letters' place, and the configuration where it is needed. */
struct letter_place {
    struct agent *agent; /* NULL: it was not needed */
    const char *directory;
};
/* EXIT_FINE, or an exit code with words on stderr. */
int letter_place_open(const struct command *self, const struct args *args, bool with_agent, struct letter_place *place);
void letter_place_close(struct letter_place *place);

/* The input of today's configuration that a letter from ingest goes to; NULL with `err`. */
const struct agent_input *letter_input(const struct agent *agent, const struct dead_letter *letter, struct err *err);
/* Why no configuration can make anything of it; true: it can be tried. */
bool letter_is_whole(const struct dead_letter *letter, struct err *err);
struct message letter_message(const struct dead_letter *letter);

/*
 * What a letter is as messages for today's outputs: records, which live until the next call. False with `err`: it would be a
 * letter again, or nothing at all.
 */
struct letter_lines {
    const struct spool_record *records;
    size_t count;
    struct spool_record own; /* of a line */
    struct buf text;
};
bool letter_to_lines(const struct agent *agent, const struct dead_letter *letter, struct letter_lines *lines, struct err *err);

/* A letter as one line of JSON on stdout, with its id, and with `more` members (`"a":1`; NULL: none). */
void letter_print_json(const struct dead_letter *letter, const char *more);

extern const struct command command_deadletter_list, command_deadletter_show, command_deadletter_replay,
    command_deadletter_purge;

#endif
