/* agent/base/crc32c.c: see crc32c.h. */
#include "agent/base/crc32c.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* 0x1EDC6F41 with its bits reversed */

/* Written once, by the first who needs it, and the same for everybody. */
static uint32_t tables[8][256];
static pthread_once_t tables_made = PTHREAD_ONCE_INIT;

static void make_tables(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        tables[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int slice = 1; slice < 8; slice++)
            tables[slice][i] = tables[slice - 1][i] >> 8 ^ tables[0][tables[slice - 1][i] & 255];
}

static uint32_t one_byte(uint32_t crc, uint8_t byte) {
    return crc >> 8 ^ tables[0][(crc ^ byte) & 255];
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len) {
    const uint8_t *at = data;

    pthread_once(&tables_made, make_tables);
    crc = ~crc;
    for (; len >= 8; len -= 8, at += 8) {
        uint32_t low = crc ^ ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
        crc = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^ tables[5][low >> 16 & 255] ^ tables[4][low >> 24] ^
              tables[3][at[4]] ^ tables[2][at[5]] ^ tables[1][at[6]] ^ tables[0][at[7]];
    }
    for (; len > 0; len--)
        crc = one_byte(crc, *at++);
    return ~crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

static int has_instruction(void) {
    return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const void *data, size_t len) {
    const uint8_t *at = data;
    uint64_t sum = ~crc;

    for (; len >= 8; len -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        sum = _mm_crc32_u64(sum, word);
    }
    for (; len > 0; len--)
        sum = _mm_crc32_u8((uint32_t)sum, *at++);
    return ~(uint32_t)sum;
}

#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <sys/auxv.h>

static int has_instruction(void) {
    const unsigned long hwcap_crc32 = 1UL << 7; /* HWCAP_CRC32 of <asm/hwcap.h> */
    return (getauxval(AT_HWCAP) & hwcap_crc32) != 0;
}

__attribute__((target("+crc"))) static uint32_t by_instruction(uint32_t crc, const void *data, size_t len) {
    const uint8_t *at = data;
    uint32_t sum = ~crc;

    for (; len >= 8; len -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        sum = __crc32cd(sum, word);
    }
    for (; len > 0; len--)
        sum = __crc32cb(sum, *at++);
    return ~sum;
}

#else

static int has_instruction(void) {
    return 0;
}

static uint32_t by_instruction(uint32_t crc, const void *data, size_t len) {
    return crc32c_portable(crc, data, len);
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t len) {
    return has_instruction() ? by_instruction(crc, data, len) : crc32c_portable(crc, data, len);
}
