/* tests/unit/test_broker_url.c: what `-L` takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/commands/broker_url.h"
#include "agent/mqtt_client/client.h"

static struct row {
    const char *name, *text, *server, *username, *password, *topic, *error; /* `error` is a part of it */
} rows[] = {
    { "host and topic", "mqtt://broker/a/b", "mqtt://broker", NULL, NULL, "a/b", NULL },
    { "port", "mqtt://broker:1884/a", "mqtt://broker:1884", NULL, NULL, "a", NULL },
    { "TLS", "mqtts://broker/a", "mqtts://broker", NULL, NULL, "a", NULL },
    { "websocket", "ws://broker:9001/a/#", "ws://broker:9001", NULL, NULL, "a/#", NULL },
    { "websocket over TLS", "wss://broker/a", "wss://broker", NULL, NULL, "a", NULL },
    { "scheme in capitals", "MQTT://broker/a", "mqtt://broker", NULL, NULL, "a", NULL },
    { "IPv6", "mqtt://[::1]:1884/a", "mqtt://[::1]:1884", NULL, NULL, "a", NULL },
    { "user", "mqtt://me@broker/a", "mqtt://broker", "me", NULL, "a", NULL },
    { "user and password", "mqtt://me:secret@broker/a", "mqtt://broker", "me", "secret", "a", NULL },
    { "an empty password", "mqtt://me:@broker/a", "mqtt://broker", "me", "", "a", NULL },
    { "a colon in the password", "mqtt://me:a:b@broker/a", "mqtt://broker", "me", "a:b", "a", NULL },
    { "an @ in the password", "mqtt://me:a@b@broker/a", "mqtt://broker", "me", "a@b", "a", NULL },
    { "percent-encoding", "mqtt://m%65:p%40%2F%25@broker/a", "mqtt://broker", "me", "p@/%", "a", NULL },
    { "a topic is not decoded", "mqtt://broker/a%20b", "mqtt://broker", NULL, NULL, "a%20b", NULL },
    { "a topic that begins with a slash", "mqtt://broker//a", "mqtt://broker", NULL, NULL, "/a", NULL },
    { "an @ in the topic", "mqtt://broker/a@b", "mqtt://broker", NULL, NULL, "a@b", NULL },
    { "a shared subscription", "mqtt://broker/$share/g/a/#", "mqtt://broker", NULL, NULL, "$share/g/a/#", NULL },
    { "no topic", "mqtt://broker", NULL, NULL, NULL, NULL, "no topic" },
    { "an empty topic", "mqtt://broker/", NULL, NULL, NULL, NULL, "no topic" },
    { "no scheme", "broker/a", NULL, NULL, NULL, NULL, "begin with" },
    { "another scheme", "http://broker/a", NULL, NULL, NULL, NULL, "begin with" },
    { "nothing", "", NULL, NULL, NULL, NULL, "begin with" },
    { "a lone percent", "mqtt://me:100%@broker/a", NULL, NULL, NULL, NULL, "URL's password is written %25" },
    { "a percent and no digits", "mqtt://m%zz@broker/a", NULL, NULL, NULL, NULL, "URL's user is written %25" },
    { "a NUL", "mqtt://me:a%00b@broker/a", NULL, NULL, NULL, NULL, "URL's password" },
};

static void assert_text(const char *found, const char *wanted) {
    if (wanted == NULL)
        assert_null(found);
    else
        assert_string_equal(found, wanted);
}

static void parses_row(void **state) {
    const struct row *row = *state;
    struct broker_url url;
    struct err err = ERR_INIT;

    assert_int_equal(broker_url_parse(row->text, &url, &err), row->error == NULL);
    if (row->error != NULL) {
        assert_non_null(strstr(err.text, row->error));
        assert_null(strstr(err.text, "100"));
    } else {
        assert_text(url.server, row->server);
        assert_text(url.username, row->username);
        assert_text(url.password, row->password);
        assert_text(url.topic, row->topic);
        assert_true(mqtt_client_check_server(url.server, &err));
    }
    broker_url_release(&url);
    broker_url_release(&url);
}

int main(void) {
    struct CMUnitTest tests[sizeof rows / sizeof *rows];

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, parses_row, NULL, NULL, &rows[i] };
    return _cmocka_run_group_tests("broker url", tests, sizeof rows / sizeof *rows, NULL, NULL);
}
