/* tests/unit/test_message_format.c: every sequence and escape of -F, and the JSON. What mosquitto_sub prints for the same is compared in
 * tests/integration/test_pub_sub.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/commands/message_format.h"

static const struct mqtt_property all_properties[] = {
    { .id = MQTT_PROPERTY_PAYLOAD_FORMAT, .number = 1 },
    { .id = MQTT_PROPERTY_MESSAGE_EXPIRY, .number = 4294967295u },
    { .id = MQTT_PROPERTY_CONTENT_TYPE, .text = STR_INIT("text/plain") },
    { .id = MQTT_PROPERTY_RESPONSE_TOPIC, .text = STR_INIT("answer/here") },
    { .id = MQTT_PROPERTY_CORRELATION_DATA, .text = STR_INIT("id\0\xff") },
    { .id = MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER, .number = 9 },
    { .id = MQTT_PROPERTY_TOPIC_ALIAS, .number = 3 },
    { .id = MQTT_PROPERTY_USER, .text = STR_INIT("a"), .value = STR_INIT("1") },
    { .id = MQTT_PROPERTY_USER, .text = STR_INIT("b"), .value = STR_INIT("2") },
};

/* 2026-11-25T10:00:00.123456789 in UTC; the test runs in a zone that is an hour east. */
#define NOON_NS (1795600800 * NS_PER_S + 123456789)

static const struct mqtt_client_message plain = {
    .topic = STR_INIT("plant/t1"), .payload = STR_INIT("21.5"), .received_ns = NOON_NS, .id = 7, .qos = 1, .retain = true,
};
static const struct mqtt_client_message empty = { .topic = STR_INIT("t"), .payload = STR_INIT(""), .received_ns = NOON_NS };
static const struct mqtt_client_message full = {
    .topic = STR_INIT("t"), .payload = STR_INIT("p"), .received_ns = NOON_NS, .properties = { all_properties, 9 },
};

static struct row {
    const char *name, *format;
    const struct mqtt_client_message *message;
    struct str want;
} rows[] = {
    { "text", "no sequences", &plain, STR_INIT("no sequences") },
    { "nothing", "", &plain, STR_INIT("") },
    { "topic", "%t", &plain, STR_INIT("plant/t1") },
    { "payload", "%p", &plain, STR_INIT("21.5") },
    { "several", "<%t>=<%p>", &plain, STR_INIT("<plant/t1>=<21.5>") },
    { "hexadecimal", "%x", &plain, STR_INIT("32312e35") },
    { "hexadecimal in capitals", "%X", &plain, STR_INIT("32312E35") },
    { "length", "%l", &plain, STR_INIT("4") },
    { "QoS", "%q", &plain, STR_INIT("1") },
    { "retained", "%r", &plain, STR_INIT("1") },
    { "not retained", "%r", &empty, STR_INIT("0") },
    { "packet identifier", "%m", &plain, STR_INIT("7") },
    { "percent", "100%%", &plain, STR_INIT("100%") },
    { "ISO time", "%I", &plain, STR_INIT("2026-11-25T11:00:00+0100") },
    { "Unix time", "%U", &plain, STR_INIT("1795600800.123456789") },
    { "hour", "@H", &plain, STR_INIT("11") },
    { "date", "@Y-@m-@d", &plain, STR_INIT("2026-11-25") },
    { "nanoseconds", "@N", &plain, STR_INIT("123456789") },
    { "seconds since 1970", "@s", &plain, STR_INIT("1795600800") },
    { "an @", "a@@b", &plain, STR_INIT("a@b") },
    { "escapes", "\\\\\\a\\e\\n\\r\\t\\v", &plain, STR_INIT("\\\a\033\n\r\t\v") },
    { "a NUL", "a\\0b", &plain, STR_INIT("a\0b") },
    { "width", "[%12t]", &plain, STR_INIT("[    plant/t1]") },
    { "width to the left", "[%-12t]", &plain, STR_INIT("[plant/t1    ]") },
    { "precision cuts", "[%.5t]", &plain, STR_INIT("[plant]") },
    { "width and precision", "[%8.5t]", &plain, STR_INIT("[   plant]") },
    { "precision 0", "[%.0t]", &plain, STR_INIT("[]") },
    { "zeros before a number", "%08l", &plain, STR_INIT("00000004") },
    { "blanks before a number", "%4m", &plain, STR_INIT("   7") },
    { "a number to the left", "[%-4m]", &plain, STR_INIT("[7   ]") },
    { "no zeros behind a number", "[%-04m]", &plain, STR_INIT("[7   ]") },
    { "a payload in a width", "[%8p]", &plain, STR_INIT("[    21.5]") },
    { "zeros before a payload", "[%08p]", &plain, STR_INIT("[000021.5]") },
    { "a payload to the left", "[%-8p]", &plain, STR_INIT("[21.5    ]") },
    { "a width cuts the payload", "[%2p]", &plain, STR_INIT("[21]") },
    { "a width cuts the hexadecimal payload", "[%4x]", &plain, STR_INIT("[3231]") },
    { "an odd width", "[%5x]", &plain, STR_INIT("[ 3231]") },
    { "a hexadecimal payload in a width", "[%10x]", &plain, STR_INIT("[  32312e35]") },
    { "an empty payload", "[%p%x]", &empty, STR_INIT("[]") },
    { "topic alias", "%A", &full, STR_INIT("3") },
    { "content type", "%C", &full, STR_INIT("text/plain") },
    { "correlation data", "%D", &full, STR_INIT("id\0\xff") },
    { "message expiry", "%E", &full, STR_INIT("4294967295") },
    { "payload format", "%F", &full, STR_INIT("1") },
    { "user properties", "%P", &full, STR_INIT("a:1 b:2") },
    { "response topic", "%R", &full, STR_INIT("answer/here") },
    { "subscription identifier", "%S", &full, STR_INIT("9") },
    { "a property in a width", "[%6A|%-12C]", &full, STR_INIT("[     3|text/plain  ]") },
    { "no properties", "[%A%C%D%E%F%P%R%S]", &plain, STR_INIT("[]") },
    { "a width without the property", "[%3A|%3C|%3D|%03E|%3R]", &plain, STR_INIT("[   |   ||000|]") },
    { "JSON", "%j", &plain,
      STR_INIT("{\"tst\":\"2026-11-25T11:00:00.123456+0100\",\"topic\":\"plant/t1\",\"qos\":1,\"retain\":1,\"payloadlen\":4,"
               "\"mid\":7,\"payload\":\"21.5\"}") },
    { "JSON with the payload in it", "%J", &plain,
      STR_INIT("{\"tst\":\"2026-11-25T11:00:00.123456+0100\",\"topic\":\"plant/t1\",\"qos\":1,\"retain\":1,\"payloadlen\":4,"
               "\"mid\":7,\"payload\":21.5}") },
    { "JSON without a payload", "%j", &empty,
      STR_INIT("{\"tst\":\"2026-11-25T11:00:00.123456+0100\",\"topic\":\"t\",\"qos\":0,\"retain\":0,\"payloadlen\":0,"
               "\"payload\":null}") },
    { "JSON with properties", "%j", &full,
      STR_INIT("{\"tst\":\"2026-11-25T11:00:00.123456+0100\",\"topic\":\"t\",\"qos\":0,\"retain\":0,\"payloadlen\":1,\"properties\":{"
               "\"payload-format-indicator\":1,\"message-expiry-interval\":4294967295,\"content-type\":\"text/plain\","
               "\"response-topic\":\"answer/here\",\"correlation-data-hex\":\"696400ff\",\"subscription-identifier\":9,\"topic-alias\":3,"
               "\"user-properties\":{\"a\":\"1\",\"b\":\"2\"}},\"payload\":\"p\"}") },
};

static void prints_row(void **state) {
    const struct row *row = *state;
    struct buf out = BUF_INIT(1 << 20);
    struct err err = ERR_INIT;
    struct message_format *format = message_format_new(row->format, false, &err);

    assert_non_null(format);
    assert_true(message_format_print(format, row->message, &out, &err));
    if (!str_eq(buf_str(&out), row->want))
        fail_msg("got '%.*s', wanted '%.*s'", (int)out.len, buf_cstr(&out), STR_ARGS(row->want));
    buf_release(&out);
    message_format_free(format);
}

static struct wrong_row {
    const char *name, *format, *error;
} wrong_rows[] = {
    { "a lone percent", "abc%", "'%' (at byte 4)" },
    { "a percent and a flag", "%-", "ends within '%-'" },
    { "a percent and a width", "%012", "ends within '%012'" },
    { "a percent and a precision", "%.", "ends within '%.'" },
    { "an unknown letter", "%t %z", "unknown sequence '%z' at byte 4" },
    { "a huge width", "%99999999999t", "more than 65536" },
    { "a huge precision", "%.65537t", "more than 65536" },
    { "a lone @", "a@", "'@' (at byte 2)" },
    { "a lone backslash", "a\\", "'\\' (at byte 2)" },
    { "an unknown escape", "\\q", "unknown escape '\\q' at byte 1" },
};

static void refuses_row(void **state) {
    const struct wrong_row *row = *state;
    struct err err = ERR_INIT;

    assert_null(message_format_new(row->format, false, &err));
    if (strstr(err.text, row->error) == NULL)
        fail_msg("'%s' has no '%s'", err.text, row->error);
}

/* What cJSON makes of the payload, or the payload itself where that would change a number. */
static struct json_row {
    const char *name, *payload, *want;
} json_rows[] = {
    { "an object", "{\"a\": 1.0, \"b\": [true, null, \"x\\u00e9\"]}", "{\"a\":1,\"b\":[true,null,\"x\xc3\xa9\"]}" },
    { "a number past 2^53", "{\"n\": 9007199254740993}", "{\"n\":9007199254740993}" },
    { "a long fraction", "[ 0.1234567890123456789 ]", "[0.1234567890123456789]" },
    { "a large exponent", "1e400", "1e400" },
    { "long digits in a string", "{\"n\":\"9007199254740993\", \"m\" : 1.50}", "{\"n\":\"9007199254740993\",\"m\":1.5}" },
    { "an escaped quote before a long number", "{\"\\\"\": 12345678901234567890}", "{\"\\\"\":12345678901234567890}" },
    { "text", "not JSON", NULL },
    { "rubbish behind it", "{} {}", NULL },
    { "cut off", "{\"a\":", NULL },
};

static void puts_the_payload_into_the_json(void **state) {
    const struct json_row *row = *state;
    struct mqtt_client_message message = { .topic = STR("t"), .payload = str_of(row->payload) };
    struct message_format *format = message_format_new("x%J", false, NULL);
    struct buf out = BUF_INIT(1 << 20);
    struct err err = ERR_INIT;

    buf_append_c(&out, "before");
    assert_int_equal(message_format_print(format, &message, &out, &err), row->want != NULL);
    if (row->want == NULL) {
        assert_string_equal(buf_cstr(&out), "before"); /* no half line */
        assert_non_null(strstr(err.text, "topic t is not JSON"));
    } else {
        const char *payload = strstr(buf_cstr(&out), "\"payload\":");
        assert_non_null(payload);
        assert_int_equal(strlen(payload), 10 + strlen(row->want) + 1);
        assert_memory_equal(payload + 10, row->want, strlen(row->want));
    }
    buf_release(&out);
    message_format_free(format);
}

static void a_payload_with_nul_is_not_json(void **state) {
    struct mqtt_client_message message = { .topic = STR("t"), .payload = STR("1\0 2") };
    struct message_format *format = message_format_new("%J", false, NULL);
    struct buf out = BUF_INIT(1 << 20);
    struct err err = ERR_INIT;

    (void)state;
    assert_false(message_format_print(format, &message, &out, &err));
    buf_release(&out);
    message_format_free(format);
}

static struct bytes_row {
    const char *name;
    struct str payload;
    const char *want;
} bytes_rows[] = {
    { "quotes and control bytes", STR_INIT("a\"b\\\b\f\n\r\t\x01\x7f"), "\"payload\":\"a\\\"b\\\\\\b\\f\\n\\r\\t\\u0001\x7f\"}" },
    { "a NUL in the middle", STR_INIT("a\0b"), "\"payload\":\"a\\u0000b\"}" },
    { "UTF-8", STR_INIT("gr\xc3\xbc\xc3\x9f"), "\"payload\":\"gr\xc3\xbc\xc3\x9f\"}" },
    { "bytes", STR_INIT("\xff\0z"), "\"payload_hex\":\"ff007a\"}" },
};

static void escapes_the_payload(void **state) {
    const struct bytes_row *row = *state;
    struct mqtt_client_message message = { .topic = STR("t"), .payload = row->payload };
    struct message_format *format = message_format_new("%j", false, NULL);
    struct buf out = BUF_INIT(1 << 20);
    struct err err = ERR_INIT;

    assert_true(message_format_print(format, &message, &out, &err));
    assert_true(str_ends_with(buf_str(&out), str_of(row->want)));
    buf_release(&out);
    message_format_free(format);
}

/* A broker should not let it pass; what is printed is JSON all the same. */
static void text_that_is_not_utf8_does_not_break_the_json(void **state) {
    const struct mqtt_property items[] = { { .id = MQTT_PROPERTY_CONTENT_TYPE, .text = STR("a\xff") },
                                           { .id = MQTT_PROPERTY_USER, .text = STR("\xff"), .value = STR("\xfe") } };
    struct mqtt_client_message message = { .topic = STR("t\xc3"), .payload = STR(""), .properties = { items, 2 } };
    struct message_format *format = message_format_new("%j", false, NULL);
    struct buf out = BUF_INIT(1 << 20);
    struct err err = ERR_INIT;

    (void)state;
    assert_true(message_format_print(format, &message, &out, &err));
    assert_true(str_is_utf8(buf_str(&out)));
    assert_non_null(strstr(buf_cstr(&out), "\"topic\":\"t\xEF\xBF\xBD\""));
    assert_non_null(strstr(buf_cstr(&out), "\"user-properties\":{\"not UTF-8\":\"\xEF\xBF\xBD\"}"));
    buf_release(&out);
    message_format_free(format);
}

static void pretty_is_many_lines(void **state) {
    struct message_format *format = message_format_new("%j", true, NULL);
    struct buf out = BUF_INIT(1 << 20);
    struct err err = ERR_INIT;

    (void)state;
    assert_true(message_format_print(format, &plain, &out, &err));
    assert_non_null(strstr(buf_cstr(&out), "\n\t\"topic\":\t\"plant/t1\",\n"));
    buf_release(&out);
    message_format_free(format);
}

static struct plain_row {
    const char *name;
    const struct mqtt_client_message *message;
    bool verbose, end_of_line;
    const char *want;
} plain_rows[] = {
    { "the payload", &plain, false, true, "21.5\n" },
    { "the payload without a newline", &plain, false, false, "21.5" },
    { "topic and payload", &plain, true, true, "plant/t1 21.5\n" },
    { "topic and payload without a newline", &plain, true, false, "plant/t1 21.5" },
    { "an empty payload is nothing", &empty, false, true, "" },
    { "a topic and no payload", &empty, true, true, "t (null)\n" },
    { "a topic and no payload without a newline", &empty, true, false, "" },
};

static void prints_plainly(void **state) {
    const struct plain_row *row = *state;
    struct buf out = BUF_INIT(1 << 20);

    message_print_plain(row->message, row->verbose, row->end_of_line, &out);
    assert_string_equal(buf_cstr(&out), row->want);
    buf_release(&out);
}

#define ADD(list, function)                                                                                            \
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)                                                            \
    tests[count++] = (struct CMUnitTest){ list[i].name, function, NULL, NULL, &list[i] }

int main(void) {
    struct CMUnitTest tests[128] = { cmocka_unit_test(a_payload_with_nul_is_not_json), cmocka_unit_test(pretty_is_many_lines),
                                     cmocka_unit_test(text_that_is_not_utf8_does_not_break_the_json) };
    size_t count = 3;

    setenv("TZ", "EAST-1", 1);
    tzset();
    ADD(rows, prints_row);
    ADD(wrong_rows, refuses_row);
    ADD(json_rows, puts_the_payload_into_the_json);
    ADD(bytes_rows, escapes_the_payload);
    ADD(plain_rows, prints_plainly);
    return _cmocka_run_group_tests("message format", tests, count, NULL, NULL);
}
