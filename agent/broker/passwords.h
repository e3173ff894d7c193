/*
 * agent/broker/passwords.h: a password file in Mosquitto's format: `user:hash` lines, hashes `$6$` (salted SHA-512), `$7$`
 * (PBKDF2 with SHA-512) and `$argon2id$` where the library is there. A loaded file is an immutable snapshot with counted
 * references, so that checking, which is slow on purpose, may run on another thread while the file is loaded again.
 */
#ifndef HELIOGRAF_BROKER_PASSWORDS_H
#define HELIOGRAF_BROKER_PASSWORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/base/str.h"

struct passwords;

/* NULL with words that name file and line: unreadable, readable by others (a warning only: `loose` is set), a malformed line, a user twice, an unknown kind of hash. */
struct passwords *passwords_load(const char *path, bool *loose, struct err *err);
struct passwords *passwords_ref(struct passwords *passwords);
void passwords_unref(struct passwords *passwords); /* NULL is fine; wipes what it frees */
size_t passwords_count(const struct passwords *passwords);

/* Whether the user is in the file and this is the password. Takes as long for a user who is not. Any thread. */
bool passwords_check(const struct passwords *passwords, struct str user, struct str password);
/* Whether checking this user takes long enough (over a millisecond) that it should not be done on the loop. */
bool passwords_is_slow(const struct passwords *passwords, struct str user);

/* For `heliograf passwd`. */
enum password_kind { PASSWORD_PBKDF2, PASSWORD_ARGON2ID, PASSWORD_SHA512 };
bool password_kind_available(enum password_kind kind);
/* Appends the hash with a fresh random salt. `cost`: PBKDF2's iterations, Argon2's passes; 0: the default. */
bool password_hash(enum password_kind kind, struct str password, unsigned cost, struct buf *out, struct err *err);

#endif
