/*
 * agent/base/sip_hash.h: SipHash-1-3 (Aumasson and Bernstein, 2012), a hash with a secret key, for tables whose keys strangers
 * choose: who does not know the key cannot make keys that fall together. str_hash is faster and open to that. Thread-safe.
 */
#ifndef HELIOGRAF_BASE_SIP_HASH_H
#define HELIOGRAF_BASE_SIP_HASH_H

#include "agent/base/str.h"

struct sip_key {
    uint64_t k0, k1;
};

/* A fresh key from the kernel; where there is none to be had, a weaker one from clock and addresses. */
struct sip_key sip_key_random(void);

/* The same on every machine. */
uint64_t sip_hash(struct sip_key key, struct str text);

#endif
