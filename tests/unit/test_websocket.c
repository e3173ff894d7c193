/* tests/unit/test_websocket.c: frames and upgrade by the clauses of RFC 6455, in one piece and cut at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/broker/websocket.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- frames ----------------------------------------------------------------------------------------------------- */

/* Masked with 01 02 03 04 unless told otherwise; `payload` in clear. Returns the length. */
static size_t put_frame(char *out, unsigned first, const char *payload, size_t len) {
    static const unsigned char mask[] = { 1, 2, 3, 4 };
    size_t at = 0;

    out[at++] = (char)first;
    if (len < 126) {
        out[at++] = (char)(0x80 | len);
    } else if (len < 65536) {
        out[at++] = (char)(0x80 | 126);
        out[at++] = (char)(len >> 8);
        out[at++] = (char)len;
    } else {
        out[at++] = (char)(0x80 | 127);
        for (int i = 7; i >= 0; i--)
            out[at++] = (char)((uint64_t)len >> 8 * i);
    }
    memcpy(out + at, mask, 4);
    at += 4;
    for (size_t i = 0; i < len; i++)
        out[at++] = (char)(payload[i] ^ mask[i % 4]);
    return at;
}

/* What a reader made of a stream: payload, pings, and how it ended. */
struct outcome {
    char payload[200000];
    size_t len, pings;
    char last_ping[126];
    enum websocket_event end;
    unsigned code;
    const char *words;
};

static void read_piece(struct websocket_reader *reader, const char *data, size_t len, struct outcome *outcome) {
    struct websocket_progress progress = { .used = 0 };
    char *copy = malloc(len + 1); /* exact, so that a sanitizer sees a step too far */

    memcpy(copy, data, len);
    for (;;) {
        outcome->end = websocket_read(reader, copy, len, &progress);
        assert_true(progress.used <= len && progress.payload <= progress.used);
        if (outcome->end != WEBSOCKET_PING)
            break;
        outcome->pings++;
        memcpy(outcome->last_ping, reader->control, reader->control_len);
        outcome->last_ping[reader->control_len] = '\0';
    }
    if (outcome->end == WEBSOCKET_ALL)
        assert_int_equal(progress.used, len);
    assert_true(outcome->len + progress.payload <= sizeof outcome->payload);
    memcpy(outcome->payload + outcome->len, copy, progress.payload);
    outcome->len += progress.payload;
    outcome->code = progress.code;
    outcome->words = progress.words;
    free(copy);
}

static void read_stream(const char *data, size_t len, size_t piece, struct outcome *outcome) {
    struct websocket_reader reader = { .left = 0 };

    memset(outcome, 0, sizeof *outcome);
    for (size_t at = 0; at < len && outcome->end == WEBSOCKET_ALL; at += piece)
        read_piece(&reader, data + at, len - at < piece ? len - at : piece, outcome);
}

static void read_in_all_pieces(const char *data, size_t len, struct outcome *whole) {
    static struct outcome cut;

    read_stream(data, len, len, whole);
    for (size_t piece = 1; piece < len && piece < 40; piece++) {
        read_stream(data, len, piece, &cut);
        assert_int_equal(cut.end, whole->end);
        assert_int_equal(cut.code, whole->code);
        assert_int_equal(cut.pings, whole->pings);
        assert_int_equal(cut.len, whole->len);
        assert_memory_equal(cut.payload, whole->payload, whole->len);
    }
}

static struct outcome outcome;
static char stream[300000];

static void reads_the_example_of_the_rfc(void **state) {
    static const char hello[] = "\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"; /* 5.7, as a binary frame */

    (void)state;
    read_in_all_pieces(hello, sizeof hello - 1, &outcome);
    assert_int_equal(outcome.end, WEBSOCKET_ALL);
    assert_int_equal(outcome.len, 5);
    assert_memory_equal(outcome.payload, "Hello", 5);
}

static void joins_frames_and_fragments(void **state) {
    size_t len = put_frame(stream, 0x82, "one ", 4);

    (void)state;
    len += put_frame(stream + len, 0x82, "", 0);
    len += put_frame(stream + len, 0x02, "two", 3);
    len += put_frame(stream + len, 0x89, "are you there?", 14); /* between fragments */
    len += put_frame(stream + len, 0x00, " and", 4);
    len += put_frame(stream + len, 0x8a, "unasked", 7);
    len += put_frame(stream + len, 0x80, " three", 6);
    len += put_frame(stream + len, 0x82, ", four", 6);
    read_in_all_pieces(stream, len, &outcome);
    assert_int_equal(outcome.end, WEBSOCKET_ALL);
    assert_int_equal(outcome.len, 23);
    assert_memory_equal(outcome.payload, "one two and three, four", 23);
    assert_int_equal(outcome.pings, 1);
    assert_string_equal(outcome.last_ping, "are you there?");
}

static void reads_every_length(void **state) {
    static const size_t lengths[] = { 0, 1, 7, 8, 9, 124, 125, 126, 127, 128, 1000, 65534, 65535, 65536, 70000, 150000 };
    static char payload[150000];

    (void)state;
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < COUNT(lengths); i++) {
        size_t len = put_frame(stream, 0x82, payload, lengths[i]);
        len += put_frame(stream + len, 0x82, "end", 3);
        read_in_all_pieces(stream, len, &outcome);
        assert_int_equal(outcome.end, WEBSOCKET_ALL);
        assert_int_equal(outcome.len, lengths[i] + 3);
        assert_memory_equal(outcome.payload, payload, lengths[i]);
        assert_memory_equal(outcome.payload + lengths[i], "end", 3);
    }
}

static void a_ping_of_125_bytes_is_read(void **state) {
    char text[126];

    (void)state;
    memset(text, 'p', 125);
    text[125] = '\0';
    read_in_all_pieces(stream, put_frame(stream, 0x89, text, 125), &outcome);
    assert_int_equal(outcome.end, WEBSOCKET_ALL);
    assert_int_equal(outcome.pings, 1);
    assert_string_equal(outcome.last_ping, text);
}

static struct end_row {
    const char *name;
    const char *bytes;
    size_t len;
    enum websocket_event end;
    unsigned code;
} ends[] = {
#define BYTES(text) text, sizeof(text) - 1
    { "close without a code", BYTES("\x88\x80\1\2\3\4"), WEBSOCKET_CLOSE, 1005 },
    { "close 1000", BYTES("\x88\x82\0\0\0\0\x03\xe8"), WEBSOCKET_CLOSE, 1000 },
    { "close 1001 with a reason", BYTES("\x88\x85\0\0\0\0\x03\xe9" "bye"), WEBSOCKET_CLOSE, 1001 },
    { "close 4999", BYTES("\x88\x82\0\0\0\0\x13\x87"), WEBSOCKET_CLOSE, 4999 },
    { "close of one byte", BYTES("\x88\x81\0\0\0\0\x03"), WEBSOCKET_ERROR, 1002 },
    { "close 999", BYTES("\x88\x82\0\0\0\0\x03\xe7"), WEBSOCKET_ERROR, 1002 },
    { "close 1005 is never sent", BYTES("\x88\x82\0\0\0\0\x03\xed"), WEBSOCKET_ERROR, 1002 },
    { "close 1006 is never sent", BYTES("\x88\x82\0\0\0\0\x03\xee"), WEBSOCKET_ERROR, 1002 },
    { "close 2000", BYTES("\x88\x82\0\0\0\0\x07\xd0"), WEBSOCKET_ERROR, 1002 },
    { "close 5000", BYTES("\x88\x82\0\0\0\0\x13\x88"), WEBSOCKET_ERROR, 1002 },
    { "close with a reason that is no UTF-8", BYTES("\x88\x84\0\0\0\0\x03\xe8\xc3\x28"), WEBSOCKET_ERROR, 1007 },
    { "unmasked", BYTES("\x82\x05Hello"), WEBSOCKET_ERROR, 1002 },
    { "text", BYTES("\x81\x85\0\0\0\0Hello"), WEBSOCKET_ERROR, 1003 },
    { "reserved bit 1", BYTES("\xc2\x85\0\0\0\0Hello"), WEBSOCKET_ERROR, 1002 },
    { "reserved bit 2", BYTES("\xa2\x85\0\0\0\0Hello"), WEBSOCKET_ERROR, 1002 },
    { "reserved bit 3", BYTES("\x92\x85\0\0\0\0Hello"), WEBSOCKET_ERROR, 1002 },
    { "opcode 3", BYTES("\x83\x80\0\0\0\0"), WEBSOCKET_ERROR, 1002 },
    { "opcode 7", BYTES("\x87\x80\0\0\0\0"), WEBSOCKET_ERROR, 1002 },
    { "opcode 11", BYTES("\x8b\x80\0\0\0\0"), WEBSOCKET_ERROR, 1002 },
    { "opcode 15", BYTES("\x8f\x80\0\0\0\0"), WEBSOCKET_ERROR, 1002 },
    { "continuation of nothing", BYTES("\x80\x80\0\0\0\0"), WEBSOCKET_ERROR, 1002 },
    { "continuation after a whole message", BYTES("\x82\x80\0\0\0\0\x80\x80\0\0\0\0"), WEBSOCKET_ERROR, 1002 },
    { "message within a message", BYTES("\x02\x80\0\0\0\0\x82\x80\0\0\0\0"), WEBSOCKET_ERROR, 1002 },
    { "ping in pieces", BYTES("\x09\x80\0\0\0\0"), WEBSOCKET_ERROR, 1002 },
    { "ping of 126 bytes", BYTES("\x89\xfe\0\x7e\0\0\0\0"), WEBSOCKET_ERROR, 1002 },
    { "125 in the long form", BYTES("\x82\xfe\0\x7d\0\0\0\0"), WEBSOCKET_ERROR, 1002 },
    { "65535 in the longest form", BYTES("\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0"), WEBSOCKET_ERROR, 1002 },
    { "length with its highest bit", BYTES("\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0"), WEBSOCKET_ERROR, 1002 },
    { "larger than any packet", BYTES("\x82\xff\0\0\0\0\x10\0\0\x05\0\0\0\0"), WEBSOCKET_ERROR, 1009 },
    { "2^63 - 1 bytes", BYTES("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"), WEBSOCKET_ERROR, 1009 },
    { "as large as the largest packet", BYTES("\x82\xff\0\0\0\0\x10\0\0\x04\0\0\0\0"), WEBSOCKET_ALL, 0 },
};

static void ends_as_it_should(void **state) {
    const struct end_row *row = *state;

    read_in_all_pieces(row->bytes, row->len, &outcome);
    assert_int_equal(outcome.end, row->end);
    assert_int_equal(outcome.code, row->code);
    assert_true((outcome.words != NULL) == (row->end == WEBSOCKET_ERROR));
    /* What came before it is not lost. */
    size_t len = put_frame(stream, 0x82, "before", 6);
    memcpy(stream + len, row->bytes, row->len);
    read_in_all_pieces(stream, len + row->len, &outcome);
    assert_int_equal(outcome.end, row->end);
    assert_memory_equal(outcome.payload, "before", 6);
}

static void heads_are_written_in_the_shortest_form(void **state) {
    uint8_t head[10];

    (void)state;
    assert_int_equal(websocket_head(head, WEBSOCKET_BINARY, 125), 2);
    assert_memory_equal(head, "\x82\x7d", 2);
    assert_int_equal(websocket_head(head, WEBSOCKET_BINARY, 126), 4);
    assert_memory_equal(head, "\x82\x7e\x00\x7e", 4);
    assert_int_equal(websocket_head(head, WEBSOCKET_BINARY, 65535), 4);
    assert_memory_equal(head, "\x82\x7e\xff\xff", 4);
    assert_int_equal(websocket_head(head, WEBSOCKET_BINARY, 65536), 10);
    assert_memory_equal(head, "\x82\x7f\0\0\0\0\0\1\0\0", 10);
    assert_int_equal(websocket_head(head, WEBSOCKET_OP_CLOSE, 2), 2);
    assert_memory_equal(head, "\x88\x02", 2);
}

/* ---- upgrade ---------------------------------------------------------------------------------------------------- */

#define LINE  "GET /mqtt HTTP/1.1\r\n"
#define HOST  "Host: broker.example:8083\r\n"
#define WHERE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13   "Sec-WebSocket-Version: 13\r\n"
#define MQTT  "Sec-WebSocket-Protocol: mqtt\r\n"

static struct upgrade_row {
    const char *name, *head;
    int status;
    const char *protocol, *path, *origin;
} upgrades[] = {
    { "upgrade: good", LINE HOST WHERE KEY V13 MQTT, 101, "mqtt", NULL, NULL },
    { "upgrade: of MQTT 3.1", LINE HOST WHERE KEY V13 "Sec-WebSocket-Protocol: mqttv3.1\r\n", 101, "mqttv3.1", NULL, NULL },
    { "upgrade: mqtt is preferred", LINE HOST WHERE KEY V13 "Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n", 101, "mqtt", NULL, NULL },
    { "upgrade: mqtt in a second field", LINE HOST WHERE KEY V13 "Sec-WebSocket-Protocol: a\r\n" MQTT, 101, "mqtt", NULL, NULL },
    { "upgrade: names and tokens in any case", "GET / HTTP/1.1\r\nhOST:x\r\nuPGRADE:WebSocket\r\ncONNECTION:keep-alive,UPGRADE\r\n" KEY V13 MQTT,
      101, "mqtt", NULL, NULL },
    { "upgrade: Connection twice", LINE HOST "Upgrade: websocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n" KEY V13 MQTT, 101, "mqtt", NULL, NULL },
    { "upgrade: extensions are not agreed to", LINE HOST WHERE KEY V13 MQTT "Sec-WebSocket-Extensions: permessage-deflate\r\n", 101, "mqtt", NULL, NULL },
    { "upgrade: absolute form", "GET http://x:1/mqtt?a=b HTTP/1.1\r\n" HOST WHERE KEY V13 MQTT, 101, "mqtt", "/mqtt", NULL },
    { "upgrade: the query does not count", "GET /mqtt?token=1 HTTP/1.1\r\n" HOST WHERE KEY V13 MQTT, 101, "mqtt", "/mqtt", NULL },
    { "upgrade: another path", LINE HOST WHERE KEY V13 MQTT, 404, NULL, "/ws", NULL },
    { "upgrade: a longer path", "GET /mqtt/ HTTP/1.1\r\n" HOST WHERE KEY V13 MQTT, 404, NULL, "/mqtt", NULL },
    { "upgrade: the right origin", LINE HOST WHERE KEY V13 MQTT "Origin: HTTPS://Plant.example\r\n", 101, "mqtt", NULL, "https://plant.example" },
    { "upgrade: no browser, no origin", LINE HOST WHERE KEY V13 MQTT, 101, "mqtt", NULL, "https://plant.example" },
    { "upgrade: another origin", LINE HOST WHERE KEY V13 MQTT "Origin: https://evil.example\r\n", 403, NULL, NULL, "https://plant.example" },
    { "upgrade: a longer origin", LINE HOST WHERE KEY V13 MQTT "Origin: https://plant.example.evil\r\n", 403, NULL, NULL, "https://plant.example" },
    { "upgrade: an empty origin", LINE HOST WHERE KEY V13 MQTT "Origin:\r\n", 403, NULL, NULL, "https://plant.example" },
    { "upgrade: two origins", LINE HOST WHERE KEY V13 MQTT "Origin: https://plant.example\r\nOrigin: x\r\n", 400, NULL, NULL, "https://plant.example" },
    { "upgrade: no subprotocol", LINE HOST WHERE KEY V13, 400, NULL, NULL, NULL },
    { "upgrade: another subprotocol", LINE HOST WHERE KEY V13 "Sec-WebSocket-Protocol: chat, mqtt5\r\n", 400, NULL, NULL, NULL },
    { "upgrade: the subprotocol has its case", LINE HOST WHERE KEY V13 "Sec-WebSocket-Protocol: MQTT\r\n", 400, NULL, NULL, NULL },
    { "upgrade: no key", LINE HOST WHERE V13 MQTT, 400, NULL, NULL, NULL },
    { "upgrade: a short key", LINE HOST WHERE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ===\r\n" V13 MQTT, 400, NULL, NULL, NULL },
    { "upgrade: a key that is no base64", LINE HOST WHERE "Sec-WebSocket-Key: dGhlIHNhbXBsZSB*b25jZQ==\r\n" V13 MQTT, 400, NULL, NULL, NULL },
    { "upgrade: two keys", LINE HOST WHERE KEY KEY V13 MQTT, 400, NULL, NULL, NULL },
    { "upgrade: no host", LINE WHERE KEY V13 MQTT, 400, NULL, NULL, NULL },
    { "upgrade: version 8", LINE HOST WHERE KEY "Sec-WebSocket-Version: 8\r\n" MQTT, 426, NULL, NULL, NULL },
    { "upgrade: no version", LINE HOST WHERE KEY MQTT, 426, NULL, NULL, NULL },
    { "upgrade: a browser's GET", LINE HOST "Accept: text/html\r\n", 426, NULL, NULL, NULL },
    { "upgrade: to something else", LINE HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY V13 MQTT, 426, NULL, NULL, NULL },
    { "upgrade: no Connection", LINE HOST "Upgrade: websocket\r\n" KEY V13 MQTT, 426, NULL, NULL, NULL },
    { "upgrade: POST", "POST /mqtt HTTP/1.1\r\n" HOST WHERE KEY V13 MQTT, 405, NULL, NULL, NULL },
    { "upgrade: HTTP/1.0", "GET /mqtt HTTP/1.0\r\n" HOST WHERE KEY V13 MQTT, 505, NULL, NULL, NULL },
    { "upgrade: HTTP/1.10", "GET /mqtt HTTP/1.10\r\n" HOST WHERE KEY V13 MQTT, 505, NULL, NULL, NULL },
    { "upgrade: no HTTP", "HELO plant\r\n" HOST, 400, NULL, NULL, NULL },
    { "upgrade: blanks between", "GET  /mqtt HTTP/1.1\r\n" HOST WHERE KEY V13 MQTT, 400, NULL, NULL, NULL },
    { "upgrade: no path", "GET * HTTP/1.1\r\n" HOST WHERE KEY V13 MQTT, 400, NULL, NULL, NULL },
    { "upgrade: a folded field", LINE HOST WHERE KEY V13 MQTT "X: a\r\n b\r\n", 400, NULL, NULL, NULL },
    { "upgrade: a field without a name", LINE HOST WHERE KEY V13 MQTT ": x\r\n", 400, NULL, NULL, NULL },
    { "upgrade: a blank before the colon", LINE "Host : x\r\n" WHERE KEY V13 MQTT, 400, NULL, NULL, NULL },
    { "upgrade: a carriage return in a field", LINE HOST WHERE KEY V13 MQTT "X: a\rb\r\n", 400, NULL, NULL, NULL },
};

static void answers_as_it_should(void **state) {
    const struct upgrade_row *row = *state;
    const struct websocket_rules rules = { row->path != NULL ? row->path : "", row->origin != NULL ? row->origin : "" };
    struct websocket_upgrade upgrade;
    struct buf answer = BUF_INIT(4096);
    char head[2048], start[16];
    size_t len = (size_t)snprintf(head, sizeof head, "%s\r\n", row->head);

    assert_int_equal(websocket_head_length(str_make(head, len), 0), len);
    websocket_parse_upgrade(str_make(head, len), &rules, &upgrade);
    assert_int_equal(upgrade.status, row->status);
    websocket_answer(&upgrade, &answer);
    snprintf(start, sizeof start, "HTTP/1.1 %d ", row->status);
    assert_true(str_starts_with(buf_str(&answer), str_of(start)));
    if (row->status == 101) {
        assert_string_equal(upgrade.protocol, row->protocol);
        assert_non_null(strstr(buf_cstr(&answer), "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")); /* RFC 6455, 1.3 */
        assert_null(strstr(buf_cstr(&answer), "Extensions"));
    } else {
        const char *body = strstr(buf_cstr(&answer), "\r\n\r\n"), *length = strstr(buf_cstr(&answer), "Content-Length: ");
        assert_non_null(body);
        assert_int_equal(strtoul(length + 16, NULL, 10), strlen(body + 4));
        assert_true(strlen(body + 4) > 10);
    }
    assert_true((strstr(buf_cstr(&answer), "Sec-WebSocket-Version: 13") != NULL) == (row->status == 426));
    buf_release(&answer);
}

static void a_nul_in_the_head_is_refused(void **state) {
    static const char head[] = LINE HOST WHERE KEY V13 MQTT "X: a\0b\r\n\r\n";
    const struct websocket_rules rules = { "", "" };
    struct websocket_upgrade upgrade;

    (void)state;
    websocket_parse_upgrade(str_make(head, sizeof head - 1), &rules, &upgrade);
    assert_int_equal(upgrade.status, 400);
}

static void the_end_of_a_head_is_found_at_once(void **state) {
    static const char head[] = LINE HOST "\r\n";
    struct str whole = str_make(head, sizeof head - 1);

    (void)state;
    /* However it was cut: the end is found as soon as it is there, and not before. */
    for (size_t cut = 0; cut < whole.len; cut++) {
        assert_int_equal(websocket_head_length(str_make(head, cut), 0), 0);
        assert_int_equal(websocket_head_length(whole, cut), whole.len);
    }
    assert_int_equal(websocket_head_length(STR("a\n\nb\r\n\r\r\n"), 0), 0);
}

int main(void) {
    struct CMUnitTest tests[COUNT(ends) + COUNT(upgrades) + 7];
    size_t count = 0;

    for (size_t i = 0; i < COUNT(ends); i++)
        tests[count++] = (struct CMUnitTest){ ends[i].name, ends_as_it_should, NULL, NULL, &ends[i] };
    for (size_t i = 0; i < COUNT(upgrades); i++)
        tests[count++] = (struct CMUnitTest){ upgrades[i].name, answers_as_it_should, NULL, NULL, &upgrades[i] };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(reads_the_example_of_the_rfc),    cmocka_unit_test(joins_frames_and_fragments),
        cmocka_unit_test(reads_every_length),              cmocka_unit_test(a_ping_of_125_bytes_is_read),
        cmocka_unit_test(heads_are_written_in_the_shortest_form), cmocka_unit_test(a_nul_in_the_head_is_refused),
        cmocka_unit_test(the_end_of_a_head_is_found_at_once),
    };
    memcpy(tests + count, others, sizeof others);
    count += COUNT(others);
    return _cmocka_run_group_tests("websocket", tests, count, NULL, NULL);
}
