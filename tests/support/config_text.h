/*
 * tests/support/config_text.h: for tests of configurations: YAML given as text, complaints as the text a person would
 * see.
 */
#ifndef HELIOGRAF_TESTS_CONFIG_TEXT_H
#define HELIOGRAF_TESTS_CONFIG_TEXT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/diag.h"

/* What diags_print writes; the caller frees it. */
static inline char *printed(struct diags *diags) {
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);

    diags_print(diags, to);
    fclose(to);
    return text;
}

#endif
