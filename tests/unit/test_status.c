/* tests/unit/test_status.c: the HTTP endpoint over real sockets: what it answers, and that no client can hurt it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/loop/loop.h"
#include "agent/status/http.h"
#include "agent/status/internal.h"
#include "agent/status/status.h"

/* Requests, without a socket. */

static struct parse_row {
    const char *name, *bytes;
    int status;
    const char *path;
    bool head;
} parse_rows[] = {
    { "parse: GET", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200, "/metrics", false },
    { "parse: HEAD", "HEAD / HTTP/1.1\r\n\r\n", 200, "/", true },
    { "parse: HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 200, "/", false },
    { "parse: lines that end in LF", "GET / HTTP/1.1\nHost: x\n\n", 200, "/", false },
    { "parse: empty lines at the start", "\r\n\r\nGET / HTTP/1.1\r\n\r\n", 200, "/", false },
    { "parse: without the query", "GET /metrics?a=/b HTTP/1.1\r\n\r\n", 200, "/metrics", false },
    { "parse: a whole URL", "GET http://host:1/-/ready?x HTTP/1.1\r\n\r\n", 200, "/-/ready", false },
    { "parse: a whole URL without a path", "GET http://host HTTP/1.1\r\n\r\n", 200, "/", false },
    { "parse: not yet", "GET / HTTP/1.1\r\nHost: x\r\n", 0, "", false },
    { "parse: nothing", "", 0, "", false },
    { "parse: refuses POST", "POST / HTTP/1.1\r\n\r\n", 405, "", false },
    { "parse: refuses a method of its own", "FROB-X / HTTP/1.1\r\n\r\n", 405, "", false },
    { "parse: refuses lower case", "get / HTTP/1.1\r\n\r\n", 400, "", false },
    { "parse: refuses a line without a version", "GET /\r\n\r\n", 400, "", false },
    { "parse: refuses more words", "GET / x HTTP/1.1\r\n\r\n", 400, "", false },
    { "parse: refuses a path without a slash", "GET metrics HTTP/1.1\r\n\r\n", 400, "", false },
    { "parse: refuses control bytes in a path", "GET /\x01 HTTP/1.1\r\n\r\n", 400, "", false },
    { "parse: refuses HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "", false },
    { "parse: refuses TLS", "\x16\x03\x01\x02\x01\n\n", 400, "", false },
};

static void parses_request(void **state) {
    const struct parse_row *row = *state;
    struct http_request request;

    assert_int_equal(http_parse_request(str_of(row->bytes), &request), row->status);
    assert_int_equal(request.head, row->head);
    if (row->status == 200)
        assert_true(str_eq_c(request.path, row->path));
}

static void refuses_a_head_that_does_not_end(void **state) {
    static char bytes[HTTP_MAX_HEAD_BYTES];
    struct http_request request;

    (void)state;
    memset(bytes, 'a', sizeof bytes);
    assert_int_equal(http_parse_request(str_make(bytes, sizeof bytes - 1), &request), 0);
    assert_int_equal(http_parse_request(str_make(bytes, sizeof bytes), &request), 431);
    memset(bytes, '\n', sizeof bytes);
    assert_int_equal(http_parse_request(str_make(bytes, sizeof bytes), &request), 431);
}

static struct address_row {
    const char *name, *address;
    bool ok;
    const char *host, *port;
} address_rows[] = {
    { "address: IPv4", "127.0.0.1:9884", true, "127.0.0.1", "9884" },
    { "address: IPv6", "[::1]:9884", true, "::1", "9884" },
    { "address: all interfaces", ":9884", true, "", "9884" },
    { "address: a name", "localhost:0", true, "localhost", "0" },
    { "address: refuses no port", "127.0.0.1", false, "", "" },
    { "address: refuses an empty port", "127.0.0.1:", false, "", "" },
    { "address: refuses a port too large", "127.0.0.1:65536", false, "", "" },
    { "address: refuses a port with more", "127.0.0.1:80x", false, "", "" },
    { "address: refuses IPv6 without brackets", "::1:9884", false, "", "" },
    { "address: refuses empty brackets", "[]:9884", false, "", "" },
};

static void splits_address(void **state) {
    const struct address_row *row = *state;
    struct str host, port;

    assert_int_equal(http_split_address(row->address, &host, &port), row->ok);
    if (row->ok) {
        assert_true(str_eq_c(host, row->host));
        assert_true(str_eq_c(port, row->port));
    }
}

/* The whole, over sockets. */

static const struct metric_desc received = { "messages_received_total", "Messages received.", "ledger",
                                             METRIC_COUNTER };
static const struct metric_desc ended = { "messages_total", "Messages that ended.", "ledger", METRIC_COUNTER };
static const struct metric_desc pending = { "messages_pending", "Messages waiting.", "ledger", METRIC_GAUGE };
static const struct metric_desc up = { "mqtt_connected", "Whether it is connected.", "mqtt", METRIC_GAUGE };
static const struct metric_desc bulk = { "bulk", "Bulk.", "test", METRIC_GAUGE };

struct fixture {
    struct loop *loop;
    struct status *status;
    struct metric_registry metrics;
    atomic_bool ready;
    atomic_uint extra_lines;
};

static void collect(void *ctx, const struct metric_writer *writer) {
    struct fixture *fixture = ctx;
    char number[16];

    metric_sample(writer, &received, NULL, NULL, NULL, NULL, 12);
    metric_sample(writer, &ended, "output", "main <1>", "outcome", "stored", 7);
    metric_sample(writer, &ended, "output", "main <1>", "outcome", "dead_lettered", 2);
    metric_sample(writer, &ended, "output", "other", "outcome", "stored", 8);
    metric_sample(writer, &ended, "output", "other", "outcome", "dead_lettered", 2);
    metric_sample(writer, &pending, "output", "main <1>", NULL, NULL, 3);
    metric_sample(writer, &pending, "output", "other", NULL, NULL, 1);
    metric_sample(writer, &up, "input", "plant&co", NULL, NULL, 1);
    for (unsigned i = 0; i < fixture->extra_lines; i++) {
        snprintf(number, sizeof number, "%u", i);
        metric_sample(writer, &bulk, "number", number, NULL, NULL, i);
    }
}

static bool ready(void *ctx, struct buf *why) {
    struct fixture *fixture = ctx;

    buf_append_c(why, fixture->ready ? "input plant: subscribed\n" : "input plant: <not> connected\n");
    return fixture->ready;
}

static int set_up(void **state) {
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct status_options options = { .address = (char *)"127.0.0.1:0" };
    struct status_hooks hooks = { .ctx = fixture, .metrics = &fixture->metrics, .ready = ready };
    struct err err = ERR_INIT;

    metric_register(&fixture->metrics, (struct metric_source){ fixture, collect });
    fixture->loop = loop_new(&err);
    fixture->status = status_open(&options, fixture->loop, &hooks, &err);
    *state = fixture;
    return fixture->status == NULL || !loop_start(fixture->loop, &err);
}

static int tear_down(void **state) {
    struct fixture *fixture = *state;

    loop_stop(fixture->loop);
    status_close(fixture->status);
    loop_free(fixture->loop);
    free(fixture);
    return 0;
}

static int dial(const struct fixture *fixture) {
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)status_port(fixture->status)) };
    const struct timeval patience = { .tv_sec = 20 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void say(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Until the server closes; NUL-terminated. Closes `fd`. */
static const char *hear(int fd, struct buf *out) {
    ssize_t got;

    do {
        assert_true(buf_reserve(out, 65536));
        got = recv(fd, out->data + out->len, 65536, 0);
        if (got > 0)
            out->len += (size_t)got;
    } while (got > 0);
    close(fd);
    return buf_cstr(out);
}

static const char *body_of(const char *answer) {
    const char *end = strstr(answer, "\r\n\r\n");

    assert_non_null(end);
    return end + 4;
}

static void assert_starts(const char *text, const char *start) {
    if (strncmp(text, start, strlen(start)) != 0)
        fail_msg("expected '%s', got '%.80s'", start, text);
}

static struct answer_row {
    const char *name, *request, *start, *holds;
} answer_rows[] = {
    { "answer: the page", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n", "<h1>Heliograf</h1>" },
    { "answer: the page escapes names", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n", "Output main &lt;1&gt;" },
    { "answer: the page escapes inputs", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n", "Input plant&amp;co" },
    { "answer: the page escapes words", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n",
      "input plant: &lt;not&gt; connected" },
    { "answer: the page checks the sum", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n",
      "<tr><th>main &lt;1&gt;</th><td>12</td><td>7</td><td>2</td><td>3</td><td class=\"good\">adds up</td></tr>" },
    { "answer: the page shows a difference", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n",
      "<tr><th>other</th><td>12</td><td>8</td><td>2</td><td>1</td><td class=\"bad\">differs by 1</td></tr>" },
    { "answer: the figures", "GET /metrics HTTP/1.1\r\nAccept: */*\r\n\r\n", "HTTP/1.1 200 OK\r\n",
      "\nheliograf_messages_received_total 12\n" },
    { "answer: the type of the figures", "GET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n",
      "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n" },
    { "answer: healthy", "GET /-/healthy HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n", "heliograf is alive\n" },
    { "answer: nothing there", "GET /nope HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found\r\n", "There is /, /metrics" },
    { "answer: only reading", "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
      "HTTP/1.1 405 Method Not Allowed\r\n", "\r\nAllow: GET, HEAD\r\n" },
    { "answer: no request at all", "hello\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "Bad Request.\n" },
    { "answer: no HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 505 ", "HTTP Version Not Supported.\n" },
};

static void answers(void **state) {
    const struct answer_row *row = *state;
    struct buf answer = BUF_INIT(1 << 20);
    const char *text;
    void *made;
    struct fixture *fixture;
    int fd;

    assert_int_equal(set_up(&made), 0);
    fixture = made;
    fd = dial(fixture);
    say(fd, row->request);
    text = hear(fd, &answer);
    assert_starts(text, row->start);
    if (strstr(text, row->holds) == NULL)
        fail_msg("'%s' is not in: %s", row->holds, text);
    buf_release(&answer);
    tear_down(&made);
}

static const char *get(struct fixture *fixture, const char *request, struct buf *answer) {
    int fd = dial(fixture);

    buf_reset(answer);
    say(fd, request);
    return hear(fd, answer);
}

static void readiness_follows_the_hook(void **state) {
    struct fixture *fixture = *state;
    struct buf answer = BUF_INIT(1 << 20);
    const char *text = get(fixture, "GET /-/ready HTTP/1.1\r\n\r\n", &answer);

    assert_starts(text, "HTTP/1.1 503 Service Unavailable\r\n");
    assert_string_equal(body_of(text), "not ready\ninput plant: <not> connected\n");
    fixture->ready = true;
    text = get(fixture, "GET /-/ready HTTP/1.1\r\n\r\n", &answer);
    assert_starts(text, "HTTP/1.1 200 OK\r\n");
    assert_string_equal(body_of(text), "ready\ninput plant: subscribed\n");
    buf_release(&answer);
}

static void head_gives_the_length_and_no_body(void **state) {
    struct buf answer = BUF_INIT(1 << 20);
    const char *text = get(*state, "HEAD /-/healthy HTTP/1.1\r\n\r\n", &answer);

    assert_starts(text, "HTTP/1.1 200 OK\r\n");
    assert_non_null(strstr(text, "\r\nContent-Length: 19\r\n"));
    assert_string_equal(body_of(text), "");
    buf_release(&answer);
}

static void a_request_may_come_in_pieces(void **state) {
    const char *request = "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
    struct buf answer = BUF_INIT(1 << 20);
    int fd = dial(*state);

    for (size_t i = 0; request[i] != '\0'; i++)
        assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
    assert_starts(hear(fd, &answer), "HTTP/1.1 200 OK\r\n");
    buf_release(&answer);
}

static void a_client_that_closed_its_half_gets_its_answer(void **state) {
    struct fixture *fixture = *state;
    struct buf answer = BUF_INIT(8 << 20);
    const char *text;
    int fd = dial(fixture);

    fixture->extra_lines = 50000; /* more than a socket's buffer takes at once */
    say(fd, "GET /metrics HTTP/1.1\r\n\r\n");
    shutdown(fd, SHUT_WR);
    text = hear(fd, &answer);
    assert_starts(text, "HTTP/1.1 200 OK\r\n");
    assert_non_null(strstr(text, "heliograf_bulk{number=\"49999\"} 49999\n"));
    buf_release(&answer);
}

static void a_page_too_large_is_an_error_and_not_half_a_page(void **state) {
    struct fixture *fixture = *state;
    struct buf answer = BUF_INIT(8 << 20);

    fixture->extra_lines = 200000;
    assert_starts(get(fixture, "GET /metrics HTTP/1.1\r\n\r\n", &answer), "HTTP/1.1 500 ");
    buf_release(&answer);
}

static void a_head_too_large_is_refused(void **state) {
    static char bytes[3 * HTTP_MAX_HEAD_BYTES + 1];
    struct buf answer = BUF_INIT(1 << 20);
    int fd = dial(*state);

    memset(bytes, 'a', sizeof bytes - 1);
    say(fd, bytes);
    assert_starts(hear(fd, &answer), "HTTP/1.1 431 ");
    buf_release(&answer);
}

static void idle_clients_give_way(void **state) {
    struct buf answer = BUF_INIT(1 << 20);
    int idle[3 * HTTP_MAX_CONNECTIONS];
    char byte;

    for (size_t i = 0; i < sizeof idle / sizeof idle[0]; i++) {
        idle[i] = dial(*state);
        say(idle[i], "GET /metr");
    }
    assert_starts(get(*state, "GET /-/healthy HTTP/1.1\r\n\r\n", &answer), "HTTP/1.1 200 OK\r\n");
    assert_true(recv(idle[0], &byte, 1, 0) <= 0); /* the oldest was shown out, long before its time was up */
    for (size_t i = 0; i < sizeof idle / sizeof idle[0]; i++)
        close(idle[i]);
    buf_release(&answer);
}

static void a_client_that_does_not_read_holds_nothing_up(void **state) {
    struct fixture *fixture = *state;
    struct buf answer = BUF_INIT(1 << 20);
    int deaf = dial(fixture);

    fixture->extra_lines = 50000;
    say(deaf, "GET /metrics HTTP/1.1\r\n\r\n");
    assert_starts(get(fixture, "GET /-/healthy HTTP/1.1\r\n\r\n", &answer), "HTTP/1.1 200 OK\r\n");
    close(deaf);
    assert_starts(get(fixture, "GET /-/healthy HTTP/1.1\r\n\r\n", &answer), "HTTP/1.1 200 OK\r\n");
    buf_release(&answer);
}

static void nothing(void *ctx, struct str path, struct http_reply *reply) {
    (void)ctx;
    (void)path;
    buf_append_c(&reply->body, "here\n");
}

static void a_slow_client_is_cut_off_in_time(void **state) {
    const struct http_options options = { .handle = nothing, .deadline_ns = 30 * NS_PER_MS };
    struct event_base *base = event_base_new();
    struct http_server *server = http_server_new(base, &options, NULL);
    int ends[2];
    char byte;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    evutil_make_socket_nonblocking(ends[0]);
    assert_true(http_server_adopt(server, ends[0]));
    say(ends[1], "GET / HTT");
    while (http_server_connections(server) > 0)
        event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(recv(ends[1], &byte, 1, 0), 0);
    close(ends[1]);
    http_server_free(server);
    event_base_free(base);
}

static void says_when_the_port_is_taken(void **state) {
    struct fixture *fixture = *state;
    char address[32];
    struct status_options options = { .address = address };
    struct status_hooks hooks = { .metrics = &fixture->metrics };
    struct loop *loop = loop_new(NULL);
    struct err err = ERR_INIT;

    snprintf(address, sizeof address, "127.0.0.1:%u", status_port(fixture->status));
    assert_null(status_open(&options, loop, &hooks, &err));
    assert_non_null(strstr(err.text, address));
    assert_non_null(strstr(err.text, "in use"));
    snprintf(address, sizeof address, "9884");
    err_clear(&err);
    assert_null(status_open(&options, loop, &hooks, &err));
    assert_int_equal(err.code, ERR_SYNTAX);
    loop_free(loop);
}

static void listens_on_all_interfaces(void **state) {
    struct status_options options = { .address = (char *)":0" };
    struct metric_registry metrics = { .count = 0 };
    struct status_hooks hooks = { .metrics = &metrics };
    struct buf answer = BUF_INIT(1 << 20);
    struct fixture fixture = { .loop = loop_new(NULL) };

    (void)state;
    fixture.status = status_open(&options, fixture.loop, &hooks, NULL);
    assert_non_null(fixture.status);
    assert_true(loop_start(fixture.loop, NULL));
    assert_starts(get(&fixture, "GET /-/ready HTTP/1.1\r\n\r\n", &answer), "HTTP/1.1 200 OK\r\n");
    buf_release(&answer);
    loop_stop(fixture.loop);
    status_close(fixture.status);
    loop_free(fixture.loop);
}

/* The internal input. */

struct heard {
    sem_t message;
    struct buf payload;
    bool good; /* topic, and a stamp that is the message's own */
};

static enum message_fate hear_message(void *ctx, const struct message *message, uint64_t *sequence) {
    struct heard *heard = ctx;
    char stamp[32];

    *sequence = 0;
    buf_reset(&heard->payload);
    buf_append_str(&heard->payload, message->payload);
    snprintf(stamp, sizeof stamp, " %lld\n", (long long)message->received_ns);
    heard->good = str_eq_c(message->topic, "internal") && str_ends_with(message->payload, str_of(stamp));
    sem_post(&heard->message);
    return MESSAGE_TAKEN;
}

static void figures_become_messages(void **state) {
    struct fixture *fixture = *state;
    struct internal_source_options options = { .interval_ns = 5 * NS_PER_MS };
    struct heard heard = { .payload = BUF_INIT(1 << 20) };
    struct message_sink sink = { &heard, hear_message };
    struct loop *loop = loop_new(NULL);
    struct internal_source *source = internal_source_new(&options, &fixture->metrics, loop, sink);

    sem_init(&heard.message, 0, 0);
    assert_true(internal_source_start(source, NULL));
    assert_true(loop_start(loop, NULL));
    sem_wait(&heard.message);
    sem_wait(&heard.message);
    loop_stop(loop);
    internal_source_free(source);
    loop_free(loop);
    assert_true(heard.good);
    assert_non_null(strstr(buf_cstr(&heard.payload), "internal_ledger,output=other,outcome=stored messages_total=8i "));
    buf_release(&heard.payload);
    sem_destroy(&heard.message);
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define ADD_ROWS(array, test)                                                                                          \
    for (size_t i = 0; i < COUNT(array); i++)                                                                          \
        tests[count++] = (struct CMUnitTest) {                                                                         \
            .name = array[i].name, .test_func = test, .initial_state = &array[i]                                       \
        }

int main(void) {
    const struct CMUnitTest single[] = {
        cmocka_unit_test(refuses_a_head_that_does_not_end),
        cmocka_unit_test_setup_teardown(readiness_follows_the_hook, set_up, tear_down),
        cmocka_unit_test_setup_teardown(head_gives_the_length_and_no_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_request_may_come_in_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_closed_its_half_gets_its_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_page_too_large_is_an_error_and_not_half_a_page, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_head_too_large_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(idle_clients_give_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_does_not_read_holds_nothing_up, set_up, tear_down),
        cmocka_unit_test(a_slow_client_is_cut_off_in_time),
        cmocka_unit_test_setup_teardown(says_when_the_port_is_taken, set_up, tear_down),
        cmocka_unit_test(listens_on_all_interfaces),
        cmocka_unit_test_setup_teardown(figures_become_messages, set_up, tear_down),
    };
    struct CMUnitTest tests[COUNT(parse_rows) + COUNT(address_rows) + COUNT(answer_rows) + COUNT(single)];
    size_t count = 0;

    ADD_ROWS(parse_rows, parses_request);
    ADD_ROWS(address_rows, splits_address);
    ADD_ROWS(answer_rows, answers);
    for (size_t i = 0; i < COUNT(single); i++)
        tests[count++] = single[i];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
