/* tests/unit/test_client_flags.c: the flags of `pub` and `sub`: what they come to, and what is refused in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/commands/client_flags.h"

static const struct command pub = { .name = "pub", .summary = "", .usage = "" }, sub = { .name = "sub", .summary = "", .usage = "" };

struct line {
    struct client_flags flags;
    char text[4096]; /* the words, each ended by NUL */
    char *words[64];
    char complaint[1024];
    int code;
};

/* Words with blanks between them; `_` stands for a blank within a word. */
static void read_line(struct line *line, enum client_role role, const char *text) {
    FILE *complaints = tmpfile();
    int count = 0, saved = dup(STDERR_FILENO);

    memset(line, 0, sizeof *line);
    snprintf(line->text, sizeof line->text, "%s", text);
    for (char *word = strtok(line->text, " "); word != NULL; word = strtok(NULL, " ")) {
        for (char *at = word; *at != '\0'; at++)
            if (*at == '_')
                *at = ' ';
        line->words[count++] = word;
    }
    fflush(stderr);
    dup2(fileno(complaints), STDERR_FILENO);
    line->code = client_flags_read(&line->flags, role, role == CLIENT_PUBLISHES ? &pub : &sub, count, line->words);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(complaints);
    line->complaint[fread(line->complaint, 1, sizeof line->complaint - 1, complaints)] = '\0';
    fclose(complaints);
}

static void read_good(struct line *line, enum client_role role, const char *text) {
    read_line(line, role, text);
    if (line->code != EXIT_FINE)
        fail_msg("'%s': %s", text, line->complaint);
}

/* ---- where and how ------------------------------------------------------------------------------------------------- */

static struct server_row {
    const char *name, *words, *server;
} server_rows[] = {
    { "without any flag", "-t a", "mqtt://localhost" },
    { "host", "-t a -h broker", "mqtt://broker" },
    { "host by its long name", "-t a --host broker --port 99", "mqtt://broker:99" },
    { "a value attached to a letter", "-ta -hbroker -p1884", "mqtt://broker:1884" },
    { "a value behind an equals sign", "--topic=a --host=broker", "mqtt://broker" },
    { "IPv6", "-t a -h ::1 -p 1884", "mqtt://[::1]:1884" },
    { "websocket", "-t a --ws -h broker", "ws://broker" },
    { "TLS by --cafile", "-t a --cafile x -h broker", "mqtts://broker" },
    { "TLS by --capath", "-t a --capath x -h broker", "mqtts://broker" },
    { "TLS by --tls-use-os-certs", "-t a --tls-use-os-certs", "mqtts://localhost" },
    { "TLS by --insecure", "-t a --insecure", "mqtts://localhost" },
    { "websocket over TLS", "-t a --ws --cafile x", "wss://localhost" },
    { "URL", "-L mqtts://u:p@broker:99/a/b", "mqtts://broker:99" },
};

static void reaches_row(void **state) {
    const struct server_row *row = *state;
    struct line line;

    read_good(&line, CLIENT_SUBSCRIBES, row->words);
    assert_int_equal(line.flags.options.server_count, 1);
    assert_string_equal(line.flags.options.servers[0], row->server);
    client_flags_release(&line.flags);
}

static void defaults_are_mosquittos(void **state) {
    struct line line;

    (void)state;
    read_good(&line, CLIENT_SUBSCRIBES, "-t a");
    assert_int_equal(line.flags.options.version, 4);
    assert_int_equal(line.flags.options.keepalive_s, 60);
    assert_int_equal(line.flags.qos, 0);
    assert_false(line.flags.options.keep_session);
    assert_int_equal(line.flags.options.session_expiry_s, 0);
    assert_null(line.flags.options.username);
    assert_null(line.flags.options.password);
    assert_int_equal(strncmp(line.flags.options.client_id, "heliograf-sub-", 14), 0);
    assert_int_equal(strlen(line.flags.options.client_id), 22); /* MQTT 3.1 allows 23 */
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_PUBLISHES, "-t a -n");
    assert_int_equal(line.flags.options.in_flight, 100);
    assert_int_equal(line.flags.repeat, 1);
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_PUBLISHES, "-t a -n -q 2");
    assert_int_equal(line.flags.options.in_flight, 20);
    client_flags_release(&line.flags);
}

static struct version_row {
    const char *name, *words;
    int version;
} version_rows[] = {
    { "mqttv31", "-t a -V mqttv31", 3 },   { "31", "-t a -V 31", 3 },   { "mqttv311", "-t a -V mqttv311", 4 }, { "311", "-t a -V 311", 4 },
    { "mqttv5", "-t a -V mqttv5", 5 },     { "5", "-t a -V 5", 5 },     { "a property means 5", "-t a -D connect user-property k v", 5 },
    { "the long name", "-t a --protocol-version 5", 5 },
};

static void speaks_version(void **state) {
    const struct version_row *row = *state;
    struct line line;

    read_good(&line, CLIENT_SUBSCRIBES, row->words);
    assert_int_equal(line.flags.options.version, row->version);
    client_flags_release(&line.flags);
}

static void client_ids_and_sessions(void **state) {
    struct line line;
    char wanted[80];

    (void)state;
    read_good(&line, CLIENT_SUBSCRIBES, "-t a -i mine -c");
    assert_string_equal(line.flags.options.client_id, "mine");
    assert_true(line.flags.options.keep_session);
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_SUBSCRIBES, "-t a -I plant-");
    snprintf(wanted, sizeof wanted, "plant-%ld", (long)getpid());
    assert_string_equal(line.flags.options.client_id, wanted);
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_SUBSCRIBES, "-t a -i mine -c -V 5");
    assert_int_equal(line.flags.options.session_expiry_s, UINT32_MAX);
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_SUBSCRIBES, "-t a -i mine -c -x 60 -V 5");
    assert_int_equal(line.flags.options.session_expiry_s, 60);
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_SUBSCRIBES, "-t a -i mine -x -1 -V 5");
    assert_int_equal(line.flags.options.session_expiry_s, UINT32_MAX);
    assert_false(line.flags.options.keep_session);
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_SUBSCRIBES, "-t a -i mine -x \xE2\x88\x9E -V 5");
    assert_int_equal(line.flags.options.session_expiry_s, UINT32_MAX);
    client_flags_release(&line.flags);
}

static void passwords_are_wiped_from_the_words(void **state) {
    struct line line;

    (void)state;
    read_good(&line, CLIENT_SUBSCRIBES, "-t a -u me -P secret");
    assert_string_equal(line.flags.options.username, "me");
    assert_string_equal(line.flags.options.password, "secret");
    assert_string_equal(line.words[5], "xxxxxx");
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_SUBSCRIBES, "-L mqtt://me:secret@broker/a");
    assert_string_equal(line.flags.options.password, "secret");
    assert_null(strstr(line.words[1], "secret"));
    client_flags_release(&line.flags);
}

static void passwords_come_from_files_and_the_environment_too(void **state) {
    struct line line;

    (void)state;
    setenv("HELIOGRAF_MQTT_PASSWORD", "from the environment", 1);
    read_good(&line, CLIENT_SUBSCRIBES, "-t a -u me");
    assert_string_equal(line.flags.options.password, "from the environment");
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_SUBSCRIBES, "-t a -u me -P given");
    assert_string_equal(line.flags.options.password, "given");
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_SUBSCRIBES, "-t a -u me --password-file /secret");
    assert_null(line.flags.options.password);
    assert_string_equal(line.flags.options.password_file, "/secret");
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_SUBSCRIBES, "-t a"); /* nobody asked for a user */
    assert_null(line.flags.options.password);
    client_flags_release(&line.flags);
    unsetenv("HELIOGRAF_MQTT_PASSWORD");
}

static void tls_will_and_address(void **state) {
    struct line line;

    (void)state;
    read_good(&line, CLIENT_SUBSCRIBES, "-t a --cafile ca --cert c --key k --insecure --tls-version tlsv1.3 --ciphers HIGH --tls-alpn mqtt --keyform pem");
    const struct mqtt_client_options *options = &line.flags.options;
    assert_string_equal(options->tls_ca, "ca");
    assert_string_equal(options->tls_cert, "c");
    assert_string_equal(options->tls_key, "k");
    assert_int_equal(options->verify, MQTT_CLIENT_VERIFY_CHAIN);
    assert_true(options->tls_13);
    assert_string_equal(options->tls_ciphers, "HIGH");
    assert_string_equal(options->tls_alpn, "mqtt");
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_SUBSCRIBES, "-t a --will-topic w --will-payload gone --will-qos 2 --will-retain -A 127.0.0.1 -k 5 --nodelay");
    assert_string_equal(options->will.topic, "w");
    assert_true(str_eq_c(options->will.payload, "gone"));
    assert_int_equal(options->will.qos, 2);
    assert_true(options->will.retain);
    assert_string_equal(options->bind_address, "127.0.0.1");
    assert_int_equal(options->keepalive_s, 5);
    client_flags_release(&line.flags);
}

/* ---- sub and pub --------------------------------------------------------------------------------------------------- */

static void what_sub_takes(void **state) {
    struct line line;

    (void)state;
    read_good(&line, CLIENT_SUBSCRIBES, "-t a -t b/# -T c -T d/+ -U e -q 2 -R -v -N -F %t_%p -C 3 -W 4 -E --remove-retained --random-filter 12.5 "
                                        "--pretty -d --quiet -V 5 --retain-as-published");
    const struct client_flags *flags = &line.flags;
    assert_int_equal(flags->topics.count, 2);
    assert_string_equal(flags->topics.items[1], "b/#");
    assert_int_equal(flags->filtered_out.count, 2);
    assert_string_equal(flags->filtered_out.items[1], "d/+");
    assert_string_equal(flags->unsubscribed.items[0], "e");
    assert_int_equal(flags->qos, 2);
    assert_string_equal(flags->format, "%t %p");
    assert_int_equal(flags->count, 3);
    assert_int_equal(flags->options.receive_maximum, 3);
    assert_int_equal(flags->timeout_s, 4);
    assert_true(flags->random_percent == 12.5);
    assert_true(flags->no_retained && flags->verbose && flags->no_end_of_line && flags->exit_after_subscribe && flags->remove_retained &&
                flags->pretty && flags->debug && flags->quiet && flags->retain_as_published);
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_SUBSCRIBES, "-t a --retained-only --json");
    assert_true(flags->retained_only && flags->json);
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_SUBSCRIBES, "-t a -L mqtt://h/b"); /* both topics */
    assert_int_equal(flags->topics.count, 2);
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_SUBSCRIBES, "-U a -i x -c");
    assert_int_equal(flags->topics.count, 0);
    client_flags_release(&line.flags);
}

static struct source_row {
    const char *name, *words;
    enum publish_source source;
} source_rows[] = {
    { "-m", "-t a -m text", PUBLISH_MESSAGE },        { "-f", "-t a -f file", PUBLISH_FILE }, { "-s", "-t a -s", PUBLISH_STDIN },
    { "-l", "-t a -l", PUBLISH_LINES },               { "-n", "-t a -n", PUBLISH_EMPTY },     { "--message", "-t a --message text", PUBLISH_MESSAGE },
    { "--stdin-line", "-t a --stdin-line", PUBLISH_LINES },
};

static void publishes_row(void **state) {
    const struct source_row *row = *state;
    struct line line;

    read_good(&line, CLIENT_PUBLISHES, row->words);
    assert_int_equal(line.flags.source, row->source);
    if (row->source == PUBLISH_MESSAGE)
        assert_string_equal(line.flags.message, "text");
    if (row->source == PUBLISH_FILE)
        assert_string_equal(line.flags.file, "file");
    client_flags_release(&line.flags);
}

static void what_pub_takes(void **state) {
    struct line line;

    (void)state;
    read_good(&line, CLIENT_PUBLISHES, "-t first -t a/b -m text -q 1 -r --repeat 3 --repeat-delay 0.25 -M 7");
    assert_int_equal(line.flags.topics.count, 1);
    assert_string_equal(line.flags.topics.items[0], "a/b");
    assert_int_equal(line.flags.qos, 1);
    assert_true(line.flags.retain);
    assert_int_equal(line.flags.repeat, 3);
    assert_true(line.flags.repeat_delay_s == 0.25);
    assert_int_equal(line.flags.options.in_flight, 7);
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_PUBLISHES, "-L mqtt://h/from/url -n");
    assert_string_equal(line.flags.topics.items[0], "from/url");
    client_flags_release(&line.flags);
}

static void properties_go_to_their_packets(void **state) {
    struct line line;

    (void)state;
    read_good(&line, CLIENT_PUBLISHES, "-t a -n -D publish content-type text/plain -D PUBLISH user-property k v -D connect receive-maximum 5 "
                                       "--property will will-delay-interval 9 --will-topic w -D disconnect session-expiry-interval 0");
    const struct client_flags *flags = &line.flags;
    assert_int_equal(flags->publish.count, 2);
    assert_int_equal(flags->publish.items[0].id, MQTT_PROPERTY_CONTENT_TYPE);
    assert_true(str_eq_c(flags->publish.items[1].value, "v"));
    assert_int_equal(flags->options.connect_properties.items[0].number, 5);
    assert_int_equal(flags->options.will_properties.items[0].number, 9);
    assert_int_equal(flags->options.disconnect_properties.count, 1);
    client_flags_release(&line.flags);
    read_good(&line, CLIENT_SUBSCRIBES, "-t a -D subscribe subscription-identifier 4 -D unsubscribe user-property k v");
    assert_int_equal(flags->subscribe.items[0].number, 4);
    assert_int_equal(flags->unsubscribe.count, 1);
    client_flags_release(&line.flags);
}

/* ---- what is refused ----------------------------------------------------------------------------------------------- */

static struct wrong_row {
    const char *name;
    enum client_role role;
    const char *words, *complaint; /* a part of it */
} wrong_rows[] = {
    { "sub without a topic", CLIENT_SUBSCRIBES, "", "which topics? Add -t" },
    { "pub without a topic", CLIENT_PUBLISHES, "-n", "which topic? Add -t" },
    { "pub without a message", CLIENT_PUBLISHES, "-t a", "Add -m, -f, -s, -l or -n" },
    { "two messages", CLIENT_PUBLISHES, "-t a -m b -n", "-n: only one of -m, -f, -s, -l and -n" },
    { "pub on a filter", CLIENT_PUBLISHES, "-t a/# -n", "'a/#' is no topic" },
    { "pub on an empty topic", CLIENT_PUBLISHES, "--topic= -n", "1 to 65535 bytes" },
    { "pub on what is not UTF-8", CLIENT_PUBLISHES, "-t \xff -n", "not UTF-8" },
    { "a wrong filter", CLIENT_SUBSCRIBES, "-t a#", "-t: " },
    { "a wrong filter to leave out", CLIENT_SUBSCRIBES, "-t a -T #/a", "-T: " },
    { "a wrong filter to unsubscribe from", CLIENT_SUBSCRIBES, "-t a -U a+", "-U: " },
    { "an unknown flag", CLIENT_SUBSCRIBES, "-t a --hsot b", "unknown flag --hsot; did you mean --host?" },
    { "an unknown letter", CLIENT_SUBSCRIBES, "-t a -Z", "unknown flag -Z" },
    { "sub's flag for pub", CLIENT_PUBLISHES, "-t a -n -C 1", "unknown flag -C" },
    { "pub's flag for sub", CLIENT_SUBSCRIBES, "-t a -m b", "unknown flag -m" },
    { "a stray word", CLIENT_SUBSCRIBES, "-t a b", "unexpected 'b'" },
    { "a value that is missing", CLIENT_SUBSCRIBES, "-t a -h", "-h needs a value: HOST" },
    { "a switch with a value", CLIENT_SUBSCRIBES, "-t a -vx", "-v takes no value" },
    { "a long switch with a value", CLIENT_SUBSCRIBES, "-t a --quiet=yes", "--quiet takes no value" },
    { "QoS 3", CLIENT_SUBSCRIBES, "-t a -q 3", "-q: a number from 0 to 2 is wanted, not '3'" },
    { "port 0", CLIENT_SUBSCRIBES, "-t a -p 0", "-p: a number from 1 to 65535" },
    { "a keep alive that is too short", CLIENT_SUBSCRIBES, "-t a -k 4", "-k: a number from 5 to 65535" },
    { "count 0", CLIENT_SUBSCRIBES, "-t a -C 0", "-C: a number from 1" },
    { "no time at all", CLIENT_SUBSCRIBES, "-t a -W 0", "-W: a number from 1" },
    { "an unknown version", CLIENT_SUBSCRIBES, "-t a -V 4", "-V is one of" },
    { "a property and 3.1.1", CLIENT_PUBLISHES, "-t a -n -V 311 -D publish content-type b", "-D needs MQTT 5, and -V says 311" },
    { "an expiry without MQTT 5", CLIENT_SUBSCRIBES, "-t a -x 5", "-x needs MQTT 5: add -V mqttv5" },
    { "retain as published without MQTT 5", CLIENT_SUBSCRIBES, "-t a --retain-as-published", "--retain-as-published needs MQTT 5" },
    { "an expiry that is none", CLIENT_SUBSCRIBES, "-t a -V 5 -x soon", "-x is a number" },
    { "an expiry that is too long", CLIENT_SUBSCRIBES, "-t a -V 5 -x 4294967296", "-x is a number" },
    { "a session for nobody", CLIENT_SUBSCRIBES, "-t a -c", "add -i" },
    { "an endless session for nobody", CLIENT_SUBSCRIBES, "-t a -V 5 -x -1", "add -i" },
    { "-i and -I", CLIENT_SUBSCRIBES, "-t a -i b -I c", "only one of -i and -I" },
    { "-P and --password-file", CLIENT_SUBSCRIBES, "-t a -u b -P c --password-file d", "only one of -P and --password-file" },
    { "a password without a user", CLIENT_SUBSCRIBES, "-t a -P b", "add -u" },
    { "--cert without --key", CLIENT_SUBSCRIBES, "-t a --cert b", "--cert and --key belong together" },
    { "TLS 1.1", CLIENT_SUBSCRIBES, "-t a --tls-version tlsv1.1", "TLS 1.1 is broken" },
    { "an unknown TLS version", CLIENT_SUBSCRIBES, "-t a --tls-version 1.2", "tlsv1.2 or tlsv1.3, not '1.2'" },
    { "a payload without a will", CLIENT_SUBSCRIBES, "-t a --will-payload b", "add --will-topic" },
    { "a will on a filter", CLIENT_SUBSCRIBES, "-t a --will-topic b/+", "'b/+' is no topic" },
    { "-R and --retained-only", CLIENT_SUBSCRIBES, "-t a -R --retained-only", "leave nothing" },
    { "--json and -F", CLIENT_SUBSCRIBES, "-t a --json -F %t", "only one of --json and -F" },
    { "--repeat with lines", CLIENT_PUBLISHES, "-t a -l --repeat 2", "--repeat goes with one message" },
    { "a negative pause", CLIENT_PUBLISHES, "-t a -n --repeat-delay -1", "a number from 0" },
    { "-L and -h", CLIENT_SUBSCRIBES, "-L mqtt://h/t -h b", "leave out -h, -p and --ws" },
    { "a wrong URL", CLIENT_SUBSCRIBES, "-L mqtt://h", "no topic" },
    { "a wrong port in a URL", CLIENT_SUBSCRIBES, "-L mqtt://h:x/t", "port 'x'" },
    { "--input alone", CLIENT_SUBSCRIBES, "-t a --input b", "--input goes with --config" },
    { "--config and -h", CLIENT_SUBSCRIBES, "-t a --config b -h c", "leave out -h, -p, -L and --ws" },
    { "an address that is none", CLIENT_SUBSCRIBES, "-t a -A no.such.address.invalid", "-A no.such.address.invalid: " },
    { "a property of another packet", CLIENT_PUBLISHES, "-t a -n -D subscribe subscription-identifier 1", "'subscribe' is none of the packets" },
    { "an unknown property", CLIENT_PUBLISHES, "-t a -n -D publish colour red", "publish has no property 'colour'; it has: payload-format" },
    { "a property that does not belong there", CLIENT_PUBLISHES, "-t a -n -D connect content-type b", "connect has no property 'content-type'" },
    { "a property without a value", CLIENT_PUBLISHES, "-t a -n -D publish content-type", "-D needs PACKET NAME VALUE" },
    { "a user property without a value", CLIENT_PUBLISHES, "-t a -n -D publish user-property k", "-D needs PACKET NAME VALUE" },
    { "a property twice", CLIENT_PUBLISHES, "-t a -n -D publish content-type a -D publish content-type b", "publish has content-type twice" },
    { "enhanced authentication", CLIENT_SUBSCRIBES, "-t a -D connect authentication-method x", "enhanced authentication" },
    { "PSK", CLIENT_SUBSCRIBES, "-t a --psk 00", "--psk: not with the MQTT client in this program: pre-shared keys" },
    { "SOCKS", CLIENT_SUBSCRIBES, "-t a --proxy socks5h://h", "--proxy: not with the MQTT client in this program: SOCKS" },
    { "Unix sockets", CLIENT_SUBSCRIBES, "-t a --unix /tmp/x", "--unix: not with" },
    { "engines", CLIENT_SUBSCRIBES, "-t a --tls-engine x", "--tls-engine: not with" },
    { "keys in engines", CLIENT_SUBSCRIBES, "-t a --keyform engine", "OpenSSL engines" },
    { "SRV records", CLIENT_SUBSCRIBES, "-t a -S", "-S: not with" },
};

static void refuses_row(void **state) {
    const struct wrong_row *row = *state;
    struct line line;

    read_line(&line, row->role, row->words);
    assert_int_equal(line.code, EXIT_USAGE);
    if (strstr(line.complaint, row->complaint) == NULL)
        fail_msg("'%s' has no '%s'", line.complaint, row->complaint);
    assert_non_null(strstr(line.complaint, "--help"));
    client_flags_release(&line.flags);
}

#define ADD(list, function)                                                                                            \
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)                                                            \
    tests[count++] = (struct CMUnitTest){ list[i].name, function, NULL, NULL, &list[i] }

int main(void) {
    struct CMUnitTest tests[160] = {
        cmocka_unit_test(defaults_are_mosquittos),
        cmocka_unit_test(client_ids_and_sessions),
        cmocka_unit_test(passwords_are_wiped_from_the_words),
        cmocka_unit_test(passwords_come_from_files_and_the_environment_too),
        cmocka_unit_test(tls_will_and_address),
        cmocka_unit_test(what_sub_takes),
        cmocka_unit_test(what_pub_takes),
        cmocka_unit_test(properties_go_to_their_packets),
    };
    size_t count = 8;

    unsetenv("HELIOGRAF_MQTT_PASSWORD");
    ADD(server_rows, reaches_row);
    ADD(version_rows, speaks_version);
    ADD(source_rows, publishes_row);
    ADD(wrong_rows, refuses_row);
    return _cmocka_run_group_tests("client flags", tests, count, NULL, NULL);
}
