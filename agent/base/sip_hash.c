/* agent/base/sip_hash.c: see sip_hash.h. */
#include "agent/base/sip_hash.h"

#include <sys/random.h>

#include "agent/base/clock.h"

struct sip_state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t word, unsigned by) {
    return word << by | word >> (64 - by);
}

static inline void sip_round(struct sip_state *s) {
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static inline uint64_t load32(const unsigned char *at) {
    return at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 24;
}

/* The last 0 to 7 bytes, the first one lowest. Four and more are read as two words that overlap. */
static inline uint64_t load_tail(const unsigned char *at, size_t len) {
    if (len >= 4)
        return load32(at) | load32(at + len - 4) << 8 * (len - 4);
    if (len == 0)
        return 0;
    return at[0] | (uint64_t)at[len / 2] << 8 * (len / 2) | (uint64_t)at[len - 1] << 8 * (len - 1);
}

uint64_t sip_hash(struct sip_key key, struct str text) {
    const unsigned char *at = (const unsigned char *)text.data;
    struct sip_state s = {
        key.k0 ^ 0x736f6d6570736575ULL,
        key.k1 ^ 0x646f72616e646f6dULL,
        key.k0 ^ 0x6c7967656e657261ULL,
        key.k1 ^ 0x7465646279746573ULL,
    };
    uint64_t word;
    size_t left = text.len;

    for (; left >= 8; left -= 8, at += 8) {
        word = load32(at) | load32(at + 4) << 32;
        s.v3 ^= word;
        sip_round(&s);
        s.v0 ^= word;
    }
    word = load_tail(at, left) | (uint64_t)text.len << 56;
    s.v3 ^= word;
    sip_round(&s);
    s.v0 ^= word;
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

struct sip_key sip_key_random(void) {
    struct sip_key key;

    if (getrandom(&key, sizeof key, 0) == (ssize_t)sizeof key)
        return key;
    key.k0 = (uint64_t)clock_mono_ns() * 0x9E3779B97F4A7C15ULL;
    key.k1 = (uint64_t)(uintptr_t)&key ^ (uint64_t)clock_real_ns() << 20;
    return key;
}
