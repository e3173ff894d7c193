/* agent/commands/sub.c: subscribes and prints what comes, with mosquitto_sub's flags. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/base/topic_filter.h"
#include "agent/commands/client_session.h"
#include "agent/commands/message_format.h"

enum {
    OUTPUT_AT_ONCE = 64 << 10, /* written when so much has gathered, and whenever nothing more has come */
    OUTPUT_MAX = 1 << 30,
    UNSUBSCRIBE_TAG = 1 << 30, /* and the filter's index; subscriptions have the index alone */
};

static const int64_t clearing_ns = 10 * NS_PER_S;

struct subscriber {
    struct client_session session;
    const struct client_flags *flags;
    struct message_format *format; /* NULL: plain */
    struct mqtt_properties subscribe_properties, unsubscribe_properties;
    struct buf out;
    bool regular_file;
    size_t unanswered, granted; /* of subscriptions and unsubscriptions; of subscriptions */
    int64_t printed;
    uint64_t random; /* --random-filter */
    bool ending; /* nothing more is printed; what is to be cleared still is */
    int code;
};

static void end_with(struct subscriber *sub, int code) {
    sub->ending = true;
    sub->code = code;
}

/* ---- standard output ----------------------------------------------------------------------------------------------- */

/*
 * A descriptor that is ready takes PIPE_BUF bytes without blocking (POSIX, poll and pipes), so that a signal is noticed even when nobody reads
 * our output; a file takes any number.
 */
static bool write_out(struct subscriber *sub) {
    struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
    size_t done = 0;

    while (done < sub->out.len) {
        size_t some = sub->out.len - done;
        ssize_t written;
        if (!sub->regular_file && some > PIPE_BUF)
            some = PIPE_BUF;
        if (!sub->regular_file && !client_session_wait_for(&sub->session, &out))
            return false;
        written = write(STDOUT_FILENO, sub->out.data + done, some);
        if (written < 0 && errno != EINTR && errno != EAGAIN) {
            if (errno != EPIPE) /* whoever closed it has seen enough */
                client_complain(sub->flags, "cannot write to standard output: %s", strerror(errno));
            end_with(sub, EXIT_FAILED);
            return false;
        }
        done += written > 0 ? (size_t)written : 0;
    }
    buf_reset(&sub->out);
    return true;
}

/* Acknowledges what has been written, and not before. */
static bool flush(struct subscriber *sub) {
    if (!write_out(sub))
        return false;
    mqtt_client_acknowledge(sub->session.client);
    return true;
}

/* ---- messages ------------------------------------------------------------------------------------------------------ */

/* xorshift64*: a sample of the messages needs no better. In [0, 100). */
static double next_percent(struct subscriber *sub) {
    sub->random ^= sub->random >> 12;
    sub->random ^= sub->random << 25;
    sub->random ^= sub->random >> 27;
    return (double)(sub->random * 0x2545F4914F6CDD1DULL >> 11) * 100 / 9007199254740992.0;
}

static bool is_filtered_out(struct subscriber *sub, const struct mqtt_client_message *message) {
    for (size_t i = 0; i < sub->flags->filtered_out.count; i++)
        if (topic_filter_match(str_of(sub->flags->filtered_out.items[i]), message->topic))
            return true;
    return (message->retain && sub->flags->no_retained) ||
           (sub->flags->random_percent < 100 && next_percent(sub) >= sub->flags->random_percent);
}

/* QoS 1, so that its end is known. */
static void clear_retained(struct subscriber *sub, struct str topic) {
    const struct mqtt_client_publish empty = { .topic = topic, .payload = STR_EMPTY, .qos = 1, .retain = true };
    struct err err = ERR_INIT;

    if (!mqtt_client_publish(sub->session.client, &empty, 0, &err))
        client_complain(sub->flags, "cannot delete the retained message on %.*s: %s", STR_ARGS(topic), err.text);
}

static void print(struct subscriber *sub, const struct mqtt_client_message *message) {
    const struct client_flags *flags = sub->flags;
    struct err err = ERR_INIT;

    if (sub->format == NULL)
        message_print_plain(message, flags->verbose, !flags->no_end_of_line, &sub->out);
    else if (!message_format_print(sub->format, message, &sub->out, &err))
        client_complain(flags, "%s", err.text);
    else if (!flags->no_end_of_line)
        buf_append_char(&sub->out, '\n');
    if (sub->out.failed) {
        client_complain(flags, "no memory to print a message of %zu bytes on %.*s", message->payload.len, STR_ARGS(message->topic));
        end_with(sub, EXIT_FAILED);
    }
}

static void take_message(struct subscriber *sub, const struct mqtt_client_message *message) {
    log_debug("RECEIVED", "%.*s: %zu bytes, QoS %d%s%s, id %u", STR_ARGS(message->topic), message->payload.len, message->qos,
              message->retain ? ", retained" : "", message->dup ? ", again" : "", (unsigned)message->id);
    if (sub->flags->retained_only && !message->retain) {
        end_with(sub, EXIT_FINE);
        return;
    }
    if (is_filtered_out(sub, message))
        return;
    if (sub->flags->remove_retained && message->retain)
        clear_retained(sub, message->topic);
    print(sub, message);
    if (!sub->ending && sub->flags->count > 0 && ++sub->printed == sub->flags->count)
        end_with(sub, EXIT_FINE);
}

/* ---- subscriptions ------------------------------------------------------------------------------------------------- */

static void subscribe_all(struct subscriber *sub) {
    const struct client_flags *flags = sub->flags;

    sub->unanswered = sub->granted = 0;
    for (size_t i = 0; i < flags->topics.count; i++) {
        const struct mqtt_client_subscription subscription = {
            .filter = flags->topics.items[i],
            .qos = (int)flags->qos,
            .retain_as_published = flags->retain_as_published,
            .retain_never = flags->no_retained,
            .properties = &sub->subscribe_properties,
        };
        sub->unanswered += mqtt_client_subscribe(sub->session.client, &subscription, i);
    }
    for (size_t i = 0; i < flags->unsubscribed.count; i++)
        sub->unanswered += mqtt_client_unsubscribe(sub->session.client, flags->unsubscribed.items[i], &sub->unsubscribe_properties,
                                                   UNSUBSCRIBE_TAG + i);
}

static void note_subscribed(struct subscriber *sub, const struct mqtt_client_event *event) {
    const char *filter = sub->flags->topics.items[event->tag];

    if (event->code >= 0 && event->code <= 2) {
        log_debug("SUBSCRIBED", "%s, QoS %d", filter, event->code);
        sub->granted++;
    } else {
        client_complain(sub->flags, "the broker refuses the topic filter %s: %s (code %d)", filter,
                        mqtt_client_reason(event->version, event->code), event->code);
    }
}

static void note_answer(struct subscriber *sub, const struct mqtt_client_event *event) {
    if (event->code == MQTT_CLIENT_ABANDONED || event->publish)
        return; /* asked again after the next connect; a message deleted */
    sub->unanswered -= sub->unanswered > 0;
    if (event->tag < UNSUBSCRIBE_TAG)
        note_subscribed(sub, event);
    else if (event->code >= 0x80)
        client_complain(sub->flags, "the broker refuses to unsubscribe from %s: %s (code %d)",
                        sub->flags->unsubscribed.items[event->tag - UNSUBSCRIBE_TAG], mqtt_client_reason(event->version, event->code),
                        event->code);
    if (sub->unanswered > 0)
        return;
    if (sub->granted == 0 && sub->flags->topics.count > 0)
        end_with(sub, EXIT_FAILED);
    else if (sub->flags->exit_after_subscribe)
        end_with(sub, EXIT_FINE);
}

/* ---- the loop ------------------------------------------------------------------------------------------------------ */

static void take_event(struct subscriber *sub, const struct mqtt_client_event *event) {
    switch (event->kind) {
    case MQTT_CLIENT_MESSAGE:
        take_message(sub, &event->message);
        return;
    case MQTT_CLIENT_ANSWER:
        note_answer(sub, event);
        return;
    default:
        if (!client_session_note(&sub->session, event))
            end_with(sub, EXIT_FAILED);
        if (event->kind == MQTT_CLIENT_CONNECTED)
            subscribe_all(sub);
    }
}

/* `sub | head -1`: once nobody reads, there is nothing to wait for. */
static bool is_closed(struct subscriber *sub, const struct pollfd *out) {
    if ((out->revents & (POLLERR | POLLNVAL)) == 0)
        return false;
    end_with(sub, EXIT_FAILED);
    return true;
}

static void receive(struct subscriber *sub) {
    struct mqtt_client_event event;
    struct pollfd out = { .fd = STDOUT_FILENO };

    do {
        while (!sub->ending && mqtt_client_event(sub->session.client, &event)) {
            take_event(sub, &event);
            if (sub->out.len >= OUTPUT_AT_ONCE && !flush(sub))
                return;
        }
        if (!flush(sub))
            return;
    } while (!sub->ending && client_session_wait(&sub->session, &out, INT64_MAX) && !is_closed(sub, &out));
}

/* Retained messages that are on their way to be deleted. */
static void finish_clearing(struct subscriber *sub) {
    struct client_session *session = &sub->session;
    int64_t until = clock_mono_ns() + clearing_ns;
    struct mqtt_client_event event;

    while (sub->code == EXIT_FINE && mqtt_client_in_flight(session->client) > 0 && clock_mono_ns() < until) {
        while (mqtt_client_event(session->client, &event))
            if (!client_session_note(session, &event))
                return;
        if (mqtt_client_in_flight(session->client) > 0 && !client_session_wait(session, NULL, until))
            return;
    }
    if (mqtt_client_in_flight(session->client) > 0)
        client_complain(sub->flags, "%zu retained messages may not have been deleted", mqtt_client_in_flight(session->client));
}

static int exit_code(const struct subscriber *sub) {
    if (sub->session.timed_out && !sub->ending) {
        client_complain(sub->flags, "timed out after %d s", (int)sub->flags->timeout_s);
        return EXIT_TIMED_OUT;
    }
    return sub->ending || sub->session.was_connected ? sub->code : EXIT_FAILED;
}

static bool prepare(struct subscriber *sub, const struct client_flags *flags) {
    const char *format = flags->json ? "%j" : flags->format;
    struct err err = ERR_INIT;
    struct stat info;

    *sub = (struct subscriber){ .flags = flags, .out = BUF_INIT(OUTPUT_MAX) };
    sub->regular_file = fstat(STDOUT_FILENO, &info) == 0 && S_ISREG(info.st_mode);
    sub->subscribe_properties = (struct mqtt_properties){ flags->subscribe.items, flags->subscribe.count };
    sub->unsubscribe_properties = (struct mqtt_properties){ flags->unsubscribe.items, flags->unsubscribe.count };
    sub->random = (uint64_t)clock_real_ns();
    if (format == NULL || (sub->format = message_format_new(format, flags->pretty, &err)) != NULL)
        return true;
    client_complain(flags, "-F: %s", err.text);
    return false;
}

static int run(const struct client_flags *flags) {
    struct subscriber sub;
    int code;

    if (!prepare(&sub, flags))
        return EXIT_USAGE;
    code = client_session_open(&sub.session, flags);
    if (code == EXIT_FINE) {
        receive(&sub);
        if (sub.ending)
            finish_clearing(&sub);
        code = exit_code(&sub);
    }
    client_session_close(&sub.session);
    message_format_free(sub.format);
    buf_release(&sub.out);
    return code;
}

static int run_words(const struct command *self, int argc, char **argv) {
    struct client_flags flags;
    int code = client_flags_read(&flags, CLIENT_SUBSCRIBES, self, argc, argv);

    if (code == EXIT_FINE)
        code = run(&flags);
    client_flags_release(&flags);
    return code < 0 ? EXIT_FINE : code;
}

static void print_flags(void) {
    client_flags_print(CLIENT_SUBSCRIBES);
    printf("\nformats of -F:\n"
           "  %%t topic, %%p payload, %%x %%X payload in hexadecimal, %%l its length, %%q QoS, %%r retained, %%m packet\n"
           "  identifier, %%j one JSON object, %%J the same with a payload that is JSON itself, %%I ISO 8601 time,\n"
           "  %%U seconds since 1970; of MQTT 5: %%A topic alias, %%C content type, %%D correlation data, %%E message\n"
           "  expiry, %%F payload format, %%P user properties, %%R response topic, %%S subscription identifier;\n"
           "  @H and so on as strftime's %%H, @N nanoseconds; \\n \\t \\r \\0 \\a \\e \\v; %%%%, @@, \\\\ for themselves.\n"
           "  A width as in %%20t, %%-20t, %%08l; %%.10t cuts.\n");
}

const struct command command_sub = {
    .name = "sub",
    .summary = "Subscribe to a broker and print what comes, with mosquitto_sub's flags",
    .usage = "-t FILTER [flags]",
    .text = "  heliograf sub -t 'plant/#' -v\n"
            "  heliograf sub -L mqtts://user@broker.example/plant/# --password-file secret -F '%I %t %p'\n"
            "  heliograf sub --config heliograf.yaml -v            what the agent's first input would see\n\n"
            "A message of QoS 1, and of QoS 2 with MQTT 5, is acknowledged when it has been written. Exit code 0:\n"
            "ended as asked; 1: cannot connect, or refused; 27: -W is over; 64: usage; 78: configuration.\n",
    .run_words = run_words,
    .print_flags = print_flags,
};
