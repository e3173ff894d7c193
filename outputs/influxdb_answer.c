/* outputs/influxdb_answer.c: see influxdb_answer.h. */
#include "outputs/influxdb_answer.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <strings.h>

/*
 * A cJSON node takes 64 bytes and more: a body of `[1,1,1` would take 32 times its size. v3 names a line with 3
 * commas.
 */
enum { JSON_VALUES_MAX = 200000, HEAD_MAX = 4096 };

static struct str find(struct str text, const char *wanted) {
    size_t len = strlen(wanted);

    for (size_t i = 0; i + len <= text.len; i++)
        if (strncasecmp(text.data + i, wanted, len) == 0)
            return str_make(text.data + i, text.len - i);
    return str_make(NULL, 0);
}

bool influxdb_answer_says(const struct influxdb_answer *answer, const char *text) {
    return find(answer->head, text).data != NULL;
}

/* Servers quote lines, measurements and fields behind these words. */
static struct str head_of(struct str message) {
    static const char *const before_data[] = { "parse", "conflict", "exceeded" };
    struct str head = str_make(message.data, message.len < HEAD_MAX ? message.len : HEAD_MAX);

    for (size_t i = 0; i < sizeof before_data / sizeof before_data[0]; i++) {
        struct str at = find(head, before_data[i]);
        if (at.data != NULL)
            head.len = (size_t)(at.data - head.data) + strlen(before_data[i]);
    }
    return head;
}

static bool affordable(struct str body) {
    size_t values = 0;
    bool quoted = false;

    for (size_t i = 0; i < body.len; i++) {
        char c = body.data[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == ',' || c == '[' || c == '{'))
            values++;
    }
    return values <= JSON_VALUES_MAX;
}

static struct str text_member(const cJSON *object, const char *name) {
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsString(member) ? str_of(member->valuestring) : STR_EMPTY;
}

static bool is_page(const struct http_answer *answer, struct str body) {
    struct str type = http_header(answer, "Content-Type");

    return find(type, "html").data != NULL || (body.len > 0 && body.data[0] == '<');
}

static struct str page_title(struct str body) {
    struct str from = find(body, "<title>"), to;

    if (from.data == NULL)
        return STR("an HTML page, not a database's answer");
    from = str_make(from.data + 7, from.len - 7);
    to = find(from, "</title>");
    return str_trim(to.data == NULL ? from : str_make(from.data, from.len - to.len));
}

void influxdb_answer_read(const struct http_answer *answer, struct influxdb_answer *out) {
    struct str body = str_trim(answer->body);

    *out = (struct influxdb_answer){ .message = body };
    if (body.len > 0 && body.data[0] == '{' && affordable(body))
        out->json = cJSON_ParseWithLength(body.data, body.len);
    if (out->json != NULL) {
        /* 1.x and 3.x say "error", 2.x says "code" and "message"; "error" may also be an object, or a mere kind. */
        struct str error = text_member(out->json, "error"), message = text_member(out->json, "message");
        if (message.len > 0 || error.len > 0)
            out->message = message.len > 0 ? message : error;
    } else if (is_page(answer, body)) {
        out->html = true;
        out->message = page_title(body);
    } else if (body.len == 0) {
        out->message = http_header(answer, "X-Influxdb-Error");
    }
    out->head = head_of(out->message);
}

void influxdb_answer_release(struct influxdb_answer *answer) {
    cJSON_Delete(answer->json);
    answer->json = NULL;
}

uint64_t influxdb_answer_dropped(const struct influxdb_answer *answer) {
    static const char mark[] = " dropped=";
    struct str rest = find(answer->message, mark), number = STR_EMPTY;
    uint64_t dropped = 0;

    while (rest.data != NULL) {
        number = str_make(rest.data + sizeof mark - 1, rest.len - (sizeof mark - 1));
        rest = find(number, mark);
    }
    number = str_trim(number);
    str_to_uint64(str_split(&number, ' '), &dropped);
    return dropped;
}

/* ---- lines by number ---- */

struct numbered {
    double number;
    const char *words;
};

static int by_number(const void *left, const void *right) {
    double a = ((const struct numbered *)left)->number, b = ((const struct numbered *)right)->number;

    return (a > b) - (a < b);
}

static bool is_line_number(double number, const struct request *request) {
    return number >= 1 && number <= request->line_count && number == (uint32_t)number;
}

static bool reject_numbered(struct numbered *lines, size_t count, const struct request *request, struct reply *reply) {
    qsort(lines, count, sizeof *lines, by_number);
    for (size_t i = 0; i < count; i++) {
        if (!is_line_number(lines[i].number, request))
            return false;
        if (i > 0 && lines[i].number == lines[i - 1].number)
            continue;
        if (!reply_reject(reply, (uint32_t)lines[i].number - 1, str_of(lines[i].words)))
            return false;
    }
    return count > 0;
}

static struct numbered numbered_of(const cJSON *entry) {
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(entry, "line_number");
    const cJSON *words = cJSON_GetObjectItemCaseSensitive(entry, "error_message");

    return (struct numbered){ cJSON_IsNumber(number) ? number->valuedouble : 0,
                              cJSON_IsString(words) ? words->valuestring : "refused by the server" };
}

/* v3: `data` is one object, or a list of them. */
static bool lines_of_data(const cJSON *data, const struct request *request, struct reply *reply) {
    size_t count = cJSON_IsArray(data) ? (size_t)cJSON_GetArraySize(data) : 1, used = 0;
    struct numbered *lines;
    bool found;

    if (count == 0 || count > request->line_count || (lines = calloc(count, sizeof *lines)) == NULL)
        return false;
    if (cJSON_IsArray(data))
        for (const cJSON *entry = data->child; entry != NULL; entry = entry->next)
            lines[used++] = numbered_of(entry);
    else
        lines[used++] = numbered_of(data);
    found = reject_numbered(lines, used, request, reply);
    free(lines);
    return found;
}

/* QuestDB: `line` beside `message`. */
static bool lines_of_member(const struct influxdb_answer *answer, const cJSON *line, const struct request *request,
                            struct reply *reply) {
    if (!is_line_number(line->valuedouble, request))
        return false;
    return reply_reject(reply, (uint32_t)line->valuedouble - 1, answer->message);
}

/* ---- lines by their text ---- */

static struct str line_at(const struct request *request, uint32_t line) {
    uint32_t start = line > 0 ? request->line_ends[line - 1] : 0;

    return str_make(request->body.data + start, request->line_ends[line] - start - 1);
}

static const char quote_mark[] = "unable to parse '";
enum { QUOTE_MARK_LEN = sizeof quote_mark - 1 };

/* From behind a quoted line's closing quote: `: reason`, up to the next complaint. */
static struct str reason_after(struct str text) {
    struct str next = find(text, "\nunable to parse '");
    struct str reason = next.data == NULL ? text : str_make(text.data, text.len - next.len);
    struct str dropped = next.data == NULL ? find(reason, " dropped=") : str_make(NULL, 0);

    if (dropped.data != NULL)
        reason.len -= dropped.len;
    while (reason.len > 0 && (reason.data[0] == ':' || reason.data[0] == ' '))
        reason = str_make(reason.data + 1, reason.len - 1);
    return reason;
}

/*
 * The first line from `from` on that the text begins with, closing quote included; line_count when there is none. A
 * line is looked for in the text, never the other way round: what is quoted may itself hold quotes and newlines.
 */
static uint32_t quoted_line(const struct request *request, uint32_t from, struct str text) {
    for (uint32_t line = from; line < request->line_count; line++) {
        struct str wanted = line_at(request, line);
        if (text.len > wanted.len + 1 && memcmp(text.data + wanted.len, "':", 2) == 0 && str_starts_with(text, wanted))
            return line;
    }
    return request->line_count;
}

/* 1.x and 2.x list the lines in their order, so the search goes on where the last one was found. */
static bool lines_of_text(struct str message, const struct request *request, struct reply *reply) {
    struct str at = find(message, quote_mark);
    uint32_t line = 0;

    if (at.data == NULL)
        return false;
    while (at.data != NULL) {
        struct str text = str_make(at.data + QUOTE_MARK_LEN, at.len - QUOTE_MARK_LEN);
        line = quoted_line(request, line, text);
        if (line == request->line_count)
            return false;
        size_t quoted = line_at(request, line).len + 1;
        text = str_make(text.data + quoted, text.len - quoted);
        if (!reply_reject(reply, line++, reason_after(text)))
            return false;
        at = find(text, quote_mark);
    }
    return true;
}

enum influxdb_named influxdb_answer_lines(const struct influxdb_answer *answer, const struct request *request,
                                          struct reply *reply) {
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(answer->json, "data");
    const cJSON *line = cJSON_GetObjectItemCaseSensitive(answer->json, "line");
    bool found;

    if (cJSON_IsArray(data) || cJSON_IsObject(data))
        found = lines_of_data(data, request, reply);
    else if (cJSON_IsNumber(line))
        found = lines_of_member(answer, line, request, reply);
    else
        found = lines_of_text(answer->message, request, reply);
    if (!found)
        reply->rejected_count = 0;
    return found ? NAMED_LINES : NAMED_NONE;
}
