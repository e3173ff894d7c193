/* tests/unit/test_influxdb_outcome.c: one named row per documented answer of every server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "outputs/influxdb_outcome.h"

/* Four lines; B, the second one, is what servers complain about. */
#define A        "m,d=a v=1 1000000001\n"
#define B        "m,d=b v=1x 1000000002\n"
#define C        "m,d=c v=3 1000000003\n"
#define D        "m,d=d v=\"it's: it\" 1000000004\n"
#define B_QUOTED "unable to parse 'm,d=b v=1x 1000000002': invalid number"

static const char four[] = A B C D;
static const uint32_t four_ends[] = { sizeof A - 1, sizeof(A B) - 1, sizeof(A B C) - 1, sizeof(A B C D) - 1 };

static struct row {
    const char *name;
    const struct server_profile *server;
    int status;
    const char *headers, *body;
    enum outcome outcome;
    enum retry_class retry;
    enum influxdb_advice advice;
    const char *rejected; /* indices as digits */
    const char *reason;   /* a part of it; NULL: any */
} rows[] = {
    /* ---- all of it ---- */
    { "204 is all of it", &server_influx1, 204, "", "", DELIVERED, RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "200 is all of it", &server_victoria, 200, "", "", DELIVERED, RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "201 is all of it", &server_greptime, 201, "", "", DELIVERED, RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "202 is all of it", &server_influx2, 202, "", "", DELIVERED, RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "204 of VictoriaMetrics, which does not tell what it dropped", &server_victoria, 204, "", "", DELIVERED,
      RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "200 with a login page is not stored", &server_influx1, 200, "Content-Type: text/html\r\n",
      "<html><head><title>Sign in</title></head></html>", RETRY_LATER, RETRY_SLOWLY, ADVICE_NONE, "", "Sign in" },

    /* ---- refused lines, 1.x ---- */
    { "1.x: one line quoted, the rest stored", &server_influx1, 400, "",
      "{\"error\":\"partial write: " B_QUOTED " dropped=0\"}", PARTIAL, RETRY_BACKOFF, ADVICE_NONE, "1",
      "unable to parse" },
    { "1.x: several lines quoted, newlines between", &server_influx1, 400, "",
      "{\"error\":\"partial write: unable to parse 'm,d=a v=1 1000000001': one\\n" B_QUOTED "\\nunable to parse 'm,d=d "
      "v=\\\"it's: it\\\" 1000000004': two dropped=0\"}",
      PARTIAL, RETRY_BACKOFF, ADVICE_NONE, "013", NULL },
    { "1.x: a quoted line that is none of ours is not believed", &server_influx1, 400, "",
      "{\"error\":\"partial write: unable to parse 'm,d=z v=1': no dropped=0\"}", SPLIT, RETRY_BACKOFF, ADVICE_NONE, "",
      NULL },
    { "1.x: an unterminated string swallowed the next line", &server_influx1, 400, "",
      "{\"error\":\"partial write: unable to parse 'm,d=b v=1x 1000000002\\nm,d=c v=3 1000000003': unbalanced quotes "
      "dropped=0\"}",
      SPLIT, RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "1.x: nothing parsed, every line quoted", &server_influx1, 400, "",
      "{\"error\":\"unable to parse 'm,d=a v=1 1000000001': x\\nunable to parse 'm,d=b v=1x 1000000002': x\\nunable to "
      "parse 'm,d=c v=3 1000000003': x\\nunable to parse 'm,d=d v=\\\"it's: it\\\" 1000000004': x\"}",
      PARTIAL, RETRY_BACKOFF, ADVICE_NONE, "0123", NULL },
    { "1.x: a quoted line and more dropped lines without a name", &server_influx1, 400, "",
      "{\"error\":\"partial write: " B_QUOTED " dropped=2\"}", SPLIT, RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "1.x: a type conflict names no line", &server_influx1, 400, "",
      "{\"error\":\"partial write: field type conflict: input field \\\"v\\\" on measurement \\\"m\\\" is type string, "
      "already exists as type float dropped=1\"}",
      SPLIT, RETRY_BACKOFF, ADVICE_NONE, "", "field type conflict" },
    { "1.x: a type conflict within a line refuses the batch", &server_influx1, 400, "",
      "{\"error\":\"field type conflict\"}", SPLIT, RETRY_BACKOFF, ADVICE_NONE, "", "field type conflict" },
    { "1.x: beyond the retention policy", &server_influx1, 400, "",
      "{\"error\":\"partial write: points beyond retention policy dropped=1\"}", SPLIT, RETRY_BACKOFF, ADVICE_NONE, "",
      "points beyond retention policy" },
    { "1.x: max-values-per-tag", &server_influx1, 400, "",
      "{\"error\":\"partial write: max-values-per-tag limit exceeded (100000/100000): measurement=\\\"m\\\" "
      "tag=\\\"d\\\" value=\\\"b\\\" dropped=1\"}",
      SPLIT, RETRY_BACKOFF, ADVICE_NONE, "", "max-values-per-tag" },
    { "1.x: max-series-per-database", &server_influx1, 400, "",
      "{\"error\":\"partial write: max-series-per-database limit exceeded: (1000000) dropped=4\"}", SPLIT,
      RETRY_BACKOFF, ADVICE_NONE, "", "max-series-per-database" },
    { "1.x: the reason only in the header", &server_influx1, 400, "X-Influxdb-Error: field type conflict\r\n", "",
      SPLIT, RETRY_BACKOFF, ADVICE_NONE, "", "field type conflict" },
    { "1.x: a database that was not named", &server_influx1, 400, "", "{\"error\":\"database is required\"}",
      RETRY_LATER, RETRY_SLOWLY, ADVICE_NONE, "", "database is required" },
    { "what a line says does not choose the reaction", &server_influx1, 400, "",
      "{\"error\":\"unable to parse 'm s=database is required, gzip: invalid partial write': no\"}", SPLIT,
      RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "a measurement's name does not choose the reaction", &server_influx1, 400, "",
      "{\"error\":\"partial write: field type conflict: input field \\\"gzip: invalid\\\" on measurement "
      "\\\"unexpected "
      "EOF\\\" is type string, already exists as type float dropped=1\"}",
      SPLIT, RETRY_BACKOFF, ADVICE_NONE, "", NULL },

    /* ---- refused lines, 2.x ---- */
    { "2.x: one line quoted, nothing stored", &server_influx2, 400, "",
      "{\"code\":\"invalid\",\"message\":\"" B_QUOTED "\"}", SPLIT, RETRY_BACKOFF, ADVICE_WITHOUT_NAMED, "1", NULL },
    { "2.x: 'partial write' inside the quoted line stores nothing", &server_influx2, 400, "",
      "{\"code\":\"invalid\",\"message\":\"unable to parse 'm,d=b v=1x 1000000002': partial write\"}", SPLIT,
      RETRY_BACKOFF, ADVICE_WITHOUT_NAMED, "1", NULL },
    { "2.x: 422 partial write", &server_influx2, 422, "",
      "{\"code\":\"unprocessable entity\",\"message\":\"failure writing points to database: partial write: field type "
      "conflict: input field \\\"v\\\" on measurement \\\"m\\\" is type string, already exists as type float "
      "dropped=1\"}",
      SPLIT, RETRY_BACKOFF, ADVICE_NONE, "", "field type conflict" },
    { "2.0: 500 partial write", &server_influx2, 500, "",
      "{\"code\":\"internal error\",\"message\":\"unexpected error writing points to database: partial write: field "
      "type "
      "conflict: input field \\\"v\\\" on measurement \\\"m\\\" is type string, already exists as type float "
      "dropped=1\"}",
      SPLIT, RETRY_BACKOFF, ADVICE_NONE, "", "partial write" },
    { "Cloud: 400 with rejected points described", &server_influx2, 400, "",
      "{\"code\":\"invalid\",\"message\":\"partial write has occurred, errors encountered on line(s): error message "
      "for "
      "first rejected point\"}",
      SPLIT, RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "2.x: organization not named", &server_influx2, 400, "",
      "{\"code\":\"invalid\",\"message\":\"Please provide either orgID or org\"}", RETRY_LATER, RETRY_SLOWLY,
      ADVICE_NONE, "", NULL },

    /* ---- refused lines, 3.x ---- */
    { "3.x: a line named by number, the rest stored", &server_influx3, 400, "",
      "{\"error\":\"partial write of line protocol occurred\",\"data\":[{\"original_line\":\"m,d=b v=1x 100000\","
      "\"line_number\":2,\"error_message\":\"Could not parse entire line\"}]}",
      PARTIAL, RETRY_BACKOFF, ADVICE_NONE, "1", "partial write of line protocol" },
    { "3.x: several lines named, in any order and twice", &server_influx3, 400, "",
      "{\"error\":\"partial write of line protocol occurred\",\"data\":[{\"line_number\":4,\"error_message\":\"x\"},"
      "{\"line_number\":1,\"error_message\":\"y\"},{\"line_number\":4,\"error_message\":\"z\"}]}",
      PARTIAL, RETRY_BACKOFF, ADVICE_NONE, "03", NULL },
    { "3.x: a line number that is not in the request", &server_influx3, 400, "",
      "{\"error\":\"partial write of line protocol occurred\",\"data\":[{\"line_number\":5,\"error_message\":\"x\"}]}",
      SPLIT, RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "3.x: line number 0", &server_influx3, 400, "",
      "{\"error\":\"partial write of line protocol occurred\",\"data\":[{\"line_number\":0,\"error_message\":\"x\"}]}",
      SPLIT, RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "3.x: a list cut in the middle", &server_influx3, 400, "",
      "{\"error\":\"partial write of line protocol occurred\",\"data\":[{\"line_number\":2,\"error_mess", SPLIT,
      RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "3.x: an empty list", &server_influx3, 400, "",
      "{\"error\":\"partial write of line protocol occurred\",\"data\":[]}", SPLIT, RETRY_BACKOFF, ADVICE_NONE, "",
      NULL },
    { "3.x: accept_partial=false, one line named, nothing stored", &server_influx3, 400, "",
      "{\"error\":\"line protocol parsing error\",\"data\":{\"original_line\":\"m,d=b\",\"line_number\":2,"
      "\"error_message\":\"x\"}}",
      SPLIT, RETRY_BACKOFF, ADVICE_WITHOUT_NAMED, "1", NULL },
    { "3.x: through the v2 endpoint, no line named", &server_influx3, 400, "",
      "{\"code\":\"invalid\",\"message\":\"invalid column type for column 'v'\"}", SPLIT, RETRY_BACKOFF, ADVICE_NONE,
      "", NULL },
    { "3.x: 422 too many columns is somebody's lines", &server_influx3, 422, "",
      "{\"error\":\"Update to schema would exceed number of columns per table limit of 499 columns\"}", SPLIT,
      RETRY_BACKOFF, ADVICE_NONE, "", "columns" },
    { "3.x: 422 too many databases waits for a person", &server_influx3, 422, "",
      "{\"error\":\"Adding a new database would exceed limit of 5 databases\"}", RETRY_LATER, RETRY_SLOWLY, ADVICE_NONE,
      "", NULL },
    { "3.x: a bad name of the configured database", &server_influx3, 400, "",
      "{\"error\":\"db name did not start with a number or letter\"}", RETRY_LATER, RETRY_SLOWLY, ADVICE_NONE, "",
      NULL },

    /* ---- refused lines, compatible servers ---- */
    { "VictoriaMetrics old: a broken body, rows before it stored", &server_victoria, 400, "",
      "remoteAddr: \"127.0.0.1:1\"; requestURI: /write?db=x; cannot read line protocol data: cannot parse", SPLIT,
      RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "VictoriaMetrics: gzip damaged on the way", &server_victoria, 400, "",
      "remoteAddr: \"127.0.0.1:1\"; requestURI: /write?db=x; cannot read gzipped influx line protocol data: gzip: "
      "invalid header",
      RETRY_LATER, RETRY_SUSPECT, ADVICE_RESEND_PLAIN, "", NULL },
    { "VictoriaMetrics new: one bad line refuses all", &server_victoria_strict, 400, "",
      "cannot unmarshal influx line \"m,d=b v=1x 1000000002\": cannot parse field value", SPLIT, RETRY_BACKOFF,
      ADVICE_NONE, "", NULL },
    { "VictoriaMetrics never says partial", &server_victoria_strict, 400, "", "partial write: " B_QUOTED, SPLIT,
      RETRY_BACKOFF, ADVICE_WITHOUT_NAMED, "1", NULL },
    { "VictoriaMetrics: overload", &server_victoria, 503, "", "cannot handle more than 8 concurrent inserts",
      RETRY_LATER, RETRY_BACKOFF, ADVICE_OTHER_SERVER, "", "concurrent inserts" },
    { "QuestDB: gzip is not taken", &server_questdb, 415, "", "gzip encoding is not supported", RETRY_LATER,
      RETRY_SUSPECT, ADVICE_NO_GZIP, "", NULL },
    { "QuestDB: the line is named by number", &server_questdb, 400, "",
      "{\"code\":\"invalid\",\"message\":\"failed to parse line protocol:errors encountered on line(s):\\nerror in "
      "line "
      "2: Could not parse field value\",\"line\":2,\"errorId\":\"x-1\"}",
      SPLIT, RETRY_BACKOFF, ADVICE_WITHOUT_NAMED, "1", NULL },
    { "QuestDB: an impossible line number", &server_questdb, 400, "",
      "{\"code\":\"invalid\",\"message\":\"failed to parse line protocol\",\"line\":9,\"errorId\":\"x-1\"}", SPLIT,
      RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "GreptimeDB: one bad line refuses all", &server_greptime, 400, "",
      "{\"code\":1004,\"error\":\"Failed to parse InfluxDB line protocol\",\"execution_time_ms\":0}", SPLIT,
      RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "TDengine: bad data is a 500", &server_tdengine, 500, "",
      "{\"code\":\"internal error\",\"message\":\"Invalid data format\"}", SPLIT, RETRY_BACKOFF, ADVICE_NONE, "",
      NULL },
    { "TDengine: bad syntax is a 500", &server_tdengine, 500, "", "{\"message\":\"syntax error near 'x'\"}", SPLIT,
      RETRY_BACKOFF, ADVICE_NONE, "", NULL },
    { "TDengine: another 500 may be its own trouble", &server_tdengine, 500, "",
      "{\"message\":\"Unable to establish connection\"}", RETRY_LATER, RETRY_SUSPECT, ADVICE_OTHER_SERVER, "", NULL },
    { "others: 'invalid' in a 500 is not the data's fault yet", &server_influx2, 500, "",
      "{\"message\":\"invalid shard\"}", RETRY_LATER, RETRY_SUSPECT, ADVICE_OTHER_SERVER, "", NULL },
    { "TDengine: overload", &server_tdengine, 503, "Retry-After: 120\r\n", "", RETRY_LATER, RETRY_BACKOFF,
      ADVICE_OTHER_SERVER, "", NULL },

    /* ---- damaged bodies ---- */
    { "1.x: unexpected EOF", &server_influx1, 400, "", "{\"error\":\"unexpected EOF\"}", RETRY_LATER, RETRY_SUSPECT,
      ADVICE_RESEND_PLAIN, "", NULL },
    { "1.x: gzip checksum", &server_influx1, 400, "", "{\"error\":\"gzip: invalid checksum\"}", RETRY_LATER,
      RETRY_SUSPECT, ADVICE_RESEND_PLAIN, "", NULL },
    { "2.x: 500 on truncated gzip", &server_influx2, 500, "",
      "{\"code\":\"internal error\",\"message\":\"unable to read data: unexpected EOF\"}", RETRY_LATER, RETRY_SUSPECT,
      ADVICE_RESEND_PLAIN, "", NULL },
    { "3.x: an encoding it does not know", &server_influx3, 400, "", "{\"error\":\"invalid content encoding: gzip\"}",
      RETRY_LATER, RETRY_SUSPECT, ADVICE_NO_GZIP, "", NULL },

    /* ---- who may ---- */
    { "1.x: 401 that talks of parsing", &server_influx1, 401, "",
      "{\"error\":\"unable to parse authentication credentials\"}", RETRY_LATER, RETRY_SLOWLY, ADVICE_CREDENTIALS, "",
      "unable to parse authentication credentials" },
    { "1.x: 401 wrong password", &server_influx1, 401, "", "{\"error\":\"authorization failed\"}", RETRY_LATER,
      RETRY_SLOWLY, ADVICE_CREDENTIALS, "", "authorization failed (check token" },
    { "2.x: 401", &server_influx2, 401, "", "{\"code\":\"unauthorized\",\"message\":\"unauthorized access\"}",
      RETRY_LATER, RETRY_SLOWLY, ADVICE_CREDENTIALS, "", NULL },
    { "3.x: 401 without a body", &server_influx3, 401, "", "", RETRY_LATER, RETRY_SLOWLY, ADVICE_CREDENTIALS, "",
      "HTTP status 401" },
    { "403", &server_influx2, 403, "", "{\"code\":\"forbidden\",\"message\":\"insufficient permissions for write\"}",
      RETRY_LATER, RETRY_SLOWLY, ADVICE_CREDENTIALS, "", NULL },
    { "407 of a proxy", &server_influx1, 407, "", "<html><title>407</title></html>", RETRY_LATER, RETRY_SLOWLY,
      ADVICE_NONE, "", NULL },

    /* ---- where to ---- */
    { "1.x: database not found", &server_influx1, 404, "", "{\"error\":\"database not found: \\\"x\\\"\"}", RETRY_LATER,
      RETRY_SLOWLY, ADVICE_DATABASE, "", "database not found" },
    { "2.x: bucket not found", &server_influx2, 404, "",
      "{\"code\":\"not found\",\"message\":\"bucket \\\"x\\\" not found\"}", RETRY_LATER, RETRY_SLOWLY, ADVICE_NONE, "",
      "bucket" },
    { "404 page not found: another generation", &server_influx1, 404, "", "404 page not found\n", RETRY_LATER,
      RETRY_SLOWLY, ADVICE_OTHER_API, "", "another generation" },
    { "404 of a web server", &server_influx1, 404, "Content-Type: text/html\r\n", "<h1>nginx</h1>", RETRY_LATER,
      RETRY_SLOWLY, ADVICE_NONE, "", NULL },
    { "405", &server_influx1, 405, "", "", RETRY_LATER, RETRY_SLOWLY, ADVICE_OTHER_API, "", NULL },
    { "a redirect is not followed", &server_influx1, 301, "Location: https://h/\r\n", "", RETRY_LATER, RETRY_SLOWLY,
      ADVICE_NONE, "", "redirects are not followed" },
    { "1.x: retention policy not found is a 500", &server_influx1, 500, "",
      "{\"error\":\"retention policy not found: x\"}", RETRY_LATER, RETRY_SLOWLY, ADVICE_NONE, "",
      "retention policy not found" },
    { "plain HTTP to a TLS port, Go", &server_influx1, 400, "", "Client sent an HTTP request to an HTTPS server.\n",
      RETRY_LATER, RETRY_SLOWLY, ADVICE_NONE, "", "https://" },
    { "400 of a web server, as HTML", &server_influx1, 400, "Content-Type: text/html\r\n",
      "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>", RETRY_LATER, RETRY_SLOWLY,
      ADVICE_NONE, "", "400 The plain HTTP request" },
    { "422 of a proxy, as HTML", &server_influx2, 422, "", "<!DOCTYPE html>", RETRY_LATER, RETRY_SLOWLY, ADVICE_NONE,
      "", "HTML" },

    /* ---- too much ---- */
    { "413", &server_influx1, 413, "", "{\"error\":\"Request Entity Too Large\"}", SPLIT, RETRY_BACKOFF, ADVICE_NONE,
      "", "too large" },
    { "413 of nginx, as HTML", &server_influx2, 413, "Content-Type: text/html\r\n",
      "<html><head><title>413 Request Entity Too Large</title></head>", SPLIT, RETRY_BACKOFF, ADVICE_NONE, "",
      "too large" },
    { "429", &server_influx2, 429, "Retry-After: 30\r\n",
      "{\"code\":\"too many requests\",\"message\":\"org has exceeded limited_write plan limit\"}", RETRY_LATER,
      RETRY_BACKOFF, ADVICE_NONE, "", "exceeded" },

    /* ---- trouble over there ---- */
    { "408", &server_influx2, 408, "", "", RETRY_LATER, RETRY_BACKOFF, ADVICE_OTHER_SERVER, "", NULL },
    { "499", &server_influx2, 499, "", "", RETRY_LATER, RETRY_BACKOFF, ADVICE_OTHER_SERVER, "", NULL },
    { "1.x: 500 timeout", &server_influx1, 500, "", "{\"error\":\"timeout\"}", RETRY_LATER, RETRY_BACKOFF,
      ADVICE_OTHER_SERVER, "", NULL },
    { "500 of any other kind is suspect", &server_influx1, 500, "", "{\"error\":\"engine: disk\"}", RETRY_LATER,
      RETRY_SUSPECT, ADVICE_OTHER_SERVER, "", "engine: disk" },
    { "500 of a proxy, as HTML, is not", &server_influx1, 500, "", "<html>", RETRY_LATER, RETRY_BACKOFF,
      ADVICE_OTHER_SERVER, "", NULL },
    { "502 of a proxy", &server_influx1, 502, "Content-Type: text/html\r\n",
      "<html><head><title>502 Bad Gateway</title></head></html>", RETRY_LATER, RETRY_BACKOFF, ADVICE_OTHER_SERVER, "",
      "502 Bad Gateway" },
    { "1.6.7: 503 throttle, plain text", &server_influx1, 503, "Connection: close\r\n",
      "request throttled, queue full\n", RETRY_LATER, RETRY_BACKOFF, ADVICE_OTHER_SERVER, "", "queue full" },
    { "504", &server_influx3, 504, "", "", RETRY_LATER, RETRY_BACKOFF, ADVICE_OTHER_SERVER, "", NULL },
    { "507", &server_influx2, 507, "", "", RETRY_LATER, RETRY_BACKOFF, ADVICE_OTHER_SERVER, "", "disk" },
    { "599 is suspect", &server_influx1, 599, "", "", RETRY_LATER, RETRY_SUSPECT, ADVICE_OTHER_SERVER, "", NULL },
    { "a 4xx nobody has heard of keeps the data", &server_influx1, 418, "", "teapot", RETRY_LATER, RETRY_SLOWLY,
      ADVICE_NONE, "", "teapot" },
    { "a status nobody has heard of keeps the data", &server_influx1, 999, "", "", RETRY_LATER, RETRY_BACKOFF,
      ADVICE_OTHER_SERVER, "", NULL },

    /* ---- bodies that are nothing ---- */
    { "400 without a word gives nothing up", &server_influx1, 400, "", "", RETRY_LATER, RETRY_SUSPECT, ADVICE_NONE, "",
      "HTTP status 400" },
    { "422 without a word gives nothing up", &server_influx2, 422, "", " \n", RETRY_LATER, RETRY_SUSPECT, ADVICE_NONE,
      "", "HTTP status 422" },
    { "400 with half a JSON text", &server_influx1, 400, "", "{\"error\":", RETRY_LATER, RETRY_SUSPECT, ADVICE_NONE, "",
      NULL },
    { "400 with words that no server says about lines", &server_influx1, 400, "", "Request blocked by policy 7", RETRY_LATER,
      RETRY_SUSPECT, ADVICE_NONE, "", "Request blocked by policy 7" },
    { "400 with control bytes", &server_influx1, 400, "",
      "a\x01\x02"
      "b\n",
      RETRY_LATER, RETRY_SUSPECT, ADVICE_NONE, "", "a  b" },
    { "400 with bytes that are no text", &server_influx1, 400, "", "\xff\xfe", RETRY_LATER, RETRY_SUSPECT, ADVICE_NONE,
      "", "??" },
};

static struct http_answer answer_of(const struct row *row) {
    return (struct http_answer){ .status = row->status, .headers = str_of(row->headers), .body = str_of(row->body) };
}

static void judges_row(void **state) {
    const struct row *row = *state;
    const struct request request = { STR_INIT(four), 4, four_ends, STR_INIT("") };
    struct http_answer answer = answer_of(row);
    char rejected[16] = "";
    struct reply reply;

    reply_init(&reply);
    enum influxdb_advice advice = influxdb_outcome(&answer, row->server, &request, &reply);
    for (size_t i = 0; i < reply.rejected_count; i++)
        snprintf(rejected + i, sizeof rejected - i, "%u", reply.rejected[i].line);
    assert_string_equal(outcome_name(reply.outcome), outcome_name(row->outcome));
    if (row->outcome == RETRY_LATER)
        assert_int_equal(reply.retry, row->retry);
    assert_int_equal(advice, row->advice);
    assert_string_equal(rejected, row->rejected);
    assert_int_equal(reply.status, row->status);
    if (row->reason != NULL && strstr(reply.reason, row->reason) == NULL)
        fail_msg("reason '%s' does not hold '%s'", reply.reason, row->reason);
    if (row->outcome != DELIVERED)
        assert_true(reply.reason[0] != '\0');
    reply_release(&reply);
}

static void names_the_reason_of_each_line(void **state) {
    static const char body[] = "{\"error\":\"partial write: unable to parse 'm,d=a v=1 1000000001': missing "
                               "fields\\n" B_QUOTED " dropped=0\"}";
    const struct request request = { STR_INIT(four), 4, four_ends, STR_INIT("") };
    const struct http_answer answer = { .status = 400, .body = STR_INIT(body) };
    struct reply reply;

    (void)state;
    reply_init(&reply);
    influxdb_outcome(&answer, &server_influx1, &request, &reply);
    assert_int_equal(reply.rejected_count, 2);
    assert_string_equal(reply.rejected[0].reason, "missing fields");
    assert_string_equal(reply.rejected[1].reason, "invalid number");
    reply_release(&reply);
}

static void names_equal_lines_one_after_the_other(void **state) {
    static const char twice[] = B A B;
    static const uint32_t ends[] = { sizeof B - 1, sizeof(B A) - 1, sizeof(B A B) - 1 };
    static const char body[] = "{\"error\":\"partial write: " B_QUOTED "\\n" B_QUOTED " dropped=0\"}";
    const struct request request = { STR_INIT(twice), 3, ends, STR_INIT("") };
    const struct http_answer answer = { .status = 400, .body = STR_INIT(body) };
    struct reply reply;

    (void)state;
    reply_init(&reply);
    influxdb_outcome(&answer, &server_influx1, &request, &reply);
    assert_int_equal(reply.outcome, PARTIAL);
    assert_int_equal(reply.rejected_count, 2);
    assert_int_equal(reply.rejected[0].line, 0);
    assert_int_equal(reply.rejected[1].line, 2);
    reply_release(&reply);
}

static void gives_up_on_a_database_name_that_came_from_a_tag(void **state) {
    const struct request request = { STR_INIT(four), 4, four_ends, STR_INIT("_bad") };
    const struct http_answer answer = { .status = 400,
                                        .body = STR_INIT("{\"error\":\"db name contained invalid character\"}") };
    struct reply reply;

    (void)state;
    reply_init(&reply);
    influxdb_outcome(&answer, &server_influx3, &request, &reply);
    assert_int_equal(reply.outcome, REJECTED);
    reply_release(&reply);
}

static void no_answer_is_kept(void **state) {
    const struct request request = { STR_INIT(four), 4, four_ends, STR_INIT("") };
    const struct http_answer answer = { .status = 0, .error = "cannot connect to http://h: Connection refused" };
    struct reply reply;

    (void)state;
    reply_init(&reply);
    assert_int_equal(influxdb_outcome(&answer, &server_influx1, &request, &reply), ADVICE_OTHER_SERVER);
    assert_int_equal(reply.outcome, RETRY_LATER);
    assert_int_equal(reply.retry, RETRY_BACKOFF);
    assert_string_equal(reply.reason, "cannot connect to http://h: Connection refused");
    reply_release(&reply);
}

static void a_large_body_that_broke_the_connection_is_suspect(void **state) {
    static char large[1024 * 1024];
    const struct request small = { STR_INIT(four), 4, four_ends, STR_INIT("") };
    const struct request big = { { large, sizeof large }, 1, (const uint32_t[]){ sizeof large }, STR_INIT("") };
    const struct http_answer answer = { .status = 0, .upload_broken = true, .error = "Connection reset by peer" };
    struct reply reply;

    (void)state;
    reply_init(&reply);
    influxdb_outcome(&answer, &server_influx1, &small, &reply);
    assert_int_equal(reply.retry, RETRY_BACKOFF);
    influxdb_outcome(&answer, &server_influx1, &big, &reply);
    assert_int_equal(reply.retry, RETRY_SUSPECT);
    reply_release(&reply);
}

static void half_an_answer_decides_only_by_status(void **state) {
    const struct request request = { STR_INIT(four), 4, four_ends, STR_INIT("") };
    struct http_answer answer = { .status = 400, .body = STR_INIT("{\"error\":\"pa"), .error = "closed" };
    struct reply reply;

    (void)state;
    reply_init(&reply);
    influxdb_outcome(&answer, &server_influx1, &request, &reply);
    assert_int_equal(reply.outcome, RETRY_LATER);
    answer.status = 413;
    influxdb_outcome(&answer, &server_influx1, &request, &reply);
    assert_int_equal(reply.outcome, SPLIT);
    answer.status = 204;
    influxdb_outcome(&answer, &server_influx1, &request, &reply);
    assert_int_equal(reply.outcome, DELIVERED);
    reply_release(&reply);
}

static void a_long_reason_keeps_its_hint(void **state) {
    char body[1000] = "{\"error\":\"";
    const struct request request = { STR_INIT(four), 4, four_ends, STR_INIT("") };
    struct http_answer answer = { .status = 401 };
    struct reply reply;

    (void)state;
    for (size_t i = strlen(body); i < 800; i += 2)
        strcpy(body + i, "\xc3\xa9");
    strcat(body, "\"}");
    answer.body = str_of(body);
    reply_init(&reply);
    influxdb_outcome(&answer, &server_influx1, &request, &reply);
    assert_non_null(strstr(reply.reason, "\xc3\xa9 (check token, username and password)"));
    assert_true(str_is_utf8(str_of(reply.reason)));
    reply_release(&reply);
}

static struct ping {
    const char *name, *headers;
    const struct server_profile *server;
} pings[] = {
    { "recognises 1.x", "HTTP/1.1 204 No Content\r\nX-Influxdb-Version: 1.6.7\r\n", &server_influx1 },
    { "recognises 1.8", "x-influxdb-version: 1.8.10\r\n", &server_influx1 },
    { "recognises 2.x", "X-Influxdb-Build: OSS\r\nX-Influxdb-Version: v2.7.1\r\n", &server_influx2 },
    { "recognises 2.x without v", "X-Influxdb-Version: 2.0.4\r\n", &server_influx2 },
    { "recognises Cloud", "X-Influxdb-Version: Cloud2\r\n", &server_influx2 },
    { "recognises 3.x", "x-influxdb-version: 3.1.0\r\nx-influxdb-build: Core\r\n", &server_influx3 },
    { "recognises QuestDB behind a version", "Server: questDB/1.0\r\nX-Influxdb-Version: v2.7.4\r\n", &server_questdb },
    { "recognises VictoriaMetrics", "X-Server-Hostname: vm\r\nX-Influxdb-Version: 1.8.0\r\n", &server_victoria },
    { "does not guess", "Server: nginx\r\n", NULL },
    { "does not know 10.x", "X-Influxdb-Version: 10.1\r\n", NULL },
    { "takes no empty version", "X-Influxdb-Version:\r\n", NULL },
};

static void recognises_row(void **state) {
    const struct ping *row = *state;
    const struct http_answer answer = { .status = 204, .headers = str_of(row->headers), .body = STR_INIT("") };

    assert_ptr_equal(influxdb_recognise(&answer), row->server);
}

static void names_and_profiles_agree(void **state) {
    (void)state;
    for (int i = 1; influxdb_server_names[i] != NULL; i++)
        assert_string_equal(influxdb_server(i)->name, influxdb_server_names[i]);
    assert_null(influxdb_server(0));
    assert_null(influxdb_server(99));
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

int main(void) {
    static const struct CMUnitTest single[] = {
        cmocka_unit_test(names_the_reason_of_each_line),
        cmocka_unit_test(names_equal_lines_one_after_the_other),
        cmocka_unit_test(gives_up_on_a_database_name_that_came_from_a_tag),
        cmocka_unit_test(no_answer_is_kept),
        cmocka_unit_test(a_large_body_that_broke_the_connection_is_suspect),
        cmocka_unit_test(half_an_answer_decides_only_by_status),
        cmocka_unit_test(a_long_reason_keeps_its_hint),
        cmocka_unit_test(names_and_profiles_agree),
    };
    struct CMUnitTest tests[COUNT(rows) + COUNT(pings) + COUNT(single)];
    size_t count = 0;

    for (size_t i = 0; i < COUNT(rows); i++)
        tests[count++] = (struct CMUnitTest){ rows[i].name, judges_row, NULL, NULL, &rows[i] };
    for (size_t i = 0; i < COUNT(pings); i++)
        tests[count++] = (struct CMUnitTest){ pings[i].name, recognises_row, NULL, NULL, &pings[i] };
    for (size_t i = 0; i < COUNT(single); i++)
        tests[count++] = single[i];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
