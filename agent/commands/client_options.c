/* agent/commands/client_options.c: what the flags of `pub` and `sub` come to: how to connect, and what makes no sense together. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/base/topic_filter.h"
#include "agent/commands/client_flags_parts.h"

#define PASSWORD_VARIABLE "HELIOGRAF_MQTT_PASSWORD"

enum { KEEPALIVE_S = 60, CLIENT_ID_MAX = 65535, RECEIVE_MAXIMUM = 1000 };

/* ---- version and session ------------------------------------------------------------------------------------------- */

static bool read_version(const char *text, int *version, struct err *err) {
    static const struct {
        const char *word;
        int version;
    } words[] = { { "mqttv31", 3 }, { "31", 3 }, { "mqttv311", 4 }, { "311", 4 }, { "mqttv5", 5 }, { "5", 5 } };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, text) == 0) {
            *version = words[i].version;
            return true;
        }
    return err_set(err, ERR_SYNTAX, "-V is one of mqttv31, mqttv311, mqttv5, not '%s'", text);
}

static size_t property_count(const struct client_flags *flags) {
    return flags->connect.count + flags->publish.count + flags->subscribe.count + flags->unsubscribe.count + flags->disconnect.count +
           flags->will.count;
}

/* -D implies MQTT 5, as with Mosquitto's programs; what only MQTT 5 has is refused for older ones, not left out in silence. */
static bool settle_version(struct client_flags *flags, struct err *err) {
    struct mqtt_client_options *options = &flags->options;
    const char *needs = property_count(flags) > 0       ? "-D"
                        : flags->session_expiry != NULL ? "-x"
                        : flags->retain_as_published    ? "--retain-as-published"
                                                        : NULL;

    if (flags->version != NULL)
        return read_version(flags->version, &options->version, err) &&
               (options->version == 5 || needs == NULL || err_set(err, ERR_SYNTAX, "%s needs MQTT 5, and -V says %s", needs, flags->version));
    if (flags->configs.count == 0)
        options->version = 4;
    if (needs == NULL || property_count(flags) > 0) {
        options->version = needs != NULL ? 5 : options->version;
        return true;
    }
    return options->version != 4 || err_set(err, ERR_SYNTAX, "%s needs MQTT 5: add -V mqttv5", needs);
}

static bool read_expiry(const char *text, uint32_t *out, struct err *err) {
    int64_t number;

    if (strcmp(text, "\xE2\x88\x9E") == 0 || strcmp(text, "-1") == 0) /* the sign for infinity */
        number = UINT32_MAX;
    else if (!str_to_int64(str_of(text), &number) || number < 0 || number > UINT32_MAX)
        return err_set(err, ERR_SYNTAX, "-x is a number of seconds up to 4294967295, or -1 for ever, not '%s'", text);
    *out = (uint32_t)number;
    return true;
}

static bool settle_session(struct client_flags *flags, struct err *err) {
    struct mqtt_client_options *options = &flags->options;

    options->keep_session = flags->keep_session;
    if (flags->session_expiry != NULL && !read_expiry(flags->session_expiry, &options->session_expiry_s, err))
        return false;
    if (flags->session_expiry == NULL && flags->keep_session)
        options->session_expiry_s = UINT32_MAX;
    return (!flags->keep_session && options->session_expiry_s != UINT32_MAX) || flags->id != NULL ||
           err_set(err, ERR_SYNTAX, "a session that is kept belongs to a client id: add -i");
}

static bool settle_client_id(struct client_flags *flags, struct err *err) {
    const char *base = flags->role == CLIENT_PUBLISHES ? "heliograf-pub" : "heliograf-sub";

    if (flags->id != NULL && flags->id_prefix != NULL)
        return err_set(err, ERR_SYNTAX, "only one of -i and -I");
    if (flags->id != NULL && strlen(flags->id) > CLIENT_ID_MAX)
        return err_set(err, ERR_LIMIT, "-i is longer than %d bytes", CLIENT_ID_MAX);
    if (flags->id_prefix != NULL && strlen(flags->id_prefix) > sizeof flags->random_id - 12)
        return err_set(err, ERR_LIMIT, "-I is longer than %d bytes", (int)sizeof flags->random_id - 12);
    if (flags->id_prefix != NULL)
        snprintf(flags->random_id, sizeof flags->random_id, "%s%ld", flags->id_prefix, (long)getpid());
    else
        mqtt_client_random_id(base, flags->random_id);
    flags->options.client_id = flags->id != NULL ? flags->id : flags->random_id;
    return true;
}

/* ---- where --------------------------------------------------------------------------------------------------------- */

static bool wants_tls(const struct client_flags *flags) {
    return flags->ca != NULL || flags->ca_directory != NULL || flags->use_system_ca || flags->certificate != NULL || flags->insecure ||
           flags->ciphers != NULL || flags->alpn != NULL || flags->tls_version != NULL;
}

static bool settle_url(struct client_flags *flags, struct err *err) {
    struct word_list *topics = &flags->topics;

    if (!broker_url_parse(flags->url, &flags->broker, err))
        return false;
    if (flags->username == NULL)
        flags->username = flags->broker.username;
    if (flags->password == NULL && flags->password_file == NULL)
        flags->password = flags->broker.password;
    flags->server = flags->broker.server;
    if (flags->role == CLIENT_PUBLISHES ? !client_check_topic(flags->broker.topic, err)
                                        : !topic_filter_valid(str_of(flags->broker.topic), err))
        return false;
    if (flags->role == CLIENT_SUBSCRIBES || topics->count == 0)
        topics->items[topics->count++] = flags->broker.topic;
    return true;
}

static bool settle_host(struct client_flags *flags, struct err *err) {
    const char *host = flags->host != NULL ? flags->host : "localhost";
    bool tls = wants_tls(flags), v6 = strchr(host, ':') != NULL && host[0] != '[';
    struct buf text = BUF_INIT(4096);

    buf_printf(&text, "%s://%s%s%s", flags->websocket ? (tls ? "wss" : "ws") : (tls ? "mqtts" : "mqtt"), v6 ? "[" : "", host, v6 ? "]" : "");
    if (flags->port != 0)
        buf_printf(&text, ":%d", (int)flags->port);
    flags->server = text.failed ? NULL : arena_strdup(&flags->arena, buf_str(&text));
    buf_release(&text);
    return flags->server != NULL || err_set(err, ERR_LIMIT, "the host name is too long");
}

/* The topics of the input, for who gives none. A shared subscription would take the agent's messages away from it. */
static bool take_topics(struct client_flags *flags, const struct agent_input *input, struct err *err) {
    struct word_list *topics = &flags->topics;

    if (flags->role == CLIENT_PUBLISHES || topics->count > 0 || flags->unsubscribed.count > 0)
        return true;
    topics->items = arena_zalloc(&flags->arena, (input->topics.count + 1) * sizeof *topics->items);
    if (topics->items == NULL)
        return err_set(err, ERR_FULL, "no memory");
    for (size_t i = 0; i < input->topics.count; i++)
        topics->items[topics->count++] = topic_filter_strip_share(str_of(input->topics.items[i])).data;
    return true;
}

static int settle_config(struct client_flags *flags, struct err *err) {
    struct args args = { 0 };
    const struct agent_input *input;
    int qos = 0;

    if (flags->host != NULL || flags->port != 0 || flags->url != NULL || flags->websocket) {
        err_set(err, ERR_SYNTAX, "--config says which broker: leave out -h, -p, -L and --ws");
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < flags->configs.count && i < VALUES_MAX; i++)
        args.configs[args.config_count++] = flags->configs.items[i];
    flags->agent = load_or_complain(&args, AGENT_OFFLINE);
    if (flags->agent == NULL)
        return EXIT_CONFIGURATION;
    input = agent_input_broker(flags->agent, flags->input, &flags->options, &qos, err);
    if (input == NULL || !take_topics(flags, input, err))
        return EXIT_USAGE;
    if (flags->role == CLIENT_SUBSCRIBES && flags->qos < 0)
        flags->qos = qos;
    return EXIT_FINE;
}

static int settle_server(struct client_flags *flags, struct err *err) {
    bool ok;

    if (flags->configs.count > 0)
        return settle_config(flags, err);
    if (flags->input != NULL) {
        err_set(err, ERR_SYNTAX, "--input goes with --config");
        return EXIT_USAGE;
    }
    if (flags->url != NULL && (flags->host != NULL || flags->port != 0 || flags->websocket)) {
        err_set(err, ERR_SYNTAX, "-L says which broker: leave out -h, -p and --ws");
        return EXIT_USAGE;
    }
    ok = flags->url != NULL ? settle_url(flags, err) : settle_host(flags, err);
    if (!ok || !mqtt_client_check_server(flags->server, err))
        return EXIT_USAGE;
    flags->options.servers = &flags->server;
    flags->options.server_count = 1;
    return EXIT_FINE;
}

/* A host name as well, as with Mosquitto's programs: its first address. */
static bool settle_bind_address(struct client_flags *flags, struct err *err) {
    struct addrinfo *found = NULL;
    int rc;

    if (flags->bind_address == NULL)
        return true;
    rc = getaddrinfo(flags->bind_address, NULL, NULL, &found);
    if (rc == 0)
        rc = getnameinfo(found->ai_addr, found->ai_addrlen, flags->numeric_address, sizeof flags->numeric_address, NULL, 0, NI_NUMERICHOST);
    if (found != NULL)
        freeaddrinfo(found);
    flags->options.bind_address = flags->numeric_address;
    return rc == 0 || err_set(err, ERR_SYNTAX, "-A %.60s: %s", flags->bind_address, gai_strerror(rc));
}

/* ---- who, TLS, last will -------------------------------------------------------------------------------------------- */

static bool settle_credentials(struct client_flags *flags, struct err *err) {
    struct mqtt_client_options *options = &flags->options;

    if (flags->password != NULL && flags->password_file != NULL)
        return err_set(err, ERR_SYNTAX, "only one of -P and --password-file");
    if (flags->username != NULL) {
        options->username = flags->username;
        options->password = options->password_file = NULL;
    }
    if (flags->password != NULL || flags->password_file != NULL) {
        options->password = flags->password;
        options->password_file = flags->password_file;
    } else if (flags->username != NULL) {
        options->password = getenv(PASSWORD_VARIABLE);
    }
    return options->username != NULL || options->version == 5 || (flags->password == NULL && flags->password_file == NULL) ||
           err_set(err, ERR_SYNTAX, "a password needs a user name: add -u");
}

static bool settle_tls(struct client_flags *flags, struct err *err) {
    struct mqtt_client_options *options = &flags->options;

    if ((flags->certificate != NULL) != (flags->key != NULL))
        return err_set(err, ERR_SYNTAX, "--cert and --key belong together: give both or none");
    if (flags->key_form != NULL && strcmp(flags->key_form, "pem") != 0)
        return err_set(err, ERR_UNSUPPORTED, "--keyform: not with the MQTT client in this program: OpenSSL engines; keep the key in a PEM file");
    if (flags->tls_version != NULL && strcmp(flags->tls_version, "tlsv1.1") == 0)
        return err_set(err, ERR_UNSUPPORTED, "--tls-version: TLS 1.1 is broken and not offered any more (RFC 8996): tlsv1.2 or tlsv1.3");
    if (flags->tls_version != NULL && strcmp(flags->tls_version, "tlsv1.2") != 0 && strcmp(flags->tls_version, "tlsv1.3") != 0)
        return err_set(err, ERR_SYNTAX, "--tls-version is tlsv1.2 or tlsv1.3, not '%.40s'", flags->tls_version);
    if (flags->alpn != NULL && (flags->alpn[0] == '\0' || strlen(flags->alpn) > 255))
        return err_set(err, ERR_SYNTAX, "--tls-alpn is a name of 1 to 255 bytes");
    options->tls_ca = flags->ca != NULL ? flags->ca : options->tls_ca;
    options->tls_ca_directory = flags->ca_directory;
    options->tls_cert = flags->certificate != NULL ? flags->certificate : options->tls_cert;
    options->tls_key = flags->key != NULL ? flags->key : options->tls_key;
    options->tls_alpn = flags->alpn;
    if (flags->ciphers != NULL || flags->tls_version != NULL)
        options->tls_suites = NULL;
    options->tls_ciphers = flags->ciphers;
    options->tls_13 = flags->tls_version != NULL && strcmp(flags->tls_version, "tlsv1.3") == 0;
    if (wants_tls(flags))
        options->tls = MQTT_CLIENT_TLS_ALWAYS;
    if (flags->insecure && options->verify == MQTT_CLIENT_VERIFY_ALL)
        options->verify = MQTT_CLIENT_VERIFY_CHAIN;
    return true;
}

static bool settle_will(struct client_flags *flags, struct err *err) {
    if (flags->will_topic == NULL && (flags->will_payload != NULL || flags->will_qos > 0 || flags->will_retain || flags->will.count > 0))
        return err_set(err, ERR_SYNTAX, "a last will needs a topic: add --will-topic");
    if (flags->will_topic != NULL && !client_check_topic(flags->will_topic, err))
        return false;
    flags->options.will.topic = flags->will_topic;
    flags->options.will.payload = flags->will_payload != NULL ? str_of(flags->will_payload) : STR_EMPTY;
    flags->options.will.qos = (int)flags->will_qos;
    flags->options.will.retain = flags->will_retain;
    return true;
}

/* MQTT 5, 2.2.2.2: but for user properties, none twice. */
static bool check_twice(const struct mqtt_property *items, size_t count, const char *packet, struct err *err) {
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++)
            if (items[i].id == items[j].id && items[i].id != MQTT_PROPERTY_USER)
                return err_set(err, ERR_SYNTAX, "-D: %s has %s twice", packet, mqtt_property_kind(items[i].id)->name);
    return true;
}

static bool settle_properties(struct client_flags *flags, struct err *err) {
    flags->options.connect_properties = (struct mqtt_properties){ flags->connect.items, flags->connect.count };
    flags->options.will_properties = (struct mqtt_properties){ flags->will.items, flags->will.count };
    flags->options.disconnect_properties = (struct mqtt_properties){ flags->disconnect.items, flags->disconnect.count };
    return check_twice(flags->connect.items, flags->connect.count, "connect", err) &&
           check_twice(flags->publish.items, flags->publish.count, "publish", err) &&
           check_twice(flags->subscribe.items, flags->subscribe.count, "subscribe", err) &&
           check_twice(flags->disconnect.items, flags->disconnect.count, "disconnect", err) &&
           check_twice(flags->will.items, flags->will.count, "will", err);
}

/* ---- what each command needs ---------------------------------------------------------------------------------------- */

bool client_check_topic(const char *topic, struct err *err) {
    struct str text = str_of(topic);

    if (text.len == 0 || text.len > TOPIC_MAX_BYTES)
        return err_set(err, ERR_SYNTAX, "a topic has 1 to %d bytes", TOPIC_MAX_BYTES);
    if (!str_is_utf8(text))
        return err_set(err, ERR_SYNTAX, "the topic is not UTF-8");
    return strpbrk(topic, "+#") == NULL ||
           err_set(err, ERR_SYNTAX, "'%.60s' is no topic to publish on: + and # are for subscriptions", topic);
}

static bool check_pub(const struct client_flags *flags, struct err *err) {
    if (flags->topics.count == 0)
        return err_set(err, ERR_SYNTAX, "which topic? Add -t");
    if (flags->source == PUBLISH_NOTHING_GIVEN)
        return err_set(err, ERR_SYNTAX, "what is to be published? Add -m, -f, -s, -l or -n");
    return flags->repeat == 1 || flags->source != PUBLISH_LINES ||
           err_set(err, ERR_SYNTAX, "--repeat goes with one message, not with the lines of -l");
}

static bool check_sub(const struct client_flags *flags, struct err *err) {
    if (flags->topics.count == 0 && flags->unsubscribed.count == 0)
        return err_set(err, ERR_SYNTAX, "which topics? Add -t (or -U, to unsubscribe)");
    if (flags->no_retained && flags->retained_only)
        return err_set(err, ERR_SYNTAX, "-R and --retained-only leave nothing");
    if (flags->json && flags->format != NULL)
        return err_set(err, ERR_SYNTAX, "only one of --json and -F");
    return flags->random_percent > 0 || err_set(err, ERR_SYNTAX, "--random-filter is more than 0, and 100 at most");
}

int client_flags_settle(struct client_flags *flags, struct err *err) {
    struct mqtt_client_options *options = &flags->options;
    int code = settle_server(flags, err);

    if (code != EXIT_FINE)
        return code;
    if (flags->qos < 0)
        flags->qos = 0;
    if (flags->keepalive_s > 0 || options->keepalive_s == 0)
        options->keepalive_s = (unsigned)(flags->keepalive_s > 0 ? flags->keepalive_s : KEEPALIVE_S);
    options->in_flight = (unsigned)flags->in_flight;
    options->trace = flags->debug && !flags->quiet;
    /* Not more than will be printed: what is left over would have to find another subscriber. */
    if (flags->count > 0 && flags->count < RECEIVE_MAXIMUM)
        options->receive_maximum = (unsigned)flags->count;
    bool ok = settle_version(flags, err) && settle_session(flags, err) && settle_client_id(flags, err) && settle_bind_address(flags, err) &&
              settle_credentials(flags, err) && settle_tls(flags, err) && settle_will(flags, err) && settle_properties(flags, err) &&
              (flags->role == CLIENT_PUBLISHES ? check_pub(flags, err) : check_sub(flags, err));
    return ok ? EXIT_FINE : EXIT_USAGE;
}
