/*
 * agent/base/crc32c.h: CRC-32C (Castagnoli), as iSCSI, ext4 and the spool use it: with the machine's own instruction
 * where it has one, found at run time, else eight bytes at a time from tables. Thread-safe.
 */
#ifndef HELIOGRAF_BASE_CRC32C_H
#define HELIOGRAF_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Start with 0, or with any 32 bits that the sum is to be salted with; go on with what the last call returned. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* The portable form, for tests and for machines without the instruction. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
