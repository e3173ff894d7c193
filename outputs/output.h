/*
 * outputs/output.h: what every output promises. An instance is shared by its sender threads: `send` must be safe to
 * call from several threads at once, each with its own connection. What became of a request is an enum; outputs report
 * it, only `agent/delivery` acts on it.
 */
#ifndef HELIOGRAF_OUTPUTS_OUTPUT_H
#define HELIOGRAF_OUTPUTS_OUTPUT_H

#include <stdatomic.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/base/metric.h"
#include "config/schema.h"

enum outcome {
    DELIVERED,   /* the server has all of it: the spool may forget it */
    PARTIAL,     /* the server has all but the lines named in the reply: those are dead letters */
    SPLIT,       /* too large, or refused (whole or in part) for a line that was not named: halve it and try both;
                    resending is harmless. A single line with this outcome is a dead letter */
    RETRY_LATER, /* no answer, 401, 403, 404, 429, 5xx: keep it, back off, try again */
    REJECTED,    /* none of it will ever be accepted: dead letters, with the server's reason */
};
const char *outcome_name(enum outcome outcome);

/* How to treat RETRY_LATER, decided where the outcome is. */
enum retry_class {
    RETRY_BACKOFF, /* transient: 0.25 s doubling to 30 s, full jitter */
    RETRY_SLOWLY,  /* needs a person: credentials, missing database; 30 s to 5 min, loud */
    RETRY_SUSPECT, /* maybe caused by the data (5xx other than 502-504, a refusal without a word, a connection that
                      broke under a large body): as backoff; delivery may halve it after some equal answers */
};

#define REPLY_REASON_MAX 200
struct rejected_line {
    uint32_t line; /* index into the request, from 0 */
    char reason[REPLY_REASON_MAX];
};

struct reply {
    enum outcome outcome;
    enum retry_class retry;
    int status;                /* HTTP status; 0 without an answer */
    int64_t retry_after_ns;    /* the server's wish; 0 without. Capped at 10 min */
    int64_t duration_ns;       /* of the request, for the histogram */
    size_t wire_bytes;         /* sent, after compression */
    char reason[REPLY_REASON_MAX]; /* for people: the server's words, or why there was no answer; never a secret */
    struct rejected_line *rejected; /* PARTIAL: rising by line, each once; grown by reply_reject, kept by reply_reset */
    size_t rejected_count, rejected_cap;
};

void reply_init(struct reply *reply);
void reply_reset(struct reply *reply); /* for the next request; keeps the memory */
void reply_release(struct reply *reply);
/* Names one more line; false without memory, or when `line` is not behind the one named last. */
bool reply_reject(struct reply *reply, uint32_t line, struct str reason);
/* Copies words from outside: trimmed, control bytes as spaces, cut between characters, valid UTF-8, NUL-terminated. */
void reply_words(char *out, size_t size, struct str text);

/* Lines of line protocol, each ended by '\n', none empty. Borrowed for the call; the bytes of a retry are identical. */
struct request {
    struct str body;
    uint32_t line_count;
    const uint32_t *line_ends; /* line_ends[i]: offset in body one past line i's newline */
    struct str target;         /* value of the routing tag (bucket_tag, database_tag); empty: the default target */
};

struct output_type {
    const char *name;    /* as under `outputs:` */
    const char *summary; /* one sentence for `heliograf plugins` */
    size_t state_size;   /* allocated zeroed, freed by output_free */
    const struct cfg_field *options; /* Telegraf's names */
    bool (*init)(void *self, struct err *err); /* checks options; no network */
    /*
     * A connection for one sender thread; does not connect yet. `cancel` becomes true when a running send must end
     * soon.
     */
    void *(*open)(void *self, const atomic_bool *cancel, struct err *err);
    /* Blocks until there is an outcome; always fills `reply`. */
    void (*send)(void *self, void *connection, const struct request *request, struct reply *reply);
    void (*close)(void *self, void *connection); /* NULL connection is fine */
    /*
     * Routing by tag; may be NULL. Looks for the routing tag in `line` (without newline): sets `target` to its
     * unescaped value (borrowed from `line` or appended to `scratch`), and when the tag is to be left out, writes
     * the line without it to `scratch` and points `line` there. `target` empty: the default.
     */
    void (*route)(void *self, struct str *line, struct str *target, struct buf *scratch);
    /* True when `route` is to be called at all, after init. */
    bool (*routes)(void *self);
    /*
     * A cheap check whether the server is there and the credentials and target are good; for `check --connect`.
     * May be NULL.
     */
    bool (*probe)(void *self, void *connection, struct err *err);
    unsigned (*concurrency)(void *self); /* sender threads wanted, 1-64; NULL: 1 */
    /*
     * True when unsigned integers may be written with the suffix `u`; NULL: they may not. Asked after init, by
     * wiring.
     */
    bool (*takes_unsigned)(void *self);
    void (*describe)(void *self, struct buf *out); /* for people: `http://host:8086 database plant`; no secrets */
    void (*fini)(void *self); /* may be NULL; frees what init made, never `self` */
};

/* NULL-ended. */
extern const struct output_type *const output_types[];
const struct output_type *output_find(const char *name);
void *output_new(const struct output_type *type);
void output_free(const struct output_type *type, void *state);

#endif
