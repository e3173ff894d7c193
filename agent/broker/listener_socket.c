/* agent/broker/listener_socket.c: from an address as it is written to a listening socket. */
#include "agent/broker/listener_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 4096, /* the kernel's net.core.somaxconn may be lower */
    /* A peer that has gone without a word is noticed after two minutes, with keep alive 0 too. */
    KEEPALIVE_IDLE_S = 60,
    KEEPALIVE_INTERVAL_S = 20,
    KEEPALIVE_PROBES = 3,
    /* The same for one that owes us the receipt of data, or does not make room for it. */
    UNACKNOWLEDGED_MS = 120 * 1000,
};

/* ---- addresses -------------------------------------------------------------------------------------------------- */

static bool split_host(struct str text, struct listener_address *address) {
    if (str_starts_with(text, STR("[")) && str_ends_with(text, STR("]"))) {
        address->host = str_make(text.data + 1, text.len - 2);
        return address->host.len > 0;
    }
    address->host = text;
    return text.len == 0 || memchr(text.data, ':', text.len) == NULL; /* a bare ::1:1883 could be read two ways */
}

bool listener_parse_address(const char *text, struct listener_address *address, struct err *err) {
    const char *colon = strrchr(text, ':');
    uint64_t port;

    *address = (struct listener_address){ .host = STR_EMPTY };
    if (strncmp(text, "unix:", 5) == 0) {
        address->unix_path = text + 5;
        if (text[5] != '/')
            return err_set(err, ERR_SYNTAX, "'%s': a Unix socket is written with its whole path: unix:/run/heliograf.sock", text);
        if (strlen(text + 5) >= sizeof(((struct sockaddr_un *)0)->sun_path))
            return err_set(err, ERR_LIMIT, "the path of a Unix socket has at most %zu bytes, '%s' is longer",
                           sizeof(((struct sockaddr_un *)0)->sun_path) - 1, text);
        return true;
    }
    if (colon == NULL || !split_host(str_make(text, (size_t)(colon - text)), address) || address->host.len > 253)
        return err_set(err, ERR_SYNTAX,
                       "'%s' is not host:port; write 127.0.0.1:1883, [::1]:1883, :1883 (all) or unix:/run/heliograf.sock", text);
    address->port = colon + 1;
    if (!str_to_uint64(str_of(address->port), &port) || port > 65535 || address->port[0] == '+')
        return err_set(err, ERR_SYNTAX, "'%s': port '%s' is not 0 to 65535", text, address->port);
    return true;
}

static bool is_loopback4(struct in_addr address) {
    return ntohl(address.s_addr) >> 24 == 127;
}

bool listener_address_is_loopback(const struct listener_address *address) {
    char host[64];
    struct in_addr v4;
    struct in6_addr v6;

    if (address->unix_path != NULL || str_eq_c(address->host, "localhost"))
        return true;
    if (address->host.len >= sizeof host)
        return false;
    memcpy(host, address->host.data, address->host.len);
    host[address->host.len] = '\0';
    return (inet_pton(AF_INET, host, &v4) == 1 && is_loopback4(v4)) || (inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6));
}

bool listener_parse_mode(const char *text, mode_t *mode) {
    mode_t bits = 0;

    if (strlen(text) > 4 || text[0] == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '7')
            return false;
        bits = bits * 8 + (mode_t)(*text - '0');
    }
    *mode = bits;
    return bits <= 0777;
}

/* An IPv4 client of a socket for both families is shown as what it is. */
static void describe6(const struct sockaddr_in6 *from, struct transport_peer *peer) {
    struct in_addr v4;

    peer->port = ntohs(from->sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&from->sin6_addr)) {
        memcpy(&v4, from->sin6_addr.s6_addr + 12, sizeof v4);
        inet_ntop(AF_INET, &v4, peer->address, sizeof peer->address);
        peer->loopback = is_loopback4(v4);
        return;
    }
    inet_ntop(AF_INET6, &from->sin6_addr, peer->address, sizeof peer->address);
    peer->loopback = IN6_IS_ADDR_LOOPBACK(&from->sin6_addr);
}

void listener_describe_peer(const struct sockaddr_storage *from, struct transport_peer *peer) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;

    if (from->ss_family == AF_INET6) {
        describe6((const struct sockaddr_in6 *)from, peer);
    } else if (from->ss_family == AF_INET) {
        peer->port = ntohs(v4->sin_port);
        inet_ntop(AF_INET, &v4->sin_addr, peer->address, sizeof peer->address);
        peer->loopback = is_loopback4(v4->sin_addr);
    } else {
        memcpy(peer->address, "unix", sizeof "unix");
        peer->loopback = true;
    }
}

/* ---- TCP -------------------------------------------------------------------------------------------------------- */

static void set_int(int fd, int level, int option, int value) {
    setsockopt(fd, level, option, &value, sizeof value); /* none of them is worth refusing to start */
}

static void set_tcp_options(int fd) {
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS);
}

/* A listening socket, or -1 with errno. */
static int listen_at(const struct addrinfo *at, bool both_families) {
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error;

    if (fd < 0)
        return -1;
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (at->ai_family == AF_INET6)
        set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, !both_families);
    set_tcp_options(fd);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Without a host one IPv6 socket serves both families; where there is no IPv6, IPv4 alone. */
static int listen_at_any(const struct addrinfo *list, bool both_families) {
    int fd = -1;

    errno = 0;
    for (const struct addrinfo *at = list; both_families && fd < 0 && at != NULL; at = at->ai_next)
        if (at->ai_family == AF_INET6)
            fd = listen_at(at, true);
    if (both_families && fd < 0 && errno == EADDRINUSE)
        return -1;
    for (const struct addrinfo *at = list; fd < 0 && at != NULL; at = at->ai_next)
        fd = listen_at(at, false);
    return fd;
}

static uint16_t bound_port(int fd) {
    struct sockaddr_storage at;
    socklen_t len = sizeof at;

    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return 0;
    return ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port : ((struct sockaddr_in *)&at)->sin_port);
}

/* What is let in without a password must not be reachable because of an odd line in /etc/hosts. */
static bool is_where_it_should(int fd, const char *text, const struct listener_address *address, struct err *err) {
    struct transport_peer self = { .port = 0 };
    struct sockaddr_storage at;
    socklen_t len = sizeof at;

    if (!listener_address_is_loopback(address))
        return true;
    if (getsockname(fd, (struct sockaddr *)&at, &len) == 0)
        listener_describe_peer(&at, &self);
    return self.loopback || err_set(err, ERR_UNSUPPORTED, "cannot listen on %s: that name is %s here, which is no loopback address",
                                    text, self.address);
}

static bool cannot_listen(const char *address, struct err *err) {
    const char *remedy = "";
    int error = errno;

    if (error == EADDRINUSE)
        remedy = "; another broker has it, or a second copy of this one: end that, or change the listener's address";
    else if (error == EACCES)
        remedy = "; ports below 1024 are for root, or need CAP_NET_BIND_SERVICE";
    else if (error == EADDRNOTAVAIL)
        remedy = "; this machine has no such address (yet)";
    return err_set(err, ERR_IO, "cannot listen on %s: %s%s", address, strerror(error), remedy);
}

static bool open_tcp(struct listener_socket *to, const char *text, const struct listener_address *address, struct err *err) {
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *list;
    char host[254];
    int error;

    memcpy(host, address->host.data, address->host.len);
    host[address->host.len] = '\0';
    error = getaddrinfo(host[0] != '\0' ? host : NULL, address->port, &hints, &list);
    if (error != 0)
        return err_set(err, ERR_IO, "cannot listen on %s: %s", text, gai_strerror(error));
    to->fd = listen_at_any(list, host[0] == '\0');
    freeaddrinfo(list);
    if (to->fd < 0)
        return cannot_listen(text, err);
    to->port = bound_port(to->fd);
    return is_where_it_should(to->fd, text, address, err);
}

/* ---- Unix socket ------------------------------------------------------------------------------------------------ */

/* What a process that was killed has left is removed; the socket of one that lives is not. */
static bool make_way(const struct sockaddr_un *at, struct err *err) {
    struct stat status;
    int fd, error;

    if (lstat(at->sun_path, &status) != 0)
        return true; /* bind will say what else is wrong */
    if (!S_ISSOCK(status.st_mode))
        return err_set(err, ERR_IO, "cannot listen on unix:%s: there is something else at that place", at->sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot listen on unix:%s", at->sun_path);
    error = connect(fd, (const struct sockaddr *)at, sizeof *at) == 0 ? 0 : errno;
    close(fd);
    if (error != ECONNREFUSED)
        return err_set(err, ERR_IO, "cannot listen on unix:%s: another process has it", at->sun_path);
    unlink(at->sun_path);
    return true;
}

static bool open_unix(struct listener_socket *to, const char *path, const char *mode_text, struct err *err) {
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    struct stat status;
    mode_t mode = 0660;

    if (mode_text != NULL && mode_text[0] != '\0' && !listener_parse_mode(mode_text, &mode))
        return err_set(err, ERR_SYNTAX, "socket_mode '%s' is not octal, as 0660", mode_text);
    memcpy(at.sun_path, path, strlen(path) + 1);
    if (!make_way(&at, err))
        return false;
    to->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Linux makes the file with the mode that the socket has, less the umask: at no moment is it open to more. */
    if (to->fd < 0 || fchmod(to->fd, mode) != 0 || bind(to->fd, (struct sockaddr *)&at, sizeof at) != 0)
        return err_set_errno(err, errno, "cannot listen on unix:%s", path);
    to->unix_path = strdup(path);
    if (to->unix_path == NULL || lstat(path, &status) != 0 || chmod(path, mode) != 0 || listen(to->fd, BACKLOG) != 0)
        return err_set_errno(err, errno, "cannot listen on unix:%s", path);
    to->device = status.st_dev;
    to->inode = status.st_ino;
    return true;
}

/* ---- both ------------------------------------------------------------------------------------------------------- */

bool listener_socket_open(struct listener_socket *to, const char *text, const char *mode_text, struct err *err) {
    struct listener_address address;

    *to = (struct listener_socket){ .fd = -1 };
    if (!listener_parse_address(text, &address, err))
        return false;
    if (address.unix_path == NULL && open_tcp(to, text, &address, err))
        return true;
    if (address.unix_path != NULL && open_unix(to, address.unix_path, mode_text, err))
        return true;
    listener_socket_close(to);
    return false;
}

void listener_socket_close(struct listener_socket *at) {
    struct stat status;

    if (at->fd < 0)
        return;
    close(at->fd);
    if (at->unix_path != NULL && lstat(at->unix_path, &status) == 0 && status.st_dev == at->device && status.st_ino == at->inode)
        unlink(at->unix_path);
    free(at->unix_path);
    *at = (struct listener_socket){ .fd = -1 };
}
