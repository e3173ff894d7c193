/* agent/delivery/dead_letter_json.c: see dead_letter_json.h. */
#include "agent/delivery/dead_letter_json.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/base/clock.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* RFC 4648 section 4; NUL-terminated, on the heap. */
static char *base64_encode(struct str data) {
    const unsigned char *in = (const unsigned char *)data.data;
    char *text = malloc((data.len + 2) / 3 * 4 + 1), *out = text;

    if (text == NULL)
        return NULL;
    for (size_t left = data.len; left > 0; in += 3) {
        uint32_t group = (uint32_t)in[0] << 16 | (left > 1 ? (uint32_t)in[1] << 8 : 0) | (left > 2 ? in[2] : 0u);
        *out++ = digits[group >> 18];
        *out++ = digits[group >> 12 & 63];
        *out++ = left > 1 ? digits[group >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[group & 63] : '=';
        left -= left > 3 ? 3 : left;
    }
    *out = '\0';
    return text;
}

static bool base64_decode(struct str text, struct arena *arena, struct str *data) {
    size_t padding = 0, used = 0;
    char *out;

    while (padding < 2 && padding < text.len && text.data[text.len - 1 - padding] == '=')
        padding++;
    if (text.len % 4 != 0 || (out = arena_alloc(arena, text.len / 4 * 3 + 1)) == NULL)
        return false;
    for (size_t i = 0; i < text.len; i += 4) {
        uint32_t group = 0;
        for (size_t j = i; j < i + 4; j++) {
            const char *digit = text.data[j] != '\0' ? strchr(digits, text.data[j]) : NULL;
            if (digit == NULL && j < text.len - padding)
                return false;
            group = group << 6 | (digit != NULL ? (uint32_t)(digit - digits) : 0);
        }
        out[used++] = (char)(group >> 16);
        out[used++] = (char)(group >> 8);
        out[used++] = (char)group;
    }
    *data = str_make(out, used - padding);
    return true;
}

/* A terminated copy in which every byte that is not part of UTF-8, and every NUL, is U+FFFD. */
static char *mended(struct str text) {
    char *copy = malloc(text.len * 3 + 1), *out = copy;

    if (copy == NULL)
        return NULL;
    for (size_t i = 0; i < text.len;) {
        size_t len = 1;
        while (len <= 4 && len <= text.len - i && !str_is_utf8(str_make(text.data + i, len)))
            len++;
        if (len > 4 || len > text.len - i || text.data[i] == '\0') {
            memcpy(out, "\xEF\xBF\xBD", 3);
            out += 3;
            i++;
        } else {
            memcpy(out, text.data + i, len);
            out += len;
            i += len;
        }
    }
    *out = '\0';
    return copy;
}

static bool add_string(cJSON *object, const char *key, char *text) {
    bool added = text != NULL && cJSON_AddStringToObject(object, key, text) != NULL;

    free(text);
    return added;
}

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

static bool is_text(struct str data) {
    return (data.len == 0 || memchr(data.data, '\0', data.len) == NULL) && str_is_utf8(data);
}

/* Only where there is something to say: most letters have neither. */
static bool add_numbers(cJSON *object, const struct dead_letter *letter) {
    return (letter->status == 0 || cJSON_AddNumberToObject(object, "status", letter->status) != NULL) &&
           (letter->full_bytes == 0 ||
            cJSON_AddNumberToObject(object, "full_bytes", (double)letter->full_bytes) != NULL);
}

static bool add_all(cJSON *object, const struct dead_letter *letter) {
    bool text = is_text(letter->data);

    return object != NULL && add_time(object, letter->time_ns > 0 ? letter->time_ns : 0) &&
           add_string(object, "stage", mended(letter->stage)) && add_string(object, "input", mended(letter->input)) &&
           add_string(object, "output", mended(letter->output)) && add_string(object, "topic", mended(letter->topic)) &&
           add_string(object, "reason", mended(letter->reason)) &&
           add_string(object, "detail", mended(letter->detail)) && add_numbers(object, letter) &&
           add_string(object, text ? "data" : "data_base64", text ? mended(letter->data) : base64_encode(letter->data));
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

static bool read_string(const cJSON *object, const char *key, struct arena *arena, struct str *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    if (!cJSON_IsString(item) || item->valuestring == NULL)
        return false;
    *out = arena_copy(arena, str_of(item->valuestring));
    return out->data != NULL;
}

static bool read_data(const cJSON *object, struct arena *arena, struct str *data) {
    struct str text;

    if (read_string(object, "data", arena, data))
        return true;
    return read_string(object, "data_base64", arena, &text) && base64_decode(text, arena, data);
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
        read_string(object, "stage", arena, &found.stage) && read_string(object, "input", arena, &found.input) &&
        read_string(object, "output", arena, &found.output) && read_string(object, "topic", arena, &found.topic) &&
        read_string(object, "reason", arena, &found.reason) && read_string(object, "detail", arena, &found.detail) &&
        read_data(object, arena, &found.data);

    if (whole) {
        found.status = (int)read_number(object, "status", 999);
        found.full_bytes = read_number(object, "full_bytes", 1e15);
        *letter = found;
    }
    cJSON_Delete(object);
    return whole;
}
