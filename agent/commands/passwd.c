/*
 * agent/commands/passwd.c: edits a password file of the embedded broker, with mosquitto_passwd's flags. The file is read under a
 * lock, changed in memory and replaced as a whole; comments and the order of lines stay.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/fs.h"
#include "agent/broker/passwords.h"
#include "agent/commands/command.h"

static const struct flag flags[] = {
    { "create", NULL, "make FILE, which must not be there yet", 'c' },
    { "batch", NULL, "PASSWORD stands on the command line, where `ps` and the shell's history show it", 'b' },
    { "delete", NULL, "remove USER", 'D' },
    { "upgrade", NULL, "hash every password of FILE that is in plain text", 'U' },
    { "hash", "KIND", "sha512-pbkdf2 (default), argon2id (Mosquitto 2.1), sha512 (Mosquitto 1.6)", 'H' },
    { "iterations", "N", "of sha512-pbkdf2 (default 1000), passes of argon2id (default 2)", 'I' },
    { NULL, NULL, NULL, 0 },
};

enum action { ACTION_SET, ACTION_DELETE, ACTION_UPGRADE };

struct job {
    enum action action;
    bool create;
    enum password_kind kind;
    unsigned cost;
    const char *path, *given; /* given: the password on the command line, or NULL */
    struct str user;
};

/* What becomes of the file. */
struct edit {
    const struct job *job;
    struct str line_of_user;   /* `user:hash`, for ACTION_SET */
    struct buf text;           /* the new content */
    struct buf rest;           /* the old one without the user's lines, which stay as empty ones so that the others keep their numbers */
    size_t found, converted, hashed; /* lines: of the user; for ACTION_UPGRADE */
};

static void wipe(struct buf *buf) {
    if (buf->data != NULL)
        password_wipe(buf->data, buf->cap);
    buf_release(buf);
}

static int usage(const char *words) {
    fprintf(stderr, "heliograf passwd: %s; see heliograf passwd --help\n", words);
    return EXIT_USAGE;
}

static int failed(const struct err *err) {
    fprintf(stderr, "heliograf passwd: %s\n", err->text);
    return EXIT_FAILED;
}

/* --- the command line --- */

static bool read_kind(const char *name, enum password_kind *kind) {
    static const char *const names[] = {
        [PASSWORD_PBKDF2] = "sha512-pbkdf2", [PASSWORD_ARGON2ID] = "argon2id", [PASSWORD_SHA512] = "sha512"
    };

    *kind = PASSWORD_PBKDF2;
    if (name == NULL)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) {
            *kind = (enum password_kind)i;
            return true;
        }
    return false;
}

static bool read_cost(const char *text, unsigned *cost) {
    uint64_t value = 0;

    if (text != NULL && (!str_to_uint64(str_of(text), &value) || value == 0 || value > INT32_MAX))
        return false;
    *cost = (unsigned)value;
    return true;
}

static int read_job(const struct command *self, const struct args *args, struct job *job) {
    bool batch = args_value(self, args, "batch") != NULL, deletes = args_value(self, args, "delete") != NULL;
    bool upgrades = args_value(self, args, "upgrade") != NULL;
    struct err err = ERR_INIT;

    *job = (struct job){ .action = upgrades ? ACTION_UPGRADE : deletes ? ACTION_DELETE : ACTION_SET };
    job->create = args_value(self, args, "create") != NULL;
    if (job->create + deletes + upgrades > 1 || (batch && (deletes || upgrades)))
        return usage("-c, -D and -U exclude each other, and -b goes with none of -D and -U");
    if (args->word_count != (upgrades ? 1 : batch ? 3 : 2))
        return usage(upgrades ? "-U takes FILE" : batch ? "-b takes FILE, USER and PASSWORD" : "FILE and USER are expected");
    if (!read_kind(args_value(self, args, "hash"), &job->kind))
        return usage("--hash is sha512-pbkdf2, argon2id or sha512");
    if (!read_cost(args_value(self, args, "iterations"), &job->cost))
        return usage("--iterations is a number from 1");
    if (!password_cost_valid(job->kind, job->cost, &err))
        return usage(err.text);
    job->path = args->words[0];
    if (upgrades)
        return EXIT_FINE;
    job->user = str_of(args->words[1]);
    job->given = batch ? args->words[2] : NULL;
    if (!deletes && !password_user_valid(job->user, &err))
        return usage(err.text);
    return EXIT_FINE;
}

/* --- the file --- */

/* Whether there is a file to edit, or for -c none. Links are not followed: what one points to may not be meant to be a password file. */
static bool check_place(const struct job *job, struct err *err) {
    struct stat info;
    char target[512];
    ssize_t len;

    if (lstat(job->path, &info) != 0) {
        if (errno == ENOENT && job->create)
            return true;
        if (errno == ENOENT)
            return err_set(err, ERR_MISSING, "there is no file %s; -c makes it", job->path);
        return err_set_errno(err, errno, "cannot look at %s", job->path);
    }
    if (S_ISLNK(info.st_mode)) {
        len = readlink(job->path, target, sizeof target);
        return err_set(err, ERR_UNSUPPORTED, "%s is a symbolic link to %.*s; name the file itself", job->path, len > 0 ? (int)len : 0, target);
    }
    if (!S_ISREG(info.st_mode))
        return err_set(err, ERR_TYPE, "%s is not a regular file", job->path);
    if (job->create)
        return err_set(err, ERR_UNSUPPORTED, "%s is there already; leave out -c to add a user to it", job->path);
    return true;
}

/* The file, locked against another edit until it is closed; -1 with words. Whoever had the lock before has put a new file in its place. */
static int open_locked(const char *path, struct err *err) {
    for (;;) {
        struct stat opened, there;
        int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

        if (fd < 0) {
            err_set_errno(err, errno, "cannot open %s", path);
            return -1;
        }
        while (flock(fd, LOCK_EX) != 0)
            if (errno != EINTR) {
                err_set_errno(err, errno, "cannot lock %s", path);
                close(fd);
                return -1;
            }
        if (fstat(fd, &opened) == 0 && lstat(path, &there) == 0 && opened.st_dev == there.st_dev && opened.st_ino == there.st_ino)
            return fd;
        close(fd);
    }
}

/* --- the edit --- */

/* The name and what stands behind its colon; false for an empty line and a comment. */
static bool split_line(struct str line, struct str *user, struct str *secret) {
    struct str content = str_trim(line);

    *user = str_split(&content, ':');
    *secret = content.data != NULL ? str_trim(content) : STR_EMPTY;
    *user = str_trim(*user);
    return line.len > 0 && str_trim(line).len > 0 && str_trim(line).data[0] != '#';
}

/* A line that ended in CR LF still does. */
static void end_line(struct edit *edit, struct str old) {
    buf_append_c(&edit->text, str_ends_with(old, STR("\r")) ? "\r\n" : "\n");
    buf_append_char(&edit->rest, '\n');
}

static void keep_line(struct edit *edit, struct str line) {
    buf_append_str(&edit->text, line);
    buf_append_char(&edit->text, '\n');
    buf_append_str(&edit->rest, line);
    buf_append_char(&edit->rest, '\n');
}

/* The first line of the user's becomes the new one; any other is left out. */
static void edit_own_line(struct edit *edit, struct str line) {
    if (edit->found++ == 0 && edit->job->action == ACTION_SET) {
        buf_append_str(&edit->text, edit->line_of_user);
        end_line(edit, line);
    } else {
        buf_append_char(&edit->rest, '\n');
    }
}

static void upgrade_line(struct edit *edit, struct str line, struct str user, struct str secret, struct src_pos at, struct diags *diags) {
    struct err err = ERR_INIT;

    if (password_is_hash(secret)) {
        edit->hashed++;
        keep_line(edit, line);
        return;
    }
    if (secret.len == 0)
        diag_add(diags, at, "there is no password here; a line is user:password");
    else if (!password_user_valid(user, &err))
        diag_add(diags, at, "%s", err.text);
    else if (str_starts_with(secret, STR("$6$")) || str_starts_with(secret, STR("$7$")) || str_starts_with(secret, STR("$argon2id$")))
        diag_add(diags, at, "this begins as a hash does and is none; set this user's password by hand");
    buf_append_str(&edit->text, user);
    buf_append_char(&edit->text, ':');
    if (!password_hash(edit->job->kind, secret, edit->job->cost, &edit->text, &err))
        diag_add(diags, at, "%s", err.text);
    end_line(edit, line);
    edit->converted++;
}

static void edit_text(struct edit *edit, struct str text, struct diags *diags) {
    const struct str mark = STR_INIT("\xEF\xBB\xBF"); /* a byte order mark stays where it is */
    struct src_pos at = { .file = edit->job->path, .line = 0, .column = 1 };

    if (str_starts_with(text, mark)) {
        buf_append_str(&edit->text, mark);
        text = str_make(text.data + mark.len, text.len - mark.len);
    }
    while (text.data != NULL && text.len > 0) {
        struct str line = str_split(&text, '\n'), user, secret;
        at.line++;
        if (!split_line(line, &user, &secret))
            keep_line(edit, line);
        else if (edit->job->action == ACTION_UPGRADE)
            upgrade_line(edit, line, user, secret, at, diags);
        else if (str_eq(user, edit->job->user))
            edit_own_line(edit, line);
        else
            keep_line(edit, line);
    }
    if (edit->job->action != ACTION_SET || edit->found > 0)
        return;
    buf_append_str(&edit->text, edit->line_of_user);
    buf_append_char(&edit->text, '\n');
}

/* Whether the agent would take the new file. Lines that the edit does not touch are complained of where they stand in the old one. */
static bool is_usable(const struct edit *edit, struct diags *diags) {
    bool upgrade = edit->job->action == ACTION_UPGRADE;
    struct passwords *passwords = passwords_parse(edit->job->path, buf_str(upgrade ? &edit->text : &edit->rest), diags);

    passwords_unref(passwords);
    return diags->errors == 0;
}

/* What was done, and what load has to say of the file's permissions. */
static void report(const struct edit *edit) {
    const struct job *job = edit->job;
    struct diags diags = { 0 };

    if (job->action == ACTION_UPGRADE)
        fprintf(stderr, "%s: %zu hashed, %zu were hashed already\n", job->path, edit->converted, edit->hashed);
    else
        fprintf(stderr, "%s: user '%.*s' %s\n", job->path, STR_ARGS(job->user),
                job->action == ACTION_DELETE ? "removed" : edit->found > 0 ? "has a new password" : "added");
    passwords_unref(passwords_load(job->path, &diags));
    diags_print(&diags, stderr);
    diags_release(&diags);
}

static bool write_edit(struct edit *edit, struct str old, struct err *err) {
    struct diags diags = { 0 };
    bool ok = true;

    edit_text(edit, old, &diags);
    if (edit->text.failed || edit->rest.failed)
        ok = err_set(err, ERR_LIMIT, "%s would become larger than %d bytes, or there is no memory", edit->job->path, PASSWORDS_FILE_MAX);
    else if (edit->job->action == ACTION_DELETE && edit->found == 0)
        ok = err_set(err, ERR_MISSING, "there is no user '%.*s' in %s", STR_ARGS(edit->job->user), edit->job->path);
    else if (diags.errors > 0 || !is_usable(edit, &diags))
        ok = err_set(err, ERR_SYNTAX, "%s has lines that are not as they should be; nothing was changed", edit->job->path);
    diags_print(&diags, stderr);
    diags_release(&diags);
    if (!ok || !fs_replace_file(edit->job->path, buf_str(&edit->text), err))
        return false;
    report(edit);
    return true;
}

static bool edit_file(const struct job *job, struct str line_of_user, struct err *err) {
    struct edit edit = { .job = job, .line_of_user = line_of_user, .text = BUF_INIT(PASSWORDS_FILE_MAX), .rest = BUF_INIT(PASSWORDS_FILE_MAX) };
    struct buf old = BUF_INIT(PASSWORDS_FILE_MAX);
    int fd = job->create ? -1 : open_locked(job->path, err);
    bool ok = fd >= 0 || job->create;

    if (ok && !job->create)
        ok = fs_read_fd(fd, job->path, &old, err);
    if (ok)
        ok = write_edit(&edit, buf_str(&old), err);
    if (fd >= 0)
        close(fd);
    wipe(&old);
    wipe(&edit.text);
    wipe(&edit.rest);
    return ok;
}

/* `user:hash` with the password from wherever it is to come from. */
static bool make_line(const struct job *job, struct buf *line, struct err *err) {
    struct buf asked = BUF_INIT(0);
    struct str password;
    bool ok = true;

    if (job->given != NULL) {
        fprintf(stderr, "heliograf passwd: warning: with -b others can read the password (ps, the shell's history)\n");
        password = str_of(job->given);
        ok = password.len > 0 || err_set(err, ERR_MISSING, "the password is empty");
    } else {
        ok = secret_read(&asked, err);
        password = buf_str(&asked);
    }
    buf_append_str(line, job->user);
    buf_append_char(line, ':');
    ok = ok && password_hash(job->kind, password, job->cost, line, err);
    secret_release(&asked);
    return ok;
}

static int run(const struct command *self, const struct args *args) {
    struct buf line = BUF_INIT(PASSWORDS_FILE_MAX);
    struct err err = ERR_INIT;
    struct job job;
    int code = read_job(self, args, &job);

    if (code != EXIT_FINE)
        return code;
    if (!check_place(&job, &err) || (job.action == ACTION_SET && !make_line(&job, &line, &err)) || !edit_file(&job, buf_str(&line), &err))
        code = failed(&err);
    wipe(&line);
    return code;
}

const struct command command_passwd = {
    .name = "passwd",
    .summary = "Edit a password file of the embedded broker",
    .usage = "[flags] FILE USER [PASSWORD]",
    .text = "  heliograf passwd -c /etc/heliograf/passwords press-4      asks for the password, twice\n"
            "  heliograf passwd /etc/heliograf/passwords press-5 < FILE  takes the first line of FILE\n"
            "  heliograf passwd -D /etc/heliograf/passwords press-4      removes the user\n"
            "  heliograf passwd -U /etc/heliograf/passwords              hashes what is in plain text\n\n"
            "The file has Mosquitto's format, and the flags are those of mosquitto_passwd; either program takes the\n"
            "other's files. A user who is there already gets the new password. Comments, order, owner and permissions\n"
            "stay; a new file has mode 0600. -c does not overwrite a file, and -U leaves alone what is hashed.\n\n"
            "The default suits devices with long random passwords, of which a thousand may come back at once. For\n"
            "passwords that people choose, take -H argon2id, or -I 200000.\n\n"
            "A running agent reads its `password_file` again on SIGHUP; clients that are connected stay so.\n",
    .flags = flags,
    .words_max = 3,
    .run = run,
};
