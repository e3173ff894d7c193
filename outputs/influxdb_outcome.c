/*
 * outputs/influxdb_outcome.c: see influxdb_outcome.h. The rules are a table, read from the top: status first, text
 * second. What is not in it is kept and tried again: data is only ever given up for a reason that names the data.
 */
#include "outputs/influxdb_outcome.h"

#include <stdio.h>

#include "outputs/influxdb_answer.h"

/* A body this large may have met a limit whose 413 was lost with the connection. */
enum { LARGE_BODY = 512 * 1024 };

enum verdict {
    STORED,   /* all of it */
    TROUBLE,  /* no fault of ours or of the data: back off */
    PERSON,   /* stays so until somebody does something: slowly */
    SUSPECT,  /* perhaps the data's fault */
    HALVE,    /* refused for its size, or for a line nobody can name */
    ROUTE,    /* the target's name can never be right: given up when it came out of the data, else a person's case */
    LINES,    /* refused for its lines: look whether they are named */
};

enum { TEXT_ANY, TEXT_PAGE, TEXT_NONE }; /* for rules that look at the kind of body */

struct rule {
    int from, to;      /* status */
    const char *text;  /* in the message, any case; NULL: whatever it says */
    int kind;          /* TEXT_PAGE: only an HTML page; TEXT_NONE: only without a word */
    bool only_500_data; /* only servers that answer bad lines with 500 */
    enum verdict verdict;
    enum influxdb_advice advice;
    const char *hint; /* added to the reason */
};

static const struct rule rules[] = {
    { 200, 203, NULL, TEXT_PAGE, false, PERSON, ADVICE_NONE, "a web page answered: a proxy's or a login page?" },
    { 200, 299, NULL, 0, false, STORED, ADVICE_NONE, NULL },
    { 300, 399, NULL, 0, false, PERSON, ADVICE_NONE, "redirects are not followed: put the new address into urls" },

    { 400, 400, NULL, TEXT_PAGE, false, PERSON, ADVICE_NONE, "not a database's answer: check urls and proxies" },
    { 400, 400, NULL, TEXT_NONE, false, SUSPECT, ADVICE_NONE, NULL },
    { 400, 400, "partial write", 0, false, LINES, ADVICE_NONE, NULL },
    { 400, 400, "to an HTTPS server", 0, false, PERSON, ADVICE_NONE, "urls must begin with https://" },
    { 400, 400, "to HTTPS port", 0, false, PERSON, ADVICE_NONE, "urls must begin with https://" },
    { 400, 400, "gzip: invalid", 0, false, SUSPECT, ADVICE_RESEND_PLAIN, NULL },
    { 400, 400, "read gzip", 0, false, SUSPECT, ADVICE_RESEND_PLAIN, NULL },
    { 400, 400, "unexpected EOF", 0, false, SUSPECT, ADVICE_RESEND_PLAIN, NULL },
    { 400, 400, "content-encoding", 0, false, SUSPECT, ADVICE_NO_GZIP, NULL },
    { 400, 400, "content encoding", 0, false, SUSPECT, ADVICE_NO_GZIP, NULL },
    { 400, 400, "database is required", 0, false, PERSON, ADVICE_NONE, NULL },
    { 400, 400, "provide either orgID or org", 0, false, PERSON, ADVICE_NONE, "organization is missing" },
    { 400, 400, "bucket not found", 0, false, PERSON, ADVICE_NONE, NULL },
    { 400, 400, "db name ", 0, false, ROUTE, ADVICE_NONE, NULL },
    { 400, 400, "database name", 0, false, ROUTE, ADVICE_NONE, NULL },
    { 400, 400, "consistency level", 0, false, PERSON, ADVICE_NONE, NULL },
    { 400, 400, "parse", 0, false, LINES, ADVICE_NONE, NULL },
    { 400, 400, "parsing", 0, false, LINES, ADVICE_NONE, NULL },
    { 400, 400, "conflict", 0, false, LINES, ADVICE_NONE, NULL },
    { 400, 400, "invalid", 0, false, LINES, ADVICE_NONE, NULL },
    { 400, 400, "timestamp", 0, false, LINES, ADVICE_NONE, NULL },
    { 400, 400, "out of range", 0, false, LINES, ADVICE_NONE, NULL },
    { 400, 400, "line protocol", 0, false, LINES, ADVICE_NONE, NULL },
    { 400, 400, "too long", 0, false, LINES, ADVICE_NONE, NULL },
    { 400, 400, "beyond retention", 0, false, LINES, ADVICE_NONE, NULL },
    { 400, 400, "max-", 0, false, LINES, ADVICE_NONE, NULL },
    { 400, 400, "unsupported", 0, false, LINES, ADVICE_NONE, NULL },
    { 400, 400, "must be", 0, false, LINES, ADVICE_NONE, NULL },
    { 400, 400, "requires points", 0, false, LINES, ADVICE_NONE, NULL },
    /* Words that no known server says about lines: a proxy that refuses everything must not empty the spool. */
    { 400, 400, NULL, 0, false, SUSPECT, ADVICE_NONE, NULL },

    { 401, 401, NULL, 0, false, PERSON, ADVICE_CREDENTIALS, "check token, username and password" },
    { 403, 403, NULL, 0, false, PERSON, ADVICE_CREDENTIALS, "check the permissions of token or user" },
    { 404, 404, "database not found", 0, false, PERSON, ADVICE_DATABASE, NULL },
    { 404, 404, "page not found", 0, false, PERSON, ADVICE_OTHER_API,
      "no such endpoint: another generation of InfluxDB, or a wrong path in urls" },
    { 404, 404, NULL, 0, false, PERSON, ADVICE_NONE, NULL },
    { 405, 405, NULL, 0, false, PERSON, ADVICE_OTHER_API, "no such endpoint: check server and urls" },
    { 408, 408, NULL, 0, false, TROUBLE, ADVICE_OTHER_SERVER, NULL },
    { 413, 413, NULL, 0, false, HALVE, ADVICE_NONE, "too large for the server" },
    { 415, 415, NULL, 0, false, SUSPECT, ADVICE_NO_GZIP, NULL },
    { 422, 422, NULL, TEXT_PAGE, false, PERSON, ADVICE_NONE, "not a database's answer: check urls and proxies" },
    { 422, 422, NULL, TEXT_NONE, false, SUSPECT, ADVICE_NONE, NULL },
    { 422, 422, "databases", 0, false, PERSON, ADVICE_NONE, NULL },
    { 422, 422, NULL, 0, false, LINES, ADVICE_NONE, NULL },
    { 425, 425, NULL, 0, false, TROUBLE, ADVICE_NONE, NULL },
    { 429, 429, NULL, 0, false, TROUBLE, ADVICE_NONE, NULL },
    { 499, 499, NULL, 0, false, TROUBLE, ADVICE_OTHER_SERVER, NULL },
    { 400, 499, NULL, 0, false, PERSON, ADVICE_NONE, NULL },

    { 500, 500, NULL, TEXT_PAGE, false, TROUBLE, ADVICE_OTHER_SERVER, NULL },
    { 500, 500, "partial write", 0, false, LINES, ADVICE_NONE, NULL },
    { 500, 500, "retention policy not found", 0, false, PERSON, ADVICE_NONE, "check retention_policy" },
    { 500, 500, "database not found", 0, false, PERSON, ADVICE_DATABASE, NULL },
    { 500, 500, "gzip: invalid", 0, false, SUSPECT, ADVICE_RESEND_PLAIN, NULL },
    { 500, 500, "unexpected EOF", 0, false, SUSPECT, ADVICE_RESEND_PLAIN, NULL },
    { 500, 500, "timeout", 0, false, TROUBLE, ADVICE_OTHER_SERVER, NULL },
    { 500, 500, "parse", 0, true, HALVE, ADVICE_NONE, NULL },
    { 500, 500, "syntax", 0, true, HALVE, ADVICE_NONE, NULL },
    { 500, 500, "invalid", 0, true, HALVE, ADVICE_NONE, NULL },
    { 501, 501, NULL, 0, false, PERSON, ADVICE_OTHER_API, NULL },
    { 502, 504, NULL, 0, false, TROUBLE, ADVICE_OTHER_SERVER, NULL },
    { 507, 507, NULL, 0, false, TROUBLE, ADVICE_OTHER_SERVER, "the server's disk is full" },
    { 500, 599, NULL, 0, false, SUSPECT, ADVICE_OTHER_SERVER, NULL },
    { 0, 9999, NULL, 0, false, TROUBLE, ADVICE_OTHER_SERVER, NULL },
};

static const struct rule *rule_for(const struct http_answer *answer, const struct influxdb_answer *read,
                                   const struct server_profile *server) {
    const struct rule *rule = rules, *last = &rules[sizeof rules / sizeof rules[0] - 1];

    for (; rule < last; rule++) {
        if (answer->status < rule->from || answer->status > rule->to)
            continue;
        if ((rule->kind == TEXT_PAGE && !read->html) || (rule->kind == TEXT_NONE && read->message.len > 0) ||
            (rule->only_500_data && !server->data_is_500))
            continue;
        if (rule->text == NULL || influxdb_answer_says(read, rule->text))
            break;
    }
    return rule;
}

static void set(struct reply *reply, enum outcome outcome, enum retry_class retry) {
    reply->outcome = outcome;
    reply->retry = retry;
}

/*
 * The server refused for its lines. "partial write" means that it has all the others; without it, it has none. Either
 * way only a complete list of names may be believed: resending is harmless, and a line given up by mistake is not.
 */
static enum influxdb_advice judge_lines(const struct influxdb_answer *read, const struct server_profile *server,
                                        const struct request *request, struct reply *reply) {
    bool rest_stored = server->reports_partial && influxdb_answer_says(read, "partial write");
    uint64_t dropped = influxdb_answer_dropped(read);

    set(reply, SPLIT, RETRY_BACKOFF);
    if (influxdb_answer_lines(read, request, reply) == NAMED_NONE)
        return ADVICE_NONE;
    if (dropped != 0 && dropped != reply->rejected_count) {
        reply->rejected_count = 0; /* some more were dropped for another reason, which names none */
        return ADVICE_NONE;
    }
    if (!rest_stored && reply->rejected_count < request->line_count)
        return ADVICE_WITHOUT_NAMED;
    reply->outcome = PARTIAL;
    return ADVICE_NONE;
}

static enum influxdb_advice judge(const struct rule *rule, const struct influxdb_answer *read,
                                  const struct server_profile *server, const struct request *request,
                                  struct reply *reply) {
    switch (rule->verdict) {
    case STORED:
        set(reply, DELIVERED, RETRY_BACKOFF);
        break;
    case TROUBLE:
        set(reply, RETRY_LATER, RETRY_BACKOFF);
        break;
    case PERSON:
        set(reply, RETRY_LATER, RETRY_SLOWLY);
        break;
    case SUSPECT:
        set(reply, RETRY_LATER, RETRY_SUSPECT);
        break;
    case HALVE:
        set(reply, SPLIT, RETRY_BACKOFF);
        break;
    case ROUTE:
        set(reply, request->target.len > 0 ? REJECTED : RETRY_LATER, RETRY_SLOWLY);
        break;
    case LINES:
        return judge_lines(read, server, request, reply);
    }
    return rule->advice;
}

/* The server's words, cut where needed so that the hint fits behind them. */
static void set_reason(struct reply *reply, const struct rule *rule, const struct influxdb_answer *read) {
    size_t hint = rule->hint != NULL ? strlen(rule->hint) + sizeof " ()" - 1 : 0, used;

    if (reply->outcome == DELIVERED)
        return;
    reply_words(reply->reason, sizeof reply->reason - hint, read->message);
    if (reply->reason[0] == '\0')
        snprintf(reply->reason, sizeof reply->reason, "HTTP status %d without a reason", reply->status);
    used = strlen(reply->reason);
    if (hint > 0)
        snprintf(reply->reason + used, sizeof reply->reason - used, " (%s)", rule->hint);
}

/* A part of an answer is as good as all of it only where the status alone decides. */
static bool cut_short(const struct http_answer *answer) {
    if (answer->error[0] == '\0')
        return false;
    return answer->status == 0 || answer->status == 400 || answer->status == 422 || answer->status == 500;
}

static enum influxdb_advice no_answer(const struct http_answer *answer, const struct request *request,
                                      struct reply *reply) {
    bool suspect = answer->upload_broken && request->body.len >= LARGE_BODY;

    set(reply, RETRY_LATER, suspect ? RETRY_SUSPECT : RETRY_BACKOFF);
    reply_words(reply->reason, sizeof reply->reason,
                str_of(answer->error[0] != '\0' ? answer->error : "no answer"));
    return answer->cancelled ? ADVICE_NONE : ADVICE_OTHER_SERVER;
}

enum influxdb_advice influxdb_outcome(const struct http_answer *answer, const struct server_profile *server,
                                      const struct request *request, struct reply *reply) {
    struct influxdb_answer read;
    enum influxdb_advice advice;
    const struct rule *rule;

    reply->status = answer->status;
    reply->retry_after_ns = answer->retry_after_ns;
    reply->rejected_count = 0;
    reply->reason[0] = '\0';
    if (answer->status == 0 || cut_short(answer))
        return no_answer(answer, request, reply);
    influxdb_answer_read(answer, &read);
    rule = rule_for(answer, &read, server);
    advice = judge(rule, &read, server, request, reply);
    set_reason(reply, rule, &read);
    influxdb_answer_release(&read);
    return advice;
}
