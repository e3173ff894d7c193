/* agent/broker/websocket.c: the frames of RFC 6455, section 5. A reader keeps a head that was cut, and control frames; payload is never kept. */
#include "agent/broker/websocket.h"

/* Copies and unmasks `len` bytes to a place that is the same or before, eight at a time. The mask stays turned to the next byte. */
static void unmask(char *to, const char *from, size_t len, uint8_t mask[4]) {
    uint64_t word, wide;
    uint8_t turned[4];
    size_t i = 0;

    memcpy(&wide, mask, 4);
    memcpy((char *)&wide + 4, mask, 4);
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= wide;
        memcpy(to + i, &word, 8);
    }
    for (; i < len; i++)
        to[i] = (char)((uint8_t)from[i] ^ mask[i % 4]);
    for (i = 0; i < 4; i++)
        turned[i] = mask[(len + i) % 4];
    memcpy(mask, turned, 4);
}

static enum websocket_event refuse(struct websocket_progress *progress, unsigned code, const char *words) {
    progress->code = code;
    progress->words = words;
    return WEBSOCKET_ERROR;
}

/* How long a head is that begins with these two bytes; the mask always belongs to it. */
static size_t head_size(const uint8_t *head) {
    unsigned length = head[1] & 127;

    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + 4;
}

static uint64_t head_payload(const uint8_t *head) {
    unsigned length = head[1] & 127, bytes = length == 126 ? 2 : length == 127 ? 8 : 0;
    uint64_t number = 0;

    if (bytes == 0)
        return length;
    for (unsigned i = 0; i < bytes; i++)
        number = number << 8 | head[2 + i];
    return number;
}

/* What the first two bytes say that may not be: refused before the rest is waited for. */
static enum websocket_event check_start(const struct websocket_reader *reader, struct websocket_progress *progress) {
    unsigned opcode = reader->head[0] & 15;
    bool final = reader->head[0] & 128;

    if (reader->head[0] & 0x70)
        return refuse(progress, WEBSOCKET_PROTOCOL_ERROR, "a frame with reserved bits; no extension was agreed on");
    if (!(reader->head[1] & 128))
        return refuse(progress, WEBSOCKET_PROTOCOL_ERROR, "a frame that is not masked");
    switch (opcode) {
    case WEBSOCKET_TEXT:
        return refuse(progress, WEBSOCKET_UNSUPPORTED, "a text frame; MQTT goes in binary frames");
    case WEBSOCKET_CONTINUATION:
        if (!reader->in_message)
            return refuse(progress, WEBSOCKET_PROTOCOL_ERROR, "a continuation of no message");
        return WEBSOCKET_ALL;
    case WEBSOCKET_BINARY:
        if (reader->in_message)
            return refuse(progress, WEBSOCKET_PROTOCOL_ERROR, "a new message within a message");
        return WEBSOCKET_ALL;
    case WEBSOCKET_OP_CLOSE:
    case WEBSOCKET_OP_PING:
    case WEBSOCKET_OP_PONG:
        if (!final || (reader->head[1] & 127) > WEBSOCKET_CONTROL_MAX)
            return refuse(progress, WEBSOCKET_PROTOCOL_ERROR, "a control frame in pieces, or of more than 125 bytes");
        return WEBSOCKET_ALL;
    }
    return refuse(progress, WEBSOCKET_PROTOCOL_ERROR, "a frame of an unknown kind");
}

static enum websocket_event begin_frame(struct websocket_reader *reader, struct websocket_progress *progress) {
    const uint8_t *head = reader->head;
    uint64_t payload = head_payload(head);
    unsigned length = head[1] & 127, opcode = head[0] & 15;

    if ((length == 126 && payload < 126) || (length == 127 && (payload < 65536 || payload >> 63 != 0)))
        return refuse(progress, WEBSOCKET_PROTOCOL_ERROR, "a frame whose length is not written in the shortest form");
    if (payload > WEBSOCKET_FRAME_MAX)
        return refuse(progress, WEBSOCKET_TOO_BIG, "a frame larger than any MQTT packet");
    memcpy(reader->mask, head + reader->head_len - 4, 4);
    reader->left = payload;
    reader->head_len = 0;
    reader->in_frame = true;
    reader->is_control = opcode >= 8;
    if (reader->is_control) {
        reader->control_opcode = (uint8_t)opcode;
        reader->control_len = 0;
    } else {
        reader->in_message = !(head[0] & 128);
    }
    return WEBSOCKET_ALL;
}

/* Takes bytes of a head; begins the frame when it is whole. */
static enum websocket_event read_head(struct websocket_reader *reader, const char *data, size_t len,
                                      struct websocket_progress *progress) {
    while (progress->used < len) {
        reader->head[reader->head_len++] = (uint8_t)data[progress->used++];
        if (reader->head_len == 2 && check_start(reader, progress) != WEBSOCKET_ALL)
            return WEBSOCKET_ERROR;
        if (reader->head_len >= 2 && reader->head_len == head_size(reader->head))
            return begin_frame(reader, progress);
    }
    return WEBSOCKET_ALL;
}

/* Codes that may be in a close frame: those of the RFC that are not only for reports, those of libraries, private ones. */
static bool is_sendable(unsigned code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static enum websocket_event finish_close(const struct websocket_reader *reader, struct websocket_progress *progress) {
    const uint8_t *body = reader->control;

    progress->code = WEBSOCKET_NO_CODE;
    if (reader->control_len == 0)
        return WEBSOCKET_CLOSE;
    if (reader->control_len == 1)
        return refuse(progress, WEBSOCKET_PROTOCOL_ERROR, "a close frame of one byte");
    progress->code = (unsigned)body[0] << 8 | body[1];
    if (!is_sendable(progress->code))
        return refuse(progress, WEBSOCKET_PROTOCOL_ERROR, "a close frame with a code that is not sent");
    if (!str_is_utf8(str_make((const char *)body + 2, reader->control_len - 2u)))
        return refuse(progress, WEBSOCKET_BAD_TEXT, "a close frame whose reason is no UTF-8");
    return WEBSOCKET_CLOSE;
}

static enum websocket_event finish_frame(struct websocket_reader *reader, struct websocket_progress *progress) {
    reader->in_frame = false;
    if (!reader->is_control || reader->control_opcode == WEBSOCKET_OP_PONG)
        return WEBSOCKET_ALL;
    return reader->control_opcode == WEBSOCKET_OP_PING ? WEBSOCKET_PING : finish_close(reader, progress);
}

static void read_payload(struct websocket_reader *reader, char *data, size_t len, struct websocket_progress *progress) {
    size_t take = len - progress->used;

    if (take > reader->left)
        take = (size_t)reader->left;
    if (reader->is_control) {
        unmask((char *)reader->control + reader->control_len, data + progress->used, take, reader->mask);
        reader->control_len = (uint8_t)(reader->control_len + take);
    } else {
        unmask(data + progress->payload, data + progress->used, take, reader->mask);
        progress->payload += take;
    }
    progress->used += take;
    reader->left -= take;
}

enum websocket_event websocket_read(struct websocket_reader *reader, char *data, size_t len,
                                    struct websocket_progress *progress) {
    enum websocket_event event = WEBSOCKET_ALL;

    while (progress->used < len && event == WEBSOCKET_ALL) {
        if (!reader->in_frame)
            event = read_head(reader, data, len, progress);
        if (event != WEBSOCKET_ALL || !reader->in_frame)
            continue;
        read_payload(reader, data, len, progress);
        if (reader->left == 0)
            event = finish_frame(reader, progress);
    }
    return event;
}

size_t websocket_head(uint8_t out[10], enum websocket_opcode opcode, uint64_t payload) {
    unsigned bytes = payload < 126 ? 0 : payload < 65536 ? 2 : 8;

    out[0] = (uint8_t)(128 | opcode);
    out[1] = (uint8_t)(bytes == 0 ? payload : bytes == 2 ? 126 : 127);
    for (unsigned i = 0; i < bytes; i++)
        out[2 + i] = (uint8_t)(payload >> 8 * (bytes - 1 - i));
    return 2 + bytes;
}
