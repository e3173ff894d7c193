/*
 * agent/commands/client_session.h: what `pub` and `sub` share while they run: signals, time, waiting, and words about the connection.
 * One thread. SIGINT and SIGTERM are blocked and come as a descriptor, so that no wait can miss one.
 */
#ifndef HELIOGRAF_COMMANDS_CLIENT_SESSION_H
#define HELIOGRAF_COMMANDS_CLIENT_SESSION_H

#include <poll.h>

#include "agent/commands/client_flags.h"

struct client_session {
    const struct client_flags *flags;
    struct mqtt_client *client;
    int signal_fd;
    int64_t deadline_ns; /* monotonic, of -W; INT64_MAX without */
    bool was_connected, is_lost;
    bool interrupted, timed_out; /* by a signal, by -W */
};

/* Begins to connect. EXIT_FINE, or an exit code with words on stderr. Close it in any case. */
int client_session_open(struct client_session *session, const struct client_flags *flags);
/* Disconnects cleanly. */
void client_session_close(struct client_session *session);

/*
 * Waits for an event of the client's, for `more` (NULL: nothing), for a signal, or until `until_ns` (monotonic). False when the session is
 * to end: session->interrupted or ->timed_out.
 */
bool client_session_wait(struct client_session *session, struct pollfd *more, int64_t until_ns);

/*
 * The same for one descriptor and without the client: for writing to standard output, which may take long. True when the descriptor is
 * ready.
 */
bool client_session_wait_for(struct client_session *session, struct pollfd *fd);

/*
 * Says what there is to say about CONNECTED, FAILED and LOST. False when this is the end: the first connect has failed, or the broker refuses
 * us, or what we send, for good.
 */
bool client_session_note(struct client_session *session, const struct mqtt_client_event *event);

#endif
