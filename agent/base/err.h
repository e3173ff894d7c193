/*
 * agent/base/err.h: why a call failed, in words for an operator. The first failure wins: a later err_set on the same
 * `struct err` keeps the first text. No allocation; a struct err may live on the stack of any thread.
 */
#ifndef HELIOGRAF_BASE_ERR_H
#define HELIOGRAF_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

#define PRINTF_LIKE(format_at, args_at) __attribute__((format(printf, format_at, args_at)))

enum err_code {
    ERR_NONE = 0,
    ERR_SYNTAX,      /* the bytes are not what the format says */
    ERR_LIMIT,       /* a maximum was hit */
    ERR_TYPE,        /* well-formed, but of the wrong kind */
    ERR_MISSING,     /* something that must be there is not */
    ERR_UNSUPPORTED, /* understood, and not something we do */
    ERR_IO,          /* the system refused: file, socket, thread */
    ERR_NETWORK,     /* a remote did not answer as it should */
    ERR_FULL,        /* no room now, later perhaps */
};

struct err {
    enum err_code code;
    char text[240];
};

#define ERR_INIT { .code = ERR_NONE, .text = "" }

/* Always returns false, so that a failing function can end with `return err_set(...)`. `err` may be NULL. */
bool err_set(struct err *err, enum err_code code, const char *format, ...) PRINTF_LIKE(3, 4);

/* As err_set, with ": " and the words for `error_number` (errno) added; code ERR_IO. */
bool err_set_errno(struct err *err, int error_number, const char *format, ...) PRINTF_LIKE(3, 4);

static inline void err_clear(struct err *err) {
    err->code = ERR_NONE;
    err->text[0] = '\0';
}

/* Snake-case name for metrics' `reason` label and for dead letters: "syntax", "limit", ... */
const char *err_code_name(enum err_code code);

#endif
