/* agent/delivery/settle.c: see settle.h. */
#include "agent/delivery/settle.h"

#include <assert.h>
#include <stdlib.h>

/* The worst fate of a message is the largest number. */
static_assert(FATE_STORED < FATE_DEAD_LETTERED && FATE_DEAD_LETTERED < FATE_DROPPED_SHUTDOWN, "order of fates");

void split_begin(struct split *split, uint32_t first, uint32_t count, const uint32_t *line_ends) {
    split->piled = split->deferrals = 0;
    split->next = first;
    split->end = first + count;
    split->line_ends = line_ends;
}

uint64_t split_bytes(const uint32_t *line_ends, uint32_t first, uint32_t count) {
    return line_ends[first + count - 1] - (first > 0 ? line_ends[first - 1] : 0);
}

/* As many lines from `next` on as fit, found by halving the interval: line ends rise. */
static uint32_t lines_that_fit(const struct split *split, uint32_t max_lines, uint64_t max_bytes) {
    uint32_t left = split->end - split->next, low = 1, high = left < max_lines ? left : max_lines;

    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;
        if (split_bytes(split->line_ends, split->next, middle) <= max_bytes)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static void push(struct split *split, struct range range) {
    assert(split->piled < SPLIT_PILE); /* a halving adds one range, and 2^32 lines halve 32 times */
    split->pile[split->piled++] = range;
}

void split_halve(struct split *split, const struct range *range, bool for_data) {
    uint32_t half = range->count / 2;
    bool suspected = range->suspected;

    push(split, (struct range){ .first = range->first + half, .count = range->count - half, .suspected = suspected });
    push(split, (struct range){ .first = range->first, .count = half, .elder = for_data, .suspected = suspected });
}

bool split_next(struct split *split, uint32_t max_lines, uint64_t max_bytes, struct range *range) {
    while (split->piled > 0) {
        *range = split->pile[--split->piled];
        if (!range->tainted || range->count == 1)
            return true;
        split_halve(split, range, true);
    }
    if (split->next < split->end) {
        *range = (struct range){ .first = split->next, .count = lines_that_fit(split, max_lines, max_bytes) };
        split->next += range->count;
        return true;
    }
    if (split->deferrals == 0)
        return false;
    *range = split->deferred[0];
    split->deferrals--;
    for (unsigned i = 0; i < split->deferrals; i++)
        split->deferred[i] = split->deferred[i + 1];
    return true;
}

void split_clean(struct split *split, const struct range *range) {
    if (range->elder)
        split->pile[split->piled - 1].tainted = true;
}

void split_again(struct split *split, const struct range *range) {
    push(split, *range);
}

bool split_defer(struct split *split, const struct range *range) {
    if (split->deferrals == SPLIT_DEFERRED || (split->piled == 0 && split->next == split->end && split->deferrals == 0))
        return false;
    split->deferred[split->deferrals] = *range;
    split->deferred[split->deferrals++].elder = false; /* the other half no longer lies below it */
    return true;
}

bool tally_begin(struct tally *tally, const struct spool_batch *batch) {
    if (batch->record_count > tally->cap) {
        uint8_t *larger = realloc(tally->worst, batch->record_count);
        if (larger == NULL)
            return false;
        tally->worst = larger;
        tally->cap = batch->record_count;
    }
    if (batch->record_count > 0)
        memset(tally->worst, FATE_STORED, batch->record_count);
    memset(tally->lines, 0, sizeof tally->lines);
    tally->lines[FATE_STORED] = batch->line_count;
    tally->batch = batch;
    return true;
}

void tally_line(struct tally *tally, uint32_t line, enum spool_fate fate) {
    uint8_t *worst = &tally->worst[batch_record_of(tally->batch, line)];

    if (*worst < fate)
        *worst = (uint8_t)fate;
    tally->lines[FATE_STORED]--;
    tally->lines[fate]++;
}

struct spool_settlement tally_end(const struct tally *tally) {
    struct spool_settlement how = { .messages = { 0 } };

    for (size_t i = 0; i < tally->batch->record_count; i++)
        how.messages[tally->worst[i]]++;
    memcpy(how.lines, tally->lines, sizeof how.lines);
    return how;
}

void tally_release(struct tally *tally) {
    free(tally->worst);
    *tally = (struct tally){ .worst = NULL };
}

size_t batch_record_of(const struct spool_batch *batch, uint32_t line) {
    size_t low = 0, high = batch->record_count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (batch->records[middle].first_line <= line)
            low = middle;
        else
            high = middle;
    }
    return low;
}

struct str batch_line(const struct spool_batch *batch, uint32_t line) {
    uint32_t start = line > 0 ? batch->line_ends[line - 1] : 0;

    return str_make(batch->lines.data + start, batch->line_ends[line] - start - 1);
}

struct str batch_topic(const struct spool_batch *batch, uint32_t line) {
    const struct spool_batch_record *record = &batch->records[batch_record_of(batch, line)];

    return record->topic_len > 0 ? str_make(batch->topics.data + record->topic_offset, record->topic_len) : STR_EMPTY;
}
