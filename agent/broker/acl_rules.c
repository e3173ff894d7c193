/* agent/broker/acl_rules.c: the same rules, written in the configuration. */
#include "agent/base/topic_filter.h"
#include "agent/broker/acl_build.h"

#define AT(member) offsetof(struct acl_rule_options, member)
const struct cfg_field acl_rule_options[] = {
    { .key = "user", .type = CFG_STRINGS, .offset = AT(user), .help = "Whom the rule concerns: a user name.", .example = "press-4" },
    { .key = "users", .type = CFG_STRINGS, .offset = AT(users), .help = "Or several user names." },
    { .key = "anonymous", .type = CFG_BOOL, .offset = AT(anonymous), .fallback = "false", .help = "Or clients without a user name." },
    { .key = "everybody", .type = CFG_BOOL, .offset = AT(everybody), .fallback = "false", .help = "Or every client." },
    { .key = "allow", .type = CFG_STRINGS, .offset = AT(allow), .help = "What it allows: publish, subscribe or all.", .example = "publish" },
    { .key = "deny", .type = CFG_STRINGS, .offset = AT(deny),
      .help = "Or what it denies: publish, subscribe or all. A denial counts more than any rule that allows." },
    { .key = "topics", .type = CFG_STRINGS, .offset = AT(topics), .flags = CFG_REQUIRED,
      .help = "Topic filters; %u in them stands for the user name, %c for the client id.", .example = "[\"plant/%u/#\"]" },
    CFG_END,
};
#undef AT

/* One rule, checked. */
struct rule {
    const struct acl_rule_options *options;
    uint8_t grants, denies;
};

static void read_actions(const struct cfg_strings *actions, uint8_t *bits, struct diags *diags) {
    static const char *const known[] = { "publish", "subscribe", "all" };

    for (size_t i = 0; i < actions->count; i++) {
        const char *word = actions->items[i], *nearest = cfg_nearest(word, known, 3);
        if (strcmp(word, "publish") == 0)
            *bits |= ACL_WRITE;
        else if (strcmp(word, "subscribe") == 0)
            *bits |= ACL_READ;
        else if (strcmp(word, "all") == 0)
            *bits |= ACL_READ | ACL_WRITE;
        else if (nearest != NULL)
            diag_add(diags, actions->at[i], "acl: unknown action '%s'; did you mean '%s'?", word, nearest);
        else
            diag_add(diags, actions->at[i], "acl: unknown action '%s'; known: publish, subscribe, all", word);
    }
}

static void check_users(const struct cfg_strings *users, struct diags *diags) {
    for (size_t i = 0; i < users->count; i++)
        if (users->items[i][0] == '\0')
            diag_add(diags, users->at[i], "acl: a user name must not be empty; clients without one are `anonymous: true`");
}

static void check_topics(const struct cfg_strings *topics, struct diags *diags) {
    for (size_t i = 0; i < topics->count; i++) {
        struct str filter = str_of(topics->items[i]);
        struct err err = ERR_INIT;

        if (!topic_filter_valid(filter, &err))
            diag_add(diags, topics->at[i], "acl: '%.60s': %s", filter.data, err.text);
        else if (str_starts_with(filter, STR("$share/")))
            diag_add(diags, topics->at[i], "acl: '%.60s': write the filter alone, without $share/group/", filter.data);
    }
}

static struct rule check_rule(const struct acl_rule_options *options, struct src_pos at, struct diags *diags) {
    struct rule rule = { .options = options };
    unsigned subjects = (options->user.count > 0) + (options->users.count > 0) + options->anonymous + options->everybody;

    if (subjects != 1)
        diag_add(diags, at, "acl: a rule has one of user, users, anonymous and everybody, %s",
                 subjects == 0 ? "and this one has none" : "not several");
    if ((options->allow.count > 0) + (options->deny.count > 0) != 1)
        diag_add(diags, at, "acl: a rule has either allow or deny");
    check_users(&options->user, diags);
    check_users(&options->users, diags);
    read_actions(&options->allow, &rule.grants, diags);
    read_actions(&options->deny, &rule.denies, diags);
    check_topics(&options->topics, diags);
    return rule;
}

static bool has_placeholder(struct str filter) {
    for (size_t i = 0; i < filter.len; i++)
        if (acl_placeholder(filter, i) != 0)
            return true;
    return false;
}

static bool add_for(struct acl *acl, const struct rule *rule, enum acl_whom whom, struct str user) {
    for (size_t i = 0; i < rule->options->topics.count; i++) {
        struct str filter = str_of(rule->options->topics.items[i]);
        if (!acl_add(acl, whom, user, filter, has_placeholder(filter), rule->grants, rule->denies))
            return false;
    }
    return true;
}

static bool add_for_users(struct acl *acl, const struct rule *rule, const struct cfg_strings *users) {
    for (size_t i = 0; i < users->count; i++)
        if (!add_for(acl, rule, ACL_USER, str_of(users->items[i])))
            return false;
    return true;
}

static bool add_rule(struct acl *acl, const struct rule *rule) {
    if (rule->options->everybody)
        return add_for(acl, rule, ACL_EVERYBODY, STR_EMPTY);
    if (rule->options->anonymous)
        return add_for(acl, rule, ACL_ANONYMOUS, STR_EMPTY);
    return add_for_users(acl, rule, &rule->options->user) && add_for_users(acl, rule, &rule->options->users);
}

struct acl *acl_from_rules(const struct cfg_objects *rules, struct diags *diags) {
    const struct acl_rule_options *options = rules->items;
    struct acl *acl = acl_new();
    size_t errors = diags->errors;
    bool memory = acl != NULL;

    for (size_t i = 0; i < rules->count; i++) {
        struct rule rule = check_rule(&options[i], rules->at[i], diags);
        if (diags->errors == errors && memory)
            memory = add_rule(acl, &rule);
    }
    if (!memory)
        diag_add(diags, (struct src_pos){ .file = NULL }, "acl: no memory for the rules");
    if (diags->errors > errors) {
        acl_unref(acl);
        return NULL;
    }
    acl_finish(acl);
    return acl;
}
