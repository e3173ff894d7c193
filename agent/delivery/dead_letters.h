/*
 * agent/delivery/dead_letters.h: a bounded ring of files for data that can never be stored. JSON lines, one letter per
 * line; the newest file is written by a thread of its own, the oldest is deleted when the ring is full. Putting copies
 * into a bounded queue and never blocks; a letter that does not fit is counted as lost (its message is still counted as
 * dead-lettered).
 *
 * Files are `dead-letters-<number, 8 digits or more>.jsonl`, each at most an eighth of the ring; others in the
 * directory are left alone. A line:
 * {"time":"2026-11-22T21:30:00.123456789Z","stage":"delivery","input":"plant","output":"influxdb-1","topic":"plant/a",
 * "reason":"type_conflict","detail":"words","status":400,"data":"m v=1 1"}; data that is not UTF-8 text stands as base64
 * in "data_base64"; "full_bytes" is there when only the beginning of a payload was kept, "status" when a server answered.
 */
#ifndef HELIOGRAF_DELIVERY_DEAD_LETTERS_H
#define HELIOGRAF_DELIVERY_DEAD_LETTERS_H

#include "agent/base/dead_letter.h"
#include "agent/base/err.h"
#include "agent/base/metric.h"
#include "agent/delivery/letter_ids.h"
#include "config/schema.h"

struct dead_letters;

struct dead_letters_options {
    char *directory;    /* empty: letters are counted and logged, not kept */
    uint64_t max_bytes; /* of all files together; 64 KiB and up */
};
extern const struct cfg_field dead_letters_options[]; /* for struct dead_letters_options */

/* Creates the directory when needed. NULL with `err`. */
struct dead_letters *dead_letters_open(const struct dead_letters_options *options, struct err *err);
struct dead_letter_sink dead_letters_sink(struct dead_letters *letters);
void dead_letters_close(struct dead_letters *letters); /* writes what is queued; NULL is fine */

/*
 * Waits until all letters that were put before are on disk, or counted as lost: what they stand for may be acknowledged. From any thread;
 * a few milliseconds when there is something to write, nothing otherwise.
 */
void dead_letters_sync(struct dead_letters *letters);

/*
 * Takes the letters with these ids (sorted) out of the ring; waits until that is on disk. `removed` (may be NULL) becomes
 * how many were there. Not from two threads at once. False with `err`: some may be left.
 */
bool dead_letters_remove(struct dead_letters *letters, const struct letter_ids *ids, uint64_t *removed, struct err *err);

void dead_letters_collect(void *letters, const struct metric_writer *writer);

/*
 * Calls `each` for every letter, its id included, oldest first, until it returns false; the letter is valid during the
 * call. Lines that are no letters (torn by a crash, foreign, longer than 8 MiB) are skipped and counted. May run beside a writer; a file
 * that the ring drops meanwhile is passed over. False with `err`: the directory or a file cannot be read.
 */
struct dead_letters_found {
    uint64_t letters, skipped_lines, files;
};
bool dead_letters_read(const char *directory, bool (*each)(void *ctx, const struct dead_letter *letter), void *ctx,
                       struct dead_letters_found *found, struct err *err);

#endif
