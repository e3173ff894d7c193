/*
 * agent/delivery/inbox.h: what `heliograf deadletter` wants of the agent: files in <dead letters>/inbox, each complete
 * and on disk from the moment it has its name, NAME.jsonl, in the order of their names. Commands write them, one command
 * at a time; the agent removes one when all of it is done. A file that cannot be read becomes NAME.bad.
 *
 *   {"heliograf_inbox":1,"entries":2,"bytes":231,"crc32c":"0a1b2c3d"}        of all that follows
 *   {"id":"00f3a2c17b9e4d5a","topic":"plant/a","records":[{"outputs":["influxdb"],"lines":"m v=1 1795383000000000000\n"}]}
 *   {"id":"1b0c…","purge":true}
 */
#ifndef HELIOGRAF_DELIVERY_INBOX_H
#define HELIOGRAF_DELIVERY_INBOX_H

#include "agent/base/arena.h"
#include "agent/base/buf.h"
#include "agent/delivery/letter_ids.h"
#include "agent/spool/spool.h"

enum {
    INBOX_NAME_MAX = 64,
    INBOX_FILE_MAX = 64 << 20,
    INBOX_FILE_USUAL = 4 << 20, /* what a file is ended at; also at so many entries: */
    INBOX_ENTRIES_USUAL = 2000,
};

/* Writing: for the commands. */

struct inbox_writer {
    char directory[4096]; /* of the inbox */
    int fd;               /* of it, locked; -1: not open */
    struct buf text;      /* of the file in the making, without its first line */
    size_t entries;       /* in there */
    size_t handed_over;   /* in files that have their names */
    char last_name[INBOX_NAME_MAX]; /* of the last of these */
};

/* Makes the folder when needed, and waits until no other command is in it. */
bool inbox_open(struct inbox_writer *writer, const char *letters_directory, struct err *err);
/* A message: records as the spool wants them, of which bit i of `outputs` is output_names[i]. */
bool inbox_add(struct inbox_writer *writer, uint64_t id, const struct spool_record *records, size_t count,
               const char *const *output_names, struct err *err);
bool inbox_add_purge(struct inbox_writer *writer, uint64_t id, struct err *err);
/* Hands over what is not handed over yet. False with `err`: `handed_over` says how far it came. */
bool inbox_finish(struct inbox_writer *writer, struct err *err);
void inbox_close(struct inbox_writer *writer); /* what is not handed over is forgotten; safe on a closed one */

/* Reading. */

struct inbox_record {
    const struct str *outputs; /* names */
    size_t output_count;
    struct str lines; /* each ended by '\n' */
    uint32_t line_count;
};

struct inbox_entry {
    uint64_t id;
    bool purge;
    struct str topic;
    const struct inbox_record *records;
    size_t record_count;
};

struct inbox_request {
    const struct inbox_entry *entries; /* in the arena */
    size_t count;
};

struct inbox_names {
    char (*items)[INBOX_NAME_MAX]; /* in order */
    size_t count, cap;
};

/* No folder is an empty one. */
bool inbox_list(const char *letters_directory, struct inbox_names *names, struct err *err);
void inbox_names_release(struct inbox_names *names); /* safe on a zeroed one */

/* A whole file's bytes. ERR_SYNTAX: damaged; ERR_UNSUPPORTED: of another version; ERR_LIMIT: no memory. */
bool inbox_decode(struct str text, struct arena *arena, struct inbox_request *request, struct err *err);
/* The same from the file; ERR_IO, too; ERR_MISSING: it is gone. */
bool inbox_read(const char *letters_directory, const char *name, struct arena *arena, struct inbox_request *request,
                struct err *err);

/* For good, on disk. */
bool inbox_remove(const char *letters_directory, const char *name, struct err *err);
/* NAME.jsonl becomes NAME.bad. */
bool inbox_set_aside(const char *letters_directory, const char *name, struct err *err);

/* Ids of everything that is handed over now, sorted. Files that cannot be read are passed over. */
bool inbox_ids(const char *letters_directory, struct letter_ids *ids, struct err *err);

#endif
