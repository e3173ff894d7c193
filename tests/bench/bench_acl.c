/*
 * tests/bench/bench_acl.c: one decision for one of 1,000 users with ten rules each, beside the plain walk over the same ten rules with
 * topic_filter_match once the user is known; and what passwords cost: loading, one look-up, one iteration. One thread; the best of
 * several rounds, as the machine may be shared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/base/topic_filter.h"
#include "agent/broker/acl.h"
#include "agent/broker/passwords.h"

enum { USERS = 1000, RULES = 10, ROUNDS = 7, PASSES = 50, FILE_USERS = 100000 };

static volatile unsigned sink;

static double seconds(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static const char *const endings[RULES] = { "temperature", "pressure", "state/#", "+/value", "alarms/+/text", "energy", "position",
                                            "recipe/#", "command", "log/#" };

struct names {
    char user[USERS][16], client[USERS][16], last[USERS][64], none[USERS][64], rules[USERS][RULES][64];
};

static struct names *make_names(void) {
    struct names *names = calloc(1, sizeof *names);

    for (int u = 0; names != NULL && u < USERS; u++) {
        snprintf(names->user[u], sizeof names->user[u], "press-%d", u);
        snprintf(names->client[u], sizeof names->client[u], "gateway-%d", u);
        snprintf(names->last[u], sizeof names->last[u], "plant/press-%d/log/today/warnings", u);
        snprintf(names->none[u], sizeof names->none[u], "plant/press-%d/zone/4", u);
        for (int r = 0; r < RULES; r++)
            snprintf(names->rules[u][r], sizeof names->rules[u][r], "plant/press-%d/%s", u, endings[r]);
    }
    return names;
}

static struct acl *make_acl(const struct names *names, const char *patterns) {
    struct buf text = BUF_INIT(1 << 24);
    struct diags diags = { 0 };
    struct acl *acl;

    for (int u = 0; u < USERS; u++) {
        buf_printf(&text, "user %s\n", names->user[u]);
        for (int r = 0; r < RULES; r++)
            buf_printf(&text, "topic %s\n", names->rules[u][r]);
    }
    buf_append_c(&text, patterns);
    acl = acl_parse("bench", buf_str(&text), &diags);
    if (acl == NULL) {
        diags_print(&diags, stderr);
        exit(1);
    }
    buf_release(&text);
    return acl;
}

/* Nanoseconds a decision. */
static double decide(const struct acl *acl, const struct names *names, const char (*topics)[64], bool want) {
    double best = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        double start = seconds();
        unsigned allowed = 0;
        for (int pass = 0; pass < PASSES; pass++)
            for (int u = 0; u < USERS; u++)
                allowed += acl_allows(acl, ACL_PUBLISH, str_of(names->user[u]), str_of(names->client[u]), str_of(topics[u]));
        double took = seconds() - start;
        if (allowed != (want ? PASSES * USERS : 0)) {
            fprintf(stderr, "bench_acl: a wrong decision\n");
            exit(1);
        }
        best = took < best ? took : best;
    }
    return best / PASSES / USERS * 1e9;
}

static double walk_plainly(const struct names *names, const char (*topics)[64]) {
    double best = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        double start = seconds();
        unsigned matched = 0;
        for (int pass = 0; pass < PASSES; pass++)
            for (int u = 0; u < USERS; u++)
                for (int r = 0; r < RULES; r++)
                    matched += topic_filter_match(str_of(names->rules[u][r]), str_of(topics[u]));
        double took = seconds() - start;
        sink = matched;
        best = took < best ? took : best;
    }
    return best / PASSES / USERS * 1e9;
}

static void bench_acl(void) {
    static const char patterns[] = "pattern readwrite devices/%u/#\npattern deny plant/%c/secret\n";
    struct names *names = make_names();
    struct acl *plain = make_acl(names, ""), *with_patterns = make_acl(names, patterns);

    printf("acl_allows_last_of_10_rules %.1f ns\n", decide(plain, names, (const char (*)[64])names->last, true));
    printf("acl_allows_none_of_10_rules %.1f ns\n", decide(plain, names, (const char (*)[64])names->none, false));
    printf("acl_allows_last_of_10_rules_2_patterns %.1f ns\n", decide(with_patterns, names, (const char (*)[64])names->last, true));
    printf("acl_allows_none_of_10_rules_2_patterns %.1f ns\n", decide(with_patterns, names, (const char (*)[64])names->none, false));
    printf("acl_reference_plain_walk_of_10_rules %.1f ns\n", walk_plainly(names, (const char (*)[64])names->none));
    acl_unref(plain);
    acl_unref(with_patterns);
    free(names);
}

static void bench_passwords(void) {
    struct buf text = BUF_INIT(PASSWORDS_FILE_MAX), line = BUF_INIT(1000);
    struct diags diags = { 0 };
    struct err err = ERR_INIT;
    struct passwords *passwords;
    double start, best = 1e9;
    unsigned slow = 0;
    char user[32];

    if (!password_hash(PASSWORD_PBKDF2, STR("x"), 100000, &line, &err))
        exit(1);
    for (int i = 0; i < FILE_USERS; i++)
        buf_printf(&text, "device-%d:%s\n", i, buf_cstr(&line));
    start = seconds();
    passwords = passwords_parse("bench", buf_str(&text), &diags);
    printf("passwords_load_100000_users %.0f ms\n", (seconds() - start) * 1e3);
    start = seconds();
    for (int i = 0; i < FILE_USERS; i++) {
        snprintf(user, sizeof user, "device-%d", i * 7 % FILE_USERS);
        slow += passwords_is_slow(passwords, str_of(user));
    }
    printf("passwords_look_up_of_100000 %.0f ns\n", (seconds() - start) / FILE_USERS * 1e9);
    sink = slow;
    for (int round = 0; round < ROUNDS; round++) {
        start = seconds();
        sink = passwords_check(passwords, STR("device-1"), STR("y"));
        best = seconds() - start < best ? seconds() - start : best;
    }
    printf("passwords_pbkdf2_iteration %.2f us\n", best / 100000 * 1e6);
    passwords_unref(passwords);
    buf_release(&text);
    buf_release(&line);
}

int main(void) {
    bench_acl();
    bench_passwords();
    return 0;
}
