/*
 * agent/broker/password_text.c: the text form of a hash, as mosquitto_passwd writes it: `$6$` and `$7$` with padded base64, and the PHC
 * string format of Argon2 with base64 that is not padded. Read strictly: one text, one hash.
 */
#include "agent/broker/password_hash.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int base64_digit(char c) {
    const char *at = c != '\0' ? strchr(alphabet, c) : NULL;

    return at != NULL ? (int)(at - alphabet) : -1;
}

/* RFC 4648 section 4; no blanks, bits that are not used are zero. The number of bytes, 0 when it is not base64 or more than `max`. */
static size_t base64_read(struct str text, bool padded, uint8_t *out, size_t max) {
    uint32_t bits = 0;
    unsigned count = 0;
    size_t len = 0;

    if (padded && text.len % 4 != 0)
        return 0;
    for (int pad = 0; padded && pad < 2 && text.len > 0 && text.data[text.len - 1] == '='; pad++)
        text.len--;
    if (text.len % 4 == 1)
        return 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = base64_digit(text.data[i]);
        if (digit < 0)
            return 0;
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count < 8)
            continue;
        count -= 8;
        if (len == max)
            return 0;
        out[len++] = (uint8_t)(bits >> count);
        bits &= (1U << count) - 1;
    }
    return bits == 0 ? len : 0;
}

static void base64_print(const uint8_t *bytes, size_t len, bool padded, struct buf *out) {
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t bits = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
        size_t digits = left > 2 ? 4 : left + 1;

        for (size_t digit = 0; digit < digits; digit++)
            buf_append_char(out, alphabet[bits >> (18 - 6 * digit) & 63]);
        for (; padded && digits < 4; digits++)
            buf_append_char(out, '=');
    }
}

/* Whole text: a decimal number without sign or zeros in front. */
static bool read_number(struct str text, uint64_t *out) {
    if (text.len == 0 || text.data[0] < '0' || text.data[0] > '9' || (text.data[0] == '0' && text.len > 1))
        return false;
    return str_to_uint64(text, out);
}

static bool read_ends(struct str *rest, bool padded, struct password_hash *hash, struct err *err) {
    struct str salt = rest->data != NULL ? str_split(rest, '$') : STR_EMPTY;
    struct str digest = rest->data != NULL ? *rest : STR_EMPTY;

    hash->salt_len = (uint8_t)base64_read(salt, padded, hash->salt, sizeof hash->salt);
    if (hash->salt_len < PASSWORD_SALT_MIN)
        return err_set(err, ERR_SYNTAX, "the hash's salt is not %d to %d bytes in base64", PASSWORD_SALT_MIN, PASSWORD_SALT_MAX);
    hash->digest_len = (uint8_t)base64_read(digest, padded, hash->digest, sizeof hash->digest);
    if (hash->digest_len < (hash->kind == PASSWORD_ARGON2ID ? PASSWORD_DIGEST_MIN : PASSWORD_DIGEST_MAX))
        return err_set(err, ERR_SYNTAX, "what follows the hash's salt is not %s%d bytes in base64",
                       hash->kind == PASSWORD_ARGON2ID ? "16 to " : "", PASSWORD_DIGEST_MAX);
    return true;
}

static bool read_pbkdf2(struct str rest, struct password_hash *hash, struct err *err) {
    uint64_t iterations;

    hash->kind = PASSWORD_PBKDF2;
    if (!read_number(str_split(&rest, '$'), &iterations) || iterations < 1 || iterations > PASSWORD_ITERATIONS_MAX)
        return err_set(err, ERR_LIMIT, "the hash's iterations must be 1 to %d", PASSWORD_ITERATIONS_MAX);
    hash->cost = (uint32_t)iterations;
    return read_ends(&rest, true, hash, err);
}

/* `m=47104`; moves on behind it. */
static bool read_parameter(struct str *rest, const char *name, uint64_t max, uint64_t *out) {
    struct str part = rest->data != NULL ? str_split(rest, ',') : STR_EMPTY;

    if (!str_starts_with(part, str_of(name)))
        return false;
    return read_number(str_make(part.data + strlen(name), part.len - strlen(name)), out) && *out >= 1 && *out <= max;
}

static bool read_argon2id(struct str rest, struct password_hash *hash, struct err *err) {
    struct str parameters;
    uint64_t memory, passes, lanes;

    hash->kind = PASSWORD_ARGON2ID;
    if (!password_kind_available(PASSWORD_ARGON2ID))
        return err_set(err, ERR_UNSUPPORTED, "this program was built without Argon2: install libargon2-dev and build it again");
    if (!str_eq_c(str_split(&rest, '$'), "v=19") || rest.data == NULL)
        return err_set(err, ERR_SYNTAX, "an Argon2 hash is written $argon2id$v=19$m=..,t=..,p=..$salt$hash");
    parameters = str_split(&rest, '$');
    if (!read_parameter(&parameters, "m=", PASSWORD_MEMORY_MAX_KIB, &memory))
        return err_set(err, ERR_LIMIT, "the hash's memory (m=) must be 1 to %d KiB", PASSWORD_MEMORY_MAX_KIB);
    if (!read_parameter(&parameters, "t=", PASSWORD_MEMORY_PASSES_MAX_KIB / memory, &passes))
        return err_set(err, ERR_LIMIT, "the hash's passes (t=) must be at least 1, and times memory at most %d KiB", PASSWORD_MEMORY_PASSES_MAX_KIB);
    if (!read_parameter(&parameters, "p=", PASSWORD_LANES_MAX, &lanes) || parameters.data != NULL || memory < 8 * lanes)
        return err_set(err, ERR_LIMIT, "the hash's lanes (p=) must be 1 to %d, and 8 KiB of memory for each", PASSWORD_LANES_MAX);
    hash->memory_kib = (uint32_t)memory;
    hash->cost = (uint32_t)passes;
    hash->lanes = (uint8_t)lanes;
    return read_ends(&rest, false, hash, err);
}

bool password_hash_read(struct str text, struct password_hash *hash, struct err *err) {
    struct str rest = text, kind;

    *hash = (struct password_hash){ .kind = PASSWORD_SHA512 };
    if (text.len == 0 || text.data[0] != '$')
        return err_set(err, ERR_SYNTAX, "no hash; `heliograf passwd -U FILE` turns passwords in plain text into hashes");
    str_split(&rest, '$');
    kind = str_split(&rest, '$');
    if (rest.data == NULL)
        rest = STR_EMPTY;
    if (str_eq_c(kind, "7"))
        return read_pbkdf2(rest, hash, err);
    if (str_eq_c(kind, "argon2id"))
        return read_argon2id(rest, hash, err);
    if (str_eq_c(kind, "6"))
        return read_ends(&rest, true, hash, err);
    return err_set(err, ERR_UNSUPPORTED, "a hash of a kind that is not known; there is $6$, $7$ and $argon2id$");
}

bool password_is_hash(struct str text) {
    struct password_hash hash;
    struct err err = ERR_INIT;
    bool is_hash = password_hash_read(text, &hash, &err);

    password_wipe(&hash, sizeof hash);
    return is_hash;
}

bool password_hash_print(const struct password_hash *hash, struct buf *out) {
    bool padded = hash->kind != PASSWORD_ARGON2ID;
    size_t before = out->len;

    if (hash->kind == PASSWORD_SHA512)
        buf_printf(out, "$6$");
    else if (hash->kind == PASSWORD_PBKDF2)
        buf_printf(out, "$7$%u$", (unsigned)hash->cost);
    else
        buf_printf(out, "$argon2id$v=19$m=%u,t=%u,p=%u$", (unsigned)hash->memory_kib, (unsigned)hash->cost, (unsigned)hash->lanes);
    base64_print(hash->salt, hash->salt_len, padded, out);
    buf_append_char(out, '$');
    base64_print(hash->digest, hash->digest_len, padded, out);
    if (out->failed)
        out->len = before;
    return !out->failed;
}
