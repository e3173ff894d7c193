/*
 * parsers/parser.h: what every payload parser promises. One instance is only ever called by one thread.
 */
#ifndef HELIOGRAF_PARSERS_PARSER_H
#define HELIOGRAF_PARSERS_PARSER_H

#include "agent/base/err.h"
#include "agent/base/message.h"
#include "agent/base/points.h"
#include "config/schema.h"

struct parser_type {
    const char *name;                /* as written in the configuration, `data_format: json` */
    const char *summary;             /* one sentence for `heliograf plugins` */
    size_t state_size;               /* allocated zeroed, one per route and source, freed by parser_free */
    const struct cfg_field *options; /* they fill the state; the names are Telegraf's where it has the format */
    /* Precomputes and checks options against each other; may be NULL; after a failure `fini` still runs. */
    bool (*init)(void *self, struct err *err);
    /*
     * Appends zero or more points made from `message` to `out`. No I/O, clock or globals: the same messages in the same
     * order always give the same points. On failure sets `err` and leaves `out` as it found it. Values left out on
     * purpose go through points_leave_out, which counts them and says why to whoever asks. An empty payload gives no points and is no error.
     */
    bool (*parse)(void *self, const struct message *message, struct points *out, struct err *err);
    void (*fini)(void *self); /* may be NULL; frees what init made, never `self` */
};

/* NULL-ended, in the order in which `heliograf plugins` lists them. */
extern const struct parser_type *const parser_types[];

const struct parser_type *parser_find(const char *name); /* NULL when unknown */

/* A zeroed state to be filled by cfg_read; NULL without memory. */
void *parser_new(const struct parser_type *type);
/* Runs fini, then frees; NULL is fine. */
void parser_free(const struct parser_type *type, void *state);

#endif
