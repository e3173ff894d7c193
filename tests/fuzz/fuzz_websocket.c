/*
 * tests/fuzz/fuzz_websocket.c: the first byte chooses between frames and upgrade, the rest is what a peer sends. Frames: cut
 * anywhere they come to the same payload, pings and end as in one piece, and to what a plain reading of RFC 6455 says.
 * Upgrade: the answer is one whole HTTP answer.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/broker/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds)
        abort();
}

/* What became of a stream. */
struct outcome {
    struct buf payload, pongs;
    enum websocket_event end;
    unsigned code;
};

static void release(struct outcome *outcome) {
    buf_release(&outcome->payload);
    buf_release(&outcome->pongs);
}

static void read_piece(struct websocket_reader *reader, const uint8_t *data, size_t len, struct outcome *outcome) {
    struct websocket_progress progress = { .used = 0 };
    char *copy = malloc(len + 1);

    memcpy(copy, data, len);
    while ((outcome->end = websocket_read(reader, copy, len, &progress)) == WEBSOCKET_PING)
        buf_append(&outcome->pongs, reader->control, reader->control_len);
    require(progress.payload <= progress.used && progress.used <= len);
    require(outcome->end != WEBSOCKET_ALL || progress.used == len);
    require(outcome->end != WEBSOCKET_ERROR || progress.words != NULL);
    buf_append(&outcome->payload, copy, progress.payload);
    outcome->code = progress.code;
    free(copy);
}

static struct outcome read_in_pieces(const uint8_t *data, size_t size, size_t piece) {
    struct outcome outcome = { BUF_INIT(1 << 20), BUF_INIT(1 << 20), WEBSOCKET_ALL, 0 };
    struct websocket_reader reader = { .left = 0 };

    for (size_t at = 0; at < size && outcome.end == WEBSOCKET_ALL; at += piece)
        read_piece(&reader, data + at, size - at < piece ? size - at : piece, &outcome);
    return outcome;
}

/* Frame by frame, the naive way; stops at the first that is not whole or not allowed. True while the stream was good so far. */
static bool read_plainly(const uint8_t *data, size_t size, struct buf *payload) {
    bool in_message = false;

    for (size_t at = 0; at + 2 <= size;) {
        unsigned opcode = data[at] & 15, length = data[at + 1] & 127, wide = length == 126 ? 2 : length == 127 ? 8 : 0;
        uint64_t len = wide == 0 ? length : 0;
        size_t head = at + 2 + wide + 4;
        if ((data[at] & 0x70) || !(data[at + 1] & 128) || (opcode > 2 && opcode < 8) || opcode > 10 || opcode == 1)
            return false;
        if ((opcode >= 8 && (length > 125 || !(data[at] & 128))) || (opcode == 0 && !in_message) || (opcode == 2 && in_message))
            return false;
        if (head > size)
            return true;
        for (unsigned i = 0; i < wide; i++)
            len = len << 8 | data[at + 2 + i];
        if ((wide == 2 && len < 126) || (wide == 8 && len < 65536) || len > WEBSOCKET_FRAME_MAX)
            return false;
        if (opcode == 8)
            return len > size - head; /* the end, good or bad, once it is whole */
        for (uint64_t i = 0; i < len && head + i < size; i++)
            if (opcode < 8)
                buf_append_char(payload, (char)(data[head + i] ^ data[head - 4 + i % 4]));
        if (opcode < 8)
            in_message = !(data[at] & 128);
        if (len > size - head)
            return true;
        at = head + (size_t)len;
    }
    return true;
}

static void fuzz_frames(const uint8_t *data, size_t size) {
    static const size_t pieces[] = { 1, 2, 3, 7, 13, 64 };
    struct outcome whole = read_in_pieces(data, size, size + 1);
    struct buf plain = BUF_INIT(1 << 20);
    bool good = read_plainly(data, size, &plain);

    require(str_eq(buf_str(&plain), buf_str(&whole.payload)));
    require(good == (whole.end == WEBSOCKET_ALL));
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct outcome cut = read_in_pieces(data, size, pieces[i]);
        require(cut.end == whole.end && cut.code == whole.code);
        require(str_eq(buf_str(&cut.payload), buf_str(&whole.payload)) && str_eq(buf_str(&cut.pongs), buf_str(&whole.pongs)));
        release(&cut);
    }
    release(&whole);
    buf_release(&plain);
}

static void check_answer(const struct websocket_upgrade *upgrade) {
    struct buf answer = BUF_INIT(4096);
    const char *body, *length;

    websocket_answer(upgrade, &answer);
    require(!answer.failed && answer.len < 1024);
    require(sscanf(buf_cstr(&answer), "HTTP/1.1 %*d") == 0 && memchr(answer.data, '\0', answer.len) == NULL);
    body = strstr(buf_cstr(&answer), "\r\n\r\n");
    require(body != NULL);
    length = strstr(buf_cstr(&answer), "Content-Length: ");
    require(upgrade->status == 101 ? body[4] == '\0' : strtoul(length + 16, NULL, 10) == strlen(body + 4));
    buf_release(&answer);
}

static void fuzz_upgrade(const uint8_t *data, size_t size) {
    const struct websocket_rules strict = { "/mqtt", "https://plant.example" }, open = { "", "" };
    struct str bytes = str_make((const char *)data, size);
    struct websocket_upgrade upgrade;
    size_t head = websocket_head_length(bytes, 0);

    /* Byte by byte: found at the same place, and as soon as it is there. */
    for (size_t len = 1; len <= size && len <= 512; len++)
        require(websocket_head_length(str_make(bytes.data, len), len - 1) == (head > 0 && len == head ? head : 0) || len > head);
    websocket_parse_upgrade(bytes, &open, &upgrade);
    check_answer(&upgrade);
    if (upgrade.status != 101)
        return;
    websocket_parse_upgrade(bytes, &strict, &upgrade);
    require(upgrade.status == 101 || upgrade.status == 403 || upgrade.status == 404);
    check_answer(&upgrade);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *copy;

    if (size == 0 || size > 16384)
        return 0;
    copy = malloc(size - 1); /* exact, for the sanitizer */
    memcpy(copy, data + 1, size - 1);
    if (data[0] & 1)
        fuzz_upgrade(copy, size - 1);
    else
        fuzz_frames(copy, size - 1);
    free(copy);
    return 0;
}
