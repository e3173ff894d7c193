/* tests/unit/test_mqtt_properties.c: MQTT 5's properties as they stand on a command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/mqtt_client/properties.h"

static struct row {
    const char *name, *property, *text, *second;
    uint32_t number;
    const char *error; /* a part of it */
} rows[] = {
    { "a byte", "payload-format-indicator", "1", NULL, 1, NULL },
    { "a byte past its range", "payload-format-indicator", "2", NULL, 0, "0 to 1, not '2'" },
    { "four bytes", "message-expiry-interval", "4294967295", NULL, 4294967295u, NULL },
    { "four bytes and one more", "message-expiry-interval", "4294967296", NULL, 0, "not '4294967296'" },
    { "a negative number", "message-expiry-interval", "-1", NULL, 0, "not '-1'" },
    { "no number", "topic-alias", "seven", NULL, 0, "not 'seven'" },
    { "an empty number", "topic-alias", "", NULL, 0, "not ''" },
    { "alias 0", "topic-alias", "0", NULL, 0, "1 to 65535" },
    { "the largest identifier", "subscription-identifier", "268435455", NULL, 268435455, NULL },
    { "one more", "subscription-identifier", "268435456", NULL, 0, "268435455" },
    { "a string", "content-type", "text/plain", NULL, 0, NULL },
    { "an empty string", "content-type", "", NULL, 0, NULL },
    { "a string that is not UTF-8", "content-type", "\xff", NULL, 0, "not UTF-8" },
    { "bytes that are not UTF-8", "correlation-data", "\xff", NULL, 0, NULL },
    { "a pair", "user-property", "key", "value", 0, NULL },
    { "capitals", "Content-Type", "a", NULL, 0, NULL },
};

static void reads_row(void **state) {
    const struct row *row = *state;
    const struct mqtt_property_kind *kind = mqtt_property_named(row->property);
    struct mqtt_property property = { .number = 77 };
    struct err err = ERR_INIT;

    assert_non_null(kind);
    assert_int_equal(mqtt_property_read(kind, row->text, row->second, &property, &err), row->error == NULL);
    if (row->error != NULL) {
        assert_non_null(strstr(err.text, row->error));
        assert_int_equal(property.number, 77); /* untouched */
        return;
    }
    assert_int_equal(property.id, kind->id);
    assert_int_equal(property.number, row->number);
    if (kind->type > MQTT_TYPE_VARIABLE)
        assert_true(str_eq_c(property.text, row->text));
    if (row->second != NULL)
        assert_true(str_eq_c(property.value, row->second));
}

static void refuses_what_is_too_long(void **state) {
    char *text = calloc(1, 65537);
    struct mqtt_property property;
    struct err err = ERR_INIT;

    (void)state;
    memset(text, 'x', 65536);
    assert_false(mqtt_property_read(mqtt_property_named("correlation-data"), text, NULL, &property, &err));
    assert_non_null(strstr(err.text, "65535"));
    text[65535] = '\0';
    assert_true(mqtt_property_read(mqtt_property_named("correlation-data"), text, NULL, &property, NULL));
    free(text);
}

static void knows_packets_and_what_may_stand_in_them(void **state) {
    char names[400];

    (void)state;
    assert_int_equal(mqtt_packet_named("PUBLISH"), MQTT_PACKET_PUBLISH);
    assert_int_equal(mqtt_packet_named("puback"), 0);
    mqtt_property_names(MQTT_PACKET_SUBSCRIBE, names, sizeof names);
    assert_string_equal(names, "subscription-identifier, user-property");
    assert_null(mqtt_property_named("server-keep-alive")); /* a server's */
    assert_null(mqtt_property_named("nonsense"));
    assert_null(mqtt_property_kind(99));
    assert_string_equal(mqtt_property_kind(MQTT_PROPERTY_WILL_DELAY)->name, "will-delay-interval");
    mqtt_property_names(MQTT_PACKET_PUBLISH, names, 8); /* is cut, and no more */
    assert_int_equal(strlen(names), 7);
}

static void finds_the_first_of_a_kind(void **state) {
    const struct mqtt_property items[] = { { .id = MQTT_PROPERTY_USER, .number = 1 }, { .id = MQTT_PROPERTY_USER, .number = 2 } };
    const struct mqtt_properties list = { items, 2 }, empty = { NULL, 0 };

    (void)state;
    assert_ptr_equal(mqtt_properties_find(&list, MQTT_PROPERTY_USER), &items[0]);
    assert_null(mqtt_properties_find(&list, MQTT_PROPERTY_TOPIC_ALIAS));
    assert_null(mqtt_properties_find(&empty, MQTT_PROPERTY_USER));
}

int main(void) {
    struct CMUnitTest tests[32] = {
        cmocka_unit_test(refuses_what_is_too_long),
        cmocka_unit_test(knows_packets_and_what_may_stand_in_them),
        cmocka_unit_test(finds_the_first_of_a_kind),
    };
    size_t count = 3;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tests[count++] = (struct CMUnitTest){ rows[i].name, reads_row, NULL, NULL, &rows[i] };
    return _cmocka_run_group_tests("mqtt properties", tests, count, NULL, NULL);
}
