/* agent/broker/transport_websocket.c: WebSocket between the stream and the packets. What waits to be sent goes out in frames as large as it is. */
#include "agent/broker/transport_internal.h"

#include <stdlib.h>

enum {
    FRAME_BYTES = 64 * 1024, /* of one frame of ours, so that a pong does not wait for long */
    URGENT_BYTES = 4096,
    PONG_BYTES = 2048, /* answers to pings beyond that are left out (RFC 6455, 5.5.3) */
};

bool transport_websocket_start(struct transport *transport) {
    transport->websocket = calloc(1, sizeof *transport->websocket);
    if (transport->websocket == NULL)
        return false;
    buf_init(&transport->websocket->urgent, URGENT_BYTES);
    transport->websocket->close_code = WEBSOCKET_NORMAL;
    transport->peer.websocket = true;
    return true;
}

void transport_websocket_free(struct transport *transport) {
    if (transport->websocket == NULL)
        return;
    buf_release(&transport->websocket->urgent);
    free(transport->websocket);
    transport->websocket = NULL;
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */

static bool begin_frame(struct transport *transport) {
    struct transport_websocket *websocket = transport->websocket;
    size_t payload = transport->output.bytes < FRAME_BYTES ? transport->output.bytes : FRAME_BYTES;

    if (payload == 0)
        return false;
    websocket->head_len = (uint8_t)websocket_head(websocket->head, WEBSOCKET_BINARY, payload);
    websocket->head_done = 0;
    websocket->frame_left = (uint32_t)payload;
    websocket->in_frame = true;
    return true;
}

/* What is urgent goes between frames. */
size_t transport_websocket_gather(struct transport *transport, struct iovec *vectors, size_t *count, size_t limit) {
    struct transport_websocket *websocket = transport->websocket;
    size_t max = *count, head, left;

    *count = 0;
    if (!websocket->in_frame && websocket->urgent.len > 0) {
        left = websocket->urgent.len - websocket->urgent_done;
        vectors[0] = (struct iovec){ websocket->urgent.data + websocket->urgent_done, left < limit ? left : limit };
        *count = 1;
        return vectors[0].iov_len;
    }
    if (!websocket->in_frame && !begin_frame(transport))
        return 0;
    head = websocket->head_len - websocket->head_done;
    if (head > 0)
        vectors[(*count)++] = (struct iovec){ websocket->head + websocket->head_done, head };
    left = websocket->frame_left < limit - head ? websocket->frame_left : limit - head;
    max -= *count;
    left = output_gather(&transport->output, vectors + *count, &max, left);
    *count += max;
    return head + left;
}

static void advance_urgent(struct transport_websocket *websocket, size_t bytes) {
    websocket->urgent_done += bytes;
    if (websocket->urgent_done < websocket->urgent.len)
        return;
    buf_release(&websocket->urgent);
    websocket->urgent_done = 0;
}

void transport_websocket_advance(struct transport *transport, size_t bytes) {
    struct transport_websocket *websocket = transport->websocket;
    size_t head = websocket->head_len - websocket->head_done;

    if (bytes == 0)
        return;
    if (!websocket->in_frame) {
        advance_urgent(websocket, bytes);
        return;
    }
    if (head > bytes)
        head = bytes;
    websocket->head_done = (uint8_t)(websocket->head_done + head);
    output_advance(&transport->output, &transport->shared->pool, bytes - head);
    websocket->frame_left -= (uint32_t)(bytes - head);
    websocket->in_frame = websocket->frame_left > 0 || websocket->head_done < websocket->head_len;
}

static void put_control(struct transport *transport, enum websocket_opcode opcode, const void *payload, size_t len) {
    struct buf *urgent = &transport->websocket->urgent;
    uint8_t head[10];

    buf_append(urgent, head, websocket_head(head, opcode, len));
    buf_append(urgent, payload, len);
    if (!transport->blocked)
        transport_touch(transport);
}

void transport_websocket_goodbye(struct transport *transport) {
    struct transport_websocket *websocket = transport->websocket;
    const uint8_t code[2] = { (uint8_t)(websocket->close_code >> 8), (uint8_t)websocket->close_code };

    websocket->said_goodbye = true;
    put_control(transport, WEBSOCKET_OP_CLOSE, code, websocket->close_code != WEBSOCKET_NO_CODE ? sizeof code : 0);
}

/* ---- upgrade ---------------------------------------------------------------------------------------------------- */

static void refuse(struct transport *transport, const struct websocket_upgrade *upgrade) {
    char words[160];

    snprintf(words, sizeof words, "its WebSocket request was answered with %d: %s", upgrade->status, upgrade->words);
    websocket_answer(upgrade, &transport->websocket->urgent);
    transport_fail(transport, TRANSPORT_WEBSOCKET, words);
}

/* Answers a whole head; false when the answer is no. */
static bool answer_request(struct transport *transport, struct str head) {
    struct websocket_upgrade upgrade;

    websocket_parse_upgrade(head, transport->origin->websocket, &upgrade);
    if (upgrade.status != 101) {
        refuse(transport, &upgrade);
        return false;
    }
    websocket_answer(&upgrade, &transport->websocket->urgent);
    return true;
}

/*
 * Collects the head of the request in what is kept, unless it comes in one piece; returns how many of the new bytes belong to
 * it, when it is whole and good. 0: it is not, or the transport has ended.
 */
static size_t read_request(struct transport *transport, const char *data, size_t len) {
    static const struct websocket_upgrade too_long = { .status = 431, .words = "The request's head is longer than 8 KiB." };
    size_t before = transport->kept_len, room = WEBSOCKET_UPGRADE_MAX - before, head;
    struct str whole;

    if (len > room)
        len = room;
    whole = str_make(data, len);
    if (before > 0) {
        if (!transport_keep(transport, data, len))
            return 0;
        whole = str_make(transport->kept, transport->kept_len);
    }
    head = websocket_head_length(whole, before);
    if (head > 0)
        return answer_request(transport, str_make(whole.data, head)) ? head - before : 0;
    if (whole.len == WEBSOCKET_UPGRADE_MAX)
        refuse(transport, &too_long);
    else if (before == 0)
        transport_keep(transport, data, len);
    return 0;
}

/* As read_request, and the transport is its owner's. */
static size_t upgrade(struct transport *transport, const char *data, size_t len) {
    size_t used = read_request(transport, data, len);

    if (used == 0)
        return 0;
    transport_drop_kept(transport);
    transport->websocket->upgraded = true;
    transport_touch(transport);
    transport_ready(transport);
    return transport->state == TRANSPORT_OPEN ? used : 0;
}

/* ---- receiving -------------------------------------------------------------------------------------------------- */

static void end_with(struct transport *transport, enum websocket_event event, const struct websocket_progress *progress) {
    transport->websocket->close_code = progress->code;
    if (event == WEBSOCKET_CLOSE)
        transport_fail(transport, TRANSPORT_CLOSED, "it has closed the WebSocket");
    else
        transport_fail(transport, TRANSPORT_WEBSOCKET, progress->words);
}

static void read_frames(struct transport *transport, char *data, size_t len) {
    struct transport_websocket *websocket = transport->websocket;
    struct websocket_progress progress = { .used = 0 };
    enum websocket_event event;

    do {
        event = websocket_read(&websocket->reader, data, len, &progress);
        if (event == WEBSOCKET_PING && websocket->urgent.len < PONG_BYTES)
            put_control(transport, WEBSOCKET_OP_PONG, websocket->reader.control, websocket->reader.control_len);
    } while (event == WEBSOCKET_PING);
    transport_deliver(transport, data, progress.payload);
    if (event != WEBSOCKET_ALL && transport_is_alive(transport))
        end_with(transport, event, &progress);
}

void transport_websocket_input(struct transport *transport, char *data, size_t len) {
    size_t used = 0;

    if (!transport->websocket->upgraded) {
        used = upgrade(transport, data, len);
        if (used == 0)
            return;
    }
    if (used < len)
        read_frames(transport, data + used, len - used);
}
