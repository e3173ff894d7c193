/*
 * tests/fuzz/fuzz_status.c: raw bytes to the status endpoint over a socket pair. Whatever comes in, an answer that goes
 * out is one whole HTTP answer, and the label escaping survives the same bytes.
 */
#include <event2/event.h>
#include <event2/util.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/status/http.h"
#include "agent/status/internal.h"
#include "agent/status/page.h"
#include "agent/status/status.h"

static const struct metric_desc echo = { "messages_total", "Echo.", "ledger", METRIC_COUNTER };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds)
        abort();
}

static void collect(void *ctx, const struct metric_writer *writer) {
    metric_sample(writer, &echo, "output", ctx, "outcome", ctx, 1);
}

/* The request's own path, as a label, on every page there is. */
static void handle(void *ctx, struct str path, struct http_reply *reply) {
    struct metric_registry metrics = { .count = 0 };
    struct snapshot snapshot;
    struct page page = { .snapshot = &snapshot, .why = path };
    struct buf text = BUF_INIT(1 << 20), lines = BUF_INIT(1 << 20);

    (void)ctx;
    buf_append_str(&text, path);
    metric_register(&metrics, (struct metric_source){ (void *)buf_cstr(&text), collect });
    status_prometheus(&metrics, &reply->body);
    snapshot_take(&snapshot, &metrics);
    page_write(&page, &reply->body);
    snapshot_release(&snapshot);
    require(internal_write(&metrics, 42, &lines));
    require(memchr(lines.data, '\n', lines.len) == lines.data + lines.len - 1); /* one line, whatever the label */
    buf_release(&lines);
    buf_release(&text);
}

static void check_answer(struct str answer, bool may_be_head) {
    static const char length[] = "\r\nContent-Length: ";
    char *text = malloc(answer.len + 1);
    const char *end, *at;

    require(text != NULL);
    memcpy(text, answer.data, answer.len);
    text[answer.len] = '\0';
    require(strncmp(text, "HTTP/1.1 ", 9) == 0);
    end = strstr(text, "\r\n\r\n");
    at = strstr(text, length);
    require(end != NULL && at != NULL && at < end);
    if (!may_be_head)
        require(strtoul(at + sizeof length - 1, NULL, 10) == answer.len - (size_t)(end + 4 - text));
    free(text);
}

static void drive(struct event_base *base, int fd, const uint8_t *data, size_t size) {
    struct buf answer = BUF_INIT(8 << 20);
    struct http_request request;
    ssize_t got = 1;

    /* In two pieces, so that a request also arrives in the middle of itself. */
    require(send(fd, data, size / 2, MSG_NOSIGNAL) == (ssize_t)(size / 2));
    event_base_loop(base, EVLOOP_NONBLOCK);
    (void)!send(fd, data + size / 2, size - size / 2, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    while (got > 0) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        require(buf_reserve(&answer, 65536));
        got = recv(fd, answer.data + answer.len, 65536, MSG_DONTWAIT);
        if (got > 0)
            answer.len += (size_t)got;
    }
    http_parse_request(str_make((const char *)data, size), &request);
    if (answer.len > 0)
        check_answer(buf_str(&answer), request.head);
    buf_release(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct http_options options = { .handle = handle, .deadline_ns = 10 * NS_PER_S };
    struct event_base *base;
    struct http_server *server;
    int ends[2];

    if (size > 16384)
        return 0;
    signal(SIGPIPE, SIG_IGN);
    base = event_base_new();
    server = http_server_new(base, &options, NULL);
    require(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    evutil_make_socket_nonblocking(ends[0]);
    require(http_server_adopt(server, ends[0]));
    drive(base, ends[1], data, size);
    http_server_free(server);
    close(ends[1]);
    event_base_free(base);
    return 0;
}
