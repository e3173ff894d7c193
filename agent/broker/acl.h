/*
 * agent/broker/acl.h: who may publish and subscribe to what: a file in Mosquitto's format (`user`, `topic`, `pattern` with %c and
 * %u, `deny`), or the same rules written in the configuration. A loaded one is an immutable snapshot with counted references.
 *
 * What no rule allows is denied, and a denial counts more than whatever allows. Rules for a user, for clients without a user name, and for
 * everybody (`pattern`) add up. Differences from Mosquitto 2.0, all of which deny more, stand in acl.c.
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
    ACL_SUBSCRIBE, /* the filter of a SUBSCRIBE: denied only when denials cover all of it; it is ACL_RECEIVE that decides, as in Mosquitto */
};

/*
 * Rules in the configuration: `broker.acl: [{ user: NAME | users: [...] | anonymous: true | everybody: true, allow | deny: publish |
 * subscribe | all, topics: [...] }]`. In topics `%u` stands for the user name and `%c` for the client id.
 */
struct acl_rule_options {
    struct cfg_strings user, users, allow, deny, topics;
    bool anonymous, everybody;
};
extern const struct cfg_field acl_rule_options[];

enum { ACL_FILE_MAX = 64 << 20 }; /* bytes */

/*
 * An empty file denies everything. NULL, with every complaint at its line, when it cannot be read or a line is wrong. `path` must live as
 * long as `diags`.
 */
struct acl *acl_load(const char *path, struct diags *diags);
/* The same of a text; complaints name `name`. */
struct acl *acl_parse(const char *name, struct str text, struct diags *diags);
/*
 * From the configuration, which may go afterwards; complaints go to diags at their places, NULL then. Rules that were not given have
 * `items` NULL; a list without items denies everything.
 */
struct acl *acl_from_rules(const struct cfg_objects *rules, struct diags *diags);
struct acl *acl_ref(struct acl *acl);
void acl_unref(struct acl *acl); /* NULL is fine; any thread */

/*
 * `acl` NULL: no ACL, everything is allowed. In any case no client publishes below `$SYS` (but what a bridge says of itself), `$CONTROL`
 * and `$share`. `user` empty: anonymous. A rule with %u or %c allows nothing to a client whose name there contains `+`, `#` or `/`
 * (CVE-2017-7650). `topic` is valid; filters are given without `$share/name/`. Linear in the rules that concern the user; no allocation,
 * no locks. Any thread.
 */
bool acl_allows(const struct acl *acl, enum acl_action action, struct str user, struct str client_id, struct str topic);

#endif
