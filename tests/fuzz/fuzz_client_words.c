/*
 * tests/fuzz/fuzz_client_words.c: what `pub` and `sub` read from their command line: URLs, formats of -F and properties of -D; and messages
 * that are printed in such a format. The first byte says which.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/commands/broker_url.h"
#include "agent/commands/message_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds)
        abort();
}

static void try_url(const char *text) {
    struct broker_url url;
    struct err err = ERR_INIT;

    if (broker_url_parse(text, &url, &err)) {
        require(url.server != NULL && url.topic != NULL && url.topic[0] != '\0');
        require(url.password == NULL || url.username != NULL);
        mqtt_client_check_server(url.server, &err);
    } else {
        require(err.code != ERR_NONE && err.text[0] != '\0');
    }
    broker_url_release(&url);
}

/* "name\ntext\nvalue" */
static void try_property(char *text) {
    char *value = strchr(text, '\n'), *second = value != NULL ? strchr(value + 1, '\n') : NULL;
    const struct mqtt_property_kind *kind;
    struct mqtt_property property;
    struct err err = ERR_INIT;

    if (second == NULL)
        return;
    *value = *second = '\0';
    kind = mqtt_property_named(text);
    if (kind == NULL)
        return;
    if (mqtt_property_read(kind, value + 1, second + 1, &property, &err))
        require(property.id == kind->id && (kind->type > MQTT_TYPE_VARIABLE || (property.number >= kind->least && property.number <= kind->most)));
    else
        require(err.code != ERR_NONE);
}

/* Whatever the message is, %j is one JSON value that can be read again, and a failure leaves nothing behind. */
static void print_message(const char *text, const struct mqtt_client_message *message) {
    struct err err = ERR_INIT;
    struct message_format *format = message_format_new(text, text[0] == '%', &err);
    struct buf out = BUF_INIT(16 << 20);

    if (format == NULL) {
        require(err.code != ERR_NONE && err.text[0] != '\0');
        return;
    }
    if (!message_format_print(format, message, &out, &err))
        require(out.len == 0 && err.code != ERR_NONE);
    else if (strcmp(text, "%j") == 0 || strcmp(text, "%J") == 0)
        require(!out.failed);
    message_format_free(format);
    if (strcmp(text, "%j") == 0) {
        cJSON *parsed = cJSON_ParseWithLength(buf_cstr(&out), out.len);
        require(parsed != NULL && cJSON_GetObjectItemCaseSensitive(parsed, "topic") != NULL);
        cJSON_Delete(parsed);
    }
    buf_release(&out);
}

/* "format\npayload"; the payload is the message's texts, too. */
static void try_format(char *text, struct str whole) {
    char *behind = memchr(text, '\n', whole.len);
    struct str payload = behind != NULL ? str_make(behind + 1, whole.len - (size_t)(behind + 1 - text)) : STR_EMPTY;
    struct str part = str_make(payload.data, payload.len < 20 ? payload.len : 20);
    const struct mqtt_property properties[] = {
        { .id = MQTT_PROPERTY_PAYLOAD_FORMAT, .number = 1 },      { .id = MQTT_PROPERTY_CONTENT_TYPE, .text = part },
        { .id = MQTT_PROPERTY_CORRELATION_DATA, .text = payload }, { .id = MQTT_PROPERTY_USER, .text = part, .value = payload },
        { .id = MQTT_PROPERTY_TOPIC_ALIAS, .number = 65535 },      { .id = (enum mqtt_property_id)99, .text = part },
    };
    const struct mqtt_client_message message = {
        .topic = part, .payload = payload, .received_ns = 1795600800123456789, .id = 65535, .qos = 2, .properties = { properties, 6 }
    };

    if (behind != NULL)
        *behind = '\0';
    print_message(text, &message);
    print_message("%j", &message);
    print_message("%J", &message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text;

    if (size == 0 || (text = malloc(size)) == NULL)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    switch (data[0] % 3) {
    case 0:
        try_url(text);
        break;
    case 1:
        try_format(text, str_make(text, size - 1));
        break;
    default:
        try_property(text);
    }
    free(text);
    return 0;
}
