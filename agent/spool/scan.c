/* agent/spool/scan.c: see scan.h. */
#include "agent/spool/scan.h"

#include <stdlib.h>

enum { READ_AHEAD = 256 * 1024 };

void scan_begin(struct scan *scan, uint64_t position) {
    scan->position = position;
    scan->frame = NULL;
    scan->bad = 0;
    scan->len = 0;
    scan->failed = false;
}

void scan_release(struct scan *scan) {
    free(scan->bytes);
    *scan = (struct scan){ 0 };
}

static bool grow(struct scan *scan, size_t cap) {
    char *larger;

    if (cap <= scan->cap)
        return true;
    larger = realloc(scan->bytes, cap);
    if (larger == NULL)
        return false;
    scan->bytes = larger;
    scan->cap = cap;
    return true;
}

/* A page that cannot be read counts as damaged; its neighbours may be fine. */
static void read_pages(struct scan *scan, const struct file_ops *ops, int file, size_t wanted) {
    scan->failed = true;
    for (size_t at = 0; at < wanted; at += PAGE) {
        size_t len = wanted - at < PAGE ? wanted - at : PAGE;
        ssize_t got = file_read(ops, file, scan->bytes + at, len, scan->start + at);
        if (got < (ssize_t)len) {
            size_t have = got > 0 ? (size_t)got : 0;
            memset(scan->bytes + at + have, 0xff, len - have);
        }
    }
    scan->len = wanted;
}

/* Makes `need` bytes from the position on stand in memory, more when it has to read anyway. Fewer only at the end of the file. */
static bool fill(struct scan *scan, const struct file_ops *ops, int file, uint64_t end, size_t need) {
    uint64_t left = end > scan->position ? end - scan->position : 0;
    size_t wanted = need > READ_AHEAD ? need : READ_AHEAD;
    ssize_t got;

    if (scan->len > 0 && scan->position >= scan->start && scan->position + need <= scan->start + scan->len)
        return true;
    if (wanted > left)
        wanted = page_round((size_t)left);
    if (wanted < need)
        wanted = need;
    if (!grow(scan, wanted))
        return false;
    scan->start = scan->position;
    got = file_read(ops, file, scan->bytes, wanted, scan->start);
    scan->len = got > 0 ? (size_t)got : 0;
    if (got < 0)
        read_pages(scan, ops, file, wanted);
    return true;
}

static size_t in_memory(const struct scan *scan) {
    uint64_t stop = scan->start + scan->len;
    return stop > scan->position ? (size_t)(stop - scan->position) : 0;
}

static bool is_blank(const char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static void pass_bad_page(struct scan *scan) {
    size_t have = in_memory(scan) < PAGE ? in_memory(scan) : PAGE;

    if (!is_blank(scan->bytes + (scan->position - scan->start), have)) {
        if (scan->bad == 0)
            scan->bad_from = scan->position;
        scan->bad = scan->position + have - scan->bad_from;
    }
    scan->position += PAGE;
}

enum scan_result scan_next(struct scan *scan, const struct file_ops *ops, int file, uint64_t generation, uint64_t end) {
    scan->frame = NULL;
    scan->bad = 0;
    while (scan->position < end) {
        if (!fill(scan, ops, file, end, PAGE))
            return SCAN_NO_MEMORY;
        if (in_memory(scan) < sizeof(struct frame_header)) {
            if (in_memory(scan) == 0)
                break; /* the file is shorter than we were told */
            pass_bad_page(scan);
            continue;
        }
        struct frame_header frame;
        memcpy(&frame, scan->bytes + (scan->position - scan->start), sizeof frame);
        size_t len = sizeof frame + (size_t)frame.body_len;
        if (!frame_header_good(&frame, generation) || scan->position + len > page_round((size_t)end)) {
            pass_bad_page(scan);
            continue;
        }
        if (!fill(scan, ops, file, end, len))
            return SCAN_NO_MEMORY;
        const char *at = scan->bytes + (scan->position - scan->start);
        const struct frame_header *whole = (const struct frame_header *)(const void *)at;
        if (in_memory(scan) < len || !frame_body_good(whole)) {
            pass_bad_page(scan);
            continue;
        }
        scan->frame = whole;
        scan->position += page_round(len);
        return SCAN_FRAME;
    }
    return SCAN_END;
}
