/*
 * agent/broker/acl.c: the rules as one array, sorted by whom they concern and with denials first, and users found by hash. Never
 * changed once it is finished.
 *
 * Where this differs from Mosquitto 2.0 (test_acl_mosquitto.c asks both), it denies more:
 * - A `pattern deny` counts more than a `topic` that allows. Mosquitto asks the user's rules first, although its manual says otherwise.
 * - A name with `/` is not put into a pattern that allows: it would reach levels that the rule's author did not think of.
 * - A name that begins with `$` makes a pattern that allows no rule for `$` topics. In Mosquitto a client that calls itself `$SYS` reads
 *   $SYS by `pattern read %c/#`.
 * - SUBSCRIBE to what is denied altogether is refused, so that the client hears of it. Mosquitto accepts, and delivers nothing.
 * - Nobody publishes `$CONTROL` itself. What is below it Mosquitto does not pass on either.
 */
#include "agent/broker/acl.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "agent/base/arena.h"
#include "agent/broker/acl_build.h"

enum { OWNER_EVERYBODY, OWNER_ANONYMOUS, OWNER_FIRST_USER, NO_OWNER_YET = 16 };

/* Somebody, and where the rules for them stand. */
struct owner {
    struct str name;
    uint32_t first, denials, count; /* denials come first */
};

struct acl {
    _Atomic unsigned references;
    bool substitutes; /* some rule does */
    struct arena texts;
    struct acl_rule *rules;
    struct owner *owners; /* everybody, anonymous, then the users */
    uint32_t *slots;      /* index into owners; 0: free */
    size_t rule_count, rule_room, owner_count, owner_room, slot_mask;
};

/* --- building --- */

static void free_acl(struct acl *acl) {
    arena_release(&acl->texts);
    free(acl->rules);
    free(acl->owners);
    free(acl->slots);
    free(acl);
}

/* Twice the room when there is none left. */
static bool grow(void **items, size_t size, size_t count, size_t *room) {
    size_t wanted = *room * 2;
    void *larger;

    if (count < *room)
        return true;
    larger = wanted <= UINT32_MAX / 2 ? realloc(*items, wanted * size) : NULL;
    if (larger == NULL)
        return false;
    *items = larger;
    *room = wanted;
    return true;
}

struct acl *acl_new(void) {
    struct acl *acl = calloc(1, sizeof *acl);

    if (acl == NULL)
        return NULL;
    acl->references = 1;
    acl->rule_room = acl->owner_room = NO_OWNER_YET;
    acl->owner_count = OWNER_FIRST_USER;
    acl->slot_mask = 2 * NO_OWNER_YET - 1;
    arena_init(&acl->texts, 2 * (size_t)ACL_FILE_MAX);
    acl->rules = calloc(acl->rule_room, sizeof *acl->rules);
    acl->owners = calloc(acl->owner_room, sizeof *acl->owners);
    acl->slots = calloc(acl->slot_mask + 1, sizeof *acl->slots);
    if (acl->rules != NULL && acl->owners != NULL && acl->slots != NULL)
        return acl;
    free_acl(acl);
    return NULL;
}

/* Where the user is, or the free slot where it would be. */
static uint32_t *slot_of(const struct acl *acl, struct str name) {
    size_t at = (size_t)str_hash(name) & acl->slot_mask;

    while (acl->slots[at] != 0 && !str_eq(acl->owners[acl->slots[at]].name, name))
        at = (at + 1) & acl->slot_mask;
    return &acl->slots[at];
}

/* At least twice as many slots as owners. */
static bool grow_slots(struct acl *acl) {
    size_t wanted = (acl->slot_mask + 1) * 2;
    uint32_t *larger;

    if (acl->owner_count * 2 < wanted / 2)
        return true;
    larger = calloc(wanted, sizeof *larger);
    if (larger == NULL)
        return false;
    free(acl->slots);
    acl->slots = larger;
    acl->slot_mask = wanted - 1;
    for (size_t i = OWNER_FIRST_USER; i < acl->owner_count; i++)
        *slot_of(acl, acl->owners[i].name) = (uint32_t)i;
    return true;
}

static bool find_or_add_user(struct acl *acl, struct str name, uint32_t *owner) {
    uint32_t *slot = slot_of(acl, name);

    *owner = *slot;
    if (*slot != 0)
        return true;
    name = arena_copy(&acl->texts, name);
    if (name.data == NULL || !grow((void **)&acl->owners, sizeof *acl->owners, acl->owner_count, &acl->owner_room) || !grow_slots(acl))
        return false;
    *owner = (uint32_t)acl->owner_count++;
    acl->owners[*owner] = (struct owner){ .name = name };
    *slot_of(acl, name) = *owner;
    return true;
}

static uint8_t flags_of(struct str filter) {
    uint8_t flags = ACL_RULE_SUBSTITUTES;

    for (size_t i = 0; i < filter.len; i++) {
        char placeholder = acl_placeholder(filter, i);
        if (placeholder != 0)
            flags |= placeholder == 'u' ? ACL_RULE_USES_USER : ACL_RULE_USES_CLIENT;
    }
    return flags;
}

/* Up to the first wildcard or name; `a/#` matches `a`, so that slash does not count. */
static uint32_t literal_of(struct str filter, bool substitutes) {
    size_t len = 0;

    while (len < filter.len && filter.data[len] != '+' && filter.data[len] != '#' && !(substitutes && acl_placeholder(filter, len) != 0))
        len++;
    if (len < filter.len && filter.data[len] == '#' && len > 0)
        len--;
    return (uint32_t)len;
}

bool acl_add(struct acl *acl, enum acl_whom whom, struct str user, struct str filter, bool substitutes, uint8_t grants, uint8_t denies) {
    struct acl_rule rule = { .owner = whom == ACL_EVERYBODY ? OWNER_EVERYBODY : OWNER_ANONYMOUS, .grants = grants, .denies = denies };

    if (whom == ACL_USER && !find_or_add_user(acl, user, &rule.owner))
        return false;
    if (str_eq_c(filter, "+/#")) /* the same, and easier to compare with another filter */
        filter = STR("#");
    rule.flags = substitutes ? flags_of(filter) : 0;
    rule.literal = literal_of(filter, substitutes);
    rule.filter = arena_copy(&acl->texts, filter);
    if (rule.filter.data == NULL || !grow((void **)&acl->rules, sizeof *acl->rules, acl->rule_count, &acl->rule_room))
        return false;
    acl->substitutes |= substitutes;
    acl->rules[acl->rule_count++] = rule;
    return true;
}

static int compare_rules(const void *left, const void *right) {
    const struct acl_rule *a = left, *b = right;

    if (a->owner != b->owner)
        return a->owner < b->owner ? -1 : 1;
    return (a->denies == 0) - (b->denies == 0);
}

void acl_finish(struct acl *acl) {
    qsort(acl->rules, acl->rule_count, sizeof *acl->rules, compare_rules);
    for (size_t i = acl->rule_count; i-- > 0;) {
        struct owner *owner = &acl->owners[acl->rules[i].owner];
        owner->first = (uint32_t)i;
        owner->count++;
        owner->denials += acl->rules[i].denies != 0;
    }
}

struct acl *acl_ref(struct acl *acl) {
    atomic_fetch_add_explicit(&acl->references, 1, memory_order_relaxed);
    return acl;
}

void acl_unref(struct acl *acl) {
    if (acl != NULL && atomic_fetch_sub_explicit(&acl->references, 1, memory_order_acq_rel) == 1)
        free_acl(acl);
}

/* --- deciding --- */

/* Who asks for what. */
struct question {
    struct str user, client_id, topic; /* topic: or a filter */
    uint8_t bit;
    uint8_t unusable; /* rules with one of these flags allow nothing to this client */
};

/* Which of two marks a name has. */
enum { HAS_WILDCARD = 1, HAS_SLASH = 2 };

static unsigned marks_of(struct str name) {
    unsigned marks = 0;

    for (size_t i = 0; i < name.len; i++)
        marks |= name.data[i] == '+' || name.data[i] == '#' ? HAS_WILDCARD : name.data[i] == '/' ? HAS_SLASH : 0;
    return marks;
}

static uint8_t unusable_flags(struct str user, struct str client_id) {
    unsigned of_user = marks_of(user), of_client = marks_of(client_id);
    uint8_t flags = 0;

    if (((of_user | of_client) & HAS_WILDCARD) != 0)
        flags |= ACL_RULE_SUBSTITUTES;
    if (user.len == 0 || of_user != 0)
        flags |= ACL_RULE_USES_USER;
    if (client_id.len == 0 || of_client != 0)
        flags |= ACL_RULE_USES_CLIENT;
    return flags;
}

/* A place in a rule's filter and one in the topic, while they are compared. */
struct walk {
    struct str filter, topic;
    size_t filter_at, topic_at;
};

/* `+` takes one level, or another filter's `+`; a `#` there may be more than one level. */
static bool walk_level(struct walk *walk) {
    if (walk->topic_at < walk->topic.len && walk->topic.data[walk->topic_at] == '#')
        return false;
    while (walk->topic_at < walk->topic.len && walk->topic.data[walk->topic_at] != '/')
        walk->topic_at++;
    walk->filter_at++;
    return true;
}

/* No topic has `+` or `#` in it, and one in a filter is no name. */
static bool walk_name(struct walk *walk, struct str name) {
    struct str left = str_make(walk->topic.data + walk->topic_at, walk->topic.len - walk->topic_at);

    if (!str_starts_with(left, name) || (marks_of(name) & HAS_WILDCARD) != 0)
        return false;
    walk->topic_at += name.len;
    walk->filter_at += 2;
    return true;
}

/* What follows the literal part of the rule. */
static bool covers_rest(const struct acl_rule *rule, const struct question *question) {
    struct walk walk = { rule->filter, question->topic, rule->literal, rule->literal };
    const bool substitutes = (rule->flags & ACL_RULE_SUBSTITUTES) != 0;

    while (walk.filter_at < walk.filter.len) {
        char wanted = walk.filter.data[walk.filter_at];
        char placeholder = substitutes ? acl_placeholder(walk.filter, walk.filter_at) : 0;
        if (wanted == '#')
            return true;
        if (wanted == '+' && !walk_level(&walk))
            return false;
        if (placeholder != 0 && !walk_name(&walk, placeholder == 'u' ? question->user : question->client_id))
            return false;
        if (wanted == '+' || placeholder != 0)
            continue;
        if (walk.topic_at == walk.topic.len) /* `a/#` matches `a` */
            return wanted == '/' && walk.filter.len - walk.filter_at == 2 && walk.filter.data[walk.filter_at + 1] == '#';
        if (wanted != walk.topic.data[walk.topic_at])
            return false;
        walk.filter_at++;
        walk.topic_at++;
    }
    return walk.topic_at == walk.topic.len;
}

/* Topics that begin with `$` need a rule that does (MQTT 4.7.2); a name that does is enough only to deny. */
static bool may_begin(const struct acl_rule *rule, struct str topic) {
    if (topic.len == 0)
        return false;
    if (topic.data[0] != '$' || rule->filter.data[0] == '$')
        return true;
    return rule->denies != 0 && (rule->flags & ACL_RULE_SUBSTITUTES) != 0 && acl_placeholder(rule->filter, 0) != 0;
}

/* Whether the topic, or all that the filter matches, is matched by the rule. */
static inline bool covers(const struct acl_rule *rule, const struct question *question) {
    struct str topic = question->topic;

    if (topic.len < rule->literal || (rule->literal > 0 && memcmp(topic.data, rule->filter.data, rule->literal) != 0))
        return false;
    return may_begin(rule, topic) && covers_rest(rule, question);
}

/* A denial takes names as they are, `/` and `$` and all: that can only deny what the rule's author meant. */
static bool denied_by(const struct acl *acl, const struct owner *owner, const struct question *question) {
    const struct acl_rule *rule = &acl->rules[owner->first];

    for (uint32_t i = 0; i < owner->denials; i++, rule++) {
        if ((rule->denies & question->bit) == 0 || ((rule->flags & ACL_RULE_USES_USER) != 0 && question->user.len == 0))
            continue;
        if (covers(rule, question))
            return true;
    }
    return false;
}

static bool granted_by(const struct acl *acl, const struct owner *owner, const struct question *question) {
    const struct acl_rule *rule = &acl->rules[owner->first + owner->denials];

    for (uint32_t i = owner->denials; i < owner->count; i++, rule++)
        if ((rule->grants & question->bit) != 0 && (rule->flags & question->unusable) == 0 && covers(rule, question))
            return true;
    return false;
}

static bool below(struct str topic, struct str prefix) {
    return str_starts_with(topic, prefix) && (topic.len == prefix.len || topic.data[prefix.len] == '/');
}

/* What clients never publish. The exception is how a bridge, Mosquitto's for one, tells whether it is connected. */
static bool is_reserved(struct str topic) {
    const struct str bridge = STR_INIT("$SYS/broker/connection/"), state = STR_INIT("/state");
    size_t len;

    if (topic.len == 0 || topic.data[0] != '$')
        return false;
    if (!str_starts_with(topic, STR("$SYS")))
        return below(topic, STR("$CONTROL")) || str_starts_with(topic, STR("$share"));
    if (!str_starts_with(topic, bridge) || !str_ends_with(topic, state) || topic.len < bridge.len + state.len)
        return true;
    len = topic.len - bridge.len - state.len;
    return len > 0 && memchr(topic.data + bridge.len, '/', len) != NULL;
}

bool acl_allows(const struct acl *acl, enum acl_action action, struct str user, struct str client_id, struct str topic) {
    struct question question = { user, client_id, topic, .bit = action == ACL_PUBLISH ? ACL_WRITE : ACL_READ };
    const struct owner *own, *everybody;

    if (action == ACL_PUBLISH && is_reserved(topic))
        return false;
    if (acl == NULL)
        return true;
    everybody = &acl->owners[OWNER_EVERYBODY];
    own = user.len == 0 ? &acl->owners[OWNER_ANONYMOUS] : &acl->owners[*slot_of(acl, user)]; /* a free slot: everybody again */
    if (denied_by(acl, own, &question) || (own != everybody && denied_by(acl, everybody, &question)))
        return false;
    if (action == ACL_SUBSCRIBE)
        return true;
    if (acl->substitutes)
        question.unusable = unusable_flags(user, client_id);
    return granted_by(acl, own, &question) || (own != everybody && granted_by(acl, everybody, &question));
}
