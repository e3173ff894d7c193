/*
 * agent/delivery/reject_reason.h: why a line can never be stored, in few kinds: the `reason` of dead letters and
 * metrics.
 */
#ifndef HELIOGRAF_DELIVERY_REJECT_REASON_H
#define HELIOGRAF_DELIVERY_REJECT_REASON_H

#include "agent/base/str.h"

enum reject_reason {
    REJECT_OTHER,         /* "rejected": the server's words fit no kind below */
    REJECT_TYPE_CONFLICT, /* the field has another type in the database */
    REJECT_SYNTAX,        /* the server could not read the line */
    REJECT_RETENTION,     /* older than what the database keeps */
    REJECT_TOO_LARGE,     /* one line alone is over the server's limit */
    REJECT_CARDINALITY,   /* too many series or tag values */
    REJECT_SERVER_ERROR,  /* the server fails (5xx) on this line, again and again, and on no other */
    REJECT_TARGET,        /* the bucket or database that its tag names is not there, or not ours to write to */
    REJECT_REASON_COUNT,
};
const char *reject_reason_name(enum reject_reason reason);

/*
 * Pure: from the HTTP status and the server's words. The earliest known phrase wins, because servers quote our own line
 * after their words, and a measurement may be called "retention".
 */
enum reject_reason reject_reason_of(int status, struct str words);

#endif
