/*
 * tests/fuzz/fuzz_passwords.c: bytes as a password file: it is taken whole or refused with words; what was taken lets nobody in without
 * the password, whoever asks, and no stranger with the password of somebody else ("secret" in the seeds); every hash in it prints as it was
 * written. The input is a user name, a line feed, and the file.
 */
#include <stdlib.h>

#include "agent/broker/password_hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str exact(struct str text) {
    char *copy = malloc(text.len > 0 ? text.len : 1);

    if (copy == NULL)
        abort();
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    return str_make(copy, text.len);
}

/* No digest that the bytes can hold by chance is that of this password. Slow ones would take the fuzzer's time. */
static void must_not_get_in(const struct passwords *passwords, struct str user, struct str password) {
    if (!passwords_is_slow(passwords, user) && passwords_check(passwords, user, password))
        abort();
}

/* The number of users, by reading the lines once more, and whether `asked` is one. */
static size_t ask_as_each(const struct passwords *passwords, struct str file, struct str asked, bool *known) {
    size_t users = 0;

    if (str_starts_with(file, STR("\xEF\xBB\xBF")))
        file = str_make(file.data + 3, file.len - 3);
    while (file.data != NULL) {
        struct str line = str_trim(str_split(&file, '\n')), user;
        struct buf again = BUF_INIT(1 << 20);
        struct password_hash hash;
        struct err err = ERR_INIT;

        if (line.len == 0 || line.data[0] == '#')
            continue;
        users++;
        user = str_trim(str_split(&line, ':'));
        *known |= str_eq(user, asked);
        if (users <= 8)
            must_not_get_in(passwords, user, STR("not the password"));
        if (!password_hash_read(str_trim(line), &hash, &err) || !password_hash_print(&hash, &again) || !str_eq(buf_str(&again), str_trim(line)))
            abort();
        buf_release(&again);
    }
    return users;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str rest = { (const char *)data, size }, user = str_split(&rest, '\n');
    struct str file = exact(rest.data != NULL ? rest : STR_EMPTY);
    struct diags diags = { 0 };
    struct passwords *passwords = passwords_parse("fuzz", file, &diags);
    bool known = false;

    if ((passwords == NULL) != (diags.errors > 0))
        abort();
    if (passwords != NULL) {
        if (ask_as_each(passwords, file, user, &known) != passwords_count(passwords))
            abort();
        must_not_get_in(passwords, user, known ? STR("not the password") : STR("secret"));
    }
    passwords_unref(passwords);
    diags_release(&diags);
    free((char *)(uintptr_t)file.data);
    return 0;
}
