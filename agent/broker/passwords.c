/*
 * agent/broker/passwords.c: the file as a table of users, found by hash. Never changed once it is made.
 */
#include "agent/broker/passwords.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/fs.h"
#include "agent/broker/password_hash.h"

enum {
    USER_MAX = 65535,
    SHORTEST_LINE = 60, /* bytes; a name of one, an Argon2 hash with the least of everything */
};

struct user {
    struct str name; /* in `names` */
    struct password_hash hash;
};

struct passwords {
    _Atomic unsigned references;
    size_t count, user_room;
    size_t names_len, names_room;
    size_t slot_mask;
    struct user *users;
    uint32_t *slots; /* index into users plus one; 0: free */
    char *names;
};

/* Where the user is, or the free slot where it would be. */
static uint32_t *slot_of(const struct passwords *passwords, struct str name) {
    size_t at = (size_t)str_hash(name) & passwords->slot_mask;

    while (passwords->slots[at] != 0 && !str_eq(passwords->users[passwords->slots[at] - 1].name, name))
        at = (at + 1) & passwords->slot_mask;
    return &passwords->slots[at];
}

static const struct user *find(const struct passwords *passwords, struct str name) {
    uint32_t slot = *slot_of(passwords, name);

    return slot != 0 ? &passwords->users[slot - 1] : NULL;
}

/*
 * Whom a name is checked against: its user, or for a stranger some user of the file, the same one each time, so that neither the duration
 * of one answer nor its change from one to the next tells the two apart. NULL when the file is empty.
 */
static const struct user *find_or_stand_in(const struct passwords *passwords, struct str name, bool *known) {
    const struct user *user = find(passwords, name);

    *known = user != NULL;
    if (user == NULL && passwords->count > 0)
        user = &passwords->users[(size_t)(str_hash(name) >> 16) % passwords->count];
    return user;
}

static void free_passwords(struct passwords *passwords) {
    if (passwords->users != NULL)
        password_wipe(passwords->users, passwords->user_room * sizeof *passwords->users);
    if (passwords->names != NULL)
        password_wipe(passwords->names, passwords->names_room);
    free(passwords->users);
    free(passwords->names);
    free(passwords->slots);
    free(passwords);
}

/* Empty, with room for what a text can hold at most; NULL without memory. */
static struct passwords *new_passwords(struct str text) {
    struct passwords *passwords = calloc(1, sizeof *passwords);
    size_t users = text.len / SHORTEST_LINE + 2, slots = 4;

    if (passwords == NULL)
        return NULL;
    while (slots < 2 * users)
        slots *= 2;
    passwords->references = 1;
    passwords->slot_mask = slots - 1;
    passwords->user_room = users;
    passwords->names_room = text.len + 1;
    passwords->users = calloc(users, sizeof *passwords->users);
    passwords->slots = calloc(slots, sizeof *passwords->slots);
    passwords->names = malloc(passwords->names_room);
    if (passwords->users == NULL || passwords->slots == NULL || passwords->names == NULL) {
        free_passwords(passwords);
        return NULL;
    }
    return passwords;
}

static bool user_readable(struct str user, struct err *err) {
    if (user.len == 0)
        return err_set(err, ERR_SYNTAX, "there is no user name before the ':'");
    if (user.len > USER_MAX)
        return err_set(err, ERR_LIMIT, "a user name has at most %d bytes", USER_MAX);
    if (!str_is_utf8(user) || memchr(user.data, '\0', user.len) != NULL)
        return err_set(err, ERR_SYNTAX, "a user name must be UTF-8 without NUL");
    return true;
}

bool password_user_valid(struct str user, struct err *err) {
    if (user.len == 0)
        return err_set(err, ERR_SYNTAX, "a user name must not be empty");
    if (memchr(user.data, ':', user.len) != NULL)
        return err_set(err, ERR_SYNTAX, "a user name must not contain ':', which ends it in the file");
    for (size_t i = 0; i < user.len; i++)
        if ((unsigned char)user.data[i] < 0x20 || user.data[i] == 0x7F)
            return err_set(err, ERR_SYNTAX, "a user name must not contain control characters");
    if (user.data[0] == '#')
        return err_set(err, ERR_SYNTAX, "a user name must not begin with '#', which begins a comment in the file");
    if (str_trim(user).len != user.len)
        return err_set(err, ERR_SYNTAX, "a user name must not begin or end with a blank");
    return user_readable(user, err);
}

static void read_line(struct passwords *passwords, struct src_pos at, struct str line, struct diags *diags) {
    struct user *user = &passwords->users[passwords->count];
    struct str rest = line, name = str_trim(str_split(&rest, ':'));
    struct err err = ERR_INIT;
    uint32_t *slot;

    if (rest.data == NULL) {
        diag_add(diags, at, "there is no ':' here; a line is user:hash, or begins with # as a comment");
        return;
    }
    if (!user_readable(name, &err)) {
        diag_add(diags, at, "%s", err.text);
        return;
    }
    if (!password_hash_read(str_trim(rest), &user->hash, &err)) {
        at.column = (unsigned)(rest.data - line.data) + 1;
        diag_add(diags, at, "user '%.*s': %s", (int)(name.len < 64 ? name.len : 64), name.data, err.text);
        return;
    }
    slot = slot_of(passwords, name);
    if (*slot != 0) {
        diag_add(diags, at, "user '%.*s' is here for the second time; nobody could say which password counts",
                 (int)(name.len < 64 ? name.len : 64), name.data);
        return;
    }
    memcpy(passwords->names + passwords->names_len, name.data, name.len);
    user->name = str_make(passwords->names + passwords->names_len, name.len);
    passwords->names_len += name.len;
    *slot = (uint32_t)++passwords->count;
}

struct passwords *passwords_parse(const char *name, struct str text, struct diags *diags) {
    struct src_pos at = { .file = name, .line = 0, .column = 1 };
    struct passwords *passwords = new_passwords(text);
    size_t errors = diags->errors;

    if (passwords == NULL) {
        diag_add(diags, at, "no memory for the users");
        return NULL;
    }
    if (str_starts_with(text, STR("\xEF\xBB\xBF"))) /* an editor's byte order mark */
        text = str_make(text.data + 3, text.len - 3);
    while (text.data != NULL) {
        struct str line = str_split(&text, '\n'), content = str_trim(line);
        at.line++;
        if (content.len > 0 && content.data[0] != '#')
            read_line(passwords, at, line, diags);
    }
    if (diags->errors == errors)
        return passwords;
    passwords_unref(passwords);
    return NULL;
}

static void warn_of_permissions(const char *path, mode_t mode, struct diags *diags) {
    struct src_pos at = { .file = path };

    if ((mode & S_IROTH) != 0)
        diag_warn(diags, at, "everybody on this machine may read it: chmod o-rwx %s", path);
    if ((mode & (S_IWGRP | S_IWOTH)) != 0)
        diag_warn(diags, at, "others than its owner may change it: chmod go-w %s", path);
}

struct passwords *passwords_load(const char *path, struct diags *diags) {
    struct buf text = BUF_INIT(PASSWORDS_FILE_MAX);
    struct passwords *passwords = NULL;
    struct err err = ERR_INIT;
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        err_set_errno(&err, errno, "cannot open it");
    } else if (fs_read_fd(fd, path, &text, &err)) {
        if (fstat(fd, &info) == 0)
            warn_of_permissions(path, info.st_mode, diags);
        passwords = passwords_parse(path, buf_str(&text), diags);
    }
    if (err.code != ERR_NONE)
        diag_add(diags, (struct src_pos){ .file = path }, "%s", err.text);
    if (fd >= 0)
        close(fd);
    if (text.data != NULL)
        password_wipe(text.data, text.cap);
    buf_release(&text);
    return passwords;
}

struct passwords *passwords_ref(struct passwords *passwords) {
    atomic_fetch_add_explicit(&passwords->references, 1, memory_order_relaxed);
    return passwords;
}

void passwords_unref(struct passwords *passwords) {
    if (passwords != NULL && atomic_fetch_sub_explicit(&passwords->references, 1, memory_order_acq_rel) == 1)
        free_passwords(passwords);
}

size_t passwords_count(const struct passwords *passwords) {
    return passwords->count;
}

bool passwords_check(const struct passwords *passwords, struct str user, struct str password) {
    bool known;
    const struct user *against = find_or_stand_in(passwords, user, &known);

    return against != NULL && password_hash_matches(&against->hash, password) && known;
}

bool passwords_is_slow(const struct passwords *passwords, struct str user) {
    bool known;
    const struct user *against = find_or_stand_in(passwords, user, &known);

    return against != NULL && password_hash_is_slow(&against->hash);
}
