/* agent/broker/password_hash.c: computing and comparing digests. The only includer of OpenSSL's digests and of libargon2. */
#include "agent/broker/password_hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#ifdef HELIOGRAF_ARGON2
#include <argon2.h>
#endif

enum {
    PASSWORD_MAX = 65535, /* MQTT 5 section 1.5.6, binary data */
    SHA512_BYTES = 64,
    /* 12 bytes is what Mosquitto 2.0 takes, and nothing else. */
    MOSQUITTO_SALT = 12,
    /* Mosquitto 2.1's. It makes a device's random password safe, and a thousand devices that come back at once cost a second. */
    PBKDF2_ITERATIONS = 1000,
    /* OWASP's second choice: as hard as 46 MiB and one pass, and a gateway has the memory. */
    ARGON2_MEMORY_KIB = 19456,
    ARGON2_PASSES = 2,
    ARGON2_SALT = 16,
    ARGON2_DIGEST = 32,
    /* An iteration takes 0.4 us on a server, and some 5 us on a small gateway: more than these may be over a millisecond. */
    QUICK_ITERATIONS = 200,
};

void password_wipe(void *bytes, size_t len) {
    if (len > 0)
        OPENSSL_cleanse(bytes, len);
}

/* The password, then the salt, through SHA-512 once. */
static bool compute_sha512(const struct password_hash *hash, struct str password, uint8_t *digest) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context != NULL && EVP_DigestInit_ex(context, EVP_sha512(), NULL) == 1 &&
              EVP_DigestUpdate(context, password.data, password.len) == 1 &&
              EVP_DigestUpdate(context, hash->salt, hash->salt_len) == 1 && EVP_DigestFinal_ex(context, digest, NULL) == 1;

    EVP_MD_CTX_free(context);
    return ok;
}

static bool compute_pbkdf2(const struct password_hash *hash, struct str password, uint8_t *digest) {
    return PKCS5_PBKDF2_HMAC(password.data, (int)password.len, hash->salt, hash->salt_len, (int)hash->cost, EVP_sha512(), hash->digest_len,
                             digest) == 1;
}

static bool compute_argon2id(const struct password_hash *hash, struct str password, uint8_t *digest) {
#ifdef HELIOGRAF_ARGON2
    return argon2id_hash_raw(hash->cost, hash->memory_kib, hash->lanes, password.data, password.len, hash->salt, hash->salt_len, digest,
                             hash->digest_len) == ARGON2_OK;
#else
    (void)hash;
    (void)password;
    (void)digest;
    return false;
#endif
}

bool password_kind_available(enum password_kind kind) {
#ifdef HELIOGRAF_ARGON2
    (void)kind;
    return true;
#else
    return kind != PASSWORD_ARGON2ID;
#endif
}

bool password_hash_compute(const struct password_hash *hash, struct str password, uint8_t digest[PASSWORD_DIGEST_MAX]) {
    if (password.len > PASSWORD_MAX)
        return false;
    if (password.data == NULL)
        password = STR_EMPTY;
    if (hash->kind == PASSWORD_PBKDF2)
        return compute_pbkdf2(hash, password, digest);
    if (hash->kind == PASSWORD_ARGON2ID)
        return compute_argon2id(hash, password, digest);
    return compute_sha512(hash, password, digest);
}

bool password_hash_matches(const struct password_hash *hash, struct str password) {
    uint8_t digest[PASSWORD_DIGEST_MAX];
    bool same = password_hash_compute(hash, password, digest) && CRYPTO_memcmp(digest, hash->digest, hash->digest_len) == 0;

    password_wipe(digest, sizeof digest);
    return same;
}

bool password_hash_is_slow(const struct password_hash *hash) {
    return hash->kind == PASSWORD_ARGON2ID || (hash->kind == PASSWORD_PBKDF2 && hash->cost > QUICK_ITERATIONS);
}

bool password_cost_valid(enum password_kind kind, unsigned cost, struct err *err) {
    unsigned max = kind == PASSWORD_ARGON2ID ? PASSWORD_MEMORY_PASSES_MAX_KIB / ARGON2_MEMORY_KIB : PASSWORD_ITERATIONS_MAX;

    if (!password_kind_available(kind))
        return err_set(err, ERR_UNSUPPORTED, "this program was built without Argon2: install libargon2-dev and build it again");
    if (kind == PASSWORD_SHA512 && cost != 0)
        return err_set(err, ERR_UNSUPPORTED, "sha512 has no iterations to choose");
    if (cost > max)
        return err_set(err, ERR_LIMIT, "iterations must be 1 to %u", max);
    return true;
}

bool password_hash(enum password_kind kind, struct str password, unsigned cost, struct buf *out, struct err *err) {
    struct password_hash hash = { .kind = (uint8_t)kind, .cost = cost, .salt_len = MOSQUITTO_SALT, .digest_len = SHA512_BYTES };
    bool ok;

    if (!password_cost_valid(kind, cost, err))
        return false;
    if (password.len > PASSWORD_MAX)
        return err_set(err, ERR_LIMIT, "a password has at most %d bytes", PASSWORD_MAX);
    if (kind == PASSWORD_PBKDF2 && cost == 0)
        hash.cost = PBKDF2_ITERATIONS;
    if (kind == PASSWORD_ARGON2ID) {
        hash.cost = cost != 0 ? cost : ARGON2_PASSES;
        hash.memory_kib = ARGON2_MEMORY_KIB;
        hash.lanes = 1;
        hash.salt_len = ARGON2_SALT;
        hash.digest_len = ARGON2_DIGEST;
    }
    if (RAND_bytes(hash.salt, hash.salt_len) != 1)
        return err_set(err, ERR_IO, "the system gives no random bytes");
    ok = password_hash_compute(&hash, password, hash.digest) && password_hash_print(&hash, out);
    password_wipe(&hash, sizeof hash);
    if (!ok)
        return err_set(err, ERR_LIMIT, "no memory for the hash");
    return true;
}
