/*
 * outputs/influxdb_answer.h: reads an error body: JSON in several shapes, plain text, a proxy's page. Part of
 * influxdb_outcome(); pure.
 */
#ifndef HELIOGRAF_OUTPUTS_INFLUXDB_ANSWER_H
#define HELIOGRAF_OUTPUTS_INFLUXDB_ANSWER_H

#include "outputs/http.h"
#include "outputs/output.h"

struct cJSON;

struct influxdb_answer {
    struct cJSON *json;  /* NULL: no JSON object */
    struct str message;  /* the server's words; the title of an HTML page; empty without any */
    struct str head;     /* its part before anything that came out of the data, for telling what happened */
    bool html;           /* not from a database */
};

/* `message` and `head` borrow from `answer` or from `json`. */
void influxdb_answer_read(const struct http_answer *answer, struct influxdb_answer *out);
void influxdb_answer_release(struct influxdb_answer *answer);

/*
 * True when `text` stands in the head; ASCII case is ignored. What a device sent must not choose what its refusal
 * means.
 */
bool influxdb_answer_says(const struct influxdb_answer *answer, const char *text);

enum influxdb_named {
    NAMED_NONE,  /* no line, or one that could not be found in the request: reply->rejected is empty */
    NAMED_LINES, /* reply->rejected holds every line that was named */
};
/*
 * Finds the refused lines: by number in v3's `data` and QuestDB's `line`, by their quoted text in `unable to parse
 * '...'`. All or nothing: a line that is out of range, or quoted text that is no whole line of the request, gives
 * NAMED_NONE.
 */
enum influxdb_named influxdb_answer_lines(const struct influxdb_answer *answer, const struct request *request,
                                          struct reply *reply);

/* N of the last ` dropped=N`; 0 without. */
uint64_t influxdb_answer_dropped(const struct influxdb_answer *answer);

#endif
