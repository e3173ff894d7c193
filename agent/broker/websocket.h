/*
 * agent/broker/websocket.h: WebSocket (RFC 6455) of a server, as far as MQTT needs it (MQTT 5.0, 6): the upgrade and the
 * frames, as pure functions over memory. Binary messages only, no extensions.
 */
#ifndef HELIOGRAF_BROKER_WEBSOCKET_H
#define HELIOGRAF_BROKER_WEBSOCKET_H

#include "agent/base/buf.h"
#include "agent/base/str.h"

/* ---- frames ----------------------------------------------------------------------------------------------------- */

enum websocket_opcode { WEBSOCKET_CONTINUATION = 0, WEBSOCKET_TEXT = 1, WEBSOCKET_BINARY = 2,
                        WEBSOCKET_OP_CLOSE = 8, WEBSOCKET_OP_PING = 9, WEBSOCKET_OP_PONG = 10 };

/* RFC 6455, 7.4.1. */
enum websocket_code {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_GOING_AWAY = 1001,
    WEBSOCKET_PROTOCOL_ERROR = 1002,
    WEBSOCKET_UNSUPPORTED = 1003,
    WEBSOCKET_NO_CODE = 1005, /* never sent: a close frame without a code */
    WEBSOCKET_BAD_TEXT = 1007,
    WEBSOCKET_TOO_BIG = 1009,
    WEBSOCKET_INTERNAL = 1011,
};

enum { WEBSOCKET_HEAD_MAX = 14, WEBSOCKET_CONTROL_MAX = 125 };
/* MQTT's largest packet; a frame may hold many, but nobody makes larger ones. */
#define WEBSOCKET_FRAME_MAX (268435455ull + 5)

/* Zeroed is ready. */
struct websocket_reader {
    uint64_t left;     /* payload bytes of the current frame that have not come */
    uint8_t mask[4];   /* turned so that mask[0] is for the next byte */
    uint8_t head[WEBSOCKET_HEAD_MAX];
    uint8_t head_len;  /* bytes of a head that has not all come */
    bool in_frame, in_message, is_control;
    uint8_t control_opcode, control_len;
    uint8_t control[WEBSOCKET_CONTROL_MAX]; /* payload of a control frame */
};

enum websocket_event {
    WEBSOCKET_ALL,   /* everything is read */
    WEBSOCKET_PING,  /* to be answered: reader->control, control_len */
    WEBSOCKET_CLOSE, /* `code` is the peer's, or WEBSOCKET_NO_CODE; nothing may follow */
    WEBSOCKET_ERROR, /* `code` is what the peer is to be told, `words` what a human is */
};

struct websocket_progress {
    size_t used;    /* bytes of `data` that are read */
    size_t payload; /* bytes of payload, now at the beginning of `data` */
    unsigned code;
    const char *words; /* static */
};

/*
 * Reads from data[progress->used] on, and puts the payload of binary messages, unmasked, behind data[progress->payload]: in
 * place, frames' heads are closed up. Call again after WEBSOCKET_PING. Frames may come in any pieces.
 */
enum websocket_event websocket_read(struct websocket_reader *reader, char *data, size_t len, struct websocket_progress *progress);

/* The head of an unmasked, final frame; returns its length, 2 to 10. */
size_t websocket_head(uint8_t out[10], enum websocket_opcode opcode, uint64_t payload);

/* ---- upgrade ---------------------------------------------------------------------------------------------------- */

enum { WEBSOCKET_UPGRADE_MAX = 8192 };

struct websocket_rules {
    const char *path;   /* that a request must be for, its query left out; "": any */
    const char *origin; /* that a browser must come from, ASCII case left out; "": any. Clients that are no browser name none */
};

struct websocket_upgrade {
    int status;            /* 101, or the HTTP error */
    const char *words;     /* static; for the peer and for the log */
    const char *protocol;  /* "mqtt", "mqttv3.1" */
    struct str key;        /* borrowed from the request */
};

/*
 * The length of a request's head with its empty line, 0 when that is not there. `from` are bytes that were looked at before, so
 * that a slow request costs no more than a fast one.
 */
size_t websocket_head_length(struct str bytes, size_t from);
/* `head` is one whole head. */
void websocket_parse_upgrade(struct str head, const struct websocket_rules *rules, struct websocket_upgrade *upgrade);
/* Appends the response to it. */
void websocket_answer(const struct websocket_upgrade *upgrade, struct buf *out);

#endif
