/*
 * agent/broker/password_hash.h: one hash of a password file: its text form (password_text.c), and the computing behind it
 * (password_hash.c, the only place with OpenSSL and libargon2). For passwords.c and its tests; others see passwords.h.
 */
#ifndef HELIOGRAF_BROKER_PASSWORD_HASH_H
#define HELIOGRAF_BROKER_PASSWORD_HASH_H

#include "agent/broker/passwords.h"

enum {
    PASSWORD_SALT_MIN = 8, /* Argon2's minimum (RFC 9106 section 3.1); Mosquitto has 12, from 2.1 on 64 */
    PASSWORD_SALT_MAX = 64,
    PASSWORD_DIGEST_MIN = 16, /* Argon2 only: SHA-512's has 64 */
    PASSWORD_DIGEST_MAX = 64,
    /* What one check may cost: about a second, and memory that a gateway has. A file that asks for more is a mistake, or an attack. */
    PASSWORD_ITERATIONS_MAX = 2000000,
    PASSWORD_MEMORY_MAX_KIB = 256 << 10,
    PASSWORD_MEMORY_PASSES_MAX_KIB = 1 << 20, /* memory times passes */
    PASSWORD_LANES_MAX = 16,
};

struct password_hash {
    uint8_t kind; /* enum password_kind */
    uint8_t salt_len, digest_len;
    uint8_t lanes;       /* Argon2's p */
    uint32_t cost;       /* PBKDF2's iterations, Argon2's t (passes); 0 for SHA-512 */
    uint32_t memory_kib; /* Argon2's m */
    uint8_t salt[PASSWORD_SALT_MAX], digest[PASSWORD_DIGEST_MAX];
};

/* Whole text or false: `$6$salt$digest`, `$7$iterations$salt$digest`, `$argon2id$v=19$m=..,t=..,p=..$salt$digest`. `err` never quotes it. */
bool password_hash_read(struct str text, struct password_hash *hash, struct err *err);
bool password_hash_print(const struct password_hash *hash, struct buf *out);

/* The digest of `password` with this salt and cost into `digest`, digest_len bytes. False: no memory, or no such library. */
bool password_hash_compute(const struct password_hash *hash, struct str password, uint8_t digest[PASSWORD_DIGEST_MAX]);
/* Compares in constant time. */
bool password_hash_matches(const struct password_hash *hash, struct str password);
bool password_hash_is_slow(const struct password_hash *hash);

#endif
