/*
 * agent/mqtt_client/paho_sockets.c: Paho's sockets: read in pieces of 64 KiB instead of one byte, one length and one
 * message at a time, with two polls for each; and connected without the pauses that Paho makes. See paho_wraps.h.
 */
#include "agent/mqtt_client/paho_seam.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"

enum {
    SOCKETS_MAX = 64,         /* connections of the process; one more is refused */
    READ_AHEAD_BYTES = 65536, /* per connection */
};

/* Paho's side of the seam. */
extern void *send_cond;
int Thread_signal_cond(void *cond);

/* Our side: called by Paho's objects under these names. */
ssize_t paho_recv(int fd, void *data, size_t len, int flags);
int paho_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int paho_close(int fd);
int paho_connect(int fd, const struct sockaddr *address, socklen_t len);
int paho_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int paho_usleep(unsigned microseconds);

/*
 * A socket of Paho's and what was read from it ahead of need. Never freed, only reused: poll looks at the atomic fields
 * without Paho's lock. The rest is touched under it.
 */
struct paho_socket {
    _Atomic int fd; /* 0: free */
    _Atomic size_t ready;
    _Atomic bool connecting;
    _Atomic bool paused; /* its link takes nothing now */
    size_t at;
    char *data;
    struct paho_link *link; /* NULL: not a source's */
};

static struct paho_socket sockets[SOCKETS_MAX];
static _Atomic size_t sockets_used; /* no slot at or behind it was ever used */

/* Ends the receive thread's wait when there is a new socket to watch; -1 before paho_sockets_init. */
static int wake_fd = -1;

/* Of the receive thread: when a poll last found something, and whether the last read brought a good part of a buffer. */
static _Thread_local int64_t last_ready_ns;
static _Thread_local bool plenty;
/* Of a thread that waits for Paho's to end: its last nap. */
static _Thread_local int64_t nap_ended_ns;
static _Thread_local int nap_ms;
/* Of the receive thread: its next sleep, and its next poll for reading, are to be left out. */
static _Thread_local bool is_receiver, no_sleep, no_wait;

bool paho_sockets_init(struct err *err) {
    if (wake_fd < 0)
        wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return wake_fd >= 0 || err_set_errno(err, errno, "cannot make an event descriptor");
}

static void wake_receiver(void) {
    uint64_t one = 1;

    if (wake_fd >= 0 && write(wake_fd, &one, sizeof one) < 0)
        return; /* already awake */
}

static void drain_wake(void) {
    uint64_t count;

    if (read(wake_fd, &count, sizeof count) < 0)
        return; /* somebody else was faster */
}

static struct paho_socket *find_socket(int fd) {
    size_t used = atomic_load_explicit(&sockets_used, memory_order_relaxed);

    for (size_t i = 0; i < used; i++)
        if (atomic_load_explicit(&sockets[i].fd, memory_order_relaxed) == fd)
            return &sockets[i];
    return NULL;
}

struct paho_link *paho_socket_link(int fd) {
    struct paho_socket *socket = find_socket(fd);

    return socket != NULL ? socket->link : NULL;
}

static struct paho_socket *take_socket(int fd) {
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        if (atomic_load(&sockets[i].fd) != 0)
            continue;
        sockets[i].at = 0;
        sockets[i].link = NULL;
        atomic_store(&sockets[i].ready, 0);
        atomic_store(&sockets[i].connecting, true);
        atomic_store(&sockets[i].paused, false);
        atomic_store(&sockets[i].fd, fd);
        if (i >= atomic_load(&sockets_used))
            atomic_store(&sockets_used, i + 1);
        return &sockets[i];
    }
    return NULL;
}

/* Paho sets none of these; with Nagle on, acknowledgements after the first were seen 40 ms late. */
static void set_socket_options(int fd, unsigned user_timeout_ms) {
    const int on = 1, idle_s = 15, interval_s = 5, probes = 4;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    if (user_timeout_ms > 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
}

/* 0, or -1 with errno. */
static int bind_socket(int fd, int family, const char *from) {
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

    if (family == AF_INET && inet_pton(AF_INET, from, &v4.sin_addr) == 1)
        return bind(fd, (const struct sockaddr *)&v4, sizeof v4);
    if (family == AF_INET6 && inet_pton(AF_INET6, from, &v6.sin6_addr) == 1)
        return bind(fd, (const struct sockaddr *)&v6, sizeof v6);
    errno = EADDRNOTAVAIL;
    return -1;
}

int paho_connect(int fd, const struct sockaddr *address, socklen_t len) {
    struct paho_link *link = paho_link_take_routed();
    struct paho_socket *socket = take_socket(fd);
    int rc;

    if (link == NULL)
        return connect(fd, address, len);
    if (socket == NULL) {
        /* Without its place in the table the link's acknowledgements could not be held. */
        paho_link_set_error(link, errno = EMFILE);
        return -1;
    }
    socket->link = link;
    link->own.fd = fd;
    link->own.net = NULL;
    link->own.leaving = false;
    link->own.hits = 0;
    link->own.malformed = false;
    link->own.unwritten = false;
    if (link->held != NULL)
        memset(link->held, 0, 65536 / 8);
    set_socket_options(fd, link->user_timeout_ms);
    rc = link->bind_address != NULL ? bind_socket(fd, address->sa_family, link->bind_address) : 0;
    if (rc == 0)
        rc = connect(fd, address, len);
    int error = errno;
    if (rc == 0 || error != EINPROGRESS)
        atomic_store(&socket->connecting, false);
    if (rc != 0 && error != EINPROGRESS)
        paho_link_set_error(link, error);
    wake_receiver();
    errno = error;
    return rc;
}

/* Paho asks for SO_ERROR to learn how a connect ended, and then forgets it. */
int paho_getsockopt(int fd, int level, int name, void *value, socklen_t *len) {
    int rc = getsockopt(fd, level, name, value, len);
    struct paho_socket *socket = find_socket(fd);

    if (rc != 0 || level != SOL_SOCKET || name != SO_ERROR || socket == NULL)
        return rc;
    atomic_store(&socket->connecting, false);
    if (socket->link != NULL && *(int *)value != 0)
        paho_link_set_error(socket->link, *(int *)value);
    return rc;
}

/* The socket's owner has no connection any more. True: the descriptor is kept for paho_link_linger. */
static bool unlink_socket(struct paho_link *link, int fd) {
    bool kept = link->own.leaving && link->own.left_fd < 0;

    link->own.fd = -1;
    link->own.net = NULL;
    link->own.leaving = false;
    if (kept)
        link->own.left_fd = fd;
    return kept;
}

int paho_close(int fd) {
    struct paho_socket *socket = find_socket(fd);
    bool kept = false;

    if (socket != NULL) {
        kept = socket->link != NULL && unlink_socket(socket->link, fd);
        socket->link = NULL;
        atomic_store(&socket->ready, 0);
        atomic_store(&socket->fd, 0);
    }
    return kept ? 0 : close(fd);
}

void paho_link_pause(struct paho_link *link, bool paused) {
    struct paho_socket *socket = link->own.fd > 0 ? find_socket(link->own.fd) : NULL;

    if (socket == NULL)
        return;
    atomic_store(&socket->paused, paused);
    if (!paused)
        wake_receiver();
}

/* ---- reading ahead: Paho reads a message in three pieces, the first of one byte, and polls twice for each ------- */

static ssize_t refill(struct paho_socket *socket, int fd, int flags) {
    if (socket->data == NULL && (socket->data = malloc(READ_AHEAD_BYTES)) == NULL) {
        errno = ENOMEM;
        return -1;
    }
    ssize_t got = recv(fd, socket->data, READ_AHEAD_BYTES, flags);
    socket->at = 0;
    atomic_store_explicit(&socket->ready, got > 0 ? (size_t)got : 0, memory_order_relaxed);
    plenty = got >= READ_AHEAD_BYTES / 4;
    return got;
}

ssize_t paho_recv(int fd, void *data, size_t len, int flags) {
    struct paho_socket *socket = len > 0 ? find_socket(fd) : NULL;
    size_t ready;

    if (socket == NULL)
        return recv(fd, data, len, flags);
    ready = atomic_load_explicit(&socket->ready, memory_order_relaxed);
    if (ready == 0) {
        if (len >= READ_AHEAD_BYTES / 2)
            return recv(fd, data, len, flags);
        ssize_t got = refill(socket, fd, flags);
        if (got <= 0)
            return got;
        ready = (size_t)got;
    }
    if (len > ready)
        len = ready;
    memcpy(data, socket->data + socket->at, len);
    socket->at += len;
    atomic_store_explicit(&socket->ready, ready - len, memory_order_relaxed);
    return (ssize_t)len;
}

static bool is_paused(const struct paho_socket *socket) {
    return atomic_load_explicit(&socket->paused, memory_order_relaxed);
}

/* Sockets with bytes read ahead are ready to read, and to write where that is asked, without a system call. */
static int poll_read_ahead(struct pollfd *fds, nfds_t count) {
    int ready = 0;

    for (nfds_t i = 0; i < count; i++) {
        struct paho_socket *socket = find_socket(fds[i].fd);
        fds[i].revents = 0;
        if (socket == NULL || is_paused(socket) || atomic_load_explicit(&socket->ready, memory_order_relaxed) == 0)
            continue;
        fds[i].revents = fds[i].events & (POLLIN | POLLOUT);
        ready += fds[i].revents != 0;
    }
    return ready;
}

static bool is_connecting(int fd) {
    struct paho_socket *socket = find_socket(fd);

    return socket != NULL && atomic_load_explicit(&socket->connecting, memory_order_relaxed);
}

/* Paho asks who can be written to. A socket that has just been connected is to be looked at now, not after the wait to
 * come. */
static int poll_writable(struct pollfd *fds, nfds_t count) {
    int ready = poll(fds, count, 0);

    for (nfds_t i = 0; ready > 0 && i < count; i++)
        if (fds[i].revents != 0 && is_connecting(fds[i].fd))
            no_wait = true;
    return ready;
}

/* Paho waits for something to read. We wait for new sockets and for the ends of connects too, and then say that there
 * is nothing. */
static int poll_readable(struct pollfd *fds, nfds_t count, int timeout_ms) {
    struct pollfd watched[SOCKETS_MAX + 1];
    int ready;

    memcpy(watched, fds, count * sizeof *fds);
    for (nfds_t i = 0; i < count; i++) {
        struct paho_socket *socket = find_socket(fds[i].fd);
        if (is_connecting(fds[i].fd))
            watched[i].events |= POLLOUT;
        if (socket != NULL && is_paused(socket))
            watched[i].events &= (short)~POLLIN;
    }
    watched[count] = (struct pollfd){ .fd = wake_fd, .events = POLLIN };
    ready = poll(watched, count + 1, no_wait ? 0 : timeout_ms);
    no_wait = false;
    for (nfds_t i = 0; i < count; i++) {
        fds[i].revents = (short)(watched[i].revents & ~POLLOUT);
        ready -= watched[i].revents == POLLOUT;
    }
    if (ready > 0 && watched[count].revents != 0) {
        drain_wake();
        ready--;
    }
    no_sleep = ready == 0; /* we have waited long enough */
    return ready;
}

/*
 * A broker writes one packet at a time, and a fast reader is woken for each. When the last packets came less than a millisecond
 * ago there is load, and a nap of less than half of that lets several packets share a wake-up and a recv. Measured with
 * Mosquitto at full speed: a third of the receive thread's CPU time. A lone message is not delayed at all, nor is a stream that
 * fills the buffer anyhow.
 */
static void gather(void) {
    const int64_t busy_ns = NS_PER_MS;
    const struct timespec nap = { 0, 400 * NS_PER_US };
    int64_t now = clock_mono_ns();

    if (!plenty && now - last_ready_ns < busy_ns)
        nanosleep(&nap, NULL);
    last_ready_ns = clock_mono_ns();
}

int paho_poll(struct pollfd *fds, nfds_t count, int timeout_ms) {
    int ready = poll_read_ahead(fds, count);

    is_receiver = true;
    if (ready > 0)
        return ready;
    if (timeout_ms == 0)
        return poll_writable(fds, count);
    if (wake_fd < 0 || count > SOCKETS_MAX)
        return poll(fds, count, timeout_ms);
    ready = poll_readable(fds, count, timeout_ms);
    if (ready > 0)
        gather();
    return ready;
}

/* Paho's threads end within a fraction of a millisecond, as a rule; the naps grow in case they do not. */
static void nap(int longest_ms) {
    bool in_a_row = clock_mono_ns() - nap_ended_ns < 10 * NS_PER_MS;

    nap_ms = in_a_row && nap_ms > 0 ? nap_ms * 2 : 1;
    if (nap_ms > longest_ms)
        nap_ms = longest_ms;
    poll(NULL, 0, nap_ms);
    nap_ended_ns = clock_mono_ns();
}

/*
 * Paho sleeps 0.1 s whenever a poll brought nothing, which a message would have to wait for; only with nothing to poll
 * at all there is a reason to. Another thread that sleeps waits for Paho's threads to end: the one is in a poll, the
 * other waits for up to a second.
 */
int paho_usleep(unsigned microseconds) {
    struct pollfd wake = { .fd = wake_fd, .events = POLLIN };

    if (!is_receiver) {
        wake_receiver();
        Thread_signal_cond(send_cond);
        nap((int)(microseconds / 1000));
        return 0;
    }
    if (!no_sleep && poll(&wake, 1, (int)(microseconds / 1000)) > 0)
        drain_wake();
    no_sleep = false;
    return 0;
}
