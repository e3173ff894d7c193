/*
 * agent/mqtt_client/paho_wraps.c: see paho_wraps.h. Facts about Paho 1.3.12 that this file rests on:
 * - one send and one receive thread per process; connect, close and recv happen under `mqttasync_mutex`, poll does not;
 * - MQTTPacket_send_puback(version, id, net, client) is called right after the message's callback has returned; `net`
 *   starts with the socket, an int, which is 0 once closed; in MQTT 5 MQTTPacket_send_pubrec likewise, and also, without a
 *   callback, for a message that comes again with an identifier that is not released yet;
 * - a PUBLISH that cannot be written makes processCommand free topic and payload although a message in its list of what is to be
 *   sent again, and for QoS 0 `pending_write`, still point to them;
 * - a socket is looked up (getaddrinfo) and connected by the send thread in one go.
 * What stands here is process-wide because Paho is.
 */
#include "agent/mqtt_client/paho_wraps.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/mqtt_client/paho_seam.h"

enum {
    SPLIT_WAIT_MS = 1000, /* for the last bytes of an acknowledgement that was cut */
    ACKS_AT_ONCE = 1024,
    ACK_BYTES = 4,
    PAHO_SOCKET_ERROR = -1,
};

/* Paho's side of the seam; these names are in its archive but in none of its public headers. */
extern pthread_mutex_t *mqttasync_mutex, *socket_mutex;
void MQTTAsync_lock_mutex(pthread_mutex_t *mutex);
void MQTTAsync_unlock_mutex(pthread_mutex_t *mutex);
int Socket_noPendingWrites(int socket);
void MQTTAsync_freeCommands(void *handle);
int MQTTPacket_send_puback(int version, int id, void *net, const char *client);
int MQTTPacket_send_pubrec(int version, int id, void *net, const char *client);
int MQTTPacket_send_publish(void *publish, int dup, int qos, int retained, void *net, const char *client);
void *MQTTPacket_Factory(int version, void *net, int *error);

/* Our side: called by Paho's objects under these names. */
int paho_MQTTPacket_send_puback(int version, int id, void *net, const char *client);
int paho_MQTTPacket_send_pubrec(int version, int id, void *net, const char *client);
int paho_MQTTPacket_send_publish(void *publish, int dup, int qos, int retained, void *net, const char *client);
void *paho_MQTTPacket_Factory(int version, void *net, int *error);
int paho_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out);

static pthread_mutex_t links_lock = PTHREAD_MUTEX_INITIALIZER; /* the list, `asked` and `error` */
static pthread_cond_t links_changed = PTHREAD_COND_INITIALIZER;
static struct paho_link *links;
static struct paho_link *routed; /* looked up and about to be connected, by the send thread */

bool paho_wraps_init(struct err *err) {
    return paho_sockets_init(err);
}

bool paho_wraps_used(void) {
    return paho_quiet_used();
}

/* ---- links ------------------------------------------------------------------------------------------------------ */

void paho_link_add(struct paho_link *link) {
    memset(&link->own, 0, sizeof link->own);
    link->own.fd = link->own.left_fd = -1;
    pthread_mutex_lock(&links_lock);
    link->own.next = links;
    links = link;
    pthread_mutex_unlock(&links_lock);
}

void paho_link_remove(struct paho_link *link) {
    if (link->own.left_fd >= 0)
        close(link->own.left_fd);
    link->own.left_fd = -1;
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

void paho_link_set_error(struct paho_link *link, int error) {
    pthread_mutex_lock(&links_lock);
    link->own.error = error;
    pthread_mutex_unlock(&links_lock);
}

/* A name that a source has looked up already, on its own thread: Paho waits for no name server while it holds its lock.
 */
int paho_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
    char address[sizeof((struct paho_link *)0)->own.address];

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

struct paho_link *paho_link_take_routed(void) {
    struct paho_link *link = routed;

    routed = NULL;
    return link;
}

void paho_forget_commands(void *handle) {
    paho_lock();
    MQTTAsync_freeCommands(handle);
    paho_unlock();
}

void paho_lock(void) {
    MQTTAsync_lock_mutex(mqttasync_mutex);
}

void paho_unlock(void) {
    MQTTAsync_unlock_mutex(mqttasync_mutex);
}

/* ---- leaving ---------------------------------------------------------------------------------------------------- */

void paho_link_leave(struct paho_link *link) {
    link->own.leaving = true;
}

/* False at the end of what the broker sends. */
static bool skip_input(int fd) {
    char sink[16384];
    ssize_t got = recv(fd, sink, sizeof sink, MSG_DONTWAIT);

    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

void paho_link_linger(struct paho_link *link, int timeout_ms) {
    int64_t until = clock_mono_ns() + timeout_ms * NS_PER_MS, left;

    paho_lock();
    struct pollfd readable = { .fd = link->own.left_fd, .events = POLLIN };
    link->own.left_fd = -1;
    paho_unlock();
    if (readable.fd < 0)
        return;
    shutdown(readable.fd, SHUT_WR);
    while ((left = until - clock_mono_ns()) > 0)
        if (poll(&readable, 1, (int)((left + NS_PER_MS - 1) / NS_PER_MS)) > 0 && !skip_input(readable.fd))
            break;
    close(readable.fd);
}

/* ---- packets ---------------------------------------------------------------------------------------------------- */

/* Reads a packet when a whole one is there. NULL otherwise, and for one that is malformed. */
void *paho_MQTTPacket_Factory(int version, void *net, int *error) {
    int fd = *(int *)net;

    paho_packet_begin();
    void *packet = MQTTPacket_Factory(version, net, error);
    bool begun = paho_packet_end(packet != NULL);
    struct paho_link *link = begun && packet == NULL && fd > 0 ? paho_socket_link(fd) : NULL;
    if (link != NULL)
        link->own.malformed = true;
    return packet;
}

/* ---- acknowledgements ------------------------------------------------------------------------------------------- */

/*
 * Paho would acknowledge now. A source's message is not acknowledged here: its callback has noted the packet, and the
 * source's own thread sends the PUBACK when the spool has the message. A client that is not a source goes on as ever.
 */
int paho_MQTTPacket_send_puback(int version, int id, void *net, const char *client) {
    int fd = *(int *)net;
    struct paho_link *link = fd > 0 ? paho_socket_link(fd) : NULL;

    if (fd <= 0)
        return 0; /* closed meanwhile: descriptor 0 is somebody else's */
    if (link == NULL)
        return MQTTPacket_send_puback(version, id, net, client);
    link->own.net = net;
    link->own.hits++;
    return 0;
}

/* The same for a message whose callback has marked its identifier. */
int paho_MQTTPacket_send_pubrec(int version, int id, void *net, const char *client) {
    int fd = *(int *)net;
    struct paho_link *link = fd > 0 ? paho_socket_link(fd) : NULL;
    uint8_t bit = (uint8_t)(1 << id % 8);

    if (fd <= 0)
        return 0;
    if (link == NULL || link->held == NULL || (link->held[id / 8] & bit) == 0)
        return MQTTPacket_send_pubrec(version, id, net, client);
    link->held[id / 8] &= (uint8_t)~bit;
    link->own.net = net;
    return 0;
}

/*
 * A message that cannot be written is not told to Paho, which would free what it still points to. The connection is of no use any
 * more: its end, which the receive thread is about to find, brings the message back as any other without an answer.
 */
int paho_MQTTPacket_send_publish(void *publish, int dup, int qos, int retained, void *net, const char *client) {
    int rc = MQTTPacket_send_publish(publish, dup, qos, retained, net, client), fd = *(int *)net;
    struct paho_link *link = fd > 0 ? paho_socket_link(fd) : NULL;

    if (link == NULL || rc != PAHO_SOCKET_ERROR)
        return rc;
    link->own.unwritten = qos == 0;
    shutdown(fd, SHUT_RDWR);
    return 0; /* complete */
}

static bool has_unsent(int fd) {
    MQTTAsync_lock_mutex(socket_mutex);
    bool unsent = !Socket_noPendingWrites(fd);
    MQTTAsync_unlock_mutex(socket_mutex);
    return unsent;
}

/* The rest of a packet must follow its beginning before anybody else writes; if it cannot, the connection is of no use.
 */
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

static size_t acknowledge_plain(int fd, enum paho_ack ack, const uint16_t *ids, size_t count) {
    char packets[ACKS_AT_ONCE * ACK_BYTES];

    for (size_t i = 0; i < count; i++) {
        /* The same four bytes in MQTT 3.1.1 and 5.0 (3.4 and 3.5: reason code 0 and no properties may be left out). */
        const char packet[ACK_BYTES] = { (char)ack, 2, (char)(ids[i] >> 8), (char)(ids[i] & 0xff) };
        memcpy(packets + i * ACK_BYTES, packet, ACK_BYTES);
    }
    ssize_t sent = send(fd, packets, count * ACK_BYTES, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent <= 0)
        return 0;
    size_t cut = (size_t)sent % ACK_BYTES;
    if (cut > 0)
        send_rest(fd, packets + sent, ACK_BYTES - cut);
    return ((size_t)sent + ACK_BYTES - 1) / ACK_BYTES;
}

/* TLS and websocket: Paho frames and buffers; what it could not write at once it writes later. */
static size_t acknowledge_framed(struct paho_link *link, enum paho_ack ack, const uint16_t *ids, size_t count) {
    int (*const send_ack)(int, int, void *, const char *) = ack == PAHO_PUBACK ? MQTTPacket_send_puback : MQTTPacket_send_pubrec;
    size_t sent = 0;

    while (sent < count && !has_unsent(link->own.fd)) {
        if (send_ack(link->version, ids[sent], link->own.net, "") == -1)
            break;
        sent++;
    }
    return sent;
}

size_t paho_link_acknowledge(struct paho_link *link, enum paho_ack ack, const uint16_t *ids, size_t count) {
    int fd = link->own.fd;

    if (fd <= 0 || link->own.net == NULL || *(int *)link->own.net != fd || has_unsent(fd))
        return 0;
    if (!link->plain)
        return acknowledge_framed(link, ack, ids, count);
    return acknowledge_plain(fd, ack, ids, count < ACKS_AT_ONCE ? count : ACKS_AT_ONCE);
}
