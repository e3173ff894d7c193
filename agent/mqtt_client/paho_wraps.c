/*
 * agent/mqtt_client/paho_wraps.c: see paho_wraps.h. Facts about Paho 1.3.12 that this file rests on:
 * - one send and one receive thread per process; connect, close and recv happen under `mqttasync_mutex`, poll does not;
 * - MQTTPacket_send_puback(version, id, net, client) is called right after the message's callback has returned; `net`
 *   starts with the socket, an int, which is 0 once closed;
 * - a socket is looked up (getaddrinfo) and connected by the send thread in one go.
 * What stands here is process-wide because Paho is.
 */
#include "agent/mqtt_client/paho_wraps.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/base/clock.h"

enum {
    SOCKETS_MAX = 64,         /* connections of the process; one more is refused */
    READ_AHEAD_BYTES = 65536, /* per connection */
    SPLIT_WAIT_MS = 1000,     /* for the last bytes of an acknowledgement that was cut */
    ACKS_AT_ONCE = 1024,
    PUBACK_BYTES = 4,
    STRUCT_MAX_BYTES = 256,
};

/* Paho's side of the seam; these names are in its archive but in none of its public headers. */
extern pthread_mutex_t *mqttasync_mutex, *socket_mutex;
void MQTTAsync_lock_mutex(pthread_mutex_t *mutex);
void MQTTAsync_unlock_mutex(pthread_mutex_t *mutex);
int Socket_noPendingWrites(int socket);
extern void *send_cond;
int Thread_signal_cond(void *cond);
int MQTTPacket_send_puback(int version, int id, void *net, const char *client);

/* Our side: called by Paho's objects under these names. */
int paho_MQTTPacket_send_puback(int version, int id, void *net, const char *client);
ssize_t paho_recv(int fd, void *data, size_t len, int flags);
int paho_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int paho_close(int fd);
int paho_connect(int fd, const struct sockaddr *address, socklen_t len);
int paho_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int paho_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out);
int paho_usleep(unsigned microseconds);
char *paho_getenv(const char *name);
void paho_StackTrace_entry(const char *name, int line, int level);
void paho_StackTrace_exit(const char *name, int line, void *result, int level);
void *paho_mymalloc(char *file, int line, size_t size);
void *paho_myrealloc(char *file, int line, void *old, size_t size);
void paho_myfree(char *file, int line, void *old);

/*
 * A socket of Paho's and what was read from it ahead of need. Never freed, only reused: poll looks at `fd` and `ready` without
 * Paho's lock. The rest is touched under it.
 */
struct paho_socket {
    _Atomic int fd; /* 0: free */
    _Atomic size_t ready;
    _Atomic bool connecting;
    size_t at;
    char *data;
    struct paho_link *link; /* NULL: not a source's */
};

static struct paho_socket sockets[SOCKETS_MAX];
static _Atomic size_t sockets_used; /* no slot at or behind it was ever used */

static pthread_mutex_t links_lock = PTHREAD_MUTEX_INITIALIZER; /* the list, `asked` and `error` */
static pthread_cond_t links_changed = PTHREAD_COND_INITIALIZER;
static struct paho_link *links;
static struct paho_link *routed; /* looked up and about to be connected, by the send thread */

/* Ends the receive thread's wait when there is a new socket to watch; -1 before paho_wraps_init. */
static int wake_fd = -1;

/* Of the receive thread: its next sleep, and its next poll for reading, are to be left out. */
static _Thread_local bool is_receiver, no_sleep, no_wait;

bool paho_wraps_init(struct err *err) {
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

/* ---- links ------------------------------------------------------------------------------------------------------ */

void paho_link_add(struct paho_link *link) {
    memset(&link->own, 0, sizeof link->own);
    link->own.fd = -1;
    pthread_mutex_lock(&links_lock);
    link->own.next = links;
    links = link;
    pthread_mutex_unlock(&links_lock);
}

void paho_link_remove(struct paho_link *link) {
    pthread_mutex_lock(&links_lock);
    for (struct paho_link **at = &links; *at != NULL; at = &(*at)->own.next)
        if (*at == link) {
            *at = link->own.next;
            break;
        }
    pthread_cond_broadcast(&links_changed);
    pthread_mutex_unlock(&links_lock);
}

/* Paho hands an IPv6 address to getaddrinfo with or without its brackets. */
static bool same_host(const char *a, const char *b) {
    size_t a_len, b_len;

    a += a[0] == '[';
    b += b[0] == '[';
    a_len = strcspn(a, "]");
    b_len = strcspn(b, "]");
    return a_len == b_len && memcmp(a, b, a_len) == 0;
}

static struct paho_link *find_asked(const char *host) {
    for (struct paho_link *link = links; link != NULL; link = link->own.next)
        if (link->own.asked && same_host(link->host, host))
            return link;
    return NULL;
}

bool paho_link_route(struct paho_link *link, const char *address, int timeout_ms) {
    struct timespec until = clock_timespec(clock_real_ns() + timeout_ms * NS_PER_MS);
    int rc = 0;

    pthread_mutex_lock(&links_lock);
    while (rc == 0 && find_asked(link->host) != NULL)
        rc = pthread_cond_timedwait(&links_changed, &links_lock, &until);
    bool free_now = find_asked(link->host) == NULL;
    if (free_now) {
        strncpy(link->own.address, address, sizeof link->own.address - 1);
        link->own.error = 0;
        link->own.asked = true;
    }
    pthread_mutex_unlock(&links_lock);
    return free_now;
}

void paho_link_settle(struct paho_link *link) {
    pthread_mutex_lock(&links_lock);
    link->own.asked = false;
    pthread_cond_broadcast(&links_changed);
    pthread_mutex_unlock(&links_lock);
}

int paho_link_error(struct paho_link *link) {
    pthread_mutex_lock(&links_lock);
    int error = link->own.error;
    pthread_mutex_unlock(&links_lock);
    return error;
}

static void set_error(struct paho_link *link, int error) {
    pthread_mutex_lock(&links_lock);
    link->own.error = error;
    pthread_mutex_unlock(&links_lock);
}

void paho_lock(void) {
    MQTTAsync_lock_mutex(mqttasync_mutex);
}

void paho_unlock(void) {
    MQTTAsync_unlock_mutex(mqttasync_mutex);
}

/* ---- acknowledgements ------------------------------------------------------------------------------------------- */

static struct paho_socket *find_socket(int fd) {
    size_t used = atomic_load_explicit(&sockets_used, memory_order_relaxed);

    for (size_t i = 0; i < used; i++)
        if (atomic_load_explicit(&sockets[i].fd, memory_order_relaxed) == fd)
            return &sockets[i];
    return NULL;
}

/*
 * Paho would acknowledge now. A source's message is not acknowledged here: its callback has noted the packet, and the
 * source's own thread sends the PUBACK when the spool has the message. A client that is not a source goes on as ever.
 */
int paho_MQTTPacket_send_puback(int version, int id, void *net, const char *client) {
    int fd = *(int *)net;
    struct paho_socket *socket = fd > 0 ? find_socket(fd) : NULL;

    if (fd <= 0)
        return 0; /* closed meanwhile: descriptor 0 is somebody else's */
    if (socket == NULL || socket->link == NULL)
        return MQTTPacket_send_puback(version, id, net, client);
    socket->link->own.net = net;
    socket->link->own.hits++;
    return 0;
}

static bool has_unsent(int fd) {
    MQTTAsync_lock_mutex(socket_mutex);
    bool unsent = !Socket_noPendingWrites(fd);
    MQTTAsync_unlock_mutex(socket_mutex);
    return unsent;
}

/* The rest of a packet must follow its beginning before anybody else writes; if it cannot, the connection is of no use. */
static void send_rest(int fd, const char *data, size_t len) {
    struct pollfd writable = { .fd = fd, .events = POLLOUT };
    int64_t until = clock_mono_ns() + SPLIT_WAIT_MS * NS_PER_MS;

    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            len -= (size_t)sent;
        } else if ((errno != EAGAIN && errno != EINTR) || clock_mono_ns() > until) {
            shutdown(fd, SHUT_RDWR);
            return;
        } else {
            poll(&writable, 1, 10);
        }
    }
}

static size_t acknowledge_plain(int fd, const uint16_t *ids, size_t count) {
    char packets[ACKS_AT_ONCE * PUBACK_BYTES];

    for (size_t i = 0; i < count; i++) {
        /* The same four bytes in MQTT 3.1.1 and 5.0 (section 3.4: reason code 0 and no properties may be left out). */
        const char puback[PUBACK_BYTES] = { 0x40, 2, (char)(ids[i] >> 8), (char)(ids[i] & 0xff) };
        memcpy(packets + i * PUBACK_BYTES, puback, PUBACK_BYTES);
    }
    ssize_t sent = send(fd, packets, count * PUBACK_BYTES, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent <= 0)
        return 0;
    size_t cut = (size_t)sent % PUBACK_BYTES;
    if (cut > 0)
        send_rest(fd, packets + sent, PUBACK_BYTES - cut);
    return ((size_t)sent + PUBACK_BYTES - 1) / PUBACK_BYTES;
}

/* TLS and websocket: Paho frames and buffers; what it could not write at once it writes later. */
static size_t acknowledge_framed(struct paho_link *link, const uint16_t *ids, size_t count) {
    size_t sent = 0;

    while (sent < count && !has_unsent(link->own.fd)) {
        if (MQTTPacket_send_puback(link->version, ids[sent], link->own.net, "") == -1)
            break;
        sent++;
    }
    return sent;
}

size_t paho_link_acknowledge(struct paho_link *link, const uint16_t *ids, size_t count) {
    int fd = link->own.fd;

    if (fd <= 0 || link->own.net == NULL || *(int *)link->own.net != fd || has_unsent(fd))
        return 0;
    if (!link->plain)
        return acknowledge_framed(link, ids, count);
    return acknowledge_plain(fd, ids, count < ACKS_AT_ONCE ? count : ACKS_AT_ONCE);
}

/* ---- sockets ---------------------------------------------------------------------------------------------------- */

static struct paho_socket *take_socket(int fd) {
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        if (atomic_load(&sockets[i].fd) != 0)
            continue;
        sockets[i].at = 0;
        sockets[i].link = NULL;
        atomic_store(&sockets[i].ready, 0);
        atomic_store(&sockets[i].connecting, true);
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

int paho_connect(int fd, const struct sockaddr *address, socklen_t len) {
    struct paho_link *link = routed;
    struct paho_socket *socket = take_socket(fd);
    int rc;

    routed = NULL;
    if (link == NULL)
        return connect(fd, address, len);
    if (socket == NULL) {
        /* Without its place in the table the link's acknowledgements could not be held. */
        set_error(link, errno = EMFILE);
        return -1;
    }
    socket->link = link;
    link->own.fd = fd;
    link->own.net = NULL;
    link->own.hits = 0;
    set_socket_options(fd, link->user_timeout_ms);
    rc = connect(fd, address, len);
    int error = errno;
    if (rc == 0 || error != EINPROGRESS)
        atomic_store(&socket->connecting, false);
    if (rc != 0 && error != EINPROGRESS)
        set_error(link, error);
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
        set_error(socket->link, *(int *)value);
    return rc;
}

int paho_close(int fd) {
    struct paho_socket *socket = find_socket(fd);

    if (socket != NULL) {
        if (socket->link != NULL) {
            socket->link->own.fd = -1;
            socket->link->own.net = NULL;
        }
        socket->link = NULL;
        atomic_store(&socket->ready, 0);
        atomic_store(&socket->fd, 0);
    }
    return close(fd);
}

/* A name that a source has looked up already, on its own thread: Paho waits for no name server while it holds its lock. */
int paho_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
    char address[sizeof ((struct paho_link *)0)->own.address];

    pthread_mutex_lock(&links_lock);
    routed = find_asked(node);
    if (routed != NULL) {
        memcpy(address, routed->own.address, sizeof address);
        routed->own.asked = false;
        pthread_cond_broadcast(&links_changed);
    }
    pthread_mutex_unlock(&links_lock);
    return getaddrinfo(routed != NULL ? address : node, service, hints, out);
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

/* Sockets with bytes read ahead are ready to read, and to write where that is asked, without a system call. */
static int poll_read_ahead(struct pollfd *fds, nfds_t count) {
    int ready = 0;

    for (nfds_t i = 0; i < count; i++) {
        struct paho_socket *socket = find_socket(fds[i].fd);
        fds[i].revents = 0;
        if (socket == NULL || atomic_load_explicit(&socket->ready, memory_order_relaxed) == 0)
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

/* Paho asks who can be written to. A socket that has just been connected is to be looked at now, not after the wait to come. */
static int poll_writable(struct pollfd *fds, nfds_t count) {
    int ready = poll(fds, count, 0);

    for (nfds_t i = 0; ready > 0 && i < count; i++)
        if (fds[i].revents != 0 && is_connecting(fds[i].fd))
            no_wait = true;
    return ready;
}

/* Paho waits for something to read. We wait for new sockets and for the ends of connects too, and then say that there is nothing. */
static int poll_readable(struct pollfd *fds, nfds_t count, int timeout_ms) {
    struct pollfd watched[SOCKETS_MAX + 1];
    int ready;

    memcpy(watched, fds, count * sizeof *fds);
    for (nfds_t i = 0; i < count; i++)
        if (is_connecting(fds[i].fd))
            watched[i].events |= POLLOUT;
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

int paho_poll(struct pollfd *fds, nfds_t count, int timeout_ms) {
    int ready = poll_read_ahead(fds, count);

    is_receiver = true;
    if (ready > 0)
        return ready;
    if (timeout_ms == 0)
        return poll_writable(fds, count);
    if (wake_fd < 0 || count > SOCKETS_MAX)
        return poll(fds, count, timeout_ms);
    return poll_readable(fds, count, timeout_ms);
}

/*
 * Paho sleeps 0.1 s whenever a poll brought nothing, which a message would have to wait for; only with nothing to poll at all
 * there is a reason to. Another thread that sleeps waits for Paho's threads to end: the one is in a poll, the other waits for up
 * to a second.
 */
int paho_usleep(unsigned microseconds) {
    struct pollfd wake = { .fd = wake_fd, .events = POLLIN };

    if (!is_receiver) {
        wake_receiver();
        Thread_signal_cond(send_cond);
        poll(NULL, 0, (int)(microseconds / 1000));
        return 0;
    }
    if (!no_sleep && poll(&wake, 1, (int)(microseconds / 1000)) > 0)
        drain_wake();
    no_sleep = false;
    return 0;
}

/* ---- what Paho does beside its work ----------------------------------------------------------------------------- */

/* http_proxy is for HTTP: Paho 1.3.12 sends even tcp://127.0.0.1 through it. Its trace variables would write to stdout. */
char *paho_getenv(const char *name) {
    (void)name;
    return NULL;
}

/* Paho's shadow call stack and its list of allocations take a lock and a tree node each time. */
void paho_StackTrace_entry(const char *name, int line, int level) {
    (void)name;
    (void)line;
    (void)level;
}

void paho_StackTrace_exit(const char *name, int line, void *result, int level) {
    (void)name;
    (void)line;
    (void)result;
    (void)level;
}

/*
 * Zeroed, where it may be a struct: Paho 1.3.12 frees the properties of a CONNACK that has none, which is what a 3.1.1 broker
 * answers to MQTT 5, without having set them.
 */
void *paho_mymalloc(char *file, int line, size_t size) {
    void *made = malloc(size);

    (void)file;
    (void)line;
    if (made != NULL && size <= STRUCT_MAX_BYTES)
        memset(made, 0, size); /* glibc's calloc passes by the thread's cache */
    return made;
}

void *paho_myrealloc(char *file, int line, void *old, size_t size) {
    (void)file;
    (void)line;
    return realloc(old, size);
}

void paho_myfree(char *file, int line, void *old) {
    (void)file;
    (void)line;
    free(old);
}
