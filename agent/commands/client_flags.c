/* agent/commands/client_flags.c: see client_flags.h. One table: what a flag is called, takes and does. */
#include "agent/commands/client_flags.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/base/topic_filter.h"
#include "agent/commands/client_flags_parts.h"
#include "config/schema.h"

enum {
    ARENA_MAX = 16 << 20,
    PUBLISHES_IN_FLIGHT = 100,
    EXACTLY_ONCE_IN_FLIGHT = 20, /* QoS 2: brokers take no more in MQTT 3.1.1, where they cannot say how many */
    DELETIONS_IN_FLIGHT = 20000, /* --remove-retained deletes as they come */
};
enum { PUB = CLIENT_PUBLISHES, SUB = CLIENT_SUBSCRIBES, BOTH = PUB | SUB };

struct flag_row {
    char letter; /* 0: none */
    const char *name; /* NULL: none */
    int roles;
    const char *value; /* in words; NULL: a switch. "A B" for two */
    const char *help;  /* NULL: understood, and not shown */
    bool (*take)(struct client_flags *flags, const struct flag_row *row, char **values, struct err *err);
    size_t offset; /* of what `take` fills */
    int64_t least, most;
};

/* ---- what flags do ------------------------------------------------------------------------------------------------- */

static void *place(struct client_flags *flags, const struct flag_row *row) {
    return (char *)flags + row->offset;
}

static bool take_text(struct client_flags *flags, const struct flag_row *row, char **values, struct err *err) {
    (void)err;
    *(const char **)place(flags, row) = values[0];
    return true;
}

/* What every user sees in the list of processes is taken out of it. */
static bool take_secret(struct client_flags *flags, const struct flag_row *row, char **values, struct err *err) {
    size_t len = strlen(values[0]);
    char *copy = arena_strdup(&flags->arena, str_of(values[0]));

    if (copy == NULL)
        return err_set(err, ERR_FULL, "no memory");
    memset(values[0], 'x', len);
    *(const char **)place(flags, row) = copy;
    return true;
}

static bool take_switch(struct client_flags *flags, const struct flag_row *row, char **values, struct err *err) {
    (void)values;
    (void)err;
    *(bool *)place(flags, row) = true;
    return true;
}

static bool take_number(struct client_flags *flags, const struct flag_row *row, char **values, struct err *err) {
    int64_t number;

    if (!str_to_int64(str_of(values[0]), &number) || number < row->least || number > row->most)
        return err_set(err, ERR_SYNTAX, "a number from %lld to %lld is wanted, not '%s'", (long long)row->least, (long long)row->most,
                       values[0]);
    *(int64_t *)place(flags, row) = number;
    return true;
}

static bool take_fraction(struct client_flags *flags, const struct flag_row *row, char **values, struct err *err) {
    double number;

    if (!str_to_double(str_of(values[0]), &number) || number < (double)row->least || number > (double)row->most)
        return err_set(err, ERR_SYNTAX, "a number from %lld to %lld is wanted, not '%s'", (long long)row->least, (long long)row->most,
                       values[0]);
    *(double *)place(flags, row) = number;
    return true;
}

/* Lists have room for every word of the command line. */
static bool take_word(struct client_flags *flags, const struct flag_row *row, char **values, struct err *err) {
    struct word_list *list = place(flags, row);

    (void)err;
    list->items[list->count++] = values[0];
    return true;
}

static bool take_filter(struct client_flags *flags, const struct flag_row *row, char **values, struct err *err) {
    return topic_filter_valid(str_of(values[0]), err) && take_word(flags, row, values, err);
}

static bool take_topic(struct client_flags *flags, const struct flag_row *row, char **values, struct err *err) {
    if (flags->role == CLIENT_SUBSCRIBES)
        return take_filter(flags, row, values, err);
    flags->topics.count = 0; /* the last one counts */
    return client_check_topic(values[0], err) && take_word(flags, row, values, err);
}

static bool take_source(struct client_flags *flags, const struct flag_row *row, char **values, struct err *err) {
    if (flags->source != PUBLISH_NOTHING_GIVEN)
        return err_set(err, ERR_SYNTAX, "only one of -m, -f, -s, -l and -n");
    flags->source = (enum publish_source)row->least;
    if (row->value != NULL)
        *(const char **)place(flags, row) = values[0];
    return true;
}

static bool take_property(struct client_flags *flags, const struct flag_row *row, char **values, struct err *err);

static bool take_nothing(struct client_flags *flags, const struct flag_row *row, char **values, struct err *err) {
    (void)flags;
    (void)row;
    (void)values;
    (void)err;
    return true;
}

static bool refuse(struct client_flags *flags, const struct flag_row *row, char **values, struct err *err) {
    (void)flags;
    (void)values;
    return err_set(err, ERR_UNSUPPORTED, "not with the MQTT client in this program: %s", row->help);
}

/* ---- the table ----------------------------------------------------------------------------------------------------- */

#define AT(member) offsetof(struct client_flags, member)

/* clang-format off */
static const struct flag_row rows[] = {
    { 0, NULL, PUB, NULL, "message:", NULL, 0, 0, 0 },
    { 't', "topic", PUB, "TOPIC", "topic to publish on", take_topic, AT(topics), 0, 0 },
    { 'm', "message", PUB, "TEXT", "the message", take_source, AT(message), PUBLISH_MESSAGE, 0 },
    { 'f', "file", PUB, "FILE", "the content of a file as the message", take_source, AT(file), PUBLISH_FILE, 0 },
    { 's', "stdin-file", PUB, NULL, "all of standard input as one message", take_source, 0, PUBLISH_STDIN, 0 },
    { 'l', "stdin-line", PUB, NULL, "every line of standard input as a message; reconnects when the broker goes away", take_source, 0, PUBLISH_LINES, 0 },
    { 'n', "null-message", PUB, NULL, "an empty message", take_source, 0, PUBLISH_EMPTY, 0 },
    { 'q', "qos", PUB, "0|1|2", "quality of service (0); ends when every message of 1 or 2 is acknowledged", take_number, AT(qos), 0, 2 },
    { 'r', "retain", PUB, NULL, "retained", take_switch, AT(retain), 0, 0 },
    { 0, "repeat", PUB, "N", "publish the message N times", take_number, AT(repeat), 1, INT32_MAX },
    { 0, "repeat-delay", PUB, "SECONDS", "with --repeat: pause in between, 0.5 for example", take_fraction, AT(repeat_delay_s), 0, 86400 },
    { 'M', NULL, PUB, "N", "messages that may wait for their acknowledgement (20 at QoS 2, otherwise 100)", take_number, AT(in_flight), 1, 65535 },

    { 0, NULL, SUB, NULL, "topics:", NULL, 0, 0, 0 },
    { 't', "topic", SUB, "FILTER", "topic filter to subscribe to; may be repeated", take_topic, AT(topics), 0, 0 },
    { 'T', "filter-out", SUB, "FILTER", "do not print what this matches; may be repeated", take_filter, AT(filtered_out), 0, 0 },
    { 'U', "unsubscribe", SUB, "FILTER", "end this subscription of a kept session; may be repeated", take_filter, AT(unsubscribed), 0, 0 },
    { 'q', "qos", SUB, "0|1|2", "quality of service to subscribe with (0)", take_number, AT(qos), 0, 2 },
    { 'R', NULL, SUB, NULL, "no retained messages", take_switch, AT(no_retained), 0, 0 },
    { 0, "retained-only", SUB, NULL, "only retained messages; ends at the first other one", take_switch, AT(retained_only), 0, 0 },
    { 0, "remove-retained", SUB, NULL, "delete the retained messages that come from the broker (see -T)", take_switch, AT(remove_retained), 0, 0 },
    { 0, "retain-as-published", SUB, NULL, "leave the retain flag as it was published (MQTT 5)", take_switch, AT(retain_as_published), 0, 0 },

    { 0, NULL, SUB, NULL, "output:", NULL, 0, 0, 0 },
    { 'v', "verbose", SUB, NULL, "the topic before each payload", take_switch, AT(verbose), 0, 0 },
    { 'N', NULL, SUB, NULL, "no newline behind each message", take_switch, AT(no_end_of_line), 0, 0 },
    { 'F', NULL, SUB, "FORMAT", "print in this form; see below", take_text, AT(format), 0, 0 },
    { 0, "json", SUB, NULL, "one JSON object per message, as -F %j", take_switch, AT(json), 0, 0 },
    { 0, "pretty", SUB, NULL, "JSON over many lines", take_switch, AT(pretty), 0, 0 },
    { 0, "random-filter", SUB, "PERCENT", "print only so many of the messages, at random", take_fraction, AT(random_percent), 0, 100 },

    { 0, NULL, SUB, NULL, "end:", NULL, 0, 0, 0 },
    { 'C', NULL, SUB, "N", "end after N messages", take_number, AT(count), 1, INT64_MAX },
    { 'E', NULL, SUB, NULL, "end when the broker has answered all subscriptions", take_switch, AT(exit_after_subscribe), 0, 0 },
    { 'W', NULL, BOTH, "SECONDS", "end after so long, with exit code 27", take_number, AT(timeout_s), 1, 1 << 30 },

    { 0, NULL, BOTH, NULL, "broker:", NULL, 0, 0, 0 },
    { 'h', "host", BOTH, "HOST", "where the broker is (localhost)", take_text, AT(host), 0, 0 },
    { 'p', "port", BOTH, "PORT", "(1883; 8883 with TLS, 80 and 443 with --ws)", take_number, AT(port), 1, 65535 },
    { 'L', "url", BOTH, "URL", "mqtt(s)://[user[:password]@]host[:port]/topic, and ws(s)://", take_secret, AT(url), 0, 0 },
    { 0, "ws", BOTH, NULL, "over WebSocket", take_switch, AT(websocket), 0, 0 },
    { 0, "config", BOTH, "FILE", "the broker, credentials and TLS of an input in this configuration; may be repeated", take_word, AT(configs), 0, 0 },
    { 0, "input", BOTH, "NAME", "with --config: of this input, not of the first", take_text, AT(input), 0, 0 },
    { 'u', "username", BOTH, "USER", "user name", take_text, AT(username), 0, 0 },
    { 'P', "pw", BOTH, "PASSWORD", "password; better --password-file, or HELIOGRAF_MQTT_PASSWORD in the environment", take_secret, AT(password), 0, 0 },
    { 0, "password-file", BOTH, "FILE", "the password is in this file, read at every connect", take_text, AT(password_file), 0, 0 },
    { 'i', "id", BOTH, "ID", "client id (heliograf-pub- or -sub- and random digits)", take_text, AT(id), 0, 0 },
    { 'I', "id-prefix", BOTH, "PREFIX", "client id: this and the process number", take_text, AT(id_prefix), 0, 0 },
    { 'c', "disable-clean-session", BOTH, NULL, "keep the session at the broker; needs -i", take_switch, AT(keep_session), 0, 0 },
    { 'x', NULL, BOTH, "SECONDS", "how long the broker keeps the session (MQTT 5; -1: for ever)", take_text, AT(session_expiry), 0, 0 },
    { 'V', "protocol-version", BOTH, "VERSION", "mqttv31, mqttv311 (default), mqttv5; also 31, 311, 5", take_text, AT(version), 0, 0 },
    { 'k', "keepalive", BOTH, "SECONDS", "longest silence, 5 to 65535 (60)", take_number, AT(keepalive_s), 5, 65535 },
    { 'D', "property", BOTH, "PACKET NAME VALUE", "a property of MQTT 5; a user-property has two values", take_property, 0, 0, 0 },
    { 'A', NULL, BOTH, "ADDRESS", "connect from this address of ours", take_text, AT(bind_address), 0, 0 },
    { 'M', NULL, SUB, "N", NULL, take_number, AT(in_flight), 1, 65535 },
    { 0, "nodelay", BOTH, NULL, "always on here", take_nothing, 0, 0, 0 },

    { 0, NULL, BOTH, NULL, "last will:", NULL, 0, 0, 0 },
    { 0, "will-topic", BOTH, "TOPIC", "what the broker publishes when we vanish: topic,", take_text, AT(will_topic), 0, 0 },
    { 0, "will-payload", BOTH, "TEXT", "payload,", take_text, AT(will_payload), 0, 0 },
    { 0, "will-qos", BOTH, "0|1|2", "quality of service,", take_number, AT(will_qos), 0, 2 },
    { 0, "will-retain", BOTH, NULL, "retained", take_switch, AT(will_retain), 0, 0 },

    { 0, NULL, BOTH, NULL, "TLS, which any of these turns on:", NULL, 0, 0, 0 },
    { 0, "cafile", BOTH, "FILE", "CA certificates (PEM) that the broker's must come from", take_text, AT(ca), 0, 0 },
    { 0, "capath", BOTH, "DIR", "the same in a directory, as `openssl rehash` makes it", take_text, AT(ca_directory), 0, 0 },
    { 0, "tls-use-os-certs", BOTH, NULL, "the system's CA certificates", take_switch, AT(use_system_ca), 0, 0 },
    { 0, "cert", BOTH, "FILE", "our certificate (PEM)", take_text, AT(certificate), 0, 0 },
    { 0, "key", BOTH, "FILE", "its private key (PEM)", take_text, AT(key), 0, 0 },
    { 0, "insecure", BOTH, NULL, "do not check the host name in the broker's certificate", take_switch, AT(insecure), 0, 0 },
    { 0, "tls-version", BOTH, "VERSION", "the lowest: tlsv1.2 (default) or tlsv1.3", take_text, AT(tls_version), 0, 0 },
    { 0, "ciphers", BOTH, "LIST", "ciphers of TLS 1.2 as OpenSSL writes them", take_text, AT(ciphers), 0, 0 },
    { 0, "tls-alpn", BOTH, "PROTOCOL", "protocol to agree on (ALPN)", take_text, AT(alpn), 0, 0 },
    { 0, "keyform", BOTH, "pem", NULL, take_text, AT(key_form), 0, 0 },

    { 0, NULL, BOTH, NULL, "other:", NULL, 0, 0, 0 },
    { 'd', "debug", BOTH, NULL, "say on standard error what is sent and received", take_switch, AT(debug), 0, 0 },
    { 0, "quiet", BOTH, NULL, "no words on standard error", take_switch, AT(quiet), 0, 0 },

    { 0, "psk", BOTH, "KEY", "pre-shared keys; use --cafile, and --cert with --key", refuse, 0, 0, 0 },
    { 0, "psk-identity", BOTH, "NAME", "pre-shared keys; use --cafile, and --cert with --key", refuse, 0, 0, 0 },
    { 0, "proxy", BOTH, "URL", "SOCKS; a tunnel with `ssh -L`, for example, will do", refuse, 0, 0, 0 },
    { 0, "unix", BOTH, "PATH", "Unix sockets; use a listener on 127.0.0.1", refuse, 0, 0, 0 },
    { 0, "tls-engine", BOTH, "ENGINE", "OpenSSL engines; keep the key in a file", refuse, 0, 0, 0 },
    { 0, "tls-engine-kpass-sha1", BOTH, "SHA1", "OpenSSL engines; keep the key in a file", refuse, 0, 0, 0 },
    { 'S', NULL, BOTH, NULL, "SRV records; give -h and -p", refuse, 0, 0, 0 },
};
/* clang-format on */
enum { ROWS = sizeof rows / sizeof *rows };

static bool is_heading(const struct flag_row *row) {
    return row->take == NULL;
}

/* ---- -D ------------------------------------------------------------------------------------------------------------ */

static bool add_to_list(struct client_flags *flags, unsigned packet, const struct mqtt_property *property) {
    switch (packet) {
    case MQTT_PACKET_CONNECT:
        flags->connect.items[flags->connect.count++] = *property;
        return true;
    case MQTT_PACKET_PUBLISH:
        flags->publish.items[flags->publish.count++] = *property;
        return true;
    case MQTT_PACKET_SUBSCRIBE:
        flags->subscribe.items[flags->subscribe.count++] = *property;
        return true;
    case MQTT_PACKET_UNSUBSCRIBE:
        flags->unsubscribe.items[flags->unsubscribe.count++] = *property;
        return true;
    case MQTT_PACKET_DISCONNECT:
        flags->disconnect.items[flags->disconnect.count++] = *property;
        return true;
    default:
        flags->will.items[flags->will.count++] = *property;
        return true;
    }
}

static unsigned packets_of(enum client_role role) {
    const unsigned always = MQTT_PACKET_CONNECT | MQTT_PACKET_DISCONNECT | MQTT_PACKET_WILL;

    return always | (role == CLIENT_PUBLISHES ? (unsigned)MQTT_PACKET_PUBLISH : MQTT_PACKET_SUBSCRIBE | MQTT_PACKET_UNSUBSCRIBE);
}

/* values[0] packet, [1] name, [2] value, [3] a user property's value or NULL. */
static bool take_property(struct client_flags *flags, const struct flag_row *row, char **values, struct err *err) {
    unsigned packet = mqtt_packet_named(values[0]);
    const struct mqtt_property_kind *kind = mqtt_property_named(values[1]);
    struct mqtt_property property;
    char names[400];

    (void)row;
    if ((packet & packets_of(flags->role)) == 0)
        return err_set(err, ERR_SYNTAX, "'%s' is none of the packets connect, %s, disconnect, will", values[0],
                       flags->role == CLIENT_PUBLISHES ? "publish" : "subscribe, unsubscribe");
    if (strncmp(values[1], "authentication-", 15) == 0)
        return err_set(err, ERR_UNSUPPORTED, "not with the MQTT client in this program: enhanced authentication; use -u and -P, or --cert");
    mqtt_property_names(packet, names, sizeof names);
    if (kind == NULL || (kind->packets & packet) == 0)
        return err_set(err, ERR_SYNTAX, "%s has no property '%s'; it has: %s", values[0], values[1], names);
    return mqtt_property_read(kind, values[2], values[3], &property, err) && add_to_list(flags, packet, &property);
}

static size_t property_words(const char *name) {
    const struct mqtt_property_kind *kind = mqtt_property_named(name);

    return kind != NULL && kind->type == MQTT_TYPE_PAIR ? 4 : 3;
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static const struct flag_row *find_row(int role, struct str name, char letter) {
    for (size_t i = 0; i < ROWS; i++) {
        const struct flag_row *row = &rows[i];
        if (is_heading(row) || (row->roles & role) == 0)
            continue;
        if (letter != 0 ? row->letter == letter : row->name != NULL && str_eq_c(name, row->name))
            return row;
    }
    return NULL;
}

static bool unknown_flag(int role, const char *word, struct err *err) {
    const char *names[ROWS], *nearest;
    size_t count = 0;

    for (size_t i = 0; i < ROWS; i++)
        if (!is_heading(&rows[i]) && (rows[i].roles & role) != 0 && rows[i].name != NULL)
            names[count++] = rows[i].name;
    nearest = word[0] == '-' && word[1] == '-' ? cfg_nearest(word + 2, names, count) : NULL;
    if (nearest != NULL)
        return err_set(err, ERR_SYNTAX, "unknown flag %.60s; did you mean --%s?", word, nearest);
    return err_set(err, ERR_SYNTAX, word[0] == '-' ? "unknown flag %.60s" : "unexpected '%.60s'", word);
}

/* How many words behind the flag are its values; the first may be attached to it. */
static size_t values_wanted(const struct flag_row *row, char **rest, size_t left) {
    if (row->value == NULL)
        return 0;
    if (row->take == take_property)
        return left >= 2 ? property_words(rest[1]) : 3;
    return 1;
}

static const struct flag_row *parse_name(int role, char *word, char **attached) {
    struct str name = str_of(word);

    *attached = NULL;
    if (word[0] == '-' && word[1] != '-' && word[1] != '\0') {
        *attached = word[2] != '\0' ? word + 2 : NULL;
        return find_row(role, name, word[1]);
    }
    if (word[0] != '-' || word[1] != '-')
        return NULL;
    name = str_make(word + 2, strcspn(word + 2, "="));
    if (name.data[name.len] == '=')
        *attached = word + 2 + name.len + 1;
    return find_row(role, name, 0);
}

static bool take_flag(struct client_flags *flags, int argc, char **argv, int *i, struct err *err) {
    char *values[4] = { NULL, NULL, NULL, NULL }, *word = argv[*i], *attached;
    const struct flag_row *row = parse_name((int)flags->role, word, &attached);
    size_t count = 0, wanted;
    char shown[40];
    struct err why = ERR_INIT;

    if (row == NULL)
        return unknown_flag((int)flags->role, word, err);
    snprintf(shown, sizeof shown, "%.*s", attached != NULL && word[1] != '-' ? 2 : (int)strcspn(word, "="), word);
    if (row->value == NULL && attached != NULL)
        return err_set(err, ERR_SYNTAX, "%s takes no value", shown);
    if (attached != NULL)
        values[count++] = attached;
    wanted = values_wanted(row, argv + *i + 1, (size_t)(argc - *i - 1));
    for (; count < wanted && *i + 1 < argc; count++)
        values[count] = argv[++*i];
    if (count < wanted && row->take != refuse)
        return err_set(err, ERR_SYNTAX, "%s needs %s%s", shown, wanted > 1 ? "" : "a value: ", row->value);
    return row->take(flags, row, values, &why) || err_set(err, why.code, "%s: %s", shown, why.text);
}

static bool make_lists(struct client_flags *flags, size_t words) {
    struct word_list *const lists[] = { &flags->configs, &flags->topics, &flags->filtered_out, &flags->unsubscribed };
    struct mqtt_property **const properties[] = { &flags->connect.items,     &flags->publish.items,    &flags->subscribe.items,
                                                  &flags->unsubscribe.items, &flags->disconnect.items, &flags->will.items };

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if ((lists[i]->items = arena_zalloc(&flags->arena, (words + 1) * sizeof(char *))) == NULL)
            return false;
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++)
        if ((*properties[i] = arena_zalloc(&flags->arena, (words / 3 + 1) * sizeof(struct mqtt_property))) == NULL)
            return false;
    return true;
}

static bool read_words(struct client_flags *flags, int argc, char **argv, bool *help, struct err *err) {
    for (int i = 0; i < argc && !*help; i++) {
        *help = strcmp(argv[i], "--help") == 0;
        if (!*help && !take_flag(flags, argc, argv, &i, err))
            return false;
    }
    return true;
}

static unsigned in_flight_of(const struct client_flags *flags) {
    if (flags->role == CLIENT_SUBSCRIBES)
        return DELETIONS_IN_FLIGHT;
    return flags->qos == 2 ? EXACTLY_ONCE_IN_FLIGHT : PUBLISHES_IN_FLIGHT;
}

int client_flags_read(struct client_flags *flags, enum client_role role, const struct command *command, int argc, char **argv) {
    struct err err = ERR_INIT;
    bool help = false;
    int code = EXIT_USAGE;

    *flags = (struct client_flags){ .role = role, .command = command, .keepalive_s = -1, .qos = -1, .repeat = 1 };
    flags->random_percent = 100;
    arena_init(&flags->arena, ARENA_MAX);
    if (!make_lists(flags, (size_t)argc))
        err_set(&err, ERR_LIMIT, "too many words");
    else if (read_words(flags, argc, argv, &help, &err))
        code = help ? EXIT_FINE : client_flags_settle(flags, &err);
    if (flags->options.in_flight == 0) /* no -M */
        flags->options.in_flight = in_flight_of(flags);
    if (help) {
        command_help(command);
        return -1;
    }
    if (code == EXIT_USAGE)
        fprintf(stderr, "heliograf %s: %s\n`heliograf %s --help` lists the flags\n", command->name, err.text, command->name);
    return code;
}

void client_flags_release(struct client_flags *flags) {
    agent_free(flags->agent);
    broker_url_release(&flags->broker);
    arena_release(&flags->arena);
}

/* ---- help and words ------------------------------------------------------------------------------------------------ */

void client_flags_print(enum client_role role) {
    for (size_t i = 0; i < ROWS; i++) {
        const struct flag_row *row = &rows[i];
        char left[64];
        if ((row->roles & (int)role) == 0 || row->help == NULL || row->take == refuse)
            continue;
        if (is_heading(row)) {
            printf("\n%s\n", row->help);
            continue;
        }
        snprintf(left, sizeof left, "%s%c%s%s%s%s%s", row->letter != 0 ? "-" : " ", row->letter != 0 ? row->letter : ' ',
                 row->letter != 0 && row->name != NULL ? ", " : "  ", row->name != NULL ? "--" : "", row->name != NULL ? row->name : "",
                 row->value != NULL && row->name != NULL ? " " : "", row->value != NULL ? row->value : "");
        printf("  %-36s %s\n", left, row->help);
    }
    printf("      --help                         this text\n");
}

void client_complain(const struct client_flags *flags, const char *format, ...) {
    va_list args;

    if (flags->quiet)
        return;
    fprintf(stderr, "heliograf %s: ", flags->command->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}
