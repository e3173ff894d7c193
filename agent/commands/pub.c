/* agent/commands/pub.c: publishes one message or many, with mosquitto_pub's flags. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/fs.h"
#include "agent/base/log.h"
#include "agent/commands/client_session.h"

enum {
    PAYLOAD_MAX = 268435455, /* MQTT's largest packet */
    READ_BYTES = 65536,
    LOSSES_MAX = 10, /* in a row without an answer, which takes half a minute: a broker that cannot stand our next message */
};

struct publisher {
    struct client_session session;
    const struct client_flags *flags;
    struct mqtt_properties properties;
    struct buf input;    /* the message; with -l what was read of standard input */
    size_t taken;        /* -l: bytes of it that were published */
    size_t searched;     /* -l: bytes behind those in which there is no newline */
    bool input_ended;    /* -l */
    uint64_t begun, refused;
    unsigned losses; /* since the last answer, with messages under way */
    int64_t next_ns; /* --repeat-delay: monotonic */
    bool failed;
};

/* ---- what is published --------------------------------------------------------------------------------------------- */

/* More of standard input. Called when it is readable. */
static bool read_more(struct publisher *pub) {
    ssize_t got;

    if (pub->taken > 0) {
        memmove(pub->input.data, pub->input.data + pub->taken, pub->input.len - pub->taken);
        pub->input.len -= pub->taken;
        pub->taken = 0;
    }
    if (!buf_reserve(&pub->input, READ_BYTES)) {
        client_complain(pub->flags, "a message from standard input is longer than %d bytes", PAYLOAD_MAX);
        return false;
    }
    got = read(STDIN_FILENO, pub->input.data + pub->input.len, READ_BYTES);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (got < 0) {
        client_complain(pub->flags, "cannot read standard input: %s", strerror(errno));
        return false;
    }
    pub->input.len += (size_t)got;
    pub->input_ended = got == 0;
    return true;
}

static bool load_message(struct publisher *pub) {
    const struct client_flags *flags = pub->flags;
    struct err err = ERR_INIT;
    bool ok = true;

    if (flags->source == PUBLISH_MESSAGE)
        ok = buf_append_c(&pub->input, flags->message) || err_set(&err, ERR_LIMIT, "the message is too long");
    else if (flags->source == PUBLISH_FILE)
        ok = fs_read_file(flags->file, &pub->input, &err);
    if (!ok)
        client_complain(flags, "%s", err.text);
    while (ok && flags->source == PUBLISH_STDIN && !pub->input_ended)
        ok = read_more(pub);
    return ok;
}

/* The next whole line that was read, without its newline; at the end what is left. False when there is none. */
static bool next_line(struct publisher *pub, struct str *line) {
    const char *begin = pub->input.data + pub->taken, *newline;
    size_t left = pub->input.len - pub->taken;

    newline = left > pub->searched ? memchr(begin + pub->searched, '\n', left - pub->searched) : NULL;
    if (newline == NULL && !(pub->input_ended && left > 0)) {
        pub->searched = left;
        return false;
    }
    line->data = begin;
    line->len = newline != NULL ? (size_t)(newline - begin) : left;
    pub->taken += line->len + (newline != NULL);
    pub->searched = 0;
    return true;
}

static bool all_begun(const struct publisher *pub) {
    if (pub->flags->source == PUBLISH_LINES)
        return pub->input_ended && pub->taken == pub->input.len;
    return pub->begun == (uint64_t)pub->flags->repeat;
}

static bool begin(struct publisher *pub, struct str payload) {
    const struct mqtt_client_publish publish = {
        .topic = str_of(pub->flags->topics.items[0]),
        .payload = payload,
        .qos = (int)pub->flags->qos,
        .retain = pub->flags->retain,
        .properties = &pub->properties,
    };
    struct err err = ERR_INIT;

    if (!mqtt_client_publish(pub->session.client, &publish, ++pub->begun, &err)) {
        client_complain(pub->flags, "%s", err.text);
        return false;
    }
    log_debug("PUBLISHING", "%s: %zu bytes, QoS %d%s", pub->flags->topics.items[0], payload.len, publish.qos,
              publish.retain ? ", retained" : "");
    return true;
}

/* As many as there is room for. */
static bool begin_some(struct publisher *pub) {
    bool lines = pub->flags->source == PUBLISH_LINES;
    struct str payload = buf_str(&pub->input);

    while (mqtt_client_room(pub->session.client) > 0 && !all_begun(pub)) {
        if (lines && !next_line(pub, &payload))
            return true;
        if (!lines && clock_mono_ns() < pub->next_ns)
            return true;
        if (!begin(pub, payload))
            return false;
        pub->next_ns = clock_mono_ns() + (int64_t)(pub->flags->repeat_delay_s * (double)NS_PER_S);
    }
    return true;
}

/* ---- the loop ------------------------------------------------------------------------------------------------------ */

/* Only lines come from something that goes on meanwhile; one message whose connection is lost has failed, as with mosquitto_pub. */
static bool may_reconnect(const struct publisher *pub) {
    return pub->flags->source == PUBLISH_LINES;
}

/* Of -D publish topic-alias. */
static bool takes_our_alias(const struct publisher *pub, const struct mqtt_client_event *event) {
    const struct mqtt_property *alias = mqtt_properties_find(&pub->properties, MQTT_PROPERTY_TOPIC_ALIAS);

    if (alias == NULL || alias->number <= event->alias_maximum)
        return true;
    client_complain(pub->flags, "-D publish topic-alias %u: %s takes none above %u", (unsigned)alias->number, event->server,
                    event->alias_maximum);
    return false;
}

static bool note_lost(struct publisher *pub, const struct mqtt_client_event *event) {
    size_t open = mqtt_client_in_flight(pub->session.client);

    if (!may_reconnect(pub)) {
        client_complain(pub->flags, "lost %s: %s; %zu of %llu messages are not acknowledged", event->server, event->text, open,
                        (unsigned long long)pub->begun);
        return false;
    }
    pub->losses = open > 0 ? pub->losses + 1 : 0;
    if (!client_session_note(&pub->session, event))
        return false;
    if (pub->losses < LOSSES_MAX)
        return true;
    client_complain(pub->flags, "%s has ended %u connections in a row without acknowledging anything: does it refuse the message, by its size for "
                                "example? %zu of %llu messages are not acknowledged",
                    event->server, pub->losses, open, (unsigned long long)pub->begun);
    return false;
}

static bool take_event(struct publisher *pub, const struct mqtt_client_event *event) {
    switch (event->kind) {
    case MQTT_CLIENT_ANSWER:
        pub->losses = 0;
        log_debug("ANSWERED", "message %llu, code %d", (unsigned long long)event->tag, event->code);
        if (event->code < 0x80)
            return true;
        client_complain(pub->flags, "the broker refuses message %llu: %s (code %d)", (unsigned long long)event->tag,
                        mqtt_client_reason(event->version, event->code), event->code);
        pub->refused++;
        return true;
    case MQTT_CLIENT_LOST:
        return note_lost(pub, event);
    case MQTT_CLIENT_CONNECTED:
        return client_session_note(&pub->session, event) && takes_our_alias(pub, event);
    default:
        return client_session_note(&pub->session, event);
    }
}

static bool take_events(struct publisher *pub) {
    struct mqtt_client_event event;

    while (mqtt_client_event(pub->session.client, &event))
        if (!take_event(pub, &event))
            return false;
    return true;
}

/* For an acknowledgement, for a line of input when there is room for it, for the next repetition. */
static bool wait(struct publisher *pub) {
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
    bool room = mqtt_client_room(pub->session.client) > 0 && !all_begun(pub);
    bool reads = room && pub->flags->source == PUBLISH_LINES && !pub->input_ended;

    if (!client_session_wait(&pub->session, reads ? &input : NULL, room && !reads ? pub->next_ns : INT64_MAX))
        return false;
    return !reads || input.revents == 0 || read_more(pub);
}

static bool publish_all(struct publisher *pub) {
    while (take_events(pub)) {
        if (!begin_some(pub))
            return false;
        if (all_begun(pub) && mqtt_client_in_flight(pub->session.client) == 0)
            return true;
        if (!wait(pub))
            return false;
    }
    return false;
}

static int exit_code(const struct publisher *pub, bool done) {
    const struct client_session *session = &pub->session;

    /* Whoever feeds lines by hand ends them by hand. */
    if (session->interrupted && pub->flags->source == PUBLISH_LINES && session->was_connected &&
        mqtt_client_in_flight(session->client) == 0)
        done = true;
    if (done)
        return pub->refused == 0 ? EXIT_FINE : EXIT_FAILED;
    if (session->interrupted || session->timed_out)
        client_complain(pub->flags, "%s: %zu of %llu messages are not acknowledged", session->timed_out ? "timed out" : "interrupted",
                        mqtt_client_in_flight(session->client), (unsigned long long)pub->begun);
    return session->timed_out ? EXIT_TIMED_OUT : EXIT_FAILED;
}

static int run(const struct client_flags *flags) {
    struct publisher pub = { .flags = flags, .input = BUF_INIT(PAYLOAD_MAX + READ_BYTES) };
    int code;

    pub.properties = (struct mqtt_properties){ flags->publish.items, flags->publish.count };
    if (!load_message(&pub)) {
        buf_release(&pub.input);
        return EXIT_FAILED;
    }
    code = client_session_open(&pub.session, flags);
    if (code == EXIT_FINE)
        code = exit_code(&pub, publish_all(&pub));
    client_session_close(&pub.session);
    buf_release(&pub.input);
    return code;
}

static int run_words(const struct command *self, int argc, char **argv) {
    struct client_flags flags;
    int code = client_flags_read(&flags, CLIENT_PUBLISHES, self, argc, argv);

    if (code == EXIT_FINE)
        code = run(&flags);
    client_flags_release(&flags);
    return code < 0 ? EXIT_FINE : code;
}

static void print_flags(void) {
    client_flags_print(CLIENT_PUBLISHES);
}

const struct command command_pub = {
    .name = "pub",
    .summary = "Publish to a broker, with mosquitto_pub's flags",
    .usage = "-t TOPIC (-m TEXT | -f FILE | -s | -l | -n) [flags]",
    .text = "  heliograf pub -t plant/a/t1 -m 21.5 -q 1\n"
            "  tail -f readings.txt | heliograf pub -L mqtts://user@broker.example/plant/a -l -q 1 --password-file secret\n\n"
            "Exit code 0: written, and acknowledged at QoS 1 and 2; 1: cannot connect, refused, or lost; 27: -W is over;\n"
            "64: usage; 78: configuration.\n",
    .run_words = run_words,
    .print_flags = print_flags,
};
