/* agent/commands/message_json.c: see message_json.h. */
#include "agent/commands/message_json.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/base/clock.h"

/* 15 decimal digits come back from a double as they went in, and exponents of two digits are within its range. */
enum { SAFE_DIGITS = 15, SAFE_EXPONENT_DIGITS = 2, TEXT_MAX = 1 << 30 };

/* With its quotes. Text from a broker should be UTF-8; where it is not, its bytes are U+FFFD, or all of it would not be JSON. */
static void append_escaped(struct buf *out, struct str text) {
    static const char letters[] = "\"\\\b\f\n\r\t", escapes[] = "\"\\bfnrt";
    bool utf8 = str_is_utf8(text);

    buf_append_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        const char *letter = c != '\0' ? strchr(letters, c) : NULL;
        if (letter != NULL)
            buf_printf(out, "\\%c", escapes[letter - letters]);
        else if (c < 0x20)
            buf_printf(out, "\\u%04x", c);
        else if (c >= 0x80 && !utf8)
            buf_append_c(out, "\xEF\xBF\xBD");
        else
            buf_append_char(out, (char)c);
    }
    buf_append_char(out, '"');
}

/* cJSON's strings end at the first NUL, so strings are written here, in the form in which it writes them. */
static bool add_text(cJSON *object, const char *key, struct str text) {
    struct buf escaped = BUF_INIT(TEXT_MAX);
    bool added;

    append_escaped(&escaped, text);
    added = !escaped.failed && cJSON_AddRawToObject(object, key, buf_cstr(&escaped)) != NULL;
    buf_release(&escaped);
    return added;
}

static bool add_hex(cJSON *object, const char *key, struct str data) {
    struct buf text = BUF_INIT(TEXT_MAX);
    bool added;

    for (size_t i = 0; i < data.len; i++)
        buf_printf(&text, "%02x", (unsigned char)data.data[i]);
    added = !text.failed && cJSON_AddStringToObject(object, key, buf_cstr(&text)) != NULL;
    buf_release(&text);
    return added;
}

/* Bytes that need not be text: `key` or `key_hex`. */
static bool add_bytes(cJSON *object, const char *key, const char *key_hex, struct str data) {
    return str_is_utf8(data) ? add_text(object, key, data) : add_hex(object, key_hex, data);
}

static bool add_time(cJSON *object, int64_t ns) {
    time_t seconds = (time_t)(ns / NS_PER_S);
    char date[40], zone[16], text[80];
    struct tm local;

    if (localtime_r(&seconds, &local) == NULL)
        return false;
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &local);
    strftime(zone, sizeof zone, "%z", &local);
    snprintf(text, sizeof text, "%s.%06lld%s", date, (long long)(ns % NS_PER_S / NS_PER_US), zone);
    return cJSON_AddStringToObject(object, "tst", text) != NULL;
}

/* A user property's key may contain NUL, as a cJSON key cannot: then it ends there. */
static bool add_user_property(cJSON *object, const struct mqtt_property *property) {
    cJSON *user = cJSON_GetObjectItemCaseSensitive(object, "user-properties");
    char *key = str_is_utf8(property->text) ? strndup(property->text.data, property->text.len) : strdup("not UTF-8");
    bool added = key != NULL && (user != NULL || (user = cJSON_AddObjectToObject(object, "user-properties")) != NULL) &&
                 add_text(user, key, property->value);

    free(key);
    return added;
}

static bool add_property(cJSON *object, const struct mqtt_property *property) {
    const struct mqtt_property_kind *kind = mqtt_property_kind(property->id);

    if (kind == NULL)
        return true;
    switch (kind->type) {
    case MQTT_TYPE_PAIR:
        return add_user_property(object, property);
    case MQTT_TYPE_STRING:
        return add_text(object, kind->name, property->text);
    case MQTT_TYPE_BINARY:
        return add_bytes(object, kind->name, "correlation-data-hex", property->text);
    default:
        return cJSON_AddNumberToObject(object, kind->name, property->number) != NULL;
    }
}

static bool add_properties(cJSON *object, const struct mqtt_properties *properties) {
    cJSON *list = properties->count > 0 ? cJSON_AddObjectToObject(object, "properties") : NULL;

    for (size_t i = 0; i < properties->count; i++)
        if (list == NULL || !add_property(list, &properties->items[i]))
            return false;
    return true;
}

/* Behind the string that begins at `at`; of valid JSON. */
static const char *skip_string(const char *at) {
    for (at++; *at != '"' && *at != '\0'; at++)
        if (*at == '\\' && at[1] != '\0')
            at++;
    return *at == '"' ? at + 1 : at;
}

/* Behind the number at `at`, whose digits and exponent's digits are counted. */
static const char *skip_number(const char *at, size_t *digits, size_t *exponent) {
    *digits = *exponent = 0;
    for (; isdigit((unsigned char)*at) || *at == '.'; at++)
        *digits += *at != '.';
    if (*at != 'e' && *at != 'E')
        return at;
    for (at += at[1] == '+' || at[1] == '-' ? 2 : 1; isdigit((unsigned char)*at); at++)
        ++*exponent;
    return at;
}

/* True when a number in this valid JSON might change on its way through a double. */
static bool has_long_numbers(const char *at) {
    size_t digits, exponent;

    while (*at != '\0') {
        if (*at == '"') {
            at = skip_string(at);
        } else if (isdigit((unsigned char)*at)) {
            at = skip_number(at, &digits, &exponent);
            if (digits > SAFE_DIGITS || exponent > SAFE_EXPONENT_DIGITS)
                return true;
        } else {
            at++;
        }
    }
    return false;
}

/* As cJSON writes it again; with long numbers as it stands, less its blanks, so that every digit stays. */
static bool add_parsed(cJSON *object, struct str payload) {
    char *text = strndup(payload.data, payload.len);
    const char *end = NULL;
    cJSON *parsed = text != NULL && strlen(text) == payload.len ? cJSON_ParseWithOpts(text, &end, true) : NULL;
    bool added = parsed != NULL;

    if (parsed != NULL && has_long_numbers(text)) {
        cJSON_Delete(parsed);
        cJSON_Minify(text);
        added = cJSON_AddRawToObject(object, "payload", text) != NULL;
    } else if (parsed != NULL && !cJSON_AddItemToObject(object, "payload", parsed)) {
        cJSON_Delete(parsed);
        added = false;
    }
    free(text);
    return added;
}

static bool add_head(cJSON *object, const struct mqtt_client_message *message) {
    return object != NULL && add_time(object, message->received_ns) && add_text(object, "topic", message->topic) &&
           cJSON_AddNumberToObject(object, "qos", message->qos) != NULL &&
           cJSON_AddNumberToObject(object, "retain", message->retain) != NULL &&
           cJSON_AddNumberToObject(object, "payloadlen", (double)message->payload.len) != NULL &&
           (message->qos == 0 || cJSON_AddNumberToObject(object, "mid", message->id) != NULL) &&
           add_properties(object, &message->properties);
}

static bool add_payload(cJSON *object, const struct mqtt_client_message *message, bool parsed, struct err *err) {
    if (message->payload.len == 0)
        return cJSON_AddNullToObject(object, "payload") != NULL;
    if (!parsed)
        return add_bytes(object, "payload", "payload_hex", message->payload);
    return add_parsed(object, message->payload) ||
           err_set(err, ERR_SYNTAX, "the payload on topic %.*s is not JSON, as %%J wants it; %%j takes any",
                   message->topic.len < 100 ? (int)message->topic.len : 100, message->topic.data);
}

bool message_json_print(const struct mqtt_client_message *message, bool parsed, bool pretty, struct buf *out, struct err *err) {
    cJSON *object = cJSON_CreateObject();
    bool made = add_head(object, message) && add_payload(object, message, parsed, err);
    char *text = !made ? NULL : pretty ? cJSON_Print(object) : cJSON_PrintUnformatted(object);
    bool printed = text != NULL && buf_append_c(out, text);

    if (!printed)
        err_set(err, ERR_FULL, "no memory to print a message of %zu bytes", message->payload.len);
    cJSON_free(text);
    cJSON_Delete(object);
    return printed;
}
