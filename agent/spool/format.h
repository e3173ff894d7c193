/*
 * agent/spool/format.h: the bytes of the spool on disk, as FORMAT.md draws them. Numbers are little-endian; everything is
 * aligned to 8 bytes, frames to pages. Records look the same in memory, in both forms of the spool.
 */
#ifndef HELIOGRAF_SPOOL_FORMAT_H
#define HELIOGRAF_SPOOL_FORMAT_H

#include <assert.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the spool's files are little-endian, and so must be the machine"
#endif

enum {
    FORMAT_VERSION = 1,
    PAGE = 4096,                 /* frames start at a multiple of it, and none shares one with what was acknowledged before */
    SEGMENT_DATA = 2 * PAGE,     /* in front of it the header, twice */
    FORMAT_OUTPUTS = 64,
    OUTPUT_NAME_MAX = 48,        /* of a name in a header; a longer one is cut there, and known by its hash */
    CHECKPOINT_SLOT = 2 * PAGE,  /* two of them make the file */
};

#define SEGMENT_MAGIC    "HGSPOOL\n"
#define CHECKPOINT_MAGIC "HGCHECK\n"
#define FRAME_MAGIC      0x4d52468bu /* "\x8bFRM"; no record can begin so, as its size is a multiple of 8 */

struct format_output {
    uint64_t hash; /* of the whole name, format_hash() */
    char name[OUTPUT_NAME_MAX]; /* closed with a NUL where there is room */
};

struct segment_header {
    char magic[8];
    uint32_t crc; /* CRC-32C of all that follows, up to the end of the page */
    uint32_t version;
    uint8_t uuid[16]; /* of the spool */
    uint64_t number;
    uint64_t generation; /* random: what an earlier use of the same blocks left behind does not pass for this one's */
    uint64_t size;
    int64_t created_ns; /* real time */
    uint32_t outputs;   /* names in use */
    uint32_t thinned;   /* every 2^thinned-th point was kept */
    uint8_t reserved[440];
    struct format_output names[FORMAT_OUTPUTS]; /* name i is what bit i of a record's outputs means */
};
static_assert(sizeof(struct segment_header) <= PAGE, "the segment's header fills one page at most");

/* One commit's records, or a part of them. Its checksums start with the segment's generation as salt. */
struct frame_header {
    uint32_t magic;
    uint32_t crc;      /* of the rest of this header */
    uint32_t body_len; /* bytes of records behind this header */
    uint32_t body_crc;
    uint64_t first_sequence; /* of the first record */
    uint64_t safe;           /* last sequence that was safely on disk before this frame was begun */
    uint64_t generation;
    uint64_t last_sequence; /* of the last record */
    int64_t written_ns;
    uint32_t count; /* records */
    uint32_t reserved;
};
static_assert(sizeof(struct frame_header) == 64, "frame header");

/* Then topic_len bytes of topic, text_len bytes of lines, zeros up to a multiple of 8, and the origin if it has one. */
struct record_head {
    uint32_t size; /* of the whole record, head included */
    uint32_t text_len;
    uint64_t outputs;
    int64_t appended_ns; /* real time */
    uint32_t lines;
    uint16_t topic_len;
    uint16_t step; /* RECORD_SAME_MESSAGE, RECORD_HAS_ORIGIN, and how many sequence numbers were left out before this one */
};
static_assert(sizeof(struct record_head) == 32, "record head");
#define RECORD_SAME_MESSAGE 0x8000u /* the record before it is of the same message */
#define RECORD_HAS_ORIGIN   0x4000u /* ends with a struct record_origin */
#define RECORD_GAP_MAX      0x3fffu

/* Where the message came from, so that a second delivery of it is known after a crash. */
struct record_origin {
    uint64_t content;
    uint32_t session;
    uint16_t id, reserved;
};
static_assert(sizeof(struct record_origin) == 16, "record origin");

#define SEQUENCE_MAX        (UINT64_C(1) << 62)

struct checkpoint_entry {
    uint64_t hash, sequence; /* all up to `sequence` is settled for this output */
    char name[OUTPUT_NAME_MAX];
};

struct checkpoint_slot {
    char magic[8];
    uint32_t crc; /* of all that follows, entries included */
    uint32_t version;
    uint8_t uuid[16];
    uint64_t generation; /* the higher one counts */
    uint32_t count;
    uint32_t reserved[5];
    struct checkpoint_entry entries[FORMAT_OUTPUTS];
};
static_assert(sizeof(struct checkpoint_slot) <= CHECKPOINT_SLOT, "a checkpoint fits its slot");

/* FNV-1a, 64 bits: names must hash the same in every version. */
uint64_t format_hash(const char *name);
void format_name(char to[OUTPUT_NAME_MAX], const char *name);

#endif
