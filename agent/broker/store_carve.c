/* agent/broker/store_carve.c: see store_carve.h. */
#include "agent/broker/store_carve.h"

#include <stdlib.h>
#include <string.h>

#include "agent/broker/store_database.h"

enum {
    PAGE = DATABASE_PAGE,
    WAL_HEADER = 32,
    FRAME_HEADER = 24,
    FRAME = FRAME_HEADER + PAGE,
    PAYLOAD_MAX = 512 << 20,
    PAGES_MAX = 1 << 26, /* 256 GiB: above, a number is no page */
};

struct carver {
    const struct carve *carve;
    uint32_t pages;   /* of the database as the log leaves it */
    uint32_t in_file; /* of it that are in the database itself */
    uint32_t *frames; /* by page: the last committed frame that has it, from 1; 0: none */
    uint32_t map_page;
    unsigned char map[PAGE]; /* the pointer map page `map_page`, as last read */
    char *payload;           /* of the row at hand, when it is larger than its page */
    size_t payload_size;
    bool no_memory, stopped;
    bool (*each)(void *ctx, const struct row *row);
    void *ctx;
};

static uint32_t read32(const unsigned char *from) {
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static unsigned read16(const unsigned char *from) {
    return (unsigned)from[0] << 8 | from[1];
}

static uint64_t file_size(const struct carve *carve, int file) {
    int64_t size = file >= 0 ? carve->ops->size(carve->ops->ctx, file) : 0;

    return size > 0 ? (uint64_t)size : 0;
}

static bool read_at(const struct carve *carve, int file, void *bytes, size_t len, uint64_t offset) {
    return file >= 0 && file_read(carve->ops, file, bytes, len, offset) == (ssize_t)len;
}

/* ---- the write-ahead log ------------------------------------------------------------------------------------------- */

static uint64_t frame_at(uint32_t frame) { /* from 0 */
    return WAL_HEADER + (uint64_t)frame * FRAME;
}

static uint32_t frame_count(const struct carve *carve) {
    uint64_t size = file_size(carve, carve->wal);
    uint64_t count = size > WAL_HEADER ? (size - WAL_HEADER) / FRAME : 0;

    return count < UINT32_MAX ? (uint32_t)count : UINT32_MAX - 1;
}

/* What SQLite sums logs with: two sums over pairs of words, in the order of the machine that began the log. */
static void add_to_sum(uint32_t sum[2], const unsigned char *bytes, size_t len, bool big_endian) {
    for (size_t i = 0; i + 8 <= len; i += 8) {
        uint32_t a, b;
        if (big_endian) {
            a = read32(bytes + i);
            b = read32(bytes + i + 4);
        } else {
            a = (uint32_t)bytes[i + 3] << 24 | (uint32_t)bytes[i + 2] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i];
            b = (uint32_t)bytes[i + 7] << 24 | (uint32_t)bytes[i + 6] << 16 | (uint32_t)bytes[i + 5] << 8 | bytes[i + 4];
        }
        sum[0] += a + sum[1];
        sum[1] += b + sum[0];
    }
}

/* Of the log, as it is walked along. */
struct chain {
    uint32_t sum[2]; /* as the frame before has it */
    uint32_t page;   /* of the frame before, when that ended a group; else 0 */
    bool big_endian;
};

static bool start_chain(struct chain *chain, const unsigned char *header) {
    const uint32_t magic = 0x377f0682;

    *chain = (struct chain){ .big_endian = (header[3] & 1) != 0 };
    add_to_sum(chain->sum, header, 24, chain->big_endian);
    if ((read32(header) & ~1U) == magic && read32(header + 24) == chain->sum[0] && read32(header + 28) == chain->sum[1])
        return true;
    chain->big_endian = false;
    return false;
}

/*
 * The log's salts stand in its header and in each of its frames. A header that is not whole says nothing: then two frames in a row that agree are believed.
 * False: there are no frames.
 */
static bool read_salts(const struct carve *carve, unsigned char salts[8]) {
    unsigned char frame[FRAME_HEADER], before[FRAME_HEADER], header[WAL_HEADER];
    uint32_t count = frame_count(carve);
    struct chain chain;

    if (!read_at(carve, carve->wal, header, sizeof header, 0) || !read_at(carve, carve->wal, before, sizeof before, frame_at(0)))
        return false;
    if (start_chain(&chain, header)) {
        memcpy(salts, header + 16, 8);
        return true;
    }
    memcpy(salts, before + 8, 8);
    for (uint32_t i = 1; i < count && read_at(carve, carve->wal, frame, sizeof frame, frame_at(i)); i++) {
        if (read32(frame) > 0 && memcmp(frame + 8, before + 8, 8) == 0) { /* zeros are no frames */
            memcpy(salts, frame + 8, 8);
            return true;
        }
        memcpy(before, frame, sizeof before);
    }
    return true;
}

static bool is_commit(const unsigned char *frame, const unsigned char salts[8]) {
    return memcmp(frame + 8, salts, 8) == 0 && read32(frame + 4) > 0;
}

/* Behind the last frame that ends a group. */
static uint32_t committed_frames(const struct carve *carve, const unsigned char salts[8]) {
    unsigned char frame[FRAME_HEADER];
    uint32_t count = frame_count(carve), committed = 0;

    for (uint32_t i = 0; i < count; i++)
        if (read_at(carve, carve->wal, frame, sizeof frame, frame_at(i)) && is_commit(frame, salts))
            committed = i + 1;
    return committed;
}

/* Calls for each page that the log has, oldest first. */
static void each_logged(struct carver *carver, const unsigned char salts[8], uint32_t committed, void (*each)(struct carver *, uint32_t page, uint32_t frame)) {
    unsigned char frame[FRAME_HEADER];

    for (uint32_t i = 0; i < committed; i++) {
        if (!read_at(carver->carve, carver->carve->wal, frame, sizeof frame, frame_at(i)) || memcmp(frame + 8, salts, 8) != 0)
            continue;
        if (read32(frame) > 0 && read32(frame) <= PAGES_MAX)
            each(carver, read32(frame), i + 1);
    }
}

static void note_largest(struct carver *carver, uint32_t page, uint32_t frame) {
    (void)frame;
    if (page > carver->pages)
        carver->pages = page;
}

static void note_frame(struct carver *carver, uint32_t page, uint32_t frame) {
    carver->frames[page] = frame;
}

/* The pages of the log up to its last commit. Its sums do not matter here: a row has its own. */
static bool lay_log_over(struct carver *carver) {
    const struct carve *carve = carver->carve;
    uint64_t in_file = file_size(carve, carve->database) / PAGE;
    unsigned char salts[8];
    uint32_t committed = frame_count(carve) > 0 && read_salts(carve, salts) ? committed_frames(carve, salts) : 0;

    carver->pages = carver->in_file = in_file < PAGES_MAX ? (uint32_t)in_file : PAGES_MAX;
    each_logged(carver, salts, committed, note_largest);
    carver->frames = calloc((size_t)carver->pages + 1, sizeof *carver->frames);
    if (carver->frames == NULL)
        return false;
    each_logged(carver, salts, committed, note_frame);
    return true;
}

static bool is_whole(struct chain *chain, const unsigned char *frame, const unsigned char salts[8]) {
    bool whole;

    add_to_sum(chain->sum, frame, 8, chain->big_endian);
    add_to_sum(chain->sum, frame + FRAME_HEADER, PAGE, chain->big_endian);
    whole = read32(frame + 16) == chain->sum[0] && read32(frame + 20) == chain->sum[1] && memcmp(frame + 8, salts, 8) == 0;
    chain->sum[0] = read32(frame + 16); /* so that the next may be whole again */
    chain->sum[1] = read32(frame + 20);
    return whole;
}

/* Up to a sector's end the last frame stands there twice: that is still the same group's end. */
static bool ends_group(struct chain *chain, const unsigned char *frame, const unsigned char salts[8]) {
    bool ends = is_commit(frame, salts), again = ends && chain->page != 0 && chain->page == read32(frame);

    chain->page = ends && !again ? read32(frame) : 0;
    return ends && !again;
}

bool carve_is_wal_broken(const struct carve *carve) {
    unsigned char salts[8], header[WAL_HEADER], frame[FRAME];
    uint32_t count = frame_count(carve);
    bool broken, ended = false;
    struct chain chain;

    if (count == 0 || !read_salts(carve, salts) || !read_at(carve, carve->wal, header, sizeof header, 0))
        return false;
    if (carve->database >= 0 && file_size(carve, carve->database) == 0)
        return true;
    broken = !start_chain(&chain, header);
    for (uint32_t i = 0; i < count && read_at(carve, carve->wal, frame, sizeof frame, frame_at(i)); i++) {
        bool whole = is_whole(&chain, frame, salts), ends = ends_group(&chain, frame, salts);
        broken = broken || !whole;
        if (broken && ended && ends && whole)
            return true;
        ended = broken && (ended || ends);
    }
    return false;
}

/* ---- pages --------------------------------------------------------------------------------------------------------- */

static bool read_page(const struct carver *carver, uint32_t page, unsigned char *bytes) {
    const struct carve *carve = carver->carve;
    uint32_t frame = page <= carver->pages ? carver->frames[page] : 0;

    if (frame > 0)
        return read_at(carve, carve->wal, bytes, PAGE, frame_at(frame - 1) + FRAME_HEADER);
    return page > 0 && page <= carver->in_file && read_at(carve, carve->database, bytes, PAGE, (uint64_t)(page - 1) * PAGE);
}

/* Its old rows are deleted ones. */
static bool is_free(struct carver *carver, uint32_t page) {
    enum { ENTRY = 5, PER_MAP = PAGE / ENTRY, FREE = 2 };
    uint32_t map = (page - 2) / (PER_MAP + 1) * (PER_MAP + 1) + 2;

    if (page == map)
        return true;
    if (carver->map_page != map && !read_page(carver, map, carver->map))
        memset(carver->map, 0, sizeof carver->map);
    carver->map_page = map;
    const unsigned char *entry = carver->map + (size_t)ENTRY * (page - map - 1);
    return entry[0] == FREE && read32(entry + 1) == 0;
}

/* ---- records ------------------------------------------------------------------------------------------------------- */

/* Bytes read; 0: it does not end before `end`. */
static size_t read_varint(const unsigned char *from, const unsigned char *end, uint64_t *value) {
    *value = 0;
    for (size_t i = 0; i < 9 && from + i < end; i++) {
        if (i == 8) {
            *value = *value << 8 | from[i];
            return 9;
        }
        *value = *value << 7 | (from[i] & 0x7f);
        if (from[i] < 0x80)
            return i + 1;
    }
    return 0;
}

static bool take_varint(const unsigned char **at, const unsigned char *end, uint64_t *value) {
    size_t len = read_varint(*at, end, value);

    *at += len;
    return len > 0;
}

static int64_t read_signed(const unsigned char *from, size_t len) {
    uint64_t value = from[0] >= 0x80 ? UINT64_MAX : 0;

    for (size_t i = 0; i < len; i++)
        value = value << 8 | from[i];
    return (int64_t)value;
}

static bool take_cell(struct cell *cell, uint64_t type, const unsigned char **at, const unsigned char *end) {
    static const unsigned char sizes[] = { 0, 1, 2, 3, 4, 6, 8, 0, 0, 0 };
    size_t left = (size_t)(end - *at);

    *cell = (struct cell){ .type = CELL_NULL };
    if (type == 0)
        return true;
    if (type == 7 || type == 10 || type == 11) /* a real number, or nothing that exists: not ours */
        return false;
    if (type < 10) {
        if (sizes[type] > left)
            return false;
        cell->type = CELL_INTEGER;
        cell->integer = type >= 8 ? (int64_t)type - 8 : read_signed(*at, sizes[type]);
        *at += sizes[type];
        return true;
    }
    if ((type - 12) / 2 > left)
        return false;
    cell->type = type % 2 == 1 ? CELL_TEXT : CELL_BLOB;
    cell->bytes = (type - 12) / 2 > 0 ? str_make((const char *)*at, (size_t)((type - 12) / 2)) : STR_EMPTY;
    *at += (type - 12) / 2;
    return true;
}

/* The number of cells; 0: it is no record of ours. */
static unsigned take_record(struct row *row, const unsigned char *bytes, size_t len) {
    const unsigned char *head = bytes, *end = bytes + len, *body;
    uint64_t head_len, type;
    unsigned count = 0;

    if (!take_varint(&head, end, &head_len) || head_len > len)
        return 0;
    body = bytes + head_len;
    while (head < bytes + head_len) {
        if (count == ROW_CELLS || !take_varint(&head, bytes + head_len, &type) || !take_cell(&row->cells[count], type, &body, end))
            return 0;
        count++;
    }
    return body == end ? count : 0;
}

/* In tables with a number as their key that stands beside the record, in others it is in it. */
static bool know_table(struct row *row, unsigned cells, bool numbered) {
    static const enum store_table all[2][2] = { { TABLE_SUBSCRIPTION, TABLE_RECEIVED }, { TABLE_SESSION, TABLE_MESSAGE } };

    for (unsigned i = 0; i < 2; i++) {
        row->table = all[numbered][i];
        if (row_cells(row->table) == cells)
            return true;
    }
    return false;
}

/* ---- rows ---------------------------------------------------------------------------------------------------------- */

/* The part of the payload that stands on its own page, as SQLite divides it. */
static size_t local_size(uint64_t payload, bool numbered) {
    const size_t most = numbered ? PAGE - 35 : (PAGE - 12) * 64 / 255 - 23, least = (PAGE - 12) * 32 / 255 - 23;
    size_t local;

    if (payload <= most)
        return (size_t)payload;
    local = least + (size_t)((payload - least) % (PAGE - 4));
    return local <= most ? local : least;
}

/* The rest of it, from a chain of pages. */
static bool gather(struct carver *carver, const unsigned char *local, size_t local_len, size_t len) {
    unsigned char page[PAGE];
    uint32_t next = read32(local + local_len);

    if (len > PAYLOAD_MAX || len / PAGE > carver->pages)
        return false;
    if (len > carver->payload_size) {
        char *larger = realloc(carver->payload, len);
        carver->no_memory = larger == NULL;
        if (larger == NULL)
            return false;
        carver->payload = larger;
        carver->payload_size = len;
    }
    memcpy(carver->payload, local, local_len);
    for (size_t at = local_len; at < len;) {
        size_t part = len - at < PAGE - 4 ? len - at : PAGE - 4;
        if (!read_page(carver, next, page))
            return false;
        memcpy(carver->payload + at, page + 4, part);
        at += part;
        next = read32(page);
    }
    return true;
}

static void carve_cell(struct carver *carver, const unsigned char *at, const unsigned char *end, bool numbered) {
    struct row row;
    uint64_t len, number = 0;
    size_t local;
    unsigned cells;

    if (!take_varint(&at, end, &len) || (numbered && !take_varint(&at, end, &number)))
        return;
    local = local_size(len, numbered);
    if (local + (local < len ? 4 : 0) > (size_t)(end - at) || (local < len && !gather(carver, at, local, (size_t)len)))
        return;
    cells = take_record(&row, local < len ? (const unsigned char *)carver->payload : at, (size_t)len);
    if (cells == 0 || !know_table(&row, cells, numbered))
        return;
    if (numbered)
        row.cells[0] = (struct cell){ .type = CELL_INTEGER, .integer = (int64_t)number };
    carver->stopped = !carver->each(carver->ctx, &row);
}

static void carve_page(struct carver *carver, const unsigned char *page) {
    enum { INDEX_INTERIOR = 2, INDEX_LEAF = 10, TABLE_LEAF = 13 };
    unsigned type = page[0], head = type == INDEX_INTERIOR ? 12 : 8, count = read16(page + 3);

    if (type != INDEX_INTERIOR && type != INDEX_LEAF && type != TABLE_LEAF)
        return;
    for (unsigned i = 0; i < count && head + 2 * i + 2 <= PAGE && !carver->stopped && !carver->no_memory; i++) {
        unsigned at = read16(page + head + 2 * i) + (type == INDEX_INTERIOR ? 4 : 0); /* behind the number of a page */
        if (at >= head && at < PAGE)
            carve_cell(carver, page + at, page + PAGE, type == TABLE_LEAF);
    }
}

static void carve_pages(struct carver *carver, bool (*each)(void *ctx, const struct row *row), void *ctx) {
    unsigned char page[PAGE];

    carver->each = each;
    carver->ctx = ctx;
    for (uint32_t i = 2; i <= carver->pages && !carver->stopped && !carver->no_memory; i++)
        if ((i <= carver->in_file || carver->frames[i] > 0) && !is_free(carver, i) && read_page(carver, i, page))
            carve_page(carver, page);
}

/* ---- which of them ------------------------------------------------------------------------------------------------- */

struct chosen {
    uint32_t identity;
    uint64_t votes; /* the majority's, less the others' (Boyer and Moore) */
    bool any;
    bool (*each)(void *ctx, const struct row *row);
    void *ctx;
};

static bool vote(void *ctx, const struct row *row) {
    struct chosen *chosen = ctx;
    uint32_t identity;

    if (!row_identity(row, &identity))
        return true;
    if (chosen->votes == 0)
        chosen->identity = identity;
    chosen->votes = identity == chosen->identity ? chosen->votes + 1 : chosen->votes - 1;
    chosen->any = true;
    return true;
}

static bool pass_on(void *ctx, const struct row *row) {
    struct chosen *chosen = ctx;
    uint32_t identity;

    return !row_identity(row, &identity) || identity != chosen->identity || chosen->each(chosen->ctx, row);
}

bool carve_rows(const struct carve *carve, bool (*each)(void *ctx, const struct row *row), void *ctx, uint32_t *identity) {
    struct carver carver = { .carve = carve };
    struct chosen chosen = { .each = each, .ctx = ctx };
    bool fine = lay_log_over(&carver);

    if (fine)
        carve_pages(&carver, vote, &chosen);
    if (fine && chosen.any && !carver.no_memory) {
        *identity = chosen.identity;
        carve_pages(&carver, pass_on, &chosen);
    }
    fine = fine && !carver.no_memory && !carver.stopped;
    free(carver.frames);
    free(carver.payload);
    return fine;
}
