/*
 * tests/unit/test_mqtt_packet_corpus.c: Eclipse Mosquitto's packet cases (test/broker/data), as far as a codec alone can answer them: each
 * packet that a client sends is taken or refused as the case says, and refused with the answer that the case expects, byte for byte. The
 * data is not ours and not in the repository: without it (HELIOGRAF_CORPUS) the test is skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <cjson/cJSON.h>

#include "tests/support/mqtt_bytes.h"
#include "tests/support/mqtt_limits.h"

static const char *const files[] = { "CONNACK", "CONNECT", "FORBIDDEN", "PINGREQ", "PUBACK", "PUBLISH", "SUBACK", "SUBSCRIBE" };

/* Cases that go by what the broker keeps or has configured: the packets themselves are fine. */
static const char *const for_the_broker[] = {
    "unsupported authentication method",       /* which methods there are */
    "tiny max packet",                         /* a CONNACK that does not fit */
    "34 QoS 2 Dup flow*3",                     /* how often an identifier may come again */
    "topic-alias (two byte integer) no topic", /* an alias that nobody has set */
};

static const char *directory(void) {
    const char *given = getenv("HELIOGRAF_CORPUS");

    return given != NULL ? given : "../shared/corpus/mqtt_packets"; /* beside the repository, where the tests are started */
}

static cJSON *load(const char *name) {
    char path[512];
    struct buf text = BUF_INIT(16 << 20);
    FILE *file;
    cJSON *tree;

    snprintf(path, sizeof path, "%s/%s.json", directory(), name);
    file = fopen(path, "r");
    if (file == NULL)
        return NULL;
    for (int c = getc(file); c != EOF; c = getc(file))
        buf_append_char(&text, (char)c);
    fclose(file);
    tree = cJSON_Parse(buf_cstr(&text));
    buf_release(&text);
    return tree;
}

static const cJSON *inherited(const cJSON *test, const cJSON *group, const char *key) {
    const cJSON *own = cJSON_GetObjectItem(test, key);

    return own != NULL ? own : cJSON_GetObjectItem(group, key);
}

static const char *text_of(const cJSON *message, const char *key) {
    return cJSON_GetStringValue(cJSON_GetObjectItem(message, key));
}

struct attempt {
    struct mqtt_limits limits;
    enum mqtt_rule rule;       /* of the first packet that is refused */
    struct mqtt_packet packet; /* that one */
};

static void send(struct attempt *attempt, struct str bytes) {
    while (bytes.len > 0 && attempt->rule == MQTT_FINE) {
        struct mqtt_frame frame = mqtt_frame(bytes, &attempt->limits);
        attempt->packet.type = frame.type;
        attempt->packet.as.connect.version = MQTT_UNKNOWN;
        attempt->rule = frame.rule;
        if (frame.state != MQTT_FRAME_WHOLE)
            return;
        attempt->rule = mqtt_decode(str_make(bytes.data, frame.size), &attempt->limits, &attempt->packet);
        bytes = str_make(bytes.data + frame.size, bytes.len - frame.size);
        if (attempt->packet.type != MQTT_CONNECT || attempt->rule != MQTT_FINE)
            continue;
        attempt->limits.version = attempt->packet.as.connect.version;
        attempt->limits.accepts = MQTT_FROM_CLIENT;
    }
}

/* What a broker that minds only the codec sends to a client whose packet was refused. */
static struct str answer(const struct attempt *attempt) {
    enum mqtt_type type = attempt->packet.type;
    bool connecting = attempt->limits.version == MQTT_UNKNOWN;
    enum mqtt_version version = connecting && type == MQTT_CONNECT ? attempt->packet.as.connect.version : attempt->limits.version;
    uint8_t reason = mqtt_rule_mosquitto(attempt->rule, type, version);
    struct mqtt_packet packet = { .type = connecting ? MQTT_CONNACK : MQTT_DISCONNECT };
    const struct mqtt_properties none = MQTT_PROPERTIES_NONE;
    struct mqtt_target target = { version, MQTT_PACKET_MAX, false };
    char bytes[16];

    if (reason == 0)
        return bytes_alone(STR_EMPTY);
    if (connecting)
        packet.as.connack = (struct mqtt_connack){ false, reason, none };
    else
        packet.as.notice = (struct mqtt_notice){ reason, none };
    return bytes_alone(str_make(bytes, mqtt_encode(&packet, &target, bytes, sizeof bytes)));
}

static bool is_for_the_broker(const char *name) {
    for (size_t i = 0; i < sizeof for_the_broker / sizeof for_the_broker[0]; i++)
        if (strncmp(name, for_the_broker[i], strlen(for_the_broker[i])) == 0)
            return true;
    return false;
}

/* The reply that the case expects to the packet that is refused: that of the step behind it, or none. */
static void check_answer(const char *where, const struct attempt *attempt, const cJSON *next) {
    struct str got = answer(attempt), want = bytes_of(next != NULL ? text_of(next, "payload") : "");

    if (!str_eq(got, want))
        fail_msg("%s: '%s' is answered with '%s', not '%s'", where, mqtt_rule_words(attempt->rule), bytes_hex(got), bytes_hex(want));
    bytes_drop(got);
    bytes_drop(want);
}

static void check_case(const cJSON *group, const cJSON *test, unsigned *counts) {
    const char *name = text_of(test, "name");
    const cJSON *connected = inherited(test, group, "connect"), *expects = inherited(test, group, "expect_disconnect"), *message;
    bool refused = expects == NULL || !cJSON_IsFalse(expects);
    int version = inherited(test, group, "ver")->valueint;
    struct attempt attempt = { .limits = limits_of(cJSON_IsFalse(connected) ? NEW : version == 3 ? C31 : version == 4 ? C311 : C5) };
    char where[256];

    snprintf(where, sizeof where, "%s | %s", text_of(group, "group"), name);
    cJSON_ArrayForEach(message, cJSON_GetObjectItem(test, "msgs")) {
        if (strcmp(text_of(message, "type"), "send") != 0)
            continue;
        struct str bytes = bytes_of(text_of(message, "payload"));
        send(&attempt, bytes);
        bytes_drop(bytes);
        if (attempt.rule != MQTT_FINE)
            break;
    }
    if (attempt.rule == MQTT_FINE && refused && is_for_the_broker(name)) {
        counts[1]++;
        return;
    }
    if ((attempt.rule != MQTT_FINE) != refused)
        fail_msg("%s: '%s', expected to be %s", where, mqtt_rule_words(attempt.rule), refused ? "refused" : "taken");
    if (refused)
        check_answer(where, &attempt, message->next);
    counts[0]++;
}

static void mosquittos_cases(void **state) {
    unsigned counts[2] = { 0, 0 };

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        cJSON *groups = load(files[i]), *group, *test;
        if (groups == NULL)
            skip();
        cJSON_ArrayForEach(group, groups) {
            cJSON_ArrayForEach(test, cJSON_GetObjectItem(group, "tests"))
                check_case(group, test, counts);
        }
        cJSON_Delete(groups);
    }
    print_message("%u cases answered, %u left to the broker\n", counts[0], counts[1]);
    assert_int_equal(counts[0] + counts[1], 1040);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(mosquittos_cases) };

    return cmocka_run_group_tests_name("mqtt_packet_corpus", tests, NULL, NULL);
}
