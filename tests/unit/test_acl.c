/*
 * tests/unit/test_acl.c: access rules: what a file and the configuration allow, row by row, and what is refused at its place.
 */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/broker/acl.h"
#include "config/yaml_tree.h"
#include "tests/support/config_text.h"

static struct acl *of(const char *text) {
    struct diags diags = { 0 };
    struct acl *acl = acl_parse("acl", str_of(text), &diags);

    if (acl == NULL)
        fail_msg("%s", printed(&diags));
    diags_release(&diags);
    return acl;
}

/* --- decisions --- */

#define PUB ACL_PUBLISH
#define GET ACL_RECEIVE
#define SUB ACL_SUBSCRIBE

#define NOBODY ""
#define HOSTILE "topic read public/#\nuser joe\ntopic joe/#\npattern readwrite dev/%u/#\npattern readwrite id/%c/data\npattern read all/#\n"
#define BROKEN_NAMES "pattern readwrite %c/#\npattern readwrite a/%u/x\npattern deny a/%u/x/secret\n"

static struct decision_row {
    const char *name, *acl; /* NULL: none at all */
    enum acl_action action;
    const char *user, *client, *topic;
    bool want;
} decisions[] = {
    /* without an ACL */
    { "no ACL allows publishing", NULL, PUB, NOBODY, "c", "a/b", true },
    { "no ACL allows receiving", NULL, GET, NOBODY, "c", "$SYS/broker/uptime", true },
    { "no ACL allows subscribing", NULL, SUB, NOBODY, "c", "#", true },
    { "no ACL, but nobody publishes $SYS", NULL, PUB, NOBODY, "c", "$SYS/broker/uptime", false },
    { "no ACL, but nobody publishes $SYS itself", NULL, PUB, NOBODY, "c", "$SYS", false },
    { "no ACL, but nobody publishes $CONTROL", NULL, PUB, "joe", "c", "$CONTROL/broker/v1", false },
    { "no ACL, but nobody publishes $share", NULL, PUB, "joe", "c", "$share/g/a", false },
    { "no ACL, and another dollar topic", NULL, PUB, "joe", "c", "$aws/things", true },
    { "no ACL, and a longer word than $CONTROL", NULL, PUB, "joe", "c", "$CONTROLLER/1", true },
    { "a bridge says how it is", NULL, PUB, "joe", "c", "$SYS/broker/connection/north/state", true },
    { "and nothing below", NULL, PUB, "joe", "c", "$SYS/broker/connection/north/state/x", false },
    { "and nothing between", NULL, PUB, "joe", "c", "$SYS/broker/connection/a/b/state", false },
    { "even without a name, as Mosquitto takes it", NULL, PUB, "joe", "c", "$SYS/broker/connection//state", true },
    { "and not with less", NULL, PUB, "joe", "c", "$SYS/broker/connection/state", false },
    { "a rule for $SYS lets nobody publish there", "topic $SYS/#", PUB, NOBODY, "c", "$SYS/broker/uptime", false },
    { "a bridge needs a rule when there are rules", "topic a", PUB, NOBODY, "c", "$SYS/broker/connection/c/state", false },
    { "a bridge with a rule", "pattern write $SYS/broker/connection/%c/state", PUB, NOBODY, "c", "$SYS/broker/connection/c/state", true },

    /* an empty file (CVE-2018-12550) */
    { "an empty file denies publishing", "", PUB, "joe", "c", "a", false },
    { "an empty file denies receiving", "", GET, "joe", "c", "a", false },
    { "only comments deny, too", "# topic #\n\n#user joe\n", GET, NOBODY, "c", "a", false },
    { "an empty file accepts a subscription, as Mosquitto does", "", SUB, "joe", "c", "a", true },

    /* access */
    { "read is not write", "topic read a", PUB, NOBODY, "c", "a", false },
    { "read is read", "topic read a", GET, NOBODY, "c", "a", true },
    { "write is write", "topic write a", PUB, NOBODY, "c", "a", true },
    { "write is not read", "topic write a", GET, NOBODY, "c", "a", false },
    { "readwrite is write", "topic readwrite a", PUB, NOBODY, "c", "a", true },
    { "nothing said is readwrite", "topic a", GET, NOBODY, "c", "a", true },
    { "a topic that is named read", "topic read", GET, NOBODY, "c", "read", true },
    { "a topic with blanks", "topic read  a b  c ", GET, NOBODY, "c", "a b  c", true },
    { "tabs are blanks", "topic\tread\ta", GET, NOBODY, "c", "a", true },
    { "CR LF", "topic read a\r\n", GET, NOBODY, "c", "a", true },
    { "a byte order mark", "\xEF\xBB\xBFtopic a\n", GET, NOBODY, "c", "a", true },
    { "an indented line", "  topic a", GET, NOBODY, "c", "a", true },

    /* whom it is about */
    { "before the first user is for the anonymous", "topic a\nuser joe\ntopic b", GET, NOBODY, "c", "a", true },
    { "and not for users", "topic a\nuser joe\ntopic b", GET, "joe", "c", "a", false },
    { "and not for users without rules", "topic a\nuser joe\ntopic b", GET, "ann", "c", "a", false },
    { "a user has rules of his own", "topic a\nuser joe\ntopic b", GET, "joe", "c", "b", true },
    { "which are nobody else's", "topic a\nuser joe\ntopic b", GET, "ann", "c", "b", false },
    { "nor the anonymous'", "topic a\nuser joe\ntopic b", GET, NOBODY, "c", "b", false },
    { "users mind case", "user joe\ntopic a", GET, "Joe", "c", "a", false },
    { "a user in two places", "user joe\ntopic a\nuser ann\ntopic x\nuser joe\ntopic b", GET, "joe", "c", "a", true },
    { "a user in two places, second", "user joe\ntopic a\nuser ann\ntopic x\nuser joe\ntopic b", GET, "joe", "c", "b", true },
    { "a user name with blanks", "user  hand joe \ntopic a", GET, "hand joe", "c", "a", true },
    { "a user without rules", "user joe\nuser ann\ntopic a", GET, "joe", "c", "a", false },
    { "a client id is no user", "user joe\ntopic a", GET, NOBODY, "joe", "a", false },

    /* matching (Comqtt aff5731) */
    { "a literal is not what is below", "topic allowed", GET, NOBODY, "c", "allowed/secret", false },
    { "a literal is not what begins so", "topic allowed", GET, NOBODY, "c", "allowed2", false },
    { "a literal is not its beginning", "topic allowed", GET, NOBODY, "c", "allow", false },
    { "all below", "topic a/#", GET, NOBODY, "c", "a/b/c", true },
    { "all below, and itself", "topic a/#", GET, NOBODY, "c", "a", true },
    { "all below, with an empty level", "topic a/#", GET, NOBODY, "c", "a/", true },
    { "all below, and no sibling", "topic a/#", GET, NOBODY, "c", "ab", false },
    { "all below, and not the beginning", "topic abc/#", GET, NOBODY, "c", "ab", false },
    { "all", "topic #", GET, NOBODY, "c", "/", true },
    { "one level", "topic a/+/c", GET, NOBODY, "c", "a/b/c", true },
    { "one empty level", "topic a/+/c", GET, NOBODY, "c", "a//c", true },
    { "one level is not two", "topic a/+/c", GET, NOBODY, "c", "a/b/b/c", false },
    { "one level is not none", "topic a/+", GET, NOBODY, "c", "a", false },
    { "one level at the end", "topic a/+", GET, NOBODY, "c", "a/", true },
    { "one level, all below", "topic +/b/#", GET, NOBODY, "c", "a/b", true },
    { "one level and all below is everything", "topic +/#", GET, NOBODY, "c", "a", true },
    { "a leading slash counts", "topic a", GET, NOBODY, "c", "/a", false },
    { "all keeps off $SYS", "topic #", GET, NOBODY, "c", "$SYS/uptime", false },
    { "one level keeps off $SYS", "topic +/uptime", GET, NOBODY, "c", "$SYS/uptime", false },
    { "$SYS by its name", "topic read $SYS/#", GET, NOBODY, "c", "$SYS/uptime", true },
    { "other dollar topics by their names only", "topic #", PUB, NOBODY, "c", "$aws/a", false },
    { "a dollar deeper is a letter", "topic a/#", PUB, NOBODY, "c", "a/$b", true },
    { "no topic at all", "topic #", GET, NOBODY, "c", "", false },
    { "percent signs in a topic line are letters", "topic a/%u/%c", GET, "u", "c", "a/u/c", false },

    /* denials */
    { "a denial counts more than what allows", "topic #\ntopic deny a/secret", GET, NOBODY, "c", "a/secret", false },
    { "whatever comes first", "topic deny a/secret\ntopic #", PUB, NOBODY, "c", "a/secret", false },
    { "and leaves the rest", "topic #\ntopic deny a/secret", GET, NOBODY, "c", "a/open", true },
    { "a denial of all below", "topic #\ntopic deny a/#", GET, NOBODY, "c", "a", false },
    { "a denial is for its user", "user joe\ntopic #\ntopic deny a\nuser ann\ntopic #", GET, "ann", "c", "a", true },
    { "a pattern's denial counts more than a user's rule", "user joe\ntopic #\npattern deny a/%u", GET, "joe", "c", "a/joe", false },
    { "and leaves others to him", "user joe\ntopic #\npattern deny a/%u", GET, "joe", "c", "a/ann", true },
    { "a user's denial counts more than a pattern", "user joe\ntopic deny a/#\npattern read a/%u", GET, "joe", "c", "a/joe", false },
    { "a pattern without names denies everybody", "topic #\nuser joe\ntopic #\npattern deny secret/#", GET, NOBODY, "c", "secret/x", false },
    { "a denial with %u is not about the anonymous", "topic #\npattern deny a/%u", GET, NOBODY, "c", "a/", true },

    /* patterns */
    { "a pattern with the user's name", "pattern read a/%u/x", GET, "joe", "c", "a/joe/x", true },
    { "and nobody else's", "pattern read a/%u/x", GET, "joe", "c", "a/ann/x", false },
    { "and none that begins so", "pattern read a/%u/x", GET, "jo", "c", "a/joe/x", false },
    { "and none that is longer", "pattern read a/%u/x", GET, "joes", "c", "a/joe/x", false },
    { "a pattern with the client's id", "pattern read a/%c", GET, NOBODY, "c1", "a/c1", true },
    { "the id is not the name", "pattern read a/%c", GET, "joe", "c1", "a/joe", false },
    { "both", "pattern read %u/%c/#", GET, "joe", "c1", "joe/c1/x", true },
    { "both, exchanged", "pattern read %u/%c/#", GET, "joe", "c1", "c1/joe/x", false },
    { "twice the same", "pattern read %u/%u", GET, "joe", "c1", "joe/joe", true },
    { "a name and all below, itself", "pattern read a/%u/#", GET, "joe", "c1", "a/joe", true },
    { "a name within a level, as Mosquitto takes it", "pattern read a/x-%u-y/z", GET, "joe", "c1", "a/x-joe-y/z", true },
    { "a name within a level is no wildcard", "pattern read a/x-%u-y/z", GET, "joe", "c1", "a/x-ann-y/z", false },
    { "a name and a wildcard", "pattern read +/%u/#", GET, "joe", "c1", "a/joe/b/c", true },
    { "a percent sign before a name", "pattern read a/%%u", GET, "joe", "c1", "a/%joe", true },
    { "a percent sign at the end", "pattern read a/%", GET, "joe", "c1", "a/%", true },
    { "another percent sign", "pattern read a/%d", GET, "joe", "c1", "a/%d", true },
    { "a name that looks like a placeholder is put in once", "pattern read a/%u", GET, "%c", "c1", "a/c1", false },
    { "a name that looks like a placeholder", "pattern read a/%u", GET, "%c", "c1", "a/%c", true },
    { "a pattern without a name is for everybody", "user joe\npattern read a", GET, NOBODY, "c1", "a", true },
    { "a pattern after a user line is for everybody, too", "user joe\npattern read a/%c", GET, "ann", "c1", "a/c1", true },
    { "%u does not stand for nobody", "pattern read a/%u/x", GET, NOBODY, "c1", "a//x", false },
    { "%c does not stand for no id", "pattern read a/%c/x", GET, "joe", "", "a//x", false },

    /* names that would widen a pattern (CVE-2017-7650, CVE-2026-44838) */
    { "a user named #", HOSTILE, GET, "#", "c", "dev/x", false },
    { "a user named #, literally", HOSTILE, GET, "#", "c", "dev/#/x", false },
    { "a user named +", HOSTILE, GET, "+", "c", "dev/joe/x", false },
    { "a user with a slash", HOSTILE, GET, "a/b", "c", "dev/a/b/x", false },
    { "a client named #", HOSTILE, PUB, "joe", "#", "id/x/data", false },
    { "a client named +", HOSTILE, PUB, "joe", "+", "id/x/data", false },
    { "a client with a slash", HOSTILE, PUB, "joe", "a/b", "id/a/b/data", false },
    { "a client with a slash has its user's patterns", HOSTILE, PUB, "joe", "a/b", "dev/joe/x", true },
    { "a client with a wildcard has not, as in Mosquitto", HOSTILE, PUB, "joe", "a+", "dev/joe/x", false },
    { "nor patterns without names", HOSTILE, GET, "joe", "a+", "all/x", false },
    { "but its user's own rules", HOSTILE, PUB, "joe", "a+", "joe/x", true },
    { "a client named $SYS is not the broker", BROKEN_NAMES, GET, "joe", "$SYS", "$SYS/uptime", false },
    { "a client named like another dollar topic", BROKEN_NAMES, PUB, "joe", "$aws", "$aws/x", false },
    { "a denial takes a slash as it is", "topic #\nuser a/b\ntopic #\npattern deny a/%u/x/secret", GET, "a/b", "c", "a/a/b/x/secret", false },
    { "a denial of a name with a plus denies nothing else", "user a+\ntopic #\npattern deny x/%u", GET, "a+", "c", "x/ab", true },

    { "a denial of a name with a dollar", "topic #\nuser a\ntopic $x/#\npattern deny %c/#", GET, "a", "$x", "$x/y", false },
    { "a denial of a name with a dollar leaves others", "topic #\nuser a\ntopic $x/#\npattern deny %c/#", GET, "a", "$y", "$x/y", true },

    /* SUBSCRIBE */
    { "a client named # is denied no subscription by its name", "pattern deny %c", SUB, "a", "#", "#", true },
    { "a client named + is denied no subscription by its name", "pattern deny a/%c/b", SUB, "a", "+", "a/+/b", true },
    { "a subscription that no rule is about", "topic a", SUB, NOBODY, "c", "b/#", true },
    { "a subscription that a denial covers", "topic #\ntopic deny a/#", SUB, NOBODY, "c", "a/b", false },
    { "a subscription that a denial covers, with wildcards", "topic #\ntopic deny a/#", SUB, NOBODY, "c", "a/+/#", false },
    { "a subscription that a denial is", "topic #\ntopic deny a/+", SUB, NOBODY, "c", "a/+", false },
    { "a subscription that a denial covers in part", "topic #\ntopic deny a/b", SUB, NOBODY, "c", "a/+", true },
    { "all is more than a part", "topic #\ntopic deny a/#", SUB, NOBODY, "c", "#", true },
    { "one level does not cover all", "topic #\ntopic deny +", SUB, NOBODY, "c", "#", true },
    { "one level does not cover all below", "topic #\ntopic deny a/+", SUB, NOBODY, "c", "a/#", true },
    { "one level and below covers all", "topic #\ntopic deny +/#", SUB, NOBODY, "c", "#", false },
    { "a denial of all leaves $SYS", "topic deny #\ntopic $SYS/#", SUB, NOBODY, "c", "$SYS/#", true },
    { "a denial of all", "topic deny #", SUB, NOBODY, "c", "#", false },
    { "a denial of all, one level", "topic deny #", SUB, NOBODY, "c", "+/a", false },
    { "a denial with a name", "pattern deny %u/secret/#", SUB, "joe", "c", "joe/secret/+", false },
    { "a denial with another name", "pattern deny %u/secret/#", SUB, "ann", "c", "joe/secret/+", true },
    { "the topic that the interoperability test wants refused", "topic #\ntopic deny test/nosubscribe", SUB, NOBODY, "c", "test/nosubscribe", false },
};

static void decides_row(void **state) {
    const struct decision_row *row = *state;
    struct acl *acl = row->acl != NULL ? of(row->acl) : NULL;

    assert_int_equal(acl_allows(acl, row->action, str_of(row->user), str_of(row->client), str_of(row->topic)), row->want);
    acl_unref(acl);
}

/* --- what a file must not have --- */

static struct complaint_row {
    const char *name, *acl, *want;
    bool loads;
} complaints[] = {
    { "an unknown word", "topic a\ntopics b\n", "acl:2:1: error: unknown word 'topics'; did you mean 'topic'?", false },
    { "a word that is near to none", "x\n", "acl:1:1: error: unknown word 'x'; a line begins with topic, pattern, user or #", false },
    { "no topic", "topic\n", "acl:1:1: error: the topic is missing", false },
    { "no user", "user \n", "acl:1:1: error: the user name is missing", false },
    { "an unknown access", "topic  reads a\n", "acl:1:8: error: unknown access 'reads'; there is read, write, readwrite and deny", false },
    { "a topic with a blank", "topic a b\n", "a topic with a blank needs one of them", false },
    { "a bad filter", "topic read a/#/b\n", "acl:1:12: error: # must be the last level", false },
    { "a bad pattern", "pattern read a/%u+\n", "acl:1:14: error: + must stand alone in its level", false },
    { "a comment behind a rule", "topic read a/b # all of it\n", "a comment has a line of its own", false },
    { "a filter that is not UTF-8", "topic read a\xFF\n", "acl:1:12: error: a topic filter must be UTF-8", false },
    { "a user that is not UTF-8", "user a\xFF\n", "acl:1:6: error: a user name must be UTF-8", false },
    { "nearly a topic", "topic read\n", "acl:1:7: warning: this allows the topic that is named 'read'; is the topic missing?", true },
    { "a shared filter", "topic read $share/g/a\n", "acl:1:12: warning: no topic begins with $share/", true },
    { "a placeholder in a topic line", "topic read a/%u\n", "acl:1:12: warning: %u stands for itself here; `pattern` puts the name in", true },
};

static void complains_row(void **state) {
    const struct complaint_row *row = *state;
    struct diags diags = { 0 };
    struct acl *acl = acl_parse("acl", str_of(row->acl), &diags);
    char *text = printed(&diags);

    assert_int_equal(acl != NULL, row->loads);
    assert_int_equal(diags.count, 1);
    if (strstr(text, row->want) == NULL)
        fail_msg("no '%s' in: %s", row->want, text);
    free(text);
    diags_release(&diags);
    acl_unref(acl);
}

static void every_bad_line_is_named(void **state) {
    struct diags diags = { 0 };
    char *text;

    (void)state;
    assert_null(acl_parse("acl", STR("x\ntopic\nuser joe\ntopic read #/a\ntopic ok\n"), &diags));
    text = printed(&diags);
    assert_int_equal(diags.errors, 3);
    assert_non_null(strstr(text, "acl:1:1:"));
    assert_non_null(strstr(text, "acl:2:1:"));
    assert_non_null(strstr(text, "acl:4:12:"));
    free(text);
    diags_release(&diags);
}

static void a_nul_is_refused(void **state) {
    struct diags diags = { 0 };

    (void)state;
    assert_null(acl_parse("acl", STR("topic a\0/#\n"), &diags));
    assert_null(acl_parse("acl", STR("user a\0b\n"), &diags));
    assert_int_equal(diags.errors, 2);
    diags_release(&diags);
}

/* --- files --- */

static void a_file_that_cannot_be_read_says_why(void **state) {
    struct diags diags = { 0 };
    char *text;

    (void)state;
    assert_null(acl_load("/nowhere/acl", &diags));
    assert_null(acl_load("/tmp", &diags));
    text = printed(&diags);
    assert_non_null(strstr(text, "/nowhere/acl: error: cannot open it: No such file"));
    assert_non_null(strstr(text, "/tmp: error: cannot read /tmp: Is a directory"));
    free(text);
    diags_release(&diags);
}

static void a_file_that_everybody_may_change_is_a_warning(void **state) {
    char path[] = "/tmp/test_acl.XXXXXX", *text;
    struct diags diags = { 0 };
    struct acl *acl;
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(write(fd, "topic a\n", 8), 8);
    acl = acl_load(path, &diags);
    assert_non_null(acl);
    assert_int_equal(diags.count, 0);
    acl_unref(acl);
    assert_int_equal(fchmod(fd, 0646), 0);
    acl = acl_load(path, &diags);
    assert_true(acl_allows(acl, ACL_RECEIVE, STR(""), STR("c"), STR("a")));
    text = printed(&diags);
    assert_non_null(strstr(text, "warning: everybody on this machine may change it: chmod o-w "));
    free(text);
    acl_unref(acl);
    diags_release(&diags);
    close(fd);
    unlink(path);
}

/* What the comments of the example promise. The tests run in the repository's root. */
static void the_example_does_what_it_says(void **state) {
    static const struct {
        enum acl_action action;
        const char *user, *client, *topic;
        bool want;
    } rows[] = {
        { GET, NOBODY, "c", "public/news", true },
        { PUB, NOBODY, "c", "public/news", false },
        { GET, "grafana", "g", "plant/a/b", true },
        { GET, "grafana", "g", "plant/a/secret", false },
        { PUB, "grafana", "g", "plant/a/b", false },
        { PUB, "press-4", "x", "plant/press-4/temperature", true },
        { PUB, "press-4", "x", "plant/press-5/temperature", false },
        { GET, "press-4", "x", "plant/press-4/temperature", false },
        { GET, "press-4", "x", "devices/press-4/command", true },
        { GET, "press-5", "x", "devices/press-4/command", false },
        { PUB, "any", "gw-1", "gateways/gw-1/state", true },
        { PUB, "any", "gw-1", "gateways/gw-2/state", false },
        { GET, "monitor", "x", "$SYS/broker/uptime", true },
        { GET, "grafana", "x", "$SYS/broker/uptime", false },
    };
    struct diags diags = { 0 };
    struct acl *acl = acl_load("config/examples/acl", &diags);

    (void)state;
    diags_print(&diags, stderr);
    assert_non_null(acl);
    assert_int_equal(diags.count, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (acl_allows(acl, rows[i].action, str_of(rows[i].user), str_of(rows[i].client), str_of(rows[i].topic)) != rows[i].want)
            fail_msg("row %zu: %s, %s", i, rows[i].user, rows[i].topic);
    acl_unref(acl);
}

/* More than one doubling of every table, and names that are found again. */
static void thousands_of_users(void **state) {
    enum { USERS = 5000 };
    struct buf text = BUF_INIT(ACL_FILE_MAX);
    struct acl *acl;
    char user[32], topic[64];

    (void)state;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < USERS; i++)
            buf_printf(&text, "user u%d\ntopic read %d/u%d\ntopic deny %d/u%d/x\n", i, round, i, round, i);
    acl = of(buf_cstr(&text));
    for (int i = 0; i < USERS; i++)
        for (int round = 0; round < 2; round++) {
            snprintf(user, sizeof user, "u%d", i);
            snprintf(topic, sizeof topic, "%d/u%d", round, i);
            assert_true(acl_allows(acl, ACL_RECEIVE, str_of(user), STR("c"), str_of(topic)));
            assert_false(acl_allows(acl, ACL_PUBLISH, str_of(user), STR("c"), str_of(topic)));
            snprintf(user, sizeof user, "u%d", (i + 1) % USERS);
            assert_false(acl_allows(acl, ACL_RECEIVE, str_of(user), STR("c"), str_of(topic)));
        }
    acl_unref(acl);
    buf_release(&text);
}

/* --- rules in the configuration --- */

struct holder {
    struct cfg_objects acl;
};

/* `said` is the caller's to free. */
static struct acl *from_yaml(const char *yaml, char **said) {
    const struct cfg_field fields[] = {
        { .key = "acl", .type = CFG_OBJECTS, .offset = offsetof(struct holder, acl), .fields = acl_rule_options, .size = sizeof(struct acl_rule_options) },
        CFG_END,
    };
    struct holder holder = { 0 };
    struct cfg_binding binding = { fields, &holder };
    struct diags diags = { 0 };
    struct acl *acl = NULL;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    if (cfg_read(yaml_parse("t.yaml", str_of(yaml), &arena, &diags), "broker", &binding, 1, &arena, &diags))
        acl = acl_from_rules(&holder.acl, &diags);
    *said = printed(&diags);
    diags_release(&diags);
    arena_release(&arena); /* the ACL has copies */
    return acl;
}

#define SITE                                                                                                           \
    "acl:\n"                                                                                                           \
    "  - { user: press-4, allow: publish, topics: [\"plant/press-4/#\"] }\n"                                           \
    "  - { users: [grafana, scada], allow: subscribe, topics: [\"#\", \"$SYS/#\"] }\n"                                 \
    "  - { everybody: true, deny: all, topics: [\"secret/#\"] }\n"                                                     \
    "  - { everybody: true, allow: [subscribe], topics: [\"news\", \"devices/%u/#\"] }\n"                              \
    "  - { anonymous: true, allow: [publish, subscribe], topics: public }\n"                                           \
    "  - { user: scada, deny: subscribe, topics: [\"plant/%c/raw\"] }\n"

static struct rule_row {
    const char *name, *yaml;
    enum acl_action action;
    const char *user, *client, *topic;
    bool want;
} rule_rows[] = {
    { "allow publish", SITE, PUB, "press-4", "c", "plant/press-4/t", true },
    { "allow publish is not subscribe", SITE, GET, "press-4", "c", "plant/press-4/t", false },
    { "for another user", SITE, PUB, "press-5", "c", "plant/press-4/t", false },
    { "several users, first", SITE, GET, "grafana", "c", "plant/x", true },
    { "several users, second", SITE, GET, "scada", "c", "plant/x", true },
    { "several topics", SITE, GET, "scada", "c", "$SYS/broker/uptime", true },
    { "allow subscribe is not publish", SITE, PUB, "scada", "c", "plant/x", false },
    { "deny all for everybody", SITE, GET, "scada", "c", "secret/x", false },
    { "deny all, the subscription", SITE, SUB, "scada", "c", "secret/+", false },
    { "deny all, publishing", SITE, PUB, "press-4", "c", "secret/x", false },
    { "allow for everybody, anonymous", SITE, GET, NOBODY, "c", "news", true },
    { "allow for everybody, a user", SITE, GET, "any", "c", "news", true },
    { "allow for everybody, whatever the name", SITE, GET, "a+b", "#", "news", true },
    { "allow with %u", SITE, GET, "any", "c", "devices/any/x", true },
    { "allow with %u, for another", SITE, GET, "any", "c", "devices/other/x", false },
    { "allow with %u, and a name with a wildcard", SITE, GET, "+", "c", "devices/other/x", false },
    { "anonymous", SITE, PUB, NOBODY, "c", "public", true },
    { "anonymous is not everybody", SITE, PUB, "any", "c", "public", false },
    { "deny subscribe with %c", SITE, GET, "scada", "c", "plant/c/raw", false },
    { "deny subscribe with %c, refused", SITE, SUB, "scada", "c", "plant/c/raw", false },
    { "deny subscribe with %c, for another client", SITE, GET, "scada", "d", "plant/c/raw", true },
    { "deny subscribe leaves publishing", "acl:\n - { user: a, allow: all, topics: x }\n - { user: a, deny: subscribe, topics: x }\n", PUB, "a",
      "c", "x", true },
    { "no rules deny", "acl: []", GET, "a", "c", "x", false },
};

static void decides_rule_row(void **state) {
    const struct rule_row *row = *state;
    char *said;
    struct acl *acl = from_yaml(row->yaml, &said);

    assert_string_equal(said, "");
    assert_non_null(acl);
    free(said);
    assert_int_equal(acl_allows(acl, row->action, str_of(row->user), str_of(row->client), str_of(row->topic)), row->want);
    acl_unref(acl);
}

static struct rule_complaint_row {
    const char *name, *yaml, *want;
} rule_complaints[] = {
    { "nobody", "acl:\n  - { allow: all, topics: a }\n", "t.yaml:2:5: error: acl: a rule has one of user, users, anonymous and everybody, and this one has none" },
    { "anonymous: false is nobody", "acl:\n  - { anonymous: false, allow: all, topics: a }\n", "and this one has none" },
    { "no user in the list", "acl:\n  - { users: [], allow: all, topics: a }\n", "and this one has none" },
    { "two kinds of somebody", "acl:\n  - { user: a, everybody: true, allow: all, topics: a }\n", "t.yaml:2:5: error: acl: a rule has one of user, users, anonymous and everybody, not several" },
    { "an empty user", "acl:\n  - { user: \"\", allow: all, topics: a }\n", "t.yaml:2:13: error: acl: a user name must not be empty" },
    { "neither allow nor deny", "acl:\n  - { user: a, topics: a }\n", "t.yaml:2:5: error: acl: a rule has either allow or deny" },
    { "allow and deny", "acl:\n  - { user: a, allow: all, deny: all, topics: a }\n", "a rule has either allow or deny" },
    { "an unknown action", "acl:\n  - { user: a, allow: write, topics: a }\n", "t.yaml:2:23: error: acl: unknown action 'write'; known: publish, subscribe, all" },
    { "a misspelt action", "acl:\n  - { user: a, allow: [publish, subcribe], topics: a }\n", "t.yaml:2:33: error: acl: unknown action 'subcribe'; did you mean 'subscribe'?" },
    { "a bad filter", "acl:\n  - { user: a, allow: all, topics: [ok, \"a/#/b\"] }\n", "t.yaml:2:41: error: acl: 'a/#/b': # must be the last level" },
    { "a shared filter", "acl:\n  - { user: a, allow: all, topics: \"$share/g/a\" }\n", "write the filter alone, without $share/group/" },
    { "no topics", "acl:\n  - { user: a, allow: all }\n", "'topics' is required" },
    { "an unknown key", "acl:\n  - { user: a, allow: all, topic: a }\n", "did you mean 'topics'?" },
};

static void complains_rule_row(void **state) {
    const struct rule_complaint_row *row = *state;
    char *text;

    assert_null(from_yaml(row->yaml, &text));
    if (strstr(text, row->want) == NULL)
        fail_msg("no '%s' in: %s", row->want, text);
    free(text);
}

static void every_bad_rule_is_named(void **state) {
    static const char *const wants[] = { "t.yaml:2:4: error: acl: a rule has one", "t.yaml:2:13: error: acl: unknown action 'al'",
                                         "t.yaml:2:29: error: acl: '+b'", "t.yaml:4:4: error: acl: a rule has either", "t.yaml:4:23: error: acl: '#/'" };
    char *text;

    (void)state;
    assert_null(from_yaml("acl:\n - { allow: al, topics: [a, \"+b\"] }\n - { user: a, allow: all, topics: x }\n - { user: a, topics: \"#/\" }\n", &text));
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
        if (strstr(text, wants[i]) == NULL)
            fail_msg("no '%s' in: %s", wants[i], text);
    free(text);
}

/* --- other threads --- */

static _Atomic(unsigned) good;

static void *decide_and_leave(void *arg) {
    struct acl *acl = arg;

    for (int i = 0; i < 1000; i++)
        good += acl_allows(acl, ACL_PUBLISH, STR("joe"), STR("c"), STR("a/joe")) && !acl_allows(acl, ACL_PUBLISH, STR("ann"), STR("c"), STR("a/joe"));
    acl_unref(acl);
    return NULL;
}

static void the_last_thread_frees(void **state) {
    struct acl *acl = of("pattern a/%u");
    pthread_t threads[4];

    (void)state;
    good = 0;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, decide_and_leave, acl_ref(acl)), 0);
    acl_unref(acl);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(good, 4 * 1000);
    acl_unref(NULL);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define ADD_ROWS(array, function)                                                                                      \
    for (size_t i = 0; i < COUNT(array); i++)                                                                          \
    tests[count++] = (struct CMUnitTest){ (array)[i].name, function, NULL, NULL, &(array)[i] }

int main(void) {
    static struct CMUnitTest tests[COUNT(decisions) + COUNT(complaints) + COUNT(rule_rows) + COUNT(rule_complaints) + 20];
    const struct CMUnitTest more[] = {
        cmocka_unit_test(every_bad_line_is_named),
        cmocka_unit_test(a_nul_is_refused),
        cmocka_unit_test(a_file_that_cannot_be_read_says_why),
        cmocka_unit_test(a_file_that_everybody_may_change_is_a_warning),
        cmocka_unit_test(the_example_does_what_it_says),
        cmocka_unit_test(thousands_of_users),
        cmocka_unit_test(every_bad_rule_is_named),
        cmocka_unit_test(the_last_thread_frees),
    };
    size_t count = 0;

    ADD_ROWS(decisions, decides_row);
    ADD_ROWS(complaints, complains_row);
    ADD_ROWS(rule_rows, decides_rule_row);
    ADD_ROWS(rule_complaints, complains_rule_row);
    for (size_t i = 0; i < COUNT(more); i++)
        tests[count++] = more[i];
    return _cmocka_run_group_tests("acl", tests, count, NULL, NULL);
}
