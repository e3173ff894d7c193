/*
 * agent/delivery/settle.h: how a batch comes to its end: which lines are sent in which request (split), and how each
 * message ended (tally). No I/O and no clock, so that a test can play any server. One owner, one thread.
 */
#ifndef HELIOGRAF_DELIVERY_SETTLE_H
#define HELIOGRAF_DELIVERY_SETTLE_H

#include "agent/spool/spool.h"

/* Lines that go, or went, in one request, with what the server has said to exactly these. */
struct range {
    uint32_t first, count;
    bool elder;     /* first half of a range refused for its data, the other half lies right below it */
    bool tainted;   /* holds a refused line for sure, as its elder half was clean: sent only when it is one line */
    bool suspected; /* part of a request that the server choked on */
    unsigned equal; /* answers in a row that were the same trouble: `status` */
    int status;
    uint64_t stored_before; /* requests stored when it came first */
};

/*
 * The ranges still to be sent: `pile` is worked from its top and at most one halving deeper than log2 of the lines;
 * then what was not begun yet (`next` to `end`); last the single lines that were put off.
 */
enum { SPLIT_PILE = 40, SPLIT_DEFERRED = 32 };
struct split {
    struct range pile[SPLIT_PILE], deferred[SPLIT_DEFERRED];
    unsigned piled, deferrals;
    uint32_t next, end;
    const uint32_t *line_ends; /* of the whole body */
};

void split_begin(struct split *split, uint32_t first, uint32_t count, const uint32_t *line_ends);

/*
 * The next range to send. What was not begun is cut to at most `max_lines` and `max_bytes`, but to one line at least.
 * False: all is settled.
 */
bool split_next(struct split *split, uint32_t max_lines, uint64_t max_bytes, struct range *range);

/* What became of the range that split_next gave last; none of these when the fate of each of its lines is known. */
void split_clean(struct split *split, const struct range *range); /* all stored */
/* More than one line: both halves come next. `for_data`: refused for a line in it, not for its size. */
void split_halve(struct split *split, const struct range *range, bool for_data);
void split_again(struct split *split, const struct range *range); /* the same bytes once more, next */
bool split_defer(struct split *split,
                 const struct range *range); /* after all others; false: no room, or no others: use split_again */

/* Bytes of lines [first, first + count). */
uint64_t split_bytes(const uint32_t *line_ends, uint32_t first, uint32_t count);

/*
 * The ledger of one batch, in messages. A line is stored unless said otherwise; a message ends as the worst of its
 * lines: stored, then dead-lettered, then dropped_shutdown.
 */
struct tally {
    const struct spool_batch *batch;
    uint8_t *worst; /* enum spool_fate per record */
    size_t cap;
    uint64_t lines[FATE_COUNT];
};
bool tally_begin(struct tally *tally, const struct spool_batch *batch);    /* false: no memory */
void tally_line(struct tally *tally, uint32_t line, enum spool_fate fate); /* each line at most once */
struct spool_settlement tally_end(const struct tally *tally);
void tally_release(struct tally *tally); /* safe on a zeroed one */

/* The record that a line of the batch belongs to. */
size_t batch_record_of(const struct spool_batch *batch, uint32_t line);
/* The line without its newline, and the topic it came from; both borrowed from the batch. */
struct str batch_line(const struct spool_batch *batch, uint32_t line);
struct str batch_topic(const struct spool_batch *batch, uint32_t line);

#endif
