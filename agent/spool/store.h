/*
 * agent/spool/store.h: the spool's directory: its lock, its segment files, its checkpoint. What is on disk is what counts: there is no
 * list of segments that could disagree with them. Blocking; used by one thread at a time (at the start the starter, then the commit
 * thread), except store_open_segment and scan_*, which anybody may use.
 */
#ifndef HELIOGRAF_SPOOL_STORE_H
#define HELIOGRAF_SPOOL_STORE_H

#include "agent/base/file_ops.h"
#include "agent/spool/segment.h"

enum { FILE_NAME_SIZE = 64 };

struct store {
    const struct file_ops *ops;
    char path[512]; /* for words; all access goes through `directory` */
    int directory;
    uint8_t uuid[16];
    uint64_t next_number;
    uint64_t file_size;   /* of ordinary segments; one of these is kept for the next use */
    bool spare;           /* SPARE_NAME is there, of file_size, and nothing else has a name for it */
    uint64_t min_free;
    unsigned outputs;
    struct format_output names[FORMAT_OUTPUTS];
    int checkpoint;       /* file; -1: none */
    uint64_t checkpoint_generation;
    uint64_t quarantined; /* bytes set aside in this run */
};

/* Opens and locks the directory, which must be there. Err in words that say what to do. */
bool store_open(struct store *store, const char *path, const struct file_ops *ops, struct err *err);
void store_close(struct store *store); /* fine on one that is not open */

void segment_file_name(char name[FILE_NAME_SIZE], uint64_t number);
bool segment_file_number(const char *name, uint64_t *number);

/*
 * Gives the segment a file: header on disk, name on disk. Returns a handle to write to, or a negative errno; -EDQUOT stands for
 * "less than min_free would be left". Takes a number and a generation for it.
 */
int store_create_segment(struct store *store, struct segment *segment);
/* The segment's data is not needed any more, for good: the file goes, or becomes the spare one. 0 or a negative errno. */
int store_retire_segment(struct store *store, const struct segment *segment);
int store_open_segment(const struct store *store, const struct segment *segment);

/*
 * Another file in place of a segment's, and of the one behind it: begun under another name, header and all; then, complete and synced by
 * the caller, named as the first in one step, after which the second goes.
 */
int store_begin_replacement(struct store *store, struct segment *segment); /* handle; its number is the caller's choice */
int store_end_replacement(struct store *store, const struct segment *segment, const struct segment *second);
void store_abandon_replacement(struct store *store);

/* Makes the checkpoint file, or opens it and reads the newer of its two slots; false: none is good (`slot` is zero then). */
bool store_read_checkpoint(struct store *store, struct checkpoint_slot *slot);
int store_create_checkpoint(struct store *store);
int store_write_checkpoint(struct store *store, struct checkpoint_slot *slot, bool sync);

/* Keeps a copy of bytes that are no frames, up to a limit per run; failing at that is no reason to stop. */
void store_quarantine(struct store *store, const struct segment *segment, int file, uint64_t from, uint64_t to);

/* Eight bytes that nobody had before. */
uint64_t store_random(void);

#endif
