/*
 * tests/unit/test_acl_mosquitto.c: random access rules, names and topics, decided by us and by a real Mosquitto over the wire: what a
 * client may publish (somebody who reads everything gets it), what it is delivered, and what it may subscribe to. Each difference must be one
 * of those in `explanations`, and each of those must turn up. HELIOGRAF_SEED makes other rules.
 */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>

#include "agent/base/topic_filter.h"
#include "agent/broker/acl.h"
#include "tests/support/mqtt_peer.h"

enum { ROUNDS = 100, RULES_MAX = 24, TOPICS = 40, FILTERS = 12, CLIENTS = 12 };

static uint64_t random_state = 0x9E3779B97F4A7C15ULL;

static unsigned below(unsigned limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 11) % limit;
}

#define PICK(array) (array)[below(sizeof(array) / sizeof *(array))]

/* --- what there is to decide --- */

struct client {
    const char *user, *id; /* user NULL: none */
};

static const struct client clients[CLIENTS] = {
    { NULL, "c1" },     { NULL, "joe" },  { "joe", "c1" },  { "ann", "joe" }, { "x y", "ann" },   { "a/b", "c1" },
    { "joe", "a/b" },   { "joe", "a+" },  { "#", "c1" },    { "ann", "#" },   { "joe", "$SYS" },  { "%c", "$x" },
};

struct rule {
    const char *user; /* NULL: before the first `user` */
    bool pattern;
    uint8_t access; /* into `accesses` */
    char filter[64];
};

static const char *const accesses[] = { "", "read", "write", "readwrite", "deny" };
enum { DENY = 4 };

struct site {
    struct rule rules[RULES_MAX];
    size_t rule_count;
    char topics[TOPICS][64], filters[FILTERS][64];
};

static void append_level(char *to, size_t size, const char *level) {
    size_t len = strlen(to);

    snprintf(to + len, size - len, "%s", level);
}

static void make_topic(char *to, size_t size) {
    static const char *const first[] = { "a", "a", "b", "ab", "", "joe", "ann", "c1", "x y", "$SYS", "$x", "$CONTROL" };
    static const char *const more[] = { "a", "b", "ab", "", "joe", "ann", "c1", "x y", "$x", "%u", "%c", "a-joe" };
    static const char *const bridges[] = { "$SYS/broker/connection/c1/state", "$SYS/broker/connection/joe/state", "$share/g/a" };

    to[0] = '\0';
    if (below(12) == 0) {
        append_level(to, size, PICK(bridges));
        return;
    }
    append_level(to, size, PICK(first));
    for (unsigned left = below(4); left > 0 || to[0] == '\0'; left -= left > 0) {
        append_level(to, size, "/");
        append_level(to, size, PICK(more));
    }
}

static void make_filter(char *to, size_t size, bool pattern) {
    static const char *const first[] = { "a", "a", "b", "ab", "", "joe", "+", "+", "$SYS", "$x", "$CONTROL", "x y" };
    static const char *const more[] = { "a", "b", "ab", "", "joe", "ann", "c1", "+", "+", "+", "x y", "%u" };
    static const char *const named[] = { "%u", "%u", "%c", "%c", "a-%u" };

    to[0] = '\0';
    if (below(12) == 0) {
        append_level(to, size, pattern ? "$SYS/broker/connection/%c/state" : "$SYS/broker/connection/+/state");
        return;
    }
    if (below(10) != 0)
        append_level(to, size, pattern && below(3) == 0 ? PICK(named) : PICK(first));
    else
        append_level(to, size, "#");
    for (unsigned left = below(4); to[0] != '#' && (left > 0 || to[0] == '\0'); left -= left > 0) {
        append_level(to, size, "/");
        append_level(to, size, pattern && below(2) == 0 ? PICK(named) : PICK(more));
    }
    if (to[0] != '#' && below(3) == 0)
        append_level(to, size, "/#");
}

/* A pattern with the names put in, whatever they are. */
static void substitute(const char *filter, const struct client *client, char *out, size_t size) {
    out[0] = '\0';
    for (; *filter != '\0'; filter++) {
        char one[2] = { *filter, '\0' };
        bool user = strncmp(filter, "%u", 2) == 0 && client->user != NULL, id = strncmp(filter, "%c", 2) == 0;
        append_level(out, size, user ? client->user : id ? client->id : one);
        filter += user || id;
    }
}

/* One that a rule may well be about. */
static void make_topic_for(const struct rule *rule, char *to, size_t size) {
    static const char *const levels[] = { "a", "b", "joe", "", "c1" };
    char filter[256];

    substitute(rule->filter, &clients[below(CLIENTS)], filter, sizeof filter);
    to[0] = '\0';
    for (const char *at = filter; *at != '\0'; at++)
        append_level(to, size, *at == '+' || *at == '#' ? PICK(levels) : (const char[]){ *at, '\0' });
    if (to[0] == '\0')
        append_level(to, size, "a");
}

static void make_site(struct site *site) {
    static const char *const users[] = { "joe", "ann", "x y", "a/b", "#", "%c" };
    const char *user = NULL;

    site->rule_count = below(RULES_MAX + 1);
    for (size_t i = 0; i < site->rule_count; i++) {
        struct rule *rule = &site->rules[i];
        if (below(4) == 0)
            user = PICK(users);
        *rule = (struct rule){ .user = user, .pattern = below(3) == 0, .access = (uint8_t)below(5) };
        make_filter(rule->filter, sizeof rule->filter, rule->pattern);
        if (strchr(rule->filter, ' ') != NULL && rule->access == 0)
            rule->access = 3;
    }
    for (int i = 0; i < TOPICS; i++)
        if (site->rule_count > 0 && below(2) == 0)
            make_topic_for(&site->rules[below((unsigned)site->rule_count)], site->topics[i], sizeof site->topics[i]);
        else
            make_topic(site->topics[i], sizeof site->topics[i]);
    for (int i = 0; i < FILTERS; i++)
        make_filter(site->filters[i], sizeof site->filters[i], false);
}

/* As somebody would write it: with comments, more blanks than needed, and either end of line. */
static void print_rules(const struct site *site, bool with_patterns, struct buf *out) {
    static const char *const ends[] = { "\n", "\n", " \n", "\r\n", "\n# a comment: topic #\n\n" };
    const char *user = NULL;

    for (size_t i = 0; i < site->rule_count; i++) {
        const struct rule *rule = &site->rules[i];
        if (rule->user != user)
            buf_printf(out, "user %s%s", rule->user, PICK(ends));
        user = rule->user;
        if (!rule->pattern || with_patterns)
            buf_printf(out, "%s%s %s%s%s%s", below(8) == 0 ? " " : "", rule->pattern ? "pattern" : "topic", accesses[rule->access],
                       rule->access > 0 ? " " : "", rule->filter, PICK(ends));
    }
    /* Who publishes what the others may be delivered, and sees what they publish. */
    buf_printf(out, "user root\ntopic #\ntopic $SYS/#\ntopic $x/#\ntopic $CONTROL/#\n");
}

static struct acl *parse(const struct site *site, bool with_patterns, struct buf *text) {
    struct diags diags = { 0 };
    struct acl *acl;

    print_rules(site, with_patterns, text);
    acl = acl_parse("acl", buf_str(text), &diags);
    if (acl == NULL)
        diags_print(&diags, stderr);
    diags_release(&diags);
    assert_non_null(acl);
    return acl;
}

static bool we_allow(const struct acl *acl, enum acl_action action, const struct client *client, const char *topic) {
    return acl_allows(acl, action, str_of(client->user != NULL ? client->user : ""), str_of(client->id), str_of(topic));
}

/* --- the list of differences: in each we deny what Mosquitto allows --- */

struct difference {
    const struct site *site;
    const struct acl *acl, *without_patterns;
    const struct client *client;
    enum acl_action action;
    const char *topic;
};

/* A pattern that allows it with the names put in, and that uses the name which `is_special`. */
static bool some_pattern_allows(const struct difference *difference, bool (*is_special)(const char *name), bool at_its_beginning) {
    char filter[256];

    for (size_t i = 0; i < difference->site->rule_count; i++) {
        const struct rule *rule = &difference->site->rules[i];
        const char *user = difference->client->user;
        bool by_user = user != NULL && is_special(user) && strstr(rule->filter, "%u") != NULL;
        bool by_id = is_special(difference->client->id) && strstr(rule->filter, "%c") != NULL;
        if (!rule->pattern || rule->access == DENY || (!by_user && !by_id) || (at_its_beginning && rule->filter[0] != '%'))
            continue;
        substitute(rule->filter, difference->client, filter, sizeof filter);
        if (topic_filter_match(str_of(filter), str_of(difference->topic)))
            return true;
    }
    return false;
}

static bool has_slash(const char *name) {
    return strchr(name, '/') != NULL;
}

static bool has_dollar(const char *name) {
    return name[0] == '$';
}

/* The user's own rules allow it, and only a pattern denies it: Mosquitto never asks the pattern then. */
static bool by_pattern_deny(const struct difference *difference) {
    return difference->action != ACL_SUBSCRIBE && we_allow(difference->without_patterns, difference->action, difference->client, difference->topic);
}

static bool by_slash(const struct difference *difference) {
    return difference->action != ACL_SUBSCRIBE && some_pattern_allows(difference, has_slash, false);
}

static bool by_dollar(const struct difference *difference) {
    return difference->action != ACL_SUBSCRIBE && difference->topic[0] == '$' && some_pattern_allows(difference, has_dollar, true);
}

/* What is below it Mosquitto does not pass on either, whatever the rules say. */
static bool by_control(const struct difference *difference) {
    return difference->action == ACL_PUBLISH && strcmp(difference->topic, "$CONTROL") == 0;
}

/* Refused, and none of the topics that it matches would be delivered. */
static bool by_subscription(const struct difference *difference) {
    if (difference->action != ACL_SUBSCRIBE)
        return false;
    for (int i = 0; i < TOPICS; i++)
        if (topic_filter_match(str_of(difference->topic), str_of(difference->site->topics[i])) &&
            we_allow(difference->acl, ACL_RECEIVE, difference->client, difference->site->topics[i]))
            return false;
    return true;
}

static struct explanation {
    const char *words;
    bool (*applies)(const struct difference *difference);
    unsigned seen;
} explanations[] = {
    { "a `pattern deny` counts more than the user's own rules, as the manual has it", by_pattern_deny, 0 },
    { "a name with / is put into no pattern that allows", by_slash, 0 },
    { "a name that begins with $ makes a pattern no rule for $ topics", by_dollar, 0 },
    { "nobody publishes $CONTROL itself", by_control, 0 },
    { "what is denied altogether cannot be subscribed to", by_subscription, 0 },
};
enum { EXPLANATIONS = sizeof explanations / sizeof *explanations };

static unsigned decisions, allowed, different;

static void compare(struct difference *difference, bool theirs) {
    static const char *const words[] = { [ACL_PUBLISH] = "publish", [ACL_RECEIVE] = "receive", [ACL_SUBSCRIBE] = "subscribe" };
    bool ours = we_allow(difference->acl, difference->action, difference->client, difference->topic);
    struct buf text = BUF_INIT(100000);

    decisions++;
    allowed += theirs;
    if (ours == theirs)
        return;
    different++;
    for (int i = 0; i < EXPLANATIONS && theirs; i++)
        if (explanations[i].applies(difference)) {
            explanations[i].seen++;
            return;
        }
    print_rules(difference->site, true, &text);
    fail_msg("user %s, client %s, %s '%s': Mosquitto %s, we %s\n%s", difference->client->user != NULL ? difference->client->user : "(none)",
             difference->client->id, words[difference->action], difference->topic, theirs ? "allows" : "denies", ours ? "allow" : "deny",
             buf_cstr(&text));
}

/* --- asking Mosquitto --- */

static char directory[64], config_path[80], acl_path[80];

static int make_directory(void **state) {
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/test_acl_mosquitto.XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(config_path, sizeof config_path, "%s/conf", directory);
    snprintf(acl_path, sizeof acl_path, "%s/acl", directory);
    return 0;
}

static int remove_directory(void **state) {
    (void)state;
    unlink(config_path);
    unlink(acl_path);
    return rmdir(directory);
}

static void write_acl(struct str text) {
    FILE *to = fopen(acl_path, "w");

    assert_non_null(to);
    assert_int_equal(fwrite(text.data, 1, text.len, to), text.len);
    assert_int_equal(fclose(to), 0);
    assert_int_equal(chmod(acl_path, 0600), 0);
}

struct delivered {
    bool topics[TOPICS];
};

static void note(void *ctx, struct str payload) {
    struct delivered *delivered = ctx;
    uint64_t topic;

    assert_true(str_to_uint64(payload, &topic) && topic < TOPICS);
    delivered->topics[topic] = true;
}

static struct peer connect_root(const struct mosquitto *mosquitto) {
    return peer_connect(mosquitto->port, STR("root"), STR("root"));
}

static void subscribe_to_all(struct peer *peer) {
    static const char *const all[] = { "#", "$SYS/#", "$x/#", "$CONTROL/#" };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (peer_subscribe(peer, str_of(all[i])) >= 0x80)
            fail_msg("no subscription to %s", all[i]);
}

static void publish_number(const struct peer *peer, const struct site *site, int topic) {
    char payload[16];

    snprintf(payload, sizeof payload, "%d", topic);
    peer_publish(peer, str_of(site->topics[topic]), str_of(payload));
}

static void ask_what_may_be_published(const struct peer *peer, const struct mosquitto *mosquitto, struct difference *difference) {
    struct peer root = connect_root(mosquitto);
    struct delivered delivered = { { false } };

    difference->action = ACL_PUBLISH;
    subscribe_to_all(&root);
    for (int i = 0; i < TOPICS; i++)
        publish_number(peer, difference->site, i);
    peer_ping(peer, NULL, NULL); /* the broker has them all */
    peer_ping(&root, note, &delivered);
    for (int i = 0; i < TOPICS; i++) {
        difference->topic = difference->site->topics[i];
        compare(difference, delivered.topics[i]);
    }
    peer_close(&root);
}

static void ask_what_may_be_subscribed(struct peer *peer, struct difference *difference) {
    difference->action = ACL_SUBSCRIBE;
    for (int i = 0; i < FILTERS; i++) {
        difference->topic = difference->site->filters[i];
        compare(difference, peer_subscribe(peer, str_of(difference->topic)) < 0x80);
    }
}

static void ask_what_is_delivered(struct peer *peer, const struct mosquitto *mosquitto, struct difference *difference) {
    struct peer root = connect_root(mosquitto);
    struct delivered delivered = { { false } };
    bool sent[TOPICS];

    difference->action = ACL_RECEIVE;
    subscribe_to_all(peer);
    for (int i = 0; i < TOPICS; i++) {
        /* What not even root may publish cannot be asked about. Denials that root meets as well are Mosquitto's to pass by. */
        sent[i] = acl_allows(NULL, ACL_PUBLISH, STR("root"), STR("root"), str_of(difference->site->topics[i]));
        publish_number(&root, difference->site, i);
    }
    peer_ping(&root, NULL, NULL);
    peer_ping(peer, note, &delivered);
    for (int i = 0; i < TOPICS; i++) {
        difference->topic = difference->site->topics[i];
        if (sent[i])
            compare(difference, delivered.topics[i]);
    }
    peer_close(&root);
}

static void run_round(void) {
    struct site site;
    struct buf text = BUF_INIT(100000), other = BUF_INIT(100000);
    struct difference difference = { .site = &site };
    struct acl *acl, *without_patterns;
    struct mosquitto mosquitto;

    make_site(&site);
    without_patterns = parse(&site, false, &other);
    acl = parse(&site, true, &text);
    difference.acl = acl;
    difference.without_patterns = without_patterns;
    write_acl(buf_str(&text));
    assert_true(mosquitto_start(&mosquitto, config_path, acl_path));
    for (int i = 0; i < CLIENTS; i++) {
        const struct client *client = difference.client = &clients[i];
        struct peer peer = peer_connect(mosquitto.port, str_of(client->id), client->user != NULL ? str_of(client->user) : (struct str){ NULL, 0 });
        ask_what_may_be_published(&peer, &mosquitto, &difference);
        ask_what_is_delivered(&peer, &mosquitto, &difference);
        ask_what_may_be_subscribed(&peer, &difference);
        peer_close(&peer);
    }
    mosquitto_stop(&mosquitto);
    acl_unref(acl);
    acl_unref(without_patterns);
    buf_release(&text);
    buf_release(&other);
}

static void decides_as_mosquitto_does(void **state) {
    const char *seed = getenv("HELIOGRAF_SEED");

    (void)state;
    if (seed != NULL)
        random_state ^= strtoull(seed, NULL, 10) * 0xD1B54A32D192ED03ULL;
    for (int i = 0; i < ROUNDS; i++)
        run_round();
    print_message("%u decisions, Mosquitto allows %u, %u differ:\n", decisions, allowed, different);
    for (int i = 0; i < EXPLANATIONS; i++)
        print_message("  %4u  %s\n", explanations[i].seen, explanations[i].words);
    /* Both answers are asked for often, and no explanation is out of date. */
    assert_in_range(allowed, decisions / 10, decisions * 9 / 10);
    for (int i = 0; i < EXPLANATIONS; i++)
        assert_int_not_equal(explanations[i].seen, 0);
}

/* --- what is a file at all --- */

static struct file_row {
    const char *name, *text;
    bool theirs, ours; /* whether it is taken */
} files[] = {
    { "an empty file", "", true, true },
    { "no newline at the end", "topic a", true, true },
    { "an unknown word", "topics a\n", false, false },
    { "no topic", "topic\n", false, false },
    { "an access, and no topic", "topic read \n", true, true },
    { "an unknown access", "topic reads a\n", false, false },
    { "a topic with a blank, and no access", "topic a b\n", false, false },
    { "a topic with a blank", "topic read a b\n", true, true },
    { "no user", "user\n", false, false },
    { "a bad filter", "topic read a/#/b\n", false, false },
    { "a bad wildcard", "topic read a+\n", false, false },
    { "a bad wildcard behind a name", "pattern read %u#\n", false, false },
    { "a comment behind a rule", "topic read a/# # x\n", false, false },
    { "a shared filter", "topic read $share/g/a\n", true, true },
    { "a user without rules", "user joe\n", true, true },
    { "CR LF", "topic a\r\n\r\n# x\r\n", true, true },
    { "a comment with a blank before it", " # x\n", false, true },
    { "a tab instead of a blank", "topic\tread\ta\n", false, true },
    { "a byte order mark", "\xEF\xBB\xBFtopic a\n", false, true },
    { "a filter that is not UTF-8", "topic read a\xFF\n", true, false },
};

static void takes_row(void **state) {
    const struct file_row *row = *state;
    struct diags diags = { 0 };
    struct acl *acl = acl_parse("acl", str_of(row->text), &diags);
    struct mosquitto mosquitto;
    bool theirs;

    write_acl(str_of(row->text));
    theirs = mosquitto_start(&mosquitto, config_path, acl_path);
    if (theirs)
        mosquitto_stop(&mosquitto);
    assert_int_equal(acl != NULL, row->ours);
    assert_int_equal(theirs, row->theirs);
    acl_unref(acl);
    diags_release(&diags);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

int main(void) {
    static struct CMUnitTest tests[COUNT(files) + 1];

    tests[0] = (struct CMUnitTest)cmocka_unit_test_setup_teardown(decides_as_mosquitto_does, make_directory, remove_directory);
    for (size_t i = 0; i < COUNT(files); i++)
        tests[1 + i] = (struct CMUnitTest){ files[i].name, takes_row, make_directory, remove_directory, &files[i] };
    return cmocka_run_group_tests_name("acl beside Mosquitto", tests, NULL, NULL);
}
