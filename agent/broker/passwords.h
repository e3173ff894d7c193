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
#include "config/diag.h"

struct passwords;

enum { PASSWORDS_FILE_MAX = 64 << 20 }; /* bytes; some 300,000 users */

/*
 * One `user:hash` a line; lines that begin with `#` and empty ones are passed over, blanks around both parts belong to neither. NULL, with
 * every complaint at its line, when the file cannot be read or one line is not as it should be (CVE-2018-12551), a user is there twice, or
 * a hash is of a kind that this program does not know. Only a warning: others may read or change the file. `path` must live as long as
 * `diags`. No complaint quotes a hash.
 */
struct passwords *passwords_load(const char *path, struct diags *diags);
/* The same of a text; complaints name `name`. */
struct passwords *passwords_parse(const char *name, struct str text, struct diags *diags);
struct passwords *passwords_ref(struct passwords *passwords);
void passwords_unref(struct passwords *passwords); /* NULL is fine; wipes what it frees; any thread */
size_t passwords_count(const struct passwords *passwords);

/*
 * Whether the user is in the file and this is the password. A user who is not costs as much as one who is: the same stranger always as
 * much as the same one of the file's users. Any thread.
 */
bool passwords_check(const struct passwords *passwords, struct str user, struct str password);
/* Whether checking this user, or stranger, may take more than a millisecond, so that it should not be done on the loop. */
bool passwords_is_slow(const struct passwords *passwords, struct str user);

/* For `heliograf passwd`. */
enum password_kind { PASSWORD_PBKDF2, PASSWORD_ARGON2ID, PASSWORD_SHA512 };
bool password_kind_available(enum password_kind kind);
/* Whether `cost` is one for this kind (PBKDF2's iterations, Argon2's passes, none for SHA-512; 0: the default), and the kind is available. */
bool password_cost_valid(enum password_kind kind, unsigned cost, struct err *err);
/*
 * Appends the hash with a fresh random salt, in a form that Mosquitto takes: 2.0 and later, `$argon2id$` 2.1 and later.
 */
bool password_hash(enum password_kind kind, struct str password, unsigned cost, struct buf *out, struct err *err);
/* Whether the text is a hash of a known kind, and so no password in plain text. */
bool password_is_hash(struct str text);
/* Whether a password file can hold the name: UTF-8 without ':' and control characters, no '#' in front, no blank at an end, not empty. */
bool password_user_valid(struct str user, struct err *err);

/* Fills a secret's memory with zeros; the compiler does not leave it out. */
void password_wipe(void *bytes, size_t len);

#endif
