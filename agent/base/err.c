/* agent/base/err.c: see err.h. */
#include "agent/base/err.h"

#include <stdio.h>
#include <string.h>

static void set(struct err *err, enum err_code code, const char *format, va_list args) PRINTF_LIKE(3, 0);

static void set(struct err *err, enum err_code code, const char *format, va_list args) {
    if (err == NULL || err->code != ERR_NONE)
        return;
    err->code = code;
    vsnprintf(err->text, sizeof err->text, format, args);
}

bool err_set(struct err *err, enum err_code code, const char *format, ...) {
    va_list args;

    va_start(args, format);
    set(err, code, format, args);
    va_end(args);
    return false;
}

bool err_set_errno(struct err *err, int error_number, const char *format, ...) {
    va_list args;
    bool first = err != NULL && err->code == ERR_NONE;

    va_start(args, format);
    set(err, ERR_IO, format, args);
    va_end(args);
    if (first) {
        size_t used = strlen(err->text);
        char words[96];
        /* The POSIX form of strerror_r, as _GNU_SOURCE is not defined. */
        if (strerror_r(error_number, words, sizeof words) != 0)
            snprintf(words, sizeof words, "error %d", error_number);
        snprintf(err->text + used, sizeof err->text - used, ": %s", words);
    }
    return false;
}

const char *err_code_name(enum err_code code) {
    switch (code) {
    case ERR_NONE:
        return "none";
    case ERR_SYNTAX:
        return "syntax";
    case ERR_LIMIT:
        return "limit";
    case ERR_TYPE:
        return "type";
    case ERR_MISSING:
        return "missing";
    case ERR_UNSUPPORTED:
        return "unsupported";
    case ERR_IO:
        return "io";
    case ERR_NETWORK:
        return "network";
    case ERR_FULL:
        return "full";
    }
    return "unknown";
}
