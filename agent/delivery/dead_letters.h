/*
 * agent/delivery/dead_letters.h: a bounded ring of files for data that can never be stored. JSON lines, one letter per line; the
 * newest file is written by a thread of its own, the oldest is deleted when the ring is full. Putting copies into a bounded queue
 * and never blocks; a letter that does not fit is counted as lost (its message is still counted as dead-lettered).
 */
#ifndef HELIOGRAF_DELIVERY_DEAD_LETTERS_H
#define HELIOGRAF_DELIVERY_DEAD_LETTERS_H

#include "agent/base/dead_letter.h"
#include "agent/base/err.h"
#include "agent/base/metric.h"
#include "config/schema.h"

struct dead_letters;

struct dead_letters_options {
    char *directory;    /* empty: letters are counted and logged, not kept */
    uint64_t max_bytes; /* of all files together */
};
extern const struct cfg_field dead_letters_options[]; /* for struct dead_letters_options */

/* Creates the directory when needed. NULL with `err`. */
struct dead_letters *dead_letters_open(const struct dead_letters_options *options, struct err *err);
struct dead_letter_sink dead_letters_sink(struct dead_letters *letters);
void dead_letters_close(struct dead_letters *letters); /* writes what is queued; NULL is fine */
void dead_letters_collect(void *letters, const struct metric_writer *writer);

#endif
