/*
 * agent/broker/acl_build.h: how rules become an ACL, for its two readers: acl_file.c and acl_rules.c.
 */
#ifndef HELIOGRAF_BROKER_ACL_BUILD_H
#define HELIOGRAF_BROKER_ACL_BUILD_H

#include "agent/broker/acl.h"

enum acl_bits { ACL_WRITE = 1, ACL_READ = 2 };

enum acl_flags {
    ACL_RULE_SUBSTITUTES = 1, /* %u and %c stand for names; such a rule grants nothing to a client with + or # in one of its names */
    ACL_RULE_USES_USER = 2,
    ACL_RULE_USES_CLIENT = 4,
};

enum acl_whom { ACL_EVERYBODY, ACL_ANONYMOUS, ACL_USER };

struct acl_rule {
    struct str filter;
    uint32_t literal; /* so many bytes at the filter's beginning are in every topic that it matches */
    uint32_t owner;   /* whose rule it is */
    uint8_t grants, denies; /* enum acl_bits; one of them is 0 */
    uint8_t flags;          /* enum acl_flags */
};

/* 'u' or 'c' when %u or %c stands at this place of the filter, 0 otherwise. */
static inline char acl_placeholder(struct str filter, size_t at) {
    if (at + 1 >= filter.len || filter.data[at] != '%')
        return 0;
    return filter.data[at + 1] == 'u' || filter.data[at + 1] == 'c' ? filter.data[at + 1] : 0;
}

/* One reference, the caller's, and no rules: everything is denied. NULL without memory. */
struct acl *acl_new(void);
/* Copies filter and user. `filter` is valid (topic_filter_valid). False without memory. */
bool acl_add(struct acl *acl, enum acl_whom whom, struct str user, struct str filter, bool substitutes, uint8_t grants, uint8_t denies);
/* After the last rule; before, the ACL may be only added to and freed. */
void acl_finish(struct acl *acl);

#endif
