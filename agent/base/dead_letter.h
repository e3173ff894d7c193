/*
 * agent/base/dead_letter.h: data that can never be stored, with all that is needed to see why. Whoever gives up on data
 * puts it into a sink that wiring filled in; the sink copies, never blocks, and does no I/O on the caller's thread.
 */
#ifndef HELIOGRAF_BASE_DEAD_LETTER_H
#define HELIOGRAF_BASE_DEAD_LETTER_H

#include "agent/base/str.h"

struct dead_letter {
    int64_t time_ns;      /* when the message arrived, or the line was given up */
    struct str stage;     /* "ingest" (data is a payload) or "delivery" (data is one line of line protocol) */
    struct str input;     /* alias or name of the input; empty when not known. Of a line: of the inputs that take its topic, `a, b` */
    struct str output;    /* alias or name of the output; empty for ingest */
    struct str topic;
    struct str reason;    /* ours, short and bounded in kinds: "syntax", "rejected", ... */
    struct str detail;    /* in words: the parser's error, or the server's answer */
    struct str data;      /* payload or line, without its newline */
    int status;           /* HTTP status of the server's answer; 0: none */
    uint64_t full_bytes;  /* of the payload, when `data` is only its beginning; 0: it is all there */
    uint64_t id;          /* of a letter that was read from a ring: a hash of how it stands there; 0: not read */
};

struct dead_letter_sink {
    void *ctx;
    void (*put)(void *ctx, const struct dead_letter *letter); /* any thread */
};

#endif
