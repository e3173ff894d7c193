/* agent/delivery/dead_letter_json.c: see dead_letter_json.h. */
#include "agent/delivery/dead_letter_json.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/base/clock.h"
#include "agent/delivery/json_text.h"

static bool add_time(cJSON *object, int64_t time_ns) {
    time_t seconds = (time_t)(time_ns / NS_PER_S);
    char text[80];
    struct tm utc;
    size_t used;

    if (gmtime_r(&seconds, &utc) == NULL)
        return false;
    used = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + used, sizeof text - used, ".%09ldZ", (long)(time_ns % NS_PER_S));
    return cJSON_AddStringToObject(object, "time", text) != NULL;
}

/* Only where there is something to say: most letters have neither. */
static bool add_numbers(cJSON *object, const struct dead_letter *letter) {
    return (letter->status == 0 || cJSON_AddNumberToObject(object, "status", letter->status) != NULL) &&
           (letter->full_bytes == 0 ||
            cJSON_AddNumberToObject(object, "full_bytes", (double)letter->full_bytes) != NULL);
}

static bool add_all(cJSON *object, const struct dead_letter *letter) {
    return object != NULL && add_time(object, letter->time_ns > 0 ? letter->time_ns : 0) &&
           json_add_text(object, "stage", letter->stage) && json_add_text(object, "input", letter->input) &&
           json_add_text(object, "output", letter->output) && json_add_text(object, "topic", letter->topic) &&
           json_add_text(object, "reason", letter->reason) && json_add_text(object, "detail", letter->detail) &&
           add_numbers(object, letter) && json_add_data(object, "data", "data_base64", letter->data);
}

bool dead_letter_encode(const struct dead_letter *letter, struct buf *out) {
    size_t before = out->len;
    cJSON *object = cJSON_CreateObject();
    char *line = add_all(object, letter) ? cJSON_PrintUnformatted(object) : NULL;
    bool encoded = line != NULL && buf_append_c(out, line) && buf_append_char(out, '\n');

    if (!encoded)
        out->len = before;
    cJSON_free(line);
    cJSON_Delete(object);
    return encoded;
}

static bool read_digits(const char *text, size_t count, int *value) {
    *value = 0;
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *value = *value * 10 + (text[i] - '0');
    }
    return true;
}

/*
 * Days since 1970-01-01 of a date of the proleptic Gregorian calendar, year 1970 and up: POSIX, "Seconds Since the
 * Epoch".
 */
static int64_t days_since_epoch(int year, int month, int day) {
    static const int before_month[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
    int64_t last = year - 1;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return 365 * (int64_t)(year - 1970) + last / 4 - last / 100 + last / 400 - 477 + before_month[month - 1] +
           (leap && month > 2) + day - 1;
}

/* Exactly the form that add_time writes. */
static bool read_time(const char *text, int64_t *time_ns) {
    static const char form[] = "0000-00-00T00:00:00.000000000Z";
    int year, month, day, hour, minute, second, fraction;

    if (strlen(text) != sizeof form - 1)
        return false;
    for (size_t i = 0; i < sizeof form - 1; i++)
        if (form[i] != '0' && text[i] != form[i])
            return false;
    if (!read_digits(text, 4, &year) || !read_digits(text + 5, 2, &month) || !read_digits(text + 8, 2, &day) ||
        !read_digits(text + 11, 2, &hour) || !read_digits(text + 14, 2, &minute) ||
        !read_digits(text + 17, 2, &second) || !read_digits(text + 20, 9, &fraction))
        return false;
    if (year < 1970 || year > 2261 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    *time_ns = (((days_since_epoch(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * NS_PER_S + fraction;
    return true;
}

/* Zero when there is none, or none that makes sense. */
static uint64_t read_number(const cJSON *object, const char *key, double max) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble <= max ? (uint64_t)item->valuedouble : 0;
}

bool dead_letter_decode(struct str line, struct arena *arena, struct dead_letter *letter) {
    cJSON *object = cJSON_ParseWithLength(line.data, line.len);
    const cJSON *time_item = cJSON_GetObjectItemCaseSensitive(object, "time");
    struct dead_letter found = { 0 };
    bool whole =
        cJSON_IsObject(object) && cJSON_IsString(time_item) && read_time(time_item->valuestring, &found.time_ns) &&
        json_read_text(object, "stage", arena, &found.stage) && json_read_text(object, "input", arena, &found.input) &&
        json_read_text(object, "output", arena, &found.output) && json_read_text(object, "topic", arena, &found.topic) &&
        json_read_text(object, "reason", arena, &found.reason) && json_read_text(object, "detail", arena, &found.detail) &&
        json_read_data(object, "data", "data_base64", arena, &found.data);

    if (whole) {
        found.status = (int)read_number(object, "status", 999);
        found.full_bytes = read_number(object, "full_bytes", 1e15);
        *letter = found;
    }
    cJSON_Delete(object);
    return whole;
}
