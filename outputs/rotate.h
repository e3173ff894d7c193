/*
 * outputs/rotate.h: gives a file that is written to a new name, and deletes the oldest of such archives. The names are
 * Telegraf's: `metrics.out` becomes `metrics.2026-11-22-1795470000.out`.
 */
#ifndef HELIOGRAF_OUTPUTS_ROTATE_H
#define HELIOGRAF_OUTPUTS_ROTATE_H

#include <stdint.h>

#include "agent/base/err.h"

/* Renames `path`; an archive that has the name already is never replaced. */
bool rotate_file(const char *path, int64_t now_ns, struct err *err);

/*
 * Deletes the oldest archives of `path` until `keep` are left; a negative `keep` keeps all. Other files are never
 * touched.
 */
bool rotate_purge(const char *path, int64_t keep, struct err *err);

#endif
