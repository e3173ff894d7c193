/*
 * tests/fuzz/fuzz_influxdb_answer.c: any status, headers and body, from any server, about any request: an outcome, no
 * crash, and rejected lines that are in the request. Input: status (2 bytes), profile, count of lines; then headers
 * and body, cut at the first zero byte. The lines of the request are taken from the body as well, so that quotes can
 * match.
 */
#include <stdlib.h>

#include "outputs/influxdb_outcome.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINES_MAX = 16, LINE_BYTES = 24 };

static void check(bool right) {
    if (!right)
        abort();
}

/* Every third part of the body is a line; what is not one becomes one. */
static uint32_t make_lines(struct str body, uint32_t wanted, char *text, uint32_t *ends) {
    size_t at = 0;

    for (uint32_t i = 0; i < wanted; i++) {
        size_t from = body.len > 0 ? (i * body.len / 3) % body.len : 0;
        for (size_t j = 0; j < LINE_BYTES; j++) {
            char c = from + j < body.len ? body.data[from + j] : '\'';
            if (j > 0 && (c == '\'' || c == '\n'))
                break;
            text[at++] = c == '\n' ? 'm' : c;
        }
        text[at++] = '\n';
        ends[i] = (uint32_t)at;
    }
    return (uint32_t)at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char text[LINES_MAX * (LINE_BYTES + 1)];
    uint32_t ends[LINES_MAX];
    struct reply reply;

    if (size < 4)
        return 0;
    uint32_t count = data[3] % LINES_MAX + 1;
    const struct server_profile *server = influxdb_server(data[2] % 8 + 1);
    struct str rest = str_make((const char *)data + 4, size - 4);
    struct http_answer answer = { .status = (data[0] | data[1] << 8) % 700, .headers = str_split(&rest, '\0') };
    answer.body = rest.data != NULL ? rest : STR_EMPTY;
    uint32_t len = make_lines(answer.body, count, text, ends);
    const struct request request = { { text, len }, count, ends, STR_INIT("") };

    reply_init(&reply);
    enum influxdb_advice advice = influxdb_outcome(&answer, server, &request, &reply);
    check(reply.outcome <= REJECTED && reply.status == answer.status);
    check(reply.outcome == PARTIAL || advice == ADVICE_WITHOUT_NAMED || reply.rejected_count == 0);
    check(reply.outcome != PARTIAL || reply.rejected_count > 0);
    check(reply.outcome != DELIVERED || (answer.status >= 200 && answer.status < 300));
    check(memchr(reply.reason, '\0', sizeof reply.reason) != NULL && str_is_utf8(str_of(reply.reason)));
    for (size_t i = 0; i < reply.rejected_count; i++) {
        check(reply.rejected[i].line < count);
        check(i == 0 || reply.rejected[i].line > reply.rejected[i - 1].line);
        check(str_is_utf8(str_of(reply.rejected[i].reason)));
    }
    influxdb_recognise(&answer);
    reply_release(&reply);
    return 0;
}
