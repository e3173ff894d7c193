/*
 * tests/unit/test_output_influxdb.c: the three outputs against a scripted server: what they send, and what they make
 * of the answers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "outputs/output.h"
#include "tests/support/http_server.h"
#include "tests/support/options.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define A "m,d=a v=1 1\n"
#define B "m,d=b v=1x 2\n"
#define C "m,d=c v=3 3\n"

static const char three[] = A B C;
static const uint32_t three_ends[] = { sizeof A - 1, sizeof(A B) - 1, sizeof(A B C) - 1 };
static const struct request three_lines = { STR_INIT(three), 3, three_ends, STR_INIT("") };

struct fixture {
    struct http_server server;
    const struct output_type *type;
    void *output, *connection;
    char url[64];
    char *urls[2];
    atomic_bool cancel;
    struct reply reply;
};

static void create(struct fixture *f, const char *name, const char *server) {
    *f = (struct fixture){ .type = output_find(name) };
    f->output = output_new(f->type);
    option_duration(f->type->options, f->output, "timeout", 5 * NS_PER_S);
    option_integer(f->type->options, f->output, "concurrent_writes", 2);
    option_enum(f->type->options, f->output, "server", server);
    option_enum(f->type->options, f->output, "tls_min_version", "TLS12");
    if (strcmp(name, "influxdb_v2") == 0) {
        option_text(f->type->options, f->output, "organization", "acme");
        option_text(f->type->options, f->output, "bucket", "tele metry");
    } else {
        option_text(f->type->options, f->output, "database", "telemetry");
    }
    reply_init(&f->reply);
}

static void serve(struct fixture *f, const struct server_step *steps, size_t count) {
    server_start(&f->server, steps, count);
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%d", f->server.port);
    f->urls[0] = f->url;
    option_strings(f->type->options, f->output, "urls", f->urls, 1);
}

static void begin(struct fixture *f) {
    struct err err = ERR_INIT;

    if (!f->type->init(f->output, &err))
        fail_msg("init: %s", err.text);
    f->connection = f->type->open(f->output, &f->cancel, &err);
    assert_non_null(f->connection);
}

static void send_three(struct fixture *f) {
    f->type->send(f->output, f->connection, &three_lines, &f->reply);
}

static void end(struct fixture *f) {
    f->type->close(f->output, f->connection);
    output_free(f->type, f->output);
    reply_release(&f->reply);
    server_stop(&f->server);
}

static void sent(struct fixture *f, size_t request, const char *part) {
    assert_true(request < server_count(&f->server));
    if (strstr(server_request(&f->server, request).head, part) == NULL)
        fail_msg("request %zu lacks '%s': %s", request, part, server_request(&f->server, request).head);
}

static const struct server_step all_good[] = { { .status = 204 } };

/* ---- what is sent ---- */

static void v1_writes(void **state) {
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "influx1");
    option_text(f.type->options, f.output, "retention_policy", "week");
    option_text(f.type->options, f.output, "username", "u");
    option_secret(f.type->options, f.output, "password", "p");
    option_enum(f.type->options, f.output, "write_consistency", "any");
    serve(&f, all_good, 1);
    begin(&f);
    send_three(&f);
    assert_int_equal(f.reply.outcome, DELIVERED);
    assert_int_equal(f.reply.status, 204);
    assert_int_equal(f.reply.wire_bytes, sizeof three - 1);
    assert_true(f.reply.duration_ns > 0);
    sent(&f, 0, "POST /write?db=telemetry&rp=week&consistency=any&precision=ns HTTP/1.1\r\n");
    sent(&f, 0, "Authorization: Basic dTpw\r\n");
    assert_null(strstr(server_request(&f.server, 0).head, "Content-Encoding"));
    assert_string_equal(server_request(&f.server, 0).body, three);
    end(&f);
}

static void v2_writes(void **state) {
    struct fixture f;

    (void)state;
    create(&f, "influxdb_v2", "influx2");
    option_secret(f.type->options, f.output, "token", "secret");
    serve(&f, all_good, 1);
    begin(&f);
    send_three(&f);
    sent(&f, 0, "POST /api/v2/write?org=acme&bucket=tele%20metry&precision=ns HTTP/1.1\r\n");
    sent(&f, 0, "Authorization: Token secret\r\n");
    end(&f);
}

static void v3_writes(void **state) {
    struct fixture f;

    (void)state;
    create(&f, "influxdb_v3", "influx3");
    option_secret(f.type->options, f.output, "token", "secret");
    option_bool(f.type->options, f.output, "sync", true);
    serve(&f, all_good, 1);
    begin(&f);
    send_three(&f);
    sent(&f, 0, "POST /api/v3/write_lp?db=telemetry&precision=nanosecond&accept_partial=true HTTP/1.1\r\n");
    sent(&f, 0, "Authorization: Bearer secret\r\n");
    end(&f);
}

static void greptime_has_its_own_path_and_log_in(void **state) {
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "greptime");
    option_text(f.type->options, f.output, "username", "u");
    option_secret(f.type->options, f.output, "password", "p");
    serve(&f, all_good, 1);
    begin(&f);
    send_three(&f);
    sent(&f, 0, "POST /v1/influxdb/write?db=telemetry");
    sent(&f, 0, "Authorization: token u:p\r\n");
    end(&f);
}

static void a_prefix_in_the_url_is_not_doubled(void **state) {
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "tdengine");
    serve(&f, all_good, 1);
    strcat(f.url, "/influxdb/v1/");
    begin(&f);
    send_three(&f);
    sent(&f, 0, "POST /influxdb/v1/write?db=telemetry");
    end(&f);
}

static void gzip_goes_out_compressed(void **state) {
    static char line[2048];
    const uint32_t line_end = sizeof line;
    const struct request request = { { line, sizeof line }, 1, &line_end, STR_INIT("") };
    struct fixture f;

    (void)state;
    memset(line, 'x', sizeof line);
    create(&f, "influxdb", "influx1");
    option_enum(f.type->options, f.output, "content_encoding", "gzip");
    serve(&f, all_good, 1);
    begin(&f);
    f.type->send(f.output, f.connection, &request, &f.reply);
    sent(&f, 0, "Content-Encoding: gzip\r\n");
    assert_memory_equal(server_request(&f.server, 0).body, "\x1f\x8b", 2);
    assert_true(f.reply.wire_bytes < 200);
    send_three(&f); /* too short to gain by it */
    assert_null(strstr(server_request(&f.server, 1).head, "Content-Encoding"));
    end(&f);
}

static void a_415_switches_compression_off_and_resends(void **state) {
    static const struct server_step steps[] = { { .status = 415, .body = "gzip encoding is not supported" },
                                                { .status = 204 } };
    static char line[2048];
    const uint32_t line_end = sizeof line;
    const struct request request = { { line, sizeof line }, 1, &line_end, STR_INIT("") };
    struct fixture f;

    (void)state;
    memset(line, 'x', sizeof line);
    create(&f, "influxdb", "influx1");
    option_enum(f.type->options, f.output, "content_encoding", "gzip");
    serve(&f, steps, COUNT(steps));
    begin(&f);
    f.type->send(f.output, f.connection, &request, &f.reply);
    assert_int_equal(f.reply.outcome, DELIVERED);
    f.type->send(f.output, f.connection, &request, &f.reply);
    assert_int_equal(server_count(&f.server), 3);
    assert_int_equal(server_request(&f.server, 1).body_len, sizeof line);
    assert_int_equal(server_request(&f.server, 2).body_len, sizeof line); /* from now on */
    end(&f);
}

static void damaged_gzip_is_resent_plain_once(void **state) {
    static const struct server_step steps[] = { { .status = 400, .body = "{\"error\":\"gzip: invalid checksum\"}" },
                                                { .status = 204 } };
    static char line[2048];
    const uint32_t line_end = sizeof line;
    const struct request request = { { line, sizeof line }, 1, &line_end, STR_INIT("") };
    struct fixture f;

    (void)state;
    memset(line, 'x', sizeof line);
    create(&f, "influxdb", "influx1");
    option_enum(f.type->options, f.output, "content_encoding", "gzip");
    serve(&f, steps, COUNT(steps));
    begin(&f);
    f.type->send(f.output, f.connection, &request, &f.reply);
    assert_int_equal(f.reply.outcome, DELIVERED);
    f.type->send(f.output, f.connection, &request, &f.reply);
    assert_int_equal(server_request(&f.server, 1).body_len, sizeof line);
    sent(&f, 2, "Content-Encoding: gzip\r\n"); /* the next one is compressed again */
    end(&f);
}

static void an_empty_request_is_not_sent(void **state) {
    const struct request request = { STR_INIT(""), 0, NULL, STR_INIT("") };
    struct fixture f;

    (void)state;
    create(&f, "influxdb_v3", "influx3");
    serve(&f, all_good, 1);
    begin(&f);
    f.type->send(f.output, f.connection, &request, &f.reply);
    assert_int_equal(f.reply.outcome, DELIVERED);
    assert_int_equal(server_count(&f.server), 0);
    end(&f);
}

/* ---- who is it ---- */

static void asks_once_who_the_server_is(void **state) {
    static const struct server_step steps[] = {
        { .status = 204, .headers = "X-Influxdb-Version: v2.7.1\r\n" },
        { .status = 204 },
    };
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "auto");
    serve(&f, steps, COUNT(steps));
    begin(&f);
    send_three(&f);
    send_three(&f);
    assert_int_equal(server_count(&f.server), 3);
    sent(&f, 0, "GET /ping HTTP/1.1\r\n");
    sent(&f, 1, "POST /write?");
    sent(&f, 2, "POST /write?");
    end(&f);
}

static void a_server_that_does_not_say_is_taken_as_the_outputs_own(void **state) {
    static const struct server_step steps[] = { { .status = 404, .body = "404 page not found" }, { .status = 204 } };
    struct fixture f;

    (void)state;
    create(&f, "influxdb_v2", "auto");
    serve(&f, steps, COUNT(steps));
    begin(&f);
    send_three(&f);
    assert_int_equal(f.reply.outcome, DELIVERED);
    sent(&f, 1, "POST /api/v2/write?");
    end(&f);
}

static void asks_again_after_page_not_found(void **state) {
    static const struct server_step steps[] = { { .status = 204 },
                                                { .status = 404, .body = "404 page not found\n" },
                                                { .status = 204 } };
    struct fixture f;

    (void)state;
    create(&f, "influxdb_v2", "auto");
    serve(&f, steps, COUNT(steps));
    begin(&f);
    send_three(&f);
    assert_int_equal(f.reply.outcome, RETRY_LATER);
    assert_int_equal(f.reply.retry, RETRY_SLOWLY);
    send_three(&f);
    sent(&f, 2, "GET /ping");
    end(&f);
}

/* ---- databases ---- */

static void v1_creates_a_missing_database(void **state) {
    static const struct server_step steps[] = {
        { .status = 404, .body = "{\"error\":\"database not found: \\\"te\\\\\\\"le\\\"\"}" },
        { .status = 200, .body = "{\"results\":[{\"statement_id\":0}]}" },
        { .status = 204 },
    };
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "influx1");
    option_text(f.type->options, f.output, "database", "te\"le\\");
    serve(&f, steps, COUNT(steps));
    begin(&f);
    send_three(&f);
    assert_int_equal(f.reply.outcome, DELIVERED);
    assert_string_equal(f.reply.reason, "");
    sent(&f, 1, "POST /query HTTP/1.1\r\n");
    sent(&f, 1, "Content-Type: application/x-www-form-urlencoded\r\n");
    assert_string_equal(server_request(&f.server, 1).body, "q=CREATE%20DATABASE%20%22te%5C%22le%5C%5C%22");
    end(&f);
}

static void v1_tells_why_it_could_not_create(void **state) {
    static const struct server_step steps[] = {
        { .status = 404, .body = "{\"error\":\"database not found: \\\"telemetry\\\"\"}" },
        { .status = 200, .body = "{\"results\":[{\"statement_id\":0,\"error\":\"not allowed\"}]}" },
    };
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "influx1");
    serve(&f, steps, COUNT(steps));
    begin(&f);
    send_three(&f);
    assert_int_equal(f.reply.outcome, RETRY_LATER);
    assert_int_equal(f.reply.retry, RETRY_SLOWLY);
    assert_non_null(strstr(f.reply.reason, "not allowed"));
    assert_int_equal(server_count(&f.server), 2);
    end(&f);
}

static void v1_creates_nothing_when_told_so(void **state) {
    static const struct server_step steps[] = { { .status = 404,
                                                  .body = "{\"error\":\"database not found: \\\"x\\\"\"}" } };
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "influx1");
    option_bool(f.type->options, f.output, "skip_database_creation", true);
    serve(&f, steps, COUNT(steps));
    begin(&f);
    send_three(&f);
    assert_int_equal(f.reply.outcome, RETRY_LATER);
    assert_int_equal(server_count(&f.server), 1);
    end(&f);
}

/* ---- refused lines ---- */

static void v1_names_the_bad_line(void **state) {
    static const struct server_step steps[] = {
        { .status = 400,
          .body = "{\"error\":\"partial write: unable to parse 'm,d=b v=1x 2': invalid number dropped=0\"}" },
    };
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "influx1");
    serve(&f, steps, COUNT(steps));
    begin(&f);
    send_three(&f);
    assert_int_equal(f.reply.outcome, PARTIAL);
    assert_int_equal(f.reply.rejected_count, 1);
    assert_int_equal(f.reply.rejected[0].line, 1);
    assert_string_equal(f.reply.rejected[0].reason, "invalid number");
    assert_int_equal(server_count(&f.server), 1); /* nothing is resent */
    end(&f);
}

static const struct server_step v2_refuses_b[] = {
    { .status = 400, .body = "{\"code\":\"invalid\",\"message\":\"unable to parse 'm,d=b v=1x 2': invalid number\"}" },
    { .status = 204 },
};

static void v2_sends_the_others_again_without_the_bad_line(void **state) {
    struct fixture f;

    (void)state;
    create(&f, "influxdb_v2", "influx2");
    serve(&f, v2_refuses_b, COUNT(v2_refuses_b));
    begin(&f);
    send_three(&f);
    assert_int_equal(f.reply.outcome, PARTIAL);
    assert_int_equal(f.reply.rejected_count, 1);
    assert_int_equal(f.reply.rejected[0].line, 1);
    assert_string_equal(f.reply.rejected[0].reason, "invalid number");
    assert_int_equal(f.reply.status, 400);
    assert_int_equal(server_count(&f.server), 2);
    assert_string_equal(server_request(&f.server, 1).body, A C);
    end(&f);
}

static struct second {
    const char *name;
    struct server_step step;
    enum outcome outcome;
} seconds[] = {
    { "v2: the others refused too: halve",
      { .status = 400, .body = "{\"message\":\"unable to parse 'm,d=c v=3 3': x\"}" },
      SPLIT },
    { "v2: the others too large: halve", { .status = 413 }, SPLIT },
    { "v2: the others met a dead server: all of it later", { .status = 503 }, RETRY_LATER },
    { "v2: the others met a reset: all of it later", { .action = RESET }, RETRY_LATER },
};

static void second_answer(void **state) {
    const struct second *row = *state;
    const struct server_step steps[] = { v2_refuses_b[0], row->step };
    struct fixture f;

    create(&f, "influxdb_v2", "influx2");
    serve(&f, steps, COUNT(steps));
    begin(&f);
    send_three(&f);
    assert_int_equal(f.reply.outcome, row->outcome);
    assert_int_equal(f.reply.rejected_count, 0);
    end(&f);
}

/* ---- log in ---- */

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void a_new_token_is_read_after_a_401(void **state) {
    static const struct server_step steps[] = { { .status = 204 }, { .status = 401 }, { .status = 204 } };
    char path[] = "/tmp/heliograf-token-XXXXXX";
    struct fixture f;

    (void)state;
    close(mkstemp(path));
    write_file(path, "old\n");
    create(&f, "influxdb_v2", "influx2");
    option_text(f.type->options, f.output, "token_file", path);
    serve(&f, steps, COUNT(steps));
    begin(&f);
    send_three(&f);
    sent(&f, 0, "Authorization: Token old\r\n");
    write_file(path, "brand-new\n");
    send_three(&f);
    assert_int_equal(f.reply.outcome, DELIVERED);
    sent(&f, 2, "Authorization: Token brand-new\r\n");
    end(&f);
    unlink(path);
}

static void an_old_token_is_not_tried_twice(void **state) {
    static const struct server_step steps[] = { { .status = 401, .body = "{\"message\":\"unauthorized access\"}" } };
    struct fixture f;

    (void)state;
    create(&f, "influxdb_v2", "influx2");
    option_secret(f.type->options, f.output, "token", "secret");
    serve(&f, steps, COUNT(steps));
    begin(&f);
    send_three(&f);
    assert_int_equal(f.reply.outcome, RETRY_LATER);
    assert_int_equal(f.reply.retry, RETRY_SLOWLY);
    assert_int_equal(server_count(&f.server), 1);
    assert_null(strstr(f.reply.reason, "secret"));
    end(&f);
}

static void the_user_of_the_url_logs_in(void **state) {
    struct buf text = BUF_INIT(256);
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "influx1");
    serve(&f, all_good, 1);
    snprintf(f.url, sizeof f.url, "http://u:p@127.0.0.1:%d", f.server.port);
    begin(&f);
    send_three(&f);
    sent(&f, 0, "Authorization: Basic dTpw\r\n");
    f.type->describe(f.output, &text);
    assert_null(strstr(buf_cstr(&text), "u:p"));
    assert_non_null(strstr(buf_cstr(&text), "database telemetry"));
    buf_release(&text);
    end(&f);
}

/* ---- several servers ---- */

static void the_next_server_takes_over_and_stays(void **state) {
    static const struct server_step down[] = { { .status = 503, .body = "starting" } };
    struct http_server first;
    char url[64];
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "influx1");
    server_start(&first, down, 1);
    serve(&f, all_good, 1);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", first.port);
    f.urls[0] = url;
    f.urls[1] = f.url;
    option_strings(f.type->options, f.output, "urls", f.urls, 2);
    begin(&f);
    for (int i = 0; i < 3; i++) {
        send_three(&f);
        assert_int_equal(f.reply.outcome, DELIVERED);
    }
    assert_int_equal(server_count(&first), 1);
    assert_int_equal(server_count(&f.server), 3);
    end(&f);
    server_stop(&first);
}

static void the_answer_counts_more_than_the_silence(void **state) {
    static char nobody[] = "http://127.0.0.1:1";
    static const struct server_step broken[] = { { .status = 500, .headers = "Retry-After: 7\r\n", .body = "disk" } };
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "influx1");
    serve(&f, broken, 1);
    f.urls[1] = nobody;
    option_strings(f.type->options, f.output, "urls", f.urls, 2);
    begin(&f);
    send_three(&f);
    assert_int_equal(f.reply.outcome, RETRY_LATER);
    assert_int_equal(f.reply.retry, RETRY_SUSPECT);
    assert_int_equal(f.reply.status, 500);
    assert_int_equal(f.reply.retry_after_ns, 7 * NS_PER_S);
    assert_string_equal(f.reply.reason, "disk");
    end(&f);
}

static void a_cancelled_send_ends_at_once(void **state) {
    static const struct server_step stall[] = { { .action = STALL } };
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "influx1");
    serve(&f, stall, 1);
    begin(&f);
    atomic_store(&f.cancel, true);
    send_three(&f);
    assert_int_equal(f.reply.outcome, RETRY_LATER);
    assert_string_equal(f.reply.reason, "cancelled");
    end(&f);
}

/* ---- probe ---- */

static struct probe {
    const char *name, *output, *server;
    struct server_step step;
    const char *complaint; /* NULL: all is well */
} probes[] = {
    { "probe: 204", "influxdb", "influx1", { .status = 204 }, NULL },
    { "probe: 2.x complains that there are no points",
      "influxdb_v2",
      "influx2",
      { .status = 400, .body = "{\"code\":\"invalid\",\"message\":\"writing requires points\"}" },
      NULL },
    { "probe: 401",
      "influxdb_v2",
      "influx2",
      { .status = 401, .body = "{\"message\":\"unauthorized access\"}" },
      "401: unauthorized access (check token" },
    { "probe: 403", "influxdb_v2", "influx2", { .status = 403, .body = "{\"message\":\"forbidden\"}" }, "forbidden" },
    { "probe: no bucket",
      "influxdb_v2",
      "influx2",
      { .status = 404, .body = "{\"message\":\"bucket \\\"x\\\" not found\"}" },
      "not found" },
    { "probe: 1.x will create its database",
      "influxdb",
      "influx1",
      { .status = 404, .body = "{\"error\":\"database not found: \\\"x\\\"\"}" },
      NULL },
    { "probe: wrong generation",
      "influxdb_v3",
      "influx3",
      { .status = 404, .body = "404 page not found" },
      "generation" },
    { "probe: down", "influxdb", "influx1", { .action = RESET }, "http://127.0.0.1" },
};

static void probes_row(void **state) {
    const struct probe *row = *state;
    struct err err = ERR_INIT;
    struct fixture f;

    create(&f, row->output, row->server);
    serve(&f, &row->step, 1);
    begin(&f);
    bool ok = f.type->probe(f.output, f.connection, &err);
    assert_int_equal(ok, row->complaint == NULL);
    if (!ok && strstr(err.text, row->complaint) == NULL)
        fail_msg("'%s' does not hold '%s'", err.text, row->complaint);
    assert_string_equal(server_request(&f.server, 0).body, row->step.action == RESET ? "" : "# check\n");
    end(&f);
}

static void v1_probe_misses_a_database_it_must_not_create(void **state) {
    static const struct server_step steps[] = { { .status = 404,
                                                  .body = "{\"error\":\"database not found: \\\"x\\\"\"}" } };
    struct err err = ERR_INIT;
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "influx1");
    option_bool(f.type->options, f.output, "skip_database_creation", true);
    serve(&f, steps, 1);
    begin(&f);
    assert_false(f.type->probe(f.output, f.connection, &err));
    assert_non_null(strstr(err.text, "database not found"));
    end(&f);
}

/* ---- options ---- */

static struct bad {
    const char *name, *output, *key, *value, *complaint;
} bads[] = {
    { "refuses udp", "influxdb", "urls", "udp://127.0.0.1:8089", "urls: number 1" },
    { "refuses a server without the API", "influxdb_v3", "server", "influx1", "influx1 has no /api/v3/write_lp" },
    { "refuses TDengine through v2", "influxdb_v2", "server", "tdengine", "tdengine has no /api/v2/write" },
    { "refuses an empty database", "influxdb", "database", "", "database is empty" },
    { "refuses an empty bucket", "influxdb_v2", "bucket", "", "bucket is empty" },
    { "refuses a token with a line break", "influxdb_v2", "token", "a\nX: y", "control character" },
    { "refuses a token file that is not there", "influxdb_v3", "token_file", "/nowhere/token", "/nowhere/token" },
    { "refuses an authority that is not there", "influxdb", "tls_ca", "/nowhere/ca.pem", "/nowhere/ca.pem" },
};

static void refuses_row(void **state) {
    const struct bad *row = *state;
    char value[64], nobody[] = "http://127.0.0.1:1", *urls[1] = { nobody };
    struct err err = ERR_INIT;
    struct fixture f;

    snprintf(value, sizeof value, "%s", row->value);
    create(&f, row->output, "auto");
    option_strings(f.type->options, f.output, "urls", urls, 1);
    if (strcmp(row->key, "urls") == 0)
        urls[0] = value;
    else if (strcmp(row->key, "server") == 0)
        option_enum(f.type->options, f.output, row->key, value);
    else if (strcmp(row->key, "token") == 0)
        option_secret(f.type->options, f.output, row->key, value);
    else
        option_text(f.type->options, f.output, row->key, value);
    assert_false(f.type->init(f.output, &err));
    if (strstr(err.text, row->complaint) == NULL)
        fail_msg("'%s' does not hold '%s'", err.text, row->complaint);
    output_free(f.type, f.output);
}

static void extra_headers_go_out_and_bad_ones_are_refused(void **state) {
    char site[] = "X-Site", bad[] = "X-Bad", plant[] = "plant 7", broken[] = "a\r\nb";
    char *keys[] = { site, bad }, *values[] = { plant, broken };
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "influx1");
    serve(&f, all_good, 1);
    struct cfg_map *map = option_at(f.type->options, f.output, "http_headers", CFG_MAP);
    *map = (struct cfg_map){ keys, values, NULL, 2 };
    assert_false(f.type->init(f.output, NULL));
    output_free(f.type, f.output);
    server_stop(&f.server);

    create(&f, "influxdb", "influx1");
    serve(&f, all_good, 1);
    map = option_at(f.type->options, f.output, "http_headers", CFG_MAP);
    *map = (struct cfg_map){ keys, values, NULL, 1 };
    begin(&f);
    send_three(&f);
    sent(&f, 0, "X-Site: plant 7\r\n");
    end(&f);
}

/* ---- routing ---- */

static struct way {
    const char *name, *output, *tag, *second; /* second: v1's retention_policy_tag */
    bool exclude;
    const char *line, *target, *after; /* after: NULL: unchanged */
} ways[] = {
    { "routes by tag", "influxdb_v2", "bucket", NULL, false, "m,bucket=b1,z=1 v=1 1", "b1", NULL },
    { "routes and leaves the tag out", "influxdb_v2", "bucket", NULL, true, "m,a=1,bucket=b1,z=1 v=1 1", "b1",
      "m,a=1,z=1 v=1 1" },
    { "leaves out the only tag", "influxdb_v2", "bucket", NULL, true, "m,bucket=b1 v=1", "b1", "m v=1" },
    { "leaves out the last tag", "influxdb_v2", "bucket", NULL, true, "m,a=1,bucket=b1 v=1", "b1", "m,a=1 v=1" },
    { "no such tag: the default", "influxdb_v2", "bucket", NULL, true, "m,buckets=b1 v=1", "", NULL },
    { "a field is no tag", "influxdb_v2", "bucket", NULL, true, "m bucket=\"a,bucket=x \"", "", NULL },
    { "a string that looks like a tag is none", "influxdb_v2", "bucket", NULL, true, "m v=\",bucket=b1\"", "", NULL },
    { "unescapes the value", "influxdb_v2", "bucket", NULL, false, "m,bucket=a\\ b\\,c\\=d\\e v=1", "a b,c=d\\e",
      NULL },
    { "reads past escapes", "influxdb_v2", "bucket", NULL, true, "m\\,bucket\\=no,k\\ 1=v\\,bucket\\=x,bucket=b1 v=1",
      "b1", "m\\,bucket\\=no,k\\ 1=v\\,bucket\\=x v=1" },
    { "a key with escapes", "influxdb_v2", "my bucket", NULL, true, "m,my\\ bucket=b1 v=1", "b1", "m v=1" },
    { "a backslash before a comma that is escaped", "influxdb_v2", "bucket", NULL, false, "m,bucket=a\\\\,b v=1",
      "a\\,b", NULL },
    { "v1: a database", "influxdb", "db", NULL, true, "m,db=d1 v=1", "d1", "m v=1" },
    { "v1: a database and a retention policy", "influxdb", "db", "rp", true, "m,a=1,db=d1,rp=r1,z=1 v=1", "d1\x1fr1",
      "m,a=1,z=1 v=1" },
    { "v1: in the other order", "influxdb", "rp", "db", true, "m,db=d1,rp=r1 v=1",
      "r1\x1f"
      "d1",
      "m v=1" },
    { "v1: only a retention policy", "influxdb", "db", "rp", false, "m,rp=r1 v=1", "\x1fr1", NULL },
    { "v3: a database", "influxdb_v3", "db", NULL, false, "m,db=d1 v=1", "d1", NULL },
    { "half a line is no accident", "influxdb_v2", "bucket", NULL, true, "m,bucket", "", NULL },
    { "a line that ends in a backslash neither", "influxdb_v2", "bucket", NULL, true, "m,bucket=b\\", "b\\", "m" },
};

static void routes_row(void **state) {
    const struct way *row = *state;
    const char *key = strcmp(row->output, "influxdb_v2") == 0 ? "bucket_tag" : "database_tag";
    const char *exclude = strcmp(row->output, "influxdb_v2") == 0 ? "exclude_bucket_tag" : "exclude_database_tag";
    char tag[32], second[32];
    struct buf scratch = BUF_INIT(4096);
    struct str line = str_of(row->line), target;
    struct fixture f;

    create(&f, row->output, "auto");
    assert_false(f.type->routes(f.output));
    snprintf(tag, sizeof tag, "%s", row->tag);
    option_text(f.type->options, f.output, key, tag);
    option_bool(f.type->options, f.output, exclude, row->exclude);
    if (row->second != NULL) {
        snprintf(second, sizeof second, "%s", row->second);
        option_text(f.type->options, f.output, "retention_policy_tag", second);
        option_bool(f.type->options, f.output, "exclude_retention_policy_tag", row->exclude);
    }
    assert_true(f.type->routes(f.output));
    buf_append_c(&scratch, "kept");
    f.type->route(f.output, &line, &target, &scratch);
    assert_int_equal(target.len, strlen(row->target));
    assert_memory_equal(target.data, row->target, target.len);
    assert_int_equal(line.len, strlen(row->after != NULL ? row->after : row->line));
    assert_memory_equal(line.data, row->after != NULL ? row->after : row->line, line.len);
    assert_memory_equal(scratch.data, "kept", 4);
    buf_release(&scratch);
    output_free(f.type, f.output);
}

static void a_routed_request_goes_where_it_should(void **state) {
    const struct request request = { STR_INIT(A), 1, three_ends, STR_INIT("d1\x1fr 1") };
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "influx1");
    serve(&f, all_good, 1);
    begin(&f);
    f.type->send(f.output, f.connection, &request, &f.reply);
    sent(&f, 0, "POST /write?db=d1&rp=r%201&precision=ns ");
    end(&f);
}

/* ---- several threads ---- */

struct sender {
    struct fixture *f;
    bool good;
};

static void *send_many(void *arg) {
    struct sender *sender = arg;
    struct fixture *f = sender->f;
    void *connection = f->type->open(f->output, &f->cancel, NULL);
    struct reply reply;

    reply_init(&reply);
    sender->good = connection != NULL;
    for (int i = 0; i < 10 && sender->good; i++) {
        f->type->send(f->output, connection, &three_lines, &reply);
        sender->good = reply.outcome == DELIVERED;
    }
    reply_release(&reply);
    f->type->close(f->output, connection);
    return NULL;
}

static void senders_share_one_output(void **state) {
    struct sender senders[4];
    pthread_t threads[4];
    struct fixture f;

    (void)state;
    create(&f, "influxdb", "auto");
    serve(&f, all_good, 1);
    begin(&f);
    for (size_t i = 0; i < 4; i++) {
        senders[i] = (struct sender){ .f = &f };
        pthread_create(&threads[i], NULL, send_many, &senders[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_true(senders[i].good);
    }
    end(&f);
}

static void every_option_has_help(void **state) {
    (void)state;
    for (size_t i = 0; output_types[i] != NULL; i++)
        for (const struct cfg_field *field = output_types[i]->options; field->key != NULL; field++) {
            assert_non_null(field->help);
            assert_true(field->offset < output_types[i]->state_size);
        }
}

int main(void) {
    static const struct CMUnitTest single[] = {
        cmocka_unit_test(v1_writes),
        cmocka_unit_test(v2_writes),
        cmocka_unit_test(v3_writes),
        cmocka_unit_test(greptime_has_its_own_path_and_log_in),
        cmocka_unit_test(a_prefix_in_the_url_is_not_doubled),
        cmocka_unit_test(gzip_goes_out_compressed),
        cmocka_unit_test(a_415_switches_compression_off_and_resends),
        cmocka_unit_test(damaged_gzip_is_resent_plain_once),
        cmocka_unit_test(an_empty_request_is_not_sent),
        cmocka_unit_test(asks_once_who_the_server_is),
        cmocka_unit_test(a_server_that_does_not_say_is_taken_as_the_outputs_own),
        cmocka_unit_test(asks_again_after_page_not_found),
        cmocka_unit_test(v1_creates_a_missing_database),
        cmocka_unit_test(v1_tells_why_it_could_not_create),
        cmocka_unit_test(v1_creates_nothing_when_told_so),
        cmocka_unit_test(v1_names_the_bad_line),
        cmocka_unit_test(v2_sends_the_others_again_without_the_bad_line),
        cmocka_unit_test(a_new_token_is_read_after_a_401),
        cmocka_unit_test(an_old_token_is_not_tried_twice),
        cmocka_unit_test(the_user_of_the_url_logs_in),
        cmocka_unit_test(the_next_server_takes_over_and_stays),
        cmocka_unit_test(the_answer_counts_more_than_the_silence),
        cmocka_unit_test(a_cancelled_send_ends_at_once),
        cmocka_unit_test(v1_probe_misses_a_database_it_must_not_create),
        cmocka_unit_test(extra_headers_go_out_and_bad_ones_are_refused),
        cmocka_unit_test(a_routed_request_goes_where_it_should),
        cmocka_unit_test(senders_share_one_output),
        cmocka_unit_test(every_option_has_help),
    };
    struct CMUnitTest tests[COUNT(single) + COUNT(seconds) + COUNT(probes) + COUNT(bads) + COUNT(ways)];
    size_t count = 0;

    for (size_t i = 0; i < COUNT(single); i++)
        tests[count++] = single[i];
    for (size_t i = 0; i < COUNT(seconds); i++)
        tests[count++] = (struct CMUnitTest){ seconds[i].name, second_answer, NULL, NULL, &seconds[i] };
    for (size_t i = 0; i < COUNT(probes); i++)
        tests[count++] = (struct CMUnitTest){ probes[i].name, probes_row, NULL, NULL, &probes[i] };
    for (size_t i = 0; i < COUNT(bads); i++)
        tests[count++] = (struct CMUnitTest){ bads[i].name, refuses_row, NULL, NULL, &bads[i] };
    for (size_t i = 0; i < COUNT(ways); i++)
        tests[count++] = (struct CMUnitTest){ ways[i].name, routes_row, NULL, NULL, &ways[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
