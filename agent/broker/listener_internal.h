/* agent/broker/listener_internal.h: addresses and listening sockets (listener_socket.c), for listener*.c alone. */
#ifndef HELIOGRAF_BROKER_LISTENER_INTERNAL_H
#define HELIOGRAF_BROKER_LISTENER_INTERNAL_H

#include <sys/socket.h>
#include <sys/types.h>

#include "agent/base/err.h"
#include "agent/base/str.h"
#include "agent/broker/transport.h"

/* An address as it is written, taken apart; borrowed. */
struct listener_address {
    const char *unix_path; /* NULL: TCP */
    struct str host;       /* empty: every address of this machine */
    const char *port;
};

struct listener_socket {
    int fd; /* -1: none */
    uint16_t port;
    char *unix_path; /* NULL: TCP */
    dev_t device;    /* of the Unix socket, to know it again */
    ino_t inode;
};

bool listener_parse_address(const char *text, struct listener_address *address, struct err *err);
/* By its text: a name that only looks like 127.0.0.1 is none; localhost is held to it when it is bound. */
bool listener_address_is_loopback(const struct listener_address *address);
/* "0660": octal, at most 0777. */
bool listener_parse_mode(const char *text, mode_t *mode);

/* Non-blocking, listening; accepted sockets inherit no-delay, keep-alive and time-outs from it. */
bool listener_socket_open(struct listener_socket *socket, const char *address, const char *mode, struct err *err);
/* Removes the Unix socket's file, if it is still this one. Fine when it is not open. */
void listener_socket_close(struct listener_socket *socket);

/* Whom accept() has let in. */
void listener_describe_peer(const struct sockaddr_storage *from, struct transport_peer *peer);

#endif
