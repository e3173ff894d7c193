/* tests/unit/test_mqtt_options.c: server URLs, client ids, TLS settings, and complaints at the right place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/mqtt_client/source.h"
#include "agent/mqtt_client/source_options.h"
#include "tests/support/config_text.h"

enum { TLS_AUTO, TLS_ON, TLS_OFF = 4 };

static struct server_row {
    const char *name, *text, *server_name;
    int tls_enable;
    const char *shown, *uri, *error; /* `error` is a part of it */
} server_rows[] = {
    { "tcp", "tcp://broker:1884", NULL, TLS_AUTO, "tcp://broker:1884", "tcp://broker:1884", NULL },
    { "default port", "mqtt://broker", NULL, TLS_AUTO, "mqtt://broker:1883", "tcp://broker:1883", NULL },
    { "no scheme", "broker:1883", NULL, TLS_AUTO, "tcp://broker:1883", "tcp://broker:1883", NULL },
    { "ssl", "ssl://broker", NULL, TLS_AUTO, "ssl://broker:8883", "ssl://broker:8883", NULL },
    { "mqtts with the certificate's name", "mqtts://10.0.0.1", "broker.example", TLS_AUTO, "mqtts://10.0.0.1:8883",
      "ssl://broker.example:8883", NULL },
    { "the certificate's name without TLS", "tcp://h", "broker.example", TLS_AUTO, "tcp://h:1883", "tcp://h:1883",
      NULL },
    { "websocket with a path", "ws://broker/mqtt", NULL, TLS_AUTO, "ws://broker:80/mqtt", "ws://broker:80/mqtt", NULL },
    { "wss", "wss://broker:9443/a/b", NULL, TLS_AUTO, "wss://broker:9443/a/b", "wss://broker:9443/a/b", NULL },
    { "TLS by option", "tcp://broker:1883", NULL, TLS_ON, "ssl://broker:1883", "ssl://broker:1883", NULL },
    { "IPv6", "tcp://[::1]:1885", NULL, TLS_AUTO, "tcp://[::1]:1885", "tcp://[::1]:1885", NULL },
    { "a slash at the end", "tcp://broker:1883/", NULL, TLS_AUTO, "tcp://broker:1883", "tcp://broker:1883", NULL },
    { "TLS refused by option", "ssl://broker", NULL, TLS_OFF, NULL, NULL, "tls_enable is false" },
    { "unknown scheme", "http://broker", NULL, TLS_AUTO, NULL, NULL, "unknown scheme 'http://'" },
    { "port too large", "tcp://broker:65536", NULL, TLS_AUTO, NULL, NULL, "port '65536'" },
    { "port with letters", "tcp://broker:18x", NULL, TLS_AUTO, NULL, NULL, "port '18x'" },
    { "no port behind the colon", "tcp://broker:", NULL, TLS_AUTO, NULL, NULL, "port ''" },
    { "no host", "tcp://:1883", NULL, TLS_AUTO, NULL, NULL, "no host" },
    { "nothing", "", NULL, TLS_AUTO, NULL, NULL, "no host" },
    { "an open bracket", "tcp://[::1", NULL, TLS_AUTO, NULL, NULL, "']'" },
    { "rubbish behind the bracket", "tcp://[::1]x", NULL, TLS_AUTO, NULL, NULL, "':'" },
    { "a path where none belongs", "tcp://broker/topic", NULL, TLS_AUTO, NULL, NULL, "path" },
    { "credentials in the URL", "tcp://user:secret@broker", NULL, TLS_AUTO, NULL, NULL, "username" },
};

static void parses_server_row(void **state) {
    const struct server_row *row = *state;
    struct mqtt_server server;
    struct err err = ERR_INIT;

    assert_int_equal(mqtt_server_parse(&server, row->text, row->server_name, row->tls_enable, &err),
                     row->error == NULL);
    if (row->error != NULL) {
        assert_non_null(strstr(err.text, row->error));
        assert_null(strstr(err.text, "secret"));
    } else {
        assert_string_equal(server.shown, row->shown);
        assert_string_equal(server.uri, row->uri);
    }
    mqtt_server_release(&server);
}

static void client_ids_are_short_stable_and_plain(void **state) {
    char a[65], b[65], long_name[200];

    (void)state;
    mqtt_client_id("gateway.plant", "press 7", a);
    assert_string_equal(a, "heliograf-gateway-plant-press-7");
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    mqtt_client_id("gateway", long_name, a);
    mqtt_client_id("gateway", long_name, b);
    assert_int_equal(strlen(a), 64);
    assert_string_equal(a, b);
    long_name[150] = 'y'; /* what was cut still counts */
    mqtt_client_id("gateway", long_name, b);
    assert_string_not_equal(a, b);
}

static void random_client_ids_differ(void **state) {
    char a[80], b[80];

    (void)state;
    mqtt_client_id_random("heliograf-x", a);
    mqtt_client_id_random("heliograf-x", b);
    assert_memory_equal(a, "heliograf-x-", 12);
    assert_string_not_equal(a, b);
}

/* ---- whole blocks, as they are written -----------------------------------------------------------------------------
 */

static struct block_row {
    const char *name, *yaml, *want; /* `want`: what diags_print writes; "" when all is well */
} block_rows[] = {
    { "the least", "topics: [a]\n", "" },
    { "a list of one server and a password file that is there",
      "servers: tcp://127.0.0.1:1883\ntopics: a\npassword_file: /proc/self/comm\n", "" },
    { "a bad filter where it stands", "topics:\n  - a/#\n  - a/#/b\n", "c.yaml:3:5: error: topic 'a/#/b': " },
    { "a bad server where it stands", "servers: [\"tcp://a\", \"gopher://b\"]\ntopics: [a]\n",
      "c.yaml:1:22: error: server 'gopher://b': unknown scheme 'gopher://'" },
    { "a missing CA file", "topics: [a]\ntls_ca: /no/such/file\n",
      "c.yaml:2:9: error: tls_ca: cannot read CA certificates from /no/such/file: " },
    { "a certificate without its key", "topics: [a]\ntls_cert: /no/such/file\n",
      "c.yaml:2:11: error: tls_cert and tls_key belong together" },
    { "a missing certificate", "topics: [a]\ntls_cert: /no/such/cert\ntls_key: /no/such/key\n",
      "c.yaml:2:11: error: cannot read a certificate from /no/such/cert" },
    { "a cipher suite that nobody knows", "topics: [a]\ntls_cipher_suites: [TLS_NONSENSE]\n",
      "c.yaml:2:20: error: tls_cipher_suites: unknown cipher suite 'TLS_NONSENSE'" },
    { "cipher suites by both names",
      "topics: [a]\ntls_cipher_suites: [TLS_AES_128_GCM_SHA256, "
      "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, ECDHE-RSA-AES256-GCM-SHA384]\n",
      "" },
    { "a password on an open line", "servers: tcp://broker.example\ntopics: [a]\npassword: x\n",
      "c.yaml:1:10: warning: server 'tcp://broker.example': the password travels unencrypted" },
    { "a password on this machine", "servers: tcp://localhost\ntopics: [a]\npassword: x\n", "" },
    { "no topics", "servers: tcp://localhost\n", "topics" },
    { "a QoS that there is not", "topics: [a]\nqos: 3\n", "c.yaml:2:6: error:" },
    { "persistent_session in words", "topics: [a]\npersistent_session: no\nqos: 1\n", "" },
};

static void checks_block_row(void **state) {
    const struct block_row *row = *state;
    struct arena arena;
    struct diags diags = { 0 };
    struct mqtt_options options = { 0 };
    struct cfg_binding binding = { mqtt_source_options, &options };

    arena_init(&arena, 1 << 20);
    struct yaml_node *map = yaml_parse("c.yaml", str_of(row->yaml), &arena, &diags);
    assert_non_null(map);
    if (cfg_read(map, "input mqtt_consumer", &binding, 1, &arena, &diags))
        mqtt_source_free(mqtt_source_new(&options, map, "test", &diags));
    char *text = printed(&diags);
    if (row->want[0] == '\0')
        assert_string_equal(text, "");
    else if (strstr(text, row->want) == NULL)
        fail_msg("got: %s", text);
    free(text);
    diags_release(&diags);
    arena_release(&arena);
}

static void defaults_are_telegrafs_or_in_the_table_of_differences(void **state) {
    struct arena arena;
    struct diags diags = { 0 };
    struct mqtt_options options = { 0 };
    struct mqtt_settings settings;
    struct cfg_binding binding = { mqtt_source_options, &options };

    (void)state;
    arena_init(&arena, 1 << 20);
    struct yaml_node *map = yaml_parse("c.yaml", STR("topics: [a]\nqos: 2\n"), &arena, &diags);
    assert_true(cfg_read(map, "input", &binding, 1, &arena, &diags));
    assert_true(mqtt_settings_init(&settings, &options, map, "name", &diags));
    assert_string_equal(settings.servers[0].uri, "tcp://127.0.0.1:1883");
    assert_int_equal(options.connection_timeout_ns, 30 * NS_PER_S);
    assert_int_equal(options.max_reconnect_interval_ns, 30 * NS_PER_S);
    assert_int_equal(options.ping_timeout_ns, 10 * NS_PER_S);
    assert_int_equal(settings.receive_maximum, 1000);
    assert_int_equal(settings.qos, 1); /* 2 is subscribed as 1 */
    assert_true(settings.persistent);
    assert_int_equal(options.max_message_bytes, 1 << 20);
    mqtt_settings_release(&settings);
    diags_release(&diags);
    arena_release(&arena);
}

int main(void) {
    enum { ROWS = 64 };
    struct CMUnitTest tests[ROWS] = {
        cmocka_unit_test(client_ids_are_short_stable_and_plain),
        cmocka_unit_test(random_client_ids_differ),
        cmocka_unit_test(defaults_are_telegrafs_or_in_the_table_of_differences),
    };
    size_t count = 3;

    for (size_t i = 0; i < sizeof server_rows / sizeof *server_rows; i++)
        tests[count++] = (struct CMUnitTest){ server_rows[i].name, parses_server_row, NULL, NULL, &server_rows[i] };
    for (size_t i = 0; i < sizeof block_rows / sizeof *block_rows; i++)
        tests[count++] = (struct CMUnitTest){ block_rows[i].name, checks_block_row, NULL, NULL, &block_rows[i] };
    return _cmocka_run_group_tests("mqtt_options", tests, count, NULL, NULL);
}
