/* agent/commands/client_session.c: see client_session.h. */
#include "agent/commands/client_session.h"

#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/mqtt_client/source.h"

/* Before any other thread exists, so that all inherit it. */
static int block_signals(void) {
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

int client_session_open(struct client_session *session, const struct client_flags *flags) {
    struct err err = ERR_INIT;

    *session = (struct client_session){ .flags = flags, .deadline_ns = INT64_MAX };
    log_set(flags->debug && !flags->quiet ? LOG_DEBUG : LOG_ERROR, LOG_TEXT);
    session->signal_fd = block_signals();
    if (flags->timeout_s > 0)
        session->deadline_ns = clock_mono_ns() + flags->timeout_s * NS_PER_S;
    if (session->signal_fd < 0)
        err_set(&err, ERR_IO, "no descriptor for signals");
    else if (mqtt_client_setup(&err))
        session->client = mqtt_client_new(&flags->options, &err);
    if (session->client != NULL)
        return EXIT_FINE;
    client_complain(flags, "%s", err.text);
    return EXIT_FAILED;
}

void client_session_close(struct client_session *session) {
    mqtt_client_free(session->client);
    if (session->signal_fd >= 0)
        close(session->signal_fd);
}

/* ---- waiting ------------------------------------------------------------------------------------------------------- */

static int milliseconds_until(int64_t until_ns) {
    int64_t left = until_ns - clock_mono_ns();

    if (left <= 0)
        return 0;
    return left > 3600 * NS_PER_S ? 3600 * 1000 : (int)((left + NS_PER_MS - 1) / NS_PER_MS);
}

static bool goes_on(struct client_session *session) {
    struct signalfd_siginfo signal_info;

    if (read(session->signal_fd, &signal_info, sizeof signal_info) == (ssize_t)sizeof signal_info)
        session->interrupted = true;
    if (clock_mono_ns() >= session->deadline_ns)
        session->timed_out = true;
    return !session->interrupted && !session->timed_out;
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

bool client_session_wait(struct client_session *session, struct pollfd *more, int64_t until_ns) {
    struct pollfd fds[3] = { { .fd = session->signal_fd, .events = POLLIN },
                             { .fd = mqtt_client_fd(session->client), .events = POLLIN } };
    int64_t until = earlier(earlier(until_ns, session->deadline_ns), mqtt_client_due_ns(session->client));

    if (more != NULL)
        fds[2] = *more;
    poll(fds, more != NULL ? 3 : 2, milliseconds_until(until));
    if (more != NULL)
        more->revents = fds[2].revents;
    return goes_on(session);
}

bool client_session_wait_for(struct client_session *session, struct pollfd *fd) {
    struct pollfd fds[2] = { { .fd = session->signal_fd, .events = POLLIN }, *fd };

    while (goes_on(session)) {
        fds[1].revents = 0;
        if (poll(fds, 2, milliseconds_until(session->deadline_ns)) > 0 && fds[1].revents != 0)
            return true;
    }
    return false;
}

/* ---- words about the connection ------------------------------------------------------------------------------------ */

static const char *remedy(enum connection_failure_kind kind) {
    static const char *const remedies[FAILED_KINDS] = {
        [FAILED_NAME] = "is the host name right (-h)?",
        [FAILED_NETWORK] = "does a broker listen there (-h, -p)?",
        [FAILED_TLS] = "does --cafile name the CA of the broker's certificate, and is this its TLS port (-p)?",
        [FAILED_TIMEOUT] = "is this a broker's port (-p), and with or without TLS (--cafile)?",
        [FAILED_CREDENTIALS] = "look at -u, -P or --password-file, and -i",
        [FAILED_VERSION] = "try another version with -V",
        [FAILED_CLOSED] = "TLS on a plain port or the other way round (--cafile), WebSocket (--ws), another version (-V)?",
        [FAILED_BROKER] = "the broker's log may say more",
    };

    return remedies[kind];
}

static void say_connected(struct client_session *session, const struct mqtt_client_event *event) {
    static const char *const versions[] = { [3] = "3.1", [4] = "3.1.1", [5] = "5" };

    log_debug("CONNECTED", "%s with MQTT %s as %s%s", event->server, versions[event->version], session->flags->options.client_id,
              event->session_present ? ", session resumed" : "");
    if (session->is_lost)
        client_complain(session->flags, "connected to %s again", event->server);
}

bool client_session_note(struct client_session *session, const struct mqtt_client_event *event) {
    switch (event->kind) {
    case MQTT_CLIENT_CONNECTED:
        say_connected(session, event);
        session->was_connected = true;
        session->is_lost = false;
        return true;
    case MQTT_CLIENT_LOST:
        client_complain(session->flags, "lost %s: %s%s", event->server, event->text, event->final ? "" : "; connecting again");
        session->is_lost = true;
        return !event->final;
    case MQTT_CLIENT_FAILED:
        log_debug("NOT-CONNECTED", "%s", event->text);
        if (session->was_connected && !event->final)
            return true;
        client_complain(session->flags, "cannot connect to %s; %s", event->text, remedy(event->failure));
        return false;
    default:
        return true;
    }
}
