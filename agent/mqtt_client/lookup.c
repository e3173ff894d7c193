/* agent/mqtt_client/lookup.c: see lookup.h. */
#include "agent/mqtt_client/lookup.h"

#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Owned by its asker and by its thread; whoever lets go last frees it. */
struct lookup {
    _Atomic int owners;
    _Atomic bool done; /* what follows is written before, and does not change any more */
    char addresses[LOOKUP_ADDRESSES_MAX][64];
    size_t count;
    int error; /* getaddrinfo's */
    int wake_fd;
    char host[];
};

void lookup_free(struct lookup *lookup) {
    if (lookup == NULL || atomic_fetch_sub(&lookup->owners, 1) > 1)
        return;
    close(lookup->wake_fd);
    free(lookup);
}

static void *look_up(void *ctx) {
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct lookup *lookup = ctx;
    struct addrinfo *found = NULL;
    const uint64_t one = 1;

    lookup->error = getaddrinfo(lookup->host, NULL, &hints, &found);
    for (struct addrinfo *at = lookup->error == 0 ? found : NULL; at != NULL && lookup->count < LOOKUP_ADDRESSES_MAX;
         at = at->ai_next)
        if (getnameinfo(at->ai_addr, at->ai_addrlen, lookup->addresses[lookup->count], sizeof lookup->addresses[0], NULL,
                        0, NI_NUMERICHOST) == 0)
            lookup->count++;
    if (lookup->error == 0)
        freeaddrinfo(found);
    atomic_store(&lookup->done, true);
    if (write(lookup->wake_fd, &one, sizeof one) < 0) {
        /* its counter is full, so that it is readable already */
    }
    lookup_free(lookup);
    return NULL;
}

struct lookup *lookup_start(const char *host, int wake_fd) {
    struct lookup *lookup = calloc(1, sizeof *lookup + strlen(host) + 1);
    pthread_t thread;

    if (lookup == NULL)
        return NULL;
    strcpy(lookup->host, host);
    lookup->wake_fd = fcntl(wake_fd, F_DUPFD_CLOEXEC, 3);
    atomic_store(&lookup->owners, 2);
    if (pthread_create(&thread, NULL, look_up, lookup) == 0) {
        pthread_detach(thread);
        return lookup;
    }
    close(lookup->wake_fd);
    free(lookup);
    return NULL;
}

bool lookup_done(struct lookup *lookup, char (*addresses)[64], size_t *count, char *why, size_t why_size) {
    if (!atomic_load(&lookup->done))
        return false;
    memcpy(addresses, lookup->addresses, lookup->count * sizeof lookup->addresses[0]);
    *count = lookup->count;
    if (lookup->count == 0)
        snprintf(why, why_size, "host %.100s: %s", lookup->host,
                 lookup->error != 0 ? gai_strerror(lookup->error) : "no usable address");
    return true;
}
