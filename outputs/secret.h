/*
 * outputs/secret.h: a token or password that may live in a file, and may change there while we run. Thread-safe after
 * init. Never logged, never part of an error.
 */
#ifndef HELIOGRAF_OUTPUTS_SECRET_H
#define HELIOGRAF_OUTPUTS_SECRET_H

#include <pthread.h>
#include <stdint.h>
#include <sys/stat.h>

#include "agent/base/buf.h"

#define SECRET_MAX 8192

struct secret {
    char *value, *file; /* options, borrowed; NULL or empty: not set. The file wins */
    pthread_mutex_t lock;
    bool ready; /* the lock is there */
    struct buf current;
    struct stat seen;   /* the file as it was when read */
    int64_t checked_ns; /* mono; when the file was last looked at */
};

/* Reads the file once. After a failure secret_fini is still fine. */
bool secret_init(struct secret *secret, const char *what, struct err *err);
void secret_fini(struct secret *secret); /* safe on a zeroed one */

/*
 * Replaces `out` by the secret; empty when there is none. Looks at the file's time stamp at most every 2 s, or now when
 * `check_now`, and reads it again when it changed. A file that has become unreadable leaves the last secret in force.
 */
void secret_get(struct secret *secret, bool check_now, struct buf *out);

#endif
