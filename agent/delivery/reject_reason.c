/* agent/delivery/reject_reason.c: see reject_reason.h. */
#include "agent/delivery/reject_reason.h"

static const struct {
    struct str phrase; /* lower case */
    enum reject_reason reason;
} phrases[] = {
    { STR_INIT("type conflict"), REJECT_TYPE_CONFLICT },       /* InfluxDB 1.x, 2.x */
    { STR_INIT("invalid column type"), REJECT_TYPE_CONFLICT }, /* 3.x */
    { STR_INIT("cast error"), REJECT_TYPE_CONFLICT },          /* QuestDB */
    { STR_INIT("type mismatch"), REJECT_TYPE_CONFLICT },       /* GreptimeDB */
    { STR_INIT("unable to parse"), REJECT_SYNTAX },            /* 1.x, 2.x */
    { STR_INIT("parsing error"), REJECT_SYNTAX },              /* 3.x */
    { STR_INIT("parse error"), REJECT_SYNTAX },                /* QuestDB, proxies */
    { STR_INIT("cannot parse"), REJECT_SYNTAX },               /* VictoriaMetrics */
    { STR_INIT("could not parse"), REJECT_SYNTAX },            /* 3.x */
    { STR_INIT("retention"), REJECT_RETENTION },               /* 1.x, 2.x */
    { STR_INIT("too large"), REJECT_TOO_LARGE },
    { STR_INIT("too long"), REJECT_TOO_LARGE },
    { STR_INIT("max-series-per-database"), REJECT_CARDINALITY }, /* 1.x */
    { STR_INIT("max-values-per-tag"), REJECT_CARDINALITY },      /* 1.x */
    { STR_INIT("cardinality"), REJECT_CARDINALITY },
};
enum { PHRASES = sizeof phrases / sizeof phrases[0] };

const char *reject_reason_name(enum reject_reason reason) {
    static const char *const names[REJECT_REASON_COUNT] = {
        [REJECT_OTHER] = "rejected",
        [REJECT_TYPE_CONFLICT] = "type_conflict",
        [REJECT_SYNTAX] = "syntax",
        [REJECT_RETENTION] = "retention",
        [REJECT_TOO_LARGE] = "too_large",
        [REJECT_CARDINALITY] = "cardinality",
        [REJECT_SERVER_ERROR] = "server_error",
        [REJECT_TARGET] = "target",
    };
    return names[reason];
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool begins(struct str text, size_t at, struct str phrase) {
    if (text.len - at < phrase.len)
        return false;
    for (size_t i = 0; i < phrase.len; i++)
        if (lower(text.data[at + i]) != phrase.data[i])
            return false;
    return true;
}

enum reject_reason reject_reason_of(int status, struct str words) {
    if (status == 413)
        return REJECT_TOO_LARGE;
    for (size_t at = 0; at < words.len; at++)
        for (size_t i = 0; i < PHRASES; i++)
            if (begins(words, at, phrases[i].phrase))
                return phrases[i].reason;
    return status >= 500 ? REJECT_SERVER_ERROR : REJECT_OTHER;
}
