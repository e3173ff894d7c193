/* tests/unit/test_http.c: the HTTP client against a server that misbehaves on purpose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "outputs/http.h"
#include "tests/support/http_server.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct fixture {
    struct http_server server;
    struct http_options options;
    struct http_endpoint endpoint;
    struct http *http;
    atomic_bool cancel;
    struct http_answer answer;
};

static void start(struct fixture *f, const struct server_step *steps, size_t count) {
    char url[64];

    memset(f, 0, sizeof *f);
    server_start(&f->server, steps, count);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", f->server.port);
    f->options = (struct http_options){ .timeout_ns = 5 * NS_PER_S, .tls_min_version = HTTP_TLS_1_2 };
    assert_true(http_endpoint_init(&f->endpoint, url, NULL, NULL));
    f->http = http_open(&f->options, &f->cancel, NULL);
    assert_non_null(f->http);
}

static void finish(struct fixture *f) {
    http_close(f->http);
    http_endpoint_release(&f->endpoint);
    server_stop(&f->server);
}

static void post(struct fixture *f, struct str body) {
    const struct http_request request = { .endpoint = &f->endpoint, .path = "/write", .post = true, .body = body };

    http_perform(f->http, &request, &f->answer);
}

static void posts_and_keeps_the_connection(void **state) {
    static const struct server_step steps[] = { { .status = 204, .headers = "X-Influxdb-Version: 1.6.7\r\n" } };
    static const char *const headers[] = { "X-Mine: yes", NULL };
    struct fixture f;

    (void)state;
    start(&f, steps, COUNT(steps));
    const struct http_request request = { .endpoint = &f.endpoint,
                                          .path = "/write?db=x",
                                          .post = true,
                                          .body = STR_INIT("m v=1\n"),
                                          .headers = headers,
                                          .user = "u",
                                          .password = "p:w" };
    for (int i = 0; i < 3; i++) {
        http_perform(f.http, &request, &f.answer);
        assert_int_equal(f.answer.status, 204);
        assert_string_equal(f.answer.error, "");
        assert_true(str_eq_c(http_header(&f.answer, "x-influxdb-version"), "1.6.7"));
    }
    assert_int_equal(f.server.connections, 1);
    assert_int_equal(server_count(&f.server), 3);
    assert_string_equal(server_request(&f.server, 2).body, "m v=1\n");
    assert_non_null(strstr(server_request(&f.server, 2).head, "POST /write?db=x HTTP/1.1\r\n"));
    assert_non_null(strstr(server_request(&f.server, 2).head, "X-Mine: yes\r\n"));
    assert_non_null(strstr(server_request(&f.server, 2).head, "Authorization: Basic dTpwOnc=\r\n"));
    assert_null(strstr(server_request(&f.server, 2).head, "Expect"));
    finish(&f);
}

static void keeps_the_connection_after_a_long_refusal(void **state) {
    enum { LONG = 269 * 1024 };
    char *body = malloc(LONG + 1);
    const struct server_step steps[] = { { .status = 400, .body = body },
                                         { .status = 204 },
                                         { .status = 404, .body = body } };
    struct fixture f;

    (void)state;
    memset(body, 'x', LONG);
    body[LONG] = '\0';
    start(&f, steps, COUNT(steps));
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.answer.status, 400);
    assert_int_equal(f.answer.body.len, LONG); /* it may name lines: all of it is wanted */
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.answer.status, 204);
    assert_int_equal(f.answer.body.len, 0);
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.answer.status, 404);
    assert_int_equal(f.answer.body.len, HTTP_BODY_KEPT); /* the rest is drained */
    assert_string_equal(f.answer.error, "");
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.server.connections, 1);
    finish(&f);
    free(body);
}

static void a_refusal_without_end_is_cut(void **state) {
    enum { LONG = 3 * 1024 * 1024 };
    char *body = malloc(LONG + 1);
    const struct server_step steps[] = { { .status = 400, .body = body } };
    struct fixture f;

    (void)state;
    memset(body, 'x', LONG);
    body[LONG] = '\0';
    start(&f, steps, COUNT(steps));
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.answer.body.len, HTTP_REFUSAL_KEPT);
    finish(&f);
    free(body);
}

static void a_stalled_server_times_out(void **state) {
    static const struct server_step steps[] = { { .action = STALL } };
    struct fixture f;
    int64_t started;

    (void)state;
    start(&f, steps, COUNT(steps));
    http_close(f.http);
    f.options.timeout_ns = 300 * NS_PER_MS;
    f.http = http_open(&f.options, &f.cancel, NULL);
    started = clock_mono_ns();
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.answer.status, 0);
    assert_non_null(strstr(f.answer.error, "no answer from http://127.0.0.1:"));
    assert_true(clock_mono_ns() - started >= 290 * NS_PER_MS); /* curl counts in whole milliseconds */
    assert_true(clock_mono_ns() - started < 2 * NS_PER_S);
    finish(&f);
}

static void *cancel_when_asked(void *arg) {
    struct fixture *f = arg;

    while (server_count(&f->server) == 0) /* once it is there, the client waits for its answer */
        poll(NULL, 0, 5);
    atomic_store(&f->cancel, true);
    return NULL;
}

static void cancel_ends_a_running_request(void **state) {
    static const struct server_step steps[] = { { .action = STALL } };
    struct fixture f;
    pthread_t thread;
    int64_t started;

    (void)state;
    start(&f, steps, COUNT(steps));
    started = clock_mono_ns();
    pthread_create(&thread, NULL, cancel_when_asked, &f);
    post(&f, STR("m v=1\n"));
    pthread_join(thread, NULL);
    assert_int_equal(f.answer.status, 0);
    assert_true(f.answer.cancelled);
    assert_true(clock_mono_ns() - started < 2 * NS_PER_S); /* not the 5 s of the time-out */
    finish(&f);
}

static void a_reset_is_no_answer(void **state) {
    static const struct server_step steps[] = { { .action = RESET }, { .status = 204 } };
    struct fixture f;

    (void)state;
    start(&f, steps, COUNT(steps));
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.answer.status, 0);
    assert_true(f.answer.error[0] != '\0');
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.answer.status, 204);
    finish(&f);
}

static void a_connection_closed_while_idle_is_no_failure(void **state) {
    static const struct server_step steps[] = { { .action = ANSWER_CLOSE, .status = 204 } };
    struct fixture f;

    (void)state;
    start(&f, steps, COUNT(steps));
    for (int i = 0; i < 3; i++) {
        post(&f, STR("m v=1\n"));
        assert_string_equal(f.answer.error, "");
        assert_int_equal(f.answer.status, 204);
    }
    assert_int_equal(f.server.connections, 3);
    finish(&f);
}

static void a_connection_reset_when_it_is_used_again_is_no_failure(void **state) {
    static const struct server_step steps[] = { { .status = 204 }, { .action = RESET }, { .status = 204 } };
    static char large[4 * 1024 * 1024];
    static const size_t lengths[] = { 6, sizeof large };
    struct fixture f;

    (void)state;
    memset(large, 'x', sizeof large);
    for (size_t i = 0; i < 12; i++) { /* curl may notice it when it sends or when it reads */
        size_t length = lengths[i % COUNT(lengths)];
        start(&f, steps, COUNT(steps));
        post(&f, STR("m v=1\n"));
        post(&f, str_make(large, length));
        assert_string_equal(f.answer.error, "");
        assert_int_equal(f.answer.status, 204);
        assert_int_equal(server_count(&f.server), 3);
        assert_int_equal(server_request(&f.server, 2).body_len, length);
        finish(&f);
    }
}

static void half_a_body_is_told(void **state) {
    static const struct server_step steps[] = { { .action = CUT_BODY, .status = 400, .body = "{\"error\":\"pa" } };
    struct fixture f;

    (void)state;
    start(&f, steps, COUNT(steps));
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.answer.status, 400);
    assert_true(f.answer.error[0] != '\0');
    assert_true(str_eq_c(f.answer.body, "{\"error\":\"pa"));
    finish(&f);
}

static void a_413_before_the_body_was_read_is_seen(void **state) {
    static const struct server_step steps[] = {
        { .action = ANSWER_EARLY, .status = 413, .headers = "Connection: close\r\n", .body = "too large" },
    };
    static char large[4 * 1024 * 1024];
    struct fixture f;

    (void)state;
    memset(large, 'x', sizeof large);
    start(&f, steps, COUNT(steps));
    post(&f, str_make(large, sizeof large));
    assert_int_equal(f.answer.status, 413);
    finish(&f);
}

static void a_reset_in_the_middle_of_a_large_body_is_told(void **state) {
    static const struct server_step steps[] = { { .action = RESET } };
    static char large[16 * 1024 * 1024];
    struct fixture f;

    (void)state;
    memset(large, 'x', sizeof large);
    start(&f, steps, COUNT(steps));
    post(&f, str_make(large, sizeof large));
    assert_int_equal(f.answer.status, 0);
    assert_true(f.answer.upload_broken);
    finish(&f);
}

static void nobody_listening_is_said_in_words(void **state) {
    static const struct server_step steps[] = { { .status = 204 } };
    struct fixture f;
    char url[64];

    (void)state;
    start(&f, steps, COUNT(steps));
    snprintf(url, sizeof url, "cannot connect to http://127.0.0.1:%d: Connection refused", f.server.port);
    server_stop(&f.server);
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.answer.status, 0);
    assert_string_equal(f.answer.error, url);
    server_start(&f.server, steps, COUNT(steps));
    finish(&f);
}

static void an_interim_answer_is_not_the_answer(void **state) {
    static const struct server_step steps[] = { { .action = ANSWER_INTERIM, .status = 204, .headers = "X-A: b\r\n" } };
    struct fixture f;

    (void)state;
    start(&f, steps, COUNT(steps));
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.answer.status, 204);
    assert_int_equal(f.answer.retry_after_ns, 0);
    assert_true(str_eq_c(http_header(&f.answer, "X-A"), "b"));
    finish(&f);
}

static void a_redirect_is_not_followed(void **state) {
    static const struct server_step steps[] = { { .status = 302, .headers = "Location: /elsewhere\r\n" },
                                                { .status = 204 } };
    struct fixture f;

    (void)state;
    start(&f, steps, COUNT(steps));
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.answer.status, 302);
    assert_int_equal(server_count(&f.server), 1);
    finish(&f);
}

static void a_unix_socket_works(void **state) {
    static const struct server_step steps[] = { { .status = 204 } };
    char directory[] = "/tmp/heliograf-http-XXXXXX", path[64], url[80];
    struct fixture f = { .options = { .timeout_ns = 5 * NS_PER_S, .tls_min_version = HTTP_TLS_1_2 } };

    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/s", directory);
    snprintf(url, sizeof url, "unix://%s", path);
    server_start_unix(&f.server, path, steps, COUNT(steps));
    assert_true(http_endpoint_init(&f.endpoint, url, NULL, NULL));
    assert_true(f.endpoint.loopback);
    f.http = http_open(&f.options, NULL, NULL);
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.answer.status, 204);
    finish(&f);
    unlink(path);
    rmdir(directory);
}

static void a_proxy_of_the_environment_is_not_for_loopback(void **state) {
    static const struct server_step steps[] = { { .status = 204 } };
    struct fixture f;

    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    start(&f, steps, COUNT(steps));
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.answer.status, 204);
    finish(&f);
    unsetenv("http_proxy");
}

static void a_configured_proxy_is(void **state) {
    static const struct server_step steps[] = { { .status = 204 } };
    struct fixture f;
    char proxy[64];

    (void)state;
    start(&f, steps, COUNT(steps));
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", f.server.port);
    http_close(f.http);
    http_endpoint_release(&f.endpoint);
    f.options.proxy = proxy;
    assert_true(http_endpoint_init(&f.endpoint, "http://database.invalid:8086", NULL, NULL));
    f.http = http_open(&f.options, NULL, NULL);
    post(&f, STR("m v=1\n"));
    assert_int_equal(f.answer.status, 204);
    assert_non_null(strstr(server_request(&f.server, 0).head, "POST http://database.invalid:8086/write HTTP/1.1"));
    finish(&f);
}

/* 2026-11-22T22:00:00Z */
static int64_t frozen_now(void) {
    return 1795384800LL * NS_PER_S;
}

static struct wait {
    const char *name, *header;
    int64_t seconds;
} waits[] = {
    { "Retry-After: seconds", "Retry-After: 30\r\n", 30 },
    { "Retry-After: a date", "Retry-After: Sun, 22 Nov 2026 22:01:30 GMT\r\n", 90 },
    { "Retry-After: a date that is over", "Retry-After: Sun, 22 Nov 2026 21:00:00 GMT\r\n", 0 },
    { "Retry-After: more than ten minutes", "Retry-After: 86400\r\n", 600 },
    { "Retry-After: a date far away", "Retry-After: Sun, 22 Nov 2099 21:00:00 GMT\r\n", 600 },
    { "Retry-After: no number", "Retry-After: soon\r\n", 0 },
    { "Retry-After: negative", "Retry-After: -5\r\n", 0 },
    { "no Retry-After", "", 0 },
};

static void waits_as_told(void **state) {
    const struct wait *row = *state;
    const struct server_step steps[] = { { .status = 429, .headers = row->header, .body = "slow down" } };
    struct fixture f;

    start(&f, steps, COUNT(steps));
    clock_override(frozen_now, NULL);
    post(&f, STR("m v=1\n"));
    clock_override(NULL, NULL);
    assert_int_equal(f.answer.status, 429);
    assert_int_equal(f.answer.retry_after_ns / NS_PER_S, row->seconds);
    finish(&f);
}

static struct url {
    const char *name, *url, *server_name;
    const char *base; /* NULL: refused */
    const char *display;
    bool loopback;
    const char *user, *password, *connect_to;
} urls[] = {
    { "URL: plain", "http://h:8086", NULL, "http://h:8086", "http://h:8086", false, NULL, NULL, NULL },
    { "URL: a slash at the end", "http://h:8086/", NULL, "http://h:8086", "http://h:8086", false, NULL, NULL, NULL },
    { "URL: a path", "https://h/influx/", NULL, "https://h/influx", "https://h/influx", false, NULL, NULL, NULL },
    { "URL: localhost", "http://localhost:8086", NULL, "http://localhost:8086", "http://localhost:8086", true, NULL,
      NULL, NULL },
    { "URL: 127.0.0.2", "http://127.0.0.2", NULL, "http://127.0.0.2", "http://127.0.0.2", true, NULL, NULL, NULL },
    { "URL: ::1", "http://[::1]:8086", NULL, "http://[::1]:8086", "http://[::1]:8086", true, NULL, NULL, NULL },
    { "URL: user and password are taken out", "http://u:p%40ss@h:8086", NULL, "http://h:8086", "http://h:8086", false,
      "u", "p@ss", NULL },
    { "URL: another name in the certificate", "https://10.0.0.1:8086/x", "influx.example",
      "https://influx.example:8086/x", "https://10.0.0.1:8086/x", false, NULL, NULL, "::10.0.0.1:8086" },
    { "URL: ... with the default port", "https://10.0.0.1", "influx.example", "https://influx.example",
      "https://10.0.0.1", false, NULL, NULL, "::10.0.0.1:443" },
    { "URL: ... means nothing without TLS", "http://10.0.0.1", "influx.example", "http://10.0.0.1", "http://10.0.0.1",
      false, NULL, NULL, NULL },
    { "URL: a Unix socket", "unix:///run/i.sock", NULL, "http://localhost", "unix:///run/i.sock", true, NULL, NULL,
      NULL },
    { "URL: a Unix socket needs a path", "unix://run/i.sock", NULL, NULL, NULL, false, NULL, NULL, NULL },
    { "URL: udp is refused", "udp://h:8089", NULL, NULL, NULL, false, NULL, NULL, NULL },
    { "URL: no scheme is refused", "h:8086", NULL, NULL, NULL, false, NULL, NULL, NULL },
    { "URL: a query is refused", "http://h/?db=x", NULL, NULL, NULL, false, NULL, NULL, NULL },
    { "URL: nothing is refused", "", NULL, NULL, NULL, false, NULL, NULL, NULL },
    { "URL: a space is refused", "http://h h", NULL, NULL, NULL, false, NULL, NULL, NULL },
};

static void same(const char *got, const char *wanted) {
    if (wanted == NULL)
        assert_null(got);
    else
        assert_string_equal(got != NULL ? got : "(none)", wanted);
}

static void reads_url(void **state) {
    const struct url *row = *state;
    struct http_endpoint endpoint;
    struct err err = ERR_INIT;

    assert_int_equal(http_endpoint_init(&endpoint, row->url, row->server_name, &err), row->base != NULL);
    if (row->base == NULL) {
        assert_true(err.text[0] != '\0');
    } else {
        same(endpoint.base, row->base);
        same(endpoint.display, row->display);
        same(endpoint.user, row->user);
        same(endpoint.password, row->password);
        same(endpoint.connect_to, row->connect_to);
        assert_int_equal(endpoint.loopback, row->loopback);
    }
    http_endpoint_release(&endpoint);
}

static void encodes_a_query(void **state) {
    struct buf out = BUF_INIT(256);

    (void)state;
    buf_append_c(&out, "/write?");
    assert_true(http_query_add(&out, "db", STR("a b&c=d/\xc3\xa9")));
    assert_true(http_query_add(&out, "rp", STR("x-._~Z9")));
    assert_string_equal(buf_cstr(&out), "/write?db=a%20b%26c%3Dd%2F%C3%A9&rp=x-._~Z9");
    buf_release(&out);
}

static void refuses_bad_options(void **state) {
    const struct http_options good = { .timeout_ns = NS_PER_S };
    struct http_options bad = good;

    (void)state;
    assert_true(http_options_check(&good, NULL));
    bad.tls_ca = (char[]){ "/nowhere/ca.pem" };
    assert_false(http_options_check(&bad, NULL));
    bad = good;
    bad.tls_key = (char[]){ "/dev/null" };
    assert_false(http_options_check(&bad, NULL));
    bad = good;
    bad.user_agent = (char[]){ "a\r\nX: y" };
    assert_false(http_options_check(&bad, NULL));
    bad = good;
    bad.timeout_ns = 0;
    assert_false(http_options_check(&bad, NULL));
}

int main(void) {
    static const struct CMUnitTest single[] = {
        cmocka_unit_test(posts_and_keeps_the_connection),
        cmocka_unit_test(keeps_the_connection_after_a_long_refusal),
        cmocka_unit_test(a_refusal_without_end_is_cut),
        cmocka_unit_test(a_stalled_server_times_out),
        cmocka_unit_test(cancel_ends_a_running_request),
        cmocka_unit_test(a_reset_is_no_answer),
        cmocka_unit_test(a_connection_closed_while_idle_is_no_failure),
        cmocka_unit_test(a_connection_reset_when_it_is_used_again_is_no_failure),
        cmocka_unit_test(half_a_body_is_told),
        cmocka_unit_test(a_413_before_the_body_was_read_is_seen),
        cmocka_unit_test(a_reset_in_the_middle_of_a_large_body_is_told),
        cmocka_unit_test(nobody_listening_is_said_in_words),
        cmocka_unit_test(an_interim_answer_is_not_the_answer),
        cmocka_unit_test(a_redirect_is_not_followed),
        cmocka_unit_test(a_unix_socket_works),
        cmocka_unit_test(a_proxy_of_the_environment_is_not_for_loopback),
        cmocka_unit_test(a_configured_proxy_is),
        cmocka_unit_test(encodes_a_query),
        cmocka_unit_test(refuses_bad_options),
    };
    struct CMUnitTest tests[COUNT(waits) + COUNT(urls) + COUNT(single)];
    size_t count = 0;

    for (size_t i = 0; i < COUNT(waits); i++)
        tests[count++] = (struct CMUnitTest){ waits[i].name, waits_as_told, NULL, NULL, &waits[i] };
    for (size_t i = 0; i < COUNT(urls); i++)
        tests[count++] = (struct CMUnitTest){ urls[i].name, reads_url, NULL, NULL, &urls[i] };
    for (size_t i = 0; i < COUNT(single); i++)
        tests[count++] = single[i];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
