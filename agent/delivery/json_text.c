/* agent/delivery/json_text.c: see json_text.h. */
#include "agent/delivery/json_text.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

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

/* `text` is freed. */
static bool add_string(cJSON *object, const char *key, char *text) {
    bool added = text != NULL && cJSON_AddStringToObject(object, key, text) != NULL;

    free(text);
    return added;
}

static bool is_text(struct str data) {
    return (data.len == 0 || memchr(data.data, '\0', data.len) == NULL) && str_is_utf8(data);
}

bool json_add_text(cJSON *object, const char *key, struct str text) {
    return add_string(object, key, mended(text));
}

bool json_add_data(cJSON *object, const char *key, const char *key_base64, struct str data) {
    return is_text(data) ? json_add_text(object, key, data) : add_string(object, key_base64, base64_encode(data));
}

bool json_read_text(const cJSON *object, const char *key, struct arena *arena, struct str *text) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    if (!cJSON_IsString(item) || item->valuestring == NULL)
        return false;
    *text = arena_copy(arena, str_of(item->valuestring));
    return text->data != NULL;
}

bool json_read_data(const cJSON *object, const char *key, const char *key_base64, struct arena *arena, struct str *data) {
    struct str text;

    if (json_read_text(object, key, arena, data))
        return true;
    return json_read_text(object, key_base64, arena, &text) && base64_decode(text, arena, data);
}
