/*
 * tests/unit/test_passwords.c: password files: what Mosquitto's own tool writes is taken, what is malformed is refused at its line, and
 * strangers cost what users cost.
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

#include "agent/base/clock.h"
#include "agent/broker/password_hash.h"
#include "tests/support/config_text.h"

/* Written by mosquitto_passwd 2.0.11; the password is "secret". */
#define PBKDF2 "$7$101$kCRH0HU3yFDERBoJ$YPDMwawCDYnwArMnU1+dvmNJR3HBROuP2hHYh3PY8B6rjVQTI0xXcXVqCbhZiJ+NcNNvfbLuHVDgpfGwi7RKoA=="
#define SHA512 "$6$X9AoSusXjAJv9uDZ$AHVSnvcTyQFWRXHQgch9E86tdzvCT/ThkE3RcGg4Nf87skSqZ/njedKAFhz4grv46dYyd8iue8PsUL5Hc/PrjA=="
/* A test vector of the reference implementation (phc-winner-argon2, test.c); the password is "password". */
#define ARGON2ID "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"

#define SALT "AAAAAAAAAAAAAAAA"
#define DIGEST "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
#define EMPTY "ZmqaGnVC6JWp9EfRw+D/1nm79jRuDEP1x6czxG9eVsL2Xmnf1HaanK0rebMdKC8coqopbvQb2YM5R62hlPRpQA=="

static bool parses(const char *text, size_t len, struct passwords **passwords, char **complaints) {
    struct diags diags = { 0 };

    *passwords = passwords_parse("file", str_make(text, len), &diags);
    assert_true((*passwords == NULL) == (diags.errors > 0));
    *complaints = printed(&diags);
    diags_release(&diags);
    return *passwords != NULL;
}

static struct passwords *of(const char *text) {
    struct passwords *passwords;
    char *complaints;

    if (!parses(text, strlen(text), &passwords, &complaints))
        fail_msg("%s", complaints);
    assert_string_equal(complaints, "");
    free(complaints);
    return passwords;
}

static bool lets_in(const struct passwords *passwords, const char *user, const char *password) {
    return passwords_check(passwords, str_of(user), str_of(password));
}

/* --- what a check says --- */

static struct check_row {
    const char *name, *file, *user, *password;
    bool want;
} checks[] = {
    { "PBKDF2 as Mosquitto 2.0 writes it", "joe:" PBKDF2 "\n", "joe", "secret", true },
    { "PBKDF2, wrong password", "joe:" PBKDF2 "\n", "joe", "Secret", false },
    { "PBKDF2, no password", "joe:" PBKDF2 "\n", "joe", "", false },
    { "PBKDF2, a longer password", "joe:" PBKDF2 "\n", "joe", "secret ", false },
    { "SHA-512 as Mosquitto 2.0 writes it", "ann:" SHA512 "\n", "ann", "secret", true },
    { "SHA-512, wrong password", "ann:" SHA512 "\n", "ann", "secreT", false },
    { "another user's password", "joe:" PBKDF2 "\nann:" SHA512 "\n", "ann", "secret", true },
    { "a stranger with the password of whoever stands in", "joe:" PBKDF2 "\n", "eve", "secret", false },
    { "a stranger whose name is longer", "joe:" PBKDF2 "\n", "joe ", "secret", false },
    { "a stranger whose name is shorter", "joe:" PBKDF2 "\n", "jo", "secret", false },
    { "names mind case", "joe:" PBKDF2 "\n", "Joe", "secret", false },
    { "no name", "joe:" PBKDF2 "\n", "", "secret", false },
    { "a name with a colon is never in a file", "joe:" PBKDF2 "\n", "joe:" PBKDF2, "secret", false },
    { "an empty file has nobody", "", "joe", "secret", false },
    { "comments and empty lines", "# joe:x\n\n  # x\n \t\njoe:" PBKDF2 "\n#", "joe", "secret", true },
    { "a user that is commented out", "#joe:" PBKDF2 "\nann:" SHA512 "\n", "#joe", "secret", false },
    { "CR LF", "joe:" PBKDF2 "\r\nann:" SHA512 "\r\n\r\n", "joe", "secret", true },
    { "no newline at the end", "joe:" PBKDF2, "joe", "secret", true },
    { "blanks around both parts", "  joe :  " PBKDF2 " \n", "joe", "secret", true },
    { "a byte order mark", "\xEF\xBB\xBFjoe:" PBKDF2 "\n", "joe", "secret", true },
    { "a name with blanks in it and umlauts", "h\xC3\xA4nd joe:" PBKDF2 "\n", "h\xC3\xA4nd joe", "secret", true },
    { "a hash of the empty password", "nul:$6$" SALT "$" EMPTY "\n", "nul", "", true }, /* 12 zeros for a salt */
    { "a hash of the empty password, and another one", "nul:$6$" SALT "$" EMPTY "\n", "nul", "x", false },
};

static void checks_row(void **state) {
    const struct check_row *row = *state;
    struct passwords *passwords = of(row->file);

    assert_int_equal(lets_in(passwords, row->user, row->password), row->want);
    passwords_unref(passwords);
}

static void argon2id_of_the_reference(void **state) {
    struct passwords *passwords;
    char *complaints;

    (void)state;
    if (!password_kind_available(PASSWORD_ARGON2ID)) {
        const char *text = "# x\njoe:" ARGON2ID "\n";
        assert_false(parses(text, strlen(text), &passwords, &complaints));
        assert_non_null(strstr(complaints, "file:2:5: error: user 'joe': this program was built without Argon2: install libargon2-dev"));
        free(complaints);
        return;
    }
    passwords = of("joe:" ARGON2ID "\n");
    assert_true(lets_in(passwords, "joe", "password"));
    assert_false(lets_in(passwords, "joe", "passwore"));
    assert_true(passwords_is_slow(passwords, STR("joe")));
    passwords_unref(passwords);
}

static void a_password_may_have_any_bytes(void **state) {
    const struct str password = STR_INIT("a\0b\xFF");
    struct buf line = BUF_INIT(1000);
    struct err err = ERR_INIT;
    struct passwords *passwords;

    (void)state;
    buf_append_c(&line, "joe:");
    assert_true(password_hash(PASSWORD_SHA512, password, 0, &line, &err));
    passwords = of(buf_cstr(&line));
    assert_true(passwords_check(passwords, STR("joe"), password));
    assert_false(passwords_check(passwords, STR("joe"), STR("a"))); /* Mosquitto 2.0 lets in whoever has the part before the NUL */
    assert_false(passwords_check(passwords, STR("joe"), STR("a\0c\xFF")));
    passwords_unref(passwords);
    buf_release(&line);
}

/* --- what is refused --- */

static struct bad_row {
    const char *name, *file, *want;
    bool argon2;
} bads[] = {
    { "a line without a colon", "joe\n", "file:1:1: error: there is no ':' here", false },
    { "the second line", "ann:" SHA512 "\njunk\n", "file:2:1: error: there is no ':' here", false },
    { "no name", ":" PBKDF2 "\n", "file:1:1: error: there is no user name", false },
    { "only blanks for a name", "  :" PBKDF2 "\n", "file:1:1: error: there is no user name", false },
    { "no hash", "joe:\n", "file:1:5: error: user 'joe': no hash; `heliograf passwd -U FILE`", false },
    { "plain text", "joe:swordfish\n", "file:1:5: error: user 'joe': no hash; `heliograf passwd -U FILE`", false },
    { "a user twice", "joe:" PBKDF2 "\nann:" SHA512 "\njoe:" SHA512 "\n", "file:3:1: error: user 'joe' is here for the second time", false },
    { "a name that is not UTF-8", "j\xFF:" PBKDF2 "\n", "file:1:1: error: a user name must be UTF-8", false },
    { "an unknown kind", "joe:$5$" SALT "$" DIGEST "\n", "a hash of a kind that is not known", false },
    { "bcrypt", "joe:$2y$10$abcdefghijklmnopqrstuv\n", "a hash of a kind that is not known", false },
    { "a kind alone", "joe:$6\n", "salt is not", false },
    { "a dollar alone", "joe:$\n", "a hash of a kind that is not known", false },
    { "no salt", "joe:$6$$" DIGEST "\n", "salt is not 8 to 64 bytes in base64", false },
    { "no digest", "joe:$6$" SALT "\n", "what follows the hash's salt is not 64 bytes", false },
    { "a short digest", "joe:$6$" SALT "$" SALT "\n", "what follows the hash's salt is not 64 bytes", false },
    { "a digest that goes on", "joe:$6$" SALT "$" DIGEST "$x\n", "what follows the hash's salt is not 64 bytes", false },
    { "a colon behind the digest", "joe:$6$" SALT "$" DIGEST ":x\n", "what follows the hash's salt is not 64 bytes", false },
    { "a blank within base64", "joe:$6$AAAAAAAA AAAAAAA$" DIGEST "\n", "salt is not", false },
    { "base64 of URLs", "joe:$6$AAAAAAAA-AAAAAAA$" DIGEST "\n", "salt is not", false },
    { "base64 without its padding", "joe:$6$" SALT "AA$" DIGEST "\n", "salt is not", false },
    { "base64 with bits that do not count", "joe:$6$AAAAAAAAAAB=$" DIGEST "\n", "salt is not", false },
    { "padding in the middle", "joe:$6$AAAA=AAAAAAAAAAA$" DIGEST "\n", "salt is not", false },
    { "three times padding", "joe:$6$AAAAAAAAAAAAA===$" DIGEST "\n", "salt is not", false },
    { "a salt of 65 bytes", "joe:$6$" DIGEST "AAA=$" DIGEST "\n", "salt is not", false },
    { "no iterations", "joe:$7$$" SALT "$" DIGEST "\n", "iterations must be 1 to 2000000", false },
    { "0 iterations", "joe:$7$0$" SALT "$" DIGEST "\n", "iterations must be 1 to 2000000", false },
    { "-1 iterations", "joe:$7$-1$" SALT "$" DIGEST "\n", "iterations must be 1 to 2000000", false },
    { "+1 iterations", "joe:$7$+1$" SALT "$" DIGEST "\n", "iterations must be 1 to 2000000", false },
    { "iterations with a word behind", "joe:$7$101x$" SALT "$" DIGEST "\n", "iterations must be 1 to 2000000", false },
    { "hours of iterations", "joe:$7$4294967297$" SALT "$" DIGEST "\n", "iterations must be 1 to 2000000", false },
    { "Argon2 without parameters", "joe:$argon2id$v=19$" SALT "$" DIGEST "\n", "memory (m=) must be", true },
    { "Argon2i", "joe:$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n", "kind that is not known", true },
    { "Argon2 of an old version", "joe:$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n", "v=19", true },
    { "Argon2 with gigabytes of memory", "joe:$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n",
      "memory (m=) must be 1 to 262144 KiB", true },
    { "Argon2 with no memory", "joe:$argon2id$v=19$m=0,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n", "memory (m=) must be", true },
    { "Argon2 with no pass", "joe:$argon2id$v=19$m=64,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n", "passes (t=) must be", true },
    { "Argon2 for minutes", "joe:$argon2id$v=19$m=65536,t=17,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n", "passes (t=) must be", true },
    { "Argon2 with no lane", "joe:$argon2id$v=19$m=64,t=1,p=0$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n", "lanes (p=) must be", true },
    { "Argon2 with less memory than its lanes need", "joe:$argon2id$v=19$m=15,t=1,p=2$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n",
      "8 KiB of memory for each", true },
    { "Argon2 with a parameter more", "joe:$argon2id$v=19$m=64,t=1,p=1,q=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n", "lanes (p=) must be", true },
    { "Argon2 with padded base64", "joe:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ=$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n", "salt is not", true },
};

static void refuses_row(void **state) {
    const struct bad_row *row = *state;
    struct passwords *passwords;
    char *complaints;

    if (row->argon2 && !password_kind_available(PASSWORD_ARGON2ID))
        skip();
    assert_false(parses(row->file, strlen(row->file), &passwords, &complaints));
    if (strstr(complaints, row->want) == NULL)
        fail_msg("no '%s' in: %s", row->want, complaints);
    assert_null(strstr(complaints, "swordfish"));
    assert_null(strstr(complaints, DIGEST));
    free(complaints);
}

static void every_bad_line_is_named(void **state) {
    const char *text = "one\njoe:" PBKDF2 "\ntwo:x\n\n:\n";
    struct passwords *passwords;
    char *complaints;

    (void)state;
    assert_false(parses(text, strlen(text), &passwords, &complaints));
    assert_non_null(strstr(complaints, "file:1:1:"));
    assert_non_null(strstr(complaints, "file:3:5:"));
    assert_non_null(strstr(complaints, "file:5:1:"));
    assert_null(strstr(complaints, "file:2:"));
    free(complaints);
}

static void a_nul_in_a_name_is_refused(void **state) {
    const struct str text = STR_INIT("jo\0e:" PBKDF2 "\n");
    struct passwords *passwords;
    char *complaints;

    (void)state;
    assert_false(parses(text.data, text.len, &passwords, &complaints));
    assert_non_null(strstr(complaints, "without NUL"));
    free(complaints);
}

/* --- hashes that we make --- */

static struct make_row {
    const char *name;
    enum password_kind kind;
    unsigned cost;
    const char *begins; /* NULL: refused */
} makes[] = {
    { "PBKDF2 by default", PASSWORD_PBKDF2, 0, "$7$1000$" },
    { "PBKDF2 with iterations", PASSWORD_PBKDF2, 7, "$7$7$" },
    { "PBKDF2 for hours", PASSWORD_PBKDF2, 2000001, NULL },
    { "SHA-512", PASSWORD_SHA512, 0, "$6$" },
    { "SHA-512 with iterations", PASSWORD_SHA512, 2, NULL },
    { "Argon2 by default", PASSWORD_ARGON2ID, 0, "$argon2id$v=19$m=19456,t=2,p=1$" },
    { "Argon2 with one pass", PASSWORD_ARGON2ID, 1, "$argon2id$v=19$m=19456,t=1,p=1$" },
    { "Argon2 for minutes", PASSWORD_ARGON2ID, 100, NULL },
};

static void makes_row(void **state) {
    const struct make_row *row = *state;
    struct buf line = BUF_INIT(4096), again = BUF_INIT(4096);
    struct err err = ERR_INIT;
    struct passwords *passwords;
    bool available = password_kind_available(row->kind);

    buf_append_c(&line, "joe:");
    assert_int_equal(password_hash(row->kind, STR("s3cret"), row->cost, &line, &err), row->begins != NULL && available);
    if (row->begins == NULL || !available) {
        assert_string_not_equal(err.text, "");
        assert_string_equal(buf_cstr(&line), "joe:");
    } else {
        assert_true(str_starts_with(str_make(line.data + 4, line.len - 4), str_of(row->begins)));
        assert_true(password_is_hash(str_make(line.data + 4, line.len - 4)));
        passwords = of(buf_cstr(&line));
        assert_true(lets_in(passwords, "joe", "s3cret"));
        assert_false(lets_in(passwords, "joe", "s3cre"));
        passwords_unref(passwords);
        assert_true(password_hash(row->kind, STR("s3cret"), row->cost, &again, &err));
        assert_string_not_equal(buf_cstr(&again), buf_cstr(&line) + 4); /* another salt */
    }
    buf_release(&line);
    buf_release(&again);
}

/* What is read prints as it was. */
static void prints_what_it_read(void **state) {
    static const char *const texts[] = { PBKDF2, SHA512, ARGON2ID };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct buf out = BUF_INIT(1000);
        struct password_hash hash;
        struct err err = ERR_INIT;
        if (i == 2 && !password_kind_available(PASSWORD_ARGON2ID))
            continue;
        assert_true(password_hash_read(str_of(texts[i]), &hash, &err));
        assert_true(password_hash_print(&hash, &out));
        assert_string_equal(buf_cstr(&out), texts[i]);
        buf_release(&out);
    }
}

static struct name_row {
    const char *name, *user;
    bool want;
} names[] = {
    { "a plain name", "press-4", true },   { "blanks inside", "hand joe", true },  { "umlauts", "J\xC3\xB6rg", true },
    { "wildcards", "+/#", true },          { "nothing", "", false },               { "a colon", "a:b", false },
    { "a newline", "a\nb", false },        { "a comment", "#a", false },           { "a blank in front", " a", false },
    { "a blank at the end", "a ", false }, { "not UTF-8", "a\xC3", false },        { "DEL", "a\x7F", false },
};

static void judges_name_row(void **state) {
    const struct name_row *row = *state;
    struct err err = ERR_INIT;

    assert_int_equal(password_user_valid(str_of(row->user), &err), row->want);
    assert_int_equal(err.text[0] != '\0', !row->want);
}

/* --- strangers --- */

/* The least of several, as the machine may be busy with something else. */
static int64_t duration_ns(const struct passwords *passwords, const char *user) {
    int64_t best = INT64_MAX;

    for (int i = 0; i < 7; i++) {
        int64_t began = clock_mono_ns();
        assert_false(lets_in(passwords, user, "wrong"));
        int64_t took = clock_mono_ns() - began;
        best = took < best ? took : best;
    }
    return best;
}

static void a_stranger_costs_as_much(void **state) {
    struct buf line = BUF_INIT(1000);
    struct err err = ERR_INIT;
    struct passwords *passwords;
    int64_t user, stranger;

    (void)state;
    buf_append_c(&line, "joe:");
    assert_true(password_hash(PASSWORD_PBKDF2, STR("x"), 20000, &line, &err));
    passwords = of(buf_cstr(&line));
    user = duration_ns(passwords, "joe");
    stranger = duration_ns(passwords, "eve");
    if (stranger < user / 2 || stranger > user * 2)
        fail_msg("a user takes %lld ns, a stranger %lld ns", (long long)user, (long long)stranger);
    passwords_unref(passwords);
    buf_release(&line);
}

/* With quick and slow hashes in one file there are quick and slow strangers, and each stays what he is. */
static void strangers_are_as_mixed_as_users(void **state) {
    struct buf text = BUF_INIT(1 << 20);
    struct passwords *passwords;
    unsigned slow = 0;
    char user[32];

    (void)state;
    for (int i = 0; i < 100; i++)
        buf_printf(&text, "u%d:%s%s\n", i, i % 2 == 0 ? "$6$" : "$7$5000$", SALT "$" DIGEST);
    passwords = of(buf_cstr(&text));
    for (int i = 0; i < 100; i++) {
        snprintf(user, sizeof user, "u%d", i);
        assert_int_equal(passwords_is_slow(passwords, str_of(user)), i % 2);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(user, sizeof user, "stranger%d", i);
        bool is_slow = passwords_is_slow(passwords, str_of(user));
        assert_int_equal(passwords_is_slow(passwords, str_of(user)), is_slow);
        slow += is_slow;
    }
    assert_in_range(slow, 350, 650);
    passwords_unref(passwords);
    buf_release(&text);
}

static void quick_hashes_are_not_slow(void **state) {
    struct passwords *passwords = of("joe:" PBKDF2 "\n");

    (void)state;
    assert_false(passwords_is_slow(passwords, STR("joe")));
    passwords_unref(passwords);
}

/* --- files --- */

static char path[64];

static int make_file(void **state) {
    int fd;

    (void)state;
    snprintf(path, sizeof path, "/tmp/test_passwords.XXXXXX");
    fd = mkstemp(path);
    return fd >= 0 ? close(fd) : -1;
}

static int remove_file(void **state) {
    (void)state;
    unlink(path);
    return 0;
}

static void write_file(const char *text) {
    FILE *to = fopen(path, "w");

    assert_non_null(to);
    assert_true(fputs(text, to) >= 0);
    assert_int_equal(fclose(to), 0);
}

static void others_who_may_read_are_a_warning(void **state) {
    struct diags diags = { 0 };
    struct passwords *passwords;
    char *complaints;

    (void)state;
    write_file("joe:" PBKDF2 "\n");
    passwords = passwords_load(path, &diags);
    assert_non_null(passwords);
    assert_int_equal(diags.warnings, 0);
    passwords_unref(passwords);
    assert_int_equal(chmod(path, 0664), 0);
    passwords = passwords_load(path, &diags);
    assert_non_null(passwords);
    complaints = printed(&diags);
    assert_non_null(strstr(complaints, "warning: everybody on this machine may read it: chmod o-rwx "));
    assert_non_null(strstr(complaints, "warning: others than its owner may change it"));
    free(complaints);
    diags_release(&diags);
    passwords_unref(passwords);
}

static void a_file_that_cannot_be_read_says_why(void **state) {
    struct diags diags = { 0 };
    char *complaints;

    (void)state;
    assert_null(passwords_load("/nowhere/passwords", &diags));
    assert_null(passwords_load("/tmp", &diags));
    complaints = printed(&diags);
    assert_non_null(strstr(complaints, "/nowhere/passwords: error: cannot open it: No such file"));
    assert_non_null(strstr(complaints, "/tmp: error: cannot read /tmp: Is a directory"));
    free(complaints);
    diags_release(&diags);
}

/* What Mosquitto's own tool writes, as it is installed here. */
static void takes_files_of_mosquitto_passwd(void **state) {
    struct diags diags = { 0 };
    struct passwords *passwords;
    char command[512];

    (void)state;
    snprintf(command, sizeof command,
             "mosquitto_passwd -c -b %s joe 'pass word' && mosquitto_passwd -H sha512 -b %s ann 's3:$cret' && "
             "mosquitto_passwd -b %s \"h\xC3\xA4nd\" \"\xC3\xA4\" && mosquitto_passwd -H sha512-pbkdf2 -b %s joe 'another' && chmod 600 %s",
             path, path, path, path, path);
    assert_int_equal(system(command), 0);
    passwords = passwords_load(path, &diags);
    diags_print(&diags, stderr);
    assert_non_null(passwords);
    assert_int_equal(diags.count, 0);
    assert_int_equal(passwords_count(passwords), 3);
    assert_true(lets_in(passwords, "joe", "another"));
    assert_false(lets_in(passwords, "joe", "pass word"));
    assert_true(lets_in(passwords, "ann", "s3:$cret"));
    assert_true(lets_in(passwords, "h\xC3\xA4nd", "\xC3\xA4"));
    assert_false(lets_in(passwords, "ann", "another"));
    passwords_unref(passwords);
}

static void a_hundred_thousand_users(void **state) {
    enum { USERS = 100000 };
    struct buf text = BUF_INIT(PASSWORDS_FILE_MAX);
    struct passwords *passwords;
    char user[32];

    (void)state;
    for (int i = 0; i < USERS; i++)
        buf_printf(&text, "device-%06d:%s\n", i, SHA512);
    passwords = of(buf_cstr(&text));
    assert_int_equal(passwords_count(passwords), USERS);
    for (int i = 0; i < USERS; i += 997) {
        snprintf(user, sizeof user, "device-%06d", i);
        assert_true(lets_in(passwords, user, "secret"));
        snprintf(user, sizeof user, "device-%06dx", i);
        assert_false(lets_in(passwords, user, "secret"));
    }
    passwords_unref(passwords);
    buf_release(&text);
}

/* --- other threads --- */

static _Atomic(unsigned) good;

static void *check_and_leave(void *arg) {
    struct passwords *passwords = arg;

    for (int i = 0; i < 200; i++)
        good += lets_in(passwords, "ann", "secret") && !lets_in(passwords, "eve", "secret");
    passwords_unref(passwords);
    return NULL;
}

static void the_last_thread_frees(void **state) {
    struct passwords *passwords = of("ann:" SHA512 "\n");
    pthread_t threads[4];

    (void)state;
    good = 0;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, check_and_leave, passwords_ref(passwords)), 0);
    passwords_unref(passwords);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(good, 4 * 200);
    passwords_unref(NULL);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define ADD_ROWS(array, function)                                                                                      \
    for (size_t i = 0; i < COUNT(array); i++)                                                                          \
    tests[count++] = (struct CMUnitTest){ (array)[i].name, function, NULL, NULL, &(array)[i] }

int main(void) {
    static struct CMUnitTest tests[COUNT(checks) + COUNT(bads) + COUNT(makes) + COUNT(names) + 20];
    const struct CMUnitTest more[] = {
        cmocka_unit_test(argon2id_of_the_reference),
        cmocka_unit_test(a_password_may_have_any_bytes),
        cmocka_unit_test(every_bad_line_is_named),
        cmocka_unit_test(a_nul_in_a_name_is_refused),
        cmocka_unit_test(prints_what_it_read),
        cmocka_unit_test(a_stranger_costs_as_much),
        cmocka_unit_test(strangers_are_as_mixed_as_users),
        cmocka_unit_test(quick_hashes_are_not_slow),
        cmocka_unit_test_setup_teardown(others_who_may_read_are_a_warning, make_file, remove_file),
        cmocka_unit_test(a_file_that_cannot_be_read_says_why),
        cmocka_unit_test_setup_teardown(takes_files_of_mosquitto_passwd, make_file, remove_file),
        cmocka_unit_test(a_hundred_thousand_users),
        cmocka_unit_test(the_last_thread_frees),
    };
    size_t count = 0;

    ADD_ROWS(checks, checks_row);
    ADD_ROWS(bads, refuses_row);
    ADD_ROWS(makes, makes_row);
    ADD_ROWS(names, judges_name_row);
    for (size_t i = 0; i < COUNT(more); i++)
        tests[count++] = more[i];
    return _cmocka_run_group_tests("passwords", tests, count, NULL, NULL);
}
