/*
 * config/diag.h: every complaint about one configuration, printed in file order. Lines and columns count from 1.
 * Nothing stops at the first error: all of them are collected, then the start is refused.
 */
#ifndef HELIOGRAF_CONFIG_DIAG_H
#define HELIOGRAF_CONFIG_DIAG_H

#include <stdio.h>

#include "agent/base/err.h"

struct src_pos {
    const char *file; /* lives as long as the diags' owner: the configuration's arena; NULL: no file, e.g. a default */
    unsigned line, column; /* 0: the file as a whole */
};

enum diag_level { DIAG_ERROR, DIAG_WARNING };

enum { DIAG_TEXT_MAX = 240 };

struct diag {
    struct src_pos at;
    enum diag_level level;
    char text[DIAG_TEXT_MAX];
};

/* A configuration with more mistakes than this is another kind of file; the rest is counted only. */
enum { DIAGS_MAX = 500 };

struct diags {
    struct diag *items;
    size_t count, cap, errors, warnings, unshown;
};

void diags_release(struct diags *diags); /* safe on a zeroed one */

/*
 * Prints as `plant.yaml:14:13: error: route 'plc': unknown parser 'jsn'; known: json, value`. The same complaint about
 * the same place counts once. Control bytes become blanks, a text that is too long ends in `...`.
 */
void diag_add(struct diags *diags, struct src_pos at, const char *format, ...) PRINTF_LIKE(3, 4);
void diag_warn(struct diags *diags, struct src_pos at, const char *format, ...) PRINTF_LIKE(3, 4);

/* Sorted by file, line and column. */
void diags_print(struct diags *diags, FILE *to);

#endif
