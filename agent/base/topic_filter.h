/*
 * agent/base/topic_filter.h: MQTT topic filters (MQTT 5 sections 4.7 and 4.8.2): `+` is one level, `#` at the end is
 * this level and all below, a leading wildcard matches no topic that starts with `$`, and `$share/group/filter` matches
 * what `filter` does. All functions are pure and thread-safe. Matching takes filters that topic_filter_valid accepted.
 */
#ifndef HELIOGRAF_BASE_TOPIC_FILTER_H
#define HELIOGRAF_BASE_TOPIC_FILTER_H

#include "agent/base/err.h"
#include "agent/base/str.h"

#define TOPIC_MAX_BYTES 65535

/* What is wrong with the wildcards and the share of a filter; its bytes are taken as they are. */
enum topic_filter_fault {
    TOPIC_FILTER_FINE,
    TOPIC_FILTER_EMPTY,
    TOPIC_FILTER_BAD_HASH,         /* `a#`, `a/#/b` */
    TOPIC_FILTER_BAD_PLUS,         /* `a+`, `++` */
    TOPIC_FILTER_NO_GROUP,         /* `$share//a`, `$share/+/a` */
    TOPIC_FILTER_NO_SHARED_FILTER, /* `$share/g`, `$share/g/` */
};
enum topic_filter_fault topic_filter_fault(struct str filter);

/* False with ERR_SYNTAX, in words: empty, too long, not UTF-8, a wildcard that shares its level, `#` not last, bad
 * `$share`. */
bool topic_filter_valid(struct str filter, struct err *err);

/* The filter behind `$share/group/`, or the filter itself. */
struct str topic_filter_strip_share(struct str filter);

/* The group of `$share/group/filter`; data == NULL when the filter is not shared. */
struct str topic_filter_group(struct str filter);

bool topic_filter_match(struct str filter, struct str topic);

/* True when every topic that `b` matches is matched by `a` as well, so that `b` beside `a` only makes duplicates. */
bool topic_filter_covers(struct str a, struct str b);

#endif
