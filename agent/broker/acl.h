/*
 * agent/broker/acl.h: who may publish and subscribe to what: a file in Mosquitto's format (`user`, `topic`, `pattern` with %c and
 * %u, `deny`), or the same rules written in the configuration. A loaded one is an immutable snapshot with counted references.
 * What no rule allows is denied. Without an ACL at all everything is allowed, but for `$SYS` and `$CONTROL`.
 */
#ifndef HELIOGRAF_BROKER_ACL_H
#define HELIOGRAF_BROKER_ACL_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/err.h"
#include "agent/base/str.h"
#include "config/schema.h"

struct acl;

enum acl_action {
    ACL_PUBLISH,   /* write: the topic of a PUBLISH, of a will, of a delayed message (the inner topic) */
    ACL_RECEIVE,   /* read: a message on its way to the client, live, retained, queued or replayed */
    ACL_SUBSCRIBE, /* the filter of a SUBSCRIBE: allowed when a rule's filter covers it, or, as Mosquitto does, when no rule denies it outright (see acl.c) */
};

/* Rules in the configuration: `broker.acl: [{ user: NAME | anonymous: true | everybody: true, allow|deny: [publish|subscribe|all ...], topics: [...] }]` */
struct acl_rule {
    struct cfg_strings user, allow, deny, topics;
    bool anonymous, everybody;
};
extern const struct cfg_field acl_rule_options[];

/* An empty file denies everything. NULL with words that name file and line. */
struct acl *acl_load(const char *path, struct err *err);
/* From the configuration; complaints go to diags at their places. NULL then. */
struct acl *acl_from_rules(const struct cfg_objects *rules, struct diags *diags);
struct acl *acl_ref(struct acl *acl);
void acl_unref(struct acl *acl); /* NULL is fine */

/*
 * `acl` NULL: no ACL. `user` empty: anonymous. User names and client ids that contain `+`, `#` or `/` match no pattern with %u or %c (CVE-2017-7650). Linear in the
 * rules that concern the user, no allocation. `share` filters are given without `$share/name/`.
 */
bool acl_allows(const struct acl *acl, enum acl_action action, struct str user, struct str client_id, struct str topic);

#endif
