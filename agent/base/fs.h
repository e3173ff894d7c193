/*
 * agent/base/fs.h: small whole-file helpers. Errors name the path.
 */
#ifndef HELIOGRAF_BASE_FS_H
#define HELIOGRAF_BASE_FS_H

#include "agent/base/buf.h"
#include "agent/base/err.h"

/* Appends the file's bytes to `out`; fails on more than the buffer's maximum. */
bool fs_read_file(const char *path, struct buf *out, struct err *err);

/* A secret from a file: as fs_read_file, then one trailing newline (or CRLF) is removed. */
bool fs_read_secret(const char *path, struct buf *out, struct err *err);

/* All of it, over short writes and interruptions. False: errno says why. */
bool fs_write_all(int file, struct str bytes);

/* Creates the directory and its parents with `mode`; fine when it is there already. */
bool fs_make_directories(const char *path, unsigned mode, struct err *err);

/* Whether somebody holds the directory's flock now. False also when that cannot be known. Holds it for a moment itself. */
bool fs_is_locked(const char *directory);

/* Run by root, for somebody else's directory: the file is given to whoever owns the directory. */
void fs_adopt(int file, int directory);

#endif
